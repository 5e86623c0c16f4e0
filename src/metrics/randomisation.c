/*
 * Does the map depend on what the network has learnt? Its likeness to the maps of networks whose layers have
 * new random weights, from the head down (methods.md section 5; Adebayo et al. 2018, cascading). A map that
 * stays as it was shows the image, not the network.
 */
#include "metrics/maps.h"

#include <math.h>

struct randomisation_params {
	int stages;
	double fraction;
};

static const struct option_row options[] = {
	{"stages", OPT_INT, offsetof(struct randomisation_params, stages), "4", 1, 1000, NULL,
		"after the head, equal parts of the blocks, from the last on; with the last of them the "
		"embedding"},
	MAP_FRACTION_OPTION(struct randomisation_params),
	OPTION_END,
};

enum { CORRELATION, LAST };

static const struct metric_figure figures[] = {
	{"correlation",
		"mean over the stages of the Spearman correlation of the map with that of the randomised "
		"network; "
		"undefined (NaN) where a map is constant",
		FIGURE_PLAIN},
	{"last", "that of the network whose weights are all random but for LayerScale", FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

struct scratch {
	float *raw, *map; /* (H, W): of a randomised network */
	struct map_scratch maps;
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t plane = (size_t)height * (size_t)width;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	(void)channels;
	(void)batch;
	s.raw = arena_floats(a, plane);
	s.map = arena_floats(a, plane);
	map_carve(&s.maps, a, plane);
	if (scratch)
		*scratch = s;
	return scratch;
}

static int points(const void *params, int height, int width)
{
	(void)height;
	(void)width;
	return ((const struct randomisation_params *)params)->stages + 1;
}

/* Of the blocks that are random; the head always is. */
static void fractions(const void *params, double *fraction, int height, int width)
{
	int stages = ((const struct randomisation_params *)params)->stages;

	(void)height;
	(void)width;
	for (int k = 0; k <= stages; k++)
		fraction[k] = k / (double)stages;
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	int stages = ((const struct randomisation_params *)params)->stages;
	const struct explainer *explainer = in->explainer;
	size_t n = (size_t)in->height * (size_t)in->width;
	struct scratch *s = scratch;
	double sum = 0;

	out->figures[CORRELATION] = out->figures[LAST] = NAN;
	for (int k = 0; k <= stages; k++) {
		out->curve[k] = NAN;
		out->scored[k] = 0;
	}
	if (!map_chosen(in, ((const struct randomisation_params *)params)->fraction))
		return 0;
	if (map_check(in->map, n, err))
		return -1;
	for (int k = 0; k <= stages; k++) {
		if (explainer->explain_randomised(explainer->ctx, s->raw, s->map, k, stages, err) ||
			map_check(s->map, n, err))
			return err_prefix(err, "stage %d", k);
		out->curve[k] = map_spearman(in->map, s->map, n, &s->maps);
		out->scored[k] = 1;
		sum += out->curve[k];
	}
	out->figures[CORRELATION] = sum / (stages + 1);
	out->figures[LAST] = out->curve[stages];
	return 0;
}

static double explanations(const void *params)
{
	const struct randomisation_params *p = params;

	return p->fraction * (p->stages + 1);
}

extern const struct metric_ops metric_randomisation;
const struct metric_ops metric_randomisation = {
	.name = "randomisation",
	.help = "Spearman correlation of the map with that of the network with random weights, from the head "
		"down",
	.options = options,
	.params_size = sizeof(struct randomisation_params),
	.figures = figures,
	.needs = METRIC_RANDOMISES,
	.points = points,
	.axis = "stage / stages: parts of the blocks, rounded up, that have new weights; the head always has",
	.fractions = fractions,
	.carve = carve,
	.run = run,
	.explanations = explanations,
};

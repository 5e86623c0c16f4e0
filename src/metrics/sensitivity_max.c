/* The largest relative change of a map in a small cube about the image, estimated by random draws (methods.md
 * section 5; Yeh et al. 2019, as captum's sensitivity_max with its own perturbation). captum takes the
 * attributions as they are: that is `of: raw`; stored maps are divided by their largest magnitude. */
#include "metrics/maps.h"

#include "base/rng.h"

#include <math.h>

struct sensitivity_params {
	double radius;
	int draws, of;
	double fraction;
};

static const struct option_row options[] = {
	{"radius", OPT_DOUBLE, offsetof(struct sensitivity_params, radius), "0.02", 0, 100, NULL,
		"largest change of a pixel's channel, in normalised units"},
	{"draws", OPT_INT, offsetof(struct sensitivity_params, draws), "10", 1, 1000, NULL,
		"images drawn uniformly within it"},
	MAP_OF_OPTION(struct sensitivity_params),
	MAP_FRACTION_OPTION(struct sensitivity_params),
	OPTION_END,
};

static const struct metric_figure figures[] = {
	{"sensitivity",
		"largest norm of the difference from the map of a changed image / norm of the map; NaN for a "
		"map "
		"of zeros",
		FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

struct scratch {
	double *u;        /* (channels, H, W): uniform numbers */
	float *x;         /* the changed image */
	float *raw, *map; /* (H, W): of it */
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t plane = (size_t)height * (size_t)width, image = (size_t)channels * plane;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	(void)batch;
	s.u = arena_take(a, image, sizeof(double));
	s.x = arena_floats(a, image);
	s.raw = arena_floats(a, plane);
	s.map = arena_floats(a, plane);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* x = the image + U(-radius, radius), the same for every method. */
static void change(struct scratch *s, const struct metric_input *in, double radius, int draw)
{
	size_t n = (size_t)in->channels * (size_t)in->height * (size_t)in->width;

	rng_uniform(s->u, n, (struct rng_key){in->seed, in->image, (uint32_t)draw, RNG_SENSITIVITY});
	for (size_t i = 0; i < n; i++)
		s->x[i] = (float)(in->x[i] + radius * (2 * s->u[i] - 1));
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	const struct sensitivity_params *p = params;
	const struct explainer *explainer = in->explainer;
	const float *map = map_of(in, p->of);
	size_t n = (size_t)in->height * (size_t)in->width;
	struct scratch *s = scratch;
	const float *changed = p->of == MAP_RAW ? s->raw : s->map;
	double most = 0;

	out->figures[0] = NAN;
	if (!map_chosen(in, p->fraction))
		return 0;
	if (map_check(map, n, err))
		return -1;
	double norm = map_norm(map, n);
	if (!(norm > 0))
		return 0;
	for (int draw = 0; draw < p->draws; draw++) {
		change(s, in, p->radius, draw);
		if (explainer->explain(explainer->ctx, s->raw, s->map, s->x, err) ||
			map_check(changed, n, err))
			return err_prefix(err, "draw %d", draw);
		most = fmax(most, map_distance(changed, map, n));
	}
	out->figures[0] = most / norm;
	return 0;
}

static double explanations(const void *params)
{
	const struct sensitivity_params *p = params;

	return p->fraction * p->draws;
}

extern const struct metric_ops metric_sensitivity_max;
const struct metric_ops metric_sensitivity_max = {
	.name = "sensitivity_max",
	.help = "largest relative change of the map when the image changes a little",
	.options = options,
	.params_size = sizeof(struct sensitivity_params),
	.figures = figures,
	.needs = METRIC_EXPLAINS,
	.carve = carve,
	.run = run,
	.explanations = explanations,
};

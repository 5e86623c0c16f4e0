/* How much a map changes with a little noise on the image (methods.md section 5). */
#include "metrics/maps.h"

#include "base/rng.h"

#include <math.h>

struct stability_params {
	double sigma;
	int draws, of;
	double fraction;
};

static const struct option_row options[] = {
	{"sigma", OPT_DOUBLE, offsetof(struct stability_params, sigma), "0.1", 0, 100, NULL,
		"standard deviation of the noise, in normalised units"},
	{"draws", OPT_INT, offsetof(struct stability_params, draws), "1", 1, 1000, NULL,
		"noisy images; the figures are means over them"},
	MAP_OF_OPTION(struct stability_params),
	MAP_FRACTION_OPTION(struct stability_params),
	OPTION_END,
};

enum { PEARSON, SPEARMAN, RELATIVE_L2, FIGURES };

static const struct metric_figure figures[] = {
	{"pearson",
		"Pearson correlation of the map with that of the noisy image; undefined (NaN) where one is "
		"constant",
		FIGURE_PLAIN},
	{"spearman", "the same of ranks, ties averaged", FIGURE_PLAIN},
	{"relative_l2", "norm of the difference of the two maps / norm of the map; NaN for a map of zeros",
		FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

struct scratch {
	float *x;         /* (channels, H, W): the noisy image */
	float *raw, *map; /* (H, W): of it */
	struct map_scratch maps;
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t plane = (size_t)height * (size_t)width;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	(void)batch;
	s.x = arena_floats(a, (size_t)channels * plane);
	s.raw = arena_floats(a, plane);
	s.map = arena_floats(a, plane);
	map_carve(&s.maps, a, plane);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* x = the image + N(0, sigma^2), the same for every method. */
static void add_noise(float *x, const struct metric_input *in, double sigma, int draw)
{
	size_t n = (size_t)in->channels * (size_t)in->height * (size_t)in->width;

	rng_normal(x, n, (struct rng_key){in->seed, in->image, (uint32_t)draw, RNG_STABILITY});
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(in->x[i] + sigma * x[i]);
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	const struct stability_params *p = params;
	const struct explainer *explainer = in->explainer;
	const float *map = map_of(in, p->of);
	size_t n = (size_t)in->height * (size_t)in->width;
	struct scratch *s = scratch;
	const float *noisy = p->of == MAP_RAW ? s->raw : s->map;
	double sum[FIGURES] = {0};

	for (int f = 0; f < FIGURES; f++)
		out->figures[f] = NAN;
	if (!map_chosen(in, p->fraction))
		return 0;
	if (map_check(map, n, err))
		return -1;
	double norm = map_norm(map, n);
	for (int draw = 0; draw < p->draws; draw++) {
		add_noise(s->x, in, p->sigma, draw);
		if (explainer->explain(explainer->ctx, s->raw, s->map, s->x, err) || map_check(noisy, n, err))
			return err_prefix(err, "draw %d", draw);
		sum[PEARSON] += map_pearson(map, noisy, n, &s->maps);
		sum[SPEARMAN] += map_spearman(map, noisy, n, &s->maps);
		sum[RELATIVE_L2] += norm > 0 ? map_distance(map, noisy, n) / norm : NAN;
	}
	for (int f = 0; f < FIGURES; f++)
		out->figures[f] = sum[f] / p->draws;
	return 0;
}

static double explanations(const void *params)
{
	const struct stability_params *p = params;

	return p->fraction * p->draws;
}

extern const struct metric_ops metric_stability;
const struct metric_ops metric_stability = {
	.name = "stability",
	.help = "likeness of the map to that of the image with a little noise",
	.options = options,
	.params_size = sizeof(struct stability_params),
	.figures = figures,
	.needs = METRIC_EXPLAINS,
	.carve = carve,
	.run = run,
	.explanations = explanations,
};

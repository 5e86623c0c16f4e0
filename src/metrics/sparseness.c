/* How few pixels carry the attribution: the Gini index of |map| (methods.md section 5; Hurley and Rickard
 * 2009, Chalasani et al. 2020). */
#include "metrics/maps.h"

#include "kernels/order.h"

#include <math.h>

static const struct option_row options[] = {OPTION_END};

static const struct metric_figure figures[] = {
	{"gini",
		"Gini index of the magnitudes: 0 for equal magnitudes, 1 - 1 / pixels for a single pixel; "
		"NaN for a "
		"map "
		"of zeros",
		FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

struct scratch {
	float *magnitude; /* (pixels) */
	uint32_t *place;  /* (pixels) */
	uint64_t *sort;   /* 2 pixels */
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t n = (size_t)height * (size_t)width;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	(void)channels;
	(void)batch;
	s.magnitude = arena_floats(a, n);
	s.place = arena_take(a, n, sizeof(uint32_t));
	s.sort = arena_take(a, 2 * n, sizeof(uint64_t));
	if (scratch)
		*scratch = s;
	return scratch;
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	int n = in->height * in->width;
	struct scratch *s = scratch;
	double sum = 0, weighted = 0;

	(void)params;
	out->figures[0] = NAN;
	if (map_check(in->map, (size_t)n, err))
		return -1;
	for (int i = 0; i < n; i++)
		s->magnitude[i] = fabsf(in->map[i]);
	order_rank(s->place, s->magnitude, n, 0, s->sort);
	for (int i = 0; i < n; i++) {
		sum += s->magnitude[i];
		weighted += (2.0 * s->place[i] - n + 1) * s->magnitude[i];
	}
	if (sum > 0)
		out->figures[0] = weighted / (n * sum);
	return 0;
}

extern const struct metric_ops metric_sparseness;
const struct metric_ops metric_sparseness = {
	.name = "sparseness",
	.help = "concentration of the map on few pixels",
	.options = options,
	.figures = figures,
	.carve = carve,
	.run = run,
};

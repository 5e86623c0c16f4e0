/* How spread out the attribution is: the Shannon entropy of |map| / sum |map| (methods.md section 5). */
#include "metrics/maps.h"

#include <math.h>

static const struct option_row options[] = {OPTION_END};

static const struct metric_figure figures[] = {
	{"entropy",
		"Shannon entropy of the magnitudes as shares of their sum, divided by log(pixels): 1 for "
		"equal magnitudes, 0 for "
		"a "
		"single pixel; NaN for a map of zeros",
		FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	size_t n = (size_t)in->height * (size_t)in->width;
	double sum = 0, entropy = 0;

	(void)scratch;
	(void)params;
	out->figures[0] = NAN;
	if (map_check(in->map, n, err))
		return -1;
	for (size_t i = 0; i < n; i++)
		sum += fabs((double)in->map[i]);
	for (size_t i = 0; i < n; i++) {
		double p = fabs((double)in->map[i]) / sum;

		if (p > 0) /* 0 log 0 = 0 */
			entropy -= p * log(p);
	}
	if (sum > 0)
		out->figures[0] = entropy / log((double)n);
	return 0;
}

extern const struct metric_ops metric_entropy;
const struct metric_ops metric_entropy = {
	.name = "entropy",
	.help = "spread of the map over the pixels",
	.options = options,
	.figures = figures,
	.carve = map_carve_nothing,
	.run = run,
};

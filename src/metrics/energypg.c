/* The energy-based pointing game: how much of the positive attribution lies on the annotated object
 * (methods.md section 5; Score-CAM, Wang et al. 2020). */
#include "metrics/maps.h"

#include <math.h>

struct energypg_params {
	int of;
};

static const struct option_row options[] = {MAP_OF_OPTION(struct energypg_params), OPTION_END};

enum { ENERGY, GAIN };

static const struct metric_figure figures[] = {
	{"energy",
		"positive attribution on the annotated object / all positive attribution; 0 where there is "
		"none; "
		"by chance the object's share of the pixels",
		FIGURE_PLAIN},
	{"gain", "energy / the object's share of the pixels; by chance 1", FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	const float *map = map_of(in, ((const struct energypg_params *)params)->of);
	size_t n = (size_t)in->height * (size_t)in->width, area = 0;

	(void)scratch;
	out->figures[ENERGY] = out->figures[GAIN] = NAN;
	for (size_t i = 0; in->region && i < n; i++)
		area += in->region[i];
	if (!area)
		return 0;
	if (map_check(map, n, err))
		return -1;
	out->figures[ENERGY] = map_share(map_positive(map, in->region, n), map_positive(map, NULL, n));
	out->figures[GAIN] = out->figures[ENERGY] * (double)n / (double)area;
	return 0;
}

extern const struct metric_ops metric_energypg;
const struct metric_ops metric_energypg = {
	.name = "energypg",
	.help = "share of the positive attribution that lies on the annotated object",
	.options = options,
	.params_size = sizeof(struct energypg_params),
	.figures = figures,
	.needs = METRIC_REGION,
	.carve = map_carve_nothing,
	.run = run,
};

/* The pointing game: is the maximum of the map on the annotated object, or close to it (methods.md section 5;
 * Zhang et al. 2016, whose tolerance is 15 pixels)? */
#include "metrics/maps.h"

#include <math.h>

struct pointing_params {
	double tolerance;
};

static const struct option_row options[] = {
	{"tolerance", OPT_DOUBLE, offsetof(struct pointing_params, tolerance), "15", 0, 10000, NULL,
		"pixels between the maximum and the nearest pixel of the object at most, Euclidean"},
	OPTION_END,
};

static const struct metric_figure figures[] = {
	{"hit",
		"1 where a maximum of the map lies on the annotated object or within the tolerance, else 0; "
		"a "
		"constant map has no maximum: 0",
		FIGURE_CLASS_MEAN},
	{NULL, NULL, FIGURE_PLAIN},
};

static int has_pixels(const unsigned char *region, int n)
{
	for (int i = 0; i < n; i++)
		if (region[i])
			return 1;
	return 0;
}

/* Is a pixel of the region within the tolerance of (y, x)? */
static int is_near(const struct metric_input *in, int y, int x, double tolerance)
{
	int reach = (int)tolerance;
	int top = y > reach ? y - reach : 0, bottom = y + reach < in->height ? y + reach : in->height - 1;
	int left = x > reach ? x - reach : 0, right = x + reach < in->width ? x + reach : in->width - 1;

	for (int v = top; v <= bottom; v++)
		for (int u = left; u <= right; u++) {
			double dy = v - y, dx = u - x;

			if (in->region[v * in->width + u] && dy * dy + dx * dx <= tolerance * tolerance)
				return 1;
		}
	return 0;
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	double tolerance = ((const struct pointing_params *)params)->tolerance;
	int n = in->height * in->width, hit = 0;
	float most = -INFINITY;

	(void)scratch;
	out->figures[0] = NAN;
	if (!in->region || !has_pixels(in->region, n))
		return 0;
	if (map_check(in->map, (size_t)n, err))
		return -1;
	for (int i = 0; i < n; i++)
		most = in->map[i] > most ? in->map[i] : most;
	int constant = map_constant(in->map, (size_t)n);
	/* any of equal maxima may hit; where all pixels are equal, none is a maximum */
	for (int i = 0; i < n && !hit && !constant; i++)
		hit = in->map[i] == most && is_near(in, i / in->width, i % in->width, tolerance);
	out->figures[0] = hit;
	return 0;
}

extern const struct metric_ops metric_pointing_game;
const struct metric_ops metric_pointing_game = {
	.name = "pointing_game",
	.help = "does the maximum of the map lie on the annotated object",
	.options = options,
	.params_size = sizeof(struct pointing_params),
	.figures = figures,
	.needs = METRIC_REGION,
	.carve = map_carve_nothing,
	.run = run,
};

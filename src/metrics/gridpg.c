/*
 * The grid pointing game: n x n images of distinct classes in one picture, explained for the class of each
 * cell; how much of the positive attribution of a class lies in its own cell (methods.md section 5; Boehle et
 * al. 2021). By chance 1 / n^2.
 */
#include "metrics/maps.h"

#include <math.h>

enum { CELLS_NATIVE, CELLS_RESCALED };

struct gridpg_params {
	int n, cells;
	double min_probability, fraction;
	int of;
};

#define AT(field) offsetof(struct gridpg_params, field)
static const struct option_row options[] = {
	{"n", OPT_INT, AT(n), "2", 2, 3, NULL, "cells in a row and in a column"},
	{"cells", OPT_CHOICE, AT(cells), "native", 0, 0, "native|rescaled",
		"every cell has the size of an image (the positional table is resampled), or the grid has"},
	{"min_probability", OPT_DOUBLE, AT(min_probability), "0.5", 0, 1, NULL,
		"images of a grid are classified right, with at least this probability"},
	MAP_FRACTION_OPTION(struct gridpg_params),
	MAP_OF_OPTION(struct gridpg_params),
	OPTION_END,
};
#undef AT

enum { SCORE, OWN };

static const struct metric_figure figures[] = {
	{"score",
		"mean over the cells of a grid: positive attribution of the cell's class inside the cell / "
		"all "
		"of it; 0 where there is none; by chance 1 / n^2",
		FIGURE_PLAIN},
	{"own", "that of the cell of the image at hand", FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

/* The size of a grid about an image of that height (or width). */
static int grid_side(const struct gridpg_params *p, int side)
{
	return p->cells == CELLS_NATIVE ? p->n * side : side;
}

static void grid(const void *params, struct metric_grid *g)
{
	const struct gridpg_params *p = params;

	*g = (struct metric_grid){p->n, p->cells == CELLS_RESCALED, p->min_probability};
}

struct scratch {
	float *raw, *map; /* (n * n, grid) */
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	const struct gridpg_params *p = params;
	size_t plane = (size_t)grid_side(p, height) * (size_t)grid_side(p, width);
	size_t cells = (size_t)p->n * (size_t)p->n;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)channels;
	(void)batch;
	s.raw = arena_floats(a, cells * plane);
	s.map = arena_floats(a, cells * plane);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* Share of the positive values of a map (height, width) that lie in one of its n x n cells. */
static double cell_share(const float *map, int n, int cell, int height, int width)
{
	int top = cell / n * height / n, bottom = (cell / n + 1) * height / n;
	int left = cell % n * width / n, right = (cell % n + 1) * width / n;
	double inside = 0;

	for (int y = top; y < bottom; y++)
		inside += map_positive(map + (size_t)y * (size_t)width + left, NULL, (size_t)(right - left));
	return map_share(inside, map_positive(map, NULL, (size_t)height * (size_t)width));
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	const struct gridpg_params *p = params;
	int h = grid_side(p, in->height), w = grid_side(p, in->width), cells = p->n * p->n, own = 0, rc;
	size_t plane = (size_t)h * (size_t)w;
	struct scratch *s = scratch;
	struct metric_grid g;

	out->figures[SCORE] = out->figures[OWN] = NAN;
	if (!map_chosen(in, p->fraction))
		return 0;
	grid(p, &g);
	rc = in->explainer->explain_grid(in->explainer->ctx, s->raw, s->map, &own, &g, h, w, err);
	if (rc <= 0)
		return rc;
	out->figures[SCORE] = 0;
	for (int k = 0; k < cells; k++) {
		const float *map = (p->of == MAP_RAW ? s->raw : s->map) + (size_t)k * plane;

		if (map_check(map, plane, err))
			return err_prefix(err, "cell %d of the grid", k);
		double share = cell_share(map, p->n, k, h, w);
		out->figures[SCORE] += share / cells;
		if (k == own)
			out->figures[OWN] = share;
	}
	return 0;
}

static double explanations(const void *params)
{
	return ((const struct gridpg_params *)params)->fraction;
}

extern const struct metric_ops metric_gridpg;
const struct metric_ops metric_gridpg = {
	.name = "gridpg",
	.help = "share of the positive attribution of a class that lies in its own cell of a grid of images",
	.options = options,
	.params_size = sizeof(struct gridpg_params),
	.figures = figures,
	.grid = grid,
	.carve = carve,
	.run = run,
	.explanations = explanations,
};

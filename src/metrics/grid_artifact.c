/*
 * Does the raw map show the lattice of the patches (methods.md section 5)? Two ways in which it may, each
 * blind to the other:
 *
 *   border_ratio    steps at the borders of patches, as blocky maps have them: mean |difference| of
 *                   neighbours, horizontal and vertical ones together, across a border over that within
 *                   patches. 1 where borders are nothing special (noise; smooth maps).
 *   lattice_energy  a texture that comes back in every patch: share of the spectral energy, the zero
 *                   frequency left out, at the harmonics of a lattice of period P in both directions, which
 *                   are the frequencies (k H/P, l W/P), k and l = 0 .. P - 1, not both 0. White noise has
 *                   (P^2 - 1) / (H W - 1) on average: all frequencies are alike. Smooth maps are no higher,
 *                   since their energy is at frequencies below the first harmonic.
 *
 * No transform is needed for the latter. At those frequencies the spectrum is that of the mean patch, so by
 * Parseval the share is the variance of the mean patch over the variance of the map: what the position within
 * a patch explains.
 */
#include "metrics/maps.h"

#include <math.h>

static const struct option_row options[] = {OPTION_END};

enum { BORDER_RATIO, LATTICE_ENERGY };

static const struct metric_figure figures[] = {
	{"border_ratio",
		"raw map: mean difference of neighbouring pixels across the borders of patches / the same "
		"within patches; by chance 1; infinite for constant patches, NaN for a constant map or one "
		"patch",
		FIGURE_PLAIN},
	{"lattice_energy",
		"raw map: share of the spectral energy at the harmonics of the patch lattice, which is the "
		"share of the variance that the position within a patch explains; by chance (patch^2 - 1) / "
		"(pixels - 1); NaN for a constant map or one patch",
		FIGURE_PLAIN},
	{NULL, NULL, FIGURE_PLAIN},
};

static void *carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	(void)params;
	(void)channels;
	(void)batch;
	/* the mean patch, which is the whole map where there is only one */
	return arena_take(a, (size_t)height * (size_t)width, sizeof(double));
}

/* Sum and number of the differences within [0] and across [1] the borders of patches. */
struct differences {
	double sum[2], count[2];
};

static void add_difference(struct differences *d, float a, float b, int across)
{
	d->sum[across] += fabs((double)a - b);
	d->count[across]++;
}

static double border_ratio(const float *map, int height, int width, int patch)
{
	struct differences d = {{0}, {0}};

	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++, map++) {
			if (x + 1 < width)
				add_difference(&d, map[0], map[1], (x + 1) % patch == 0);
			if (y + 1 < height)
				add_difference(&d, map[0], map[width], (y + 1) % patch == 0);
		}
	return d.sum[1] / d.count[1] / (d.sum[0] / d.count[0]);
}

static double lattice_energy(double *patches, const float *map, int height, int width, int patch)
{
	int cells = patch * patch, n = height * width;
	double mean = 0, variance = 0, explained = 0;

	for (int i = 0; i < cells; i++)
		patches[i] = 0;
	for (int i = 0; i < n; i++) {
		patches[i / width % patch * patch + i % width % patch] += map[i];
		mean += map[i];
	}
	mean /= n;
	for (int i = 0; i < n; i++)
		variance += (map[i] - mean) * (map[i] - mean) / n;
	for (int i = 0; i < cells; i++) {
		double d = patches[i] * cells / n - mean;

		explained += d * d / cells;
	}
	return explained / variance;
}

static int run(void *scratch, const void *params, const struct metric_input *in,
	const struct metric_output *out, struct err *err)
{
	size_t n = (size_t)in->height * (size_t)in->width;

	(void)params;
	out->figures[BORDER_RATIO] = out->figures[LATTICE_ENERGY] = NAN;
	if (map_check(in->raw, n, err))
		return -1;
	if (map_constant(in->raw, n) || (in->height == in->patch && in->width == in->patch))
		return 0;
	out->figures[BORDER_RATIO] = border_ratio(in->raw, in->height, in->width, in->patch);
	out->figures[LATTICE_ENERGY] = lattice_energy(scratch, in->raw, in->height, in->width, in->patch);
	return 0;
}

extern const struct metric_ops metric_grid_artifact;
const struct metric_ops metric_grid_artifact = {
	.name = "grid_artifact",
	.help = "how much of the patch lattice the raw map shows",
	.options = options,
	.figures = figures,
	.carve = carve,
	.run = run,
};

#include "kernels/filter.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

void filter_gaussian(float *taps, int n, double sigma)
{
	double sum = 0;
	int centre = n / 2;

	for (int i = 0; i < n; i++)
		sum += exp(-pow(i - centre, 2) / (2 * sigma * sigma));
	for (int i = 0; i < n; i++)
		taps[i] = (float)(exp(-pow(i - centre, 2) / (2 * sigma * sigma)) / sum);
}

/* Index into 0..n-1 of position i in the half-sample symmetric extension (d c b a | a b c d | d c b a). */
static int reflect(int i, int n)
{
	i = ((i % (2 * n)) + 2 * n) % (2 * n);
	return i < n ? i : 2 * n - 1 - i;
}

void filter_rise(float *taps, int n, double sigma)
{
	int radius = (int)(4 * sigma + 0.5);
	double sum = 0, value[FILTER_MAX_TAPS] = {0};

	for (int k = -radius; k <= radius; k++) {
		double g = exp(-k * (double)k / (2 * sigma * sigma));

		sum += g;
		for (int i = 0; i < n; i++)
			if (reflect(i + k, n) == n / 2)
				value[i] += g;
	}
	for (int i = 0; i < n; i++)
		taps[i] = (float)(value[i] / sum);
}

/* out row = sum over taps of shifted input rows or columns; stride 1 along a row. */
SIMD_CLONES
static void add_scaled(float *restrict out, const float *restrict in, float weight, int n)
{
	SIMD_LOOP
	for (int i = 0; i < n; i++)
		out[i] += weight * in[i];
}

void filter_separable(
	float *out, const float *in, float *scratch, const float *taps, int n, int height, int width)
{
	int r = n / 2;

	memset(scratch, 0, (size_t)height * (size_t)width * sizeof(*scratch));
	for (int i = 0; i < height; i++)
		for (int k = -r; k <= r; k++) {
			int lo = k < 0 ? -k : 0, hi = k > 0 ? width - k : width;

			if (lo < hi)
				add_scaled(scratch + (size_t)i * (size_t)width + lo,
					in + (size_t)i * (size_t)width + lo + k, taps[k + r], hi - lo);
		}
	memset(out, 0, (size_t)height * (size_t)width * sizeof(*out));
	for (int i = 0; i < height; i++)
		for (int k = -r; k <= r; k++)
			if (i + k >= 0 && i + k < height)
				add_scaled(out + (size_t)i * (size_t)width,
					scratch + (size_t)(i + k) * (size_t)width, taps[k + r], width);
}

enum { CHUNK = 64, MOST_BILATERAL = 15 }; /* pixels side by side; taps across */

/* The part of row y from column j - r that CHUNK pixels and their neighbours take; zeros outside the plane.
 */
static void load_row(float *row, const float *in, int y, int j, int r, int height, int width)
{
	int from = j - r < 0 ? 0 : j - r, to = j + CHUNK + r > width ? width : j + CHUNK + r;

	memset(row, 0, (CHUNK + MOST_BILATERAL) * sizeof(*row));
	if (y >= 0 && y < height)
		memcpy(row + (from - (j - r)), in + (size_t)y * (size_t)width + from,
			(size_t)(to - from) * sizeof(*row));
}

/* sum and total (CHUNK) += a neighbour's part, v its values. */
SIMD_CLONES
static void add_neighbour(double *restrict sum, double *restrict total, const float *restrict v,
	const float *restrict centre, float space, float range)
{
	SIMD_LOOP
	for (int l = 0; l < CHUNK; l++) {
		float d = v[l] - centre[l], w = space * exp_lane(d * d * range);

		sum[l] += (double)w * (double)v[l];
		total[l] += (double)w;
	}
}

void filter_bilateral(
	float *out, const float *in, int n, double sigma_space, double sigma_range, int height, int width)
{
	int r = n / 2;
	float range = (float)(-1 / (2 * sigma_range * sigma_range)), space[MOST_BILATERAL * MOST_BILATERAL];

	for (int k = 0; k < n * n; k++) {
		int y = k / n - r, x = k % n - r;

		space[k] = (float)exp(-(x * x + y * y) / (2 * sigma_space * sigma_space));
	}
	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j += CHUNK) {
			float row[CHUNK + MOST_BILATERAL], centre[CHUNK];
			double sum[CHUNK] = {0}, total[CHUNK] = {0};

			load_row(row, in, i, j, r, height, width);
			memcpy(centre, row + r, sizeof(centre));
			for (int k = 0; k < n * n; k++) {
				if (k % n == 0)
					load_row(row, in, i + k / n - r, j, r, height, width);
				add_neighbour(sum, total, row + k % n, centre, space[k], range);
			}
			for (int l = 0; l < CHUNK && j + l < width; l++)
				out[(size_t)i * (size_t)width + (size_t)(j + l)] =
					(float)(sum[l] / (total[l] + 1e-8));
		}
}

#include "kernels/filter.h"

#include "kernels/simd.h"

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

void filter_bilateral(
	float *out, const float *in, int n, double sigma_space, double sigma_range, int height, int width)
{
	int r = n / 2;
	double space[15 * 15], range = -1 / (2 * sigma_range * sigma_range);

	for (int k = 0; k < n * n; k++) {
		int y = k / n - r, x = k % n - r;
		space[k] = exp(-(x * x + y * y) / (2 * sigma_space * sigma_space));
	}
	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j++) {
			double centre = in[(size_t)i * (size_t)width + (size_t)j], sum = 0, total = 0;

			for (int k = 0; k < n * n; k++) {
				int y = i + k / n - r, x = j + k % n - r;
				int inside = y >= 0 && y < height && x >= 0 && x < width;
				double v = inside ? in[(size_t)y * (size_t)width + (size_t)x] : 0;
				double w = space[k] * exp((v - centre) * (v - centre) * range);

				sum += w * v;
				total += w;
			}
			out[(size_t)i * (size_t)width + (size_t)j] = (float)(sum / (total + 1e-8));
		}
}

#include "kernels/groupnorm.h"

#include "base/simd.h"

#include <stddef.h>

/* A picture has a million numbers: the sums of the pixels are added up in double. */

SIMD_CLONES
static double total(const float *x, int pixels, int channels)
{
	double all = 0;

	for (int p = 0; p < pixels; p++, x += channels) {
		lanes sum = {0}, v;

		for (int i = 0; i < channels; i += LANES) {
			lanes_load(&v, x + i, channels - i, 0);
			sum += v;
		}
		all += (double)lanes_total(&sum);
	}
	return all;
}

SIMD_CLONES
static double total_squares(const float *x, float mean, int pixels, int channels)
{
	double all = 0;

	for (int p = 0; p < pixels; p++, x += channels) {
		lanes sum = {0}, v;

		for (int i = 0; i < channels; i += LANES) {
			lanes_load(&v, x + i, channels - i, mean);
			v -= mean;
			sum += v * v;
		}
		all += (double)lanes_total(&sum);
	}
	return all;
}

/* The sum of w * dy, times xhat unless it is NULL. */
SIMD_CLONES
static double total_weighted(const float *dy, const float *xhat, const float *w, int pixels, int channels)
{
	double all = 0;

	for (int p = 0; p < pixels; p++, dy += channels) {
		lanes sum = {0}, g, v;

		for (int i = 0; i < channels; i += LANES) {
			lanes_load(&g, w + i, channels - i, 0);
			lanes_load(&v, dy + i, channels - i, 0);
			g *= v;
			if (xhat) {
				lanes_load(&v, xhat + i, channels - i, 0);
				g *= v;
			}
			sum += g;
		}
		xhat = xhat ? xhat + channels : NULL;
		all += (double)lanes_total(&sum);
	}
	return all;
}

SIMD_CLONES
void groupnorm_forward(float *y, float *rstd, float *xhat, const float *x, const float *w, int pixels,
	int channels, float eps)
{
	double count = (double)pixels * channels;
	float mean = (float)(total(x, pixels, channels) / count);
	float r = (float)(1 / sqrt(total_squares(x, mean, pixels, channels) / count + (double)eps));

	for (int p = 0; p < pixels; p++, x += channels, y += channels) {
		if (xhat) {
			SIMD_LOOP
			for (int i = 0; i < channels; i++)
				xhat[i] = (x[i] - mean) * r;
			xhat += channels;
		}
		SIMD_LOOP
		for (int i = 0; i < channels; i++)
			y[i] = w[i] * ((x[i] - mean) * r);
	}
	*rstd = r;
}

SIMD_CLONES
void groupnorm_backward(
	float *dx, const float *dy, const float *xhat, float rstd, const float *w, int pixels, int channels)
{
	double count = (double)pixels * channels;
	float mean = (float)(total_weighted(dy, NULL, w, pixels, channels) / count);
	float slope = (float)(total_weighted(dy, xhat, w, pixels, channels) / count);

	for (int p = 0; p < pixels; p++, dx += channels, dy += channels, xhat += channels) {
		SIMD_LOOP
		for (int i = 0; i < channels; i++)
			dx[i] = rstd * (w[i] * dy[i] - mean - xhat[i] * slope);
	}
}

SIMD_CLONES
void groupnorm_backward_frozen(
	float *dx, const float *dy, float rstd, const float *w, int pixels, int channels)
{
	float mean = (float)(total_weighted(dy, NULL, w, pixels, channels) / ((double)pixels * channels));

	for (int p = 0; p < pixels; p++, dx += channels, dy += channels) {
		SIMD_LOOP
		for (int i = 0; i < channels; i++)
			dx[i] = rstd * (w[i] * dy[i] - mean);
	}
}

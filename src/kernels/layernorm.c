#include "kernels/layernorm.h"

#include "base/simd.h"

#include <stddef.h>

SIMD_CLONES
static float forward_row(
	float *y, float *xhat, const float *x, const float *w, const float *b, int width, float eps)
{
	lanes sum = {0}, squares = {0}, v;

	for (int i = 0; i < width; i += LANES) {
		lanes_load(&v, x + i, width - i, 0);
		sum += v;
	}
	float mean = lanes_total(&sum) / (float)width;
	for (int i = 0; i < width; i += LANES) {
		lanes_load(&v, x + i, width - i, mean);
		v -= mean;
		squares += v * v;
	}
	float rstd = 1.0f / sqrtf(lanes_total(&squares) / (float)width + eps);
	if (xhat) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			xhat[i] = (x[i] - mean) * rstd;
	}
	if (!b) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] = w[i] * ((x[i] - mean) * rstd);
		return rstd;
	}
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		y[i] = w[i] * ((x[i] - mean) * rstd) + b[i];
	return rstd;
}

void layernorm_forward(float *y, float *rstd, float *xhat, const float *x, const float *w, const float *b,
	int rows, int width, float eps)
{
	for (int r = 0; r < rows; r++) {
		size_t at = (size_t)r * (size_t)width;

		rstd[r] = forward_row(y + at, xhat ? xhat + at : NULL, x + at, w, b, width, eps);
	}
}

SIMD_CLONES
static void backward_row(float *dx, const float *dy, const float *xhat, float rstd, const float *w, int width)
{
	lanes a = {0}, c = {0}, g, v;

	for (int i = 0; i < width; i += LANES) {
		lanes_load(&g, w + i, width - i, 0);
		lanes_load(&v, dy + i, width - i, 0);
		g *= v;
		a += g;
		lanes_load(&v, xhat + i, width - i, 0);
		c += g * v;
	}
	float mean = lanes_total(&a) / (float)width, slope = lanes_total(&c) / (float)width;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		dx[i] += rstd * (w[i] * dy[i] - mean - xhat[i] * slope);
}

SIMD_CLONES
static void backward_frozen_row(float *dx, const float *dy, float rstd, const float *w, int width)
{
	lanes a = {0}, g, v;

	for (int i = 0; i < width; i += LANES) {
		lanes_load(&g, w + i, width - i, 0);
		lanes_load(&v, dy + i, width - i, 0);
		a += g * v;
	}
	float mean = lanes_total(&a) / (float)width;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		dx[i] += rstd * (w[i] * dy[i] - mean);
}

void layernorm_backward(
	float *dx, const float *dy, const float *xhat, const float *rstd, const float *w, int rows, int width)
{
	for (int r = 0; r < rows; r++) {
		size_t at = (size_t)r * (size_t)width;

		backward_row(dx + at, dy + at, xhat + at, rstd[r], w, width);
	}
}

void layernorm_backward_frozen(
	float *dx, const float *dy, const float *rstd, const float *w, int rows, int width)
{
	for (int r = 0; r < rows; r++) {
		size_t at = (size_t)r * (size_t)width;

		backward_frozen_row(dx + at, dy + at, rstd[r], w, width);
	}
}

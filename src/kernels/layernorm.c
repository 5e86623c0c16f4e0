#include "kernels/layernorm.h"

#include "kernels/simd.h"

#include <stddef.h>

SIMD_CLONES
static float forward_row(
	float *y, float *xhat, const float *x, const float *w, const float *b, int width, float eps)
{
	float sum = 0, squares = 0;

	SIMD_SUM(sum)
	for (int i = 0; i < width; i++)
		sum += x[i];
	float mean = sum / (float)width;
	SIMD_SUM(squares)
	for (int i = 0; i < width; i++)
		squares += (x[i] - mean) * (x[i] - mean);
	float rstd = 1.0f / sqrtf(squares / (float)width + eps);
	if (xhat) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			xhat[i] = (x[i] - mean) * rstd;
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
	float a = 0, c = 0;

	SIMD_SUM(a)
	for (int i = 0; i < width; i++)
		a += w[i] * dy[i];
	SIMD_SUM(c)
	for (int i = 0; i < width; i++)
		c += w[i] * dy[i] * xhat[i];
	a /= (float)width;
	c /= (float)width;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		dx[i] += rstd * (w[i] * dy[i] - a - xhat[i] * c);
}

SIMD_CLONES
static void backward_frozen_row(float *dx, const float *dy, float rstd, const float *w, int width)
{
	float a = 0;

	SIMD_SUM(a)
	for (int i = 0; i < width; i++)
		a += w[i] * dy[i];
	a /= (float)width;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		dx[i] += rstd * (w[i] * dy[i] - a);
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

#include "kernels/softmax.h"

#include "kernels/simd.h"

#include <stddef.h>

SIMD_CLONES
static void forward_row(float *x, int width)
{
	float max = x[0], sum = 0;

	SIMD_MAX(max)
	for (int i = 1; i < width; i++)
		max = x[i] > max ? x[i] : max;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		x[i] = expf(x[i] - max);
	SIMD_SUM(sum)
	for (int i = 0; i < width; i++)
		sum += x[i];
	float scale = 1.0f / sum;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		x[i] *= scale;
}

void softmax_forward(float *x, int rows, int width)
{
	for (int r = 0; r < rows; r++)
		forward_row(x + (size_t)r * (size_t)width, width);
}

SIMD_CLONES
static void backward_row(float *dx, const float *dp, const float *p, int width)
{
	float dot = 0;

	SIMD_SUM(dot)
	for (int i = 0; i < width; i++)
		dot += dp[i] * p[i];
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		dx[i] = p[i] * (dp[i] - dot);
}

void softmax_backward(float *dx, const float *dp, const float *p, int rows, int width)
{
	for (int r = 0; r < rows; r++) {
		size_t at = (size_t)r * (size_t)width;

		backward_row(dx + at, dp + at, p + at, width);
	}
}

#include "kernels/softmax.h"

#include "base/simd.h"

#include <stddef.h>

SIMD_CLONES
static void forward_row(float *x, int width)
{
	float max = x[0];
	lanes sum = {0}, v;

	SIMD_MAX(max)
	for (int i = 1; i < width; i++)
		max = x[i] > max ? x[i] : max;
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		x[i] = exp_lane(x[i] - max);
	for (int i = 0; i < width; i += LANES) {
		lanes_load(&v, x + i, width - i, 0);
		sum += v;
	}
	float scale = 1.0f / lanes_total(&sum);
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
	lanes sum = {0}, a, b;

	for (int i = 0; i < width; i += LANES) {
		lanes_load(&a, dp + i, width - i, 0);
		lanes_load(&b, p + i, width - i, 0);
		sum += a * b;
	}
	float dot = lanes_total(&sum);
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

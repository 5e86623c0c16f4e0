#include "kernels/elementwise.h"

#include "base/simd.h"

#include <string.h>

void rows_fill(float *y, const float *bias, int rows, int width)
{
	if (!bias) {
		memset(y, 0, (size_t)rows * (size_t)width * sizeof(*y));
		return;
	}
	for (int r = 0; r < rows; r++)
		memcpy(y + (size_t)r * (size_t)width, bias, (size_t)width * sizeof(*y));
}

SIMD_CLONES
void rows_add(float *y, const float *bias, int rows, int width)
{
	for (int r = 0; r < rows; r++, y += width) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] += bias[i];
	}
}

SIMD_CLONES
void rows_add_scaled(float *y, const float *x, const float *gamma, int rows, int width)
{
	for (int r = 0; r < rows; r++, y += width, x += width) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] += gamma[i] * x[i];
	}
}

SIMD_CLONES
void rows_scale(float *y, const float *x, const float *gamma, int rows, int width)
{
	for (int r = 0; r < rows; r++, y += width, x += width) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] = gamma[i] * x[i];
	}
}

SIMD_CLONES
void rows_mean(float *y, const float *x, int rows, int width)
{
	memset(y, 0, (size_t)width * sizeof(*y));
	for (int r = 0; r < rows; r++, x += width) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] += x[i];
	}
	SIMD_LOOP
	for (int i = 0; i < width; i++)
		y[i] /= (float)rows;
}

SIMD_CLONES
void rows_add_shared(float *y, const float *x, float scale, int rows, int width)
{
	for (int r = 0; r < rows; r++, y += width) {
		SIMD_LOOP
		for (int i = 0; i < width; i++)
			y[i] += scale * x[i];
	}
}

SIMD_CLONES
void multiply(float *y, const float *x, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] *= x[i];
}

SIMD_CLONES
void mix(float *y, const float *x, double a, double b, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = (float)(a * y[i] + b * x[i]);
}

SIMD_CLONES
bool all_finite(const float *y, size_t n)
{
	int32_t bad = 0;

	SIMD_PRAGMA(omp simd reduction(| : bad))
	for (size_t i = 0; i < n; i++)
		bad |= fabsf(y[i]) <= 0x1.fffffep+127f ? 0 : 1;
	return !bad;
}

double rows_dot(const float *g, const float *bias, int rows, int width)
{
	double sum = 0;

	for (int r = 0; r < rows; r++, g += width)
		for (int i = 0; i < width; i++)
			sum += (double)g[i] * bias[i];
	return sum;
}

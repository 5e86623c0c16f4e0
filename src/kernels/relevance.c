#include "kernels/relevance.h"

#include "base/simd.h"

SIMD_CLONES
void split_signs(float *plus, float *minus, const float *x, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		plus[i] = x[i] < 0.0f ? 0.0f : x[i];
		minus[i] = x[i] > 0.0f ? 0.0f : x[i];
	}
}

SIMD_CLONES
void magnitudes(float *y, const float *x, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = fabsf(x[i]);
}

/* What to divide by, so that 0 gives 0: a branch about the division would keep the loop from being
 * vectorised. */
SIMD_INLINE float divisor(float x)
{
	return x == 0.0f ? INFINITY : x;
}

SIMD_CLONES
void divide_or_zero(float *y, const float *a, const float *b, float scale, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = scale * a[i] / divisor(b[i]);
}

SIMD_CLONES
void join_signs(float *r, const float *plus, const float *minus, const float *up, const float *down, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		r[i] = plus[i] * up[i] + minus[i] * down[i];
}

SIMD_CLONES
void gamma_shares(float *z, float *size, const float *g, float gamma, size_t n)
{
	float half = 0.5f * gamma;

	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float magnitude = fabsf(z[i]);
		float share = g[i] / divisor((1.0f + half) * magnitude + half * size[i]);

		size[i] = z[i] * share;
		z[i] = magnitude * share;
	}
}

SIMD_CLONES
void gamma_join(float *g, const float *more, const float *x, float gamma, size_t n)
{
	float half = 0.5f * gamma;

	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float up = x[i] > 0.0f ? half : 0.0f, sign = x[i] < 0.0f ? -half : up;

		g[i] = (1.0f + half) * g[i] + sign * more[i];
	}
}

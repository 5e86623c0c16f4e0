#include "kernels/gelu.h"

#include "kernels/simd.h"

#define SQRT_HALF 0.70710678118654752440f
#define DENSITY_0 0.39894228040143267794f /* 1 / sqrt(2 pi) */

SIMD_CLONES
void gelu_forward(float *y, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = z[i] * (0.5f * (1.0f + erff(z[i] * SQRT_HALF)));
}

SIMD_CLONES
void gelu_forward_frozen(float *y, float *slope, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], gate = 0.5f * (1.0f + erff(x * SQRT_HALF));

		slope[i] = x == 0.0f ? 1.0f : gate;
		y[i] = x * gate;
	}
}

SIMD_CLONES
void gelu_forward_gradient(float *y, float *slope, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], gate = 0.5f * (1.0f + erff(x * SQRT_HALF));

		slope[i] = gate + x * (DENSITY_0 * expf(-0.5f * x * x));
		y[i] = x * gate;
	}
}

#include "kernels/gelu.h"

#include "base/simd.h"

#define DENSITY_0 0.39894228040143267794f /* 1 / sqrt(2 pi) */

SIMD_CLONES
void gelu_forward(float *y, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float e;

		y[i] = z[i] * phi_lane(z[i], &e);
	}
}

SIMD_CLONES
void gelu_forward_frozen(float *y, float *slope, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], e, gate = phi_lane(x, &e);

		slope[i] = x == 0.0f ? 1.0f : gate;
		y[i] = x * gate;
	}
}

SIMD_CLONES
void gelu_forward_gradient(float *y, float *slope, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], e, gate = phi_lane(x, &e);

		slope[i] = gate + x * (DENSITY_0 * e);
		y[i] = x * gate;
	}
}

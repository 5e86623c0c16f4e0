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
void gelu_backward(float *dz, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], e, gate = phi_lane(x, &e);

		dz[i] *= gate + x * (DENSITY_0 * e);
	}
}

SIMD_CLONES
void gelu_backward_frozen(float *dz, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], e, gate = phi_lane(x, &e);

		dz[i] *= x == 0.0f ? 1.0f : gate;
	}
}

/* 1 / (1 + e^-x) */
SIMD_INLINE float logistic_lane(float x)
{
	return 1.0f / (1.0f + exp_lane(-x));
}

SIMD_CLONES
void quick_gelu_forward(float *y, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = z[i] * logistic_lane(1.702f * z[i]);
}

SIMD_CLONES
void quick_gelu_forward_frozen(float *y, float *slope, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], gate = logistic_lane(1.702f * x);

		slope[i] = gate;
		y[i] = x * gate;
	}
}

SIMD_CLONES
void quick_gelu_backward(float *dz, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++) {
		float x = z[i], gate = logistic_lane(1.702f * x);

		dz[i] *= gate + 1.702f * x * gate * (1.0f - gate);
	}
}

SIMD_CLONES
void quick_gelu_backward_frozen(float *dz, const float *z, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		dz[i] *= logistic_lane(1.702f * z[i]);
}

SIMD_CLONES
void swiglu_forward(float *y, float *slope, const float *z, const float *gate, size_t n)
{
	if (slope) {
		SIMD_LOOP
		for (size_t i = 0; i < n; i++)
			slope[i] = gate[i] * logistic_lane(gate[i]);
	}
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		y[i] = gate[i] * logistic_lane(gate[i]) * z[i];
}

SIMD_CLONES
void swiglu_backward(float *dz, float *dgate, const float *z, const float *gate, size_t n)
{
	if (dgate) {
		SIMD_LOOP
		for (size_t i = 0; i < n; i++) {
			float g = gate[i], s = logistic_lane(g);

			dgate[i] = dz[i] * (z[i] * (s + g * s * (1.0f - s)));
		}
	}
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		dz[i] *= gate[i] * logistic_lane(gate[i]);
}

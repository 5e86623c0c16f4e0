#include "kernels/bcos.h"

#include "base/simd.h"

SIMD_CLONES
void bcos_norms(float *norm, const float *x, int rows, int in, float inside, float outside)
{
	for (int r = 0; r < rows; r++, x += in) {
		lanes squares = {0}, v;

		for (int i = 0; i < in; i += LANES) {
			lanes_load(&v, x + i, in - i, 0);
			squares += v * v;
		}
		norm[r] = sqrtf(lanes_total(&squares) + inside) + outside;
	}
}

SIMD_CLONES
void bcos_forward(float *y, float *cosine, const float *z, const float *norm, int rows, int out)
{
	for (int r = 0; r < rows; r++, y += out, z += out) {
		float n = norm[r];

		if (cosine) {
			SIMD_LOOP
			for (int i = 0; i < out; i++)
				cosine[i] = z[i] / n;
			cosine += out;
		}
		SIMD_LOOP
		for (int i = 0; i < out; i++)
			y[i] = fabsf(z[i] / n) * z[i];
	}
}

SIMD_CLONES
void bcos_backward(float *dz, float *pull, const float *dy, const float *cosine, int rows, int out)
{
	for (int r = 0; r < rows; r++, dz += out, dy += out, cosine += out) {
		lanes sum = {0}, g, c;

		SIMD_LOOP
		for (int i = 0; i < out; i++)
			dz[i] = 2.0f * fabsf(cosine[i]) * dy[i];
		for (int i = 0; i < out; i += LANES) {
			lanes_load(&g, dz + i, out - i, 0);
			lanes_load(&c, cosine + i, out - i, 0);
			sum += g * c;
		}
		pull[r] = 0.5f * lanes_total(&sum);
	}
}

SIMD_CLONES
void bcos_backward_norm(float *dx, const float *x, const float *pull, const float *norm, int rows, int in)
{
	for (int r = 0; r < rows; r++, dx += in, x += in) {
		float factor = pull[r] / norm[r];

		SIMD_LOOP
		for (int i = 0; i < in; i++)
			dx[i] -= factor * x[i];
	}
}

SIMD_CLONES
void bcos_backward_frozen(float *dz, const float *dy, const float *cosine, size_t n)
{
	SIMD_LOOP
	for (size_t i = 0; i < n; i++)
		dz[i] = fabsf(cosine[i]) * dy[i];
}

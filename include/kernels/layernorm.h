/*
 * LayerNorm over the last axis: y = w * (x - mean) * rstd + b, rstd = 1/sqrt(biased variance + eps).
 * rows x width, row-major. Backward passes: methods.md section 2.
 */
#ifndef KERNELS_LAYERNORM_H
#define KERNELS_LAYERNORM_H

/* y (rows x width) and rstd (rows); also xhat = (x - mean) * rstd unless it is NULL (only the true backward
 * needs it). b NULL: none. y may be x. */
void layernorm_forward(float *y, float *rstd, float *xhat, const float *x, const float *w, const float *b,
	int rows, int width, float eps);

/* True adjoint, added to dx as the residual stream wants it:
 * dx += rstd * (g - mean(g) - xhat * mean(g * xhat)), g = w * dy. */
void layernorm_backward(float *dx, const float *dy, const float *xhat, const float *rstd, const float *w,
	int rows, int width);

/* Frozen adjoint (rstd a constant, the centring stays), added to dx: dx += rstd * (g - mean(g)), g = w * dy.
 */
void layernorm_backward_frozen(
	float *dx, const float *dy, const float *rstd, const float *w, int rows, int width);

#endif

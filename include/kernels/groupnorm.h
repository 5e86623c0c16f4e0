/*
 * LayerNorm of a picture as a whole (GroupNorm of one group), without bias: y = w * (x - mean) * rstd with
 * mean and deviation over all pixels and channels, rstd = 1/sqrt(biased variance + eps), w per channel.
 * Pictures are pixels x channels, channels fastest.
 */
#ifndef KERNELS_GROUPNORM_H
#define KERNELS_GROUPNORM_H

/* y and rstd (one number); also xhat = (x - mean) * rstd unless it is NULL. y may be x. */
void groupnorm_forward(float *y, float *rstd, float *xhat, const float *x, const float *w, int pixels,
	int channels, float eps);

/* True adjoint: dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = w * dy. dx may be dy. */
void groupnorm_backward(
	float *dx, const float *dy, const float *xhat, float rstd, const float *w, int pixels, int channels);

/* Frozen adjoint (rstd a constant, the centring stays): dx = rstd * (g - mean(g)). dx may be dy. */
void groupnorm_backward_frozen(
	float *dx, const float *dy, float rstd, const float *w, int pixels, int channels);

#endif

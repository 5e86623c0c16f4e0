/* The small steps of relevance propagation (attribution/lrp.h), over n elements. NaN stays NaN. */
#ifndef KERNELS_RELEVANCE_H
#define KERNELS_RELEVANCE_H

#include <stddef.h>

/* plus = max(x, 0), minus = min(x, 0). */
void split_signs(float *plus, float *minus, const float *x, size_t n);

/* y = |x|. y may be x. */
void magnitudes(float *y, const float *x, size_t n);

/* y = scale * a / b, and 0 where b is 0. y may be a or b. */
void divide_or_zero(float *y, const float *a, const float *b, float scale, size_t n);

/* r = plus * up + minus * down. */
void join_signs(
	float *r, const float *plus, const float *minus, const float *up, const float *down, size_t n);

/*
 * The gamma rule between its products (lrp.h): z the outputs of the layer, size the sums of their
 * contributions' magnitudes, g the cotangents. With d = (1 + gamma / 2) |z| + gamma / 2 size, z becomes
 * g |z| / d and size g z / d; 0 where d is 0.
 */
void gamma_shares(float *z, float *size, const float *g, float gamma, size_t n);

/* g = (1 + gamma / 2) g + gamma / 2 sign(x) more; sign(0) = 0. */
void gamma_join(float *g, const float *more, const float *x, float gamma, size_t n);

#endif

/* Order statistics: pixel ranking and the robust mean over samples. */
#ifndef KERNELS_ORDER_H
#define KERNELS_ORDER_H

#include <stddef.h>
#include <stdint.h>

enum { AGGREGATE_MAX_SAMPLES = 4096 };

/* rank[p] = position of pixel p (0..n-1) when the pixels are sorted by value, largest first where `most`,
 * else smallest first; equal values by pixel index in both cases (a stable sort, methods.md section 5).
 * -0 equals +0. scratch holds 2n words of 64 bits. Values must not be NaN. */
void order_rank(uint32_t *rank, const float *value, int n, int most, uint64_t *scratch);

/*
 * MAD aggregation over samples (methods.md section 3), elementwise:
 *   med = lower median, mad = lower median of |c - med|, keep |c - med| <= 2.5 (1.4826 mad + 1e-8),
 *   out = mean of those kept.
 * NaN where one of the samples is (what keep says there means nothing). c (samples x n), out (n), keep
 * (samples x n, bytes 0/1) or NULL; scratch holds aggregate_scratch(samples) floats. samples <=
 * AGGREGATE_MAX_SAMPLES.
 */
void aggregate_mad(float *out, uint8_t *keep, const float *c, int samples, size_t n, float *scratch);
size_t aggregate_scratch(int samples);

/* out (n) = plain mean over samples of c (samples x n). */
void aggregate_mean(float *out, const float *c, int samples, size_t n);

/* Monte-Carlo error of an aggregated map: sqrt(sum over entries of the sample variance / samples) / norm of
 * map (methods.md section 3). NaN for one sample or a map of norm 0. */
double aggregate_error(const float *map, const float *c, int samples, size_t n);

#endif

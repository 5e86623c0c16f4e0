/* Filters of one plane (height x width), zeros outside. */
#ifndef KERNELS_FILTER_H
#define KERNELS_FILTER_H

#include <stddef.h>

enum { FILTER_MAX_TAPS = 255 };

/* taps[0..n-1]: Gaussian of width sigma sampled at the integers about the centre, normalised to sum 1. n is
 * odd. */
void filter_gaussian(float *taps, int n, double sigma);

/* taps[0..n-1] as RISE builds its kernel: scipy's gaussian_filter (reflected ends, truncated at 4 sigma)
 * of a delta in the middle of n cells. n is odd (methods.md section 5). */
void filter_rise(float *taps, int n, double sigma);

/* out = in convolved with the outer product of taps (n, odd, symmetric) with itself. scratch and out hold
 * height x width floats; in may be out. */
void filter_separable(
	float *out, const float *in, float *scratch, const float *taps, int n, int height, int width);

/* Bilateral filter, n x n window (odd, at most 15):
 * out = sum w v / (sum w + 1e-8), w = exp(-(v - centre)^2 / (2 sigma_range^2)) exp(-distance^2 / (2
 * sigma_space^2)); neighbours outside the plane count as v = 0 with their weight, as published. out is not
 * in. */
void filter_bilateral(
	float *out, const float *in, int n, double sigma_space, double sigma_range, int height, int width);

#endif

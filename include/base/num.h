/* Numbers: strict parsing, half precision, and the statistics of a column. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole of `text` as a decimal number; false for anything else (empty, trailing characters, overflow;
 * for doubles also NaN and infinities). */
bool num_parse_long(long *out, const char *text);
bool num_parse_u64(uint64_t *out, const char *text);
bool num_parse_double(double *out, const char *text);

/* IEEE binary16 <-> binary32. To half: nearest, ties to even, overflow to infinity, NaN kept quiet
 * (equal to numpy's astype). HDF5 1.10's own conversion is wrong, so it is never used. */
uint16_t num_to_half(float f);
float num_from_half(uint16_t h);

/* bfloat16 -> binary32 (exact). */
float num_from_bfloat(uint16_t b);

/* Statistics of the finite values among x[0..n-1]. */
struct num_summary {
	long n;                 /* finite values */
	double mean, std;       /* std: sample standard deviation (n - 1); NaN where undefined */
	double ci_low, ci_high; /* bootstrap 95 % interval of the mean: percentiles 2.5 and 97.5 */
};

/* Mean, standard deviation and percentile bootstrap interval of the mean: `resamples` resamples drawn
 * with rng streams (seed, 0, resample, RNG_BOOTSTRAP), resamples >= 1; percentiles interpolated linearly as
 * numpy does (methods.md section 5). Deterministic in (x, n, resamples, seed). */
struct num_summary num_summarise(const double *x, size_t n, int resamples, uint64_t seed);

#endif

#include "kernels/order.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

/* Unsigned key that orders like the float, ascending. */
static uint32_t ascending_key(float f)
{
	uint32_t u;

	f += 0.0f; /* -0 becomes +0 */
	memcpy(&u, &f, 4);
	return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* Radix sort by the high word, 11 bits a pass: stable, so equal keys stay in index order. */
void order_rank(uint32_t *rank, const float *value, int n, int most, uint64_t *scratch)
{
	uint64_t *from = scratch, *to = scratch + n;

	for (int i = 0; i < n; i++) {
		uint32_t key = ascending_key(value[i]);
		from[i] = (uint64_t)(most ? ~key : key) << 32 | (uint32_t)i;
	}
	for (int shift = 32; shift < 64; shift += 11) {
		uint32_t count[2049] = {0};

		for (int i = 0; i < n; i++)
			count[(from[i] >> shift & 2047) + 1]++;
		for (int b = 0; b < 2048; b++)
			count[b + 1] += count[b];
		for (int i = 0; i < n; i++)
			to[count[from[i] >> shift & 2047]++] = from[i];
		uint64_t *swap = from;
		from = to;
		to = swap;
	}
	for (int i = 0; i < n; i++)
		rank[(uint32_t)from[i]] = (uint32_t)i;
}

/* Pixels that are aggregated side by side. */
enum { SIDE_BY_SIDE = 64 };

/* Sorts the samples of each lane: v (n, SIDE_BY_SIDE). Batcher's merge exchange for any n (Knuth, 5.2.2M):
 * which pairs it compares does not depend on the values, so that lanes keep step. */
SIMD_CLONES
static void sort_lanes(float *v, int n)
{
	for (int p = 1; p < n; p *= 2)
		for (int k = p; k; k /= 2)
			for (int j = k % p; j + k < n; j += 2 * k)
				for (int i = j; i < j + k && i + k < n; i++) {
					float *a = v + i * SIDE_BY_SIDE, *b = a + k * SIDE_BY_SIDE;

					if ((i ^ (i + k)) & -(2 * p))
						continue;
					SIMD_LOOP
					for (int l = 0; l < SIDE_BY_SIDE; l++) {
						float low = a[l] < b[l] ? a[l] : b[l];
						float high = a[l] < b[l] ? b[l] : a[l];

						a[l] = low;
						b[l] = high;
					}
				}
}

/* The largest float that is not above x. */
static float rounded_down(double x)
{
	float f = (float)x;

	return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

/* out = mean of the samples v (n, SIDE_BY_SIDE) of each lane that lie within the limits about the median; NaN
 * where a sample is. work as v. */
SIMD_CLONES
static void robust_mean(float *out, const float *v, float *work, uint8_t *keep, int n)
{
	float median[SIDE_BY_SIDE], limit[SIDE_BY_SIDE];
	int32_t kept[SIDE_BY_SIDE] = {0}, bad[SIDE_BY_SIDE] = {0}, mask[SIDE_BY_SIDE];
	double sum[SIDE_BY_SIDE] = {0};
	int middle = (n - 1) / 2 * SIDE_BY_SIDE;

	memcpy(work, v, (size_t)n * SIDE_BY_SIDE * sizeof(*v));
	sort_lanes(work, n);
	memcpy(median, work + middle, sizeof(median));
	for (int k = 0; k < n * SIDE_BY_SIDE; k += SIDE_BY_SIDE) {
		SIMD_LOOP
		for (int l = 0; l < SIDE_BY_SIDE; l++)
			work[k + l] = fabsf(v[k + l] - median[l]);
	}
	sort_lanes(work, n);
	for (int l = 0; l < SIDE_BY_SIDE; l++)
		limit[l] = rounded_down(2.5 * (1.4826 * (double)work[middle + l] + 1e-8));
	for (int k = 0; k < n * SIDE_BY_SIDE; k += SIDE_BY_SIDE) {
		SIMD_LOOP
		for (int l = 0; l < SIDE_BY_SIDE; l++) {
			float x = v[k + l];
			int32_t in = -(fabsf(x - median[l]) <= limit[l]);

			kept[l] -= in;
			bad[l] |= x != x;
			/* masked, not multiplied: an infinity may be left out */
			sum[l] += (double)float_of(bits_of(x) & in);
			mask[l] = in;
		}
		for (int l = 0; l < SIDE_BY_SIDE; l++)
			keep[k + l] = mask[l] & 1;
	}
	for (int l = 0; l < SIDE_BY_SIDE; l++)
		out[l] = bad[l] ? NAN : (float)(sum[l] / kept[l]);
}

void aggregate_mad(float *out, uint8_t *keep, const float *c, int samples, size_t n, float *scratch)
{
	float *v = scratch, *work = v + (size_t)samples * SIDE_BY_SIDE, mean[SIDE_BY_SIDE];
	uint8_t *kept = (uint8_t *)(work + (size_t)samples * SIDE_BY_SIDE);

	for (size_t p = 0; p < n; p += SIDE_BY_SIDE) {
		size_t count = n - p < SIDE_BY_SIDE ? n - p : SIDE_BY_SIDE;

		if (count < SIDE_BY_SIDE)
			memset(v, 0, (size_t)samples * SIDE_BY_SIDE * sizeof(*v));
		for (size_t k = 0; k < (size_t)samples; k++)
			memcpy(v + k * SIDE_BY_SIDE, c + k * n + p, count * sizeof(*c));
		robust_mean(mean, v, work, kept, samples);
		memcpy(out + p, mean, count * sizeof(*out));
		for (size_t k = 0; keep && k < (size_t)samples; k++)
			memcpy(keep + k * n + p, kept + k * SIDE_BY_SIDE, count);
	}
}

size_t aggregate_scratch(int samples)
{
	/* two copies of the samples and a byte for each */
	return (size_t)samples * (2 * SIDE_BY_SIDE + SIDE_BY_SIDE / sizeof(float));
}

enum { CHUNK = 256 }; /* entries whose sums are carried over the samples together */

/* sum (n) over samples k of (c_k - about)^2 where squared, else of c_k. */
SIMD_CLONES
static void add_samples(
	double *sum, const float *c, const double *about, int samples, size_t stride, int n, int squared)
{
	for (int k = 0; k < samples; k++) {
		const float *row = c + (size_t)k * stride;

		if (squared) {
			SIMD_LOOP
			for (int i = 0; i < n; i++)
				sum[i] += (row[i] - about[i]) * (row[i] - about[i]);
		} else {
			SIMD_LOOP
			for (int i = 0; i < n; i++)
				sum[i] += row[i];
		}
	}
}

/* mean (CHUNK) of the entries p, p + 1, ...; returns how many there are. */
static int chunk_mean(double *mean, const float *c, int samples, size_t p, size_t n)
{
	int count = n - p < CHUNK ? (int)(n - p) : CHUNK;

	memset(mean, 0, CHUNK * sizeof(*mean));
	add_samples(mean, c + p, NULL, samples, n, count, 0);
	for (int i = 0; i < count; i++)
		mean[i] /= samples;
	return count;
}

void aggregate_mean(float *out, const float *c, int samples, size_t n)
{
	double mean[CHUNK];

	for (size_t p = 0; p < n; p += CHUNK) {
		int count = chunk_mean(mean, c, samples, p, n);

		for (int i = 0; i < count; i++)
			out[p + (size_t)i] = (float)mean[i];
	}
}

double aggregate_error(const float *map, const float *c, int samples, size_t n)
{
	double variance = 0, squares = 0, mean[CHUNK];

	if (samples < 2)
		return NAN;
	for (size_t p = 0; p < n; p += CHUNK) {
		int count = chunk_mean(mean, c, samples, p, n);
		double deviation[CHUNK] = {0};

		add_samples(deviation, c + p, mean, samples, n, count, 1);
		for (int i = 0; i < count; i++) {
			variance += deviation[i] / (samples - 1);
			squares += (double)map[p + (size_t)i] * map[p + (size_t)i];
		}
	}
	return squares > 0 ? sqrt(variance / samples) / sqrt(squares) : NAN;
}

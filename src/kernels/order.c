#include "kernels/order.h"

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

/* k-th smallest (0-based) of v[0..n-1], which is reordered (Hoare's selection). */
static float select_kth(float *v, int n, int k)
{
	int lo = 0, hi = n - 1;

	while (lo < hi) {
		float pivot = v[lo + (hi - lo) / 2];
		int i = lo, j = hi;

		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (pivot < v[j])
				j--;
			if (i <= j) {
				float t = v[i];
				v[i++] = v[j];
				v[j--] = t;
			}
		}
		if (k <= j)
			hi = j;
		else if (k >= i)
			lo = i;
		else
			break;
	}
	return v[k];
}

void aggregate_mad(float *out, uint8_t *keep, const float *c, int samples, size_t n)
{
	float v[AGGREGATE_MAX_SAMPLES], work[AGGREGATE_MAX_SAMPLES];
	int middle = (samples - 1) / 2;

	for (size_t p = 0; p < n; p++) {
		double sum = 0;
		int kept = 0;

		for (int k = 0; k < samples; k++)
			v[k] = c[(size_t)k * n + p];
		memcpy(work, v, (size_t)samples * sizeof(*v));
		float median = select_kth(work, samples, middle);
		for (int k = 0; k < samples; k++)
			work[k] = fabsf(v[k] - median);
		double limit = 2.5 * (1.4826 * (double)select_kth(work, samples, middle) + 1e-8);
		for (int k = 0; k < samples; k++) {
			int in = (double)fabsf(v[k] - median) <= limit;

			sum += in ? v[k] : 0;
			kept += in;
			if (keep)
				keep[(size_t)k * n + p] = (uint8_t)in;
		}
		/* the median itself is always kept; with a NaN among the samples nothing may be */
		out[p] = kept ? (float)(sum / kept) : NAN;
	}
}

void aggregate_mean(float *out, const float *c, int samples, size_t n)
{
	for (size_t p = 0; p < n; p++) {
		double sum = 0;

		for (int k = 0; k < samples; k++)
			sum += c[(size_t)k * n + p];
		out[p] = (float)(sum / samples);
	}
}

double aggregate_error(const float *map, const float *c, int samples, size_t n)
{
	double variance = 0, squares = 0;

	if (samples < 2)
		return NAN;
	for (size_t p = 0; p < n; p++) {
		double mean = 0, deviation = 0;

		for (int k = 0; k < samples; k++)
			mean += c[(size_t)k * n + p];
		mean /= samples;
		for (int k = 0; k < samples; k++) {
			double d = c[(size_t)k * n + p] - mean;
			deviation += d * d;
		}
		variance += deviation / (samples - 1);
		squares += (double)map[p] * map[p];
	}
	return squares > 0 ? sqrt(variance / samples) / sqrt(squares) : NAN;
}

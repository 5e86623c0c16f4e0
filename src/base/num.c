#include "base/num.h"

#include "base/err.h"
#include "base/rng.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool starts_number(const char *text)
{
	return *text && !isspace((unsigned char)*text);
}

bool num_parse_long(long *out, const char *text)
{
	char *end;

	if (!starts_number(text))
		return false;
	errno = 0;
	*out = strtol(text, &end, 10);
	return !errno && !*end;
}

bool num_parse_u64(uint64_t *out, const char *text)
{
	char *end;

	if (!starts_number(text) || *text == '-')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && !*end;
}

bool num_parse_double(double *out, const char *text)
{
	char *end;

	if (!starts_number(text) || strpbrk(text, "xX"))
		return false;
	*out = strtod(text, &end);
	return !*end && isfinite(*out);
}

uint16_t num_to_half(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
	if (a > 0x7f800000) /* NaN: keep the top of the payload, quiet */
		return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
	if (a >= 0x47800000) /* 65536 and more */
		return (uint16_t)(sign | 0x7c00);
	if (a >= 0x38800000) { /* normal: rebias, round to even; the carry may reach infinity, rightly */
		uint32_t r = a - 0x38000000;
		return (uint16_t)(sign | (r + 0xfff + (r >> 13 & 1)) >> 13);
	}
	if (a <= 0x33000000) /* at most half of the smallest subnormal; the tie goes to even, zero */
		return (uint16_t)sign;
	uint32_t shift = 126 - (a >> 23), m = (a & 0x7fffff) | 0x800000;
	uint32_t h = m >> shift, rest = m & ((1u << shift) - 1), half = 1u << (shift - 1);
	h += rest > half || (rest == half && (h & 1));
	return (uint16_t)(sign | h);
}

float num_from_half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff, u;
	float f;

	if (e == 0) {
		f = (float)m * 0x1p-24f;
		return sign ? -f : f;
	}
	u = sign | (e == 31 ? 0x7f800000 : (e + 112) << 23) | m << 13;
	memcpy(&f, &u, 4);
	return f;
}

float num_from_bfloat(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(const double *sorted, int n, double q)
{
	double at = q * (n - 1);
	int i = (int)at;

	return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static double resample_mean(const double *x, uint32_t n, struct rng_key key)
{
	double sum = 0;
	uint32_t w[4];

	for (uint32_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			rng_block(w, key, i / 4);
		sum += x[(uint64_t)w[i % 4] * n >> 32];
	}
	return sum / n;
}

struct num_summary num_summarise(const double *x, size_t n, int resamples, uint64_t seed)
{
	struct num_summary s = {0, NAN, NAN, NAN, NAN};
	double *v = x_malloc(n * sizeof(*v)), *means = x_malloc((size_t)resamples * sizeof(*means));
	double sum = 0, squares = 0;

	for (size_t i = 0; i < n; i++)
		if (isfinite(x[i])) {
			v[s.n++] = x[i];
			sum += x[i];
		}
	if (s.n > 0) {
		s.mean = sum / (double)s.n;
		for (long i = 0; i < s.n; i++)
			squares += (v[i] - s.mean) * (v[i] - s.mean);
		if (s.n > 1)
			s.std = sqrt(squares / (double)(s.n - 1));
		for (int r = 0; r < resamples; r++)
			means[r] = resample_mean(
				v, (uint32_t)s.n, (struct rng_key){seed, 0, (uint32_t)r, RNG_BOOTSTRAP});
		qsort(means, (size_t)resamples, sizeof(*means), by_value);
		s.ci_low = percentile(means, resamples, 0.025);
		s.ci_high = percentile(means, resamples, 0.975);
	}
	free(means);
	free(v);
	return s;
}

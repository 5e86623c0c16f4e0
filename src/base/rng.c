#include "base/rng.h"

#include "base/simd.h"

#include <math.h>
#include <Random123/philox.h>

void rng_block(uint32_t out[4], struct rng_key key, uint32_t index)
{
	philox4x32_ctr_t counter = {{index, key.sample, key.image, (uint32_t)key.purpose}};
	philox4x32_key_t k = {{(uint32_t)key.seed, (uint32_t)(key.seed >> 32)}};
	philox4x32_ctr_t r = philox4x32(counter, k);

	for (int i = 0; i < 4; i++)
		out[i] = r.v[i];
}

static double unit(uint32_t word)
{
	return ((double)word + 0.5) * 0x1p-32;
}

void rng_uniform(double *out, size_t n, struct rng_key key)
{
	uint32_t w[4];

	for (size_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			rng_block(w, key, (uint32_t)(i / 4));
		out[i] = unit(w[i % 4]);
	}
}

/* Natural logarithm of x, 0 < x <= 1 and normal, to 1e-12 relative: log(2^e m) = e log 2 + 2 atanh(f), f = (m
 * - 1) / (m + 1) with m within sqrt(1/2) and sqrt(2). */
SIMD_INLINE double log_lane(double x)
{
	const int64_t half = 0x3fe6a09e667f3bcd; /* of sqrt(1/2) */
	int64_t bits = bits_of_double(x), exponent = (bits - half) >> 52;
	double m = double_of(bits - exponent * (1LL << 52));
	/* the exponent as a double: it is small, so the low bits of a large one can hold it */
	double e = double_of(bits_of_double(0x1.8p52) + exponent) - 0x1.8p52;
	double f = (m - 1.0) / (m + 1.0), s = f * f, p = 1.0 / 15;
	p = p * s + 1.0 / 13;
	p = p * s + 1.0 / 11;
	p = p * s + 1.0 / 9;
	p = p * s + 1.0 / 7;
	p = p * s + 1.0 / 5;
	p = p * s + 1.0 / 3;
	return e * 0.69314718055994530942 + 2 * (f + f * s * p);
}

/* Sine and cosine of a quarter turn times x, |x| <= 1/2, to 1e-11. */
SIMD_INLINE double sine_lane(double x)
{
	double a = 1.57079632679489661923 * x, s = a * a, p = -1.0 / 39916800;

	p = p * s + 1.0 / 362880;
	p = p * s - 1.0 / 5040;
	p = p * s + 1.0 / 120;
	p = p * s - 1.0 / 6;
	return a + a * s * p;
}

SIMD_INLINE double cosine_lane(double x)
{
	double a = 1.57079632679489661923 * x, s = a * a, p = 1.0 / 479001600;

	p = p * s - 1.0 / 3628800;
	p = p * s + 1.0 / 40320;
	p = p * s - 1.0 / 720;
	p = p * s + 1.0 / 24;
	p = p * s - 1.0 / 2;
	return 1 + s * p;
}

enum { NORMALS = 256 }; /* of a round */

/* Box and Muller: pairs of normal numbers from pairs of uniform ones; u is overwritten. */
SIMD_CLONES
static void normal_pairs(double *u, double *v)
{
	const double round = 0x1.8p52; /* adding it rounds to an integer */

	SIMD_LOOP
	for (int i = 0; i < NORMALS / 2; i++) {
		double radius = sqrt(-2.0 * log_lane(u[i]));
		double quarters = 4 * v[i], turned = quarters + round, x = quarters - (turned - round);
		int64_t turn = bits_of_double(turned) & 3, odd = -(turn & 1);
		int64_t sine = bits_of_double(radius * sine_lane(x));
		int64_t cosine = bits_of_double(radius * cosine_lane(x)), change = (sine ^ cosine) & odd;

		/* a quarter turn swaps them; the sign bits follow the quadrant */
		u[i] = double_of(cosine ^ change ^ (int64_t)((uint64_t)((turn + 1) & 2) << 62));
		v[i] = double_of(sine ^ change ^ (int64_t)((uint64_t)(turn & 2) << 62));
	}
}

void rng_normal(float *out, size_t n, struct rng_key key)
{
	double u[NORMALS / 2], v[NORMALS / 2];

	for (size_t at = 0; at < n; at += NORMALS) {
		for (int i = 0; i < NORMALS / 2; i += 2) {
			uint32_t w[4];

			rng_block(w, key, (uint32_t)(at / 4) + (uint32_t)i / 2);
			u[i] = unit(w[0]);
			v[i] = unit(w[1]);
			u[i + 1] = unit(w[2]);
			v[i + 1] = unit(w[3]);
		}
		normal_pairs(u, v);
		for (size_t i = 0; i < NORMALS && at + i < n; i++)
			out[at + i] = (float)(i % 2 ? v[i / 2] : u[i / 2]);
	}
}

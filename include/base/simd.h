/*
 * How the elementwise kernels are vectorised: plain `omp simd` loops, compiled for AVX-512, AVX2 and plain
 * x86-64 and chosen at run time; other compilers and machines get the same loops. The bits do not depend on
 * which: the compiler may not contract (fused operations are written as fmaf), and sums run in LANES partial
 * sums everywhere.
 */
#ifndef BASE_SIMD_H
#define BASE_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(SIMD_CLONES) /* given: one instruction set, as the compiler is told */
#elif defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

#define SIMD_PRAGMA(x) _Pragma(#x)
#define SIMD_LOOP SIMD_PRAGMA(omp simd)
#define SIMD_MAX(variable) SIMD_PRAGMA(omp simd reduction(max : variable))
#define SIMD_INLINE static inline __attribute__((always_inline))

/* Partial sums of a sum: one register of AVX-512, two of AVX2. Element i goes to sum i % LANES. */
enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

SIMD_INLINE float lanes_total(const lanes *sum)
{
	float s[LANES];

	memcpy(s, sum, sizeof(s));
	for (int half = LANES / 2; half; half /= 2)
		for (int i = 0; i < half; i++)
			s[i] += s[i + half];
	return s[0];
}

/* LANES values at x, of which only the first n exist; `pad` for the others. */
SIMD_INLINE void lanes_load(lanes *v, const float *x, int n, float pad)
{
	float some[LANES];

	if (n >= LANES) {
		memcpy(v, x, sizeof(*v));
		return;
	}
	for (int i = 0; i < LANES; i++)
		some[i] = i < n ? x[i] : pad;
	memcpy(v, some, sizeof(some));
}

/* x as its bits, and back. Branches keep a loop from being vectorised: select with masks of bits. */
SIMD_INLINE int32_t bits_of(float x)
{
	int32_t i;

	memcpy(&i, &x, sizeof(i));
	return i;
}

SIMD_INLINE float float_of(int32_t i)
{
	float x;

	memcpy(&x, &i, sizeof(x));
	return x;
}

SIMD_INLINE int64_t bits_of_double(double x)
{
	int64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

SIMD_INLINE double double_of(int64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* e^x to 1 ulp: e^x = 2^n e^r, |r| <= ln 2 / 2, with a minimax polynomial; 0 and infinity beyond the range of
 * float, NaN for NaN. Denormal results are right. */
SIMD_INLINE float exp_lane(float x)
{
	const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */

	x = x < -104.0f ? -104.0f : x;
	x = x > 89.0f ? 89.0f : x;
	float shifted = fmaf(x, 0x1.715476p+0f, round), whole = shifted - round;
	float r = fmaf(whole, -0x1.62e430p-1f, x);
	r = fmaf(whole, 0x1.05c610p-29f, r);
	float q = 0x1.6a23d0p-10f;
	q = fmaf(q, r, 0x1.123a20p-7f);
	q = fmaf(q, r, 0x1.5558f2p-5f);
	q = fmaf(q, r, 0x1.555492p-3f);
	q = fmaf(q, r, 0x1.fffffcp-2f);
	q = fmaf(q, r, 1.0f);
	q = fmaf(q, r, 1.0f);
	/* 2^n in two factors: one alone leaves the range before the result does */
	uint32_t n = (uint32_t)bits_of(shifted) - (uint32_t)bits_of(round);
	uint32_t half = (uint32_t)((int32_t)n >>
				   1); /* arithmetic, as compilers shift; unsigned, since NaN gives any n */
	return q * float_of((int32_t)((half + 127u) << 23)) * float_of((int32_t)((n - half + 127u) << 23));
}

/* The normal distribution function of z, to 2 units of 2^-24 (the last place of a gate of 1/2 and more, which
 * is what GELU's result sees) and to 4 units of its own last place where it is small, and through *e the
 * factor exp(-z^2 / 2): Phi(-a) = exp(-a^2 / 2) t P(1 - 2 t), t = 1 / (1 + a 5/16), P a minimax polynomial.
 * 0, 1 and NaN at the infinities and NaN. */
SIMD_INLINE float phi_lane(float z, float *e)
{
	float a = fabsf(z);

	a = a > 20.0f ? 20.0f : a;
	float square = a * a, rest = fmaf(a, a, -square); /* a^2 = square + rest */
	float gauss = exp_lane(-0.5f * square);
	/* t to twice the precision: t (1 + rest of d and of the division); an error of t would count three
	 * times */
	float d = fmaf(0.3125f, a, 1.0f), t = 1.0f / d;
	float more = fmaf(-t, fmaf(0.3125f, a, 1.0f - d), fmaf(-t, d, 1.0f));
	float s = fmaf(-2.0f * t, more, fmaf(-2.0f, t, 1.0f));
	float p = 0x1.386782p-15f;
	p = fmaf(p, s, 0x1.7fc1aep-16f);
	p = fmaf(p, s, -0x1.63b60ap-12f);
	p = fmaf(p, s, -0x1.d32964p-13f);
	p = fmaf(p, s, 0x1.52a0a2p-9f);
	p = fmaf(p, s, -0x1.0a21a8p-11f);
	p = fmaf(p, s, -0x1.7b0b00p-6f);
	p = fmaf(p, s, 0x1.5446bcp-4f);
	p = fmaf(p, s, -0x1.55a27ep-3f);
	p = fmaf(p, s, 0x1.d6f7dep-3f);
	float tail = gauss * (t * p);
	tail = fmaf(tail, fmaf(-0.5f, rest, more), tail);
	*e = gauss;
	return z > 0.0f ? 1.0f - tail : tail;
}

#endif

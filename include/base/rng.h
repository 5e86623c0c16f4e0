/*
 * Random numbers as a pure function of (seed, image, sample, purpose, index): Philox4x32-10 from
 * Random123, key = seed, counter = (index, sample, image, purpose). Nothing is carried from call to
 * call, so a number is the same on every rank, in every order of work and after every resume
 * (methods.md section 3, "Randomness").
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* One dense enumeration: no two uses of randomness may share a purpose. Append only: results depend on it. */
enum rng_purpose {
	RNG_WARP,        /* flip, angle, shift and scale of a DAVE sample */
	RNG_NOISE,       /* the Gaussian image of a DAVE sample */
	RNG_RANDOM_MAP,  /* method `random` */
	RNG_BOOTSTRAP,   /* resampling of summaries */
	RNG_TEST,        /* tests */
	RNG_SMOOTHGRAD,  /* noise of a sample of SmoothGrad */
	RNG_STABILITY,   /* noise that metric `stability` puts on the image */
	RNG_SENSITIVITY, /* the same of `sensitivity_max` */
	RNG_GRID,        /* which images make a grid of `gridpg`, and where they lie */
	RNG_REINIT,      /* weights of metric `randomisation` */
	RNG_SUBSET,      /* which images a costly metric judges */
};

/* Which stream of numbers. */
struct rng_key {
	uint64_t seed;
	uint32_t image, sample;
	enum rng_purpose purpose;
};

/* Four uniform 32-bit words: block number `index` of the stream. */
void rng_block(uint32_t out[4], struct rng_key key, uint32_t index);

/* Doubles uniform on the open interval (0, 1), (word + 1/2) / 2^32: items 0..n-1 of the stream. */
void rng_uniform(double *out, size_t n, struct rng_key key);

/* Standard normal floats by the Box-Muller transform in double precision: items 0..n-1 of the stream. */
void rng_normal(float *out, size_t n, struct rng_key key);

#endif

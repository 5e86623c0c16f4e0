#include "base/rng.h"

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

void rng_normal(float *out, size_t n, struct rng_key key)
{
	const double two_pi = 6.283185307179586476925;
	uint32_t w[4];

	for (size_t i = 0; i < n; i += 4) {
		double z[4];

		rng_block(w, key, (uint32_t)(i / 4));
		for (int j = 0; j < 4; j += 2) {
			double r = sqrt(-2.0 * log(unit(w[j])));
			double a = two_pi * unit(w[j + 1]);

			z[j] = r * cos(a);
			z[j + 1] = r * sin(a);
		}
		for (size_t j = 0; j < 4 && i + j < n; j++)
			out[i + j] = (float)z[j];
	}
}

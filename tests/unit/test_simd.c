/* include/base/simd.h: the functions of one lane against libm in double, over their whole range; sums of
 * lanes. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/simd.h"

/* Units in the last place of the float nearest to want; denormals have the unit of the smallest normal
 * number. */
static double ulps(float got, double want)
{
	int exponent;

	frexp(fmax(fabs(want), 0x1p-126), &exponent);
	return fabs(got - want) / ldexp(1, exponent - 24);
}

/* Every 521st float of magnitudes from 2^-30 to 104. */
static void test_exp(void)
{
	double worst = 0;

	for (int32_t bits = bits_of(0x1p-30f); bits < bits_of(104.0f); bits += 521) {
		float x = float_of(bits);

		worst = fmax(worst, ulps(exp_lane(-x), exp(-(double)x)));
		if (x < 88.7f)
			worst = fmax(worst, ulps(exp_lane(x), exp((double)x)));
	}
	CU_ASSERT(near_one("ulps of exp", worst, 0, 0.9));
	CU_ASSERT(exp_lane(0) == 1 && exp_lane(-0.0f) == 1 && exp_lane(-INFINITY) == 0 &&
		  exp_lane(-1e30f) == 0);
	CU_ASSERT(exp_lane(INFINITY) == INFINITY && exp_lane(1e30f) == INFINITY && isnan(exp_lane(NAN)));
	CU_ASSERT(exp_lane(-103.0f) > 0 && exp_lane(-105.0f) == 0); /* denormal, then none */
}

/* Within 2 units of 2^-24 everywhere, and within 4 units of its own last place where it is small. */
static void test_phi(void)
{
	double absolute = 0, relative = 0, gauss = 0;

	for (int32_t bits = bits_of(0x1p-30f); bits < bits_of(14.0f); bits += 521)
		for (int side = -1; side <= 1; side += 2) {
			float z = side * float_of(bits), e, phi = phi_lane(z, &e);
			double want = 0.5 * erfc(-z * M_SQRT1_2);

			absolute = fmax(absolute, fabs(phi - want) * 0x1p24);
			relative = fmax(relative, ulps(phi, want));
			gauss = fmax(gauss, fabs(e - exp(-0.5 * z * z)) * 0x1p24);
		}
	CU_ASSERT(near_one("gate, units of 2^-24", absolute, 0, 2));
	CU_ASSERT(near_one("gate, ulps", relative, 0, 4));
	CU_ASSERT(near_one("gauss, units of 2^-24", gauss, 0, 1.5));
}

static void test_phi_specials(void)
{
	float e;

	CU_ASSERT(phi_lane(0, &e) == 0.5f && e == 1 && phi_lane(-0.0f, &e) == 0.5f);
	CU_ASSERT(phi_lane(INFINITY, &e) == 1 && e == 0 && phi_lane(1e30f, &e) == 1);
	CU_ASSERT(phi_lane(-INFINITY, &e) == 0 && e == 0 && phi_lane(-1e30f, &e) == 0);
	CU_ASSERT(isnan(phi_lane(NAN, &e)));
}

/* Sums of 1..50 values; whole numbers, so that the order does not matter. */
static void test_lanes(void)
{
	float x[64];

	for (int i = 0; i < 64; i++)
		x[i] = (float)(i * i);
	for (int n = 1; n <= 50; n++) {
		lanes sum = {0}, v;
		float want = 0;

		for (int i = 0; i < n; i++)
			want += x[i];
		for (int i = 0; i < n; i += LANES) {
			lanes_load(&v, x + i, n - i, 0);
			sum += v;
		}
		CU_ASSERT(lanes_total(&sum) == want);
	}
	lanes padded;
	lanes_load(&padded, x + 1, 2, -7);
	CU_ASSERT(padded[0] == 1 && padded[1] == 4 && padded[2] == -7 && padded[LANES - 1] == -7);
}

int register_simd_tests(void)
{
	static const struct named_test tests[] = {
		{"exp", test_exp},
		{"normal distribution function", test_phi},
		{"normal distribution function of infinities, zeros and NaN", test_phi_specials},
		{"sums of lanes", test_lanes},
		{NULL, NULL},
	};

	return add_suite("lanes", tests);
}

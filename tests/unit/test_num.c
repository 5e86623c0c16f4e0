/* base/num and base/rng: parsing, half precision against a reference in doubles, summaries, Philox. */
#include "base/num.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "scratch.h"
#include "support.h"

/* ---- parsing ---- */

static const char *const no_numbers[] = {"", " ", " 1", "1 ", "1\n", "\t1", "0x10", "0X1p3", "1a", "a", "--1",
	"+-1", "1,5", "1_000", "-", "+", "1e", "1..2", "e5", NULL};

static void test_parse_long(void)
{
	static const struct {
		const char *text;
		long value;
	} good[] = {{"0", 0}, {"-0", 0}, {"7", 7}, {"+7", 7}, {"-42", -42}, {"007", 7}, {"010", 10},
		{"9223372036854775807", 9223372036854775807},
		{"-9223372036854775808", -9223372036854775807 - 1}};
	long x = 5;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT(num_parse_long(&x, good[i].text) && x == good[i].value);
	for (int i = 0; no_numbers[i]; i++)
		CU_ASSERT_FALSE(num_parse_long(&x, no_numbers[i]));
	CU_ASSERT_FALSE(num_parse_long(&x, "9223372036854775808"));
	CU_ASSERT_FALSE(num_parse_long(&x, "-9223372036854775809"));
	CU_ASSERT_FALSE(num_parse_long(&x, "1.0"));
	CU_ASSERT_FALSE(num_parse_long(&x, "1e3"));
}

static void test_parse_u64(void)
{
	uint64_t x = 5;

	CU_ASSERT(num_parse_u64(&x, "0") && x == 0);
	CU_ASSERT(num_parse_u64(&x, "18446744073709551615") && x == UINT64_MAX);
	CU_ASSERT_FALSE(num_parse_u64(&x, "18446744073709551616"));
	CU_ASSERT_FALSE(num_parse_u64(&x, "-1"));
	CU_ASSERT_FALSE(num_parse_u64(&x, "-0"));
	CU_ASSERT_FALSE(num_parse_u64(&x, " -1"));
	CU_ASSERT_FALSE(num_parse_u64(&x, "1.5"));
	for (int i = 0; no_numbers[i]; i++)
		CU_ASSERT_FALSE(num_parse_u64(&x, no_numbers[i]));
}

static void test_parse_double(void)
{
	static const struct {
		const char *text;
		double value;
	} good[] = {{"0", 0}, {"1.5", 1.5}, {"-1.5e-3", -0.0015}, {"1e308", 1e308}, {".5", 0.5}, {"5.", 5},
		{"+2", 2}, {"1E2", 100}, {"1e-320", 1e-320}, {"0.1", 0.1}};
	static const char *const bad[] = {
		"nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e999", "-1e999", "1e309"};
	double x = 5;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT(num_parse_double(&x, good[i].text) && x == good[i].value);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_FALSE(num_parse_double(&x, bad[i]));
	for (int i = 0; no_numbers[i]; i++)
		CU_ASSERT_FALSE(num_parse_double(&x, no_numbers[i]));
}

/* ---- half precision ---- */

/* The value of a finite half, from its definition. */
static double half_value(unsigned h)
{
	int e = (int)(h >> 10 & 31), m = (int)(h & 0x3ff);
	double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

	return h & 0x8000 ? -v : v;
}

/* Nearest half, ties to even, in double arithmetic, which is exact here. */
static unsigned half_reference(float f)
{
	unsigned sign = signbit(f) ? 0x8000 : 0;
	double a = fabs((double)f);
	int e;

	if (a >= 65520) /* half an ulp above the largest half; a tie, and the largest is odd */
		return sign | 0x7c00;
	frexp(a, &e);
	e = e - 1 < -14 ? -14 : e - 1;
	double units = ldexp(a, 10 - e), low = floor(units), rest = units - low;
	if (rest > 0.5 || (rest == 0.5 && fmod(low, 2) == 1))
		low++;
	if (low >= 2048)
		return sign | (unsigned)((e + 16) << 10);
	return sign | (low < 1024 ? (unsigned)low : (unsigned)((e + 15) << 10) + (unsigned)low - 1024);
}

static void test_half_round_trip(void)
{
	int wrong = 0;

	for (unsigned h = 0; h < 65536; h++) {
		float f = num_from_half((uint16_t)h);
		bool special = (h >> 10 & 31) == 31;

		if (!special)
			wrong += (double)f != half_value(h) || !signbit(f) != !(h & 0x8000);
		else if (h & 0x3ff)
			wrong += !isnan(f);
		else
			wrong += !isinf(f) || !signbit(f) != !(h & 0x8000);
		/* signalling NaNs may come back quiet */
		wrong += num_to_half(f) != (special && h & 0x3ff ? h | 0x200 : h);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

/* Between every two neighbouring halves: the middle, a float beside it on either side, and both ends. */
static void test_half_ties(void)
{
	int wrong = 0;

	for (unsigned h = 0; h < 0x7c00; h++) {
		double next = h + 1 < 0x7c00 ? half_value(h + 1) : 65536;
		float middle = (float)(0.5 * (half_value(h) + next)); /* exact */
		float at[] = {(float)half_value(h), nextafterf((float)half_value(h), INFINITY),
			nextafterf(middle, 0), middle, nextafterf(middle, INFINITY),
			nextafterf((float)next, 0)};

		for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
			wrong += num_to_half(at[i]) != half_reference(at[i]);
			wrong += num_to_half(-at[i]) != half_reference(-at[i]);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_half_random(void)
{
	int wrong = 0;

	for (uint32_t i = 0; i < 50000; i++) {
		uint32_t w[4];
		float f[4];

		rng_block(w, (struct rng_key){7, 0, 0, RNG_TEST}, i);
		w[1] = (w[1] & 0x8fffffff) | 0x30000000; /* more in the range of halves */
		w[2] = (w[2] & 0x8fffffff) | 0x40000000;
		memcpy(f, w, sizeof(f));
		for (int k = 0; k < 4; k++)
			wrong += !isnan(f[k]) && num_to_half(f[k]) != half_reference(f[k]);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_half_known(void)
{
	static const struct {
		float f;
		unsigned half;
	} known[] = {{0, 0}, {-0.0f, 0x8000}, {1, 0x3c00}, {-2, 0xc000}, {1.5f, 0x3e00}, {65504, 0x7bff},
		{65519.99f, 0x7bff}, {65520, 0x7c00}, {-65520, 0xfc00}, {65536, 0x7c00}, {1e30f, 0x7c00},
		{INFINITY, 0x7c00}, {-INFINITY, 0xfc00}, {0x1p-24f, 1}, {0x1p-25f, 0}, {0x1.000002p-25f, 1},
		{0x1.8p-24f, 2}, {0x1p-14f, 0x400}, {0x1.ff8p-15f, 0x3ff}, {0x1.ffcp-15f, 0x400},
		{0x1.ffep-15f, 0x400}, {1e-30f, 0}, {1.9018e-6f, 0x20}, {0x1.002p0f, 0x3c00},
		{0x1.006p0f, 0x3c02}, {0x1.ffep0f, 0x4000}};
	uint32_t quiet = 0x7fc00000, payload = 0xffaaa000;
	float f;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		CU_ASSERT_EQUAL(num_to_half(known[i].f), known[i].half);
		CU_ASSERT_EQUAL(half_reference(known[i].f), known[i].half);
	}
	memcpy(&f, &quiet, 4);
	CU_ASSERT_EQUAL(num_to_half(f), 0x7e00);
	memcpy(&f, &payload, 4);
	CU_ASSERT_EQUAL(num_to_half(f), 0xff55);
}

static void test_bfloat(void)
{
	CU_ASSERT_EQUAL(num_from_bfloat(0x3f80), 1);
	CU_ASSERT_EQUAL(num_from_bfloat(0xc040), -3);
	CU_ASSERT_EQUAL(num_from_bfloat(0x0001), 0x1p-133f);
	CU_ASSERT_EQUAL(num_from_bfloat(0x7f7f), 0x1.fep127f);
	CU_ASSERT(isinf(num_from_bfloat(0x7f80)) && isnan(num_from_bfloat(0x7fc0)));
}

/* ---- summaries ---- */

static void test_summary_moments(void)
{
	const double x[] = {NAN, 1, INFINITY, 2, 3, -INFINITY, 4, NAN};
	struct num_summary s = num_summarise(x, 8, 100, 1);

	CU_ASSERT_EQUAL(s.n, 4);
	CU_ASSERT_EQUAL(s.mean, 2.5);
	CU_ASSERT_DOUBLE_EQUAL(s.std, 1.2909944487358056, 1e-15);
	/* squares of large values must not cancel */
	s = num_summarise((const double[]){1e9 + 1, 1e9 + 2, 1e9 + 3}, 3, 10, 1);
	CU_ASSERT_EQUAL(s.mean, 1e9 + 2);
	CU_ASSERT_EQUAL(s.std, 1);
}

static void test_summary_of_few(void)
{
	struct num_summary s = num_summarise(NULL, 0, 100, 1);

	CU_ASSERT(s.n == 0 && isnan(s.mean) && isnan(s.std) && isnan(s.ci_low) && isnan(s.ci_high));
	s = num_summarise((const double[]){NAN, NAN}, 2, 100, 1);
	CU_ASSERT(s.n == 0 && isnan(s.mean) && isnan(s.std) && isnan(s.ci_low) && isnan(s.ci_high));
	s = num_summarise((const double[]){NAN, 0.3}, 2, 100, 1);
	CU_ASSERT(s.n == 1 && s.mean == 0.3 && isnan(s.std) && s.ci_low == 0.3 && s.ci_high == 0.3);
}

static int ascending(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

/* Eleven resamples: the percentiles lie a quarter of the way between the two outermost means. */
static void test_summary_definition(void)
{
	const double x[] = {0.5, -1, 3, 2, 8};
	double means[11] = {0};

	for (uint32_t r = 0; r < 11; r++) {
		for (uint32_t i = 0; i < 5; i++) {
			uint32_t w[4];

			rng_block(w, (struct rng_key){99, 0, r, RNG_BOOTSTRAP}, i / 4);
			means[r] += x[(int)floor(w[i % 4] / 4294967296.0 * 5)];
		}
		means[r] /= 5;
	}
	qsort(means, 11, sizeof(double), ascending);
	struct num_summary s = num_summarise(x, 5, 11, 99);
	CU_ASSERT_DOUBLE_EQUAL(s.ci_low, means[0] + 0.25 * (means[1] - means[0]), 1e-14);
	CU_ASSERT_DOUBLE_EQUAL(s.ci_high, means[10] - 0.25 * (means[10] - means[9]), 1e-14);
}

/* Of many values the bootstrap interval is the normal one; 0.1 standard errors are 3.7 sd of its own noise.
 */
static void test_summary_interval(void)
{
	enum { N = 3000 };
	double x[N];

	for (int i = 0; i < N; i++)
		x[i] = random_unit(77, (uint32_t)i) + 10;
	struct num_summary s = num_summarise(x, N, 10000, 5), t = num_summarise(x, N, 10000, 5);
	double se = s.std / sqrt(N);
	CU_ASSERT_DOUBLE_EQUAL(s.std, sqrt(1 / 12.0), 0.01);
	CU_ASSERT_DOUBLE_EQUAL((s.ci_low - s.mean) / se, -1.95996, 0.1);
	CU_ASSERT_DOUBLE_EQUAL((s.ci_high - s.mean) / se, 1.95996, 0.1);
	CU_ASSERT_EQUAL(memcmp(&s, &t, sizeof(s)), 0);
	t = num_summarise(x, N, 1000, 6);
	CU_ASSERT(t.mean == s.mean && t.std == s.std && t.ci_low != s.ci_low && t.ci_high != s.ci_high);
}

/* ---- random numbers ---- */

/* Philox4x32-10 of Random123's kat_vectors. */
static void test_philox(void)
{
	static const struct {
		struct rng_key key;
		uint32_t index, want[4];
	} kat[] = {
		{{0, 0, 0, (enum rng_purpose)0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{UINT64_MAX, UINT32_MAX, UINT32_MAX, (enum rng_purpose)0xffffffff}, UINT32_MAX,
			{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x299f31d0a4093822, 0x13198a2e, 0x85a308d3, (enum rng_purpose)0x03707344}, 0x243f6a88,
			{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	for (size_t i = 0; i < sizeof(kat) / sizeof(kat[0]); i++) {
		uint32_t got[4];

		rng_block(got, kat[i].key, kat[i].index);
		CU_ASSERT_EQUAL(memcmp(got, kat[i].want, sizeof(got)), 0);
	}
}

/* The numbers of purposes are part of every result: append only. */
static void test_purposes(void)
{
	CU_ASSERT(RNG_WARP == 0 && RNG_NOISE == 1 && RNG_RANDOM_MAP == 2 && RNG_BOOTSTRAP == 3);
}

static void test_uniform(void)
{
	enum { N = 1000000, BINS = 64 };
	struct rng_key key = {11, 2, 3, RNG_TEST};
	double *u = x_malloc(N * sizeof(*u)), sum = 0, squares = 0, chi = 0;
	int outside = 0, wrong = 0, bins[BINS] = {0};

	rng_uniform(u, N, key);
	for (int i = 0; i < N; i++) {
		uint32_t w[4];

		outside += !(u[i] > 0 && u[i] < 1);
		bins[(int)(u[i] * BINS)]++;
		sum += u[i] - 0.5;
		squares += (u[i] - 0.5) * (u[i] - 0.5);
		rng_block(w, key, (uint32_t)i / 4);
		wrong += u[i] * 4294967296.0 - 0.5 != w[i % 4];
	}
	for (int i = 0; i < BINS; i++)
		chi += pow(bins[i] - (double)N / BINS, 2) / ((double)N / BINS);
	CU_ASSERT_EQUAL(outside, 0);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_DOUBLE_EQUAL(sum / N, 0, 4 * sqrt(1 / 12.0 / N));
	CU_ASSERT_DOUBLE_EQUAL(squares / N, 1 / 12.0, 4 * sqrt(1 / 180.0 / N));
	CU_ASSERT(chi > 25 && chi < 115); /* 63 degrees of freedom: 63 +- 11 */
	free(u);
}

/* Moments within four standard errors. */
static void test_normal_moments(void)
{
	enum { N = 1000000 };
	float *z = x_malloc(N * sizeof(*z));
	double m[5] = {0}, lag[4] = {0};
	int beyond = 0;

	rng_normal(z, N, (struct rng_key){12, 0, 0, RNG_TEST});
	for (int i = 0; i < N; i++) {
		for (int k = 1; k < 5; k++)
			m[k] += pow(z[i], k) / N;
		for (int k = 1; k < 4 && i + k < N; k++)
			lag[k] += (double)z[i] * z[i + k] / N;
		beyond += fabsf(z[i]) > 3;
	}
	CU_ASSERT_DOUBLE_EQUAL(m[1], 0, 4 * sqrt(1.0 / N));
	CU_ASSERT_DOUBLE_EQUAL(m[2], 1, 4 * sqrt(2.0 / N));
	CU_ASSERT_DOUBLE_EQUAL(m[3], 0, 4 * sqrt(15.0 / N));
	CU_ASSERT_DOUBLE_EQUAL(m[4], 3, 4 * sqrt(96.0 / N));
	for (int k = 1; k < 4; k++)
		CU_ASSERT_DOUBLE_EQUAL(lag[k], 0, 4 * sqrt(1.0 / N));
	CU_ASSERT_DOUBLE_EQUAL(beyond, N * 0.0026998, 4 * sqrt(N * 0.0027));
	free(z);
}

/* Box-Muller: pairs (radius cos, radius sin) of consecutive words; a float's rounding and 1e-10. */
static void test_normal_definition(void)
{
	enum { N = 200002 };
	float *z = x_malloc(N * sizeof(*z));
	double *u = x_malloc(N * sizeof(*u)), worst = 0;

	rng_normal(z, N, (struct rng_key){13, 1, 2, RNG_NOISE});
	rng_uniform(u, N, (struct rng_key){13, 1, 2, RNG_NOISE});
	for (int i = 0; i < N; i += 2) {
		double radius = sqrt(-2 * log(u[i])), c = radius * cos(2 * M_PI * u[i + 1]),
		       s = radius * sin(2 * M_PI * u[i + 1]);

		worst = fmax(worst, fabs(z[i] - c) - 0x1p-24 * fabs(c));
		worst = fmax(worst, fabs(z[i + 1] - s) - 0x1p-24 * fabs(s));
	}
	CU_ASSERT(worst < 1e-10);
	free(z);
	free(u);
}

static void test_prefixes_agree(void)
{
	struct rng_key key = {3, 1, 4, RNG_TEST};
	float all[9], part[10];
	double every[9], some[10];

	rng_normal(all, 9, key);
	rng_uniform(every, 9, key);
	for (size_t n = 0; n <= 9; n++) {
		part[n] = 123;
		some[n] = 123;
		rng_normal(part, n, key);
		rng_uniform(some, n, key);
		CU_ASSERT(!memcmp(all, part, n * sizeof(float)) && part[n] == 123);
		CU_ASSERT(!memcmp(every, some, n * sizeof(double)) && some[n] == 123);
	}
}

/* Streams that differ in one part of the key have nothing in common. */
static void test_streams_are_independent(void)
{
	enum { N = 40000, KEYS = 7 };
	static const struct rng_key keys[KEYS] = {{5, 1, 1, RNG_WARP}, {5, 1, 1, RNG_NOISE},
		{5, 1, 2, RNG_WARP}, {5, 2, 1, RNG_WARP}, {6, 1, 1, RNG_WARP},
		{5 + (1ULL << 32), 1, 1, RNG_WARP}, {5, 1, 1, RNG_BOOTSTRAP}};
	double *u[KEYS];

	for (int k = 0; k < KEYS; k++)
		rng_uniform(u[k] = x_malloc(N * sizeof(double)), N, keys[k]);
	for (int a = 0; a < KEYS; a++)
		for (int b = 0; b < a; b++) {
			double r = 0;
			int same = 0;

			for (int i = 0; i < N; i++) {
				r += 12 * (u[a][i] - 0.5) * (u[b][i] - 0.5) / N;
				same += u[a][i] == u[b][i];
			}
			CU_ASSERT_DOUBLE_EQUAL(r, 0, 4 / sqrt(N));
			CU_ASSERT_EQUAL(same, 0);
		}
	for (int k = 0; k < KEYS; k++)
		free(u[k]);
}

int register_num_tests(void)
{
	static const struct named_test numbers[] = {
		{"parse long", test_parse_long},
		{"parse u64", test_parse_u64},
		{"parse double", test_parse_double},
		{"half: round trip of all", test_half_round_trip},
		{"half: around every tie", test_half_ties},
		{"half: random floats", test_half_random},
		{"half: known values", test_half_known},
		{"bfloat", test_bfloat},
		{"summary: mean and deviation", test_summary_moments},
		{"summary: none and one", test_summary_of_few},
		{"summary: interval as defined", test_summary_definition},
		{"summary: interval of many", test_summary_interval},
		{NULL, NULL},
	};
	static const struct named_test streams[] = {
		{"Philox known answers", test_philox},
		{"purposes", test_purposes},
		{"uniform", test_uniform},
		{"normal: moments", test_normal_moments},
		{"normal: as defined", test_normal_definition},
		{"prefixes agree", test_prefixes_agree},
		{"streams are independent", test_streams_are_independent},
		{NULL, NULL},
	};

	return add_suite("num", numbers) || add_suite("rng", streams);
}

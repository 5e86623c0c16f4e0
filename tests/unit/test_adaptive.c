/* src/metrics/adaptive.c: the rule against a naive twin, and curves whose integral is known. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/adaptive.h"

enum { MOST = 300 };

/* ---------------------------------------------------------------- the rule alone */

struct bench {
	struct adaptive a;
	double at[MOST], value[MOST], scored[MOST], variance[MOST], truth[MOST];
	int right[MOST], next[MOST], rounds;
};

/* n points at equal distances, the last at `tail` of one. Scratch memory starts as garbage. */
static void bench_init(struct bench *b, int n, double tail)
{
	memset(b, 0x7f, sizeof(*b));
	b->a = (struct adaptive){n, b->at, b->value, b->scored, b->variance, b->right};
	b->rounds = 0;
	for (int i = 0; i < n; i++) {
		b->at[i] = (i < n - 1 ? i : n - 2 + tail) / (n - 2 + tail);
		b->scored[i] = 0;
	}
}

static void take(struct bench *b, int n)
{
	for (int k = 0; k < n; k++) {
		CU_ASSERT_EQUAL(b->scored[b->next[k]], 0);
		CU_ASSERT(!k || b->next[k] > b->next[k - 1]);
		b->value[b->next[k]] = b->truth[b->next[k]];
		b->scored[b->next[k]] = 1;
	}
}

static double trapezoid(const double *at, const double *value, int n)
{
	double sum = 0;

	for (int i = 1; i < n; i++)
		sum += (at[i] - at[i - 1]) * (value[i] + value[i - 1]) / 2;
	return sum;
}

struct outcome {
	int scored, rounds;
	double area, estimate, error; /* error: of the area, against all points */
};

static struct outcome bench_run(struct bench *b, double tolerance)
{
	struct outcome o = {0};

	take(b, adaptive_first(b->next, b->a.points, tolerance));
	for (int n; (n = adaptive_next(&b->a, tolerance, b->next)); o.rounds++)
		take(b, n);
	o.estimate = adaptive_error(&b->a);
	o.scored = adaptive_fill(&b->a);
	o.area = trapezoid(b->at, b->value, b->a.points);
	o.error = o.area - trapezoid(b->at, b->truth, b->a.points);
	CU_ASSERT(o.scored <= b->a.points);
	CU_ASSERT(o.scored == b->a.points || o.estimate < tolerance);
	return o;
}

static void walk(struct bench *b, double volatility, uint32_t stream)
{
	float step[MOST];

	random_normal(step, MOST, 1, stream);
	b->truth[0] = 0.5;
	for (int i = 1; i < b->a.points; i++)
		b->truth[i] = b->truth[i - 1] + volatility * step[i] * sqrt(b->at[i] - b->at[i - 1]);
}

static void test_first(void)
{
	int next[MOST];

	CU_ASSERT_EQUAL(adaptive_first(next, 225, 0.002), 16);
	for (int i = 0; i < 16; i++) /* alike at both ends, and closer there */
		CU_ASSERT_EQUAL(next[i] + next[15 - i], 224);
	CU_ASSERT(next[0] == 0 && next[1] - next[0] < 4 && next[8] - next[7] > 20);
	for (int points = 2; points < MOST; points++) {
		int n = adaptive_first(next, points, 0.002);

		CU_ASSERT(points <= 16 ? n == points : n <= 16 && n >= 12);
		for (int i = 1; i < n; i++)
			CU_ASSERT(next[i] > next[i - 1]);
		CU_ASSERT(next[0] == 0 && next[n - 1] == points - 1);
		CU_ASSERT_EQUAL(adaptive_first(next, points, 0), points);
	}
}

/* The rule from its definition: variances of all chords anew after every halving, from a list of points. */
struct naive {
	int point[MOST], n;
	double rate[MOST]; /* of the chord from point k to k + 1 */
};

static double naive_unit(const struct bench *b, int i, int j)
{
	double cubes = pow(b->at[j] - b->at[i], 3);

	for (int k = i; k < j; k++)
		cubes -= pow(b->at[k + 1] - b->at[k], 3);
	return j - i < 2 ? 0 : cubes / 12;
}

static void naive_rates(struct naive *s, const struct bench *b)
{
	double squares[MOST], variation = 0;

	s->n = 0;
	for (int i = 0; i < b->a.points; i++)
		if (b->scored[i] == 1)
			s->point[s->n++] = i;
	for (int k = 0; k + 1 < s->n; k++) {
		double d = b->value[s->point[k + 1]] - b->value[s->point[k]];

		squares[k] = d * d / (b->at[s->point[k + 1]] - b->at[s->point[k]]);
		variation += fabs(d);
	}
	variation /= b->at[b->a.points - 1];
	for (int k = 0; k + 1 < s->n; k++) {
		double length = b->at[s->point[k + 1]] - b->at[s->point[k]];
		double sum = squares[k], weights = 1;

		if (k > 0)
			sum += 0.5 * squares[k - 1], weights += 0.5;
		if (k + 2 < s->n)
			sum += 0.5 * squares[k + 1], weights += 0.5;
		s->rate[k] = sum / weights + 0.25 * variation * variation * length;
	}
}

static double naive_error(const struct naive *s, const struct bench *b)
{
	double sum = 0;

	for (int k = 0; k + 1 < s->n; k++)
		sum += s->rate[k] * naive_unit(b, s->point[k], s->point[k + 1]);
	return sqrt(sum);
}

/* Puts a point into the middle of the worst chord; 0: there is none. */
static int naive_halve(struct naive *s, const struct bench *b)
{
	int best = -1;
	double most = -1;

	for (int k = 0; k + 1 < s->n; k++) {
		double v = s->rate[k] * naive_unit(b, s->point[k], s->point[k + 1]);

		if (s->point[k + 1] - s->point[k] > 1 && v > most * (1 + 1e-9))
			best = k, most = v;
	}
	if (best < 0)
		return 0;
	for (int k = s->n++; k > best + 1; k--) {
		s->point[k] = s->point[k - 1];
		s->rate[k] = s->rate[k - 1];
	}
	s->point[best + 1] = (s->point[best] + s->point[best + 2]) / 2;
	s->rate[best + 1] = s->rate[best];
	return 1;
}

static void check_against_naive(struct bench *b, double tolerance)
{
	struct naive s;
	int n;

	take(b, adaptive_first(b->next, b->a.points, tolerance));
	do {
		int k = 0;

		naive_rates(&s, b);
		CU_ASSERT(near_one("error", adaptive_error(&b->a), naive_error(&s, b), 1e-12));
		for (int i = 0; i < 8 && naive_error(&s, b) >= tolerance && naive_halve(&s, b); i++)
			;
		n = adaptive_next(&b->a, tolerance, b->next);
		for (int i = 0; i < s.n; i++)
			if (b->scored[s.point[i]] != 1)
				CU_ASSERT(k < n && b->next[k++] == s.point[i]);
		CU_ASSERT_EQUAL(k, n);
		take(b, n);
	} while (n);
}

static void test_against_naive(void)
{
	static const double tails[] = {1, 0.3}, tolerances[] = {0.02, 0.004, 0.0005, 1e-9};
	static struct bench b;

	for (int points = 17; points <= MOST; points += 31)
		for (int k = 0; k < 8; k++) {
			bench_init(&b, points, tails[k % 2]);
			walk(&b, 0.2 + 0.1 * k, (uint32_t)(200 + points * 8 + k));
			check_against_naive(&b, tolerances[k / 2]);
		}
}

static double step_at(double x)
{
	return x < 0.37;
}
static double linear(double x)
{
	return 0.9 - 0.8 * x;
}
static double exponential(double x)
{
	return exp(-12 * x);
}
static double constant(double x)
{
	return 0.75 + 0 * x;
}
static double waves(double x)
{
	return 0.5 + 0.4 * sin(9 * x) * (1 - x);
}
static double late(double x)
{
	return x * x * x * x;
}

/* Integrals in closed form; 225 points meet them to 3e-3 (half a stride of a step) or far better. */
static void test_analytic(void)
{
	static const struct {
		const char *name;
		double (*f)(double);
		double area, grid; /* grid: of the trapezoid over all points */
		int most;          /* points */
	} curves[] = {
		{"step", step_at, 0.37, 2.3e-3, 40},
		{"linear", linear, 0.5, 1e-12, 40},
		{"exponential", exponential, (1 - 6.14421235332821e-06) / 12, 1e-4, 48},
		{"constant", constant, 0.75, 1e-12, 16},
		/* int (1 - x) sin 9x = 1/9 - sin 9 / 81 */
		{"waves", waves, 0.5 + 0.4 * (1.0 / 9 - 0.412118485241757 / 81), 1e-4, 60},
		{"late", late, 0.2, 1e-4, 48},
	};
	static struct bench b;

	for (size_t c = 0; c < sizeof(curves) / sizeof(curves[0]); c++) {
		bench_init(&b, 225, 1);
		for (int i = 0; i < 225; i++)
			b.truth[i] = curves[c].f(b.at[i]);
		struct outcome o = bench_run(&b, 0.002);

		CU_ASSERT(near_one(curves[c].name, o.area, curves[c].area, 2 * o.estimate + curves[c].grid));
		CU_ASSERT(near_one(curves[c].name, o.error, 0, 2 * o.estimate + 1e-12));
		CU_ASSERT(o.estimate < 0.002 && o.scored <= curves[c].most);
	}
}

/* A step anywhere is found, and closed in on. */
static void test_steps(void)
{
	static struct bench b;

	for (int at = 1; at < 225; at++) {
		bench_init(&b, 225, 1);
		for (int i = 0; i < 225; i++)
			b.truth[i] = i < at;
		struct outcome o = bench_run(&b, 0.002);

		CU_ASSERT(fabs(o.error) <= 2 * o.estimate && o.scored < 40);
	}
}

/* The roughest curves there are: scoring ends when the estimate happens to be low, so the error is a sixth
 * larger on average, and 95 % are within 2.25 estimates. Curves of a model are smoother: analysis/README.md.
 */
static void test_random_walks(void)
{
	enum { WALKS = 400 };
	static struct bench b;
	int within = 0;
	double square = 0, estimate = 0, bias = 0;

	for (uint32_t k = 0; k < WALKS; k++) {
		bench_init(&b, 225, 1);
		walk(&b, 0.1 + 0.2 * random_unit(77, k), 1000 + k);
		struct outcome o = bench_run(&b, 0.002);

		within += fabs(o.error) <= 2.25 * o.estimate;
		square += o.error * o.error / WALKS;
		estimate += o.estimate * o.estimate / WALKS;
		bias += o.error / WALKS;
	}
	CU_ASSERT(within >= 0.93 * WALKS);
	CU_ASSERT(sqrt(square) < 1.25 * sqrt(estimate) && sqrt(square) > 0.8 * sqrt(estimate));
	CU_ASSERT(fabs(bias) < 4 * sqrt(square / WALKS));
}

static void test_deterministic(void)
{
	static struct bench b, again;

	for (int fill = 0; fill < 2; fill++) {
		bench_init(fill ? &again : &b, 225, 0.4);
		memset(fill ? again.variance : b.variance, fill ? 0 : 0xff, sizeof(b.variance));
		memset(fill ? again.right : b.right, fill ? 0 : 0xff, sizeof(b.right));
		walk(fill ? &again : &b, 0.3, 42);
	}
	struct outcome one = bench_run(&b, 0.001), two = bench_run(&again, 0.001);
	CU_ASSERT(one.scored == two.scored && one.area == two.area && one.estimate == two.estimate);
	CU_ASSERT(!memcmp(b.scored, again.scored, 225 * sizeof(double)));
	CU_ASSERT(one.scored > 30 && one.scored < 225);
}

/* Of equal chords the longer goes first, then the earlier. */
static void test_equal_errors(void)
{
	static const int want[] = {2, 4, 8, 12, 16, 20, 24, 28};
	static struct bench b;

	bench_init(&b, 33, 1);
	for (int i = 0; i < 33; i++)
		b.truth[i] = 1;
	b.next[0] = 0;
	b.next[1] = 32;
	take(&b, 2);
	CU_ASSERT_EQUAL_FATAL(adaptive_next(&b.a, 0, b.next), 8);
	for (int k = 0; k < 8; k++)
		CU_ASSERT_EQUAL(b.next[k], want[k]);
	CU_ASSERT_EQUAL(adaptive_next(&b.a, 1e-100, b.next), 0); /* a constant curve has no error */
	/* an even slope: the same, by the variances */
	for (int i = 0; i < 33; i++)
		b.truth[i] = i / 64.0;
	b.value[0] = b.truth[0];
	b.value[32] = b.truth[32];
	CU_ASSERT_EQUAL_FATAL(adaptive_next(&b.a, 1e-9, b.next), 8);
	for (int k = 0; k < 8; k++)
		CU_ASSERT_EQUAL(b.next[k], want[k]);
}

static void test_few_points(void)
{
	static struct bench b;

	for (int points = 2; points <= 16; points++) {
		bench_init(&b, points, 1);
		walk(&b, 1, (uint32_t)points);
		struct outcome o = bench_run(&b, 0.002);
		CU_ASSERT(o.scored == points && o.rounds == 0 && o.estimate == 0 && o.error == 0);
	}
	bench_init(&b, 225, 1);
	walk(&b, 1, 5);
	struct outcome o = bench_run(&b, 1e-9);
	CU_ASSERT(o.scored == 225 && o.estimate == 0 && o.error == 0);
}

static void test_fill(void)
{
	static struct bench b;

	bench_init(&b, 6, 1);
	b.at[4] = 0.7; /* a quarter of the way from 0.6 to 1 */
	b.value[0] = 1;
	b.value[3] = 4;
	b.value[5] = 1;
	b.scored[0] = b.scored[3] = b.scored[5] = 1;
	CU_ASSERT_EQUAL(adaptive_fill(&b.a), 3);
	for (int i = 0; i < 4; i++)
		CU_ASSERT(near_one("up", b.value[i], i + 1, 1e-14));
	CU_ASSERT(near_one("down, by distance", b.value[4], 3.25, 1e-14));
	CU_ASSERT(b.value[3] == 4 && b.value[5] == 1);
}

static void test_expected(void)
{
	CU_ASSERT(adaptive_expected(225, 0.002) > 25 && adaptive_expected(225, 0.002) < 40);
	CU_ASSERT(adaptive_expected(225, 0.001) > 1.4 * adaptive_expected(225, 0.002));
	CU_ASSERT_EQUAL(adaptive_expected(225, 0), 225);
	CU_ASSERT_EQUAL(adaptive_expected(225, 1e-9), 225);
	CU_ASSERT_EQUAL(adaptive_expected(225, 1), 16);
	CU_ASSERT_EQUAL(adaptive_expected(9, 1), 9);
}

int register_adaptive_tests(void)
{
	static const struct named_test tests[] = {
		{"the points to begin with", test_first},
		{"the rule against a naive twin", test_against_naive},
		{"curves of known area", test_analytic},
		{"steps anywhere", test_steps},
		{"random walks", test_random_walks},
		{"the same whatever the scratch memory holds", test_deterministic},
		{"equal errors", test_equal_errors},
		{"few points", test_few_points},
		{"interpolation", test_fill},
		{"the expected number of points", test_expected},
		{NULL, NULL},
	};

	return add_suite("adaptive", tests);
}

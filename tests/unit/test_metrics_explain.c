/* src/metrics: the metrics that ask for more maps, with an explainer whose maps are known. */
#include "metric_job.h"
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "metrics/maps.h"

static const double exact = 1e-13;

enum { H = 6, W = 7, N = H * W };

/* Does the metric pass on that the explainer failed, and that its map has a NaN, at that call, saying where?
 */
static void check_failures(struct metric_job *j, const char *metric, const char *settings, int call,
	const char *fails, const char *is_nan)
{
	j->fail = call;
	CU_ASSERT_EQUAL(metric_job_run(j, metric, settings), -1);
	CU_ASSERT_STRING_EQUAL(j->err.msg, fails);
	CU_ASSERT_EQUAL(j->calls, call);
	j->fail = 0;
	j->nan = call;
	CU_ASSERT_EQUAL(metric_job_run(j, metric, settings), -1);
	CU_ASSERT_STRING_EQUAL(j->err.msg, is_nan);
	j->nan = 0;
}

/* ---------------------------------------------------------------- noise */

/* The noisy map of a draw as documented: the map is the image. */
static void noisy(float *map, const float *x, double sigma, uint32_t draw)
{
	rng_normal(map, N, (struct rng_key){11, 5, draw, RNG_STABILITY});
	for (int i = 0; i < N; i++)
		map[i] = (float)(x[i] + sigma * map[i]);
}

/* Pearson's correlation by another formula: 1 - half the mean square of the difference of standardised
 * values. */
static double correlation(const double *a, const double *b)
{
	double ma = 0, mb = 0, aa = 0, bb = 0, distance = 0;

	for (int i = 0; i < N; i++) {
		ma += a[i] / N;
		mb += b[i] / N;
		aa += a[i] * a[i] / N;
		bb += b[i] * b[i] / N;
	}
	for (int i = 0; i < N; i++) {
		double d = (a[i] - ma) / sqrt(aa - ma * ma) - (b[i] - mb) / sqrt(bb - mb * mb);

		distance += d * d / N;
	}
	return 1 - distance / 2;
}

/* Ranks by counting. */
static void ranks(double *rank, const float *map)
{
	for (int i = 0; i < N; i++) {
		rank[i] = 0.5;
		for (int k = 0; k < N; k++)
			rank[i] += map[k] < map[i] ? 1 : map[k] == map[i] ? 0.5 : 0;
	}
}

static void test_stability(void)
{
	float *x = new_normal(N, 1, 500), y[N];
	double want[3] = {0}, a[N], b[N];
	struct metric_job j;

	for (uint32_t draw = 0; draw < 3; draw++) {
		noisy(y, x, 0.3, draw);
		for (int i = 0; i < N; i++) {
			a[i] = x[i];
			b[i] = y[i];
		}
		want[0] += correlation(a, b) / 3;
		ranks(a, x);
		ranks(b, y);
		want[1] += correlation(a, b) / 3;
		want[2] += map_distance(x, y, N) / map_norm(x, N) / 3;
	}
	metric_job_init(&j, H, W, x);
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", "sigma=0.3 draws=3"), 0);
	CU_ASSERT_EQUAL(j.calls, 3);
	for (int f = 0; f < 3; f++)
		CU_ASSERT(near_one("stability", j.figures[f], want[f], 1e-12));
	CU_ASSERT(j.figures[0] > 0.9 && j.figures[0] < 0.99); /* 1 / sqrt(1 + 0.09) = 0.958 */
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", "sigma=0"), 0);
	CU_ASSERT(
		near_one("no noise", j.figures[0], 1, exact) && near_one("no noise", j.figures[1], 1, exact));
	CU_ASSERT(j.figures[2] == 0 && j.calls == 1);
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", "sigma=0 of=raw"), 0);
	CU_ASSERT(near_one("raw is twice as large", j.figures[2], 1, exact));
	check_failures(&j, "stability", "draws=3", 2, "draw 1: the fake explainer gave up",
		"draw 1: the map is not a number at pixel 1");
	free(x);
}

/* Undefined is not zero. */
static void test_stability_undefined(void)
{
	float *x = new_normal(N, 1, 501), flat[N], zeros[N] = {0};
	struct metric_job j;

	for (int i = 0; i < N; i++)
		flat[i] = 3;
	metric_job_init(&j, H, W, x);
	j.in.map = flat;
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]) && j.figures[2] > 0);
	j.in.map = zeros;
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]) && isnan(j.figures[2]));
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]) && !j.calls); /* and no pass is spent */
	free(x);
}

static void test_sensitivity(void)
{
	float *x = new_normal(N, 1, 502), y[N];
	double most = 0, sum = 0, u[N];
	struct metric_job j;

	for (uint32_t draw = 0; draw < 4; draw++) {
		rng_uniform(u, N, (struct rng_key){11, 5, draw, RNG_SENSITIVITY});
		for (int i = 0; i < N; i++)
			y[i] = (float)(x[i] - 0.5 + u[i]);
		most = fmax(most, map_distance(x, y, N));
		sum += map_distance(x, y, N);
	}
	metric_job_init(&j, H, W, x);
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", "radius=0.5 draws=4"), 0);
	CU_ASSERT_EQUAL(j.calls, 4);
	CU_ASSERT(near_one("sensitivity", j.figures[0], most / map_norm(x, N), 1e-13));
	CU_ASSERT(most > sum / 4);
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", NULL), 0);
	CU_ASSERT_EQUAL(j.calls, 10);
	CU_ASSERT(j.figures[0] > 0 && j.figures[0] <= 0.02 * sqrt(N) / map_norm(x, N));
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", "radius=0"), 0);
	CU_ASSERT_EQUAL(j.figures[0], 0);
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", "radius=0 of=raw"), 0);
	CU_ASSERT(near_one("raw is twice as large", j.figures[0], 1, exact));
	check_failures(&j, "sensitivity_max", NULL, 10, "draw 9: the fake explainer gave up",
		"draw 9: the map is not a number at pixel 1");
	free(x);
}

/* The noise is one number per channel: images of another shape but as many values have the same. */
static void test_all_channels_change(void)
{
	float x[3 * N] = {0}, first[N];
	struct metric_job j;

	for (int i = 0; i < N; i++)
		first[i] = (float)(i + 1);
	metric_job_init(&j, H, W, x);
	j.in.channels = 3;
	j.in.map = first;
	CU_ASSERT_EQUAL(metric_job_run(&j, "stability", NULL), 0); /* arena and garbage: see metric_job.c */
	CU_ASSERT_EQUAL(metric_job_run(&j, "sensitivity_max", NULL), 0);
	CU_ASSERT(isfinite(j.figures[0]));
}

/* ---------------------------------------------------------------- randomised networks */

static void test_randomisation(void)
{
	static const float map[] = {1, 2, 3, 4}, stages[] = {1, 2, 3, 9, 2, 1, 3, 4, 4, 3, 2, 1};
	static const float flat[12] = {1, 2, 3, 9, 2, 2, 2, 2, 4, 3, 2, 1};
	const struct metric_ops *ops = metric_find("randomisation");
	struct metric_job j;
	double fraction[3];
	char params[64];

	metric_settings(params, ops, "stages=2");
	CU_ASSERT_EQUAL(ops->points(params, 224, 224), 3);
	ops->fractions(params, fraction, 224, 224);
	CU_ASSERT(fraction[0] == 0 && fraction[1] == 0.5 && fraction[2] == 1);
	CU_ASSERT_EQUAL(ops->explanations(params), 3);
	metric_job_init(&j, 2, 2, map);
	j.randomised = stages;
	CU_ASSERT_EQUAL(metric_job_run(&j, "randomisation", "stages=2"), 0);
	CU_ASSERT(j.calls == 3 && j.asked_of == 2);
	CU_ASSERT(near_one("head", j.curve[0], 1, exact));
	CU_ASSERT(near_one("one part", j.curve[1], 0.8, exact)); /* one swap: 1 - 6 * 2 / (4 * 15) */
	CU_ASSERT(near_one("all", j.curve[2], -1, exact));
	CU_ASSERT(near_one("correlation", j.figures[0], 0.8 / 3, exact));
	CU_ASSERT(near_one("last", j.figures[1], -1, exact));
	CU_ASSERT(j.scored[0] == 1 && j.scored[1] == 1 && j.scored[2] == 1);
	check_failures(&j, "randomisation", "stages=2", 3, "stage 2: the fake explainer gave up",
		"stage 2: the map is not a number at pixel 1");
	j.randomised = flat; /* undefined in the middle */
	CU_ASSERT_EQUAL(metric_job_run(&j, "randomisation", "stages=2"), 0);
	CU_ASSERT(isnan(j.curve[1]) && isnan(j.figures[0]) && near_one("last", j.figures[1], -1, exact));
}

/* ---------------------------------------------------------------- grids */

/* Maps of a grid that are `inside` in the cell of their class, `outside` in all others, of n x n cells. */
static float *cells(int n, int side, float inside, float outside)
{
	int g = n * side;
	float *map = malloc((size_t)(n * n * g * g) * sizeof(*map));

	for (int k = 0; k < n * n; k++)
		for (int i = 0; i < g * g; i++)
			map[k * g * g + i] =
				i / g / side == k / n && i % g / side == k % n ? inside : outside;
	return map;
}

static void test_gridpg(void)
{
	static const float x[4] = {0};
	struct metric_job j;

	for (int n = 2; n <= 3; n++) {
		char settings[64];
		float *map = cells(n, 2, 3, 1);
		int c = n * n;

		snprintf(settings, sizeof(settings), "n=%d min_probability=0.25", n);
		metric_job_init(&j, 2, 2, x);
		j.grid = map;
		j.own = c - 2;
		for (int i = 0; i < 4 * c; i++) /* the own cell's map sees nothing but a negative value */
			map[j.own * 4 * c + i] = i ? 0 : -5;
		CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", settings), 0);
		CU_ASSERT(j.asked.n == n && !j.asked.rescaled && j.asked.min_probability == 0.25);
		CU_ASSERT(j.asked_height == 2 * n && j.asked_width == 2 * n && j.calls == 1);
		CU_ASSERT(near_one("score", j.figures[0], 3 / (2.0 + c) * (c - 1) / c, exact));
		CU_ASSERT_EQUAL(j.figures[1], 0);
		free(map);
		j.grid = map = cells(n, 2, 1, 1);
		j.own = 0;
		CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", settings), 0);
		CU_ASSERT(near_one("chance", j.figures[0], 1.0 / c, exact));
		CU_ASSERT(near_one("chance", j.figures[1], 1.0 / c, exact));
		free(map);
		j.grid = map = cells(n, 2, 1, -7);
		CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", settings), 0);
		CU_ASSERT(near_one("all", j.figures[0], 1, exact) && near_one("all", j.figures[1], 1, exact));
		free(map);
	}
}

/* Cells of a rescaled grid that do not divide it: 5 x 8 in 3 x 3 has its borders at 0 1 3 5 and 0 2 5 8. */
static void test_gridpg_borders(void)
{
	static const int rows[] = {1, 2, 2}, columns[] = {2, 3, 3};
	float x[40] = {0}, map[9 * 40];
	struct metric_job j;
	double score = 0;

	for (int i = 0; i < 9 * 40; i++)
		map[i] = 1;
	metric_job_init(&j, 5, 8, x);
	j.grid = map;
	for (j.own = 0; j.own < 9; j.own++) {
		double share = rows[j.own / 3] * columns[j.own % 3] / 40.0;

		CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", "n=3 cells=rescaled"), 0);
		CU_ASSERT(j.asked.rescaled && j.asked_height == 5 && j.asked_width == 8);
		CU_ASSERT(near_one("own", j.figures[1], share, exact));
		score += share / 9;
	}
	CU_ASSERT(near_one("score", j.figures[0], score, exact));
}

/* Neither is an error: no grid for this image. */
static void test_no_grid(void)
{
	static const float x[4] = {1, 2, 3, 4};
	float *map = cells(2, 2, 3, 1);
	int made = 0;
	struct metric_job j;

	metric_job_init(&j, 2, 2, x);
	j.grid = map;
	j.grid_rc = 0;
	CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]) && j.calls == 1);
	j.grid_rc = 1;
	for (uint32_t image = 0; image < 400; image++) {
		double u;

		j.in.image = image;
		rng_uniform(&u, 1, (struct rng_key){11, image, 0, RNG_SUBSET});
		CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", "fraction=0.3"), 0);
		CU_ASSERT_EQUAL(isnan(j.figures[0]) ? 0 : 1, u < 0.3);
		CU_ASSERT_EQUAL(j.calls, u < 0.3); /* no pass is spent on the others */
		made += j.calls;
	}
	CU_ASSERT(made > 80 && made < 160); /* 120, four standard deviations */
	static const char *const others[] = {"stability", "sensitivity_max", "randomisation"};
	for (int k = 0; k < 3; k++) {
		CU_ASSERT_EQUAL(metric_job_run(&j, others[k], "fraction=0"), 0);
		CU_ASSERT(isnan(j.figures[0]) && !j.calls);
	}
	CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", "fraction=0"), 0);
	CU_ASSERT(isnan(j.figures[0]) && !j.calls);
	check_failures(&j, "gridpg", NULL, 1, "the fake explainer gave up",
		"cell 0 of the grid: the map is not a number at pixel 1");
	j.nan = 1; /* only the map that is judged is looked at */
	CU_ASSERT_EQUAL(metric_job_run(&j, "gridpg", "of=raw"), 0);
	CU_ASSERT(near_one("raw", j.figures[0], 3 / 6.0, exact));
	free(map);
}

static void test_grid_estimates(void)
{
	const struct metric_ops *ops = metric_find("gridpg");
	struct metric_grid grid;
	char params[256];

	metric_settings(params, ops, "n=3 cells=rescaled fraction=0.5 min_probability=0.75");
	ops->grid(params, &grid);
	CU_ASSERT(grid.n == 3 && grid.rescaled && grid.min_probability == 0.75);
	CU_ASSERT_EQUAL(ops->explanations(params), 0.5);
	metric_settings(params, ops, NULL);
	ops->grid(params, &grid);
	CU_ASSERT(grid.n == 2 && !grid.rescaled && grid.min_probability == 0.5);
	CU_ASSERT_EQUAL(ops->explanations(params), 1);
	metric_settings(params, metric_find("sensitivity_max"), NULL);
	CU_ASSERT_EQUAL(metric_find("sensitivity_max")->explanations(params), 10);
	metric_settings(params, metric_find("stability"), "draws=3");
	CU_ASSERT_EQUAL(metric_find("stability")->explanations(params), 3);
	metric_settings(params, metric_find("randomisation"), "stages=3 fraction=0.25");
	CU_ASSERT_EQUAL(metric_find("randomisation")->explanations(params), 1);
}

int register_metrics_explain_tests(void)
{
	static const struct named_test tests[] = {
		{"stability", test_stability},
		{"stability where it is undefined", test_stability_undefined},
		{"sensitivity", test_sensitivity},
		{"all channels change", test_all_channels_change},
		{"randomised networks", test_randomisation},
		{"grids", test_gridpg},
		{"borders of rescaled cells", test_gridpg_borders},
		{"no grid", test_no_grid},
		{"estimates", test_grid_estimates},
		{NULL, NULL},
	};

	return add_suite("metrics that explain", tests);
}

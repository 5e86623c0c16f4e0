/* src/metrics: maps.c, and the metrics that ask only for maps and the region, by hand. */
#include "metric_job.h"
#include "support.h"

#include <CUnit/CUnit.h>
#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/maps.h"

static const double exact = 1e-13;

/* Runs a metric on a map of one row, without errors. */
static void run_row(struct metric_job *j, const char *metric, const float *map, int n)
{
	metric_job_init(j, 1, n, map);
	CU_ASSERT_EQUAL(metric_job_run(j, metric, NULL), 0);
}

/* ---------------------------------------------------------------- maps.c */

static struct map_scratch new_scratch(struct arena *a, size_t n)
{
	struct map_scratch s;

	map_carve(&s, a, n);
	arena_allocate(a);
	map_carve(&s, a, n);
	return s;
}

static void test_ranks(void)
{
	static const float map[] = {3, 1, 4, 1, 5, 1, -2, 4}, zeros[] = {0.0f, -0.0f, 1, -0.0f};
	static const double want[] = {5, 3, 6.5, 3, 8, 3, 1, 6.5}, tied[] = {2, 2, 4, 2};
	struct arena a = {0};
	struct map_scratch s = new_scratch(&a, 8);
	double rank[8];

	map_ranks(rank, map, 8, &s);
	for (int i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(rank[i], want[i]);
	map_ranks(rank, zeros, 4, &s);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(rank[i], tied[i]);
	arena_release(&a);
}

static void test_correlations(void)
{
	static const float up[] = {1, 2, 3}, bent[] = {1, 2, 4}, down[] = {-1, -2, -3}, flat[] = {7, 7, 7};
	static const float tied[] = {1, 2, 2, 4}, falling[] = {4, 3, 2, 1}, large[] = {1, 2, 2, 1000};
	struct arena a = {0};
	struct map_scratch s = new_scratch(&a, 4);

	CU_ASSERT(near_one("pearson", map_pearson(up, bent, 3, &s), 3 / sqrt(2 * 42 / 9.0), exact));
	CU_ASSERT(near_one("pearson", map_pearson(up, up, 3, &s), 1, exact));
	CU_ASSERT(near_one("pearson", map_pearson(up, down, 3, &s), -1, exact));
	CU_ASSERT(near_one("spearman", map_spearman(up, bent, 3, &s), 1, exact));
	/* ranks 1, 2.5, 2.5, 4 and 4, 3, 2, 1 */
	CU_ASSERT(near_one("ties", map_spearman(tied, falling, 4, &s), -4.5 / sqrt(22.5), exact));
	CU_ASSERT(
		near_one("ranks alone count", map_spearman(large, falling, 4, &s), -4.5 / sqrt(22.5), exact));
	CU_ASSERT(isnan(map_pearson(up, flat, 3, &s)) && isnan(map_pearson(flat, up, 3, &s)));
	CU_ASSERT(isnan(map_spearman(up, flat, 3, &s)) && isnan(map_spearman(flat, up, 3, &s)));
	arena_release(&a);
}

static void test_sums(void)
{
	static const float a[] = {3, -4, 0}, b[] = {3, -4, 12};
	static const unsigned char region[] = {0, 1, 1};

	CU_ASSERT_EQUAL(map_norm(a, 3), 5);
	CU_ASSERT_EQUAL(map_norm(b, 3), 13);
	CU_ASSERT_EQUAL(map_distance(a, b, 3), 12);
	CU_ASSERT(map_positive(b, NULL, 3) == 15 && map_positive(b, region, 3) == 12);
	CU_ASSERT(map_share(1, 4) == 0.25 && map_share(1e-7, 1e-7) == 0 && map_share(1, 2e-7) > 0);
	CU_ASSERT(map_constant(a, 1) && !map_constant(a, 3) && map_constant((float[]){0.0f, -0.0f}, 2));
}

/* All metrics, those that explain too, refuse a NaN and say where; -1 before anybody is asked. */
static void test_nan(void)
{
	static const unsigned char region[] = {1, 1, 0, 0};
	const float map[] = {1, 2, NAN, 4}, good[] = {1, 2, 3, 4};
	static const char *const names[] = {"energypg", "entropy", "grid_artifact", "pointing_game",
		"randomisation", "sensitivity_max", "sparseness", "stability"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct metric_job j;

		metric_job_init(&j, 2, 2, map);
		j.in.region = region;
		CU_ASSERT_EQUAL(metric_job_run(&j, names[i], NULL), -1);
		CU_ASSERT_STRING_EQUAL(j.err.msg, "the map is not a number at pixel 2");
		CU_ASSERT_EQUAL(j.calls, 0);
		/* the other map is not looked at */
		*(strcmp(names[i], "grid_artifact") ? &j.in.map : &j.in.raw) = good;
		j.in.x = good;
		j.randomised = (float[20]){0};
		CU_ASSERT_EQUAL(metric_job_run(&j, names[i], NULL), 0);
	}
}

/* ---------------------------------------------------------------- regions */

static void check_energy(const float *map, const unsigned char *region, double energy, double gain)
{
	struct metric_job j;

	metric_job_init(&j, 2, 2, map);
	j.in.region = region;
	CU_ASSERT_EQUAL(metric_job_run(&j, "energypg", NULL), 0);
	if (isnan(energy))
		CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]));
	CU_ASSERT(isnan(energy) || near_one("energy", j.figures[0], energy, exact));
	CU_ASSERT(isnan(energy) || near_one("gain", j.figures[1], gain, exact));
}

static void test_energypg(void)
{
	static const float map[] = {1, -2, 3, 4}, none[] = {0, -1, -2, 0}, little[] = {1e-8f, 0, 2e-8f, 0};
	static const unsigned char three[] = {1, 1, 0, 1}, all[] = {1, 1, 1, 1}, empty[4] = {0};
	const float bad[] = {NAN, NAN, NAN, NAN};
	struct metric_job j;

	check_energy(map, three, 5 / 8.0, 5 / 8.0 * 4 / 3);
	check_energy(map, all, 1, 1);
	check_energy(none, three, 0, 0); /* counts 0: never left out */
	check_energy(little, three, 0, 0);
	check_energy(map, NULL, NAN, NAN);
	check_energy(map, empty, NAN, NAN);
	check_energy(bad, NULL, NAN, NAN); /* not looked at */
	metric_job_init(&j, 2, 2, none);
	j.in.raw = map;
	j.in.region = three;
	CU_ASSERT_EQUAL(metric_job_run(&j, "energypg", "of=raw"), 0);
	CU_ASSERT(near_one("raw", j.figures[0], 5 / 8.0, exact));
}

enum { H = 40, W = 50 };

/* Hit of a map with maxima at the pixels of two places, the region being one pixel. */
static double hit(int y1, int x1, int y2, int x2, int ry, int rx, const char *settings)
{
	unsigned char region[H * W] = {0};
	float map[H * W];
	struct metric_job j;

	for (int i = 0; i < H * W; i++)
		map[i] = -3;
	map[y1 * W + x1] = map[y2 * W + x2] = -1;
	region[ry * W + rx] = 1;
	metric_job_init(&j, H, W, map);
	j.in.region = region;
	CU_ASSERT_EQUAL(metric_job_run(&j, "pointing_game", settings), 0);
	return j.figures[0];
}

static void test_pointing_game(void)
{
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 5, 7, "tolerance=0"), 1);
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 5, 8, "tolerance=0"), 0);
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 5, 8, "tolerance=0.999"), 0);
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 14, 19, NULL), 1); /* 9, 12: 15 */
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 14, 20, NULL), 0); /* 9, 13 */
	CU_ASSERT_EQUAL(hit(5, 7, 5, 7, 14, 20, "tolerance=15.82"), 1);
	CU_ASSERT_EQUAL(hit(39, 49, 39, 49, 24, 49, NULL), 1); /* at the edges */
	CU_ASSERT_EQUAL(hit(39, 49, 39, 49, 23, 49, NULL), 0);
	CU_ASSERT_EQUAL(hit(0, 0, 0, 0, 0, 15, NULL), 1);
	CU_ASSERT_EQUAL(hit(0, 0, 0, 0, 0, 16, NULL), 0);
	CU_ASSERT_EQUAL(hit(35, 20, 35, 20, 39, 20, NULL), 1); /* between the maximum and an edge */
	CU_ASSERT_EQUAL(hit(20, 45, 20, 45, 20, 49, NULL), 1);
	CU_ASSERT_EQUAL(hit(4, 3, 4, 3, 0, 0, NULL), 1);
	CU_ASSERT_EQUAL(hit(0, 49, 0, 49, 1, 0, NULL), 0);   /* rows do not run into each other */
	CU_ASSERT_EQUAL(hit(0, 0, 30, 40, 30, 41, NULL), 1); /* of equal maxima any */
	CU_ASSERT_EQUAL(hit(30, 40, 0, 0, 30, 41, NULL), 1);
	CU_ASSERT_EQUAL(hit(0, 0, 39, 49, 0, 0, "tolerance=10000"), 1);
}

static void test_pointing_at_nothing(void)
{
	static const float constant[] = {2, 2, 2, 2}, map[] = {1, 2, 3, 4};
	static const unsigned char all[] = {1, 1, 1, 1}, empty[4] = {0};
	struct metric_job j;

	metric_job_init(&j, 2, 2, constant);
	j.in.region = all;
	CU_ASSERT_EQUAL(metric_job_run(&j, "pointing_game", NULL), 0);
	CU_ASSERT_EQUAL(j.figures[0], 0); /* says nothing, and is not left out */
	j.in.map = map;
	CU_ASSERT_EQUAL(metric_job_run(&j, "pointing_game", NULL), 0);
	CU_ASSERT_EQUAL(j.figures[0], 1);
	j.in.region = empty;
	CU_ASSERT_EQUAL(metric_job_run(&j, "pointing_game", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]));
	j.in.region = NULL;
	CU_ASSERT_EQUAL(metric_job_run(&j, "pointing_game", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]));
}

/* ---------------------------------------------------------------- concentration */

static void check_spread(const float *map, int n, double gini, double entropy)
{
	struct metric_job j;

	run_row(&j, "sparseness", map, n);
	CU_ASSERT(isnan(gini) ? isnan(j.figures[0]) : near_one("gini", j.figures[0], gini, exact));
	run_row(&j, "entropy", map, n);
	CU_ASSERT(isnan(entropy) ? isnan(j.figures[0]) : near_one("entropy", j.figures[0], entropy, exact));
}

static void test_spread(void)
{
	static const float one[] = {0, 0, -4, 0}, flat[] = {3, -3, 3, -3}, zeros[] = {0.0f, -0.0f, 0, 0};
	static const float steps[] = {2, -1, 3}, ties[] = {2, 1, -1, -2}, two[] = {1, 0, 0, -1};
	double h = -(log(2 / 6.0) * 2 + log(1 / 6.0) + log(3 / 6.0) * 3) / 6;

	check_spread(one, 4, 3 / 4.0, 0);
	check_spread(flat, 4, 0, 1);
	check_spread(zeros, 4, NAN, NAN);
	check_spread(steps, 3, 2 * (1 + 4 + 9) / 18.0 - 4 / 3.0, h / log(3));
	check_spread(ties, 4, 4 / 24.0, log(6) / log(4) - log(2) * 4 / 6 / log(4));
	check_spread(two, 4, 0.5, 0.5);
	check_spread(flat, 1, 0, NAN); /* one pixel: log 1 = 0 */
}

/* ---------------------------------------------------------------- the lattice of patches */

static void run_lattice(struct metric_job *j, const float *map, int height, int width, int patch)
{
	metric_job_init(j, height, width, map);
	j->in.patch = patch;
	CU_ASSERT_EQUAL(metric_job_run(j, "grid_artifact", NULL), 0);
}

static void test_lattice_by_hand(void)
{
	static const float map[] = {0, 1, 3, 4, 1, 2, 5, 5}, blocks[] = {1, 1, 3, 3, 1, 1, 3, 3};
	static const float texture[] = {1, 2, 1, 2, 5, 3, 5, 3}, flat[] = {4, 4, 4, 4, 4, 4, 4, 4};
	struct metric_job j;

	run_lattice(&j, map, 2, 4, 2); /* within: 4 of sum 5 down, 4 of sum 3 to the right; across: 2, 3 */
	CU_ASSERT(near_one("border_ratio", j.figures[0], 2.5, exact));
	/* the mean patch is 1.5 2.5 / 3 3.5 */
	CU_ASSERT(near_one("lattice_energy", j.figures[1], 0.546875 / 3.234375, exact));
	run_lattice(&j, blocks, 2, 4, 2);
	CU_ASSERT(isinf(j.figures[0]) && j.figures[0] > 0 && j.figures[1] == 0);
	run_lattice(&j, texture, 2, 4, 2); /* across: 1, 2; within: 4 1 4 1 and 1 1 2 2 */
	CU_ASSERT(near_one("border_ratio", j.figures[0], 1.5 / 2, exact));
	CU_ASSERT(near_one("lattice_energy", j.figures[1], 1, exact));
	run_lattice(&j, flat, 2, 4, 2);
	CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]));
	run_lattice(&j, map, 2, 4, 1); /* no neighbours within a patch, no harmonics */
	CU_ASSERT(isnan(j.figures[0]) && fabs(j.figures[1]) < exact);
	metric_job_init(&j, 2, 2, map);
	j.in.patch = 2; /* one patch */
	CU_ASSERT_EQUAL(metric_job_run(&j, "grid_artifact", NULL), 0);
	CU_ASSERT(isnan(j.figures[0]) && isnan(j.figures[1]));
	j.in.map = flat; /* the raw map is judged */
	j.in.patch = 1;
	CU_ASSERT_EQUAL(metric_job_run(&j, "grid_artifact", NULL), 0);
	CU_ASSERT(fabs(j.figures[1]) < exact);
}

/* Share of the spectral energy at the harmonics, from the definition: every frequency by its own sum. */
static double naive_lattice(const float *map, int height, int width, int patch)
{
	double at = 0, total = 0;

	for (int u = 0; u < height; u++)
		for (int v = 0; v < width; v++) {
			double complex f = 0;

			for (int y = 0; y < height; y++)
				for (int x = 0; x < width; x++)
					f += map[y * width + x] *
					     cexp(-2 * M_PI * I *
						     ((double)u * y / height + (double)v * x / width));
			double energy = creal(f) * creal(f) + cimag(f) * cimag(f);
			if (u || v)
				total += energy;
			if ((u || v) && u % (height / patch) == 0 && v % (width / patch) == 0)
				at += energy;
		}
	return at / total;
}

static void test_lattice_is_spectral(void)
{
	static const int sizes[][3] = {{12, 20, 4}, {9, 6, 3}, {4, 16, 4}, {10, 10, 2}};

	for (int k = 0; k < 4; k++) {
		int h = sizes[k][0], w = sizes[k][1], patch = sizes[k][2];
		float *map = new_normal((size_t)(h * w), 1, 300 + (uint32_t)k);
		struct metric_job j;

		for (int i = 0; i < h * w; i++) /* with a mean, a slope and a texture */
			map[i] += 2 + 0.1f * (float)(i / w) + (i % w % patch == 0 ? 1.5f : 0);
		run_lattice(&j, map, h, w, patch);
		CU_ASSERT(near_one("spectral", j.figures[1], naive_lattice(map, h, w, patch), 1e-12));
		free(map);
	}
}

/* Noise sits at chance in both figures, and a smooth map is not above it. */
static void test_lattice_chance(void)
{
	enum { SIDE = 64, PATCH = 8, MAPS = 40 };
	double ratio = 0, energy = 0, chance = (PATCH * PATCH - 1) / (SIDE * SIDE - 1.0);
	float smooth[SIDE * SIDE];
	struct metric_job j;

	for (uint32_t k = 0; k < MAPS; k++) {
		float *map = new_normal(SIDE * SIDE, 1, 400 + k);

		run_lattice(&j, map, SIDE, SIDE, PATCH);
		ratio += j.figures[0] / MAPS;
		energy += j.figures[1] / MAPS;
		free(map);
	}
	CU_ASSERT(near_one("noise", ratio, 1, 0.02));         /* four standard errors */
	CU_ASSERT(near_one("noise", energy, chance, 0.0017)); /* of its 0.0027 / sqrt(40) */
	for (int i = 0; i < SIDE * SIDE; i++) /* a ramp, which the borders of the picture make harmonics of */
		smooth[i] = (float)(i / SIDE + i % SIDE);
	run_lattice(&j, smooth, SIDE, SIDE, PATCH);
	CU_ASSERT(near_one("ramp", j.figures[0], 1, exact));
	CU_ASSERT(j.figures[1] <= chance);
	for (int i = 0; i < SIDE * SIDE; i++)
		smooth[i] =
			expf(-(float)((i / SIDE - 30) * (i / SIDE - 30) + (i % SIDE - 37) * (i % SIDE - 37)) /
				150);
	run_lattice(&j, smooth, SIDE, SIDE, PATCH);
	CU_ASSERT(near_one("blob", j.figures[0], 1, 0.2));
	CU_ASSERT(j.figures[1] < 0.01 * chance);
}

/* ---------------------------------------------------------------- registry */

static void test_every_metric(void)
{
	for (int m = 0; metric_registry[m]; m++) {
		const struct metric_ops *ops = metric_registry[m];
		char params[256];

		CU_ASSERT_PTR_EQUAL(metric_find(ops->name), ops);
		CU_ASSERT(metric_figure_count(ops) >= 1 && metric_figure_count(ops) <= JOB_FIGURES);
		CU_ASSERT(!ops->points == !ops->fractions && ops->help && ops->carve && ops->run);
		CU_ASSERT(!(ops->needs & (METRIC_EXPLAINS | METRIC_RANDOMISES)) || ops->explanations);
		for (const struct metric_preset *s = ops->presets; s && s->name; s++)
			metric_settings(params, ops, s->settings);
		CU_ASSERT(!m || strcmp(metric_registry[m - 1]->name, ops->name) < 0); /* by name */
	}
	CU_ASSERT_PTR_NULL(metric_find("delet"));
}

int register_metrics_tests(void)
{
	static const struct named_test tests[] = {
		{"ranks with ties", test_ranks},
		{"correlations", test_correlations},
		{"sums and norms", test_sums},
		{"NaN is refused", test_nan},
		{"energypg", test_energypg},
		{"pointing game", test_pointing_game},
		{"pointing at nothing", test_pointing_at_nothing},
		{"sparseness and entropy", test_spread},
		{"the lattice by hand", test_lattice_by_hand},
		{"the lattice from the definition", test_lattice_is_spectral},
		{"the lattice at chance", test_lattice_chance},
		{"every metric", test_every_metric},
		{NULL, NULL},
	};

	return add_suite("metrics of a map", tests) || register_metrics_explain_tests();
}

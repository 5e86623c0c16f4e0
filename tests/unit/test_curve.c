/* src/metrics/curve.c, deletion.c, insertion.c, with a scorer whose curves can be worked out by hand. */
#include "metric_job.h"
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/filter.h"
#include "metrics/curve.h"

/* ---------------------------------------------------------------- helpers */

/* Probability: the sum of all values; logit: a weighted sum, minus 10. Fails at call number `fail`. */
struct fake {
	size_t image;
	int calls, images, largest, fail;
};

static int fake_score(
	void *ctx, double *probability, double *logit, const float *images, int n, struct err *err)
{
	struct fake *f = ctx;

	if (++f->calls == f->fail)
		return err_set(err, "the fake scorer gave up");
	f->images += n;
	f->largest = n > f->largest ? n : f->largest;
	for (int i = 0; i < n; i++, images += f->image) {
		probability[i] = 0;
		logit[i] = -10;
		for (size_t k = 0; k < f->image; k++) {
			probability[i] += images[k];
			logit[i] += images[k] * (double)(k + 1);
		}
	}
	return 0;
}

/* A preset of a metric on top of its defaults, or the defaults alone. */
static struct curve_params params_of(const char *metric, const char *preset)
{
	const struct metric_ops *ops = metric_find(metric);
	struct curve_params p;

	CU_ASSERT_EQUAL(ops->params_size, sizeof(p));
	metric_settings(&p, ops, preset ? metric_preset(ops, preset) : NULL);
	return p;
}

struct job {
	struct metric_input in;
	struct fake fake;
	struct scorer scorer;
	double curve[2048], scored[2048], figures[CURVE_FIGURES];
	struct err err;
};

static void job_init(struct job *j, int channels, int height, int width, const float *x, const float *map)
{
	memset(j, 0, sizeof(*j));
	j->fake.image = (size_t)(channels * height * width);
	j->scorer = (struct scorer){.batch = 3, .score = fake_score, .ctx = &j->fake};
	j->in = (struct metric_input){.channels = channels,
		.height = height,
		.width = width,
		.x = x,
		.raw = map,
		.map = map,
		.correct = 1,
		.scorer = &j->scorer};
	fake_score(&j->fake, &j->in.probability, &j->in.logit, x, 1, &j->err);
	j->fake.calls = j->fake.images = 0;
}

/* Runs the metric as evaluate.c does; scratch memory starts as NaN. */
static int job_run(struct job *j, const char *metric, const struct curve_params *p)
{
	const struct metric_ops *ops = metric_find(metric);
	struct arena a = {0};
	int rc;

	for (size_t i = 0; i < sizeof(j->curve) / sizeof(j->curve[0]); i++)
		j->curve[i] = j->scored[i] = -99;
	ops->carve(&a, p, j->in.channels, j->in.height, j->in.width, j->scorer.batch);
	arena_allocate(&a);
	memset(a.base, 0xff, a.size);
	void *scratch = ops->carve(&a, p, j->in.channels, j->in.height, j->in.width, j->scorer.batch);
	CU_ASSERT_EQUAL(a.used, a.size);
	struct metric_output out = {j->curve, j->scored, j->figures};
	int points = ops->points(p, j->in.height, j->in.width);
	rc = ops->run(scratch, p, &j->in, &out, &j->err);
	CU_ASSERT(j->curve[points] == -99 && j->scored[points] == -99); /* nothing beyond the end */
	arena_release(&a);
	return rc;
}

/* ---------------------------------------------------------------- abscissae */

static void check_points(const char *metric, const char *preset, int points, int stride, int total)
{
	struct curve_params p = params_of(metric, preset);
	double fraction[300];

	CU_ASSERT_EQUAL(curve_points(&p, 224, 224), points);
	/* deletion knows its first point, insertion of all pixels its last */
	CU_ASSERT_EQUAL(curve_forwards(&p, strcmp(metric, "deletion") != 0, 224, 224), points - 1);
	curve_fractions(&p, fraction, 224, 224);
	for (int i = 0; i < points; i++) {
		int changed = i == points - 1 ? total : i * stride;

		CU_ASSERT_EQUAL(fraction[i], changed / 50176.0);
	}
}

static void test_presets(void)
{
	check_points("deletion", "rise", 225, 224, 50176);
	check_points("insertion", "rise", 225, 224, 50176);
	check_points("deletion", "rise_dataset", 29, 1792, 50176);
	check_points("insertion", "rise_dataset", 29, 1792, 50176);
	check_points("deletion", "dave", 130, 352, 45158);
	check_points("deletion", NULL, 129, 392, 50176);
}

/* int(50176 * 0.1), ..., int(50176 * 0.9), as Python has them. */
static void test_spread(void)
{
	static const int removed[] = {0, 5017, 10035, 15052, 20070, 25088, 30105, 35123, 40140, 45158};
	struct curve_params p = params_of("deletion", "chefer");
	double fraction[10];

	CU_ASSERT_EQUAL_FATAL(curve_points(&p, 224, 224), 10);
	CU_ASSERT_EQUAL(curve_forwards(&p, 0, 224, 224), 9);
	curve_fractions(&p, fraction, 224, 224);
	for (int i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(fraction[i], removed[i] / 50176.0);
	p.steps = 128; /* fewer pixels than steps: 0.9 * 7 = 6 steps of a pixel at least */
	CU_ASSERT_EQUAL_FATAL(curve_points(&p, 7, 1), 7);
	curve_fractions(&p, fraction, 7, 1);
	for (int i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(fraction[i], i / 7.0);
}

static void test_preset_settings(void)
{
	struct curve_params d = params_of("deletion", "dave"), r = params_of("insertion", "rise");
	struct curve_params e = params_of("deletion", "rise");

	CU_ASSERT(d.order == CURVE_LEAST && d.fraction == 0.9 && d.steps == 128 && d.substrate == CURVE_BLUR);
	CU_ASSERT(d.kernel == CURVE_GAUSSIAN && d.kernel_size == 31 && d.sigma == 7 && d.rank == CURVE_RAW);
	CU_ASSERT(d.correct_only == 1 && d.min_probability == 0.9 && d.score == CURVE_PROBABILITY);
	CU_ASSERT(r.order == CURVE_MOST && r.fraction == 1 && r.steps == 224 && r.substrate == CURVE_BLUR);
	CU_ASSERT(r.kernel == CURVE_RISE && r.kernel_size == 11 && r.sigma == 5 && r.rank == CURVE_MAP);
	CU_ASSERT(r.correct_only == 0 && r.min_probability == 0);
	CU_ASSERT(e.order == CURVE_MOST && e.substrate == CURVE_CONSTANT && e.rank == CURVE_MAP);
	struct curve_params c = params_of("deletion", "chefer"), n = params_of("deletion", "chefer_negative");
	CU_ASSERT(c.order == CURVE_MOST && c.fraction == 0.9 && c.steps == 9 && c.substrate == CURVE_BLACK);
	CU_ASSERT(c.remainder == CURVE_SPREAD && n.remainder == CURVE_SPREAD && d.remainder == CURVE_STEP);
	CU_ASSERT(n.order == CURVE_LEAST && n.fraction == 0.9 && n.steps == 9 && n.substrate == CURVE_BLACK);
	CU_ASSERT(c.rank == CURVE_MAP && !c.correct_only && c.score == CURVE_PROBABILITY);
}

/* Fewer pixels than steps: one pixel a step, never none. */
static void test_tiny_planes(void)
{
	struct curve_params p = params_of("deletion", NULL);
	double f[8] = {0};

	p.steps = 128;
	CU_ASSERT_EQUAL(curve_points(&p, 2, 3), 7);
	curve_fractions(&p, f, 2, 3);
	for (int i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(f[i], i / 6.0);
	p.fraction = 0.001; /* not even one pixel: one all the same */
	CU_ASSERT_EQUAL(curve_points(&p, 2, 3), 2);
	curve_fractions(&p, f, 2, 3);
	CU_ASSERT(f[0] == 0 && f[1] == 1 / 6.0);
	p.fraction = 1;
	CU_ASSERT_EQUAL(curve_points(&p, 1, 1), 2);
	p.steps = 1;
	CU_ASSERT_EQUAL(curve_points(&p, 50, 50), 2);
	p.steps = 4; /* 7 pixels: strides of 1 */
	CU_ASSERT_EQUAL(curve_points(&p, 7, 1), 8);
	p.steps = 3; /* 7 pixels: strides of 2 and a tail of 1 */
	CU_ASSERT_EQUAL(curve_points(&p, 7, 1), 5);
}

static void test_check(void)
{
	struct curve_params p = params_of("deletion", NULL);
	struct err err = {{0}};

	p.kernel_size = 30;
	CU_ASSERT_EQUAL(curve_check(&p, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "kernel_size"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "30"));
}

/* ---------------------------------------------------------------- curves by hand */

/* x = 1 2 / 4 8 (15 in all), map 3 1 / 4 2: the order is 2, 0, 3, 1. */
static const float image_2x2[] = {1, 2, 4, 8}, map_2x2[] = {3, 1, 4, 2};

static void expect(
	const struct job *j, const char *what, const double *want, int points, double auc, double published)
{
	for (int i = 0; i < points; i++)
		CU_ASSERT(near_one(what, j->curve[i], want[i], 1e-12));
	CU_ASSERT(near_one("auc", j->figures[0], auc, 1e-12));
	CU_ASSERT(near_one("auc_published", j->figures[1], published, 1e-10));
}

static void test_deletion_by_hand(void)
{
	struct curve_params p = params_of("deletion", NULL);
	struct job j;

	job_init(&j, 1, 2, 2, image_2x2, map_2x2);
	p.steps = 4;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	/* (15 + 11)/2 + (11 + 10)/2 + (10 + 2)/2 + (2 + 0)/2 = 30.5 quarters */
	expect(&j, "most", (double[]){15, 11, 10, 2, 0}, 5, 30.5 / 4, 100 * 30.5 / 4);
	p.order = CURVE_LEAST; /* 1, 3, 0, 2 */
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	expect(&j, "least", (double[]){15, 13, 5, 4, 0}, 5, (14 + 9 + 4.5 + 2) / 4,
		100 * (14 + 9 + 4.5 + 2) / 4);
	p.order = CURVE_MOST;
	p.score = CURVE_LOGIT; /* 1*1 + 2*2 + 3*4 + 4*8 - 10 = 39; then without 12, 1, 32, 4 */
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	expect(&j, "logit", (double[]){39, 27, 26, -6, -10}, 5, (33 + 26.5 + 10 - 8) / 4,
		100 * (33 + 26.5 + 10 - 8) / 4);
}

/* 75 % of 2x2 in steps of two pixels: 0, 2, 3 changed; the last stride is half as wide. */
static void test_short_tail(void)
{
	struct curve_params p = params_of("deletion", NULL);
	struct job j;
	double f[4], twice[2];

	job_init(&j, 1, 2, 2, image_2x2, map_2x2);
	p.fraction = 0.75;
	p.steps = 1;
	CU_ASSERT_EQUAL(curve_points(&p, 2, 2), 2);
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	expect(&j, "one step", (double[]){15, 2}, 2, 0.75 * 8.5, 75 * 8.5);

	const float map5[] = {5, 4, 3, 2, 1}, x5[] = {1, 2, 3, 4, 5};
	job_init(&j, 1, 5, 1, x5, map5);
	p.fraction = 1;
	p.steps = 2; /* strides of 2, 2 and a tail of 1 */
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	expect(&j, "tail", (double[]){15, 12, 5, 0}, 4, 0.4 * 13.5 + 0.4 * 8.5 + 0.2 * 2.5,
		100 * (13.5 + 8.5 + 2.5) / 3);
	curve_fractions(&p, f, 5, 1);
	CU_ASSERT(f[1] == 0.4 && f[2] == 0.8);
	curve_areas(&p, j.curve, 5, 1, twice);
	CU_ASSERT(twice[0] == j.figures[0] && twice[1] == j.figures[1]);
}

/* From zeros the same pixels come back in the same order: with zeros as substrate and a score that is linear,
 * deletion and insertion sum to the score of the image. */
static void test_insertion_mirrors_deletion(void)
{
	enum { H = 9, W = 11, N = 3 * H * W };
	float *x = new_normal(N, 1, 100), *map = new_normal(H * W, 1, 101);
	struct curve_params p = params_of("deletion", NULL);
	struct job d, i;
	double total = 0;

	p.steps = 10;
	p.min_probability = -INFINITY;
	for (int k = 0; k < N; k++)
		total += x[k];
	job_init(&d, 3, H, W, x, map);
	job_init(&i, 3, H, W, x, map);
	CU_ASSERT_EQUAL(job_run(&d, "deletion", &p), 0);
	CU_ASSERT_EQUAL(job_run(&i, "insertion", &p), 0);
	for (int k = 0; k < curve_points(&p, H, W); k++)
		CU_ASSERT(near_one("deletion + insertion", d.curve[k] + i.curve[k], total, 1e-9));
	CU_ASSERT_EQUAL(i.curve[0], 0);
	CU_ASSERT(near_one("last of insertion", i.curve[curve_points(&p, H, W) - 1], total, 1e-9));
	CU_ASSERT(near_one("areas", d.figures[0] + i.figures[0], total, 1e-9));
	free(x);
	free(map);
}

/* Ties, in either order and for a constant map too, go by index; -0 ties with +0. */
static void test_ties(void)
{
	static const float x[] = {1, 10, 100, 1000}, constant[4] = {7, 7, 7, 7},
			   zeros[4] = {0.0f, -0.0f, 0.0f, -0.0f};
	static const float pairs[] = {1, 2, 1, 2};
	struct curve_params p = params_of("deletion", NULL);
	struct job j;

	p.steps = 4;
	for (int order = CURVE_MOST; order <= CURVE_LEAST; order++) {
		const float *maps[] = {constant, zeros};

		p.order = order;
		for (int m = 0; m < 2; m++) {
			job_init(&j, 1, 2, 2, x, maps[m]);
			CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
			expect(&j, "constant", (double[]){1111, 1110, 1100, 1000, 0}, 5, 3765.5 / 4,
				25 * 3765.5);
		}
	}
	p.order = CURVE_MOST;
	job_init(&j, 1, 2, 2, x, pairs);
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	CU_ASSERT(j.curve[1] == 1101 && j.curve[2] == 101 && j.curve[3] == 100);
}

static void test_infinite_values_rank(void)
{
	static const float map[] = {-INFINITY, 5, INFINITY, -3};
	struct curve_params p = params_of("deletion", NULL);
	struct job j;

	p.steps = 4;
	job_init(&j, 1, 2, 2, image_2x2, map);
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	CU_ASSERT(j.curve[1] == 11 && j.curve[2] == 9 && j.curve[3] == 1 && j.curve[4] == 0);
}

/* ---------------------------------------------------------------- substrate, rank, qualification */

/* 1e-5: the blurred image with pixels put back one by one, from the definition. */
static void check_blur(int kernel, int size, double sigma, const char *metric)
{
	enum { H = 6, W = 5, N = 3 * H * W };
	float *x = new_normal(N, 1, 102), taps[FILTER_MAX_TAPS], map[H * W];
	struct curve_params p = params_of(metric, NULL);
	double blurred[N] = {0};
	struct job j;

	p.kernel = kernel;
	p.substrate = CURVE_BLUR;
	p.kernel_size = size;
	p.sigma = sigma;
	p.steps = H * W;
	p.min_probability = -INFINITY; /* for the sum that stands for one here */
	kernel == CURVE_RISE ? filter_rise(taps, size, sigma) : filter_gaussian(taps, size, sigma);
	for (int k = 0; k < N; k++)
		for (int v = 0; v < H * W; v++) {
			int dy = v / W - k / W % H, dx = v % W - k % W;

			if (abs(dy) <= size / 2 && abs(dx) <= size / 2)
				blurred[k] += (double)taps[dy + size / 2] * taps[dx + size / 2] *
					      x[k / (H * W) * H * W + v];
		}
	for (int v = 0; v < H * W; v++) /* index order */
		map[v] = (float)-v;
	job_init(&j, 3, H, W, x, map);
	CU_ASSERT_EQUAL(job_run(&j, metric, &p), 0);
	for (int i = 0; i <= H * W; i++) {
		double want = 0;

		for (int k = 0; k < N; k++)
			want += (k % (H * W) < i) == !strcmp(metric, "deletion") ? blurred[k] : x[k];
		CU_ASSERT(near_one("blur", j.curve[i], want, 1e-5));
	}
	free(x);
}

static void test_blur(void)
{
	check_blur(CURVE_GAUSSIAN, 31, 7, "deletion");
	check_blur(CURVE_GAUSSIAN, 3, 1, "insertion");
	check_blur(CURVE_RISE, 11, 5, "insertion");
	check_blur(CURVE_RISE, 11, 5, "deletion");
}

/* Each channel has its own black; the memo tells it from the other substrates. */
static void test_black(void)
{
	static const float x[] = {1, 2, 4, 8, 16, 32, 64, 128}, black[] = {-1, -3};
	struct curve_params p = params_of("deletion", "chefer");
	struct substrate_memo memo = {0};
	struct job j;

	job_init(&j, 2, 2, 2, x, map_2x2); /* the order is 2, 0, 3, 1 */
	j.in.black = black;
	j.in.substrates = &memo;
	p.fraction = 1;
	p.steps = 4;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	expect(&j, "black", (double[]){255, 183, 162, 22, -16}, 5, 486.5 / 4, 25 * 486.5);
	p.substrate = CURVE_CONSTANT;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	CU_ASSERT(j.curve[4] == 0 && memo.count == 2);
	p.substrate = CURVE_BLACK;
	CU_ASSERT_EQUAL(job_run(&j, "insertion", &p), 0);
	CU_ASSERT(j.curve[0] == -16 && j.curve[4] == 255 && memo.count == 2);
}

static void test_rank_raw_or_map(void)
{
	static const float raw[] = {-5, 1, 2, 3}, map[] = {0.4f, 0.3f, 0.2f, 0.1f};
	struct curve_params p = params_of("deletion", NULL);
	struct job j;

	p.steps = 4;
	job_init(&j, 1, 2, 2, image_2x2, map);
	j.in.raw = raw;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	CU_ASSERT(j.curve[1] == 14 && j.curve[2] == 12 && j.curve[3] == 8);
	p.rank = CURVE_RAW;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
	CU_ASSERT(j.curve[1] == 7 && j.curve[2] == 3 && j.curve[3] == 1);
}

static void check_qualified(const struct curve_params *p, int correct, double probability, int expected)
{
	struct job j;

	job_init(&j, 1, 2, 2, image_2x2, map_2x2);
	j.in.correct = correct;
	j.in.probability = probability;
	CU_ASSERT_EQUAL(job_run(&j, "deletion", p), 0);
	CU_ASSERT_EQUAL(j.fake.images, expected ? 4 : 0); /* and no pass is spent */
	for (int i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(!isnan(j.curve[i]), expected);
	CU_ASSERT((isnan(j.figures[0]) != 0) != expected && (isnan(j.figures[1]) != 0) != expected);
}

static void test_qualification(void)
{
	struct curve_params p = params_of("deletion", NULL);

	p.steps = 4;
	check_qualified(&p, 0, 0, 1);
	p.correct_only = 1;
	check_qualified(&p, 0, 1, 0);
	check_qualified(&p, 1, 0, 1);
	p.min_probability = 0.9;
	check_qualified(&p, 1, 0.8999, 0);
	check_qualified(&p, 1, 0.9, 1);
	check_qualified(&p, 0, 0.99, 0);
	p.correct_only = 0;
	check_qualified(&p, 0, 0.99, 1);
	check_qualified(&p, 1, NAN, 0);
}

/* ---------------------------------------------------------------- errors and batches */

static void test_nan_map(void)
{
	float map[] = {1, 2, NAN, 4};
	struct curve_params p = params_of("deletion", NULL);
	struct job j;

	p.steps = 4;
	job_init(&j, 1, 2, 2, image_2x2, map);
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(j.err.msg, "not a number"));
	CU_ASSERT_PTR_NOT_NULL(strstr(j.err.msg, "2"));
	CU_ASSERT_EQUAL(j.fake.calls, 0);
	j.in.raw = map_2x2;
	p.rank = CURVE_RAW; /* the other map is not looked at */
	CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
}

static void test_scorer_fails(void)
{
	struct curve_params p = params_of("insertion", NULL);
	struct job j;

	p.steps = 4;
	for (int fail = 1; fail <= 2; fail++) {
		job_init(&j, 1, 2, 2, image_2x2, map_2x2);
		j.fake.fail = fail;
		CU_ASSERT_EQUAL(job_run(&j, "insertion", &p), -1);
		CU_ASSERT_STRING_EQUAL(j.err.msg, "the fake scorer gave up");
		CU_ASSERT_EQUAL(j.fake.calls, fail);
	}
}

/* 37 points in calls of 1, 7, 33 and 100 images: the same numbers, every image once, no call too large. */
static void test_batches(void)
{
	enum { H = 8, W = 9 };
	static const int batches[] = {1, 7, 33, 100};
	float *x = new_normal(3 * H * W, 1, 103), *map = new_normal(H * W, 1, 104);
	struct curve_params p = params_of("deletion", "rise");
	struct job j, first;

	p.steps = 32; /* 72 pixels: strides of 2, 36 of them */
	p.min_probability = -INFINITY;
	for (size_t b = 0; b < 4; b++) {
		job_init(&j, 3, H, W, x, map);
		j.scorer.batch = batches[b];
		CU_ASSERT_EQUAL(job_run(&j, "deletion", &p), 0);
		CU_ASSERT_EQUAL(curve_points(&p, H, W), 37);
		CU_ASSERT_EQUAL(j.fake.images, 36); /* the clean image is known */
		CU_ASSERT(j.fake.largest <= batches[b]);
		if (!b)
			first = j;
		CU_ASSERT_EQUAL(memcmp(j.curve, first.curve, sizeof(j.curve)), 0);
		CU_ASSERT_EQUAL(memcmp(j.figures, first.figures, sizeof(j.figures)), 0);
	}
	free(x);
	free(map);
}

/* DAVE's published figure: 129 strides counted alike, times 90 %; the true area counts 102 of 352 for the
 * tail. */
static void test_published_area(void)
{
	struct curve_params p = params_of("deletion", "dave");
	double curve[130], figures[2], sum = 0;

	for (int i = 0; i < 130; i++) {
		curve[i] = 1 / (1 + 0.05 * i) + 0.3 * (i == 129);
		sum += i ? 0.5 * (curve[i] + curve[i - 1]) : 0;
	}
	curve_areas(&p, curve, 224, 224, figures);
	double tail = 0.5 * (curve[128] + curve[129]);
	CU_ASSERT(near_one("auc", figures[0], ((sum - tail) * 352 + tail * 102) / 50176, 1e-13));
	CU_ASSERT(near_one("auc_published", figures[1], 90 * sum / 129, 1e-11));
}

int register_curve_tests(void)
{
	static const struct named_test tests[] = {
		{"points of the presets", test_presets},
		{"a remainder spread over the steps", test_spread},
		{"settings of the presets", test_preset_settings},
		{"tiny planes", test_tiny_planes},
		{"an even kernel is refused", test_check},
		{"deletion by hand", test_deletion_by_hand},
		{"a short last step", test_short_tail},
		{"insertion mirrors deletion", test_insertion_mirrors_deletion},
		{"ties go by index", test_ties},
		{"infinite values have a rank", test_infinite_values_rank},
		{"blurred substrate", test_blur},
		{"black substrate", test_black},
		{"rank by raw or map", test_rank_raw_or_map},
		{"images that do not qualify", test_qualification},
		{"NaN in the map", test_nan_map},
		{"an error of the scorer", test_scorer_fails},
		{"batches of the scorer", test_batches},
		{"the published area", test_published_area},
		{NULL, NULL},
	};

	return add_suite("curve", tests) || register_curve_points_tests() || register_adaptive_tests();
}

/* src/metrics/curve.c: which points of a curve are scored. Adaptive curves, and what is known or shared
 * already: the clean image and the substrate. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/curve.h"

/* One channel of ones on 32 x 32 pixels, replaced by zeros in order of index: the share of ones left is the
 * share of pixels not changed. The score is a function of it. */
enum { SIDE = 32, PIXELS = SIDE * SIDE };

struct fake {
	double (*f)(double left);
	int calls, images, substrates; /* substrates: images without a one */
	int alone;                     /* of those, the ones in a call of their own */
	int bad;                       /* pixels left at which the score is not finite; -1: none */
};

static int fake_score(
	void *ctx, double *probability, double *logit, const float *images, int n, struct err *err)
{
	struct fake *f = ctx;

	(void)err;
	f->calls++;
	f->images += n;
	for (int i = 0; i < n; i++, images += PIXELS) {
		int left = 0;

		for (int k = 0; k < PIXELS; k++)
			left += images[k] == 1;
		f->substrates += !left;
		f->alone += !left && n == 1;
		probability[i] = left == f->bad ? NAN : f->f(left / (double)PIXELS);
		logit[i] = left == f->bad ? INFINITY : 10 * probability[i];
	}
	return 0;
}

static double bent(double left)
{
	return 0.1 + 0.8 * left * left * (0.9 + 0.1 * sin(30 * left));
}

struct job {
	struct curve_params p;
	struct fake fake;
	struct scorer scorer;
	struct metric_input in;
	double curve[PIXELS + 2], scored[PIXELS + 2], figures[CURVE_FIGURES], at[PIXELS + 2];
	float x[PIXELS], map[PIXELS];
	int points;
	struct err err;
};

static void job_init(struct job *j, int kind)
{
	memset(j, 0, sizeof(*j));
	option_defaults(&j->p, metric_find("deletion")->options);
	j->p.steps = 256;
	j->p.points = kind;
	j->fake = (struct fake){.f = bent, .bad = -1};
	j->scorer = (struct scorer){4, fake_score, &j->fake};
	for (int i = 0; i < PIXELS; i++) {
		j->x[i] = 1;
		j->map[i] = (float)-i;
	}
	j->in = (struct metric_input){.channels = 1,
		.height = SIDE,
		.width = SIDE,
		.x = j->x,
		.raw = j->map,
		.map = j->map,
		.probability = bent(1),
		.logit = 10 * bent(1),
		.correct = 1,
		.scorer = &j->scorer};
}

static int job_run(struct job *j, const char *metric)
{
	const struct metric_ops *ops = metric_find(metric);
	struct metric_output out = {j->curve, j->scored, j->figures};
	struct arena a = {0};

	j->fake.calls = j->fake.images = j->fake.substrates = j->fake.alone = 0;
	j->points = ops->points(&j->p, SIDE, SIDE);
	ops->fractions(&j->p, j->at, SIDE, SIDE);
	ops->carve(&a, &j->p, 1, SIDE, SIDE, j->scorer.batch);
	arena_allocate(&a);
	memset(a.base, 0xff, a.size);
	int rc =
		ops->run(ops->carve(&a, &j->p, 1, SIDE, SIDE, j->scorer.batch), &j->p, &j->in, &out, &j->err);
	arena_release(&a);
	return rc;
}

/* ---------------------------------------------------------------- adaptive curves */

static double left_at(const char *metric, double changed)
{
	return strcmp(metric, "deletion") ? changed : 1 - changed;
}

static void check_curve(struct job *j, const char *metric)
{
	double area = 0;
	int scored = 0, last = 0;

	for (int i = 0; i < j->points; i++) {
		CU_ASSERT(j->scored[i] == 0 || j->scored[i] == 1);
		if (!j->scored[i])
			continue;
		CU_ASSERT(near_one("scored", j->curve[i], bent(left_at(metric, j->at[i])), 1e-12));
		for (int k = last + 1; k < i; k++) /* straight in between */
			CU_ASSERT(near_one("chord", j->curve[k],
				j->curve[last] + (j->curve[i] - j->curve[last]) * (j->at[k] - j->at[last]) /
							 (j->at[i] - j->at[last]),
				1e-12));
		area += i ? (j->at[i] - j->at[last]) * (j->curve[i] + j->curve[last]) / 2 : 0;
		last = i;
		scored++;
	}
	CU_ASSERT(last == j->points - 1 && j->scored[0] == 1);
	CU_ASSERT_EQUAL(j->figures[CURVE_POINTS_SCORED], scored);
	CU_ASSERT(near_one("auc", j->figures[CURVE_AUC], area, 1e-12));
}

static void test_adaptive(void)
{
	static const char *const metrics[] = {"deletion", "insertion"};
	static struct job j, all;

	for (int m = 0; m < 2; m++)
		for (int part = 0; part < 2; part++) {
			job_init(&j, CURVE_ADAPTIVE);
			job_init(&all, CURVE_UNIFORM);
			j.p.substrate = all.p.substrate = CURVE_CONSTANT;
			j.p.fraction = all.p.fraction = part ? 0.83 : 1; /* with a short last stride */
			CU_ASSERT_EQUAL(job_run(&j, metrics[m]), 0);
			CU_ASSERT_EQUAL(job_run(&all, metrics[m]), 0);
			check_curve(&j, metrics[m]);
			check_curve(&all, metrics[m]);
			CU_ASSERT(fabs(j.figures[0] - all.figures[0]) <= j.figures[CURVE_AUC_ERROR]);
			CU_ASSERT(j.figures[CURVE_AUC_ERROR] < 2.25 * j.p.tolerance);
			CU_ASSERT(near_one("published", j.figures[1], all.figures[1], 1));
			CU_ASSERT(j.figures[CURVE_POINTS_SCORED] > 16 && j.figures[CURVE_POINTS_SCORED] < 60);
			/* deletion knows its start, insertion its end if that is the whole image */
			int known = !m || !part;
			CU_ASSERT_EQUAL(j.fake.images, j.figures[CURVE_POINTS_SCORED] - known);
			CU_ASSERT_EQUAL(all.fake.images, all.points - known);
			CU_ASSERT_EQUAL(curve_forwards(&all.p, m, SIDE, SIDE), all.points - known);
			CU_ASSERT_EQUAL(all.figures[CURVE_AUC_ERROR], 0);
			CU_ASSERT_EQUAL(all.figures[CURVE_POINTS_SCORED], all.points);
			CU_ASSERT(curve_forwards(&j.p, m, SIDE, SIDE) < 40);
		}
}

/* The choice depends on the scores alone, not on how many a call takes. */
static void test_batches(void)
{
	static const int batches[] = {1, 3, 8, 100};
	static struct job j, first;

	for (int b = 0; b < 4; b++) {
		job_init(&j, CURVE_ADAPTIVE);
		j.scorer.batch = batches[b];
		CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
		if (!b)
			memcpy(&first, &j, sizeof(j));
		CU_ASSERT(!memcmp(j.curve, first.curve, sizeof(j.curve)));
		CU_ASSERT(!memcmp(j.scored, first.scored, sizeof(j.scored)));
		CU_ASSERT(!memcmp(j.figures, first.figures, sizeof(j.figures)));
	}
}

static void test_tolerance(void)
{
	static struct job j, all;
	double before = 1000;

	job_init(&j, CURVE_ADAPTIVE);
	job_init(&all, CURVE_UNIFORM);
	j.p.tolerance = 0;
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT_EQUAL(job_run(&all, "deletion"), 0);
	CU_ASSERT(!memcmp(j.curve, all.curve, sizeof(j.curve)) && j.fake.calls == all.fake.calls);
	CU_ASSERT(!memcmp(j.figures, all.figures, sizeof(j.figures)));
	for (double t = 0.0005; t < 0.1; t *= 2) {
		j.p.tolerance = t;
		CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
		CU_ASSERT(j.figures[CURVE_POINTS_SCORED] <= before && j.figures[CURVE_AUC_ERROR] < 2.25 * t);
		before = j.figures[CURVE_POINTS_SCORED];
	}
	CU_ASSERT_EQUAL(before, 16);
	j.p.steps = 1; /* two points: both are known, or the substrate */
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.points == 2 && j.fake.images == 1);
	CU_ASSERT(near_one("two points", j.figures[0], (bent(0) + bent(1)) / 2, 1e-12));
}

static void test_not_finite(void)
{
	static struct job j;

	for (int kind = CURVE_UNIFORM; kind <= CURVE_ADAPTIVE; kind++)
		for (int score = CURVE_PROBABILITY; score <= CURVE_LOGIT; score++)
			for (int end = 0; end < 2; end++) { /* point 128 is not one of the first */
				job_init(&j, kind);
				j.p.score = score;
				j.p.tolerance = 1e-6;
				j.fake.bad = end ? 0 : PIXELS / 2;
				CU_ASSERT_EQUAL(job_run(&j, "deletion"), -1);
				CU_ASSERT_STRING_EQUAL(
					j.err.msg, end ? "the score is not finite at point 256 of the curve"
						       : "the score is not finite at point 128 of the curve");
			}
}

static void test_left_out(void)
{
	static struct job j;

	job_init(&j, CURVE_ADAPTIVE);
	j.p.correct_only = 1;
	j.in.correct = 0;
	CU_ASSERT_EQUAL(job_run(&j, "insertion"), 0);
	CU_ASSERT_EQUAL(j.fake.images, 0);
	for (int i = 0; i < j.points; i++)
		CU_ASSERT(isnan(j.curve[i]) && j.scored[i] == 0);
	for (int i = 0; i < CURVE_FIGURES; i++)
		CU_ASSERT(isnan(j.figures[i]));
}

/* ---------------------------------------------------------------- known points */

/* What the caller knows of the clean image is taken, and it is not scored. */
static void test_clean(void)
{
	static struct job j;

	job_init(&j, CURVE_UNIFORM);
	j.in.probability = 123;
	j.in.logit = 456;
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.curve[0] == 123 && j.curve[1] < 1 && j.fake.images == 256);
	j.p.score = CURVE_LOGIT;
	CU_ASSERT_EQUAL(job_run(&j, "insertion"), 0);
	CU_ASSERT(j.curve[256] == 456 && j.curve[255] < 10 && j.fake.images == 256);
	j.p.fraction = 0.5; /* insertion does not get there */
	CU_ASSERT_EQUAL(job_run(&j, "insertion"), 0);
	CU_ASSERT(j.points == 257 && j.curve[256] < 10 && j.fake.images == 257);
}

/* The substrate is scored by itself, so that its score does not depend on its neighbours. */
static void test_substrate_alone(void)
{
	static const int batches[] = {1, 4, 1000};
	static struct job j;

	for (int b = 0; b < 3; b++)
		for (int insert = 0; insert < 2; insert++) {
			job_init(&j, CURVE_UNIFORM);
			j.scorer.batch = batches[b];
			CU_ASSERT_EQUAL(job_run(&j, insert ? "insertion" : "deletion"), 0);
			CU_ASSERT(j.fake.substrates == 1 && j.fake.alone == 1 && j.fake.images == 256);
			CU_ASSERT_EQUAL(j.fake.calls, 1 + (255 + batches[b] - 1) / batches[b]);
		}
}

static void test_memo(void)
{
	static struct job j;
	static struct substrate_memo memo;

	job_init(&j, CURVE_UNIFORM);
	memo.count = 0;
	j.in.substrates = &memo;
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.fake.substrates == 1 && memo.count == 1);
	CU_ASSERT(memo.entry[0].probability == bent(0) && memo.entry[0].logit == 10 * bent(0));
	memo.entry[0].probability = 33; /* so that it is seen where it comes from */
	memo.entry[0].logit = 44;
	CU_ASSERT_EQUAL(job_run(&j, "insertion"), 0);
	CU_ASSERT(j.fake.substrates == 0 && j.fake.images == 255 && j.curve[0] == 33);
	j.p.score = CURVE_LOGIT;
	j.p.kernel_size = 9; /* of no meaning to a constant */
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.fake.substrates == 0 && j.curve[256] == 44 && memo.count == 1);
	j.p.fraction = 0.5; /* does not get there */
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.fake.images == 256 && j.curve[256] > 1 && j.curve[256] < 9);
	memo.count = 0; /* another image */
	j.p.fraction = 1;
	CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	CU_ASSERT(j.fake.substrates == 1 && j.curve[256] == 10 * bent(0));
}

/* Every setting that makes another substrate asks for a score of its own; a full memo only costs time. */
static void test_memo_keys(void)
{
	static struct job j;
	static struct substrate_memo memo;

	job_init(&j, CURVE_UNIFORM);
	memo.count = 0;
	j.in.substrates = &memo;
	j.p.steps = 1;
	for (int again = 0; again < 2; again++) {
		int fresh = 0;

		for (int k = 0; k < 5; k++) {
			j.p.substrate = k ? CURVE_BLUR : CURVE_CONSTANT;
			j.p.kernel = k == 2 ? CURVE_RISE : CURVE_GAUSSIAN;
			j.p.kernel_size = k == 3 ? 11 : 9;
			j.p.sigma = k == 4 ? 3 : 7;
			CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
			fresh += j.fake.images;
		}
		CU_ASSERT_EQUAL(fresh, again ? 0 : 5);
		CU_ASSERT_EQUAL(memo.count, 5);
	}
	for (int k = 0; k < 2 * SUBSTRATES; k++) {
		j.p.sigma = 10 + k;
		CU_ASSERT_EQUAL(job_run(&j, "deletion"), 0);
	}
	CU_ASSERT(memo.count == SUBSTRATES && j.fake.images == 1);
}

int register_curve_points_tests(void)
{
	static const struct named_test tests[] = {
		{"adaptive curves", test_adaptive},
		{"batches of the scorer", test_batches},
		{"tolerances", test_tolerance},
		{"a score that is not finite", test_not_finite},
		{"images that do not qualify", test_left_out},
		{"the clean image is known", test_clean},
		{"the substrate is scored alone", test_substrate_alone},
		{"the substrate is scored once", test_memo},
		{"substrates are told apart", test_memo_keys},
		{NULL, NULL},
	};

	return add_suite("curve_points", tests);
}

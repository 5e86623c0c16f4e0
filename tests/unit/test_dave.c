/* src/attribution: DAVE, its ablations and the gradients on small random networks. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attribution/dave.h"
#include "attribution/method.h"
#include "base/rng.h"
#include "kernels/order.h"

/* ---------------------------------------------------------------- helpers */

enum { BATCH = 3, TARGET = 2, CLASSES = 8 };

static const int target = TARGET;

/* A network (DeiT-III's kind, 16 x 24), a workspace and an input. */
struct fixture {
	struct vit vit;
	struct vit_work work;
	struct method_input in;
	size_t pixels, plane;
	float *x;
};

static void fixture_init(struct fixture *f, int model)
{
	model_init(&f->vit, &model_specs[model]);
	vit_work_init(&f->work, &f->vit, VIT_GRADIENT, BATCH, BATCH);
	f->pixels = model_pixels(&f->vit);
	f->plane = f->pixels / 3;
	f->x = new_normal(f->pixels, 1, 80);
	f->in = (struct method_input){.vit = &f->vit,
		.work = &f->work,
		.batch = BATCH,
		.x = f->x,
		.targets = &target,
		.count = 1,
		.seed = 77,
		.image = 5};
}

static void fixture_release(struct fixture *f)
{
	vit_work_release(&f->work);
	model_release(&f->vit);
	free(f->x);
}

static float *new_floats(size_t n)
{
	return x_calloc(n, sizeof(float));
}

/* The method's parameters, at their defaults, owned by the caller; fields without a row hold rubbish. */
static void *new_params(const struct method_ops *ops)
{
	void *params = x_malloc(ops->params_size);

	memset(params, 0x7f, ops->params_size);
	option_defaults(params, ops->options);
	return params;
}

/* Runs a method as evaluate.c does; scratch memory starts as NaN. */
static int run_method(const struct method_ops *ops, const void *params, const struct method_input *in,
	float *raw, double *figures, struct err *err)
{
	struct arena arena = {0};
	struct clean clean;
	int rc;

	clean_carve(&clean, &arena, &in->vit->config);
	ops->carve(&arena, &in->vit->config, params, in->batch, in->count);
	arena_allocate(&arena);
	memset(arena.base, 0xff, arena.size);
	clean_carve(&clean, &arena, &in->vit->config);
	clean_begin(&clean, in->vit, in->work, in->x);
	void *scratch = ops->carve(&arena, &in->vit->config, params, in->batch, in->count);
	CU_ASSERT_EQUAL(arena.used, arena.size);
	struct method_input with = *in;
	with.clean = &clean;
	rc = ops->run(scratch, params, &with, raw, figures, err);
	arena_release(&arena);
	return rc;
}

/* The raw map of DAVE with these parameters, owned by the caller. */
static float *dave_map(const struct fixture *f, const struct dave_params *p, double *error)
{
	float *raw = new_floats(f->plane);
	struct err err = {{0}};
	double figure;

	CU_ASSERT_EQUAL(run_method(&method_dave, p, &f->in, raw, error ? error : &figure, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.msg, "");
	return raw;
}

static struct dave_params defaults(int samples)
{
	struct dave_params p;

	option_defaults(&p, method_dave.options);
	p.samples = samples;
	return p;
}

/* One backward pass of an image, by hand. */
static void backward(struct fixture *f, float *dx, const float *x, enum vit_mode mode)
{
	float cotangent[CLASSES] = {0}, logits[CLASSES];

	cotangent[TARGET] = 1;
	vit_forward(&f->vit, &f->work, logits, x, 1, mode);
	vit_backward(&f->vit, &f->work, dx, cotangent, NULL, NULL);
}

/* ---------------------------------------------------------------- samples */

static void test_defaults(void)
{
	struct dave_params p = defaults(50);

	option_defaults(&p, method_dave.options);
	CU_ASSERT(p.samples == 50 && p.aggregate == DAVE_MAD && p.rotation == 20 && p.translation == 0.1);
	CU_ASSERT(p.scaling == 0.1 && p.flip == 1 && p.postprocess == 1);
}

static void test_schedule(void)
{
	struct vit_config c = {.image_h = 224, .image_w = 224};
	struct dave_params p = defaults(50), one = defaults(1);

	p.alpha = one.alpha = 0.7;
	for (int k = 0; k < 50; k++)
		CU_ASSERT(near_one("t", dave_draw(&p, k, 1, 1, &c).t, 0.7 * k / 49, 1e-15));
	CU_ASSERT_EQUAL(dave_draw(&one, 0, 1, 1, &c).t, 0);
}

/* 4,000 draws: every value within its range and reaching 99 % of it, uniform (mean within 4 standard errors,
 * variance 3 %), half of them flipped (4 standard errors), and no two quantities correlated (4 standard
 * errors). */
static void test_draws(void)
{
	enum { N = 4000, Q = 5 };
	struct vit_config c = {.image_h = 100, .image_w = 300};
	struct dave_params p = defaults(50);
	double limit[Q] = {1, 20, 30, 10, 0.1}, sum[Q] = {0}, square[Q] = {0}, most[Q] = {0},
	       cross[Q][Q] = {{0}};

	for (int i = 0; i < N; i++) {
		struct dave_sample s = dave_draw(&p, i % 50, 3, (uint32_t)(i / 50), &c);
		double v[Q] = {s.warp.flip ? 1 : -1, s.warp.angle, s.warp.tx, s.warp.ty, s.warp.scale_x - 1};

		CU_ASSERT_EQUAL(s.warp.scale_x, s.warp.scale_y);
		for (int q = 0; q < Q; q++) {
			sum[q] += v[q] / limit[q] / N;
			square[q] += pow(v[q] / limit[q], 2) / N;
			most[q] = fmax(most[q], fabs(v[q] / limit[q]));
			for (int r = 0; r < q; r++)
				cross[q][r] += v[q] / limit[q] * v[r] / limit[r] / N;
		}
	}
	for (int q = 0; q < Q; q++) {
		double variance = q ? 1.0 / 3 : 1;

		CU_ASSERT(near_one("mean", sum[q], 0, 4 * sqrt(variance / N)));
		CU_ASSERT(near_one("variance", square[q] / variance, 1, 0.06));
		CU_ASSERT(most[q] <= 1 + 1e-12 && most[q] > 0.99);
		for (int r = 0; r < q; r++)
			CU_ASSERT(near_one(
				"correlation", cross[q][r], 0, 4 * sqrt(variance * (r ? 1.0 / 3 : 1) / N)));
	}
}

static void test_draws_off_and_keys(void)
{
	struct vit_config c = {.image_h = 16, .image_w = 24};
	struct dave_params p = defaults(50), off = p;
	struct dave_sample a = dave_draw(&p, 3, 9, 4, &c), b;

	off.flip = 0;
	off.rotation = off.translation = off.scaling = 0;
	for (int k = 0; k < 50; k++) {
		b = dave_draw(&off, k, 9, 4, &c);
		CU_ASSERT(!b.warp.flip && b.warp.angle == 0 && b.warp.tx == 0 && b.warp.ty == 0 &&
			  b.warp.scale_x == 1);
	}
	CU_ASSERT_EQUAL(dave_draw(&p, 3, 9, 4, &c).warp.angle, a.warp.angle);
	CU_ASSERT_NOT_EQUAL(dave_draw(&p, 4, 9, 4, &c).warp.angle, a.warp.angle);
	CU_ASSERT_NOT_EQUAL(dave_draw(&p, 3, 10, 4, &c).warp.angle, a.warp.angle);
	CU_ASSERT_NOT_EQUAL(dave_draw(&p, 3, 9 + (1ULL << 40), 4, &c).warp.angle, a.warp.angle);
	CU_ASSERT_NOT_EQUAL(dave_draw(&p, 3, 9, 5, &c).warp.angle, a.warp.angle);
}

/* 1e-6 absolute on values of order 1. */
static void test_mix(void)
{
	struct fixture f;
	static const double levels[] = {0, 0.25, 0.9, 1};

	fixture_init(&f, 1);
	float *noise = new_normal(f.pixels, 1, 81), *xk = new_floats(f.pixels),
	      *warped = new_floats(f.pixels);
	double *want = x_calloc(f.pixels, sizeof(*want));
	for (size_t l = 0; l < 4; l++) {
		struct dave_sample s = {levels[l], {1, 17, 2.5, -1, 0.93, 0.93}};

		warp_forward(warped, f.x, &s.warp, 3, f.vit.config.image_h, f.vit.config.image_w);
		for (size_t i = 0; i < f.pixels; i++)
			want[i] = (1 - s.t) * warped[i] + sqrt(1 - pow(1 - s.t, 2)) * noise[i];
		dave_mix(xk, f.x, noise, &s, &f.vit.config);
		CU_ASSERT(near_all("x_k", xk, want, f.pixels, 1e-6));
	}
	free(noise);
	free(xk);
	free(warped);
	free(want);
	fixture_release(&f);
}

/* g (3, H, W) = (1 - t) warp^T(W_eff(x_k)^T e), from the parts, one image at a time. */
static void naive_sample(struct fixture *f, float *g, const struct dave_sample *s, const float *noise)
{
	float *xk = new_floats(f->pixels), *dx = new_floats(f->pixels);

	dave_mix(xk, f->x, noise, s, &f->vit.config);
	backward(f, dx, xk, VIT_EFFECTIVE);
	warp_adjoint(g, dx, &s->warp, 3, f->vit.config.image_h, f->vit.config.image_w);
	for (size_t i = 0; i < f->pixels; i++)
		g[i] = (float)((1 - s->t) * g[i]);
	free(xk);
	free(dx);
}

/* The samples of DAVE times the image, (K, 3, H, W), from the parts and from random numbers drawn here. */
static float *naive_contributions(struct fixture *f, const struct dave_params *p)
{
	float *c = new_floats((size_t)p->samples * f->pixels), *noise = new_floats(f->pixels);

	for (int k = 0; k < p->samples; k++) {
		struct dave_sample s = dave_draw(p, k, f->in.seed, f->in.image, &f->vit.config);
		float *g = c + (size_t)k * f->pixels;

		rng_normal(
			noise, f->pixels, (struct rng_key){f->in.seed, f->in.image, (uint32_t)k, RNG_NOISE});
		naive_sample(f, g, &s, noise);
		for (size_t i = 0; i < f->pixels; i++)
			g[i] *= f->x[i];
	}
	free(noise);
	return c;
}

static void sum_channels(double *raw, const float *a, size_t plane)
{
	for (size_t i = 0; i < plane; i++)
		raw[i] = (double)a[i] + a[plane + i] + a[2 * plane + i];
}

/* ---------------------------------------------------------------- DAVE */

/* A block of three samples against one at a time: 1e-5 of the largest. */
static void test_block(void)
{
	struct dave_params p = defaults(BATCH);
	struct arena arena = {0};
	struct fixture f;

	fixture_init(&f, 1);
	float *g = new_floats(BATCH * f.pixels), *want = new_floats(f.pixels), logits[CLASSES];
	dave_carve(&arena, &f.vit.config, BATCH, BATCH, 1);
	arena_allocate(&arena);
	struct dave_scratch s = dave_carve(&arena, &f.vit.config, BATCH, BATCH, 1);
	float *noise = new_normal(BATCH * f.pixels, 1, 82);
	memcpy(s.noise, noise, BATCH * f.pixels * sizeof(*noise));
	for (int k = 0; k < BATCH; k++)
		s.samples[k] = dave_draw(&p, k, 1, 2, &f.vit.config);
	dave_block(g, 0, &s, &f.in, s.samples, BATCH, 0, 1);
	for (int k = 0; k < BATCH; k++) {
		float *xk = new_floats(f.pixels);
		int classes = f.vit.config.classes;

		naive_sample(&f, want, &s.samples[k], noise + (size_t)k * f.pixels);
		CU_ASSERT(near_floats("g_k", g + (size_t)k * f.pixels, want, f.pixels,
			1e-5 * largest_float(want, f.pixels)));
		dave_mix(xk, f.x, noise + (size_t)k * f.pixels, &s.samples[k], &f.vit.config);
		vit_forward(&f.vit, &f.work, logits, xk, 1, VIT_FORWARD);
		CU_ASSERT(near_floats("logits", s.logits + k * classes, logits, (size_t)classes, 1e-4));
		free(xk);
	}
	arena_release(&arena);
	free(g);
	free(want);
	free(noise);
	fixture_release(&f);
}

/* Without warp and noise DAVE is the effective transformation, bit for bit. */
static void test_one_sample(void)
{
	for (int m = 0; m < MODELS; m++) {
		struct dave_params p = defaults(1);
		struct err err = {{0}};
		struct fixture f;
		double error = 0;

		fixture_init(&f, m);
		p.rotation = p.translation = p.scaling = 0;
		p.flip = 0;
		float *map = dave_map(&f, &p, &error), *effective = new_floats(f.plane);
		void *params = new_params(method_find("effective"));
		CU_ASSERT_EQUAL(
			run_method(method_find("effective"), params, &f.in, effective, NULL, &err), 0);
		CU_ASSERT(same_bits(map, effective, f.plane));
		CU_ASSERT(isnan(error));
		free(map);
		free(effective);
		free(params);
		fixture_release(&f);
	}
}

/* All of DAVE against its parts, 7 samples in blocks of 3, both aggregations: 1e-5 of the largest. */
static void test_whole(void)
{
	struct dave_params p = defaults(7);
	struct fixture f;

	fixture_init(&f, 1);
	float *c = naive_contributions(&f, &p), *aggregated = new_floats(f.pixels);
	float *scratch = new_floats(aggregate_scratch(7));
	double *want = x_calloc(f.plane, sizeof(*want)), error;
	for (int kind = DAVE_MAD; kind <= DAVE_MEAN; kind++) {
		p.aggregate = kind;
		float *map = dave_map(&f, &p, &error);
		(kind == DAVE_MEAN ? aggregate_mean(aggregated, c, 7, f.pixels)
				   : aggregate_mad(aggregated, NULL, c, 7, f.pixels, scratch));
		sum_channels(want, aggregated, f.plane);
		/* a sample at the edge of being kept may tip over: seen in none of these pixels */
		CU_ASSERT(near_all("map", map, want, f.plane, 1e-5 * largest(want, f.plane)));
		CU_ASSERT(near_one(
			"mc_error", error, aggregate_error(aggregated, c, 7, f.pixels), 1e-4 * error));
		free(map);
	}
	free(c);
	free(scratch);
	free(aggregated);
	free(want);
	fixture_release(&f);
}

static void test_deterministic(void)
{
	struct dave_params p = defaults(5);
	struct fixture f;

	fixture_init(&f, 2);
	float *first = dave_map(&f, &p, NULL), *again = dave_map(&f, &p, NULL);
	CU_ASSERT(same_bits(first, again, f.plane));
	free(again);
	f.in.image++;
	again = dave_map(&f, &p, NULL);
	CU_ASSERT_FALSE(same_bits(first, again, f.plane));
	free(again);
	f.in.image--;
	f.in.seed++;
	again = dave_map(&f, &p, NULL);
	CU_ASSERT_FALSE(same_bits(first, again, f.plane));
	free(again);
	f.in.seed--;
	f.in.batch = 1;
	again = dave_map(&f, &p, NULL);
	CU_ASSERT(near_floats("batch 1 and 3", again, first, f.plane, 1e-5 * largest_float(first, f.plane)));
	free(again);
	free(first);
	fixture_release(&f);
}

/* The ablations are DAVE without noise and without warps, whatever the fields that they have no option for
 * hold. */
static void test_ablations(void)
{
	const struct method_ops *ops[] = {&method_effective_equivariant, &method_effective_smooth};

	for (int a = 0; a < 2; a++) {
		struct dave_params *params = new_params(ops[a]), p = defaults(4);
		struct err err = {{0}};
		struct fixture f;
		double error, other;

		fixture_init(&f, 1);
		params->samples = 4;
		if (a) {
			p.rotation = p.translation = p.scaling = 0;
			p.flip = 0;
		} else {
			p.alpha = 0;
		}
		float *want = dave_map(&f, &p, &error), *map = new_floats(f.plane);
		CU_ASSERT_EQUAL(run_method(ops[a], params, &f.in, map, &other, &err), 0);
		CU_ASSERT(same_bits(map, want, f.plane) && error == other);
		CU_ASSERT_PTR_NULL(option_find(ops[a]->options, a ? "rotation" : "alpha"));
		free(want);
		free(map);
		free(params);
		fixture_release(&f);
	}
}

/* ---------------------------------------------------------------- gradients and all methods */

/* Sums over channels of |dx| and of x dx, 1e-6 of the largest. */
static void test_gradients(void)
{
	static const char *const names[] = {"gradient", "input_x_gradient", "effective"};
	struct fixture f;

	fixture_init(&f, 1);
	float *dx = new_floats(f.pixels), *raw = new_floats(f.plane);
	double *want = x_calloc(f.plane, sizeof(*want));
	for (int m = 0; m < 3; m++) {
		const struct method_ops *ops = method_find(names[m]);
		void *params = new_params(ops);
		struct err err = {{0}};

		backward(&f, dx, f.x, m == 2 ? VIT_EFFECTIVE : VIT_GRADIENT);
		for (size_t i = 0; i < f.pixels; i++)
			dx[i] = m == 0 ? fabsf(dx[i]) : dx[i] * f.x[i];
		sum_channels(want, dx, f.plane);
		CU_ASSERT_EQUAL(run_method(ops, params, &f.in, raw, NULL, &err), 0);
		CU_ASSERT(near_all(names[m], raw, want, f.plane, 1e-6 * largest(want, f.plane)));
		free(params);
	}
	free(dx);
	free(raw);
	free(want);
	fixture_release(&f);
}

/* Every method of the registry, in a workspace of its own mode, fills the map with finite values that are not
 * constant. */
static void test_registry(void)
{
	for (int m = 0; method_registry[m]; m++) {
		const struct method_ops *ops = method_registry[m];
		void *params = new_params(ops);
		double figures[16], forward = -1, back = -1;
		struct err err = {{0}};
		struct fixture f;

		fixture_init(&f, 0);
		vit_work_release(&f.work);
		vit_work_init(&f.work, &f.vit, ops->mode, BATCH, BATCH);
		float *raw = new_floats(f.plane);
		memset(raw, 0xff, f.plane * sizeof(*raw));
		CU_ASSERT_EQUAL(run_method(ops, params, &f.in, raw, figures, &err), 0);
		for (size_t i = 0; i < f.plane; i++)
			CU_ASSERT(isfinite(raw[i]));
		CU_ASSERT(!same_bits(raw, raw + 1, f.plane - 1));
		for (int i = 0; i < method_figure_count(ops); i++)
			CU_ASSERT(isfinite(figures[i]));
		ops->passes(params, &forward, &back);
		CU_ASSERT(forward >= 0 && back >= 0);
		CU_ASSERT_PTR_EQUAL(method_find(ops->name), ops);
		CU_ASSERT_PTR_NOT_NULL(option_find(ops->options, "postprocess"));
		free(raw);
		free(params);
		fixture_release(&f);
	}
	CU_ASSERT_PTR_NULL(method_find("dav"));
	CU_ASSERT_PTR_NULL(method_find(""));
}

/* A picture that is not finite is refused by every method that looks at it, with a message. */
static void test_not_finite(void)
{
	static const float bad[] = {NAN, INFINITY};
	struct fixture f;

	fixture_init(&f, 0);
	float *raw = new_floats(f.plane);
	for (int m = 0; method_registry[m]; m++)
		for (int b = 0; b < 2; b++) {
			const struct method_ops *ops = method_registry[m];
			void *params = new_params(ops);
			struct err err = {{0}};
			double figures[16];

			if (strcmp(ops->name, "random")) {
				f.x[100] = bad[b];
				CU_ASSERT_EQUAL(run_method(ops, params, &f.in, raw, figures, &err), -1);
				CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "not finite"));
				/* found in the sample: aggregation might drop it as an outlier */
				CU_ASSERT(!option_find(ops->options, "samples") ||
					  !strncmp(err.msg, "sample 0 ", 9));
			}
			free(params);
		}
	free(raw);
	fixture_release(&f);
}

static void test_random_map(void)
{
	const struct method_ops *ops = method_find("random");
	void *params = new_params(ops);
	struct err err = {{0}};
	struct fixture f;
	double mean = 0;

	fixture_init(&f, 1);
	float *first = new_floats(f.plane), *again = new_floats(f.plane);
	run_method(ops, params, &f.in, first, NULL, &err);
	run_method(ops, params, &f.in, again, NULL, &err);
	CU_ASSERT(same_bits(first, again, f.plane));
	for (size_t i = 0; i < f.plane; i++) {
		CU_ASSERT(first[i] >= 0 && first[i] <= 1);
		mean += first[i] / (double)f.plane;
	}
	CU_ASSERT(near_one("mean", mean, 0.5, 4 * sqrt(1.0 / 12 / (double)f.plane)));
	f.in.image++;
	run_method(ops, params, &f.in, again, NULL, &err);
	CU_ASSERT_FALSE(same_bits(first, again, f.plane));
	free(first);
	free(again);
	free(params);
	fixture_release(&f);
}

static void test_sum_channels(void)
{
	struct vit_config c = {.channels = 3, .image_h = 2, .image_w = 3};
	float a[18], raw[6];
	struct err err = {{0}};

	for (int i = 0; i < 18; i++)
		a[i] = (float)(i * i);
	CU_ASSERT_EQUAL(method_sum_channels(raw, a, &c, &err), 0);
	for (int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(raw[i], i * i + (i + 6) * (i + 6) + (i + 12) * (i + 12));
	a[4] = 3e38f;
	a[10] = 3e38f; /* the sum overflows */
	CU_ASSERT_EQUAL(method_sum_channels(raw, a, &c, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "(1, 1)"));
}

int register_dave_tests(void)
{
	static const struct named_test tests[] = {
		{"defaults are the published ones", test_defaults},
		{"noise schedule", test_schedule},
		{"distribution of the samples", test_draws},
		{"samples: switched off, and keys", test_draws_off_and_keys},
		{"mixing", test_mix},
		{"a block of samples", test_block},
		{"one plain sample is `effective`", test_one_sample},
		{"the whole of DAVE", test_whole},
		{"determinism", test_deterministic},
		{"ablations", test_ablations},
		{"gradient, input x gradient, effective", test_gradients},
		{"every method runs", test_registry},
		{"input that is not finite", test_not_finite},
		{"random map", test_random_map},
		{"sum over channels", test_sum_channels},
		{NULL, NULL},
	};

	return add_suite("dave", tests) || register_postprocess_tests();
}

/* Every method of the registry: what several targets get together is what each gets alone. */
#include "attribution/dave.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { COUNT = 3, FIGURES = 4 };

/* Methods that give several targets' cotangents to one backward pass: of another shape than that for one,
 * for which BLAS picks other kernels (4e-7 of the largest value with those of AVX-512, 1.5e-6 with
 * others). The others run pass for pass what they run for one target. */
static const char *const shared[] = {
	"dave", "effective_equivariant", "effective_smooth", "integrated_gradients", "smoothgrad"};

static bool shares(const char *method)
{
	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
		if (!strcmp(shared[i], method))
			return true;
	return false;
}

struct result {
	float *raw, *map; /* (targets, H, W) */
	double scale[COUNT], figures[FIGURES];
};

static void result_release(struct result *r)
{
	free(r->raw);
	free(r->map);
}

/* Seven samples, in blocks that do not divide them. */
static void *params_of(const struct method_ops *ops)
{
	static const char *const settings[][2] = {{"samples", "7"}, {"steps", "7"}};
	void *params = x_calloc(1, ops->params_size);
	struct err err = {""};

	option_defaults(params, ops->options);
	for (int i = 0; i < 2; i++) {
		const struct option_row *row = option_find(ops->options, settings[i][0]);

		CU_ASSERT(!row || !option_set(params, row, settings[i][1], &err));
	}
	return params;
}

static struct result explain(const struct vit *vit, const struct method_ops *ops, const void *params,
	const float *x, int batch, const int *targets, int count)
{
	size_t n = (size_t)count * (size_t)vit->config.image_h * (size_t)vit->config.image_w;
	struct result r = {x_calloc(n, sizeof(float)), x_calloc(n, sizeof(float)), {0}, {0}};
	struct arena a = {0}, memory = {0};
	struct err err = {""};
	struct clean clean;
	struct vit_work w;

	vit_work_init(&w, vit, ops->mode, batch, count > batch ? count : batch);
	clean_carve(&clean, &memory, &vit->config);
	arena_allocate(&memory);
	clean_carve(&clean, &memory, &vit->config);
	clean_begin(&clean, vit, &w, x);
	method_measure(ops, params, &a, &vit->config, batch, count);
	arena_allocate(&a);
	memset(a.base, 0x7f, a.size); /* what is used before it is set shows */
	struct method_input in = {.clean = &clean,
		.vit = vit,
		.work = &w,
		.batch = batch,
		.x = x,
		.targets = targets,
		.count = count,
		.seed = 8,
		.image = 2};
	CU_ASSERT_EQUAL(method_explain(ops, params, &a, &in, r.raw, r.map, r.scale, r.figures, &err), 0);
	arena_release(&a);
	arena_release(&memory);
	vit_work_release(&w);
	return r;
}

/* The largest difference, of the largest value. */
static double apart(const float *a, const float *b, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, fabs((double)a[i] - (double)b[i]));
	return most / largest_float(b, n);
}

static double relative(double a, double b)
{
	return a <= b && a >= b ? 0 : fabs(a - b) / fabs(b);
}

static void compare(const char *model, const struct method_ops *ops, const struct result *all,
	const struct result *one, int t, size_t plane, int batch)
{
	const float *raw = all->raw + (size_t)t * plane, *map = all->map + (size_t)t * plane;
	double limit = shares(ops->name) ? 5e-6 : 0, figure = 0;
	double differ[3] = {apart(raw, one->raw, plane), apart(map, one->map, plane),
		relative(all->scale[t], one->scale[0])};

	for (int f = 0; t == COUNT - 1 && f < method_figure_count(ops); f++)
		figure = fmax(figure, relative(all->figures[f], one->figures[f]));
	if (differ[0] <= limit && differ[1] <= limit && differ[2] <= limit && figure <= 100 * limit)
		return;
	printf("\n    %s: %s, batch %d, target %d: raw %.3g, map %.3g, scale %.3g, figures %.3g; limit %g\n",
		model, ops->name, batch, t, differ[0], differ[1], differ[2], figure, limit);
	CU_ASSERT(false);
}

static int seen[32];

static void check_method(const char *name, const struct vit *vit, const struct method_ops *ops, int batch)
{
	static const int targets[COUNT] = {4, 0, 3};
	size_t plane = (size_t)vit->config.image_h * (size_t)vit->config.image_w;
	float *x = new_normal(model_pixels(vit), 1, 330);
	void *params = params_of(ops);
	struct result all = explain(vit, ops, params, x, batch, targets, COUNT), one;

	for (int t = 0; t < COUNT; t++) {
		one = explain(vit, ops, params, x, batch, targets + t, 1);
		compare(name, ops, &all, &one, t, plane, batch);
		CU_ASSERT(largest_float(one.raw, plane) > 0);
		result_release(&one);
	}
	/* that the maps are of their targets; rollouts and noise have none */
	if (strcmp(ops->name, "attention_rollout") && strcmp(ops->name, "random"))
		for (int t = 1; t < COUNT; t++)
			CU_ASSERT(apart(all.raw, all.raw + (size_t)t * plane, plane) > 1e-3);
	result_release(&all);
	free(params);
	free(x);
}

static void check_methods(const char *name, const struct vit *vit)
{
	for (int m = 0; method_registry[m]; m++) {
		const struct method_ops *ops = method_registry[m];
		void *params = params_of(ops);
		struct err err;

		if (!ops->check || !ops->check(&vit->config, params, &err)) {
			check_method(name, vit, ops, 1);
			check_method(name, vit, ops, 2);
			check_method(name, vit, ops, 2 * COUNT + 1); /* two images of three targets */
			seen[m]++;
		}
		free(params);
	}
}

/* A class token, the mean of the patches, and a network of the method that only B-cos networks have. */
static void check_family(const char *name, struct vit *vit)
{
	if (!strcmp(name, "vit") || !strcmp(name, "vit_gap") || !strcmp(name, "bcos_simple"))
		check_methods(name, vit);
}

static void test_methods(void)
{
	/* large enough for BLAS to see shapes */
	static const struct model_spec wide = {.image_h = 32,
		.image_w = 40,
		.patch = 8,
		.width = 96,
		.heads = 3,
		.depth = 2,
		.hidden = 200,
		.classes = 30};
	struct vit vit;

	model_init(&vit, &wide);
	check_methods("wide", &vit);
	model_release(&vit);
	each_family(check_family);
	for (int m = 0; method_registry[m]; m++) {
		bool bcos = !strcmp(method_registry[m]->name, "bcos");

		CU_ASSERT(seen[m] >= (bcos ? 1 : 3));
	}
}

/* ---- DAVE's targets in chunks, where memory does not hold the samples of all ---- */

/* As many as 10^9 bytes hold, by whole numbers; all, if that is more; at least one. */
static void test_together(void)
{
	static const int sides[] = {1, 17, 224, 448, 672, 1344}, samples[] = {1, 7, 50, 333, 4096};
	int below = 0, one = 0;

	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 5; k++)
			for (int channels = 3; channels <= 6; channels += 3) {
				struct vit_config c = {
					.channels = channels, .image_h = sides[i], .image_w = sides[i] + 16};
				int64_t bytes = (int64_t)4 * channels * c.image_h * c.image_w * samples[k];

				for (int targets = 1; targets <= 9; targets++) {
					int got = dave_together(&c, samples[k], targets);

					CU_ASSERT(got >= 1 && got <= targets);
					CU_ASSERT(got == 1 || got * bytes <= 1000000000);
					CU_ASSERT(got == targets || (got + 1) * bytes > 1000000000);
					below += got < targets;
					one += got == 1 && targets > 1;
				}
			}
	CU_ASSERT(below > one && one > 50);
	struct vit_config grid = {.channels = 3, .image_h = 672, .image_w = 672};
	CU_ASSERT_EQUAL(dave_together(&grid, 50, 9), 3); /* 271 MB each */
}

enum { SAMPLES = 3 };

/* The pieces that chunks are made of: the gradients of targets from the first-th on, `stride` apart, with two
 * and then one target a pass, are those of all in one. */
static void check_chunks(const char *name, struct vit *vit)
{
	static const int targets[COUNT] = {4, 0, 3};
	const struct dave_params p = {.samples = SAMPLES,
		.alpha = 0.3,
		.rotation = 20,
		.translation = 0.1,
		.scaling = 0.1,
		.flip = 1};
	size_t image = model_pixels(vit), stride = SAMPLES * image;
	float *x = new_normal(image, 1, 331), *all = x_calloc(COUNT * stride, sizeof(*all));
	float *parts = x_calloc(COUNT * stride, sizeof(*parts));
	struct method_input in = {.vit = vit, .batch = SAMPLES, .x = x, .targets = targets, .count = COUNT};
	struct dave_sample draws[SAMPLES];
	struct arena a = {0};
	struct vit_work w;

	in.work = &w;
	vit_work_init(&w, vit, VIT_EFFECTIVE, SAMPLES, SAMPLES * COUNT);
	dave_carve(&a, &vit->config, SAMPLES, SAMPLES, SAMPLES * COUNT);
	arena_allocate(&a);
	struct dave_scratch s = dave_carve(&a, &vit->config, SAMPLES, SAMPLES, SAMPLES * COUNT);
	random_normal(s.noise, SAMPLES * image, 1, 332);
	for (int k = 0; k < SAMPLES; k++)
		draws[k] = dave_draw(&p, k, 8, 2, &vit->config);
	dave_block(all, stride, &s, &in, draws, SAMPLES, 0, COUNT);
	dave_block(parts, stride, &s, &in, draws, SAMPLES, 0, 2);
	CU_ASSERT(largest_float(parts + 2 * stride, stride) <= 0); /* of the third there is nothing yet */
	dave_block(parts + 2 * stride, stride, &s, &in, draws, SAMPLES, 2, 1);
	for (int t = 0; t < COUNT; t++) {
		const float *want = all + (size_t)t * stride;

		CU_ASSERT(near_floats(
			name, parts + (size_t)t * stride, want, stride, 5e-6 * largest_float(want, stride)));
		CU_ASSERT(largest_float(want, stride) > 0 && (!t || apart(want, all, stride) > 1e-3));
	}
	arena_release(&a);
	vit_work_release(&w);
	free(x);
	free(all);
	free(parts);
}

static void test_chunks(void)
{
	CU_ASSERT(each_family(check_chunks) >= 29);
}

int register_targets_tests(void)
{
	static const struct named_test tests[] = {
		{"every method", test_methods},
		{"how many of DAVE's targets share passes", test_together},
		{"DAVE's targets in parts", test_chunks},
		{NULL, NULL},
	};

	return add_suite("targets", tests);
}

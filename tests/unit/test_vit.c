/* src/model/vit*.c on small random networks, against a naive network in double precision. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "naive_vit.h"

/* ---------------------------------------------------------------- a network under test */

enum { BATCH = 3, MAX_CLASSES = 8 };

struct fixture {
	struct vit vit;
	struct vit_work work;
	struct naive naive;
	size_t pixels;
	int classes;
	float *x, *dx; /* (BATCH, image) */
	double *exact; /* the first image */
	float cotangent[BATCH * MAX_CLASSES], logits[BATCH * MAX_CLASSES];
};

static void fixture_init(struct fixture *f, int model)
{
	model_init(&f->vit, &model_specs[model]);
	vit_work_init(&f->work, &f->vit, VIT_GRADIENT, BATCH, BATCH);
	naive_init(&f->naive, &f->vit);
	f->pixels = model_pixels(&f->vit);
	f->classes = f->vit.config.classes;
	f->x = new_normal(BATCH * f->pixels, 1, 50);
	f->dx = x_calloc(BATCH * f->pixels, sizeof(float));
	f->exact = x_calloc(f->pixels, sizeof(double));
	for (size_t i = 0; i < f->pixels; i++)
		f->exact[i] = f->x[i];
	random_normal(f->cotangent, BATCH * MAX_CLASSES, 1, 51);
}

static void fixture_release(struct fixture *f)
{
	naive_release(&f->naive);
	vit_work_release(&f->work);
	model_release(&f->vit);
	free(f->x);
	free(f->dx);
	free(f->exact);
}

/* <cotangent, naive logits> of exact + step * direction. */
static double naive_value(struct fixture *f, const double *direction, double step)
{
	double logits[MAX_CLASSES], sum = 0, *x = x_calloc(f->pixels, sizeof(*x));

	for (size_t i = 0; i < f->pixels; i++)
		x[i] = f->exact[i] + step * direction[i];
	naive_forward(&f->naive, logits, x);
	for (int k = 0; k < f->classes; k++)
		sum += f->cotangent[k] * logits[k];
	free(x);
	return sum;
}

/* Derivative along a direction: exact for the frozen network, which is affine; central differences else. */
static double naive_derivative(struct fixture *f, const double *direction)
{
	double step = f->naive.frozen ? 1 : 1e-4;

	return (naive_value(f, direction, step) - naive_value(f, direction, -step)) / (2 * step);
}

/* Freezes the naive network's operators at `exact`. */
static void freeze(struct fixture *f)
{
	double logits[MAX_CLASSES];

	f->naive.frozen = false;
	naive_forward(&f->naive, logits, f->exact);
	f->naive.frozen = true;
}

static void each_model(void (*check)(struct fixture *f))
{
	for (int m = 0; m < MODELS; m++) {
		struct fixture f;

		fixture_init(&f, m);
		check(&f);
		fixture_release(&f);
	}
}

/* ---------------------------------------------------------------- forward */

/* 5e-6 of the largest logit; the modes agree bit for bit. */
static void check_forward(struct fixture *f)
{
	double want[MAX_CLASSES];
	float first[MAX_CLASSES];

	naive_forward(&f->naive, want, f->exact);
	for (int mode = VIT_FORWARD; mode <= VIT_GRADIENT; mode++) {
		memset(f->logits, 0xff, sizeof(f->logits));
		vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
		CU_ASSERT(near_all("logits", f->logits, want, (size_t)f->classes,
			5e-6 * largest(want, (size_t)f->classes)));
		if (mode == VIT_FORWARD)
			memcpy(first, f->logits, sizeof(first));
		CU_ASSERT(same_bits(first, f->logits, (size_t)f->classes));
	}
}

static void test_forward(void)
{
	each_model(check_forward);
}

/* ---------------------------------------------------------------- backward */

/* Every entry of the gradient, 1e-5 of the largest; six random directions, 1e-5 of the gradient's norm. */
static void check_gradient(struct fixture *f, enum vit_mode mode)
{
	double *want = x_calloc(f->pixels, sizeof(*want)), *e = x_calloc(f->pixels, sizeof(*e)), norm = 0;

	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, mode);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
	for (size_t i = 0; i < f->pixels; i++) {
		e[i] = 1;
		want[i] = naive_derivative(f, e);
		e[i] = 0;
		norm += want[i] * want[i];
	}
	CU_ASSERT(near_all("gradient", f->dx, want, f->pixels, 1e-5 * largest(want, f->pixels)));
	for (uint32_t k = 0; k < 6; k++) {
		float *v = new_normal(f->pixels, 1, 60 + k);
		double inner = 0;

		for (size_t i = 0; i < f->pixels; i++) {
			e[i] = v[i];
			inner += (double)f->dx[i] * v[i];
		}
		CU_ASSERT(
			near_one("directional derivative", inner, naive_derivative(f, e), 1e-5 * sqrt(norm)));
		free(v);
	}
	free(want);
	free(e);
}

static void check_true(struct fixture *f)
{
	check_gradient(f, VIT_GRADIENT);
}

static void check_frozen(struct fixture *f)
{
	freeze(f);
	check_gradient(f, VIT_EFFECTIVE);
}

static void test_true_gradient(void)
{
	each_model(check_true);
}

static void test_frozen_gradient(void)
{
	each_model(check_frozen);
}

/* Were the two passes alike, the tests above would not tell them apart. */
static void check_differ(struct fixture *f)
{
	double difference = 0, norm = 0;

	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_GRADIENT);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx + f->pixels, f->cotangent, NULL, NULL);
	for (size_t i = 0; i < f->pixels; i++) {
		difference += pow((double)f->dx[i] - f->dx[f->pixels + i], 2);
		norm += pow(f->dx[i], 2);
	}
	CU_ASSERT(sqrt(difference / norm) > 0.1);
}

static void test_passes_differ(void)
{
	each_model(check_differ);
}

/* backward(a u + b v) = a backward(u) + b backward(v) after one forward pass: 5e-6 of the largest. */
static void check_linear(struct fixture *f)
{
	float *u = x_malloc(f->pixels * sizeof(*u)), *v = x_malloc(f->pixels * sizeof(*v));
	float cu[MAX_CLASSES], cv[MAX_CLASSES], sum[MAX_CLASSES];
	double *want = x_calloc(f->pixels, sizeof(*want));

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++) {
		random_normal(cu, MAX_CLASSES, 1, 70);
		random_normal(cv, MAX_CLASSES, 1, 71);
		vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
		vit_backward(&f->vit, &f->work, u, cu, NULL, NULL);
		vit_backward(&f->vit, &f->work, v, cv, NULL, NULL);
		for (int k = 0; k < MAX_CLASSES; k++)
			sum[k] = 3 * cu[k] - 0.5f * cv[k];
		vit_backward(&f->vit, &f->work, f->dx, sum, NULL, NULL);
		for (size_t i = 0; i < f->pixels; i++)
			want[i] = 3.0 * u[i] - 0.5 * v[i];
		CU_ASSERT(near_all("linear", f->dx, want, f->pixels, 5e-6 * largest(want, f->pixels)));
		vit_backward(&f->vit, &f->work, f->dx, cu, NULL, NULL);
		CU_ASSERT(same_bits(f->dx, u, f->pixels)); /* backward may be asked again */
	}
	free(u);
	free(v);
	free(want);
}

static void test_linear(void)
{
	each_model(check_linear);
}

/* ---------------------------------------------------------------- cotangents that share a forward pass */

/* Three classes of one image from one forward pass: what three passes give, 2e-6 of the largest. */
static void check_shared(struct fixture *f)
{
	float *shared = x_calloc(BATCH * f->pixels, sizeof(float));
	struct vit_account all[BATCH], single;

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++) {
		bool frozen = mode == VIT_EFFECTIVE;

		vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
		vit_backward_with(&f->vit, &f->work, shared, f->cotangent,
			&(struct vit_backward){.per = BATCH, .x = f->x, .account = frozen ? all : NULL});
		for (int i = 0; i < BATCH; i++) {
			vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
			vit_backward(&f->vit, &f->work, f->dx, f->cotangent + i * f->classes, f->x,
				frozen ? &single : NULL);
			CU_ASSERT(near_floats("shared", shared + (size_t)i * f->pixels, f->dx, f->pixels,
				2e-6 * largest_float(f->dx, (int)f->pixels)));
			if (frozen)
				CU_ASSERT(near_one("biases", all[i].biases, single.biases,
					1e-5 * (1 + fabs(single.biases))));
			if (frozen)
				CU_ASSERT(near_one("pixels", all[i].pixels, single.pixels,
					1e-5 * (1 + fabs(single.pixels))));
		}
	}
	free(shared);
}

static void test_shared(void)
{
	each_model(check_shared);
}

/* ---------------------------------------------------------------- account */

/* Sum over pixels of x times the frozen gradient, class token, positions, biases from the naive network: each
 * is what <cotangent, logits> loses when it is taken away; 1e-5 of the sum of magnitudes. */
static void check_account(struct fixture *f)
{
	struct vit_account account[BATCH];
	double *zero = x_calloc(f->pixels, sizeof(*zero));

	vit_forward(&f->vit, &f->work, f->logits, f->x, BATCH, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, f->x, account);
	for (int i = 0; i < BATCH; i++) {
		const struct vit_account *a = &account[i];
		double value = 0,
		       size = fabs(a->pixels) + fabs(a->prefix) + fabs(a->positions) + fabs(a->biases);

		for (int k = 0; k < f->classes; k++)
			value += (double)f->cotangent[i * f->classes + k] * f->logits[i * f->classes + k];
		CU_ASSERT(near_one(
			"account", a->pixels + a->prefix + a->positions + a->biases, value, 1e-5 * size));
		CU_ASSERT(a->pixels != 0 && a->prefix != 0 && a->positions != 0 && a->biases != 0);
	}
	freeze(f);
	for (size_t i = 0; i < f->pixels; i++)
		zero[i] = -f->exact[i];
	double pixels = naive_value(f, zero, 0) - naive_value(f, zero, 1);
	CU_ASSERT(near_one("pixels' part", account[0].pixels, pixels, 2e-5 * fabs(pixels) + 1e-5));
	free(zero);
}

static void test_account(void)
{
	each_model(check_account);
}

/* Zeroes one kind of weights in place; what the frozen value loses is that kind's part. */
static double part_of(struct fixture *f, const float *weights, size_t n)
{
	float *w = (float *)(uintptr_t)weights, *keep = x_malloc(n * sizeof(*keep));
	double *none = x_calloc(f->pixels, sizeof(*none)), before = naive_value(f, none, 0), part;

	memcpy(keep, w, n * sizeof(*keep));
	memset(w, 0, n * sizeof(*w));
	part = before - naive_value(f, none, 0);
	memcpy(w, keep, n * sizeof(*keep));
	free(keep);
	free(none);
	return part;
}

static void check_parts(struct fixture *f)
{
	const struct vit_config *c = &f->vit.config;
	const struct vit_weights *w = &f->vit.weights;
	size_t d = (size_t)c->width;
	struct vit_account a;

	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, f->x, &a);
	freeze(f);
	double class_token = part_of(f, w->prefix, d);
	double positions = part_of(f, w->pos, d * (size_t)c->tokens);
	double biases = part_of(f, w->patch.b, d) + part_of(f, w->norm.b, d) +
			part_of(f, w->head.b, (size_t)c->classes);
	for (int l = 0; l < c->depth; l++) {
		const struct vit_block *b = &w->blocks[l];

		biases += part_of(f, b->norm1.b, d) + part_of(f, b->qkv.b, 3 * d) + part_of(f, b->proj.b, d) +
			  part_of(f, b->norm2.b, d) + part_of(f, b->fc1.b, (size_t)c->hidden) +
			  part_of(f, b->fc2.b, d);
	}
	double limit = 1e-5 * (fabs(class_token) + fabs(positions) + fabs(biases));
	CU_ASSERT(near_one("class token", a.prefix, class_token, limit));
	CU_ASSERT(near_one("positions", a.positions, positions, limit));
	CU_ASSERT(near_one("biases", a.biases, biases, limit));
}

static void test_account_parts(void)
{
	each_model(check_parts);
}

/* ---------------------------------------------------------------- batches and workspaces */

/* 1e-5 of the largest between n = 1 and n = 3, for every image of the batch. */
static void check_batch(struct fixture *f)
{
	float *one = x_malloc(f->pixels * sizeof(*one)), logits[MAX_CLASSES];
	struct vit_account all[BATCH], single;

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++)
		for (int i = 0; i < BATCH; i++) {
			size_t at = (size_t)i * f->pixels;
			const float *cotangent = f->cotangent + i * f->classes;

			vit_forward(&f->vit, &f->work, f->logits, f->x, BATCH, (enum vit_mode)mode);
			vit_backward(&f->vit, &f->work, f->dx, f->cotangent, f->x, all);
			vit_forward(&f->vit, &f->work, logits, f->x + at, 1, (enum vit_mode)mode);
			vit_backward(&f->vit, &f->work, one, cotangent, f->x + at, &single);
			CU_ASSERT(near_floats("logits of a batch", f->logits + i * f->classes, logits,
				(size_t)f->classes, 1e-5 * largest_float(logits, (size_t)f->classes)));
			CU_ASSERT(near_floats("gradients of a batch", f->dx + at, one, f->pixels,
				1e-5 * largest_float(one, f->pixels)));
			CU_ASSERT(near_one("pixels of a batch", all[i].pixels, single.pixels,
				1e-5 * (1 + fabs(single.pixels))));
			CU_ASSERT(near_one("biases of a batch", all[i].biases, single.biases,
				1e-5 * (1 + fabs(single.biases))));
		}
	free(one);
}

static void test_batch(void)
{
	each_model(check_batch);
}

/* The middle image's bits do not depend on its neighbours - not even on their being NaN - nor on what the
 * workspace did before. */
static void check_bits(struct fixture *f)
{
	float *dx = x_malloc(f->pixels * sizeof(*dx)), logits[MAX_CLASSES];

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++) {
		random_normal(f->x, BATCH * f->pixels, 1, 50);
		vit_forward(&f->vit, &f->work, f->logits, f->x, BATCH, (enum vit_mode)mode);
		vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
		memcpy(dx, f->dx + f->pixels, f->pixels * sizeof(*dx));
		memcpy(logits, f->logits + f->classes, (size_t)f->classes * sizeof(*logits));
		for (size_t i = 0; i < f->pixels; i++) {
			f->x[i] = -7 * f->x[i];
			f->x[2 * f->pixels + i] = i % 2 ? NAN : 1e30f;
		}
		vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)(3 - mode));
		vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
		vit_forward(&f->vit, &f->work, f->logits, f->x, 2, VIT_FORWARD);
		vit_forward(&f->vit, &f->work, f->logits, f->x, BATCH, (enum vit_mode)mode);
		vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
		CU_ASSERT(same_bits(dx, f->dx + f->pixels, f->pixels));
		CU_ASSERT(same_bits(logits, f->logits + f->classes, (size_t)f->classes));
		CU_ASSERT(isnan(f->logits[2 * f->classes])); /* and a NaN image does not get a number */
	}
	free(dx);
}

static void test_bits(void)
{
	each_model(check_bits);
}

/* A workspace for the frozen pass alone gives the bits of the larger one; sizes are those announced. */
static void check_work(struct fixture *f)
{
	struct vit_work small;
	float *dx = x_malloc(f->pixels * sizeof(*dx));
	size_t last = 0;

	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
	for (int mode = VIT_FORWARD; mode <= VIT_GRADIENT; mode++) {
		vit_work_init(&small, &f->vit, (enum vit_mode)mode, 1, 1);
		memset(small.arena.base, 0xff, small.arena.size); /* NaN everywhere */
		CU_ASSERT_EQUAL(vit_work_bytes(&f->vit.config, (enum vit_mode)mode, 1, 1), small.arena.size);
		CU_ASSERT_EQUAL(small.arena.used, small.arena.size);
		CU_ASSERT(small.arena.size > last);
		last = small.arena.size;
		if (mode >= VIT_EFFECTIVE) {
			vit_forward(&f->vit, &small, f->logits, f->x, 1, VIT_EFFECTIVE);
			vit_backward(&f->vit, &small, dx, f->cotangent, NULL, NULL);
			CU_ASSERT(same_bits(dx, f->dx, f->pixels));
		}
		vit_work_release(&small);
	}
	free(dx);
}

struct piece {
	const float *at;
	size_t n;
};

/* No two pieces of a workspace overlap, and all lie within it. */
static void check_pieces(struct fixture *f)
{
	const struct vit_config *c = &f->vit.config;
	const struct vit_work *w = &f->work;
	size_t t = (size_t)c->tokens, n = BATCH, d = (size_t)c->width, prob = (size_t)c->heads * t * t;
	size_t one = (size_t)c->heads * t, h = (size_t)c->hidden;
	size_t hidden = n * t * (size_t)c->hidden, patches = n * (t - 1) * 3 * (size_t)(c->patch * c->patch);
	struct piece p[64] = {{w->last.rstd, n}, {w->last.xhat, n * d}, {w->tokens, n * t * d},
		{w->normed, n * t * d}, {w->qkv, 3 * n * t * d}, {w->mixed, n * t * d}, {w->hidden, hidden},
		{w->prob, prob}, {w->scratch.rstd, n * t}, {w->patches, patches}, {w->pooled, n * d},
		{w->classified, n * d}, {w->left, n * d}};
	size_t count = 13, overlaps = 0;

	for (int l = 0; l < c->depth; l++) {
		const struct vit_kept *k = &w->blocks[l];
		size_t q = l < c->depth - 1 ? t : 1; /* the class token alone leaves the last block */
		struct piece kept[] = {{k->prob, n * q * one}, {k->norm1.rstd, n * t}, {k->norm2.rstd, n * q},
			{k->activation, n * q * h}, {k->qkv, 3 * n * t * d}, {k->norm1.xhat, n * t * d},
			{k->norm2.xhat, n * q * d}, {k->entering, n * t * d}};

		memcpy(p + count, kept, sizeof(kept));
		count += sizeof(kept) / sizeof(kept[0]);
	}
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT((const char *)(p[i].at + p[i].n) <= w->arena.base + w->arena.size);
		for (size_t j = 0; j < count; j++)
			overlaps += i != j && p[j].at >= p[i].at && p[j].at < p[i].at + p[i].n;
	}
	CU_ASSERT_EQUAL(overlaps, 0);
}

static void test_work(void)
{
	each_model(check_pieces);
	each_model(check_work);
}

static void test_probability(void)
{
	static const float logits[] = {1, -2, 0.5f, 3}, big[] = {-3e38f, 3e38f, 3e38f},
			   low[] = {-1000, -1001};
	double sum = exp(1) + exp(-2) + exp(0.5) + exp(3), total = 0;

	for (int i = 0; i < 4; i++) {
		CU_ASSERT(
			near_one("probability", vit_probability(logits, 4, i), exp(logits[i]) / sum, 1e-15));
		total += vit_probability(logits, 4, i);
	}
	CU_ASSERT(near_one("sum", total, 1, 1e-15));
	CU_ASSERT(vit_probability(big, 3, 1) == 0.5 && vit_probability(big, 3, 0) == 0);
	CU_ASSERT(near_one("low logits", vit_probability(low, 2, 0), 1 / (1 + exp(-1)), 1e-15));
	CU_ASSERT_EQUAL(vit_probability(logits, 1, 0), 1);
}

int register_vit_tests(void)
{
	static const struct named_test tests[] = {
		{"forward against a naive network", test_forward},
		{"true gradient against finite differences", test_true_gradient},
		{"frozen gradient against the frozen network", test_frozen_gradient},
		{"the two gradients differ", test_passes_differ},
		{"linear in the cotangent", test_linear},
		{"cotangents that share a forward pass", test_shared},
		{"the account sums to the logits", test_account},
		{"each part of the account", test_account_parts},
		{"one image and a batch", test_batch},
		{"bits do not depend on neighbours or history", test_bits},
		{"workspaces", test_work},
		{"probability", test_probability},
		{NULL, NULL},
	};

	return add_suite("vit", tests);
}

/* src/attribution/lrp.c and the methods upon it: the rules of linear layers against naive ones in double
 * precision, conservation, and what must agree on networks of every family. Whole maps: against the naive
 * twin of naive_lrp.c, and those of tests/golden/methods. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attribution/lrp.h"
#include "base/err.h"
#include "kernels/relevance.h"
#include "naive_lrp.h"
#include "scratch.h"

/* ---- rules of a linear layer ---- */

enum { ROWS = 5, IN = 37, OUT = LRP_BLOCK + 61 };

struct layer {
	struct arena arena;
	struct lrp lrp;
	float *x, *w, *b, *r, *got;
	double *want;
};

/* Numbers of both signs; zeros among the inputs and weights, a row of inputs that are all zero, an output
 * whose weights are, and one to which row 1 contributes nothing positive. */
static void layer_init(struct layer *l)
{
	const struct vit_config c = {.tokens = ROWS, .width = IN, .hidden = IN, .channels = 1, .patch = 1};

	*l = (struct layer){.x = NULL};
	lrp_carve(&l->lrp, &l->arena, &c);
	arena_allocate(&l->arena);
	lrp_carve(&l->lrp, &l->arena, &c);
	l->x = new_normal(ROWS * IN, 1, 300);
	l->w = new_normal(OUT * IN, 0.3, 301);
	l->b = new_normal(OUT, 0.5, 302);
	l->r = new_normal(ROWS * OUT, 1, 303);
	l->got = x_calloc(ROWS * IN, sizeof(float));
	l->want = x_calloc(ROWS * IN, sizeof(double));
	for (int i = 0; i < IN; i++) {
		l->x[3 * IN + i] = 0;
		l->w[7 * IN + i] = 0;
		l->w[(LRP_BLOCK + 3) * IN + i] = l->x[IN + i] > 0 ? -0.25f : 0.25f;
	}
	for (int i = 0; i < ROWS * IN; i += 11)
		l->x[i] = 0;
	for (int i = 0; i < OUT * IN; i += 13)
		l->w[i] = 0;
	l->b[5] = l->b[7] = 0;
}

static void layer_release(struct layer *l)
{
	arena_release(&l->arena);
	free(l->x);
	free(l->w);
	free(l->b);
	free(l->r);
	free(l->got);
	free(l->want);
}

static double total(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

/* want (rows, in): every contribution that is positive takes its share. Returns what is lost. */
static double naive_positive(const struct layer *l)
{
	double lost = 0;

	memset(l->want, 0, ROWS * IN * sizeof(double));
	for (int r = 0; r < ROWS; r++)
		for (int j = 0; j < OUT; j++) {
			double sum = 0, out = l->r[r * OUT + j];

			for (int i = 0; i < IN; i++)
				sum += fmax((double)l->x[r * IN + i] * l->w[j * IN + i], 0);
			lost += sum > 0 ? 0 : out;
			for (int i = 0; i < IN && sum > 0; i++)
				l->want[r * IN + i] +=
					fmax((double)l->x[r * IN + i] * l->w[j * IN + i], 0) / sum * out;
		}
	return lost;
}

static void test_positive(void)
{
	struct layer l;

	layer_init(&l);
	double lost = naive_positive(&l), all = total(l.r, ROWS * OUT);
	lrp_positive(&l.lrp, l.got, l.x, l.w, l.r, ROWS, OUT, IN);
	CU_ASSERT(near_all("positive rule", l.got, l.want, ROWS * IN, 2e-6 * largest(l.want, ROWS * IN)));
	CU_ASSERT(near_one("relevance that is kept", total(l.got, ROWS * IN), all - lost, 1e-4));
	CU_ASSERT(fabs(lost) > 1); /* the cases that lose some are among them */
	layer_release(&l);
}

/* want (rows, in): g of the generalised gamma rule, as relevance over x. Returns what biases keep. */
static double naive_gamma(const struct layer *l, const float *bias, double gamma)
{
	double kept = 0;

	memset(l->want, 0, ROWS * IN * sizeof(double));
	for (int r = 0; r < ROWS; r++)
		for (int j = 0; j < OUT; j++) {
			const float *x = l->x + r * IN, *w = l->w + j * IN;
			double b = bias ? bias[j] : 0, z = b, d;

			for (int i = 0; i < IN; i++)
				z += (double)x[i] * w[i];
			d = b * (b * z > 0 ? 1 + gamma : 1);
			for (int i = 0; i < IN; i++)
				d += (double)x[i] * w[i] * (x[i] * w[i] * z > 0 ? 1 + gamma : 1);
			if (z == 0)
				continue;
			double share = z * l->r[r * OUT + j] / d;
			kept += share * b * (b * z > 0 ? 1 + gamma : 1);
			for (int i = 0; i < IN; i++)
				l->want[r * IN + i] += share * w[i] * (x[i] * w[i] * z > 0 ? 1 + gamma : 1);
		}
	return kept;
}

/* g of an input that is zero has no meaning: R is zero. */
static void check_gamma(struct layer *l, const float *bias, double gamma)
{
	const struct vit_linear linear = {l->w, bias};
	double kept = naive_gamma(l, bias, gamma), all = 0, got = 0;

	lrp_gamma(&l->lrp, l->got, l->x, &linear, l->r, (float)gamma, ROWS, OUT, IN);
	for (int i = 0; i < ROWS * IN; i++) {
		l->got[i] *= l->x[i];
		l->want[i] *= l->x[i];
	}
	CU_ASSERT(near_all("gamma rule", l->got, l->want, ROWS * IN, 2e-6 * largest(l->want, ROWS * IN)));
	for (int r = 0; r < ROWS; r++)
		for (int j = 0; j < OUT; j++) {
			double z = bias ? bias[j] : 0;

			for (int i = 0; i < IN; i++)
				z += (double)l->x[r * IN + i] * l->w[j * IN + i];
			all += z * l->r[r * OUT + j];
		}
	got = total(l->got, ROWS * IN);
	CU_ASSERT(near_one("relevance and what biases keep", got + kept, all, 1e-4 * fabs(all)));
}

static void test_gamma(void)
{
	static const double gammas[] = {0, 0.05, 0.25, 10};
	struct layer l;

	layer_init(&l);
	for (int i = 0; i < 4; i++) {
		check_gamma(&l, l.b, gammas[i]);
		check_gamma(&l, NULL, gammas[i]);
	}
	layer_release(&l);
}

static void test_specials(void)
{
	float a[4] = {3, -1, 2, NAN}, b[4] = {0, -0.0f, 4, 1}, y[4], plus[4], minus[4], z[4] = {0, -2, 2, 0};
	const float g[4] = {5, 6, 6, 7};

	divide_or_zero(y, a, b, 0.5f, 4);
	CU_ASSERT(y[0] == 0 && y[1] == 0 && y[2] == 0.25f && isnan(y[3]));
	split_signs(plus, minus, a, 4);
	CU_ASSERT(plus[0] == 3 && minus[0] == 0 && plus[1] == 0 && minus[1] == -1);
	CU_ASSERT(isnan(plus[3]) && isnan(minus[3]));
	memcpy(y, (float[4]){0, 8, 8, 1}, sizeof(y));
	gamma_shares(z, y, g, 1, 4); /* d = 1.5 |z| + size / 2 */
	CU_ASSERT(z[0] == 0 && y[0] == 0 && z[3] == 0 && y[3] == 0);
	CU_ASSERT(near_one("share", z[1], 12.0 / 7, 1e-6) && near_one("signed", y[1], -12.0 / 7, 1e-6));
	CU_ASSERT(near_one("share", z[2], 12.0 / 7, 1e-6) && near_one("signed", y[2], 12.0 / 7, 1e-6));
}

/* ---- methods on every family ---- */

enum { COUNT = 3 };

/* The method's parameters, owned by the caller: the defaults, and `settings`, "key=value key=value". */
static void *params_of(const struct method_ops *ops, const char *settings)
{
	void *params = x_calloc(1, ops->params_size);
	char *text = x_strdup(settings), *rest = text, *key;
	struct err err = {{0}};

	option_defaults(params, ops->options);
	while ((key = strtok_r(rest, " ", &rest))) {
		char *value = strchr(key, '=');

		*value++ = 0;
		CU_ASSERT_EQUAL(option_set(params, option_find(ops->options, key), value, &err), 0);
	}
	free(text);
	return params;
}

/* raw (count, H, W) of a method, owned by the caller, and its figures. */
static float *map_of(const struct vit *vit, const float *x, const char *method, const char *settings,
	const int *targets, int count, double *figures)
{
	const struct method_ops *ops = method_find(method);
	size_t n = (size_t)count * (size_t)vit->config.image_h * (size_t)vit->config.image_w;
	float *raw = x_calloc(n, sizeof(*raw)), *map = x_calloc(n, sizeof(*map));
	void *params = params_of(ops, settings);
	struct arena a = {0}, memory = {0};
	struct err err = {{0}};
	struct clean clean;
	struct vit_work w;
	double scale[COUNT];

	CU_ASSERT_EQUAL(ops->check(&vit->config, params, &err), 0);
	vit_work_init(&w, vit, VIT_GRADIENT, 1, 1);
	clean_carve(&clean, &memory, &vit->config);
	arena_allocate(&memory);
	clean_carve(&clean, &memory, &vit->config);
	clean_begin(&clean, vit, &w, x);
	method_measure(ops, params, &a, &vit->config, 1, count);
	arena_allocate(&a);
	memset(a.base, 0x7f, a.size); /* what is used before it is set shows */
	struct method_input in = {.clean = &clean,
		.vit = vit,
		.work = &w,
		.batch = 1,
		.x = x,
		.targets = targets,
		.count = count};
	CU_ASSERT_EQUAL(method_explain(ops, params, &a, &in, raw, map, scale, figures, &err), 0);
	arena_release(&a);
	arena_release(&memory);
	vit_work_release(&w);
	free(params);
	free(map);
	return raw;
}

static bool has_rules(const struct vit *vit)
{
	return !vit->config.bcos && vit->config.activation != VIT_SWIGLU;
}

static int seen;

/* Without more weight for contributions of one sign the gamma rule is the epsilon rule, and with it another.
 */
static void check_gamma_zero(const char *name, struct vit *vit)
{
	size_t plane = (size_t)vit->config.image_h * (size_t)vit->config.image_w;
	const int target = 2;
	double difference = 0;

	if (!has_rules(vit))
		return;
	float *x = new_normal(model_pixels(vit), 1, 310);
	float *epsilon = map_of(vit, x, "attnlrp", "", &target, 1, NULL);
	float *zero = map_of(vit, x, "attnlrp", "rule=gamma gamma_linear=0 gamma_patch=0", &target, 1, NULL);
	float *gamma = map_of(vit, x, "attnlrp", "rule=gamma", &target, 1, NULL);
	double most = largest_float(epsilon, plane);
	CU_ASSERT(near_floats(name, zero, epsilon, plane, 1e-5 * most));
	for (size_t i = 0; i < plane; i++)
		difference = fmax(difference, fabs(gamma[i] - epsilon[i]));
	CU_ASSERT(difference > 0.01 * most);
	free(x);
	free(epsilon);
	free(zero);
	free(gamma);
	seen++;
}

static void test_gamma_zero(void)
{
	seen = 0;
	each_family(check_gamma_zero);
	CU_ASSERT(seen >= 23);
}

/* What several targets get together is what each gets alone, bit for bit. */
static void check_targets(const char *name, struct vit *vit)
{
	static const char *const methods[][2] = {
		{"attnlrp", ""}, {"attnlrp", "rule=gamma"}, {"chefer", ""}, {"chefer", "start_layer=0"}};
	const int targets[COUNT] = {4, 0, 3};
	size_t plane = (size_t)vit->config.image_h * (size_t)vit->config.image_w;

	if (!has_rules(vit))
		return;
	float *x = new_normal(model_pixels(vit), 1, 311);
	for (int m = 0; m < 4; m++) {
		double figure[1], alone[1];
		float *all = map_of(vit, x, methods[m][0], methods[m][1], targets, COUNT, figure);

		for (int t = 0; t < COUNT; t++) {
			float *one = map_of(vit, x, methods[m][0], methods[m][1], targets + t, 1, alone);

			CU_ASSERT(same_bits(one, all + (size_t)t * plane, plane));
			CU_ASSERT(!t || !same_bits(one, all, plane));
			free(one);
		}
		if (m >= 2) {
			CU_ASSERT(figure[0] == alone[0]);
			CU_ASSERT(near_one(name, figure[0], 1, 1e-4));
		}
		free(all);
	}
	free(x);
	seen++;
}

static void test_targets(void)
{
	seen = 0;
	each_family(check_targets);
	CU_ASSERT(seen >= 23);
}

/* ---- whole maps ---- */

/* Rule by rule in double precision, against cotangents in single. */
static void test_attnlrp(void)
{
	static const struct {
		const char *settings;
		double linear, patch;
	} cases[] = {{"", 0, 0}, {"rule=gamma", 0.05, 0.25},
		{"rule=gamma gamma_linear=0.7 gamma_patch=3", 0.7, 3}};
	const int target = 3;

	for (int m = 0; m < MODELS; m++) {
		struct vit vit;

		model_init(&vit, &model_specs[m]);
		size_t plane = model_pixels(&vit) / 3;
		float *x = new_normal(model_pixels(&vit), 1, 320);
		double *want = x_calloc(plane, sizeof(*want));
		for (int i = 0; i < 3; i++) {
			float *got = map_of(&vit, x, "attnlrp", cases[i].settings, &target, 1, NULL);

			naive_attnlrp(want, &vit, x, target, cases[i].linear, cases[i].patch);
			CU_ASSERT(near_all("attnlrp", got, want, plane, 1e-5 * largest(want, plane)));
			free(got);
		}
		free(x);
		free(want);
		model_release(&vit);
	}
}

static void check_chefer(const struct vit *vit, const float *x, int target, int start)
{
	const struct vit_config *c = &vit->config;
	size_t plane = model_pixels(vit) / 3, classes = (size_t)c->classes;
	float *dprob = x_calloc((size_t)(c->depth * c->heads * c->tokens * c->tokens), sizeof(*dprob));
	float *dx = x_calloc(3 * plane, sizeof(*dx)), *cotangent = x_calloc(2 * classes, sizeof(*cotangent));
	double *want = x_calloc((size_t)c->tokens, sizeof(*want)), relevance;
	float *grid = x_calloc((size_t)c->tokens, sizeof(*grid)), *map = x_calloc(plane, sizeof(*map));
	char settings[32];
	struct vit_work w;
	struct err err = {{0}};

	vit_work_init(&w, vit, VIT_GRADIENT, 1, 1);
	cotangent[target] = 1;
	vit_forward(vit, &w, cotangent + classes, x, 1, VIT_GRADIENT);
	vit_backward_with(vit, &w, dx, cotangent, &(struct vit_backward){.dprob = dprob});
	naive_chefer(want, vit, x, target, start, dprob);
	for (int i = 0; i < c->tokens - 1; i++)
		grid[i] = (float)want[i];
	CU_ASSERT_EQUAL(method_upsample(map, grid, c, &err), 0);
	snprintf(settings, sizeof(settings), "start_layer=%d", start);
	float *got = map_of(vit, x, "chefer", settings, &target, 1, &relevance);
	CU_ASSERT(near_floats("chefer", got, map, plane, 5e-5 * largest_float(map, plane)));
	CU_ASSERT(near_one("relevance", relevance, 1, 1e-4));
	vit_work_release(&w);
	free(dprob);
	free(dx);
	free(cotangent);
	free(want);
	free(grid);
	free(map);
	free(got);
}

static void test_chefer(void)
{
	for (int m = 0; m < MODELS; m++) {
		struct vit vit;

		model_init(&vit, &model_specs[m]);
		float *x = new_normal(model_pixels(&vit), 1, 321);
		for (int start = 0; start < vit.config.depth; start++)
			check_chefer(&vit, x, 2, start);
		free(x);
		model_release(&vit);
	}
}

/* ---- what is refused ---- */

static void check_refusal(const char *name, struct vit *vit)
{
	static const char *const methods[] = {"attnlrp", "chefer"};
	struct err err = {{0}};

	(void)name;
	for (int m = 0; m < 2; m++) {
		const struct method_ops *ops = method_find(methods[m]);
		void *params = params_of(ops, "");
		int rc = ops->check(&vit->config, params, &err);

		CU_ASSERT_EQUAL(rc, has_rules(vit) ? 0 : -1);
		if (rc)
			CU_ASSERT(says(&err, methods[m], vit->config.bcos ? "B-cos network" : "SwiGLU",
				"no rule", NULL));
		seen += rc ? 1 : 0;
		free(params);
	}
}

static void test_refusals(void)
{
	const struct method_ops *ops = method_find("chefer");
	struct err err = {{0}};
	struct vit vit;

	seen = 0;
	each_family(check_refusal);
	CU_ASSERT(seen >= 10);
	model_init(&vit, &model_specs[1]);
	void *last = params_of(ops, "start_layer=2"), *none = params_of(ops, "start_layer=3");
	CU_ASSERT_EQUAL(ops->check(&vit.config, last, &err), 0);
	CU_ASSERT_EQUAL(ops->check(&vit.config, none, &err), -1);
	CU_ASSERT(says(&err, "start_layer is 3", "blocks 0 to 2", NULL));
	free(last);
	free(none);
	model_release(&vit);
}

int register_lrp_tests(void)
{
	static const struct named_test tests[] = {
		{"positive rule against a naive one", test_positive},
		{"gamma rule against a naive one", test_gamma},
		{"zeros and NaN", test_specials},
		{"gamma 0 is epsilon, every family", test_gamma_zero},
		{"several targets and conservation, every family", test_targets},
		{"attnlrp against a naive twin", test_attnlrp},
		{"chefer against a naive twin", test_chefer},
		{"refusals", test_refusals},
		{NULL, NULL},
	};

	return add_suite("relevance", tests);
}

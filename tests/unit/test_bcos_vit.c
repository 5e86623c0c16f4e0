/* B-cos ViTs: small random networks against what must hold of them (the values themselves are compared with
 * PyTorch's in tests/golden/families), and their checkpoints. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attribution/method.h"
#include "base/err.h"
#include "bcos_model.h"
#include "model/preprocess.h"
#include "scratch.h"

enum { BATCH = 3, CLASSES = 5 };

struct fixture {
	struct vit vit;
	struct vit_work work;
	size_t pixels;
	float *x, *dx; /* (BATCH, image) */
	float cotangent[BATCH * CLASSES], logits[BATCH * CLASSES];
};

static void fixture_init(struct fixture *f, enum bcos_model model)
{
	bcos_model_init(&f->vit, model);
	vit_work_init(&f->work, &f->vit, VIT_GRADIENT, BATCH, BATCH);
	f->pixels = model_pixels(&f->vit);
	f->x = new_normal(BATCH * f->pixels, 0.3, 50);
	for (size_t i = 0; i < BATCH * f->pixels; i++)
		f->x[i] += 0.5f;
	f->dx = x_calloc(BATCH * f->pixels, sizeof(float));
	random_normal(f->cotangent, BATCH * CLASSES, 1, 51);
}

static void fixture_release(struct fixture *f)
{
	vit_work_release(&f->work);
	vit_release(&f->vit);
	free(f->x);
	free(f->dx);
}

static void each_model(void (*check)(struct fixture *f))
{
	for (int m = 0; m < BCOS_MODELS; m++) {
		struct fixture f;

		fixture_init(&f, (enum bcos_model)m);
		check(&f);
		fixture_release(&f);
	}
}

/* <cotangent, logits> of the first image. */
static double value(const struct fixture *f, const float *logits)
{
	double sum = 0;

	for (int k = 0; k < CLASSES; k++)
		sum += (double)f->cotangent[k] * logits[k];
	return sum;
}

/* ---------------------------------------------------------------- passes */

/* Pixels and positions, and of the biases the fixed one alone; 1e-5 of the magnitudes. Modes agree bit for
 * bit. */
static void check_account(struct fixture *f)
{
	struct vit_account a;
	float first[CLASSES];
	double biases = 0;

	vit_forward(&f->vit, &f->work, first, f->x, 1, VIT_FORWARD);
	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_GRADIENT);
	CU_ASSERT(same_bits(first, f->logits, CLASSES));
	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	CU_ASSERT(same_bits(first, f->logits, CLASSES));
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, f->x, &a);
	for (int k = 0; k < CLASSES; k++)
		biases += (double)f->cotangent[k] * f->vit.config.logit_bias;
	double size = fabs(a.pixels) + fabs(a.positions) + fabs(a.biases);
	CU_ASSERT(near_one("account", a.pixels + a.positions + a.biases, value(f, first), 1e-5 * size));
	CU_ASSERT(near_one("biases", a.biases, biases, 1e-6));
	CU_ASSERT(a.prefix == 0 && fabs(a.pixels) > 1e-3 * size && fabs(a.positions) > 1e-3 * size);
}

static void test_account(void)
{
	each_model(check_account);
}

/* The true gradient along random directions against differences of the logits themselves: they are float32,
 * so 0.5 % of its norm; the frozen one differs by more. */
static void check_gradient(struct fixture *f)
{
	float *x = x_calloc(f->pixels, sizeof(*x)), up[CLASSES], down[CLASSES];
	double norm = 0, difference = 0, h = 2e-3;

	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx + f->pixels, f->cotangent, NULL, NULL);
	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_GRADIENT);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
	for (size_t i = 0; i < f->pixels; i++) {
		norm += pow(f->dx[i], 2);
		difference += pow((double)f->dx[i] - f->dx[f->pixels + i], 2);
	}
	CU_ASSERT(sqrt(difference / norm) > 0.1);
	for (uint32_t k = 0; k < 8; k++) {
		float *v = new_normal(f->pixels, 1, 60 + k);
		double inner = 0;

		for (size_t i = 0; i < f->pixels; i++) {
			inner += (double)f->dx[i] * v[i];
			x[i] = f->x[i] + (float)h * v[i];
		}
		vit_forward(&f->vit, &f->work, up, x, 1, VIT_FORWARD);
		for (size_t i = 0; i < f->pixels; i++)
			x[i] = f->x[i] - (float)h * v[i];
		vit_forward(&f->vit, &f->work, down, x, 1, VIT_FORWARD);
		CU_ASSERT(near_one("directional derivative", inner, (value(f, up) - value(f, down)) / (2 * h),
			5e-3 * sqrt(norm)));
		free(v);
	}
	free(x);
}

static void test_gradient(void)
{
	each_model(check_gradient);
}

/* Three classes of one image from one forward pass: what three passes give, 2e-6 of the largest. */
static void check_shared(struct fixture *f)
{
	float *shared = x_calloc(BATCH * f->pixels, sizeof(float));
	struct vit_account all[BATCH], single;

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++) {
		struct vit_account *a = mode == VIT_EFFECTIVE ? all : NULL;

		vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
		vit_backward_with(&f->vit, &f->work, shared, f->cotangent,
			&(struct vit_backward){.per = BATCH, .x = f->x, .account = a});
		for (int i = 0; i < BATCH; i++) {
			vit_forward(&f->vit, &f->work, f->logits, f->x, 1, (enum vit_mode)mode);
			vit_backward(&f->vit, &f->work, f->dx, f->cotangent + i * CLASSES, f->x,
				a ? &single : NULL);
			CU_ASSERT(near_floats("shared", shared + (size_t)i * f->pixels, f->dx, f->pixels,
				2e-6 * largest_float(f->dx, f->pixels)));
			if (a)
				CU_ASSERT(near_one("pixels", all[i].pixels, single.pixels,
					1e-5 * (1 + fabs(single.pixels))));
			if (a)
				CU_ASSERT(near_one("positions", all[i].positions, single.positions,
					1e-5 * (1 + fabs(single.positions))));
		}
	}
	free(shared);
}

static void test_shared(void)
{
	each_model(check_shared);
}

/* 1e-5 of the largest between n = 1 and n = 3; and the middle image's bits do not depend on its neighbours,
 * not even on their being NaN. */
static void check_batch(struct fixture *f)
{
	float *one = x_malloc(BATCH * f->pixels * sizeof(*one)), logits[BATCH * CLASSES];
	size_t last = 2 * f->pixels;

	for (int mode = VIT_EFFECTIVE; mode <= VIT_GRADIENT; mode++) {
		float keep = f->x[last];

		vit_forward(&f->vit, &f->work, f->logits, f->x, BATCH, (enum vit_mode)mode);
		vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
		for (int i = 0; i < BATCH; i++) {
			size_t at = (size_t)i * f->pixels;

			vit_forward(&f->vit, &f->work, logits, f->x + at, 1, (enum vit_mode)mode);
			vit_backward(&f->vit, &f->work, one, f->cotangent + i * CLASSES, NULL, NULL);
			CU_ASSERT(near_floats("logits of a batch", f->logits + i * CLASSES, logits, CLASSES,
				1e-5 * largest_float(logits, CLASSES)));
			CU_ASSERT(near_floats("gradients of a batch", f->dx + at, one, f->pixels,
				1e-5 * largest_float(one, f->pixels)));
		}
		f->x[last] = NAN;
		vit_forward(&f->vit, &f->work, logits, f->x, BATCH, (enum vit_mode)mode);
		vit_backward(&f->vit, &f->work, one, f->cotangent, NULL, NULL);
		f->x[last] = keep;
		CU_ASSERT(same_bits(logits, f->logits, 2 * CLASSES));
		CU_ASSERT(same_bits(one, f->dx, 2 * f->pixels));
		CU_ASSERT(isnan(logits[2 * CLASSES]));
	}
	free(one);
}

static void test_batch(void)
{
	each_model(check_batch);
}

/* ---------------------------------------------------------------- memory */

struct piece {
	const float *at;
	size_t n;
};

/* All that a workspace for both passes has; returns how many. */
static size_t pieces(struct piece *p, const struct fixture *f)
{
	const struct vit_config *c = &f->vit.config;
	const struct vit_work *w = &f->work;
	size_t n = BATCH, t = (size_t)c->tokens, rows = n * t, d = (size_t)c->width, h = (size_t)c->hidden;
	size_t k = (size_t)vit_patch_inputs(c), prob = (size_t)c->heads * t * t, classes = (size_t)c->classes;
	struct piece ends[] = {{w->fc.rstd, n}, {w->fc.xhat, n * d}, {w->tokens, rows * d},
		{w->normed, rows * d}, {w->qkv, 3 * rows * d}, {w->mixed, rows * d}, {w->hidden, rows * h},
		{w->prob, prob}, {w->scratch.rstd, rows}, {w->patches, rows * k}, {w->pooled, n * d},
		{w->patch.cosine, rows * d}, {w->patch.x, rows * k}, {w->patch.norm, rows},
		{w->head.cosine, n * classes}, {w->head.x, n * d}, {w->head.norm, n}, {w->norms, rows},
		{w->dlogits, n * classes}};
	size_t count = sizeof(ends) / sizeof(ends[0]);

	memcpy(p, ends, sizeof(ends));
	for (int l = 0; l < c->depth; l++) {
		const struct vit_kept *b = &w->blocks[l];
		struct piece kept[] = {{b->prob, n * prob}, {b->norm1.rstd, rows}, {b->norm1.xhat, rows * d},
			{b->norm2.rstd, rows}, {b->norm2.xhat, rows * d}, {b->qkv, 3 * rows * d},
			{b->proj.cosine, rows * d}, {b->proj.x, rows * d}, {b->proj.norm, rows},
			{b->fc1.cosine, rows * h}, {b->fc1.x, rows * d}, {b->fc1.norm, rows},
			{b->fc2.cosine, rows * d}, {b->fc2.x, rows * h}, {b->fc2.norm, rows}};

		CU_ASSERT_PTR_NULL(b->activation);
		memcpy(p + count, kept, sizeof(kept));
		count += sizeof(kept) / sizeof(kept[0]);
	}
	for (int l = 0; l < c->stem_depth; l++) {
		struct stem_shape s = stem_shape(c, l);
		size_t area = (size_t)(s.h * s.w), size = area * (size_t)s.out;
		const struct stem_kept *b = &w->stem.layers[l];
		struct piece kept[] = {{b->cosine, n * size}, {b->rstd, n}, {b->xhat, n * size},
			{b->norm, n * area}, {w->stem.a, size}, {w->stem.columns, 9 * area * (size_t)s.in},
			{w->stem.b, size}, {w->stem.neighbours, 9 * area * (size_t)s.in},
			{w->stem.norms, area}, {w->stem.image, n * f->pixels}};
		size_t new = l ? 4 : sizeof(kept) / sizeof(kept[0]); /* the scratch once */

		memcpy(p + count, kept, new * sizeof(kept[0]));
		count += new;
	}
	return count;
}

/* Within the workspace, none overlaps another; sizes as announced; a workspace full of NaN, for the frozen
 * pass alone, gives the bits of the larger one. */
static void check_memory(struct fixture *f)
{
	struct piece p[96];
	size_t count = pieces(p, f), overlaps = 0;
	float *dx = x_malloc(f->pixels * sizeof(*dx));
	struct vit_work small;

	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_PTR_NOT_NULL(p[i].at);
		CU_ASSERT((const char *)(p[i].at + p[i].n) <= f->work.arena.base + f->work.arena.size);
		for (size_t j = 0; j < count; j++)
			overlaps += i != j && p[j].at >= p[i].at && p[j].at < p[i].at + p[i].n;
	}
	CU_ASSERT_EQUAL(overlaps, 0);
	vit_forward(&f->vit, &f->work, f->logits, f->x, 1, VIT_EFFECTIVE);
	vit_backward(&f->vit, &f->work, f->dx, f->cotangent, NULL, NULL);
	for (int mode = VIT_FORWARD; mode <= VIT_GRADIENT; mode++) {
		vit_work_init(&small, &f->vit, (enum vit_mode)mode, 1, 1);
		memset(small.arena.base, 0xff, small.arena.size);
		CU_ASSERT_EQUAL(vit_work_bytes(&f->vit.config, (enum vit_mode)mode, 1, 1), small.arena.size);
		vit_forward(&f->vit, &small, f->logits + CLASSES, f->x, 1, VIT_FORWARD);
		CU_ASSERT(same_bits(f->logits, f->logits + CLASSES, CLASSES));
		if (mode >= VIT_EFFECTIVE) {
			vit_forward(&f->vit, &small, f->logits, f->x, 1, VIT_EFFECTIVE);
			vit_backward(&f->vit, &small, dx, f->cotangent, NULL, NULL);
			CU_ASSERT(same_bits(dx, f->dx, f->pixels));
		}
		vit_work_release(&small);
	}
	free(dx);
}

static void test_memory(void)
{
	each_model(check_memory);
}

/* ---------------------------------------------------------------- weights, input, method */

/* Rows of length 1 in the order of the gathered inputs; positions by their formula. */
static void test_weights(void)
{
	struct vit vit;
	double f = 1e4, angle = 2 / pow(f, 1 / 3.0);

	for (int m = 0; m < BCOS_MODELS; m++) {
		bcos_model_init(&vit, (enum bcos_model)m);
		const struct vit_weights *w = &vit.weights;
		bool conv = m == BCOS_CONV;
		const char *name = conv ? "0.to_patch_embedding.conv_stem.3.linear.weight"
					: "0.to_patch_embedding.linear.linear.weight";
		const float *file = safetensors_find(&vit.file, name)->data;
		const float *at = conv ? w->stem[1].w : w->patch.w;
		int places = conv ? 9 : 16, channels = conv ? 8 : 6, width = places * channels;

		for (int row = 0; row < 8; row++) {
			double sum = 0;

			for (int i = 0; i < width; i++)
				sum += pow(file[row * width + i], 2);
			for (int i = 0; i < width; i++) {
				int place = conv ? i % 9 : i / 6, ch = conv ? i / 9 : i % 6;
				float got = at[row * width + (conv ? place * 8 + ch : ch * 16 + place)];

				CU_ASSERT(near_one("row", got, file[row * width + i] / sqrt(sum), 1e-7));
			}
		}
		/* the last token is in column 2 of row 1; width 16: 4 frequencies */
		const float *last = w->pos + 5 * 16;
		CU_ASSERT(near_one("sin of the column", last[0], sin(2), 1e-7));
		CU_ASSERT(near_one("sin of the column, next", last[1], sin(angle), 1e-7));
		CU_ASSERT(near_one("cos of the column", last[4], cos(2), 1e-7));
		CU_ASSERT(near_one("sin of the row", last[8], sin(1), 1e-7));
		CU_ASSERT(near_one("cos of the row, last", last[15], cos(1e-4), 1e-7));
		vit_release(&vit);
	}
}

static void test_six_channels(void)
{
	struct vit_config c = bcos_config(BCOS_PLAIN);
	const unsigned char pixels[6] = {0, 255, 51, 1, 2, 3};
	float x[12];

	c.image_w = 2;
	c.image_h = 1;
	preprocess_normalise(x, pixels, &c);
	for (int ch = 0; ch < 3; ch++)
		for (int p = 0; p < 2; p++) {
			CU_ASSERT_EQUAL(x[2 * ch + p], (float)pixels[3 * p + ch] / 255.0f);
			CU_ASSERT_EQUAL(x[6 + 2 * ch + p], 1 - x[2 * ch + p]);
		}
}

/* The sum over six channels of x times the frozen gradient; only of B-cos networks. */
static void test_method(void)
{
	const struct method_ops *ops = method_find("bcos");
	struct model_spec plain = model_specs[0];
	struct fixture f;
	struct arena a = {0};
	struct vit other;
	struct err err = {""};
	float raw[96];
	int params[4] = {0}, target = 2;
	struct clean clean;

	CU_ASSERT_PTR_NOT_NULL_FATAL(ops);
	fixture_init(&f, BCOS_PLAIN);
	clean_carve(&clean, &a, &f.vit.config);
	ops->carve(&a, &f.vit.config, params, 1, 1);
	arena_allocate(&a);
	clean_carve(&clean, &a, &f.vit.config);
	clean_begin(&clean, &f.vit, &f.work, f.x);
	void *scratch = ops->carve(&a, &f.vit.config, params, 1, 1);
	struct method_input in = {.clean = &clean,
		.vit = &f.vit,
		.work = &f.work,
		.batch = 1,
		.x = f.x,
		.targets = &target,
		.count = 1};
	CU_ASSERT_EQUAL(ops->check(&f.vit.config, params, &err), 0);
	CU_ASSERT_EQUAL(ops->run(scratch, params, &in, raw, NULL, &err), 0);
	memset(f.cotangent, 0, sizeof(f.cotangent));
	f.cotangent[2] = 1;
	vit_forward(&f.vit, &f.work, f.logits, f.x, 1, VIT_EFFECTIVE);
	vit_backward(&f.vit, &f.work, f.dx, f.cotangent, NULL, NULL);
	for (size_t i = 0; i < 96; i++) {
		double sum = 0;

		for (size_t ch = 0; ch < 6; ch++)
			sum += (double)(f.dx[ch * 96 + i] * f.x[ch * 96 + i]);
		CU_ASSERT(near_one("contribution", raw[i], sum, 1e-6 * (1 + fabs(sum))));
	}
	model_init(&other, &plain);
	CU_ASSERT_EQUAL(ops->check(&other.config, params, &err), -1);
	CU_ASSERT(says(&err, "not a B-cos network", other.config.architecture, NULL));
	model_release(&other);
	arena_release(&a);
	fixture_release(&f);
}

/* ---------------------------------------------------------------- checkpoints */

#define CONFIG                                                                                               \
	"{\"architecture\": \"bcos_simple_vit_s_patch16_224\", \"num_classes\": 5, \"num_features\": 16, "   \
	"\"model_args\": {\"patch_size\": 4, \"num_heads\": 2, \"logit_bias\": -1.25}, \"pretrained_cfg\": " \
	"{\"input_size\": [6, 8, 12], \"interpolation\": \"bilinear\", \"crop_pct\": 0.875, "                \
	"\"mean\": [0.0, 0.0, 0.0], \"std\": [1.0, 1.0, 1.0]}}"

/* config.json with a piece replaced. */
static void write_config(const char *old, const char *text)
{
	char config[1024], *at;

	snprintf(config, sizeof(config), "%s", CONFIG);
	at = strstr(config, old);
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	snprintf(at, sizeof(config) - (size_t)(at - config), "%s%s", text, strstr(CONFIG, old) + strlen(old));
	scratch_text("bcos/config.json", config);
}

/* Reads configuration and weights; the configuration in *c. */
static int read_all(
	struct vit_config *c, const struct safetensors *st, const struct vit_options *o, struct err *err)
{
	char *dir = scratch_path("bcos");
	struct vit_weights w;
	int rc = vit_config_read(c, dir, st, o, err) || vit_weights_init(&w, c, st, NULL, err);

	if (!rc)
		vit_weights_release(&w);
	free(dir);
	return rc ? -1 : 0;
}

static void test_good_checkpoints(void)
{
	struct vit_config want, c;
	struct safetensors st;
	struct vit_options o = {.height = 16, .width = 4};
	struct err err = {""};
	char a[VIT_CONFIG_TEXT], b[VIT_CONFIG_TEXT];

	write_config("", "");
	bcos_tensors(&st, BCOS_PLAIN);
	CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), 0);
	want = bcos_config(BCOS_PLAIN);
	CU_ASSERT_STRING_EQUAL(vit_config_text(a, &c), vit_config_text(b, &want));
	CU_ASSERT(strstr(a, "bcos: true\n") && strstr(a, "input_size: [6, 8, 12]\n"));
	CU_ASSERT(c.tokens == 6 && c.head_dim == 8 && !strcmp(c.root, "0.") && c.logit_bias == -1.25f);
	CU_ASSERT_EQUAL(read_all(&c, &st, &o, &err), 0); /* any grid */
	CU_ASSERT(c.grid_h == 4 && c.grid_w == 1 && c.tokens == 4);
	write_config(", \"logit_bias\": -1.25", "");
	CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), 0);
	CU_ASSERT(near_one("logit bias", c.logit_bias, -log(4), 1e-7));
	for (int i = 0; i < st.count; i++) /* without the root: still sorted */
		memmove(st.tensors[i].name, st.tensors[i].name + 2, strlen(st.tensors[i].name) - 1);
	CU_ASSERT(read_all(&c, &st, NULL, &err) == 0 && !*c.root);
	safetensors_release(&st);

	write_config("simple_vit_s_patch16_224", "vitc_s_patch1_14");
	bcos_tensors(&st, BCOS_CONV);
	CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), -1);
	CU_ASSERT(says(&err, "patch_size is 4, but the tensors say 1", NULL));
	scratch_text("bcos/config.json", CONFIG);
	CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), -1);
	CU_ASSERT(says(
		&err, "tensor 0.to_patch_embedding.conv_stem.0.linear.weight is there", "simple_vit", NULL));
	write_config("simple_vit_s_patch16_224\", \"num_classes\": 5, \"num_features\": 16, \"model_args\": "
		     "{\"patch_size\": 4",
		"vitc_s_patch1_14\", \"model_args\": {\"patch_size\": 1");
	CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), 0);
	want = bcos_config(BCOS_CONV);
	CU_ASSERT_STRING_EQUAL(vit_config_text(a, &c), vit_config_text(b, &want));
	CU_ASSERT(c.patch == 4 && strstr(a, "conv_stem: [8, 8, 10]\n"));
	safetensors_release(&st);
}

static void test_bad_configs(void)
{
	static const struct {
		const char *old, *text, *part, *more;
	} bad[] = {{"simple_vit_s_patch16_224", "resnet_50", "bcos_resnet_50", "bcos_simple_vit_ti_patch*"},
		{"bcos_simple_vit_s", "standard_simple_vit_s", "standard_simple_vit_s", "bcos_vitc_*"},
		{"simple_vit_s_patch16_224", "vitc_s_patch1_14",
			"tensor 0.to_patch_embedding.conv_stem.0.linear.weight is missing", "vitc"},
		{"[6, 8, 12]", "[3, 8, 12]", "input_size", "6 channels"},
		{"[6, 8, 12]", "[6, 8, 10]", "10", "patches of 4"},
		{"[0.0, 0.0, 0.0]", "[0.5, 0.5, 0.5]", "mean and std: expected 0 and 1", ""},
		{"[1.0, 1.0, 1.0]", "[1.0, 1.0, 0.5]", "mean and std: expected 0 and 1", ""},
		{"-1.25", "\"no\"", "logit_bias: expected a number", ""},
		{"-1.25", "1e300", "logit_bias: expected a finite number", ""},
		{"-1.25", "0, \"b\": 1.5", "model_args.b is not supported", ""},
		{"-1.25", "0, \"global_pool\": \"token\"", "global_pool is \"token\"", "fc_norm"},
		{"\"num_heads\": 2, ", "", "width 384", "num_heads"},
		{"\"patch_size\": 4", "\"patch_size\": 16", "patch_size is 16", "4"}};
	struct vit_config c;
	struct safetensors st;

	bcos_tensors(&st, BCOS_PLAIN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {""};

		write_config(bad[i].old, bad[i].text);
		CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), -1);
		CU_ASSERT(says(&err, bad[i].part, bad[i].more, NULL));
	}
	struct err err = {""};
	struct vit_options o = {.head = "head.safetensors", .head_classes = 5, .head_inputs = 16};
	write_config("", "");
	CU_ASSERT(read_all(&c, &st, &o, &err) == -1 && says(&err, "model.head is not for it", NULL));
	safetensors_release(&st);
}

/* Without any one of its tensors, and with one that such a network has not. */
static void test_bad_tensors(void)
{
	static const char *const extra[] = {"0.linear_head.linear.linear.bias", "0.linear_head.norm.bias",
		"0.transformer.encoder_0.attn.norm.bias", "0.transformer.encoder_1.attn.to_out.linear.bias",
		"cls_token", "blocks.0.ls1.gamma", "0.transformer.encoder_0.ls1.gamma", "norm.weight", "zzz"};
	struct safetensors st;
	struct vit_config c;

	write_config("", "");
	bcos_tensors(&st, BCOS_PLAIN);
	for (int i = 0; i < st.count; i++) {
		struct err err = {""};
		char *name = st.tensors[i].name, keep = name[strlen(name) - 1];

		if (strstr(name, "encoder_1.attn.norm")) /* without it the block counts as absent */
			continue;
		name[strlen(name) - 1] = 'u'; /* still sorted */
		CU_ASSERT(read_all(&c, &st, NULL, &err) == -1);
		name[strlen(name) - 1] = keep;
		CU_ASSERT(says(&err, "tensor", name, "missing", NULL));
	}
	safetensors_release(&st);
	for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++) {
		struct err err = {""};

		bcos_tensors(&st, BCOS_PLAIN);
		bcos_tensors_add(&st, extra[i], 0, 1, (int[4]){16});
		CU_ASSERT_EQUAL(read_all(&c, &st, NULL, &err), -1);
		CU_ASSERT(says(&err, "tensor", extra[i], "not supported", NULL));
		safetensors_release(&st);
	}
}

int register_bcos_vit_tests(void)
{
	static const struct named_test passes[] = {
		{"the account sums to the logits", test_account},
		{"true gradient against differences", test_gradient},
		{"cotangents that share a forward pass", test_shared},
		{"one image and a batch", test_batch},
		{"workspaces", test_memory},
		{"weights and positions", test_weights},
		{"six channels", test_six_channels},
		{"method bcos", test_method},
		{NULL, NULL},
	};
	static const struct named_test checkpoints[] = {
		{"good", test_good_checkpoints},
		{"bad config.json", test_bad_configs},
		{"missing and extra tensors", test_bad_tensors},
		{NULL, NULL},
	};

	return add_suite("bcos vit", passes) || add_suite("bcos checkpoint", checkpoints);
}

#include "support.h"

#include <CUnit/CUnit.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rng.h"

static const char families[] = "tests/golden/families";
static int skips;

void test_skip(const char *name, const char *why)
{
	printf("skipped: %s: %s\n", name, why);
	skips++;
}

int test_skips(void)
{
	return skips;
}

int add_suite(const char *name, const struct named_test *tests)
{
	CU_pSuite suite = CU_add_suite(name, NULL, NULL);

	if (!suite)
		return -1;
	for (; tests->name; tests++)
		if (!CU_add_test(suite, tests->name, tests->run))
			return -1;
	return 0;
}

/* ---- numbers ---- */

void random_normal(float *x, size_t n, double scale, uint32_t stream)
{
	rng_normal(x, n, (struct rng_key){20240229, stream, 0, RNG_TEST});
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(scale * x[i]);
}

double random_unit(uint32_t stream, uint32_t index)
{
	double u;

	rng_uniform(&u, 1, (struct rng_key){20240229, stream, 1 + index, RNG_TEST});
	return u;
}

float *new_normal(size_t n, double scale, uint32_t stream)
{
	float *x = x_malloc(n * sizeof(*x));

	random_normal(x, n, scale, stream);
	return x;
}

double largest(const double *x, size_t n)
{
	double max = 0;

	for (size_t i = 0; i < n; i++)
		max = isnan(x[i]) ? INFINITY : fmax(max, fabs(x[i]));
	return max;
}

double largest_float(const float *x, size_t n)
{
	double max = 0;

	for (size_t i = 0; i < n; i++)
		max = isnan(x[i]) ? INFINITY : fmax(max, fabs((double)x[i]));
	return max;
}

/* ---- comparing ---- */

struct worst {
	double excess, got, want;
	size_t at;
};

static void compare(struct worst *w, double got, double want, double limit, size_t at)
{
	double excess = fabs(got - want) - limit;

	if (isnan(excess))
		excess = INFINITY;
	if (excess > w->excess)
		*w = (struct worst){excess, got, want, at};
}

static bool verdict(const char *what, const struct worst *w, double limit)
{
	if (w->excess > 0)
		printf("\n    %s: at %zu got %.9g, want %.9g (difference %.3g, limit %.3g)\n", what, w->at,
			w->got, w->want, w->got - w->want, limit);
	return !(w->excess > 0);
}

bool near_all(const char *what, const float *got, const double *want, size_t n, double limit)
{
	struct worst w = {0};

	for (size_t i = 0; i < n; i++)
		compare(&w, got[i], want[i], limit, i);
	return verdict(what, &w, limit);
}

bool near_floats(const char *what, const float *got, const float *want, size_t n, double limit)
{
	struct worst w = {0};

	for (size_t i = 0; i < n; i++)
		compare(&w, got[i], want[i], limit, i);
	return verdict(what, &w, limit);
}

bool near_one(const char *what, double got, double want, double limit)
{
	struct worst w = {0};

	compare(&w, got, want, limit, 0);
	return verdict(what, &w, limit);
}

bool same_bits(const float *a, const float *b, size_t n)
{
	return !memcmp(a, b, n * sizeof(*a));
}

/* ---- networks ---- */

const struct model_spec model_specs[MODELS] = {
	{.image_h = 16,
		.image_w = 16,
		.patch = 8,
		.width = 24,
		.heads = 3,
		.depth = 2,
		.hidden = 40,
		.classes = 7},
	{.image_h = 16,
		.image_w = 24,
		.patch = 8,
		.width = 20,
		.heads = 2,
		.depth = 3,
		.hidden = 36,
		.classes = 5,
		.layer_scale = true,
		.no_embed_class = true},
	{.image_h = 12,
		.image_w = 8,
		.patch = 4,
		.width = 16,
		.heads = 4,
		.depth = 2,
		.hidden = 33,
		.classes = 6,
		.layer_scale = true},
};

struct builder {
	struct safetensors file;
	uint32_t stream;
};

/* A tensor of normal numbers about `mean`; sizes end with 0. */
static void add_tensor(struct builder *b, const char *prefix, const char *name, double mean, double deviation,
	const int shape[4])
{
	struct tensor t = {.name = x_asprintf("%s%s", prefix, name),
		.dtype = DTYPE_F32,
		.dtype_name = "F32",
		.count = 1};

	for (; t.ndim < 4 && shape[t.ndim]; t.ndim++) {
		t.shape[t.ndim] = shape[t.ndim];
		t.count *= (size_t)shape[t.ndim];
	}
	float *data = new_normal(t.count, deviation, ++b->stream);
	for (size_t i = 0; i < t.count; i++)
		data[i] += (float)mean;
	t.data = data;
	b->file.tensors = x_realloc(b->file.tensors, (size_t)(b->file.count + 1) * sizeof(t));
	b->file.tensors[b->file.count++] = t;
}

static void add_linear(struct builder *b, const char *prefix, const char *name, double gain, int out, int in)
{
	char full[64];

	snprintf(full, sizeof(full), "%s.weight", name);
	add_tensor(b, prefix, full, 0, gain / sqrt(in), (int[4]){out, in});
	snprintf(full, sizeof(full), "%s.bias", name);
	add_tensor(b, prefix, full, 0, 0.3, (int[4]){out});
}

static void add_norm(struct builder *b, const char *prefix, const char *name, int width)
{
	char full[64];

	snprintf(full, sizeof(full), "%s.weight", name);
	add_tensor(b, prefix, full, 1, 0.3, (int[4]){width});
	snprintf(full, sizeof(full), "%s.bias", name);
	add_tensor(b, prefix, full, 0, 0.3, (int[4]){width});
}

/* qkv with a gain that makes attention far from uniform. */
static void add_block(struct builder *b, const struct model_spec *s, int l)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "blocks.%d.", l);
	add_norm(b, prefix, "norm1", s->width);
	add_linear(b, prefix, "attn.qkv", 1.5, 3 * s->width, s->width);
	add_linear(b, prefix, "attn.proj", 1, s->width, s->width);
	add_norm(b, prefix, "norm2", s->width);
	add_linear(b, prefix, "mlp.fc1", 1, s->hidden, s->width);
	add_linear(b, prefix, "mlp.fc2", 1, s->width, s->hidden);
	if (s->layer_scale) {
		add_tensor(b, prefix, "ls1.gamma", 0.5, 0.3, (int[4]){s->width});
		add_tensor(b, prefix, "ls2.gamma", 0.5, 0.3, (int[4]){s->width});
	}
}

void model_init(struct vit *vit, const struct model_spec *s)
{
	struct builder b = {.file.path = x_strdup("random"), .stream = 1000};
	int patches = s->image_h / s->patch * (s->image_w / s->patch), k = 3 * s->patch * s->patch;
	struct vit_config config;
	struct err err = {{0}};

	add_tensor(&b, "", "cls_token", 0, 0.5, (int[4]){1, 1, s->width});
	add_tensor(&b, "", "pos_embed", 0, 0.5, (int[4]){1, patches + !s->no_embed_class, s->width});
	add_tensor(
		&b, "", "patch_embed.proj.weight", 0, 1 / sqrt(k), (int[4]){s->width, 3, s->patch, s->patch});
	add_tensor(&b, "", "patch_embed.proj.bias", 0, 0.3, (int[4]){s->width});
	for (int l = 0; l < s->depth; l++)
		add_block(&b, s, l);
	add_norm(&b, "", "norm", s->width);
	add_linear(&b, "", "head", 1, s->classes, s->width);
	safetensors_sort(&b.file);
	if (vit_config_infer(&config, s->heads, 0.05f, s->image_h, s->image_w, &b.file, &err) ||
		vit_init(vit, &config, &b.file, &err))
		BUG("%s", err.msg);
}

void model_release(struct vit *vit)
{
	for (int i = 0; i < vit->file.count; i++)
		free((void *)(uintptr_t)vit->file.tensors[i].data);
	vit_release(vit);
}

size_t model_pixels(const struct vit *vit)
{
	return (size_t)vit->config.channels * (size_t)vit->config.image_h * (size_t)vit->config.image_w;
}

static int load_family(struct vit *vit, const char *name)
{
	char dir[512], head[600];
	struct err err = {{0}};
	struct vit_options o = {0};

	snprintf(dir, sizeof(dir), "%s/%s", families, name);
	snprintf(head, sizeof(head), "%s/head.safetensors", dir);
	o.head = access(head, R_OK) ? NULL : head;
	if (!strcmp(name, "dino_interleaved"))
		o.head_input = VIT_HEAD_INTERLEAVED;
	if (vit_load(vit, dir, &o, &err)) {
		printf("    %s\n", err.msg);
		return -1;
	}
	return 0;
}

int each_family(void (*f)(const char *name, struct vit *vit))
{
	DIR *d = opendir(families);
	struct dirent *entry;
	int count = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((entry = readdir(d))) {
		struct vit vit;

		if (entry->d_name[0] == '.')
			continue;
		int rc = load_family(&vit, entry->d_name);
		CU_ASSERT_EQUAL(rc, 0);
		if (rc)
			continue;
		f(entry->d_name, &vit);
		vit_release(&vit);
		count++;
	}
	closedir(d);
	return count;
}

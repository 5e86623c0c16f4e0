/*
 * model/vit_config, vit_weights: a small checkpoint folder written here, and each way in which it
 * may be wrong.
 */
#include "model/vit_config.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "model/vit_weights.h"
#include "scratch.h"
#include "support.h"

/* A network of width 12, 3 heads, depth 2, patch 4, 8 x 8 pixels, 5 classes. */
enum { MAX_SPECS = 64 };

struct spec {
	char name[48], shape[48], dtype[8];
	size_t count;
};

struct checkpoint {
	struct spec specs[MAX_SPECS];
	int count, pad; /* spaces after the header */
	char config[2048];
};

static struct spec *add(struct checkpoint *c, const char *name, int ndim, const int *dims)
{
	struct spec *s = &c->specs[c->count++];

	snprintf(s->name, sizeof(s->name), "%s", name);
	strcpy(s->dtype, "F32");
	strcpy(s->shape, "[");
	s->count = 1;
	for (int i = 0; i < ndim; i++) {
		snprintf(s->shape + strlen(s->shape), 12, "%s%d", i ? "," : "", dims[i]);
		s->count *= (size_t)dims[i];
	}
	strcat(s->shape, "]");
	return s;
}

#define ADD(c, name, ...) add(c, name, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (int[]){__VA_ARGS__})

static void add_block(struct checkpoint *c, int block, bool layer_scale)
{
	static const struct {
		const char *name;
		int out, in;
	} parts[] = {{"norm1.weight", 12, 0}, {"norm1.bias", 12, 0}, {"attn.qkv.weight", 36, 12},
		{"attn.qkv.bias", 36, 0}, {"attn.proj.weight", 12, 12}, {"attn.proj.bias", 12, 0},
		{"norm2.weight", 12, 0}, {"norm2.bias", 12, 0}, {"mlp.fc1.weight", 20, 12},
		{"mlp.fc1.bias", 20, 0}, {"mlp.fc2.weight", 12, 20}, {"mlp.fc2.bias", 12, 0},
		{"ls1.gamma", 12, 0}, {"ls2.gamma", 12, 0}};
	char name[48];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) - (layer_scale ? 0 : 2); i++) {
		snprintf(name, sizeof(name), "blocks.%d.%s", block, parts[i].name);
		add(c, name, parts[i].in ? 2 : 1, (int[]){parts[i].out, parts[i].in});
	}
}

#define CONFIG                                                                                               \
	"{\"architecture\": \"vit_tiny_patch4_8\", \"num_classes\": 5, \"num_features\": 12, "               \
	"\"global_pool\": \"token\", \"model_args\": {\"img_size\": 8, \"num_heads\": 3}, "                  \
	"\"pretrained_cfg\": "                                                                               \
	"{\"input_size\": [3, 8, 8], \"interpolation\": \"bilinear\", \"crop_pct\": 0.875, \"crop_mode\": "  \
	"\"center\", "                                                                                       \
	"\"mean\": [0.5, 0.25, 0.125], \"std\": [0.5, 0.25, 2]}}"

static void make(struct checkpoint *c, bool layer_scale)
{
	memset(c, 0, sizeof(*c));
	ADD(c, "cls_token", 1, 1, 12);
	ADD(c, "pos_embed", 1, 5, 12);
	ADD(c, "patch_embed.proj.weight", 12, 3, 4, 4);
	ADD(c, "patch_embed.proj.bias", 12);
	add_block(c, 0, layer_scale);
	add_block(c, 1, layer_scale);
	ADD(c, "norm.weight", 12);
	ADD(c, "norm.bias", 12);
	ADD(c, "head.weight", 5, 12);
	ADD(c, "head.bias", 5);
	strcpy(c->config, CONFIG);
}

static struct spec *find(struct checkpoint *c, const char *name)
{
	for (int i = 0; i < c->count; i++)
		if (!strcmp(c->specs[i].name, name))
			return &c->specs[i];
	CU_FAIL_FATAL("no such tensor in the test");
	return NULL;
}

/* Replaces a piece of config.json. */
static void edit(struct checkpoint *c, const char *old, const char *text)
{
	char *at = strstr(c->config, old), rest[2048];

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	strcpy(rest, at + strlen(old));
	strcpy(at, text);
	strcat(c->config, rest);
}

/* Element i of a tensor: exact in every dtype. */
static float element(const struct spec *s, size_t i)
{
	return (float)((i * 7 + strlen(s->name)) % 64) / 4 - 8;
}

static void put_element(unsigned char *at, const struct spec *s, size_t i)
{
	float f = element(s, i);
	uint16_t half = num_to_half(f);
	uint32_t bits;

	memcpy(&bits, &f, 4);
	bits >>= 16;
	memcpy(at,
		s->dtype[0] == 'B'   ? (void *)&bits
		: s->dtype[1] == '1' ? (void *)&half
				     : (void *)&f,
		s->dtype[1] == '3' ? 4 : 2);
}

static void write_model(const struct checkpoint *c)
{
	unsigned char *file = x_calloc(1, 1 << 17), *data = file + (1 << 16);
	char *header = (char *)file + 8;
	size_t at = 0, n = (size_t)sprintf(header, "{");

	for (int k = 0; k < c->count; k++) {
		const struct spec *s = &c->specs[k];
		size_t size = s->dtype[1] == '3' ? 4 : 2;

		n += (size_t)sprintf(header + n,
			"%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", k ? "," : "",
			s->name, s->dtype, s->shape, at, at + size * s->count);
		for (size_t i = 0; i < s->count; i++, at += size)
			put_element(data + at, s, i);
	}
	n += (size_t)sprintf(header + n, "}%*s", c->pad, "");
	for (int i = 0; i < 8; i++)
		file[i] = (unsigned char)(n >> 8 * i);
	memmove(file + 8 + n, data, at);
	scratch_bytes("model/model.safetensors", file, 8 + n + at);
	free(file);
}

struct loaded {
	struct safetensors st;
	struct vit_config config;
	struct vit_weights weights;
};

static void unload(struct loaded *l)
{
	vit_weights_release(&l->weights);
	safetensors_release(&l->st);
}

static int load(struct loaded *l, const struct checkpoint *c, struct err *err)
{
	char *dir = scratch_path("model"), *path = scratch_path("model/model.safetensors");

	memset(l, 0, sizeof(*l));
	write_model(c);
	scratch_text("model/config.json", c->config);
	CU_ASSERT_EQUAL_FATAL(safetensors_open(&l->st, path, err), 0);
	int rc = vit_config_read(&l->config, dir, &l->st, NULL, err) ||
		 vit_weights_init(&l->weights, &l->config, &l->st, NULL, err);
	if (rc)
		unload(l);
	free(dir);
	free(path);
	return rc;
}

/* The line with which it is refused; empty where it is not. */
static const struct err *refusal(const struct checkpoint *c)
{
	static struct err err;
	struct loaded l;

	err.msg[0] = 0;
	if (load(&l, c, &err))
		return &err;
	unload(&l);
	err.msg[0] = 0;
	return &err;
}

/* ---- the network ---- */

static bool holds(struct checkpoint *c, const char *name, const float *w)
{
	const struct spec *s = find(c, name);
	int wrong = (uintptr_t)w % sizeof(float) != 0;

	for (size_t i = 0; i < s->count && !wrong; i++)
		wrong += w[i] != element(s, i);
	return !wrong;
}

static void check_weights(struct checkpoint *c, const struct vit_weights *w)
{
	const struct vit_block *b = &w->blocks[1];

	bool rows_of_patches = find(c, "pos_embed")->count == 48;

	CU_ASSERT(holds(c, "cls_token", w->prefix) &&
		  holds(c, "pos_embed", w->pos + (rows_of_patches ? 12 : 0)));
	for (int i = 0; rows_of_patches && i < 12; i++)
		CU_ASSERT(w->pos[i] == 0);
	CU_ASSERT(holds(c, "patch_embed.proj.weight", w->patch.w) &&
		  holds(c, "patch_embed.proj.bias", w->patch.b));
	CU_ASSERT(holds(c, "blocks.0.attn.qkv.weight", w->blocks[0].qkv.w));
	CU_ASSERT(
		holds(c, "blocks.1.norm1.weight", b->norm1.w) && holds(c, "blocks.1.norm1.bias", b->norm1.b));
	CU_ASSERT(holds(c, "blocks.1.attn.qkv.weight", b->qkv.w) &&
		  holds(c, "blocks.1.attn.qkv.bias", b->qkv.b));
	CU_ASSERT(holds(c, "blocks.1.attn.proj.weight", b->proj.w) &&
		  holds(c, "blocks.1.attn.proj.bias", b->proj.b));
	CU_ASSERT(
		holds(c, "blocks.1.norm2.weight", b->norm2.w) && holds(c, "blocks.1.norm2.bias", b->norm2.b));
	CU_ASSERT(
		holds(c, "blocks.1.mlp.fc1.weight", b->fc1.w) && holds(c, "blocks.1.mlp.fc1.bias", b->fc1.b));
	CU_ASSERT(
		holds(c, "blocks.1.mlp.fc2.weight", b->fc2.w) && holds(c, "blocks.1.mlp.fc2.bias", b->fc2.b));
	CU_ASSERT(holds(c, "norm.weight", w->norm.w) && holds(c, "norm.bias", w->norm.b));
	CU_ASSERT(holds(c, "head.weight", w->head.parts[0].w) && holds(c, "head.bias", w->head.b));
}

static void test_good_checkpoint(void)
{
	struct checkpoint c;
	struct err err = {""};
	struct loaded l;
	const struct vit_config *v = &l.config;

	make(&c, false);
	CU_ASSERT_EQUAL_FATAL(load(&l, &c, &err), 0);
	CU_ASSERT_STRING_EQUAL(v->architecture, "vit_tiny_patch4_8");
	CU_ASSERT(v->channels == 3 && v->image_h == 8 && v->image_w == 8 && v->patch == 4);
	CU_ASSERT(v->grid_h == 2 && v->grid_w == 2 && v->prefix == 1 && v->tokens == 5);
	CU_ASSERT(v->width == 12 && v->heads == 3 && v->head_dim == 4 && v->depth == 2 && v->hidden == 20);
	CU_ASSERT(v->classes == 5 && v->pos_prefix == 1 && !v->layer_scale && v->eps == 1e-6f);
	CU_ASSERT(v->crop_pct == 0.875 && v->interpolation == RESIZE_BILINEAR);
	CU_ASSERT(v->mean[0] == 0.5f && v->mean[1] == 0.25f && v->mean[2] == 0.125f);
	CU_ASSERT(v->std[0] == 0.5f && v->std[1] == 0.25f && v->std[2] == 2);
	check_weights(&c, &l.weights);
	CU_ASSERT(!l.weights.blocks[0].ls1 && !l.weights.blocks[0].ls2);
	unload(&l);
}

/* F16, BF16 and F32 mixed, the data at every alignment: the same numbers. */
static void test_widened_weights(void)
{
	struct checkpoint c;
	struct err err = {""};
	struct loaded l;

	for (int pad = 0; pad < 4; pad++) {
		make(&c, false);
		c.pad = pad;
		for (int i = 0; i < c.count; i++)
			strcpy(c.specs[i].dtype, (i + pad) % 3 == 0   ? "F16"
						 : (i + pad) % 3 == 1 ? "BF16"
								      : "F32");
		CU_ASSERT_EQUAL_FATAL(load(&l, &c, &err), 0);
		check_weights(&c, &l.weights);
		CU_ASSERT(l.weights.own && l.weights.own_bytes > 4000);
		unload(&l);
	}
}

static void test_deit3_checkpoint(void)
{
	struct checkpoint c;
	struct err err = {""};
	struct loaded l;

	make(&c, true);
	strcpy(find(&c, "pos_embed")->shape, "[1,4,12]");
	find(&c, "pos_embed")->count = 48;
	edit(&c, "vit_tiny_patch4_8", "deit3_small_patch4_8");
	CU_ASSERT_EQUAL_FATAL(load(&l, &c, &err), 0);
	CU_ASSERT(l.config.pos_prefix == 0 && l.config.layer_scale && l.config.tokens == 5);
	check_weights(&c, &l.weights);
	CU_ASSERT(holds(&c, "blocks.0.ls1.gamma", l.weights.blocks[0].ls1));
	CU_ASSERT(holds(&c, "blocks.1.ls2.gamma", l.weights.blocks[1].ls2));
	unload(&l);
}

/* Without any one of its tensors, a checkpoint is refused by the name of that tensor. */
static void test_missing_tensors(void)
{
	struct checkpoint whole, c;

	make(&whole, true);
	for (int i = 0; i < whole.count; i++) {
		const char *name = whole.specs[i].name;

		c = whole;
		c.specs[i] = c.specs[--c.count];
		/* without its first norm the block counts as absent, without ls1 the block has no LayerScale,
		 * without the first qkv bias no block has one */
		if (!strcmp(name, "blocks.1.norm1.weight")) {
			CU_ASSERT(says(refusal(&c), "model.safetensors", "tensor blocks.1.", NULL));
		} else if (!strcmp(name, "blocks.0.attn.qkv.bias") ||
			   !strcmp(name, "blocks.0.attn.proj.bias")) {
			CU_ASSERT(
				says(refusal(&c), "model.safetensors", "tensor blocks.1.attn", "bias", NULL));
		} else if (!strcmp(name, "blocks.0.mlp.fc2.bias")) {
			CU_ASSERT(
				says(refusal(&c), "model.safetensors", "tensor blocks.0.mlp.fc1.bias", NULL));
		} else if (!strcmp(name, "blocks.0.ls1.gamma")) {
			CU_ASSERT(says(refusal(&c), "model.safetensors", "ls2.gamma", NULL));
		} else {
			CU_ASSERT(says(refusal(&c), "model.safetensors", "tensor", name, NULL));
		}
	}
}

/* A tensor that no such network has, and parts of those that some have. */
static void test_extra_tensors(void)
{
	static const struct {
		const char *name, *part, *more;
	} extra[] = {{"norm_pre.weight", "tensor norm_pre.bias is missing", ""},
		{"head_dist.weight", "tensor head_dist.weight", "expected a dist_token"},
		{"dist_token", "tensor head_dist.weight is missing", "dist_token"},
		{"blocks.0.attn.q_norm.weight", "tensor blocks.0.attn.q_norm.weight", "expected [4]"},
		{"blocks.1.ls1.gamma", "tensor blocks.1.ls1.gamma", "not supported"},
		{"fc_norm.weight", "global_pool is \"token\"", "tensor fc_norm.weight is there"},
		{"attn_pool.q.weight", "tensor attn_pool.q.weight", "not supported"},
		{"blocks.0.attn.relative_position_bias_table",
			"tensor blocks.0.attn.relative_position_bias_table", "not supported"},
		{"zzz", "tensor zzz", "not supported"},
		{"blocks.2.norm1.weight", "tensor blocks.2.norm1.bias is missing", ""},
		{"blocks.01.norm1.weight", "tensor blocks.01.norm1.weight", "not supported"}};
	struct checkpoint c;

	for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++) {
		make(&c, false);
		ADD(&c, extra[i].name, 12);
		CU_ASSERT(says(refusal(&c), extra[i].part, extra[i].more, NULL));
	}
}

/* Any tensor with one more row, another rank, or integers. */
static void test_wrong_shapes(void)
{
	struct checkpoint whole, c;

	make(&whole, true);
	for (int i = 0; i < whole.count; i++) {
		struct spec *s = &c.specs[i];
		int first = atoi(whole.specs[i].shape + 1);

		c = whole;
		s->count = s->count / (size_t)first * (size_t)(first + 1);
		snprintf(s->shape, sizeof(s->shape), "[%d%s", first + 1, strpbrk(whole.specs[i].shape, ",]"));
		if (!strcmp(s->name, "head.weight")) {
			CU_ASSERT(says(refusal(&c), "config.json", "num_classes is 5", "6", NULL));
		} else if (!strncmp(s->name, "patch_embed.proj.weight", 23)) {
			CU_ASSERT(says(refusal(&c), "num_features is 12", "13", NULL));
		} else if (!strcmp(s->name, "blocks.0.mlp.fc1.weight")) {
			CU_ASSERT(says(refusal(&c), "blocks.0.mlp.fc1.weight", "[20, 12]", "[21, 12]", NULL));
		} else {
			CU_ASSERT(says(refusal(&c), "model.safetensors", "tensor", s->name, "shape",
				"expected [", NULL));
		}
		c = whole;
		strcpy(s->dtype, "I32");
		CU_ASSERT(says(refusal(&c), "tensor", s->name, "has dtype I32", NULL));
	}
	c = whole;
	strcpy(find(&c, "cls_token")->shape, "[1,12]");
	CU_ASSERT(says(refusal(&c), "tensor cls_token has shape [1, 12], expected [1, 1, 12]", NULL));
	c = whole;
	strcpy(find(&c, "norm.weight")->shape, "[12,1]");
	CU_ASSERT(says(refusal(&c), "tensor norm.weight has shape [12, 1], expected [12]", NULL));
	c = whole;
	strcpy(find(&c, "pos_embed")->shape, "[1,6,12]");
	find(&c, "pos_embed")->count = 72;
	CU_ASSERT(says(refusal(&c), "tensor pos_embed has 6 rows, expected 4 or 5", NULL));
}

/* ---- config.json ---- */

static const struct {
	const char *old, *text, *part, *more;
} bad_configs[] = {
	{"{\"architecture\"", "{\"architectur\"", "architecture", ""},
	{"vit_tiny_patch4_8", "resnet50", "resnet50", "not supported"},
	{"vit_tiny_patch4_8", "vit_tin", "vit_tin", "not supported"},
	{"vit_tiny_patch4_8", "swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224",
		"not supported"},
	{"\"architecture\": \"vit_tiny_patch4_8\"", "\"model_type\": \"swin\"", "model_type \"swin\"",
		"not supported"},
	{"\"num_classes\": 5", "\"num_classes\": 1000", "num_classes is 1000", "tensors say 5"},
	{"\"num_features\": 12", "\"num_features\": 192", "num_features is 192", "tensors say 12"},
	{"\"num_heads\": 3", "\"embed_dim\": 12", "width 192", "num_heads"},
	{"\"num_heads\": 3", "\"num_heads\": 5", "5 heads do not divide", "12"},
	{"\"num_heads\": 3", "\"num_heads\": 0", "num_heads: expected an integer from 1 to", ""},
	{"\"num_heads\": 3", "\"num_heads\": -3", "num_heads: expected an integer from 1 to", ""},
	{"\"num_heads\": 3", "\"num_heads\": \"3\"", "heads", ""},
	{"\"num_heads\": 3", "\"num_heads\": 4294967299", "heads", ""},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"depth\": 3", "depth is 3", "tensors say 2"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"embed_dim\": 24", "embed_dim is 24", "12"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"patch_size\": 16", "patch_size is 16", "4"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"num_classes\": 7", "num_classes is 7", "5"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"qk_norm\": true", "qk_norm is true", "tensors say"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"act_layer\": \"quick_gelu\"", "model_args.act_layer",
		"not supported"},
	{"\"num_heads\": 3", "\"num_heads\": 3, \"global_pool\": \"avg\"", "global_pool is \"avg\"",
		"fc_norm"},
	{"\"global_pool\": \"token\"", "\"global_pool\": \"avg\"", "global_pool is \"avg\"", "fc_norm"},
	{"\"global_pool\": \"token\"", "\"global_pool\": \"\"", "global_pool", "token"},
	{"\"global_pool\": \"token\"", "\"global_pool\": 3", "global_pool", "token"},
	{"\"img_size\": 8", "\"img_size\": 16", "input_size 8", "img_size"},
	{"[3, 8, 8]", "[3, 8, 12]", "input_size", "8 x 12"},
	{"[3, 8, 8]", "[1, 8, 8]", "input_size", "3 channels"},
	{"[3, 8, 8]", "[3, 8]", "input_size", "expected"},
	{"[3, 8, 8]", "[3, 0, 0]", "input_size", "expected"},
	{"[3, 8, 8]", "[3, 8.0, 8.0]", "input_size", "expected"},
	{"[3, 8, 8]", "8", "input_size", "expected"},
	{"\"img_size\": 8, \"num_heads\": 3}, \"pretrained_cfg\": {\"input_size\": [3, 8, 8]",
		"\"num_heads\": 3}, \"pretrained_cfg\": {\"input_size\": [3, 10, 10]", "10 x 10",
		"patches of 4"},
	{"\"img_size\": 8, \"num_heads\": 3}, \"pretrained_cfg\": {\"input_size\": [3, 8, 8]",
		"\"num_heads\": 3}, \"pretrained_cfg\": {\"input_size\": [3, 16, 16]", "pos_embed has 5 rows",
		"16 or 17"},
	{"\"bilinear\"", "\"cubic\"", "interpolation", "cubic"},
	{"\"interpolation\": \"bilinear\", ", "", "interpolation", ""},
	{"\"center\"", "\"border\"", "crop_mode", "border"},
	{"0.875", "0", "crop_pct", "(0.1, 1]"},
	{"0.875", "1.0001", "crop_pct", "(0.1, 1]"},
	{"0.875", "-1", "crop_pct", "(0.1, 1]"},
	{"0.875", "\"0.9\"", "crop_pct", "(0.1, 1]"},
	{"\"crop_pct\": 0.875, ", "", "crop_pct", "(0.1, 1]"},
	{"\"mean\": [0.5, 0.25, 0.125], ", "", "mean", "three numbers"},
	{"[0.5, 0.25, 0.125]", "[0.5, 0.25]", "mean", "three numbers"},
	{"[0.5, 0.25, 0.125]", "[0.5, 0.25, 0.1, 0.1]", "mean", "three numbers"},
	{"[0.5, 0.25, 0.125]", "[0.5, 0.25, null]", "mean", "three numbers"},
	{"[0.5, 0.25, 0.125]", "[0.5, 0.25, 1e300]", "mean", "three numbers"},
	{"[0.5, 0.25, 2]", "[0.5, 0, 2]", "std", "positive"},
	{"[0.5, 0.25, 2]", "[0.5, -1, 2]", "std", "positive"},
	{"[0.5, 0.25, 2]", "[1e-60, 1, 2]", "std", "positive"},
	{"{\"architecture\"", "[\"architecture\"", "not valid JSON", ""},
};

static void test_bad_configs(void)
{
	struct checkpoint c;

	for (size_t i = 0; i < sizeof(bad_configs) / sizeof(bad_configs[0]); i++) {
		make(&c, false);
		edit(&c, bad_configs[i].old, bad_configs[i].text);
		CU_ASSERT(says(refusal(&c), "model/", bad_configs[i].part, bad_configs[i].more, NULL));
	}
}

/* What is equivalent is taken: null for absent, the older layout without pretrained_cfg, heads by the family.
 */
static void test_equivalent_configs(void)
{
	static const struct {
		const char *old, *text;
	} good[] = {{"\"num_classes\": 5", "\"num_classes\": null"}, {"\"global_pool\": \"token\", ", ""},
		{"\"img_size\": 8, ", ""}, {"\"crop_mode\": \"center\", ", ""}, {"0.875", "1"},
		{"\"pretrained_cfg\": {", "\"x\": 0, "}};
	struct checkpoint c;
	struct err err = {""};
	struct loaded l;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		make(&c, false);
		edit(&c, good[i].old, good[i].text);
		if (i == 5)
			edit(&c, "2]}}", "2]}");
		CU_ASSERT_EQUAL_FATAL(load(&l, &c, &err), 0);
		CU_ASSERT(l.config.heads == 3 && l.config.mean[2] == 0.125f);
		unload(&l);
	}
}

static void test_infer(void)
{
	struct checkpoint c;
	struct err err = {""};
	struct safetensors st;
	struct vit_config v;
	char *path = scratch_path("model/model.safetensors");

	make(&c, false);
	write_model(&c);
	CU_ASSERT_EQUAL_FATAL(safetensors_open(&st, path, &err), 0);
	CU_ASSERT_EQUAL_FATAL(vit_config_infer(&v, 2, 1e-5f, 4, 16, &st, &err), 0);
	CU_ASSERT(v.grid_h == 1 && v.grid_w == 4 && v.tokens == 5 && v.heads == 2 && v.eps == 1e-5f);
	CU_ASSERT(v.mean[1] == 0 && v.std[1] == 1 && v.crop_pct == 1);
	CU_ASSERT(vit_config_infer(&v, 5, 1e-5f, 8, 8, &st, &err) == -1 && says(&err, "5 heads", NULL));
	CU_ASSERT(vit_config_infer(&v, 3, 1e-5f, 8, 12, &st, &err) == -1 &&
		  says(&err, "pos_embed", "2 x 3", NULL));
	safetensors_release(&st);
	free(path);
}

int register_checkpoint_tests(void)
{
	static const struct named_test checkpoints[] = {
		{"good", test_good_checkpoint},
		{"widened weights", test_widened_weights},
		{"DeiT-III", test_deit3_checkpoint},
		{"missing tensors", test_missing_tensors},
		{"extra tensors", test_extra_tensors},
		{"wrong shapes", test_wrong_shapes},
		{"bad config.json", test_bad_configs},
		{"equivalent config.json", test_equivalent_configs},
		{"without config.json", test_infer},
		{NULL, NULL},
	};
	return add_suite("checkpoint", checkpoints);
}

#include "bcos_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support.h"

enum { WIDTH = 16, HIDDEN = 24, DEPTH = 2, CLASSES = 5, PATCH = 4 };

static const int channels[3] = {8, 8, 10}; /* of the stem: 6 -> 8 halves, 8 -> 8 does not, 8 -> 10 does */

void bcos_tensors_add(
	struct safetensors *st, const char *name, double mean, double deviation, const int shape[4])
{
	struct tensor t = {.name = x_strdup(name), .dtype = DTYPE_F32, .dtype_name = "F32", .count = 1};
	uint32_t stream = 2000;
	int at = st->count;

	for (; t.ndim < 4 && shape[t.ndim]; t.ndim++) {
		t.shape[t.ndim] = shape[t.ndim];
		t.count *= (size_t)shape[t.ndim];
	}
	for (const char *p = name; *p; p++)
		stream = stream * 31 + (uint32_t)(unsigned char)*p;
	float *data = new_normal(t.count, deviation, stream);
	for (size_t i = 0; i < t.count; i++)
		data[i] += (float)mean;
	t.data = data;
	st->tensors = x_realloc(st->tensors, (size_t)(st->count + 1) * sizeof(t));
	for (; at && strcmp(st->tensors[at - 1].name, name) > 0; at--) /* they are sorted by name */
		st->tensors[at] = st->tensors[at - 1];
	st->tensors[at] = t;
	st->count++;
}

void bcos_tensors(struct safetensors *st, enum bcos_model model)
{
	int before = 6, inputs = model == BCOS_PLAIN ? 6 * PATCH * PATCH : channels[2];
	char name[96];

	*st = (struct safetensors){.path = x_strdup("random"), .owns_data = 1};
	for (int l = 0; l < 3 && model == BCOS_CONV; l++) {
		snprintf(name, sizeof(name), "0.to_patch_embedding.conv_stem.%d.linear.weight", 3 * l);
		bcos_tensors_add(st, name, 0.1, 1, (int[4]){channels[l], before, 3, 3});
		snprintf(name, sizeof(name), "0.to_patch_embedding.conv_stem.%d.weight", 3 * l + 1);
		bcos_tensors_add(st, name, 1, 0.3, (int[4]){channels[l]});
		before = channels[l];
	}
	bcos_tensors_add(st, "0.to_patch_embedding.linear.linear.weight", 0, 1, (int[4]){WIDTH, inputs});
	for (int l = 0; l < DEPTH; l++) {
		const struct {
			const char *name;
			double mean, deviation;
			int shape[4];
		} parts[] = {{"attn.norm", 1, 0.3, {WIDTH}}, {"attn.to_qkv", 0, 0.4, {3 * WIDTH, WIDTH}},
			{"attn.to_out.linear", 0, 2, {WIDTH, WIDTH}}, {"ff.net.norm", 1, 0.3, {WIDTH}},
			{"ff.net.linear1.linear", 0, 0.5, {HIDDEN, WIDTH}},
			{"ff.net.linear2.linear", 0, 1, {WIDTH, HIDDEN}}};

		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			snprintf(name, sizeof(name), "0.transformer.encoder_%d.%s.weight", l, parts[i].name);
			bcos_tensors_add(st, name, parts[i].mean, parts[i].deviation, parts[i].shape);
		}
	}
	bcos_tensors_add(st, "0.linear_head.norm.weight", 1, 0.3, (int[4]){WIDTH});
	bcos_tensors_add(st, "0.linear_head.linear.linear.weight", 0, 1, (int[4]){CLASSES, WIDTH});
}

struct vit_config bcos_config(enum bcos_model model)
{
	struct vit_config c = {.layout = VIT_BCOS,
		.root = "0.",
		.bcos = true,
		.logit_bias = -1.25f,
		.channels = 6,
		.image_h = 8,
		.image_w = 12,
		.patch = PATCH,
		.grid_h = 2,
		.grid_w = 3,
		.tokens = 6,
		.pos_h = 2,
		.pos_w = 3,
		.width = WIDTH,
		.heads = 2,
		.head_dim = WIDTH / 2,
		.depth = DEPTH,
		.hidden = HIDDEN,
		.classes = CLASSES,
		.activation = VIT_IDENTITY,
		.pool = VIT_POOL_AVG,
		.fc_norm = true,
		.eps = 1e-5f,
		.crop_pct = 0.875,
		.interpolation = RESIZE_BILINEAR,
		.std = {1, 1, 1}};

	snprintf(c.architecture, sizeof(c.architecture), "%s",
		model == BCOS_PLAIN ? "bcos_simple_vit_s_patch16_224" : "bcos_vitc_s_patch1_14");
	if (model == BCOS_CONV) {
		memcpy(c.stem, channels, sizeof(channels));
		c.stem_depth = 3;
	}
	return c;
}

void bcos_model_init(struct vit *vit, enum bcos_model model)
{
	struct vit_config config = bcos_config(model);
	struct safetensors st;
	struct err err = {{0}};

	bcos_tensors(&st, model);
	if (vit_init(vit, &config, &st, &err))
		BUG("%s", err.msg);
}

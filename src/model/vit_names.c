#include "model/vit_names.h"

#include <stdio.h>
#include <string.h>

enum { CHOICES = 3 };

struct row {
	const char *timm, *choices[CHOICES];
};

/* What transformers calls the parts; under the root but for the heads. */
static const struct row transformers[] = {
	{"cls_token", {"embeddings.cls_token"}},
	{"dist_token", {"embeddings.distillation_token"}},
	{"reg_token", {"embeddings.register_tokens"}},
	{"pos_embed", {"embeddings.position_embeddings"}},
	{"patch_embed.proj", {"embeddings.patch_embeddings.projection"}},
	{"norm1", {"layernorm_before", "norm1"}},
	{"attn.q", {"attention.attention.query"}},
	{"attn.k", {"attention.attention.key"}},
	{"attn.v", {"attention.attention.value"}},
	{"attn.proj", {"attention.output.dense"}},
	{"ls1.gamma", {"layer_scale1.lambda1"}},
	{"norm2", {"layernorm_after", "norm2"}},
	{"mlp.fc1", {"intermediate.dense", "mlp.fc1", "mlp.weights_in"}},
	{"mlp.fc2", {"output.dense", "mlp.fc2", "mlp.weights_out"}},
	{"ls2.gamma", {"layer_scale2.lambda1"}},
	{"norm", {"layernorm"}},
	{"head", {"classifier", "cls_classifier"}},
	{"head_dist", {"distillation_classifier"}},
	{NULL, {NULL}},
};

/* What B-cos v2 calls them, all under the root. */
static const struct row bcos[] = {
	{"patch_embed.proj", {"to_patch_embedding.linear.linear"}},
	{"norm1", {"attn.norm"}},
	{"attn.qkv", {"attn.to_qkv"}},
	{"attn.proj", {"attn.to_out.linear"}},
	{"norm2", {"ff.net.norm"}},
	{"mlp.fc1", {"ff.net.linear1.linear"}},
	{"mlp.fc2", {"ff.net.linear2.linear"}},
	{"fc_norm", {"linear_head.norm"}},
	{"head", {"linear_head.linear.linear"}},
	{NULL, {NULL}},
};

/* Splits "attn.proj.weight" into a row of the table and ".weight". */
static const struct row *find_row(const struct row *rows, const char *part, const char **suffix)
{
	for (size_t i = 0; rows[i].timm; i++) {
		size_t n = strlen(rows[i].timm);

		if (!strncmp(part, rows[i].timm, n) &&
			(!part[n] || !strcmp(part + n, ".weight") || !strcmp(part + n, ".bias"))) {
			*suffix = part + n;
			return &rows[i];
		}
	}
	return NULL;
}

/* "conv.weight" or "norm.weight" of a convolution of the stem: three modules each, the last without tensors.
 */
static void bcos_stem_name(char *buf, const char *root, int layer, const char *part)
{
	bool norm = !strncmp(part, "norm", 4);

	snprintf(buf, VIT_NAME, "%sto_patch_embedding.conv_stem.%d%s%s", root, 3 * layer + norm,
		norm ? "" : ".linear", part + 4);
}

char *vit_name(char *buf, const struct vit_config *c, const struct safetensors *st, const char *name)
{
	const char *part = name, *suffix = "";
	char prefix[64] = "", first[VIT_NAME];
	int block, length = 0;
	bool of_bcos = c->layout == VIT_BCOS;

	snprintf(buf, VIT_NAME, "%s", name);
	if (c->layout == VIT_TIMM)
		return buf;
	if (of_bcos && sscanf(name, "stem.%d.%n", &block, &length) == 1 && length) {
		bcos_stem_name(buf, c->root, block, name + length);
		return buf;
	}
	if (sscanf(name, "blocks.%d.%n", &block, &length) == 1 && length) {
		part = name + length;
		snprintf(prefix, sizeof(prefix), "%s%s%d.", c->root,
			of_bcos ? "transformer.encoder_" : "encoder.layer.", block);
	} else if (of_bcos || strncmp(name, "head", 4)) {
		snprintf(prefix, sizeof(prefix), "%s", c->root);
	}
	const struct row *row = find_row(of_bcos ? bcos : transformers, part, &suffix);
	if (!row && of_bcos) /* it has none: what carries timm's name is something else */
		*buf = 0;
	if (!row)
		return buf;
	for (int i = 0; i < CHOICES && row->choices[i]; i++) {
		snprintf(buf, VIT_NAME, "%s%s%s", prefix, row->choices[i], suffix);
		if (safetensors_find(st, buf))
			return buf;
		if (!i)
			snprintf(first, sizeof(first), "%s", buf);
	}
	return strcpy(buf, first);
}

const struct tensor *vit_find(const struct vit_config *c, const struct safetensors *st, const char *name)
{
	char buf[VIT_NAME];

	return *vit_name(buf, c, st, name) ? safetensors_find(st, buf) : NULL;
}

bool vit_ignored(const struct vit_config *c, const char *name)
{
	static const char *const heads[][CHOICES] = {
		[VIT_TIMM] = {"head.", "head_dist."},
		[VIT_TRANSFORMERS] = {"classifier.", "cls_classifier.", "distillation_classifier."},
		[VIT_BCOS] = {NULL},
	};
	size_t root = strlen(c->root);

	for (int i = 0; c->external_head && i < CHOICES && heads[c->layout][i]; i++)
		if (!strncmp(name, heads[c->layout][i], strlen(heads[c->layout][i])))
			return true;
	if (c->layout != VIT_TRANSFORMERS)
		return c->layout == VIT_TIMM && !strcmp(name, "mask_token");
	return !strncmp(name, c->root, root) &&
	       (!strcmp(name + root, "embeddings.mask_token") || !strncmp(name + root, "pooler.", 7));
}

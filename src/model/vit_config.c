#include "model/vit_config.h"

#include "model/vit_config_parts.h"
#include "model/vit_names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* MOST_TOKENS: beyond, one attention matrix alone takes 17 GB. */
enum { MOST_BLOCKS = 1000, MOST_PIXELS = 8192, MOST_TOKENS = 65536 };

/* ---- what the tensors say ---- */

int vit_patch_inputs(const struct vit_config *c)
{
	return c->stem_depth ? c->stem[c->stem_depth - 1] : c->channels * c->patch * c->patch;
}

int vit_dim(const struct vit_config *c, const struct safetensors *st, const char *name, int axis)
{
	const struct tensor *t = vit_find(c, st, name);

	return t && axis < t->ndim && t->shape[axis] < 1 << 24 ? (int)t->shape[axis] : 0;
}

static bool has(const struct vit_config *c, const struct safetensors *st, const char *name)
{
	return vit_find(c, st, name) != NULL;
}

/* How many blocks there are. */
static int count_blocks(const struct vit_config *c, const struct safetensors *st)
{
	char name[64];
	int n;

	for (n = 0; n < MOST_BLOCKS; n++) {
		snprintf(name, sizeof(name), "blocks.%d.norm1.weight", n);
		if (!has(c, st, name))
			break;
	}
	return n;
}

static int check_needed(const struct vit_config *c, const struct safetensors *st, struct err *err)
{
	static const char *const needed[] = {
		"pos_embed", "patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.0.mlp.fc2.weight"};
	char name[VIT_NAME];

	for (size_t i = c->layout == VIT_BCOS; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!has(c, st, needed[i]))
			return err_set(err,
				"%s: tensor %s is missing: not a Vision Transformer of the kinds that are "
				"supported",
				st->path, vit_name(name, c, st, needed[i]));
	return 0;
}

int vit_infer_shapes(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	if (check_needed(c, st, err))
		return -1;
	c->width = vit_dim(c, st, "patch_embed.proj.weight", 0);
	if (c->layout != VIT_BCOS) {
		c->channels = vit_dim(c, st, "patch_embed.proj.weight", 1);
		c->patch = vit_dim(c, st, "patch_embed.proj.weight", 2);
	} else if (vit_infer_bcos(c, st, err)) {
		return -1;
	}
	c->hidden = vit_dim(c, st, "blocks.0.mlp.fc2.weight", 1);
	c->depth = count_blocks(c, st);
	c->classes = vit_dim(c, st, "head.weight", 0);
	c->class_token = has(c, st, "cls_token");
	c->dist_token = has(c, st, "dist_token");
	c->dist_head = has(c, st, "head_dist.weight");
	c->registers = vit_dim(c, st, "reg_token", 1);
	c->prefix = c->class_token + c->dist_token + c->registers;
	c->layer_scale = has(c, st, "blocks.0.ls1.gamma");
	c->qk_norm = has(c, st, "blocks.0.attn.q_norm.weight");
	c->qkv_bias =
		has(c, st, c->layout == VIT_TRANSFORMERS ? "blocks.0.attn.q.bias" : "blocks.0.attn.qkv.bias");
	c->proj_bias = has(c, st, "blocks.0.attn.proj.bias");
	c->mlp_bias = has(c, st, "blocks.0.mlp.fc2.bias");
	c->norm_pre = has(c, st, "norm_pre.weight");
	c->final_norm = has(c, st, "norm.weight");
	c->fc_norm = has(c, st, "fc_norm.weight");
	c->pool = !c->class_token || c->fc_norm ? VIT_POOL_AVG : VIT_POOL_TOKEN;
	if (c->width && vit_dim(c, st, "head.weight", 1) == 2 * c->width)
		c->pool = VIT_POOL_BOTH;
	if (!c->bcos && (has(c, st, "blocks.0.mlp.fc1_g.weight") ||
				vit_dim(c, st, "blocks.0.mlp.fc1.weight", 0) == 2 * c->hidden))
		c->activation = VIT_SWIGLU;
	if (c->width < 1 || c->channels != (c->bcos ? 6 : 3) || c->patch < 1 || c->hidden < 1)
		return err_set(err,
			"%s: tensor patch_embed.proj.weight or blocks.0.mlp.fc2.weight: expected non-empty "
			"shapes for %d channels",
			st->path, c->bcos ? 6 : 3);
	return 0;
}

/* ---- what follows from heads and input size ---- */

/* The grid of the positional table: that of the checkpoint's own input size; for how many of the prefix
 * tokens it has rows: all, none (no_embed_class) or, in transformers, the class token alone. */
static int derive_positions(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	char name[VIT_NAME];

	if (c->bcos) /* sines and cosines, at any grid */
		return 0;
	int rows = vit_dim(c, st, "pos_embed", 1), grid = c->pos_h * c->pos_w;

	c->pos_prefix = rows - grid;
	if (c->pos_prefix == c->prefix || c->pos_prefix == 0 ||
		(c->layout == VIT_TRANSFORMERS && c->pos_prefix == c->class_token + c->dist_token))
		return 0;
	return err_set(err, "%s: tensor %s has %d rows, expected %d or %d for a grid of %d x %d", st->path,
		vit_name(name, c, st, "pos_embed"), rows, grid, grid + c->prefix, c->pos_h, c->pos_w);
}

static int check_size(const struct vit_config *c, const char *where, struct err *err)
{
	if (c->patch < 1 || c->image_h < 1 || c->image_w < 1 || c->image_h > MOST_PIXELS ||
		c->image_w > MOST_PIXELS || c->image_h % c->patch || c->image_w % c->patch)
		return err_set(err, "%s: image of %d x %d pixels is not a whole number of patches of %d",
			where, c->image_h, c->image_w, c->patch);
	return 0;
}

static int derive(
	struct vit_config *c, const struct safetensors *st, const struct vit_options *o, struct err *err)
{
	if (c->heads < 1 || c->width % c->heads)
		return err_set(err, "%s: %d heads do not divide the width %d", st->path, c->heads, c->width);
	if (check_size(c, st->path, err))
		return -1;
	c->head_dim = c->width / c->heads;
	c->pos_h = c->image_h / c->patch;
	c->pos_w = c->image_w / c->patch;
	if (derive_positions(c, st, err))
		return -1;
	if (c->input_h) {
		c->image_h = c->input_h;
		c->image_w = c->input_w;
	}
	if (o && o->height) {
		c->image_h = o->height;
		c->image_w = o->width;
	}
	if (check_size(c, o && o->height ? "model.input_size" : st->path, err))
		return -1;
	c->grid_h = c->image_h / c->patch;
	c->grid_w = c->image_w / c->patch;
	c->tokens = c->prefix + c->grid_h * c->grid_w;
	if (c->tokens > MOST_TOKENS)
		return err_set(err, "%s: %d x %d pixels in patches of %d are %d tokens, more than %d",
			st->path, c->image_h, c->image_w, c->patch, c->tokens, MOST_TOKENS);
	return 0;
}

/* The shape of an external head decides what it takes: one width is what the checkpoint classifies by itself
 * (the class token, or the mean patch), two are both. */
static int take_external_head(
	struct vit_config *c, const struct safetensors *st, const struct vit_options *o, struct err *err)
{
	int parts = c->width ? o->head_inputs / c->width : 0;

	if (c->bcos)
		return err_set(
			err, "%s: a B-cos network has a head of its own: model.head is not for it", st->path);
	if (parts < 1 || parts > 2 || o->head_inputs != parts * c->width)
		return err_set(err,
			"%s: takes %d inputs, expected %d (the class token or the mean patch) or %d (both)",
			o->head, o->head_inputs, c->width, 2 * c->width);
	if ((o->head_input == VIT_HEAD_AVG && parts != 1) ||
		(o->head_input == VIT_HEAD_INTERLEAVED && parts != 2))
		return err_set(err,
			"%s: takes %d inputs, which model.head_input: %s does not fit: expected %d", o->head,
			o->head_inputs, parts == 1 ? "interleaved" : "avg", (3 - parts) * c->width);
	c->classes = o->head_classes;
	c->dist_head = false;
	c->external_head = true;
	c->head_input = o->head_input;
	if (parts == 2)
		c->pool = VIT_POOL_BOTH;
	else if (o->head_input == VIT_HEAD_AVG || !c->class_token)
		c->pool = VIT_POOL_AVG;
	else if (c->pool == VIT_POOL_BOTH)
		c->pool = VIT_POOL_TOKEN;
	return 0;
}

/* What the head takes must be there. */
static int check_head(
	struct vit_config *c, const struct safetensors *st, const struct vit_options *o, struct err *err)
{
	char name[VIT_NAME], other[VIT_NAME];

	if (o && o->head ? take_external_head(c, st, o, err) : 0)
		return -1;
	if (o && !o->head && o->head_input != VIT_HEAD_AUTO)
		return err_set(err, "model.head_input: expected a model.head beside it");
	if (c->classes < 1)
		return err_set(err,
			"%s: tensor %s is missing: a network without a head needs one, see model.head",
			st->path, vit_name(name, c, st, "head.weight"));
	if (c->pool != VIT_POOL_AVG && !c->class_token)
		return err_set(err, "%s: tensor %s is missing, and the class token is what is classified",
			st->path, vit_name(name, c, st, "cls_token"));
	if (!c->final_norm && !c->fc_norm)
		return err_set(err, "%s: neither tensor %s nor %s is there", st->path,
			vit_name(name, c, st, "norm.weight"), vit_name(other, c, st, "fc_norm.weight"));
	if (c->dist_head && (!c->dist_token || c->pool != VIT_POOL_TOKEN))
		return err_set(err, "%s: tensor %s: expected a dist_token beside the class token", st->path,
			vit_name(name, c, st, "head_dist.weight"));
	/* in transformers a distilled network may go without its second head */
	if (c->layout == VIT_TIMM && c->dist_token && !c->dist_head && !c->external_head)
		return err_set(err, "%s: tensor head_dist.weight is missing beside dist_token", st->path);
	return 0;
}

/* ---- config.json ---- */

int vit_check_integer(const json_t *object, const char *key, int have, const char *path, struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return err_set(err, "%s: %s: expected an integer", path, key);
	if (json_integer_value(v) != have)
		return err_set(err, "%s: %s is %lld, but the tensors say %d", path, key,
			(long long)json_integer_value(v), have);
	return 0;
}

int vit_check_switch(const json_t *object, const char *key, bool have, const char *path, struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return err_set(err, "%s: %s: expected true or false", path, key);
	if (json_is_true(v) != have)
		return err_set(err, "%s: %s is %s, but the tensors say otherwise", path, key,
			json_is_true(v) ? "true" : "false");
	return 0;
}

/* Three finite numbers. */
static int read_triple(float out[3], const json_t *object, const char *key, const char *path, struct err *err)
{
	const json_t *list = json_object_get(object, key);

	for (size_t i = 0; i < 3; i++) {
		const json_t *v = json_array_get(list, i);
		double x = json_number_value(v);

		if (json_array_size(list) != 3 || !json_is_number(v) || !isfinite((float)x))
			return err_set(err, "%s: %s: expected three numbers", path, key);
		out[i] = (float)x;
	}
	return 0;
}

int vit_read_normalisation(struct vit_config *c, const json_t *object, const char *mean, const char *std,
	const char *path, struct err *err)
{
	if (read_triple(c->mean, object, mean, path, err) || read_triple(c->std, object, std, path, err))
		return -1;
	for (int i = 0; i < 3; i++)
		if (!(c->std[i] > 0))
			return err_set(err, "%s: %s: expected positive numbers", path, std);
	return 0;
}

/* The part of the names before "embeddings.": "vit.", or nothing for a network saved without a head; of B-cos
 * "0." or nothing. */
static int find_root(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	bool bcos = c->layout == VIT_BCOS;
	const char *suffix = bcos ? "to_patch_embedding.linear.linear.weight"
				  : "embeddings.patch_embeddings.projection.weight";

	for (int i = 0; i < st->count; i++) {
		size_t n = strlen(st->tensors[i].name), length = strlen(suffix);

		if (n < length || n - length >= sizeof(c->root) ||
			strcmp(st->tensors[i].name + n - length, suffix))
			continue;
		snprintf(c->root, sizeof(c->root), "%.*s", (int)(n - length), st->tensors[i].name);
		return 0;
	}
	return err_set(err, "%s: tensor %s%s is missing: not a Vision Transformer of %s", st->path,
		bcos ? "0." : "", suffix, bcos ? "B-cos v2" : "transformers");
}

static int read_root(struct vit_config *c, const json_t *root, const char *dir, const char *path,
	const struct safetensors *st, const struct vit_options *o, struct err *err)
{
	const char *architecture = json_string_value(json_object_get(root, "architecture"));
	const char *type = json_string_value(json_object_get(root, "model_type"));

	if (!architecture && !type)
		return err_set(err,
			"%s: expected an \"architecture\" as timm has it, or a \"model_type\" of "
			"transformers",
			path);
	snprintf(c->architecture, sizeof(c->architecture), "%s", architecture ? architecture : type);
	c->layout = architecture ? vit_layout_of(architecture) : VIT_TRANSFORMERS;
	c->bcos = c->layout == VIT_BCOS;
	if (architecture ? vit_known_timm(architecture, path, err) : vit_known_transformers(type, path, err))
		return -1;
	if (c->layout != VIT_TIMM && find_root(c, st, err))
		return -1;
	if (vit_infer_shapes(c, st, err))
		return -1;
	if (architecture ? vit_read_timm(c, root, path, err)
			 : vit_read_transformers(c, root, dir, o && o->height, path, err))
		return -1;
	return check_head(c, st, o, err) ? -1 : derive(c, st, o, err);
}

int vit_config_read(struct vit_config *c, const char *dir, const struct safetensors *st,
	const struct vit_options *o, struct err *err)
{
	char path[4096];

	*c = (struct vit_config){0};
	snprintf(path, sizeof(path), "%s/config.json", dir);
	json_t *root = json_read_file(path, err);
	if (!root)
		return -1;
	int rc = read_root(c, root, dir, path, st, o, err);
	json_decref(root);
	return rc;
}

int vit_config_infer(struct vit_config *c, int heads, float eps, int image_h, int image_w,
	const struct safetensors *st, struct err *err)
{
	*c = (struct vit_config){.heads = heads,
		.eps = eps,
		.image_h = image_h,
		.image_w = image_w,
		.crop_pct = 1,
		.interpolation = RESIZE_BICUBIC,
		.std = {1, 1, 1}};
	snprintf(c->architecture, sizeof(c->architecture), "vit (recorded weights)");
	if (vit_infer_shapes(c, st, err) || check_head(c, st, NULL, err))
		return -1;
	return derive(c, st, NULL, err);
}

/* ---- as text ---- */

const char *vit_pool_name(enum vit_pool pool)
{
	static const char *const names[] = {"token", "avg", "token and avg"};

	return names[pool];
}

const char *vit_activation_name(enum vit_activation activation)
{
	static const char *const names[] = {"gelu", "quick_gelu", "swiglu", "identity"};

	return names[activation];
}

static const char *yes(bool flag)
{
	return flag ? "true" : "false";
}

/* What other networks do not have. */
static void add_bcos(char *buf, const struct vit_config *c)
{
	size_t n = strlen(buf);

	n += (size_t)snprintf(buf + n, VIT_CONFIG_TEXT - n, "bcos: true\nlogit_bias: %.9g\nconv_stem: [",
		(double)c->logit_bias);
	for (int l = 0; l < c->stem_depth; l++)
		n += (size_t)snprintf(buf + n, VIT_CONFIG_TEXT - n, "%s%d", l ? ", " : "", c->stem[l]);
	snprintf(buf + n, VIT_CONFIG_TEXT - n, "]\n");
}

char *vit_config_text(char *buf, const struct vit_config *c)
{
	snprintf(buf, VIT_CONFIG_TEXT,
		"architecture: %s\ninput_size: [%d, %d, %d]\npatch_size: %d\nembed_dim: %d\ndepth: %d\n"
		"num_heads: %d\nmlp_hidden: %d\nact_layer: %s\nnum_classes: %d\nglobal_pool: %s\n"
		"class_token: %s\ndist_token: %s\ndist_head: %s\nreg_tokens: %d\npos_embed: [%d, %d, %d]\n"
		"bias: [%s, %s, %s]\npre_norm: %s\nfinal_norm: %s\nfc_norm: %s\nqk_norm: "
		"%s\nlayer_scale: %s\nexternal_head: %s %d\n"
		"eps: %.9g\ninterpolation: %s\ncrop_pct: %.17g\nsquash: %s\n"
		"mean: [%.9g, %.9g, %.9g]\nstd: [%.9g, %.9g, %.9g]\n",
		c->architecture, c->channels, c->image_h, c->image_w, c->patch, c->width, c->depth, c->heads,
		c->hidden, vit_activation_name(c->activation), c->classes, vit_pool_name(c->pool),
		yes(c->class_token), yes(c->dist_token), yes(c->dist_head), c->registers, c->pos_prefix,
		c->pos_h, c->pos_w, yes(c->qkv_bias), yes(c->proj_bias), yes(c->mlp_bias), yes(c->norm_pre),
		yes(c->final_norm), yes(c->fc_norm), yes(c->qk_norm), yes(c->layer_scale),
		yes(c->external_head), (int)c->head_input, (double)c->eps,
		resize_filter_name(c->interpolation), c->crop_pct, yes(c->squash), (double)c->mean[0],
		(double)c->mean[1], (double)c->mean[2], (double)c->std[0], (double)c->std[1],
		(double)c->std[2]);
	if (c->bcos)
		add_bcos(buf, c);
	return buf;
}

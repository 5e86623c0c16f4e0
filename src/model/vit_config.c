#include "model/vit_config.h"

#include "formats/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A family: the architectures that start with `name`. What tensors do not tell is here: heads and eps. */
static const struct family {
	const char *name;
	int width, heads;
	float eps;
} families[] = {
	{"vit_tiny_patch", 192, 3, 1e-6f},
	{"vit_small_patch", 384, 6, 1e-6f},
	{"vit_base_patch", 768, 12, 1e-6f},
	{"vit_large_patch", 1024, 16, 1e-6f},
	{"vit_huge_patch", 1280, 16, 1e-6f},
	{"deit_tiny_patch", 192, 3, 1e-6f},
	{"deit_small_patch", 384, 6, 1e-6f},
	{"deit_base_patch", 768, 12, 1e-6f},
	{"deit3_small_patch", 384, 6, 1e-6f},
	{"deit3_medium_patch", 512, 8, 1e-6f},
	{"deit3_base_patch", 768, 12, 1e-6f},
	{"deit3_large_patch", 1024, 16, 1e-6f},
	{"deit3_huge_patch", 1280, 16, 1e-6f},
};

/* Arguments of a timm model that tensors and the fields below already answer for. Any other may change the
 * arithmetic. */
static const char *const known_arguments[] = {"img_size", "patch_size", "embed_dim", "depth", "num_heads",
	"mlp_ratio", "num_classes", "in_chans", "global_pool", "init_values", "no_embed_class"};

static const struct family *find_family(const char *architecture)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (!strncmp(architecture, families[i].name, strlen(families[i].name)))
			return &families[i];
	return NULL;
}

static int unsupported(const char *architecture, const char *path, struct err *err)
{
	char list[512] = "";

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s*", i ? ", " : "",
			families[i].name);
	return err_set(err, "%s: architecture \"%s\" is not supported: expected one of %s", path,
		architecture, list);
}

static int dim(const struct safetensors *st, const char *name, int axis)
{
	const struct tensor *t = safetensors_find(st, name);

	return t && axis < t->ndim && t->shape[axis] < 1 << 24 ? (int)t->shape[axis] : 0;
}

/* Sizes that the tensors give away by themselves. Consistency is checked when the weights are taken. */
static int infer_shapes(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	char name[64];

	c->width = dim(st, "patch_embed.proj.weight", 0);
	c->channels = dim(st, "patch_embed.proj.weight", 1);
	c->patch = dim(st, "patch_embed.proj.weight", 2);
	c->hidden = dim(st, "blocks.0.mlp.fc1.weight", 0);
	c->classes = dim(st, "head.weight", 0);
	c->layer_scale = safetensors_find(st, "blocks.0.ls1.gamma") != NULL;
	c->prefix = 1;
	for (c->depth = 0; c->depth < 1000; c->depth++) {
		snprintf(name, sizeof(name), "blocks.%d.attn.qkv.weight", c->depth);
		if (!safetensors_find(st, name))
			break;
	}
	static const char *const needed[] = {"cls_token", "pos_embed", "patch_embed.proj.weight",
		"blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "norm.weight", "head.weight"};
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!safetensors_find(st, needed[i]))
			return err_set(err,
				"%s: tensor %s is missing: not a timm Vision Transformer that classifies by "
				"its class token",
				st->path, needed[i]);
	if (c->width < 1 || c->channels != 3 || c->patch < 1 || c->hidden < 1 || c->classes < 1)
		return err_set(err,
			"%s: tensor patch_embed.proj.weight, fc1 or head: expected non-empty shapes for 3 "
			"channels",
			st->path);
	return 0;
}

/* Everything that follows from heads and image size. */
static int derive(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	int rows = dim(st, "pos_embed", 1);

	if (c->heads < 1 || c->width % c->heads)
		return err_set(err, "%s: %d heads do not divide the width %d", st->path, c->heads, c->width);
	if (c->patch < 1 || c->image_h < 1 || c->image_w < 1 || c->image_h % c->patch ||
		c->image_w % c->patch)
		return err_set(err, "%s: image of %d x %d pixels is not a whole number of patches of %d",
			st->path, c->image_h, c->image_w, c->patch);
	c->head_dim = c->width / c->heads;
	c->grid_h = c->image_h / c->patch;
	c->grid_w = c->image_w / c->patch;
	c->tokens = c->prefix + c->grid_h * c->grid_w;
	c->no_embed_class = rows == c->grid_h * c->grid_w;
	if (!c->no_embed_class && rows != c->tokens)
		return err_set(err,
			"%s: tensor pos_embed has %d rows, expected %d or %d for a grid of %d x %d", st->path,
			rows, c->tokens - c->prefix, c->tokens, c->grid_h, c->grid_w);
	return 0;
}

static int read_triple(float out[3], const json_t *cfg, const char *key, const char *path, struct err *err)
{
	const json_t *list = json_object_get(cfg, key);

	for (size_t i = 0; i < 3; i++) {
		const json_t *v = json_array_get(list, i);
		double x = json_number_value(v);

		if (json_array_size(list) != 3 || !json_is_number(v) || !isfinite((float)x))
			return err_set(err, "%s: %s: expected three numbers", path, key);
		out[i] = (float)x;
	}
	return 0;
}

static int read_input_size(
	struct vit_config *c, const json_t *cfg, const json_t *args, const char *path, struct err *err)
{
	const json_t *size = json_object_get(cfg, "input_size"), *img = json_object_get(args, "img_size");
	json_int_t h = json_integer_value(json_array_get(size, 1)),
		   w = json_integer_value(json_array_get(size, 2));

	if (json_array_size(size) != 3 || h < 1 || w < 1 || h > 8192 || w > 8192)
		return err_set(err, "%s: input_size: expected [3, height, width], at most 8192", path);
	if (json_integer_value(json_array_get(size, 0)) != c->channels)
		return err_set(err, "%s: input_size: expected %d channels as in patch_embed.proj.weight",
			path, c->channels);
	if (h != w)
		return err_set(err, "%s: input_size: %lld x %lld is not square, which is not supported", path,
			(long long)h, (long long)w);
	if (img && json_integer_value(img) != h)
		return err_set(
			err, "%s: input_size %lld disagrees with model_args.img_size", path, (long long)h);
	c->image_h = (int)h;
	c->image_w = (int)w;
	return 0;
}

static int read_preprocessing(struct vit_config *c, const json_t *cfg, const char *path, struct err *err)
{
	const char *interpolation = json_string_value(json_object_get(cfg, "interpolation"));
	const char *crop_mode = json_string_value(json_object_get(cfg, "crop_mode"));
	const json_t *pct = json_object_get(cfg, "crop_pct");

	if (crop_mode && strcmp(crop_mode, "center"))
		return err_set(err, "%s: crop_mode: expected \"center\", got \"%s\"", path, crop_mode);
	if (resize_filter_parse(&c->interpolation, interpolation ? interpolation : "", err))
		return err_prefix(err, "%s: interpolation", path);
	c->crop_pct = json_number_value(pct);
	if (!json_is_number(pct) || !(c->crop_pct > 0.1 && c->crop_pct <= 1))
		return err_set(err, "%s: crop_pct: expected a number in (0.1, 1]", path);
	if (read_triple(c->mean, cfg, "mean", path, err) || read_triple(c->std, cfg, "std", path, err))
		return -1;
	for (int i = 0; i < 3; i++)
		if (!(c->std[i] > 0))
			return err_set(err, "%s: std: expected positive numbers", path);
	return 0;
}

static int check_integer(const json_t *object, const char *key, int have, const char *path, struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (v && !json_is_null(v) && json_integer_value(v) != have)
		return err_set(err, "%s: %s is %lld, but the tensors say %d", path, key,
			(long long)json_integer_value(v), have);
	return 0;
}

static int read_network(
	struct vit_config *c, const json_t *root, const json_t *args, const char *path, struct err *err)
{
	const struct family *f = find_family(c->architecture);
	const json_t *heads = json_object_get(args, "num_heads"),
		     *pool = json_object_get(root, "global_pool");
	const char *key;
	json_t *value;

	if (!f)
		return unsupported(c->architecture, path, err);
	json_object_foreach((json_t *)(uintptr_t)args, key, value)
	{
		bool known = false;

		for (size_t i = 0; i < sizeof(known_arguments) / sizeof(known_arguments[0]); i++)
			known |= !strcmp(key, known_arguments[i]);
		if (!known)
			return err_set(err, "%s: model_args.%s is not supported", path, key);
	}
	if (json_object_get(args, "global_pool"))
		pool = json_object_get(args, "global_pool");
	if (pool && (!json_is_string(pool) || strcmp(json_string_value(pool), "token")))
		return err_set(err, "%s: global_pool: only \"token\" is supported", path);
	if (!heads && c->width != f->width)
		return err_set(err, "%s: %s has width %d, but the tensors say %d; give model_args.num_heads",
			path, c->architecture, f->width, c->width);
	if (heads && (json_integer_value(heads) < 1 || json_integer_value(heads) > c->width))
		return err_set(
			err, "%s: model_args.num_heads: expected an integer from 1 to %d", path, c->width);
	if (args && !json_is_object(args))
		return err_set(err, "%s: model_args: expected an object", path);
	c->heads = heads ? (int)json_integer_value(heads) : f->heads;
	c->eps = f->eps;
	if (check_integer(root, "num_classes", c->classes, path, err) ||
		check_integer(root, "num_features", c->width, path, err) ||
		check_integer(args, "embed_dim", c->width, path, err) ||
		check_integer(args, "depth", c->depth, path, err) ||
		check_integer(args, "patch_size", c->patch, path, err) ||
		check_integer(args, "num_classes", c->classes, path, err))
		return -1;
	return 0;
}

int vit_config_read(struct vit_config *c, const char *dir, const struct safetensors *st, struct err *err)
{
	char path[4096];

	*c = (struct vit_config){0};
	snprintf(path, sizeof(path), "%s/config.json", dir);
	json_t *root = json_read_file(path, err);
	if (!root)
		return -1;
	const json_t *cfg = json_object_get(root, "pretrained_cfg"),
		     *args = json_object_get(root, "model_args");
	const char *architecture = json_string_value(json_object_get(root, "architecture"));
	int rc = -1;

	if (!cfg)
		cfg = root; /* as older files of timm have it */
	snprintf(c->architecture, sizeof(c->architecture), "%s", architecture ? architecture : "");
	if (!architecture)
		err_set(err, "%s: architecture: expected the timm name of the network", path);
	else if (!infer_shapes(c, st, err) && !read_network(c, root, args, path, err) &&
		 !read_input_size(c, cfg, args, path, err) && !read_preprocessing(c, cfg, path, err))
		rc = derive(c, st, err);
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
	if (infer_shapes(c, st, err))
		return -1;
	return derive(c, st, err);
}

char *vit_config_text(char *buf, const struct vit_config *c)
{
	snprintf(buf, VIT_CONFIG_TEXT,
		"architecture: %s\ninput_size: [%d, %d, %d]\npatch_size: %d\nembed_dim: %d\ndepth: "
		"%d\nnum_heads: %d\n"
		"mlp_hidden: %d\nnum_classes: %d\nlayer_scale: %s\nno_embed_class: %s\neps: %.9g\n"
		"interpolation: %s\ncrop_pct: %.17g\nmean: [%.9g, %.9g, %.9g]\nstd: [%.9g, %.9g, %.9g]\n",
		c->architecture, c->channels, c->image_h, c->image_w, c->patch, c->width, c->depth, c->heads,
		c->hidden, c->classes, c->layer_scale ? "true" : "false",
		c->no_embed_class ? "true" : "false", (double)c->eps, resize_filter_name(c->interpolation),
		c->crop_pct, (double)c->mean[0], (double)c->mean[1], (double)c->mean[2], (double)c->std[0],
		(double)c->std[1], (double)c->std[2]);
	return buf;
}

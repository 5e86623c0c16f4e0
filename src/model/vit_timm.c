/* config.json as timm writes it beside its checkpoints; that of B-cos networks is written in the same manner,
 * since they are published without one. */
#include "model/vit_config_parts.h"

#include <stdio.h>
#include <string.h>

/* A family: the architectures that start with `name`; the row with the width of the tensors counts. What
 * tensors do not tell is here. */
static const struct family {
	const char *name;
	int width, heads;
} families[] = {
	{"vit_tiny_patch", 192, 3},
	{"vit_xsmall_patch", 256, 4},
	{"vit_wee_patch", 256, 4},
	{"vit_small_patch", 384, 6},
	{"vit_medium_patch", 512, 8},
	{"vit_base_patch16_gap_", 768, 16},
	{"vit_base_patch", 768, 12},
	{"vit_base_patch", 896, 14}, /* plus */
	{"vit_large_patch", 1024, 16},
	{"vit_huge_patch", 1280, 16},
	{"vit_little_patch", 320, 5},
	{"vit_mediumd_patch", 512, 8},
	{"vit_betwixt_patch", 640, 10},
	{"vit_so150m_patch", 896, 14},
	{"vit_so150m2_patch", 832, 13},
	{"vit_so400m_patch", 1152, 16},
	{"eva_large_patch14_", 1024, 16},
	{"vit_giant_patch", 1408, 16},
	{"vit_giant_patch", 1536, 24}, /* DINOv2 */
	{"vit_gigantic_patch", 1664, 16},
	{"deit_tiny_patch", 192, 3},
	{"deit_small_patch", 384, 6},
	{"deit_base_patch", 768, 12},
	{"deit_tiny_distilled_patch", 192, 3},
	{"deit_small_distilled_patch", 384, 6},
	{"deit_base_distilled_patch", 768, 12},
	{"deit3_small_patch", 384, 6},
	{"deit3_medium_patch", 512, 8},
	{"deit3_base_patch", 768, 12},
	{"deit3_large_patch", 1024, 16},
	{"deit3_huge_patch", 1280, 16},
	{"bcos_simple_vit_ti_patch", 192, 3},
	{"bcos_simple_vit_s_patch", 384, 6},
	{"bcos_simple_vit_b_patch", 768, 12},
	{"bcos_simple_vit_l_patch", 1024, 16},
	{"bcos_vitc_ti_patch1_", 192, 3},
	{"bcos_vitc_s_patch1_", 384, 6},
	{"bcos_vitc_b_patch1_", 768, 12},
	{"bcos_vitc_l_patch1_", 1024, 16},
};

/* What an architecture's name says about its arithmetic. */
static const struct trait {
	const char *part;
	float eps;
	enum vit_activation activation;
} traits[] = {
	{"_clip_quickgelu_", 1e-5f, VIT_QUICK_GELU},
	{"_clip_", 1e-5f, VIT_GELU},
	{"bcos_", 1e-5f, VIT_IDENTITY},
};

static const struct trait usual = {"", 1e-6f, VIT_GELU};

/* Arguments of a timm model that tensors and the fields below already answer for, or that matter in training
 * alone. Any other may change the arithmetic. */
static const char *const known_arguments[] = {"img_size", "patch_size", "embed_dim", "depth", "num_heads",
	"mlp_ratio", "num_classes", "in_chans", "global_pool", "init_values", "no_embed_class", "class_token",
	"reg_tokens", "pre_norm", "qkv_bias", "qk_norm", "fc_norm", "dynamic_img_size", "drop_rate",
	"pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
	"weight_init", "fix_init"};

/* Those that a B-cos network has besides. */
static const char *const bcos_arguments[] = {"logit_bias"};

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* Other arithmetic behind the same tensors: norms after the branches; GELU by tanh. */
static const char *const others[] = {"_rpn_", "_siglip"};

enum vit_layout vit_layout_of(const char *architecture)
{
	return starts(architecture, "bcos_") ? VIT_BCOS : VIT_TIMM;
}

int vit_known_timm(const char *architecture, const char *path, struct err *err)
{
	size_t count = sizeof(families) / sizeof(families[0]);
	enum vit_layout layout = vit_layout_of(architecture);
	char list[1024] = "";

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strstr(architecture, others[i]))
			return err_set(err, "%s: architecture \"%s\" is not supported", path, architecture);
	for (size_t i = 0; i < count; i++)
		if (starts(architecture, families[i].name))
			return 0;
	for (size_t i = 0; i < count; i++)
		if (vit_layout_of(families[i].name) == layout &&
			(!i || strcmp(families[i].name, families[i - 1].name)))
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s*", *list ? ", " : "",
				families[i].name);
	return err_set(err, "%s: architecture \"%s\" is not supported: expected one of %s%s", path,
		architecture, list, layout == VIT_TIMM ? ", bcos_simple_vit_*, bcos_vitc_*" : "");
}

/* The row for the width of the tensors, or the first of that name. */
static const struct family *find_family(const struct vit_config *c)
{
	const struct family *first = NULL;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (starts(c->architecture, families[i].name)) {
			if (families[i].width == c->width)
				return &families[i];
			first = first ? first : &families[i];
		}
	return first;
}

static int read_input_size(
	struct vit_config *c, const json_t *cfg, const json_t *args, const char *path, struct err *err)
{
	const json_t *size = json_object_get(cfg, "input_size"), *img = json_object_get(args, "img_size");
	json_int_t h = json_integer_value(json_array_get(size, 1)),
		   w = json_integer_value(json_array_get(size, 2));

	if (json_array_size(size) != 3 || h < 1 || w < 1 || h > 8192 || w > 8192)
		return err_set(
			err, "%s: input_size: expected [%d, height, width], at most 8192", path, c->channels);
	if (json_integer_value(json_array_get(size, 0)) != c->channels)
		return err_set(
			err, "%s: input_size: expected %d channels as the tensors say", path, c->channels);
	if (json_is_array(img)
			? json_array_size(img) != 2 || json_integer_value(json_array_get(img, 0)) != h ||
				  json_integer_value(json_array_get(img, 1)) != w
			: img && (json_integer_value(img) != h || h != w))
		return err_set(err, "%s: input_size %lld x %lld disagrees with model_args.img_size", path,
			(long long)h, (long long)w);
	c->image_h = (int)h;
	c->image_w = (int)w;
	return 0;
}

static int read_preprocessing(struct vit_config *c, const json_t *cfg, const char *path, struct err *err)
{
	const char *interpolation = json_string_value(json_object_get(cfg, "interpolation"));
	const char *crop_mode = json_string_value(json_object_get(cfg, "crop_mode"));
	const json_t *pct = json_object_get(cfg, "crop_pct");

	c->squash = crop_mode && !strcmp(crop_mode, "squash");
	if (crop_mode && strcmp(crop_mode, "center") && !c->squash)
		return err_set(
			err, "%s: crop_mode: expected \"center\" or \"squash\", got \"%s\"", path, crop_mode);
	if (resize_filter_parse(&c->interpolation, interpolation ? interpolation : "", err))
		return err_prefix(err, "%s: interpolation", path);
	c->crop_pct = json_number_value(pct);
	if (!json_is_number(pct) || !(c->crop_pct > 0.1 && c->crop_pct <= 1))
		return err_set(err, "%s: crop_pct: expected a number in (0.1, 1]", path);
	return vit_read_normalisation(c, cfg, "mean", "std", path, err);
}

static int check_arguments(const json_t *args, bool bcos, const char *path, struct err *err)
{
	const char *key;
	json_t *value;

	if (args && !json_is_object(args))
		return err_set(err, "%s: model_args: expected an object", path);
	json_object_foreach((json_t *)(uintptr_t)args, key, value)
	{
		bool known = false;

		for (size_t i = 0; i < sizeof(known_arguments) / sizeof(known_arguments[0]); i++)
			known |= !strcmp(key, known_arguments[i]);
		for (size_t i = 0; bcos && i < sizeof(bcos_arguments) / sizeof(bcos_arguments[0]); i++)
			known |= !strcmp(key, bcos_arguments[i]);
		if (!known)
			return err_set(err, "%s: model_args.%s is not supported", path, key);
	}
	return 0;
}

/* How the tokens are pooled; timm normalises what is classified (fc_norm) where the patches are averaged,
 * unless told otherwise. */
static int read_pool(
	struct vit_config *c, const json_t *root, const json_t *args, const char *path, struct err *err)
{
	const json_t *pool = json_object_get(args, "global_pool"),
		     *fc_norm = json_object_get(args, "fc_norm");

	if (!pool)
		pool = json_object_get(root, "global_pool");
	const char *name = pool ? json_string_value(pool) : c->bcos ? "avg" : "token";
	if (!name || (strcmp(name, "token") && strcmp(name, "avg")))
		return err_set(err, "%s: global_pool: only \"token\" and \"avg\" are supported", path);
	c->pool = strcmp(name, "avg") ? VIT_POOL_TOKEN : VIT_POOL_AVG;
	bool expected = json_is_boolean(fc_norm) ? json_is_true(fc_norm) : c->pool == VIT_POOL_AVG;
	if (expected != c->fc_norm && (json_is_boolean(fc_norm) || !strstr(c->architecture, "_gap_")))
		return err_set(err, "%s: global_pool is \"%s\", but tensor fc_norm.weight is %s", path, name,
			c->fc_norm ? "there" : "missing");
	return 0;
}

/* Where the arguments speak of what the tensors show. */
static int check_tensors(
	const struct vit_config *c, const json_t *root, const json_t *args, const char *path, struct err *err)
{
	/* a missing head is another's matter */
	return (c->classes && vit_check_integer(root, "num_classes", c->classes, path, err)) ||
	       vit_check_integer(root, "num_features", c->width, path, err) ||
	       vit_check_integer(args, "embed_dim", c->width, path, err) ||
	       vit_check_integer(args, "depth", c->depth, path, err) ||
	       vit_check_integer(args, "patch_size", c->stem_depth ? 1 : c->patch, path, err) ||
	       (c->classes && vit_check_integer(args, "num_classes", c->classes, path, err)) ||
	       vit_check_integer(args, "reg_tokens", c->registers, path, err) ||
	       vit_check_switch(args, "class_token", c->class_token, path, err) ||
	       vit_check_switch(args, "qkv_bias", c->qkv_bias, path, err) ||
	       vit_check_switch(args, "pre_norm", c->norm_pre, path, err) ||
	       vit_check_switch(args, "qk_norm", c->qk_norm, path, err);
}

int vit_read_timm(struct vit_config *c, const json_t *root, const char *path, struct err *err)
{
	const json_t *cfg = json_object_get(root, "pretrained_cfg"),
		     *args = json_object_get(root, "model_args");
	const json_t *heads = json_object_get(args, "num_heads");
	const struct family *f = find_family(c);
	const struct trait *trait = &usual;

	if (!cfg)
		cfg = root; /* as older files of timm have it */
	if (check_arguments(args, c->bcos, path, err) || read_pool(c, root, args, path, err))
		return -1;
	if (!heads && c->width != f->width)
		return err_set(err, "%s: %s has width %d, but the tensors say %d; give model_args.num_heads",
			path, c->architecture, f->width, c->width);
	if (heads && (json_integer_value(heads) < 1 || json_integer_value(heads) > c->width))
		return err_set(
			err, "%s: model_args.num_heads: expected an integer from 1 to %d", path, c->width);
	c->heads = heads ? (int)json_integer_value(heads) : f->heads;
	for (size_t i = 0; trait == &usual && i < sizeof(traits) / sizeof(traits[0]); i++)
		if (strstr(c->architecture, traits[i].part))
			trait = &traits[i];
	c->eps = trait->eps;
	if (c->activation != VIT_SWIGLU)
		c->activation = trait->activation;
	if (check_tensors(c, root, args, path, err))
		return -1;
	if (read_input_size(c, cfg, args, path, err) || read_preprocessing(c, cfg, path, err))
		return -1;
	return c->bcos ? vit_read_bcos(c, args, path, err) : 0;
}

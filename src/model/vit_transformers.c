/* config.json and preprocessor_config.json as transformers writes them. */
#include "model/vit_config_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const types[] = {"vit", "deit", "dinov2", "dinov2_with_registers"};

int vit_known_transformers(const char *type, const char *path, struct err *err)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i]))
			return 0;
	return err_set(err,
		"%s: model_type \"%s\" is not supported: expected vit, deit, dinov2 or "
		"dinov2_with_registers",
		path, type);
}

static int read_integer(
	int *out, const json_t *object, const char *key, int most, const char *path, struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > most)
		return err_set(err, "%s: %s: expected an integer from 1 to %d", path, key, most);
	*out = (int)json_integer_value(v);
	return 0;
}

static int read_activation(struct vit_config *c, const json_t *root, const char *path, struct err *err)
{
	const char *act = json_string_value(json_object_get(root, "hidden_act"));
	bool swiglu = json_is_true(json_object_get(root, "use_swiglu_ffn"));

	if (swiglu != (c->activation == VIT_SWIGLU))
		return err_set(
			err, "%s: use_swiglu_ffn disagrees with the shape of tensor fc1 or weights_in", path);
	if (swiglu)
		return 0;
	if (!act || (strcmp(act, "gelu") && strcmp(act, "quick_gelu")))
		return err_set(err, "%s: hidden_act: expected \"gelu\" or \"quick_gelu\", got \"%s\"", path,
			act ? act : "");
	c->activation = *act == 'g' ? VIT_GELU : VIT_QUICK_GELU;
	return 0;
}

static int read_network(struct vit_config *c, const json_t *root, const char *path, struct err *err)
{
	const json_t *eps = json_object_get(root, "layer_norm_eps");
	const json_t *registers = json_object_get(root, "num_register_tokens");

	c->eps = (float)json_number_value(eps);
	if (!json_is_number(eps) || !(c->eps >= 0) || c->eps > 1)
		return err_set(err, "%s: layer_norm_eps: expected a number from 0 to 1", path);
	if (read_activation(c, root, path, err) ||
		read_integer(&c->heads, root, "num_attention_heads", c->width, path, err) ||
		read_integer(&c->image_h, root, "image_size", 8192, path, err))
		return -1;
	c->image_w = c->image_h;
	if (registers && vit_check_integer(root, "num_register_tokens", c->registers, path, err))
		return -1;
	return vit_check_integer(root, "hidden_size", c->width, path, err) ||
			       vit_check_integer(root, "num_hidden_layers", c->depth, path, err) ||
			       vit_check_integer(root, "patch_size", c->patch, path, err) ||
			       vit_check_integer(root, "num_channels", c->channels, path, err)
		       ? -1
		       : 0;
}

/* What prepares the pictures decides what one number means as a size, and whether there is a crop. */
static const struct processor {
	const char *name; /* before ImageProcessor or FeatureExtractor */
	bool squashes;    /* both sides to `size`; else the short one */
	bool crops;       /* unless do_center_crop says otherwise */
} processors[] = {{"ViT", true, false}, {"DeiT", true, true}, {"Bit", false, true}, {"CLIP", false, true}};

static const struct processor *find_processor(const json_t *prep, const char *path, struct err *err)
{
	const char *type = json_string_value(json_object_get(prep, "image_processor_type"));

	if (!type)
		type = json_string_value(json_object_get(prep, "feature_extractor_type"));
	for (size_t i = 0; type && i < sizeof(processors) / sizeof(processors[0]); i++) {
		size_t n = strlen(processors[i].name);

		if (!strncmp(type, processors[i].name, n) &&
			(!strncmp(type + n, "ImageProcessor", 14) || !strcmp(type + n, "FeatureExtractor")))
			return &processors[i];
	}
	err_set(err, "%s: image_processor_type: expected that of ViT, DeiT, Bit or CLIP, got \"%s\"", path,
		type ? type : "");
	return NULL;
}

/* {"height": h, "width": w}, {"shortest_edge": s} or a number, as (height, width). */
static int read_size(
	int out[2], const json_t *prep, const char *key, bool edge, const char *path, struct err *err)
{
	const json_t *size = json_object_get(prep, key), *h = json_object_get(size, "height"),
		     *w = json_object_get(size, "width");

	if (json_is_integer(size))
		h = w = size;
	else if (edge && !h && !w)
		h = w = json_object_get(size, "shortest_edge");
	if (!json_is_integer(h) || !json_is_integer(w) || json_integer_value(h) < 1 ||
		json_integer_value(w) < 1 || json_integer_value(h) > 8192 || json_integer_value(w) > 8192)
		return err_set(err, "%s: %s: expected %s or a number, at most 8192", path, key,
			edge ? "shortest_edge" : "height and width");
	out[0] = (int)json_integer_value(h);
	out[1] = (int)json_integer_value(w);
	return 0;
}

/* The size that pictures have for the network, and how they get there. */
static int read_geometry(struct vit_config *c, const json_t *prep, const char *path, struct err *err)
{
	const struct processor *p = find_processor(prep, path, err);
	const json_t *flag = json_object_get(prep, "do_center_crop");
	int size[2], crop[2];

	if (!p || read_size(size, prep, "size", !p->squashes, path, err))
		return -1;
	bool crops = json_is_boolean(flag) ? json_is_true(flag) : p->crops;
	if (crops && !p->crops)
		return err_set(err, "%s: do_center_crop: %s does not crop", path, p->name);
	if (!crops && !p->squashes)
		return err_set(err, "%s: do_center_crop: expected true", path);
	if (crops && read_size(crop, prep, "crop_size", true, path, err))
		return -1;
	c->squash = p->squashes;
	c->input_h = crops ? crop[0] : size[0];
	c->input_w = crops ? crop[1] : size[1];
	c->crop_pct = (double)c->input_h / size[0];
	if (crops && (crop[0] != crop[1] || size[0] != size[1] || crop[0] > size[0]))
		return err_set(err, "%s: crop_size: expected a square not larger than size", path);
	return 0;
}

/* Resized, divided by 255, normalised: in that order, and all of it. */
static int check_steps(const json_t *prep, const char *path, struct err *err)
{
	static const char *const steps[] = {"do_resize", "do_rescale", "do_normalize"};
	const json_t *factor = json_object_get(prep, "rescale_factor");

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (json_is_false(json_object_get(prep, steps[i])))
			return err_set(err, "%s: %s: expected true", path, steps[i]);
	if (factor && fabs(json_number_value(factor) * 255 - 1) > 1e-6)
		return err_set(err, "%s: rescale_factor: expected 1/255", path);
	return 0;
}

static int read_preprocessing(struct vit_config *c, const char *dir, struct err *err)
{
	char path[4096];
	const struct {
		int code;
		enum resize_filter filter;
	} filters[] = {{2, RESIZE_BILINEAR}, {3, RESIZE_BICUBIC}};

	snprintf(path, sizeof(path), "%s/preprocessor_config.json", dir);
	json_t *prep = json_read_file(path, err);
	if (!prep)
		return -1;
	json_int_t resample = json_integer_value(json_object_get(prep, "resample"));
	int rc = check_steps(prep, path, err) || read_geometry(c, prep, path, err) ||
		 vit_read_normalisation(c, prep, "image_mean", "image_std", path, err);
	bool known = false;
	for (size_t i = 0; i < 2; i++)
		if (filters[i].code == resample) {
			c->interpolation = filters[i].filter;
			known = true;
		}
	if (!rc && !known)
		rc = err_set(err, "%s: resample: expected 2 (bilinear) or 3 (bicubic)", path);
	json_decref(prep);
	return rc ? -1 : 0;
}

int vit_read_transformers(struct vit_config *c, const json_t *root, const char *dir, bool asked,
	const char *path, struct err *err)
{
	if (!strncmp(c->architecture, "dinov2", 6))
		c->pool = VIT_POOL_BOTH;
	else
		c->pool = VIT_POOL_TOKEN;
	c->pos_plain = strcmp(c->architecture, "dinov2_with_registers") != 0;
	if (read_network(c, root, path, err) || read_preprocessing(c, dir, err))
		return -1;
	/* as transformers itself, which resamples the positions of DINOv2 alone unasked */
	if (c->pool != VIT_POOL_BOTH && !asked && (c->input_h != c->image_h || c->input_w != c->image_w))
		return err_set(err,
			"%s: image_size is %d, but preprocessor_config.json makes %d x %d: give "
			"model.input_size",
			path, c->image_h, c->input_h, c->input_w);
	return 0;
}

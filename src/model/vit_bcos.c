/* What the tensors and the config.json of a B-cos ViT (B-cos v2) say that those of others do not. */
#include "model/vit_config_parts.h"
#include "model/vit_names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLOURS = 6 };

/* The stem, if there is one: each convolution takes what the one before gives. Returns the pixels, along a
 * side, that it makes one of; -1 on error. */
static int infer_stem(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	char name[64], full[VIT_NAME];
	int shrinks = 1, before = c->channels;

	for (int l = 0;; l++) {
		snprintf(name, sizeof(name), "stem.%d.conv.weight", l);
		if (!vit_find(c, st, name))
			return shrinks;
		int out = vit_dim(c, st, name, 0), in = vit_dim(c, st, name, 1);
		if (l == VIT_STEM || out < 1 || in != before)
			return err_set(err,
				"%s: tensor %s: expected a convolution of %d channels, one of %d at most",
				st->path, vit_name(full, c, st, name), before, VIT_STEM);
		shrinks *= out > in ? 2 : 1; /* where channels grow, the picture shrinks */
		c->stem[c->stem_depth++] = before = out;
	}
}

int vit_infer_bcos(struct vit_config *c, const struct safetensors *st, struct err *err)
{
	int inputs = vit_dim(c, st, "patch_embed.proj.weight", 1), side;
	bool expected = strstr(c->architecture, "_vitc_") != NULL;
	char name[VIT_NAME];

	static const char *const ends[] = {"fc_norm.weight", "head.weight"}; /* others may lack them */
	for (int i = 0; i < 2; i++)
		if (!vit_find(c, st, ends[i]))
			return err_set(
				err, "%s: tensor %s is missing", st->path, vit_name(name, c, st, ends[i]));
	c->channels = COLOURS;
	c->patch = infer_stem(c, st, err);
	if (c->patch < 0)
		return -1;
	vit_name(name, c, st, "stem.0.conv.weight");
	if (expected != (c->stem_depth > 0))
		return err_set(err, "%s: tensor %s is %s, but the architecture is %s", st->path, name,
			expected ? "missing" : "there", c->architecture);
	vit_name(name, c, st, "patch_embed.proj.weight");
	side = (int)sqrt(inputs / COLOURS);
	if (!c->stem_depth)
		c->patch = side;
	if (!c->stem_depth && COLOURS * side * side != inputs)
		return err_set(err, "%s: tensor %s: %d inputs are not a square of %d channels", st->path,
			name, inputs, COLOURS);
	if (c->width % 4 || c->width < 8)
		return err_set(err, "%s: tensor %s: expected a width that is a multiple of 4, at least 8",
			st->path, name);
	return 0;
}

int vit_read_bcos(struct vit_config *c, const json_t *args, const char *path, struct err *err)
{
	const json_t *bias = json_object_get(args, "logit_bias");

	for (int i = 0; i < 3; i++)
		if (c->mean[i] != 0 || c->std[i] != 1)
			return err_set(err,
				"%s: mean and std: expected 0 and 1: a B-cos network sees colours and 1 - "
				"colours",
				path);
	if (bias && !json_is_number(bias))
		return err_set(err, "%s: model_args.logit_bias: expected a number", path);
	if (!bias && c->classes < 2)
		return err_set(err, "%s: model_args.logit_bias is missing", path);
	c->logit_bias = (float)(bias ? json_number_value(bias) : -log(c->classes - 1));
	if (!isfinite(c->logit_bias))
		return err_set(err, "%s: model_args.logit_bias: expected a finite number", path);
	return 0;
}

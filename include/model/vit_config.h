/*
 * What a Vision Transformer checkpoint is: read from its config.json (timm's layout) and from the names and
 * shapes of its tensors, never guessed silently (methods.md section 1). A family is a row of data in
 * vit_config.c; what no row covers is refused with the tensor or the field that gives it away.
 */
#ifndef MODEL_VIT_CONFIG_H
#define MODEL_VIT_CONFIG_H

#include "base/err.h"
#include "formats/resize.h"
#include "formats/safetensors.h"

#include <stdbool.h>

/* The network. */
struct vit_config {
	char architecture[64]; /* timm's name */
	int channels, image_h, image_w;
	int patch, grid_h, grid_w;
	int prefix; /* tokens before the patches: 1, the class token */
	int tokens; /* prefix + grid_h * grid_w */
	int width, heads, head_dim, depth, hidden, classes;
	bool no_embed_class; /* pos_embed has rows for patches only (DeiT-III) */
	bool layer_scale;    /* ls1.gamma, ls2.gamma (DeiT-III) */
	float eps;           /* of every LayerNorm */
	/* preprocessing */
	double crop_pct;
	enum resize_filter interpolation;
	float mean[3], std[3];
};

/* Reads DIR/config.json and infers the rest from the tensors. */
int vit_config_read(struct vit_config *c, const char *dir, const struct safetensors *st, struct err *err);

/* The same without a config.json: shapes from the tensors; heads, eps and input size given; no preprocessing
 * (mean 0, std 1). For weights that were recorded beside golden tensors. */
int vit_config_infer(struct vit_config *c, int heads, float eps, int image_h, int image_w,
	const struct safetensors *st, struct err *err);

/* Everything that was read, as lines `key: value`, into buf (at least VIT_CONFIG_TEXT bytes); returns buf. It
 * is part of the identity of a run, as the weights are. */
enum { VIT_CONFIG_TEXT = 1024 };
char *vit_config_text(char *buf, const struct vit_config *c);

#endif

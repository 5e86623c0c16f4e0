/*
 * What a Vision Transformer checkpoint is: read from its config.json (of timm or transformers) and from the
 * names and shapes of its tensors, never guessed silently (methods.md section 1). A family is a row of data
 * in vit_timm.c or vit_transformers.c; what no row covers is refused with the tensor or the field that gives
 * it away.
 */
#ifndef MODEL_VIT_CONFIG_H
#define MODEL_VIT_CONFIG_H

#include "base/err.h"
#include "formats/resize.h"
#include "formats/safetensors.h"

#include <stdbool.h>

/* What the head classifies: the class token (the distillation token too, where there is one), the mean of the
 * patch tokens, or both beside each other. */
enum vit_pool { VIT_POOL_TOKEN, VIT_POOL_AVG, VIT_POOL_BOTH };

/* Of the MLP; VIT_SWIGLU: fc1 gives a gate and a value, y = silu(gate) value. */
enum vit_activation { VIT_GELU, VIT_QUICK_GELU, VIT_SWIGLU, VIT_IDENTITY };

/* Who wrote the files: names of tensors and of settings differ. VIT_BCOS: the tensors of B-cos v2, with a
 * config.json in timm's manner. */
enum vit_layout { VIT_TIMM, VIT_TRANSFORMERS, VIT_BCOS };

enum { VIT_STEM = 8 }; /* most convolutions of a stem */

/* What an external head takes. Its width tells one vector from two; what else there is to choose: the class
 * token or, if there is none or VIT_HEAD_AVG says so, the mean patch; both one after the other, or number by
 * number as DINO's own evaluation interleaves them. */
enum vit_head_input { VIT_HEAD_AUTO, VIT_HEAD_AVG, VIT_HEAD_INTERLEAVED };

/* The network. */
struct vit_config {
	char architecture[64]; /* timm's name, or the model_type of transformers */
	enum vit_layout layout;
	char root[32]; /* of the tensor names of transformers: "vit.", "dinov2.", ...; of B-cos "0." */
	/* B-cos v2: every linear layer but qkv scales its outputs by |cos| (kernels/bcos.h), norms have no
	 * bias, positions are sines and cosines, pictures have six channels: the colours and 1 - the colours
	 */
	bool bcos;
	float logit_bias;               /* added to every logit of a B-cos network */
	int stem[VIT_STEM], stem_depth; /* channels of the convolutions before the patches; 0: none */
	int channels, image_h, image_w;
	int patch, grid_h, grid_w; /* patch: pixels a token, those that a stem shrinks included */
	bool class_token, dist_token;
	bool dist_head; /* the mean of two heads, of the class and the distillation token */
	int registers;
	int prefix; /* tokens before the patches: class, distillation, registers */
	int tokens; /* prefix + grid_h * grid_w */
	/* the positional table: its grid, and of how many prefix tokens it has rows */
	int pos_h, pos_w, pos_prefix;
	bool pos_plain; /* resampled without antialiasing, as transformers does but with registers */
	int width, heads, head_dim, depth, hidden, classes;
	enum vit_activation activation;
	enum vit_pool pool;
	bool qkv_bias, proj_bias, mlp_bias;
	bool norm_pre;    /* a norm before the blocks (CLIP) */
	bool final_norm;  /* a norm of all tokens after the blocks */
	bool fc_norm;     /* a norm of what is classified */
	bool qk_norm;     /* norms of q and k, per head */
	bool layer_scale; /* ls1.gamma, ls2.gamma */
	enum vit_head_input head_input;
	bool external_head; /* from a file of its own: the network's own one, if any, is not used */
	float eps;          /* of every LayerNorm */
	/* preprocessing */
	double crop_pct;
	int input_h,
		input_w; /* what it makes, where that is not the size of the positional table; 0: that size */
	bool squash;     /* resized to the input size without regard to its shape, not cropped */
	enum resize_filter interpolation;
	float mean[3], std[3];
};

/* What the user asks of a checkpoint. */
struct vit_options {
	int height, width;             /* of the input; 0: the checkpoint's own */
	const char *head;              /* file of an external linear head, or NULL */
	int head_classes, head_inputs; /* its shape */
	enum vit_head_input head_input;
};

/* Inputs of the patch layer: the numbers of a patch, or the channels that the stem gives. */
int vit_patch_inputs(const struct vit_config *c);

/* Reads DIR/config.json and infers the rest from the tensors. o may be NULL. */
int vit_config_read(struct vit_config *c, const char *dir, const struct safetensors *st,
	const struct vit_options *o, struct err *err);

/* The same without a config.json: shapes from the tensors; heads, eps and input size given; no preprocessing
 * (mean 0, std 1). For weights that were recorded beside golden tensors. */
int vit_config_infer(struct vit_config *c, int heads, float eps, int image_h, int image_w,
	const struct safetensors *st, struct err *err);

/* Everything that was read, as lines `key: value`, into buf (at least VIT_CONFIG_TEXT bytes); returns buf. It
 * is part of the identity of a run, as the weights are. */
enum { VIT_CONFIG_TEXT = 2048 };
char *vit_config_text(char *buf, const struct vit_config *c);

const char *vit_pool_name(enum vit_pool pool);
const char *vit_activation_name(enum vit_activation activation);

#endif

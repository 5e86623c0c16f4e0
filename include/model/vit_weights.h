/*
 * The weights of a ViT as float32 matrices under the names of timm, checked against the configuration.
 * F32 tensors are used where the file is mapped; F16 and BF16 are widened once into memory of their own.
 */
#ifndef MODEL_VIT_WEIGHTS_H
#define MODEL_VIT_WEIGHTS_H

#include "formats/safetensors.h"
#include "model/vit_config.h"

/* A linear layer: y = x w^T + b, w (out x in). */
struct vit_linear {
	const float *w, *b;
};

struct vit_block {
	struct vit_linear norm1, qkv, proj, norm2, fc1, fc2; /* norms: w and b of `width` */
	const float *ls1, *ls2;                              /* LayerScale, or NULL */
};

struct vit_weights {
	const float *cls_token, *pos_embed; /* (width), (tokens or patches x width) */
	struct vit_linear patch;            /* (width x channels*patch*patch) */
	struct vit_block *blocks;           /* depth of them */
	struct vit_linear norm, head;
	float *widened; /* owned: what had to be converted or realigned */
	size_t widened_bytes;
};

/* Points the weights at the tensors of st, which must outlive them. Every tensor that the configuration asks
 * for must be there with its shape, and no other: the first that is not is named. */
int vit_weights_init(
	struct vit_weights *w, const struct vit_config *c, const struct safetensors *st, struct err *err);

void vit_weights_release(struct vit_weights *w);

#endif

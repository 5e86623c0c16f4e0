/*
 * The weights of a ViT as float32 matrices under the names of timm, checked against the configuration.
 * F32 tensors are used where the file is mapped; F16 and BF16 are widened once into memory of their own, and
 * the rows of B-cos layers brought to length 1.
 */
#ifndef MODEL_VIT_WEIGHTS_H
#define MODEL_VIT_WEIGHTS_H

#include "formats/safetensors.h"
#include "model/vit_config.h"

#include <stdint.h>

/* A linear layer: y = x w^T + b, w (out x in); b may be NULL. The rows of a B-cos layer have length 1. */
struct vit_linear {
	const float *w, *b;
};

struct vit_block {
	struct vit_linear norm1, qkv, proj, norm2, fc1, fc2; /* norms: w and b of `width` */
	struct vit_linear q_norm, k_norm;                    /* of head_dim; w NULL: none */
	struct vit_linear gate;                              /* of SwiGLU, as fc1 its value */
	const float *ls1, *ls2;                              /* LayerScale, or NULL */
};

/* A convolution of a B-cos stem: (channels x 3 * 3 * channels before, as rows (row, column, channel)), and
 * the weight of the norm that follows. */
struct vit_convolution {
	const float *w, *norm;
};

enum { VIT_MEAN = -1, VIT_PARTS = 2 };

/* One of the vectors that the head takes: a token, or the mean of the patch tokens. */
struct vit_part {
	int token;      /* its row, or VIT_MEAN */
	const float *w; /* (classes x width), rows ldw apart */
	int ldw;
};

/* logits = scale * (sum over parts of part w^T) + b. */
struct vit_head {
	struct vit_part parts[VIT_PARTS];
	int count;
	float scale;
	const float *b; /* (classes) or NULL */
};

struct vit_weights {
	const float *prefix; /* (prefix x width): class, distillation, register tokens */
	const float *pos;    /* (tokens x width), for the grid in use; zeros where a token has no position */
	struct vit_convolution stem[VIT_STEM];
	struct vit_linear patch;                   /* (width x vit_patch_inputs()) */
	struct vit_linear norm_pre, norm, fc_norm; /* w NULL: none */
	struct vit_block *blocks;                  /* depth of them */
	struct vit_head head;
	float *own; /* owned: what had to be converted, joined, resampled or realigned */
	size_t own_bytes;
};

/* Points the weights at the tensors of st, which must outlive them. Every tensor that the configuration asks
 * for must be there with its shape, and no other: the first that is not is named. head: the file of an
 * external head, or NULL; the network's own one is then ignored. */
int vit_weights_init(struct vit_weights *w, const struct vit_config *c, const struct safetensors *st,
	const struct safetensors *head, struct err *err);

/* The matrix (classes x inputs) and, where there is one, the bias (classes) of an external head: the only
 * tensors of its file, whatever their names. */
int vit_head_find(
	const struct tensor **w, const struct tensor **b, const struct safetensors *head, struct err *err);

/* Brings the rows of w (rows x width) to length 1, as those of B-cos layers are. */
void vit_normalise_rows(float *w, int64_t rows, int64_t width);

void vit_weights_release(struct vit_weights *w);

#endif

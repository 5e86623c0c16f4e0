/*
 * The convolutional stem of a B-cos ViT: 3 x 3 B-cos convolutions, each followed by a norm of the picture as
 * a whole (kernels/groupnorm.h) and by nothing that bends; where channels grow, a convolution halves the
 * picture.
 *
 * An image is one product a layer, whatever the batch: pictures are pixels x channels, channels fastest, and
 * the convolution is the linear layer of their neighbourhoods (pixels x 9 channels).
 */
#ifndef MODEL_STEM_H
#define MODEL_STEM_H

#include "base/arena.h"
#include "model/vit_config.h"
#include "model/vit_mode.h"
#include "model/vit_weights.h"

/* Sizes of a convolution: of the picture that enters and of the one that leaves. */
struct stem_shape {
	int in_h, in_w, in, h, w, out, stride;
};

struct stem_shape stem_shape(const struct vit_config *c, int layer);

/* What a layer keeps of n images; sizes of the picture that leaves. */
struct stem_kept {
	float *cosine, *rstd; /* (n, pixels, out), (n) */
	float *xhat, *norm;   /* (n, pixels, out), (n, pixels): VIT_GRADIENT */
};

struct stem_work {
	struct stem_kept layers[VIT_STEM];
	float *image;                /* (n, pixels, channels): VIT_GRADIENT */
	float *a, *b;                /* pictures of one image, as large as the largest */
	float *columns, *neighbours; /* neighbourhoods of one image; the second: VIT_GRADIENT */
	float *norms;                /* (pixels) of one image */
	float rstd;                  /* of a norm of which nothing is kept */
};

/* Carves the memory for n images (nothing where the network has no stem). */
void stem_carve(struct stem_work *s, struct arena *a, const struct vit_config *c, enum vit_mode mode, int n);

/* out (grid, channels of the last convolution) of x (channels, H, W), which is image i of the pass. */
void stem_forward(struct stem_work *s, float *out, const float *x, const struct vit_config *c,
	const struct vit_weights *weights, int i, enum vit_mode mode);

/* dx (channels, H, W) = adjoint of the pass of image i applied to dout; frozen or true. dout is overwritten.
 */
void stem_backward(struct stem_work *s, float *dx, float *dout, const struct vit_config *c,
	const struct vit_weights *weights, int i, bool frozen);

/* Multiply-adds of an image, forward or backward. */
double stem_macs(const struct vit_config *c);

#endif

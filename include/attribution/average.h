/* Weighted sums of true gradients over images made from one: what integrated gradients and SmoothGrad share.
 */
#ifndef ATTRIBUTION_AVERAGE_H
#define ATTRIBUTION_AVERAGE_H

#include "attribution/method.h"

/* The images, and what each one's gradient counts. */
struct average_images {
	int count;
	/* Writes image k (channels, H, W). */
	void (*make)(void *ctx, float *image, int k);
	const double *weight; /* (count) */
	void *ctx;
};

struct average {
	float *images, *dx;        /* (wide, channels, H, W); wide: the larger of batch and targets */
	float *logits, *cotangent; /* (wide, classes) */
	double *sum;               /* (targets, channels, H, W) */
};

struct average average_carve(struct arena *a, const struct vit_config *c, int batch, int targets);

/* sum (count, channels, H, W) = sum over images of weight * gradient of each target's logit. -1 when stopped,
 * or where a gradient is not finite. */
int average_gradients(struct average *a, const struct method_input *in, const struct average_images *images,
	struct err *err);

#endif

/*
 * DAVE (methods.md section 3): the effective transformation averaged over warps and noise, times the image.
 * The pieces are public so that dave-replay can feed them recorded samples.
 */
#ifndef ATTRIBUTION_DAVE_H
#define ATTRIBUTION_DAVE_H

#include "attribution/method.h"
#include "kernels/warp.h"

enum dave_aggregate { DAVE_MAD, DAVE_MEAN };

struct dave_params {
	int samples;        /* K */
	double alpha;       /* noise level of the last sample */
	int aggregate;      /* enum dave_aggregate */
	double rotation;    /* degrees, either way */
	double translation; /* fraction of width and height, either way */
	double scaling;     /* 1 +- this */
	int flip;
	int postprocess;
};

/* One sample: x_k = (1 - t) warp(x) + sqrt(1 - (1 - t)^2) noise. */
struct dave_sample {
	double t;
	struct warp warp;
};

/* Scratch of a block of samples. */
struct dave_scratch {
	struct dave_sample *samples; /* (batch) */
	float *mixed;                /* (wide, channels, H, W): x_k, then gradients; wide: the larger of batch
					and targets */
	float *noise;                /* (batch, channels, H, W) */
	float *logits;               /* (batch, classes) */
	float *cotangent;            /* (wide, classes) */
	float *contributions;        /* (dave_together(), samples, channels, H, W): c_k */
	float *aggregated;           /* (channels, H, W) */
	float *aggregation;          /* scratch of aggregate_mad() */
};

struct dave_scratch dave_carve(
	struct arena *a, const struct vit_config *c, int samples, int batch, int targets);

/* Targets that share forward passes: all, as far as 1 GB holds their samples, which aggregation needs
 * together. */
int dave_together(const struct vit_config *c, int samples, int targets);

/* Sample k of the schedule, drawn from streams keyed by (seed, image, k). */
struct dave_sample dave_draw(
	const struct dave_params *p, int k, uint64_t seed, uint32_t image, const struct vit_config *c);

/* x_k (channels, H, W) = (1 - t) warp(x) + sqrt(1 - (1 - t)^2) noise. */
void dave_mix(float *xk, const float *x, const float *noise, const struct dave_sample *s,
	const struct vit_config *c);

/* g (n, channels, H, W), n <= batch: g_k = (1 - t) warp^T( W_eff(x_k)^T e_y ) of samples s[0..n-1] with
 * the noise in scratch->noise; of each of `per` targets y, from the first-th on, `stride` floats apart; n *
 * per at most the larger of batch and count. Leaves the logits of the x_k in scratch->logits. */
void dave_block(float *g, size_t stride, struct dave_scratch *scratch, const struct method_input *in,
	const struct dave_sample *s, int n, int first, int per);

extern const struct method_ops method_dave, method_effective_equivariant, method_effective_smooth;

#endif

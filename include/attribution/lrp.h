/*
 * Layer-wise relevance propagation: what the methods of that kind share (methods.md section 4).
 *
 * They walk back through a network whose forward pass over one image (VIT_GRADIENT) is in the workspace. What
 * it did not keep of a block is made again from what it kept, so the memory is that of one block. Rules of
 * linear layers take W in blocks of rows, of which they make the versions that they need.
 *
 * Networks with a GELU alone: see lrp_check().
 */
#ifndef ATTRIBUTION_LRP_H
#define ATTRIBUTION_LRP_H

#include "attribution/method.h"

struct lrp {
	const struct vit *vit;
	const struct vit_work *work;
	/* of the block of lrp_recall(), rows = vit_queries() of it */
	float *normed1; /* (tokens, width): what the qkv layer takes */
	float *mixed;   /* (rows, width): what the projection takes */
	float *normed2; /* (rows, width): what fc1 takes */
	float *hidden;  /* (rows, hidden): what fc2 takes */
	/* of lrp_recall_head() */
	float *tokens; /* (rows of the last block, width): what is pooled */
	float *pooled; /* (VIT_PARTS, width): what the head takes */
	/* of the rules, for layers of up to `widest` inputs */
	float *plus, *minus, *up, *down; /* (tokens, widest) */
	float *w_plus, *w_minus;         /* (LRP_BLOCK, widest) */
	float *z, *size;                 /* (tokens, LRP_BLOCK) */
	float *bias;                     /* (LRP_BLOCK) */
};

enum { LRP_BLOCK = 256 }; /* outputs of a layer at a time */

/* Carves the memory (run twice: see arena.h). */
void lrp_carve(struct lrp *s, struct arena *a, const struct vit_config *c);

/* Can the rules be put on such a network? Not on B-cos layers and SwiGLU, which are no linear layers with an
 * activation between them. method: for the message. */
int lrp_check(const struct vit_config *c, const char *method, struct err *err);

/* Makes again what the layers of a block took in the pass that the workspace holds. */
void lrp_recall(struct lrp *s, int block);

/* The same of the head: tokens and pooled. */
void lrp_recall_head(struct lrp *s);

/*
 * The rule of positive contributions, biases ignored (Chefer et al.; alpha = 1). Of the layer x W^T, x (rows,
 * in), W (out, in):
 *   S = r_out / (x+ W+^T + x- W-^T),   r_in (rows, in) = x+ * (S W+) + x- * (S W-),   r_out (rows, out)
 * What an output without any positive contribution has is lost; else the sum of r_in is that of r_out.
 */
void lrp_positive(struct lrp *s, float *r_in, const float *x, const float *w, const float *r_out, int rows,
	int out, int in);

/*
 * The generalised gamma rule (zennit.rules.Gamma), in cotangents g = R / x. The contributions to an output
 * z_j = sum_i w_ji x_i + b_j that have its sign count 1 + gamma times, and relevance is shared out in
 * proportion. With size_j = sum_i |w_ji x_i| + |b_j|, the contributions of z_j's sign sum to (z_j + sign(z_j)
 * size_j) / 2, so that s_j = g_out_j |z_j| / ((1 + gamma / 2) |z_j| + gamma / 2 size_j), g_in_i = (1 + gamma
 * / 2) sum_j s_j w_ji + gamma / 2 sign(x_i) sum_j s_j sign(z_j) |w_ji|. Nothing is subtracted in the divisor:
 * it needs no epsilon, and is 0 for z_j = size_j = 0 alone (which gives 0). The bias keeps its share: with
 * it, relevance is conserved. gamma = 0 is the gradient.
 */
void lrp_gamma(struct lrp *s, float *g_in, const float *x, const struct vit_linear *l, const float *g_out,
	float gamma, int rows, int out, int in);

/* The two rules of the head, one linear layer of all parts beside each other, for the logit of a class: r
 * (parts, width) = relevances that sum to 1; g (parts, width) = cotangents, of which times `pooled`, with the
 * bias's share, sum to the logit. */
void lrp_head_positive(const struct lrp *s, float *r, int target);
void lrp_head_gamma(const struct lrp *s, float *g, int target, float gamma);

#endif

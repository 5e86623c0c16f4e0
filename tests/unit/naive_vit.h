/* The Vision Transformer in double precision, written for reading: the twin of src/model/vit.c, for the
 * tests. */
#ifndef UNIT_NAIVE_VIT_H
#define UNIT_NAIVE_VIT_H

#include <stdbool.h>

#include "model/vit.h"

/* The operators of a forward pass; frozen: use them, else: record them. */
struct naive {
	const struct vit *vit;
	bool frozen;
	double *rstd;              /* (2 depth, tokens), then one more */
	double *prob;              /* (depth, heads, tokens, tokens) */
	double *gate;              /* (depth, tokens, hidden) */
	double *z, *n, *qkv, *hid; /* tokens, normalised tokens, qkv, hidden units */
};

void naive_init(struct naive *p, const struct vit *vit);
void naive_release(struct naive *p);

/* logits (classes) of one image x (3, H, W). */
void naive_forward(const struct naive *p, double *logits, const double *x);

#endif

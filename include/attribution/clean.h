/*
 * The passes over the image itself, which the methods of a run share: one forward pass that keeps the most
 * that any of them asks for, and one backward pass per set of rules and class. A method that has used the
 * workspace for other images costs the next one a forward pass, never a different result.
 */
#ifndef ATTRIBUTION_CLEAN_H
#define ATTRIBUTION_CLEAN_H

#include "base/arena.h"
#include "model/vit.h"

#include <stdint.h>

enum { CLEAN_GRADIENTS = 3 };

struct clean {
	const struct vit *vit;
	struct vit_work *work; /* its forward passes keep what work->mode says */
	const float *x;        /* (channels, H, W) */
	float *logits;         /* (classes) */
	float *cotangent;      /* (classes) */
	uint64_t pass;         /* which of the workspace's passes was that over x; 0: none yet */
	struct {
		const struct vit_rules *rules; /* NULL: free */
		int target;
		float *dx; /* (channels, H, W) */
	} gradients[CLEAN_GRADIENTS];
};

/* Carves the memory (run twice: see arena.h). */
void clean_carve(struct clean *c, struct arena *a, const struct vit_config *config);

/* From now on about x, which must stay; vit and work likewise. */
void clean_begin(struct clean *c, const struct vit *vit, struct vit_work *work, const float *x);

/* Makes sure that the workspace holds what the pass over x kept; the logits (classes). */
const float *clean_forward(struct clean *c);

/* The logits; no pass is run again for them. */
const float *clean_logits(struct clean *c);

/* dx (channels, H, W) of the logit of a class by the given rules. Valid until x changes, for up to
 * CLEAN_GRADIENTS sets of rules of one class. account: NULL, or receives where the logit comes from. */
const float *clean_gradient(
	struct clean *c, const struct vit_rules *rules, int target, struct vit_account *account);

#endif

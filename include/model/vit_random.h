/*
 * The network with new random weights, layer by layer from the head down (model-parameter randomisation;
 * methods.md section 5): matrices, tokens and positions normal with standard deviation 0.02 as timm
 * initialises them, biases 0, norms 1 and 0; LayerScale stays as trained, since its initial values would
 * close the branches. The rows of B-cos layers are random directions. A function of the seed alone.
 */
#ifndef MODEL_VIT_RANDOM_H
#define MODEL_VIT_RANDOM_H

#include "base/arena.h"
#include "model/vit.h"

#include <stdint.h>

struct vit_random {
	struct vit vit;             /* what vit_random_cascade() made; its files stay with the original */
	struct vit_weights weights; /* all random; point into the arena */
	struct arena arena;
};

/* Draws all weights once; vit must outlive r. */
void vit_random_init(struct vit_random *r, const struct vit *vit, uint64_t seed);
void vit_random_release(struct vit_random *r);

/* Bytes that vit_random_init() would take: those of the weights. */
size_t vit_random_bytes(const struct vit *vit);

/* r->vit becomes the network whose head, final norm and last blocks are random: `part` of `parts` equal parts
 * of the blocks, rounded up; with part = parts the embedding too. */
void vit_random_cascade(struct vit_random *r, const struct vit *vit, int part, int parts);

#endif

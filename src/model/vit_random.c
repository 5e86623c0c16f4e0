#include "model/vit_random.h"

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

enum fill { FILL_NORMAL, FILL_ONES, FILL_ZEROS };

struct maker {
	struct arena *a;
	uint64_t seed;
	uint32_t count; /* of tensors so far: each has a stream of its own */
	bool directions;
};

/* Puts new values in place of *slot (rows x width), where there is something. */
static void renew(struct maker *m, const float **slot, size_t rows, size_t width, enum fill fill)
{
	uint32_t stream = m->count++;

	if (!*slot)
		return;
	float *w = arena_floats(m->a, rows * width);
	if (!w)
		return;
	if (fill == FILL_NORMAL)
		rng_normal(w, rows * width, (struct rng_key){m->seed, stream, 0, RNG_REINIT});
	for (size_t i = 0; i < rows * width; i++)
		w[i] = fill == FILL_NORMAL ? 0.02f * w[i] : fill == FILL_ONES ? 1 : 0;
	*slot = w;
}

static void renew_linear(struct maker *m, struct vit_linear *l, int out, int in)
{
	renew(m, &l->w, (size_t)out, (size_t)in, FILL_NORMAL);
	renew(m, &l->b, 1, (size_t)out, FILL_ZEROS);
}

/* A layer that is one of B-cos units in a B-cos network. */
static void renew_unit(struct maker *m, struct vit_linear *l, int out, int in)
{
	renew_linear(m, l, out, in);
	if (m->directions && m->a->base)
		vit_normalise_rows((float *)(uintptr_t)l->w, out, in);
}

static void renew_norm(struct maker *m, struct vit_linear *l, int width)
{
	renew(m, &l->w, 1, (size_t)width, FILL_ONES);
	renew(m, &l->b, 1, (size_t)width, FILL_ZEROS);
}

static void renew_block(struct maker *m, struct vit_block *b, const struct vit_config *c)
{
	int d = c->width, h = c->hidden;

	renew_norm(m, &b->norm1, d);
	renew_linear(m, &b->qkv, 3 * d, d);
	renew_norm(m, &b->q_norm, c->head_dim);
	renew_norm(m, &b->k_norm, c->head_dim);
	renew_unit(m, &b->proj, d, d);
	renew_norm(m, &b->norm2, d);
	renew_unit(m, &b->fc1, h, d);
	renew_linear(m, &b->gate, h, d);
	renew_unit(m, &b->fc2, d, h);
}

static void renew_head(struct maker *m, struct vit_head *head, const struct vit_config *c)
{
	int d = c->width;

	for (int k = 0; k < head->count; k++) {
		struct vit_linear l = {head->parts[k].w, NULL};

		if (k && head->parts[0].ldw > d) { /* a part of the same matrix */
			head->parts[k].w = head->parts[0].w ? head->parts[0].w + k * d : NULL;
			continue;
		}
		renew_unit(m, &l, c->classes, head->parts[k].ldw);
		head->parts[k].w = l.w;
	}
	if (!c->bcos) /* there the bias is a constant of the architecture */
		renew(m, &head->b, 1, (size_t)c->classes, FILL_ZEROS);
}

static void renew_embedding(struct maker *m, struct vit_weights *w, const struct vit_config *c)
{
	int d = c->width, in = c->channels;

	for (int l = 0; l < c->stem_depth; in = c->stem[l++]) {
		struct vit_linear unit = {w->stem[l].w, NULL};

		renew_unit(m, &unit, c->stem[l], 9 * in);
		w->stem[l].w = unit.w;
		renew(m, &w->stem[l].norm, 1, (size_t)c->stem[l], FILL_ONES);
	}
	renew_unit(m, &w->patch, d, vit_patch_inputs(c));
	renew(m, &w->prefix, (size_t)c->prefix, (size_t)d, FILL_NORMAL);
	if (!c->bcos) /* sines and cosines */
		renew(m, &w->pos, (size_t)c->tokens, (size_t)d, FILL_NORMAL);
	renew_norm(m, &w->norm_pre, d);
}

/* Run twice, as all plans of memory are. */
static void draw(struct vit_random *r, const struct vit *vit, uint64_t seed)
{
	const struct vit_config *c = &vit->config;
	struct maker m = {&r->arena, seed, 0, c->bcos};
	struct vit_block *blocks = r->weights.blocks;

	r->weights = vit->weights;
	r->weights.blocks = blocks;
	memcpy(blocks, vit->weights.blocks, (size_t)c->depth * sizeof(*blocks));
	renew_embedding(&m, &r->weights, c);
	for (int l = 0; l < c->depth; l++)
		renew_block(&m, &blocks[l], c);
	renew_norm(&m, &r->weights.norm, c->width);
	renew_norm(&m, &r->weights.fc_norm, c->width);
	renew_head(&m, &r->weights.head, c);
}

size_t vit_random_bytes(const struct vit *vit)
{
	struct vit_random r = {0};

	r.weights.blocks = x_calloc((size_t)vit->config.depth, sizeof(*r.weights.blocks));
	draw(&r, vit, 0);
	free(r.weights.blocks);
	return r.arena.used;
}

void vit_random_init(struct vit_random *r, const struct vit *vit, uint64_t seed)
{
	size_t depth = (size_t)vit->config.depth;

	*r = (struct vit_random){0};
	r->weights.blocks = x_calloc(depth, sizeof(struct vit_block));
	r->vit.weights.blocks = x_calloc(depth, sizeof(struct vit_block));
	draw(r, vit, seed);
	arena_allocate(&r->arena);
	draw(r, vit, seed);
}

void vit_random_release(struct vit_random *r)
{
	free(r->weights.blocks);
	free(r->vit.weights.blocks);
	arena_release(&r->arena);
	*r = (struct vit_random){0};
}

void vit_random_cascade(struct vit_random *r, const struct vit *vit, int part, int parts)
{
	const struct vit_config *c = &vit->config;
	struct vit_block *blocks = r->vit.weights.blocks;
	int random = (c->depth * part + parts - 1) / parts;

	r->vit.config = *c;
	r->vit.weights = part == parts ? r->weights : vit->weights;
	r->vit.weights.norm = r->weights.norm;
	r->vit.weights.fc_norm = r->weights.fc_norm;
	r->vit.weights.head = r->weights.head;
	r->vit.weights.blocks = blocks;
	for (int l = 0; l < c->depth; l++)
		blocks[l] = l >= c->depth - random ? r->weights.blocks[l] : vit->weights.blocks[l];
}

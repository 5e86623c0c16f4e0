#include "model/vit.h"

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int vit_init(struct vit *vit, const struct vit_config *config, struct safetensors *file, struct err *err)
{
	*vit = (struct vit){.config = *config, .file = *file};
	if (vit_weights_init(&vit->weights, &vit->config, &vit->file, err)) {
		*vit = (struct vit){0};
		return -1;
	}
	vit->path = x_strdup(file->path);
	*file = (struct safetensors){0};
	return 0;
}

int vit_load(struct vit *vit, const char *dir, struct err *err)
{
	struct safetensors file;
	struct vit_config config;
	char path[4096];

	*vit = (struct vit){0};
	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	if (safetensors_open(&file, path, err))
		return -1;
	if (vit_config_read(&config, dir, &file, err) || vit_init(vit, &config, &file, err)) {
		safetensors_release(&file);
		return -1;
	}
	return 0;
}

void vit_release(struct vit *vit)
{
	vit_weights_release(&vit->weights);
	safetensors_release(&vit->file);
	free(vit->path);
	*vit = (struct vit){0};
}

int vit_unchanged(const struct vit *vit, struct err *err)
{
	return safetensors_unchanged(&vit->file, err);
}

int vit_queries(const struct vit_config *c, int block)
{
	return block == c->depth - 1 ? 1 : c->tokens;
}

static double patch_macs(const struct vit_config *c)
{
	return (double)(c->tokens - c->prefix) * c->width * c->channels * c->patch * c->patch;
}

double vit_macs_forward(const struct vit_config *c)
{
	double t = c->tokens, d = c->width, sum = patch_macs(c) + d * c->classes;

	for (int l = 0; l < c->depth; l++) {
		double q = vit_queries(c, l);

		sum += (q + 2 * t) * d * d + 2 * q * t * d + q * d * d + 2 * q * d * c->hidden;
	}
	return sum;
}

double vit_macs_backward(const struct vit_config *c, enum vit_mode mode)
{
	double t = c->tokens, d = c->width, sum = patch_macs(c) + d * c->classes;

	for (int l = 0; l < c->depth; l++) {
		double q = vit_queries(c, l), qkv = mode == VIT_GRADIENT ? q + 2 * t : t;

		sum += qkv * d * d + (mode == VIT_GRADIENT ? 4 : 1) * q * t * d + q * d * d +
		       2 * q * d * c->hidden;
	}
	return sum;
}

/* The plan of the workspace: run once to measure, once to carve. */
static void carve(struct vit_work *w, const struct vit_config *c, enum vit_mode mode, int batch)
{
	struct arena *a = &w->arena;
	size_t n = (size_t)batch, rows = n * (size_t)c->tokens, d = (size_t)c->width, h = (size_t)c->hidden;

	for (int l = 0; l < c->depth && mode >= VIT_EFFECTIVE; l++) {
		size_t leaving = n * (size_t)vit_queries(c, l);
		struct vit_kept k = {0};

		k.prob = arena_floats(a, leaving * (size_t)(c->heads * c->tokens));
		k.rstd1 = arena_floats(a, rows);
		k.rstd2 = arena_floats(a, leaving);
		k.slope = arena_floats(a, leaving * h);
		if (mode == VIT_GRADIENT) {
			k.qkv = arena_floats(a, rows * 3 * d);
			k.xhat1 = arena_floats(a, rows * d);
			k.xhat2 = arena_floats(a, leaving * d);
		}
		if (w->blocks)
			w->blocks[l] = k;
	}
	w->rstd = arena_floats(a, n);
	w->xhat = arena_floats(a, n * d);
	w->tokens = arena_floats(a, rows * d);
	w->normed = arena_floats(a, rows * d);
	w->qkv = arena_floats(a, rows * 3 * d);
	w->mixed = arena_floats(a, rows * d);
	w->hidden = arena_floats(a, rows * h);
	w->prob = arena_floats(a, (size_t)c->heads * (size_t)c->tokens * (size_t)c->tokens);
	w->rstd_scratch = arena_floats(a, rows);
	w->patches = arena_floats(a, rows * (size_t)(c->channels * c->patch * c->patch));
	w->classified = arena_floats(a, n * d);
	w->pooled = arena_floats(a, n * d);
}

size_t vit_work_bytes(const struct vit_config *c, enum vit_mode mode, int batch)
{
	struct vit_work w = {0};

	carve(&w, c, mode, batch);
	return w.arena.used;
}

void vit_work_init(struct vit_work *w, const struct vit *vit, enum vit_mode mode, int batch)
{
	*w = (struct vit_work){.mode = mode, .batch = batch};
	carve(w, &vit->config, mode, batch);
	arena_allocate(&w->arena);
	w->blocks = x_calloc((size_t)vit->config.depth, sizeof(*w->blocks));
	carve(w, &vit->config, mode, batch);
}

void vit_work_release(struct vit_work *w)
{
	arena_release(&w->arena);
	free(w->blocks);
	*w = (struct vit_work){0};
}

/* patches (n * grid, channels * patch^2): each patch of x as a row, channel by channel. */
static void gather_patches(float *patches, const float *x, const struct vit_config *c, int n)
{
	size_t p = (size_t)c->patch, width = (size_t)c->image_w;

	for (int i = 0; i < n * c->grid_h * c->grid_w; i++) {
		int image = i / (c->grid_h * c->grid_w), cell = i % (c->grid_h * c->grid_w);

		for (int ch = 0; ch < c->channels; ch++) {
			const float *from = x + (((size_t)(image * c->channels + ch) * (size_t)c->image_h +
							 (size_t)(cell / c->grid_w) * p) *
								width +
							(size_t)(cell % c->grid_w) * p);

			for (size_t r = 0; r < p; r++, patches += p)
				memcpy(patches, from + r * width, p * sizeof(*patches));
		}
	}
}

/* tokens (n, prefix + grid, width) = [class token ; patches w^T + b] + pos_embed. */
static void embed(const struct vit *vit, struct vit_work *w, const float *x, int n)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int grid = c->grid_h * c->grid_w, d = c->width, k = c->channels * c->patch * c->patch;
	const float *patch_pos = p->pos_embed + (c->no_embed_class ? 0 : (size_t)c->prefix * (size_t)d);

	gather_patches(w->patches, x, c, n);
	for (int i = 0; i < n; i++) {
		float *t = w->tokens + (size_t)i * (size_t)(c->tokens * d);

		memcpy(t, p->cls_token, (size_t)d * sizeof(*t));
		if (!c->no_embed_class)
			rows_add(t, p->pos_embed, 1, d);
		t += d * c->prefix;
		memcpy(t, patch_pos, (size_t)(grid * d) * sizeof(*t));
		rows_add(t, p->patch.b, grid, d);
		gemm_nt(t, d, w->patches + (size_t)i * (size_t)(grid * k), k, p->patch.w, k, grid, d, k, 1,
			1);
	}
}

/* t += scale * (x w^T + b): the end of a residual branch. scratch holds rows x out. */
static void add_branch(float *t, const float *x, const struct vit_linear *l, const float *scale,
	float *scratch, int rows, int out, int in)
{
	if (!scale) {
		rows_add(t, l->b, rows, out);
		gemm_nt(t, out, x, in, l->w, in, rows, out, in, 1, 1);
		return;
	}
	rows_fill(scratch, l->b, rows, out);
	gemm_nt(scratch, out, x, in, l->w, in, rows, out, in, 1, 1);
	rows_add_scaled(t, scratch, scale, rows, out);
}

/* q, k and v of all tokens; where one row of an image leaves the block, q of that row alone. */
static void project_qkv(float *qkv, const float *normed, const struct vit_linear *l,
	const struct vit_config *c, int n, int queries)
{
	int rows = n * c->tokens, d = c->width, t = c->tokens;

	rows_fill(qkv, l->b, rows, 3 * d);
	if (queries == t) {
		gemm_nt(qkv, 3 * d, normed, d, l->w, d, rows, 3 * d, d, 1, 1);
		return;
	}
	gemm_nt(qkv, t * 3 * d, normed, t * d, l->w, d, n, d, d, 1, 1);
	gemm_nt(qkv + d, 3 * d, normed, d, l->w + (size_t)d * (size_t)d, d, rows, 2 * d, d, 1, 1);
}

/* Returns the residual stream after the branch: all tokens, or those that are classified. */
static float *attention_branch(
	const struct vit *vit, struct vit_work *w, int block, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_block *b = &vit->weights.blocks[block];
	struct vit_kept *k = &w->blocks[block];
	int rows = n * c->tokens, d = c->width, queries = vit_queries(c, block);
	float *qkv = mode == VIT_GRADIENT ? k->qkv : w->qkv, *stream = w->tokens;

	layernorm_forward(w->normed, mode ? k->rstd1 : w->rstd_scratch,
		mode == VIT_GRADIENT ? k->xhat1 : NULL, w->tokens, b->norm1.w, b->norm1.b, rows, d, c->eps);
	project_qkv(qkv, w->normed, &b->qkv, c, n, queries);
	for (int i = 0; i < n; i++) {
		size_t row = (size_t)i * (size_t)(c->tokens * d), out = (size_t)i * (size_t)(queries * d);
		size_t prob = (size_t)i * (size_t)queries * (size_t)(c->heads * c->tokens);

		attention_forward(w->mixed + out, mode ? k->prob + prob : w->prob, qkv + 3 * row, queries,
			c->tokens, c->heads, c->head_dim);
	}
	if (queries < c->tokens) {
		stream = w->classified;
		for (int i = 0; i < n; i++)
			memcpy(stream + (size_t)i * (size_t)d,
				w->tokens + (size_t)i * (size_t)(c->tokens * d), (size_t)d * sizeof(*stream));
	}
	add_branch(stream, w->mixed, &b->proj, b->ls1, w->normed, n * queries, d, d);
	return stream;
}

static void mlp_branch(
	const struct vit *vit, struct vit_work *w, float *stream, int block, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_block *b = &vit->weights.blocks[block];
	struct vit_kept *k = &w->blocks[block];
	int rows = n * vit_queries(c, block), d = c->width, h = c->hidden;
	size_t count = (size_t)rows * (size_t)h;

	layernorm_forward(w->normed, mode ? k->rstd2 : w->rstd_scratch,
		mode == VIT_GRADIENT ? k->xhat2 : NULL, stream, b->norm2.w, b->norm2.b, rows, d, c->eps);
	rows_fill(w->hidden, b->fc1.b, rows, h);
	gemm_nt(w->hidden, h, w->normed, d, b->fc1.w, d, rows, h, d, 1, 1);
	if (mode == VIT_FORWARD)
		gelu_forward(w->hidden, w->hidden, count);
	else if (mode == VIT_EFFECTIVE)
		gelu_forward_frozen(w->hidden, k->slope, w->hidden, count);
	else
		gelu_forward_gradient(w->hidden, k->slope, w->hidden, count);
	add_branch(stream, w->hidden, &b->fc2, b->ls2, w->normed, rows, d, h);
}

void vit_forward(
	const struct vit *vit, struct vit_work *w, float *logits, const float *x, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int d = c->width;

	if (n < 1 || n > w->batch || mode > w->mode)
		BUG("forward pass of %d images in mode %d, workspace for %d in mode %d", n, mode, w->batch,
			w->mode);
	embed(vit, w, x, n);
	for (int l = 0; l < c->depth; l++)
		mlp_branch(vit, w, attention_branch(vit, w, l, n, mode), l, n, mode);
	layernorm_forward(w->pooled, w->rstd, w->xhat, w->classified, p->norm.w, p->norm.b, n, d, c->eps);
	rows_fill(logits, p->head.b, n, c->classes);
	gemm_nt(logits, c->classes, w->pooled, d, p->head.w, d, n, c->classes, d, 1, 1);
	w->last_mode = mode;
	w->last_n = n;
}

double vit_probability(const float *logits, int classes, int y)
{
	double max = logits[0], sum = 0;

	for (int i = 1; i < classes; i++)
		max = fmax(max, logits[i]);
	for (int i = 0; i < classes; i++)
		sum += exp(logits[i] - max);
	return exp(logits[y] - max) / sum;
}

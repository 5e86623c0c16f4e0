#include "model/vit.h"

#include "kernels/attention.h"
#include "kernels/bcos.h"
#include "kernels/elementwise.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes over file and head (which may be empty); vit is zeroed on error. */
static int init(struct vit *vit, const struct vit_config *config, struct safetensors *file,
	struct safetensors *head, struct err *err)
{
	*vit = (struct vit){.config = *config, .file = *file, .head = *head};
	if (vit_weights_init(&vit->weights, &vit->config, &vit->file, head->count ? &vit->head : NULL, err)) {
		*vit = (struct vit){0};
		return -1;
	}
	*file = *head = (struct safetensors){0};
	return 0;
}

int vit_init(struct vit *vit, const struct vit_config *config, struct safetensors *file, struct err *err)
{
	struct safetensors none = {0};

	return init(vit, config, file, &none, err);
}

/* Opens the file of an external head and notes its shape. */
static int open_head(struct safetensors *head, struct vit_options *o, struct err *err)
{
	const struct tensor *w, *b;

	if (safetensors_open(head, o->head, err) || vit_head_find(&w, &b, head, err))
		return -1;
	o->head_classes = (int)w->shape[0];
	o->head_inputs = (int)w->shape[1];
	return 0;
}

int vit_load(struct vit *vit, const char *dir, const struct vit_options *options, struct err *err)
{
	struct vit_options o = options ? *options : (struct vit_options){0};
	struct safetensors file = {0}, head = {0};
	struct vit_config config;
	int rc = 0;

	*vit = (struct vit){0};
	if (safetensors_open_folder(&file, dir, err) || (o.head && open_head(&head, &o, err)) ||
		vit_config_read(&config, dir, &file, &o, err) || init(vit, &config, &file, &head, err))
		rc = -1;
	safetensors_release(&file); /* what init() has taken over is no longer in them */
	safetensors_release(&head);
	return rc;
}

void vit_release(struct vit *vit)
{
	vit_weights_release(&vit->weights);
	safetensors_release(&vit->file);
	safetensors_release(&vit->head);
	*vit = (struct vit){0};
}

int vit_unchanged(const struct vit *vit, struct err *err)
{
	return safetensors_unchanged(&vit->file, err) || safetensors_unchanged(&vit->head, err) ? -1 : 0;
}

int vit_queries(const struct vit_config *c, int block)
{
	if (block < c->depth - 1 || c->pool != VIT_POOL_TOKEN)
		return c->tokens;
	return c->dist_head ? 2 : 1;
}

/* Multiply-adds of the patch embedding and the head, forward or backward. */
static double end_macs(const struct vit_config *c)
{
	double parts = c->pool == VIT_POOL_BOTH || c->dist_head ? 2 : 1;

	return stem_macs(c) + (double)(c->tokens - c->prefix) * c->width * vit_patch_inputs(c) +
	       parts * c->width * c->classes;
}

double vit_macs_forward(const struct vit_config *c)
{
	double t = c->tokens, d = c->width, sum = end_macs(c), layers = c->activation == VIT_SWIGLU ? 3 : 2;

	for (int l = 0; l < c->depth; l++) {
		double q = vit_queries(c, l);

		sum += (q + 2 * t) * d * d + 2 * q * t * d + q * d * d + layers * q * d * c->hidden;
	}
	return sum;
}

double vit_macs_backward(const struct vit_config *c, enum vit_mode mode)
{
	bool gradient = mode == VIT_GRADIENT;
	double t = c->tokens, d = c->width, sum = end_macs(c);
	double layers = gradient && c->activation == VIT_SWIGLU ? 3 : 2;

	for (int l = 0; l < c->depth; l++) {
		double q = vit_queries(c, l);

		sum += (gradient ? q + 2 * t : t) * d * d + (gradient ? 4 : 1) * q * t * d + q * d * d +
		       layers * q * d * c->hidden;
	}
	return sum;
}

/* ---- memory ---- */

static struct vit_norm carve_norm(struct arena *a, enum vit_mode mode, size_t rows, size_t width)
{
	return (struct vit_norm){
		mode == VIT_FORWARD ? NULL : arena_floats(a, rows),
		mode == VIT_GRADIENT ? arena_floats(a, rows * width) : NULL,
	};
}

static struct vit_unit carve_unit(struct arena *a, enum vit_mode mode, size_t rows, size_t out, size_t in)
{
	return (struct vit_unit){
		mode == VIT_FORWARD ? NULL : arena_floats(a, rows * out),
		mode == VIT_GRADIENT ? arena_floats(a, rows * in) : NULL,
		mode == VIT_GRADIENT ? arena_floats(a, rows) : NULL,
	};
}

static struct vit_kept carve_block(
	struct arena *a, const struct vit_config *c, enum vit_mode mode, size_t n, int block)
{
	size_t rows = n * (size_t)c->tokens, leaving = n * (size_t)vit_queries(c, block),
	       d = (size_t)c->width;
	size_t h = (size_t)c->hidden, heads = (size_t)c->heads;
	struct vit_kept k = {0};

	k.prob = arena_floats(a, leaving * heads * (size_t)c->tokens);
	k.norm1 = carve_norm(a, mode, rows, d);
	k.norm2 = carve_norm(a, mode, leaving, d);
	if (c->bcos) {
		k.proj = carve_unit(a, mode, leaving, d, d);
		k.fc1 = carve_unit(a, mode, leaving, h, d);
		k.fc2 = carve_unit(a, mode, leaving, d, h);
	} else {
		k.activation = arena_floats(a, leaving * h);
	}
	if (mode == VIT_GRADIENT) {
		k.qkv = arena_floats(a, rows * 3 * d);
		k.entering = arena_floats(a, rows * d);
		if (c->qk_norm)
			k.qk = carve_norm(a, mode, rows * 2 * heads, (size_t)c->head_dim);
		if (c->activation == VIT_SWIGLU)
			k.gate = arena_floats(a, leaving * h);
	}
	return k;
}

/* The ends of a B-cos network. */
static void carve_bcos(
	struct vit_work *w, const struct vit_config *c, enum vit_mode mode, size_t n, size_t cotangents)
{
	struct arena *a = &w->arena;
	size_t rows = n * (size_t)c->tokens, d = (size_t)c->width, classes = (size_t)c->classes;
	size_t wide = (n > cotangents ? n : cotangents);

	stem_carve(&w->stem, a, c, mode, (int)n);
	w->patch = carve_unit(a, mode, rows, d, (size_t)vit_patch_inputs(c));
	w->head = carve_unit(a, mode, n, classes, d);
	w->norms = arena_floats(a, wide * (size_t)c->tokens);
	w->dlogits = mode == VIT_FORWARD ? NULL : arena_floats(a, wide * classes);
}

/* The plan of the workspace: run once to measure, once to carve. */
static void carve(
	struct vit_work *w, const struct vit_config *c, enum vit_mode mode, int batch, int cotangents)
{
	struct arena *a = &w->arena;
	size_t n = (size_t)batch, rows = n * (size_t)c->tokens, d = (size_t)c->width, h = (size_t)c->hidden;
	size_t leaving = n * (size_t)vit_queries(c, c->depth - 1);
	/* what passes use and do not keep, of whichever direction takes more */
	size_t wide = (size_t)(cotangents > batch ? cotangents : batch);

	for (int l = 0; l < c->depth && mode >= VIT_EFFECTIVE; l++) {
		struct vit_kept k = carve_block(a, c, mode, n, l);

		if (w->blocks)
			w->blocks[l] = k;
	}
	if (c->norm_pre)
		w->pre = carve_norm(a, mode, rows, d);
	if (c->final_norm)
		w->last = carve_norm(a, mode, leaving, d);
	if (c->fc_norm)
		w->fc = carve_norm(a, mode, n * VIT_PARTS, d);
	if (mode == VIT_GRADIENT)
		w->left = arena_floats(a, leaving * d);
	rows = wide * (size_t)c->tokens;
	leaving = wide * (size_t)vit_queries(c, c->depth - 1);
	/* of whole rows or, where q and k are normalised, of the heads of one */
	w->scratch.rstd = arena_floats(a, rows > (size_t)c->heads ? rows : (size_t)c->heads);
	w->tokens = arena_floats(a, rows * d);
	w->normed = arena_floats(a, rows * d);
	w->qkv = arena_floats(a, rows * 3 * d);
	w->mixed = arena_floats(a, rows * d);
	w->hidden = arena_floats(a, rows * (h > d ? h : d)); /* vit_layer_gradient() keeps tokens there */
	if (c->activation == VIT_SWIGLU)
		w->gate = arena_floats(a, rows * h);
	w->prob = arena_floats(a, (size_t)c->heads * (size_t)c->tokens * (size_t)c->tokens);
	w->patches = arena_floats(a, rows * (size_t)vit_patch_inputs(c));
	if (leaving < rows)
		w->classified = arena_floats(a, leaving * d);
	w->pooled = arena_floats(a, wide * VIT_PARTS * d);
	if (c->bcos)
		carve_bcos(w, c, mode, n, wide);
}

size_t vit_work_bytes(const struct vit_config *c, enum vit_mode mode, int batch, int cotangents)
{
	struct vit_work w = {0};

	carve(&w, c, mode, batch, cotangents);
	return w.arena.used;
}

void vit_work_init(struct vit_work *w, const struct vit *vit, enum vit_mode mode, int batch, int cotangents)
{
	*w = (struct vit_work){
		.mode = mode, .batch = batch, .cotangents = cotangents > batch ? cotangents : batch};
	carve(w, &vit->config, mode, batch, cotangents);
	arena_allocate(&w->arena);
	w->blocks = x_calloc((size_t)vit->config.depth, sizeof(*w->blocks));
	carve(w, &vit->config, mode, batch, cotangents);
}

void vit_work_release(struct vit_work *w)
{
	arena_release(&w->arena);
	free(w->blocks);
	*w = (struct vit_work){0};
}

void vit_gather_patches(float *patches, const float *x, const struct vit_config *c, int n)
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

/* ---- forward ---- */

/* y = norm(x), rows x width; keeps what the mode needs. y may be x. */
static void norm_forward(struct vit_work *w, float *y, const float *x, const struct vit_linear *norm,
	const struct vit_norm *kept, int rows, int width, float eps, enum vit_mode mode)
{
	layernorm_forward(y, mode && kept->rstd ? kept->rstd : w->scratch.rstd,
		mode == VIT_GRADIENT ? kept->xhat : NULL, x, norm->w, norm->b, rows, width, eps);
}

/* y (rows, out), the products of x (rows, in) with a B-cos layer, becomes its output; keeps what the mode
 * needs. */
static void unit_forward(struct vit_work *w, float *y, const float *x, const struct vit_unit *kept, int rows,
	int out, int in, enum vit_mode mode)
{
	float *norm = mode == VIT_GRADIENT ? kept->norm : w->norms;

	bcos_norms(norm, x, rows, in, 0, 1e-12f);
	bcos_forward(y, mode ? kept->cosine : NULL, y, norm, rows, out);
	if (mode == VIT_GRADIENT)
		memcpy(kept->x, x, (size_t)rows * (size_t)in * sizeof(*x));
}

/* tokens (n, grid, width) of a B-cos network: no prefix, and positions are added after the scaling. */
static void embed_bcos(const struct vit *vit, struct vit_work *w, const float *x, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int d = c->width, k = vit_patch_inputs(c), rows = n * c->tokens;
	size_t image = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;

	if (!c->stem_depth)
		vit_gather_patches(w->patches, x, c, n);
	for (int i = 0; i < n && c->stem_depth; i++)
		stem_forward(&w->stem, w->patches + (size_t)i * (size_t)(c->tokens * k),
			x + (size_t)i * image, c, p, i, mode);
	gemm_nt(w->tokens, d, w->patches, k, p->patch.w, k, rows, d, k, 1, 0);
	unit_forward(w, w->tokens, w->patches, &w->patch, rows, d, k, mode);
	rows_add(w->tokens, p->pos, n, c->tokens * d);
}

/* tokens (n, prefix + grid, width) = [prefix tokens ; patches w^T + b] + positions; norm_pre follows where
 * there is one. */
static void embed(const struct vit *vit, struct vit_work *w, const float *x, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int grid = c->grid_h * c->grid_w, d = c->width, k = vit_patch_inputs(c);

	vit_gather_patches(w->patches, x, c, n);
	for (int i = 0; i < n; i++) {
		float *t = w->tokens + (size_t)i * (size_t)(c->tokens * d);

		memcpy(t, p->pos, (size_t)(c->tokens * d) * sizeof(*t));
		rows_add(t, p->prefix, 1, c->prefix * d);
		t += d * c->prefix;
		if (p->patch.b)
			rows_add(t, p->patch.b, grid, d);
		gemm_nt(t, d, w->patches + (size_t)i * (size_t)(grid * k), k, p->patch.w, k, grid, d, k, 1,
			1);
	}
	if (c->norm_pre)
		norm_forward(w, w->tokens, w->tokens, &p->norm_pre, &w->pre, n * c->tokens, d, c->eps, mode);
}

/* t += scale * (x w^T + b): the end of a residual branch. scratch holds rows x out. */
static void add_branch(float *t, const float *x, const struct vit_linear *l, const float *scale,
	float *scratch, int rows, int out, int in)
{
	if (!scale) {
		if (l->b)
			rows_add(t, l->b, rows, out);
		gemm_nt(t, out, x, in, l->w, in, rows, out, in, 1, 1);
		return;
	}
	rows_fill(scratch, l->b, rows, out);
	gemm_nt(scratch, out, x, in, l->w, in, rows, out, in, 1, 1);
	rows_add_scaled(t, scratch, scale, rows, out);
}

/* t += the B-cos layer of x: the same of a B-cos network. */
static void add_unit(struct vit_work *w, float *t, const float *x, const struct vit_linear *l,
	const struct vit_unit *kept, int rows, int out, int in, enum vit_mode mode)
{
	float *y = w->normed;

	gemm_nt(y, out, x, in, l->w, in, rows, out, in, 1, 0);
	unit_forward(w, y, x, kept, rows, out, in, mode);
	rows_add(t, y, 1, rows * out);
}

/* q, k and v of all tokens; where only the first ones leave the block, q of those alone. */
static void project_qkv(float *qkv, const float *normed, const struct vit_linear *l,
	const struct vit_config *c, int n, int queries)
{
	int rows = n * c->tokens, d = c->width, t = c->tokens;

	rows_fill(qkv, l->b, rows, 3 * d);
	if (queries == t) {
		gemm_nt(qkv, 3 * d, normed, d, l->w, d, rows, 3 * d, d, 1, 1);
		return;
	}
	for (int q = 0; q < queries; q++)
		gemm_nt(qkv + q * 3 * d, t * 3 * d, normed + q * d, t * d, l->w, d, n, d, d, 1, 1);
	gemm_nt(qkv + d, 3 * d, normed, d, l->w + (size_t)d * (size_t)d, d, rows, 2 * d, d, 1, 1);
}

/* q and k normalised per head, in place. */
static void norm_qk(struct vit_work *w, float *qkv, const struct vit_block *b, const struct vit_kept *k,
	const struct vit_config *c, int rows, enum vit_mode mode)
{
	for (int row = 0; row < rows; row++)
		for (int part = 0; part < 2; part++) {
			float *at = qkv + ((size_t)row * 3 + (size_t)part) * (size_t)c->width;
			size_t head = ((size_t)row * 2 + (size_t)part) * (size_t)c->heads;
			struct vit_norm kept = {0};

			if (mode == VIT_GRADIENT)
				kept = (struct vit_norm){
					k->qk.rstd + head, k->qk.xhat + head * (size_t)c->head_dim};
			norm_forward(w, at, at, part ? &b->k_norm : &b->q_norm, &kept, c->heads, c->head_dim,
				c->eps, mode);
		}
}

/* Returns the residual stream after the branch: all tokens, or those that leave the block. */
static float *attention_branch(
	const struct vit *vit, struct vit_work *w, int block, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_block *b = &vit->weights.blocks[block];
	struct vit_kept *k = &w->blocks[block];
	int rows = n * c->tokens, d = c->width, queries = vit_queries(c, block);
	float *qkv = mode == VIT_GRADIENT ? k->qkv : w->qkv, *stream = w->tokens;

	if (mode == VIT_GRADIENT)
		memcpy(k->entering, w->tokens, (size_t)rows * (size_t)d * sizeof(float));
	norm_forward(w, w->normed, w->tokens, &b->norm1, &k->norm1, rows, d, c->eps, mode);
	project_qkv(qkv, w->normed, &b->qkv, c, n, queries);
	if (c->qk_norm)
		norm_qk(w, qkv, b, k, c, rows, mode);
	for (int i = 0; i < n; i++) {
		size_t row = (size_t)i * (size_t)(c->tokens * d), out = (size_t)i * (size_t)(queries * d);
		size_t prob = (size_t)i * (size_t)queries * (size_t)(c->heads * c->tokens);

		attention_forward(w->mixed + out, mode ? k->prob + prob : w->prob, qkv + 3 * row, queries,
			c->tokens, c->heads, c->head_dim);
	}
	if (queries < c->tokens) {
		stream = w->classified;
		for (int i = 0; i < n; i++)
			memcpy(stream + (size_t)i * (size_t)(queries * d),
				w->tokens + (size_t)i * (size_t)(c->tokens * d),
				(size_t)(queries * d) * sizeof(*stream));
	}
	if (c->bcos)
		add_unit(w, stream, w->mixed, &b->proj, &k->proj, n * queries, d, d, mode);
	else
		add_branch(stream, w->mixed, &b->proj, b->ls1, w->normed, n * queries, d, d);
	return stream;
}

/* w->hidden = activation(z), z (count) the output of fc1; keeps the frozen slope where the mode asks for it
 * alone. */
static void activate(const struct vit_config *c, struct vit_work *w, struct vit_kept *k, const float *z,
	const float *gate, size_t count, enum vit_mode mode)
{
	float *h = w->hidden;
	bool quick = c->activation == VIT_QUICK_GELU;

	if (c->activation == VIT_SWIGLU)
		swiglu_forward(h, mode == VIT_EFFECTIVE ? k->activation : NULL, z, gate, count);
	else if (mode == VIT_EFFECTIVE)
		(quick ? quick_gelu_forward_frozen : gelu_forward_frozen)(h, k->activation, z, count);
	else
		(quick ? quick_gelu_forward : gelu_forward)(h, z, count);
}

static void mlp_branch(
	const struct vit *vit, struct vit_work *w, float *stream, int block, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_block *b = &vit->weights.blocks[block];
	struct vit_kept *k = &w->blocks[block];
	int rows = n * vit_queries(c, block), d = c->width, h = c->hidden;
	bool keep = mode == VIT_GRADIENT && !c->bcos;
	float *z = keep ? k->activation : w->hidden, *gate = keep ? k->gate : w->gate;

	norm_forward(w, w->normed, stream, &b->norm2, &k->norm2, rows, d, c->eps, mode);
	rows_fill(z, b->fc1.b, rows, h);
	gemm_nt(z, h, w->normed, d, b->fc1.w, d, rows, h, d, 1, 1);
	if (c->activation == VIT_SWIGLU) {
		rows_fill(gate, b->gate.b, rows, h);
		gemm_nt(gate, h, w->normed, d, b->gate.w, d, rows, h, d, 1, 1);
	}
	if (c->bcos) { /* nothing but the cosines bends */
		unit_forward(w, w->hidden, w->normed, &k->fc1, rows, h, d, mode);
		add_unit(w, stream, w->hidden, &b->fc2, &k->fc2, rows, d, h, mode);
		return;
	}
	activate(c, w, k, z, gate, (size_t)rows * (size_t)h, mode);
	add_branch(stream, w->hidden, &b->fc2, b->ls2, w->normed, rows, d, h);
}

void vit_pool(float *pooled, const float *stream, const struct vit *vit, int n)
{
	const struct vit_config *c = &vit->config;
	const struct vit_head *h = &vit->weights.head;
	int leaving = vit_queries(c, c->depth - 1), d = c->width;

	for (int i = 0; i < n; i++)
		for (int k = 0; k < h->count; k++, pooled += d) {
			const float *rows = stream + (size_t)i * (size_t)(leaving * d);

			if (h->parts[k].token == VIT_MEAN)
				rows_mean(pooled, rows + c->prefix * d, c->tokens - c->prefix, d);
			else
				memcpy(pooled, rows + h->parts[k].token * d, (size_t)d * sizeof(*pooled));
		}
}

/* logits from what left the last block: norm, the parts that the head takes, fc_norm, head. */
static void classify(const struct vit *vit, struct vit_work *w, float *logits, const float *stream, int n,
	enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	const struct vit_head *h = &p->head;
	int leaving = vit_queries(c, c->depth - 1), d = c->width;

	if (c->final_norm) {
		norm_forward(w, w->normed, stream, &p->norm, &w->last, n * leaving, d, c->eps, mode);
		stream = w->normed;
	}
	vit_pool(w->pooled, stream, vit, n);
	if (c->fc_norm)
		norm_forward(w, w->pooled, w->pooled, &p->fc_norm, &w->fc, n * h->count, d, c->eps, mode);
	rows_fill(logits, c->bcos ? NULL : h->b, n, c->classes);
	for (int k = 0; k < h->count; k++)
		gemm_nt(logits, c->classes, w->pooled + k * d, h->count * d, h->parts[k].w, h->parts[k].ldw,
			n, c->classes, d, h->scale, 1);
	if (c->bcos) {
		unit_forward(w, logits, w->pooled, &w->head, n, c->classes, d, mode);
		rows_add(logits, h->b, n, c->classes);
	}
}

void vit_forward(
	const struct vit *vit, struct vit_work *w, float *logits, const float *x, int n, enum vit_mode mode)
{
	const struct vit_config *c = &vit->config;
	float *stream = w->tokens;

	if (n < 1 || n > w->batch || mode > w->mode)
		BUG("forward pass of %d images in mode %d, workspace for %d in mode %d", n, mode, w->batch,
			w->mode);
	(c->bcos ? embed_bcos : embed)(vit, w, x, n, mode);
	for (int l = 0; l < c->depth; l++) {
		stream = attention_branch(vit, w, l, n, mode);
		mlp_branch(vit, w, stream, l, n, mode);
	}
	if (mode == VIT_GRADIENT)
		memcpy(w->left, stream,
			(size_t)n * (size_t)(vit_queries(c, c->depth - 1) * c->width) * sizeof(float));
	classify(vit, w, logits, stream, n, mode);
	w->last_mode = mode;
	w->last_n = n;
	w->passes++;
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

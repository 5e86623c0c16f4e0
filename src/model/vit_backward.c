/* The two backward passes of the ViT to its input: true and frozen (methods.md section 2). */
#include "model/vit.h"

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

#include <string.h>

/* One backward pass: `count` cotangents, `per` for each image of the forward pass. */
struct pass {
	const struct vit *vit;
	struct vit_work *w;
	int count, per;
	bool frozen;
	struct vit_account *account; /* (count) or NULL */
};

/* What was kept for the image of cotangent i: its part of `kept`, with `size` values an image. */
static const float *kept_of(const struct pass *p, const float *kept, int i, size_t size)
{
	return kept + (size_t)(i / p->per) * size;
}

/* Adds, per cotangent, what a bias of a layer contributes: the sum of bias times its cotangent. */
static void account_bias(const struct pass *p, const float *g, const float *bias, int rows, int width)
{
	for (int i = 0; p->account && i < p->count; i++)
		p->account[i].biases += rows_dot(g + (size_t)i * (size_t)(rows * width), bias, rows, width);
}

/* dt += adjoint of the norm applied to dy; rows of each cotangent. */
static void norm_backward(const struct pass *p, float *dt, const float *dy, const struct vit_linear *norm,
	const float *xhat, const float *rstd, int rows)
{
	int d = p->vit->config.width;
	size_t image = (size_t)rows * (size_t)d;

	account_bias(p, dy, norm->b, rows, d);
	for (int i = 0; i < p->count; i++, dt += image, dy += image) {
		const float *r = kept_of(p, rstd, i, (size_t)rows);

		if (p->frozen)
			layernorm_backward_frozen(dt, dy, r, norm->w, rows, d);
		else
			layernorm_backward(dt, dy, kept_of(p, xhat, i, image), r, norm->w, rows, d);
	}
}

/* The cotangent of a branch's last linear layer: dt, scaled where the block has LayerScale. */
static const float *branch_cotangent(float *scratch, const float *dt, const float *scale, int rows, int width)
{
	if (!scale)
		return dt;
	rows_scale(scratch, dt, scale, rows, width);
	return scratch;
}

/* dt (count, queries, width) is the cotangent of the stream, before and after. */
static void mlp_backward(const struct pass *p, float *dt, int block)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_block *b = &p->vit->weights.blocks[block];
	const struct vit_kept *k = &p->w->blocks[block];
	int queries = vit_queries(c, block), rows = p->count * queries, d = c->width, h = c->hidden;
	size_t image = (size_t)queries * (size_t)h;
	float *hidden = p->w->hidden, *mixed = p->w->mixed;
	const float *g = branch_cotangent(p->w->normed, dt, b->ls2, rows, d);

	account_bias(p, g, b->fc2.b, queries, d);
	gemm_nn(hidden, h, g, d, b->fc2.w, h, rows, h, d, 1, 0);
	for (int i = 0; i < p->count; i++)
		multiply(hidden + (size_t)i * image, kept_of(p, k->slope, i, image), image);
	account_bias(p, hidden, b->fc1.b, queries, h);
	gemm_nn(mixed, d, hidden, h, b->fc1.w, d, rows, d, h, 1, 0);
	norm_backward(p, dt, mixed, &b->norm2, k->xhat2, k->rstd2, queries);
}

/* dnormed (rows, width) from dqkv (rows, 3 width): the adjoint of the qkv layer. */
static void qkv_backward(
	const struct pass *p, float *dnormed, const float *dqkv, const struct vit_linear *l, int queries)
{
	const struct vit_config *c = &p->vit->config;
	int rows = p->count * c->tokens, d = c->width, t = c->tokens;

	if (queries == t) {
		gemm_nn(dnormed, d, dqkv, 3 * d, l->w, d, rows, d, 3 * d, 1, 0);
		return;
	}
	gemm_nn(dnormed, d, dqkv + d, 3 * d, l->w + (size_t)d * (size_t)d, d, rows, d, 2 * d, 1, 0);
	gemm_nn(dnormed, t * d, dqkv, t * 3 * d, l->w, d, p->count, d, d, 1, 1);
}

/* dleaving (count, queries, width) is the cotangent of what leaves the block; dt (count, tokens, width) holds
 * it, with zeros for the rest, and becomes that of what enters. They are the same memory where all tokens
 * leave. */
static void attention_branch_backward(const struct pass *p, float *dt, const float *dleaving, int block)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_block *b = &p->vit->weights.blocks[block];
	const struct vit_kept *k = &p->w->blocks[block];
	int rows = p->count * c->tokens, d = c->width, queries = vit_queries(c, block);
	size_t prob_size = (size_t)queries * (size_t)(c->heads * c->tokens);
	float *dqkv = p->w->qkv, *mixed = p->w->mixed;
	const float *g = branch_cotangent(p->w->normed, dleaving, b->ls1, p->count * queries, d);

	account_bias(p, g, b->proj.b, queries, d);
	gemm_nn(mixed, d, g, d, b->proj.w, d, p->count * queries, d, d, 1, 0);
	for (int i = 0; i < p->count; i++) {
		size_t row = (size_t)i * (size_t)(c->tokens * d), out = (size_t)i * (size_t)(queries * d);
		const float *prob = kept_of(p, k->prob, i, prob_size);

		if (p->frozen)
			attention_backward_frozen(
				dqkv + row, mixed + out, prob, queries, c->tokens, c->heads, c->head_dim);
		else
			attention_backward(dqkv + 3 * row, mixed + out,
				kept_of(p, k->qkv, i, (size_t)(3 * c->tokens * d)), prob, p->w->prob, queries,
				c->tokens, c->heads, c->head_dim);
	}
	if (p->frozen) { /* only v depends on the input: its rows of the qkv layer are the last `width` */
		account_bias(p, dqkv, b->qkv.b + 2 * d, c->tokens, d);
		gemm_nn(mixed, d, dqkv, d, b->qkv.w + (size_t)2 * (size_t)d * (size_t)d, d, rows, d, d, 1, 0);
	} else {
		qkv_backward(p, mixed, dqkv, &b->qkv, queries);
	}
	norm_backward(p, dt, mixed, &b->norm1, k->xhat1, k->rstd1, c->tokens);
}

/* dclassified (count, width) = adjoint of the final norm and the head. */
static void head_backward(const struct pass *p, float *dclassified, const float *cotangent)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *weights = &p->vit->weights;
	int d = c->width;

	account_bias(p, cotangent, weights->head.b, 1, c->classes);
	gemm_nn(p->w->pooled, d, cotangent, c->classes, weights->head.w, d, p->count, d, c->classes, 1, 0);
	memset(dclassified, 0, (size_t)p->count * (size_t)d * sizeof(*dclassified));
	norm_backward(p, dclassified, p->w->pooled, &weights->norm, p->w->xhat, p->w->rstd, 1);
}

/* dt (count, tokens, width): the cotangents of the class tokens, zeros for the others. */
static void spread(const struct pass *p, float *dt, const float *dclassified)
{
	size_t d = (size_t)p->vit->config.width, image = d * (size_t)p->vit->config.tokens;

	memset(dt, 0, (size_t)p->count * image * sizeof(*dt));
	for (int i = 0; i < p->count; i++)
		memcpy(dt + (size_t)i * image, dclassified + (size_t)i * d, d * sizeof(*dt));
}

/* x (n, channels, H, W) from patches as rows: the adjoint (and inverse) of gathering them. */
static void scatter_patches(float *x, const float *patches, const struct vit_config *c, int n)
{
	size_t p = (size_t)c->patch, width = (size_t)c->image_w;

	for (int i = 0; i < n * c->grid_h * c->grid_w; i++) {
		int image = i / (c->grid_h * c->grid_w), cell = i % (c->grid_h * c->grid_w);

		for (int ch = 0; ch < c->channels; ch++) {
			float *to = x + (((size_t)(image * c->channels + ch) * (size_t)c->image_h +
						 (size_t)(cell / c->grid_w) * p) *
							width +
						(size_t)(cell % c->grid_w) * p);

			for (size_t r = 0; r < p; r++, patches += p)
				memcpy(to + r * width, patches, p * sizeof(*patches));
		}
	}
}

static void embed_backward(const struct pass *p, float *dx, const float *dt, const float *x)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *weights = &p->vit->weights;
	int grid = c->grid_h * c->grid_w, d = c->width, k = c->channels * c->patch * c->patch;
	size_t pixels = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;

	for (int i = 0; i < p->count; i++) {
		const float *g = dt + (size_t)i * (size_t)(c->tokens * d), *patch_g = g + c->prefix * d;

		gemm_nn(p->w->patches + (size_t)i * (size_t)(grid * k), k, patch_g, d, weights->patch.w, k,
			grid, k, d, 1, 0);
		if (!p->account)
			continue;
		p->account[i].class_token += rows_dot(g, weights->cls_token, 1, d);
		p->account[i].positions += c->no_embed_class
						   ? rows_dot(patch_g, weights->pos_embed, 1, grid * d)
						   : rows_dot(g, weights->pos_embed, 1, c->tokens * d);
		p->account[i].biases += rows_dot(patch_g, weights->patch.b, grid, d);
	}
	scatter_patches(dx, p->w->patches, c, p->count);
	for (int i = 0; p->account && i < p->count; i++)
		p->account[i].pixels +=
			rows_dot(dx + (size_t)i * pixels, x + (size_t)(i / p->per) * pixels, 1, (int)pixels);
}

void vit_backward_shared(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	int per, const float *x, struct vit_account *account)
{
	struct pass p = {vit, w, w->last_n * per, per, w->last_mode == VIT_EFFECTIVE, account};

	if (w->last_mode == VIT_FORWARD)
		BUG("backward pass after a forward pass that kept nothing");
	if (per < 1 || p.count > w->batch)
		BUG("backward pass of %d cotangents, workspace for %d", p.count, w->batch);
	if (account)
		memset(account, 0, (size_t)p.count * sizeof(*account));
	head_backward(&p, w->classified, cotangent);
	for (int l = vit->config.depth - 1; l >= 0; l--) {
		bool narrow = vit_queries(&vit->config, l) < vit->config.tokens;
		float *dleaving = narrow ? w->classified : w->tokens;

		mlp_backward(&p, dleaving, l);
		if (narrow)
			spread(&p, w->tokens, dleaving);
		attention_branch_backward(&p, w->tokens, dleaving, l);
	}
	embed_backward(&p, dx, w->tokens, x);
}

void vit_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const float *x, struct vit_account *account)
{
	vit_backward_shared(vit, w, dx, cotangent, 1, x, account);
}

/* The two backward passes of the ViT to its input: true and frozen (methods.md section 2). */
#include "model/vit.h"

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

#include <string.h>

/* Adds, per image, what a bias of a layer contributes: the sum of bias times its cotangent. */
static void account_bias(
	struct vit_account *account, const float *g, const float *bias, int n, int rows, int width)
{
	for (int i = 0; account && i < n; i++)
		account[i].biases += rows_dot(g + (size_t)i * (size_t)(rows * width), bias, rows, width);
}

/* dt += adjoint of the norm applied to dy. */
static void norm_backward(float *dt, const float *dy, const struct vit_linear *norm, const float *xhat,
	const float *rstd, int rows, int width, enum vit_mode mode)
{
	if (mode == VIT_GRADIENT)
		layernorm_backward(dt, dy, xhat, rstd, norm->w, rows, width);
	else
		layernorm_backward_frozen(dt, dy, rstd, norm->w, rows, width);
}

/* The cotangent of a branch's last linear layer: dt, scaled where the block has LayerScale. */
static const float *branch_cotangent(float *scratch, const float *dt, const float *scale, int rows, int width)
{
	if (!scale)
		return dt;
	rows_scale(scratch, dt, scale, rows, width);
	return scratch;
}

static void mlp_backward(const struct vit *vit, struct vit_work *w, float *dt, const struct vit_block *b,
	const struct vit_kept *k, struct vit_account *account)
{
	const struct vit_config *c = &vit->config;
	int n = w->last_n, rows = n * c->tokens, d = c->width, h = c->hidden;
	const float *g = branch_cotangent(w->normed, dt, b->ls2, rows, d);

	account_bias(account, g, b->fc2.b, n, c->tokens, d);
	gemm_nn(w->hidden, h, g, d, b->fc2.w, h, rows, h, d, 1, 0);
	multiply(w->hidden, k->slope, (size_t)rows * (size_t)h);
	account_bias(account, w->hidden, b->fc1.b, n, c->tokens, h);
	gemm_nn(w->mixed, d, w->hidden, h, b->fc1.w, d, rows, d, h, 1, 0);
	account_bias(account, w->mixed, b->norm2.b, n, c->tokens, d);
	norm_backward(dt, w->mixed, &b->norm2, k->xhat2, k->rstd2, rows, d, w->last_mode);
}

static void attention_branch_backward(const struct vit *vit, struct vit_work *w, float *dt,
	const struct vit_block *b, const struct vit_kept *k, struct vit_account *account)
{
	const struct vit_config *c = &vit->config;
	int n = w->last_n, rows = n * c->tokens, d = c->width;
	size_t prob = (size_t)c->heads * (size_t)c->tokens * (size_t)c->tokens;
	bool frozen = w->last_mode == VIT_EFFECTIVE;
	const float *g = branch_cotangent(w->normed, dt, b->ls1, rows, d);

	account_bias(account, g, b->proj.b, n, c->tokens, d);
	gemm_nn(w->mixed, d, g, d, b->proj.w, d, rows, d, d, 1, 0);
	for (int i = 0; i < n; i++) {
		size_t row = (size_t)i * (size_t)(c->tokens * d);
		const float *p = k->prob + (size_t)i * prob;

		if (frozen)
			attention_backward_frozen(
				w->qkv + row, w->mixed + row, p, c->tokens, c->heads, c->head_dim);
		else
			attention_backward(w->qkv + 3 * row, w->mixed + row, k->qkv + 3 * row, p, w->prob,
				c->tokens, c->heads, c->head_dim);
	}
	if (frozen) { /* only v depends on the input: its rows of the qkv layer are the last `width` */
		account_bias(account, w->qkv, b->qkv.b + 2 * d, n, c->tokens, d);
		gemm_nn(w->mixed, d, w->qkv, d, b->qkv.w + (size_t)2 * (size_t)d * (size_t)d, d, rows, d, d,
			1, 0);
	} else {
		gemm_nn(w->mixed, d, w->qkv, 3 * d, b->qkv.w, d, rows, d, 3 * d, 1, 0);
	}
	account_bias(account, w->mixed, b->norm1.b, n, c->tokens, d);
	norm_backward(dt, w->mixed, &b->norm1, k->xhat1, k->rstd1, rows, d, w->last_mode);
}

/* dt (n, tokens, width) = adjoint of the final norm and the head; all rows but the class token's are zero. */
static void head_backward(const struct vit *vit, struct vit_work *w, float *dt, const float *cotangent,
	struct vit_account *account)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int n = w->last_n, d = c->width;

	account_bias(account, cotangent, p->head.b, n, 1, c->classes);
	gemm_nn(w->pooled, d, cotangent, c->classes, p->head.w, d, n, d, c->classes, 1, 0);
	account_bias(account, w->pooled, p->norm.b, n, 1, d);
	memset(dt, 0, (size_t)n * (size_t)(c->tokens * d) * sizeof(*dt));
	for (int i = 0; i < n; i++)
		norm_backward(dt + (size_t)i * (size_t)(c->tokens * d), w->pooled + (size_t)i * (size_t)d,
			&p->norm, w->xhat + (size_t)i * (size_t)d, w->rstd + i, 1, d, w->last_mode);
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

static void embed_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *dt,
	const float *x, struct vit_account *account)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *p = &vit->weights;
	int n = w->last_n, grid = c->grid_h * c->grid_w, d = c->width, k = c->channels * c->patch * c->patch;
	size_t pixels = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;

	for (int i = 0; i < n; i++) {
		const float *g = dt + (size_t)i * (size_t)(c->tokens * d), *patch_g = g + c->prefix * d;

		gemm_nn(w->patches + (size_t)i * (size_t)(grid * k), k, patch_g, d, p->patch.w, k, grid, k, d,
			1, 0);
		if (!account)
			continue;
		account[i].class_token += rows_dot(g, p->cls_token, 1, d);
		account[i].positions += c->no_embed_class ? rows_dot(patch_g, p->pos_embed, 1, grid * d)
							  : rows_dot(g, p->pos_embed, 1, c->tokens * d);
		account[i].biases += rows_dot(patch_g, p->patch.b, grid, d);
	}
	scatter_patches(dx, w->patches, c, n);
	for (int i = 0; account && i < n; i++)
		account[i].pixels +=
			rows_dot(dx + (size_t)i * pixels, x + (size_t)i * pixels, 1, (int)pixels);
}

void vit_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const float *x, struct vit_account *account)
{
	float *dt = w->tokens;

	if (w->last_mode == VIT_FORWARD)
		BUG("backward pass after a forward pass that kept nothing");
	if (account)
		memset(account, 0, (size_t)w->last_n * sizeof(*account));
	head_backward(vit, w, dt, cotangent, account);
	for (int l = vit->config.depth - 1; l >= 0; l--) {
		mlp_backward(vit, w, dt, &vit->weights.blocks[l], &w->blocks[l], account);
		attention_branch_backward(vit, w, dt, &vit->weights.blocks[l], &w->blocks[l], account);
	}
	embed_backward(vit, w, dx, dt, x, account);
}

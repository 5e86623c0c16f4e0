#include "attribution/lrp.h"

#include "kernels/elementwise.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/relevance.h"

#include <math.h>
#include <string.h>

static int larger(int a, int b)
{
	return a > b ? a : b;
}

void lrp_carve(struct lrp *s, struct arena *a, const struct vit_config *c)
{
	size_t t = (size_t)c->tokens, d = (size_t)c->width, h = (size_t)c->hidden, block = LRP_BLOCK;
	size_t widest = (size_t)larger(larger(c->width, c->hidden), vit_patch_inputs(c));

	s->normed1 = arena_floats(a, t * d);
	s->mixed = arena_floats(a, t * d);
	s->normed2 = arena_floats(a, t * d);
	s->hidden = arena_floats(a, t * h);
	s->tokens = arena_floats(a, t * d);
	s->pooled = arena_floats(a, VIT_PARTS * d);
	s->plus = arena_floats(a, t * widest);
	s->minus = arena_floats(a, t * widest);
	s->up = arena_floats(a, t * widest);
	s->down = arena_floats(a, t * widest);
	s->w_plus = arena_floats(a, block * widest);
	s->w_minus = arena_floats(a, block * widest);
	s->z = arena_floats(a, t * block);
	s->size = arena_floats(a, t * block);
	s->bias = arena_floats(a, block);
}

int lrp_check(const struct vit_config *c, const char *method, struct err *err)
{
	if (c->bcos)
		return err_set(
			err, "%s is a B-cos network: %s has no rule for its layers", c->architecture, method);
	if (c->activation == VIT_SWIGLU)
		return err_set(
			err, "%s has an MLP with SwiGLU: %s has no rule for it", c->architecture, method);
	return 0;
}

/* ---- what was not kept ---- */

/* y (rows, width): what the norm gave. */
static void norm_again(float *y, const struct vit_linear *norm, const float *xhat, int rows, int width)
{
	rows_fill(y, norm->b, rows, width);
	for (int r = 0; r < rows; r++)
		rows_add_scaled(
			y + (size_t)r * (size_t)width, xhat + (size_t)r * (size_t)width, norm->w, 1, width);
}

/* mixed (queries, width): the attention matrices times v. */
static void mix_again(float *mixed, const struct vit_kept *k, const struct vit_config *c, int queries)
{
	int d = c->width, t = c->tokens, hd = c->head_dim;

	for (int h = 0; h < c->heads; h++)
		gemm_nn(mixed + h * hd, d, k->prob + (size_t)h * (size_t)queries * (size_t)t, t,
			k->qkv + 2 * d + h * hd, 3 * d, queries, hd, t, 1, 0);
}

void lrp_recall(struct lrp *s, int block)
{
	const struct vit_config *c = &s->vit->config;
	const struct vit_block *b = &s->vit->weights.blocks[block];
	const struct vit_kept *k = &s->work->blocks[block];
	int rows = vit_queries(c, block);

	if (s->work->last_mode != VIT_GRADIENT || s->work->last_n != 1)
		BUG("relevance after another pass than that over one image");
	norm_again(s->normed1, &b->norm1, k->norm1.xhat, c->tokens, c->width);
	mix_again(s->mixed, k, c, rows);
	norm_again(s->normed2, &b->norm2, k->norm2.xhat, rows, c->width);
	(c->activation == VIT_QUICK_GELU ? quick_gelu_forward : gelu_forward)(
		s->hidden, k->activation, (size_t)rows * (size_t)c->hidden);
}

void lrp_recall_head(struct lrp *s)
{
	const struct vit_config *c = &s->vit->config;
	const struct vit_weights *w = &s->vit->weights;
	int rows = vit_queries(c, c->depth - 1);

	if (c->final_norm)
		norm_again(s->tokens, &w->norm, s->work->last.xhat, rows, c->width);
	else
		memcpy(s->tokens, s->work->left, (size_t)(rows * c->width) * sizeof(*s->tokens));
	vit_pool(s->pooled, s->tokens, s->vit, 1);
	if (c->fc_norm)
		norm_again(s->pooled, &w->fc_norm, s->work->fc.xhat, w->head.count, c->width);
}

/* ---- linear layers ---- */

/* Rows of W that are taken at a time, of `left`. */
static int block_of(int left)
{
	return left < LRP_BLOCK ? left : LRP_BLOCK;
}

void lrp_positive(struct lrp *s, float *r_in, const float *x, const float *w, const float *r_out, int rows,
	int out, int in)
{
	size_t n = (size_t)rows * (size_t)in;

	split_signs(s->plus, s->minus, x, n);
	for (int j = 0, some; j < out; j += some) {
		float more = j ? 1 : 0, *z = s->z;

		some = block_of(out - j);
		split_signs(s->w_plus, s->w_minus, w + (size_t)j * (size_t)in, (size_t)some * (size_t)in);
		gemm_nt(z, some, s->plus, in, s->w_plus, in, rows, some, in, 1, 0);
		gemm_nt(z, some, s->minus, in, s->w_minus, in, rows, some, in, 1, 1);
		for (int r = 0; r < rows; r++, z += some)
			divide_or_zero(z, r_out + (size_t)r * (size_t)out + j, z, 1, (size_t)some);
		gemm_nn(s->up, in, s->z, some, s->w_plus, in, rows, in, some, 1, more);
		gemm_nn(s->down, in, s->z, some, s->w_minus, in, rows, in, some, 1, more);
	}
	join_signs(r_in, s->plus, s->minus, s->up, s->down, n);
}

void lrp_gamma(struct lrp *s, float *g_in, const float *x, const struct vit_linear *l, const float *g_out,
	float gamma, int rows, int out, int in)
{
	size_t n = (size_t)rows * (size_t)in;

	magnitudes(s->plus, x, n);
	for (int j = 0, some; j < out; j += some) {
		const float *w = l->w + (size_t)j * (size_t)in;
		float more = j ? 1 : 0, *z = s->z, *size = s->size;

		some = block_of(out - j);
		magnitudes(s->w_plus, w, (size_t)some * (size_t)in);
		if (l->b)
			magnitudes(s->bias, l->b + j, (size_t)some);
		rows_fill(z, l->b ? l->b + j : NULL, rows, some);
		rows_fill(size, l->b ? s->bias : NULL, rows, some);
		gemm_nt(z, some, x, in, w, in, rows, some, in, 1, 1);
		gemm_nt(size, some, s->plus, in, s->w_plus, in, rows, some, in, 1, 1);
		for (int r = 0; r < rows; r++, z += some, size += some)
			gamma_shares(z, size, g_out + (size_t)r * (size_t)out + j, gamma, (size_t)some);
		gemm_nn(g_in, in, s->z, some, w, in, rows, in, some, 1, more);
		gemm_nn(s->up, in, s->size, some, s->w_plus, in, rows, in, some, 1, more);
	}
	gamma_join(g_in, s->up, x, gamma, n);
}

/* The weight of number i of part k in the logit. */
static double head_weight(const struct vit_head *h, int k, int i, int target)
{
	return (double)h->scale * h->parts[k].w[(size_t)target * (size_t)h->parts[k].ldw + (size_t)i];
}

static double positive(double x)
{
	return x < 0 ? 0 : x; /* NaN stays */
}

void lrp_head_positive(const struct lrp *s, float *r, int target)
{
	const struct vit_head *h = &s->vit->weights.head;
	int d = s->vit->config.width;
	double sum = 0;

	for (int i = 0; i < h->count * d; i++)
		sum += positive(s->pooled[i] * head_weight(h, i / d, i % d, target));
	for (int i = 0; i < h->count * d; i++) {
		double c = positive(s->pooled[i] * head_weight(h, i / d, i % d, target));

		r[i] = c == 0 ? 0 : (float)(c / sum);
	}
}

void lrp_head_gamma(const struct lrp *s, float *g, int target, float gamma)
{
	const struct vit_head *h = &s->vit->weights.head;
	int d = s->vit->config.width;
	double z = h->b ? h->b[target] : 0, size = fabs(z);

	for (int i = 0; i < h->count * d; i++) {
		double c = s->pooled[i] * head_weight(h, i / d, i % d, target);

		z += c;
		size += fabs(c);
	}
	double divisor = fabs(z) + 0.5 * (double)gamma * (fabs(z) + size);
	double share = divisor > 0 ? fabs(z) / divisor : 0;
	for (int i = 0; i < h->count * d; i++) {
		double w = head_weight(h, i / d, i % d, target);

		g[i] = (float)(share * w * (s->pooled[i] * w * z > 0 ? 1 + (double)gamma : 1));
	}
}

/*
 * Chefer et al., "Transformer Interpretability Beyond Attention Visualization" (methods.md section 4): a
 * rollout of the attention matrices' gradients times their relevance. Relevance goes down the blocks by the
 * rules of the published code with alpha = 1 (norms, LayerScale, activation and softmax hand it on as it is);
 * only the row of what is classified is needed of the rollout, which starts at the top too: a row times one
 * matrix after the other, and nothing of a block need be remembered.
 *
 * Quotients by sums that are nearly zero (residuals, scores) make it ill-conditioned: in float64, a change of
 * a photograph by 1e-7 changes maps of a DeiT-Tiny by 1e-3 to 0.2 of their largest value. Single precision,
 * here as in PyTorch, differs from double by about as much.
 */
#include "attribution/lrp.h"

#include "base/clock.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/relevance.h"

#include <math.h>
#include <string.h>

struct params {
	int start_layer;
	int postprocess;
};

static const struct option_row options[] = {
	{"start_layer", OPT_INT, offsetof(struct params, start_layer), "1", 0, 1000, NULL,
		"the lowest block of the rollout, counted from 0"},
	METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

static const struct method_figure figures[] = {
	{"relevance",
		"what of the relevance, 1 at the logit, reaches the lowest block of the rollout: 1 but for "
		"units without any positive contribution, and for rounding"},
	{NULL, NULL}};

struct scratch {
	float *cotangent, *dx; /* (classes), (channels, H, W) */
	float *dprob;          /* (depth, heads, tokens, tokens): gradients of the attention matrices */
	double *row, *next;    /* (tokens): of the rollout */
	float *grid;           /* (grid_h, grid_w) */
	float *pooled;         /* (VIT_PARTS, width) */
	float *stream, *part;  /* (tokens, width): relevance of the residual stream, and within a branch */
	float *middle;         /* (tokens, width): the stream between the branches of a block */
	float *attended;      /* (tokens, width): what the attention adds to the stream, then its relevance */
	float *branch;        /* (tokens, width): the same of the MLP */
	float *wide;          /* (tokens, hidden or 3 width) */
	float *prob, *scores; /* (tokens, tokens): relevance of one head's attention matrix; its scores */
	struct lrp lrp;
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s = {0};
	size_t t = (size_t)c->tokens, d = (size_t)c->width, h = (size_t)c->hidden;

	(void)params;
	(void)batch;
	(void)targets;
	s.cotangent = arena_floats(a, (size_t)c->classes);
	s.dx = arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);
	s.dprob = arena_floats(a, (size_t)c->depth * (size_t)c->heads * t * t);
	s.row = arena_take(a, t, sizeof(double));
	s.next = arena_take(a, t, sizeof(double));
	s.grid = arena_floats(a, (size_t)(c->grid_h * c->grid_w));
	s.pooled = arena_floats(a, VIT_PARTS * d);
	s.stream = arena_floats(a, t * d);
	s.part = arena_floats(a, t * d);
	s.middle = arena_floats(a, t * d);
	s.attended = arena_floats(a, t * d);
	s.branch = arena_floats(a, t * d);
	s.wide = arena_floats(a, t * (h > 3 * d ? h : 3 * d));
	s.prob = arena_floats(a, t * t);
	s.scores = arena_floats(a, t * t);
	lrp_carve(&s.lrp, a, c);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* s->stream: relevance of the tokens that leave the last block. The mean of the patches is one more linear
 * layer, channel by channel. */
static void head(struct scratch *s, int target)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_head *h = &s->lrp.vit->weights.head;
	int d = c->width, grid = c->tokens - c->prefix;

	lrp_recall_head(&s->lrp);
	lrp_head_positive(&s->lrp, s->pooled, target);
	memset(s->stream, 0, (size_t)vit_queries(c, c->depth - 1) * (size_t)d * sizeof(float));
	for (int k = 0; k < h->count; k++) {
		float *r = s->pooled + k * d;
		const float *patches = s->lrp.tokens + c->prefix * d;

		if (h->parts[k].token != VIT_MEAN) {
			rows_add(s->stream + h->parts[k].token * d, r, 1, d);
			continue;
		}
		rows_mean(s->branch, patches, grid, d);
		divide_or_zero(r, r, s->branch, 1.0f / (float)grid, (size_t)d);
		for (int i = 0; i < grid; i++)
			rows_add_scaled(s->stream + (c->prefix + i) * d, patches + i * d, r, 1, d);
	}
}

static double sum_of(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

/* What a part of a residual sum is multiplied by: its share of the relevance over what it has. */
static float share(double part, double other, double all)
{
	double both = fabs(part) + fabs(other);

	return part == 0 ? 0 : (float)(fabs(part) / both * all / part);
}

/*
 * The relevance of sum = x + y (n): in proportion, each then scaled to the share that it has of the total.
 * r becomes that of x, r_branch that of y; y may be r_branch.
 */
static void residual(float *r, float *r_branch, const float *x, const float *y, const float *sum, size_t n)
{
	double all = sum_of(r, n), a, b;

	divide_or_zero(r, r, sum, 1, n);
	for (size_t i = 0; i < n; i++)
		r_branch[i] = y[i] * r[i];
	multiply(r, x, n);
	a = sum_of(r, n);
	b = sum_of(r_branch, n);
	float keep = share(a, b, all), hand = share(b, a, all);
	for (size_t i = 0; i < n; i++) {
		r[i] *= keep;
		r_branch[i] *= hand;
	}
}

/* y (rows, width) = what a branch adds to the stream: the layer of x (rows, in), scaled. */
static void branch_again(
	float *y, const float *x, const struct vit_linear *l, const float *scale, int rows, int width, int in)
{
	rows_fill(y, l->b, rows, width);
	gemm_nt(y, width, x, in, l->w, in, rows, width, in, 1, 1);
	for (int r = 0; r < rows && scale; r++)
		multiply(y + (size_t)r * (size_t)width, scale, (size_t)width);
}

/* s->attended and s->middle, and what lrp_recall() makes. */
static void recall(struct scratch *s, int block)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_block *b = &s->lrp.vit->weights.blocks[block];
	int rows = vit_queries(c, block), d = c->width;

	lrp_recall(&s->lrp, block);
	branch_again(s->attended, s->lrp.mixed, &b->proj, b->ls1, rows, d, d);
	memcpy(s->middle, s->lrp.work->blocks[block].entering, (size_t)(rows * d) * sizeof(float));
	rows_add(s->middle, s->attended, 1, rows * d);
}

/* s->stream: from what leaves the block to what enters its MLP. */
static void mlp(struct scratch *s, int block)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_block *b = &s->lrp.vit->weights.blocks[block];
	const struct vit_work *w = s->lrp.work;
	const float *leaving = block + 1 < c->depth ? w->blocks[block + 1].entering : w->left;
	int rows = vit_queries(c, block), d = c->width, h = c->hidden;
	size_t n = (size_t)rows * (size_t)d;

	branch_again(s->branch, s->lrp.hidden, &b->fc2, b->ls2, rows, d, h);
	residual(s->stream, s->branch, s->middle, s->branch, leaving, n);
	lrp_positive(&s->lrp, s->wide, s->lrp.hidden, b->fc2.w, s->branch, rows, d, h);
	lrp_positive(&s->lrp, s->part, s->lrp.normed2, b->fc1.w, s->wide, rows, h, d);
	rows_add(s->stream, s->part, 1, (int)n);
}

/*
 * Head h of o = prob v, prob = softmax(scores), scores = q k^T: from s->part, relevance of o over o, halved,
 * to s->prob, and unless that is all that is wanted on to the parts of s->wide (tokens, 3 width).
 */
static void product(struct scratch *s, const struct vit_kept *k, int h, int rows, bool all)
{
	const struct vit_config *c = &s->lrp.vit->config;
	int d = c->width, t = c->tokens, hd = c->head_dim, ld = 3 * d;
	size_t size = (size_t)rows * (size_t)t;
	const float *q = k->qkv + h * hd, *key = q + d, *v = key + d, *o = s->part + h * hd;
	const float *prob = k->prob + (size_t)h * size;
	float *r = s->wide + h * hd;

	gemm_nt(s->prob, t, o, d, v, ld, rows, t, hd, 1, 0);
	multiply(s->prob, prob, size);
	if (!all)
		return;
	gemm_tn(r + 2 * d, ld, prob, t, o, d, t, hd, rows, 1, 0);
	gemm_nt(s->scores, t, q, ld, key, ld, rows, t, hd, 1, 0);
	divide_or_zero(s->scores, s->prob, s->scores, 0.5f, size);
	gemm_nn(r, ld, s->scores, t, key, ld, rows, hd, t, 1, 0);
	gemm_tn(r + d, ld, s->scores, t, q, ld, t, hd, rows, 1, 0);
}

/* next += row times the mean over heads of the positive part of dprob * s->prob (rows, tokens), head by head.
 */
static void roll(struct scratch *s, const float *dprob, int rows)
{
	const struct vit_config *c = &s->lrp.vit->config;
	int t = c->tokens;

	for (int i = 0; i < rows; i++)
		for (int j = 0; j < t; j++) {
			double e = (double)dprob[i * t + j] * s->prob[i * t + j];

			if (!(e <= 0)) /* NaN counts, and is found */
				s->next[j] += s->row[i] / c->heads * e;
		}
}

/* s->stream: from what enters the MLP to what enters the block; s->row through the block's matrix. lowest:
 * nothing more is wanted than the latter. */
static void attention(struct scratch *s, int block, bool lowest)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_block *b = &s->lrp.vit->weights.blocks[block];
	const struct vit_kept *k = &s->lrp.work->blocks[block];
	int rows = vit_queries(c, block), d = c->width, t = c->tokens;
	size_t n = (size_t)rows * (size_t)d, all = (size_t)t * (size_t)d, size = (size_t)rows * (size_t)t;
	const float *dprob = s->dprob + (size_t)block * (size_t)c->heads * (size_t)t * (size_t)t;
	double *done = s->row;

	residual(s->stream, s->attended, k->entering, s->attended, s->middle, n);
	lrp_positive(&s->lrp, s->part, s->lrp.mixed, b->proj.w, s->attended, rows, d, d);
	divide_or_zero(s->part, s->part, s->lrp.mixed, 0.5f, n);
	memset(s->wide, 0, 3 * all * sizeof(float)); /* q of the tokens that do not leave the block */
	memcpy(s->next, s->row, (size_t)t * sizeof(*s->next));
	for (int h = 0; h < c->heads; h++) {
		product(s, k, h, rows, !lowest);
		roll(s, dprob + (size_t)h * size, rows);
	}
	s->row = s->next;
	s->next = done;
	if (lowest)
		return;
	multiply(s->wide, k->qkv, (size_t)rows * (size_t)(3 * d));
	for (int i = rows; i < t; i++)
		multiply(s->wide + ((size_t)i * 3 + 1) * (size_t)d, k->qkv + ((size_t)i * 3 + 1) * (size_t)d,
			(size_t)(2 * d));
	lrp_positive(&s->lrp, s->part, s->lrp.normed1, b->qkv.w, s->wide, t, 3 * d, d);
	memset(s->stream + n, 0, (all - n) * sizeof(float));
	rows_add(s->stream, s->part, 1, (int)all);
}

/* s->row: of the whole rollout less the identity. Returns the relevance that reaches the lowest block's
 * attention. */
static double propagate(struct scratch *s, int target, int start)
{
	const struct vit_config *c = &s->lrp.vit->config;
	double relevance = 0;

	method_classified_row(s->row, s->lrp.vit);
	head(s, target);
	for (int l = c->depth - 1; l >= start; l--) {
		recall(s, l);
		mlp(s, l);
		relevance = sum_of(s->stream, (size_t)(vit_queries(c, l) * c->width));
		attention(s, l, l == start);
	}
	/* the product of the identities says nothing; of a class token it falls on a column that is dropped
	 */
	method_classified_row(s->next, s->lrp.vit);
	for (int i = 0; i < c->tokens; i++)
		s->row[i] -= s->next[i];
	return relevance;
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	clean_forward(in->clean);
	s->lrp.vit = in->vit;
	s->lrp.work = in->work;
	for (int t = 0; t < in->count; t++) {
		if (stop_requested())
			return err_set(err, "stopped");
		memset(s->cotangent, 0, (size_t)c->classes * sizeof(*s->cotangent));
		s->cotangent[in->targets[t]] = 1;
		vit_backward_with(in->vit, in->work, s->dx, s->cotangent,
			&(struct vit_backward){.rules = &vit_rules_true, .dprob = s->dprob});
		figures_out[0] = propagate(s, in->targets[t], ((const struct params *)params)->start_layer);
		for (int i = 0; i < c->grid_h * c->grid_w; i++)
			s->grid[i] = (float)s->row[c->prefix + i];
		if (method_upsample(raw + (size_t)t * plane, s->grid, c, err))
			return -1;
	}
	return 0;
}

static int check(const struct vit_config *c, const void *params, struct err *err)
{
	int start = ((const struct params *)params)->start_layer;

	if (lrp_check(c, "chefer", err))
		return -1;
	if (start >= c->depth)
		return err_set(err, "start_layer is %d, but %s has blocks 0 to %d", start, c->architecture,
			c->depth - 1);
	return 0;
}

static void passes(const void *params, double *forward, double *backward)
{
	(void)params;
	*forward = 0;
	*backward = 5;
}

extern const struct method_ops method_chefer;
const struct method_ops method_chefer = {
	.name = "chefer",
	.help = "rollout of the attention matrices' gradients times their relevance (Chefer et al. 2021)",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_GRADIENT,
	.figures = figures,
	.carve = carve,
	.run = run,
	.check = check,
	.passes = passes,
	.clean = 1,
};

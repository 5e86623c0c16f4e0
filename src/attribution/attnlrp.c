/*
 * AttnLRP (Achtibat et al. 2024; methods.md section 4), as relevance in pixels, from the logit. In cotangents
 * g = R / x every rule but those of linear layers is linear: norms with a constant rstd, the gate of the
 * activation, the softmax as in the gradient, products shared out by halves (q and k see two of them: 1/4).
 * With epsilon (its limit 0) linear layers are too, and the map is the image times a modified gradient; the
 * gamma rule puts more weight on the contributions of an output's own sign.
 */
#include "attribution/lrp.h"

#include "base/clock.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"

#include <string.h>

enum rule { RULE_EPSILON, RULE_GAMMA };

struct params {
	int rule;
	double gamma_linear, gamma_patch;
	int postprocess;
};

static const struct option_row options[] = {
	{"rule", OPT_CHOICE, offsetof(struct params, rule), "epsilon", 0, 0, "epsilon|gamma",
		"of linear layers: gamma prefers contributions of the sign of what they add up to"},
	{"gamma_linear", OPT_DOUBLE, offsetof(struct params, gamma_linear), "0.05", 0, 1000, NULL,
		"rule gamma: how much more these count, in the linear layers of the blocks and the head"},
	{"gamma_patch", OPT_DOUBLE, offsetof(struct params, gamma_patch), "0.25", 0, 1000, NULL,
		"rule gamma: the same of the patch embedding"},
	METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

struct scratch {
	float *product; /* (channels, H, W): relevances of the numbers of the image */
	/* rule gamma; g of ... */
	float *stream;   /* (tokens, width): the residual stream */
	float *branch;   /* (tokens, width): within a branch, or scaled */
	float *part;     /* (tokens, width): what a branch's layer takes */
	float *wide;     /* (tokens, hidden or 3 width) */
	float *pooled;   /* (VIT_PARTS, width) */
	float *prob;     /* (tokens, tokens): of one head */
	float *patches;  /* (grid, vit_patch_inputs()): the image */
	float *dpatches; /* the same of g */
	struct lrp lrp;
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s = {0};
	size_t t = (size_t)c->tokens, d = (size_t)c->width, h = (size_t)c->hidden;
	size_t patches = (size_t)(c->grid_h * c->grid_w) * (size_t)vit_patch_inputs(c);

	(void)batch;
	(void)targets;
	s.product = arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);
	if (((const struct params *)params)->rule == RULE_GAMMA) {
		s.stream = arena_floats(a, t * d);
		s.branch = arena_floats(a, t * d);
		s.part = arena_floats(a, t * d);
		s.wide = arena_floats(a, t * (h > 3 * d ? h : 3 * d));
		s.pooled = arena_floats(a, VIT_PARTS * d);
		s.prob = arena_floats(a, t * t);
		s.patches = arena_floats(a, patches);
		s.dpatches = arena_floats(a, patches);
		lrp_carve(&s.lrp, a, c);
	}
	if (scratch)
		*scratch = s;
	return scratch;
}

/* ---- rule gamma ---- */

/* s->stream: of the tokens that leave the last block. */
static void head(struct scratch *s, int target, float gamma)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_weights *w = &s->lrp.vit->weights;
	const struct vit_work *work = s->lrp.work;
	int d = c->width, leaving = vit_queries(c, c->depth - 1), grid = c->tokens - c->prefix;
	size_t size = (size_t)leaving * (size_t)d * sizeof(float);
	float *pooled = s->pooled, *tokens = c->final_norm ? s->part : s->stream;

	lrp_recall_head(&s->lrp);
	lrp_head_gamma(&s->lrp, pooled, target, gamma);
	if (c->fc_norm) {
		memset(s->branch, 0, (size_t)(w->head.count * d) * sizeof(float));
		layernorm_backward_frozen(s->branch, pooled, work->fc.rstd, w->fc_norm.w, w->head.count, d);
		pooled = s->branch;
	}
	memset(tokens, 0, size);
	for (int k = 0; k < w->head.count; k++, pooled += d)
		if (w->head.parts[k].token == VIT_MEAN)
			rows_add_shared(tokens + c->prefix * d, pooled, 1.0f / (float)grid, grid, d);
		else
			rows_add(tokens + w->head.parts[k].token * d, pooled, 1, d);
	if (c->final_norm) {
		memset(s->stream, 0, size);
		layernorm_backward_frozen(s->stream, tokens, work->last.rstd, w->norm.w, leaving, d);
	}
}

/* The cotangent of a branch's last linear layer. */
static const float *branch(struct scratch *s, const float *scale, int rows, int width)
{
	if (!scale)
		return s->stream;
	rows_scale(s->branch, s->stream, scale, rows, width);
	return s->branch;
}

static void mlp(struct scratch *s, int block, float gamma)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_block *b = &s->lrp.vit->weights.blocks[block];
	const struct vit_kept *k = &s->lrp.work->blocks[block];
	int rows = vit_queries(c, block), d = c->width, h = c->hidden;

	lrp_gamma(&s->lrp, s->wide, s->lrp.hidden, &b->fc2, branch(s, b->ls2, rows, d), gamma, rows, d, h);
	(c->activation == VIT_QUICK_GELU ? quick_gelu_backward_frozen : gelu_backward_frozen)(
		s->wide, k->activation, (size_t)rows * (size_t)h);
	lrp_gamma(&s->lrp, s->part, s->lrp.normed2, &b->fc1, s->wide, gamma, rows, h, d);
	layernorm_backward_frozen(s->stream, s->part, k->norm2.rstd, b->norm2.w, rows, d);
}

/* s->wide (tokens, 3 width) through the norms of q and k, in place. */
static void norm_qk(struct scratch *s, const struct vit_block *b, const struct vit_kept *k)
{
	const struct vit_config *c = &s->lrp.vit->config;
	size_t d = (size_t)c->width;

	for (int i = 0; i < 2 * c->tokens; i++) {
		float *at = s->wide + (size_t)(i / 2 * 3 + i % 2) * d;

		memcpy(s->part, at, d * sizeof(*at));
		memset(at, 0, d * sizeof(*at));
		layernorm_backward_frozen(at, s->part, k->qk.rstd + i * c->heads,
			i % 2 ? b->k_norm.w : b->q_norm.w, c->heads, c->head_dim);
	}
}

static void attention(struct scratch *s, int block, float gamma)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_block *b = &s->lrp.vit->weights.blocks[block];
	const struct vit_kept *k = &s->lrp.work->blocks[block];
	int rows = vit_queries(c, block), d = c->width, t = c->tokens;

	lrp_gamma(&s->lrp, s->part, s->lrp.mixed, &b->proj, branch(s, b->ls1, rows, d), gamma, rows, d, d);
	for (int i = rows; i < t; i++) /* where nothing leaves the block */
		memset(s->wide + (size_t)i * (size_t)(3 * d), 0, (size_t)d * sizeof(float));
	attention_backward(s->wide, NULL, s->part, k->qkv, k->prob, s->prob, vit_rules_attnlrp.qk,
		vit_rules_attnlrp.v, rows, t, c->heads, c->head_dim);
	if (c->qk_norm)
		norm_qk(s, b, k);
	lrp_gamma(&s->lrp, s->part, s->lrp.normed1, &b->qkv, s->wide, gamma, t, 3 * d, d);
	memset(s->stream + (size_t)rows * (size_t)d, 0, (size_t)(t - rows) * (size_t)d * sizeof(float));
	layernorm_backward_frozen(s->stream, s->part, k->norm1.rstd, b->norm1.w, t, d);
}

/* s->product: of the image. Positions and prefix tokens keep what they get. */
static void embedding(struct scratch *s, const float *x, float gamma)
{
	const struct vit_config *c = &s->lrp.vit->config;
	const struct vit_weights *w = &s->lrp.vit->weights;
	int d = c->width, grid = c->tokens - c->prefix;
	float *g = s->stream;

	if (c->norm_pre) {
		memset(s->part, 0, (size_t)c->tokens * (size_t)d * sizeof(float));
		layernorm_backward_frozen(s->part, g, s->lrp.work->pre.rstd, w->norm_pre.w, c->tokens, d);
		g = s->part;
	}
	vit_gather_patches(s->patches, x, c, 1);
	lrp_gamma(&s->lrp, s->dpatches, s->patches, &w->patch, g + c->prefix * d, gamma, grid, d,
		vit_patch_inputs(c));
	vit_scatter_patches(s->product, s->dpatches, c, 1);
}

static void by_gamma(struct scratch *s, const struct params *p, const struct method_input *in, int target)
{
	float gamma = (float)p->gamma_linear;

	clean_forward(in->clean);
	s->lrp.vit = in->vit;
	s->lrp.work = in->work;
	head(s, target, gamma);
	for (int l = in->vit->config.depth - 1; l >= 0; l--) {
		lrp_recall(&s->lrp, l);
		mlp(s, l, gamma);
		attention(s, l, gamma);
	}
	embedding(s, in->x, (float)p->gamma_patch);
}

/* ---- both ---- */

static int run(void *scratch, const void *params, const struct method_input *in, float *raw, double *figures,
	struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	const struct params *p = params;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, n = plane * (size_t)c->channels;

	(void)figures;
	for (int t = 0; t < in->count; t++) {
		if (stop_requested())
			return err_set(err, "stopped");
		if (p->rule == RULE_GAMMA)
			by_gamma(s, p, in, in->targets[t]);
		else
			memcpy(s->product,
				clean_gradient(in->clean, &vit_rules_attnlrp, in->targets[t], NULL),
				n * sizeof(float));
		multiply(s->product, in->x, n);
		if (method_sum_channels(raw + (size_t)t * plane, s->product, c, err))
			return -1;
	}
	return 0;
}

static int check(const struct vit_config *c, const void *params, struct err *err)
{
	(void)params;
	return lrp_check(c, "attnlrp", err);
}

static void passes(const void *params, double *forward, double *backward)
{
	*forward = 0;
	*backward = ((const struct params *)params)->rule == RULE_GAMMA ? 4 : 1;
}

extern const struct method_ops method_attnlrp;
const struct method_ops method_attnlrp = {
	.name = "attnlrp",
	.help = "layer-wise relevance propagation through attention too (AttnLRP), down to the pixels",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_GRADIENT,
	.carve = carve,
	.run = run,
	.check = check,
	.passes = passes,
	.clean = 1,
};

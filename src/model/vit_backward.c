/* The backward passes of the ViT to its input: true, frozen (methods.md section 2), and by other rules. */
#include "model/vit.h"

#include "kernels/attention.h"
#include "kernels/bcos.h"
#include "kernels/elementwise.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"

#include <string.h>

const struct vit_rules vit_rules_true = {false, false, false, 1, 1};
const struct vit_rules vit_rules_frozen = {true, true, true, 1, 1};
const struct vit_rules vit_rules_attnlrp = {false, true, true, 0.25f, 0.5f};

/* One backward pass: `count` cotangents, `per` for each image of the forward pass. */
struct pass {
	const struct vit *vit;
	struct vit_work *w;
	int count, per;
	const struct vit_rules *rules;
	struct vit_account *account; /* (count) or NULL */
	float *dprob;                /* (depth, heads, tokens, tokens) or NULL */
};

/* What was kept for the image of cotangent i: its part of `kept`, with `size` values an image. */
static const float *kept_of(const struct pass *p, const float *kept, int i, size_t size)
{
	return kept + (size_t)(i / p->per) * size;
}

/* Adds, per cotangent, what a bias of a layer contributes: the sum of bias times its cotangent. */
static void account_bias(const struct pass *p, const float *g, const float *bias, int rows, int width)
{
	for (int i = 0; p->account && bias && i < p->count; i++)
		p->account[i].biases += rows_dot(g + (size_t)i * (size_t)(rows * width), bias, rows, width);
}

/* dt += adjoint of the norm applied to dy; rows of each cotangent. */
static void norm_backward(const struct pass *p, float *dt, const float *dy, const struct vit_linear *norm,
	const struct vit_norm *kept, int rows)
{
	int d = p->vit->config.width;
	size_t image = (size_t)rows * (size_t)d;

	account_bias(p, dy, norm->b, rows, d);
	for (int i = 0; i < p->count; i++, dt += image, dy += image) {
		const float *rstd = kept_of(p, kept->rstd, i, (size_t)rows);

		if (p->rules->norm)
			layernorm_backward_frozen(dt, dy, rstd, norm->w, rows, d);
		else
			layernorm_backward(dt, dy, kept_of(p, kept->xhat, i, image), rstd, norm->w, rows, d);
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

/* dx (count * rows, in) = adjoint of a B-cos layer applied to dy (count * rows, out); dz: scratch of the size
 * of dy, may be dy. */
static void unit_backward(const struct pass *p, float *dx, float *dz, const float *dy,
	const struct vit_linear *l, const struct vit_unit *kept, int rows, int out, int in)
{
	size_t image = (size_t)rows * (size_t)out, image_in = (size_t)rows * (size_t)in;
	float *pull = p->w->norms;

	for (int i = 0; i < p->count; i++) {
		const float *cosine = kept_of(p, kept->cosine, i, image);
		float *to = dz + (size_t)i * image;

		if (p->rules->activation)
			bcos_backward_frozen(to, dy + (size_t)i * image, cosine, image);
		else
			bcos_backward(to, pull + i * rows, dy + (size_t)i * image, cosine, rows, out);
	}
	gemm_nn(dx, in, dz, out, l->w, in, p->count * rows, in, out, 1, 0);
	for (int i = 0; i < p->count && !p->rules->activation; i++)
		bcos_backward_norm(dx + (size_t)i * image_in, kept_of(p, kept->x, i, image_in),
			pull + i * rows, kept_of(p, kept->norm, i, (size_t)rows), rows, in);
}

/* hidden (count, image values) through the activation; where SwiGLU is not frozen, dgate becomes the
 * cotangent of what its gate takes. */
static void activation_backward(
	const struct pass *p, float *hidden, float *dgate, const struct vit_kept *k, size_t image)
{
	enum vit_activation activation = p->vit->config.activation;
	bool kept_slope = p->w->last_mode == VIT_EFFECTIVE, quick = activation == VIT_QUICK_GELU;

	for (int i = 0; i < p->count; i++) {
		const float *z = kept_of(p, k->activation, i, image);
		float *dz = hidden + (size_t)i * image;

		if (kept_slope)
			multiply(dz, z, image);
		else if (activation == VIT_SWIGLU)
			swiglu_backward(dz, dgate ? dgate + (size_t)i * image : NULL, z,
				kept_of(p, k->gate, i, image), image);
		else if (p->rules->activation)
			(quick ? quick_gelu_backward_frozen : gelu_backward_frozen)(dz, z, image);
		else
			(quick ? quick_gelu_backward : gelu_backward)(dz, z, image);
	}
}

/* dt (count, rows, width) is the cotangent of the stream, before and after: of its first rows, where those
 * are not all that leave the block, in a pass over one image. */
static void mlp_backward(const struct pass *p, float *dt, int block, int tokens)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_block *b = &p->vit->weights.blocks[block];
	const struct vit_kept *k = &p->w->blocks[block];
	int rows = p->count * tokens, d = c->width, h = c->hidden;
	float *hidden = p->w->hidden, *mixed = p->w->mixed;
	const float *g = branch_cotangent(p->w->normed, dt, b->ls2, rows, d);
	/* nothing reaches the gate of SwiGLU when it is frozen */
	float *gate = c->activation == VIT_SWIGLU && !p->rules->activation ? p->w->gate : NULL;

	if (c->bcos) {
		unit_backward(p, hidden, p->w->normed, dt, &b->fc2, &k->fc2, tokens, d, h);
		unit_backward(p, mixed, hidden, hidden, &b->fc1, &k->fc1, tokens, h, d);
		norm_backward(p, dt, mixed, &b->norm2, &k->norm2, tokens);
		return;
	}
	account_bias(p, g, b->fc2.b, tokens, d);
	gemm_nn(hidden, h, g, d, b->fc2.w, h, rows, h, d, 1, 0);
	activation_backward(p, hidden, gate, k, (size_t)tokens * (size_t)h);
	account_bias(p, hidden, b->fc1.b, tokens, h);
	gemm_nn(mixed, d, hidden, h, b->fc1.w, d, rows, d, h, 1, 0);
	if (gate)
		gemm_nn(mixed, d, gate, h, b->gate.w, d, rows, d, h, 1, 1);
	norm_backward(p, dt, mixed, &b->norm2, &k->norm2, tokens);
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
	for (int q = 0; q < queries; q++)
		gemm_nn(dnormed + q * d, t * d, dqkv + q * 3 * d, t * 3 * d, l->w, d, p->count, d, d, 1, 1);
}

/* dqkv: through the norms of q and k, in place. */
static void qk_norm_backward(
	const struct pass *p, float *dqkv, const struct vit_block *b, const struct vit_kept *k, int queries)
{
	const struct vit_config *c = &p->vit->config;
	size_t tokens = (size_t)c->tokens, d = (size_t)c->width, heads = (size_t)c->heads;

	for (size_t row = 0; row < (size_t)p->count * tokens; row++)
		for (size_t part = row % tokens < (size_t)queries ? 0 : 1; part < 2; part++) {
			float *at = dqkv + (row * 3 + part) * d, *dy = p->w->normed;
			size_t kept = row / tokens / (size_t)p->per * tokens + row % tokens,
			       head = (kept * 2 + part) * heads;

			const float *weight = part ? b->k_norm.w : b->q_norm.w, *rstd = k->qk.rstd + head;

			memcpy(dy, at, d * sizeof(*dy));
			memset(at, 0, d * sizeof(*at));
			if (p->rules->norm)
				layernorm_backward_frozen(at, dy, rstd, weight, c->heads, c->head_dim);
			else
				layernorm_backward(at, dy, k->qk.xhat + head * (size_t)c->head_dim, rstd,
					weight, c->heads, c->head_dim);
		}
}

/* Where the cotangents of a block's attention matrices go. */
static float *dprob_of(const struct pass *p, int block)
{
	const struct vit_config *c = &p->vit->config;

	return p->dprob + (size_t)block * (size_t)c->heads * (size_t)c->tokens * (size_t)c->tokens;
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
	if (c->bcos)
		unit_backward(p, mixed, p->w->normed, g, &b->proj, &k->proj, queries, d, d);
	else
		gemm_nn(mixed, d, g, d, b->proj.w, d, p->count * queries, d, d, 1, 0);
	for (int i = 0; i < p->count; i++) {
		size_t row = (size_t)i * (size_t)(c->tokens * d), out = (size_t)i * (size_t)(queries * d);
		const float *prob = kept_of(p, k->prob, i, prob_size);

		if (p->rules->attention)
			attention_backward_frozen(
				dqkv + row, mixed + out, prob, queries, c->tokens, c->heads, c->head_dim);
		else
			attention_backward(dqkv + 3 * row, p->dprob ? dprob_of(p, block) : NULL, mixed + out,
				kept_of(p, k->qkv, i, (size_t)(3 * c->tokens * d)), prob, p->w->prob,
				p->rules->qk, p->rules->v, queries, c->tokens, c->heads, c->head_dim);
	}
	if (p->rules->attention) { /* only v depends on the input: its rows of the qkv layer are the last
				      `width` */
		account_bias(p, dqkv, b->qkv.b ? b->qkv.b + 2 * d : NULL, c->tokens, d);
		gemm_nn(mixed, d, dqkv, d, b->qkv.w + (size_t)2 * (size_t)d * (size_t)d, d, rows, d, d, 1, 0);
	} else {
		if (c->qk_norm)
			qk_norm_backward(p, dqkv, b, k, queries);
		qkv_backward(p, mixed, dqkv, &b->qkv, queries);
	}
	norm_backward(p, dt, mixed, &b->norm1, &k->norm1, c->tokens);
}

/* dstream (count, leaving, width) += adjoint of taking the parts that the head takes. */
static void pool_backward(const struct pass *p, float *dstream, const float *dpooled, int leaving)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_head *h = &p->vit->weights.head;
	int d = c->width, patches = c->tokens - c->prefix;

	for (int i = 0; i < p->count; i++)
		for (int k = 0; k < h->count; k++, dpooled += d) {
			float *rows = dstream + (size_t)i * (size_t)(leaving * d);

			if (h->parts[k].token == VIT_MEAN)
				rows_add_shared(
					rows + c->prefix * d, dpooled, 1.0f / (float)patches, patches, d);
			else
				rows_add(rows + h->parts[k].token * d, dpooled, 1, d);
		}
}

/* dstream (count, leaving, width) = adjoint of the head, the pooling, and the norms about it, of which `last`
 * and `fc` were kept. */
static void head_backward(const struct pass *p, float *dstream, const float *cotangent,
	const struct vit_norm *last, const struct vit_norm *fc)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *weights = &p->vit->weights;
	const struct vit_head *h = &weights->head;
	int d = c->width, leaving = vit_queries(c, c->depth - 1);
	size_t rows = (size_t)p->count * (size_t)leaving * (size_t)d,
	       parts = (size_t)(p->count * h->count * d);
	float *dpooled = p->w->pooled;

	account_bias(p, cotangent, h->b, 1, c->classes);
	if (c->bcos)
		unit_backward(p, dpooled, p->w->dlogits, cotangent, &(struct vit_linear){h->parts[0].w, NULL},
			&p->w->head, 1, c->classes, d);
	for (int k = 0; k < h->count && !c->bcos; k++)
		gemm_nn(dpooled + k * d, h->count * d, cotangent, c->classes, h->parts[k].w, h->parts[k].ldw,
			p->count, d, c->classes, h->scale, 0);
	if (c->fc_norm) {
		memset(p->w->mixed, 0, parts * sizeof(float));
		norm_backward(p, p->w->mixed, dpooled, &weights->fc_norm, fc, h->count);
		dpooled = p->w->mixed;
	}
	float *dnormed = c->final_norm ? p->w->normed : dstream;
	memset(dstream, 0, rows * sizeof(*dstream));
	memset(dnormed, 0, rows * sizeof(*dnormed));
	pool_backward(p, dnormed, dpooled, leaving);
	if (c->final_norm)
		norm_backward(p, dstream, dnormed, &weights->norm, last, leaving);
}

/* dt (count, tokens, width): the cotangents of the tokens that leave the last block, zeros for the others. */
static void spread(const struct pass *p, float *dt, const float *dleaving, int leaving)
{
	size_t part = (size_t)(leaving * p->vit->config.width);
	size_t image = (size_t)(p->vit->config.tokens * p->vit->config.width);

	memset(dt, 0, (size_t)p->count * image * sizeof(*dt));
	for (int i = 0; i < p->count; i++)
		memcpy(dt + (size_t)i * image, dleaving + (size_t)i * part, part * sizeof(*dt));
}

void vit_scatter_patches(float *x, const float *patches, const struct vit_config *c, int n)
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

static void embed_backward(const struct pass *p, float *dx, float *dt)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *weights = &p->vit->weights;
	int grid = c->grid_h * c->grid_w, d = c->width, k = vit_patch_inputs(c);

	if (c->norm_pre) {
		size_t size = (size_t)p->count * (size_t)(c->tokens * d) * sizeof(*dt);

		memcpy(p->w->normed, dt, size);
		memset(dt, 0, size);
		norm_backward(p, dt, p->w->normed, &weights->norm_pre, &p->w->pre, c->tokens);
	}
	for (int i = 0; i < p->count; i++) {
		const float *g = dt + (size_t)i * (size_t)(c->tokens * d), *patch_g = g + c->prefix * d;

		gemm_nn(p->w->patches + (size_t)i * (size_t)(grid * k), k, patch_g, d, weights->patch.w, k,
			grid, k, d, 1, 0);
		if (!p->account)
			continue;
		p->account[i].prefix += rows_dot(g, weights->prefix, 1, c->prefix * d);
		p->account[i].positions += rows_dot(g, weights->pos, 1, c->tokens * d);
		if (weights->patch.b)
			p->account[i].biases += rows_dot(patch_g, weights->patch.b, grid, d);
	}
	vit_scatter_patches(dx, p->w->patches, c, p->count);
}

/* The same of a B-cos network: no prefix; positions are added to what the patch layer gives. */
static void embed_backward_bcos(const struct pass *p, float *dx, float *dt)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *weights = &p->vit->weights;
	int d = c->width, k = vit_patch_inputs(c);
	size_t pixels = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;

	for (int i = 0; p->account && i < p->count; i++)
		p->account[i].positions +=
			rows_dot(dt + (size_t)i * (size_t)(c->tokens * d), weights->pos, 1, c->tokens * d);
	unit_backward(p, p->w->patches, dt, dt, &weights->patch, &p->w->patch, c->tokens, d, k);
	if (!c->stem_depth)
		vit_scatter_patches(dx, p->w->patches, c, p->count);
	for (int i = 0; i < p->count && c->stem_depth; i++)
		stem_backward(&p->w->stem, dx + (size_t)i * pixels,
			p->w->patches + (size_t)i * (size_t)(c->tokens * k), c, weights, i / p->per,
			p->rules->activation);
}

static void account_pixels(const struct pass *p, const float *dx, const float *x)
{
	const struct vit_config *c = &p->vit->config;
	size_t pixels = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;

	for (int i = 0; p->account && i < p->count; i++)
		p->account[i].pixels +=
			rows_dot(dx + (size_t)i * pixels, x + (size_t)(i / p->per) * pixels, 1, (int)pixels);
}

void vit_backward_with(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const struct vit_backward *options)
{
	struct vit_backward o = options ? *options : (struct vit_backward){0};
	bool frozen = w->last_mode == VIT_EFFECTIVE;
	int per = o.per ? o.per : 1, last = vit->config.depth - 1, leaving = vit_queries(&vit->config, last);
	struct pass p = {vit, w, w->last_n * per, per, o.rules, o.account, o.dprob};

	if (!p.rules)
		p.rules = frozen ? &vit_rules_frozen : &vit_rules_true;
	if (w->last_mode == VIT_FORWARD || (frozen && p.rules != &vit_rules_frozen))
		BUG("backward pass that needs what the forward pass did not keep");
	if (p.count > w->cotangents || (p.dprob && (p.count > 1 || p.rules->attention)))
		BUG("backward pass of %d cotangents, workspace for %d", p.count, w->cotangents);
	if (p.account)
		memset(p.account, 0, (size_t)p.count * sizeof(*p.account));
	float *dleaving = leaving < vit->config.tokens ? w->classified : w->tokens;

	head_backward(&p, dleaving, cotangent, &w->last, &w->fc);
	for (int l = last; l >= 0; l--) {
		mlp_backward(&p, dleaving, l, vit_queries(&vit->config, l));
		if (dleaving != w->tokens)
			spread(&p, w->tokens, dleaving, leaving);
		attention_branch_backward(&p, w->tokens, dleaving, l);
		dleaving = w->tokens;
	}
	(vit->config.bcos ? embed_backward_bcos : embed_backward)(&p, dx, w->tokens);
	account_pixels(&p, dx, o.x);
}

void vit_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const float *x, struct vit_account *account)
{
	vit_backward_with(vit, w, dx, cotangent, &(struct vit_backward){.x = x, .account = account});
}

/* ---- the head on the way ---- */

int vit_layer_gradient(
	const struct vit *vit, struct vit_work *w, float *dprob, const float *cotangent, int block)
{
	const struct vit_config *c = &vit->config;
	const struct vit_weights *weights = &vit->weights;
	const struct vit_block *b = &weights->blocks[block];
	const struct vit_kept *k = &w->blocks[block];
	struct pass p = {vit, w, 1, 1, &vit_rules_true, NULL, NULL};
	/* pooling looks at the first rows alone where the last block computes no others */
	int rows = vit_queries(c, c->depth - 1), d = c->width;
	const float *stream = block + 1 < c->depth ? w->blocks[block + 1].entering : w->left;
	float *pooled = w->qkv, *dleaving = rows < c->tokens ? w->classified : w->tokens, fc_rstd[VIT_PARTS];
	struct vit_norm last = {w->scratch.rstd, w->hidden}, fc = {fc_rstd, w->qkv + VIT_PARTS * d};

	if (w->last_mode != VIT_GRADIENT || w->last_n != 1 || c->bcos)
		BUG("gradient of a layer after another pass than its own");
	if (c->final_norm) {
		layernorm_forward(w->normed, last.rstd, last.xhat, stream, weights->norm.w, weights->norm.b,
			rows, d, c->eps);
		stream = w->normed;
	}
	vit_pool(pooled, stream, vit, 1);
	if (c->fc_norm)
		layernorm_forward(pooled, fc.rstd, fc.xhat, pooled, weights->fc_norm.w, weights->fc_norm.b,
			weights->head.count, d, c->eps);
	head_backward(&p, dleaving, cotangent, &last, &fc);
	mlp_backward(&p, dleaving, block, rows);
	const float *g = branch_cotangent(w->normed, dleaving, b->ls1, rows, d);
	gemm_nn(w->mixed, d, g, d, b->proj.w, d, rows, d, d, 1, 0);
	attention_backward_prob(dprob, w->mixed, k->qkv, rows, c->tokens, c->heads, c->head_dim);
	return rows;
}

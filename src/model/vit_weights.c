#include "model/vit_weights.h"

#include "base/err.h"
#include "model/pos_embed.h"
#include "model/vit_names.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One pass over all the tensors that a configuration asks for. Run twice: once to measure what cannot be used
 * where the file is mapped. */
struct reader {
	const struct vit_config *c;
	const struct safetensors *st, *head; /* head: of an external head, or NULL */
	bool *used;                          /* per tensor of st */
	float *own;                          /* NULL in the measuring pass */
	size_t at;                           /* floats of `own` so far */
	struct err *err;
	int failed; /* the first error is kept */
};

static bool shape_is(const struct tensor *t, int ndim, const int64_t *shape)
{
	return t->ndim == ndim && !memcmp(t->shape, shape, (size_t)ndim * sizeof(*shape));
}

/* The tensor `prefix name` with the given shape (sizes that are not positive end it); NULL on error. */
static const struct tensor *check(
	struct reader *r, const char *prefix, const char *name, const int64_t want[4])
{
	char timm[VIT_NAME], full[VIT_NAME], got[128], expected[128];
	struct tensor shape = {0};

	if (r->failed)
		return NULL;
	snprintf(timm, sizeof(timm), "%s%s", prefix, name);
	vit_name(full, r->c, r->st, timm);
	for (int i = 0; i < 4 && want[i] > 0; i++)
		shape.shape[shape.ndim++] = want[i];
	const struct tensor *t = safetensors_find(r->st, full);
	if (!t) {
		r->failed = err_set(r->err, "%s: tensor %s is missing, expected with shape %s", r->st->path,
			full, tensor_shape_text(expected, &shape));
		return NULL;
	}
	if (!shape_is(t, shape.ndim, shape.shape)) {
		r->failed = err_set(r->err, "%s: tensor %s has shape %s, expected %s", r->st->path, full,
			tensor_shape_text(got, t), tensor_shape_text(expected, &shape));
		return NULL;
	}
	if (t->dtype == DTYPE_OTHER) {
		r->failed = err_set(r->err, "%s: tensor %s has dtype %s, expected F32, F16 or BF16",
			r->st->path, full, t->dtype_name);
		return NULL;
	}
	r->used[t - r->st->tensors] = true;
	return t;
}

/* Memory of our own for that many floats; NULL in the measuring pass. */
static float *make(struct reader *r, size_t count)
{
	float *out = r->own ? r->own + r->at : NULL;

	r->at += (count + 15) / 16 * 16;
	return out;
}

/* p + n, NULL where p is: in the measuring pass. */
static float *behind(float *p, int64_t n)
{
	return p ? p + n : NULL;
}

static const float *take(struct reader *r, const char *prefix, const char *name, const int64_t want[4])
{
	const struct tensor *t = check(r, prefix, name, want);

	if (!t)
		return NULL;
	if (t->dtype == DTYPE_F32 && (uintptr_t)t->data % sizeof(float) == 0)
		return t->data;
	float *out = make(r, t->count);
	if (out)
		tensor_to_float(out, t);
	return out;
}

/* The tensor copied to `to`, where that is not NULL. */
static void copy(struct reader *r, float *to, const char *prefix, const char *name, const int64_t want[4])
{
	const struct tensor *t = check(r, prefix, name, want);

	if (t && to)
		tensor_to_float(to, t);
}

static bool exists(const struct reader *r, const char *prefix, const char *name)
{
	char full[VIT_NAME];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return vit_find(r->c, r->st, full) != NULL;
}

/* A layer or norm `name`: its .weight and, unless it has none, its .bias. */
static struct vit_linear linear(
	struct reader *r, const char *prefix, const char *name, int64_t out, int64_t in, bool bias)
{
	char full[96];
	struct vit_linear l = {0};

	snprintf(full, sizeof(full), "%s.weight", name);
	l.w = take(r, prefix, full, (int64_t[4]){out, in});
	snprintf(full, sizeof(full), "%s.bias", name);
	if (bias)
		l.b = take(r, prefix, full, (int64_t[4]){out});
	return l;
}

static struct vit_linear norm(struct reader *r, const char *prefix, const char *name, int64_t width)
{
	return linear(r, prefix, name, width, 0, !r->c->bcos);
}

/* Row by row to length 1. */
void vit_normalise_rows(float *w, int64_t rows, int64_t width)
{
	for (int64_t i = 0; i < rows; i++, w += width) {
		double sum = 0;

		for (int64_t k = 0; k < width; k++)
			sum += (double)w[k] * w[k];
		for (int64_t k = 0; k < width; k++)
			w[k] = (float)(w[k] / sqrt(sum));
	}
}

/* A linear layer of the network; of a B-cos one with rows of length 1. */
static struct vit_linear layer(
	struct reader *r, const char *prefix, const char *name, int64_t out, int64_t in, bool bias)
{
	char full[96];

	if (!r->c->bcos)
		return linear(r, prefix, name, out, in, bias);
	float *w = make(r, (size_t)(out * in));
	snprintf(full, sizeof(full), "%s.weight", name);
	copy(r, w, prefix, full, (int64_t[4]){out, in});
	if (w && !r->failed)
		vit_normalise_rows(w, out, in);
	return (struct vit_linear){w, NULL};
}

/* q, k and v beside each other, joined where the checkpoint has them apart. */
static struct vit_linear qkv(struct reader *r, const char *prefix, int64_t d)
{
	static const char *const weights[] = {"attn.q.weight", "attn.k.weight", "attn.v.weight"},
				 *const biases[] = {"attn.q.bias", "attn.k.bias", "attn.v.bias"};
	struct vit_linear l = {0};

	if (r->c->layout != VIT_TRANSFORMERS)
		return linear(r, prefix, "attn.qkv", 3 * d, d, r->c->qkv_bias);
	float *w = make(r, (size_t)(3 * d * d));
	for (int i = 0; i < 3; i++)
		copy(r, behind(w, i * d * d), prefix, weights[i], (int64_t[4]){d, d});
	l.w = w;
	if (r->c->qkv_bias) {
		float *b = make(r, (size_t)(3 * d));
		for (int i = 0; i < 3; i++)
			copy(r, behind(b, i * d), prefix, biases[i], (int64_t[4]){d});
		l.b = b;
	}
	return l;
}

/* fc1; of SwiGLU also the gate, packed before the value or apart. */
static void first_layer(struct reader *r, struct vit_block *b, const char *prefix, int64_t hidden, int64_t d)
{
	if (r->c->activation != VIT_SWIGLU) {
		b->fc1 = layer(r, prefix, "mlp.fc1", hidden, d, r->c->mlp_bias);
	} else if (exists(r, prefix, "mlp.fc1_g.weight")) {
		b->gate = linear(r, prefix, "mlp.fc1_g", hidden, d, r->c->mlp_bias);
		b->fc1 = linear(r, prefix, "mlp.fc1_x", hidden, d, r->c->mlp_bias);
	} else {
		b->gate = linear(r, prefix, "mlp.fc1", 2 * hidden, d, r->c->mlp_bias);
		b->fc1.w = b->gate.w ? b->gate.w + hidden * d : NULL;
		b->fc1.b = b->gate.b ? b->gate.b + hidden : NULL;
	}
}

static void read_block(struct reader *r, struct vit_block *b, int block)
{
	const struct vit_config *c = r->c;
	int64_t d = c->width;
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "blocks.%d.", block);
	b->norm1 = norm(r, prefix, "norm1", d);
	b->qkv = qkv(r, prefix, d);
	if (c->qk_norm) {
		b->q_norm = norm(r, prefix, "attn.q_norm", c->head_dim);
		b->k_norm = norm(r, prefix, "attn.k_norm", c->head_dim);
	}
	b->proj = layer(r, prefix, "attn.proj", d, d, c->proj_bias);
	b->norm2 = norm(r, prefix, "norm2", d);
	first_layer(r, b, prefix, c->hidden, d);
	b->fc2 = layer(r, prefix, "mlp.fc2", d, c->hidden, r->c->mlp_bias);
	if (c->layer_scale) {
		b->ls1 = take(r, prefix, "ls1.gamma", (int64_t[4]){d});
		b->ls2 = take(r, prefix, "ls2.gamma", (int64_t[4]){d});
	}
}

/* The prefix tokens one after the other, and the positional table of all tokens at the grid in use. */
static void read_embedding(struct reader *r, struct vit_weights *w)
{
	const struct vit_config *c = r->c;
	int64_t d = c->width, rows = c->pos_prefix + (int64_t)c->pos_h * c->pos_w;
	float *prefix = make(r, (size_t)(c->prefix * d)), *pos = make(r, (size_t)(c->tokens * d));
	int64_t at = 0;
	const float *table = take(r, "", "pos_embed", (int64_t[4]){1, rows, d});

	w->patch.w = take(r, "", "patch_embed.proj.weight", (int64_t[4]){d, c->channels, c->patch, c->patch});
	if (!c->norm_pre) /* as CLIP has it */
		w->patch.b = take(r, "", "patch_embed.proj.bias", (int64_t[4]){d});
	if (c->class_token)
		copy(r, behind(prefix, 0), "", "cls_token", (int64_t[4]){1, 1, d});
	at += c->class_token ? d : 0;
	if (c->dist_token)
		copy(r, behind(prefix, at), "", "dist_token", (int64_t[4]){1, 1, d});
	at += c->dist_token ? d : 0;
	if (c->registers)
		copy(r, behind(prefix, at), "", "reg_token", (int64_t[4]){1, c->registers, d});
	if (pos && table) {
		memset(pos, 0, (size_t)(c->prefix * d) * sizeof(*pos));
		memcpy(pos, table, (size_t)(c->pos_prefix * d) * sizeof(*pos));
		pos_embed_resample(pos + c->prefix * d, c->grid_h, c->grid_w, table + c->pos_prefix * d,
			c->pos_h, c->pos_w, c->width, !c->pos_plain);
	}
	w->prefix = prefix;
	w->pos = pos;
	if (c->norm_pre)
		w->norm_pre = norm(r, "", "norm_pre", d);
}

/* to (rows, inner, outer) from (rows, outer, inner). */
static void exchange(float *to, const float *from, int64_t rows, int64_t outer, int64_t inner)
{
	for (int64_t row = 0; row < rows; row++, from += outer * inner)
		for (int64_t i = 0; i < inner; i++)
			for (int64_t o = 0; o < outer; o++)
				*to++ = from[o * inner + i];
}

/* Rows of length 1 (rows x outer * inner) of a tensor of a B-cos network whose rows are (outer, inner), with
 * those exchanged. */
static const float *exchanged(
	struct reader *r, const char *name, const int64_t want[4], int64_t rows, int64_t outer, int64_t inner)
{
	size_t count = (size_t)(rows * outer * inner);
	float *w = make(r, count), *order = w ? x_malloc(count * sizeof(*order)) : NULL;

	copy(r, order, "", name, want);
	if (order && !r->failed) {
		exchange(w, order, rows, outer, inner);
		vit_normalise_rows(w, rows, outer * inner);
	}
	free(order);
	return w;
}

/* The stem and the patch layer, whose rows are (place, channel) in the file and as patches are gathered
 * (channel, place); those of a convolution the other way round. Positions need no tensor. */
static void read_bcos_embedding(struct reader *r, struct vit_weights *w)
{
	const struct vit_config *c = r->c;
	int64_t d = c->width, places = c->stem_depth ? 1 : c->patch * c->patch, before = c->channels;
	float *pos = make(r, (size_t)(c->tokens * d));
	char name[64];

	for (int l = 0; l < c->stem_depth; l++) {
		int64_t out = c->stem[l];

		snprintf(name, sizeof(name), "stem.%d.conv.weight", l);
		w->stem[l].w = exchanged(r, name, (int64_t[4]){out, before, 3, 3}, out, before, 9);
		snprintf(name, sizeof(name), "stem.%d.norm.weight", l);
		w->stem[l].norm = take(r, "", name, (int64_t[4]){out});
		before = out;
	}
	w->patch.w =
		exchanged(r, "patch_embed.proj.weight", (int64_t[4]){d, places * before}, d, places, before);
	if (pos)
		pos_embed_sincos(pos, c->grid_h, c->grid_w, c->width);
	w->pos = pos;
}

int vit_head_find(
	const struct tensor **w, const struct tensor **b, const struct safetensors *head, struct err *err)
{
	*w = *b = NULL;
	for (int i = 0; i < head->count; i++) {
		const struct tensor *t = &head->tensors[i], **at = t->ndim == 2 ? w : t->ndim == 1 ? b : NULL;

		if (!at || *at || t->dtype == DTYPE_OTHER)
			return err_set(err,
				"%s: tensor %s: expected one matrix and at most one bias, F32, F16 or BF16",
				head->path, t->name);
		*at = t;
	}
	if (!*w || (*w)->shape[0] < 1 || (*w)->shape[0] > 1 << 24 || (*w)->shape[1] > 1 << 24)
		return err_set(err, "%s: expected a matrix (classes, inputs)", head->path);
	if (*b && (*b)->shape[0] != (*w)->shape[0])
		return err_set(err, "%s: tensor %s: expected %lld values as tensor %s has rows", head->path,
			(*b)->name, (long long)(*w)->shape[0], (*w)->name);
	return 0;
}

static struct vit_linear external_head(struct reader *r)
{
	const struct tensor *w, *b;
	struct vit_linear l = {0};

	if (r->failed || vit_head_find(&w, &b, r->head, r->err)) {
		r->failed = -1;
		return l;
	}
	float *matrix = make(r, w->count), *bias = b ? make(r, b->count) : NULL;
	float *order = matrix && r->c->head_input == VIT_HEAD_INTERLEAVED ? x_malloc(w->count * sizeof(float))
									  : NULL;
	if (matrix)
		tensor_to_float(order ? order : matrix, w);
	for (size_t i = 0; order && i < w->count; i++) { /* c0 m0 c1 m1 ... to c0 c1 ... m0 m1 ... */
		size_t inputs = (size_t)w->shape[1], row = i / inputs * inputs, k = i % inputs;

		matrix[row + k / 2 + k % 2 * (inputs / 2)] = order[i];
	}
	free(order);
	if (bias)
		tensor_to_float(bias, b);
	l.w = matrix;
	l.b = bias;
	return l;
}

static void read_head(struct reader *r, struct vit_weights *w)
{
	const struct vit_config *c = r->c;
	int parts = c->pool == VIT_POOL_BOTH || c->dist_head ? 2 : 1, d = c->width;
	struct vit_head *h = &w->head;
	struct vit_linear l;

	if (c->final_norm)
		w->norm = norm(r, "", "norm", d);
	if (c->fc_norm)
		w->fc_norm = norm(r, "", "fc_norm", d);
	l = r->head ? external_head(r)
		    : layer(r, "", "head", c->classes, c->pool == VIT_POOL_BOTH ? 2 * d : d, true);
	*h = (struct vit_head){.count = parts, .scale = 1, .b = l.b};
	if (c->bcos) {
		float *b = make(r, (size_t)c->classes);

		for (int k = 0; b && k < c->classes; k++)
			b[k] = c->logit_bias;
		h->b = b;
	}
	h->parts[0] = (struct vit_part){c->pool == VIT_POOL_AVG ? VIT_MEAN : 0, l.w, d};
	if (c->pool == VIT_POOL_BOTH) {
		h->parts[0].ldw = 2 * d;
		h->parts[1] = (struct vit_part){VIT_MEAN, l.w ? l.w + d : NULL, 2 * d};
	} else if (c->dist_head) { /* the mean of two heads */
		struct vit_linear dist = linear(r, "", "head_dist", c->classes, d, true);
		float *b = make(r, (size_t)c->classes);

		for (int k = 0; b && k < c->classes; k++)
			b[k] = 0.5f * (l.b[k] + dist.b[k]);
		h->parts[1] = (struct vit_part){1, dist.w, d};
		h->scale = 0.5f;
		h->b = b;
	}
}

static void read_all(struct vit_weights *w, struct reader *r)
{
	if (r->c->bcos)
		read_bcos_embedding(r, w);
	else
		read_embedding(r, w);
	for (int l = 0; l < r->c->depth; l++)
		read_block(r, &w->blocks[l], l);
	read_head(r, w);
}

int vit_weights_init(struct vit_weights *w, const struct vit_config *c, const struct safetensors *st,
	const struct safetensors *head, struct err *err)
{
	struct reader r = {.c = c,
		.st = st,
		.head = head,
		.used = x_calloc((size_t)st->count, sizeof(bool)),
		.err = err};

	*w = (struct vit_weights){.blocks = x_calloc((size_t)c->depth, sizeof(*w->blocks))};
	read_all(w, &r);
	for (int i = 0; i < st->count && !r.failed; i++)
		if (!r.used[i] && !vit_ignored(c, st->tensors[i].name))
			r.failed = err_set(err,
				"%s: tensor %s: this kind of network is not supported (no %s has it)",
				st->path, st->tensors[i].name, c->architecture);
	if (!r.failed) {
		w->own_bytes = r.at * sizeof(float);
		w->own = r.own = x_aligned_alloc(w->own_bytes);
		r.at = 0;
		read_all(w, &r);
	}
	free(r.used);
	if (r.failed)
		vit_weights_release(w);
	return r.failed;
}

void vit_weights_release(struct vit_weights *w)
{
	free(w->blocks);
	free(w->own);
	*w = (struct vit_weights){0};
}

#include "model/vit_weights.h"

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One pass over all the tensors that a configuration asks for. Run twice: once to measure what must be
 * widened. */
struct reader {
	const struct safetensors *st;
	bool *used;     /* per tensor of st */
	float *widened; /* NULL in the measuring pass */
	size_t at;      /* floats widened so far */
	struct err *err;
	int failed; /* the first error is kept */
};

static bool shape_is(const struct tensor *t, int ndim, const int64_t *shape)
{
	return t->ndim == ndim && !memcmp(t->shape, shape, (size_t)ndim * sizeof(*shape));
}

/* The tensor `block name` with the given shape; negative sizes end the list. */
static const float *take(struct reader *r, const char *prefix, const char *name, const int64_t want[4])
{
	char full[160], got[128], expected[128];
	struct tensor shape = {0};

	if (r->failed)
		return NULL;
	snprintf(full, sizeof(full), "%s%s", prefix, name);
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
	if (t->dtype == DTYPE_F32 && (uintptr_t)t->data % sizeof(float) == 0)
		return t->data;
	float *out = r->widened ? r->widened + r->at : NULL;
	if (out)
		tensor_to_float(out, t);
	r->at += (t->count + 15) / 16 * 16;
	return out;
}

static struct vit_linear linear(
	struct reader *r, const char *prefix, const char *name, int64_t out, int64_t in)
{
	char weight[96], bias[96];
	struct vit_linear l;

	snprintf(weight, sizeof(weight), "%s.weight", name);
	snprintf(bias, sizeof(bias), "%s.bias", name);
	l.w = take(r, prefix, weight, (int64_t[4]){out, in});
	l.b = take(r, prefix, bias, (int64_t[4]){out});
	return l;
}

static void read_all(struct vit_weights *w, const struct vit_config *c, struct reader *r)
{
	int64_t d = c->width, patches = (int64_t)c->grid_h * c->grid_w;
	int64_t rows = patches + (c->no_embed_class ? 0 : c->prefix);

	w->cls_token = take(r, "", "cls_token", (int64_t[4]){1, 1, d});
	w->pos_embed = take(r, "", "pos_embed", (int64_t[4]){1, rows, d});
	w->patch.w = take(r, "", "patch_embed.proj.weight", (int64_t[4]){d, c->channels, c->patch, c->patch});
	w->patch.b = take(r, "", "patch_embed.proj.bias", (int64_t[4]){d});
	for (int l = 0; l < c->depth; l++) {
		struct vit_block *b = &w->blocks[l];
		char prefix[32];

		snprintf(prefix, sizeof(prefix), "blocks.%d.", l);
		b->norm1 = linear(r, prefix, "norm1", d, 0);
		b->qkv = linear(r, prefix, "attn.qkv", 3 * d, d);
		b->proj = linear(r, prefix, "attn.proj", d, d);
		b->norm2 = linear(r, prefix, "norm2", d, 0);
		b->fc1 = linear(r, prefix, "mlp.fc1", c->hidden, d);
		b->fc2 = linear(r, prefix, "mlp.fc2", d, c->hidden);
		if (c->layer_scale) {
			b->ls1 = take(r, prefix, "ls1.gamma", (int64_t[4]){d});
			b->ls2 = take(r, prefix, "ls2.gamma", (int64_t[4]){d});
		}
	}
	w->norm = linear(r, "", "norm", d, 0);
	w->head = linear(r, "", "head", c->classes, d);
}

int vit_weights_init(
	struct vit_weights *w, const struct vit_config *c, const struct safetensors *st, struct err *err)
{
	struct reader r = {.st = st, .used = x_calloc((size_t)st->count, sizeof(bool)), .err = err};

	*w = (struct vit_weights){.blocks = x_calloc((size_t)c->depth, sizeof(*w->blocks))};
	read_all(w, c, &r);
	for (int i = 0; i < st->count && !r.failed; i++)
		if (!r.used[i])
			r.failed = err_set(err,
				"%s: tensor %s: this kind of network is not supported (no %s has it)",
				st->path, st->tensors[i].name, c->architecture);
	if (!r.failed && r.at) {
		w->widened_bytes = r.at * sizeof(float);
		w->widened = r.widened = x_aligned_alloc(w->widened_bytes);
		r.at = 0;
		read_all(w, c, &r);
	}
	free(r.used);
	if (r.failed)
		vit_weights_release(w);
	return r.failed;
}

void vit_weights_release(struct vit_weights *w)
{
	free(w->blocks);
	free(w->widened);
	*w = (struct vit_weights){0};
}

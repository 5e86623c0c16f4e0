/* Attention rollout (Abnar and Zuidema; methods.md section 4): where the classified tokens look, through all
 * blocks. It does not know of classes. */
#include "attribution/method.h"

#include <string.h>

struct params {
	int postprocess;
};

static const struct option_row options[] = {METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

static const struct method_figure figures[] = {
	{"prefix_share",
		"what of the rollout's row, which sums to 1, falls on prefix tokens and not on patches"},
	{NULL, NULL}};

struct scratch {
	double *row, *next; /* (tokens) */
	float *grid;        /* (grid_h, grid_w) */
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	(void)batch;
	(void)targets;
	s.row = arena_take(a, (size_t)c->tokens, sizeof(double));
	s.next = arena_take(a, (size_t)c->tokens, sizeof(double));
	s.grid = arena_floats(a, (size_t)(c->grid_h * c->grid_w));
	if (scratch)
		*scratch = s;
	return scratch;
}

/* next = row times rownorm(mean over heads of prob + I), of the first `queries` tokens, which are all that
 * row holds anything of. */
static void step(double *next, const double *row, const float *prob, int queries, const struct vit_config *c)
{
	int t = c->tokens;

	memset(next, 0, (size_t)t * sizeof(*next));
	for (int i = 0; i < queries; i++) {
		double sum = 1;

		if (row[i] == 0)
			continue;
		for (int h = 0; h < c->heads; h++)
			for (int j = 0; j < t; j++)
				sum += prob[((size_t)h * (size_t)queries + (size_t)i) * (size_t)t +
					       (size_t)j] /
				       (double)c->heads;
		for (int h = 0; h < c->heads; h++)
			for (int j = 0; j < t; j++)
				next[j] += row[i] / sum / c->heads *
					   prob[((size_t)h * (size_t)queries + (size_t)i) * (size_t)t +
						   (size_t)j];
		next[i] += row[i] / sum;
	}
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	(void)params;
	clean_forward(in->clean);
	method_classified_row(s->row, in->vit);
	for (int l = c->depth - 1; l >= 0; l--) {
		double *done = s->row;

		step(s->next, s->row, in->work->blocks[l].prob, vit_queries(c, l), c);
		s->row = s->next;
		s->next = done;
	}
	figures_out[0] = 0;
	for (int i = 0; i < c->prefix; i++)
		figures_out[0] += s->row[i];
	for (int i = 0; i < c->grid_h * c->grid_w; i++)
		s->grid[i] = (float)s->row[c->prefix + i];
	for (int t = 0; t < in->count; t++)
		if (method_upsample(raw + (size_t)t * plane, s->grid, c, err))
			return -1;
	return 0;
}

static void passes(const void *params, double *forward, double *backward)
{
	(void)params;
	*forward = *backward = 0;
}

extern const struct method_ops method_attention_rollout;
const struct method_ops method_attention_rollout = {
	.name = "attention_rollout",
	.help = "attention matrices multiplied through all blocks; the same for all classes",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_EFFECTIVE,
	.figures = figures,
	.carve = carve,
	.run = run,
	.passes = passes,
	.clean = 1,
};

/* What methods have in common. */
#include "attribution/method.h"

#include "attribution/postprocess.h"

#include <math.h>

size_t method_image_size(const struct vit_config *c)
{
	return (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;
}

void method_measure(const struct method_ops *ops, const void *params, struct arena *a,
	const struct vit_config *c, int batch, int targets)
{
	size_t mark = a->used, most;

	ops->carve(a, c, params, batch, targets);
	most = a->used;
	a->used = mark;
	arena_floats(a, postprocess_scratch(c->image_h, c->image_w));
	a->used = a->used > most ? a->used : most;
}

int method_explain(const struct method_ops *ops, const void *params, struct arena *a,
	const struct method_input *in, float *raw, float *map, double *scale, double *figures,
	struct err *err)
{
	int wanted = *(const int *)((const char *)params + ops->postprocess_offset);
	int h = in->vit->config.image_h, w = in->vit->config.image_w;
	size_t mark = a->used, plane = (size_t)h * (size_t)w;
	void *scratch = ops->carve(a, &in->vit->config, params, in->batch, in->count);
	int rc = ops->run(scratch, params, in, raw, figures, err);

	a->used = mark;
	float *post = arena_floats(a, postprocess_scratch(h, w));
	for (int t = 0; t < in->count && !rc; t++, raw += plane, map += plane)
		scale[t] = wanted ? postprocess_map(map, raw, post, h, w) : normalise_map(map, raw, h, w);
	a->used = mark;
	return rc;
}

void method_classified_row(double *row, const struct vit *vit)
{
	const struct vit_config *c = &vit->config;
	const struct vit_head *h = &vit->weights.head;

	for (int i = 0; i < c->tokens; i++)
		row[i] = 0;
	for (int k = 0; k < h->count; k++)
		for (int i = c->prefix; h->parts[k].token == VIT_MEAN && i < c->tokens; i++)
			row[i] += 1.0 / h->count / (c->tokens - c->prefix);
	for (int k = 0; k < h->count; k++)
		if (h->parts[k].token != VIT_MEAN)
			row[h->parts[k].token] += 1.0 / h->count;
}

/* Where output pixel i of n lies between the inputs of a row of m: at `from` and the next, by `share`. */
static int place(double *share, int i, int n, int m)
{
	double at = (i + 0.5) * m / n - 0.5;

	at = at < 0 ? 0 : at;
	int from = (int)at;
	*share = at - from;
	return from;
}

int method_upsample(float *map, const float *grid, const struct vit_config *c, struct err *err)
{
	int gh = c->grid_h, gw = c->grid_w;

	for (int i = 0; i < gh * gw; i++)
		if (!isfinite(grid[i]))
			return err_set(err, "attribution is not finite at patch (%d, %d)", i / gw, i % gw);

	for (int y = 0; y < c->image_h; y++) {
		double down, right;
		int row = place(&down, y, c->image_h, gh), next = row + 1 < gh ? row + 1 : row;

		for (int x = 0; x < c->image_w; x++) {
			int column = place(&right, x, c->image_w, gw);
			int after = column + 1 < gw ? column + 1 : column;
			double upper = (1 - right) * grid[row * gw + column] + right * grid[row * gw + after];
			double lower =
				(1 - right) * grid[next * gw + column] + right * grid[next * gw + after];

			map[(size_t)y * (size_t)c->image_w + (size_t)x] =
				(float)((1 - down) * upper + down * lower);
		}
	}
	return 0;
}

int method_sum_channels(float *raw, const float *a, const struct vit_config *c, struct err *err)
{
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	for (size_t p = 0; p < plane; p++) {
		double sum = 0;

		for (int ch = 0; ch < c->channels; ch++)
			sum += a[(size_t)ch * plane + p];
		raw[p] = (float)sum;
		if (!isfinite(raw[p]))
			return err_set(err, "attribution is not finite at pixel (%zu, %zu)",
				p / (size_t)c->image_w, p % (size_t)c->image_w);
	}
	return 0;
}

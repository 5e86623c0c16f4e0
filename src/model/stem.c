#include "model/stem.h"

#include "kernels/bcos.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/groupnorm.h"

#include <string.h>

enum { SIDE = 3, CELLS = SIDE * SIDE };

static const float inside = 1e-6f; /* the root of the norm of a neighbourhood: B-cos v2 */

struct stem_shape stem_shape(const struct vit_config *c, int layer)
{
	struct stem_shape s = {.h = c->image_h, .w = c->image_w, .out = c->channels};

	for (int l = 0; l <= layer; l++) {
		int stride = c->stem[l] > s.out ? 2 : 1;

		s = (struct stem_shape){
			s.h, s.w, s.out, (s.h - 1) / stride + 1, (s.w - 1) / stride + 1, c->stem[l], stride};
	}
	return s;
}

double stem_macs(const struct vit_config *c)
{
	double sum = 0;

	for (int l = 0; l < c->stem_depth; l++) {
		struct stem_shape s = stem_shape(c, l);

		sum += (double)s.h * s.w * s.out * CELLS * s.in;
	}
	return sum;
}

static size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

void stem_carve(struct stem_work *s, struct arena *a, const struct vit_config *c, enum vit_mode mode, int n)
{
	size_t images = (size_t)n, picture = (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w;
	size_t largest = picture, columns = 0, pixels = 0;

	for (int l = 0; l < c->stem_depth; l++) {
		struct stem_shape shape = stem_shape(c, l);
		size_t area = (size_t)shape.h * (size_t)shape.w, size = area * (size_t)shape.out;
		struct stem_kept *k = &s->layers[l];

		largest = max_size(largest, size);
		columns = max_size(columns, area * CELLS * (size_t)shape.in);
		pixels = max_size(pixels, area);
		if (mode >= VIT_EFFECTIVE) {
			k->cosine = arena_floats(a, images * size);
			k->rstd = arena_floats(a, images);
		}
		if (mode == VIT_GRADIENT) {
			k->xhat = arena_floats(a, images * size);
			k->norm = arena_floats(a, images * area);
		}
	}
	if (!c->stem_depth)
		return;
	s->a = arena_floats(a, largest);
	s->b = arena_floats(a, largest);
	s->columns = arena_floats(a, columns);
	s->norms = arena_floats(a, pixels);
	if (mode == VIT_GRADIENT) {
		s->image = arena_floats(a, images * picture);
		s->neighbours = arena_floats(a, columns);
	}
}

/* y (pixels, channels) of x (channels, pixels), or with both sizes exchanged the way back. */
static void transpose(float *y, const float *x, int channels, int pixels)
{
	for (int p = 0; p < pixels; p++)
		for (int ch = 0; ch < channels; ch++)
			*y++ = x[(size_t)ch * (size_t)pixels + (size_t)p];
}

/* The row of the picture that row r of the neighbourhood of row y is; -1 outside. */
static int neighbour(int y, int r, int stride, int size)
{
	int at = y * stride + r - 1;

	return at < size ? at : -1;
}

/* columns (pixels that leave, 3 * 3 * in): the neighbourhoods of x (in_h * in_w, in), zeros beyond the edges.
 */
static void gather(float *columns, const float *x, const struct stem_shape *s)
{
	size_t n = (size_t)s->in, bytes = n * sizeof(*x);

	for (int cell = 0; cell < s->h * s->w; cell++)
		for (int k = 0; k < CELLS; k++, columns += n) {
			int y = neighbour(cell / s->w, k / SIDE, s->stride, s->in_h),
			    xx = neighbour(cell % s->w, k % SIDE, s->stride, s->in_w);

			if (y < 0 || xx < 0)
				memset(columns, 0, bytes);
			else
				memcpy(columns, x + (size_t)(y * s->in_w + xx) * n, bytes);
		}
}

/* dx (in_h * in_w, in) = the adjoint of gathering, applied to columns. */
static void scatter(float *dx, const float *columns, const struct stem_shape *s)
{
	size_t n = (size_t)s->in;

	memset(dx, 0, (size_t)s->in_h * (size_t)s->in_w * n * sizeof(*dx));
	for (int cell = 0; cell < s->h * s->w; cell++)
		for (int k = 0; k < CELLS; k++, columns += n) {
			int y = neighbour(cell / s->w, k / SIDE, s->stride, s->in_h),
			    xx = neighbour(cell % s->w, k % SIDE, s->stride, s->in_w);

			if (y >= 0 && xx >= 0)
				rows_add(dx + (size_t)(y * s->in_w + xx) * n, columns, 1, s->in);
		}
}

/* What layer l keeps of image i; NULL for what the mode does not. */
static struct stem_kept kept_of(const struct stem_work *s, const struct stem_shape *shape, int l, int i)
{
	const struct stem_kept *k = &s->layers[l];
	size_t area = (size_t)shape->h * (size_t)shape->w, at = (size_t)i * area * (size_t)shape->out;

	return (struct stem_kept){
		k->cosine ? k->cosine + at : NULL,
		k->rstd ? k->rstd + i : NULL,
		k->xhat ? k->xhat + at : NULL,
		k->norm ? k->norm + (size_t)i * area : NULL,
	};
}

void stem_forward(struct stem_work *s, float *out, const float *x, const struct vit_config *c,
	const struct vit_weights *weights, int i, enum vit_mode mode)
{
	int plane = c->image_h * c->image_w;
	float *in = s->a, *next = s->b;

	transpose(in, x, c->channels, plane);
	if (mode == VIT_GRADIENT)
		memcpy(s->image + (size_t)i * (size_t)(plane * c->channels), in,
			(size_t)(plane * c->channels) * sizeof(*in));
	for (int l = 0; l < c->stem_depth; l++) {
		struct stem_shape shape = stem_shape(c, l);
		struct stem_kept k = kept_of(s, &shape, l, i);
		int area = shape.h * shape.w, width = CELLS * shape.in;
		float *norm = mode == VIT_GRADIENT ? k.norm : s->norms;

		if (l == c->stem_depth - 1)
			next = out;
		gather(s->columns, in, &shape);
		gemm_nt(next, shape.out, s->columns, width, weights->stem[l].w, width, area, shape.out, width,
			1, 0);
		bcos_norms(norm, s->columns, area, width, inside, 0);
		bcos_forward(next, mode ? k.cosine : NULL, next, norm, area, shape.out);
		groupnorm_forward(next, mode ? k.rstd : &s->rstd, mode == VIT_GRADIENT ? k.xhat : NULL, next,
			weights->stem[l].norm, area, shape.out, c->eps);
		float *free_now = in;
		in = next;
		next = free_now;
	}
}

/* The picture that entered layer l, from what is kept: the image, or the layer before, normalised. */
static const float *entered(struct stem_work *s, const struct stem_shape *shape, const struct vit_config *c,
	const struct vit_weights *weights, int l, int i, float *scratch)
{
	int area = shape->in_h * shape->in_w;

	if (!l)
		return s->image + (size_t)i * (size_t)(area * shape->in);
	struct stem_shape before = stem_shape(c, l - 1);
	rows_scale(scratch, kept_of(s, &before, l - 1, i).xhat, weights->stem[l - 1].norm, area, shape->in);
	return scratch;
}

void stem_backward(struct stem_work *s, float *dx, float *dout, const struct vit_config *c,
	const struct vit_weights *weights, int i, bool frozen)
{
	float *d = dout; /* of the picture that leaves a layer, then of the one that enters */

	for (int l = c->stem_depth - 1; l >= 0; l--) {
		struct stem_shape shape = stem_shape(c, l);
		struct stem_kept k = kept_of(s, &shape, l, i);
		const float *w = weights->stem[l].w, *gamma = weights->stem[l].norm;
		int area = shape.h * shape.w, width = CELLS * shape.in, out = shape.out;

		if (frozen) {
			groupnorm_backward_frozen(d, d, *k.rstd, gamma, area, out);
			bcos_backward_frozen(d, d, k.cosine, (size_t)area * (size_t)out);
		} else {
			groupnorm_backward(d, d, k.xhat, *k.rstd, gamma, area, out);
			bcos_backward(d, s->norms, d, k.cosine, area, out);
		}
		gemm_nn(s->columns, width, d, out, w, width, area, width, out, 1, 0);
		if (!frozen) {
			gather(s->neighbours, entered(s, &shape, c, weights, l, i, s->b), &shape);
			bcos_backward_norm(s->columns, s->neighbours, s->norms, k.norm, area, width);
		}
		d = s->a;
		scatter(d, s->columns, &shape);
	}
	transpose(dx, d, c->image_h * c->image_w, c->channels);
}

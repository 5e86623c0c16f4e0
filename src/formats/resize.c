#include "formats/resize.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The weights are computed in double and rounded to fixed point: a fused multiply-add could move one that
 * lies on the border. gcc is told by -std=c11 or -ffp-contract=off, clang here in any case. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* Weights are integers of this many fractional bits: 32 less 8 for the pixel and 2 of headroom, since the
 * weights of a filter with negative lobes may add up to more than 1 in part. */
enum { WEIGHT_BITS = 32 - 8 - 2, WEIGHT_HALF = 1 << (WEIGHT_BITS - 1) };

/* ---------------------------------------------------------------- filters */

static double triangle(double x)
{
	x = fabs(x);
	return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic convolution, a = -1/2, in Horner form. */
static double cubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
	if (x < 2.0)
		return (((x - 5) * x + 8) * x - 4) * a;
	return 0.0;
}

static double sinc(double x)
{
	if (x == 0.0)
		return 1.0;
	x *= M_PI;
	return sin(x) / x;
}

static double lanczos3(double x)
{
	return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

/* Indexed by enum resize_filter. */
static const struct filter {
	const char *name;
	double (*weight)(double);
	double support;
} filters[] = {
	[RESIZE_NEAREST] = {"nearest", NULL, 0.0},
	[RESIZE_BILINEAR] = {"bilinear", triangle, 1.0},
	[RESIZE_BICUBIC] = {"bicubic", cubic, 2.0},
	[RESIZE_LANCZOS] = {"lanczos", lanczos3, 3.0},
};

enum { NFILTERS = sizeof(filters) / sizeof(filters[0]) };

int resize_filter_parse(enum resize_filter *out, const char *name, struct err *err)
{
	for (int i = 0; i < NFILTERS; i++) {
		if (strcmp(name, filters[i].name) == 0) {
			*out = (enum resize_filter)i;
			return 0;
		}
	}
	return err_set(
		err, "unknown resize filter \"%s\"; expected nearest, bilinear, bicubic or lanczos", name);
}

const char *resize_filter_name(enum resize_filter filter)
{
	if ((int)filter < 0 || (int)filter >= NFILTERS)
		BUG("no resize filter number %d", (int)filter);
	return filters[filter].name;
}

/* ---------------------------------------------------------------- weights of one axis */

/* Output i is the weighted sum of the inputs first[i] .. first[i] + count[i] - 1, with the weights at
 * weight[i * stride]. One block of memory behind `first` holds all three. */
struct taps {
	int n, stride;
	int32_t *first, *count, *weight;
};

static void taps_release(struct taps *t)
{
	free(t->first);
	memset(t, 0, sizeof(*t));
}

static int taps_alloc(struct taps *t, int n, double reach)
{
	if (reach > 1e8)
		return -1;
	t->n = n;
	t->stride = (int)ceil(reach) * 2 + 1;
	t->first = calloc((size_t)n, (2 + (size_t)t->stride) * sizeof(int32_t));
	if (!t->first)
		return -1;
	t->count = t->first + n;
	t->weight = t->count + n;
	return 0;
}

/* Rounds half away from zero, as the cast truncates. */
static int32_t to_fixed(double w)
{
	return (int32_t)(w * (1 << WEIGHT_BITS) + (w < 0 ? -0.5 : 0.5));
}

/* The weights to go from in_n to out_n pixels. `raw` has room for t->stride numbers. */
static void taps_fill(struct taps *t, int in_n, int out_n, const struct filter *f, double *raw)
{
	double scale = (double)in_n / out_n;
	double spread = scale < 1.0 ? 1.0 : scale; /* shrinking widens the filter: that is the antialiasing */
	double reach = f->support * spread;
	double per_spread = 1.0 / spread;

	for (int i = 0; i < out_n; i++) {
		double center = (i + 0.5) * scale, sum = 0.0;
		int lo = (int)(center - reach + 0.5), hi = (int)(center + reach + 0.5);
		lo = lo < 0 ? 0 : lo;
		hi = hi > in_n ? in_n : hi;
		for (int j = lo; j < hi; j++) {
			raw[j - lo] = f->weight((j - center + 0.5) * per_spread);
			sum += raw[j - lo];
		}
		for (int j = 0; j < hi - lo; j++)
			t->weight[(size_t)i * (size_t)t->stride + (size_t)j] =
				to_fixed(sum != 0.0 ? raw[j] / sum : raw[j]);
		t->first[i] = lo;
		t->count[i] = hi - lo;
	}
}

static int taps_init(struct taps *t, int in_n, int out_n, const struct filter *f)
{
	double scale = (double)in_n / out_n;

	if (taps_alloc(t, out_n, f->support * (scale < 1.0 ? 1.0 : scale)))
		return -1;
	double *raw = calloc((size_t)t->stride, sizeof(*raw));
	if (!raw) {
		taps_release(t);
		return -1;
	}
	taps_fill(t, in_n, out_n, f, raw);
	free(raw);
	return 0;
}

/* ---------------------------------------------------------------- the two passes */

static unsigned char to_u8(int32_t fixed)
{
	int32_t v = fixed >> WEIGHT_BITS;

	return (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* out (rows, t->n, 3) from in (rows, in_w, 3): along each row. */
static void pass_rows(unsigned char *out, const unsigned char *in, int rows, int in_w, const struct taps *t)
{
	for (int y = 0; y < rows; y++) {
		const unsigned char *row = in + (size_t)y * (size_t)in_w * 3;
		for (int x = 0; x < t->n; x++, out += 3) {
			const unsigned char *p = row + (size_t)t->first[x] * 3;
			const int32_t *w = t->weight + (size_t)x * (size_t)t->stride;
			int32_t r = WEIGHT_HALF, g = WEIGHT_HALF, b = WEIGHT_HALF;
			for (int j = 0; j < t->count[x]; j++, p += 3) {
				r += p[0] * w[j];
				g += p[1] * w[j];
				b += p[2] * w[j];
			}
			out[0] = to_u8(r);
			out[1] = to_u8(g);
			out[2] = to_u8(b);
		}
	}
}

/* out (t->n, width, 3) from in, whose first row is row `row0` of the image: down the columns. A whole output
 * row is summed at once in sums (width * 3), so that the inner loop runs along memory. */
static void pass_columns(
	unsigned char *out, const unsigned char *in, int width, int row0, const struct taps *t, int32_t *sums)
{
	size_t n = (size_t)width * 3;

	for (int y = 0; y < t->n; y++, out += n) {
		const unsigned char *row = in + (size_t)(t->first[y] - row0) * n;
		const int32_t *w = t->weight + (size_t)y * (size_t)t->stride;
		for (size_t i = 0; i < n; i++)
			sums[i] = WEIGHT_HALF;
		for (int j = 0; j < t->count[y]; j++, row += n)
			for (size_t i = 0; i < n; i++)
				sums[i] += row[i] * w[j];
		for (size_t i = 0; i < n; i++)
			out[i] = to_u8(sums[i]);
	}
}

/* Shrinks or enlarges the columns of in (in_h, width, 3), of which `in` holds the rows from row0 on. */
static int columns_to(unsigned char *out, const unsigned char *in, int width, int row0, const struct taps *t)
{
	int32_t *sums = malloc((size_t)width * 3 * sizeof(*sums));

	if (!sums)
		return -1;
	pass_columns(out, in, width, row0, t, sums);
	free(sums);
	return 0;
}

/* Both passes: only the rows that the column pass reads go through the row pass. */
static int both_passes(unsigned char *out, const unsigned char *in, int in_w, const struct taps *across,
	const struct taps *down)
{
	int row0 = down->first[0];
	int rows = down->first[down->n - 1] + down->count[down->n - 1] - row0;
	unsigned char *middle = malloc((size_t)rows * (size_t)across->n * 3);

	if (!middle)
		return -1;
	pass_rows(middle, in + (size_t)row0 * (size_t)in_w * 3, rows, in_w, across);
	int status = columns_to(out, middle, across->n, row0, down);
	free(middle);
	return status;
}

/* A pass whose size does not change is left out, not done with weights of 1: same result, half the work. */
static int filtered(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h,
	const struct filter *f)
{
	struct taps across = {0}, down = {0};
	int status = -1;

	if (out_w != in_w && taps_init(&across, in_w, out_w, f))
		goto done;
	if (out_h != in_h && taps_init(&down, in_h, out_h, f))
		goto done;
	status = 0;
	if (across.n && down.n)
		status = both_passes(out, in, in_w, &across, &down);
	else if (across.n)
		pass_rows(out, in, in_h, in_w, &across);
	else if (down.n)
		status = columns_to(out, in, in_w, 0, &down);
	else
		memcpy(out, in, (size_t)in_w * (size_t)in_h * 3);
done:
	taps_release(&across);
	taps_release(&down);
	return status;
}

/* ---------------------------------------------------------------- nearest */

/* Which input pixel each of n outputs takes; -1 where the position, which is summed up step by step and
 * not multiplied out (Pillow's way, and its rounding), ends up beyond the last. */
static int *nearest_index(int in_n, int n)
{
	int *index = malloc((size_t)n * sizeof(*index));
	double step = (double)in_n / n, pos = step * 0.5;

	for (int i = 0; index && i < n; i++, pos += step)
		index[i] = pos < in_n ? (int)pos : -1;
	return index;
}

static void nearest_fill(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w,
	const int *xs, const int *ys)
{
	for (int y = 0; y < out_h; y++) {
		for (int x = 0; x < out_w; x++, out += 3) {
			if (xs[x] < 0 || ys[y] < 0)
				memset(out, 0, 3);
			else
				memcpy(out, in + ((size_t)ys[y] * (size_t)in_w + (size_t)xs[x]) * 3, 3);
		}
	}
}

static int nearest(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h)
{
	int *xs = nearest_index(in_w, out_w), *ys = nearest_index(in_h, out_h);
	int status = xs && ys ? 0 : -1;

	if (status == 0)
		nearest_fill(out, out_w, out_h, in, in_w, xs, ys);
	free(xs);
	free(ys);
	return status;
}

/* ---------------------------------------------------------------- entry points */

int resize_u8(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h,
	enum resize_filter filter, struct err *err)
{
	int status;

	if (out_w < 1 || out_h < 1 || in_w < 1 || in_h < 1)
		return err_set(err,
			"resize: cannot go from %d x %d to %d x %d pixels; sizes of at least 1 expected",
			in_w, in_h, out_w, out_h);
	if ((int)filter < 0 || (int)filter >= NFILTERS)
		BUG("no resize filter number %d", (int)filter);
	if (filter == RESIZE_NEAREST)
		status = nearest(out, out_w, out_h, in, in_w, in_h);
	else
		status = filtered(out, out_w, out_h, in, in_w, in_h, &filters[filter]);
	if (status)
		return err_set(err, "resize: too little memory to go from %d x %d to %d x %d pixels", in_w,
			in_h, out_w, out_h);
	return 0;
}

void crop_u8(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h, int left,
	int top)
{
	if (out_w < 1 || out_h < 1 || left < 0 || top < 0 || left > in_w - out_w || top > in_h - out_h)
		BUG("crop of %d x %d at (%d, %d) outside an image of %d x %d", out_w, out_h, left, top, in_w,
			in_h);
	for (int y = 0; y < out_h; y++)
		memcpy(out + (size_t)y * (size_t)out_w * 3,
			in + ((size_t)(top + y) * (size_t)in_w + (size_t)left) * 3, (size_t)out_w * 3);
}

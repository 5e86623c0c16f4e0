#include "metrics/curve.h"

#include "kernels/filter.h"
#include "kernels/order.h"

#include <math.h>
#include <stdint.h>

const struct metric_figure curve_figures[] = {
	{"auc", "area under the curve: trapezoid over the true fraction of pixels changed"},
	{"auc_published", "the same in percent with a short last stride counted as a whole one, as DAVE's "
			  "published code does"},
	{NULL, NULL}};

struct scratch {
	uint64_t *sort;              /* 2 pixels */
	uint32_t *rank;              /* pixels */
	float *substrate;            /* image */
	float *blur;                 /* plane */
	float *images;               /* (batch, image) */
	double *probability, *logit; /* (batch) */
};

static int total_pixels(const struct curve_params *p, int pixels)
{
	int total = (int)(p->fraction * pixels);

	return total > 0 ? total : 1;
}

static int stride_pixels(const struct curve_params *p, int pixels)
{
	int stride = total_pixels(p, pixels) / p->steps;

	return stride > 0 ? stride : 1;
}

int curve_check(const void *params, struct err *err)
{
	const struct curve_params *p = params;

	if (p->kernel_size % 2 == 0)
		return err_set(err, "kernel_size: expected an odd number, got %d", p->kernel_size);
	return 0;
}

int curve_points(const void *params, int height, int width)
{
	int total = total_pixels(params, height * width), stride = stride_pixels(params, height * width);

	return 1 + (total + stride - 1) / stride;
}

/* Pixels changed at point i. */
static int changed_at(const struct curve_params *p, int i, int pixels)
{
	int total = total_pixels(p, pixels);
	long changed = (long)i * stride_pixels(p, pixels);

	return changed < total ? (int)changed : total;
}

void curve_fractions(const void *params, double *fraction, int height, int width)
{
	int points = curve_points(params, height, width), pixels = height * width;

	for (int i = 0; i < points; i++)
		fraction[i] = changed_at(params, i, pixels) / (double)pixels;
}

double curve_forwards(const void *params, int height, int width)
{
	return curve_points(params, height, width);
}

void *curve_carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t plane = (size_t)height * (size_t)width, image = plane * (size_t)channels, n = (size_t)batch;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	(void)params;
	s.sort = arena_take(a, 2 * plane, sizeof(uint64_t));
	s.rank = arena_take(a, plane, sizeof(uint32_t));
	s.substrate = arena_floats(a, image);
	s.blur = arena_floats(a, plane);
	s.images = arena_floats(a, n * image);
	s.probability = arena_take(a, n, sizeof(double));
	s.logit = arena_take(a, n, sizeof(double));
	if (scratch)
		*scratch = s;
	return scratch;
}

static void make_substrate(struct scratch *s, const struct curve_params *p, const struct metric_input *in)
{
	size_t plane = (size_t)in->height * (size_t)in->width;
	float taps[FILTER_MAX_TAPS];

	if (p->substrate == CURVE_CONSTANT) {
		for (size_t i = 0; i < plane * (size_t)in->channels; i++)
			s->substrate[i] = 0;
		return;
	}
	if (p->kernel == CURVE_RISE)
		filter_rise(taps, p->kernel_size, p->sigma);
	else
		filter_gaussian(taps, p->kernel_size, p->sigma);
	for (int c = 0; c < in->channels; c++)
		filter_separable(s->substrate + (size_t)c * plane, in->x + (size_t)c * plane, s->blur, taps,
			p->kernel_size, in->height, in->width);
}

/* out (3, H, W): `after` where the pixel's rank is below `changed`, else `before`. */
static void compose(float *out, const float *before, const float *after, const uint32_t *rank,
	uint32_t changed, int channels, size_t plane)
{
	for (int c = 0; c < channels; c++, out += plane, before += plane, after += plane)
		for (size_t i = 0; i < plane; i++)
			out[i] = rank[i] < changed ? after[i] : before[i];
}

static int qualifies(const struct curve_params *p, const struct metric_input *in)
{
	return (!p->correct_only || in->correct) && in->probability >= p->min_probability;
}

int curve_run(void *scratch, const struct curve_params *p, const struct metric_input *in, int insert,
	double *curve, double *figures, struct err *err)
{
	struct scratch *s = scratch;
	int pixels = in->height * in->width, points = curve_points(p, in->height, in->width);
	const float *value = p->rank == CURVE_RAW ? in->raw : in->map;
	size_t image = (size_t)pixels * (size_t)in->channels;

	if (!qualifies(p, in)) {
		for (int i = 0; i < points; i++)
			curve[i] = NAN;
		figures[0] = figures[1] = NAN;
		return 0;
	}
	for (int i = 0; i < pixels; i++)
		if (isnan(value[i]))
			return err_set(err, "the map is not a number at pixel %d", i);
	order_rank(s->rank, value, pixels, p->order == CURVE_MOST, s->sort);
	make_substrate(s, p, in);
	for (int start = 0; start < points; start += in->scorer->batch) {
		int n = points - start < in->scorer->batch ? points - start : in->scorer->batch;

		for (int i = 0; i < n; i++)
			compose(s->images + (size_t)i * image, insert ? s->substrate : in->x,
				insert ? in->x : s->substrate, s->rank,
				(uint32_t)changed_at(p, start + i, pixels), in->channels, (size_t)pixels);
		if (in->scorer->score(in->scorer->ctx, s->probability, s->logit, s->images, n, err))
			return -1;
		for (int i = 0; i < n; i++) {
			curve[start + i] = p->score == CURVE_LOGIT ? s->logit[i] : s->probability[i];
			if (!isfinite(curve[start + i])) /* NaN is kept for "does not qualify" */
				return err_set(
					err, "the score is not finite at point %d of the curve", start + i);
		}
	}
	curve_areas(p, curve, in->height, in->width, figures);
	return 0;
}

void curve_areas(const struct curve_params *p, const double *curve, int height, int width, double *figures)
{
	int pixels = height * width, points = curve_points(p, height, width);
	double area = 0, strides = 0;

	for (int i = 1; i < points; i++) {
		double step = (changed_at(p, i, pixels) - changed_at(p, i - 1, pixels)) / (double)pixels;

		area += step * 0.5 * (curve[i - 1] + curve[i]);
		strides += 0.5 * (curve[i - 1] + curve[i]);
	}
	figures[0] = area;
	figures[1] = 100 * p->fraction * strides / (points - 1);
}

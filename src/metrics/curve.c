#include "metrics/curve.h"

#include "kernels/filter.h"
#include "kernels/order.h"
#include "metrics/adaptive.h"
#include "metrics/maps.h"

#include <math.h>
#include <stdint.h>

const struct metric_figure curve_figures[] = {
	{"auc", "area under the curve: trapezoid over the true fraction of pixels changed", FIGURE_PLAIN},
	{"auc_published",
		"the same in percent with a short last stride counted as a whole one, as DAVE's "
		"published code does",
		FIGURE_PLAIN},
	{"auc_error",
		"bound of the error of auc by the points not scored: held for 98 % of the curves measured "
		"(analysis/README.md)",
		FIGURE_ADAPTIVE},
	{"points_scored", "points of the curve that are not interpolated", FIGURE_ADAPTIVE},
	{NULL, NULL, FIGURE_PLAIN},
};

/* Standard errors in auc_error: 2 would do for 95 % if points were not scored until the estimate happens to
 * be low. */
static const double bound = 2.25;

struct scratch {
	uint64_t *sort;              /* 2 pixels */
	uint32_t *rank;              /* pixels */
	float *substrate;            /* image */
	float *blur;                 /* plane */
	float *images;               /* (batch, image) */
	double *probability, *logit; /* (batch) */
	double *at;                  /* (points) */
	int *next;                   /* (points): to be scored next */
	struct adaptive chosen;
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

/* Steps that the remainder is spread over: none is without a pixel. */
static int spread_steps(const struct curve_params *p, int total)
{
	return total < p->steps ? total : p->steps;
}

int curve_points(const void *params, int height, int width)
{
	const struct curve_params *p = params;
	int total = total_pixels(p, height * width), stride = stride_pixels(p, height * width);

	if (p->remainder == CURVE_SPREAD)
		return 1 + spread_steps(p, total);
	return 1 + (total + stride - 1) / stride;
}

/* Pixels changed at point i. */
static int changed_at(const struct curve_params *p, int i, int pixels)
{
	int total = total_pixels(p, pixels);
	long changed = (long)i * stride_pixels(p, pixels);

	if (p->remainder == CURVE_SPREAD && i < spread_steps(p, total))
		changed = (long)(p->fraction * i / spread_steps(p, total) * pixels);
	else if (p->remainder == CURVE_SPREAD)
		changed = total;
	return changed < total ? (int)changed : total;
}

void curve_fractions(const void *params, double *fraction, int height, int width)
{
	int points = curve_points(params, height, width), pixels = height * width;

	for (int i = 0; i < points; i++)
		fraction[i] = changed_at(params, i, pixels) / (double)pixels;
}

int curve_adaptive(const void *params)
{
	return ((const struct curve_params *)params)->points == CURVE_ADAPTIVE;
}

/* Is point i the clean image, or the substrate? */
static int is_clean(const struct curve_params *p, int insert, int i, int pixels)
{
	return changed_at(p, i, pixels) == (insert ? pixels : 0);
}

static int is_substrate(const struct curve_params *p, int insert, int i, int pixels)
{
	return changed_at(p, i, pixels) == (insert ? 0 : pixels);
}

double curve_forwards(const struct curve_params *p, int insert, int height, int width)
{
	int points = curve_points(p, height, width);
	double scored = curve_adaptive(p) ? adaptive_expected(points, p->tolerance) : points;

	return scored - is_clean(p, insert, insert ? points - 1 : 0, height * width);
}

void *curve_carve(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	size_t plane = (size_t)height * (size_t)width, image = plane * (size_t)channels, n = (size_t)batch;
	size_t points = (size_t)curve_points(params, height, width);
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	s.sort = arena_take(a, 2 * plane, sizeof(uint64_t));
	s.rank = arena_take(a, plane, sizeof(uint32_t));
	s.substrate = arena_floats(a, image);
	s.blur = arena_floats(a, plane);
	s.images = arena_floats(a, n * image);
	s.probability = arena_take(a, n, sizeof(double));
	s.logit = arena_take(a, n, sizeof(double));
	s.at = arena_take(a, points, sizeof(double));
	s.next = arena_take(a, points, sizeof(int));
	adaptive_carve(&s.chosen, a, (int)points);
	if (scratch)
		*scratch = s;
	return scratch;
}

static void make_substrate(struct scratch *s, const struct curve_params *p, const struct metric_input *in)
{
	size_t plane = (size_t)in->height * (size_t)in->width;
	float taps[FILTER_MAX_TAPS];

	if (p->substrate != CURVE_BLUR) {
		for (size_t i = 0; i < plane * (size_t)in->channels; i++)
			s->substrate[i] = p->substrate == CURVE_BLACK ? in->black[i / plane] : 0;
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

/* out (channels, H, W): `after` where the pixel's rank is below `changed`, else `before`. */
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

/* One curve in the making. */
struct job {
	struct scratch *s;
	const struct curve_params *p;
	const struct metric_input *in;
	int insert, points;
	double *curve, *scored;
};

/* Settles point i; NaN is kept for "does not qualify". */
static int settle(struct job *j, int i, double probability, double logit, struct err *err)
{
	j->curve[i] = j->p->score == CURVE_LOGIT ? logit : probability;
	j->scored[i] = 1;
	if (!isfinite(j->curve[i]))
		return err_set(err, "the score is not finite at point %d of the curve", i);
	return 0;
}

/* The entry of the memo that has this key, or NULL. */
static const struct substrate_score *recall(const struct substrate_memo *memo, const double *key)
{
	for (int k = 0; memo && k < memo->count; k++) {
		const double *other = memo->entry[k].key;

		if (other[0] == key[0] && other[1] == key[1] && other[2] == key[2] && other[3] == key[3])
			return &memo->entry[k];
	}
	return NULL;
}

/* The score of the substrate, in a call of its own, or from the memo. */
static int score_substrate(struct job *j, int i, struct err *err)
{
	const struct curve_params *p = j->p;
	const struct scorer *scorer = j->in->scorer;
	struct substrate_memo *memo = j->in->substrates;
	int blur = p->substrate == CURVE_BLUR; /* else the kernel does not matter */
	struct substrate_score fresh = {
		{p->substrate, blur ? p->kernel : 0, blur ? p->kernel_size : 0, blur ? p->sigma : 0}, 0, 0};
	const struct substrate_score *known = recall(memo, fresh.key);

	if (!known) {
		if (scorer->score(scorer->ctx, &fresh.probability, &fresh.logit, j->s->substrate, 1, err))
			return -1;
		if (memo && memo->count < SUBSTRATES)
			memo->entry[memo->count++] = fresh;
		known = &fresh;
	}
	return settle(j, i, known->probability, known->logit, err);
}

/* The ends that are whole images: the clean one is known, and the substrate is shared by all maps. */
static int score_ends(struct job *j, struct err *err)
{
	int pixels = j->in->height * j->in->width;
	const int ends[] = {0, j->points - 1};

	for (int k = 0; k < 2; k++) {
		int rc = 0;

		if (is_clean(j->p, j->insert, ends[k], pixels))
			rc = settle(j, ends[k], j->in->probability, j->in->logit, err);
		else if (is_substrate(j->p, j->insert, ends[k], pixels))
			rc = score_substrate(j, ends[k], err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Scores those of n points, ascending in s->next, that are not settled, in blocks from the first. */
static int score_points(struct job *j, int n, struct err *err)
{
	struct scratch *s = j->s;
	const struct metric_input *in = j->in;
	const float *before = j->insert ? s->substrate : in->x, *after = j->insert ? in->x : s->substrate;
	size_t pixels = (size_t)in->height * (size_t)in->width, image = pixels * (size_t)in->channels;
	int left = 0;

	for (int k = 0; k < n; k++)
		if (!j->scored[s->next[k]])
			s->next[left++] = s->next[k];
	for (int start = 0; start < left; start += in->scorer->batch) {
		int m = left - start < in->scorer->batch ? left - start : in->scorer->batch;
		const int *point = s->next + start;

		for (int k = 0; k < m; k++)
			compose(s->images + (size_t)k * image, before, after, s->rank,
				(uint32_t)changed_at(j->p, point[k], (int)pixels), in->channels, pixels);
		if (in->scorer->score(in->scorer->ctx, s->probability, s->logit, s->images, m, err))
			return -1;
		for (int k = 0; k < m; k++)
			if (settle(j, point[k], s->probability[k], s->logit[k], err))
				return -1;
	}
	return 0;
}

/* The whole curve: scored where it has to be, interpolated elsewhere. */
static int score_curve(struct job *j, double *figures, struct err *err)
{
	struct scratch *s = j->s;
	double tolerance = curve_adaptive(j->p) ? j->p->tolerance : 0;
	struct adaptive *a = &s->chosen;

	a->at = s->at;
	a->value = j->curve;
	a->scored = j->scored;
	curve_fractions(j->p, s->at, j->in->height, j->in->width);
	if (score_ends(j, err))
		return -1;
	for (int n = adaptive_first(s->next, j->points, tolerance); n;
		n = adaptive_next(a, tolerance, s->next))
		if (score_points(j, n, err))
			return -1;
	figures[CURVE_AUC_ERROR] = bound * adaptive_error(a);
	figures[CURVE_POINTS_SCORED] = adaptive_fill(a);
	curve_areas(j->p, j->curve, j->in->height, j->in->width, figures);
	return 0;
}

int curve_run(void *scratch, const struct curve_params *p, const struct metric_input *in, int insert,
	const struct metric_output *out, struct err *err)
{
	struct scratch *s = scratch;
	int pixels = in->height * in->width, points = curve_points(p, in->height, in->width);
	const float *value = p->rank == CURVE_RAW ? in->raw : in->map;
	struct job job = {s, p, in, insert, points, out->curve, out->scored};

	for (int i = 0; i < points; i++) {
		out->curve[i] = NAN;
		out->scored[i] = 0;
	}
	for (int i = 0; i < CURVE_FIGURES; i++)
		out->figures[i] = NAN;
	if (!qualifies(p, in))
		return 0;
	if (map_check(value, (size_t)pixels, err))
		return -1;
	order_rank(s->rank, value, pixels, p->order == CURVE_MOST, s->sort);
	make_substrate(s, p, in);
	return score_curve(&job, out->figures, err);
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
	figures[CURVE_AUC] = area;
	figures[CURVE_AUC_PUBLISHED] = 100 * p->fraction * strides / (points - 1);
}

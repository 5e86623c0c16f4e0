/* Integrated gradients (Sundararajan et al.; methods.md section 4), from 0 in normalised space, the mean
 * colour.
 */
#include "attribution/average.h"

#include <math.h>

enum rule { RULE_GAUSS, RULE_TRAPEZOID };

struct params {
	int steps, rule;
	int postprocess;
};

static const struct option_row options[] = {
	{"steps", OPT_INT, offsetof(struct params, steps), "50", 2, 4096, NULL,
		"points of the straight path from 0 in normalised space to the image"},
	{"rule", OPT_CHOICE, offsetof(struct params, rule), "gauss", 0, 0, "gauss|trapezoid",
		"of the integral: Gauss-Legendre as captum, or the trapezoid with both ends"},
	METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

static const struct method_figure figures[] = {
	{"completeness_error", "how far the sum of the map is from f(x) - f(0), as a share "
			       "of it, f the logit: what the steps miss"},
	{NULL, NULL}};

struct scratch {
	struct average average;
	double *at, *weight; /* (steps) */
	float *product;      /* (channels, H, W) */
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	size_t steps = (size_t)((const struct params *)params)->steps;
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	s.average = average_carve(a, c, batch, targets);
	s.at = arena_take(a, steps, sizeof(double));
	s.weight = arena_take(a, steps, sizeof(double));
	s.product = arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* Nodes and weights of n-point Gauss-Legendre on [0, 1]: Newton's method on the Legendre polynomial. */
static void gauss_legendre(double *at, double *weight, int n)
{
	const double pi = 3.14159265358979323846;

	for (int i = 0; i < n; i++) {
		double x = cos(pi * (i + 0.75) / (n + 0.5)), slope = 1;

		for (int turn = 0; turn < 100; turn++) {
			double p0 = 1, p1 = x;

			for (int k = 2; k <= n; k++) {
				double p2 = ((2 * k - 1) * x * p1 - (k - 1) * p0) / k;

				p0 = p1;
				p1 = p2;
			}
			slope = n * (x * p1 - p0) / (x * x - 1);
			double step = p1 / slope;

			x -= step;
			if (fabs(step) < 1e-15)
				break;
		}
		at[n - 1 - i] = 0.5 * (1 + x);
		weight[n - 1 - i] = 1 / ((1 - x * x) * slope * slope);
	}
}

static void trapezoid(double *at, double *weight, int n)
{
	for (int i = 0; i < n; i++) {
		at[i] = i / (double)(n - 1);
		weight[i] = (i == 0 || i == n - 1 ? 0.5 : 1) / (n - 1);
	}
}

struct path {
	const float *x;
	const double *at;
	size_t image;
};

static void make(void *ctx, float *image, int k)
{
	const struct path *p = ctx;

	for (size_t i = 0; i < p->image; i++)
		image[i] = (float)(p->at[k] * (double)p->x[i]);
}

/* f(x0) of every target. The logits lie in the scratch of the average. */
static const float *start_logits(struct scratch *s, const struct method_input *in, size_t image)
{
	for (size_t i = 0; i < image; i++)
		s->average.images[i] = 0;
	vit_forward(in->vit, in->work, s->average.logits, s->average.images, 1, VIT_FORWARD);
	return s->average.logits;
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct params *p = params;
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, image = plane * (size_t)c->channels;
	struct path path = {in->x, s->at, image};
	struct average_images images = {p->steps, make, s->weight, &path};
	const float *end = clean_logits(in->clean);

	(p->rule == RULE_GAUSS ? gauss_legendre : trapezoid)(s->at, s->weight, p->steps);
	if (average_gradients(&s->average, in, &images, err))
		return -1;
	const float *start = start_logits(s, in, image);
	for (int t = 0; t < in->count; t++) {
		double change = (double)end[in->targets[t]] - (double)start[in->targets[t]], sum = 0;

		for (size_t i = 0; i < image; i++) {
			double product = s->average.sum[(size_t)t * image + i] * (double)in->x[i];

			sum += product;
			s->product[i] = (float)product;
		}
		figures_out[0] = change != 0 ? fabs(sum - change) / fabs(change) : NAN;
		if (method_sum_channels(raw + (size_t)t * plane, s->product, c, err))
			return -1;
	}
	return 0;
}

static void passes(const void *params, double *forward, double *backward)
{
	*backward = ((const struct params *)params)->steps;
	*forward = *backward + 1;
}

extern const struct method_ops method_integrated_gradients;
const struct method_ops method_integrated_gradients = {
	.name = "integrated_gradients",
	.help = "image times the gradient averaged over the path from 0 in normalised space",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_GRADIENT,
	.figures = figures,
	.carve = carve,
	.run = run,
	.passes = passes,
	.clean = 1,
};

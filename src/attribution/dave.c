#include "attribution/dave.h"

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/elementwise.h"
#include "kernels/order.h"

#include <math.h>
#include <string.h>

#define AT(field) offsetof(struct dave_params, field)

#define SAMPLES_ROW                                                                                          \
	{                                                                                                    \
		"samples", OPT_INT, AT(samples), "50", 1, 4096, NULL,                                        \
			"number of samples K; the lower median of an even, small K is biased downwards (K "  \
			"= 4: -0.17 sd, 50: -0.004)"                                                         \
	}
#define ALPHA_ROW                                                                                            \
	{                                                                                                    \
		"alpha", OPT_DOUBLE, AT(alpha), "0.3", 0, 1, NULL,                                           \
			"noise level of the last sample; per model"                                          \
	}
#define AGGREGATE_ROW                                                                                        \
	{                                                                                                    \
		"aggregate", OPT_CHOICE, AT(aggregate), "mad", 0, 0, "mad|mean",                             \
			"mean of the samples within 2.5 robust deviations of the median, or the plain mean"  \
	}
#define WARP_ROWS                                                                                            \
	{"rotation", OPT_DOUBLE, AT(rotation), "20", 0, 180, NULL, "largest rotation, degrees"},             \
		{"translation", OPT_DOUBLE, AT(translation), "0.1", 0, 1, NULL,                              \
			"largest shift, fraction of width and height"},                                      \
		{"scaling", OPT_DOUBLE, AT(scaling), "0.1", 0, 0.9, NULL, "largest change of scale"},        \
	{                                                                                                    \
		"flip", OPT_BOOL, AT(flip), "true", 0, 0, NULL, "mirror half of the samples"                 \
	}
#define POSTPROCESS_ROW                                                                                      \
	{                                                                                                    \
		"postprocess", OPT_BOOL, AT(postprocess), "true", 0, 0, NULL,                                \
			"ReLU, Gaussian and bilateral smoothing, division by the maximum (methods.md "       \
			"section 3)"                                                                         \
	}

static const struct option_row dave_options[] = {
	SAMPLES_ROW, ALPHA_ROW, AGGREGATE_ROW, WARP_ROWS, POSTPROCESS_ROW, OPTION_END};
static const struct option_row equivariant_options[] = {
	SAMPLES_ROW, AGGREGATE_ROW, WARP_ROWS, POSTPROCESS_ROW, OPTION_END};
static const struct option_row smooth_options[] = {
	SAMPLES_ROW, ALPHA_ROW, AGGREGATE_ROW, POSTPROCESS_ROW, OPTION_END};

static const struct method_figure figures[] = {
	{"mc_error", "Monte-Carlo error: relative standard error of the aggregated raw map"}, {NULL, NULL}};

int dave_together(const struct vit_config *c, int samples, int targets)
{
	double fit = 1e9 / ((double)samples * (double)method_image_size(c) * sizeof(float));

	return fit < 1 ? 1 : fit < targets ? (int)fit : targets;
}

struct dave_scratch dave_carve(
	struct arena *a, const struct vit_config *c, int samples, int batch, int targets)
{
	size_t image = method_image_size(c), n = (size_t)batch,
	       wide = (size_t)(targets > batch ? targets : batch);
	struct dave_scratch s;

	s.samples = arena_take(a, n, sizeof(*s.samples));
	s.mixed = arena_floats(a, wide * image);
	s.noise = arena_floats(a, n * image);
	s.logits = arena_floats(a, n * (size_t)c->classes);
	s.cotangent = arena_floats(a, wide * (size_t)c->classes);
	s.contributions =
		arena_floats(a, (size_t)dave_together(c, samples, targets) * (size_t)samples * image);
	s.aggregated = arena_floats(a, image);
	s.aggregation = arena_floats(a, aggregate_scratch(samples));
	return s;
}

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	const struct dave_params *p = params;
	struct dave_scratch *scratch = arena_take(a, 1, sizeof(*scratch));
	struct dave_scratch s = dave_carve(a, c, p->samples, batch, targets);

	if (scratch)
		*scratch = s;
	return scratch;
}

/* Uniform on (-limit, limit). */
static double symmetric(double u, double limit)
{
	return (2 * u - 1) * limit;
}

struct dave_sample dave_draw(
	const struct dave_params *p, int k, uint64_t seed, uint32_t image, const struct vit_config *c)
{
	struct rng_key key = {seed, image, (uint32_t)k, RNG_WARP};
	struct dave_sample s;
	double u[5];

	rng_uniform(u, 5, key);
	s.t = p->samples > 1 ? p->alpha * k / (p->samples - 1) : 0;
	s.warp.flip = p->flip && u[0] < 0.5;
	s.warp.angle = symmetric(u[1], p->rotation);
	s.warp.tx = symmetric(u[2], p->translation) * c->image_w;
	s.warp.ty = symmetric(u[3], p->translation) * c->image_h;
	s.warp.scale_x = s.warp.scale_y = 1 + symmetric(u[4], p->scaling);
	return s;
}

void dave_mix(float *xk, const float *x, const float *noise, const struct dave_sample *s,
	const struct vit_config *c)
{
	double keep = 1 - s->t, sigma = sqrt(1 - keep * keep);
	size_t n = method_image_size(c);

	warp_forward(xk, x, &s->warp, c->channels, c->image_h, c->image_w);
	mix(xk, noise, keep, sigma, n);
}

void dave_block(float *g, size_t stride, struct dave_scratch *scratch, const struct method_input *in,
	const struct dave_sample *s, int n, int first, int per)
{
	const struct vit_config *c = &in->vit->config;
	size_t image = method_image_size(c);

	for (int i = 0; i < n; i++)
		dave_mix(scratch->mixed + (size_t)i * image, in->x, scratch->noise + (size_t)i * image, &s[i],
			c);
	vit_forward(in->vit, in->work, scratch->logits, scratch->mixed, n, VIT_EFFECTIVE);
	memset(scratch->cotangent, 0, (size_t)(n * per) * (size_t)c->classes * sizeof(float));
	for (int i = 0; i < n * per; i++) /* the factor of the mix is linear: it may enter here */
		scratch->cotangent[i * c->classes + in->targets[first + i % per]] = (float)(1 - s[i / per].t);
	vit_backward_with(
		in->vit, in->work, scratch->mixed, scratch->cotangent, &(struct vit_backward){.per = per});
	for (int i = 0; i < n * per; i++)
		warp_adjoint(g + (size_t)(i % per) * stride + (size_t)(i / per) * image,
			scratch->mixed + (size_t)i * image, &s[i / per].warp, c->channels, c->image_h,
			c->image_w);
}

/* The samples of `per` targets, from the first-th on. */
static int sample(struct dave_scratch *s, const struct dave_params *p, const struct method_input *in,
	int first, int per, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	size_t image = method_image_size(c), stride = (size_t)p->samples * image;
	int wide = in->count > in->batch ? in->count : in->batch;
	int most = wide / per < in->batch ? wide / per : in->batch;

	for (int start = 0; start < p->samples; start += most) {
		int n = p->samples - start < most ? p->samples - start : most;

		if (stop_requested())
			return err_set(err, "stopped");
		for (int i = 0; i < n; i++) {
			struct rng_key key = {in->seed, in->image, (uint32_t)(start + i), RNG_NOISE};

			s->samples[i] = dave_draw(p, start + i, in->seed, in->image, c);
			if (s->samples[i].t > 0)
				rng_normal(s->noise + (size_t)i * image, image, key);
			else
				memset(s->noise + (size_t)i * image, 0, image * sizeof(float));
		}
		float *g = s->contributions + (size_t)start * image;
		dave_block(g, stride, s, in, s->samples, n, first, per);
		for (int i = 0; i < n * per; i++) {
			float *one = g + (size_t)(i % per) * stride + (size_t)(i / per) * image;

			multiply(one, in->x, image);
			if (!all_finite(one, image))
				return err_set(err, "sample %d is not finite", start + i / per);
		}
	}
	return 0;
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct dave_params *p = params;
	const struct vit_config *c = &in->vit->config;
	struct dave_scratch *s = scratch;
	size_t image = method_image_size(c), plane = image / (size_t)c->channels;
	int together = dave_together(c, p->samples, in->count);

	for (int t = 0; t < in->count; t++) {
		int per = in->count - t < together ? in->count - t : together;
		const float *samples = s->contributions + (size_t)(t % together * p->samples) * image;

		if (t % together == 0 && sample(s, p, in, t, per, err))
			return -1;
		if (p->aggregate == DAVE_MAD)
			aggregate_mad(s->aggregated, NULL, samples, p->samples, image, s->aggregation);
		else
			aggregate_mean(s->aggregated, samples, p->samples, image);
		figures_out[0] = aggregate_error(s->aggregated, samples, p->samples, image);
		if (method_sum_channels(raw + (size_t)t * plane, s->aggregated, c, err))
			return -1;
	}
	return 0;
}

static int run_equivariant(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	struct dave_params p = *(const struct dave_params *)params;

	p.alpha = 0;
	return run(scratch, &p, in, raw, figures_out, err);
}

static int run_smooth(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	struct dave_params p = *(const struct dave_params *)params;

	p.rotation = p.translation = p.scaling = 0;
	p.flip = 0;
	return run(scratch, &p, in, raw, figures_out, err);
}

static void passes(const void *params, double *forward, double *backward)
{
	*forward = *backward = ((const struct dave_params *)params)->samples;
}

#define DAVE_OPS(symbol, title, text, table, runner)                                                         \
	const struct method_ops symbol = {                                                                   \
		.name = title,                                                                               \
		.help = text,                                                                                \
		.options = table,                                                                            \
		.params_size = sizeof(struct dave_params),                                                   \
		.postprocess_offset = AT(postprocess),                                                       \
		.mode = VIT_EFFECTIVE,                                                                       \
		.figures = figures,                                                                          \
		.carve = carve,                                                                              \
		.run = runner,                                                                               \
		.passes = passes,                                                                            \
	}

DAVE_OPS(method_dave, "dave", "effective transformation averaged over warps and noise, times the image",
	dave_options, run);
DAVE_OPS(method_effective_equivariant, "effective_equivariant", "ablation of DAVE: warps, no noise",
	equivariant_options, run_equivariant);
DAVE_OPS(method_effective_smooth, "effective_smooth", "ablation of DAVE: noise, no warps", smooth_options,
	run_smooth);

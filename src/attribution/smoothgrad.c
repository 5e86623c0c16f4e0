/* SmoothGrad (Smilkov et al.; methods.md section 4): the gradient averaged over noise. */
#include "attribution/average.h"

#include "base/rng.h"

struct params {
	int samples;
	double sigma;
	int postprocess;
};

static const struct option_row options[] = {
	{"samples", OPT_INT, offsetof(struct params, samples), "50", 1, 4096, NULL, "noisy images"},
	{"sigma", OPT_DOUBLE, offsetof(struct params, sigma), "0.2", 0, 10, NULL,
		"standard deviation of the noise, in units of max x - min x of the normalised image"},
	METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

struct scratch {
	struct average average;
	double *weight; /* (samples) */
	float *mean;    /* (channels, H, W) */
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;

	s.average = average_carve(a, c, batch, targets);
	s.weight = arena_take(a, (size_t)((const struct params *)params)->samples, sizeof(double));
	s.mean = arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);
	if (scratch)
		*scratch = s;
	return scratch;
}

struct noisy {
	const struct method_input *in;
	double sigma;
	size_t image;
};

static void make(void *ctx, float *image, int k)
{
	const struct noisy *n = ctx;

	rng_normal(image, n->image, (struct rng_key){n->in->seed, n->in->image, (uint32_t)k, RNG_SMOOTHGRAD});
	for (size_t i = 0; i < n->image; i++)
		image[i] = (float)((double)n->in->x[i] + n->sigma * (double)image[i]);
}

static double range(const float *x, size_t n)
{
	float low = x[0], high = x[0];

	for (size_t i = 1; i < n; i++) {
		low = x[i] < low ? x[i] : low;
		high = x[i] > high ? x[i] : high;
	}
	return (double)high - (double)low;
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct params *p = params;
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, image = plane * (size_t)c->channels;
	struct noisy noisy = {in, p->sigma * range(in->x, image), image};
	struct average_images images = {p->samples, make, s->weight, &noisy};

	(void)figures_out;
	for (int k = 0; k < p->samples; k++)
		s->weight[k] = 1.0 / p->samples;
	if (average_gradients(&s->average, in, &images, err))
		return -1;
	for (int t = 0; t < in->count; t++) {
		for (size_t i = 0; i < image; i++)
			s->mean[i] = (float)s->average.sum[(size_t)t * image + i];
		if (method_sum_channels(raw + (size_t)t * plane, s->mean, c, err))
			return -1;
	}
	return 0;
}

static void passes(const void *params, double *forward, double *backward)
{
	*forward = *backward = ((const struct params *)params)->samples;
}

extern const struct method_ops method_smoothgrad;
const struct method_ops method_smoothgrad = {
	.name = "smoothgrad",
	.help = "gradient averaged over noise on the image",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_GRADIENT,
	.carve = carve,
	.run = run,
	.passes = passes,
};

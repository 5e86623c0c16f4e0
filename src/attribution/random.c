/* The control that every faithfulness table needs: independent uniform values. */
#include "attribution/method.h"

#include "base/rng.h"

struct random_params {
	int postprocess;
};

static const struct option_row options[] = {
	METHOD_POSTPROCESS_OPTION(struct random_params, "false"), OPTION_END};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	(void)targets;
	(void)params;
	(void)batch;
	return arena_take(a, (size_t)c->image_h * (size_t)c->image_w, sizeof(double));
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw, double *figures,
	struct err *err)
{
	size_t n = (size_t)in->vit->config.image_h * (size_t)in->vit->config.image_w;
	double *u = scratch;

	(void)params;
	(void)figures;
	(void)err;
	rng_uniform(u, n, (struct rng_key){in->seed, in->image, 0, RNG_RANDOM_MAP});
	for (int t = 0; t < in->count; t++)
		for (size_t i = 0; i < n; i++)
			*raw++ = (float)u[i];
	return 0;
}

static void passes(const void *params, double *forward, double *backward)
{
	(void)params;
	*forward = *backward = 0;
}

extern const struct method_ops method_random;
const struct method_ops method_random = {
	.name = "random",
	.help = "uniform noise, the control",
	.options = options,
	.params_size = sizeof(struct random_params),
	.postprocess_offset = offsetof(struct random_params, postprocess),
	.mode = VIT_FORWARD,
	.carve = carve,
	.run = run,
	.passes = passes,
};

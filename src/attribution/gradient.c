/* The methods of one backward pass: gradient, input times gradient, and DAVE's ablation without sampling. */
#include "attribution/method.h"

#include "base/clock.h"

#include <math.h>

struct gradient_params {
	int postprocess;
};

static const struct option_row plain_options[] = {
	METHOD_POSTPROCESS_OPTION(struct gradient_params, "false"), OPTION_END};
static const struct option_row effective_options[] = {
	METHOD_POSTPROCESS_OPTION(struct gradient_params, "true"), OPTION_END};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	(void)params;
	(void)batch;
	(void)targets;
	return arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);
}

/* raw (count, H, W): of each target the gradient by the rules, its magnitude or times the image. */
static int by_rules(float *product, const struct method_input *in, const struct vit_rules *rules,
	bool magnitude, float *raw, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, n = plane * (size_t)c->channels;

	for (int t = 0; t < in->count; t++) {
		if (stop_requested())
			return err_set(err, "stopped");
		const float *dx = clean_gradient(in->clean, rules, in->targets[t], NULL);

		for (size_t i = 0; i < n; i++)
			product[i] = magnitude ? fabsf(dx[i]) : dx[i] * in->x[i];
		if (method_sum_channels(raw + (size_t)t * plane, product, c, err))
			return -1;
	}
	return 0;
}

static int run_gradient(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	(void)params;
	(void)figures;
	return by_rules(scratch, in, &vit_rules_true, true, raw, err);
}

static int run_input_x_gradient(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	(void)params;
	(void)figures;
	return by_rules(scratch, in, &vit_rules_true, false, raw, err);
}

static int run_effective(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	(void)params;
	(void)figures;
	return by_rules(scratch, in, &vit_rules_frozen, false, raw, err);
}

static int check_bcos(const struct vit_config *c, const void *params, struct err *err)
{
	(void)params;
	if (c->bcos)
		return 0;
	return err_set(err, "%s is not a B-cos network; effective is the like for others", c->architecture);
}

static void passes(const void *params, double *forward, double *backward_out)
{
	(void)params;
	*forward = 0; /* shared with the prediction */
	*backward_out = 1;
}

#define GRADIENT_OPS(symbol, title, text, table, kind, runner, checker)                                      \
	extern const struct method_ops symbol;                                                               \
	const struct method_ops symbol = {                                                                   \
		.name = title,                                                                               \
		.help = text,                                                                                \
		.options = table,                                                                            \
		.params_size = sizeof(struct gradient_params),                                               \
		.postprocess_offset = offsetof(struct gradient_params, postprocess),                         \
		.mode = kind,                                                                                \
		.carve = carve,                                                                              \
		.run = runner,                                                                               \
		.check = checker,                                                                            \
		.passes = passes,                                                                            \
		.clean = 1,                                                                                  \
	}

GRADIENT_OPS(method_gradient, "gradient", "absolute value of the gradient of the logit", plain_options,
	VIT_GRADIENT, run_gradient, NULL);
GRADIENT_OPS(method_input_x_gradient, "input_x_gradient", "image times gradient of the logit", plain_options,
	VIT_GRADIENT, run_input_x_gradient, NULL);
GRADIENT_OPS(method_effective, "effective",
	"ablation of DAVE: effective transformation times the image, no sampling", effective_options,
	VIT_EFFECTIVE, run_effective, NULL);
GRADIENT_OPS(method_bcos, "bcos",
	"a B-cos network's own explanation: effective transformation times the image; of such networks alone",
	plain_options, VIT_EFFECTIVE, run_effective, check_bcos);

/* The methods of one backward pass: gradient, input times gradient, and DAVE's ablation without sampling. */
#include "attribution/method.h"

#include <math.h>
#include <string.h>

struct gradient_params {
	int postprocess;
};

struct scratch {
	float *logits, *cotangent, *dx;
};

static const char postprocess_help[] = "smooth and normalise as DAVE does (methods.md section 3)";

static const struct option_row plain_options[] = {
	{"postprocess", OPT_BOOL, offsetof(struct gradient_params, postprocess), "false", 0, 0, NULL,
		postprocess_help},
	OPTION_END};
static const struct option_row effective_options[] = {
	{"postprocess", OPT_BOOL, offsetof(struct gradient_params, postprocess), "true", 0, 0, NULL,
		postprocess_help},
	OPTION_END};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch)
{
	struct scratch *s = arena_take(a, 1, sizeof(*s));
	float *logits = arena_floats(a, (size_t)c->classes), *cotangent = arena_floats(a, (size_t)c->classes);
	float *dx = arena_floats(a, (size_t)c->channels * (size_t)c->image_h * (size_t)c->image_w);

	(void)params;
	(void)batch;
	if (s)
		*s = (struct scratch){logits, cotangent, dx};
	return s;
}

static void backward(struct scratch *s, const struct method_input *in, enum vit_mode mode)
{
	int classes = in->vit->config.classes;

	vit_forward(in->vit, in->work, s->logits, in->x, 1, mode);
	memset(s->cotangent, 0, (size_t)classes * sizeof(float));
	s->cotangent[in->target] = 1;
	vit_backward(in->vit, in->work, s->dx, s->cotangent, NULL, NULL);
}

static int run_gradient(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;

	(void)params;
	(void)figures;
	backward(s, in, VIT_GRADIENT);
	for (int i = 0; i < c->channels * c->image_h * c->image_w; i++)
		s->dx[i] = fabsf(s->dx[i]);
	return method_sum_channels(raw, s->dx, c, err);
}

static int times_input(struct scratch *s, const struct method_input *in, float *raw, struct err *err)
{
	const struct vit_config *c = &in->vit->config;

	for (int i = 0; i < c->channels * c->image_h * c->image_w; i++)
		s->dx[i] *= in->x[i];
	return method_sum_channels(raw, s->dx, c, err);
}

static int run_input_x_gradient(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	(void)params;
	(void)figures;
	backward(scratch, in, VIT_GRADIENT);
	return times_input(scratch, in, raw, err);
}

static int run_effective(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures, struct err *err)
{
	(void)params;
	(void)figures;
	backward(scratch, in, VIT_EFFECTIVE);
	return times_input(scratch, in, raw, err);
}

static int check_bcos(const struct vit_config *c, struct err *err)
{
	if (c->bcos)
		return 0;
	return err_set(err, "%s is not a B-cos network; effective is the like for others", c->architecture);
}

static void passes(const void *params, double *forward, double *backward_out)
{
	(void)params;
	*forward = *backward_out = 1;
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

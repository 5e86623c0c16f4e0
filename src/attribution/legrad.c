/* LeGrad (Bousselham et al.; methods.md section 4): gradients of the logit that every block would give, with
 * respect to the block's attention. */
#include "attribution/method.h"

#include "base/clock.h"

#include <string.h>

struct params {
	int layers;
	int postprocess;
};

static const struct option_row options[] = {{"layers", OPT_INT, offsetof(struct params, layers), "0", 0, 1000,
						    NULL, "only the last so many blocks (0: all)"},
	METHOD_POSTPROCESS_OPTION(struct params, "false"), OPTION_END};

struct scratch {
	float *cotangent; /* (classes) */
	float *dprob;     /* (heads, rows, tokens) */
	double *sum;      /* (grid) */
	float *grid;
};

static void *carve(struct arena *a, const struct vit_config *c, const void *params, int batch, int targets)
{
	struct scratch *scratch = arena_take(a, 1, sizeof(*scratch)), s;
	size_t grid = (size_t)(c->grid_h * c->grid_w), rows = (size_t)vit_queries(c, c->depth - 1);

	(void)params;
	(void)batch;
	(void)targets;
	s.cotangent = arena_floats(a, (size_t)c->classes);
	s.dprob = arena_floats(a, (size_t)c->heads * rows * (size_t)c->tokens);
	s.sum = arena_take(a, grid, sizeof(double));
	s.grid = arena_floats(a, grid);
	if (scratch)
		*scratch = s;
	return scratch;
}

/* sum (grid) += mean over heads and all query rows of the positive part; rows that are not there are zero. */
static void add_layer(double *sum, const float *dprob, int rows, const struct vit_config *c)
{
	double share = 1.0 / ((double)c->heads * c->tokens);

	for (int r = 0; r < c->heads * rows; r++, dprob += c->tokens)
		for (int j = c->prefix; j < c->tokens; j++)
			if (!(dprob[j] <= 0)) /* NaN counts, and is found */
				sum[j - c->prefix] += share * (double)dprob[j];
}

/* To [0, 1]; a constant map becomes zero. */
static void stretch(float *raw, size_t n)
{
	float low = raw[0], high = raw[0];

	for (size_t i = 0; i < n; i++) {
		low = raw[i] < low ? raw[i] : low;
		high = raw[i] > high ? raw[i] : high;
	}
	for (size_t i = 0; i < n; i++)
		raw[i] = high > low ? (raw[i] - low) / (high - low) : 0;
}

static int run(void *scratch, const void *params, const struct method_input *in, float *raw,
	double *figures_out, struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	struct scratch *s = scratch;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, grid = (size_t)(c->grid_h * c->grid_w);
	int layers = ((const struct params *)params)->layers;
	int first = layers && layers < c->depth ? c->depth - layers : 0;

	(void)figures_out;
	clean_forward(in->clean);
	for (int t = 0; t < in->count; t++, raw += plane) {
		if (stop_requested())
			return err_set(err, "stopped");
		memset(s->cotangent, 0, (size_t)c->classes * sizeof(*s->cotangent));
		memset(s->sum, 0, grid * sizeof(*s->sum));
		s->cotangent[in->targets[t]] = 1;
		for (int l = first; l < c->depth; l++)
			add_layer(s->sum, s->dprob,
				vit_layer_gradient(in->vit, in->work, s->dprob, s->cotangent, l), c);
		for (size_t i = 0; i < grid; i++)
			s->grid[i] = (float)s->sum[i];
		if (method_upsample(raw, s->grid, c, err))
			return -1;
		stretch(raw, plane);
	}
	return 0;
}

static int check(const struct vit_config *c, const void *params, struct err *err)
{
	(void)params;
	return c->bcos ? err_set(err, "%s is a B-cos network: legrad is not defined for it", c->architecture)
		       : 0;
}

/* Of a class token it goes through the last rows of each block alone. */
static void passes(const void *params, double *forward, double *backward)
{
	(void)params;
	*forward = 0;
	*backward = 0.5;
}

extern const struct method_ops method_legrad;
const struct method_ops method_legrad = {
	.name = "legrad",
	.help = "positive gradients of every block's own logit with respect to its attention matrices",
	.options = options,
	.params_size = sizeof(struct params),
	.postprocess_offset = offsetof(struct params, postprocess),
	.mode = VIT_GRADIENT,
	.carve = carve,
	.run = run,
	.check = check,
	.passes = passes,
	.clean = 1,
};

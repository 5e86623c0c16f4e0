#include "metrics/curve.h"

static const struct option_row options[] = {
	CURVE_OPTIONS("blur"),
	OPTION_END,
};

static const struct metric_preset presets[] = {
	{"rise", "RISE, single images: most important first, 224 steps, from its blur",
		"order=most fraction=1 steps=224 substrate=blur kernel=rise kernel_size=11 sigma=5"},
	{"rise_dataset", "RISE, data sets: the same in 28 steps",
		"order=most fraction=1 steps=28 substrate=blur kernel=rise kernel_size=11 sigma=5"},
	{"dave",
		"the protocol of DAVE's deletion, bringing pixels back: least important first, 90 % of the "
		"pixels",
		"order=least fraction=0.9 steps=128 substrate=blur kernel=gaussian kernel_size=31 sigma=7 "
		"rank=raw "
		"correct_only=true min_probability=0.9"},
	{NULL, NULL, NULL},
};

static int run(void *scratch, const void *params, const struct metric_input *in, double *curve,
	double *figures, struct err *err)
{
	return curve_run(scratch, params, in, 1, curve, figures, err);
}

extern const struct metric_ops metric_insertion;
const struct metric_ops metric_insertion = {
	.name = "insertion",
	.help = "score of the target while pixels are brought back into the substrate, in order of "
		"attribution",
	.options = options,
	.params_size = sizeof(struct curve_params),
	.presets = presets,
	.figures = curve_figures,
	.check = curve_check,
	.points = curve_points,
	.fractions = curve_fractions,
	.carve = curve_carve,
	.run = run,
	.forwards = curve_forwards,
};

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

CURVE_METRIC(insertion,
	"score of the target while pixels are brought back into the substrate, in order of "
	"attribution",
	1);

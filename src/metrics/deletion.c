#include "metrics/curve.h"

static const struct option_row options[] = {
	CURVE_OPTIONS("constant"),
	OPTION_END,
};

static const struct metric_preset presets[] = {
	{"rise", "RISE, single images: most important first, 224 steps, to zero",
		"order=most fraction=1 steps=224 substrate=constant"},
	{"rise_dataset", "RISE, data sets: the same in 28 steps",
		"order=most fraction=1 steps=28 substrate=constant"},
	{"dave",
		"DAVE: least important first, 90 % of the pixels, to a 31x31 blur, confident correct "
		"predictions, raw map",
		"order=least fraction=0.9 steps=128 substrate=blur kernel=gaussian kernel_size=31 sigma=7 "
		"rank=raw "
		"correct_only=true min_probability=0.9"},
	{"chefer",
		"Chefer's positive perturbation: most important first, 10 to 90 % of the pixels in steps of "
		"10 % and "
		"the clean image, to black; her AUC is auc_published, of hits where ours is of probabilities",
		"order=most fraction=0.9 steps=9 remainder=spread substrate=black"},
	{"chefer_negative", "Chefer's negative perturbation: the same, least important first",
		"order=least fraction=0.9 steps=9 remainder=spread substrate=black"},
	{NULL, NULL, NULL},
};

CURVE_METRIC(deletion,
	"score of the target while pixels are replaced by the substrate, in order of attribution", 0);

/*
 * Curves over pixels changed in order of attribution: what deletion and insertion share (methods.md section
 * 5).
 *
 * Pixels are ranked by value, ties by index; all channels of a pixel change together. Deletion starts from
 * the image and replaces pixels by the substrate; insertion starts from the substrate and brings pixels back.
 * Points lie at 0, s, 2s, ... pixels with s = floor(floor(fraction * pixels) / steps), and at the end: where
 * s does not divide it, the last stride is shorter (dave: 1 + 128 strides of 352 + a tail of 102 = 130
 * points). With `remainder: spread` they lie at floor(pixels * fraction * i / steps) instead. auc is the
 * trapezoid over the true fraction of pixels changed, from 0 to `fraction`.
 *
 * The clean image is not scored again. Of the other points, all are scored, or with `points: adaptive` as
 * many as the integral needs (metrics/adaptive.h); the curve is straight between those.
 */
#ifndef METRICS_CURVE_H
#define METRICS_CURVE_H

#include "metrics/metric.h"

enum { CURVE_MOST, CURVE_LEAST };
enum { CURVE_CONSTANT, CURVE_BLUR, CURVE_BLACK };
enum { CURVE_GAUSSIAN, CURVE_RISE };
enum { CURVE_MAP, CURVE_RAW };
enum { CURVE_PROBABILITY, CURVE_LOGIT };
enum { CURVE_UNIFORM, CURVE_ADAPTIVE };
enum { CURVE_STEP, CURVE_SPREAD };
enum { CURVE_AUC, CURVE_AUC_PUBLISHED, CURVE_AUC_ERROR, CURVE_POINTS_SCORED, CURVE_FIGURES };

struct curve_params {
	int order; /* CURVE_MOST first or CURVE_LEAST first */
	double fraction;
	int steps;
	int substrate; /* CURVE_CONSTANT (0 in normalised space), CURVE_BLUR or CURVE_BLACK (0 before it) */
	int kernel;    /* of the blur: CURVE_GAUSSIAN or CURVE_RISE */
	int kernel_size;
	double sigma;
	int rank;  /* CURVE_MAP or CURVE_RAW */
	int score; /* CURVE_PROBABILITY or CURVE_LOGIT */
	int correct_only;
	double min_probability;
	int points; /* CURVE_UNIFORM or CURVE_ADAPTIVE */
	double tolerance;
	int remainder; /* CURVE_STEP or CURVE_SPREAD */
};

/* The members of struct metric_ops that both metrics share; see there. params: a struct curve_params. */
int curve_check(const void *params, struct err *err);
int curve_points(const void *params, int height, int width);
void curve_fractions(const void *params, double *fraction, int height, int width);
void *curve_carve(struct arena *a, const void *params, int channels, int height, int width, int batch);
int curve_adaptive(const void *params);

/* The same, with `insert`: insertion instead of deletion. Of forwards: the substrate counts in full, though
 * methods share its score. */
double curve_forwards(const struct curve_params *p, int insert, int height, int width);
int curve_run(void *scratch, const struct curve_params *p, const struct metric_input *in, int insert,
	const struct metric_output *out, struct err *err);

/* Of a whole curve: figures[CURVE_AUC], and figures[CURVE_AUC_PUBLISHED], the AUC as DAVE's published code
 * states it, in percent, the tail counted as a whole stride. */
void curve_areas(const struct curve_params *p, const double *curve, int height, int width, double *figures);

extern const struct metric_figure curve_figures[];

/* The rows of both option tables; they differ in the default substrate. */
#define CURVE_AT(field) offsetof(struct curve_params, field)
#define CURVE_OPTIONS(default_substrate)                                                                     \
	{"order", OPT_CHOICE, CURVE_AT(order), "most", 0, 0, "most|least", "which pixels change first"},     \
		{"fraction", OPT_DOUBLE, CURVE_AT(fraction), "1", 0.001, 1, NULL,                            \
			"fraction of the pixels that change"},                                               \
		{"steps", OPT_INT, CURVE_AT(steps), "128", 1, 1000000, NULL,                                 \
			"steps of an equal number of pixels"},                                               \
		{"remainder", OPT_CHOICE, CURVE_AT(remainder), "step", 0, 0, "step|spread",                  \
			"where pixels are left over by equal steps: one more step, shorter; or spread over " \
			"all steps"},                                                                        \
		{"substrate", OPT_CHOICE, CURVE_AT(substrate), default_substrate, 0, 0,                      \
			"constant|blur|black",                                                               \
			"what pixels are replaced by: 0 in normalised space, the blurred image, or black "   \
			"(0 before normalisation)"},                                                         \
		{"kernel", OPT_CHOICE, CURVE_AT(kernel), "gaussian", 0, 0, "gaussian|rise",                  \
			"of the blur: a normalised Gaussian, or RISE's with its folded ends"},               \
		{"kernel_size", OPT_INT, CURVE_AT(kernel_size), "31", 1, 255, NULL,                          \
			"taps of the blur, odd"},                                                            \
		{"sigma", OPT_DOUBLE, CURVE_AT(sigma), "7", 0.01, 1000, NULL, "width of the blur, pixels"},  \
		{"rank", OPT_CHOICE, CURVE_AT(rank), "map", 0, 0, "map|raw",                                 \
			"rank pixels by the stored map or by the raw signed channel sum"},                   \
		{"score", OPT_CHOICE, CURVE_AT(score), "probability", 0, 0, "probability|logit",             \
			"softmax probability or logit of the target"},                                       \
		{"correct_only", OPT_BOOL, CURVE_AT(correct_only), "false", 0, 0, NULL,                      \
			"leave out images whose prediction is not the label"},                               \
		{"min_probability", OPT_DOUBLE, CURVE_AT(min_probability), "0", 0, 1, NULL,                  \
			"leave out images whose target has a smaller probability"},                          \
		{"points", OPT_CHOICE, CURVE_AT(points), "uniform", 0, 0, "uniform|adaptive",                \
			"score every point, or as many as auc needs (analysis/README.md)"},                  \
	{                                                                                                    \
		"tolerance", OPT_DOUBLE, CURVE_AT(tolerance), "0.002", 0, 1000, NULL,                        \
			"adaptive: no more points are scored once the standard error of auc is below this; " \
			"0: all are"                                                                         \
	}

/* The registry's entry of a metric with the tables `options` and `presets` of its file. */
#define CURVE_METRIC(kind, text, insert)                                                                     \
	static int run(void *scratch, const void *params, const struct metric_input *in,                     \
		const struct metric_output *out, struct err *err)                                            \
	{                                                                                                    \
		return curve_run(scratch, params, in, insert, out, err);                                     \
	}                                                                                                    \
	static double forwards(const void *params, int height, int width)                                    \
	{                                                                                                    \
		return curve_forwards(params, insert, height, width);                                        \
	}                                                                                                    \
	extern const struct metric_ops metric_##kind;                                                        \
	const struct metric_ops metric_##kind = {                                                            \
		.name = #kind,                                                                               \
		.help = text,                                                                                \
		.options = options,                                                                          \
		.params_size = sizeof(struct curve_params),                                                  \
		.presets = presets,                                                                          \
		.figures = curve_figures,                                                                    \
		.check = curve_check,                                                                        \
		.points = curve_points,                                                                      \
		.fractions = curve_fractions,                                                                \
		.adaptive = curve_adaptive,                                                                  \
		.carve = curve_carve,                                                                        \
		.run = run,                                                                                  \
		.forwards = forwards,                                                                        \
	}

#endif

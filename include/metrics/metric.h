/*
 * A metric behind one interface. A metric is one file and one line in registry.c. It sees the model only as a
 * scorer: images in, scores of the target class out.
 */
#ifndef METRICS_METRIC_H
#define METRICS_METRIC_H

#include "base/arena.h"
#include "base/err.h"
#include "base/option.h"

#include <stddef.h>

/* The model, as metrics see it. */
struct scorer {
	int batch; /* images per call at most; results depend on it (in the last bits) */
	/* probability and logit (n each) of the target class for images (n, channels, H, W); -1 when stopped
	 * by request. */
	int (*score)(
		void *ctx, double *probability, double *logit, const float *images, int n, struct err *err);
	void *ctx;
};

/* What the substrates of one image score, which is the same for every map: each is scored once, by itself, so
 * that the score does not depend on who asked first. Owned by who runs the metrics, and emptied for every
 * image and target (count = 0). */
enum { SUBSTRATES = 32 };
struct substrate_memo {
	int count;
	struct substrate_score {
		double key[4]; /* what makes the substrate, in numbers */
		double probability, logit;
	} entry[SUBSTRATES];
};

/* What is judged. */
struct metric_input {
	int channels, height, width;
	const float *x;            /* (channels, H, W), normalised */
	const float *raw;          /* (H, W): signed channel sum of the attribution */
	const float *map;          /* (H, W): post-processed or normalised */
	double probability, logit; /* of the target for the clean image */
	int correct;               /* is the target the model's prediction? */
	const struct scorer *scorer;
	struct substrate_memo *substrates; /* or NULL */
};

/* What a metric says of it; NaN where the image does not qualify for the metric. */
struct metric_output {
	double *curve;   /* (points) */
	double *scored;  /* (points): 1 where the curve is the model's, 0 where it is interpolated */
	double *figures; /* (figures), those that are not stored too */
};

struct metric_figure {
	const char *name, *help;
	int adaptive; /* stored only where the metric is adaptive */
};

/* A named set of settings, applied before those that the user gives. */
struct metric_preset {
	const char *name, *help;
	const char *settings; /* "key=value key=value ..." */
};

struct metric_ops {
	const char *name, *help;
	const struct option_row *options;
	size_t params_size;
	const struct metric_preset *presets; /* ends with a NULL name; or NULL */
	const struct metric_figure
		*figures; /* per-image scalars; ends with a NULL name; the first is the headline */

	/* Relations between parameters that their ranges cannot say; NULL: none. The error does not say
	 * where. */
	int (*check)(const void *params, struct err *err);

	/* Points of the curve for a plane of that size, start included; 0: no curve. */
	int (*points)(const void *params, int height, int width);
	/* The abscissa (points): fraction of the pixels changed. */
	void (*fractions)(const void *params, double *fraction, int height, int width);

	/* Does the metric choose for every image which points of the curve to score? Then `scored` is stored
	 * too. NULL: never. */
	int (*adaptive)(const void *params);

	/* Carves scratch memory (run twice: see arena.h); NULL while measuring. */
	void *(*carve)(struct arena *a, const void *params, int channels, int height, int width, int batch);

	int (*run)(void *scratch, const void *params, const struct metric_input *in,
		const struct metric_output *out, struct err *err);

	/* Forward passes for one image, for estimates; on average, where the metric is adaptive. */
	double (*forwards)(const void *params, int height, int width);
};

int metric_figure_count(const struct metric_ops *ops);

int metric_adaptive(const struct metric_ops *ops, const void *params);

/* Is that figure stored, with those parameters? */
int metric_figure_stored(const struct metric_ops *ops, const void *params, int figure);

/* All metrics, by rows; the last is NULL. */
extern const struct metric_ops *const metric_registry[];

/* The metric of that name, or NULL. */
const struct metric_ops *metric_find(const char *name);

#endif

/*
 * A metric behind one interface. A metric is one file and one line in registry.c. It sees the model only as a
 * scorer: images in, scores of the target class out; and the method only as an explainer: images in, maps
 * out.
 */
#ifndef METRICS_METRIC_H
#define METRICS_METRIC_H

#include "base/arena.h"
#include "base/err.h"
#include "base/option.h"

#include <stddef.h>
#include <stdint.h>

/* The model, as metrics see it. */
struct scorer {
	int batch; /* images per call at most; results depend on it (in the last bits) */
	/* probability and logit (n each) of the target class for images (n, channels, H, W); -1 when stopped
	 * by request. */
	int (*score)(
		void *ctx, double *probability, double *logit, const float *images, int n, struct err *err);
	void *ctx;
};

/* A grid of n x n images of distinct classes about the image at hand (methods.md section 5, gridpg). */
struct metric_grid {
	int n;
	int rescaled; /* cells shrink, so that the grid has the size of an image; else it is n times as
			 high and wide */
	double min_probability; /* images are classified right, with at least this probability */
};

/* The method whose map is judged, as metrics see it: the same parameters, and the same random numbers, so
 * that what changes is what the metric changes. All return -1 with a message when stopped, or when a map is
 * not finite. raw and map (H, W) as in struct metric_input. */
struct explainer {
	/* Of another image x (channels, H, W), for the target at hand. */
	int (*explain)(void *ctx, float *raw, float *map, const float *x, struct err *err);
	/* Of the image at hand, by the network whose head and last `blocks` of `of` equal parts of its blocks
	 * have new random weights (blocks = of: the embedding too). Needs METRIC_RANDOMISES. */
	int (*explain_randomised)(void *ctx, float *raw, float *map, int blocks, int of, struct err *err);
	/* maps (n * n, height, width) of a grid, which is of that size, for the class of each of its cells,
	 * row by row: 1; 0 where the image at hand does not qualify, or too few others do. raw is not
	 * post-processed. own: the cell of the image at hand. Only for metrics with grid(). */
	int (*explain_grid)(void *ctx, float *raw, float *map, int *own, const struct metric_grid *grid,
		int height, int width, struct err *err);
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
	int patch;                   /* pixels of a token's square, of which the image is a whole number */
	const float *x;              /* (channels, H, W), normalised */
	const float *black;          /* (channels): what x is where the picture is black */
	const float *raw;            /* (H, W): signed channel sum of the attribution */
	const float *map;            /* (H, W): post-processed or normalised */
	const unsigned char *region; /* (H, W): 1 where the annotated object of the image's label is, else 0;
					at least one is 1. NULL: there is none */
	uint64_t seed;               /* randomness is keyed by it and by the image's id */
	uint32_t image;
	double probability, logit; /* of the target for the clean image */
	int correct;               /* is the prediction the label? */
	const struct scorer *scorer;
	const struct explainer *explainer;
	struct substrate_memo *substrates; /* or NULL */
};

/* What a metric says of it; NaN where the image does not qualify for the metric. */
struct metric_output {
	double *curve;   /* (points) */
	double *scored;  /* (points): 1 where the curve is the model's, 0 where it is interpolated */
	double *figures; /* (figures), those that are not stored too */
};

enum metric_figure_kind {
	FIGURE_PLAIN,
	FIGURE_ADAPTIVE,   /* stored only where the metric is adaptive */
	FIGURE_CLASS_MEAN, /* the summary has the mean of its class means too */
};

struct metric_figure {
	const char *name, *help;
	enum metric_figure_kind kind;
};

/* What a metric asks for beside the map. */
enum {
	METRIC_REGION = 1,     /* data.boxes */
	METRIC_EXPLAINS = 2,   /* explain() */
	METRIC_RANDOMISES = 4, /* explain_randomised() */
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

	int needs; /* of the above */
	/* Of gridpg: the grids that it asks for. NULL: none, explain_grid() is not called. */
	void (*grid)(const void *params, struct metric_grid *grid);

	/* Relations between parameters that their ranges cannot say; NULL: none. The error does not say
	 * where. */
	int (*check)(const void *params, struct err *err);

	/* Points of the curve for a plane of that size, start included; 0: no curve. */
	int (*points)(const void *params, int height, int width);
	/* The abscissa (points): fraction of the pixels changed, or of what `axis` says. */
	const char *axis; /* NULL: of the pixels */
	void (*fractions)(const void *params, double *fraction, int height, int width);

	/* Does the metric choose for every image which points of the curve to score? Then `scored` is stored
	 * too. NULL: never. */
	int (*adaptive)(const void *params);

	/* Carves scratch memory (run twice: see arena.h); NULL while measuring. */
	void *(*carve)(struct arena *a, const void *params, int channels, int height, int width, int batch);

	int (*run)(void *scratch, const void *params, const struct metric_input *in,
		const struct metric_output *out, struct err *err);

	/* Forward passes for one image, for estimates; on average, where the metric is adaptive. NULL: none.
	 */
	double (*forwards)(const void *params, int height, int width);

	/* Maps that it asks the explainer for, likewise; of a metric with grid(), grids, each explained for
	 * all its cells. NULL: none. */
	double (*explanations)(const void *params);
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

/*
 * An attribution method behind one interface. A method is one file and one line in registry.c.
 *
 * A method explains logits of one image, one map a class: the *raw* map, the signed sum over channels of the
 * attribution of every pixel, (H, W) float32 in the frame of the normalised image. Mostly that is one class;
 * a grid of images is explained for the classes of all its cells at once, which may share forward passes.
 */
#ifndef ATTRIBUTION_METHOD_H
#define ATTRIBUTION_METHOD_H

#include "attribution/clean.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/option.h"
#include "model/vit.h"

#include <stdint.h>

/* What is explained, and with what. */
struct method_input {
	struct clean *clean; /* the passes over x, shared by methods */
	const struct vit *vit;
	struct vit_work *work; /* made for at least the method's mode, `batch` images, and as many cotangents
				  as the larger of `batch` and `count` */
	int batch;             /* images per pass; results depend on it (in the last bits) */
	const float *x;        /* (channels, H, W) */
	const int *targets;    /* (count): classes, distinct */
	int count;
	uint64_t seed;
	uint32_t image; /* id: randomness is keyed by it, the same for all targets */
};

enum { METHOD_FIGURES = 16 }; /* most of a method, and of a metric */

/* A figure that a method gives beside its map. */
struct method_figure {
	const char *name, *help;
};

/* The option row that every method has; `standard` is its default as text. */
#define METHOD_POSTPROCESS_OPTION(type, standard)                                                            \
	{                                                                                                    \
		"postprocess", OPT_BOOL, offsetof(type, postprocess), standard, 0, 0, NULL,                  \
			"smooth and normalise as DAVE does (methods.md section 3)"                           \
	}

struct method_ops {
	const char *name, *help;
	const struct option_row
		*options; /* of its parameters; every method has `postprocess`, a bool (int) */
	size_t params_size;
	size_t postprocess_offset;           /* of that field in the parameters */
	enum vit_mode mode;                  /* what its forward passes keep */
	const struct method_figure *figures; /* ends with a NULL name; or NULL */

	/* Carves the method's scratch memory for `targets` classes at most (run twice: see arena.h); NULL
	 * while measuring. */
	void *(*carve)(
		struct arena *a, const struct vit_config *c, const void *params, int batch, int targets);

	/* raw (count, H, W) and the figures, which are those of the last target. Errors: a result that is not
	 * finite; stopped by request. */
	int (*run)(void *scratch, const void *params, const struct method_input *in, float *raw,
		double *figures, struct err *err);

	/* Can it explain this network, with these parameters? NULL: any. Asked once, before anything runs. */
	int (*check)(const struct vit_config *c, const void *params, struct err *err);

	/* Does it take the forward pass over the image itself, which the methods of a run share and passes()
	 * leaves out? */
	int clean;

	/* Passes over one image that a run takes, for estimates: forward and backward ones. */
	void (*passes)(const void *params, double *forward, double *backward);
};

/* Numbers of an image: channels * H * W. */
size_t method_image_size(const struct vit_config *c);

/* Number of figures of a method. */
int method_figure_count(const struct method_ops *ops);

/* All methods, by rows; the last is NULL. */
extern const struct method_ops *const method_registry[];

/* The method of that name, or NULL. */
const struct method_ops *method_find(const char *name);

/* Runs a method and finishes its maps: raw (count, H, W), map (count, H, W) post-processed or normalised as
 * the parameters say, scale (count) what each map was divided by. Scratch is taken from the arena, and given
 * back. */
int method_explain(const struct method_ops *ops, const void *params, struct arena *a,
	const struct method_input *in, float *raw, float *map, double *scale, double *figures,
	struct err *err);

/* Carves what method_explain() takes (while measuring). */
void method_measure(const struct method_ops *ops, const void *params, struct arena *a,
	const struct vit_config *c, int batch, int targets);

/* row (tokens): the tokens that the head takes, as weights that sum to 1: a class token, the mean of two, or
 * all patches alike. What rollouts start from. */
void method_classified_row(double *row, const struct vit *vit);

/* map (height, width) = grid (grid_h, grid_w) bilinearly, as PyTorch's interpolate without align_corners:
 * what methods that end at the patches show. -1 with a message
 * where a value is not finite. */
int method_upsample(float *map, const float *grid, const struct vit_config *c, struct err *err);

/* raw (H, W) = sum over channels of a (channels, H, W). -1 with a message if a value is not finite. */
int method_sum_channels(float *raw, const float *a, const struct vit_config *c, struct err *err);

#endif

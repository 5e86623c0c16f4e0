/*
 * One image through everything: decode, preprocess, predict, attribute, judge; the result is a row. All
 * memory is taken once, at the start.
 */
#ifndef PIPELINE_EVALUATE_H
#define PIPELINE_EVALUATE_H

#include "attribution/clean.h"
#include "attribution/method.h"
#include "base/arena.h"
#include "metrics/metric.h"
#include "model/vit.h"
#include "model/vit_random.h"
#include "pipeline/config.h"
#include "pipeline/dataset.h"
#include "pipeline/grids.h"
#include "pipeline/region.h"
#include "pipeline/schema.h"
#include "pipeline/stage.h"

struct evaluator {
	const struct config *config;
	const struct vit *vit;
	const struct dataset *data;
	const struct schema *schema;
	const struct region_source *regions;
	int batch;
	struct vit_work work;
	struct clean clean;       /* passes over the image at hand */
	struct clean other;       /* over what metrics explain beside it */
	struct vit_random random; /* where a metric randomises weights */
	struct grids *grids;
	struct grid_knowledge knowledge;
	struct arena arena;
	size_t shared_from;    /* scratch of methods and metrics, one after the other, begins here */
	unsigned char *pixels; /* (H, W, 3) */
	float *x;              /* (channels, H, W) */
	float *black;          /* (channels): of a black pixel */
	float *raw, *map;      /* (H, W) */
	float *logits;         /* (batch, classes) of images that metrics make */
	struct metric_output out;
	/* of the image at hand */
	int image, target, correct;
	int method;                /* that is judged */
	double probability, logit; /* of the target */
	struct region region;      /* of the label */
	struct substrate_memo substrates;
};

enum evaluate_result { EVALUATE_DONE, EVALUATE_FAILED, EVALUATE_STOPPED };

/* Images per pass: what the configuration says; for `auto` about 800 tokens, from the model alone. */
int evaluate_batch(const struct config *c, const struct vit_config *vit);

/* Takes all memory for rows of this run; everything given must outlive the evaluator. */
void evaluator_init(struct evaluator *e, const struct config *c, const struct vit *vit, struct grids *g,
	const struct dataset *d, const struct region_source *r, const struct schema *s);
void evaluator_release(struct evaluator *e);

/* Bytes that an evaluator allocates, beyond the weights. */
size_t evaluator_bytes(
	const struct config *c, const struct vit *vit, const struct grids *g, const struct schema *s);

/* Forward and backward passes for one image, and their multiply-adds. */
void evaluator_passes(const struct config *c, const struct vit_config *vit, const struct grids *g,
	double *forward, double *backward, double *macs);

/* What a method is given to explain x for the target at hand. */
struct method_input evaluator_input(struct evaluator *e, const float *x, struct clean *clean);

/* Multiply-adds of the longest pass, forward and backward over a batch: between two of them a stop is seen.
 */
double evaluator_pass_macs(const struct config *c, const struct vit_config *vit, const struct grids *g);

/* Fills the row of image i and adds the time it took to the stages. A bad image gives EVALUATE_FAILED with
 * the reason in the row and in err; a request to stop gives EVALUATE_STOPPED, and the row is to be thrown
 * away. */
enum evaluate_result evaluate(
	struct evaluator *e, int i, unsigned char *row, double seconds[STAGES], struct err *err);

#endif

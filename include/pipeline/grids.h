/*
 * Grids of images for metric `gridpg` (methods.md section 5): the network for each kind of grid that a run
 * asks for, and the grid about the image at hand.
 *
 * A grid is a function of (configuration, checkpoint, data set, image): the image at hand takes a cell that
 * is drawn, the others are drawn from the data set until there are enough of other classes that the network
 * classifies right and surely enough. So no rank has to know what others found.
 */
#ifndef PIPELINE_GRIDS_H
#define PIPELINE_GRIDS_H

#include "attribution/clean.h"
#include "base/err.h"
#include "metrics/metric.h"
#include "model/vit.h"
#include "pipeline/config.h"
#include "pipeline/dataset.h"

enum { GRID_CELLS = 9 };

/* One kind of grid: the metrics that ask for the same share it. */
struct grid {
	struct metric_grid spec;
	struct vit own; /* for a larger input; empty where the grid has the size of an image */
	const struct vit *vit;
	struct vit_work work;
	struct arena arena;
	struct clean clean;
	unsigned char *pixels;   /* (height, width, 3) */
	float *x;                /* (channels, height, width) */
	int classes[GRID_CELLS]; /* of the cells, row by row */
	int cell;                /* that of the image at hand */
	int image, usable;       /* of which image the grid is, -1: none; and whether there is one */
};

struct grids {
	struct grid entry[CONFIG_MAX_ENTRIES];
	int count;
};

/* Loads the networks of all grids that the metrics of c ask for: the checkpoint again for each larger input,
 * so that what is not F32 is converted again too. */
int grids_load(struct grids *g, const struct config *c, const struct vit *vit, struct err *err);
void grids_release(struct grids *g);

/* Are there enough classes for all of them? */
int grids_check(const struct grids *g, const struct dataset *d, int classes, struct err *err);

/* Which entry is the grid of that kind; -1: none. */
int grids_find(const struct grids *g, const struct metric_grid *spec);

/* Memory for passes of that mode over a grid. */
void grid_allocate(struct grid *g, enum vit_mode mode);
size_t grid_bytes(const struct grid *g, enum vit_mode mode);

/* What one rank knows of the images so far: the probability of the label where it is also the prediction; -1
 * where it is not, or the image cannot be read; NaN: not yet known. */
struct grid_knowledge {
	const struct vit *vit; /* of single images */
	struct vit_work *work;
	const struct dataset *data;
	float *sure;           /* (images), owned */
	unsigned char *pixels; /* (H, W, 3), owned, as are the next two */
	float *x, *logits;
};

void grid_knowledge_init(
	struct grid_knowledge *k, const struct vit *vit, struct vit_work *work, const struct dataset *data);
size_t grid_knowledge_bytes(const struct vit_config *c, int images);
void grid_knowledge_release(struct grid_knowledge *k);

/* Composes the grid of image i, unless it is there already; g->usable says whether there is one. -1 when
 * stopped, and where a picture that was read before can no longer be. */
int grid_compose(struct grid *g, struct grid_knowledge *k, int i, uint64_t seed, struct err *err);

#endif

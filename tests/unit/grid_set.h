/* A data set of pictures on disk, and a network that is made to tell their classes apart. */
#ifndef UNIT_GRID_SET_H
#define UNIT_GRID_SET_H

#include "model/vit.h"
#include "pipeline/dataset.h"

/* The checkpoint, without its head: 12 x 16 pixels, patches of 4. */
#define GRID_SET_MODEL "tests/golden/families/vit"

/* Classes; images, of which some are near to a class and some not. */
enum { PROTOTYPES = 12, IMAGES = 60, WIDTH = 16, H = 12, W = 16, PLANE = H * W };

/* What must not get into a grid though its label is the prediction: images that cannot be read. And those
 * whose label is another class, or none of the network's. */
enum { UNREADABLE = 3, WRONG = 4 };

struct grid_set {
	struct vit vit;
	struct vit_work work;
	struct dataset data;
	char head[512];
	unsigned char picture[IMAGES][3 * PLANE]; /* preprocessed */
	int prediction[IMAGES];
	double sure[IMAGES]; /* the prediction's probability; -1 where the image must not appear */
	double median;       /* of those that may */
};

void grid_set_begin(struct grid_set *f);
void grid_set_end(struct grid_set *f);

/* What is written in place of the picture of image i. */
void grid_set_overwrite(int i, const char *text);

#endif

/*
 * Which pixels of the preprocessed image the annotated object of its class covers (methods.md section 5): the
 * union of the boxes of the image's label, or a mask, taken through the same resize and crop as the image. A
 * pixel of the frame belongs to the region where the pixel of the picture that its centre falls into does.
 *
 * Boxes count where their name is that of the label (dataset_class_name()); where the data set has no names,
 * all do. A mask counts as it is.
 */
#ifndef PIPELINE_REGION_H
#define PIPELINE_REGION_H

#include "base/arena.h"
#include "base/err.h"
#include "formats/annotations.h"
#include "formats/digest.h"
#include "model/vit_config.h"
#include "pipeline/dataset.h"

#include <stdint.h>

/* What data.boxes names. Zeroed: nothing. */
struct region_source {
	enum { REGIONS_NOWHERE, REGIONS_TABLE, REGIONS_FOLDER } kind;
	char *path;                    /* owned */
	struct annotation_table table; /* of a CSV file */
	char digest[DIGEST_TEXT];      /* "none"; or SHA-256 of the CSV file's bytes (none for a folder, which
					  would have to be read whole) and the data set's names of classes */
};

/* The bytes of the CSV file at path, for region_source_init(), owned by the caller: *text is NULL where path
 * is a folder. Rank 0 alone. */
int region_load(char **text, size_t *size, const char *path, struct err *err);

/* From what region_load() gave; path "": nothing. Every rank. */
int region_source_init(struct region_source *s, const char *path, const char *text, size_t size,
	const struct dataset *d, struct err *err);
void region_source_release(struct region_source *s);

/* Of how many images is there an annotation, in a table one with a box of the image's class? Counting ends at
 * `enough`. */
int region_count(const struct region_source *s, const struct dataset *d, int enough);

/* In /images/region. */
enum region_state {
	REGION_NONE, /* nothing is annotated: no box of the class, no file, no pixel of the picture in it */
	REGION_USED, /* there is a region */
	REGION_OUTSIDE, /* what is annotated has no pixel in the frame: the crop lost it */
};

enum { REGION_BOXES = 16 };

/* The region of one image. */
struct region {
	unsigned char *inside; /* (H, W): 1 where the pixel belongs, else 0 */
	int *column, *row;     /* (W), (H): preprocess_sources() */
	enum region_state state;
	double share; /* of the pixels that belong; NaN without a region */
	/* x1 y1 x2 y2, half-open, in the frame: of the boxes that have a pixel there the largest, the largest
	 * first (equal ones in the order of the file); of a mask the box around it */
	int32_t box[REGION_BOXES][4];
	int boxes;
};

/* Takes the arrays from the arena. */
void region_carve(struct region *r, struct arena *a, const struct vit_config *c);

/* The region of image i, a picture of width x height pixels. Errors: its annotation is damaged, or of a
 * picture of another size. */
int region_find(struct region *r, const struct region_source *s, const struct dataset *d, int i,
	const struct vit_config *c, int width, int height, struct err *err);

#endif

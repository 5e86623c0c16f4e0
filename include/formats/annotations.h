/*
 * Where the objects of a picture are: boxes from ImageNet's XML (the layout of PASCAL VOC) or from Kaggle's
 * CSV, or a mask.
 *
 * A box is half-open, [x1, x2) x [y1, y2), in pixels of the picture as it is stored (image.h ignores EXIF's
 * orientation, so boxes and masks are of the unturned picture), columns from the left and rows from the top,
 * from 0. A file may give fractions: a pixel belongs where its centre does, so 1.5 is the edge of pixel 1,
 * and 1.6 that of pixel 2.
 *
 * A coordinate that is not a finite number within +-ANNOTATION_LARGEST is refused, and so is a reversed box
 * (x2 < x1): both tell of another convention, such as x y width height. What is outside the picture, negative
 * or behind its end, is no error (ImageNet has such boxes): no pixel is there. An empty box holds no pixel.
 *
 * Nothing of a file is trusted: sizes and counts have the limits below; a document type is refused before it
 * can declare an entity, so that nothing expands and nothing is loaded.
 */
#ifndef FORMATS_ANNOTATIONS_H
#define FORMATS_ANNOTATIONS_H

#include "base/err.h"
#include "formats/image.h"

#include <stddef.h>

enum {
	ANNOTATION_LARGEST = 1 << 28,  /* magnitude of a coordinate; more than IMAGE_MAX_PIXELS */
	ANNOTATION_BOXES = 4096,       /* of one picture */
	ANNOTATION_XML_SIZE = 1 << 24, /* bytes */
	ANNOTATION_CSV_SIZE = 1 << 30
};

struct annotation_box {
	const char *name; /* of its class; never empty */
	int x1, y1, x2, y2;
};

/* What an XML file says of one picture; all owned, a zeroed struct is an empty one. */
struct annotation {
	int width, height; /* of the picture, as the file claims; 0: it does not say */
	struct annotation_box *box;
	int count;
};

/* Reads <annotation>: <size> with <width> and <height>, and an <object> with <name> and <bndbox> for every
 * box; other elements are passed over (so are the boxes of an object's parts). The file at path, or size
 * bytes of text that came from it. Returns -1 with out empty and err set to "path:line: ...". */
int annotation_read_xml(struct annotation *out, const char *path, struct err *err);
int annotation_parse_xml(
	struct annotation *out, const char *text, size_t size, const char *path, struct err *err);
void annotation_release(struct annotation *a);

/* A CSV file: the boxes of many pictures, looked up by id. */
struct annotation_row {
	const char *id;
	int line;         /* in the file */
	int first, count; /* of its boxes in annotation_table.box; there may be none */
};
struct annotation_table {
	char *text; /* what ids and names point into */
	struct annotation_row *row;
	int count;
	struct annotation_box *box;
	int box_count;
};

/* The whole file as text, for annotation_parse_csv(); owned by the caller. NULL with err set. */
char *annotation_read_csv(const char *path, size_t *size, struct err *err);

/* Parses `ImageId,PredictionString` and lines `id,name x1 y1 x2 y2 name x1 ...`; a field may be quoted, lines
 * may end in CR LF, empty ones are passed over. An id that is there twice is an error. Returns -1 with t
 * empty and err set to "path:line: ...". */
int annotation_parse_csv(
	struct annotation_table *t, const char *text, size_t size, const char *path, struct err *err);
void annotation_table_release(struct annotation_table *t);

/* The row of an id, or NULL. O(log count). */
const struct annotation_row *annotation_find(const struct annotation_table *t, const char *id);

/* A mask: a PNG file of any kind; a pixel is of the object where any colour channel is not zero (of a
 * palette: where its colour is not black; alpha does not count). out is to be released with image_release().
 * Returns -1 with out empty and err set to a line that begins with path. */
int annotation_read_mask(struct image *out, const char *path, struct err *err);

#endif

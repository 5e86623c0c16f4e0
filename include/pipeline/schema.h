/*
 * What a results file holds, as field descriptors: the one place where the schema is written down. The store
 * writes fields without knowing what they mean; analysis/README.md prints this table.
 */
#ifndef PIPELINE_SCHEMA_H
#define PIPELINE_SCHEMA_H

#include "model/vit_config.h"
#include "pipeline/config.h"
#include "pipeline/dataset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum field_type { FIELD_U8, FIELD_U32, FIELD_I32, FIELD_F16, FIELD_F32, FIELD_F64, FIELD_TEXT };

enum { ERROR_TEXT = 256 };

/* Of a row, in /images/status. */
enum row_status { ROW_PENDING, ROW_DONE, ROW_FAILED };

/* A data set with one entry per image: (images, dims...). */
struct field {
	char *path, *help; /* owned */
	enum field_type type;
	size_t text_size; /* bytes of a FIELD_TEXT */
	int ndim;         /* axes after the image axis */
	size_t dims[2];
	char *axes[2];        /* paths of the dimension scales of those axes; owned */
	size_t offset, bytes; /* within a row of the row buffer */
};

/* A dimension scale with values: (size), float64. */
struct axis {
	char *path, *help; /* owned */
	size_t size;
	double *value; /* owned */
};

/* Fields of one metric under one method: indices into schema.fields. */
struct metric_fields {
	int curve;  /* -1: none */
	int scored; /* -1: every point is */
	int figures;
};

struct method_fields {
	int map, raw, scale, figures; /* map and raw: -1 where not stored */
	struct metric_fields metrics[CONFIG_MAX_ENTRIES];
};

/* A row of a table over images: of what, and how. */
struct table_row {
	char *name;    /* owned */
	int field;     /* index into schema.fields; -1: is the prediction the label? */
	int minus;     /* a field that is taken off image by image, or -1 */
	bool by_class; /* of the means of classes (labels) instead of images */
};

/* A group of the results with a row per figure: /summary, and /paired, which compares the first method with
 * each other one image by image. */
struct schema_table {
	const char *group;
	struct table_row *rows; /* owned */
	int count;
};

struct schema {
	struct field *fields;
	int count;
	struct axis *axes;
	int axes_count;
	size_t row_bytes;
	int images;
	/* of every image; path and label are known before the run, so they are written once */
	int path, label, target, prediction, probability, confidence, logit, pixel_share, error, status,
		checksum;
	int region, region_share, boxes; /* -1 without data.boxes */
	struct method_fields methods[CONFIG_MAX_ENTRIES];
	struct schema_table summary, paired;
};

void schema_init(
	struct schema *s, const struct config *c, const struct vit_config *vit, const struct dataset *d);
void schema_release(struct schema *s);

/* Fills a row with "nothing": NaN, -1, empty text. */
void schema_clear_row(const struct schema *s, unsigned char *row);

/* Sets entries of a field in a row, converting from double or float. */
void schema_put(const struct schema *s, unsigned char *row, int field, const double *value, size_t count);
void schema_put_floats(
	const struct schema *s, unsigned char *row, int field, const float *value, size_t count);
void schema_put_number(const struct schema *s, unsigned char *row, int field, double value);
void schema_put_text(const struct schema *s, unsigned char *row, int field, const char *text);

/* Is the field part of a row's checksum? All are but what is known before the run, the status, and itself. */
int schema_in_checksum(const struct schema *s, int field);

/* CRC-32 of a row; never 0, which means pending. */
uint32_t schema_checksum(const struct schema *s, const unsigned char *row);

/* Bytes of a results file, to a percent or so. */
double schema_file_bytes(const struct schema *s);

/* The schema as a table in Markdown. */
void schema_reference(FILE *out);

#endif

/* Shared by the parts of the store; not for others. */
#ifndef PIPELINE_STORE_PARTS_H
#define PIPELINE_STORE_PARTS_H

#include "pipeline/schema.h"

#include <stdint.h>

/* The HDF5 type of a field; closed by the caller. */
int64_t store_field_type(const struct field *f);

/* Columns of the summary table besides `name`. */
enum { SUMMARY_COLUMNS = 5 };
extern const char *const store_summary_columns[SUMMARY_COLUMNS];

#endif

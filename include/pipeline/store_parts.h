/* Shared by the parts of the store; not for others. */
#ifndef PIPELINE_STORE_PARTS_H
#define PIPELINE_STORE_PARTS_H

#include "base/err.h"
#include "pipeline/schema.h"

#include <stdint.h>

/* The HDF5 type of a field; closed by the caller. */
int64_t store_field_type(const struct field *f);

/* Data set with the paths of the data sets that a row's CRC-32 is taken over. */
#define STORE_FIELDS "/images/checksum_fields"

/* Reads every finished row back. status (rows) is what the file says, changed to ROW_PENDING for rows whose
 * bytes do not match their checksum; `bad` (may be NULL) is told of each. Returns how many those are, or -1.
 */
int store_verify_rows(int64_t file, const char *path, uint8_t *status, int rows,
	void (*bad)(int row, void *ctx), void *ctx, struct err *err);

/* Columns of a table besides `name`; the last, wins, of /paired alone. */
enum { TABLE_COLUMNS = 6 };
extern const char *const store_columns[TABLE_COLUMNS];

/* Those that a table has. */
int store_columns_of(const struct schema_table *t);

#endif

/*
 * HDF5 files of tensors: what dave-replay reads and writes. Every error names the file and the object, and
 * the library's own error printing is off (h5_setup).
 *
 * hid_t values are spelled int64_t here so that users of this header need no hdf5.h.
 */
#ifndef FORMATS_H5_H
#define FORMATS_H5_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To be called before anything else of HDF5. Turns the library's own messages off (we have ours) and its file
 * locking: a person who looks into a file must not keep the run from writing to it. */
void h5_setup(void);

/* The half-precision type as h5py reads it (float16). The caller closes it with H5Tclose. */
int64_t h5_half_type(void);

/* Opens for reading / creates (replacing). -1 on error. */
int64_t h5_open(const char *path, struct err *err);
int64_t h5_create(const char *path, struct err *err);
/* Closes; -1 when what was written could not be flushed. */
int h5_close(int64_t file, const char *path, struct err *err);

/* Has h5_close() failed? HDF5 closes such a file again when MPI ends, and crashes: MPI must be aborted then.
 */
bool h5_abandoned(void);

/* Why a call into HDF5 failed: errno, which must have been 0 before it; the layers between say less than the
 * system call at the bottom. */
const char *h5_reason(void);

bool h5_exists(int64_t file, const char *name);

/* Creates a group and its parents; an existing one is fine. */
int h5_group(int64_t file, const char *name, struct err *err);

/* A tensor read as float32 (any numeric type is converted by HDF5): data is malloc'd, owned by the caller. */
struct h5_tensor {
	int ndim;
	size_t dims[8], count;
	float *data;
};
int h5_read(struct h5_tensor *t, int64_t file, const char *name, struct err *err);

/* The same as double / int64 into memory of the caller, which must hold exactly `count` elements. */
int h5_read_double(double *out, size_t count, int64_t file, const char *name, struct err *err);
int h5_read_int(int64_t *out, size_t count, int64_t file, const char *name, struct err *err);

/* A scalar attribute of an object ("/" for the file). */
int h5_attr_double(double *out, int64_t file, const char *object, const char *name, struct err *err);
int h5_attr_int(int64_t *out, int64_t file, const char *object, const char *name, struct err *err);

/* Text of a scalar attribute of the root, of fixed length; owned by the caller, NULL if there is none. */
char *h5_attr_text(int64_t file, const char *name);

/* A one-dimensional data set of texts of fixed length: *texts (count x width bytes, NUL-padded, each maybe
 * without a NUL) is owned by the caller. Returns count, or -1. */
int h5_read_texts(char **texts, size_t *width, int64_t file, const char *name, struct err *err);

/* Row `row` along the first axis of a data set, as float32; count must be the rest of its shape. */
int h5_read_row(float *out, size_t count, int64_t file, const char *name, size_t row, struct err *err);

/* Calls visit with the name of each link of a group, by name; stops when it returns non-zero and returns
 * that. */
int h5_each(int64_t file, const char *group, int (*visit)(const char *name, void *ctx), void *ctx);

/* Writes a tensor; parents are created. */
int h5_write(
	int64_t file, const char *name, const float *data, int ndim, const size_t *dims, struct err *err);
int h5_write_u8(
	int64_t file, const char *name, const uint8_t *data, int ndim, const size_t *dims, struct err *err);

#endif

/*
 * safetensors files, mapped read-only: 8 bytes little-endian header length, a JSON header, then the data.
 * Large checkpoints come as several files and an index. The ranks of a node that map one file share its
 * pages.
 */
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum tensor_dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_OTHER };

enum { TENSOR_MAX_DIMS = 8 };

struct tensor {
	char *name;
	enum tensor_dtype dtype;
	char dtype_name[8];
	int ndim;
	int64_t shape[TENSOR_MAX_DIMS];
	size_t count;     /* elements */
	const void *data; /* in the map; not necessarily aligned */
};

/* One file, mapped. */
struct safetensors_map {
	char *path;
	const unsigned char *data;
	size_t size;
	int fd;                  /* to see changes of the file */
	struct timespec changed; /* when the file was last written before it was mapped */
};

struct safetensors {
	char *path; /* of the file, or of the index */
	struct safetensors_map *maps;
	int maps_count;
	struct tensor *tensors; /* sorted by name */
	int count;
	int owns_data; /* a list made in memory: each tensor's data is malloc'd and freed on release */
};

/* Maps the file and checks its header: bounds, sizes against shapes, duplicate names. The map stays
 * until release; tensors point into it. */
int safetensors_open(struct safetensors *st, const char *path, struct err *err);

/* DIR/model.safetensors, or else the files that DIR/model.safetensors.index.json names, as one: every tensor
 * must lie in the file that the index says, and no other. */
int safetensors_open_folder(struct safetensors *st, const char *dir, struct err *err);

/* Bytes of all files. */
size_t safetensors_bytes(const struct safetensors *st);

/* 0 while nobody has written into the mapped file; a file that was put in its place does not matter, the map
 * stays what it was. A list made in memory never changes. */
int safetensors_unchanged(const struct safetensors *st, struct err *err);

/* Unmaps; st may be zeroed or released already. */
void safetensors_release(struct safetensors *st);

/* Sorts the tensors of a list made in memory by name, as safetensors_find() wants them. */
void safetensors_sort(struct safetensors *st);

/* The tensor of that name, or NULL. */
const struct tensor *safetensors_find(const struct safetensors *st, const char *name);

/* out[0..count-1] = the tensor as float32 (F32, F16, BF16 only: BUG otherwise). */
void tensor_to_float(float *out, const struct tensor *t);

/* "[192, 3, 16, 16]" into buf (at least 128 bytes); returns buf. */
char *tensor_shape_text(char *buf, const struct tensor *t);

#endif

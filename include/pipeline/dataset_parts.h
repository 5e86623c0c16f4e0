/* Shared by the parts of the data set; not for others. */
#ifndef PIPELINE_DATASET_PARTS_H
#define PIPELINE_DATASET_PARTS_H

#include "pipeline/dataset.h"

#include <stdbool.h>

/* Adds an image; offset -1: a plain file. One kind per data set. */
void dataset_add(struct dataset *d, const char *path, int label, int64_t offset);

/* A path of the data set as the system knows it; owned by the caller. */
char *dataset_full_path(const char *root, const char *path);

bool dataset_is_folder(const char *path);

/* Does the name end in .jpg, .jpeg or .png? */
bool dataset_is_image_name(const char *name);

/* Is it a data set of shards, and if so: reads it, from its index where that is of these very shards. 1: is
 * none. */
int dataset_read_shards(struct dataset *d, const char *path, struct err *err);

#endif

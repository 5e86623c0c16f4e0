/*
 * The list of images of a run, in a fixed order. An image's id is its position in that order; randomness is
 * keyed by it, so it does not depend on ranks, on the order of work, or on --limit.
 */
#ifndef PIPELINE_DATASET_H
#define PIPELINE_DATASET_H

#include "base/err.h"

#include <stddef.h>

struct dataset {
	char *root; /* folder that paths are relative to */
	char *text; /* all paths, NUL-terminated, one after the other */
	size_t text_size, text_room;
	int count;
	size_t *at;     /* (count) offset of each path in text */
	int *label;     /* (count) */
	int folders;    /* class folders rather than a list */
	int classes;    /* class folders or names; largest label + 1 for a list */
	size_t longest; /* bytes of the longest path */
};

/*
 * path: a folder of class folders (ImageFolder: folders and files sorted by bytes, files .jpg .jpeg .png in
 * any case, sub-folders included) or a list file of lines `path label` (paths relative to the list's folder;
 * the label is the last word). classes_file: folder names in index order, or "": sorted position. limit: 0
 * for all.
 */
int dataset_read(struct dataset *d, const char *path, const char *classes_file, int limit, struct err *err);

void dataset_release(struct dataset *d);

/* The path of image i, relative to the root (a list may also hold absolute ones); owned by the data set. */
const char *dataset_path(const struct dataset *d, int i);

/* A path of the data set as the system knows it; owned by the caller. */
char *dataset_full_path(const char *root, const char *path);

/* One block of memory and back, for broadcasting; owned by the caller. */
char *dataset_pack(const struct dataset *d, size_t *size);
void dataset_unpack(struct dataset *d, const char *block, size_t size);

#endif

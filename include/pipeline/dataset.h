/*
 * The list of images of a run, in a fixed order. An image's id is its position in that order; randomness is
 * keyed by it, so it does not depend on ranks, on the order of work, or on --limit.
 */
#ifndef PIPELINE_DATASET_H
#define PIPELINE_DATASET_H

#include "base/err.h"
#include "formats/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest class index that a list or a shard may hold. */
enum { DATASET_MAX_LABEL = 1 << 24 };

struct dataset {
	char *root; /* folder that paths are relative to */
	char *text; /* all paths, NUL-terminated, one after the other */
	size_t text_size, text_room;
	int count;
	size_t *at;      /* (count) offset of each path in text */
	int *label;      /* (count) */
	int64_t *offset; /* (count) of images in tar shards: where the member's header is; NULL for plain
			    files */
	int folders;     /* class folders rather than a list */
	int classes;     /* class folders or names; largest label + 1 for a list without names */
	char *names;     /* the classes' names in index order, NUL-terminated, one after the other; NULL where
			    none are known */
	size_t names_size;
	size_t longest; /* bytes of the longest path */
};

/*
 * path is one of
 *   - a folder of class folders (ImageFolder: folders and files sorted by bytes, files .jpg .jpeg .png in any
 *     case, sub-folders included);
 *   - a list file of lines `path label` (paths relative to the list's folder; the label is the last word);
 *   - tar shards in the layout of WebDataset, `key.jpg` (or .jpeg, .png) beside `key.cls` (the class index):
 *     a file .tar, a folder with such files, or a list file of lines `path.tar`. Their index is built once
 *     and kept as PATH.index, or dave-eval.index in the folder, where that can be written.
 *
 * classes_file: names of the classes in index order, or "". Of class folders these are the folders (without
 * names the sorted position is the index); of a list or of shards, which have their indices, what annotations
 * call the classes (at least as many as the largest label).
 *
 * limit: 0 for all.
 */
int dataset_read(struct dataset *d, const char *path, const char *classes_file, int limit, struct err *err);

void dataset_release(struct dataset *d);

/* The path of image i, relative to the root (a list may also hold absolute ones); of a shard's member
 * "SHARD.tar/MEMBER". Owned by the data set. */
const char *dataset_path(const struct dataset *d, int i);

/* The name of class `label`, or NULL where it has none. O(classes). Owned by the data set. */
const char *dataset_class_name(const struct dataset *d, int label);

/* Reads and decodes image i. The message does not name the image: whoever asks knows which. */
int dataset_image(struct image *out, const struct dataset *d, int i, struct err *err);

/* The same from a root and a path that a results file holds. offset: of the header in its shard, or -1. */
int dataset_image_at(struct image *out, const char *root, const char *path, int64_t offset, struct err *err);

/* The folder that the paths of the data set at `path` are relative to; owned by the caller. */
char *dataset_root(const char *path);

/* One block of memory and back, for broadcasting; owned by the caller. */
char *dataset_pack(const struct dataset *d, size_t *size);
void dataset_unpack(struct dataset *d, const char *block, size_t size);

/* Is a block one that can be unpacked? dataset_unpack() takes another for a bug; a file may hold one. */
bool dataset_is_packed(const char *block, size_t size);

#endif

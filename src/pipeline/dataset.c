#include "pipeline/dataset.h"

#include "base/num.h"
#include "pipeline/dataset_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

void dataset_add(struct dataset *d, const char *path, int label, int64_t offset)
{
	size_t n = strlen(path) + 1;

	if ((d->count & (d->count - 1)) == 0) { /* a power of two, or none: grow */
		size_t room = d->count ? 2 * (size_t)d->count : 1;
		d->at = x_realloc(d->at, room * sizeof(*d->at));
		d->label = x_realloc(d->label, room * sizeof(*d->label));
		if (offset >= 0)
			d->offset = x_realloc(d->offset, room * sizeof(*d->offset));
	}
	if (d->text_size + n > d->text_room) {
		d->text_room = 2 * (d->text_size + n);
		d->text = x_realloc(d->text, d->text_room);
	}
	memcpy(d->text + d->text_size, path, n);
	d->at[d->count] = d->text_size;
	if (offset >= 0)
		d->offset[d->count] = offset;
	d->classes = label >= d->classes ? label + 1 : d->classes;
	d->label[d->count++] = label;
	d->text_size += n;
	d->longest = n - 1 > d->longest ? n - 1 : d->longest;
}

const char *dataset_path(const struct dataset *d, int i)
{
	return d->text + d->at[i];
}

char *dataset_full_path(const char *root, const char *path)
{
	return *path == '/' ? x_strdup(path) : x_asprintf("%s/%s", root, path);
}

char *dataset_root(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (dataset_is_folder(path))
		return x_strdup(path);
	return slash ? x_asprintf("%.*s", (int)(slash - path + (slash == path)), path) : x_strdup(".");
}

/* ---- folders ---- */

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

bool dataset_is_folder(const char *path)
{
	struct stat s;

	return !stat(path, &s) && S_ISDIR(s.st_mode);
}

/* The directory itself mostly knows: 50,000 calls of stat() are slow on a parallel file system. */
static int entry_is_folder(const struct dirent *e, const char *full)
{
	return e->d_type == DT_UNKNOWN || e->d_type == DT_LNK ? dataset_is_folder(full) : e->d_type == DT_DIR;
}

bool dataset_is_image_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

/* Adds the images below root/relative: its files, then those of its sub-folders. */
static int walk(struct dataset *d, const char *relative, int label, int depth, struct err *err)
{
	char *folder = x_asprintf("%s/%s", d->root, relative);
	struct dirent **list;
	int n = scandir(folder, &list, visible, by_bytes), rc = 0;

	if (n < 0)
		rc = err_set(err, "%s: cannot read the folder: %s", folder, strerror(errno));
	else if (depth > 16)
		rc = err_set(err, "%s: folders are nested too deep", folder);
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < n && !rc; i++) {
			char *child = x_asprintf("%s/%s", relative, list[i]->d_name);
			char *full = x_asprintf("%s/%s", d->root, child);
			int folder_now = entry_is_folder(list[i], full);

			if (pass == 0 && !folder_now && dataset_is_image_name(list[i]->d_name))
				dataset_add(d, child, label, -1);
			if (pass == 1 && folder_now)
				rc = walk(d, child, label, depth + 1, err);
			free(child);
			free(full);
		}
	for (int i = 0; i < n; i++)
		free(list[i]);
	if (n >= 0)
		free(list);
	free(folder);
	return rc;
}

struct names {
	char **name;
	int count;
};

/* For the data set, as one text. */
static void keep_names(struct dataset *d, const struct names *n)
{
	free(d->names); /* an index that is not ours may hold some */
	d->names_size = 0;
	for (int i = 0; i < n->count; i++)
		d->names_size += strlen(n->name[i]) + 1;
	char *at = d->names = x_malloc(d->names_size);
	for (int i = 0; i < n->count; i++)
		at = stpcpy(at, n->name[i]) + 1;
}

static void free_names(struct names *n)
{
	for (int i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
}

static void add_name(struct names *n, const char *name)
{
	n->name = x_realloc(n->name, (size_t)(n->count + 1) * sizeof(char *));
	n->name[n->count++] = x_strdup(name);
}

static int index_of(const struct names *n, const char *name)
{
	for (int i = 0; i < n->count; i++)
		if (!strcmp(n->name[i], name))
			return i;
	return -1;
}

/* The first word of every line. A line without one would shift the index of all that follow: only the end of
 * the file may have such lines. */
static int read_names(struct names *names, const char *path, struct err *err)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	int blank = 0, rc = 0;

	*names = (struct names){0};
	if (!f)
		return err_set(err, "%s: cannot open: %s", path, strerror(errno));
	for (int number = 1; getline(&line, &room, f) > 0 && !rc; number++) {
		char *word = line + strspn(line, " \t\r\n");

		word[strcspn(word, " \t\r\n")] = 0;
		if (!*word) {
			blank = blank ? blank : number;
			continue;
		}
		if (blank)
			rc = err_set(err, "%s:%d: expected a class name, found an empty line", path, blank);
		else if (index_of(names, word) >= 0)
			rc = err_set(err, "%s:%d: class \"%s\" is there twice", path, number, word);
		add_name(names, word);
	}
	free(line);
	fclose(f);
	if (rc)
		free_names(names);
	return rc || names->count ? rc : err_set(err, "%s: expected class names, one a line", path);
}

static int read_folders(struct dataset *d, const char *path, const char *classes_file, struct err *err)
{
	struct names names = {0};
	struct dirent **list;
	int rc = 0;

	if (*classes_file && read_names(&names, classes_file, err))
		return -1;
	int n = scandir(path, &list, visible, by_bytes);
	if (n < 0)
		rc = err_set(err, "%s: cannot read the folder: %s", path, strerror(errno));
	d->root = x_strdup(path);
	for (int i = 0; i < n; i++) {
		char *full = x_asprintf("%s/%s", path, list[i]->d_name);

		if (!rc && dataset_is_folder(full)) {
			if (!*classes_file)
				add_name(&names, list[i]->d_name);
			int label = *classes_file ? index_of(&names, list[i]->d_name) : names.count - 1;

			rc = label < 0 ? err_set(err, "%s: folder \"%s\" is not among the classes of %s",
						 path, list[i]->d_name, classes_file)
				       : walk(d, list[i]->d_name, label, 0, err);
		}
		free(full);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	d->classes = names.count;
	keep_names(d, &names);
	free_names(&names);
	if (!rc && !d->count)
		rc = err_set(err,
			"%s: no images in class folders (a flat folder needs a list file `path label` as "
			"data.path)",
			path);
	return rc;
}

/* ---- list files ---- */

static int read_list(struct dataset *d, const char *path, struct err *err)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	int number = 0, rc = 0;
	ssize_t n;

	if (!f)
		return err_set(err, "%s: cannot open: %s", path, strerror(errno));
	d->root = dataset_root(path);
	while (!rc && (n = getline(&line, &room, f)) > 0) {
		long label;

		number++;
		while (n > 0 && strchr(" \t\r\n", line[n - 1]))
			line[--n] = 0;
		if (!n || line[0] == '#')
			continue;
		char *space = line + n;
		while (space > line && !strchr(" \t", space[-1]))
			space--;
		if (space == line || strlen(line) != (size_t)n || !num_parse_long(&label, space) ||
			label < 0 || label > DATASET_MAX_LABEL) {
			rc = err_set(err, "%s:%d: expected `path label`, got \"%.80s\"", path, number, line);
			break;
		}
		while (space > line && strchr(" \t", space[-1]))
			*--space = 0;
		if (!*line)
			rc = err_set(err, "%s:%d: expected `path label`: the path is empty", path, number);
		else
			dataset_add(d, line, (int)label, -1);
	}
	free(line);
	fclose(f);
	if (!rc && !d->count)
		rc = err_set(err, "%s: the list is empty", path);
	return rc;
}

/* Names for the classes of a list or of shards, whose labels are indices. */
static int name_classes(struct dataset *d, const char *path, const char *classes_file, struct err *err)
{
	struct names names;

	if (read_names(&names, classes_file, err))
		return -1;
	if (d->classes > names.count) {
		free_names(&names);
		return err_set(err, "%s: label %d, but %s names classes 0 to %d only", path, d->classes - 1,
			classes_file, names.count - 1);
	}
	d->classes = names.count;
	keep_names(d, &names);
	free_names(&names);
	return 0;
}

int dataset_read(struct dataset *d, const char *path, const char *classes_file, int limit, struct err *err)
{
	*d = (struct dataset){0};
	int folder = dataset_is_folder(path), rc = dataset_read_shards(d, path, err);

	d->folders = folder && rc > 0;
	if (rc > 0)
		rc = folder ? read_folders(d, path, classes_file, err) : read_list(d, path, err);
	if (!rc && !d->folders && *classes_file)
		rc = name_classes(d, path, classes_file, err);
	if (rc) {
		dataset_release(d);
		return -1;
	}
	if (limit && limit < d->count) {
		d->text_size = d->at[limit];
		d->count = limit;
	}
	return 0;
}

void dataset_release(struct dataset *d)
{
	free(d->root);
	free(d->text);
	free(d->names);
	free(d->at);
	free(d->label);
	free(d->offset);
	*d = (struct dataset){0};
}

const char *dataset_class_name(const struct dataset *d, int label)
{
	const char *name = d->names;

	if (!name || label < 0 || label >= d->classes)
		return NULL;
	for (; label > 0; label--)
		name += strlen(name) + 1;
	return name;
}

/* ---- packing: counts, labels, offsets, names, root, text ---- */

struct header {
	size_t text_size, longest, names_size, root_size;
	int count, classes, folders, offsets;
};

static char *put(char *at, const void *from, size_t bytes)
{
	if (bytes)
		memcpy(at, from, bytes);
	return at + bytes;
}

char *dataset_pack(const struct dataset *d, size_t *size)
{
	struct header h = {d->text_size, d->longest, d->names_size, strlen(d->root) + 1, d->count, d->classes,
		d->folders, d->offset != NULL};
	size_t labels = (size_t)d->count * sizeof(*d->label);
	size_t offsets = d->offset ? (size_t)d->count * sizeof(*d->offset) : 0;

	*size = sizeof(h) + labels + offsets + h.names_size + h.root_size + h.text_size;
	char *block = x_malloc(*size), *at = put(block, &h, sizeof(h));
	at = put(at, d->label, labels);
	at = put(at, d->offset, offsets);
	at = put(at, d->names, h.names_size);
	at = put(at, d->root, h.root_size);
	put(at, d->text, h.text_size);
	return block;
}

static size_t item_bytes(const struct header *h)
{
	return sizeof(int) + (h->offsets ? sizeof(int64_t) : 0);
}

/* count labels that are classes, and as many texts of at most `longest` bytes, up to the last byte. */
static bool holds_images(const struct header *h, const char *labels, const char *text)
{
	size_t at = 0;

	for (int i = 0; i < h->count; i++, at++) {
		int label;

		memcpy(&label, labels + (size_t)i * sizeof(label), sizeof(label));
		size_t n = strnlen(text + at, h->text_size - at);
		if (label < 0 || label >= h->classes || n == 0 || n > h->longest || n == h->text_size - at)
			return false;
		at += n;
	}
	return at == h->text_size;
}

/* No names, or one for each class. */
static bool holds_names(const struct header *h, const char *names)
{
	int count = 0;

	for (size_t i = 0; i < h->names_size; i++)
		count += !names[i];
	return !h->names_size || (count == h->classes && !names[h->names_size - 1]);
}

bool dataset_is_packed(const char *block, size_t size)
{
	struct header h;

	if (size < sizeof(h))
		return false;
	memcpy(&h, block, sizeof(h));
	size -= sizeof(h);
	if (h.count < 1 || (size_t)h.count > size || h.root_size < 1 || h.root_size > size ||
		h.text_size > size || h.names_size > size ||
		size != (size_t)h.count * item_bytes(&h) + h.names_size + h.root_size + h.text_size)
		return false;
	const char *labels = block + sizeof(h), *names = labels + (size_t)h.count * item_bytes(&h);
	const char *root = names + h.names_size;
	return strnlen(root, h.root_size) == h.root_size - 1 && holds_names(&h, names) &&
	       holds_images(&h, labels, root + h.root_size);
}

static void *take(const char **at, size_t bytes)
{
	void *copy = x_malloc(bytes + !bytes);

	memcpy(copy, *at, bytes);
	*at += bytes;
	return copy;
}

void dataset_unpack(struct dataset *d, const char *block, size_t size)
{
	struct header h;

	if (!dataset_is_packed(block, size))
		BUG("data set of %zu bytes", size);
	memcpy(&h, block, sizeof(h));
	size_t labels = (size_t)h.count * sizeof(*d->label), start = 0;
	size_t offsets = h.offsets ? (size_t)h.count * sizeof(*d->offset) : 0;
	const char *at = block + sizeof(h);
	*d = (struct dataset){.text_size = h.text_size,
		.longest = h.longest,
		.names_size = h.names_size,
		.count = h.count,
		.classes = h.classes,
		.folders = h.folders};
	d->label = take(&at, labels);
	d->offset = offsets ? take(&at, offsets) : NULL;
	d->names = h.names_size ? take(&at, h.names_size) : NULL;
	d->root = take(&at, h.root_size);
	d->text = take(&at, h.text_size);
	d->at = x_malloc((size_t)h.count * sizeof(*d->at));
	for (int i = 0; i < d->count; i++) {
		d->at[i] = start;
		start += strlen(d->text + start) + 1;
	}
}

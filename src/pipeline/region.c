#include "pipeline/region.h"

#include "formats/file.h"
#include "model/preprocess.h"
#include "pipeline/dataset_parts.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- where annotations come from ---- */

int region_load(char **text, size_t *size, const char *path, struct err *err)
{
	*text = NULL;
	*size = 0;
	if (dataset_is_folder(path))
		return access(path, R_OK | X_OK)
			       ? err_set(err, "%s: cannot read the folder: %s", path, strerror(errno))
			       : 0;
	*text = annotation_read_csv(path, size, err);
	return *text ? 0 : -1;
}

int region_source_init(struct region_source *s, const char *path, const char *text, size_t size,
	const struct dataset *d, struct err *err)
{
	*s = (struct region_source){.digest = "none"};
	if (!*path)
		return 0;
	if (text && annotation_parse_csv(&s->table, text, size, path, err))
		return -1;
	if (!text && access(path, R_OK | X_OK)) /* each node must see it, or all its images had nothing */
		return err_set(err, "%s: cannot read the folder: %s", path, strerror(errno));
	s->kind = text ? REGIONS_TABLE : REGIONS_FOLDER;
	s->path = x_strdup(path);
	char *all = x_malloc(size + d->names_size);
	if (text)
		memcpy(all, text, size);
	if (d->names_size)
		memcpy(all + size, d->names, d->names_size);
	digest_sha256(s->digest, all, size + d->names_size);
	free(all);
	return 0;
}

void region_source_release(struct region_source *s)
{
	annotation_table_release(&s->table);
	free(s->path);
	*s = (struct region_source){0};
}

/* Length of a path without the extension of its last part. */
static int bare(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

	return (int)(dot && dot != name ? (size_t)(dot - path) : strlen(path));
}

/* The name of the file: without folders and extension; owned by the caller. */
static char *stem_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return x_asprintf("%.*s", bare(name), name);
}

/* The file of an image in a folder of annotations, owned by the caller; NULL: there is none. What lies as the
 * images do comes before what lies flat, XML before a mask. */
static char *find_file(const struct region_source *s, const char *path, bool *is_mask)
{
	char *stem = stem_of(path), *found = NULL;

	for (int flat = *path == '/'; flat < 2 && !found; flat++)
		for (int mask = 0; mask < 2 && !found; mask++) {
			found = x_asprintf("%s/%.*s%s", s->path, flat ? (int)strlen(stem) : bare(path),
				flat ? stem : path, mask ? ".png" : ".xml");
			*is_mask = mask;
			/* what cannot be looked at is there: reading it says why not */
			if (access(found, F_OK) && (errno == ENOENT || errno == ENOTDIR)) {
				free(found);
				found = NULL;
			}
		}
	free(stem);
	return found;
}

static bool is_of_class(const struct annotation_box *b, const char *name)
{
	return !name || !strcmp(b->name, name);
}

/* The boxes of an image in the table; none: 0. */
static int find_boxes(const struct annotation_box **box, const struct region_source *s, const char *path)
{
	char *stem = stem_of(path);
	const struct annotation_row *row = annotation_find(&s->table, stem);

	free(stem);
	*box = row ? s->table.box + row->first : NULL;
	return row ? row->count : 0;
}

int region_count(const struct region_source *s, const struct dataset *d, int enough)
{
	int count = 0;

	for (int i = 0; i < d->count && count < enough; i++) {
		const char *path = dataset_path(d, i), *name = dataset_class_name(d, d->label[i]);
		const struct annotation_box *box;
		bool any = false;

		if (s->kind == REGIONS_TABLE) {
			int n = find_boxes(&box, s, path);

			for (int k = 0; k < n && !any; k++)
				any = is_of_class(&box[k], name);
		} else if (s->kind == REGIONS_FOLDER) {
			char *file = find_file(s, path, &any);

			any = file != NULL;
			free(file);
		}
		count += any;
	}
	return count;
}

/* ---- one region ---- */

void region_carve(struct region *r, struct arena *a, const struct vit_config *c)
{
	r->inside = arena_take(a, (size_t)c->image_h, (size_t)c->image_w);
	r->column = arena_take(a, (size_t)c->image_w, sizeof(*r->column));
	r->row = arena_take(a, (size_t)c->image_h, sizeof(*r->row));
}

/* The entries of a rising list that lie in [from, to): *first to *end, one behind the last. */
static void within(int32_t *first, int32_t *end, const int *source, int count, int from, int to)
{
	int i = 0;

	while (i < count && source[i] < from)
		i++;
	*first = i;
	while (i < count && source[i] < to)
		i++;
	*end = i;
}

static int64_t area(const int32_t box[4])
{
	return (int64_t)(box[2] - box[0]) * (box[3] - box[1]);
}

/* Keeps the largest boxes in order of area. */
static void keep_box(struct region *r, const int32_t box[4])
{
	int at = r->boxes;

	while (at > 0 && area(r->box[at - 1]) < area(box))
		at--;
	if (at == REGION_BOXES)
		return;
	r->boxes += r->boxes < REGION_BOXES;
	memmove(r->box[at + 1], r->box[at], (size_t)(r->boxes - 1 - at) * sizeof(r->box[0]));
	memcpy(r->box[at], box, sizeof(r->box[0]));
}

/* Does a box have a pixel of the picture? */
static bool in_picture(const struct annotation_box *b, int width, int height)
{
	return b->x1 < b->x2 && b->y1 < b->y2 && b->x1 < width && b->y1 < height && b->x2 > 0 && b->y2 > 0;
}

static void add_boxes(struct region *r, const struct annotation_box *box, int count, const char *name,
	const struct vit_config *c, int width, int height)
{
	for (int k = 0; k < count; k++) {
		int32_t b[4];

		if (!is_of_class(&box[k], name) || !in_picture(&box[k], width, height))
			continue;
		r->state = REGION_OUTSIDE; /* until a pixel is found */
		within(&b[0], &b[2], r->column, c->image_w, box[k].x1, box[k].x2);
		within(&b[1], &b[3], r->row, c->image_h, box[k].y1, box[k].y2);
		if (!area(b))
			continue;
		for (int y = b[1]; y < b[3]; y++)
			memset(r->inside + (size_t)y * (size_t)c->image_w + b[0], 1, (size_t)(b[2] - b[0]));
		keep_box(r, b);
	}
}

static bool is_set(const struct image *mask, size_t pixel)
{
	return mask->rgb[3 * pixel] || mask->rgb[3 * pixel + 1] || mask->rgb[3 * pixel + 2];
}

static void add_mask(struct region *r, const struct image *mask, const struct vit_config *c)
{
	size_t pixels = (size_t)mask->width * (size_t)mask->height;
	int32_t box[4] = {c->image_w, c->image_h, 0, 0};

	for (size_t p = 0; p < pixels && r->state == REGION_NONE; p++)
		if (is_set(mask, p))
			r->state = REGION_OUTSIDE; /* until a pixel is found */
	for (int y = 0; y < c->image_h; y++)
		for (int x = 0; x < c->image_w; x++) {
			size_t p = (size_t)r->row[y] * (size_t)mask->width + (size_t)r->column[x];

			if (!is_set(mask, p))
				continue;
			r->inside[(size_t)y * (size_t)c->image_w + (size_t)x] = 1;
			box[0] = x < box[0] ? x : box[0];
			box[1] = y < box[1] ? y : box[1];
			box[2] = x >= box[2] ? x + 1 : box[2];
			box[3] = y + 1;
		}
	if (box[3])
		keep_box(r, box);
}

/* From a file of one image. */
static int add_file(struct region *r, const char *file, bool is_mask, const char *name,
	const struct vit_config *c, int width, int height, struct err *err)
{
	struct annotation a = {0};
	struct image mask = {0};
	int rc = is_mask ? annotation_read_mask(&mask, file, err) : annotation_read_xml(&a, file, err);
	int w = is_mask ? mask.width : a.width, h = is_mask ? mask.height : a.height;

	if (!rc && ((w && w != width) || (h && h != height)))
		rc = err_set(err, "%s: of a picture of %d x %d pixels, but this one has %d x %d", file, w, h,
			width, height);
	if (!rc && is_mask)
		add_mask(r, &mask, c);
	else if (!rc)
		add_boxes(r, a.box, a.count, name, c, width, height);
	image_release(&mask);
	annotation_release(&a);
	return rc;
}

int region_find(struct region *r, const struct region_source *s, const struct dataset *d, int i,
	const struct vit_config *c, int width, int height, struct err *err)
{
	size_t plane = (size_t)c->image_h * (size_t)c->image_w, covered = 0;
	const char *path = dataset_path(d, i), *name = dataset_class_name(d, d->label[i]);
	const struct annotation_box *box;
	bool is_mask = false;
	int rc = 0;

	r->state = REGION_NONE;
	r->boxes = 0;
	r->share = NAN;
	memset(r->inside, 0, plane);
	preprocess_sources(r->column, r->row, c, width, height);
	if (s->kind == REGIONS_TABLE) {
		int count = find_boxes(&box, s, path);

		add_boxes(r, box, count, name, c, width, height);
	} else if (s->kind == REGIONS_FOLDER) {
		char *file = find_file(s, path, &is_mask);

		rc = file ? add_file(r, file, is_mask, name, c, width, height, err) : 0;
		if (rc) /* the row must not tell where the folder lies */
			memmove(err->msg, err->msg + strlen(s->path) + 1, strlen(err->msg) - strlen(s->path));
		if (rc)
			err_prefix(err, "annotation");
		free(file);
	}
	for (size_t p = 0; p < plane; p++)
		covered += r->inside[p];
	if (covered) {
		r->state = REGION_USED;
		r->share = (double)covered / (double)plane;
	}
	return rc;
}

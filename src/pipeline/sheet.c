/* The contact sheet of a results file. */
#include "pipeline/sheet.h"

#include "base/log.h"
#include "formats/h5.h"
#include "formats/png_write.h"
#include "model/preprocess.h"
#include "model/vit.h"
#include "pipeline/config.h"
#include "pipeline/dataset.h"
#include "pipeline/picture.h"
#include "pipeline/schema.h"

#include <stdlib.h>
#include <string.h>

enum { GAP = 4 };

/* What the sheet needs of a results file. */
struct results {
	int64_t file;
	char *paths; /* (images, path_bytes) */
	size_t path_bytes;
	int64_t *status;
	int images;
};

static int read_config(struct config *c, int64_t file, const char *path, struct err *err)
{
	const char *output = "run.output=unused"; /* a result does not name itself */
	char *text = h5_attr_text(file, "config");

	if (!text)
		return err_set(err, "%s: no attribute config: not a results file of dave-eval", path);
	int rc = config_parse(c, text, strlen(text), path, &output, 1, err);
	free(text);
	return rc;
}

static int open_results(struct results *r, const char *path, struct err *err)
{
	*r = (struct results){.file = h5_open(path, err)};
	if (r->file < 0)
		return -1;
	r->images = h5_read_texts(&r->paths, &r->path_bytes, r->file, "images/path", err);
	if (r->images < 0)
		return err_prefix(err, "%s: not a results file of dave-eval", path);
	r->status = x_malloc((size_t)r->images * sizeof(*r->status));
	return h5_read_int(r->status, (size_t)r->images, r->file, "images/status", err);
}

static void close_results(struct results *r, const char *path)
{
	struct err ignored = {{0}};

	if (r->file >= 0)
		h5_close(r->file, path, &ignored);
	free(r->paths);
	free(r->status);
}

/* Copies a tile (h, w, 3) to column x, row y of the sheet. */
static void paste(
	unsigned char *sheet, int sheet_w, const unsigned char *tile, int x, int y, int height, int width)
{
	for (int i = 0; i < height; i++)
		memcpy(sheet + ((size_t)(y + i) * (size_t)sheet_w + (size_t)x) * 3,
			tile + (size_t)i * (size_t)width * 3, (size_t)width * 3);
}

struct sheet {
	unsigned char *rgb;
	int width, height, columns;
};

/* Picture and overlay as pair number `pair`. A picture that cannot be read stays white, and gives -1. */
static int add_pair(struct sheet *s, const struct vit_config *c, const char *root, const char *name,
	const float *map, int pair)
{
	int h = c->image_h, w = c->image_w, x = GAP + pair % s->columns * 2 * (w + GAP);
	int y = GAP + pair / s->columns * (h + GAP);
	unsigned char *tile = x_malloc((size_t)h * (size_t)w * 3);
	struct err err = {{0}};
	struct image image;
	int rc = dataset_image_at(&image, root, name, -1, &err);

	if (!rc) {
		rc = preprocess_pixels(tile, &image, c, &err);
		image_release(&image);
	}
	if (!rc) {
		paste(s->rgb, s->width, tile, x, y, h, w);
		picture_overlay(tile, tile, map, h, w);
		paste(s->rgb, s->width, tile, x + w + GAP / 2, y, h, w);
	} else {
		log_warn("%s/%s: %s", root, name, err.msg);
	}
	free(tile);
	return rc;
}

static int draw(const struct results *r, const struct config *c, const struct vit_config *v, const char *root,
	const char *output, int columns, int most, struct err *err)
{
	char *path = x_asprintf("methods/%s/map", c->methods[0].name);
	size_t plane = (size_t)v->image_h * (size_t)v->image_w;
	float *map = x_malloc(plane * sizeof(*map));
	int shown = 0, pair = 0, unread = 0, rc = 0;

	for (int i = 0; i < r->images && shown < most; i++)
		shown += r->status[i] == ROW_DONE;
	struct sheet s = {.columns = columns};
	s.width = GAP + columns * 2 * (v->image_w + GAP);
	s.height = GAP + (shown + columns - 1) / columns * (v->image_h + GAP);
	s.rgb = x_malloc((size_t)s.width * (size_t)s.height * 3);
	memset(s.rgb, 255, (size_t)s.width * (size_t)s.height * 3);
	if (!shown)
		rc = err_set(err, "no image is done yet");
	for (int i = 0; i < r->images && pair < shown && !rc; i++)
		if (r->status[i] == ROW_DONE) {
			char *name = strndup(r->paths + (size_t)i * r->path_bytes, r->path_bytes);

			rc = h5_read_row(map, plane, r->file, path, (size_t)i, err);
			if (!rc)
				unread += add_pair(&s, v, root, name, map, pair++) != 0;
			free(name);
		}
	if (!rc && unread == shown)
		rc = err_set(err, "no picture could be read below %s: give their folder with --data", root);
	rc = rc || png_write_rgb(output, s.rgb, s.width, s.height, err);
	free(s.rgb);
	free(map);
	free(path);
	return rc ? -1 : 0;
}

int contact_sheet(const char *results, const char *model, const char *data_root, const char *output,
	int columns, int most, struct err *err)
{
	struct results r;
	struct config c = {0};
	struct vit vit = {0};
	int rc = open_results(&r, results, err) || read_config(&c, r.file, results, err);
	struct vit_options options = config_vit_options(&c);

	rc = rc || vit_load(&vit, model ? model : c.model.path, &options, err);

	if (!rc) {
		char *root = dataset_root(data_root ? data_root : c.data.path);

		rc = draw(&r, &c, &vit.config, root, output, columns, most, err);
		free(root);
	}
	close_results(&r, results);
	vit_release(&vit);
	config_release(&c);
	return rc ? -1 : 0;
}

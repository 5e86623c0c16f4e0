/* The contact sheet of a results file. */
#include "pipeline/explain.h"

#include "formats/h5.h"
#include "formats/image.h"
#include "formats/png_write.h"
#include "model/preprocess.h"
#include "model/vit.h"
#include "pipeline/config.h"
#include "pipeline/picture.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { GAP = 4 };

/* What the sheet needs of a results file. */
struct results {
	int64_t file;
	char *paths; /* (images, path_bytes) */
	size_t path_bytes;
	int64_t *status;
	int images;
};

static int read_text(char **out, size_t *bytes, int64_t object, bool attribute)
{
	hid_t type = attribute ? H5Aget_type(object) : H5Dget_type(object);
	hid_t space = attribute ? H5Aget_space(object) : H5Dget_space(object);
	size_t n = (size_t)H5Sget_simple_extent_npoints(space);
	herr_t rc = H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type) ? 0 : -1;

	*bytes = H5Tget_size(type);
	*out = x_calloc(n * *bytes + 1, 1);
	if (rc >= 0)
		rc = attribute ? H5Aread(object, type, *out)
			       : H5Dread(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out);
	H5Tclose(type);
	H5Sclose(space);
	return rc < 0 ? -1 : (int)n;
}

static int read_config(struct config *c, int64_t file, const char *path, struct err *err)
{
	hid_t a = H5Aexists(file, "config") > 0 ? H5Aopen(file, "config", H5P_DEFAULT) : -1;
	const char *output = "run.output=unused"; /* a result does not name itself */
	size_t bytes;
	char *text;

	if (a < 0)
		return err_set(err, "%s: no attribute config: not a results file of dave-eval", path);
	int n = read_text(&text, &bytes, a, true);
	H5Aclose(a);
	int rc = n < 0 ? err_set(err, "%s: cannot read the configuration", path)
		       : config_parse(c, text, strlen(text), path, &output, 1, err);
	free(text);
	return rc;
}

static int open_results(struct results *r, const char *path, struct err *err)
{
	*r = (struct results){.file = h5_open(path, err)};
	if (r->file < 0)
		return -1;
	hid_t d = h5_exists(r->file, "images/path") ? H5Dopen2(r->file, "images/path", H5P_DEFAULT) : -1;
	r->images = d < 0 ? -1 : read_text(&r->paths, &r->path_bytes, d, false);
	if (d >= 0)
		H5Dclose(d);
	if (r->images < 0)
		return err_set(err, "%s: no images: not a results file of dave-eval", path);
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

/* Folder that image paths are relative to: data.path, or the folder of the list file. */
static char *image_root(const struct config *c, const char *given)
{
	char *root = x_strdup(given ? given : c->data.path);
	struct stat s;

	if (!given && !stat(root, &s) && !S_ISDIR(s.st_mode) && strrchr(root, '/'))
		*strrchr(root, '/') = 0;
	return root;
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

/* Picture and overlay of image i as pair number `pair`. */
static int add_pair(struct sheet *s, const struct vit_config *c, const char *root, const char *name,
	const float *map, int pair, struct err *err)
{
	int h = c->image_h, w = c->image_w, x = GAP + pair % s->columns * 2 * (w + GAP);
	int y = GAP + pair / s->columns * (h + GAP);
	unsigned char *tile = x_malloc((size_t)h * (size_t)w * 3);
	char *path = x_asprintf("%s/%s", root, name);
	struct image image;
	int rc = image_read(&image, path, err);

	if (!rc) {
		rc = preprocess_pixels(tile, &image, c, err);
		image_release(&image);
	}
	if (!rc) {
		paste(s->rgb, s->width, tile, x, y, h, w);
		picture_overlay(tile, tile, map, h, w);
		paste(s->rgb, s->width, tile, x + w + GAP / 2, y, h, w);
	}
	free(path);
	free(tile);
	return rc;
}

static int draw(const struct results *r, const struct config *c, const struct vit_config *v, const char *root,
	const char *output, int columns, int most, struct err *err)
{
	char *path = x_asprintf("methods/%s/map", c->methods[0].name);
	struct h5_tensor maps = {0};
	int shown = 0, pair = 0, rc = h5_read(&maps, r->file, path, err);

	for (int i = 0; i < r->images && shown < most; i++)
		shown += r->status[i] == 1;
	struct sheet s = {.columns = columns};
	s.width = GAP + columns * 2 * (v->image_w + GAP);
	s.height = GAP + (shown + columns - 1) / columns * (v->image_h + GAP);
	s.rgb = x_calloc((size_t)s.width * (size_t)s.height, 3);
	memset(s.rgb, 255, (size_t)s.width * (size_t)s.height * 3);
	if (!rc && !shown)
		rc = err_set(err, "no image is done yet");
	for (int i = 0; i < r->images && pair < shown && !rc; i++)
		if (r->status[i] == 1) {
			char *name = strndup(r->paths + (size_t)i * r->path_bytes, r->path_bytes);

			rc = add_pair(&s, v, root, name, maps.data + (size_t)i * maps.dims[1] * maps.dims[2],
				pair++, err);
			free(name);
		}
	rc = rc || png_write_rgb(output, s.rgb, s.width, s.height, err);
	free(s.rgb);
	free(maps.data);
	free(path);
	return rc ? -1 : 0;
}

int contact_sheet(const char *results, const char *data_root, const char *output, int columns, int most,
	struct err *err)
{
	struct results r;
	struct config c = {0};
	struct vit vit = {0};
	int rc = open_results(&r, results, err) || read_config(&c, r.file, results, err) ||
		 vit_load(&vit, c.model.path, err);

	if (!rc) {
		char *root = image_root(&c, data_root);

		rc = draw(&r, &c, &vit.config, root, output, columns, most, err);
		free(root);
	}
	close_results(&r, results);
	vit_release(&vit);
	config_release(&c);
	return rc ? -1 : 0;
}

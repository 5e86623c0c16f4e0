#include "pipeline/grids.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/rng.h"
#include "formats/resize.h"
#include "model/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int same(const struct metric_grid *a, const struct metric_grid *b)
{
	return a->n == b->n && a->rescaled == b->rescaled && !(a->min_probability < b->min_probability) &&
	       !(a->min_probability > b->min_probability);
}

int grids_find(const struct grids *g, const struct metric_grid *spec)
{
	for (int i = 0; i < g->count; i++)
		if (same(&g->entry[i].spec, spec))
			return i;
	return -1;
}

int grids_load(struct grids *g, const struct config *c, const struct vit *vit, struct err *err)
{
	*g = (struct grids){0};
	for (int i = 0; i < c->metrics_count; i++) {
		const struct metric_ops *ops = c->metrics[i].ops;
		struct grid *grid = &g->entry[g->count];
		struct metric_grid spec;

		if (!ops->grid)
			continue;
		ops->grid(c->metrics[i].params, &spec);
		if (grids_find(g, &spec) >= 0)
			continue;
		*grid = (struct grid){.spec = spec, .vit = vit, .image = -1};
		g->count++;
		if (spec.rescaled)
			continue;
		struct vit_options o = config_vit_options(c);
		o.height = spec.n * vit->config.image_h;
		o.width = spec.n * vit->config.image_w;
		grid->vit = &grid->own;
		if (vit_load(&grid->own, c->model.path, &o, err))
			return err_prefix(err, "%s: metric %s: %d x %d pixels", c->file, c->metrics[i].name,
				o.height, o.width);
	}
	return 0;
}

void grids_release(struct grids *g)
{
	for (int i = 0; i < g->count; i++) {
		vit_work_release(&g->entry[i].work);
		arena_release(&g->entry[i].arena);
		if (!g->entry[i].spec.rescaled)
			vit_release(&g->entry[i].own);
	}
	*g = (struct grids){0};
}

static void carve(struct grid *g)
{
	const struct vit_config *c = &g->vit->config;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	g->pixels = arena_take(&g->arena, plane, 3);
	g->x = arena_floats(&g->arena, plane * (size_t)c->channels);
	clean_carve(&g->clean, &g->arena, c);
}

void grid_allocate(struct grid *g, enum vit_mode mode)
{
	vit_work_init(&g->work, g->vit, mode, 1, g->spec.n * g->spec.n);
	carve(g);
	arena_allocate(&g->arena);
	carve(g);
}

size_t grid_bytes(const struct grid *g, enum vit_mode mode)
{
	struct grid copy = *g;

	copy.arena = (struct arena){0};
	carve(&copy);
	return copy.arena.used + vit_work_bytes(&g->vit->config, mode, 1, g->spec.n * g->spec.n) +
	       (g->spec.rescaled ? 0 : g->own.weights.own_bytes);
}

/* ---- who qualifies ---- */

void grid_knowledge_init(
	struct grid_knowledge *k, const struct vit *vit, struct vit_work *work, const struct dataset *data)
{
	size_t plane = (size_t)vit->config.image_h * (size_t)vit->config.image_w;

	*k = (struct grid_knowledge){.vit = vit, .work = work, .data = data};
	k->sure = x_malloc((size_t)data->count * sizeof(*k->sure));
	k->pixels = x_malloc(3 * plane);
	k->x = x_malloc((size_t)vit->config.channels * plane * sizeof(*k->x));
	k->logits = x_malloc((size_t)vit->config.classes * sizeof(*k->logits));
	for (int i = 0; i < data->count; i++)
		k->sure[i] = NAN;
}

size_t grid_knowledge_bytes(const struct vit_config *c, int images)
{
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	return sizeof(float) * ((size_t)images + (size_t)c->channels * plane + (size_t)c->classes) +
	       3 * plane;
}

void grid_knowledge_release(struct grid_knowledge *k)
{
	free(k->sure);
	free(k->pixels);
	free(k->x);
	free(k->logits);
	*k = (struct grid_knowledge){0};
}

/* k->pixels = image i as the network sees it. */
static int load(struct grid_knowledge *k, int i, struct err *err)
{
	struct image image;
	int rc = dataset_image(&image, k->data, i, err);

	if (!rc) {
		rc = preprocess_pixels(k->pixels, &image, &k->vit->config, err);
		image_release(&image);
	}
	return rc ? err_prefix(err, "%s, for a grid", dataset_path(k->data, i)) : 0;
}

/* What there is to know of image i. One that cannot be read does not qualify: it fails a row of its own. */
static float look(struct grid_knowledge *k, int i)
{
	int label = k->data->label[i], classes = k->vit->config.classes;
	struct err err;

	if (!isnan(k->sure[i]))
		return k->sure[i];
	k->sure[i] = -1;
	if (label < 0 || label >= classes)
		return -1;
	if (load(k, i, &err)) {
		log_warn("%s", err.msg);
	} else {
		preprocess_normalise(k->x, k->pixels, &k->vit->config);
		vit_forward(k->vit, k->work, k->logits, k->x, 1, VIT_FORWARD);
		int best = 0;
		for (int y = 0; y < classes; y++)
			best = k->logits[y] > k->logits[best] ? y : best;
		if (best == label)
			k->sure[i] = (float)vit_probability(k->logits, classes, label);
	}
	return k->sure[i];
}

/* ---- composing ---- */

/* Streams beside those of the draws: the places of the cells. */
static const uint32_t places_stream = 0xfffffffe;

/* chosen (cells): the images of the grid, that at hand first. Returns whether there are enough; -1 when
 * stopped. */
static int choose(int *chosen, const struct grid *g, struct grid_knowledge *k, int i, uint64_t seed)
{
	int cells = g->spec.n * g->spec.n, found = 1, images = k->data->count;
	/* with one class too few, drawing on would not end; labels are compared before images are looked at
	 */
	uint32_t draws = 1024 + 8 * (uint32_t)images;
	double u[64];

	chosen[0] = i;
	if (!(look(k, i) >= g->spec.min_probability))
		return 0;
	for (uint32_t d = 0; d < draws && found < cells; d++) {
		if (stop_requested())
			return -1;
		if (d % 64 == 0)
			rng_uniform(u, 64, (struct rng_key){seed, (uint32_t)i, d / 64, RNG_GRID});
		int j = (int)(u[d % 64] * images), distinct = 1;

		for (int c = 0; c < found; c++)
			distinct &= k->data->label[j] != k->data->label[chosen[c]];
		if (distinct && look(k, j) >= g->spec.min_probability)
			chosen[found++] = j;
	}
	return found == cells;
}

/* Pixel borders of cells: cell c of n covers [c size / n, (c + 1) size / n). */
static int border(int c, int n, int size)
{
	return c * size / n;
}

/* The picture in k->pixels into a cell. */
static int put(struct grid *g, const struct grid_knowledge *k, int cell, struct err *err)
{
	const struct vit_config *one = &k->vit->config, *all = &g->vit->config;
	int n = g->spec.n, row = cell / n, column = cell % n;
	int top = border(row, n, all->image_h), left = border(column, n, all->image_w);
	int h = border(row + 1, n, all->image_h) - top, w = border(column + 1, n, all->image_w) - left;
	unsigned char *part = x_malloc((size_t)h * (size_t)w * 3);
	int rc = 0;

	if (g->spec.rescaled)
		rc = resize_u8(part, w, h, k->pixels, one->image_w, one->image_h, RESIZE_BICUBIC, err);
	else
		memcpy(part, k->pixels, (size_t)h * (size_t)w * 3);
	for (int y = 0; y < h && !rc; y++)
		memcpy(g->pixels + 3 * ((size_t)(top + y) * (size_t)all->image_w + (size_t)left),
			part + 3 * (size_t)y * (size_t)w, 3 * (size_t)w);
	free(part);
	return rc;
}

int grid_compose(struct grid *g, struct grid_knowledge *k, int i, uint64_t seed, struct err *err)
{
	int cells = g->spec.n * g->spec.n, chosen[GRID_CELLS], order[GRID_CELLS];
	double u[GRID_CELLS];

	if (g->image == i)
		return 0;
	g->image = -1;
	g->usable = choose(chosen, g, k, i, seed);
	if (g->usable < 0)
		return err_set(err, "stopped");
	rng_uniform(u, GRID_CELLS, (struct rng_key){seed, (uint32_t)i, places_stream, RNG_GRID});
	for (int c = 0; c < cells; c++) { /* the place of image c: the rank of its number */
		order[c] = 0;
		for (int other = 0; other < cells; other++)
			order[c] += u[other] < u[c] || (other < c && !(u[c] < u[other]));
	}
	for (int c = 0; c < cells && g->usable; c++) {
		g->classes[order[c]] = k->data->label[chosen[c]];
		if (load(k, chosen[c], err) || put(g, k, order[c], err))
			return -1;
	}
	g->cell = order[0];
	g->image = i;
	if (!g->usable)
		return 0;
	preprocess_normalise(g->x, g->pixels, &g->vit->config);
	clean_begin(&g->clean, g->vit, &g->work, g->x);
	return 0;
}

int grids_check(const struct grids *g, const struct dataset *d, int classes, struct err *err)
{
	char *seen = x_calloc((size_t)classes, 1);
	int distinct = 0, rc = 0;

	for (int i = 0; i < d->count; i++)
		if (d->label[i] >= 0 && d->label[i] < classes && !seen[d->label[i]]++)
			distinct++;
	free(seen);
	for (int i = 0; i < g->count && !rc; i++) {
		int n = g->entry[i].spec.n;

		if (distinct < n * n)
			rc = err_set(err, "a grid of %d x %d takes images of %d classes, data.path has %d", n,
				n, n * n, distinct);
	}
	return rc;
}

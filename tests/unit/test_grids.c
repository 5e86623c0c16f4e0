/* pipeline/grids: which images make a grid and where they lie, on pictures written here whose classes a
 * network that is made for them predicts. */
#include "pipeline/grids.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "formats/resize.h"
#include "grid_set.h"
#include "metric_job.h"
#include "model/pos_embed.h"
#include "model/preprocess.h"
#include "scratch.h"
#include "support.h"

/* The one place that knows the call. What cannot be read is warned of every time that it is looked at anew.
 */
static int try(struct grid *g, struct grid_knowledge *k, int i, uint64_t seed, struct err *err)
{
	int kept = dup(STDERR_FILENO);

	CU_ASSERT_PTR_NOT_NULL_FATAL(freopen("/dev/null", "w", stderr));
	int rc = grid_compose(g, k, i, seed, err);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	return rc;
}

static void compose(struct grid *g, struct grid_knowledge *k, int i, uint64_t seed)
{
	struct err err = {""};

	CU_ASSERT_EQUAL(try(g, k, i, seed, &err), 0);
}

/* ---- grids of a configuration ---- */

static void add_metric(struct config *c, const char *name, const char *settings)
{
	struct config_metric *m = &c->metrics[c->metrics_count++];

	m->ops = metric_find(name);
	m->params = x_calloc(1, m->ops->params_size);
	metric_settings(m->params, m->ops, settings);
}

/* Four kinds: 2 x 2 native, 3 x 3 rescaled, 2 x 2 rescaled of the surer half, 3 x 3 native. */
enum { NATIVE2, RESCALED3, SURER2, NATIVE3, KINDS };

static void load_grids(struct grids *g, struct grid_set *f)
{
	struct config *c = x_calloc(1, sizeof(*c));
	char surer[64];
	struct err err = {""};

	snprintf(surer, sizeof(surer), "cells=rescaled min_probability=%.17g", f->median);
	snprintf(c->model.path, sizeof(c->model.path), "%s", GRID_SET_MODEL);
	snprintf(c->model.head, sizeof(c->model.head), "%s", f->head);
	add_metric(c, "gridpg", "min_probability=0");
	add_metric(c, "deletion", "");
	add_metric(c, "gridpg", "n=3 cells=rescaled min_probability=0");
	add_metric(c, "gridpg", "min_probability=0 cells=native of=raw"); /* the first again */
	add_metric(c, "gridpg", surer);
	add_metric(c, "gridpg", "n=3 min_probability=0");
	CU_ASSERT_EQUAL_FATAL(grids_load(g, c, &f->vit, &err), 0);
	CU_ASSERT_EQUAL_FATAL(g->count, KINDS);
	CU_ASSERT_EQUAL(grids_find(g, &(struct metric_grid){2, 0, 0}), NATIVE2);
	CU_ASSERT_EQUAL(grids_find(g, &(struct metric_grid){3, 1, 0}), RESCALED3);
	CU_ASSERT_EQUAL(grids_find(g, &(struct metric_grid){2, 1, f->median}), SURER2);
	CU_ASSERT_EQUAL(grids_find(g, &(struct metric_grid){3, 0, 0}), NATIVE3);
	CU_ASSERT_EQUAL(grids_find(g, &(struct metric_grid){3, 0, 0.1}), -1);
	for (int i = 0; i < KINDS; i++) {
		struct grid *grid = &g->entry[i];
		size_t bytes = grid_bytes(grid, VIT_FORWARD);

		grid_allocate(grid, VIT_FORWARD);
		CU_ASSERT_EQUAL(
			bytes, grid->arena.size + grid->work.arena.size + grid->own.weights.own_bytes);
		CU_ASSERT(grid->work.batch == 1 && grid->work.cotangents == grid->spec.n * grid->spec.n);
	}
	for (int i = 0; i < c->metrics_count; i++)
		free(c->metrics[i].params);
	free(c);
}

/* ---- one grid ---- */

static bool qualifies(const struct grid_set *f, const struct grid *g, int i)
{
	return f->sure[i] >= 0 && f->sure[i] >= g->spec.min_probability;
}

/* Picture j as it is in a cell of h x w pixels? */
static bool shows(
	const struct grid_set *f, const struct grid *g, int j, int top, int left, int bottom, int right)
{
	const struct vit_config *all = &g->vit->config;
	unsigned char part[3 * PLANE];
	int h = bottom - top, w = right - left;
	struct err err = {""};

	memcpy(part, f->picture[j], sizeof(part));
	if (g->spec.rescaled && resize_u8(part, w, h, f->picture[j], W, H, RESIZE_BICUBIC, &err))
		return false;
	for (int y = 0; y < h; y++)
		if (memcmp(part + 3 * y * w, g->pixels + 3 * ((top + y) * all->image_w + left),
			    3 * (size_t)w))
			return false;
	return true;
}

/* Which image is in a cell; -1: none, or several. */
static int image_in(const struct grid_set *f, const struct grid *g, int cell)
{
	int n = g->spec.n, row = cell / n, column = cell % n, found = -1, times = 0;
	double h = g->vit->config.image_h, w = g->vit->config.image_w;

	for (int j = 0; j < IMAGES; j++)
		if (shows(f, g, j, (int)floor(row * h / n), (int)floor(column * w / n),
			    (int)floor((row + 1) * h / n), (int)floor((column + 1) * w / n))) {
			found = j;
			times++;
		}
	return times == 1 ? found : -1;
}

/* The network's input, and its logits. */
static void check_input(struct grid *g)
{
	size_t plane = (size_t)g->vit->config.image_h * (size_t)g->vit->config.image_w;
	float *x = x_malloc(3 * plane * sizeof(*x)), logits[PROTOTYPES];
	struct vit_work w;

	preprocess_normalise(x, g->pixels, &g->vit->config);
	CU_ASSERT(same_bits(x, g->x, 3 * plane));
	vit_work_init(&w, g->vit, VIT_FORWARD, 1, 1);
	vit_forward(g->vit, &w, logits, x, 1, VIT_FORWARD);
	CU_ASSERT(same_bits(logits, clean_logits(&g->clean), PROTOTYPES));
	vit_work_release(&w);
	free(x);
}

static void check_grid(const struct grid_set *f, struct grid *g, int i)
{
	int cells = g->spec.n * g->spec.n;

	CU_ASSERT_EQUAL(g->image, i);
	CU_ASSERT_EQUAL(g->usable, qualifies(f, g, i));
	if (!g->usable)
		return;
	for (int c = 0; c < cells; c++) {
		int j = image_in(f, g, c);

		CU_ASSERT_FATAL(j >= 0);
		CU_ASSERT(qualifies(f, g, j));
		CU_ASSERT(f->prediction[j] == g->classes[c]);
		CU_ASSERT((c == g->cell) == (j == i));
		for (int other = 0; other < c; other++)
			CU_ASSERT(g->classes[other] != g->classes[c]);
	}
	check_input(g);
}

/* Counts who lies beside the image at hand. */
static void count_partners(bool *partner, const struct grid_set *f, const struct grid *g)
{
	for (int c = 0; c < g->spec.n * g->spec.n && g->usable; c++)
		if (c != g->cell)
			partner[image_in(f, g, c)] = true;
}

/* ---- what a grid is a function of ---- */

struct copy {
	unsigned char pixels[3 * 9 * PLANE];
	int classes[GRID_CELLS], cell, usable;
};

static size_t bytes_of(const struct grid *g)
{
	return 3 * (size_t)g->vit->config.image_h * (size_t)g->vit->config.image_w;
}

static void keep(struct copy *copy, const struct grid *g)
{
	memcpy(copy->pixels, g->pixels, bytes_of(g));
	memcpy(copy->classes, g->classes, sizeof(copy->classes));
	copy->cell = g->cell;
	copy->usable = g->usable;
}

static bool same(const struct copy *copy, const struct grid *g)
{
	size_t classes = (size_t)(g->spec.n * g->spec.n) * sizeof(int);

	if (!copy->usable || !g->usable)
		return copy->usable == g->usable;
	return copy->cell == g->cell && !memcmp(copy->classes, g->classes, classes) &&
	       !memcmp(copy->pixels, g->pixels, bytes_of(g));
}

static unsigned set_of(const int *classes, int cells)
{
	unsigned set = 0;

	for (int c = 0; c < cells; c++)
		set |= 1u << classes[c];
	return set;
}

/* In how many grids: anything, the set of classes, the place of the image at hand. */
struct difference {
	int grids, sets, places;
};

/* Composes it anew for every image, backwards, some with nothing known. */
static struct difference differing(
	struct grid_set *f, struct grid *g, const struct copy *copies, uint64_t seed, bool forget)
{
	int cells = g->spec.n * g->spec.n;
	struct difference d = {0};
	struct grid_knowledge k;

	grid_knowledge_init(&k, &f->vit, &f->work, &f->data);
	g->image = -1;
	for (int i = IMAGES - 1; i >= 0; i--) {
		if (forget && i % 3) {
			grid_knowledge_release(&k);
			grid_knowledge_init(&k, &f->vit, &f->work, &f->data);
			memset(g->pixels, 0x55, bytes_of(g));
			g->image = -1;
		}
		compose(g, &k, i, seed);
		d.grids += !same(&copies[i], g);
		if (!g->usable)
			continue;
		d.sets += set_of(copies[i].classes, cells) != set_of(g->classes, cells);
		d.places += copies[i].cell != g->cell;
	}
	grid_knowledge_release(&k);
	return d;
}

/* By chance one set of classes in 165 stays, and one place in `cells`. */
static void check_seed(
	struct grid_set *f, struct grid *g, const struct copy *copies, uint64_t seed, int usable)
{
	struct difference d = differing(f, g, copies, seed, false);

	CU_ASSERT(d.grids >= usable - 1);
	CU_ASSERT(d.sets > 0.9 * usable);
	CU_ASSERT(d.places > 0.5 * usable);
}

static const uint64_t run_seed = 9;

static void check_kind(struct grid_set *f, struct grid *g)
{
	struct copy *copies = x_malloc(IMAGES * sizeof(*copies));
	int cells = g->spec.n * g->spec.n, at[GRID_CELLS] = {0}, usable = 0, partners = 0;
	bool partner[IMAGES] = {false};
	struct grid_knowledge k;

	grid_knowledge_init(&k, &f->vit, &f->work, &f->data);
	for (int i = 0; i < IMAGES; i++) {
		compose(g, &k, i, run_seed);
		check_grid(f, g, i);
		count_partners(partner, f, g);
		keep(&copies[i], g);
		usable += g->usable;
		at[g->cell] += g->usable;
		if (i % 7 == 0) { /* it is there already */
			memset(g->pixels, 0, 1);
			compose(g, &k, i, run_seed);
			CU_ASSERT(g->pixels[0] == 0 && g->image == i);
		}
	}
	for (int i = 0; i < IMAGES; i++) {
		partners += partner[i];
		CU_ASSERT(isnan(k.sure[i]) ||
			  near_one("sure", k.sure[i], qualifies(f, &(struct grid){0}, i) ? f->sure[i] : -1,
				  1e-7));
	}
	grid_knowledge_release(&k);
	CU_ASSERT(partners > 0.8 * usable); /* other images for every image */
	CU_ASSERT(usable > IMAGES / 3 && usable <= IMAGES - UNREADABLE - WRONG);
	for (int c = 0; c < cells; c++)
		CU_ASSERT(at[c] > 0);
	CU_ASSERT_EQUAL(differing(f, g, copies, run_seed, false).grids, 0);
	CU_ASSERT_EQUAL(differing(f, g, copies, run_seed, true).grids, 0);
	check_seed(f, g, copies, run_seed + 1, usable);
	check_seed(f, g, copies, run_seed + (UINT64_C(1) << 40), usable);
	free(copies);
}

/* The networks of larger inputs: the table of positions is the checkpoint's, resampled; nothing else. */
static void check_network(const struct grid_set *f, const struct grid *g)
{
	const struct vit_config *one = &f->vit.config, *all = &g->vit->config;
	int n = g->spec.n, gh = n * one->grid_h, gw = n * one->grid_w, d = one->width;
	size_t prefix = (size_t)(one->prefix * d), rest = (size_t)(gh * gw * d);
	float *want = x_malloc(rest * sizeof(*want));

	CU_ASSERT(all->image_h == n * H && all->image_w == n * W && all->grid_h == gh && all->grid_w == gw);
	CU_ASSERT_EQUAL_FATAL(all->tokens, one->prefix + gh * gw);
	CU_ASSERT(all->classes == one->classes && all->pos_h == one->pos_h && all->pos_w == one->pos_w);
	pos_embed_resample(want, gh, gw, f->vit.weights.pos + prefix, one->grid_h, one->grid_w, d, true);
	CU_ASSERT(same_bits(g->vit->weights.pos, f->vit.weights.pos, prefix));
	CU_ASSERT(near_floats("positions", g->vit->weights.pos + prefix, want, rest, 1e-6));
	CU_ASSERT(same_bits(
		g->vit->weights.head.parts[0].w, f->vit.weights.head.parts[0].w, PROTOTYPES * WIDTH));
	free(want);
}

static void test_grids(void)
{
	struct grid_set *f = x_calloc(1, sizeof(*f));
	struct grids g;

	grid_set_begin(f);
	load_grids(&g, f);
	for (int kind = 0; kind < KINDS; kind++) {
		CU_ASSERT_PTR_EQUAL(
			g.entry[kind].vit, g.entry[kind].spec.rescaled ? &f->vit : &g.entry[kind].own);
		if (!g.entry[kind].spec.rescaled)
			check_network(f, &g.entry[kind]);
		check_kind(f, &g.entry[kind]);
	}
	grids_release(&g);
	grid_set_end(f);
	free(f);
}

/* With three classes there is no grid of four cells, and looking for one ends; with four there is. */
static void test_few_classes(void)
{
	struct grid_set *f = x_calloc(1, sizeof(*f));
	struct grid_knowledge k;
	struct grids g;

	grid_set_begin(f);
	load_grids(&g, f);
	for (int classes = 5; classes >= 0; classes--) {
		int usable = 0, of = 0;

		for (int i = 0; i < IMAGES; i++)
			if (f->data.label[i] >= classes) {
				f->data.label[i] = -1;
				f->sure[i] = -1;
			} else
				of += f->sure[i] >= 0;
		grid_knowledge_init(&k, &f->vit, &f->work, &f->data);
		g.entry[NATIVE2].image = -1;
		alarm(60);
		for (int i = 0; i < IMAGES; i++) {
			compose(&g.entry[NATIVE2], &k, i, run_seed);
			usable += g.entry[NATIVE2].usable;
		}
		alarm(0);
		CU_ASSERT_EQUAL(usable, classes >= 4 ? of : 0);
		CU_ASSERT((of > 0) == (classes > 0));
		grid_knowledge_release(&k);
	}
	grids_release(&g);
	grid_set_end(f);
	free(f);
}

/* A picture that was read before and is gone; a request to stop. Neither leaves a grid behind. */
static void test_failures(void)
{
	struct grid_set *f = x_calloc(1, sizeof(*f));
	struct grid_knowledge k;
	struct err err = {""};
	struct grids g;
	int status = 1;

	grid_set_begin(f);
	load_grids(&g, f);
	struct grid *grid = &g.entry[RESCALED3];
	grid_knowledge_init(&k, &f->vit, &f->work, &f->data);
	compose(grid, &k, 0, run_seed);
	CU_ASSERT(grid->usable && grid->image == 0);
	pid_t child = fork();
	if (child == 0) {
		stop_install();
		raise(SIGUSR1);
		int rc = try(grid, &k, 1, run_seed, &err);
		_exit(!(rc == -1 && grid->image == -1 && !strcmp(err.msg, "stopped")));
	}
	CU_ASSERT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	int gone = image_in(f, grid, (grid->cell + 1) % 9);
	CU_ASSERT_FATAL(gone > 0);
	grid_set_overwrite(gone, "");
	compose(grid, &k, 2, run_seed); /* does not qualify */
	CU_ASSERT(!grid->usable);
	CU_ASSERT_EQUAL(try(grid, &k, 0, run_seed, &err), -1);
	CU_ASSERT(says(&err, dataset_path(&f->data, gone), ", for a grid", NULL));
	CU_ASSERT_EQUAL(grid->image, -1);
	grid_knowledge_release(&k);
	grids_release(&g);
	grid_set_end(f);
	free(f);
}

/* What a data set can never make is refused: labels that the network has not do not count. */
static void test_check(void)
{
	struct grid_set *f = x_calloc(1, sizeof(*f));
	struct err err = {""};
	struct grids g;

	grid_set_begin(f);
	load_grids(&g, f);
	CU_ASSERT_EQUAL(grids_check(&g, &f->data, PROTOTYPES, &err), 0);
	CU_ASSERT_EQUAL(grids_check(&g, &f->data, 9, &err), 0);
	CU_ASSERT_EQUAL(grids_check(&g, &f->data, 8, &err), -1);
	CU_ASSERT(says(&err, "grid of 3 x 3 takes images of 9 classes, data.path has 8", NULL));
	for (int i = 0; i < IMAGES; i++)
		if (f->data.label[i] >= 3)
			f->data.label[i] = PROTOTYPES + 3;
	CU_ASSERT_EQUAL(grids_check(&g, &f->data, PROTOTYPES, &err), -1);
	CU_ASSERT(says(&err, "grid of 2 x 2 takes images of 4 classes, data.path has 3", NULL));
	f->data.label[0] = 3; /* the first kind has enough now */
	g.count = 1;
	CU_ASSERT_EQUAL(grids_check(&g, &f->data, PROTOTYPES, &err), 0);
	g.count = KINDS;
	grids_release(&g);
	grid_set_end(f);
	free(f);
}

int register_grids_tests(void)
{
	static const struct named_test tests[] = {
		{"of every kind", test_grids},
		{"too few classes", test_few_classes},
		{"failures", test_failures},
		{"data sets without enough classes", test_check},
		{NULL, NULL},
	};

	return add_suite("grids", tests);
}

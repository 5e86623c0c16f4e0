#include "grid_set.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/png_write.h"
#include "model/preprocess.h"
#include "scratch.h"
#include "support.h"

/* ---- pictures ---- */

/* Coloured squares: of one of the prototypes, and more or less noise. */
static void write_picture(int i)
{
	uint32_t of = (uint32_t)(i % PROTOTYPES);
	int w = 24 + i % 5, h = 18 + i % 7, loud = i / PROTOTYPES * 12;
	unsigned char *rgb = x_malloc((size_t)(3 * w * h));
	char name[32], *path;
	struct err err = {""};

	for (int p = 0; p < 3 * w * h; p++) {
		int y = p / (3 * w) * 4 / h, x = p % (3 * w) / 3 * 4 / w, channel = p % 3;
		double v = 20 + 216 * random_unit(400 + of, (uint32_t)(3 * (4 * y + x) + channel)) +
			   loud * (2 * random_unit(500 + (uint32_t)i, (uint32_t)p) - 1);

		rgb[p] = (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v);
	}
	snprintf(name, sizeof(name), "grids/%02d.png", i);
	scratch_text(name, "");
	path = scratch_path(name);
	CU_ASSERT_EQUAL_FATAL(png_write_rgb(path, rgb, w, h, &err), 0);
	free(path);
	free(rgb);
}

static void read_pictures(struct grid_set *f)
{
	char text[32 * IMAGES] = "", *path = scratch_path("grids/list.txt");
	struct err err = {""};
	struct image image;

	for (int i = 0; i < IMAGES; i++) {
		write_picture(i);
		sprintf(text + strlen(text), "%02d.png 0\n", i);
	}
	scratch_text("grids/list.txt", text);
	CU_ASSERT_EQUAL_FATAL(dataset_read(&f->data, path, "", 0, &err), 0);
	for (int i = 0; i < IMAGES; i++) {
		CU_ASSERT_EQUAL_FATAL(dataset_image(&image, &f->data, i, &err), 0);
		CU_ASSERT_EQUAL(preprocess_pixels(f->picture[i], &image, &f->vit.config, &err), 0);
		image_release(&image);
	}
	free(path);
}

/* ---- a network that tells the prototypes apart ---- */

static void load_with_head(struct grid_set *f, const float *w, const float *b, int classes)
{
	char *path = scratch_path("grids/head.safetensors"), *text, *file;
	size_t nw = (size_t)classes * WIDTH * sizeof(float), nb = (size_t)classes * sizeof(float);
	struct vit_options o = {.head = f->head};
	struct err err = {""};

	text = x_asprintf("{\"b\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]},"
			  "\"w\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]}}",
		classes, nw, nw + nb, classes, WIDTH, nw);
	uint64_t n = strlen(text);
	file = x_malloc(8 + n + nw + nb);
	memcpy(file, &n, 8);
	memcpy(file + 8, text, n);
	memcpy(file + 8 + n, w, nw);
	memcpy(file + 8 + n + nw, b, nb);
	scratch_bytes("grids/head.safetensors", file, 8 + n + nw + nb);
	snprintf(f->head, sizeof(f->head), "%s", path);
	CU_ASSERT_EQUAL_FATAL(vit_load(&f->vit, GRID_SET_MODEL, &o, &err), 0);
	vit_work_init(&f->work, &f->vit, VIT_FORWARD, 1, 1);
	free(path);
	free(text);
	free(file);
}

static void unload(struct grid_set *f)
{
	vit_work_release(&f->work);
	vit_release(&f->vit);
}

static void logits_of(struct grid_set *f, float *logits, int i)
{
	float x[3 * PLANE];

	preprocess_normalise(x, f->picture[i], &f->vit.config);
	vit_forward(&f->vit, &f->work, logits, x, 1, VIT_FORWARD);
}

/* Class j is near to prototype j: logit -|f - f_j|^2 / 2 but for what all classes share, in units that make
 * probabilities neither 0 nor 1. */
static void make_network(struct grid_set *f)
{
	float eye[WIDTH * WIDTH] = {0}, w[PROTOTYPES * WIDTH], b[WIDTH] = {0};
	double unit = 0;

	for (int i = 0; i < WIDTH; i++)
		eye[i * WIDTH + i] = 1;
	load_with_head(f, eye, b, WIDTH);
	read_pictures(f);
	for (int j = 0; j < PROTOTYPES; j++)
		logits_of(f, w + j * WIDTH, j);
	for (int j = 1; j < PROTOTYPES; j++)
		for (int i = 0; i < WIDTH; i++)
			unit += pow((double)w[j * WIDTH + i] - (double)w[i], 2) / (PROTOTYPES - 1) / 16;
	for (int j = 0; j < PROTOTYPES; j++) {
		double squares = 0;

		for (int i = 0; i < WIDTH; i++) {
			squares += (double)w[j * WIDTH + i] * (double)w[j * WIDTH + i];
			w[j * WIDTH + i] = (float)(w[j * WIDTH + i] / unit);
		}
		b[j] = (float)(-squares / 2 / unit);
	}
	unload(f);
	load_with_head(f, w, b, PROTOTYPES);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void predict(struct grid_set *f, int i)
{
	float logits[PROTOTYPES];
	int best = 0;

	logits_of(f, logits, i);
	for (int y = 0; y < PROTOTYPES; y++)
		best = logits[y] > logits[best] ? y : best;
	f->prediction[i] = f->data.label[i] = best;
	f->sure[i] = vit_probability(logits, PROTOTYPES, best);
}

void grid_set_overwrite(int i, const char *text)
{
	char name[32];

	snprintf(name, sizeof(name), "grids/%02d.png", i);
	scratch_text(name, text);
}

static void exclude(struct grid_set *f, int i, int kind)
{
	f->sure[i] = -1;
	if (kind < UNREADABLE)
		grid_set_overwrite(i, kind ? "\x89PNG\r\n" : "");
	else
		f->data.label[i] = (const int[]){(f->prediction[i] + 1) % PROTOTYPES,
			(f->prediction[i] + 5) % PROTOTYPES, -1, PROTOTYPES + 3}[(kind - UNREADABLE) % 4];
}

void grid_set_begin(struct grid_set *f)
{
	double sorted[IMAGES];
	int n = 0;

	make_network(f);
	for (int i = 0; i < IMAGES; i++)
		predict(f, i);
	for (int kind = 0; kind < UNREADABLE + WRONG; kind++) /* here and there, prototypes too */
		exclude(f, 2 + 8 * kind, kind);
	for (int i = 0; i < IMAGES; i++)
		if (f->sure[i] >= 0)
			sorted[n++] = f->sure[i];
	qsort(sorted, (size_t)n, sizeof(*sorted), by_size);
	f->median = (sorted[n / 2 - 1] + sorted[n / 2]) / 2; /* at no image's, whose float may round down */
	CU_ASSERT(sorted[n / 2] - f->median > 1e-6);
	CU_ASSERT(sorted[0] < 0.8 && f->median > sorted[0] && f->median < 1);
}

void grid_set_end(struct grid_set *f)
{
	unload(f);
	dataset_release(&f->data);
}

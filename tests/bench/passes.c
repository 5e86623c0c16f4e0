/*
 * Seconds per DAVE sample and per point of a deletion curve, against the floor: their multiply-adds at the
 * rate of large square products, measured between them.
 *   passes MODEL BATCH SAMPLES POINTS ROUNDS      MODEL: a checkpoint folder
 * prints CSV: model,batch,what,seconds,floor,ratio,gemm_share,gflops (medians of ROUNDS)
 */
#include "attribution/method.h"
#include "base/clock.h"
#include "base/rng.h"
#include "blas.h"
#include "kernels/gemm.h"
#include "metrics/metric.h"
#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQUARE = 2048, MAX_ROUNDS = 99 };
enum { SAMPLE, POINT, KINDS };

struct bench {
	struct vit vit;
	struct vit_work work;
	struct arena arena;
	int batch, samples, points;
	float *x, *raw, *logits, *square;
	void *dave, *deletion; /* parameters */
	double figures[16], *curve, *scored_points;
	struct substrate_memo substrates;
	int scored;
};

/* The parameters of a method or metric: the defaults, and one integer. */
static void *params_of(const struct option_row *table, size_t size, const char *key, int value)
{
	void *params = x_calloc(1, size);
	char text[32];
	struct err err;

	option_defaults(params, table);
	snprintf(text, sizeof(text), "%d", value);
	if (option_set(params, option_find(table, key), text, &err))
		BUG("%s", err.msg);
	return params;
}

static int score(void *ctx, double *probability, double *logit, const float *images, int n, struct err *err)
{
	struct bench *b = ctx;

	(void)err;
	vit_forward(&b->vit, &b->work, b->logits, images, n, VIT_FORWARD);
	for (int i = 0; i < n; i++) {
		logit[i] = b->logits[i * b->vit.config.classes];
		probability[i] =
			vit_probability(b->logits + i * b->vit.config.classes, b->vit.config.classes, 0);
	}
	b->scored += n;
	return 0;
}

static void attribute(struct bench *b)
{
	const struct method_ops *ops = method_find("dave");
	const int target = 0;
	struct method_input in = {.vit = &b->vit,
		.work = &b->work,
		.batch = b->batch,
		.x = b->x,
		.targets = &target,
		.count = 1,
		.seed = 1};
	struct err err;

	b->arena.used = 0;
	void *scratch = ops->carve(&b->arena, &b->vit.config, b->dave, b->batch, 1);
	if (ops->run(scratch, b->dave, &in, b->raw, b->figures, &err))
		BUG("%s", err.msg);
}

static void delete_pixels(struct bench *b)
{
	const struct metric_ops *ops = metric_find("deletion");
	const struct vit_config *c = &b->vit.config;
	struct scorer scorer = {b->batch, score, b};
	struct metric_input in = {.channels = c->channels,
		.height = c->image_h,
		.width = c->image_w,
		.x = b->x,
		.raw = b->raw,
		.map = b->raw,
		.probability = 1,
		.correct = 1,
		.scorer = &scorer,
		.substrates = &b->substrates};
	struct metric_output out = {b->curve, b->scored_points, b->figures};
	struct err err;

	b->arena.used = 0;
	void *scratch = ops->carve(&b->arena, b->deletion, c->channels, c->image_h, c->image_w, b->batch);
	if (ops->run(scratch, b->deletion, &in, &out, &err))
		BUG("%s", err.msg);
}

static void prepare(struct bench *b, char **argv)
{
	const struct method_ops *dave = method_find("dave");
	const struct metric_ops *deletion = metric_find("deletion");
	const struct vit_config *c = &b->vit.config;
	size_t plane, most;
	struct err err;

	if (vit_load(&b->vit, argv[1], NULL, &err))
		BUG("%s", err.msg);
	b->batch = atoi(argv[2]) ? atoi(argv[2]) : 1;
	b->samples = atoi(argv[3]);
	b->points = atoi(argv[4]);
	b->dave = params_of(dave->options, dave->params_size, "samples", b->samples);
	b->deletion = params_of(deletion->options, deletion->params_size, "steps", b->points - 1);
	vit_work_init(&b->work, &b->vit, VIT_EFFECTIVE, b->batch, b->batch);
	dave->carve(&b->arena, c, b->dave, b->batch, 1);
	most = b->arena.used;
	b->arena.used = 0;
	deletion->carve(&b->arena, b->deletion, c->channels, c->image_h, c->image_w, b->batch);
	b->arena.used = b->arena.used > most ? b->arena.used : most;
	arena_allocate(&b->arena);
	plane = (size_t)c->image_h * (size_t)c->image_w;
	b->x = x_calloc(plane * 3, sizeof(float));
	b->raw = x_calloc(plane, sizeof(float));
	b->logits = x_calloc((size_t)(b->batch * c->classes), sizeof(float));
	b->curve = x_calloc(plane, sizeof(double));
	b->scored_points = x_calloc(plane, sizeof(double));
	b->square = x_calloc((size_t)3 * SQUARE * SQUARE, sizeof(float));
	rng_normal(b->x, plane * 3, (struct rng_key){.seed = 1});
	rng_normal(b->square, (size_t)2 * SQUARE * SQUARE, (struct rng_key){.seed = 2});
}

static double square_rate(struct bench *b)
{
	float *A = b->square, *B = A + SQUARE * SQUARE, *C = B + SQUARE * SQUARE;
	struct blas_total before = blas_total();

	gemm_nt(C, SQUARE, A, SQUARE, B, SQUARE, SQUARE, SQUARE, SQUARE, 1, 0);
	return (blas_total().macs - before.macs) / (blas_total().seconds - before.seconds);
}

int main(int argc, char **argv)
{
	static const char *const names[KINDS] = {"sample", "point"};
	struct bench b = {0};
	double rate[2 * MAX_ROUNDS], seconds[KINDS][MAX_ROUNDS], share[KINDS][MAX_ROUNDS], macs[KINDS];

	if (argc != 6 || atoi(argv[5]) > MAX_ROUNDS)
		BUG("usage: passes MODEL BATCH SAMPLES POINTS ROUNDS");
	int rounds = atoi(argv[5]);
	gemm_set_threads(1);
	prepare(&b, argv);
	attribute(&b);     /* touches all memory */
	delete_pixels(&b); /* and scores the substrate, alone */
	for (int r = 0; r < rounds; r++)
		for (int kind = 0; kind < KINDS; kind++) {
			rate[2 * r + kind] = square_rate(&b);
			b.scored = 0;
			struct blas_total before = blas_total();
			double began = clock_seconds();
			if (kind == SAMPLE)
				attribute(&b);
			else
				delete_pixels(&b);
			double took = clock_seconds() - began;
			int passes = kind == SAMPLE ? b.samples : b.scored;
			seconds[kind][r] = took / passes;
			share[kind][r] = (blas_total().seconds - before.seconds) / took;
		}
	macs[POINT] = vit_macs_forward(&b.vit.config);
	macs[SAMPLE] = macs[POINT] + vit_macs_backward(&b.vit.config, VIT_EFFECTIVE);
	double peak = median(rate, 2 * rounds);
	for (int kind = 0; kind < KINDS; kind++) {
		double s = median(seconds[kind], rounds), floor = macs[kind] / peak;

		printf("%s,%d,%s,%.5f,%.5f,%.3f,%.3f,%.1f\n", b.vit.config.architecture, b.batch, names[kind],
			s, floor, s / floor, median(share[kind], rounds), 2e-9 * peak);
	}
	return 0;
}

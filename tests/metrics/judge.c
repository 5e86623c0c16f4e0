/*
 * Runs one metric on maps from a file, for tests/runs/test_maps.py to compare with its reference:
 *
 *   judge METRIC HEIGHT WIDTH PATCH SEED IMAGE FILE [KEY=VALUE ...]
 *
 * FILE holds planes of float32: map, raw, region (0 or 1), and then what the explainer is to give, call after
 * call, each for map and raw alike. Prints a figure a line, then the points of the curve; errors exit 1.
 */
#include "metrics/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
	FILE *file;
	size_t plane;
};

static void take(struct source *s, float *out, size_t n)
{
	if (fread(out, sizeof(*out), n, s->file) != n) {
		fputs("judge: the file has too few maps\n", stderr);
		exit(2);
	}
}

static int give(struct source *s, float *raw, float *map, size_t n)
{
	take(s, map, n);
	memcpy(raw, map, n * sizeof(*map));
	return 0;
}

static int explain(void *ctx, float *raw, float *map, const float *x, struct err *err)
{
	(void)x;
	(void)err;
	return give(ctx, raw, map, ((struct source *)ctx)->plane);
}

static int explain_randomised(void *ctx, float *raw, float *map, int blocks, int of, struct err *err)
{
	(void)blocks;
	(void)of;
	(void)err;
	return give(ctx, raw, map, ((struct source *)ctx)->plane);
}

static int explain_grid(void *ctx, float *raw, float *map, int *own, const struct metric_grid *grid,
	int height, int width, struct err *err)
{
	(void)err;
	*own = 1;
	give(ctx, raw, map, (size_t)grid->n * (size_t)grid->n * (size_t)height * (size_t)width);
	return 1;
}

static void fail(const struct err *err)
{
	fprintf(stderr, "error: %s\n", err->msg);
	exit(1);
}

static void *parse(const struct metric_ops *ops, char **settings, struct err *err)
{
	void *params = x_calloc(1, ops->params_size);

	option_defaults(params, ops->options);
	for (; *settings; settings++) {
		char *value = strchr(*settings, '=');

		*value++ = 0;
		if (option_set(params, option_find(ops->options, *settings), value, err))
			fail(err);
	}
	return params;
}

static void run(
	const struct metric_ops *ops, const void *params, const struct metric_input *in, struct err *err)
{
	int points = ops->points ? ops->points(params, in->height, in->width) : 0;
	int figures = metric_figure_count(ops);
	double *values = x_calloc((size_t)(2 * points + figures), sizeof(*values));
	struct metric_output out = {values + figures, values + figures + points, values};
	struct arena a = {0};

	ops->carve(&a, params, in->channels, in->height, in->width, 1);
	arena_allocate(&a);
	void *scratch = ops->carve(&a, params, in->channels, in->height, in->width, 1);
	if (ops->run(scratch, params, in, &out, err))
		fail(err);
	for (int i = 0; i < figures + points; i++)
		printf("%.17g\n", values[i]);
	arena_release(&a);
	free(values);
}

int main(int argc, char **argv)
{
	const struct metric_ops *ops = argc < 8 ? NULL : metric_find(argv[1]);
	struct err err = {{0}};

	if (!ops) {
		fputs("usage: judge METRIC HEIGHT WIDTH PATCH SEED IMAGE FILE [KEY=VALUE ...]\n", stderr);
		return 2;
	}
	int height = atoi(argv[2]), width = atoi(argv[3]);
	size_t plane = (size_t)height * (size_t)width;
	struct source s = {fopen(argv[7], "rb"), plane};
	struct explainer explainer = {explain, explain_randomised, explain_grid, &s};
	float *planes = x_malloc(3 * plane * sizeof(*planes));
	unsigned char *region = x_malloc(plane);
	void *params = parse(ops, argv + 8, &err);
	struct metric_input in = {.channels = 1,
		.height = height,
		.width = width,
		.patch = atoi(argv[4]),
		.x = planes,
		.map = planes,
		.raw = planes + plane,
		.region = region,
		.seed = strtoull(argv[5], NULL, 10),
		.image = (uint32_t)strtoul(argv[6], NULL, 10),
		.explainer = &explainer};

	if (!s.file) {
		perror(argv[7]);
		return 2;
	}
	take(&s, planes, 3 * plane);
	for (size_t i = 0; i < plane; i++)
		region[i] = planes[2 * plane + i] > 0;
	run(ops, params, &in, &err);
	fclose(s.file);
	free(planes);
	free(region);
	free(params);
	return 0;
}

#include "metric_job.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void metric_settings(void *params, const struct metric_ops *ops, const char *settings)
{
	struct err err = {{0}};
	char text[512], *rest = text;

	memset(params, 0x7f, ops->params_size);
	option_defaults(params, ops->options);
	strcpy(text, settings ? settings : "");
	for (char *word; (word = strsep(&rest, " "));)
		if (*word) {
			char *value = strchr(word, '=');

			*value++ = 0;
			CU_ASSERT_EQUAL(option_set(params, option_find(ops->options, word), value, &err), 0);
		}
	CU_ASSERT(!ops->check || !ops->check(params, &err));
}

const char *metric_preset(const struct metric_ops *ops, const char *name)
{
	for (const struct metric_preset *p = ops->presets; p && p->name; p++)
		if (!strcmp(p->name, name))
			return p->settings;
	return NULL;
}

/* ---- the explainer ---- */

static int give(struct metric_job *j, float *raw, float *map, const float *from, size_t n, struct err *err)
{
	if (++j->calls == j->fail)
		return err_set(err, "the fake explainer gave up");
	for (size_t i = 0; i < n; i++) {
		map[i] = from[i];
		raw[i] = 2 * from[i];
	}
	if (j->calls == j->nan)
		map[1] = NAN;
	return 0;
}

static size_t plane(const struct metric_job *j)
{
	return (size_t)j->in.height * (size_t)j->in.width;
}

static int explain(void *ctx, float *raw, float *map, const float *x, struct err *err)
{
	struct metric_job *j = ctx;

	return give(j, raw, map, x, plane(j), err);
}

static int explain_randomised(void *ctx, float *raw, float *map, int blocks, int of, struct err *err)
{
	struct metric_job *j = ctx;

	j->asked_of = of;
	return give(j, raw, map, j->randomised + (size_t)blocks * plane(j), plane(j), err);
}

static int explain_grid(void *ctx, float *raw, float *map, int *own, const struct metric_grid *grid,
	int height, int width, struct err *err)
{
	struct metric_job *j = ctx;

	j->asked = *grid;
	j->asked_height = height;
	j->asked_width = width;
	if (!j->grid_rc) {
		j->calls++;
		return 0;
	}
	*own = j->own;
	return give(j, raw, map, j->grid, (size_t)(grid->n * grid->n * height * width), err) ? -1
											     : j->grid_rc;
}

/* ---- the run ---- */

void metric_job_init(struct metric_job *j, int height, int width, const float *map)
{
	memset(j, 0, sizeof(*j));
	j->explainer = (struct explainer){explain, explain_randomised, explain_grid, j};
	j->in = (struct metric_input){.channels = 1,
		.height = height,
		.width = width,
		.patch = 1,
		.x = map,
		.raw = map,
		.map = map,
		.seed = 11,
		.image = 5,
		.explainer = &j->explainer};
	j->grid_rc = 1;
}

int metric_job_run(struct metric_job *j, const char *metric, const char *settings)
{
	const struct metric_ops *ops = metric_find(metric);
	struct metric_output out = {j->curve, j->scored, j->figures};
	int height = j->in.height, width = j->in.width, channels = j->in.channels, rc;
	struct arena a = {0};
	char params[256];

	CU_ASSERT_PTR_NOT_NULL_FATAL(ops);
	CU_ASSERT_FATAL(ops->params_size <= sizeof(params));
	metric_settings(params, ops, settings);
	for (int i = 0; i < JOB_CURVE; i++)
		j->curve[i] = j->scored[i] = -99;
	for (int i = 0; i < JOB_FIGURES; i++)
		j->figures[i] = -99;
	j->calls = 0;
	ops->carve(&a, params, channels, height, width, 3);
	arena_allocate(&a);
	if (a.size)
		memset(a.base, 0xff, a.size);
	void *scratch = ops->carve(&a, params, channels, height, width, 3);
	CU_ASSERT_EQUAL(a.used, a.size);
	rc = ops->run(scratch, params, &j->in, &out, &j->err);
	/* every figure is set, and nothing beyond */
	for (int i = 0; i < JOB_FIGURES && !rc; i++)
		CU_ASSERT_EQUAL(j->figures[i] != -99, i < metric_figure_count(ops));
	CU_ASSERT(j->curve[ops->points ? ops->points(params, height, width) : 0] == -99);
	arena_release(&a);
	return rc;
}

/* Running a metric as evaluate.c does, on maps and with an explainer whose maps a test knows. */
#ifndef UNIT_METRIC_JOB_H
#define UNIT_METRIC_JOB_H

#include "metrics/metric.h"

/* The defaults of a metric and "key=value key=value ..." (NULL: none) on top, into params. */
void metric_settings(void *params, const struct metric_ops *ops, const char *settings);

/* The settings of a preset; NULL where there is none of that name. */
const char *metric_preset(const struct metric_ops *ops, const char *name);

enum { JOB_CURVE = 64, JOB_FIGURES = 16 };

struct metric_job {
	struct metric_input in;
	struct explainer explainer;
	double curve[JOB_CURVE], scored[JOB_CURVE], figures[JOB_FIGURES];
	struct err err;
	/* What the explainer was asked for: explain() gives the first channel of the image as map, twice that
	 * as raw; explain_randomised() and explain_grid() give what is here. */
	const float *randomised; /* (of + 1, H, W) */
	const float *grid;       /* (n * n, h, w); raw is twice that */
	int grid_rc, own;        /* what explain_grid() returns and gives */
	struct metric_grid asked;
	int asked_height, asked_width, asked_of;
	int calls, fail, nan; /* call number (from 1) that fails, or whose map has a NaN at pixel 1 */
};

/* One channel; x is the map too, and raw. */
void metric_job_init(struct metric_job *j, int height, int width, const float *map);

/* Runs a metric with settings; returns what it does. Scratch memory and figures start as garbage. */
int metric_job_run(struct metric_job *j, const char *metric, const char *settings);

#endif

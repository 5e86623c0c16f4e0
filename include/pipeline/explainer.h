/* The method at hand as metrics see it: run on other images, by other networks, on grids. */
#ifndef PIPELINE_EXPLAINER_H
#define PIPELINE_EXPLAINER_H

#include "metrics/metric.h"
#include "pipeline/evaluate.h"

/* e stays the caller's; e->method says which method is meant. */
struct explainer explainer_of(struct evaluator *e);

#endif

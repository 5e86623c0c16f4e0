#include "pipeline/explainer.h"

#include "base/clock.h"

/* raw and map of x by a network of the run's shape. */
static int explain_by(
	struct evaluator *e, const struct vit *vit, const float *x, float *raw, float *map, struct err *err)
{
	const struct config_method *method = &e->config->methods[e->method];
	struct method_input in = evaluator_input(e, x, &e->other);
	double scale, figures[METHOD_FIGURES];

	if (stop_requested())
		return err_set(err, "stopped");
	in.vit = vit;
	clean_begin(&e->other, vit, &e->work, x);
	return method_explain(method->ops, method->params, &e->arena, &in, raw, map, &scale, figures, err);
}

static int explain(void *ctx, float *raw, float *map, const float *x, struct err *err)
{
	struct evaluator *e = ctx;

	return explain_by(e, e->vit, x, raw, map, err);
}

static int explain_randomised(void *ctx, float *raw, float *map, int blocks, int of, struct err *err)
{
	struct evaluator *e = ctx;

	vit_random_cascade(&e->random, e->vit, blocks, of);
	return explain_by(e, &e->random.vit, e->x, raw, map, err);
}

static int explain_grid(void *ctx, float *raw, float *map, int *own, const struct metric_grid *spec,
	int height, int width, struct err *err)
{
	struct evaluator *e = ctx;
	const struct config_method *method = &e->config->methods[e->method];
	struct grid *g = &e->grids->entry[grids_find(e->grids, spec)];
	double scale[GRID_CELLS], figures[METHOD_FIGURES];

	if (grid_compose(g, &e->knowledge, e->image, e->config->run.seed, err))
		return -1;
	if (!g->usable)
		return 0;
	if (g->vit->config.image_h != height || g->vit->config.image_w != width)
		BUG("a grid of %d x %d pixels, asked for %d x %d", g->vit->config.image_h,
			g->vit->config.image_w, height, width);
	struct method_input in = evaluator_input(e, g->x, &g->clean);
	in.vit = g->vit;
	in.work = &g->work;
	in.batch = 1;
	in.targets = g->classes;
	in.count = spec->n * spec->n;
	*own = g->cell;
	int rc = method_explain(method->ops, method->params, &e->arena, &in, raw, map, scale, figures, err);
	return rc ? rc : 1;
}

struct explainer explainer_of(struct evaluator *e)
{
	return (struct explainer){explain, explain_randomised, explain_grid, e};
}

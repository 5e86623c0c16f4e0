#include "pipeline/evaluate.h"

#include "base/clock.h"
#include "model/preprocess.h"
#include "pipeline/explainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AUTO_TOKENS = 800, AUTO_LARGEST = 16 };

int evaluate_batch(const struct config *c, const struct vit_config *vit)
{
	int batch = c->engine.batch ? c->engine.batch : AUTO_TOKENS / vit->tokens;

	if (!c->engine.batch && batch > AUTO_LARGEST)
		batch = AUTO_LARGEST;
	return batch > 0 ? batch : 1;
}

static enum vit_mode work_mode(const struct config *c)
{
	enum vit_mode mode = VIT_EFFECTIVE; /* for the pixels' share */

	for (int i = 0; i < c->methods_count; i++)
		if (c->methods[i].ops->mode > mode)
			mode = c->methods[i].ops->mode;
	return mode;
}

static size_t most_points(const struct config *c, const struct vit_config *vit)
{
	int most = 1;

	for (int i = 0; i < c->metrics_count; i++) {
		const struct metric_ops *ops = c->metrics[i].ops;
		int points = ops->points ? ops->points(c->metrics[i].params, vit->image_h, vit->image_w) : 0;

		most = points > most ? points : most;
	}
	return (size_t)most;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Where the scratch of a method ends, and of a metric, which may run methods; the arena stays as it is. */
static size_t measure_method(
	struct arena *a, const struct config_method *m, const struct vit_config *vit, int batch, int targets)
{
	size_t mark = a->used, end;

	method_measure(m->ops, m->params, a, vit, batch, targets);
	end = a->used;
	a->used = mark;
	return end;
}

/* What a run's metrics ask for. */
static int needs(const struct config *c)
{
	int all = 0;

	for (int i = 0; i < c->metrics_count; i++)
		all |= c->metrics[i].ops->needs;
	return all;
}

static size_t measure_metric(struct arena *a, const struct config_metric *m, const struct config *c,
	const struct vit_config *vit, const struct grids *g, int batch)
{
	size_t mark = a->used, end;
	struct metric_grid spec = {0};

	m->ops->carve(a, m->params, vit->channels, vit->image_h, vit->image_w, batch);
	end = a->used;
	if (m->ops->grid)
		m->ops->grid(m->params, &spec);
	for (int i = 0; i < c->methods_count && m->ops->needs & (METRIC_EXPLAINS | METRIC_RANDOMISES); i++)
		end = larger(end, measure_method(a, &c->methods[i], vit, batch, 1));
	for (int i = 0; i < c->methods_count && m->ops->grid; i++) {
		const struct grid *grid = &g->entry[grids_find(g, &spec)];

		end = larger(end, measure_method(a, &c->methods[i], &grid->vit->config, 1, spec.n * spec.n));
	}
	a->used = mark;
	return end;
}

/* The plan of the memory. Methods and metrics run one after the other, so their scratch overlaps. */
static void carve(struct evaluator *e, const struct config *c, const struct vit_config *vit,
	const struct grids *g, int batch)
{
	size_t plane = (size_t)vit->image_h * (size_t)vit->image_w, most;
	struct arena *a = &e->arena;

	e->pixels = arena_take(a, plane, 3);
	e->x = arena_floats(a, (size_t)vit->channels * plane);
	e->black = arena_floats(a, (size_t)vit->channels);
	e->raw = arena_floats(a, plane);
	e->map = arena_floats(a, plane);
	e->logits = arena_floats(a, (size_t)batch * (size_t)vit->classes);
	region_carve(&e->region, a, vit);
	e->out.curve = arena_take(a, most_points(c, vit), sizeof(double));
	e->out.scored = arena_take(a, most_points(c, vit), sizeof(double));
	e->out.figures = arena_take(a, METHOD_FIGURES, sizeof(double));
	clean_carve(&e->clean, a, vit);
	if (needs(c) & (METRIC_EXPLAINS | METRIC_RANDOMISES))
		clean_carve(&e->other, a, vit);
	e->shared_from = most = a->used;
	for (int i = 0; i < c->methods_count; i++)
		most = larger(most, measure_method(a, &c->methods[i], vit, batch, 1));
	for (int i = 0; i < c->metrics_count; i++)
		most = larger(most, measure_metric(a, &c->metrics[i], c, vit, g, batch));
	a->used = most;
}

void evaluator_init(struct evaluator *e, const struct config *c, const struct vit *vit, struct grids *g,
	const struct dataset *d, const struct region_source *r, const struct schema *s)
{
	*e = (struct evaluator){.config = c,
		.vit = vit,
		.grids = g,
		.data = d,
		.regions = r,
		.schema = s,
		.batch = evaluate_batch(c, &vit->config)};
	for (int i = 0; i < c->methods_count; i++)
		if (method_figure_count(c->methods[i].ops) > METHOD_FIGURES)
			BUG("%s has too many figures", c->methods[i].ops->name);
	for (int i = 0; i < c->metrics_count; i++)
		if (metric_figure_count(c->metrics[i].ops) > METHOD_FIGURES)
			BUG("%s has too many figures", c->metrics[i].ops->name);
	vit_work_init(&e->work, vit, work_mode(c), e->batch, e->batch);
	carve(e, c, &vit->config, g, e->batch);
	arena_allocate(&e->arena);
	carve(e, c, &vit->config, g, e->batch);
	preprocess_black(e->black, &vit->config);
	if (needs(c) & METRIC_RANDOMISES)
		vit_random_init(&e->random, vit, c->run.seed);
	for (int i = 0; i < g->count; i++)
		grid_allocate(&g->entry[i], work_mode(c));
	if (g->count)
		grid_knowledge_init(&e->knowledge, vit, &e->work, d);
}

void evaluator_release(struct evaluator *e)
{
	vit_work_release(&e->work);
	arena_release(&e->arena);
	vit_random_release(&e->random);
	grid_knowledge_release(&e->knowledge);
}

size_t evaluator_bytes(
	const struct config *c, const struct vit *vit, const struct grids *g, const struct schema *s)
{
	struct evaluator e = {0};
	int batch = evaluate_batch(c, &vit->config);

	carve(&e, c, &vit->config, g, batch);
	size_t bytes = e.arena.used + vit_work_bytes(&vit->config, work_mode(c), batch, batch) + s->row_bytes;
	if (needs(c) & METRIC_RANDOMISES)
		bytes += vit_random_bytes(vit);
	for (int i = 0; i < g->count; i++)
		bytes += grid_bytes(&g->entry[i], work_mode(c));
	if (g->count)
		bytes += grid_knowledge_bytes(&vit->config, s->images);
	return bytes;
}

double evaluator_pass_macs(const struct config *c, const struct vit_config *vit, const struct grids *g)
{
	double most = evaluate_batch(c, vit) * (vit_macs_forward(vit) + vit_macs_backward(vit, work_mode(c)));

	for (int i = 0; i < g->count; i++) {
		const struct vit_config *grid = &g->entry[i].vit->config;
		int cells = g->entry[i].spec.n * g->entry[i].spec.n;

		most = fmax(most, vit_macs_forward(grid) + cells * vit_macs_backward(grid, work_mode(c)));
	}
	return most;
}

/* What one metric takes for one method, whose maps take f and b passes. */
static void add_metric(const struct config_metric *m, const struct vit_config *vit, const struct grids *g,
	enum vit_mode mode, double f, double b, double *forward, double *backward, double *macs)
{
	double maps = m->ops->explanations ? m->ops->explanations(m->params) : 0, cells = 1;
	double scored = m->ops->forwards ? m->ops->forwards(m->params, vit->image_h, vit->image_w) : 0;
	const struct vit_config *c = vit;
	struct metric_grid spec;

	if (m->ops->grid) {
		m->ops->grid(m->params, &spec);
		c = &g->entry[grids_find(g, &spec)].vit->config;
		cells = spec.n * spec.n;
	}
	*forward += scored + maps * f;
	*backward += maps * cells * b;
	*macs += scored * vit_macs_forward(vit) + maps * f * vit_macs_forward(c) +
		 maps * cells * b * vit_macs_backward(c, mode);
}

void evaluator_passes(const struct config *c, const struct vit_config *vit, const struct grids *g,
	double *forward, double *backward, double *macs)
{
	double f, b;

	*forward = *backward = 1; /* the prediction, and the pixels' share of it */
	*macs = vit_macs_forward(vit) + vit_macs_backward(vit, VIT_EFFECTIVE);
	for (int i = 0; i < c->methods_count; i++) {
		enum vit_mode mode = c->methods[i].ops->mode;

		c->methods[i].ops->passes(c->methods[i].params, &f, &b);
		*forward += f;
		*backward += b;
		*macs += f * vit_macs_forward(vit) + b * vit_macs_backward(vit, mode);
		for (int k = 0; k < c->metrics_count; k++)
			add_metric(&c->metrics[k], vit, g, mode, f + c->methods[i].ops->clean, b, forward,
				backward, macs);
	}
}

/* ---- one image ---- */

static int score(void *ctx, double *probability, double *logit, const float *images, int n, struct err *err)
{
	struct evaluator *e = ctx;
	int classes = e->vit->config.classes;

	if (stop_requested())
		return err_set(err, "stopped");
	vit_forward(e->vit, &e->work, e->logits, images, n, VIT_FORWARD);
	for (int i = 0; i < n; i++) {
		const float *row = e->logits + (size_t)i * (size_t)classes;

		probability[i] = vit_probability(row, classes, e->target);
		logit[i] = row[e->target];
	}
	return 0;
}

/* The pixels of image i, and its region. */
static int load(struct evaluator *e, int i, struct err *err)
{
	struct image image;
	int rc = dataset_image(&image, e->data, i, err);

	if (!rc) {
		rc = preprocess_pixels(e->pixels, &image, &e->vit->config, err) ||
		     region_find(&e->region, e->regions, e->data, i, &e->vit->config, image.width,
			     image.height, err);
		image_release(&image);
	}
	if (!rc)
		preprocess_normalise(e->x, e->pixels, &e->vit->config);
	return rc;
}

static void put_region(const struct evaluator *e, unsigned char *row)
{
	const struct schema *s = e->schema;
	double box[REGION_BOXES * 4];

	if (s->region < 0)
		return;
	for (int k = 0; k < REGION_BOXES * 4; k++)
		box[k] = k / 4 < e->region.boxes ? e->region.box[k / 4][k % 4] : -1;
	schema_put(s, row, s->boxes, box, REGION_BOXES * 4);
	schema_put_number(s, row, s->region, e->region.state);
	schema_put_number(s, row, s->region_share, e->region.share);
}

/* The share of the target's logit that the pixels carry. */
static double pixel_share(struct evaluator *e)
{
	struct vit_account account;

	clean_gradient(&e->clean, &vit_rules_frozen, e->target, &account);
	/* the bias of B-cos networks is the same for all images */
	return account.pixels / (e->logit - (double)e->vit->config.logit_bias);
}

/* Runs the model on the clean image and settles the target. */
static int predict(struct evaluator *e, int i, unsigned char *row, struct err *err)
{
	const struct schema *s = e->schema;
	int classes = e->vit->config.classes, best = 0;

	clean_begin(&e->clean, e->vit, &e->work, e->x);
	const float *logits = clean_forward(&e->clean);
	for (int k = 0; k < classes; k++) {
		if (!isfinite(logits[k]))
			return err_set(err, "logit of class %d is not finite", k);
		if (logits[k] > logits[best])
			best = k;
	}
	e->target = e->config->target == TARGET_INDEX   ? e->config->target_index
		    : e->config->target == TARGET_LABEL ? e->data->label[i]
							: best;
	if (e->target < 0 || e->target >= classes)
		return err_set(err, "target class %d: the model has classes 0 to %d", e->target, classes - 1);
	e->probability = vit_probability(logits, classes, e->target);
	e->logit = (double)logits[e->target];
	e->image = i;
	e->correct = e->data->label[i] == best; /* whatever class is explained */
	e->substrates.count = 0;
	schema_put_number(s, row, s->target, e->target);
	schema_put_number(s, row, s->prediction, best);
	schema_put_number(s, row, s->probability, e->probability);
	schema_put_number(s, row, s->confidence, vit_probability(logits, classes, best));
	schema_put_number(s, row, s->logit, e->logit);
	schema_put_number(s, row, s->pixel_share, pixel_share(e));
	return 0;
}

struct method_input evaluator_input(struct evaluator *e, const float *x, struct clean *clean)
{
	return (struct method_input){.clean = clean,
		.vit = e->vit,
		.work = &e->work,
		.batch = e->batch,
		.x = x,
		.targets = &e->target,
		.count = 1,
		.seed = e->config->run.seed,
		.image = (uint32_t)e->image};
}

static int run_method(struct evaluator *e, int m, unsigned char *row, struct err *err)
{
	const struct config_method *method = &e->config->methods[m];
	const struct method_fields *fields = &e->schema->methods[m];
	const struct vit_config *c = &e->vit->config;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;
	struct method_input in = evaluator_input(e, e->x, &e->clean);
	double scale;

	e->arena.used = e->shared_from;
	if (method_explain(
		    method->ops, method->params, &e->arena, &in, e->raw, e->map, &scale, e->out.figures, err))
		return err_prefix(err, "%s", method->name);
	if (fields->map >= 0)
		schema_put_floats(e->schema, row, fields->map, e->map, plane);
	if (fields->raw >= 0)
		schema_put_floats(e->schema, row, fields->raw, e->raw, plane);
	schema_put_number(e->schema, row, fields->scale, scale);
	for (int k = 0; k < method_figure_count(method->ops); k++)
		schema_put_number(e->schema, row, fields->figures + k, e->out.figures[k]);
	return 0;
}

static int run_metric(struct evaluator *e, int m, int k, unsigned char *row, struct err *err)
{
	const struct config_metric *metric = &e->config->metrics[k];
	const struct metric_fields *fields = &e->schema->methods[m].metrics[k];
	const struct vit_config *c = &e->vit->config;
	struct scorer scorer = {e->batch, score, e};
	struct explainer explainer = explainer_of(e);
	struct metric_input in = {.channels = c->channels,
		.height = c->image_h,
		.width = c->image_w,
		.patch = c->patch,
		.x = e->x,
		.black = e->black,
		.raw = e->raw,
		.map = e->map,
		.probability = e->probability,
		.logit = e->logit,
		.correct = e->correct,
		.seed = e->config->run.seed,
		.image = (uint32_t)e->image,
		.region = e->region.state == REGION_USED ? e->region.inside : NULL,
		.scorer = &scorer,
		.explainer = &explainer,
		.substrates = &e->substrates};

	e->arena.used = e->shared_from;
	void *scratch =
		metric->ops->carve(&e->arena, metric->params, c->channels, c->image_h, c->image_w, e->batch);
	if (metric->ops->run(scratch, metric->params, &in, &e->out, err))
		return err_prefix(err, "%s/%s", e->config->methods[m].name, metric->name);
	if (fields->curve >= 0)
		schema_put(e->schema, row, fields->curve, e->out.curve,
			e->schema->fields[fields->curve].dims[0]);
	if (fields->scored >= 0)
		schema_put(e->schema, row, fields->scored, e->out.scored,
			e->schema->fields[fields->scored].dims[0]);
	for (int f = 0, at = fields->figures; f < metric_figure_count(metric->ops); f++)
		if (metric_figure_stored(metric->ops, metric->params, f))
			schema_put_number(e->schema, row, at++, e->out.figures[f]);
	return 0;
}

enum evaluate_result evaluate(
	struct evaluator *e, int i, unsigned char *row, double seconds[STAGES], struct err *err)
{
	double since = clock_seconds();
	int rc;

	schema_clear_row(e->schema, row);
	rc = load(e, i, err);
	stage_charge(seconds, STAGE_DECODE, &since);
	rc = rc || predict(e, i, row, err);
	if (!rc)
		put_region(e, row);
	for (int m = 0; m < e->config->methods_count && !rc; m++) {
		e->method = m;
		rc = run_method(e, m, row, err);
		stage_charge(seconds, STAGE_ATTRIBUTION, &since);
		for (int k = 0; k < e->config->metrics_count && !rc; k++)
			rc = stop_requested() ? err_set(err, "stopped") : run_metric(e, m, k, row, err);
		stage_charge(seconds, STAGE_METRICS, &since);
	}
	if (!rc)
		return EVALUATE_DONE;
	if (stop_requested())
		return EVALUATE_STOPPED;
	schema_clear_row(e->schema, row); /* half a row would look like a whole one */
	schema_put_text(e->schema, row, e->schema->error, err->msg);
	return EVALUATE_FAILED;
}

#include "pipeline/explain.h"

#include "pipeline/config.h"

#include "attribution/method.h"
#include "formats/image.h"
#include "formats/png_write.h"
#include "model/preprocess.h"
#include "pipeline/picture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 4, TOP = 5 };

/* Line number `index` of a file, or "". */
static void label_of(char *out, size_t size, const char *path, int index)
{
	FILE *f = path ? fopen(path, "r") : NULL;
	char line[256];

	*out = 0;
	for (int i = 0; f && i <= index && fgets(line, sizeof(line), f); i++)
		if (i == index) {
			line[strcspn(line, "\r\n")] = 0;
			snprintf(out, size, "%s", line);
		}
	if (f)
		fclose(f);
}

/* Prints the most probable classes; returns the first. */
static int print_top(const float *logits, int classes, const char *labels)
{
	int first = 0, taken[TOP];

	for (int k = 0; k < TOP && k < classes; k++) {
		int best = -1;
		char name[256];

		for (int i = 0; i < classes; i++) {
			int used = 0;

			for (int j = 0; j < k; j++)
				used |= taken[j] == i;
			if (!used && (best < 0 || logits[i] > logits[best]))
				best = i;
		}
		taken[k] = best;
		first = k ? first : best;
		label_of(name, sizeof(name), labels, best);
		printf("%2d. class %4d  %6.2f %%  logit %7.3f  %s\n", k + 1, best,
			100 * vit_probability(logits, classes, best), (double)logits[best], name);
	}
	return first;
}

/* The settings model.head, model.head_input and model.input_size, as in a configuration. */
static int read_model(struct config *c, const struct explain_options *o, struct err *err)
{
	const struct config_section *model = config_sections;

	while (strcmp(model->name, "model"))
		model++;
	option_defaults(c, model->options);
	for (int i = 0; i < o->sets_count; i++) {
		const char *equals = strchr(o->sets[i], '=');
		char key[64];

		if (strncmp(o->sets[i], "model.", 6))
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)(equals ? equals - o->sets[i] - 6 : 0),
			o->sets[i] + 6);
		const struct option_row *row = option_find(model->options, key);
		if (!row || !strcmp(key, "path"))
			return err_set(err,
				"--set %s: expected model.head=FILE, model.head_input=... or "
				"model.input_size=...",
				o->sets[i]);
		if (config_set_value(c, row, equals + 1, ".", err))
			return err_prefix(err, "--set");
	}
	return 0;
}

static int read_params(
	void *params, const struct method_ops *ops, const struct explain_options *o, struct err *err)
{
	option_defaults(params, ops->options);
	for (int i = 0; i < o->sets_count; i++) {
		if (!strncmp(o->sets[i], "model.", 6))
			continue; /* of the network: read_model() */
		const char *equals = strchr(o->sets[i], '=');
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)(equals ? equals - o->sets[i] : 0), o->sets[i]);
		const struct option_row *row = option_find(ops->options, key);
		if (!row)
			return err_set(err,
				"--set %s: expected key=value with a key of %s: see dave-eval --help",
				o->sets[i], ops->name);
		if (option_set(params, row, equals + 1, err))
			return err_prefix(err, "--set");
	}
	return 0;
}

/* map (H, W) of the target by the method. */
static int attribute(float *map, const struct vit *vit, const struct method_ops *ops, const void *params,
	const float *x, int target, struct err *err)
{
	const struct vit_config *c = &vit->config;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;
	float *raw = x_malloc(plane * sizeof(*raw));
	double figures[METHOD_FIGURES], scale;
	struct vit_work work;
	struct clean clean;
	struct arena arena = {0};

	vit_work_init(&work, vit, ops->mode, BATCH, BATCH);
	clean_carve(&clean, &arena, c);
	method_measure(ops, params, &arena, c, BATCH, 1);
	arena_allocate(&arena);
	clean_carve(&clean, &arena, c);
	clean_begin(&clean, vit, &work, x);
	struct method_input in = {.clean = &clean,
		.vit = vit,
		.work = &work,
		.batch = BATCH,
		.x = x,
		.targets = &target,
		.count = 1};
	int rc = method_explain(ops, params, &arena, &in, raw, map, &scale, figures, err);

	for (int k = 0; k < method_figure_count(ops) && !rc; k++)
		printf("%s %.4f (%s)\n", ops->figures[k].name, figures[k], ops->figures[k].help);
	arena_release(&arena);
	vit_work_release(&work);
	free(raw);
	return rc;
}

static int explain_image(const struct vit *vit, const struct method_ops *ops, const void *params,
	const struct image *picture, const struct explain_options *o, struct err *err)
{
	const struct vit_config *c = &vit->config;
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;
	unsigned char *pixels = x_malloc(3 * plane);
	float *x = x_malloc((size_t)c->channels * plane * sizeof(*x)), *map = x_malloc(plane * sizeof(*map));
	float *logits = x_malloc((size_t)c->classes * sizeof(*logits));
	int rc = preprocess_pixels(pixels, picture, c, err);

	if (!rc) {
		struct vit_work work;

		preprocess_normalise(x, pixels, c);
		vit_work_init(&work, vit, VIT_FORWARD, 1, 1);
		vit_forward(vit, &work, logits, x, 1, VIT_FORWARD);
		vit_work_release(&work);
		int best = print_top(logits, c->classes, o->labels),
		    target = o->target < 0 ? best : o->target;
		char value[OPTION_TEXT];

		printf("explaining class %d with %s:", target, ops->name);
		for (const struct option_row *row = ops->options; row->name; row++)
			printf(" %s=%s", row->name, option_format(value, params, row));
		putchar('\n');
		fflush(stdout);
		rc = attribute(map, vit, ops, params, x, target, err);
	}
	if (!rc) {
		picture_overlay(pixels, pixels, map, c->image_h, c->image_w);
		rc = png_write_rgb(o->output, pixels, c->image_w, c->image_h, err);
	}
	free(pixels);
	free(x);
	free(map);
	free(logits);
	return rc;
}

int explain(const struct explain_options *o, struct err *err)
{
	const struct method_ops *ops = method_find(o->method);
	struct image picture;
	struct vit vit;

	if (!ops)
		return err_set(err, "unknown method \"%s\": see dave-eval --help", o->method);
	struct config c = {0};
	if (read_model(&c, o, err))
		return -1;
	struct vit_options options = config_vit_options(&c);
	if (vit_load(&vit, o->model, &options, err))
		return -1;
	void *params = x_calloc(1, ops->params_size);
	int rc = read_params(params, ops, o, err);
	if (!rc && ops->check && ops->check(&vit.config, params, err))
		rc = err_prefix(err, "--method %s", ops->name);
	if (!rc && o->labels && access(o->labels, R_OK))
		rc = err_set(err, "%s: cannot read the class names: %s", o->labels, strerror(errno));
	if (!rc && o->target >= vit.config.classes)
		rc = err_set(
			err, "--class %d: the model has classes 0 to %d", o->target, vit.config.classes - 1);
	rc = rc || image_read(&picture, o->image, err);
	if (!rc) {
		rc = explain_image(&vit, ops, params, &picture, o, err);
		image_release(&picture);
	}
	free(params);
	vit_release(&vit);
	return rc ? -1 : 0;
}

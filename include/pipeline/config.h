/*
 * The configuration of a run: a YAML file and overrides, checked against option tables. Methods and metrics
 * bring their own tables; the sections' tables are here. configs/README.md is generated from all of them.
 */
#ifndef PIPELINE_CONFIG_H
#define PIPELINE_CONFIG_H

#include "attribution/method.h"
#include "base/err.h"
#include "base/option.h"
#include "metrics/metric.h"

#include <stdint.h>
#include <stdio.h>

enum { CONFIG_MAX_ENTRIES = 32, CONFIG_NAME = 64, CONFIG_MAX_BYTES = 1 << 20 };

enum config_target { TARGET_LABEL, TARGET_PREDICTION, TARGET_INDEX };
enum config_storage { STORE_NONE, STORE_FLOAT16, STORE_FLOAT32 };

/* One item of `methods` or `metrics`. */
struct config_method {
	char name[CONFIG_NAME]; /* of its group in the results; unique */
	const struct method_ops *ops;
	void *params; /* owned */
};
struct config_metric {
	char name[CONFIG_NAME];
	const struct metric_ops *ops;
	void *params; /* owned */
	char preset[CONFIG_NAME];
};

struct config {
	char file[OPTION_TEXT]; /* where it was read */
	struct {
		char output[OPTION_TEXT];
		uint64_t seed;
	} run;
	struct {
		char path[OPTION_TEXT], head[OPTION_TEXT], input_size[OPTION_TEXT];
		int head_input; /* enum vit_head_input */
	} model;
	int input_h, input_w; /* from model.input_size; 0: auto */
	struct {
		char path[OPTION_TEXT], classes[OPTION_TEXT], boxes[OPTION_TEXT], target[OPTION_TEXT];
		int limit;
	} data;
	struct {
		int batch; /* 0: auto */
		int threads;
	} engine;
	struct {
		int maps; /* enum config_storage */
		int raw;  /* bool */
	} store;
	enum config_target target;
	int target_index;
	int methods_count, metrics_count;
	struct config_method methods[CONFIG_MAX_ENTRIES];
	struct config_metric metrics[CONFIG_MAX_ENTRIES];
};

/* A section of plain keys. */
struct config_section {
	const char *name, *help;
	const struct option_row *options; /* offsets into struct config */
};

/* Sets a plain key from text; a relative path is put behind `base`. The error does not say where. */
int config_set_value(struct config *object, const struct option_row *o, const char *text, const char *base,
	struct err *err);

/* model.* as vit_load() takes it; valid while c is. */
struct vit_options config_vit_options(const struct config *c);

/* run, model, data, engine, store; the last has a NULL name. */
extern const struct config_section config_sections[];

/*
 * Parses text (the content of `file`) and then the overrides, each "section.key=value" or
 * "methods.<name>.<key>=value". Relative paths in the file are taken from the file's folder, in overrides
 * from the current folder. Errors name file:line and key, what was expected, and the nearest known key.
 */
int config_parse(struct config *c, const char *text, size_t size, const char *file,
	const char *const *overrides, int overrides_count, struct err *err);

void config_release(struct config *c);

/* The resolved configuration as YAML, which config_parse() reads back to the same configuration; owned by the
 * caller. The output's path is left out where `portable` is set: a result does not name itself. */
char *config_format(const struct config *c, int portable);

/* --help and the reference in configs/README.md, both from the tables. */
void config_help(FILE *out);
void config_reference(FILE *out);

#endif

#include "pipeline/replay_model.h"

#include "formats/h5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weight_list {
	struct safetensors file;
	int64_t h5;
	struct err *err;
};

static int add_weight(const char *name, void *ctx)
{
	struct weight_list *l = ctx;
	char path[256];
	struct h5_tensor t;

	snprintf(path, sizeof(path), "w/%s", name);
	if (h5_read(&t, l->h5, path, l->err))
		return -1;
	l->file.tensors = x_realloc(l->file.tensors, (size_t)(l->file.count + 1) * sizeof(struct tensor));
	struct tensor *w = &l->file.tensors[l->file.count++];
	*w = (struct tensor){.name = x_strdup(name),
		.dtype = DTYPE_F32,
		.dtype_name = "F32",
		.ndim = t.ndim,
		.count = t.count,
		.data = t.data};
	for (int i = 0; i < t.ndim; i++)
		w->shape[i] = (int64_t)t.dims[i];
	return 0;
}

static int read_recorded(struct vit *vit, struct weight_list *l, struct err *err)
{
	struct vit_config config;
	struct h5_tensor x;
	int64_t heads;
	double eps;

	if (h5_attr_int(&heads, l->h5, "/", "num_heads", err) ||
		h5_attr_double(&eps, l->h5, "/", "ln_eps", err) || h5_read(&x, l->h5, "x", err))
		return -1;
	free(x.data);
	if (x.ndim != 4)
		return err_set(err, "data set x: expected (images, channels, height, width)");
	if (!h5_exists(l->h5, "w"))
		return err_set(err, "no weights w/ are recorded: give --model");
	if (h5_each(l->h5, "w", add_weight, l))
		return -1;
	safetensors_sort(&l->file);
	if (vit_config_infer(&config, (int)heads, (float)eps, (int)x.dims[2], (int)x.dims[3], &l->file, err))
		return -1;
	return vit_init(vit, &config, &l->file, err);
}

/* The network from w/, the file's attributes and the shape of x. */
static int recorded_vit(struct vit *vit, int64_t in, const char *input, struct err *err)
{
	struct weight_list l = {.file = {.path = x_strdup(input), .owns_data = 1}, .h5 = in, .err = err};
	int rc = read_recorded(vit, &l, err);

	safetensors_release(&l.file); /* what vit_init() has taken over is no longer in it */
	return rc;
}

/* A checkpoint folder, with what the recording says about its input and its head. */
static int recorded_folder(struct vit *vit, int64_t in, const char *dir, struct err *err)
{
	char *file = h5_attr_text(in, "head_file"), *input = h5_attr_text(in, "head_input");
	char *head = file ? x_asprintf("%s/%s", dir, file) : NULL;
	struct vit_options o = {.head = head};
	struct h5_tensor x;
	int rc = 0;

	if (input && !strcmp(input, "avg"))
		o.head_input = VIT_HEAD_AVG;
	else if (input && !strcmp(input, "interleaved"))
		o.head_input = VIT_HEAD_INTERLEAVED;
	else if (input && strcmp(input, "token") && strcmp(input, "both"))
		rc = err_set(err,
			"attribute head_input: expected token, avg, both or interleaved, got \"%s\"", input);
	if (!rc && h5_exists(in, "x")) { /* images of other sizes resample the positional table */
		rc = h5_read(&x, in, "x", err);
		if (!rc && x.ndim == 4) {
			o.height = (int)x.dims[2];
			o.width = (int)x.dims[3];
		}
		if (!rc)
			free(x.data);
	}
	rc = rc || vit_load(vit, dir, &o, err);
	free(file);
	free(input);
	free(head);
	return rc ? -1 : 0;
}

int replay_load(struct vit *vit, int64_t in, const char *input, const char *dir, struct err *err)
{
	return dir ? recorded_folder(vit, in, dir, err) : recorded_vit(vit, in, input, err);
}

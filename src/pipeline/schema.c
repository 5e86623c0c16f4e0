#include "pipeline/schema.h"

#include "base/num.h"
#include "formats/digest.h"
#include "pipeline/region.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t type_bytes[] = {1, 4, 4, 2, 4, 8, 1};

struct image_field {
	const char *name;
	enum field_type type;
	size_t index; /* of the int in struct schema that remembers it */
	const char *help;
};

/* The fields of every image. What methods and metrics add is below. */
static const struct image_field image_fields[] = {
	{"path", FIELD_TEXT, offsetof(struct schema, path), "path relative to the data set"},
	{"label", FIELD_I32, offsetof(struct schema, label), "class index according to the data set"},
	{"target", FIELD_I32, offsetof(struct schema, target), "class index that is explained"},
	{"prediction", FIELD_I32, offsetof(struct schema, prediction), "class index with the largest logit"},
	{"probability", FIELD_F64, offsetof(struct schema, probability), "softmax probability of the target"},
	{"confidence", FIELD_F64, offsetof(struct schema, confidence),
		"softmax probability of the prediction"},
	{"logit", FIELD_F32, offsetof(struct schema, logit), "logit of the target"},
	{"pixel_share", FIELD_F64, offsetof(struct schema, pixel_share),
		"share of that logit that the pixels carry in the frozen network; the rest comes from prefix "
		"tokens, "
		"positions and biases, and may be of the other sign (methods.md section 2)"},
	{"error", FIELD_TEXT, offsetof(struct schema, error), "why the image failed; empty otherwise"},
	{"status", FIELD_U8, offsetof(struct schema, status), "0 pending, 1 done, 2 failed; written last"},
	{"checksum", FIELD_U32, offsetof(struct schema, checksum),
		"CRC-32 of the row's bytes in the data sets that /images/checksum_fields names, in that "
		"order; 0 is written as 1"},
};

/* More of them, where data.boxes says where objects are. */
static const struct image_field region_fields[] = {
	{"region", FIELD_U8, offsetof(struct schema, region),
		"is there a region, the pixels of the annotated object of the image's label: 0 none is "
		"annotated, 1 yes, 2 it lies outside the crop"},
	{"region_share", FIELD_F64, offsetof(struct schema, region_share),
		"share of the preprocessed image's pixels that belong to the region; NaN without one"},
	{"boxes", FIELD_I32, offsetof(struct schema, boxes),
		"the region's boxes in the preprocessed image, clipped to it, x2 and y2 one behind the last "
		"pixel; the largest first, no more than 16 (the region has all); of a mask the box around "
		"it; -1 where there is none"},
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const char only_regions[] = " (only with `data.boxes`)";
static const char pixels_axis[] = "fraction of the pixels changed";
static const char scored_help[] = "1 where the curve was scored, 0 where it is interpolated";

static int add_field(struct schema *s, char *path, const char *help, enum field_type type, size_t text_size)
{
	if (s->count % 32 == 0)
		s->fields = x_realloc(s->fields, (size_t)(s->count + 32) * sizeof(*s->fields));
	s->fields[s->count] =
		(struct field){.path = path, .help = x_strdup(help), .type = type, .text_size = text_size};
	return s->count++;
}

static void add_dim(struct schema *s, int field, size_t size, const char *axis)
{
	struct field *f = &s->fields[field];

	f->dims[f->ndim] = size;
	f->axes[f->ndim++] = x_strdup(axis);
}

static double *add_axis(struct schema *s, const char *path, const char *help, size_t size)
{
	s->axes = x_realloc(s->axes, (size_t)(s->axes_count + 1) * sizeof(*s->axes));
	struct axis *a = &s->axes[s->axes_count++];
	*a = (struct axis){x_strdup(path), x_strdup(help), size, x_calloc(size, sizeof(double))};
	return a->value;
}

static void add_row(struct schema_table *t, const char *name, int field, int minus, bool by_class)
{
	t->rows = x_realloc(t->rows, (size_t)(t->count + 1) * sizeof(*t->rows));
	t->rows[t->count++] = (struct table_row){x_strdup(name), field, minus, by_class};
}

/* A figure per image, which the summary summarises too. */
static int add_figure(struct schema *s, char *path, const char *help)
{
	int f = add_field(s, path, help, FIELD_F64, 0);

	add_row(&s->summary, path + strlen("/methods/"), f, -1, false);
	return f;
}

static int add_plane(
	struct schema *s, char *path, const char *help, int storage, const struct vit_config *vit)
{
	if (storage == STORE_NONE) {
		free(path);
		return -1;
	}
	int f = add_field(s, path, help, storage == STORE_FLOAT16 ? FIELD_F16 : FIELD_F32, 0);
	add_dim(s, f, (size_t)vit->image_h, "/y");
	add_dim(s, f, (size_t)vit->image_w, "/x");
	return f;
}

static void add_metric(struct schema *s, struct metric_fields *mf, const char *method,
	const struct config_metric *m, const struct vit_config *vit)
{
	int points = m->ops->points ? m->ops->points(m->params, vit->image_h, vit->image_w) : 0;

	mf->curve = mf->scored = -1;
	if (points) {
		char *axis = x_asprintf("/methods/%s/%s/fraction", method, m->name);
		double *value = add_axis(s, axis, m->ops->axis ? m->ops->axis : pixels_axis, (size_t)points);

		m->ops->fractions(m->params, value, vit->image_h, vit->image_w);
		mf->curve = add_field(
			s, x_asprintf("/methods/%s/%s/curve", method, m->name), m->ops->help, FIELD_F32, 0);
		add_dim(s, mf->curve, (size_t)points, axis);
		if (metric_adaptive(m->ops, m->params)) {
			mf->scored = add_field(s, x_asprintf("/methods/%s/%s/scored", method, m->name),
				scored_help, FIELD_U8, 0);
			add_dim(s, mf->scored, (size_t)points, axis);
		}
		free(axis);
	}
	mf->figures = s->count;
	for (int i = 0; i < metric_figure_count(m->ops); i++)
		if (metric_figure_stored(m->ops, m->params, i)) {
			const struct metric_figure *figure = &m->ops->figures[i];
			char *path = x_asprintf("/methods/%s/%s/%s", method, m->name, figure->name);
			int f = add_figure(s, path, figure->help);

			if (figure->kind == FIGURE_CLASS_MEAN) {
				char *name = x_asprintf("%s_class_mean", path + strlen("/methods/"));

				add_row(&s->summary, name, f, -1, true);
				free(name);
			}
		}
}

static void add_method(struct schema *s, struct method_fields *mf, const struct config *c,
	const struct config_method *m, const struct vit_config *vit)
{
	mf->map = add_plane(s, x_asprintf("/methods/%s/map", m->name),
		"attribution in units of scale: largest magnitude 1", c->store.maps, vit);
	mf->raw = add_plane(s, x_asprintf("/methods/%s/raw", m->name),
		"raw signed attribution, before post-processing", c->store.raw ? STORE_FLOAT32 : STORE_NONE,
		vit);
	mf->scale = add_field(s, x_asprintf("/methods/%s/scale", m->name),
		"what the map was divided by; map * scale is the map as computed", FIELD_F64, 0);
	mf->figures = s->count;
	for (int i = 0; i < method_figure_count(m->ops); i++)
		add_figure(s, x_asprintf("/methods/%s/%s", m->name, m->ops->figures[i].name),
			m->ops->figures[i].help);
	for (int k = 0; k < c->metrics_count; k++)
		add_metric(s, &mf->metrics[k], m->name, &c->metrics[k], vit);
}

/* Every figure of a metric, the first method's less another's. */
static void add_pairs(struct schema *s, const struct config *c)
{
	for (int m = 1; m < c->methods_count; m++)
		for (int k = 0; k < c->metrics_count; k++) {
			const struct config_metric *metric = &c->metrics[k];
			int first = s->methods[0].metrics[k].figures,
			    other = s->methods[m].metrics[k].figures;

			for (int i = 0; i < metric_figure_count(metric->ops); i++) {
				if (!metric_figure_stored(metric->ops, metric->params, i))
					continue;
				char *name = x_asprintf("%s - %s/%s/%s", c->methods[0].name,
					c->methods[m].name, metric->name, metric->ops->figures[i].name);

				add_row(&s->paired, name, first++, other++, false);
				free(name);
			}
		}
}

static void add_numbered_axis(struct schema *s, const char *path, const char *help, int size)
{
	double *value = add_axis(s, path, help, (size_t)size);

	for (int i = 0; i < size; i++)
		value[i] = i;
}

static void add_image_fields(
	struct schema *s, const struct image_field *list, size_t count, size_t longest_path)
{
	for (size_t i = 0; i < count; i++) {
		size_t text = list[i].type != FIELD_TEXT      ? 0
			      : !strcmp(list[i].name, "path") ? longest_path + 1
							      : ERROR_TEXT;

		*(int *)((char *)s + list[i].index) = add_field(
			s, x_asprintf("/images/%s", list[i].name), list[i].help, list[i].type, text);
	}
}

static void add_region_fields(struct schema *s)
{
	add_image_fields(s, region_fields, COUNT(region_fields), 0);
	add_numbered_axis(s, "/box", "box of a region, by size", REGION_BOXES);
	add_numbered_axis(s, "/edge", "edge of a box: 0 x1, 1 y1, 2 x2, 3 y2", 4);
	add_dim(s, s->boxes, REGION_BOXES, "/box");
	add_dim(s, s->boxes, 4, "/edge");
	add_row(&s->summary, "region_share", s->region_share, -1,
		false); /* its n is the number of images with a region */
}

void schema_init(
	struct schema *s, const struct config *c, const struct vit_config *vit, const struct dataset *d)
{
	*s = (struct schema){
		.images = d->count, .summary = {.group = "/summary"}, .paired = {.group = "/paired"}};
	add_numbered_axis(s, "/y", "row of the preprocessed image, from the top", vit->image_h);
	add_numbered_axis(s, "/x", "column of the preprocessed image, from the left", vit->image_w);
	add_image_fields(s, image_fields, COUNT(image_fields), d->longest);
	add_row(&s->summary, "correct", -1, -1, false);
	add_row(&s->summary, "probability", s->probability, -1, false);
	s->region = s->region_share = s->boxes = -1;
	if (*c->data.boxes)
		add_region_fields(s);
	for (int i = 0; i < c->methods_count; i++)
		add_method(s, &s->methods[i], c, &c->methods[i], vit);
	add_pairs(s, c);
	for (int i = 0; i < s->count; i++) {
		struct field *f = &s->fields[i];

		f->bytes = f->type == FIELD_TEXT ? f->text_size : type_bytes[f->type];
		for (int k = 0; k < f->ndim; k++)
			f->bytes *= f->dims[k];
		f->offset = s->row_bytes;
		s->row_bytes += (f->bytes + 7) / 8 * 8;
	}
}

void schema_release(struct schema *s)
{
	for (int i = 0; i < s->count; i++) {
		free(s->fields[i].path);
		free(s->fields[i].help);
		for (int k = 0; k < s->fields[i].ndim; k++)
			free(s->fields[i].axes[k]);
	}
	for (int i = 0; i < s->axes_count; i++) {
		free(s->axes[i].path);
		free(s->axes[i].help);
		free(s->axes[i].value);
	}
	for (int i = 0; i < s->summary.count; i++)
		free(s->summary.rows[i].name);
	for (int i = 0; i < s->paired.count; i++)
		free(s->paired.rows[i].name);
	free(s->fields);
	free(s->axes);
	free(s->summary.rows);
	free(s->paired.rows);
	*s = (struct schema){0};
}

/* ---- rows ---- */

static void put_one(enum field_type type, unsigned char *at, double value)
{
	switch (type) {
	case FIELD_U8:
		*at = (unsigned char)value;
		return;
	case FIELD_U32: {
		uint32_t v = (uint32_t)value;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case FIELD_I32: {
		int32_t v = (int32_t)value;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case FIELD_F16: {
		uint16_t v = num_to_half((float)value);
		memcpy(at, &v, sizeof(v));
		return;
	}
	case FIELD_F32: {
		float v = (float)value;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case FIELD_F64:
		memcpy(at, &value, sizeof(value));
		return;
	case FIELD_TEXT:
		break;
	}
	BUG("number put into a field of text");
}

static size_t entries(const struct field *f)
{
	return f->bytes / type_bytes[f->type];
}

void schema_put(const struct schema *s, unsigned char *row, int field, const double *value, size_t count)
{
	const struct field *f = &s->fields[field];

	if (count != entries(f))
		BUG("%s holds %zu values, not %zu", f->path, entries(f), count);
	for (size_t i = 0; i < count; i++)
		put_one(f->type, row + f->offset + i * type_bytes[f->type], value[i]);
}

void schema_put_floats(
	const struct schema *s, unsigned char *row, int field, const float *value, size_t count)
{
	const struct field *f = &s->fields[field];

	if (count != entries(f))
		BUG("%s holds %zu values, not %zu", f->path, entries(f), count);
	for (size_t i = 0; i < count; i++)
		put_one(f->type, row + f->offset + i * type_bytes[f->type], value[i]);
}

void schema_put_number(const struct schema *s, unsigned char *row, int field, double value)
{
	schema_put(s, row, field, &value, 1);
}

void schema_put_text(const struct schema *s, unsigned char *row, int field, const char *text)
{
	const struct field *f = &s->fields[field];

	size_t n = strnlen(text, f->bytes - 1);

	while (n && text[n] && ((unsigned char)text[n] & 0xc0) == 0x80) /* not within a character of UTF-8 */
		n--;
	memset(row + f->offset, 0, f->bytes);
	memcpy(row + f->offset, text, n);
}

void schema_clear_row(const struct schema *s, unsigned char *row)
{
	memset(row, 0, s->row_bytes);
	for (int i = 0; i < s->count; i++) {
		const struct field *f = &s->fields[i];
		int real = f->type == FIELD_F16 || f->type == FIELD_F32 || f->type == FIELD_F64;

		for (size_t k = 0; (real || f->type == FIELD_I32) && k < entries(f); k++)
			put_one(f->type, row + f->offset + k * type_bytes[f->type], real ? NAN : -1);
	}
}

int schema_in_checksum(const struct schema *s, int field)
{
	return field != s->path && field != s->label && field != s->status && field != s->checksum;
}

uint32_t schema_checksum(const struct schema *s, const unsigned char *row)
{
	uint32_t crc = 0;

	for (int i = 0; i < s->count; i++)
		if (schema_in_checksum(s, i))
			crc = digest_crc32(crc, row + s->fields[i].offset, s->fields[i].bytes);
	return crc ? crc : 1;
}

double schema_file_bytes(const struct schema *s)
{
	double bytes = 0;

	for (int i = 0; i < s->count; i++)
		bytes += (double)s->fields[i].bytes * s->images;
	return bytes + 2048.0 * s->count;
}

void schema_reference(FILE *out)
{
	static const char *const names[] = {
		"uint8", "uint32", "int32", "float16", "float32", "float64", "text"};
	static const char only_adaptive[] = " (only with `points: adaptive`)";

	fputs("| data set | type | axes | meaning |\n| --- | --- | --- | --- |\n", out);
	for (size_t i = 0; i < COUNT(image_fields); i++)
		fprintf(out, "| `/images/%s` | %s | image | %s |\n", image_fields[i].name,
			names[image_fields[i].type], image_fields[i].help);
	for (size_t i = 0; i < COUNT(region_fields); i++)
		fprintf(out, "| `/images/%s` | %s | image%s | %s%s |\n", region_fields[i].name,
			names[region_fields[i].type], region_fields[i].type == FIELD_I32 ? ", box, edge" : "",
			region_fields[i].help, only_regions);
	fputs("| `/methods/<method>/map` | float16 or float32 | image, y, x | attribution in units of scale: "
	      "largest magnitude 1 |\n"
	      "| `/methods/<method>/raw` | float32 | image, y, x | raw signed attribution, before "
	      "post-processing (only with `store.raw: true`) |\n"
	      "| `/methods/<method>/scale` | float64 | image | what the map was divided by; map * scale is "
	      "the map as computed |\n",
		out);
	for (int m = 0; method_registry[m]; m++)
		for (int i = 0; i < method_figure_count(method_registry[m]); i++)
			fprintf(out, "| `/methods/%s/%s` | float64 | image | %s |\n",
				method_registry[m]->name, method_registry[m]->figures[i].name,
				method_registry[m]->figures[i].help);
	for (int m = 0; metric_registry[m]; m++) {
		const struct metric_ops *ops = metric_registry[m];

		if (ops->points)
			fprintf(out,
				"| `/methods/<method>/%s/curve` | float32 | image, fraction | %s |\n"
				"| `/methods/<method>/%s/fraction` | float64 | fraction | %s: the scale of "
				"that "
				"axis |\n",
				ops->name, ops->help, ops->name, ops->axis ? ops->axis : pixels_axis);
		if (ops->points && ops->adaptive)
			fprintf(out, "| `/methods/<method>/%s/scored` | uint8 | image, fraction | %s%s |\n",
				ops->name, scored_help, only_adaptive);
		for (int i = 0; i < metric_figure_count(ops); i++)
			fprintf(out, "| `/methods/<method>/%s/%s` | float64 | image | %s%s |\n", ops->name,
				ops->figures[i].name, ops->figures[i].help,
				ops->figures[i].kind == FIGURE_ADAPTIVE ? only_adaptive : "");
	}
	fputs("| `/images/checksum_fields` | text | | data sets that the checksum of a row is taken over, in "
	      "order |\n"
	      "| `/summary/name` | text | row | `correct`, `probability`, with `data.boxes` `region_share`, "
	      "and `<method>/<metric>/<figure>`, with `_class_mean` the mean of the means of classes: the "
	      "scale of the rows |\n"
	      "| `/summary/n`, `mean`, `std`, `ci_low`, `ci_high` | float64 | row | number of finite values, "
	      "mean, sample standard deviation, bootstrap 95 % interval of the mean (percentile, 10,000 "
	      "resamples) |\n"
	      "| `/paired/name` | text | row | `<first> - <other>/<metric>/<figure>`: the first method of "
	      "the "
	      "configuration compared with each other one, image by image; only where there are several |\n"
	      "| `/paired/n`, `mean`, `std`, `ci_low`, `ci_high` | float64 | row | the same of the "
	      "differences |\n"
	      "| `/paired/wins` | float64 | row | share of the images in which the first has the larger "
	      "figure, "
	      "ties half |\n"
	      "| `/summary/status_count` | int32 | status | images pending, done, failed |\n"
	      "| `/image`, `/y`, `/x` | | | dimension scales: image id, pixel row, pixel column |\n"
	      "| `/box`, `/edge` | float64 | | dimension scales of `/images/boxes`: number; 0 x1, 1 y1, 2 "
	      "x2, 3 y2 "
	      "(only with `data.boxes`) |\n",
		out);
}

/* pipeline/schema: the table of fields, rows, and their checksum. */
#include "pipeline/schema.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "scratch.h"
#include "support.h"

enum { H = 6, W = 4 };

/* Two methods and two metrics over 5 images of 6 x 4 pixels. */
struct fixture {
	struct config config;
	struct schema schema;
	unsigned char *row;
};

static const struct vit_config vit = {.image_h = H, .image_w = W};
static const struct dataset images = {.count = 5, .longest = 11};

static const char *boxes = ""; /* of the next fixture's data */

static void begin_with(struct fixture *f, const char *store, const char *of_deletion)
{
	char *text = x_asprintf(
		"run: {output: o}\nmodel: {path: m}\ndata: {path: d%s}\nmethods: [dave, random]\n"
		"metrics: [deletion: {steps: 7%s}, insertion: {name: ins, steps: 24, fraction: 0.5}]\n"
		"store: {%s}\n",
		boxes, of_deletion, store);
	struct err err = {""};

	CU_ASSERT_EQUAL_FATAL(config_parse(&f->config, text, strlen(text), "c.yaml", NULL, 0, &err), 0);
	schema_init(&f->schema, &f->config, &vit, &images);
	f->row = x_malloc(f->schema.row_bytes);
	memset(f->row, 0x55, f->schema.row_bytes);
	free(text);
}

static void begin(struct fixture *f, const char *store)
{
	begin_with(f, store, "");
}

static void end(struct fixture *f)
{
	free(f->row);
	schema_release(&f->schema);
	CU_ASSERT(!f->schema.fields && !f->schema.count);
	config_release(&f->config);
}

static const struct field *field(const struct schema *s, const char *path, enum field_type type, size_t bytes)
{
	for (int i = 0; i < s->count; i++)
		if (!strcmp(s->fields[i].path, path)) {
			CU_ASSERT(s->fields[i].type == type && s->fields[i].bytes == bytes &&
				  *s->fields[i].help);
			return &s->fields[i];
		}
	CU_FAIL_FATAL("no such field");
	return NULL;
}

static void test_fields(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;

	begin(&f, "maps: float16, raw: true");
	CU_ASSERT_EQUAL(s->images, 5);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/path", FIELD_TEXT, 12), &s->fields[s->path]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/label", FIELD_I32, 4), &s->fields[s->label]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/target", FIELD_I32, 4), &s->fields[s->target]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/prediction", FIELD_I32, 4), &s->fields[s->prediction]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/probability", FIELD_F64, 8), &s->fields[s->probability]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/confidence", FIELD_F64, 8), &s->fields[s->confidence]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/logit", FIELD_F32, 4), &s->fields[s->logit]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/pixel_share", FIELD_F64, 8), &s->fields[s->pixel_share]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/error", FIELD_TEXT, ERROR_TEXT), &s->fields[s->error]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/status", FIELD_U8, 1), &s->fields[s->status]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/checksum", FIELD_U32, 4), &s->fields[s->checksum]);
	const struct field *map = field(s, "/methods/dave/map", FIELD_F16, H * W * 2);
	CU_ASSERT_PTR_EQUAL(map, &s->fields[s->methods[0].map]);
	CU_ASSERT(map->ndim == 2 && map->dims[0] == H && map->dims[1] == W);
	CU_ASSERT(!strcmp(map->axes[0], "/y") && !strcmp(map->axes[1], "/x"));
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/raw", FIELD_F32, H * W * 4), &s->fields[s->methods[1].raw]);
	CU_ASSERT_PTR_EQUAL(field(s, "/methods/dave/scale", FIELD_F64, 8), &s->fields[s->methods[0].scale]);
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/dave/mc_error", FIELD_F64, 8), &s->fields[s->methods[0].figures]);
	/* 24 pixels in strides of 3: 9 points; half of 24 one by one: 13 */
	const struct metric_fields *m = s->methods[1].metrics;
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/deletion/curve", FIELD_F32, 9 * 4), &s->fields[m[0].curve]);
	CU_ASSERT_PTR_EQUAL(field(s, "/methods/random/ins/curve", FIELD_F32, 13 * 4), &s->fields[m[1].curve]);
	CU_ASSERT_STRING_EQUAL(s->fields[m[1].curve].axes[0], "/methods/random/ins/fraction");
	CU_ASSERT_PTR_EQUAL(field(s, "/methods/random/ins/auc", FIELD_F64, 8), &s->fields[m[1].figures]);
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/ins/auc_published", FIELD_F64, 8), &s->fields[m[1].figures + 1]);
	CU_ASSERT_EQUAL(s->count, 11 + 4 + 3 + 2 * 2 * 3);
	end(&f);
}

/* What an adaptive metric stores beside its curve; the other one does not. */
static void test_adaptive_fields(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;

	begin_with(&f, "maps: none", ", points: adaptive");
	const struct metric_fields *m = s->methods[1].metrics;
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/deletion/scored", FIELD_U8, 9), &s->fields[m[0].scored]);
	CU_ASSERT_STRING_EQUAL(s->fields[m[0].scored].axes[0], "/methods/random/deletion/fraction");
	CU_ASSERT_PTR_EQUAL(field(s, "/methods/random/deletion/auc", FIELD_F64, 8), &s->fields[m[0].figures]);
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/deletion/auc_error", FIELD_F64, 8), &s->fields[m[0].figures + 2]);
	CU_ASSERT_PTR_EQUAL(field(s, "/methods/random/deletion/points_scored", FIELD_F64, 8),
		&s->fields[m[0].figures + 3]);
	CU_ASSERT_EQUAL(m[1].scored, -1);
	CU_ASSERT_PTR_EQUAL(
		field(s, "/methods/random/ins/auc_published", FIELD_F64, 8), &s->fields[m[1].figures + 1]);
	CU_ASSERT_EQUAL(s->count, 11 + 2 + 1 + 2 * (6 + 3));
	CU_ASSERT_EQUAL(s->summary.count, 2 + 1 + 2 * (4 + 2));
	CU_ASSERT(schema_in_checksum(s, m[0].scored));
	end(&f);
}

/* With data.boxes: three fields more, their axes, and a row of the summary. */
static void test_region_fields(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;
	int32_t edge;

	begin(&f, "maps: none");
	CU_ASSERT(s->region == -1 && s->region_share == -1 && s->boxes == -1);
	end(&f);
	boxes = ", boxes: b.csv";
	begin(&f, "maps: none");
	boxes = "";
	CU_ASSERT_PTR_EQUAL(field(s, "/images/region", FIELD_U8, 1), &s->fields[s->region]);
	CU_ASSERT_PTR_EQUAL(field(s, "/images/region_share", FIELD_F64, 8), &s->fields[s->region_share]);
	const struct field *b = field(s, "/images/boxes", FIELD_I32, 16 * 4 * 4);
	CU_ASSERT_PTR_EQUAL(b, &s->fields[s->boxes]);
	CU_ASSERT(b->ndim == 2 && b->dims[0] == 16 && b->dims[1] == 4);
	CU_ASSERT(!strcmp(b->axes[0], "/box") && !strcmp(b->axes[1], "/edge"));
	CU_ASSERT(!strcmp(s->axes[2].path, "/box") && s->axes[2].size == 16 && s->axes[2].value[15] == 15);
	CU_ASSERT(!strcmp(s->axes[3].path, "/edge") && s->axes[3].size == 4);
	CU_ASSERT_EQUAL(s->count, 11 + 3 + 2 + 1 + 2 * 2 * 3);
	CU_ASSERT_STRING_EQUAL(s->summary.rows[2].name, "region_share");
	CU_ASSERT_EQUAL(s->summary.rows[2].field, s->region_share);
	CU_ASSERT(schema_in_checksum(s, s->region) && schema_in_checksum(s, s->region_share) &&
		  schema_in_checksum(s, s->boxes));
	schema_clear_row(s, f.row);
	memcpy(&edge, f.row + b->offset + 63 * 4, 4);
	CU_ASSERT(edge == -1 && !f.row[s->fields[s->region].offset]);
	end(&f);
}

static void test_axes(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;

	begin(&f, "maps: none");
	CU_ASSERT(s->methods[0].map == -1 && s->methods[1].raw == -1);
	CU_ASSERT_FATAL(s->axes_count == 2 + 4);
	CU_ASSERT(!strcmp(s->axes[0].path, "/y") && s->axes[0].size == H && s->axes[0].value[H - 1] == H - 1);
	CU_ASSERT(!strcmp(s->axes[1].path, "/x") && s->axes[1].size == W && s->axes[1].value[1] == 1);
	CU_ASSERT_STRING_EQUAL(s->axes[5].path, "/methods/random/ins/fraction");
	CU_ASSERT_EQUAL_FATAL(s->axes[5].size, 13);
	for (int i = 0; i < 13; i++)
		CU_ASSERT_DOUBLE_EQUAL(s->axes[5].value[i], i / 24.0, 1e-15);
	CU_ASSERT_EQUAL(s->axes[2].value[8], 1);
	end(&f);
}

static void test_summary_rows(void)
{
	static const char *const want[] = {"correct", "probability", "dave/mc_error", "dave/deletion/auc",
		"dave/deletion/auc_published", "dave/ins/auc", "dave/ins/auc_published",
		"random/deletion/auc", "random/deletion/auc_published", "random/ins/auc",
		"random/ins/auc_published"};
	struct fixture f;
	const struct schema *s = &f.schema;

	begin(&f, "maps: float32");
	CU_ASSERT_EQUAL_FATAL(s->summary.count, 11);
	for (int i = 0; i < 11; i++)
		CU_ASSERT_STRING_EQUAL(s->summary.rows[i].name, want[i]);
	CU_ASSERT(s->summary.rows[0].field == -1 && s->summary.rows[1].field == s->probability);
	CU_ASSERT_STRING_EQUAL(s->fields[s->summary.rows[9].field].path, "/methods/random/ins/auc");
	field(s, "/methods/dave/map", FIELD_F32, H * W * 4);
	end(&f);
}

static void test_offsets(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;
	double bytes = 0;

	begin(&f, "maps: float16, raw: true");
	unsigned char *owner = x_calloc(s->row_bytes, 1);
	for (int i = 0; i < s->count; i++) {
		const struct field *e = &s->fields[i];

		CU_ASSERT(e->offset % 8 == 0 && e->bytes > 0 && e->offset + e->bytes <= s->row_bytes);
		for (size_t k = 0; k < e->bytes; k++)
			owner[e->offset + k]++;
		bytes += (double)e->bytes * 5;
		for (int j = 0; j < i; j++)
			CU_ASSERT(strcmp(e->path, s->fields[j].path) != 0);
	}
	for (size_t k = 0; k < s->row_bytes; k++)
		CU_ASSERT(owner[k] <= 1);
	CU_ASSERT(schema_file_bytes(s) >= bytes && schema_file_bytes(s) < bytes + 4096.0 * s->count);
	free(owner);
	end(&f);
}

/* ---- rows ---- */

static void get(void *out, const struct fixture *f, int index, size_t size)
{
	memcpy(out, f->row + f->schema.fields[index].offset, size);
}

static void test_clear(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;
	int32_t whole;
	double real;
	float single[13];
	uint16_t half[H * W];

	begin(&f, "maps: float16");
	schema_clear_row(s, f.row);
	const int minus[] = {s->label, s->target, s->prediction};
	for (int i = 0; i < 3; i++) {
		get(&whole, &f, minus[i], 4);
		CU_ASSERT_EQUAL(whole, -1);
	}
	get(&real, &f, s->methods[1].metrics[1].figures, 8);
	CU_ASSERT(isnan(real));
	get(single, &f, s->methods[1].metrics[1].curve, sizeof(single));
	get(half, &f, s->methods[0].map, sizeof(half));
	for (int i = 0; i < 13; i++)
		CU_ASSERT(isnan(single[i]) && isnan(num_from_half(half[i])));
	CU_ASSERT(!f.row[s->fields[s->status].offset] && !f.row[s->fields[s->error].offset]);
	for (int i = 0; i < 4; i++)
		CU_ASSERT(!f.row[s->fields[s->checksum].offset + (size_t)i]);
	end(&f);
}

static void test_put(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;
	double values[H * W];
	float floats[H * W], single;
	uint16_t half[H * W];
	uint32_t u;
	int32_t i32;

	begin(&f, "maps: float16, raw: true");
	for (int i = 0; i < H * W; i++)
		floats[i] = (float)(values[i] = (i - 12) / 12.0);
	schema_put(s, f.row, s->methods[0].map, values, H * W);
	schema_put_floats(s, f.row, s->methods[1].raw, floats, H * W);
	get(half, &f, s->methods[0].map, sizeof(half));
	for (int i = 0; i < H * W; i++)
		CU_ASSERT(half[i] == num_to_half((float)values[i]) &&
			  fabs(num_from_half(half[i]) - values[i]) < 3e-4);
	CU_ASSERT(!memcmp(f.row + s->fields[s->methods[1].raw].offset, floats, sizeof(floats)));
	schema_put(s, f.row, s->checksum, (double[]){4294967295.0}, 1);
	schema_put(s, f.row, s->label, (double[]){-7}, 1);
	schema_put(s, f.row, s->status, (double[]){2}, 1);
	schema_put(s, f.row, s->logit, (double[]){0.1}, 1);
	get(&u, &f, s->checksum, 4);
	get(&i32, &f, s->label, 4);
	get(&single, &f, s->logit, 4);
	CU_ASSERT(u == UINT32_MAX && i32 == -7 && single == 0.1f && f.row[s->fields[s->status].offset] == 2);
	end(&f);
}

static void test_put_text(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;
	char big[600];

	begin(&f, "maps: none");
	const struct field *e = &s->fields[s->error];
	const char *text = (const char *)f.row + e->offset;
	memset(big, 'x', sizeof(big));
	big[599] = 0;
	unsigned char after = text[ERROR_TEXT];
	schema_put_text(s, f.row, s->error, big);
	CU_ASSERT(strlen(text) == ERROR_TEXT - 1 && (unsigned char)text[ERROR_TEXT] == after);
	schema_put_text(s, f.row, s->error, "ab");
	CU_ASSERT(!strcmp(text, "ab") && !text[3] && !text[ERROR_TEXT - 1]);
	/* cut between characters, so that the text stays UTF-8 */
	for (int i = 0; i < 300; i++)
		memcpy(big + 2 * (i < 299 ? i : 0), "\xc3\xa9", 2);
	big[598] = 0;
	schema_put_text(s, f.row, s->error, big);
	CU_ASSERT_EQUAL(strlen(text), ERROR_TEXT - 2);
	schema_put_text(s, f.row, s->path, "eleven char");
	CU_ASSERT_STRING_EQUAL((const char *)f.row + s->fields[s->path].offset, "eleven char");
	end(&f);
}

/* Flipping any byte changes the sum where the field counts, and does not where it is left out or padding. */
static void test_checksum(void)
{
	struct fixture f;
	const struct schema *s = &f.schema;

	begin(&f, "maps: float16, raw: true");
	schema_clear_row(s, f.row);
	uint32_t sum = schema_checksum(s, f.row);
	unsigned char *counts = x_calloc(s->row_bytes, 1);
	CU_ASSERT(sum != 0 && sum == schema_checksum(s, f.row));
	for (int i = 0; i < s->count; i++)
		if (i != s->path && i != s->label && i != s->status && i != s->checksum)
			memset(counts + s->fields[i].offset, 1, s->fields[i].bytes);
	int wrong = 0;
	for (size_t k = 0; k < s->row_bytes; k++)
		for (int bit = 0; bit < 8; bit++) {
			f.row[k] ^= (unsigned char)(1 << bit);
			wrong += (schema_checksum(s, f.row) != sum) != counts[k];
			f.row[k] ^= (unsigned char)(1 << bit);
		}
	CU_ASSERT_EQUAL(wrong, 0);
	free(counts);
	end(&f);
}

static void put_too_few(void *fixture)
{
	struct fixture *f = fixture;

	schema_put(&f->schema, f->row, f->schema.methods[0].map, (double[]){1}, 1);
}

static void put_number_into_text(void *fixture)
{
	struct fixture *f = fixture;

	schema_put(&f->schema, f->row, f->schema.path, (double[12]){0}, 12);
}

static void test_misuse(void)
{
	struct fixture f;

	begin(&f, "maps: float16");
	CU_ASSERT(aborts(put_too_few, &f));
	CU_ASSERT(aborts(put_number_into_text, &f));
	end(&f);
}

int register_schema_tests(void)
{
	static const struct named_test tests[] = {
		{"fields", test_fields},
		{"fields of an adaptive metric", test_adaptive_fields},
		{"fields of regions", test_region_fields},
		{"axes", test_axes},
		{"rows of the summary", test_summary_rows},
		{"offsets", test_offsets},
		{"clear", test_clear},
		{"put", test_put},
		{"put text", test_put_text},
		{"checksum", test_checksum},
		{"misuse", test_misuse},
		{NULL, NULL},
	};

	return add_suite("schema", tests);
}

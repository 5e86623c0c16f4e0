#include "formats/annotations.h"

#include "base/num.h"
#include "formats/file.h"

#include <expat.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- boxes ---- */

/* The first pixel whose centre is not before that place. */
static bool parse_edge(int *out, const char *text)
{
	double v;

	if (!num_parse_double(&v, text) || fabs(v) > ANNOTATION_LARGEST)
		return false;
	*out = (int)ceil(v - 0.5);
	return true;
}

/* Coordinates in the order x1 y1 x2 y2. The error does not say where. */
static int parse_box(struct annotation_box *b, const char *const text[4], struct err *err)
{
	static const char *const names[] = {"x1", "y1", "x2", "y2"};
	int *const edges[] = {&b->x1, &b->y1, &b->x2, &b->y2};

	for (int i = 0; i < 4; i++)
		if (!parse_edge(edges[i], text[i]))
			return err_set(err,
				"%s: expected a number of pixels, between -%d and %d, got \"%.40s\"",
				names[i], ANNOTATION_LARGEST, ANNOTATION_LARGEST, text[i]);
	if (b->x2 < b->x1 || b->y2 < b->y1)
		return err_set(err, "a reversed box %.20s %.20s %.20s %.20s: expected x1 y1 x2 y2", text[0],
			text[1], text[2], text[3]);
	return 0;
}

static void add_box(struct annotation_box **box, int *count, const struct annotation_box *b)
{
	if ((*count & (*count - 1)) == 0) /* a power of two, or none: grow */
		*box = x_realloc(*box, (*count ? 2 * (size_t)*count : 1) * sizeof(**box));
	(*box)[(*count)++] = *b;
}

/* Cuts blanks off both ends. */
static char *trim(char *text)
{
	text += strspn(text, " \t\r\n");
	for (size_t n = strlen(text); n && strchr(" \t\r\n", text[n - 1]);)
		text[--n] = 0;
	return text;
}

/* ---- XML ---- */

/* What is read, by its place in the document. */
enum place { WIDTH, HEIGHT, NAME, XMIN, YMIN, XMAX, YMAX, PLACES };
static const char *const places[PLACES] = {"/annotation/size/width", "/annotation/size/height",
	"/annotation/object/name", "/annotation/object/bndbox/xmin", "/annotation/object/bndbox/ymin",
	"/annotation/object/bndbox/xmax", "/annotation/object/bndbox/ymax"};

struct xml_job {
	XML_Parser parser;
	struct annotation *out;
	char at[256];                 /* place of the element that is open: its name behind those above it */
	char text[PLACES][256];       /* of the places, of this object */
	bool there[PLACES], too_long; /* which of them this object has; is the open one longer than that? */
	const char *path;
	struct err *err;
};

/* The first error counts: expat may call again before it stops. */
static bool xml_stopped(const struct xml_job *j)
{
	return *j->err->msg != 0;
}

/* Ends parsing with the message that err holds, behind the line. */
static void xml_stop(struct xml_job *j)
{
	err_prefix(j->err, "%s:%lu", j->path, (unsigned long)XML_GetCurrentLineNumber(j->parser));
	XML_StopParser(j->parser, XML_FALSE);
}

static int place_of(const struct xml_job *j)
{
	for (int i = 0; i < PLACES; i++)
		if (!strcmp(j->at, places[i]))
			return i;
	return -1;
}

static void XMLCALL on_start(void *ctx, const char *name, const char **attributes)
{
	struct xml_job *j = ctx;
	size_t n = strlen(j->at);

	(void)attributes;
	if (xml_stopped(j))
		return;
	if (strlen(name) + 2 > sizeof(j->at) - n) {
		err_set(j->err, "elements are nested too deep, or their names too long, at <%.40s>", name);
		xml_stop(j);
		return;
	}
	j->at[n] = '/';
	strcpy(j->at + n + 1, name);
	if (!n && strcmp(name, "annotation") != 0) {
		err_set(j->err, "expected <annotation>, got <%.40s>", name);
		xml_stop(j);
	}
	if (!strcmp(j->at, "/annotation/object"))
		memset(j->there + NAME, 0, (PLACES - NAME) * sizeof(j->there[0]));
	int place = place_of(j);
	if (place >= 0 && j->there[place]) {
		err_set(j->err, "<%s> is there twice", name);
		xml_stop(j);
	} else if (place >= 0) {
		j->there[place] = true;
		j->text[place][0] = 0;
		j->too_long = false;
	}
}

static void XMLCALL on_text(void *ctx, const char *text, int size)
{
	struct xml_job *j = ctx;
	int place = place_of(j);

	if (place < 0)
		return;
	size_t n = strlen(j->text[place]);
	if ((size_t)size >= sizeof(j->text[0]) - n) {
		j->too_long = true;
		return;
	}
	memcpy(j->text[place] + n, text, (size_t)size);
	j->text[place][n + (size_t)size] = 0;
}

static int end_size(struct xml_job *j, int place)
{
	const char *text = trim(j->text[place]);
	long v;

	if (!num_parse_long(&v, text) || v < 0 || v > ANNOTATION_LARGEST)
		return err_set(j->err, "%s: expected a number of pixels, got \"%.40s\"",
			place == WIDTH ? "width" : "height", text);
	*(place == WIDTH ? &j->out->width : &j->out->height) = (int)v;
	return 0;
}

static int end_object(struct xml_job *j)
{
	const char *edge[4];
	struct annotation_box b;

	for (int i = NAME; i < PLACES; i++)
		if (!j->there[i] || !*trim(j->text[i]))
			return err_set(j->err, "an object without its %s",
				places[i] + strlen("/annotation/object/"));
	if (j->out->count == ANNOTATION_BOXES)
		return err_set(j->err, "more than %d objects", ANNOTATION_BOXES);
	for (int i = 0; i < 4; i++)
		edge[i] = trim(j->text[XMIN + i]);
	if (parse_box(&b, edge, j->err))
		return -1;
	b.name = x_strdup(trim(j->text[NAME]));
	add_box(&j->out->box, &j->out->count, &b);
	return 0;
}

static void XMLCALL on_end(void *ctx, const char *name)
{
	struct xml_job *j = ctx;
	int rc = 0, place = place_of(j);

	if (xml_stopped(j))
		return;
	if (place >= 0 && j->too_long)
		rc = err_set(j->err, "the text of <%s> is too long", name);
	else if (place == WIDTH || place == HEIGHT)
		rc = end_size(j, place);
	else if (!strcmp(j->at, "/annotation/object"))
		rc = end_object(j);
	if (rc)
		xml_stop(j);
	*strrchr(j->at, '/') = 0;
}

/* Entities are declared here and nowhere else. */
static void XMLCALL on_doctype(
	void *ctx, const char *name, const char *system, const char *public, int subset)
{
	struct xml_job *j = ctx;

	(void)name, (void)system, (void)public, (void)subset;
	if (xml_stopped(j))
		return;
	err_set(j->err, "a document type (<!DOCTYPE>) is refused: expected plain <annotation>");
	xml_stop(j);
}

int annotation_parse_xml(
	struct annotation *out, const char *text, size_t size, const char *path, struct err *err)
{
	struct xml_job j = {.parser = XML_ParserCreate(NULL), .out = out, .path = path, .err = err};

	*out = (struct annotation){0};
	err->msg[0] = 0;
	if (!j.parser)
		return err_set(err, "%s: too little memory for a parser of XML", path);
	if (size > ANNOTATION_XML_SIZE) {
		XML_ParserFree(j.parser);
		return err_set(err, "%s: more than %d bytes", path, ANNOTATION_XML_SIZE);
	}
	XML_SetUserData(j.parser, &j);
	XML_SetElementHandler(j.parser, on_start, on_end);
	XML_SetCharacterDataHandler(j.parser, on_text);
	XML_SetStartDoctypeDeclHandler(j.parser, on_doctype);
	if (XML_Parse(j.parser, text, (int)size, XML_TRUE) != XML_STATUS_OK && !*err->msg)
		err_set(err, "%s:%lu: not XML: %s", path, (unsigned long)XML_GetCurrentLineNumber(j.parser),
			XML_ErrorString(XML_GetErrorCode(j.parser)));
	XML_ParserFree(j.parser);
	if (!*err->msg)
		return 0;
	annotation_release(out);
	return -1;
}

int annotation_read_xml(struct annotation *out, const char *path, struct err *err)
{
	size_t size;
	unsigned char *text = file_read(path, ANNOTATION_XML_SIZE, "an XML file", &size, err);

	*out = (struct annotation){0};
	if (!text)
		return -1;
	int rc = annotation_parse_xml(out, (char *)text, size, path, err);
	free(text);
	return rc;
}

void annotation_release(struct annotation *a)
{
	for (int i = 0; i < a->count; i++)
		free((char *)a->box[i].name);
	free(a->box);
	*a = (struct annotation){0};
}

/* ---- CSV ---- */

/* Takes the next field off a line, unquoted in place; *at becomes NULL behind the last. NULL: bad quotes. */
static char *take_field(char **at)
{
	char *field = *at, *to = field, *from = field + 1;

	if (*field != '"') {
		char *comma = strchr(field, ',');

		*at = comma ? comma + 1 : NULL;
		if (comma)
			*comma = 0;
		return trim(field);
	}
	while (*from && (*from != '"' || from[1] == '"')) {
		from += *from == '"'; /* two stand for one */
		*to++ = *from++;
	}
	if (*from != '"' || (from[1] && from[1] != ','))
		return NULL;
	*at = from[1] ? from + 2 : NULL;
	*to = 0;
	return trim(field);
}

static char *take_word(char **at)
{
	char *word = *at + strspn(*at, " \t"), *end = word + strcspn(word, " \t");

	*at = *end ? end + 1 : end;
	*end = 0;
	return word;
}

/* `name x1 y1 x2 y2` over and over. */
static int parse_boxes(struct annotation_table *t, struct annotation_row *row, char *at, struct err *err)
{
	const char *edge[4];
	struct annotation_box b;

	row->first = t->box_count;
	for (b.name = take_word(&at); *b.name; b.name = take_word(&at)) {
		for (int i = 0; i < 4; i++)
			if (!*(edge[i] = take_word(&at)))
				return err_set(err,
					"expected `name x1 y1 x2 y2` for each box, the last has %d "
					"of 4 numbers",
					i);
		if (parse_box(&b, edge, err))
			return -1;
		if (row->count++ == ANNOTATION_BOXES)
			return err_set(err, "more than %d boxes", ANNOTATION_BOXES);
		add_box(&t->box, &t->box_count, &b);
	}
	return 0;
}

static int parse_line(struct annotation_table *t, char *line, int number, struct err *err)
{
	struct annotation_row row = {.line = number};
	char *id = take_field(&line), *boxes = id && line ? take_field(&line) : NULL;

	if (!id || !boxes || line)
		return err_set(err, "expected two fields, `id,name x1 y1 x2 y2 ...`%s",
			id && (boxes || !line) ? "" : ": a quote is not closed, or text follows it");
	row.id = id;
	if (!*id)
		return err_set(err, "the image id is empty");
	if (parse_boxes(t, &row, boxes, err))
		return -1;
	if ((t->count & (t->count - 1)) == 0)
		t->row = x_realloc(t->row, (t->count ? 2 * (size_t)t->count : 1) * sizeof(*t->row));
	t->row[t->count++] = row;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct annotation_row *x = a, *y = b;
	int order = strcmp(x->id, y->id);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int sort_rows(struct annotation_table *t, const char *path, struct err *err)
{
	if (t->count)
		qsort(t->row, (size_t)t->count, sizeof(*t->row), by_id);
	for (int i = 1; i < t->count; i++)
		if (!strcmp(t->row[i].id, t->row[i - 1].id))
			return err_set(err, "%s:%d: image \"%.80s\" is there twice, first in line %d", path,
				t->row[i].line, t->row[i].id, t->row[i - 1].line);
	return 0;
}

static bool is_header(char *line)
{
	static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, from spreadsheets */

	line += strncmp(line, mark, 3) ? 0 : 3;
	char *id = take_field(&line), *boxes = id && line ? take_field(&line) : NULL;
	return boxes && !line && !strcmp(id, "ImageId") && !strcmp(boxes, "PredictionString");
}

int annotation_parse_csv(
	struct annotation_table *t, const char *text, size_t size, const char *path, struct err *err)
{
	int rc = 0, number = 0;

	*t = (struct annotation_table){.text = x_malloc(size + 1)};
	memcpy(t->text, text, size);
	t->text[size] = 0;
	for (char *line = t->text, *end = t->text + size, *next; line < end && !rc; line = next) {
		char *stop = memchr(line, '\n', (size_t)(end - line));

		stop = stop ? stop : end;
		next = stop + 1;
		*stop = 0;
		number++;
		if (strlen(line) != (size_t)(stop - line))
			rc = err_set(err, "a zero byte in the text");
		else if (number > 1)
			rc = *(line = trim(line)) ? parse_line(t, line, number, err) : 0;
		else if (!is_header(trim(line)))
			rc = err_set(err, "expected the header `ImageId,PredictionString`");
	}
	if (rc)
		err_prefix(err, "%s:%d", path, number);
	else if (!number)
		rc = err_set(err, "%s:1: expected the header `ImageId,PredictionString`", path);
	else
		rc = sort_rows(t, path, err);
	if (rc)
		annotation_table_release(t);
	return rc;
}

char *annotation_read_csv(const char *path, size_t *size, struct err *err)
{
	return (char *)file_read(path, ANNOTATION_CSV_SIZE, "a CSV file", size, err);
}

void annotation_table_release(struct annotation_table *t)
{
	free(t->text);
	free(t->row);
	free(t->box);
	*t = (struct annotation_table){0};
}

static int id_and_row(const void *id, const void *row)
{
	return strcmp(id, ((const struct annotation_row *)row)->id);
}

const struct annotation_row *annotation_find(const struct annotation_table *t, const char *id)
{
	return t->count ? bsearch(id, t->row, (size_t)t->count, sizeof(*t->row), id_and_row) : NULL;
}

/* ---- masks ---- */

int annotation_read_mask(struct image *out, const char *path, struct err *err)
{
	static const char magic[] = "\x89PNG";
	size_t size;
	unsigned char *data = file_read(path, 0, "a PNG file", &size, err);
	int rc;

	*out = (struct image){0};
	if (!data)
		return -1;
	if (size < 4 || memcmp(data, magic, 4) != 0) /* a JPEG's edges would ring */
		rc = err_set(err, "%s: not a PNG file, as a mask has to be", path);
	else
		rc = image_decode(out, data, size, path, err);
	free(data);
	return rc;
}

/* formats/annotations: XML, CSV and masks, what they say and what is refused. */
#include "formats/annotations.h"

#include <CUnit/CUnit.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "support.h"

static bool is_box(const struct annotation_box *b, const char *name, int x1, int y1, int x2, int y2)
{
	return !strcmp(b->name, name) && b->x1 == x1 && b->y1 == y1 && b->x2 == x2 && b->y2 == y2;
}

/* ---- XML ---- */

#define BOX(x1, y1, x2, y2)                                                                                  \
	"<bndbox><xmin>" #x1 "</xmin><ymin>" #y1 "</ymin><xmax>" #x2 "</xmax><ymax>" #y2 "</ymax></bndbox>"
#define OBJECT(name, box) "<object><name>" name "</name>" box "</object>"

static int parse_xml(struct annotation *a, const char *text, struct err *err)
{
	return annotation_parse_xml(a, text, strlen(text), "a.xml", err);
}

/* As ImageNet writes it, and with what PASCAL VOC has besides. */
static void test_xml_good(void)
{
	static const char text[] =
		"<?xml "
		"version=\"1.0\"?>\n<annotation>\n\t<folder>val</folder>\n\t<source><name>no</name></"
		"source>\n"
		"\t<size>\n\t\t<width>500</width>\n\t\t<height> 375 "
		"</height>\n\t\t<depth>3</depth>\n\t</size>\n"
		"\t<object><name>n1</name><pose>x</pose>" BOX(1, 2, 30,
			40) "</object>\n"
			    "\t<object><part><name>head</name>" BOX(5, 5, 6, 6) "</part>" BOX(
				    -3, 0, 9999, 7) "<name>\n a &amp; b </name></object>\n"
						    "\t" OBJECT("n1", BOX(1.5, 1.4, 2.6, 2.5))
							    OBJECT("n2", BOX(4, 4, 4, 9)) "\n</annotation>\n";
	struct annotation a;
	struct err err = {""};

	CU_ASSERT_EQUAL_FATAL(parse_xml(&a, text, &err), 0);
	CU_ASSERT(a.width == 500 && a.height == 375);
	CU_ASSERT_EQUAL_FATAL(a.count, 4);
	CU_ASSERT(is_box(&a.box[0], "n1", 1, 2, 30, 40));
	CU_ASSERT(is_box(&a.box[1], "a & b", -3, 0, 9999, 7));
	CU_ASSERT(is_box(&a.box[2], "n1", 1, 1, 3, 2)); /* centres 1.5, 2.5; 1.5; no 2.5 */
	CU_ASSERT(is_box(&a.box[3], "n2", 4, 4, 4, 9));
	annotation_release(&a);
	CU_ASSERT_EQUAL(parse_xml(&a, "<annotation/>", &err), 0);
	CU_ASSERT(!a.count && !a.width && !a.box);
}

static void test_xml_bad(void)
{
	static const struct {
		const char *text, *line, *says;
	} cases[] = {
		{"", "a.xml:1:", "no element"},
		{"hello", "a.xml:1:", "not XML"},
		{"<annotation>\n<object>", "a.xml:2:", "not XML"},
		{"<annotation></object>", "a.xml:1:", "mismatched tag"},
		{"<svg/>", "a.xml:1:", "expected <annotation>, got <svg>"},
		{"<annotation>\n\n<object>" BOX(1, 1, 2, 2) "</object></annotation>",
			"a.xml:3:", "without its name"},
		{"<annotation>" OBJECT("  ", BOX(1, 1, 2, 2)) "</annotation>",
			"a.xml:1:", "without its name"},
		{"<annotation>\n" OBJECT("n", "") "</annotation>", "a.xml:2:", "without its bndbox/xmin"},
		{"<annotation>" OBJECT("n", "<bndbox><xmin>1</xmin></bndbox>") "</annotation>",
			"a.xml:1:", "without its bndbox/ymin"},
		{"<annotation>" OBJECT("n", BOX(1, 1, 2, 2) BOX(1, 1, 3, 3)) "</annotation>",
			"a.xml:1:", "<xmin> is there twice"},
		{"<annotation>" OBJECT("n</name><name>m", BOX(1, 1, 2, 2)) "</annotation>",
			"a.xml:1:", "<name> is there twice"},
		{"<annotation>" OBJECT("n", BOX(9, 1, 2, 2)) "</annotation>",
			"a.xml:1:", "reversed box 9 1 2 2"},
		{"<annotation>" OBJECT("n", BOX(1, 3, 2, 2)) "</annotation>", "a.xml:1:", "reversed box"},
		{"<annotation>" OBJECT("n", BOX(nan, 1, 2, 2)) "</annotation>",
			"a.xml:1:", "x1: expected a number"},
		{"<annotation>" OBJECT("n", BOX(1, inf, 2, 2)) "</annotation>",
			"a.xml:1:", "y1: expected a number"},
		{"<annotation>" OBJECT("n", BOX(1, 1, 1e300, 2)) "</annotation>",
			"a.xml:1:", "x2: expected a number"},
		{"<annotation>" OBJECT("n", BOX(1, 1, 2, 2 2)) "</annotation>",
			"a.xml:1:", "y2: expected a number"},
		{"<annotation>\n<size><width>-1</width></size></annotation>", "a.xml:2:", "width: expected"},
		{"<annotation><size><height>1.5</height></size></annotation>",
			"a.xml:1:", "height: expected"},
		{"<annotation><size><width>99999999999999999999</width></size></annotation>",
			"a.xml:1:", "width: expected"},
		{"<!DOCTYPE annotation [<!ENTITY a \"b\">]>\n<annotation>&a;</annotation>",
			"a.xml:1:", "a document type (<!DOCTYPE>) is refused"},
		{"<!DOCTYPE annotation SYSTEM \"file:///etc/passwd\">\n<annotation/>",
			"a.xml:1:", "a document type (<!DOCTYPE>) is refused"},
		{"<annotation>&a;</annotation>", "a.xml:1:", "undefined entity"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct annotation a;
		struct err err = {""};

		CU_ASSERT_EQUAL(parse_xml(&a, cases[i].text, &err), -1);
		CU_ASSERT(says(&err, cases[i].line, cases[i].says, NULL));
		CU_ASSERT(!a.box && !a.count && !a.width && !a.height);
	}
}

/* `count` times `piece` between two texts. */
static char *repeated(const char *before, const char *piece, int count, const char *after)
{
	size_t n = strlen(piece), head = strlen(before);
	char *text = x_malloc(head + n * (size_t)count + strlen(after) + 1);

	strcpy(text, before);
	for (int i = 0; i < count; i++)
		memcpy(text + head + n * (size_t)i, piece, n);
	strcpy(text + head + n * (size_t)count, after);
	return text;
}

static void test_xml_limits(void)
{
	static const char one[] = OBJECT("n", BOX(1, 1, 2, 2));
	const struct {
		char *text;
		const char *says;
	} cases[] = {
		{repeated("<annotation>", "<a>", 100000, ""), "nested too deep"},
		{repeated("<annotation><", "a", 300, "/></annotation>"),
			"nested too deep, or their names too long"},
		{repeated("<annotation><object><name>", "n", 256, "</name></object></annotation>"),
			"the text of <name> is too long"},
		{repeated("<annotation>", one, ANNOTATION_BOXES + 1, "</annotation>"),
			"more than 4096 objects"},
		{repeated("<annotation>", " ", ANNOTATION_XML_SIZE, "</annotation>"),
			"more than 16777216 bytes"},
		{repeated("<annotation>", one, ANNOTATION_BOXES, "</annotation>"), NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct annotation a;
		struct err err = {""};
		int rc = parse_xml(&a, cases[i].text, &err);

		CU_ASSERT_EQUAL(rc, cases[i].says ? -1 : 0);
		CU_ASSERT(!cases[i].says || says(&err, "a.xml:", cases[i].says, NULL));
		CU_ASSERT_EQUAL(a.count, cases[i].says ? 0 : ANNOTATION_BOXES);
		annotation_release(&a);
		free(cases[i].text);
	}
}

static void test_xml_file(void)
{
	struct annotation a;
	struct err err = {""};
	char *path = scratch_path("boxes/a.xml"), *missing = scratch_path("boxes/none.xml");
	char *folder = scratch_path("boxes");

	scratch_text("boxes/a.xml", "<annotation>" OBJECT("n", BOX(1, 2, 3, 4)) "</annotation>");
	CU_ASSERT_EQUAL_FATAL(annotation_read_xml(&a, path, &err), 0);
	CU_ASSERT(a.count == 1 && is_box(&a.box[0], "n", 1, 2, 3, 4));
	annotation_release(&a);
	CU_ASSERT_EQUAL(annotation_read_xml(&a, missing, &err), -1);
	CU_ASSERT(says(&err, missing, "cannot open", NULL));
	CU_ASSERT_EQUAL(annotation_read_xml(&a, folder, &err), -1);
	CU_ASSERT(says(&err, folder, "not a regular file; an XML file expected", NULL));
	free(path);
	free(missing);
	free(folder);
}

/* ---- CSV ---- */

#define HEAD "ImageId,PredictionString\n"

static int parse_csv(struct annotation_table *t, const char *text, struct err *err)
{
	return annotation_parse_csv(t, text, strlen(text), "b.csv", err);
}

static void test_csv_good(void)
{
	static const char text[] = "\xef\xbb\xbf" HEAD "b,n1 1 2 3 4 n2 5 6 7 8\r\n"
				   "\"a b\",\"n1 -1 0 2.5 3\"\n\n \r\n"
				   "empty,\n" HEAD "\"c\"\"d\", n3  0 0\t9 9 \n"
				   "last,n4 1 1 1 1";
	struct annotation_table t;
	struct err err = {""};

	CU_ASSERT_EQUAL(parse_csv(&t, text, &err), -1); /* the header once more: no boxes */
	CU_ASSERT(says(&err, "b.csv:7:", "the last has 0 of 4", NULL));
	char *fixed = x_strdup(text), *again = strstr(fixed + 5, HEAD);
	memmove(again, again + strlen(HEAD), strlen(again + strlen(HEAD)) + 1);
	CU_ASSERT_EQUAL_FATAL(parse_csv(&t, fixed, &err), 0);
	free(fixed);
	CU_ASSERT(t.count == 5 && t.box_count == 5);
	const struct annotation_row *b = annotation_find(&t, "b"), *ab = annotation_find(&t, "a b");
	const struct annotation_row *empty = annotation_find(&t, "empty"), *cd = annotation_find(&t, "c\"d");
	CU_ASSERT_FATAL(b && ab && empty && cd && annotation_find(&t, "last"));
	CU_ASSERT(b->count == 2 && b->line == 2 && empty->count == 0 && empty->line == 6);
	CU_ASSERT(is_box(&t.box[b->first], "n1", 1, 2, 3, 4));
	CU_ASSERT(is_box(&t.box[b->first + 1], "n2", 5, 6, 7, 8));
	CU_ASSERT(is_box(&t.box[ab->first], "n1", -1, 0, 2, 3));
	CU_ASSERT(is_box(&t.box[cd->first], "n3", 0, 0, 9, 9));
	CU_ASSERT(!annotation_find(&t, "a") && !annotation_find(&t, "") && !annotation_find(&t, "zz"));
	annotation_table_release(&t);
	CU_ASSERT_EQUAL(parse_csv(&t, "ImageId,PredictionString", &err), 0);
	CU_ASSERT(!t.count && !annotation_find(&t, "a"));
	annotation_table_release(&t);
}

static void test_csv_bad(void)
{
	static const struct {
		const char *text, *line, *says;
	} cases[] = {
		{"", "b.csv:1:", "expected the header"},
		{"a,n 1 2 3 4\n", "b.csv:1:", "expected the header"},
		{HEAD "a\n", "b.csv:2:", "expected two fields"},
		{HEAD "a,n 1 2 3 4,5\n", "b.csv:2:", "expected two fields"},
		{HEAD "\n\"a,n 1 2 3 4\n", "b.csv:3:", "a quote is not closed"},
		{HEAD "a,\"n 1 2 3 4\" x\n", "b.csv:2:", "or text follows it"},
		{HEAD ",n 1 2 3 4\n", "b.csv:2:", "the image id is empty"},
		{HEAD "a,n 1 2 3\n", "b.csv:2:", "the last has 3 of 4"},
		{HEAD "a,n 1 2 3 4 5\n", "b.csv:2:", "the last has 0 of 4"},
		{HEAD "a,1 2 3 4\n", "b.csv:2:", "the last has 3 of 4"},
		{HEAD "a,n 1 2 x 4\n", "b.csv:2:", "x2: expected a number of pixels"},
		{HEAD "a,n 1 2 nan 4\n", "b.csv:2:", "x2: expected"},
		{HEAD "a,n 1 2 3 -inf\n", "b.csv:2:", "y2: expected"},
		{HEAD "a,n -268435457 2 3 4\n", "b.csv:2:", "x1: expected"},
		{HEAD "a,n 10 2 3 4\n", "b.csv:2:", "a reversed box 10 2 3 4: expected x1 y1 x2 y2"},
		{HEAD "b,n 1 2 3 4\na,\nc,\na,n 1 2 3 4\n",
			"b.csv:5:", "\"a\" is there twice, first in line 3"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct annotation_table t;
		struct err err = {""};

		CU_ASSERT_EQUAL(parse_csv(&t, cases[i].text, &err), -1);
		CU_ASSERT(says(&err, cases[i].line, cases[i].says, NULL));
		CU_ASSERT(!t.text && !t.row && !t.box && !t.count);
	}
	struct annotation_table t;
	struct err err = {""};
	char *many = repeated(HEAD "a,", "n 1 1 2 2 ", ANNOTATION_BOXES + 1, "\n");
	CU_ASSERT_EQUAL(annotation_parse_csv(&t, HEAD "a\0b,\n", strlen(HEAD) + 5, "b.csv", &err), -1);
	CU_ASSERT(says(&err, "b.csv:2:", "a zero byte", NULL));
	CU_ASSERT_EQUAL(parse_csv(&t, many, &err), -1);
	CU_ASSERT(says(&err, "b.csv:2:", "more than 4096 boxes", NULL));
	free(many);
}

/* As many lines as ImageNet has, out of order; every one is found, and nothing else. */
static void test_csv_large(void)
{
	enum { N = 60000, STEP = 7919 };
	char *text = x_malloc(64 * (size_t)N), *at = stpcpy(text, HEAD), id[40];
	struct annotation_table t;
	struct err err = {""};
	int wrong = 0;

	for (int i = 0; i < N; i++) {
		int k = (int)((long)i * STEP % N);

		at += sprintf(at, "ILSVRC2012_val_%08d,n%d %d 0 %d 5\n", k, k % 1000, k, k + 1);
	}
	CU_ASSERT_EQUAL_FATAL(parse_csv(&t, text, &err), 0);
	free(text);
	CU_ASSERT_EQUAL(t.count, N);
	for (int k = 0; k < N; k++) {
		char name[12];

		sprintf(id, "ILSVRC2012_val_%08d", k);
		sprintf(name, "n%d", k % 1000);
		const struct annotation_row *row = annotation_find(&t, id);
		wrong += !row || row->count != 1 || !is_box(&t.box[row->first], name, k, 0, k + 1, 5);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(!annotation_find(&t, "ILSVRC2012_val_00060000"));
	annotation_table_release(&t);
}

/* ---- masks ---- */

static void test_mask(void)
{
	static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0};
	char *path = scratch_path("mask.png"), *jpeg = scratch_path("mask2.png");
	struct image image = {1, 1, (unsigned char *)""};
	struct err err = {""};

	scratch_bytes("mask.png", png, sizeof(png));
	CU_ASSERT_EQUAL(annotation_read_mask(&image, path, &err), -1);
	CU_ASSERT(says(&err, path, "PNG", NULL));
	CU_ASSERT(!image.rgb && !image.width);
	scratch_text("mask2.png", "\xff\xd8\xff\xe0 a JPEG");
	CU_ASSERT_EQUAL(annotation_read_mask(&image, jpeg, &err), -1);
	CU_ASSERT(says(&err, jpeg, "not a PNG file", NULL));
	free(path);
	free(jpeg);
}

int register_annotations_tests(void)
{
	static const struct named_test tests[] = {
		{"XML", test_xml_good},
		{"bad XML", test_xml_bad},
		{"limits of XML", test_xml_limits},
		{"files of XML", test_xml_file},
		{"CSV", test_csv_good},
		{"bad CSV", test_csv_bad},
		{"60,000 lines", test_csv_large},
		{"masks", test_mask},
		{NULL, NULL},
	};

	return add_suite("annotations", tests);
}

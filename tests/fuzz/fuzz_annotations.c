/* Boxes: XML where the input begins with '<' (or its UTF-16), else CSV. Masks are PNG files: fuzz_image.c. */
#include "fuzz.h"

#include "formats/annotations.h"

static void check_boxes(const struct annotation_box *box, int count)
{
	for (int i = 0; i < count; i++) {
		FUZZ_CHECK(*box[i].name && box[i].x1 <= box[i].x2 && box[i].y1 <= box[i].y2);
		FUZZ_CHECK(box[i].x1 >= -ANNOTATION_LARGEST && box[i].x2 <= ANNOTATION_LARGEST);
		FUZZ_CHECK(box[i].y1 >= -ANNOTATION_LARGEST && box[i].y2 <= ANNOTATION_LARGEST);
	}
}

static void run_xml(const char *text, size_t size)
{
	struct err err = {""};
	struct annotation a;

	if (fuzz_failed(annotation_parse_xml(&a, text, size, "fuzz", &err), &err)) {
		FUZZ_CHECK(!a.box && !a.count);
		return;
	}
	FUZZ_CHECK(a.count <= ANNOTATION_BOXES && a.width >= 0 && a.height >= 0);
	check_boxes(a.box, a.count);
	annotation_release(&a);
}

static void run_csv(const char *text, size_t size)
{
	struct err err = {""};
	struct annotation_table t;
	int boxes = 0;

	if (fuzz_failed(annotation_parse_csv(&t, text, size, "fuzz", &err), &err)) {
		FUZZ_CHECK(!t.text && !t.row && !t.box);
		return;
	}
	check_boxes(t.box, t.box_count);
	for (int i = 0; i < t.count; i++) {
		const struct annotation_row *row = &t.row[i];

		FUZZ_CHECK(*row->id && annotation_find(&t, row->id) == row);
		FUZZ_CHECK(row->first >= 0 && row->count >= 0 && row->first + row->count <= t.box_count);
		boxes += row->count;
	}
	FUZZ_CHECK(boxes == t.box_count);
	annotation_table_release(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && (data[0] == '<' || data[0] >= 0xfe))
		run_xml((const char *)data, size);
	else
		run_csv((const char *)data, size);
	return 0;
}

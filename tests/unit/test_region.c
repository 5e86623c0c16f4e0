/* pipeline/region: boxes and masks in the frame of the preprocessed image, against a rule written out anew.
 */
#include "pipeline/region.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/png_write.h"
#include "model/preprocess.h"
#include "scratch.h"
#include "support.h"

/* A set of one image, and its region in a frame. */
struct fixture {
	struct vit_config vit;
	struct dataset data;
	struct region_source source;
	struct region region;
	struct arena arena;
};

static size_t at_none[1];
static int label_one[1] = {1};

static void begin(struct fixture *f, int h, int w, double crop_pct, const char *path, const char *names)
{
	size_t n = 0;

	while (names && n < 12) /* three names of three letters */
		n += strlen(names + n) + 1;
	*f = (struct fixture){.vit = {.image_h = h, .image_w = w, .crop_pct = crop_pct}};
	f->data = (struct dataset){.text = (char *)path,
		.count = 1,
		.at = at_none,
		.label = label_one,
		.classes = 3,
		.names = (char *)names,
		.names_size = n};
	region_carve(&f->region, &f->arena, &f->vit);
	arena_allocate(&f->arena);
	region_carve(&f->region, &f->arena, &f->vit);
}

static void end(struct fixture *f)
{
	region_source_release(&f->source);
	arena_release(&f->arena);
}

static void give_boxes(struct fixture *f, const char *boxes)
{
	char *text = x_asprintf("ImageId,PredictionString\nimage,%s\n", boxes);
	struct err err = {""};

	region_source_release(&f->source);
	CU_ASSERT_EQUAL_FATAL(
		region_source_init(&f->source, "boxes.csv", text, strlen(text), &f->data, &err), 0);
	free(text);
}

static enum region_state find(struct fixture *f, int width, int height)
{
	struct err err = {""};

	CU_ASSERT_EQUAL(region_find(&f->region, &f->source, &f->data, 0, &f->vit, width, height, &err), 0);
	return f->region.state;
}

static bool box_is(const struct region *r, int k, int x1, int y1, int x2, int y2)
{
	return r->box[k][0] == x1 && r->box[k][1] == y1 && r->box[k][2] == x2 && r->box[k][3] == y2;
}

static const char names[] = "one\0two\0six";

/* By hand. 8 x 8 pixels of a picture of 16 x 8: the crop leaves columns 4 to 12; nothing is scaled. */
static void test_crop(void)
{
	struct fixture f;

	begin(&f, 8, 8, 1, "a/image.jpg", names);
	CU_ASSERT(find(&f, 16, 8) == REGION_NONE && isnan(f.region.share));
	give_boxes(&f, "two 5 1 7 3");
	CU_ASSERT_EQUAL(find(&f, 16, 8), REGION_USED);
	CU_ASSERT(f.region.boxes == 1 && box_is(&f.region, 0, 1, 1, 3, 3));
	CU_ASSERT_EQUAL(f.region.share, 4 / 64.0);
	for (int y = 0; y < 8; y++)
		for (int x = 0; x < 8; x++)
			CU_ASSERT_EQUAL(f.region.inside[8 * y + x], x >= 1 && x < 3 && y >= 1 && y < 3);
	give_boxes(&f, "two 0 0 4 8 two 12 0 16 8"); /* up to the edges of the crop: half-open */
	CU_ASSERT(find(&f, 16, 8) == REGION_OUTSIDE && isnan(f.region.share) && !f.region.boxes);
	give_boxes(&f, "two 0 0 5 8 two 11 -7 99 1"); /* one column; and a corner, clipped */
	CU_ASSERT_EQUAL(find(&f, 16, 8), REGION_USED);
	CU_ASSERT(
		f.region.boxes == 2 && box_is(&f.region, 0, 0, 0, 1, 8) && box_is(&f.region, 1, 7, 0, 8, 1));
	CU_ASSERT_EQUAL(f.region.share, 9 / 64.0);
	/* of other classes, empty, or beside the picture: nothing is annotated */
	give_boxes(&f, "one 5 1 7 3 six 5 1 7 3 two 6 1 6 9 two 16 0 20 8 two -9 0 0 8");
	CU_ASSERT(find(&f, 16, 8) == REGION_NONE && !f.region.boxes);
	f.data.names = NULL; /* without names every box counts */
	CU_ASSERT_EQUAL(find(&f, 16, 8), REGION_USED);
	end(&f);
}

/* By hand, scaled by two: 4 x 4 pixels of a picture of 8 x 8 sample columns 1, 3, 5, 7 (centres 0.5, 1.5, ...
 * times 2); 8 x 8 of 4 x 4 sample each twice. */
static void test_scaled(void)
{
	struct fixture f;

	begin(&f, 4, 4, 1, "image.png", names);
	give_boxes(&f, "two 0 0 1 8"); /* no centre falls into column 0 */
	CU_ASSERT_EQUAL(find(&f, 8, 8), REGION_OUTSIDE);
	give_boxes(&f, "two 1 2 2 6"); /* column 1; rows 3 and 5 */
	CU_ASSERT_EQUAL(find(&f, 8, 8), REGION_USED);
	CU_ASSERT(box_is(&f.region, 0, 0, 1, 1, 3) && f.region.share == 2 / 16.0);
	give_boxes(&f, "two 0.5 0 1.5 8"); /* half a pixel: the centre of column 0, not of column 1 */
	CU_ASSERT_EQUAL(find(&f, 8, 8), REGION_OUTSIDE);
	give_boxes(&f, "two 0.51 0 1.51 8"); /* the centre of column 1 */
	CU_ASSERT_EQUAL(find(&f, 8, 8), REGION_USED);
	end(&f);
	begin(&f, 8, 8, 1, "image.png", names);
	give_boxes(&f, "two 1 0 2 3");
	CU_ASSERT_EQUAL(find(&f, 4, 4), REGION_USED);
	CU_ASSERT(box_is(&f.region, 0, 2, 0, 4, 6));
	end(&f);
}

/* The rule in floating point, pixel by pixel and box by box. */
static void test_brute_force(void)
{
	static const struct {
		int h, w, squash;
		double pct;
		int layout;
	} frames[] = {{24, 24, 0, 0.9, VIT_TIMM}, {24, 24, 0, 0.875, VIT_TRANSFORMERS},
		{16, 40, 0, 0.95, VIT_TIMM}, {31, 17, 1, 0.9, VIT_TIMM}, {24, 24, 1, 1, VIT_TIMM}};
	int wrong = 0, used = 0, shares = 0;

	for (uint32_t t = 0; t < 600; t++) {
		struct fixture f;
		int k = (int)(t % 5), width = 5 + (int)(90 * random_unit(1, t));
		int height = 5 + (int)(90 * random_unit(2, t)), box[6][4], covered = 0;
		char text[400] = "";

		begin(&f, frames[k].h, frames[k].w, frames[k].pct, "x/y/image.jpeg", NULL);
		f.vit.squash = frames[k].squash;
		f.vit.layout = frames[k].layout;
		for (uint32_t i = 0; i < 6; i++) {
			double size[2] = {width + 10, height + 10};

			for (uint32_t e = 0; e < 4; e++)
				box[i][e] = (int)(size[e % 2] * random_unit(3 + e, 6 * t + i)) - 5;
			for (int e = 0; e < 2; e++)
				if (box[i][e] > box[i][e + 2]) {
					int swap = box[i][e];

					box[i][e] = box[i][e + 2];
					box[i][e + 2] = swap;
				}
			if (i > t % 7)
				continue;
			sprintf(text + strlen(text), "n %d %d %d %d ", box[i][0], box[i][1], box[i][2],
				box[i][3]);
		}
		give_boxes(&f, text);
		used += find(&f, width, height) == REGION_USED;
		struct preprocess_geometry g = preprocess_geometry(&f.vit, width, height);
		for (int y = 0; y < f.vit.image_h; y++)
			for (int x = 0; x < f.vit.image_w; x++) {
				double column = floor((x + 0.5 + g.left) * width / g.resized_w);
				double row = floor((y + 0.5 + g.top) * height / g.resized_h);
				int inside = 0;

				for (uint32_t i = 0; i < 6 && i <= t % 7; i++)
					inside |= column >= box[i][0] && column < box[i][2] &&
						  row >= box[i][1] && row < box[i][3];
				covered += inside;
				wrong += column < 0 || column >= width || row < 0 || row >= height;
				wrong += f.region.inside[y * f.vit.image_w + x] != inside;
			}
		wrong += (covered > 0) != (f.region.state == REGION_USED);
		shares += covered > 0 && f.region.share != (double)covered / (f.vit.image_h * f.vit.image_w);
		end(&f);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(shares, 0);
	CU_ASSERT(used > 300 && used < 600);
}

/* The largest 16 boxes are kept, the largest first, equal ones in order; the region has all. */
static void test_most_boxes(void)
{
	struct fixture f;
	char text[2000] = "";

	begin(&f, 32, 32, 1, "image.jpg", NULL);
	for (int i = 0; i < 20; i++) /* heights 1 to 5, four of each */
		sprintf(text + strlen(text), "n %d 0 %d %d ", i, i + 1, 1 + i % 5);
	give_boxes(&f, text);
	CU_ASSERT_EQUAL(find(&f, 32, 32), REGION_USED);
	CU_ASSERT_EQUAL_FATAL(f.region.boxes, 16);
	for (int k = 0; k < 16; k++) {
		int height = 5 - k / 4, column = height - 1 + 5 * (k % 4);

		CU_ASSERT(box_is(&f.region, k, column, 0, column + 1, height));
	}
	CU_ASSERT_EQUAL(f.region.share, 60 / 1024.0);
	end(&f);
}

static void folder(struct fixture *f)
{
	char *path = scratch_path("regions"), *text;
	struct err err = {""};
	size_t size;

	CU_ASSERT_EQUAL(region_load(&text, &size, path, &err), 0);
	CU_ASSERT(!text && !size);
	region_source_release(&f->source);
	CU_ASSERT_EQUAL(region_source_init(&f->source, path, text, size, &f->data, &err), 0);
	free(path);
}

#define XML(x1, x2)                                                                                          \
	"<annotation><object><name>two</name><bndbox><xmin>" #x1 "</xmin><ymin>0</ymin><xmax>" #x2           \
	"</xmax><ymax>9</ymax></bndbox></object></annotation>"

static void write_mask(const char *name, const unsigned char *rgb, int w, int h)
{
	struct err err = {""};
	char *path = scratch_path(name);

	scratch_text(name, "");
	CU_ASSERT_EQUAL(png_write_rgb(path, rgb, w, h, &err), 0);
	free(path);
}

/* Which file is taken: beside the image's path before flat, XML before a mask. */
static void test_folder(void)
{
	struct fixture f;
	unsigned char rgb[8 * 8 * 3] = {0};

	begin(&f, 8, 8, 1, "a/b.c/im.age.jpg", names);
	scratch_folder("regions");
	folder(&f);
	CU_ASSERT(find(&f, 8, 8) == REGION_NONE && region_count(&f.source, &f.data, 9) == 0);
	rgb[3 * 8 * 2 + 2] = 1; /* blue of (0, 2) */
	write_mask("regions/im.age.png", rgb, 8, 8);
	CU_ASSERT(find(&f, 8, 8) == REGION_USED && box_is(&f.region, 0, 0, 2, 1, 3));
	CU_ASSERT_EQUAL(region_count(&f.source, &f.data, 9), 1);
	scratch_text("regions/im.age.xml", XML(1, 2));
	CU_ASSERT(find(&f, 8, 8) == REGION_USED && box_is(&f.region, 0, 1, 0, 2, 8));
	rgb[3 * (8 * 7 + 7)] = 255;
	write_mask("regions/a/b.c/im.age.png", rgb, 8, 8);
	CU_ASSERT(find(&f, 8, 8) == REGION_USED && box_is(&f.region, 0, 0, 2, 8, 8));
	CU_ASSERT_EQUAL(f.region.share, 2 / 64.0);
	scratch_text("regions/a/b.c/im.age.xml", XML(3, 5));
	CU_ASSERT(find(&f, 8, 8) == REGION_USED && box_is(&f.region, 0, 3, 0, 5, 8));
	f.data.text = "/elsewhere/im.age.jpg"; /* an absolute path: flat alone */
	CU_ASSERT(find(&f, 8, 8) == REGION_USED && box_is(&f.region, 0, 1, 0, 2, 8));
	end(&f);
}

static void test_masks(void)
{
	struct fixture f;
	unsigned char rgb[16 * 8 * 3] = {0};
	struct err err = {""};

	begin(&f, 8, 8, 1, "mask.jpg", names);
	scratch_folder("regions");
	folder(&f);
	write_mask("regions/mask.png", rgb, 16, 8);
	CU_ASSERT_EQUAL(find(&f, 16, 8), REGION_NONE); /* nothing is set */
	rgb[3 * (16 * 3 + 2) + 1] = 9;
	write_mask("regions/mask.png", rgb, 16, 8);
	CU_ASSERT(find(&f, 16, 8) == REGION_OUTSIDE && !f.region.boxes);
	rgb[3 * (16 * 3 + 4)] = 9;
	write_mask("regions/mask.png", rgb, 16, 8);
	CU_ASSERT(find(&f, 16, 8) == REGION_USED && box_is(&f.region, 0, 0, 3, 1, 4));
	CU_ASSERT_EQUAL(region_find(&f.region, &f.source, &f.data, 0, &f.vit, 8, 16, &err), -1);
	CU_ASSERT(says(
		&err, "annotation: mask.png: of a picture of 16 x 8 pixels, but this one has 8 x 16", NULL));
	scratch_text("regions/mask.png", "nothing");
	CU_ASSERT_EQUAL(region_find(&f.region, &f.source, &f.data, 0, &f.vit, 8, 16, &err), -1);
	CU_ASSERT(says(&err, "annotation: mask.png: not a PNG file", NULL));
	scratch_text("regions/mask.xml", "<annotation><size><width>9</width></size>\n</annotation>");
	CU_ASSERT_EQUAL(region_find(&f.region, &f.source, &f.data, 0, &f.vit, 8, 16, &err), -1);
	CU_ASSERT(says(&err, "annotation: mask.xml: of a picture of 9 x 0", NULL));
	scratch_text("regions/mask.xml", "<annotation>\n</annotatio>");
	CU_ASSERT_EQUAL(region_find(&f.region, &f.source, &f.data, 0, &f.vit, 8, 16, &err), -1);
	CU_ASSERT(says(&err, "annotation: mask.xml:2: not XML", NULL));
	end(&f);
}

static void test_load(void)
{
	struct err err = {""};
	char *path = scratch_path("regions_none"), *text, *found = scratch_path("r.csv");
	size_t size;

	CU_ASSERT_EQUAL(region_load(&text, &size, path, &err), -1);
	CU_ASSERT(says(&err, path, "cannot open", NULL));
	scratch_text("r.csv", "abc");
	CU_ASSERT_EQUAL_FATAL(region_load(&text, &size, found, &err), 0);
	CU_ASSERT(text && size == 3 && !strcmp(text, "abc"));
	free(text);
	free(path);
	free(found);
}

int register_region_tests(void)
{
	static const struct named_test tests[] = {
		{"crop", test_crop},
		{"scaled", test_scaled},
		{"against brute force", test_brute_force},
		{"many boxes", test_most_boxes},
		{"folder", test_folder},
		{"masks", test_masks},
		{"load", test_load},
		{NULL, NULL},
	};

	return add_suite("region", tests);
}

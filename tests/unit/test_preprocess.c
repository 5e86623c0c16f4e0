/* model/preprocess: the geometry against its definition, the crop, the normalisation. */
#include "model/preprocess.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

#include "scratch.h"
#include "support.h"

static struct vit_config preprocessing(int size, double crop_pct)
{
	return (struct vit_config){.image_h = size,
		.image_w = size,
		.crop_pct = crop_pct,
		.interpolation = RESIZE_BICUBIC,
		.mean = {0.5f, 0.25f, 0.125f},
		.std = {0.5f, 0.25f, 2}};
}

/* Worked out by hand and with Python: floor(size / crop_pct), int(short * long / short0), round((r - size) /
 * 2). */
static void test_geometry_known(void)
{
	static const struct {
		int size;
		double pct;
		int w, h, rw, rh, left, top;
	} cases[] = {
		{224, 0.9, 500, 375, 330, 248, 53, 12}, /* 330.67 */
		{224, 0.9, 375, 500, 248, 330, 12, 53},
		{224, 0.875, 500, 333, 384, 256, 80, 16}, /* 384.38 */
		{224, 0.9, 300, 300, 248, 248, 12, 12},
		{224, 1, 224, 225, 224, 225, 0, 0},     /* 0.5 to even: 0 */
		{224, 1, 224, 227, 224, 227, 0, 2},     /* 1.5 to even: 2 */
		{224, 1, 229, 224, 229, 224, 2, 0},     /* 2.5 to even: 2 */
		{224, 1, 231, 224, 231, 224, 4, 0},     /* 3.5 to even: 4 */
		{224, 0.95, 640, 480, 313, 235, 44, 6}, /* 44.5, 5.5 */
		{384, 1, 10, 7, 548, 384, 82, 0},
		{96, 0.9, 1, 1000, 106, 106000, 5, 52952},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vit_config c = preprocessing(cases[i].size, cases[i].pct);
		struct preprocess_geometry g = preprocess_geometry(&c, cases[i].w, cases[i].h);

		CU_ASSERT_EQUAL(g.resized_w, cases[i].rw);
		CU_ASSERT_EQUAL(g.resized_h, cases[i].rh);
		CU_ASSERT_EQUAL(g.left, cases[i].left);
		CU_ASSERT_EQUAL(g.top, cases[i].top);
	}
}

/* An input that is not square: timm's ResizeKeepRatio, worked out with Python; squash: both sides at once. */
static void test_geometry_not_square(void)
{
	static const struct {
		int h, w, squash;
		double pct;
		int width, height, rw, rh, left, top;
	} cases[] = {
		{224, 336, 0, 1, 500, 375, 336, 252, 0, 14},
		{224, 336, 0, 0.9, 500, 375, 373, 280, 18, 28},
		{224, 336, 0, 0.9, 375, 500, 373, 497, 18, 136},
		{336, 224, 0, 1, 301, 200, 506, 336, 141, 0},
		{224, 336, 1, 1, 500, 375, 336, 224, 0, 0},
		{224, 224, 1, 0.875, 500, 375, 256, 256, 16, 16},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vit_config c = preprocessing(cases[i].h, cases[i].pct);

		c.image_w = cases[i].w;
		c.squash = cases[i].squash;
		struct preprocess_geometry g = preprocess_geometry(&c, cases[i].width, cases[i].height);
		CU_ASSERT(g.resized_w == cases[i].rw && g.resized_h == cases[i].rh);
		CU_ASSERT(g.left == cases[i].left && g.top == cases[i].top);
	}
}

/* Python's round(k / 2). */
static int round_half(int k)
{
	return k % 2 == 0 ? k / 2 : (k / 2) % 2 == 0 ? k / 2 : k / 2 + 1;
}

static void test_geometry_definition(void)
{
	static const double pcts[] = {0.7, 0.875, 0.9, 0.95, 0.96, 1};
	int wrong = 0;

	for (size_t i = 0; i < sizeof(pcts) / sizeof(pcts[0]); i++)
		for (int w = 1; w < 900; w += 7)
			for (int h = 1; h < 900; h += 11) {
				struct vit_config c = preprocessing(224, pcts[i]);
				struct preprocess_geometry g = preprocess_geometry(&c, w, h);
				long size = (long)floor(224 / pcts[i]), shorter = w < h ? w : h;
				int rw = (int)(size * w / shorter), rh = (int)(size * h / shorter);

				wrong += g.resized_w != rw || g.resized_h != rh ||
					 g.left != round_half(rw - 224) || g.top != round_half(rh - 224) ||
					 g.left + 224 > rw || g.top + 224 > rh;
			}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_normalise(void)
{
	struct vit_config c = preprocessing(2, 1);
	const unsigned char pixels[12] = {0, 255, 51, 1, 2, 3, 100, 101, 102, 253, 254, 255};
	float x[12];

	c.image_w = 2;
	preprocess_normalise(x, pixels, &c);
	CU_ASSERT_EQUAL(x[0], -1);
	CU_ASSERT_EQUAL(x[4], 3);
	for (int p = 0; p < 4; p++)
		for (int ch = 0; ch < 3; ch++)
			CU_ASSERT_DOUBLE_EQUAL(
				x[ch * 4 + p], (pixels[3 * p + ch] / 255.0 - c.mean[ch]) / c.std[ch], 3e-7);
}

/* Of three channels, and of B-cos's six. */
static void test_black(void)
{
	struct vit_config c = preprocessing(1, 1);
	const unsigned char pixel[3] = {0, 0, 0};
	float x[6], black[6];

	c.image_w = c.image_h = 1;
	for (int bcos = 0; bcos < 2; bcos++) {
		c.bcos = bcos;
		for (int ch = 0; ch < 6; ch++)
			x[ch] = black[ch] = 99;
		preprocess_normalise(x, pixel, &c);
		preprocess_black(black, &c);
		CU_ASSERT(same_bits(x, black, 6));
		CU_ASSERT(x[0] != x[2] && (black[5] == 99) == !bcos);
	}
}

/* At the size of the network nothing is resampled: the crop alone. */
static void test_pixels_crop(void)
{
	enum { W = 11, H = 8 };
	unsigned char rgb[W * H * 3], out[8 * 8 * 3];
	struct image image = {W, H, rgb};
	struct vit_config c = preprocessing(8, 1);
	struct err err = {""};
	int wrong = 0;

	for (int i = 0; i < W * H * 3; i++)
		rgb[i] = (unsigned char)(i * 5);
	CU_ASSERT_EQUAL_FATAL(preprocess_pixels(out, &image, &c, &err), 0);
	for (int y = 0; y < 8; y++)
		for (int x = 0; x < 8; x++)
			wrong += memcmp(out + 3 * (8 * y + x), rgb + 3 * (W * y + x + 2), 3) != 0;
	CU_ASSERT_EQUAL(wrong, 0);
}

/* A thread of pixels, within IMAGE_MAX_PIXELS itself, is an error and not an overflow. */
static void test_pixels_too_thin(void)
{
	static const int length[] = {1000000, 100000000, IMAGE_MAX_PIXELS};
	struct vit_config c = preprocessing(224, 0.9);
	unsigned char one[3] = {0};

	for (int i = 0; i < 3; i++) {
		struct image tall = {1, length[i], one}, wide = {length[i], 1, one};
		struct err err = {""};

		CU_ASSERT_EQUAL(preprocess_pixels(NULL, &tall, &c, &err), -1);
		CU_ASSERT(says(&err, "too thin", NULL));
		CU_ASSERT_EQUAL(preprocess_pixels(NULL, &wide, &c, &err), -1);
		CU_ASSERT(says(&err, "too thin", NULL));
	}
}

int register_preprocess_tests(void)
{
	static const struct named_test preprocessings[] = {
		{"geometry: known", test_geometry_known},
		{"geometry of an input that is not square", test_geometry_not_square},
		{"geometry: as defined", test_geometry_definition},
		{"normalise", test_normalise},
		{"black", test_black},
		{"crop without resize", test_pixels_crop},
		{"too thin", test_pixels_too_thin},
		{NULL, NULL},
	};

	return add_suite("preprocess", preprocessings);
}

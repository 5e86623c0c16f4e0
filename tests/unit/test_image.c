/*
 * image.c, resize.c and png_write.c: errors, and cases that can be worked out by hand. That decoding and
 * resizing equal Pillow's is tests/pillow's affair.
 */
int register_image_tests(void);

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <stdio.h> /* before jpeglib.h */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>

#include "formats/image.h"
#include "formats/png_write.h"
#include "formats/resize.h"

enum { W = 37, H = 23, N = W * H * 3 };

/* ---------------------------------------------------------------- helpers */

/* A path in the directory for temporary files, owned by the caller. */
static char *scratch(const char *name)
{
	const char *dir = getenv("TMPDIR");

	return x_asprintf("%s/dave-test-image-%ld-%s", dir && *dir ? dir : "/tmp", (long)getpid(), name);
}

static void fill(unsigned char *rgb, int n)
{
	for (int i = 0; i < n; i++)
		rgb[i] = (unsigned char)(i * 7 + i / 50);
}

static void put_file(const char *path, const unsigned char *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(data, 1, size, f), size);
	CU_ASSERT_EQUAL(fclose(f), 0);
}

static unsigned char *get_file(const char *path, size_t *size)
{
	unsigned char *data = x_malloc(1 << 20);
	FILE *f = fopen(path, "rb");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	*size = fread(data, 1, 1 << 20, f);
	fclose(f);
	return data;
}

/* Compresses a W x H picture; components 1 or 3. The result is owned by the caller. */
static unsigned char *make_jpeg(int components, int progressive, size_t *size)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned char pixels[N], *out = NULL;
	unsigned long n = 0;

	fill(pixels, N);
	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &out, &n);
	c.image_width = W;
	c.image_height = H;
	c.input_components = components;
	c.in_color_space = components == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(&c);
	if (progressive)
		jpeg_simple_progression(&c);
	jpeg_start_compress(&c, TRUE);
	for (int y = 0; y < H; y++) {
		JSAMPROW row = pixels + y * W * components;
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	*size = n;
	return out;
}

static unsigned char *make_png(size_t *size)
{
	unsigned char pixels[N];
	struct err err = {{0}};
	char *path = scratch("make.png");

	fill(pixels, N);
	CU_ASSERT_EQUAL_FATAL(png_write_rgb(path, pixels, W, H, &err), 0);
	unsigned char *data = get_file(path, size);
	unlink(path);
	free(path);
	return data;
}

/* Decoding must fail, leave an empty image, and say so in one line that has `name` first and `part` in it. */
static void expect_refused(const unsigned char *data, size_t size, const char *part)
{
	struct err err = {{0}};
	struct image image = {.width = 5};

	CU_ASSERT_EQUAL(image_decode(&image, data, size, "some/file.jpg", &err), -1);
	CU_ASSERT_EQUAL(image.width, 0);
	CU_ASSERT_EQUAL(image.height, 0);
	CU_ASSERT_PTR_NULL(image.rgb);
	CU_ASSERT_EQUAL(strncmp(err.msg, "some/file.jpg: ", 15), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, part));
	CU_ASSERT_PTR_NULL(strchr(err.msg, '\n'));
	if (!strstr(err.msg, part))
		printf("\n\"%s\" lacks \"%s\"\n", err.msg, part);
	image_release(&image);
}

/* ---------------------------------------------------------------- decoding */

static void test_not_an_image(void)
{
	expect_refused((const unsigned char *)"", 0, "empty file");
	expect_refused((const unsigned char *)"GIF89a..", 8, "begins with 47 49 46 38 39 61 2e 2e");
	expect_refused((const unsigned char *)"\xff\xd8", 2, "not a JPEG or PNG file");
	expect_refused((const unsigned char *)"\xff\xd8\xff", 3, "truncated JPEG");
	expect_refused((const unsigned char *)"\x89PNG\r\n\x1a\n", 8, "truncated PNG");
}

static void test_jpeg_decodes(void)
{
	for (int progressive = 0; progressive < 2; progressive++) {
		struct err err = {{0}};
		struct image image;
		size_t size;
		unsigned char *data = make_jpeg(3, progressive, &size);
		CU_ASSERT_EQUAL_FATAL(image_decode(&image, data, size, "x", &err), 0);
		CU_ASSERT_EQUAL(image.width, W);
		CU_ASSERT_EQUAL(image.height, H);
		image_release(&image);
		CU_ASSERT_PTR_NULL(image.rgb);
		image_release(&image);
		free(data);
	}
}

static void test_grey_jpeg_has_equal_channels(void)
{
	struct err err = {{0}};
	struct image image;
	size_t size;
	unsigned char *data = make_jpeg(1, 0, &size);
	int unequal = 0, low = 255, high = 0;

	CU_ASSERT_EQUAL_FATAL(image_decode(&image, data, size, "x", &err), 0);
	for (int i = 0; i < W * H; i++) {
		const unsigned char *p = image.rgb + i * 3;
		unequal += p[0] != p[1] || p[0] != p[2];
		low = p[0] < low ? p[0] : low;
		high = p[0] > high ? p[0] : high;
	}
	CU_ASSERT_EQUAL(unequal, 0);
	CU_ASSERT_TRUE(high > low + 100);
	image_release(&image);
	free(data);
}

/* Whatever is cut off, the image is refused; but for the end marker of a JPEG, which may or may not be
 * missed. */
static void test_every_truncation_is_refused(void)
{
	for (int kind = 0; kind < 3; kind++) {
		size_t size;
		unsigned char *data = kind < 2 ? make_jpeg(3, kind, &size) : make_png(&size);
		size_t magic = kind < 2 ? 3 : 8;
		for (size_t n = magic; n < size - (kind < 2 ? 2 : 0); n++) {
			unsigned char *part = x_malloc(n); /* of exactly n bytes, for valgrind and ASan */
			memcpy(part, data, n);
			expect_refused(part, n, "truncated");
			free(part);
		}
		free(data);
	}
}

static void test_png_bit_flips_are_refused(void)
{
	size_t size;
	unsigned char *data = make_png(&size);

	for (size_t i = 8; i < size; i += 5) {
		data[i] ^= 0x10;
		expect_refused(data, size, "PNG file: ");
		data[i] ^= 0x10;
	}
	free(data);
}

static void test_corrupt_jpeg_header(void)
{
	size_t size;
	unsigned char *data = make_jpeg(3, 0, &size);
	unsigned char *sof = memmem(data, size, "\xff\xc0", 2);

	CU_ASSERT_PTR_NOT_NULL_FATAL(sof);
	sof[4] = 12; /* bits per sample */
	expect_refused(data, size, "corrupt or unsupported JPEG file: ");
	free(data);
}

static void test_size_limit(void)
{
	size_t size;
	unsigned char *data = make_jpeg(3, 0, &size);
	unsigned char *sof = memmem(data, size, "\xff\xc0", 2);
	static const unsigned char png_bomb[] =
		"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x40\0\0\0\x40\0\0\0\x08\x02\0\0\0"
		"\xd7\xf6\x79\xe9\0\0\0\0IDAT";

	CU_ASSERT_PTR_NOT_NULL_FATAL(sof);
	memcpy(sof + 5, "\xfd\xe8\xfd\xe8", 4); /* 65000 x 65000 */
	expect_refused(data, size, "65000 x 65000 pixels; between 1 and 178956970 pixels expected");
	free(data);
	expect_refused(png_bomb, sizeof(png_bomb) - 1, "1073741824 x 1073741824 pixels; between 1 and");
}

/* Scans of ten bytes, each a pass over the image. */
static void test_scan_limit(void)
{
	static const unsigned char scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0};
	size_t size;
	struct err err = {{0}};
	struct image image;
	unsigned char *data = make_jpeg(1, 1, &size), *many = x_malloc(size + 500 * sizeof(scan)),
		      *at = many + size - 2;

	memcpy(many, data, size);
	for (int n = 0; n < 500; n++, at += sizeof(scan)) {
		memcpy(at, scan, sizeof(scan));
		memcpy(at + sizeof(scan), "\xff\xd9", 2);
		if (n == 399) {
			CU_ASSERT_EQUAL(image_decode(&image, many, size + 4000, "n.jpg", &err), 0);
			image_release(&image);
		}
	}
	expect_refused(many, size + 5000, "a JPEG file of more than 500 scans");
	free(many);
	free(data);
}

static void test_unreadable_files(void)
{
	struct err err = {{0}};
	struct image image = {.width = 5};
	char *path = scratch("none.jpg");

	CU_ASSERT_EQUAL(image_read(&image, path, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "cannot open: No such file"));
	CU_ASSERT_EQUAL(strncmp(err.msg, path, strlen(path)), 0);
	CU_ASSERT_EQUAL(image.width, 0);
	CU_ASSERT_EQUAL(image_read(&image, "/", &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "/: not a regular file"));
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	CU_ASSERT_EQUAL(image_read(&image, path, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "not a regular file"));
	unlink(path);
	put_file(path, (const unsigned char *)"", 0);
	CU_ASSERT_EQUAL(image_read(&image, path, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "an empty file"));
	unlink(path);
	free(path);
}

/* ---------------------------------------------------------------- writing */

static void test_png_round_trip(void)
{
	unsigned char pixels[N];
	struct err err = {{0}};
	struct image image;
	char *path = scratch("trip.jpg"); /* the name tells nothing */
	char *tmp = x_asprintf("%s.tmp", path);

	fill(pixels, N);
	put_file(path, (const unsigned char *)"former", 6);
	CU_ASSERT_EQUAL(png_write_rgb(path, pixels, W, H, &err), 0);
	CU_ASSERT_EQUAL(access(tmp, F_OK), -1);
	CU_ASSERT_EQUAL_FATAL(image_read(&image, path, &err), 0);
	CU_ASSERT_EQUAL(image.width, W);
	CU_ASSERT_EQUAL(image.height, H);
	CU_ASSERT_EQUAL(memcmp(image.rgb, pixels, N), 0);
	image_release(&image);
	unlink(path);
	free(tmp);
	free(path);
}

static void test_png_write_errors(void)
{
	unsigned char pixels[3] = {1, 2, 3};
	struct err err = {{0}};
	char *path = scratch("target");
	char *tmp = x_asprintf("%s.tmp", path);

	CU_ASSERT_EQUAL(png_write_rgb(path, pixels, 0, 1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "0 x 1 pixels; at least 1 x 1 expected"));
	CU_ASSERT_EQUAL(png_write_rgb("/no/such/folder/x.png", pixels, 1, 1, &err), -1);
	CU_ASSERT_EQUAL(strncmp(err.msg, "/no/such/folder/x.png: cannot create", 36), 0);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(png_write_rgb(path, pixels, 1, 1, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "cannot rename"));
	CU_ASSERT_EQUAL(access(tmp, F_OK), -1);
	rmdir(path);
	/* A full disk: what is written to /dev/full goes nowhere, and path does not appear. */
	if (access("/dev/full", W_OK) == 0 && symlink("/dev/full", tmp) == 0) {
		CU_ASSERT_EQUAL(png_write_rgb(path, pixels, 1, 1, &err), -1);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "No space left on device"));
		CU_ASSERT_EQUAL(access(path, F_OK), -1);
	}
	unlink(tmp);
	free(tmp);
	free(path);
}

/* ---------------------------------------------------------------- resizing */

static const enum resize_filter all_filters[] = {
	RESIZE_NEAREST, RESIZE_BILINEAR, RESIZE_BICUBIC, RESIZE_LANCZOS};

static void test_filter_names(void)
{
	struct err err = {{0}};
	enum resize_filter f;

	for (int i = 0; i < 4; i++) {
		f = RESIZE_NEAREST;
		CU_ASSERT_EQUAL(resize_filter_parse(&f, resize_filter_name(all_filters[i]), &err), 0);
		CU_ASSERT_EQUAL(f, all_filters[i]);
	}
	CU_ASSERT_EQUAL(resize_filter_parse(&f, "bicubic", &err), 0);
	CU_ASSERT_EQUAL(f, RESIZE_BICUBIC);
	CU_ASSERT_EQUAL(resize_filter_parse(&f, "box", &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "\"box\"; expected nearest, bilinear, bicubic or lanczos"));
}

static void test_resize_to_same_size(void)
{
	unsigned char in[N], out[N];
	struct err err = {{0}};

	fill(in, N);
	for (int i = 0; i < 4; i++) {
		memset(out, 0, N);
		CU_ASSERT_EQUAL(resize_u8(out, W, H, in, W, H, all_filters[i], &err), 0);
		CU_ASSERT_EQUAL(memcmp(in, out, N), 0);
	}
}

/* Weights add up to 1, so an even colour stays as it is, in the corners too. */
static void test_constant_stays_constant(void)
{
	static const int sizes[][2] = {{1, 1}, {W, 5}, {5, H}, {2 * W + 1, 3 * H}, {W / 2, H / 3}, {100, 3}};
	unsigned char in[N];
	struct err err = {{0}};

	for (int value = 0; value < 256; value += 51) {
		memset(in, value, N);
		for (int i = 0; i < 4 * 6; i++) {
			int w = sizes[i / 4][0], h = sizes[i / 4][1], wrong = 0;
			unsigned char *out = x_calloc((size_t)w * (size_t)h, 3);
			CU_ASSERT_EQUAL(resize_u8(out, w, h, in, W, H, all_filters[i % 4], &err), 0);
			for (int j = 0; j < w * h * 3; j++)
				wrong += out[j] != value;
			CU_ASSERT_EQUAL(wrong, 0);
			free(out);
		}
	}
}

/* 2 x 2 to 1 x 1: all four weigh a quarter; rounded after each pass, half up. */
static void test_average_of_four(void)
{
	static const unsigned char in[12] = {10, 0, 255, 20, 1, 255, 30, 0, 0, 41, 0, 0};
	unsigned char out[3];
	struct err err = {{0}};

	for (int i = 1; i < 4; i++) {
		CU_ASSERT_EQUAL(resize_u8(out, 1, 1, in, 2, 2, all_filters[i], &err), 0);
		CU_ASSERT_EQUAL(out[0], 26);  /* rows 15 and 35.5 -> 36; 25.5 -> 26 */
		CU_ASSERT_EQUAL(out[1], 1);   /* rows 0.5 -> 1 and 0; 0.5 -> 1 */
		CU_ASSERT_EQUAL(out[2], 128); /* 127.5 */
	}
}

/* 2 to 4 across: centres lie at -0.25, 0.25, 0.75, 1.25 input pixels, counted from the first one's centre. */
static void test_enlarged_edge(void)
{
	static const unsigned char in[6] = {0, 0, 0, 100, 200, 255};
	static const unsigned char linear[12] = {0, 0, 0, 25, 50, 64, 75, 150, 191, 100, 200, 255};
	static const unsigned char near[12] = {0, 0, 0, 0, 0, 0, 100, 200, 255, 100, 200, 255};
	unsigned char out[12];
	struct err err = {{0}};

	CU_ASSERT_EQUAL(resize_u8(out, 4, 1, in, 2, 1, RESIZE_BILINEAR, &err), 0);
	CU_ASSERT_EQUAL(memcmp(out, linear, 12), 0);
	CU_ASSERT_EQUAL(resize_u8(out, 4, 1, in, 2, 1, RESIZE_NEAREST, &err), 0);
	CU_ASSERT_EQUAL(memcmp(out, near, 12), 0);
	/* Bicubic at 0.25: w(0.25) = 0.8671875, w(0.75) = 0.2265625; at -0.25, w(1.25) = -0.0703125. */
	CU_ASSERT_EQUAL(resize_u8(out, 4, 1, in, 2, 1, RESIZE_BICUBIC, &err), 0);
	CU_ASSERT_EQUAL(out[0], 0);    /* -8.8 clipped */
	CU_ASSERT_EQUAL(out[3], 21);   /* 100 * 0.2265625 / 1.09375 = 20.71 */
	CU_ASSERT_EQUAL(out[6], 79);   /* 79.29 */
	CU_ASSERT_EQUAL(out[9], 109);  /* 100 * 0.8671875 / 0.796875 = 108.82 */
	CU_ASSERT_EQUAL(out[11], 255); /* 277.5 clipped */
}

/* Across and down are the same filter: resizing the transpose gives the transpose. */
static void test_axes_agree(void)
{
	unsigned char line[W * 3], across[11 * 3], down[11 * 3];
	struct err err = {{0}};

	fill(line, W * 3);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(resize_u8(across, 11, 1, line, W, 1, all_filters[i], &err), 0);
		CU_ASSERT_EQUAL(resize_u8(down, 1, 11, line, 1, W, all_filters[i], &err), 0);
		CU_ASSERT_EQUAL(memcmp(across, down, sizeof(across)), 0);
	}
}

static void test_resize_bad_size(void)
{
	unsigned char px[3] = {0};
	struct err err = {{0}};

	CU_ASSERT_EQUAL(resize_u8(px, 0, 1, px, 1, 1, RESIZE_BICUBIC, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "1 x 1 to 0 x 1 pixels"));
	CU_ASSERT_EQUAL(resize_u8(px, 1, 1, px, 1, -3, RESIZE_NEAREST, &err), -1);
}

static void test_crop(void)
{
	unsigned char in[N], out[2 * 3 * 3];

	fill(in, N);
	crop_u8(out, 2, 3, in, W, H, 5, 7);
	for (int y = 0; y < 3; y++)
		CU_ASSERT_EQUAL(memcmp(out + y * 6, in + ((7 + y) * W + 5) * 3, 6), 0);
	crop_u8(out, 2, 3, in, W, H, W - 2, H - 3);
	CU_ASSERT_EQUAL(memcmp(out + 12, in + N - 6, 6), 0);
}

/* ---------------------------------------------------------------- registration */

int register_image_tests(void)
{
	static const struct {
		const char *name;
		CU_TestFunc run;
	} tests[] = {
		{"not an image", test_not_an_image},
		{"JPEG decodes", test_jpeg_decodes},
		{"grey JPEG has equal channels", test_grey_jpeg_has_equal_channels},
		{"every truncation is refused", test_every_truncation_is_refused},
		{"PNG bit flips are refused", test_png_bit_flips_are_refused},
		{"corrupt JPEG header", test_corrupt_jpeg_header},
		{"size limit", test_size_limit},
		{"scan limit", test_scan_limit},
		{"unreadable files", test_unreadable_files},
		{"PNG round trip", test_png_round_trip},
		{"PNG write errors", test_png_write_errors},
		{"filter names", test_filter_names},
		{"resize to the same size", test_resize_to_same_size},
		{"a constant stays constant", test_constant_stays_constant},
		{"average of four", test_average_of_four},
		{"enlarged edge", test_enlarged_edge},
		{"axes agree", test_axes_agree},
		{"resize to a bad size", test_resize_bad_size},
		{"crop", test_crop},
	};
	CU_pSuite suite = CU_add_suite("image", NULL, NULL);

	if (!suite)
		return -1;
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!CU_add_test(suite, tests[i].name, tests[i].run))
			return -1;
	return 0;
}

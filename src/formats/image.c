#include "formats/image.h"

#include "formats/file.h"

#include <setjmp.h>
#include <stdio.h> /* before jpeglib.h, which needs FILE */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

/*
 * Both libraries report an error by a call that must not return, so both decoders have one shape: a "job"
 * that holds all that must survive the longjmp(), in the frame of a function that does not call setjmp() and
 * cleans up; and a function that calls setjmp() and does the work, and reads no local variable after a jump.
 */

static const unsigned char jpeg_magic[] = {0xff, 0xd8, 0xff};
static const unsigned char png_magic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* Takes memory for the pixels, once the header has told the size. An image is as large as its file says, so
 * here lack of memory is bad data, not the end of the program. */
static int image_alloc(
	struct image *out, unsigned long width, unsigned long height, const char *name, struct err *err)
{
	if (width == 0 || height == 0 || width > IMAGE_MAX_PIXELS || height > IMAGE_MAX_PIXELS ||
		width * height > IMAGE_MAX_PIXELS)
		return err_set(err, "%s: an image of %lu x %lu pixels; between 1 and %d pixels expected",
			name, width, height, IMAGE_MAX_PIXELS);
	out->rgb = malloc(width * height * 3);
	if (!out->rgb)
		return err_set(err, "%s: too little memory for its %lu x %lu pixels", name, width, height);
	out->width = (int)width;
	out->height = (int)height;
	return 0;
}

/* ---------------------------------------------------------------- JPEG */

/* Each scan costs a pass over the whole image, and ten bytes make one: a small file could take hours.
 * Photographs have ten or so; this is the limit that libjpeg-turbo recommends. */
enum { JPEG_MAX_SCANS = 500 };

struct jpeg_job {
	struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
	jmp_buf fail;
	struct jpeg_progress_mgr progress;
	struct jpeg_source_mgr source;
	struct jpeg_decompress_struct cinfo;
	unsigned char *cmyk; /* one row of a four-component image */
	const char *name;
	struct err *err;
};

static _Noreturn void jpeg_on_error(j_common_ptr cinfo)
{
	struct jpeg_job *job = (struct jpeg_job *)cinfo->err;
	char message[JMSG_LENGTH_MAX];

	cinfo->err->format_message(cinfo, message);
	err_set(job->err, "%s: corrupt or unsupported JPEG file: %s", job->name, message);
	longjmp(job->fail, 1);
}

static void jpeg_on_message(j_common_ptr cinfo)
{
	(void)cinfo; /* warnings are counted by libjpeg and, like Pillow, not printed */
}

static void jpeg_on_progress(j_common_ptr cinfo)
{
	struct jpeg_job *job = (struct jpeg_job *)cinfo->err;

	if (job->cinfo.input_scan_number <= JPEG_MAX_SCANS)
		return;
	err_set(job->err, "%s: a JPEG file of more than %d scans", job->name, JPEG_MAX_SCANS);
	longjmp(job->fail, 1);
}

static void jpeg_on_start(j_decompress_ptr cinfo)
{
	(void)cinfo;
}

/* "No more data for now": each libjpeg call then returns as suspended, which here means truncated. libjpeg's
 * own memory source instead feigns an end of image, and decodes the missing part as grey. */
static boolean jpeg_on_empty(j_decompress_ptr cinfo)
{
	(void)cinfo;
	return FALSE;
}

static void jpeg_on_skip(j_decompress_ptr cinfo, long n)
{
	struct jpeg_source_mgr *s = cinfo->src;
	size_t step = n <= 0 ? 0 : (size_t)n < s->bytes_in_buffer ? (size_t)n : s->bytes_in_buffer;

	s->next_input_byte += step;
	s->bytes_in_buffer -= step;
}

static int jpeg_truncated(struct jpeg_job *job)
{
	return err_set(job->err, "%s: truncated JPEG file: the data ends before the image does", job->name);
}

/* (c * k + 127.5) / 255 in integers, as Pillow multiplies two 8-bit fractions. */
static int multiply_u8(int c, int k)
{
	int t = c * k + 128;

	return (t + (t >> 8)) >> 8;
}

/* libjpeg gives the four inks as they lie in the file, inverted: 255 is no ink. */
static void inverted_cmyk_to_rgb(unsigned char *rgb, const unsigned char *cmyk, int width)
{
	for (int x = 0; x < width; x++, rgb += 3, cmyk += 4) {
		int light = cmyk[3];
		for (int c = 0; c < 3; c++)
			rgb[c] = (unsigned char)(light - multiply_u8(255 - cmyk[c], light));
	}
}

static int jpeg_rows(struct jpeg_job *job, struct image *out)
{
	struct jpeg_decompress_struct *cinfo = &job->cinfo;

	while (cinfo->output_scanline < cinfo->output_height) {
		unsigned char *rgb = out->rgb + (size_t)cinfo->output_scanline * (size_t)out->width * 3;
		JSAMPROW row = job->cmyk ? job->cmyk : rgb;
		if (jpeg_read_scanlines(cinfo, &row, 1) != 1)
			return jpeg_truncated(job);
		if (job->cmyk)
			inverted_cmyk_to_rgb(rgb, job->cmyk, out->width);
	}
	return 0;
}

static int jpeg_run(struct jpeg_job *job, struct image *out)
{
	struct jpeg_decompress_struct *cinfo = &job->cinfo;

	if (setjmp(job->fail))
		return -1;
	jpeg_create_decompress(cinfo);
	cinfo->src = &job->source;
	cinfo->progress = &job->progress;
	if (jpeg_read_header(cinfo, TRUE) != JPEG_HEADER_OK)
		return jpeg_truncated(job);
	int n = cinfo->num_components;
	if (n != 1 && n != 3 && n != 4)
		return err_set(
			job->err, "%s: a JPEG file of %d components; 1, 3 or 4 expected", job->name, n);
	if (image_alloc(out, cinfo->image_width, cinfo->image_height, job->name, job->err))
		return -1;
	cinfo->out_color_space = n == 4 ? JCS_CMYK : JCS_RGB;
	if (n == 4)
		job->cmyk = x_malloc((size_t)out->width * 4);
	if (!jpeg_start_decompress(cinfo))
		return jpeg_truncated(job);
	if (jpeg_rows(job, out))
		return -1;
	jpeg_finish_decompress(cinfo); /* suspended: only the end marker is missing, every row is there */
	return 0;
}

static int decode_jpeg(
	struct image *out, const unsigned char *data, size_t size, const char *name, struct err *err)
{
	struct jpeg_job job = {.name = name, .err = err};

	job.cinfo.err = jpeg_std_error(&job.errors);
	job.errors.error_exit = jpeg_on_error;
	job.errors.output_message = jpeg_on_message;
	job.progress.progress_monitor = jpeg_on_progress;
	job.source = (struct jpeg_source_mgr){
		.next_input_byte = data,
		.bytes_in_buffer = size,
		.init_source = jpeg_on_start,
		.fill_input_buffer = jpeg_on_empty,
		.skip_input_data = jpeg_on_skip,
		.resync_to_restart = jpeg_resync_to_restart,
		.term_source = jpeg_on_start,
	};
	int status = jpeg_run(&job, out);
	jpeg_destroy_decompress(&job.cinfo);
	free(job.cmyk);
	return status;
}

/* ---------------------------------------------------------------- PNG */

/* libpng only unpacks, unfilters and deinterlaces; the way to 8-bit RGB is Pillow's, so it is done here. */
struct png_job {
	png_structp png;
	png_infop info;
	const unsigned char *data; /* what is left to read */
	size_t left;
	int type, depth;               /* IHDR's colour type and bits per sample */
	unsigned char palette[256][3]; /* for PNG_COLOR_TYPE_PALETTE */
	unsigned char *raw;            /* one row, or all of an interlaced image */
	const char *name;
	struct err *err;
};

static _Noreturn void png_on_error(png_structp png, png_const_charp message)
{
	struct png_job *job = png_get_error_ptr(png);

	err_set(job->err, "%s: corrupt or unsupported PNG file: %s", job->name, message);
	png_longjmp(png, 1);
}

static void png_on_warning(png_structp png, png_const_charp message)
{
	(void)png;
	(void)message;
}

static void png_on_read(png_structp png, png_bytep to, size_t n)
{
	struct png_job *job = png_get_io_ptr(png);

	if (n > job->left) {
		err_set(job->err, "%s: truncated PNG file: the data ends before the image does", job->name);
		png_longjmp(png, 1);
	}
	memcpy(to, job->data, n);
	job->data += n;
	job->left -= n;
}

/* An index that the palette does not reach shows as its own grey. */
static void png_take_palette(struct png_job *job)
{
	png_colorp colors = NULL;
	int n = 0;

	for (int i = 0; i < 256; i++)
		memset(job->palette[i], i, 3);
	png_get_PLTE(job->png, job->info, &colors, &n);
	for (int i = 0; i < n && i < 256; i++) {
		job->palette[i][0] = colors[i].red;
		job->palette[i][1] = colors[i].green;
		job->palette[i][2] = colors[i].blue;
	}
}

/* Grey without alpha: fewer than 8 bits (one pixel a byte here) are stretched to 0..255, 16 are clipped. */
static void png_grey_to_rgb(unsigned char *rgb, const unsigned char *raw, int width, int depth)
{
	int factor = depth < 8 ? 255 / ((1 << depth) - 1) : 1;

	for (int x = 0; x < width; x++, rgb += 3, raw += depth == 16 ? 2 : 1) {
		if (depth == 16)
			memset(rgb, raw[0] ? 255 : raw[1], 3);
		else
			memset(rgb, raw[0] * factor, 3);
	}
}

static void png_palette_to_rgb(
	unsigned char *rgb, const unsigned char *raw, int width, unsigned char (*palette)[3])
{
	for (int x = 0; x < width; x++, rgb += 3)
		memcpy(rgb, palette[raw[x]], 3);
}

/* Colour, or grey with alpha: the high byte of each colour sample, `step` bytes a pixel. */
static void png_samples_to_rgb(unsigned char *rgb, const unsigned char *raw, int width, int type, int depth)
{
	int bytes = depth / 8;
	int color = type & PNG_COLOR_MASK_COLOR;
	int step = bytes * ((color ? 3 : 1) + (type & PNG_COLOR_MASK_ALPHA ? 1 : 0));

	for (int x = 0; x < width; x++, raw += step, rgb += 3)
		for (int c = 0; c < 3; c++)
			rgb[c] = raw[color ? c * bytes : 0];
}

static void png_row_to_rgb(struct png_job *job, unsigned char *rgb, const unsigned char *raw, int width)
{
	if (job->type == PNG_COLOR_TYPE_GRAY)
		png_grey_to_rgb(rgb, raw, width, job->depth);
	else if (job->type == PNG_COLOR_TYPE_PALETTE)
		png_palette_to_rgb(rgb, raw, width, job->palette);
	else
		png_samples_to_rgb(rgb, raw, width, job->type, job->depth);
}

/* Lenient where Pillow is (what is not pixels or palette is skipped; sizes have no limit but ours; the
 * window that the zlib header claims is not enforced), strict about every CRC. */
static void png_configure(struct png_job *job)
{
	png_set_read_fn(job->png, job, png_on_read);
	png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
	png_set_benign_errors(job->png, 1);
	png_set_option(job->png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
	png_set_crc_action(job->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
}

/* An interlaced image is gathered over seven passes, so it is held whole; any other goes row by row. */
static void png_rows(struct png_job *job, struct image *out)
{
	int passes = png_set_interlace_handling(job->png);

	png_set_packing(job->png); /* fewer than 8 bits: still one pixel a byte */
	png_read_update_info(job->png, job->info);
	size_t row_size = png_get_rowbytes(job->png, job->info);
	size_t held = passes > 1 ? (size_t)out->height : 1;
	job->raw = calloc(held, row_size);
	if (!job->raw) /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): raw is freed with the job */
		png_error(job->png, "too little memory for its pixels");
	for (int pass = 0; pass < passes; pass++) {
		for (size_t y = 0; y < (size_t)out->height; y++) {
			unsigned char *raw = job->raw + (passes > 1 ? y : 0) * row_size;
			png_read_row(job->png, raw, NULL);
			if (pass == passes - 1)
				png_row_to_rgb(job, out->rgb + y * (size_t)out->width * 3, raw, out->width);
		}
	}
}

static int png_run(struct png_job *job, struct image *out)
{
	if (setjmp(png_jmpbuf(job->png)))
		return -1;
	job->info = png_create_info_struct(job->png);
	if (!job->info)
		png_error(job->png, "too little memory");
	png_configure(job);
	png_read_info(job->png, job->info);
	if (image_alloc(out, png_get_image_width(job->png, job->info),
		    png_get_image_height(job->png, job->info), job->name, job->err))
		return -1;
	job->type = png_get_color_type(job->png, job->info);
	job->depth = png_get_bit_depth(job->png, job->info);
	if (job->type == PNG_COLOR_TYPE_PALETTE)
		png_take_palette(job);
	png_rows(job, out);
	png_read_end(job->png, NULL);
	return 0;
}

static int decode_png(
	struct image *out, const unsigned char *data, size_t size, const char *name, struct err *err)
{
	struct png_job job = {.data = data, .left = size, .name = name, .err = err};

	job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, png_on_error, png_on_warning);
	if (!job.png)
		return err_set(err, "%s: libpng cannot start (too little memory, or another version)", name);
	int status = png_run(&job, out);
	png_destroy_read_struct(&job.png, &job.info, NULL);
	free(job.raw);
	return status;
}

/* ---------------------------------------------------------------- entry points */

static int begins_with(const unsigned char *data, size_t size, const unsigned char *magic, size_t n)
{
	return size >= n && memcmp(data, magic, n) == 0;
}

static int unknown_kind(const unsigned char *data, size_t size, const char *name, struct err *err)
{
	char hex[8 * 3 + 1] = "";

	if (size == 0)
		return err_set(err, "%s: an empty file; a JPEG or PNG file expected", name);
	for (size_t i = 0; i < size && i < 8; i++)
		snprintf(hex + 3 * i, 4, " %02x", data[i]);
	return err_set(err, "%s: not a JPEG or PNG file: it begins with%s; ff d8 ff or 89 50 4e 47 expected",
		name, hex);
}

int image_decode(struct image *out, const unsigned char *data, size_t size, const char *name, struct err *err)
{
	int status;

	memset(out, 0, sizeof(*out));
	if (begins_with(data, size, jpeg_magic, sizeof(jpeg_magic)))
		status = decode_jpeg(out, data, size, name, err);
	else if (begins_with(data, size, png_magic, sizeof(png_magic)))
		status = decode_png(out, data, size, name, err);
	else
		status = unknown_kind(data, size, name, err);
	if (status)
		image_release(out);
	return status;
}

int image_read(struct image *out, const char *path, struct err *err)
{
	size_t size = 0;

	memset(out, 0, sizeof(*out));
	unsigned char *data = file_read(path, 0, "a JPEG or PNG file", &size, err);
	if (!data)
		return -1;
	int status = image_decode(out, data, size, path, err);
	free(data);
	return status;
}

void image_release(struct image *image)
{
	free(image->rgb);
	memset(image, 0, sizeof(*image));
}

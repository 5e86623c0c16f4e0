#include "formats/png_write.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the callbacks of libpng reach. It lives in the frame of the caller of setjmp(), so that nothing in it
 * is lost to a longjmp(). */
struct png_out {
	png_structp png;
	png_infop info;
	FILE *file;
	char message[256];
};

static _Noreturn void on_error(png_structp png, png_const_charp message)
{
	struct png_out *o = png_get_error_ptr(png);

	snprintf(o->message, sizeof(o->message), "%s", message);
	png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
	(void)png;
	(void)message;
}

static void on_write(png_structp png, png_bytep data, size_t size)
{
	struct png_out *o = png_get_io_ptr(png);

	if (fwrite(data, 1, size, o->file) != size)
		png_error(png, strerror(errno));
}

static void on_flush(png_structp png)
{
	(void)png; /* close_whole() looks after the stdio buffer */
}

/* Returns 0, or -1 with o->message set. */
static int encode(struct png_out *o, const unsigned char *rgb, int w, int h)
{
	if (setjmp(png_jmpbuf(o->png)))
		return -1;
	o->info = png_create_info_struct(o->png);
	if (!o->info)
		png_error(o->png, "out of memory");
	png_set_write_fn(o->png, o, on_write, on_flush);
	png_set_user_limits(o->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_IHDR(o->png, o->info, (png_uint_32)w, (png_uint_32)h, 8, PNG_COLOR_TYPE_RGB,
		PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(o->png, o->info);
	for (int y = 0; y < h; y++)
		png_write_row(o->png, rgb + (size_t)y * (size_t)w * 3);
	png_write_end(o->png, NULL);
	return 0;
}

static int encode_to_file(struct png_out *o, const unsigned char *rgb, int w, int h)
{
	o->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, o, on_error, on_warning);
	if (!o->png) {
		if (!o->message[0])
			snprintf(o->message, sizeof(o->message), "out of memory");
		return -1;
	}
	int status = encode(o, rgb, w, h);
	png_destroy_write_struct(&o->png, &o->info);
	return status;
}

/* A full disk may show only when the last buffer is written or the file is closed. */
static int close_whole(struct png_out *o)
{
	int failed = ferror(o->file) || fflush(o->file);

	if (fclose(o->file) || failed) {
		snprintf(o->message, sizeof(o->message), "%s", strerror(errno));
		return -1;
	}
	return 0;
}

static int write_tmp(
	const char *path, const char *tmp, const unsigned char *rgb, int w, int h, struct err *err)
{
	struct png_out o = {0};

	o.file = fopen(tmp, "wb");
	if (!o.file)
		return err_set(err, "%s: cannot create %s: %s", path, tmp, strerror(errno));
	int status = encode_to_file(&o, rgb, w, h);
	if (status == 0)
		status = close_whole(&o);
	else
		fclose(o.file);
	if (status)
		err_set(err, "%s: cannot write the PNG file: %s", path, o.message);
	else if (rename(tmp, path))
		status = err_set(err, "%s: cannot rename %s to it: %s", path, tmp, strerror(errno));
	if (status)
		unlink(tmp);
	return status;
}

int png_write_rgb(const char *path, const unsigned char *rgb, int w, int h, struct err *err)
{
	if (w < 1 || h < 1)
		return err_set(err, "%s: cannot write a PNG file of %d x %d pixels; at least 1 x 1 expected",
			path, w, h);
	char *tmp = x_asprintf("%s.tmp", path);
	int status = write_tmp(path, tmp, rgb, w, h, err);
	free(tmp);
	return status;
}

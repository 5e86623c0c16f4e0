/*
 * Reading photographs: JPEG and PNG to 8-bit RGB, byte for byte what Pillow 9.4 gives for
 * Image.open(f).convert("RGB") over the same libjpeg-turbo. What follows from that:
 *
 *   - EXIF orientation, ICC profiles, gAMA and cHRM are ignored; alpha and tRNS are dropped, not composited.
 *   - CMYK and YCCK JPEGs are taken as inverted (Adobe's habit), Adobe marker or not.
 *   - 16-bit colour, and grey with alpha, keeps the high byte of each sample. 16-bit grey *without* alpha
 *     is clipped to 255, not scaled: nearly every pixel comes out white. That is a quirk of the mode "I" of
 *     Pillow 9.4, kept for parity; such files are not photographs that a model was trained on.
 *   - A palette index beyond the palette is the grey of its own value.
 *
 * Damage: a JPEG is refused exactly when libjpeg calls it an error (not a warning: one with a few bad bits in
 * its scan decodes, as in Pillow) or its data end before its last row is decoded, which needs, nearly always,
 * the end marker. For PNG this is stricter than Pillow: every chunk up to and including IEND must be there
 * with a good CRC, and every row; Pillow does not read the CRCs of the pixel data, does without IEND, and in
 * some cases without the last rows.
 *
 * No global state: any number of threads may decode at once.
 */
#ifndef FORMATS_IMAGE_H
#define FORMATS_IMAGE_H

#include <stddef.h>

#include "base/err.h"

/* Most pixels that an image may have: where Pillow refuses a "decompression bomb". */
enum { IMAGE_MAX_PIXELS = 178956970 };

/* An image, (height, width, 3), row by row from the top, R G B interleaved, no padding. rgb is owned
 * (malloc); a zeroed struct is an empty image. */
struct image {
	int width, height;
	unsigned char *rgb;
};

/* Decodes the file at path into out (any former content is overwritten, not released). The kind is told by
 * the content, not by the name. Returns 0, and out is to be released with image_release; or -1 with out
 * empty and err set to a line that begins with path: the file cannot be read, is no regular file, is empty,
 * is neither JPEG nor PNG, is truncated or corrupt, is of a kind that Pillow refuses too (such as 12-bit
 * JPEG), or has more than IMAGE_MAX_PIXELS pixels (told from the header, before memory is asked for). */
int image_read(struct image *out, const char *path, struct err *err);

/* The same from size bytes at data; name stands for the path in messages. */
int image_decode(
	struct image *out, const unsigned char *data, size_t size, const char *name, struct err *err);

/* Frees the pixels and leaves an empty image; one already empty is fine. */
void image_release(struct image *image);

#endif

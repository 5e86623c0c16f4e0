/*
 * Resampling 8-bit RGB images, byte for byte as Pillow's Image.resize(): separable antialiased filters in
 * fixed point, the rows first and then the columns, each pass rounded and clipped to 8 bits.
 */
#ifndef FORMATS_RESIZE_H
#define FORMATS_RESIZE_H

#include "base/err.h"

/* Filters by their Pillow names. Support in input pixels when enlarging (it grows with the factor when
 * shrinking): bilinear 1, bicubic (a = -0.5) 2, Lanczos 3. Nearest picks one pixel and never blends. */
enum resize_filter { RESIZE_NEAREST, RESIZE_BILINEAR, RESIZE_BICUBIC, RESIZE_LANCZOS };

/* Finds the filter called name ("nearest", "bilinear", "bicubic", "lanczos"; lower case). Returns 0 and sets
 * *out, or -1 with err set. */
int resize_filter_parse(enum resize_filter *out, const char *name, struct err *err);

/* The name of a filter, as resize_filter_parse takes it. */
const char *resize_filter_name(enum resize_filter filter);

/* Resamples in (in_h, in_w, 3) to out (out_h, out_w, 3), which the caller provides; they may not overlap.
 * Takes working memory for the intermediate rows and gives it back. Returns 0, or -1 with err set when a size
 * is below 1 or there is too little memory; out is undefined then. */
int resize_u8(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h,
	enum resize_filter filter, struct err *err);

/* Copies the window of in (in_h, in_w, 3) whose upper left pixel is (left, top) to out (out_h, out_w, 3).
 * The window must lie within in; anything else is the caller's bug. */
void crop_u8(unsigned char *out, int out_w, int out_h, const unsigned char *in, int in_w, int in_h, int left,
	int top);

#endif

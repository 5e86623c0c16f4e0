/*
 * Writing an RGB image as PNG.
 */
#ifndef FORMATS_PNG_WRITE_H
#define FORMATS_PNG_WRITE_H

#include "base/err.h"

/* Writes rgb (h, w, 3), 8 bits, to path: first to "PATH.tmp", which is renamed when it is whole, so that
 * what stands at path is never part of a file (a former file there stays until then). Returns 0, or -1 with
 * err set (the line begins with path) and PATH.tmp removed: a size below 1, or the file cannot be created,
 * written or renamed. Two writers of one path at a time would share PATH.tmp; the caller sees to it. */
int png_write_rgb(const char *path, const unsigned char *rgb, int w, int h, struct err *err);

#endif

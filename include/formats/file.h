/* A whole file in memory. */
#ifndef FORMATS_FILE_H
#define FORMATS_FILE_H

#include "base/err.h"

#include <stddef.h>

/* The bytes of a regular file, with a zero byte behind them that *size does not count; owned by the caller
 * (free). A file of more than `limit` bytes is refused (0: none is). NULL with err set to a line that begins
 * with path: cannot be opened or read, no regular file (a pipe is not waited for), too large, no memory.
 * expected: what the file should have been, for the message. */
unsigned char *file_read(const char *path, size_t limit, const char *expected, size_t *size, struct err *err);

#endif

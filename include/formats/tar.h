/*
 * Tar archives through libarchive (ustar, GNU and pax): a pass over all members, and one member at random,
 * from the position that the pass told. Compressed archives cannot be read at random and are refused.
 */
#ifndef FORMATS_TAR_H
#define FORMATS_TAR_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { TAR_SMALL = 64 };

/* A regular file in an archive. */
struct tar_member {
	const char *name;
	int64_t offset;   /* of its header, for tar_read() */
	const char *text; /* the content of a file of less than TAR_SMALL bytes, NUL-terminated; else NULL */
};

/* Calls visit for every regular file, in the order of the archive, until it returns other than 0, which is
 * returned. -1 for what is no whole tar archive; the message begins with path. */
int tar_each(const char *path, int (*visit)(const struct tar_member *m, void *ctx, struct err *err),
	void *ctx, struct err *err);

/* The content of a member: *data is malloc'd and owned by the caller. offset: of its header, or -1 to look
 * for the name. Refused where another member is found there. The message does not name the member. */
int tar_read(unsigned char **data, size_t *size, const char *path, const char *name, int64_t offset,
	struct err *err);

#endif

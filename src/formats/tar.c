#include "formats/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Headers are 512 bytes; what lies between is skipped by seeking. */
enum { HEADER_BLOCK = 4096, DATA_BLOCK = 1 << 17 };

struct reader {
	struct archive *a;
	int fd;
	int64_t size; /* of the file */
};

static void close_reader(struct reader *r)
{
	if (r->a)
		archive_read_free(r->a);
	if (r->fd >= 0)
		close(r->fd);
}

static int open_reader(struct reader *r, const char *path, int64_t offset, size_t block, struct err *err)
{
	struct stat s;

	*r = (struct reader){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
	if (r->fd < 0)
		return err_set(err, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(r->fd, &s) || !S_ISREG(s.st_mode)) {
		close_reader(r);
		return err_set(err, "%s: expected a regular file", path);
	}
	r->size = s.st_size;
	r->a = archive_read_new();
	if (!r->a || archive_read_support_format_tar(r->a))
		BUG("libarchive without tar");
	if (lseek(r->fd, offset, SEEK_SET) < 0 || archive_read_open_fd(r->a, r->fd, block)) {
		const char *why = archive_error_string(r->a);

		err_set(err, "%s: no uncompressed tar archive at byte %lld: %s", path, (long long)offset,
			why ? why : strerror(errno));
		close_reader(r);
		return -1;
	}
	return 0;
}

/* The next regular file: 1; none left: 0; -1: not a whole archive. */
static int next_member(struct reader *r, struct archive_entry **e, const char *path, struct err *err)
{
	for (;;) {
		int rc = archive_read_next_header(r->a, e);

		if (rc == ARCHIVE_EOF)
			return 0;
		/* ARCHIVE_WARN: a name of other bytes than its character set has. ARCHIVE_RETRY would look
		 * for the next header behind a damaged one. */
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return err_set(err, "%s: not a whole, uncompressed tar archive: %s", path,
				archive_error_string(r->a) ? archive_error_string(r->a) : "unreadable");
		if (archive_entry_filetype(*e) == AE_IFREG && !archive_entry_hardlink(*e) &&
			archive_entry_pathname(*e))
			return 1;
	}
}

/* An archive ends in zeros; one that was cut between two members is fine but for that. */
static bool has_end(const struct reader *r)
{
	static const char zeros[512];
	char last[sizeof(zeros)];

	return pread(r->fd, last, sizeof(last), r->size - (off_t)sizeof(last)) == sizeof(last) &&
	       !memcmp(last, zeros, sizeof(last));
}

int tar_each(const char *path, int (*visit)(const struct tar_member *m, void *ctx, struct err *err),
	void *ctx, struct err *err)
{
	struct archive_entry *e;
	struct reader r;
	int rc, found;

	if (open_reader(&r, path, 0, HEADER_BLOCK, err))
		return -1;
	for (rc = 0; !rc && (found = next_member(&r, &e, path, err));) {
		char text[TAR_SMALL];
		struct tar_member m = {found > 0 ? archive_entry_pathname(e) : NULL,
			found > 0 ? archive_read_header_position(r.a) : -1, NULL};

		if (found > 0 && archive_entry_size(e) < TAR_SMALL) {
			ssize_t n = archive_read_data(r.a, text, TAR_SMALL - 1);

			text[n > 0 ? n : 0] = 0;
			m.text = text;
			found = n < 0 ? err_set(err, "%s: member %s: %s", path, m.name,
						archive_error_string(r.a))
				      : found;
		}
		rc = found < 0 ? -1 : visit(&m, ctx, err);
	}
	if (!rc && !has_end(&r))
		rc = err_set(err, "%s: not a whole tar archive: its end is missing", path);
	close_reader(&r);
	return rc;
}

/* The member at hand. */
static int read_data(unsigned char **data, size_t *size, struct reader *r, struct archive_entry *e,
	const char *path, struct err *err)
{
	int64_t bytes = archive_entry_size(e);

	if (bytes < 0 || bytes > r->size)
		return err_set(err, "%s: a member of %lld bytes in a file of %lld", path, (long long)bytes,
			(long long)r->size);
	*size = (size_t)bytes;
	*data = x_malloc(*size + 1);
	if (archive_read_data(r->a, *data, *size) == bytes)
		return 0;
	free(*data);
	*data = NULL;
	return err_set(err, "%s: the member's data end too early", path);
}

int tar_read(unsigned char **data, size_t *size, const char *path, const char *name, int64_t offset,
	struct err *err)
{
	struct archive_entry *e;
	struct reader r;
	int found, same = 0;

	*data = NULL;
	if (open_reader(&r, path, offset < 0 ? 0 : offset, offset < 0 ? HEADER_BLOCK : DATA_BLOCK, err))
		return -1;
	while ((found = next_member(&r, &e, path, err)) > 0) {
		same = !strcmp(archive_entry_pathname(e), name);
		if (same || offset >= 0)
			break;
	}
	int rc = found < 0 ? -1
		 : same    ? read_data(data, size, &r, e, path, err)
			   : err_set(err, "%s: the member is not there%s", path,
                                  offset < 0 ? "" : " any more: the shard has changed since it was indexed");
	close_reader(&r);
	return rc;
}

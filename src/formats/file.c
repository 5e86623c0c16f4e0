#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The bytes of an open file. */
static unsigned char *read_all(
	int fd, size_t limit, const char *expected, size_t *size, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st)) {
		err_set(err, "%s: cannot read: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, "%s: not a regular file; %s expected", path, expected);
		return NULL;
	}
	if (limit && (size_t)st.st_size > limit) {
		err_set(err, "%s: %lld bytes; %s of at most %zu expected", path, (long long)st.st_size,
			expected, limit);
		return NULL;
	}
	unsigned char *data = malloc((size_t)st.st_size + 1);
	if (!data) {
		err_set(err, "%s: too little memory for its %lld bytes", path, (long long)st.st_size);
		return NULL;
	}
	ssize_t n = 1;
	for (*size = 0; *size < (size_t)st.st_size && n != 0;) {
		n = read(fd, data + *size, (size_t)st.st_size - *size);
		if (n < 0 && errno != EINTR) {
			err_set(err, "%s: cannot read: %s", path, strerror(errno));
			free(data);
			return NULL;
		}
		*size += n > 0 ? (size_t)n : 0;
	}
	data[*size] = 0;
	return data;
}

unsigned char *file_read(const char *path, size_t limit, const char *expected, size_t *size, struct err *err)
{
	/* O_NONBLOCK: a pipe of that name is refused, not waited for */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		err_set(err, "%s: cannot open: %s", path, strerror(errno));
		return NULL;
	}
	unsigned char *data = read_all(fd, limit, expected, size, path, err);
	close(fd);
	return data;
}

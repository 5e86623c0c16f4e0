/*
 * A disk that fails, for tests/runs/test_faults.py, which loads it with LD_PRELOAD. The calls that change a
 * file whose path begins with $DAVE_FAULT_PATH are counted, per process, and listed in $DAVE_FAULT_LOG; from
 * number $DAVE_FAULT_AT on they fail ($DAVE_FAULT_ONCE set: that one alone). $DAVE_FAULT_KIND  ENOSPC or EIO:
 * the reason. short: a write is cut to its half, as on a disk that is full in the middle of it, and the calls
 * after it fail with ENOSPC; what is no write succeeds. $DAVE_FAULT_RANK  under mpirun, only in that rank
 * What the C library does within itself (stdio) does not come through here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum fate { GO_ON, CUT, FAIL };

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static int g_calls;

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value ? value : otherwise;
}

static bool concerned(const char *path)
{
	const char *prefix = getenv("DAVE_FAULT_PATH"), *rank = getenv("DAVE_FAULT_RANK");

	return prefix && !strncmp(path, prefix, strlen(prefix)) &&
	       (!rank || !strcmp(rank, setting("OMPI_COMM_WORLD_RANK", rank)));
}

static void list_call(const char *call, const char *path, enum fate fate)
{
	static const char *const names[] = {"", " cut", " failed"};
	const char *log = getenv("DAVE_FAULT_LOG");
	FILE *f = log ? fopen(log, "ae") : NULL;

	if (f) {
		fprintf(f, "%d %s %s%s\n", g_calls, call, path, names[fate]);
		fclose(f);
	}
}

/* What is to become of this call; bytes: of a write, 0 for other calls. Sets errno. */
static enum fate fate_of(const char *call, const char *path, size_t bytes)
{
	const char *kind = setting("DAVE_FAULT_KIND", "ENOSPC");
	int at = atoi(setting("DAVE_FAULT_AT", "0")), saved = errno;
	bool cut = !strcmp(kind, "short"), once = getenv("DAVE_FAULT_ONCE");
	enum fate fate = GO_ON;

	if (!concerned(path))
		return GO_ON;
	pthread_mutex_lock(&g_lock);
	g_calls++;
	if (at && (g_calls == at || (g_calls > at && !once)))
		fate = FAIL;
	if (cut && fate == FAIL && g_calls == at && bytes != 1) /* a single byte cannot be cut */
		fate = bytes ? CUT : GO_ON;
	list_call(call, path, fate);
	pthread_mutex_unlock(&g_lock);
	errno = fate == FAIL ? !strcmp(kind, "EIO") ? EIO : ENOSPC : saved;
	return fate;
}

static enum fate fate_of_fd(const char *call, int fd, size_t bytes)
{
	char link[64], path[4096];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	return fate_of(call, path, bytes);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* NAME(fd, buffer, size) or NAME(fd, buffer, size, offset) */
#define WRITE(name, parameters, cut, whole)                                                                  \
	ssize_t name parameters                                                                              \
	{                                                                                                    \
		enum fate fate = fate_of_fd(#name, fd, n);                                                   \
                                                                                                             \
		return fate == FAIL ? -1 : fate == CUT ? REAL(name) cut : REAL(name) whole;                  \
	}

WRITE(write, (int fd, const void *p, size_t n), (fd, p, n / 2), (fd, p, n))
WRITE(pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n / 2, at), (fd, p, n, at))
WRITE(pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, n / 2, at), (fd, p, n, at))

/* The same of several blocks: cut, half of the first is written. */
#define WRITE_BLOCKS(name, parameters, cut, whole)                                                           \
	ssize_t name parameters                                                                              \
	{                                                                                                    \
		enum fate fate = fate_of_fd(#name, fd, v->iov_len);                                          \
		struct iovec half = {v->iov_base, v->iov_len / 2};                                           \
                                                                                                             \
		return fate == FAIL ? -1 : fate == CUT ? REAL(name) cut : REAL(name) whole;                  \
	}

WRITE_BLOCKS(writev, (int fd, const struct iovec *v, int n), (fd, &half, 1), (fd, v, n))
WRITE_BLOCKS(pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, &half, 1, at), (fd, v, n, at))
WRITE_BLOCKS(
	pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, &half, 1, at), (fd, v, n, at))

#define OTHER(name, parameters, arguments)                                                                   \
	int name parameters                                                                                  \
	{                                                                                                    \
		return fate_of_fd(#name, fd, 0) == FAIL ? -1 : REAL(name) arguments;                         \
	}

OTHER(fsync, (int fd), (fd))
OTHER(fdatasync, (int fd), (fd))
OTHER(ftruncate, (int fd, off_t size), (fd, size))
OTHER(ftruncate64, (int fd, off64_t size), (fd, size))
OTHER(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
OTHER(fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))

/* These two return the reason. */
int posix_fallocate(int fd, off_t at, off_t size)
{
	return fate_of_fd("posix_fallocate", fd, 0) == FAIL ? errno : REAL(posix_fallocate)(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
	return fate_of_fd("posix_fallocate64", fd, 0) == FAIL ? errno : REAL(posix_fallocate64)(fd, at, size);
}

int rename(const char *from, const char *to)
{
	return fate_of("rename", from, 0) == FAIL ? -1 : REAL(rename)(from, to);
}

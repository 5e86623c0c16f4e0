#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void one_line(char *s)
{
	for (; *s; s++)
		if (*s == '\n' || *s == '\r')
			*s = ' ';
}

int err_set(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	one_line(err->msg);
	return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	va_list ap;

	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->msg))
		snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", old);
	one_line(err->msg);
	return -1;
}

void err_bug(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "BUG: %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

static void *or_die(void *p, unsigned long size)
{
	if (!p) {
		fprintf(stderr, "error: out of memory (%lu bytes asked for)\n", size);
		exit(EXIT_RUN);
	}
	return p;
}

void *x_malloc(unsigned long size)
{
	return or_die(malloc(size ? size : 1), size);
}

void *x_calloc(unsigned long count, unsigned long size)
{
	return or_die(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *x_realloc(void *p, unsigned long size)
{
	return or_die(realloc(p, size ? size : 1), size);
}

void *x_aligned_alloc(unsigned long size)
{
	return or_die(aligned_alloc(64, (size + 64) / 64 * 64), size);
}

char *x_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(x_malloc(n), s, n);
}

char *x_asprintf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		BUG("bad format: %s", fmt);
	char *s = x_malloc((size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

/*
 * Errors: three kinds, never mixed.
 *
 *   bad data   a function returns -1 (or NULL) after err_set() put one line into
 *              the caller's struct err: what, where, what was expected.
 *   bad use    the tools print that line and exit with EXIT_USAGE.
 *   own bug    BUG() prints file and line and aborts.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum { EXIT_RUN = 1, EXIT_USAGE = 2 };

/* One message, always NUL-terminated, one line. Zero-initialise before use. */
struct err {
	char msg[1024];
};

/* Formats the message into err (a newline inside becomes a space; too long is cut).
 * Returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts a context in front of the message that err holds: "context: message". Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints "BUG: file:line: message" and aborts. */
_Noreturn void err_bug(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define BUG(...) err_bug(__FILE__, __LINE__, __VA_ARGS__)

/* malloc and friends that end the program (status EXIT_RUN, one line) when memory is out: a
 * program whose working memory was planned cannot do anything better. The result is owned by the
 * caller and freed with free(). x_aligned_alloc gives 64-byte aligned, uninitialised memory. */
void *x_malloc(unsigned long size);
void *x_calloc(unsigned long count, unsigned long size);
void *x_realloc(void *p, unsigned long size);
void *x_aligned_alloc(unsigned long size);
char *x_strdup(const char *s);
char *x_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

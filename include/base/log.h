/*
 * Lines for people, on standard error. Rank 0 alone says what concerns the run; any rank may warn. Characters
 * that would break a line or a terminal (names of files may hold them) are printed as '?'.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

/* From now on every line of this process goes to that file too, behind its time; appended to what is there.
 */
int log_open(const char *path, struct err *err);
void log_close(void);

/* Replaces those characters in a text that is printed by other means; returns it. */
char *log_clean(char *text);

/* One line for the log file alone; nothing where there is none. */
void log_detail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One line of information. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "warning: ..." */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "error: ..." */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

/*
 * Lines for people, on standard error. Rank 0 alone says what concerns the run; any rank may warn.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/* One line of information. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "warning: ..." */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "error: ..." */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

/*
 * Lines for people, on standard error. Rank 0 alone says what concerns the run; any rank may warn.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/* Name put before every warning, "rank 3: "; NULL or "" for none. The string is not copied. */
void log_prefix(const char *prefix);

/* One line of information. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "warning: ..." */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "error: ..." */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *g_file;

int log_open(const char *path, struct err *err)
{
	log_close();
	g_file = fopen(path, "ae");
	return g_file ? 0 : err_set(err, "%s: cannot open for logging: %s", path, strerror(errno));
}

void log_close(void)
{
	if (g_file)
		fclose(g_file);
	g_file = NULL;
}

char *log_clean(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	return text;
}

/* One write per line, so that lines of several ranks do not mix. */
static void line(int detail, const char *kind, const char *fmt, va_list ap)
{
	char text[2048], now[CLOCK_TIMESTAMP];

	vsnprintf(text, sizeof(text), fmt, ap);
	log_clean(text);
	if (g_file) {
		fprintf(g_file, "%s %s%s\n", clock_timestamp(now), kind, text);
		fflush(g_file);
	}
	/* a progress line may be standing there */
	if (!detail)
		fprintf(stderr, "%s%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", kind, text);
}

#define LOG_FUNCTION(name, detail, kind)                                                                     \
	void name(const char *fmt, ...)                                                                      \
	{                                                                                                    \
		va_list ap;                                                                                  \
                                                                                                             \
		va_start(ap, fmt);                                                                           \
		line(detail, kind, fmt, ap);                                                                 \
		va_end(ap);                                                                                  \
	}

LOG_FUNCTION(log_detail, 1, "")
LOG_FUNCTION(log_info, 0, "")
LOG_FUNCTION(log_warn, 0, "warning: ")
LOG_FUNCTION(log_error, 0, "error: ")

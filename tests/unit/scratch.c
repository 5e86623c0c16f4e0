#include "scratch.h"

#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char g_root[512];
static pid_t g_owner;

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
	(void)s;
	(void)kind;
	(void)at;
	return remove(path);
}

static void remove_all(void)
{
	if (getpid() == g_owner)
		nftw(g_root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

char *scratch_path(const char *name)
{
	const char *dir = getenv("TMPDIR");

	if (!g_owner) {
		snprintf(g_root, sizeof(g_root), "%s/dave-unit-XXXXXX", dir && *dir ? dir : "/tmp");
		need(mkdtemp(g_root) != NULL, g_root);
		g_owner = getpid();
		atexit(remove_all);
	}
	return x_asprintf("%s/%s", g_root, name);
}

/* Makes the folders above path. */
static void make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
}

void scratch_bytes(const char *name, const void *data, size_t size)
{
	char *path = scratch_path(name);

	make_parents(path);
	FILE *f = fopen(path, "wb");
	need(f && fwrite(data, 1, size, f) == size && fclose(f) == 0, path);
	free(path);
}

void scratch_text(const char *name, const char *text)
{
	scratch_bytes(name, text, strlen(text));
}

void scratch_folder(const char *name)
{
	char *path = scratch_path(name);

	make_parents(path);
	mkdir(path, 0700);
	free(path);
}

bool says(const struct err *err, ...)
{
	size_t n = strlen(err->msg);
	bool ok = n > 0 && n < sizeof(err->msg) - 1 && !strpbrk(err->msg, "\r\n");
	const char *part, *missing = "(one whole line)";
	va_list ap;

	va_start(ap, err);
	while (ok && (part = va_arg(ap, const char *))) {
		ok = strstr(err->msg, part) != NULL;
		missing = part;
	}
	va_end(ap);
	if (!ok)
		fprintf(stderr, "\n    \"%s\" lacks \"%s\"\n", err->msg, missing);
	return ok;
}

bool aborts(void (*f)(void *ctx), void *ctx)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		fclose(stderr);
		f(ctx);
		_exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

/* The configuration of a run, with overrides: leading lines "--set section.key=value". What config_format()
 * writes must read back as itself. */
#include "fuzz.h"

#include "pipeline/config.h"

#include <stdlib.h>

enum { MAX_OVERRIDES = 8 };

/* Cuts the leading lines off; returns where the rest begins. */
static char *cut_overrides(char *text, const char **override, int *count)
{
	static const char set[] = "--set ";
	char *end;

	for (*count = 0;
		*count < MAX_OVERRIDES && !strncmp(text, set, strlen(set)) && (end = strchr(text, '\n'));
		text = end + 1) {
		*end = 0;
		override[(*count)++] = text + strlen(set);
	}
	return text;
}

static void check_copy(const struct config *c)
{
	struct err err = {""};
	struct config copy;
	char *first = config_format(c, 0), *portable = config_format(c, 1);

	if (fuzz_failed(config_parse(&copy, first, strlen(first), "/copy.yaml", NULL, 0, &err), &err))
		BUG("%s\n%s", err.msg, first);
	char *second = config_format(&copy, 0);
	if (strcmp(first, second) != 0)
		BUG("a copy of a copy differs:\n%s\n%s", first, second);
	config_release(&copy);
	free(first);
	free(portable);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct config c;
	const char *override[MAX_OVERRIDES];
	char *all = x_calloc(size + 1, 1);
	int overrides;

	memcpy(all, data, size);
	char *text = cut_overrides(all, override, &overrides);
	size_t left = size - (size_t)(text - all);
	if (!fuzz_failed(config_parse(&c, text, left, "/fuzz.yaml", override, overrides, &err), &err)) {
		check_copy(&c);
		config_release(&c);
	}
	free(all);
	return 0;
}

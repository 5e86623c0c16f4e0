#include "base/option.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

static void *field(void *object, const struct option_row *o)
{
	return (char *)object + o->offset;
}

/* Index of text among "one|two|three", or -1. */
static int choice_index(const char *choices, const char *text)
{
	size_t n = strlen(text);
	int i = 0;

	if (strchr(text, '|'))
		return -1;
	for (const char *c = choices, *bar; c; c = bar ? bar + 1 : NULL, i++) {
		bar = strchr(c, '|');
		if (!strncmp(c, text, n) && (c[n] == '|' || !c[n]))
			return i;
	}
	return -1;
}

static int set_number(void *object, const struct option_row *o, const char *text)
{
	double d;
	long l;

	if (o->type == OPT_DOUBLE) {
		if (!num_parse_double(&d, text) || d < o->min || d > o->max)
			return -1;
		*(double *)field(object, o) = d;
	} else {
		if (!num_parse_long(&l, text) || (double)l < o->min || (double)l > o->max)
			return -1;
		*(int *)field(object, o) = (int)l;
	}
	return 0;
}

static int set(void *object, const struct option_row *o, const char *text)
{
	int *i = field(object, o);

	switch (o->type) {
	case OPT_AUTO:
		if (strcmp(text, "auto"))
			return set_number(object, o, text);
		*i = 0;
		return 0;
	case OPT_INT:
	case OPT_DOUBLE:
		return set_number(object, o, text);
	case OPT_U64:
		return num_parse_u64(field(object, o), text) ? 0 : -1;
	case OPT_BOOL:
		*i = !strcmp(text, "true");
		return *i || !strcmp(text, "false") ? 0 : -1;
	case OPT_CHOICE:
		*i = choice_index(o->choices, text);
		return *i < 0 ? -1 : 0;
	case OPT_STRING:
	case OPT_PATH:
		if (strlen(text) >= OPTION_TEXT)
			return -1;
		strcpy(field(object, o), text);
		return 0;
	}
	BUG("option %s has type %d", o->name, o->type);
}

int option_set(void *object, const struct option_row *o, const char *text, struct err *err)
{
	char expected[256];

	if (!set(object, o, text))
		return 0;
	return err_set(err, "%s: expected %s, got \"%.100s\"", o->name, option_expected(expected, o), text);
}

void option_defaults(void *object, const struct option_row *table)
{
	struct err err = {{0}};

	for (const struct option_row *o = table; o->name; o++)
		if (o->standard ? option_set(object, o, o->standard, &err)
				: (o->type == OPT_STRING || o->type == OPT_PATH) &&
					  (*(char *)field(object, o) = 0))
			BUG("default of an option: %s", err.msg);
}

char *option_format(char *buf, const void *object, const struct option_row *o)
{
	const void *f = (const char *)object + o->offset;
	const int *i = f;

	switch (o->type) {
	case OPT_AUTO:
	case OPT_INT:
		snprintf(buf, OPTION_TEXT, o->type == OPT_AUTO && !*i ? "auto" : "%d", *i);
		return buf;
	case OPT_U64:
		snprintf(buf, OPTION_TEXT, "%llu", (unsigned long long)*(const uint64_t *)f);
		return buf;
	case OPT_DOUBLE: /* the shortest text that reads back as the same number, without exponent where it
			    can be */
		for (int digits = *(const double *)f < 1e5 ? 5 : 1; digits <= 17; digits++) {
			double back;

			snprintf(buf, OPTION_TEXT, "%.*g", digits, *(const double *)f);
			if (num_parse_double(&back, buf) && back == *(const double *)f)
				break;
		}
		return buf;
	case OPT_BOOL:
		return strcpy(buf, *i ? "true" : "false");
	case OPT_CHOICE: {
		const char *c = o->choices;

		for (int k = 0; k < *i; k++)
			c = strchr(c, '|') + 1;
		snprintf(buf, OPTION_TEXT, "%.*s", (int)strcspn(c, "|"), c);
		return buf;
	}
	case OPT_STRING:
	case OPT_PATH:
		return strcpy(buf, f);
	}
	BUG("option %s has type %d", o->name, o->type);
}

const struct option_row *option_find(const struct option_row *table, const char *name)
{
	for (const struct option_row *o = table; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

char *option_expected(char *buf, const struct option_row *o)
{
	switch (o->type) {
	case OPT_INT:
	case OPT_AUTO:
		snprintf(buf, 256, "%san integer from %.0f to %.0f", o->type == OPT_AUTO ? "auto or " : "",
			o->min, o->max);
		break;
	case OPT_U64:
		snprintf(buf, 256, "an integer from 0 to 2^64 - 1");
		break;
	case OPT_DOUBLE:
		snprintf(buf, 256, "a number from %g to %g", o->min, o->max);
		break;
	case OPT_BOOL:
		snprintf(buf, 256, "true or false");
		break;
	case OPT_CHOICE:
		snprintf(buf, 256, "one of %s", o->choices);
		break;
	case OPT_STRING:
		snprintf(buf, 256, "text of less than %d bytes", OPTION_TEXT);
		break;
	case OPT_PATH:
		snprintf(buf, 256, "a path of less than %d bytes", OPTION_TEXT);
		break;
	}
	return buf;
}

int option_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	int d[MAX + 1][MAX + 1], n = (int)strnlen(a, MAX), m = (int)strnlen(b, MAX);

	for (int i = 0; i <= n; i++)
		for (int j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
			best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[n][m];
}

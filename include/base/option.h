/*
 * Option tables: one row per configuration key - name, type, default, range, help. They are the one source of
 * parsing, validation, --help, the reference in configs/README.md and the resolved copy in the results.
 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/err.h"

#include <stddef.h>

enum option_type {
	OPT_INT,    /* int */
	OPT_AUTO,   /* int; the word "auto" is stored as 0 */
	OPT_U64,    /* uint64_t */
	OPT_DOUBLE, /* double */
	OPT_BOOL,   /* int, 0 or 1 */
	OPT_CHOICE, /* int: index into `choices` */
	OPT_STRING, /* char[OPTION_TEXT] */
	OPT_PATH,   /* char[OPTION_TEXT], relative to the file that holds it */
};

enum { OPTION_TEXT = 1024 };

struct option_row {
	const char *name;
	enum option_type type;
	size_t offset;        /* of the field in the structure that the table describes */
	const char *standard; /* the default, as text; NULL: the key must be given */
	double min, max;      /* of numbers, inclusive */
	const char *choices;  /* of OPT_CHOICE: "one|two|three" */
	const char *help;
};

/* Tables end with a row without a name. */
#define OPTION_END                                                                                           \
	{                                                                                                    \
		NULL, OPT_INT, 0, NULL, 0, 0, NULL, NULL                                                     \
	}

/* Sets the field of `object` from text. The error says what was expected, not where. */
int option_set(void *object, const struct option_row *o, const char *text, struct err *err);

/* Sets every field of the table to its default (strings without one: empty). */
void option_defaults(void *object, const struct option_row *table);

/* The field as text that option_set() would take, into buf (at least OPTION_TEXT bytes); returns buf. */
char *option_format(char *buf, const void *object, const struct option_row *o);

/* The row of that name, or NULL. */
const struct option_row *option_find(const struct option_row *table, const char *name);

/* "an integer from 1 to 4096", "mad or mean", ... into buf (at least 256 bytes); returns buf. */
char *option_expected(char *buf, const struct option_row *o);

/* Edit distance of two words (a neighbouring swap counts one), for "did you mean". */
int option_distance(const char *a, const char *b);

#endif

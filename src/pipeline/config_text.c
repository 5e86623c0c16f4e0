/* The configuration as text: resolved, as --help, and as the reference in the docs. All from the tables. */
#include "pipeline/config.h"

#include <stdlib.h>
#include <string.h>

/* Double-quoted YAML that reads back to the same text: what libyaml folds as a line break or refuses (control
 * characters, U+0085, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF) is escaped. */
static void put_text(FILE *out, const char *text)
{
	static const struct {
		const char *bytes, *escape;
	} special[] = {{"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"}, {"\xef\xbb\xbf", "\\ufeff"},
		{"\xef\xbf\xbe", "\\ufffe"}, {"\xef\xbf\xbf", "\\uffff"}};
	const size_t specials = sizeof(special) / sizeof(special[0]);

	fputc('"', out);
	for (; *text; text++) {
		unsigned char u = (unsigned char)*text, next = (unsigned char)text[1];
		size_t k = 0;

		while (k < specials && strncmp(text, special[k].bytes, 3) != 0)
			k++;
		if (k < specials) {
			fputs(special[k].escape, out);
			text += 2;
		} else if (u == 0xc2 && next >= 0x80 && next < 0xa0) { /* U+0080 to U+009F */
			fprintf(out, "\\x%02x", next);
			text++;
		} else if (u == '"' || u == '\\')
			fprintf(out, "\\%c", u);
		else if (u < 32 || u == 127)
			fprintf(out, "\\x%02x", u);
		else
			fputc(u, out);
	}
	fputc('"', out);
}

static void put_row(FILE *out, int indent, const void *object, const struct option_row *o)
{
	char buf[OPTION_TEXT];

	fprintf(out, "%*s%s: ", indent, "", o->name);
	option_format(buf, object, o);
	if (o->type == OPT_STRING || o->type == OPT_PATH)
		put_text(out, buf);
	else
		fputs(buf, out);
	fputc('\n', out);
}

static void put_entry(FILE *out, const char *kind, const char *name, const char *preset, const void *params,
	const struct option_row *options)
{
	fprintf(out, "  - %s:\n      name: ", kind);
	put_text(out, name);
	fputc('\n', out);
	if (*preset)
		fprintf(out, "      preset: %s\n", preset);
	for (const struct option_row *o = options; o->name; o++)
		put_row(out, 6, params, o);
}

char *config_format(const struct config *c, int portable)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (const struct config_section *s = config_sections; s->name; s++) {
		fprintf(out, "%s:\n", s->name);
		for (const struct option_row *o = s->options; o->name; o++)
			if (!portable || o->offset != offsetof(struct config, run.output))
				put_row(out, 2, c, o);
	}
	fprintf(out, "methods:\n");
	for (int i = 0; i < c->methods_count; i++)
		put_entry(out, c->methods[i].ops->name, c->methods[i].name, "", c->methods[i].params,
			c->methods[i].ops->options);
	fprintf(out, c->metrics_count ? "metrics:\n" : "metrics: []\n");
	for (int i = 0; i < c->metrics_count; i++)
		put_entry(out, c->metrics[i].ops->name, c->metrics[i].name, c->metrics[i].preset,
			c->metrics[i].params, c->metrics[i].ops->options);
	fclose(out);
	return text;
}

static void help_rows(FILE *out, const struct option_row *options)
{
	char expected[256];

	for (const struct option_row *o = options; o->name; o++) {
		fprintf(out, "      %-16s %s\n", o->name, o->help);
		fprintf(out, "      %-16s %s; %s%s\n", "", option_expected(expected, o),
			o->standard ? "default " : "required",
			o->standard ? (*o->standard ? o->standard : "empty") : "");
	}
}

void config_help(FILE *out)
{
	fputs("\nConfiguration (YAML; every key can be set with --set section.key=value):\n", out);
	for (const struct config_section *s = config_sections; s->name; s++) {
		fprintf(out, "\n  %s: %s\n", s->name, s->help);
		help_rows(out, s->options);
	}
	fputs("\n  methods: a list; each item `- method` or `- method: {key: value}`; `name:` tells two of a "
	      "kind apart\n",
		out);
	for (int i = 0; method_registry[i]; i++) {
		fprintf(out, "\n    %s: %s\n", method_registry[i]->name, method_registry[i]->help);
		help_rows(out, method_registry[i]->options);
	}
	fputs("\n  metrics: a list likewise\n", out);
	for (int i = 0; metric_registry[i]; i++) {
		const struct metric_ops *m = metric_registry[i];

		fprintf(out, "\n    %s: %s\n", m->name, m->help);
		for (const struct metric_preset *p = m->presets; p && p->name; p++)
			fprintf(out, "      preset: %-8s %s\n", p->name, p->help);
		help_rows(out, m->options);
	}
}

static void reference_rows(FILE *out, const struct option_row *options)
{
	char expected[256];

	if (!options->name)
		return;
	fputs("| key | value | default | meaning |\n| --- | --- | --- | --- |\n", out);
	for (const struct option_row *o = options; o->name; o++) {
		fprintf(out, "| `%s` | ", o->name);
		option_expected(expected, o);
		for (const char *s = expected; *s; s++)
			fputs(*s == '|' ? ", " : (char[]){*s, 0}, out);
		fprintf(out, " | %s%s%s | %s |\n", o->standard && *o->standard ? "`" : "",
			o->standard ? o->standard : "(required)", o->standard && *o->standard ? "`" : "",
			o->help);
	}
	fputc('\n', out);
}

void config_reference(FILE *out)
{
	for (const struct config_section *s = config_sections; s->name; s++) {
		fprintf(out, "### `%s`: %s\n\n", s->name, s->help);
		reference_rows(out, s->options);
	}
	for (int i = 0; method_registry[i]; i++) {
		fprintf(out, "### method `%s`\n\n%s.\n\n", method_registry[i]->name,
			method_registry[i]->help);
		reference_rows(out, method_registry[i]->options);
	}
	for (int i = 0; metric_registry[i]; i++) {
		const struct metric_ops *m = metric_registry[i];

		fprintf(out, "### metric `%s`\n\n%s.\n\n", m->name, m->help);
		for (const struct metric_preset *p = m->presets; p && p->name; p++)
			fprintf(out, "- `preset: %s`: %s (`%s`)\n", p->name, p->help, p->settings);
		if (m->presets)
			fputc('\n', out);
		reference_rows(out, m->options);
	}
}

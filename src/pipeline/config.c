#include "pipeline/config.h"

#include "base/num.h"
#include "formats/yaml_doc.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(field) offsetof(struct config, field)

/* ---- names in messages ---- */

struct where {
	const struct yaml_doc *doc; /* NULL: an override */
	int node;
	const char *override;
};

static int error_at(struct err *err, struct where w, const char *key)
{
	if (w.doc)
		return err_prefix(err, "%s:%d: %s", w.doc->name, yaml_line(w.doc, w.node), key);
	return err_prefix(err, "--set %.100s", w.override ? w.override : "");
}

/* Remembers the nearest of the names offered to it. */
struct nearest {
	const char *wanted, *best;
	int distance;
};

static void offer(struct nearest *n, const char *name)
{
	int d = option_distance(n->wanted, name);

	if (!n->best || d < n->distance) {
		n->best = name;
		n->distance = d;
	}
}

static int unknown(struct err *err, const char *what, const struct nearest *n)
{
	return err_set(err, "unknown %s \"%.60s\"; the nearest known is \"%s\"", what, n->wanted,
		n->best ? n->best : "none");
}

static int unknown_option(
	struct err *err, const struct option_row *table, const char *name, const char *const *more)
{
	struct nearest n = {.wanted = name};

	for (const struct option_row *o = table; o->name; o++)
		offer(&n, o->name);
	for (; more && *more; more++)
		offer(&n, *more);
	return unknown(err, "key", &n);
}

static int name_is_good(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_-", name[i]))
			return 0;
	return n > 0 && n < CONFIG_NAME && strcmp(name, "map") && strcmp(name, "raw") &&
	       strcmp(name, "scale");
}

/* ---- items of methods and metrics: what both kinds share ---- */

struct entry {
	char *name; /* CONFIG_NAME bytes */
	const struct option_row *options;
	void *params;
	const struct metric_preset *presets;
	char *preset;
};

static struct entry method_entry(struct config_method *m)
{
	return (struct entry){m->name, m->ops->options, m->params, NULL, NULL};
}

static struct entry metric_entry(struct config_metric *m)
{
	return (struct entry){m->name, m->ops->options, m->params, m->ops->presets, m->preset};
}

/* Applies "key=value key=value" of a preset. */
static int apply_preset(struct entry e, const char *name, struct err *err)
{
	const struct metric_preset *p = e.presets;
	struct nearest near = {.wanted = name};

	for (; p && p->name && strcmp(p->name, name); p++)
		offer(&near, p->name);
	if (!p)
		return err_set(err, "there are no presets here");
	if (!p->name)
		return unknown(err, "preset", &near);
	snprintf(e.preset, CONFIG_NAME, "%s", name);
	char *copy = x_strdup(p->settings), *save = NULL;
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');

		*value++ = 0;
		if (option_set(e.params, option_find(e.options, word), value, err))
			BUG("preset %s: %s", name, err->msg);
	}
	free(copy);
	return 0;
}

static int set_entry_key(struct entry e, const char *key, const char *text, struct err *err)
{
	static const char *const method_extra[] = {"name", NULL}, *const metric_extra[] = {
									  "name", "preset", NULL};
	const struct option_row *o = option_find(e.options, key);

	if (!strcmp(key, "name")) {
		if (!name_is_good(text))
			return err_set(err,
				"name: expected letters, digits, _ - (less than %d; not map, raw, scale, "
				"mc_error), got \"%.80s\"",
				CONFIG_NAME, text);
		snprintf(e.name, CONFIG_NAME, "%s", text);
		return 0;
	}
	if (!strcmp(key, "preset") && e.presets)
		return 0; /* was applied first */
	if (!o)
		return unknown_option(err, e.options, key, e.presets ? metric_extra : method_extra);
	return option_set(e.params, o, text, err);
}

/* `what`: the key whose value the node is, for the message. */
static int scalar_or_error(
	const struct yaml_doc *d, int node, const char *what, const char **text, struct err *err)
{
	*text = "";
	if (yaml_node_kind(d, node) == YAML_LIST || yaml_node_kind(d, node) == YAML_MAP)
		return err_set(err, "%s: expected a single value, got a list or a map", what);
	*text = yaml_text(d, node);
	return 0;
}

/* The overrides that begin with "<list>.<name>." in turn; returns the key, with its value in *value. */
static char *override_key(const char *override, const char *list, const char *name, const char **value)
{
	char *prefix = x_asprintf("%s.%s.", list, name);
	size_t n = strlen(prefix);
	const char *equals = strchr(override, '=');
	char *key = NULL;

	if (equals && !strncmp(override, prefix, n) && override + n < equals) {
		key = strndup(override + n, (size_t)(equals - override) - n);
		*value = equals + 1;
	}
	free(prefix);
	return key;
}

struct parse {
	struct config *c;
	const struct yaml_doc *doc;
	char *base; /* folder of the file */
	const char *const *overrides;
	int overrides_count;
	int used[256]; /* per override: was it taken? */
	struct err *err;
};

/* Sets `preset` and then the other keys of a list item from its YAML map. */
static int read_entry_map(struct parse *p, struct entry e, int map, const char *preset_override)
{
	const char *text;
	int n = map ? yaml_size(p->doc, map) : 0;

	for (int i = 0; i < n && e.presets && !preset_override; i++) {
		int key = yaml_key(p->doc, map, i), value = yaml_value(p->doc, map, i);

		if (yaml_node_kind(p->doc, key) == YAML_SCALAR && !strcmp(yaml_text(p->doc, key), "preset"))
			if (scalar_or_error(p->doc, value, "preset", &text, p->err) ||
				apply_preset(e, text, p->err))
				return error_at(p->err, (struct where){p->doc, value, NULL}, "preset");
	}
	for (int i = 0; i < n; i++) {
		int key = yaml_key(p->doc, map, i), value = yaml_value(p->doc, map, i);
		const char *name = "";

		if (scalar_or_error(p->doc, key, "key", &name, p->err) ||
			scalar_or_error(p->doc, value, name, &text, p->err) ||
			set_entry_key(e, name, text, p->err))
			return error_at(p->err, (struct where){p->doc, key, NULL}, e.name);
		for (int j = 0; j < i; j++)
			if (!strcmp(yaml_text(p->doc, yaml_key(p->doc, map, j)), name)) {
				err_set(p->err, "%s: given twice", name);
				return error_at(p->err, (struct where){p->doc, key, NULL}, e.name);
			}
	}
	return 0;
}

/* The `name:` inside an item's map, by which overrides address it; else the kind. */
static const char *address_of(const struct yaml_doc *d, int map, const char *kind)
{
	for (int i = 0; map && i < yaml_size(d, map); i++) {
		int key = yaml_key(d, map, i), value = yaml_value(d, map, i);

		if (yaml_node_kind(d, key) == YAML_SCALAR && !strcmp(yaml_text(d, key), "name") &&
			yaml_node_kind(d, value) == YAML_SCALAR)
			return yaml_text(d, value);
	}
	return kind;
}

static int read_entry(struct parse *p, const char *list, struct entry e, int map, const char *kind)
{
	const char *address = address_of(p->doc, map, kind), *value, *preset = NULL;
	int preset_at = 0;

	snprintf(e.name, CONFIG_NAME, "%s", kind);
	option_defaults(e.params, e.options);
	for (int i = 0; i < p->overrides_count; i++) {
		char *key = override_key(p->overrides[i], list, address, &value);

		if (key && !strcmp(key, "preset")) {
			preset = value;
			preset_at = i;
		}
		free(key);
	}
	if (preset && apply_preset(e, preset, p->err))
		return error_at(p->err, (struct where){NULL, 0, p->overrides[preset_at]}, "preset");
	if (read_entry_map(p, e, map, preset))
		return -1;
	for (int i = 0; i < p->overrides_count; i++) {
		char *key = override_key(p->overrides[i], list, address, &value);
		int rc = key ? set_entry_key(e, key, value, p->err) : 0;

		p->used[i] |= key != NULL;
		free(key);
		if (rc)
			return error_at(p->err, (struct where){NULL, 0, p->overrides[i]}, e.name);
	}
	return 0;
}

static int add_method(struct parse *p, const char *kind, int map)
{
	struct config_method *m = &p->c->methods[p->c->methods_count];
	struct nearest near = {.wanted = kind};

	m->ops = method_find(kind);
	for (int i = 0; method_registry[i]; i++)
		offer(&near, method_registry[i]->name);
	if (!m->ops)
		return unknown(p->err, "method", &near);
	m->params = x_calloc(1, m->ops->params_size);
	p->c->methods_count++;
	return read_entry(p, "methods", method_entry(m), map, kind) ? -2 : 0;
}

static int add_metric(struct parse *p, const char *kind, int map)
{
	struct config_metric *m = &p->c->metrics[p->c->metrics_count];
	struct nearest near = {.wanted = kind};

	m->ops = metric_find(kind);
	for (int i = 0; metric_registry[i]; i++)
		offer(&near, metric_registry[i]->name);
	if (!m->ops)
		return unknown(p->err, "metric", &near);
	m->params = x_calloc(1, m->ops->params_size);
	p->c->metrics_count++;
	if (read_entry(p, "metrics", metric_entry(m), map, kind))
		return -2;
	return m->ops->check ? m->ops->check(m->params, p->err) : 0;
}

/* `- kind`, or `- kind: {key: value}`. The adder returns -2 for an error that already says where. */
static int read_list(
	struct parse *p, const char *list, int node, int (*add)(struct parse *, const char *, int))
{
	if (yaml_node_kind(p->doc, node) != YAML_LIST) {
		err_set(p->err, "expected a list");
		return error_at(p->err, (struct where){p->doc, node, NULL}, list);
	}
	for (int i = 0; i < yaml_size(p->doc, node); i++) {
		int item = yaml_item(p->doc, node, i), map = 0, rc = -1;
		enum yaml_kind kind = yaml_node_kind(p->doc, item);
		const char *name = "";

		if (kind == YAML_SCALAR)
			name = yaml_text(p->doc, item);
		else if (kind == YAML_MAP && yaml_size(p->doc, item) == 1 &&
			 yaml_node_kind(p->doc, yaml_key(p->doc, item, 0)) == YAML_SCALAR) {
			name = yaml_text(p->doc, yaml_key(p->doc, item, 0));
			map = yaml_value(p->doc, item, 0);
			if (yaml_node_kind(p->doc, map) == YAML_EMPTY)
				map = 0;
		}
		if (!*name || (map && yaml_node_kind(p->doc, map) != YAML_MAP))
			err_set(p->err,
				"expected \"- name\" or \"- name: {key: value}\" (mind the indentation)");
		else if (i >= CONFIG_MAX_ENTRIES)
			err_set(p->err, "more than %d entries", CONFIG_MAX_ENTRIES);
		else
			rc = add(p, name, map);
		if (rc)
			return rc == -2 ? -1 : error_at(p->err, (struct where){p->doc, item, NULL}, list);
	}
	return 0;
}

/* ---- plain sections ---- */

static int read_section(struct parse *p, const struct config_section *s, int map, bool *given)
{
	if (yaml_node_kind(p->doc, map) == YAML_EMPTY)
		return 0;
	if (yaml_node_kind(p->doc, map) != YAML_MAP) {
		err_set(p->err, "expected keys and values");
		return error_at(p->err, (struct where){p->doc, map, NULL}, s->name);
	}
	for (int i = 0; i < yaml_size(p->doc, map); i++) {
		int key = yaml_key(p->doc, map, i), value = yaml_value(p->doc, map, i), rc;
		const struct option_row *o = NULL;
		const char *name = "", *text = "";

		rc = scalar_or_error(p->doc, key, "key", &name, p->err) ||
		     scalar_or_error(p->doc, value, name, &text, p->err);
		if (!rc && !(o = option_find(s->options, name)))
			rc = unknown_option(p->err, s->options, name, NULL);
		if (!rc && o && given[o - s->options])
			rc = err_set(p->err, "%s: given twice", name);
		if (!rc && o && !(rc = config_set_value(p->c, o, text, p->base, p->err)))
			given[o - s->options] = true;
		if (rc)
			return error_at(p->err, (struct where){p->doc, key, NULL}, s->name);
	}
	return 0;
}

static int override_section(struct parse *p, const struct config_section *s, bool *given)
{
	char cwd[OPTION_TEXT];
	size_t n = strlen(s->name);

	if (!getcwd(cwd, sizeof(cwd)))
		strcpy(cwd, ".");
	for (int i = 0; i < p->overrides_count; i++) {
		const char *text = p->overrides[i], *equals = strchr(text, '=');

		if (strncmp(text, s->name, n) || text[n] != '.' || !equals)
			continue;
		char *name = strndup(text + n + 1, (size_t)(equals - text) - n - 1);
		const struct option_row *o = option_find(s->options, name);
		int rc = o ? config_set_value(p->c, o, equals + 1, cwd, p->err)
			   : unknown_option(p->err, s->options, name, NULL);
		free(name);
		if (rc)
			return error_at(p->err, (struct where){NULL, 0, text}, s->name);
		given[o - s->options] = true;
		p->used[i] = 1;
	}
	return 0;
}

/* The top level: finds the node of each section, refuses unknown and repeated ones. */
static int find_sections(struct parse *p, int *nodes, int *methods, int *metrics)
{
	int root = yaml_root(p->doc);

	if (!root || yaml_node_kind(p->doc, root) != YAML_MAP)
		return err_set(p->err, "%s: expected sections run, model, data, methods, ...", p->doc->name);
	for (int i = 0; i < yaml_size(p->doc, root); i++) {
		int key = yaml_key(p->doc, root, i), *slot = NULL;
		const char *name = yaml_node_kind(p->doc, key) == YAML_SCALAR ? yaml_text(p->doc, key) : "";
		struct nearest near = {.wanted = name};

		offer(&near, "methods");
		offer(&near, "metrics");
		for (int s = 0; config_sections[s].name; s++) {
			offer(&near, config_sections[s].name);
			if (!strcmp(name, config_sections[s].name))
				slot = &nodes[s];
		}
		if (!strcmp(name, "methods"))
			slot = methods;
		if (!strcmp(name, "metrics"))
			slot = metrics;
		if (!slot || *slot) {
			if (slot)
				err_set(p->err, "given twice");
			else
				unknown(p->err, "section", &near);
			return error_at(
				p->err, (struct where){p->doc, key, NULL}, *name ? name : "top level");
		}
		*slot = yaml_value(p->doc, root, i);
	}
	return 0;
}

/* ---- what concerns several keys ---- */

static int finish(struct parse *p)
{
	struct config *c = p->c;

	if (!c->methods_count)
		return err_set(p->err, "%s: methods: expected at least one", c->file);
	for (int i = 0; i < c->methods_count; i++)
		for (int j = 0; j < i; j++)
			if (!strcmp(c->methods[i].name, c->methods[j].name))
				return err_set(p->err,
					"%s: methods: two are called \"%s\"; tell them apart with `name:`",
					c->file, c->methods[i].name);
	for (int i = 0; i < c->metrics_count; i++)
		for (int j = 0; j < i; j++)
			if (!strcmp(c->metrics[i].name, c->metrics[j].name))
				return err_set(p->err,
					"%s: metrics: two are called \"%s\"; tell them apart with `name:`",
					c->file, c->metrics[i].name);
	for (int i = 0; i < c->methods_count; i++)
		for (int f = 0; f < method_figure_count(c->methods[i].ops); f++)
			for (int k = 0; k < c->metrics_count; k++)
				if (!strcmp(c->methods[i].ops->figures[f].name, c->metrics[k].name))
					return err_set(p->err,
						"%s: metric \"%s\": method %s has a figure of that name; "
						"choose "
						"another with `name:`",
						c->file, c->metrics[k].name, c->methods[i].name);
	for (int i = 0; i < c->metrics_count && !*c->data.boxes; i++)
		if (c->metrics[i].ops->needs & METRIC_REGION)
			return err_set(p->err,
				"%s: metric %s needs annotated objects: name them in data.boxes", c->file,
				c->metrics[i].name);
	for (int i = 0; i < p->overrides_count; i++)
		if (!p->used[i])
			return err_set(p->err,
				"--set %.100s: expected section.key=value or methods.<name>.<key>=value with "
				"a section and name of %s",
				p->overrides[i], c->file);
	return 0;
}

static int parse_all(struct parse *p)
{
	int nodes[8] = {0}, methods = 0, metrics = 0;

	if (find_sections(p, nodes, &methods, &metrics))
		return -1;
	for (int s = 0; config_sections[s].name; s++) {
		const struct config_section *section = &config_sections[s];
		bool given[32] = {false};

		option_defaults(p->c, section->options);
		if (nodes[s] && read_section(p, section, nodes[s], given))
			return -1;
		if (override_section(p, section, given))
			return -1;
		for (const struct option_row *o = section->options; o->name; o++)
			if (!o->standard && !given[o - section->options])
				return err_set(p->err, "%s: %s.%s is missing: %s", p->c->file, section->name,
					o->name, o->help);
	}
	if (methods && read_list(p, "methods", methods, add_method))
		return -1;
	if (metrics && yaml_node_kind(p->doc, metrics) != YAML_EMPTY &&
		read_list(p, "metrics", metrics, add_metric))
		return -1;
	return finish(p);
}

/* The absolute folder of a file. */
static char *folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *folder = slash ? strndup(file, (size_t)(slash - file + (slash == file))) : x_strdup(".");
	char *full = realpath(folder, NULL);

	if (!full)
		return folder;
	free(folder);
	return full;
}

int config_parse(struct config *c, const char *text, size_t size, const char *file,
	const char *const *overrides, int overrides_count, struct err *err)
{
	struct yaml_doc doc;
	struct parse p = {
		.c = c, .doc = &doc, .overrides = overrides, .overrides_count = overrides_count, .err = err};

	*c = (struct config){0};
	snprintf(c->file, sizeof(c->file), "%s", file);
	if (size > CONFIG_MAX_BYTES)
		return err_set(err, "%s: expected at most %d bytes", file, CONFIG_MAX_BYTES);
	if (overrides_count > 256)
		return err_set(err, "more than 256 overrides");
	if (yaml_doc_parse(&doc, text, size, file, err))
		return -1;
	p.base = folder_of(file);
	int rc = parse_all(&p);
	free(p.base);
	yaml_doc_release(&doc);
	if (rc)
		config_release(c);
	return rc;
}

void config_release(struct config *c)
{
	for (int i = 0; i < c->methods_count; i++)
		free(c->methods[i].params);
	for (int i = 0; i < c->metrics_count; i++)
		free(c->metrics[i].params);
	*c = (struct config){0};
}

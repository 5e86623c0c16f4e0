#include "formats/yaml_doc.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static yaml_node_t *node_at(const struct yaml_doc *d, int node)
{
	yaml_node_t *n = yaml_document_get_node(d->library, node);

	if (!n)
		BUG("no YAML node %d", node);
	return n;
}

/* libyaml takes time quadratic in the depth of nesting and in the number of anchors: minutes for a megabyte
 * made for it. Its scanner stops in time. What is not YAML at all is left to the parser to say. */
static int check_limits(const char *text, size_t size, const char *name, struct err *err)
{
	int depth = 0, anchors = 0, rc = 0, last = 0;
	yaml_parser_t parser;
	yaml_token_t token;

	if (!yaml_parser_initialize(&parser))
		BUG("libyaml cannot start");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	while (!rc && !last && yaml_parser_scan(&parser, &token)) {
		switch (token.type) {
		case YAML_BLOCK_SEQUENCE_START_TOKEN:
		case YAML_BLOCK_MAPPING_START_TOKEN:
		case YAML_FLOW_SEQUENCE_START_TOKEN:
		case YAML_FLOW_MAPPING_START_TOKEN:
			depth++;
			break;
		case YAML_BLOCK_END_TOKEN:
		case YAML_FLOW_SEQUENCE_END_TOKEN:
		case YAML_FLOW_MAPPING_END_TOKEN:
			depth--;
			break;
		case YAML_ANCHOR_TOKEN:
		case YAML_TAG_DIRECTIVE_TOKEN: /* searched for in the same way */
			anchors++;
			break;
		default:
			break;
		}
		last = token.type == YAML_STREAM_END_TOKEN;
		if (depth > YAML_MAX_DEPTH)
			rc = err_set(err, "%s:%zu: nested more than %d levels deep", name,
				token.start_mark.line + 1, YAML_MAX_DEPTH);
		else if (anchors > YAML_MAX_ANCHORS)
			rc = err_set(err, "%s:%zu: more than %d anchors and tag directives", name,
				token.start_mark.line + 1, YAML_MAX_ANCHORS);
		yaml_token_delete(&token);
	}
	yaml_parser_delete(&parser);
	return rc;
}

/* A NUL, which only "\0" in quotes can give, would end a text before its time. */
static int refuse_nul(const struct yaml_doc *d, struct err *err)
{
	const yaml_node_t *n;

	for (int i = 1; (n = yaml_document_get_node(d->library, i)); i++)
		if (n->type == YAML_SCALAR_NODE &&
			strlen((const char *)n->data.scalar.value) != n->data.scalar.length)
			return err_set(err, "%s:%d: expected text without a NUL", d->name, yaml_line(d, i));
	return 0;
}

int yaml_doc_parse(struct yaml_doc *d, const char *text, size_t size, const char *name, struct err *err)
{
	yaml_document_t *document = x_calloc(1, sizeof(*document)), more;
	yaml_parser_t parser;
	int ok;

	if (check_limits(text, size, name, err)) {
		free(document);
		return -1;
	}
	if (!yaml_parser_initialize(&parser))
		BUG("libyaml cannot start");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	ok = yaml_parser_load(&parser, document);
	if (!ok) {
		err_set(err, "%s:%zu: not valid YAML: %s", name, parser.problem_mark.line + 1,
			parser.problem ? parser.problem : "unreadable");
		free(document);
	} else {
		*d = (struct yaml_doc){x_strdup(name), document};
		/* a second document would be ignored silently */
		ok = yaml_parser_load(&parser, &more);
		if (ok) {
			if (yaml_document_get_root_node(&more))
				ok = err_set(err, "%s:%zu: expected a single YAML document", name,
					     more.start_mark.line + 1) == 0;
			yaml_document_delete(&more);
		} else {
			err_set(err, "%s:%zu: not valid YAML: %s", name, parser.problem_mark.line + 1,
				parser.problem ? parser.problem : "unreadable");
		}
		if (ok && refuse_nul(d, err))
			ok = 0;
		if (!ok)
			yaml_doc_release(d);
	}
	yaml_parser_delete(&parser);
	return ok ? 0 : -1;
}

void yaml_doc_release(struct yaml_doc *d)
{
	if (d->library)
		yaml_document_delete(d->library);
	free(d->library);
	free(d->name);
	*d = (struct yaml_doc){0};
}

int yaml_root(const struct yaml_doc *d)
{
	return yaml_document_get_root_node(d->library) ? 1 : 0; /* libyaml numbers the root 1 */
}

enum yaml_kind yaml_node_kind(const struct yaml_doc *d, int node)
{
	const yaml_node_t *n = node_at(d, node);

	switch (n->type) {
	case YAML_SCALAR_NODE:
		return n->data.scalar.length || n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ? YAML_SCALAR
												: YAML_EMPTY;
	case YAML_SEQUENCE_NODE:
		return YAML_LIST;
	case YAML_MAPPING_NODE:
		return YAML_MAP;
	case YAML_NO_NODE:
		break;
	}
	return YAML_EMPTY;
}

int yaml_line(const struct yaml_doc *d, int node)
{
	return (int)node_at(d, node)->start_mark.line + 1;
}

const char *yaml_text(const struct yaml_doc *d, int node)
{
	const yaml_node_t *n = node_at(d, node);

	if (n->type != YAML_SCALAR_NODE)
		BUG("YAML node %d is not a scalar", node);
	return (const char *)n->data.scalar.value;
}

int yaml_size(const struct yaml_doc *d, int node)
{
	const yaml_node_t *n = node_at(d, node);

	if (n->type == YAML_SEQUENCE_NODE)
		return (int)(n->data.sequence.items.top - n->data.sequence.items.start);
	if (n->type == YAML_MAPPING_NODE)
		return (int)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
	return 0;
}

int yaml_item(const struct yaml_doc *d, int list, int i)
{
	return node_at(d, list)->data.sequence.items.start[i];
}

int yaml_key(const struct yaml_doc *d, int map, int i)
{
	return node_at(d, map)->data.mapping.pairs.start[i].key;
}

int yaml_value(const struct yaml_doc *d, int map, int i)
{
	return node_at(d, map)->data.mapping.pairs.start[i].value;
}

/*
 * A YAML document in memory, through libyaml. Nodes are small integers; each knows its line. Nothing is
 * expanded: an alias is another number for the same node, so no document can explode.
 */
#ifndef FORMATS_YAML_DOC_H
#define FORMATS_YAML_DOC_H

#include "base/err.h"

#include <stddef.h>

/* More is refused: no configuration needs it, and libyaml would take minutes. */
enum { YAML_MAX_DEPTH = 64, YAML_MAX_ANCHORS = 256 };

enum yaml_kind { YAML_EMPTY, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_doc {
	char *name;    /* for messages */
	void *library; /* yaml_document_t */
};

/* Parses text (one document, UTF-8). Errors name `name` and the line. */
int yaml_doc_parse(struct yaml_doc *d, const char *text, size_t size, const char *name, struct err *err);
void yaml_doc_release(struct yaml_doc *d);

/* The root node, or 0 for an empty document. */
int yaml_root(const struct yaml_doc *d);

enum yaml_kind yaml_node_kind(const struct yaml_doc *d, int node);
int yaml_line(const struct yaml_doc *d, int node); /* 1-based */

/* Text of a scalar; owned by the document. BUG for another kind. */
const char *yaml_text(const struct yaml_doc *d, int node);

/* Items of a list or pairs of a map, in the order of the file. */
int yaml_size(const struct yaml_doc *d, int node);
int yaml_item(const struct yaml_doc *d, int list, int i);
int yaml_key(const struct yaml_doc *d, int map, int i);
int yaml_value(const struct yaml_doc *d, int map, int i);

#endif

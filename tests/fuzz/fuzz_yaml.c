/* A YAML document: every node is looked at once. An alias may name a list that holds it, so this keeps a list
 * of what is left to do rather than descending. */
#include "fuzz.h"

#include "formats/yaml_doc.h"

#include <stdlib.h>

struct walk {
	const struct yaml_doc *doc;
	char *seen; /* per node */
	int *todo, count;
	size_t room;
};

static void meet(struct walk *w, int node)
{
	/* nothing is expanded: a byte of text makes a few nodes at most */
	FUZZ_CHECK(node > 0 && (size_t)node < w->room);
	if (!w->seen[node])
		w->todo[w->count++] = node;
	w->seen[node] = 1;
}

static void look_at(struct walk *w, int node, size_t bytes)
{
	enum yaml_kind kind = yaml_node_kind(w->doc, node);

	FUZZ_CHECK(yaml_line(w->doc, node) > 0 && (size_t)yaml_line(w->doc, node) <= bytes + 1);
	if (kind == YAML_SCALAR || kind == YAML_EMPTY)
		FUZZ_CHECK(
			yaml_size(w->doc, node) == 0 && (!*yaml_text(w->doc, node) || kind == YAML_SCALAR));
	for (int i = 0; i < yaml_size(w->doc, node); i++)
		if (kind == YAML_LIST)
			meet(w, yaml_item(w->doc, node, i));
		else {
			meet(w, yaml_key(w->doc, node, i));
			meet(w, yaml_value(w->doc, node, i));
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct yaml_doc doc;

	if (fuzz_failed(yaml_doc_parse(&doc, (const char *)data, size, "fuzz.yaml", &err), &err))
		return 0;
	struct walk w = {.doc = &doc, .room = 4 * size + 16};
	w.seen = x_calloc(w.room, 1);
	w.todo = x_calloc(w.room, sizeof(int));
	if (yaml_root(&doc))
		meet(&w, yaml_root(&doc));
	while (w.count > 0)
		look_at(&w, w.todo[--w.count], size);
	free(w.seen);
	free(w.todo);
	yaml_doc_release(&doc);
	return 0;
}

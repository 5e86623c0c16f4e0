#include "formats/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static json_t *object_or_error(json_t *root, const json_error_t *e, const char *name, struct err *err)
{
	if (!root) {
		err_set(err, "%s:%d: not valid JSON: %s", name, e->line, e->text);
		return NULL;
	}
	if (!json_is_object(root)) {
		err_set(err, "%s: expected a JSON object at the top level", name);
		json_decref(root);
		return NULL;
	}
	return root;
}

json_t *json_read_file(const char *path, struct err *err)
{
	json_error_t e;
	FILE *f = fopen(path, "rb");

	if (!f) {
		err_set(err, "%s: cannot open: %s", path, strerror(errno));
		return NULL;
	}
	json_t *root = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
	fclose(f);
	return object_or_error(root, &e, path, err);
}

json_t *json_read_memory(const char *data, size_t size, const char *name, struct err *err)
{
	json_error_t e;

	/* a padded safetensors header ends in spaces, which jansson accepts */
	return object_or_error(json_loadb(data, size, JSON_REJECT_DUPLICATES, &e), &e, name, err);
}

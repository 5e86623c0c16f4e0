/* JSON files through jansson, with errors that name the file. */
#ifndef FORMATS_JSON_H
#define FORMATS_JSON_H

#include "base/err.h"

#include <jansson.h>

/* Parses a whole file / a piece of memory whose top level must be an object; duplicate keys are an error.
 * `name` goes into messages. The result is owned by the caller (json_decref); NULL on error. */
json_t *json_read_file(const char *path, struct err *err);
json_t *json_read_memory(const char *data, size_t size, const char *name, struct err *err);

#endif

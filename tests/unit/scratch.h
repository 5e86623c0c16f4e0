/* Temporary files, error lines and aborts, for tests of what reads files. */
#ifndef UNIT_SCRATCH_H
#define UNIT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Parts of register_base_tests(), register_formats_tests() and register_config_tests(). */
int register_num_tests(void);
int register_documents_tests(void);
int register_checkpoint_tests(void);
int register_preprocess_tests(void);
int register_config_error_tests(void);
int register_dataset_tests(void);
int register_schema_tests(void);
int register_annotations_tests(void);
int register_region_tests(void);

/* The path of a name below this process's temporary folder, which is removed at exit; owned by the caller. */
char *scratch_path(const char *name);

/* Writes a file there (its folders are made), or makes an empty folder. */
void scratch_bytes(const char *name, const void *data, size_t size);
void scratch_text(const char *name, const char *text);
void scratch_folder(const char *name);

/* Is the message one line, not cut, that contains all of the parts? The parts end with NULL. Prints it where
 * not. */
bool says(const struct err *err, ...) __attribute__((sentinel));

/* Does f(ctx) end by abort()? It runs in a child whose standard error is closed. */
bool aborts(void (*f)(void *ctx), void *ctx);

#endif

/* One image explained: what dave-explain does. */
#ifndef PIPELINE_EXPLAIN_H
#define PIPELINE_EXPLAIN_H

#include "base/err.h"

struct explain_options {
	const char *model, *image, *output; /* checkpoint folder, picture, PNG to write */
	const char *method;                 /* of the registry */
	const char *labels;                 /* file of class names, one a line, or NULL */
	int target;                         /* class index, or -1: the prediction */
	const char *const *sets; /* "key=value" for the method, "model.key=value" for the network */
	int sets_count;
};

/* Prints the five most probable classes, writes the map over the picture. */
int explain(const struct explain_options *o, struct err *err);

#endif

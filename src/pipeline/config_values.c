/* Values of the plain keys of a configuration. */
#include "base/num.h"
#include "pipeline/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct config, field)

/* The configuration is kept as YAML, which is UTF-8: no longer form than needed, no surrogate, nothing beyond
 * U+10FFFF. */
static int is_utf8(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		int more = *s < 0x80                 ? 0
			   : *s >= 0xc2 && *s < 0xe0 ? 1
			   : *s >= 0xe0 && *s < 0xf0 ? 2
			   : *s >= 0xf0 && *s < 0xf5 ? 3
						     : -1;
		int low = *s == 0xe0 ? 0xa0 : *s == 0xf0 ? 0x90 : 0x80; /* of the second byte */
		int high = *s == 0xed ? 0x9f : *s == 0xf4 ? 0x8f : 0xbf;

		if (more < 0 || (more > 0 && (s[1] < low || s[1] > high)))
			return 0;
		for (s++; more > 0; more--, s++)
			if ((*s & 0xc0) != 0x80)
				return 0;
	}
	return 1;
}

static int set_target(struct config *c, const char *text, struct err *err)
{
	long index;

	if (!strcmp(text, "label"))
		c->target = TARGET_LABEL;
	else if (!strcmp(text, "prediction"))
		c->target = TARGET_PREDICTION;
	else if (num_parse_long(&index, text) && index >= 0 && index < 1 << 24) {
		c->target = TARGET_INDEX;
		c->target_index = (int)index;
	} else
		return err_set(
			err, "target: expected label, prediction or a class index, got \"%.60s\"", text);
	return 0;
}

static int set_input_size(struct config *c, const char *text, struct err *err)
{
	long h, w;
	char first[16], *x = strchr(text, 'x');

	c->input_h = c->input_w = 0;
	if (!strcmp(text, "auto"))
		return 0;
	snprintf(first, sizeof(first), "%.*s", x ? (int)(x - text) : 15, text);
	if (!num_parse_long(&h, first) || !num_parse_long(&w, x ? x + 1 : first) || h < 1 || w < 1 ||
		h > 8192 || w > 8192)
		return err_set(err,
			"input_size: expected auto, a number of pixels or HEIGHTxWIDTH, at most 8192, got "
			"\"%.60s\"",
			text);
	c->input_h = (int)h;
	c->input_w = (int)w;
	return 0;
}

struct vit_options config_vit_options(const struct config *c)
{
	return (struct vit_options){.height = c->input_h,
		.width = c->input_w,
		.head = *c->model.head ? c->model.head : NULL,
		.head_input = (enum vit_head_input)c->model.head_input};
}

int config_set_value(struct config *object, const struct option_row *o, const char *text, const char *base,
	struct err *err)
{
	if (!o->standard && !*text)
		return err_set(err, "%s: expected a value", o->name);
	if (o->offset == AT(data.target) && set_target(object, text, err))
		return -1;
	if (o->offset == AT(model.input_size) && set_input_size(object, text, err))
		return -1;
	if (o->type != OPT_PATH)
		return option_set(object, o, text, err);
	char *full = !*text || *text == '/' ? x_strdup(text) : x_asprintf("%s/%s", base, text);
	/* the whole path: a folder's name need not be UTF-8 */
	int rc = is_utf8(full) ? option_set(object, o, full, err)
			       : err_set(err, "%s: expected UTF-8 in \"%.200s\"", o->name, full);
	free(full);
	return rc;
}

/* What vit_config.c shares with the readers of the two layouts: timm's and that of transformers. */
#ifndef MODEL_VIT_CONFIG_PARTS_H
#define MODEL_VIT_CONFIG_PARTS_H

#include "formats/json.h"
#include "model/vit_config.h"

/* Sizes and switches that the tensors give away by themselves, the network's own head included. */
int vit_infer_shapes(struct vit_config *c, const struct safetensors *st, struct err *err);

/* The size of a tensor of that name along an axis; 0 where there is none. */
int vit_dim(const struct vit_config *c, const struct safetensors *st, const char *name, int axis);

/* Channels, patch and stem of a B-cos network, from its tensors. */
int vit_infer_bcos(struct vit_config *c, const struct safetensors *st, struct err *err);

/* Of timm's names, those of B-cos networks included. */
enum vit_layout vit_layout_of(const char *architecture);

/* Is there such a family? The error lists those that there are. */
int vit_known_timm(const char *architecture, const char *path, struct err *err);
int vit_known_transformers(const char *type, const char *path, struct err *err);

/* Everything but the shapes, from config.json: activation, eps, heads, the checkpoint's own input size,
 * preprocessing. path is that of config.json. */
int vit_read_timm(struct vit_config *c, const json_t *root, const char *path, struct err *err);
/* asked: the user has given an input size. */
int vit_read_transformers(struct vit_config *c, const json_t *root, const char *dir, bool asked,
	const char *path, struct err *err);

/* Of a B-cos network, after everything else: the bias of its logits; its colours must be plain. */
int vit_read_bcos(struct vit_config *c, const json_t *args, const char *path, struct err *err);

/* An integer of `object` where there is one: must be what the tensors say. */
int vit_check_integer(const json_t *object, const char *key, int have, const char *path, struct err *err);

/* A switch of `object` where there is one, in the same way. */
int vit_check_switch(const json_t *object, const char *key, bool have, const char *path, struct err *err);

/* The mean and the deviation of the input's channels, under those keys. */
int vit_read_normalisation(struct vit_config *c, const json_t *object, const char *mean, const char *std,
	const char *path, struct err *err);

#endif

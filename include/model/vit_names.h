/*
 * Names of tensors. The program speaks timm's; the checkpoints of transformers and of B-cos v2 are looked up
 * through tables. What timm has not: "stem.0.conv.weight" and "stem.0.norm.weight", a convolution of a stem.
 */
#ifndef MODEL_VIT_NAMES_H
#define MODEL_VIT_NAMES_H

#include "formats/safetensors.h"
#include "model/vit_config.h"

enum { VIT_NAME = 160 };

/* The name in the checkpoint of what timm calls `name` ("blocks.3.attn.proj.weight"), into buf (VIT_NAME
 * bytes); returns buf. Where several are possible: the one that st has, else the first. "attn.q", "attn.k"
 * and "attn.v" are the parts of timm's "attn.qkv", which transformers stores apart. */
char *vit_name(char *buf, const struct vit_config *c, const struct safetensors *st, const char *name);

/* The tensor of that name of timm, or NULL. */
const struct tensor *vit_find(const struct vit_config *c, const struct safetensors *st, const char *name);

/* Tensors that checkpoints carry and no logit depends on: the mask token of pretraining, the pooler of
 * headless networks, the network's own head where an external one takes its place. */
bool vit_ignored(const struct vit_config *c, const char *name);

#endif

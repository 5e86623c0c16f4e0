/* Small random B-cos networks for the tests: plain patches, and a stem of three convolutions. */
#ifndef UNIT_BCOS_MODEL_H
#define UNIT_BCOS_MODEL_H

#include "model/vit.h"

enum bcos_model { BCOS_PLAIN, BCOS_CONV, BCOS_MODELS };

/* Their tensors under the published names, a list that owns its data; the caller may change it. */
void bcos_tensors(struct safetensors *st, enum bcos_model model);
void bcos_tensors_add(
	struct safetensors *st, const char *name, double mean, double deviation, const int shape[4]);

/* Their configuration, as vit_config_read() would make it. */
struct vit_config bcos_config(enum bcos_model model);

void bcos_model_init(struct vit *vit, enum bcos_model model);

#endif

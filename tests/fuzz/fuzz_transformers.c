/* config.json and preprocessor_config.json as transformers writes them, one after the other with a zero byte
 * between, beside the tensors of a ViT of one block for 32 x 32 pixels. */
#include "fuzz.h"

#include "model/vit_weights.h"
#include "scratch.h"

#include <stdlib.h>

static const float unread[512 * 64];

#define TENSOR(text, dims, ...)                                                                              \
	{                                                                                                    \
		.name = (text), .dtype = DTYPE_F32, .dtype_name = "F32", .ndim = (dims),                     \
		.shape = {__VA_ARGS__}, .data = unread                                                       \
	}
#define LAYER "vit.encoder.layer.0."

/* By name, as safetensors_open() sorts them; `count` is filled in below. */
static struct tensor tensors[] = {
	TENSOR("classifier.bias", 1, 10),
	TENSOR("classifier.weight", 2, 10, 16),
	TENSOR("vit.embeddings.cls_token", 3, 1, 1, 16),
	TENSOR("vit.embeddings.patch_embeddings.projection.bias", 1, 16),
	TENSOR("vit.embeddings.patch_embeddings.projection.weight", 4, 16, 3, 8, 8),
	TENSOR("vit.embeddings.position_embeddings", 3, 1, 17, 16),
	TENSOR(LAYER "attention.attention.key.bias", 1, 16),
	TENSOR(LAYER "attention.attention.key.weight", 2, 16, 16),
	TENSOR(LAYER "attention.attention.query.bias", 1, 16),
	TENSOR(LAYER "attention.attention.query.weight", 2, 16, 16),
	TENSOR(LAYER "attention.attention.value.bias", 1, 16),
	TENSOR(LAYER "attention.attention.value.weight", 2, 16, 16),
	TENSOR(LAYER "attention.output.dense.bias", 1, 16),
	TENSOR(LAYER "attention.output.dense.weight", 2, 16, 16),
	TENSOR(LAYER "intermediate.dense.bias", 1, 32),
	TENSOR(LAYER "intermediate.dense.weight", 2, 32, 16),
	TENSOR(LAYER "layernorm_after.bias", 1, 16),
	TENSOR(LAYER "layernorm_after.weight", 1, 16),
	TENSOR(LAYER "layernorm_before.bias", 1, 16),
	TENSOR(LAYER "layernorm_before.weight", 1, 16),
	TENSOR(LAYER "output.dense.bias", 1, 16),
	TENSOR(LAYER "output.dense.weight", 2, 16, 32),
	TENSOR("vit.layernorm.bias", 1, 16),
	TENSOR("vit.layernorm.weight", 1, 16),
};

static const struct safetensors checkpoint = {
	.path = "model.safetensors", .tensors = tensors, .count = sizeof(tensors) / sizeof(tensors[0])};

static void count_elements(void)
{
	for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
		tensors[i].count = 1;
		for (int k = 0; k < tensors[i].ndim; k++)
			tensors[i].count *= (size_t)tensors[i].shape[k];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t first = end ? (size_t)(end - data) : size;
	struct err err = {""};
	struct vit_config c;
	struct vit_weights w;
	char *folder = scratch_path("."), text[VIT_CONFIG_TEXT];

	count_elements();
	scratch_bytes("config.json", data, first);
	scratch_bytes("preprocessor_config.json", end ? end + 1 : data, end ? size - first - 1 : 0);
	if (!fuzz_failed(vit_config_read(&c, folder, &checkpoint, NULL, &err), &err)) {
		FUZZ_CHECK(strlen(vit_config_text(text, &c)) < VIT_CONFIG_TEXT - 1);
		FUZZ_CHECK(c.heads * c.head_dim == 16 && c.tokens == 1 + c.grid_h * c.grid_w &&
			   c.tokens <= 65536);
		FUZZ_CHECK(c.crop_pct > 0 && c.std[0] > 0 && c.std[1] > 0 && c.std[2] > 0);
		if (c.tokens < 300) { /* resampling of large tables takes long */
			FUZZ_CHECK(!vit_weights_init(&w, &c, &checkpoint, NULL, &err));
			vit_weights_release(&w);
		}
	}
	free(folder);
	return 0;
}

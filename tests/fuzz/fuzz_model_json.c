/* config.json of a checkpoint, beside the tensors of a DeiT-Tiny of two blocks for 32 x 32 pixels. */
#include "fuzz.h"

#include "model/vit_weights.h"
#include "scratch.h"

#include <stdlib.h>

static const float zeros[5 * 192]; /* of the table; the data of the others is not looked at */

/* The shapes are what counts here. */
#define TENSOR(text, dims, ...)                                                                              \
	{                                                                                                    \
		.name = (text), .dtype = DTYPE_F32, .ndim = (dims), .shape = {__VA_ARGS__}, .data = zeros    \
	}
#define BLOCK(i)                                                                                             \
	TENSOR("blocks." i ".attn.proj.bias", 1, 192), TENSOR("blocks." i ".attn.proj.weight", 2, 192, 192), \
		TENSOR("blocks." i ".attn.qkv.bias", 1, 576),                                                \
		TENSOR("blocks." i ".attn.qkv.weight", 2, 576, 192),                                         \
		TENSOR("blocks." i ".mlp.fc1.bias", 1, 768),                                                 \
		TENSOR("blocks." i ".mlp.fc1.weight", 2, 768, 192),                                          \
		TENSOR("blocks." i ".mlp.fc2.bias", 1, 192),                                                 \
		TENSOR("blocks." i ".mlp.fc2.weight", 2, 192, 768),                                          \
		TENSOR("blocks." i ".norm1.bias", 1, 192), TENSOR("blocks." i ".norm1.weight", 1, 192),      \
		TENSOR("blocks." i ".norm2.bias", 1, 192), TENSOR("blocks." i ".norm2.weight", 1, 192)

/* By name, as safetensors_open() sorts them. */
static struct tensor tensors[] = {
	BLOCK("0"),
	BLOCK("1"),
	TENSOR("cls_token", 3, 1, 1, 192),
	TENSOR("head.bias", 1, 10),
	TENSOR("head.weight", 2, 10, 192),
	TENSOR("norm.bias", 1, 192),
	TENSOR("norm.weight", 1, 192),
	TENSOR("patch_embed.proj.bias", 1, 192),
	TENSOR("patch_embed.proj.weight", 4, 192, 3, 16, 16),
	TENSOR("pos_embed", 3, 1, 5, 192),
};

static const struct safetensors checkpoint = {
	.path = "model.safetensors", .tensors = tensors, .count = sizeof(tensors) / sizeof(tensors[0])};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct vit_config c;
	struct vit_weights w;
	char *folder = scratch_path("."), text[VIT_CONFIG_TEXT];

	scratch_bytes("config.json", data, size);
	if (!fuzz_failed(vit_config_read(&c, folder, &checkpoint, NULL, &err), &err)) {
		FUZZ_CHECK(strlen(vit_config_text(text, &c)) < VIT_CONFIG_TEXT - 1);
		FUZZ_CHECK(c.heads * c.head_dim == 192 && c.tokens == 5 && c.image_h == 32);
		FUZZ_CHECK(c.crop_pct > 0 && c.std[0] > 0 && c.std[1] > 0 && c.std[2] > 0);
		/* these tensors are whole: nothing that config.json says may make them misfit */
		FUZZ_CHECK(!vit_weights_init(&w, &c, &checkpoint, NULL, &err));
		vit_weights_release(&w);
	}
	free(folder);
	return 0;
}

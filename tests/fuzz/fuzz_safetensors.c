/* A checkpoint: every tensor that can be read as float is read, then all are taken for the weights of a ViT.
 */
#include "fuzz.h"

#include "model/vit_weights.h"
#include "scratch.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <unistd.h>

/* The file ends within the last page of its map: what lies behind it reads as zeros, unless it is poisoned.
 */
static size_t behind_the_end(const struct safetensors *st)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (page - st->maps->size % page) % page;
}

static void read_tensor(const struct tensor *t)
{
	if (t->dtype == DTYPE_OTHER)
		return;
	float *values = x_malloc(t->count * sizeof(float));
	tensor_to_float(values, t);
	free(values);
}

static void take_weights(const struct safetensors *st)
{
	struct err err = {""};
	struct vit_config c;
	struct vit_weights w;

	if (fuzz_failed(vit_config_infer(&c, 1, 1e-6f, 2, 2, st, &err), &err) ||
		fuzz_failed(vit_weights_init(&w, &c, st, NULL, &err), &err))
		return;
	volatile float last =
		w.head.parts[0].w[c.classes * c.width - 1] + w.blocks[c.depth - 1].norm2.b[c.width - 1];
	(void)last;
	vit_weights_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct safetensors st;
	char *path = scratch_path("model.safetensors"), shape[128];

	scratch_bytes("model.safetensors", data, size);
	if (!fuzz_failed(safetensors_open(&st, path, &err), &err)) {
		ASAN_POISON_MEMORY_REGION(st.maps->data + st.maps->size, behind_the_end(&st));
		for (int i = 0; i < st.count; i++) {
			FUZZ_CHECK(safetensors_find(&st, st.tensors[i].name) == &st.tensors[i]);
			FUZZ_CHECK(strlen(tensor_shape_text(shape, &st.tensors[i])) < sizeof(shape));
			read_tensor(&st.tensors[i]);
		}
		take_weights(&st);
		ASAN_UNPOISON_MEMORY_REGION(st.maps->data + st.maps->size, behind_the_end(&st));
		safetensors_release(&st);
	}
	free(path);
	return 0;
}

static uint64_t header_length(const uint8_t *data)
{
	uint64_t length = 0;

	for (int i = 7; i >= 0; i--)
		length = length << 8 | data[i];
	return length;
}

/* Most changes would be lost on a length that no longer fits the header: three of four change the header
 * alone and mend its length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
	if (size < 8 || header_length(data) > size - 8 || seed % 4 == 0)
		return LLVMFuzzerMutate(data, size, room);
	size_t length = (size_t)header_length(data), tail = size - 8 - length, grown = room - 8 - tail;
	uint8_t *header = x_malloc(grown);

	memcpy(header, data + 8, length);
	grown = LLVMFuzzerMutate(header, length, grown);
	memmove(data + 8 + grown, data + 8 + length, tail);
	memcpy(data + 8, header, grown);
	for (int i = 0; i < 8; i++)
		data[i] = (uint8_t)(grown >> 8 * i);
	free(header);
	return 8 + grown + tail;
}

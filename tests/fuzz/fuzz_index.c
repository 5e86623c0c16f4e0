/* model.safetensors.index.json beside two shards of two tensors each. */
#include "fuzz.h"

#include "formats/safetensors.h"
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>

static void write_shard(const char *name, const char *a, const char *b)
{
	unsigned char file[512] = {0};
	int n = snprintf((char *)file + 8, sizeof(file) - 8,
		"{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
		"\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
		a, b);

	file[0] = (unsigned char)n;
	scratch_bytes(name, file, 8 + (size_t)n + 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int written;
	struct err err = {""};
	struct safetensors st;
	char *folder = scratch_path(".");

	if (!written) {
		write_shard("one.safetensors", "a", "b");
		write_shard("two.safetensors", "c", "d");
		written = 1;
	}
	scratch_bytes("model.safetensors.index.json", data, size);
	if (!fuzz_failed(safetensors_open_folder(&st, folder, &err), &err)) {
		FUZZ_CHECK(st.maps_count > 0 && st.count == 2 * st.maps_count);
		for (int i = 1; i < st.count; i++)
			FUZZ_CHECK(strcmp(st.tensors[i - 1].name, st.tensors[i].name) < 0);
		FUZZ_CHECK(!safetensors_unchanged(&st, &err) && safetensors_bytes(&st) > 0);
		safetensors_release(&st);
	}
	free(folder);
	return 0;
}

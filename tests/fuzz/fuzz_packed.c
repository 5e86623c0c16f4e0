/* A packed data set, as the index of shards holds one. */
#include "fuzz.h"

#include "pipeline/dataset.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dataset d;
	size_t bytes;

	if (!dataset_is_packed((const char *)data, size))
		return 0;
	dataset_unpack(&d, (const char *)data, size);
	for (int i = 0; i < d.count; i++) {
		FUZZ_CHECK(strlen(dataset_path(&d, i)) <= d.longest);
		FUZZ_CHECK(d.label[i] >= 0 && d.label[i] < d.classes);
	}
	FUZZ_CHECK(!d.names || strlen(dataset_class_name(&d, d.classes - 1)) < d.names_size);
	char *block = dataset_pack(&d, &bytes);
	FUZZ_CHECK(bytes == size && dataset_is_packed(block, bytes));
	free(block);
	dataset_release(&d);
	return 0;
}

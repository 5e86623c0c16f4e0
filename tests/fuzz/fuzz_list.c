/* A list file `path label`, also cut to its first image, and packed and unpacked. */
#include "fuzz.h"

#include "pipeline/dataset.h"
#include "scratch.h"

#include <stdlib.h>

static void check_packed(const struct dataset *d)
{
	struct dataset copy;
	size_t size;
	char *block = dataset_pack(d, &size);

	dataset_unpack(&copy, block, size);
	FUZZ_CHECK(copy.count == d->count && copy.classes == d->classes && !strcmp(copy.root, d->root));
	for (int i = 0; i < d->count; i++) {
		FUZZ_CHECK(!strcmp(dataset_path(&copy, i), dataset_path(d, i)));
		FUZZ_CHECK(copy.label[i] == d->label[i] && d->label[i] >= 0 && d->label[i] < d->classes);
		FUZZ_CHECK(*dataset_path(d, i) && strlen(dataset_path(d, i)) <= d->longest);
	}
	free(block);
	dataset_release(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *path = scratch_path("list.txt");

	scratch_bytes("list.txt", data, size);
	for (int limit = 0; limit < 2; limit++) {
		struct err err = {""};
		struct dataset d;

		if (fuzz_failed(dataset_read(&d, path, "", limit, &err), &err))
			continue;
		FUZZ_CHECK(d.count > 0 && (!limit || d.count <= limit));
		check_packed(&d);
		dataset_release(&d);
	}
	free(path);
	return 0;
}

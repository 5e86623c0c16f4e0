/* The file of class names, for a folder of the classes `cat` and `dog` with an image each. */
#include "fuzz.h"

#include "pipeline/dataset.h"
#include "scratch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int made;
	struct err err = {""};
	struct dataset d;
	char *folder = scratch_path("scenes"), *classes = scratch_path("classes.txt");

	if (!made++) {
		scratch_text("scenes/cat/1.jpg", "");
		scratch_text("scenes/dog/2.png", "");
	}
	scratch_bytes("classes.txt", data, size);
	if (!fuzz_failed(dataset_read(&d, folder, classes, 0, &err), &err)) {
		FUZZ_CHECK(d.count == 2 && d.classes >= 2 && d.label[0] != d.label[1]);
		FUZZ_CHECK(d.label[0] >= 0 && d.label[0] < d.classes && d.label[1] >= 0 &&
			   d.label[1] < d.classes);
		FUZZ_CHECK(!strcmp(dataset_path(&d, 0), "cat/1.jpg") &&
			   !strcmp(dataset_path(&d, 1), "dog/2.png"));
		dataset_release(&d);
	}
	free(folder);
	free(classes);
	return 0;
}

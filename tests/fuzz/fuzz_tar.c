/* Tar archives: all members, each read again by its position and by its name; then as a shard of images, once
 * from its headers and once from the index kept of them. */
#include "fuzz.h"

#include "formats/tar.h"
#include "pipeline/dataset.h"
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 512, CHECKSUM = 148, MAGIC = 257 };

static int read_again(const struct tar_member *m, void *path, struct err *err)
{
	struct err own = {""};
	unsigned char *data = NULL;
	size_t size = 0;

	FUZZ_CHECK(m->name && m->offset >= 0 && (!m->text || strlen(m->text) < TAR_SMALL));
	if (!fuzz_failed(tar_read(&data, &size, path, m->name, m->offset, &own), &own)) {
		/* a header of GNU tar can tell another size than the data have */
		FUZZ_CHECK(!m->text || !memcmp(m->text, data, strnlen(m->text, size)));
		free(data);
	}
	if (!fuzz_failed(tar_read(&data, &size, path, m->name, -1, &own), &own))
		free(data);
	(void)err;
	return 0;
}

static void read_shard(const char *path)
{
	struct err err = {""};
	struct dataset first, again;
	char *index = x_asprintf("%s.index", path);

	unlink(index);
	if (!fuzz_failed(dataset_read(&first, path, "", 0, &err), &err)) {
		FUZZ_CHECK(!dataset_read(&again, path, "", 0, &err));
		FUZZ_CHECK(first.count > 0 && again.count == first.count && again.classes == first.classes);
		for (int i = 0; i < first.count; i++) {
			FUZZ_CHECK(!strcmp(dataset_path(&first, i), dataset_path(&again, i)));
			FUZZ_CHECK(first.label[i] >= 0 && first.label[i] < first.classes);
			FUZZ_CHECK(first.label[i] == again.label[i] && first.offset[i] == again.offset[i]);
		}
		dataset_release(&first);
		dataset_release(&again);
	}
	free(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	char *path = scratch_path("shard.tar");

	scratch_bytes("shard.tar", data, size);
	fuzz_failed(tar_each(path, read_again, path, &err), &err);
	read_shard(path);
	free(path);
	return 0;
}

/* Most changes would be lost on the checksums of headers: seven of eight mend them. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, room);
	for (uint8_t *at = data; seed % 8 && (size_t)(at - data) + BLOCK <= size; at += BLOCK) {
		char text[8];
		unsigned sum = 0;

		if (memcmp(at + MAGIC, "ustar", 5) != 0)
			continue;
		memset(at + CHECKSUM, ' ', 8);
		for (int i = 0; i < BLOCK; i++)
			sum += at[i];
		snprintf(text, sizeof(text), "%06o", sum);
		memcpy(at + CHECKSUM, text, 7);
	}
	return size;
}

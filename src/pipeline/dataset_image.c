/* From a place in a data set to pixels. */
#include "pipeline/dataset_parts.h"

#include "formats/tar.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int is_regular(const char *path)
{
	struct stat s;

	return !stat(path, &s) && S_ISREG(s.st_mode);
}

/* Cuts "…/SHARD.tar/MEMBER" in two and returns the member; NULL for a plain file. */
static char *cut_member(char *full)
{
	for (char *at = full; (at = strcasestr(at, ".tar/"));) {
		at += strlen(".tar");
		*at = 0;
		if (is_regular(full))
			return at + 1;
		*at = '/';
	}
	return NULL;
}

/* Whoever asked names the image: what it needs is the reason. */
static void drop_path(struct err *err, const char *path)
{
	size_t n = strlen(path);

	if (!strncmp(err->msg, path, n)) {
		n += strspn(err->msg + n, ": ");
		memmove(err->msg, err->msg + n, strlen(err->msg) - n + 1);
	}
}

int dataset_image_at(struct image *out, const char *root, const char *path, int64_t offset, struct err *err)
{
	char *full = dataset_full_path(root, path), *member = cut_member(full);
	unsigned char *data;
	size_t size;
	int rc;

	if (!member) {
		rc = image_read(out, full, err);
	} else {
		*out = (struct image){0};
		rc = tar_read(&data, &size, full, member, offset, err);
		if (!rc) {
			rc = image_decode(out, data, size, full, err);
			free(data);
		}
	}
	if (rc)
		drop_path(err, full);
	free(full);
	return rc;
}

int dataset_image(struct image *out, const struct dataset *d, int i, struct err *err)
{
	return dataset_image_at(out, d->root, dataset_path(d, i), d->offset ? d->offset[i] : -1, err);
}

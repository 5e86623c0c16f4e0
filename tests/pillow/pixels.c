/*
 * pixels IN OUT.raw [W H FILTER]   decode an image, optionally resize it, write it raw, print "width height"
 * pixels --batch                   the same for every line of standard input, the fields split by tabs
 *
 * What compare.py holds against Pillow. A line of a batch that fails prints "error: MESSAGE"; the rest go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "formats/image.h"
#include "formats/resize.h"

enum { MAX_FIELDS = 5 };

static int resize_to(struct image *image, char *const *args, struct err *err)
{
	struct image to = {.width = atoi(args[0]), .height = atoi(args[1])};
	enum resize_filter filter;

	if (resize_filter_parse(&filter, args[2], err))
		return -1;
	if (to.width < 1 || to.height < 1)
		return err_set(err, "size %s x %s; at least 1 x 1 expected", args[0], args[1]);
	to.rgb = x_malloc((size_t)to.width * (size_t)to.height * 3);
	int status =
		resize_u8(to.rgb, to.width, to.height, image->rgb, image->width, image->height, filter, err);
	image_release(image);
	*image = to;
	return status;
}

static int write_raw(const struct image *image, const char *path, struct err *err)
{
	size_t size = (size_t)image->width * (size_t)image->height * 3;
	FILE *f = fopen(path, "wb");

	if (!f)
		return err_set(err, "%s: cannot create", path);
	int failed = fwrite(image->rgb, 1, size, f) != size;
	failed |= fclose(f) != 0;
	return failed ? err_set(err, "%s: cannot write", path) : 0;
}

/* fields: IN OUT [W H FILTER]. */
static int process(char *const *fields, int n)
{
	struct err err = {{0}};
	struct image image = {0};
	int status = 0;

	if (n != 2 && n != MAX_FIELDS)
		status = err_set(&err, "%d fields; IN OUT or IN OUT W H FILTER expected", n);
	if (status == 0)
		status = image_read(&image, fields[0], &err);
	if (status == 0 && n == MAX_FIELDS)
		status = resize_to(&image, fields + 2, &err);
	if (status == 0)
		status = write_raw(&image, fields[1], &err);
	if (status == 0)
		printf("%d %d\n", image.width, image.height);
	else
		printf("error: %s\n", err.msg);
	fflush(stdout);
	image_release(&image);
	return status;
}

static int batch(void)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		char *fields[MAX_FIELDS + 1], *rest = line;
		int n = 0;
		line[strcspn(line, "\n")] = '\0';
		while (rest && n <= MAX_FIELDS)
			fields[n++] = strsep(&rest, "\t");
		process(fields, n);
	}
	free(line);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--batch") == 0)
		return batch();
	return process(argv + 1, argc - 1) ? EXIT_RUN : 0;
}

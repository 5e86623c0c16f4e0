/* Rows against their checksums: for --verify and before --resume goes on. */
#include "pipeline/store.h"

#include "base/log.h"
#include "formats/digest.h"
#include "formats/h5.h"
#include "pipeline/store_parts.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

/* A data set whose rows are part of the checksum, as it lies in the file. */
struct column {
	hid_t dataset, type, space, memory;
	hsize_t dims[3];
	int ndim;
	size_t bytes; /* of a row */
};

static void close_columns(struct column *c, int n)
{
	for (int i = 0; i < n; i++) {
		H5Sclose(c[i].memory);
		H5Sclose(c[i].space);
		H5Tclose(c[i].type);
		H5Dclose(c[i].dataset);
	}
	free(c);
}

static int open_column(struct column *c, hid_t file, const char *name, int rows)
{
	*c = (struct column){.dataset = h5_exists(file, name) ? H5Dopen2(file, name, H5P_DEFAULT) : -1};
	if (c->dataset < 0)
		return -1;
	c->type = H5Dget_type(c->dataset);
	c->space = H5Dget_space(c->dataset);
	c->ndim = H5Sget_simple_extent_ndims(c->space);
	c->memory = -1;
	if (c->ndim >= 1 && c->ndim <= 3) {
		H5Sget_simple_extent_dims(c->space, c->dims, NULL);
		c->bytes = H5Tget_size(c->type);
		for (int k = 1; k < c->ndim; k++)
			c->bytes *= c->dims[k];
		if (c->dims[0] == (hsize_t)rows) {
			c->dims[0] = 1;
			c->memory = H5Screate_simple(c->ndim, c->dims, NULL);
			return 0;
		}
	}
	H5Sclose(c->space);
	H5Tclose(c->type);
	H5Dclose(c->dataset);
	return -1;
}

/* Opens the data sets that the file names. Returns how many, or -1. */
static int open_columns(struct column **columns, hid_t file, const char *path, int rows, struct err *err)
{
	char *names = NULL;
	size_t width = 0;
	int n = h5_read_texts(&names, &width, file, STORE_FIELDS, err), opened = 0;

	if (n < 0)
		return err_set(err, "%s: no %s: not a results file of this version of dave-eval", path,
			STORE_FIELDS);
	*columns = x_calloc((size_t)n + 1, sizeof(**columns));
	while (opened < n) {
		char *name = x_asprintf("%.*s", (int)width, names + (size_t)opened * width);
		int rc = open_column(&(*columns)[opened], file, name, rows);

		if (rc)
			err_set(err, "%s: data set %.200s is missing or of another size", path, name);
		free(name);
		if (rc)
			break;
		opened++;
	}
	free(names);
	if (opened == n)
		return n;
	close_columns(*columns, opened);
	return -1;
}

/* The checksum of row i as it is in the file now. */
static int row_checksum(uint32_t *crc, const struct column *c, int n, int i, unsigned char *buf)
{
	*crc = 0;
	for (int k = 0; k < n; k++) {
		hsize_t start[3] = {(hsize_t)i};

		H5Sselect_hyperslab(c[k].space, H5S_SELECT_SET, start, NULL, c[k].dims, NULL);
		if (H5Dread(c[k].dataset, c[k].type, c[k].memory, c[k].space, H5P_DEFAULT, buf) < 0)
			return -1;
		*crc = digest_crc32(*crc, buf, c[k].bytes);
	}
	*crc = *crc ? *crc : 1;
	return 0;
}

static int compare_rows(const char *path, const struct column *columns, int n, const int64_t *stored,
	uint8_t *status, int rows, void (*bad)(int row, void *ctx), void *ctx, struct err *err)
{
	size_t largest = 1;
	int damaged = 0;

	for (int k = 0; k < n; k++)
		largest = columns[k].bytes > largest ? columns[k].bytes : largest;
	unsigned char *buf = x_malloc(largest);
	for (int i = 0; i < rows && damaged >= 0; i++) {
		uint32_t crc;

		if (status[i] == ROW_PENDING)
			continue;
		if (row_checksum(&crc, columns, n, i, buf)) {
			damaged = err_set(err, "%s: cannot read row %d", path, i);
		} else if (status[i] > ROW_FAILED || crc != stored[i]) {
			status[i] = ROW_PENDING;
			damaged++;
			if (bad)
				bad(i, ctx);
		}
	}
	free(buf);
	return damaged;
}

int store_verify_rows(int64_t file, const char *path, uint8_t *status, int rows,
	void (*bad)(int row, void *ctx), void *ctx, struct err *err)
{
	int64_t *stored = x_malloc(((size_t)rows + 1) * sizeof(*stored));
	struct column *columns = NULL;
	int n = -1, damaged = -1;

	if (h5_read_int(stored, (size_t)rows, file, "/images/checksum", err))
		err_prefix(err, "%s", path);
	else
		n = open_columns(&columns, file, path, rows, err);
	if (n >= 0) {
		damaged = compare_rows(path, columns, n, stored, status, rows, bad, ctx, err);
		close_columns(columns, n);
	}
	free(stored);
	return damaged;
}

/* ---- dave-eval --verify ---- */

struct listing {
	const char *paths;
	size_t width;
};

static void print_bad(int row, void *ctx)
{
	const struct listing *l = ctx;
	char *path = x_asprintf("%.*s", (int)l->width, l->paths + (size_t)row * l->width);

	printf("row %d (%s): its bytes do not match its checksum\n", row, log_clean(path));
	free(path);
}

/* Are the paths and labels those that the run began with? The checksums of the rows leave them out. */
static bool same_list(hid_t file, const struct listing *l, int rows)
{
	int64_t *label = x_malloc(((size_t)rows + 1) * sizeof(*label));
	char *block = x_malloc((size_t)rows * (l->width + 1 + sizeof(int)) + 1), *at = block;
	char digest[DIGEST_TEXT], *said = h5_attr_text(file, "data_sha256");
	struct err err = {{0}};
	bool same = said && !h5_read_int(label, (size_t)rows, file, "/images/label", &err);

	for (int i = 0; i < rows; i++)
		at += snprintf(at, l->width + 1, "%.*s", (int)l->width, l->paths + (size_t)i * l->width) + 1;
	for (int i = 0; i < rows && same; i++) {
		int value = (int)label[i];

		memcpy(at, &value, sizeof(value));
		at += sizeof(value);
	}
	digest_sha256(digest, block, (size_t)(at - block));
	same = same && !strcmp(digest, said);
	free(label);
	free(block);
	free(said);
	return same;
}

int store_verify(const char *path, struct store_counts *counts, struct err *err)
{
	hid_t file = h5_open(path, err);
	char *paths = NULL;
	size_t width = 0;
	int damaged = -1, rows = -1;

	*counts = (struct store_counts){0};
	if (file < 0)
		return -1;
	if ((rows = h5_read_texts(&paths, &width, file, "/images/path", err)) < 0)
		err_set(err, "%s: no /images/path: not a results file of dave-eval", path);
	int64_t *said = x_malloc(((size_t)(rows > 0 ? rows : 0) + 1) * sizeof(*said));
	uint8_t *status = x_calloc((size_t)(rows > 0 ? rows : 0) + 1, 1);
	if (rows >= 0 && h5_read_int(said, (size_t)rows, file, "/images/status", err)) {
		err_prefix(err, "%s", path);
	} else if (rows >= 0) {
		struct listing l = {paths, width};

		for (int i = 0; i < rows; i++)
			status[i] = said[i] < 0 || said[i] > ROW_FAILED ? ROW_FAILED + 1 : (uint8_t)said[i];
		damaged = store_verify_rows(file, path, status, rows, print_bad, &l, err);
		if (damaged >= 0)
			counts->other_list = !same_list(file, &l, rows);
	}
	if (damaged >= 0) {
		counts->damaged = damaged;
		for (int i = 0; i < rows; i++) {
			counts->done += status[i] == ROW_DONE;
			counts->failed += status[i] == ROW_FAILED;
			counts->pending += status[i] == ROW_PENDING;
		}
		counts->pending -= damaged;
	}
	H5Fclose(file);
	free(paths);
	free(said);
	free(status);
	return damaged >= 0 ? 0 : -1;
}

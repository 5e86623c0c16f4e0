#include "pipeline/store.h"

#include "formats/h5.h"
#include "pipeline/store_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int store_open(struct store *st, const char *path, const struct schema *s, struct err *err)
{
	*st = (struct store){.schema = s, .file = -1, .path = x_strdup(path)};
	st->synced = open(path, O_RDWR | O_CLOEXEC);
	st->datasets = x_calloc((size_t)s->count, sizeof(*st->datasets));
	hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
	/* by itself: with all ranks together, those would wait inside HDF5 for one that fails to close */
	H5Pset_fapl_mpio(fapl, MPI_COMM_SELF, MPI_INFO_NULL);
	st->file = H5Fopen(path, H5F_ACC_RDWR, fapl);
	H5Pclose(fapl);
	if (st->file < 0 || st->synced < 0)
		return err_set(err, "%s: cannot open as a results file", path);
	for (int i = 0; i < s->count; i++)
		if ((st->datasets[i] = H5Dopen2(st->file, s->fields[i].path, H5P_DEFAULT)) < 0)
			return err_set(err, "%s: data set %s is missing", path, s->fields[i].path);
	st->transfer = H5Pcreate(H5P_DATASET_XFER);
	H5Pset_dxpl_mpio(st->transfer, H5FD_MPIO_INDEPENDENT);
	return 0;
}

static int write_field(struct store *st, int field, int row_index, const unsigned char *row, struct err *err)
{
	const struct field *f = &st->schema->fields[field];
	hsize_t start[3] = {(hsize_t)row_index}, count[3] = {1, f->dims[0], f->dims[1]};
	hid_t space = H5Dget_space(st->datasets[field]), memory = H5Screate_simple(1 + f->ndim, count, NULL);
	hid_t type = store_field_type(f);

	H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
	errno = 0;
	herr_t rc = H5Dwrite(st->datasets[field], type, memory, space, st->transfer, row + f->offset);
	if (rc < 0)
		err_set(err, "%s: cannot write %s of image %d: %s", st->path, f->path, row_index,
			h5_reason());
	H5Tclose(type);
	H5Sclose(memory);
	H5Sclose(space);
	return rc < 0 ? -1 : 0;
}

static int reach_disk(const struct store *st, int row_index, struct err *err)
{
	struct stat s;

	if (fdatasync(st->synced))
		return err_set(
			err, "%s: cannot write image %d to disk: %s", st->path, row_index, strerror(errno));
	if (!fstat(st->synced, &s) && !s.st_nlink)
		return err_set(err, "%s: was removed while the run was writing to it", st->path);
	return 0;
}

int store_write_row(struct store *st, int i, unsigned char *row, enum row_status status, struct err *err)
{
	const struct schema *s = st->schema;
	uint32_t crc = schema_checksum(s, row);

	/* a row that failed before may be written anew: nobody shall take it for whole meanwhile */
	row[s->fields[s->status].offset] = ROW_PENDING;
	if (write_field(st, s->status, i, row, err))
		return -1;
	for (int f = 0; f < s->count; f++)
		if (schema_in_checksum(s, f) && write_field(st, f, i, row, err))
			return -1;
	memcpy(row + s->fields[s->checksum].offset, &crc, sizeof(crc));
	row[s->fields[s->status].offset] = (unsigned char)status;
	return reach_disk(st, i, err) || write_field(st, s->checksum, i, row, err) ||
			       write_field(st, s->status, i, row, err) || reach_disk(st, i, err)
		       ? -1
		       : 0;
}

int store_close(struct store *st, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < st->schema->count; i++)
		if (st->datasets[i] > 0)
			H5Dclose(st->datasets[i]);
	if (st->transfer > 0)
		H5Pclose(st->transfer);
	if (st->file >= 0)
		rc = h5_close(st->file, st->path, err);
	if (st->synced >= 0)
		close(st->synced);
	free(st->datasets);
	free(st->path);
	*st = (struct store){.file = -1, .synced = -1};
	return rc;
}

#include "formats/h5.h"

#include <errno.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

static bool g_abandoned;

void h5_setup(void)
{
	/* at exit HDF5 would close parallel files collectively: a rank that dies alone would wait for ever */
	H5dont_atexit();
	setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

int64_t h5_half_type(void)
{
	hid_t t = H5Tcopy(H5T_IEEE_F32LE);

	H5Tset_fields(t, 15, 10, 5, 0, 10);
	H5Tset_size(t, 2);
	H5Tset_ebias(t, 15);
	return t;
}

int64_t h5_open(const char *path, struct err *err)
{
	hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);

	return f >= 0 ? f : err_set(err, "%s: cannot open as an HDF5 file", path);
}

int64_t h5_create(const char *path, struct err *err)
{
	hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

	return f >= 0 ? f : err_set(err, "%s: cannot create", path);
}

int h5_close(int64_t file, const char *path, struct err *err)
{
	errno = 0;
	int rc = H5Fflush(file, H5F_SCOPE_LOCAL) < 0 || H5Fclose(file) < 0
			 ? err_set(err, "%s: cannot write: %s", path, h5_reason())
			 : 0;

	g_abandoned = g_abandoned || rc;
	return rc;
}

bool h5_abandoned(void)
{
	return g_abandoned;
}

const char *h5_reason(void)
{
	return errno ? strerror(errno) : "not all of it was written (disk full?)";
}

bool h5_exists(int64_t file, const char *name)
{
	char part[1024];

	/* H5Lexists wants every parent to exist */
	for (const char *slash = name; *slash;) {
		slash += strcspn(slash + 1, "/") + 1;
		if ((size_t)(slash - name) >= sizeof(part))
			return false;
		memcpy(part, name, (size_t)(slash - name));
		part[slash - name] = 0;
		if (H5Lexists(file, part, H5P_DEFAULT) <= 0)
			return false;
	}
	return true;
}

int h5_group(int64_t file, const char *name, struct err *err)
{
	hid_t lcpl = H5Pcreate(H5P_LINK_CREATE);

	if (h5_exists(file, name)) {
		H5Pclose(lcpl);
		return 0;
	}
	H5Pset_create_intermediate_group(lcpl, 1);
	hid_t g = H5Gcreate2(file, name, lcpl, H5P_DEFAULT, H5P_DEFAULT);
	H5Pclose(lcpl);
	if (g < 0)
		return err_set(err, "cannot create group %s", name);
	H5Gclose(g);
	return 0;
}

/* Opens a data set and tells its shape. */
static hid_t open_dataset(struct h5_tensor *t, int64_t file, const char *name, struct err *err)
{
	hsize_t dims[8];
	hid_t d = h5_exists(file, name) ? H5Dopen2(file, name, H5P_DEFAULT) : -1;

	*t = (struct h5_tensor){0};
	if (d < 0)
		return err_set(err, "data set %s is missing", name);
	hid_t space = H5Dget_space(d);
	t->ndim = H5Sget_simple_extent_ndims(space);
	t->count = 1;
	if (t->ndim < 0 || t->ndim > 8) {
		H5Sclose(space);
		H5Dclose(d);
		return err_set(err, "data set %s: expected at most 8 dimensions", name);
	}
	H5Sget_simple_extent_dims(space, dims, NULL);
	for (int i = 0; i < t->ndim; i++)
		t->count *= t->dims[i] = (size_t)dims[i];
	H5Sclose(space);
	return d;
}

int h5_read(struct h5_tensor *t, int64_t file, const char *name, struct err *err)
{
	hid_t d = open_dataset(t, file, name, err);

	if (d < 0)
		return -1;
	t->data = x_malloc(t->count * sizeof(float));
	herr_t rc = H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, t->data);
	H5Dclose(d);
	if (rc >= 0)
		return 0;
	free(t->data);
	t->data = NULL;
	return err_set(err, "data set %s: cannot read numbers", name);
}

static int read_exactly(void *out, hid_t type, size_t count, int64_t file, const char *name, struct err *err)
{
	struct h5_tensor t;
	hid_t d = open_dataset(&t, file, name, err);

	if (d < 0)
		return -1;
	herr_t rc = t.count == count ? H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) : -1;
	H5Dclose(d);
	return rc >= 0 ? 0
		       : err_set(err, "data set %s: expected %zu numbers, found %zu", name, count, t.count);
}

int h5_read_double(double *out, size_t count, int64_t file, const char *name, struct err *err)
{
	return read_exactly(out, H5T_NATIVE_DOUBLE, count, file, name, err);
}

int h5_read_int(int64_t *out, size_t count, int64_t file, const char *name, struct err *err)
{
	/* h5py writes booleans as an enumeration, which HDF5 converts to no number: those are read as bytes
	 */
	hid_t d = h5_exists(file, name) ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
	hid_t type = d >= 0 ? H5Dget_type(d) : -1;
	bool is_enum = type >= 0 && H5Tget_class(type) == H5T_ENUM && H5Tget_size(type) == 1;
	int rc;

	if (is_enum) {
		uint8_t *bytes = x_malloc(count);

		rc = read_exactly(bytes, type, count, file, name, err);
		for (size_t i = 0; !rc && i < count; i++)
			out[i] = bytes[i];
		free(bytes);
	} else {
		rc = read_exactly(out, H5T_NATIVE_INT64, count, file, name, err);
	}
	if (type >= 0)
		H5Tclose(type);
	if (d >= 0)
		H5Dclose(d);
	return rc;
}

static int read_attr(
	void *out, hid_t type, int64_t file, const char *object, const char *name, struct err *err)
{
	herr_t rc = -1;

	if (H5Aexists_by_name(file, object, name, H5P_DEFAULT) > 0) {
		hid_t a = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);

		hid_t space = H5Aget_space(a);

		rc = H5Sget_simple_extent_npoints(space) == 1 ? H5Aread(a, type, out) : -1;
		H5Sclose(space);
		H5Aclose(a);
	}
	return rc >= 0 ? 0 : err_set(err, "%s: attribute %s: expected a number", object, name);
}

int h5_attr_double(double *out, int64_t file, const char *object, const char *name, struct err *err)
{
	return read_attr(out, H5T_NATIVE_DOUBLE, file, object, name, err);
}

int h5_attr_int(int64_t *out, int64_t file, const char *object, const char *name, struct err *err)
{
	return read_attr(out, H5T_NATIVE_INT64, file, object, name, err);
}

char *h5_attr_text(int64_t file, const char *name)
{
	hid_t a = H5Aexists(file, name) > 0 ? H5Aopen(file, name, H5P_DEFAULT) : -1;

	if (a < 0)
		return NULL;
	hid_t type = H5Aget_type(a), space = H5Aget_space(a);
	char *text = NULL;
	if (H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type) &&
		H5Sget_simple_extent_npoints(space) == 1) {
		text = x_calloc(H5Tget_size(type) + 1, 1);
		H5Aread(a, type, text);
	}
	H5Sclose(space);
	H5Tclose(type);
	H5Aclose(a);
	return text;
}

int h5_read_texts(char **texts, size_t *width, int64_t file, const char *name, struct err *err)
{
	struct h5_tensor t;
	hid_t d = open_dataset(&t, file, name, err);

	if (d < 0)
		return -1;
	hid_t type = H5Dget_type(d);
	herr_t rc = H5Tget_class(type) == H5T_STRING && !H5Tis_variable_str(type) && t.ndim == 1 ? 0 : -1;
	*width = H5Tget_size(type);
	*texts = x_calloc(t.count + 1, *width);
	if (rc >= 0)
		rc = H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *texts);
	H5Tclose(type);
	H5Dclose(d);
	return rc >= 0 ? (int)t.count : err_set(err, "data set %s: expected texts of fixed length", name);
}

int h5_read_row(float *out, size_t count, int64_t file, const char *name, size_t row, struct err *err)
{
	struct h5_tensor t;
	hsize_t start[8] = {row}, size[8] = {1};
	hid_t d = open_dataset(&t, file, name, err);

	if (d < 0)
		return -1;
	if (t.ndim < 1 || row >= t.dims[0] || t.count / t.dims[0] != count) {
		H5Dclose(d);
		return err_set(err, "data set %s: expected rows of %zu numbers", name, count);
	}
	for (int i = 1; i < t.ndim; i++)
		size[i] = t.dims[i];
	hid_t space = H5Dget_space(d), memory = H5Screate_simple(t.ndim, size, NULL);
	H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL);
	herr_t rc = H5Dread(d, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, out);
	H5Sclose(memory);
	H5Sclose(space);
	H5Dclose(d);
	return rc >= 0 ? 0 : err_set(err, "data set %s: cannot read row %zu", name, row);
}

struct visitor {
	int (*visit)(const char *name, void *ctx);
	void *ctx;
};

static herr_t on_link(hid_t group, const char *name, const H5L_info_t *info, void *data)
{
	const struct visitor *v = data;

	(void)group;
	(void)info;
	return v->visit(name, v->ctx);
}

int h5_each(int64_t file, const char *group, int (*visit)(const char *name, void *ctx), void *ctx)
{
	struct visitor v = {visit, ctx};

	return H5Literate_by_name(file, group, H5_INDEX_NAME, H5_ITER_INC, NULL, on_link, &v, H5P_DEFAULT);
}

static int write_any(int64_t file, const char *name, const void *data, hid_t type, int ndim,
	const size_t *dims, struct err *err)
{
	hsize_t size[8];
	hid_t lcpl = H5Pcreate(H5P_LINK_CREATE);

	for (int i = 0; i < ndim; i++)
		size[i] = dims[i];
	H5Pset_create_intermediate_group(lcpl, 1);
	hid_t space = H5Screate_simple(ndim, size, NULL);
	hid_t d = H5Dcreate2(file, name, type, space, lcpl, H5P_DEFAULT, H5P_DEFAULT);
	herr_t rc = d < 0 ? -1 : H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
	if (d >= 0)
		H5Dclose(d);
	H5Sclose(space);
	H5Pclose(lcpl);
	return rc >= 0 ? 0 : err_set(err, "cannot write data set %s", name);
}

int h5_write(int64_t file, const char *name, const float *data, int ndim, const size_t *dims, struct err *err)
{
	return write_any(file, name, data, H5T_NATIVE_FLOAT, ndim, dims, err);
}

int h5_write_u8(
	int64_t file, const char *name, const uint8_t *data, int ndim, const size_t *dims, struct err *err)
{
	return write_any(file, name, data, H5T_NATIVE_UINT8, ndim, dims, err);
}

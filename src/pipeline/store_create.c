/* Making the results file: every group, data set, scale and attribute, with all rows pending. */
#include "pipeline/store.h"

#include "base/version.h"
#include "formats/h5.h"
#include "pipeline/store_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <hdf5_hl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

const char *const store_columns[TABLE_COLUMNS] = {"n", "mean", "std", "ci_low", "ci_high", "wins"};

int store_columns_of(const struct schema_table *t)
{
	return t->count && t->rows[t->count - 1].minus >= 0 ? TABLE_COLUMNS : TABLE_COLUMNS - 1;
}

static hid_t text_type(size_t size)
{
	hid_t t = H5Tcopy(H5T_C_S1);

	H5Tset_size(t, size);
	H5Tset_strpad(t, H5T_STR_NULLPAD);
	H5Tset_cset(t, H5T_CSET_UTF8);
	return t;
}

int64_t store_field_type(const struct field *f)
{
	switch (f->type) {
	case FIELD_U8:
		return H5Tcopy(H5T_STD_U8LE);
	case FIELD_U32:
		return H5Tcopy(H5T_STD_U32LE);
	case FIELD_I32:
		return H5Tcopy(H5T_STD_I32LE);
	case FIELD_F16:
		return h5_half_type();
	case FIELD_F32:
		return H5Tcopy(H5T_IEEE_F32LE);
	case FIELD_F64:
		return H5Tcopy(H5T_IEEE_F64LE);
	case FIELD_TEXT:
		return text_type(f->text_size);
	}
	BUG("field type %d", f->type);
}

/* ---- attributes ---- */

static void put_attribute(hid_t object, const char *name, hid_t type, const void *value)
{
	hid_t space = H5Screate(H5S_SCALAR),
	      a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);

	if (a < 0 || H5Awrite(a, type, value) < 0)
		BUG("attribute %s", name);
	H5Aclose(a);
	H5Sclose(space);
}

static void put_text(hid_t object, const char *name, const char *text)
{
	hid_t type = text_type(strlen(text) + 1);

	put_attribute(object, name, type, text);
	H5Tclose(type);
}

/* Parameters as attributes of the types that they have. */
static void put_options(hid_t object, const void *params, const struct option_row *options)
{
	char buf[OPTION_TEXT];

	for (const struct option_row *o = options; o->name; o++) {
		const void *field = (const char *)params + o->offset;

		if (o->type == OPT_INT)
			put_attribute(object, o->name, H5T_NATIVE_INT, field);
		else if (o->type == OPT_DOUBLE)
			put_attribute(object, o->name, H5T_NATIVE_DOUBLE, field);
		else
			put_text(object, o->name, option_format(buf, params, o));
	}
}

/* ---- objects ---- */

struct maker {
	hid_t file, create, links;
	const char *path;
	struct err *err;
};

static int bad(struct maker *m, const char *what)
{
	return err_set(m->err, "%s: cannot create %s: %s", m->path, what, h5_reason());
}

static hid_t make_group(struct maker *m, const char *name)
{
	hid_t gcpl = H5Pcreate(H5P_GROUP_CREATE);

	/* time stamps would break the identity of two runs */
	H5Pset_obj_track_times(gcpl, 0);
	hid_t g = H5Gcreate2(m->file, name, m->links, gcpl, H5P_DEFAULT);
	H5Pclose(gcpl);
	if (g < 0)
		bad(m, name);
	return g;
}

static hid_t make_dataset(
	struct maker *m, const char *name, hid_t type, int ndim, const hsize_t *dims, const char *help)
{
	hid_t space = H5Screate_simple(ndim, dims, NULL);
	hid_t d = H5Dcreate2(m->file, name, type, space, m->links, m->create, H5P_DEFAULT);

	H5Sclose(space);
	if (d < 0)
		return bad(m, name);
	put_text(d, "description", help);
	return d;
}

/* HDF5 may keep what it is given until now. */
static herr_t close_written(hid_t dataset, herr_t rc)
{
	return H5Dclose(dataset) < 0 ? -1 : rc;
}

/* A dimension scale with values; its name is the last part of its path. */
static int make_axis(
	struct maker *m, const char *path, const char *help, hid_t type, size_t size, const void *value)
{
	hsize_t dims[1] = {size};
	hid_t d = make_dataset(m, path, type, 1, dims, help);

	if (d < 0)
		return -1;
	herr_t rc = value ? H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) : 0;
	rc = rc < 0 ? rc : H5DSset_scale(d, strrchr(path, '/') + 1);
	return close_written(d, rc) < 0 ? bad(m, path) : 0;
}

static int attach(struct maker *m, hid_t dataset, const char *axis, unsigned dim)
{
	hid_t scale = H5Dopen2(m->file, axis, H5P_DEFAULT);
	herr_t rc = scale < 0 ? -1 : H5DSattach_scale(dataset, scale, dim);

	rc = rc < 0 ? rc : H5DSset_label(dataset, dim, strrchr(axis, '/') + 1);
	if (scale >= 0)
		H5Dclose(scale);
	return rc < 0 ? bad(m, axis) : 0;
}

static int make_axes(struct maker *m, const struct schema *s)
{
	int *id = x_malloc((size_t)s->images * sizeof(*id)), rc = 0;

	for (int i = 0; i < s->images; i++)
		id[i] = i;
	rc = make_axis(
		m, "/image", "image id: position in the data set", H5T_NATIVE_INT, (size_t)s->images, id);
	for (int i = 0; i < s->axes_count && !rc; i++)
		rc = make_axis(m, s->axes[i].path, s->axes[i].help, H5T_NATIVE_DOUBLE, s->axes[i].size,
			s->axes[i].value);
	free(id);
	return rc;
}

static int make_field(struct maker *m, const struct schema *s, const struct field *f)
{
	hsize_t dims[3] = {(hsize_t)s->images, f->dims[0], f->dims[1]};
	hid_t type = store_field_type(f), d = make_dataset(m, f->path, type, 1 + f->ndim, dims, f->help);
	int rc = d < 0 ? -1 : attach(m, d, "/image", 0);

	for (int k = 0; k < f->ndim && !rc; k++)
		rc = attach(m, d, f->axes[k], (unsigned)k + 1);
	H5Tclose(type);
	if (d >= 0)
		H5Dclose(d);
	return rc;
}

/* What the checksum of a row is taken over, so that the file can be verified without its configuration. */
static int make_checksum_fields(struct maker *m, const struct schema *s)
{
	size_t n = 0, width = 1;

	for (int i = 0; i < s->count; i++)
		if (schema_in_checksum(s, i) && strlen(s->fields[i].path) >= width)
			width = strlen(s->fields[i].path) + 1;
	char *names = x_calloc((size_t)s->count, width);
	for (int i = 0; i < s->count; i++)
		if (schema_in_checksum(s, i))
			strcpy(names + n++ * width, s->fields[i].path);
	hid_t type = text_type(width);
	int rc = make_axis(m, STORE_FIELDS, "data sets that the checksum of a row is taken over, in order",
		type, n, names);
	H5Tclose(type);
	free(names);
	return rc;
}

static int make_groups(struct maker *m, const struct config *c)
{
	hid_t g = make_group(m, "/images");
	int failed = g < 0;

	for (int i = 0; i < c->methods_count && !failed; i++) {
		const struct config_method *method = &c->methods[i];
		char *path = x_asprintf("/methods/%s", method->name);

		H5Gclose(g);
		failed = (g = make_group(m, path)) < 0;
		if (!failed) {
			put_text(g, "method", method->ops->name);
			put_text(g, "definition", method->ops->help);
			put_options(g, method->params, method->ops->options);
		}
		for (int k = 0; k < c->metrics_count && !failed; k++) {
			const struct config_metric *metric = &c->metrics[k];
			char *sub = x_asprintf("%s/%s", path, metric->name);

			H5Gclose(g);
			failed = (g = make_group(m, sub)) < 0;
			if (!failed) {
				put_text(g, "metric", metric->ops->name);
				put_text(g, "definition", metric->ops->help);
				put_text(g, "preset", *metric->preset ? metric->preset : "none");
				put_options(g, metric->params, metric->ops->options);
			}
			free(sub);
		}
		free(path);
	}
	if (g >= 0)
		H5Gclose(g);
	return failed ? -1 : 0;
}

/* A group with the names of its rows and columns of NaN, until the run is over. */
static int make_table(struct maker *m, const struct schema_table *t)
{
	static const char *const help[TABLE_COLUMNS] = {"finite values", "mean", "sample standard deviation",
		"bootstrap 95 % interval of the mean, lower end",
		"bootstrap 95 % interval of the mean, upper end",
		"share of the images in which the first method has the larger figure, ties half"};
	hid_t g = make_group(m, t->group);
	size_t longest = 1, rows = (size_t)t->count;
	hsize_t dims[1] = {(hsize_t)t->count};

	if (g < 0)
		return -1;
	H5Gclose(g);
	for (size_t i = 0; i < rows; i++)
		longest = strlen(t->rows[i].name) + 1 > longest ? strlen(t->rows[i].name) + 1 : longest;
	char *names = x_calloc(rows, longest), *axis = x_asprintf("%s/name", t->group);
	double *nothing = x_malloc(rows * sizeof(*nothing));
	for (size_t i = 0; i < rows; i++) {
		strcpy(names + i * longest, t->rows[i].name);
		nothing[i] = NAN;
	}
	hid_t type = text_type(longest);
	int rc = make_axis(m, axis, "what the row is about", type, rows, names);
	for (int i = 0; i < store_columns_of(t) && !rc; i++) {
		char *path = x_asprintf("%s/%s", t->group, store_columns[i]);
		hid_t d = make_dataset(m, path, H5T_IEEE_F64LE, 1, dims, help[i]);

		rc = d < 0 ? -1 : attach(m, d, axis, 0);
		if (!rc && H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, nothing) < 0)
			rc = bad(m, path);
		if (d >= 0 && close_written(d, 0) < 0 && !rc)
			rc = bad(m, path);
		free(path);
	}
	H5Tclose(type);
	free(axis);
	free(names);
	free(nothing);
	return rc;
}

static int make_counts(struct maker *m)
{
	static const char names[3][8] = {"pending", "done", "failed"};
	hid_t type = text_type(8);
	hsize_t three[1] = {3};
	int rc = make_axis(m, "/summary/status", "status of a row of /images", type, 3, names);
	hid_t d = rc ? -1
		     : make_dataset(
			       m, "/summary/status_count", H5T_STD_I32LE, 1, three, "images of each status");

	rc = d < 0 ? -1 : attach(m, d, "/summary/status", 0);
	if (d >= 0)
		H5Dclose(d);
	H5Tclose(type);
	return rc;
}

static void put_identity(hid_t file, const struct store_identity *id)
{
	put_text(file, "program", "dave-eval");
	put_text(file, "program_version", DAVE_EVAL_VERSION);
	put_text(file, "git_revision", version_revision());
	put_text(file, "config", id->config);
	put_text(file, "checkpoint_sha256", id->checkpoint_sha256);
	put_text(file, "data_sha256", id->data_sha256);
	put_text(file, "boxes_sha256", id->boxes_sha256);
	put_text(file, "architecture", id->architecture);
	put_text(file, "model", id->model);
	put_text(file, "cpu_kernels", id->cpu_kernels);
	put_attribute(file, "seed", H5T_NATIVE_UINT64, &id->seed);
	put_attribute(file, "batch", H5T_NATIVE_INT, &id->batch);
	put_text(file, "definitions",
		"maps: attribution of the target's logit to each pixel of the preprocessed image, in units "
		"of /methods/*/scale; "
		"curves: score against fraction of pixels changed, pixels ordered by value, ties by index; "
		"auc: trapezoid over the true fraction; parameters: attributes of each group; summary: mean "
		"over images with a "
		"finite value, 95 % percentile bootstrap of 10000 resamples");
}

/* Path and label of every image, and status and checksum of all rows: pending. */
static int fill_known(struct maker *m, const struct schema *s, const struct dataset *d)
{
	const struct field *path = &s->fields[s->path];
	size_t n = (size_t)s->images;
	char *paths = x_calloc(n, path->text_size);
	uint32_t *zeros = x_calloc(n, sizeof(*zeros));
	const struct {
		int field;
		const void *data;
	} known[] = {{s->path, paths}, {s->label, d->label}, {s->status, zeros}, {s->checksum, zeros}};
	int rc = 0;

	for (int i = 0; i < s->images; i++)
		strcpy(paths + (size_t)i * path->text_size, dataset_path(d, i));
	for (int i = 0; i < 4 && !rc; i++) {
		const struct field *f = &s->fields[known[i].field];
		hid_t set = H5Dopen2(m->file, f->path, H5P_DEFAULT), type = store_field_type(f);

		herr_t written = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, known[i].data);
		if (close_written(set, written) < 0)
			rc = bad(m, f->path);
		H5Tclose(type);
	}
	free(paths);
	free(zeros);
	return rc;
}

static int make_all(struct maker *m, const struct schema *s, const struct config *c,
	const struct store_identity *id, const struct dataset *d)
{
	put_identity(m->file, id);
	if (make_groups(m, c) || make_axes(m, s)) /* links to axes would make groups of their own */
		return -1;
	for (int i = 0; i < s->count; i++)
		if (make_field(m, s, &s->fields[i]))
			return -1;
	if (make_checksum_fields(m, s) || make_table(m, &s->summary) || make_counts(m) ||
		(s->paired.count && make_table(m, &s->paired)))
		return -1;
	return fill_known(m, s, d);
}

/* What the disk has left, before anything is written; quotas are found by reserving. */
static int enough_space(const char *path, const struct schema *s, struct err *err)
{
	char *folder =
		x_asprintf("%.*s.", (int)(strrchr(path, '/') ? strrchr(path, '/') - path + 1 : 0), path);
	double need = schema_file_bytes(s);
	struct statvfs v;
	int rc = 0;

	if (!statvfs(folder, &v) && (double)v.f_bavail * (double)v.f_frsize < need)
		rc = err_set(err, "%s: too little disk space for %.1f MB of results: %.1f MB are left", path,
			1e-6 * need, 1e-6 * (double)v.f_bavail * (double)v.f_frsize);
	free(folder);
	return rc;
}

/* Reserves the disk blocks, so that a full disk is found now and not after hours. */
static int reserve_and_sync(const char *path, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC), rc = 0;

	if (fd < 0 || fstat(fd, &st))
		rc = err_set(err, "%s: cannot open: %s", path, strerror(errno));
	else if (fallocate(fd, 0, 0, st.st_size) && (errno == ENOSPC || errno == EDQUOT))
		rc = err_set(err, "%s: too little disk space for %.1f MB of results", path,
			(double)st.st_size / 1e6);
	else if (fsync(fd))
		rc = err_set(err, "%s: cannot write: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* mkdir -p of the file's folder. */
static int make_folders(const char *path, struct err *err)
{
	char *copy = x_strdup(path);
	int rc = 0;

	for (char *slash = strchr(copy + 1, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0777) && errno != EEXIST)
			rc = err_set(err, "%s: cannot create the folder: %s", copy, strerror(errno));
		*slash = '/';
	}
	free(copy);
	return rc;
}

/* The lock lies on a file beside the results: on NFS, MPI-IO locks the whole results file for each write and
 * would wait for us for ever. An open file description lock, so that no other descriptor of ours can drop it.
 */
int store_lock(const char *path, struct err *err)
{
	char *name = x_asprintf("%s.lock", path);
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat ours, theirs;
	int fd = make_folders(path, err) ? -1 : -2;

	while (fd == -2) {
		fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (fd < 0) {
			fd = err_set(err, "%s: cannot create: %s", name, strerror(errno));
		} else if (fcntl(fd, F_OFD_SETLK, &whole) && (errno == EAGAIN || errno == EACCES)) {
			close(fd);
			fd = err_set(err, "%s: another run is writing this file", path);
		} else if (fstat(fd, &ours) || stat(name, &theirs) || ours.st_ino != theirs.st_ino) {
			close(fd); /* its last holder removed it between our open and our lock */
			fd = -2;
		}
	}
	free(name);
	return fd; /* a file system without locks is taken as it is */
}

void store_unlock(const char *path, int lock)
{
	char *name = x_asprintf("%s.lock", path);

	if (lock >= 0) {
		unlink(name);
		close(lock);
	}
	free(name);
}

int store_create(const char *path, const struct schema *s, const struct config *c,
	const struct store_identity *id, const struct dataset *d, struct err *err)
{
	char *temporary = x_asprintf("%s.tmp", path);
	struct maker m = {.path = temporary, .err = err};
	struct err ignored = {{0}};
	hid_t fcpl = H5Pcreate(H5P_FILE_CREATE);
	int rc = make_folders(path, err) || enough_space(path, s, err) ? -1 : 0;

	H5Pset_obj_track_times(fcpl, 0);
	m.create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_obj_track_times(m.create, 0);
	H5Pset_layout(m.create, H5D_CONTIGUOUS);
	H5Pset_alloc_time(m.create, H5D_ALLOC_TIME_EARLY);
	H5Pset_fill_time(m.create, H5D_FILL_TIME_NEVER);
	m.links = H5Pcreate(H5P_LINK_CREATE);
	H5Pset_create_intermediate_group(m.links, 1);
	errno = 0;
	if (!rc && (m.file = H5Fcreate(temporary, H5F_ACC_TRUNC, fcpl, H5P_DEFAULT)) < 0)
		rc = err_set(err, "%s: cannot create: %s", temporary, h5_reason());
	else if (!rc) {
		errno = 0;
		rc = make_all(&m, s, c, id, d);
		rc = h5_close(m.file, temporary, rc ? &ignored : err) || rc;
	}
	rc = rc || reserve_and_sync(temporary, err);
	if (!rc && rename(temporary, path))
		rc = err_set(err, "%s: cannot rename to %s: %s", temporary, path, strerror(errno));
	if (rc)
		unlink(temporary);
	H5Pclose(m.links);
	H5Pclose(m.create);
	H5Pclose(fcpl);
	free(temporary);
	return rc ? -1 : 0;
}

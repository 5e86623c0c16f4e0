/* Reading the results file back: for --resume, and for the summary. */
#include "pipeline/store.h"

#include "base/log.h"
#include "base/num.h"
#include "base/version.h"
#include "formats/h5.h"
#include "pipeline/store_parts.h"

#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a model or data set lies does not matter: what they are is compared by checksums. */
static int is_place(const char *line)
{
	return !strncmp(line, "  path: ", 8) || !strncmp(line, "  classes: ", 11) ||
	       !strncmp(line, "  boxes: ", 9);
}

/* The first line in which two configurations differ, as an error; 0 if there is none. */
static int differing_line(
	struct err *err, const char *path, const char *what, const char *theirs, const char *ours)
{
	while (*theirs || *ours) {
		size_t n = strcspn(theirs, "\n"), m = strcspn(ours, "\n");
		int same = n == m && !memcmp(theirs, ours, n);

		if (!same && !(is_place(theirs) && is_place(ours)))
			return err_set(err, "%s: made with another %s: the file has \"%.*s\", now \"%.*s\"",
				path, what, (int)n, theirs, (int)m, ours);
		theirs += n + (theirs[n] != 0);
		ours += m + (ours[m] != 0);
	}
	return 0;
}

static int same_text(
	hid_t file, const char *path, const char *name, const char *ours, const char *what, struct err *err)
{
	char *theirs = h5_attr_text(file, name);
	int rc = 0;

	if (!theirs)
		rc = err_set(err, "%s: no attribute %s: not a results file of dave-eval", path, name);
	else if (!strcmp(name, "config") || !strcmp(name, "model"))
		rc = differing_line(err, path, what, theirs, ours);
	else if (strcmp(theirs, ours))
		rc = err_set(
			err, "%s: made with another %s (%.12s..., now %.12s...)", path, what, theirs, ours);
	free(theirs);
	return rc;
}

static void warn_if_other(hid_t file, const char *path, const char *name, const char *ours, const char *what)
{
	char *theirs = h5_attr_text(file, name);

	if (theirs && strcmp(theirs, ours))
		log_warn("%s was begun with %s %s, goes on with %s: rows may differ in the last bits", path,
			what, theirs, ours);
	free(theirs);
}

static int read_column(hid_t file, const struct field *f, hid_t type, void *out)
{
	hid_t d = H5Dopen2(file, f->path, H5P_DEFAULT);
	herr_t rc = d < 0 ? -1 : H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out);

	if (d >= 0)
		H5Dclose(d);
	return rc < 0 ? -1 : 0;
}

static int read_status(hid_t file, const char *path, const struct schema *s, uint8_t *status, struct err *err)
{
	if (read_column(file, &s->fields[s->status], H5T_NATIVE_UINT8, status))
		return err_set(err, "%s: cannot read the status of the rows", path);
	return 0;
}

int store_check(const char *path, const struct schema *s, const struct store_identity *id, uint8_t *status,
	struct err *err)
{
	hid_t file = h5_open(path, err);
	int bad = 0;

	if (file < 0)
		return -1;
	int rc = same_text(file, path, "config", id->config, "configuration", err) ||
		 same_text(file, path, "model", id->model, "model configuration", err) ||
		 same_text(file, path, "checkpoint_sha256", id->checkpoint_sha256, "checkpoint", err) ||
		 same_text(file, path, "data_sha256", id->data_sha256, "list of images", err) ||
		 same_text(file, path, "boxes_sha256", id->boxes_sha256, "set of annotations", err) ||
		 read_status(file, path, s, status, err);
	if (!rc && (bad = store_verify_rows(file, path, status, s->images, NULL, NULL, err)) < 0)
		rc = -1;
	if (bad > 0)
		log_warn("%s: %d rows do not match their checksums and are computed again", path, bad);
	if (!rc) {
		warn_if_other(file, path, "cpu_kernels", id->cpu_kernels, "CPU kernels");
		warn_if_other(file, path, "program_version", DAVE_EVAL_VERSION, "version");
		warn_if_other(file, path, "git_revision", version_revision(), "revision");
	}
	H5Fclose(file);
	return rc ? -1 : 0;
}

/* ---- the summary ---- */

/* Is the prediction the label? Of all images. */
static int read_correct(hid_t file, const struct schema *s, double *v)
{
	size_t n = (size_t)s->images;
	int *label = x_malloc(n * sizeof(int)), *prediction = x_malloc(n * sizeof(int));
	int rc = read_column(file, &s->fields[s->label], H5T_NATIVE_INT, label) ||
		 read_column(file, &s->fields[s->prediction], H5T_NATIVE_INT, prediction);

	for (size_t i = 0; i < n && !rc; i++)
		v[i] = label[i] == prediction[i];
	free(label);
	free(prediction);
	return rc;
}

/* v (images): the means of the finite values of each class, in place of values; NaN beyond the classes. */
static int class_means(hid_t file, const struct schema *s, double *v)
{
	int *label = x_malloc((size_t)s->images * sizeof(int)), most = -1;
	int rc = read_column(file, &s->fields[s->label], H5T_NATIVE_INT, label);

	for (int i = 0; i < s->images && !rc; i++)
		most = label[i] > most ? label[i] : most;
	double *sum = x_calloc((size_t)most + 1, sizeof(*sum)), *n = x_calloc((size_t)most + 1, sizeof(*n));
	for (int i = 0; i < s->images && !rc; i++)
		if (isfinite(v[i]) && label[i] >= 0) {
			sum[label[i]] += v[i];
			n[label[i]]++;
		}
	int classes = 0;
	for (int y = 0; y <= most; y++)
		if (n[y] > 0)
			v[classes++] = sum[y] / n[y];
	for (int i = classes; i < s->images; i++)
		v[i] = NAN;
	free(sum);
	free(n);
	free(label);
	return rc;
}

/* The values of one row of a table: NaN for images that are not done. wins: see TABLE_COLUMNS. */
static int row_values(hid_t file, const struct schema *s, const struct table_row *row, const uint8_t *status,
	double *v, double *wins)
{
	size_t n = (size_t)s->images;
	double *other = row->minus < 0 ? NULL : x_malloc(n * sizeof(*other)), won = 0, pairs = 0;
	int rc = row->field < 0 ? read_correct(file, s, v)
				: read_column(file, &s->fields[row->field], H5T_NATIVE_DOUBLE, v);

	if (!rc && other)
		rc = read_column(file, &s->fields[row->minus], H5T_NATIVE_DOUBLE, other);
	for (size_t i = 0; i < n && !rc; i++) {
		v[i] = status[i] == ROW_DONE ? v[i] : NAN;
		if (!other)
			continue;
		v[i] -= other[i];
		pairs += isfinite(v[i]);
		won += isfinite(v[i]) ? (v[i] > 0) + 0.5 * !(v[i] > 0 || v[i] < 0) : 0;
	}
	*wins = won / pairs;
	free(other);
	return rc || (row->by_class && class_means(file, s, v));
}

static int write_whole(hid_t file, const char *name, hid_t type, const void *data)
{
	errno = 0;
	hid_t d = H5Dopen2(file, name, H5P_DEFAULT);
	herr_t rc = d < 0 ? -1 : H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);

	if (d >= 0 && H5Dclose(d) < 0) /* HDF5 may keep what it is given until now */
		rc = -1;
	return rc < 0 ? -1 : 0;
}

int store_count(const char *path, const struct schema *s, int counts[3], struct err *err)
{
	errno = 0;
	hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	uint8_t *status = x_malloc((size_t)s->images);
	struct err ignored = {{0}};
	int rc = file < 0 ? err_set(err, "%s: cannot open to count its rows: %s", path, h5_reason())
			  : read_status(file, path, s, status, err);

	counts[0] = counts[1] = counts[2] = 0;
	for (int i = 0; i < s->images && !rc; i++)
		counts[status[i] <= ROW_FAILED ? status[i] : ROW_PENDING]++;
	if (!rc && write_whole(file, "/summary/status_count", H5T_NATIVE_INT, counts))
		rc = err_set(err, "%s: cannot write the counts: %s", path, h5_reason());
	if (file >= 0)
		rc = h5_close(file, path, rc ? &ignored : err) || rc;
	free(status);
	return rc;
}

/* The rows of a table that fall to this rank; the others stay 0. */
static int summarise_share(const struct comm *comm, const char *path, const struct schema *s,
	const struct schema_table *t, uint64_t seed, double *table, struct err *err)
{
	size_t rows = (size_t)t->count, images = (size_t)s->images;
	uint8_t *status = x_malloc(images);
	double *v = x_malloc(images * sizeof(*v)), wins;
	hid_t file = h5_open(path, err);
	int rc = file < 0 || read_status(file, path, s, status, err);

	for (size_t r = (size_t)comm->rank; r < rows && !rc; r += (size_t)comm->size) {
		if ((rc = row_values(file, s, &t->rows[r], status, v, &wins))) {
			err_set(err, "%s: cannot read the figures of %s", path, t->rows[r].name);
			break;
		}
		struct num_summary n = num_summarise(v, images, 10000, seed);
		double columns[TABLE_COLUMNS] = {(double)n.n, n.mean, n.std, n.ci_low, n.ci_high, wins};

		for (size_t k = 0; k < TABLE_COLUMNS; k++)
			table[k * rows + r] = columns[k];
	}
	if (file >= 0)
		H5Fclose(file);
	free(status);
	free(v);
	return rc;
}

static int write_table(const char *path, const struct schema_table *t, const double *table, struct err *err)
{
	errno = 0;
	hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
	struct err ignored = {{0}};
	int rc = file < 0;

	for (int k = 0; k < store_columns_of(t) && !rc; k++) {
		char name[32];

		snprintf(name, sizeof(name), "%s/%s", t->group, store_columns[k]);
		rc = write_whole(file, name, H5T_NATIVE_DOUBLE, table + k * t->count);
	}
	if (rc)
		err_set(err, "%s: cannot write %s: %s", path, t->group, h5_reason());
	if (file >= 0)
		rc = h5_close(file, path, rc ? &ignored : err) || rc;
	return rc;
}

/* One table. **Collective.** */
static int summarise(const struct comm *comm, const char *path, const struct schema *s,
	const struct schema_table *t, uint64_t seed, struct err *err)
{
	size_t bytes = TABLE_COLUMNS * (size_t)t->count * sizeof(double);
	double *table = x_calloc(bytes, 1);
	int mine = summarise_share(comm, path, s, t, seed, table, err) != 0, rc = comm_max(mine);

	comm_merge(table, bytes);
	if (!rc && !comm->rank)
		mine = write_table(path, t, table, err);
	free(table);
	rc = comm_max(rc || mine);
	if (rc && !mine)
		err_set(err, "%s: another rank cannot read it for the summary", path);
	return rc;
}

int store_summarise(
	const struct comm *comm, const char *path, const struct schema *s, uint64_t seed, struct err *err)
{
	int rc = summarise(comm, path, s, &s->summary, seed, err);

	if (!rc && s->paired.count)
		rc = summarise(comm, path, s, &s->paired, seed, err);
	return rc;
}

void store_print_summary(const char *path, const struct schema *s)
{
	size_t rows = (size_t)s->summary.count;
	double *table = x_malloc(5 * rows * sizeof(*table));
	struct err err = {{0}};
	int64_t file = h5_open(path, &err);

	printf("%-44s %6s %10s %10s  %s\n", "", "n", "mean", "std", "95 % interval");
	for (size_t k = 0; k < 5 && file >= 0; k++) {
		char name[32];

		snprintf(name, sizeof(name), "/summary/%s", store_columns[k]);
		h5_read_double(table + k * rows, rows, file, name, &err);
	}
	for (size_t r = 0; r < rows && file >= 0; r++)
		printf("%-44s %6.0f %10.4f %10.4f  [%.4f, %.4f]\n", s->summary.rows[r].name, table[r],
			table[rows + r], table[2 * rows + r], table[3 * rows + r], table[4 * rows + r]);
	if (file >= 0)
		h5_close(file, path, &err);
	free(table);
}

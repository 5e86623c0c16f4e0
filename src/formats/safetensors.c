#include "formats/safetensors.h"

#include "base/num.h"
#include "formats/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *name;
	enum tensor_dtype dtype;
	size_t size;
} dtypes[] = {
	{"F32", DTYPE_F32, 4},
	{"F16", DTYPE_F16, 2},
	{"BF16", DTYPE_BF16, 2},
	{"F64", DTYPE_OTHER, 8},
	{"I64", DTYPE_OTHER, 8},
	{"I32", DTYPE_OTHER, 4},
	{"I16", DTYPE_OTHER, 2},
	{"I8", DTYPE_OTHER, 1},
	{"U64", DTYPE_OTHER, 8},
	{"U32", DTYPE_OTHER, 4},
	{"U16", DTYPE_OTHER, 2},
	{"U8", DTYPE_OTHER, 1},
	{"BOOL", DTYPE_OTHER, 1},
};

static int map_file(struct safetensors_map *m, const char *path, struct err *err)
{
	struct stat s;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, &s) || !S_ISREG(s.st_mode)) {
		close(fd);
		return err_set(err, "%s: expected a regular file", path);
	}
	if (s.st_size < 8) {
		close(fd);
		return err_set(
			err, "%s: %lld bytes, too short for a safetensors file", path, (long long)s.st_size);
	}
	void *data = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) {
		err_set(err, "%s: cannot map: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	*m = (struct safetensors_map){x_strdup(path), data, (size_t)s.st_size, fd, s.st_mtim};
	return 0;
}

static int read_shape(struct tensor *t, const json_t *shape, const char *path, struct err *err)
{
	size_t n = json_array_size(shape);

	if (!json_is_array(shape) || n > TENSOR_MAX_DIMS)
		return err_set(err, "%s: tensor %s: expected a \"shape\" list of at most %d sizes", path,
			t->name, TENSOR_MAX_DIMS);
	t->ndim = (int)n;
	t->count = 1;
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_array_get(shape, i);
		json_int_t size = json_integer_value(item);

		if (!json_is_integer(item) || size < 0 || size > (1LL << 40) ||
			__builtin_mul_overflow(t->count, (size_t)size, &t->count))
			return err_set(err, "%s: tensor %s: bad size in \"shape\"", path, t->name);
		t->shape[i] = size;
	}
	return 0;
}

static int read_tensor(struct tensor *t, const json_t *entry, const unsigned char *data, size_t data_size,
	const char *path, struct err *err)
{
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	const json_t *offsets = json_object_get(entry, "data_offsets");
	const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
	size_t item = 0, bytes;

	for (size_t i = 0; dtype && i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
		if (!strcmp(dtype, dtypes[i].name)) {
			t->dtype = dtypes[i].dtype;
			snprintf(t->dtype_name, sizeof(t->dtype_name), "%s", dtype);
			item = dtypes[i].size;
		}
	if (!item)
		return err_set(
			err, "%s: tensor %s: unknown dtype %s", path, t->name, dtype ? dtype : "(none)");
	if (read_shape(t, json_object_get(entry, "shape"), path, err))
		return -1;
	if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
		return err_set(err, "%s: tensor %s: expected \"data_offsets\": [begin, end]", path, t->name);
	json_int_t b = json_integer_value(begin), e = json_integer_value(end);
	if (b < 0 || e < b || (uint64_t)e > data_size)
		return err_set(err,
			"%s: tensor %s: data [%lld, %lld) outside the file's %zu bytes of data (truncated?)",
			path, t->name, (long long)b, (long long)e, data_size);
	if (__builtin_mul_overflow(t->count, item, &bytes) || bytes != (size_t)(e - b))
		return err_set(err, "%s: tensor %s: %lld bytes of data do not fit its shape and dtype %s",
			path, t->name, (long long)(e - b), dtype);
	t->data = data + b;
	return 0;
}

static int has_name(const void *name, const void *tensor)
{
	return strcmp(name, ((const struct tensor *)tensor)->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

void safetensors_sort(struct safetensors *st)
{
	if (st->count)
		qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_name);
}

/* Adds the tensors of a mapped file; index, where there is one, says which are to lie in it (the file
 * `name`). */
static int read_header(struct safetensors *st, const struct safetensors_map *m, const json_t *index,
	const char *name, struct err *err)
{
	uint64_t length = 0;

	for (int i = 7; i >= 0; i--)
		length = length << 8 | m->data[i];
	if (length > m->size - 8)
		return err_set(err,
			"%s: header of %llu bytes in a file of %zu (truncated, or not safetensors)", m->path,
			(unsigned long long)length, m->size);
	json_t *root = json_read_memory((const char *)m->data + 8, length, m->path, err);
	if (!root)
		return -1;
	const char *key;
	json_t *entry;
	int rc = 0;
	st->tensors = x_realloc(
		st->tensors, ((size_t)st->count + json_object_size(root)) * sizeof(*st->tensors) + 1);
	json_object_foreach(root, key, entry)
	{
		const char *home = json_string_value(json_object_get(index, key));

		if (!strcmp(key, "__metadata__"))
			continue;
		struct tensor *t = &st->tensors[st->count++];
		*t = (struct tensor){.name = x_strdup(key)};
		if (index && (!home || strcmp(home, name)))
			rc = err_set(err, "%s: tensor %s is not where the index says: %s", m->path, key,
				home ? home : "nowhere");
		rc = rc || read_tensor(t, entry, m->data + 8 + length, m->size - 8 - length, m->path, err);
		if (rc)
			break;
	}
	json_decref(root);
	return rc ? -1 : 0;
}

static int add_file(
	struct safetensors *st, const char *path, const json_t *index, const char *name, struct err *err)
{
	struct safetensors_map m;

	if (map_file(&m, path, err))
		return -1;
	st->maps = x_realloc(st->maps, (size_t)(st->maps_count + 1) * sizeof(*st->maps));
	st->maps[st->maps_count++] = m;
	return read_header(st, &m, index, name, err);
}

static int opened(struct safetensors *st, int rc)
{
	if (rc)
		safetensors_release(st);
	else
		safetensors_sort(st);
	return rc;
}

int safetensors_open(struct safetensors *st, const char *path, struct err *err)
{
	*st = (struct safetensors){.path = x_strdup(path)};
	return opened(st, add_file(st, path, NULL, NULL, err));
}

/* Has the file been added? */
static bool is_added(const struct safetensors *st, const char *path)
{
	for (int i = 0; i < st->maps_count; i++)
		if (!strcmp(st->maps[i].path, path))
			return true;
	return false;
}

/* All files that the index names; every tensor of the index must be found. */
static int add_files(struct safetensors *st, const char *dir, const json_t *index, struct err *err)
{
	const char *key;
	json_t *value;
	char path[4096];

	if (!json_is_object(index) || !json_object_size(index))
		return err_set(err, "%s: expected a \"weight_map\" of tensors to files", st->path);
	json_object_foreach((json_t *)(uintptr_t)index, key, value)
	{
		const char *file = json_string_value(value);

		if (!file || !*file || strchr(file, '/'))
			return err_set(err, "%s: weight_map.%s: expected the name of a file beside it",
				st->path, key);
		snprintf(path, sizeof(path), "%s/%s", dir, file);
		if (!is_added(st, path) && add_file(st, path, index, file, err))
			return -1;
	}
	if ((size_t)st->count == json_object_size(index))
		return 0;
	json_object_foreach((json_t *)(uintptr_t)index, key, value)
	{
		bool found = false;

		for (int i = 0; i < st->count && !found; i++)
			found = !strcmp(st->tensors[i].name, key);
		if (!found)
			return err_set(
				err, "%s: tensor %s is not in %s", st->path, key, json_string_value(value));
	}
	return 0;
}

int safetensors_open_folder(struct safetensors *st, const char *dir, struct err *err)
{
	char path[4096], index_path[4096];

	snprintf(path, sizeof(path), "%s/model.safetensors", dir);
	snprintf(index_path, sizeof(index_path), "%s/model.safetensors.index.json", dir);
	if (!access(path, F_OK) || access(index_path, F_OK))
		return safetensors_open(st, path, err);
	*st = (struct safetensors){.path = x_strdup(index_path)};
	json_t *root = json_read_file(index_path, err);
	if (!root)
		return opened(st, -1);
	int rc = add_files(st, dir, json_object_get(root, "weight_map"), err);
	json_decref(root);
	return opened(st, rc);
}

size_t safetensors_bytes(const struct safetensors *st)
{
	size_t sum = 0;

	for (int i = 0; i < st->maps_count; i++)
		sum += st->maps[i].size;
	return sum;
}

int safetensors_unchanged(const struct safetensors *st, struct err *err)
{
	struct stat s;

	for (int i = 0; i < st->maps_count; i++) {
		const struct safetensors_map *m = &st->maps[i];

		if (fstat(m->fd, &s))
			return err_set(err, "%s: cannot be looked at any more: %s", m->path, strerror(errno));
		if ((size_t)s.st_size != m->size || s.st_mtim.tv_sec != m->changed.tv_sec ||
			s.st_mtim.tv_nsec != m->changed.tv_nsec)
			return err_set(err, "%s: was written to while the run was using it", m->path);
	}
	return 0;
}

void safetensors_release(struct safetensors *st)
{
	for (int i = 0; i < st->count; i++) {
		free(st->tensors[i].name);
		if (st->owns_data)
			free((void *)(uintptr_t)st->tensors[i].data);
	}
	free(st->tensors);
	for (int i = 0; i < st->maps_count; i++) {
		munmap((void *)(uintptr_t)st->maps[i].data, st->maps[i].size);
		close(st->maps[i].fd);
		free(st->maps[i].path);
	}
	free(st->maps);
	free(st->path);
	*st = (struct safetensors){0};
}

const struct tensor *safetensors_find(const struct safetensors *st, const char *name)
{
	if (!st->count)
		return NULL;
	return bsearch(name, st->tensors, (size_t)st->count, sizeof(*st->tensors), has_name);
}

void tensor_to_float(float *out, const struct tensor *t)
{
	const unsigned char *p = t->data;

	if (t->dtype == DTYPE_F32) {
		memcpy(out, p, t->count * sizeof(float));
		return;
	}
	if (t->dtype == DTYPE_OTHER)
		BUG("tensor %s has dtype %s", t->name, t->dtype_name);
	for (size_t i = 0; i < t->count; i++) {
		uint16_t u = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
		out[i] = t->dtype == DTYPE_F16 ? num_from_half(u) : num_from_bfloat(u);
	}
}

char *tensor_shape_text(char *buf, const struct tensor *t)
{
	int n = snprintf(buf, 128, "[");

	for (int i = 0; i < t->ndim && n < 100; i++)
		n += snprintf(buf + n, (size_t)(128 - n), "%s%lld", i ? ", " : "", (long long)t->shape[i]);
	snprintf(buf + n, (size_t)(128 - n), "]");
	return buf;
}

#include "formats/safetensors.h"

#include "base/num.h"
#include "formats/json.h"

#include <errno.h>
#include <fcntl.h>
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

static int map_file(struct safetensors *st, const char *path, struct err *err)
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
	void *map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err_set(err, "%s: cannot map: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	st->map = map;
	st->size = (size_t)s.st_size;
	st->fd = fd;
	st->changed = s.st_mtim;
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

static int read_header(struct safetensors *st, struct err *err)
{
	uint64_t length = 0;

	for (int i = 7; i >= 0; i--)
		length = length << 8 | st->map[i];
	if (length > st->size - 8)
		return err_set(err,
			"%s: header of %llu bytes in a file of %zu (truncated, or not safetensors)", st->path,
			(unsigned long long)length, st->size);
	json_t *root = json_read_memory((const char *)st->map + 8, length, st->path, err);
	if (!root)
		return -1;
	const char *name;
	json_t *entry;
	int rc = 0;
	st->tensors = x_calloc(json_object_size(root), sizeof(*st->tensors));
	json_object_foreach(root, name, entry)
	{
		if (!strcmp(name, "__metadata__"))
			continue;
		struct tensor *t = &st->tensors[st->count++];
		t->name = x_strdup(name);
		rc = read_tensor(t, entry, st->map + 8 + length, st->size - 8 - length, st->path, err);
		if (rc)
			break;
	}
	json_decref(root);
	qsort(st->tensors, (size_t)st->count, sizeof(*st->tensors), by_name);
	return rc;
}

int safetensors_open(struct safetensors *st, const char *path, struct err *err)
{
	*st = (struct safetensors){.path = x_strdup(path)};
	if (map_file(st, path, err) || read_header(st, err)) {
		safetensors_release(st);
		return -1;
	}
	return 0;
}

int safetensors_unchanged(const struct safetensors *st, struct err *err)
{
	struct stat s;

	if (!st->map)
		return 0;
	if (fstat(st->fd, &s))
		return err_set(err, "%s: cannot be looked at any more: %s", st->path, strerror(errno));
	if ((size_t)s.st_size != st->size || s.st_mtim.tv_sec != st->changed.tv_sec ||
		s.st_mtim.tv_nsec != st->changed.tv_nsec)
		return err_set(err, "%s: was written to while the run was using it", st->path);
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
	if (st->map) {
		munmap((void *)(uintptr_t)st->map, st->size);
		close(st->fd);
	}
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

/* formats/safetensors and h5: good files, and every kind of bad one. */
#include "formats/safetensors.h"

#include <CUnit/CUnit.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/h5.h"
#include "scratch.h"
#include "support.h"

/* ---- safetensors ---- */

/* Writes a file with that header (length as given) and data, and opens it. */
static int open_bytes(struct safetensors *st, uint64_t length, const char *header, const void *data,
	size_t size, struct err *err)
{
	size_t n = strlen(header);
	unsigned char *file = x_malloc(8 + n + size);
	char *path = scratch_path("t.safetensors");

	for (int i = 0; i < 8; i++)
		file[i] = (unsigned char)(length >> 8 * i);
	memcpy(file + 8, header, n);
	if (size)
		memcpy(file + 8 + n, data, size);
	scratch_bytes("t.safetensors", file, 8 + n + size);
	int rc = safetensors_open(st, path, err);
	free(path);
	free(file);
	return rc;
}

static int open_header(struct safetensors *st, const char *header, size_t data_size, struct err *err)
{
	unsigned char data[256] = {0};

	return open_bytes(st, strlen(header), header, data, data_size, err);
}

#define GOOD_HEADER                                                                                          \
	"{\"__metadata__\":{\"format\":\"pt\"},"                                                             \
	"\"b.half\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[12,20]},"                           \
	"\"a.single\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"                            \
	"\"d.count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[26,34]},"                             \
	"\"e.none\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[34,34]},"                           \
	"\"c.brain\":{\"dtype\":\"BF16\",\"shape\":[1,3,1],\"data_offsets\":[20,26]}}"

static void convert_integers(void *tensor)
{
	float out;

	tensor_to_float(&out, tensor);
}

static void check_good(struct safetensors *st)
{
	static const float want[3][4] = {
		{1.5f, -2, 1e-30f, 0}, {1.5f, -65504, 0x1p-24f, INFINITY}, {1, -3.140625f, 0x1p-133f, 0}};
	static const char *const names[] = {"a.single", "b.half", "c.brain"}, *const shapes[] = {"[3]",
										      "[2, 2]", "[1, 3, 1]"};
	static const size_t counts[] = {3, 4, 3};
	float out[5];
	char buf[128];

	for (int i = 0; i < 3; i++) {
		const struct tensor *t = safetensors_find(st, names[i]);

		CU_ASSERT_PTR_NOT_NULL_FATAL(t);
		CU_ASSERT_EQUAL(t->count, counts[i]);
		CU_ASSERT_STRING_EQUAL(tensor_shape_text(buf, t), shapes[i]);
		out[counts[i]] = 77;
		tensor_to_float(out, t);
		CU_ASSERT_EQUAL(memcmp(out, want[i], counts[i] * sizeof(float)), 0);
		CU_ASSERT_EQUAL(out[counts[i]], 77);
	}
}

/* All dtypes; the length of the header puts the data at every alignment. */
static void test_safetensors_good(void)
{
	unsigned char data[34] = {0};
	const float single[3] = {1.5f, -2, 1e-30f};
	const uint16_t rest[7] = {0x3e00, 0xfbff, 0x0001, 0x7c00, 0x3f80, 0xc049, 0x0001};
	struct err err = {""};

	memcpy(data, single, 12);
	memcpy(data + 12, rest, 14);
	data[26] = 9;
	for (int pad = 0; pad < 8; pad++) {
		char header[1024];
		struct safetensors st;

		snprintf(header, sizeof(header), "%s%*s", GOOD_HEADER, pad, "");
		CU_ASSERT_EQUAL_FATAL(open_bytes(&st, strlen(header), header, data, 34, &err), 0);
		CU_ASSERT_EQUAL(st.count, 5);
		for (int i = 1; i < st.count; i++)
			CU_ASSERT(strcmp(st.tensors[i - 1].name, st.tensors[i].name) < 0);
		check_good(&st);
		CU_ASSERT(safetensors_find(&st, "d.count")->count == 1 &&
			  safetensors_find(&st, "d.count")->ndim == 0);
		CU_ASSERT_STRING_EQUAL(safetensors_find(&st, "d.count")->dtype_name, "I64");
		CU_ASSERT_EQUAL(safetensors_find(&st, "e.none")->count, 0);
		CU_ASSERT_PTR_NULL(safetensors_find(&st, "__metadata__"));
		CU_ASSERT_PTR_NULL(safetensors_find(&st, "a.singl"));
		CU_ASSERT(aborts(convert_integers, (void *)safetensors_find(&st, "d.count")));
		safetensors_release(&st);
		CU_ASSERT(!st.maps && !st.count);
		safetensors_release(&st);
	}
}

static void test_safetensors_empty(void)
{
	struct safetensors st;
	struct err err = {""};

	CU_ASSERT_EQUAL_FATAL(open_header(&st, "{}", 0, &err), 0);
	CU_ASSERT_EQUAL(st.count, 0);
	CU_ASSERT_PTR_NULL(safetensors_find(&st, "x"));
	safetensors_release(&st);
	CU_ASSERT_EQUAL_FATAL(open_header(&st, "{\"__metadata__\":{}}", 4, &err), 0);
	CU_ASSERT_EQUAL(st.count, 0);
	safetensors_release(&st);
}

/* One tensor "x.y" with these fields, and 64 bytes of data. */
#define X(fields) "{\"ok\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"x.y\":{" fields "}}"
#define F32(shape, offsets) X("\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets)

static const struct {
	const char *header, *part, *more;
} bad_headers[] = {
	{"", "not valid JSON", ""},
	{"garbage", "not valid JSON", ""},
	{"{\"x.y\":", "not valid JSON", ""},
	{"{} {}", "not valid JSON", ""},
	{"{\"\\u0000\":1}", "not valid JSON", ""},
	{"[]", "expected a JSON object", ""},
	{"{\"x.y\":{},\"x.y\":{}}", "uplicate", "x.y"},
	{"{\"x.y\":5}", "tensor x.y", "dtype"},
	{"{\"x.y\":[]}", "tensor x.y", "dtype"},
	{X("\"shape\":[1],\"data_offsets\":[0,4]"), "tensor x.y", "dtype (none)"},
	{X("\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,4]"), "tensor x.y", "unknown dtype F8"},
	{X("\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]"), "tensor x.y", "unknown dtype f32"},
	{X("\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]"), "tensor x.y", "dtype"},
	{X("\"dtype\":\"F32\",\"data_offsets\":[0,4]"), "tensor x.y", "\"shape\""},
	{X("\"dtype\":\"F32\",\"shape\":[1]"), "tensor x.y", "\"data_offsets\""},
	{F32("1", "[0,4]"), "tensor x.y", "\"shape\""},
	{F32("[1.0]", "[0,4]"), "tensor x.y", "\"shape\""},
	{F32("[\"1\"]", "[0,4]"), "tensor x.y", "\"shape\""},
	{F32("[-1]", "[0,4]"), "tensor x.y", "\"shape\""},
	{F32("[1,1,1,1,1,1,1,1,1]", "[0,4]"), "tensor x.y", "at most 8"},
	{F32("[4294967296,4294967296,1]", "[0,0]"), "tensor x.y", "\"shape\""},
	{F32("[4611686018427387904]", "[0,0]"), "tensor x.y", "\"shape\""},
	{F32("[1099511627776,4194304]", "[0,0]"), "tensor x.y", "do not fit"},
	{F32("[99999999999999999999]", "[0,4]"), "not valid JSON", ""},
	{F32("[1]", "4"), "tensor x.y", "\"data_offsets\""},
	{F32("[1]", "[0]"), "tensor x.y", "\"data_offsets\""},
	{F32("[1]", "[0,4,8]"), "tensor x.y", "\"data_offsets\""},
	{F32("[1]", "[0.0,4.0]"), "tensor x.y", "\"data_offsets\""},
	{F32("[1]", "[4,0]"), "tensor x.y", "outside"},
	{F32("[1]", "[-4,0]"), "tensor x.y", "outside"},
	{F32("[1]", "[61,65]"), "tensor x.y", "outside"},
	{F32("[1]", "[9223372036854775803,9223372036854775807]"), "tensor x.y", "outside"},
	{F32("[0]", "[65,65]"), "tensor x.y", "outside"},
	{F32("[2]", "[0,4]"), "tensor x.y", "do not fit"},
	{F32("[0]", "[0,4]"), "tensor x.y", "do not fit"},
	{F32("[]", "[0,0]"), "tensor x.y", "do not fit"},
	{X("\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]"), "tensor x.y", "do not fit"},
};

static void test_safetensors_bad_headers(void)
{
	for (size_t i = 0; i < sizeof(bad_headers) / sizeof(bad_headers[0]); i++) {
		struct safetensors st;
		struct err err = {""};

		CU_ASSERT_EQUAL_FATAL(open_header(&st, bad_headers[i].header, 64, &err), -1);
		CU_ASSERT(says(&err, "t.safetensors", bad_headers[i].part, bad_headers[i].more, NULL));
		CU_ASSERT(!st.maps && !st.tensors && !st.path);
	}
}

/* The data may end exactly with the file, and not one byte before it. */
static void test_safetensors_truncated(void)
{
	struct safetensors st;
	struct err err = {""};
	static const char header[] = F32("[4]", "[48,64]");

	CU_ASSERT_EQUAL(open_header(&st, header, 64, &err), 0);
	safetensors_release(&st);
	CU_ASSERT_EQUAL(open_header(&st, header, 63, &err), -1);
	CU_ASSERT(says(&err, "tensor x.y", "outside the file's 63 bytes", NULL));
	for (uint64_t more = 1; more < 3; more++) {
		CU_ASSERT_EQUAL(open_bytes(&st, strlen(header) + more, header, NULL, 0, &err), -1);
		CU_ASSERT(says(&err, "t.safetensors: header of", NULL));
	}
	CU_ASSERT_EQUAL(open_bytes(&st, UINT64_MAX, header, NULL, 0, &err), -1);
	CU_ASSERT(says(&err, "header of 18446744073709551615 bytes", NULL));
	CU_ASSERT_EQUAL(open_bytes(&st, UINT64_MAX - 7, header, NULL, 0, &err), -1);
}

static void test_safetensors_no_file(void)
{
	struct safetensors st;
	struct err err = {""};
	char *path = scratch_path("short");

	CU_ASSERT_EQUAL(safetensors_open(&st, path, &err), -1);
	CU_ASSERT(says(&err, path, "cannot open: No such file", NULL));
	for (size_t n = 0; n < 8; n++) {
		scratch_bytes("short", "\0\0\0\0\0\0\0\0", n);
		CU_ASSERT_EQUAL(safetensors_open(&st, path, &err), -1);
		CU_ASSERT(says(&err, path, "too short", NULL));
	}
	free(path);
	scratch_folder("folder");
	path = scratch_path("folder");
	CU_ASSERT_EQUAL(safetensors_open(&st, path, &err), -1);
	CU_ASSERT(says(&err, path, "expected a regular file", NULL));
	free(path);
}

/* A header cut or damaged anywhere is refused, or at least read within bounds. */
static void test_safetensors_damage(void)
{
	unsigned char data[64] = {0};
	char header[] = GOOD_HEADER;
	struct safetensors st;
	struct err err = {""};

	for (size_t n = 0; n + 1 < sizeof(header); n++) {
		char keep = header[n];

		CU_ASSERT_EQUAL(open_bytes(&st, n, header, data, 34, &err), -1);
		header[n] = (char)(keep ^ (1 << n % 7));
		if (header[n] && !open_bytes(&st, sizeof(header) - 1, header, data, 34, &err))
			safetensors_release(&st);
		header[n] = keep;
	}
}

/* ---- HDF5 ---- */

static int64_t new_h5(char **path, struct err *err)
{
	h5_setup();
	*path = scratch_path("t.h5");
	int64_t f = h5_create(*path, err);

	CU_ASSERT_FATAL(f >= 0);
	return f;
}

static void test_h5_round_trip(void)
{
	const float x[6] = {1, -2, 3.5f, 1e-30f, INFINITY, 6};
	const uint8_t bytes[3] = {0, 128, 255};
	struct err err = {""};
	struct h5_tensor t;
	int64_t whole[3];
	double real[3];
	char *path;
	int64_t f = new_h5(&path, &err);

	CU_ASSERT_EQUAL(h5_write(f, "/g/h/x", x, 2, (size_t[]){2, 3}, &err), 0);
	CU_ASSERT_EQUAL(h5_write_u8(f, "bytes", bytes, 1, (size_t[]){3}, &err), 0);
	CU_ASSERT_EQUAL(h5_write(f, "none", x, 2, (size_t[]){0, 3}, &err), 0);
	CU_ASSERT_EQUAL(h5_write(f, "bytes", x, 1, (size_t[]){3}, &err), -1);
	CU_ASSERT(says(&err, "bytes", NULL));
	CU_ASSERT_EQUAL(h5_group(f, "/p/q", &err) | h5_group(f, "/p/q", &err) | h5_group(f, "/p", &err), 0);
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	f = h5_open(path, &err);
	CU_ASSERT_EQUAL_FATAL(h5_read(&t, f, "g/h/x", &err), 0);
	CU_ASSERT(t.ndim == 2 && t.dims[0] == 2 && t.dims[1] == 3 && t.count == 6 &&
		  !memcmp(t.data, x, sizeof(x)));
	free(t.data);
	CU_ASSERT_EQUAL_FATAL(h5_read(&t, f, "none", &err), 0);
	CU_ASSERT(t.ndim == 2 && t.count == 0);
	free(t.data);
	CU_ASSERT_EQUAL_FATAL(
		h5_read_int(whole, 3, f, "/bytes", &err) | h5_read_double(real, 3, f, "/bytes", &err), 0);
	CU_ASSERT(whole[0] == 0 && whole[1] == 128 && whole[2] == 255 && real[1] == 128 && real[2] == 255);
	CU_ASSERT(h5_exists(f, "/g/h/x") && h5_exists(f, "g") && h5_exists(f, "/p/q"));
	CU_ASSERT(!h5_exists(f, "/g/x") && !h5_exists(f, "/no/such/x") && !h5_exists(f, "/g/h/x2"));
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	free(path);
}

static void test_h5_errors(void)
{
	const float x[3] = {1, 2, 3};
	struct err err = {""};
	struct h5_tensor t;
	int64_t whole[3];
	double real[3];
	char *path;
	int64_t f = new_h5(&path, &err);

	CU_ASSERT_EQUAL(h5_write(f, "x", x, 1, (size_t[]){3}, &err), 0);
	CU_ASSERT(h5_read(&t, f, "a/b", &err) == -1 && !t.data && says(&err, "a/b is missing", NULL));
	CU_ASSERT(h5_read_double(real, 2, f, "x", &err) == -1 &&
		  says(&err, "x: expected 2 numbers, found 3", NULL));
	CU_ASSERT(h5_read_int(whole, 4, f, "x", &err) == -1 &&
		  says(&err, "x: expected 4 numbers, found 3", NULL));
	CU_ASSERT(h5_read_int(whole, 3, f, "y", &err) == -1 && says(&err, "y is missing", NULL));
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	CU_ASSERT(h5_open("/nonexistent/x.h5", &err) == -1 &&
		  says(&err, "/nonexistent/x.h5: cannot open", NULL));
	CU_ASSERT(h5_create("/nonexistent/x.h5", &err) == -1 &&
		  says(&err, "/nonexistent/x.h5: cannot create", NULL));
	scratch_text("t.h5", "not HDF5");
	CU_ASSERT(h5_open(path, &err) == -1 && says(&err, path, "cannot open as an HDF5 file", NULL));
	free(path);
}

static void put_attribute(hid_t f, const char *name, hsize_t n, const double *value)
{
	hid_t space = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &n, NULL);
	hid_t a = H5Acreate2(f, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT);

	CU_ASSERT(H5Awrite(a, H5T_NATIVE_DOUBLE, value) >= 0);
	H5Aclose(a);
	H5Sclose(space);
}

/* Only a scalar fits into the caller's variable. */
static void test_h5_attributes(void)
{
	struct err err = {""};
	double out[4] = {7, 7, 7, 7};
	int64_t whole = 0;
	char *path;
	int64_t f = new_h5(&path, &err);

	put_attribute(f, "one", 1, (double[]){12});
	put_attribute(f, "four", 4, (double[]){1, 2, 3, 4});
	CU_ASSERT(h5_attr_double(out, f, "/", "one", &err) == 0 && out[0] == 12 && out[1] == 7);
	CU_ASSERT(h5_attr_int(&whole, f, "/", "one", &err) == 0 && whole == 12);
	CU_ASSERT(h5_attr_int(&whole, f, "/", "two", &err) == -1 && says(&err, "attribute two", NULL));
	CU_ASSERT(h5_attr_int(&whole, f, "/nowhere", "one", &err) == -1 && says(&err, "/nowhere", NULL));
	CU_ASSERT_EQUAL(h5_attr_double(out, f, "/", "four", &err), -1);
	CU_ASSERT(out[1] == 7 && out[2] == 7 && out[3] == 7);
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	free(path);
}

static int collect(const char *name, void *ctx)
{
	strcat(ctx, name);
	return *name == 'c' ? 5 : 0;
}

static void test_h5_each(void)
{
	struct err err = {""};
	char names[16] = "", *path;
	int64_t f = new_h5(&path, &err);

	CU_ASSERT_EQUAL(h5_group(f, "/g/b", &err) | h5_group(f, "/g/a", &err), 0);
	CU_ASSERT(h5_each(f, "/g", collect, names) == 0 && !strcmp(names, "ab"));
	CU_ASSERT_EQUAL(h5_group(f, "/g/c", &err) | h5_group(f, "/g/d", &err), 0);
	names[0] = 0;
	CU_ASSERT_EQUAL(h5_each(f, "/g", collect, names), 5);
	CU_ASSERT_STRING_EQUAL(names, "abc");
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	free(path);
}

/* As stored, the half type is IEEE binary16; read as numbers, HDF5 knows it too. */
static void test_h5_half(void)
{
	const uint16_t half[4] = {0x3e00, 0xc000, 0x7bff, 0x0400};
	const float want[4] = {1.5f, -2, 65504, 0x1p-14f};
	struct err err = {""};
	struct h5_tensor t;
	hsize_t n = 4;
	char *path;
	int64_t f = new_h5(&path, &err);
	hid_t type = h5_half_type(), space = H5Screate_simple(1, &n, NULL);
	size_t sign, e, e_size, m, m_size;

	CU_ASSERT_EQUAL(H5Tget_size(type), 2);
	CU_ASSERT(H5Tget_fields(type, &sign, &e, &e_size, &m, &m_size) >= 0);
	CU_ASSERT(sign == 15 && e == 10 && e_size == 5 && m == 0 && m_size == 10 && H5Tget_ebias(type) == 15);
	hid_t d = H5Dcreate2(f, "half", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	CU_ASSERT(H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, half) >= 0);
	H5Dclose(d);
	H5Sclose(space);
	H5Tclose(type);
	CU_ASSERT_EQUAL_FATAL(h5_read(&t, f, "half", &err), 0);
	CU_ASSERT(t.count == 4 && !memcmp(t.data, want, sizeof(want)));
	free(t.data);
	CU_ASSERT_EQUAL(h5_close(f, path, &err), 0);
	free(path);
}

int register_formats_tests(void)
{
	static const struct named_test tensors[] = {
		{"good file", test_safetensors_good},
		{"no tensors", test_safetensors_empty},
		{"bad headers", test_safetensors_bad_headers},
		{"truncated", test_safetensors_truncated},
		{"no such file", test_safetensors_no_file},
		{"damage", test_safetensors_damage},
		{NULL, NULL},
	};
	static const struct named_test hdf5[] = {
		{"round trip", test_h5_round_trip},
		{"errors", test_h5_errors},
		{"attributes", test_h5_attributes},
		{"each", test_h5_each},
		{"half", test_h5_half},
		{NULL, NULL},
	};

	return add_suite("safetensors", tensors) || add_suite("h5", hdf5) || register_documents_tests() ||
	       register_checkpoint_tests() || register_preprocess_tests() || register_annotations_tests();
}

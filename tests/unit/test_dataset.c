/* pipeline/dataset: folders of class folders, list files, and what may be wrong with them. */
#include "pipeline/dataset_parts.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"
#include "support.h"

static int read_set(struct dataset *d, const char *name, const char *classes, int limit, struct err *err)
{
	char *path = scratch_path(name), *file = *classes ? scratch_path(classes) : x_strdup("");
	int rc = dataset_read(d, path, file, limit, err);

	free(path);
	free(file);
	return rc;
}

struct item {
	const char *path;
	int label;
};

static void holds(const struct dataset *d, int classes, const struct item *want, int n)
{
	size_t longest = 0, bytes = 0;

	CU_ASSERT_EQUAL_FATAL(d->count, n);
	CU_ASSERT_EQUAL(d->classes, classes);
	for (int i = 0; i < n; i++) {
		CU_ASSERT_STRING_EQUAL(dataset_path(d, i), want[i].path);
		CU_ASSERT_EQUAL(d->label[i], want[i].label);
		bytes += strlen(want[i].path) + 1;
		longest = strlen(want[i].path) > longest ? strlen(want[i].path) : longest;
	}
	CU_ASSERT(d->longest >= longest && d->text_size == bytes);
}

static void unreadable(const char *name, const char *classes, const char *part, const char *more)
{
	struct dataset d;
	struct err err = {""};

	CU_ASSERT_EQUAL(read_set(&d, name, classes, 0, &err), -1);
	CU_ASSERT(says(&err, part, more, NULL));
	CU_ASSERT(!d.count && !d.root && !d.at);
}

/* ---- folders ---- */

static void make_folders(void)
{
	static const char *const files[] = {"b/2.jpg", "b/10.jpg", "b/Z.PNG", "b/a.JpEg", "b/.hidden.jpg",
		"b/notes.txt", "b/jpg", "b/x.jpg.txt", "b/sub/deep/q.jpg", "b/sub/a.png", "b/aaa/z.jpg",
		"b/zz.jpg", "B/1.jpg", "a_b/with space.jpeg", "\xc3\xa9t\xc3\xa9/1.png", ".git/1.jpg",
		"b/.cache/1.jpg", "readme.jpg", "c.txt"};
	char name[64];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "set/%s", files[i]);
		scratch_text(name, "");
	}
	scratch_folder("set/aa");      /* an empty class */
	scratch_folder("set/b/d.jpg"); /* a folder with the name of an image */
	scratch_text("set/b/d.jpg/in.png", "");
}

static void test_folders(void)
{
	static const struct item want[] = {{"B/1.jpg", 0}, {"a_b/with space.jpeg", 1}, {"b/10.jpg", 3},
		{"b/2.jpg", 3}, {"b/Z.PNG", 3}, {"b/a.JpEg", 3}, {"b/zz.jpg", 3}, {"b/aaa/z.jpg", 3},
		{"b/d.jpg/in.png", 3}, {"b/sub/a.png", 3}, {"b/sub/deep/q.jpg", 3},
		{"\xc3\xa9t\xc3\xa9/1.png", 4}};
	struct dataset d;
	struct err err = {""};

	make_folders();
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "set", "", 0, &err), 0);
	holds(&d, 5, want, 12);
	CU_ASSERT_EQUAL(d.longest, strlen("a_b/with space.jpeg"));
	dataset_release(&d);
	CU_ASSERT(!d.count && !d.text);
	dataset_release(&d);
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "set/", "", 3, &err), 0);
	holds(&d, 5, want, 3);
	dataset_release(&d);
}

static void test_classes_file(void)
{
	static const struct item want[] = {{"B/1.jpg", 4}, {"a_b/with space.jpeg", 0}, {"b/10.jpg", 2},
		{"b/2.jpg", 2}, {"b/Z.PNG", 2}, {"b/a.JpEg", 2}, {"b/zz.jpg", 2}, {"b/aaa/z.jpg", 2},
		{"b/d.jpg/in.png", 2}, {"b/sub/a.png", 2}, {"b/sub/deep/q.jpg", 2},
		{"\xc3\xa9t\xc3\xa9/1.png", 6}};
	struct dataset d;
	struct err err = {""};

	make_folders();
	scratch_text("names", "a_b first, class\r\nunused\nb\tsecond\naa\nB\nbb\n\xc3\xa9t\xc3\xa9\n\n");
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "set", "names", 0, &err), 0);
	holds(&d, 7, want, 12);
	dataset_release(&d);
	scratch_text("names", "a_b\naa\nB\n\xc3\xa9t\xc3\xa9\n");
	unreadable("set", "names", "folder \"b\" is not among the classes of", "names");
	scratch_text("names", "\n\r\n");
	unreadable("set", "names", "expected class names", "names");
	scratch_text("names", "a_b\n\naa\n");
	unreadable("set", "names", "names:2: expected a class name, found an empty line", "");
	unreadable("set", "nonames", "nonames: cannot open", "");
}

/* A line that is passed over shifts the labels of all that follow. */
static void test_classes_file_is_not_guessed(void)
{
	struct dataset d;
	struct err err = {""};

	scratch_text("two/a/1.jpg", "");
	scratch_text("two/b/1.jpg", "");
	scratch_text("names", " z\na\nb\n");
	if (!read_set(&d, "two", "names", 0, &err)) {
		CU_ASSERT(d.label[0] == 1 && d.label[1] == 2);
		dataset_release(&d);
	}
	scratch_text("names", "a\nb\na\n"); /* which of the two? */
	CU_ASSERT_EQUAL(read_set(&d, "two", "names", 0, &err), -1);
	dataset_release(&d);
}

static void test_bad_folders(void)
{
	char deep[256] = "deep/c";

	scratch_folder("empty");
	unreadable("empty", "", "no images in class folders", "empty");
	scratch_text("flat/1.jpg", "");
	unreadable("flat", "", "no images in class folders", "path label");
	scratch_text("texts/a/1.txt", "");
	unreadable("texts", "", "no images in class folders", "");
	unreadable("nowhere", "", "nowhere: cannot open", "");
	for (int i = 0; i < 20; i++)
		strcat(deep, "/d");
	strcat(deep, "/1.jpg");
	scratch_text(deep, "");
	unreadable("deep", "", "nested too deep", "deep/c/d");
}

static void test_folder_loop(void)
{
	char *link = scratch_path("loop/a/again");

	scratch_text("loop/a/1.jpg", "");
	CU_ASSERT(symlink("..", link) == 0);
	unreadable("loop", "", "nested too deep", "again");
	free(link);
}

static void test_forbidden_folder(void)
{
	char *path = scratch_path("locked/b");

	if (geteuid() == 0) {
		test_skip("forbidden folder", "root may read everything");
		free(path);
		return;
	}
	scratch_text("locked/a/1.jpg", "");
	scratch_folder("locked/b");
	CU_ASSERT(chmod(path, 0) == 0);
	unreadable("locked", "", "locked/b: cannot read the folder", "ermission");
	CU_ASSERT(chmod(path, 0700) == 0);
	free(path);
}

/* ---- lists ---- */

static void test_list(void)
{
	static const struct item want[] = {{"a/1.jpg", 3}, {"with space.png", 0}, {"tab\there.jpg", 7},
		{"x.jpg", 16777216}, {"name 5", 2}, {"../up.jpg", 1}, {"a/1.jpg", 4}};
	struct dataset d;
	struct err err = {""};
	char *root = scratch_path("lists");

	scratch_text("lists/l.txt",
		"# a comment 5\na/1.jpg 3\n\nwith space.png \t 0  \r\ntab\there.jpg\t7\r\n   \n"
		"x.jpg 16777216\nname 5 2\n../up.jpg +1\n#a.jpg 9\na/1.jpg 004");
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/l.txt", "", 0, &err), 0);
	holds(&d, 16777217, want, 7);
	CU_ASSERT_STRING_EQUAL(d.root, root);
	dataset_release(&d);
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/l.txt", "", 2, &err), 0);
	holds(&d, 16777217, want, 2);
	dataset_release(&d);
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/l.txt", "", 100, &err), 0);
	holds(&d, 16777217, want, 7);
	dataset_release(&d);
	char *absolute = dataset_full_path("/set", "/data/a.png"),
	     *relative = dataset_full_path("/set", "a.png");
	CU_ASSERT_STRING_EQUAL(absolute, "/data/a.png");
	CU_ASSERT_STRING_EQUAL(relative, "/set/a.png");
	free(absolute);
	free(relative);
	free(root);
}

/* Names for the classes of a list: its labels stay, and must have a name each. */
static void test_list_names(void)
{
	static const struct item want[] = {{"x/cat.jpg", 2}, {"dog.jpg", 0}};
	struct dataset d, back;
	struct err err = {""};
	size_t size;

	scratch_text("lists/n.txt", "x/cat.jpg 2\ndog.jpg 0\n");
	scratch_text("names", "n2 a dog\nn0\nn1 a cat\nn7\n");
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/n.txt", "", 0, &err), 0);
	CU_ASSERT(!d.names && !dataset_class_name(&d, 0) && d.classes == 3);
	dataset_release(&d);
	CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/n.txt", "names", 1, &err), 0);
	char *block = dataset_pack(&d, &size);
	dataset_unpack(&back, block, size);
	holds(&back, 4, want, 1);
	CU_ASSERT_STRING_EQUAL(dataset_class_name(&back, 0), "n2");
	CU_ASSERT_STRING_EQUAL(dataset_class_name(&back, 2), "n1");
	CU_ASSERT_STRING_EQUAL(dataset_class_name(&back, 3), "n7");
	CU_ASSERT(!dataset_class_name(&back, 4) && !dataset_class_name(&back, -1));
	CU_ASSERT(back.names_size == 12 && !memcmp(back.names, d.names, 12));
	dataset_release(&back);
	dataset_release(&d);
	free(block);
	scratch_text("names", "a\nb\n");
	unreadable("lists/n.txt", "names", "n.txt: label 2, but ", "names names classes 0 to 1 only");
	unreadable("lists/n.txt", "nonames", "nonames: cannot open", "");
}

static void test_bad_lists(void)
{
	static const struct {
		const char *text, *part, *more;
	} cases[] = {
		{"a.jpg 1\nb.jpg cat\n", "l.txt:2: expected `path label`", "\"b.jpg cat\""},
		{"\n# x\na.jpg\n", "l.txt:3: expected `path label`", "\"a.jpg\""},
		{"5\n", "l.txt:1: expected `path label`", "\"5\""},
		{" 5\n", "l.txt:1: expected `path label`", "path is empty"},
		{"a.jpg -1\n", "l.txt:1: expected `path label`", "a.jpg -1"},
		{"a.jpg 1.0\n", "l.txt:1: expected `path label`", ""},
		{"a.jpg 16777217\n", "l.txt:1: expected `path label`", ""},
		{"a.jpg 99999999999999999999\n", "l.txt:1: expected `path label`", ""},
		{"a.jpg 1,b.jpg 2x\n", "l.txt:1: expected `path label`", ""},
		{"", "l.txt: the list is empty", ""},
		{"# nothing\n\n", "l.txt: the list is empty", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scratch_text("lists/l.txt", cases[i].text);
		unreadable("lists/l.txt", "", cases[i].part, cases[i].more);
	}
	scratch_bytes("lists/l.txt", "a\0b.jpg 1\n", 10);
	unreadable("lists/l.txt", "", "l.txt:1: expected `path label`", "");
	unreadable("lists/none.txt", "", "none.txt: cannot open", "");
}

/* ---- many, and packed ---- */

static void same(const struct dataset *a, const struct dataset *b)
{
	CU_ASSERT_FATAL(a->count == b->count);
	CU_ASSERT(a->classes == b->classes && a->longest == b->longest && !strcmp(a->root, b->root));
	int wrong = 0;
	for (int i = 0; i < a->count; i++)
		wrong += a->label[i] != b->label[i] || strcmp(dataset_path(a, i), dataset_path(b, i));
	CU_ASSERT_EQUAL(wrong, 0);
}

static void unpack_short(void *block)
{
	struct dataset d;

	dataset_unpack(&d, block, 48);
}

static void test_pack(void)
{
	enum { N = 3000 };
	char *text = x_malloc(N * 32);
	struct err err = {""};
	size_t at = 0, size;
	int wrong = 0;

	for (int i = 0; i < N; i++)
		at += (size_t)sprintf(text + at, "p%d/%0*d.jpg %d\n", i, i % 9 + 1, i, i * 7 % 1000);
	scratch_text("lists/many.txt", text);
	for (int limit = 0; limit < 2000; limit += 999) {
		struct dataset d, back;

		CU_ASSERT_EQUAL_FATAL(read_set(&d, "lists/many.txt", "", limit, &err), 0);
		CU_ASSERT(d.count == (limit ? limit : N) && d.classes == 1000);
		char *block = dataset_pack(&d, &size);
		dataset_unpack(&back, block, size);
		same(&d, &back);
		for (int i = 0; i < d.count; i++) {
			snprintf(text, 32, "p%d/%0*d.jpg", i, i % 9 + 1, i);
			wrong += strcmp(text, dataset_path(&back, i)) || back.label[i] != i * 7 % 1000;
		}
		CU_ASSERT_EQUAL(wrong, 0);
		CU_ASSERT(aborts(unpack_short, block));
		dataset_release(&back);
		dataset_release(&d);
		free(block);
	}
	free(text);
}

int register_dataset_tests(void)
{
	static const struct named_test tests[] = {
		{"folders", test_folders},
		{"classes file", test_classes_file},
		{"classes file is not guessed", test_classes_file_is_not_guessed},
		{"bad folders", test_bad_folders},
		{"folder loop", test_folder_loop},
		{"forbidden folder", test_forbidden_folder},
		{"list", test_list},
		{"lists with names of classes", test_list_names},
		{"bad lists", test_bad_lists},
		{"pack", test_pack},
		{NULL, NULL},
	};

	return add_suite("dataset", tests) || register_schema_tests() || register_region_tests();
}

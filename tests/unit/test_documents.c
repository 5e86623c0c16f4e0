/* formats/json, yaml_doc, digest: good documents, and every kind of bad one. */
#include "formats/yaml_doc.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "formats/digest.h"
#include "formats/json.h"
#include "scratch.h"
#include "support.h"

/* ---- JSON ---- */

static void test_json(void)
{
	struct err err = {""};
	char *path = scratch_path("a.json");
	json_t *root;

	scratch_text("a.json", "{\"a\": 1,\n \"b\": [2]}\n");
	root = json_read_file(path, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(root, "a")), 1);
	json_decref(root);
	scratch_text("a.json", "{\"a\": 1,\n \"b\": }\n");
	CU_ASSERT_PTR_NULL(json_read_file(path, &err));
	CU_ASSERT(says(&err, path, ":2: not valid JSON", NULL));
	scratch_text("a.json", "{\"a\": 1,\n \"a\": 2}\n");
	CU_ASSERT_PTR_NULL(json_read_file(path, &err));
	CU_ASSERT(says(&err, path, ":2: not valid JSON: duplicate", NULL));
	scratch_text("a.json", "[1]");
	CU_ASSERT_PTR_NULL(json_read_file(path, &err));
	CU_ASSERT(says(&err, path, "expected a JSON object", NULL));
	CU_ASSERT_PTR_NULL(json_read_file("/nonexistent/a.json", &err));
	CU_ASSERT(says(&err, "/nonexistent/a.json: cannot open", NULL));
	free(path);
}

/* ---- YAML ---- */

static int parse(struct yaml_doc *d, const char *text, struct err *err)
{
	return yaml_doc_parse(d, text, strlen(text), "y.yaml", err);
}

static void read_as_text(void *doc)
{
	yaml_text(doc, yaml_root(doc));
}

static void test_yaml_kinds(void)
{
	static const char text[] =
		"# comment\na: 1\nb: [x, \"\", '', ~]\nc:\nd:\n  - {k: v}\n  - &n n\n  - *n\n";
	struct yaml_doc d;
	struct err err = {""};

	CU_ASSERT_EQUAL_FATAL(parse(&d, text, &err), 0);
	int root = yaml_root(&d), b = yaml_value(&d, root, 1), list = yaml_value(&d, root, 3);
	CU_ASSERT(yaml_node_kind(&d, root) == YAML_MAP && yaml_size(&d, root) == 4);
	CU_ASSERT(aborts(read_as_text, &d));
	CU_ASSERT_STRING_EQUAL(yaml_text(&d, yaml_key(&d, root, 0)), "a");
	CU_ASSERT_STRING_EQUAL(yaml_text(&d, yaml_value(&d, root, 0)), "1");
	CU_ASSERT(yaml_node_kind(&d, b) == YAML_LIST && yaml_size(&d, b) == 4);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(yaml_node_kind(&d, yaml_item(&d, b, i)), YAML_SCALAR);
	CU_ASSERT_STRING_EQUAL(yaml_text(&d, yaml_item(&d, b, 1)), "");
	CU_ASSERT_EQUAL(yaml_node_kind(&d, yaml_value(&d, root, 2)), YAML_EMPTY);
	CU_ASSERT_EQUAL(yaml_node_kind(&d, yaml_item(&d, list, 0)), YAML_MAP);
	CU_ASSERT_EQUAL(yaml_item(&d, list, 1), yaml_item(&d, list, 2));
	CU_ASSERT(yaml_line(&d, yaml_key(&d, root, 0)) == 2 && yaml_line(&d, b) == 3);
	CU_ASSERT(yaml_line(&d, yaml_key(&d, root, 3)) == 5 && yaml_line(&d, yaml_item(&d, list, 1)) == 7);
	yaml_doc_release(&d);
	yaml_doc_release(&d);
}

static void test_yaml_empty(void)
{
	static const char *const texts[] = {"", "\n\n", "# only a comment\n", "   "};
	struct yaml_doc d;
	struct err err = {""};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CU_ASSERT_EQUAL_FATAL(parse(&d, texts[i], &err), 0);
		CU_ASSERT_EQUAL(yaml_root(&d), 0);
		yaml_doc_release(&d);
	}
	CU_ASSERT_EQUAL_FATAL(parse(&d, "---\n", &err), 0);
	CU_ASSERT_EQUAL(yaml_node_kind(&d, yaml_root(&d)), YAML_EMPTY);
	yaml_doc_release(&d);
}

/* A node that contains itself is still a finite table of nodes. */
static void test_yaml_alias_loop(void)
{
	struct yaml_doc d;
	struct err err = {""};

	CU_ASSERT_EQUAL_FATAL(parse(&d, "a: &x [1, *x]\n", &err), 0);
	int list = yaml_value(&d, yaml_root(&d), 0);
	CU_ASSERT(yaml_size(&d, list) == 2 && yaml_item(&d, list, 1) == list);
	yaml_doc_release(&d);
}

static void test_yaml_bad(void)
{
	static const struct {
		const char *text, *part;
	} cases[] = {{"a: 1\n---\nb: 2\n", "expected a single YAML document"}, {"a: 1\n...\nb: 2\n", ""},
		{"a: [1, 2\n", "not valid YAML"}, {"a: 1\n b: 2\n", ":2: not valid YAML"},
		{"a: *nobody\n", "not valid YAML"}, {"\ta: 1\n", "not valid YAML"},
		{"a: \"x\n", "not valid YAML"}, {"\x01\x02\xff\xfe", "not valid YAML"},
		{"a: \xff\xff\n", "not valid YAML"}, {"a: 1\n---\nb: [\n", "not valid YAML"},
		{"a: 1\n---\n", "single"}, {"%YAML 9.9\n---\na: 1\n", "not valid YAML"},
		{"a: !<> x", "not valid YAML"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct yaml_doc d;
		struct err err = {""};

		CU_ASSERT_EQUAL(parse(&d, cases[i].text, &err), -1);
		CU_ASSERT(says(&err, "y.yaml:", cases[i].part, NULL));
	}
}

static void test_yaml_binary(void)
{
	char noise[512];
	struct yaml_doc d;
	struct err err = {""};

	for (uint32_t round = 0; round < 300; round++) {
		for (uint32_t i = 0; i < sizeof(noise); i++)
			noise[i] = (char)(int)(256 * random_unit(1000 + round, i));
		if (!yaml_doc_parse(&d, noise, 1 + (size_t)(511 * random_unit(1, round)), "y.yaml", &err))
			yaml_doc_release(&d);
	}
	CU_ASSERT(err.msg[0]);
}

/* Nesting costs no stack. In brackets it costs libyaml quadratic time, so there it is less deep here. */
static void test_yaml_deep(void)
{
	static const char *const opens[] = {"[", "{a: ", "- ", "? "};
	static const size_t depths[] = {5000, 3000, 100000, 100000};
	struct yaml_doc d;
	struct err err = {""};

	for (size_t k = 0; k < 4; k++) {
		size_t n = strlen(opens[k]), depth = depths[k];
		char *text = x_malloc(depth * n);

		for (size_t i = 0; i < depth; i++)
			memcpy(text + i * n, opens[k], n);
		if (!yaml_doc_parse(&d, text, depth * n, "y.yaml", &err))
			yaml_doc_release(&d);
		else
			CU_ASSERT(says(&err, "y.yaml:", "levels deep", NULL));
		free(text);
	}
}

/* ---- digests ---- */

static void test_digests(void)
{
	char hex[DIGEST_TEXT];

	digest_sha256(hex, "abc", 3);
	CU_ASSERT_STRING_EQUAL(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_sha256(hex, "", 0);
	CU_ASSERT_STRING_EQUAL(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CU_ASSERT_EQUAL(digest_crc32(0, "123456789", 9), 0xcbf43926);
	CU_ASSERT_EQUAL(digest_crc32(digest_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
	CU_ASSERT_EQUAL(digest_crc32(0x1234, "", 0), 0x1234);
}

int register_documents_tests(void)
{
	static const struct named_test documents[] = {
		{"JSON", test_json},
		{"YAML: kinds and lines", test_yaml_kinds},
		{"YAML: empty", test_yaml_empty},
		{"YAML: alias loop", test_yaml_alias_loop},
		{"YAML: bad", test_yaml_bad},
		{"YAML: binary", test_yaml_binary},
		{"YAML: deep", test_yaml_deep},
		{"digests", test_digests},
		{NULL, NULL},
	};
	return add_suite("documents", documents);
}

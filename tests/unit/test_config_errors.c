/* pipeline/config: each kind of error is one line that says where, which key, what was expected, and what is
 * near. */
#include "pipeline/config.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "support.h"

/* Lines 1 to 3; methods begin on line 4. */
#define HEAD "run: {output: o.h5}\nmodel: {path: m}\ndata: {path: d}\n"
#define BASE HEAD "methods: [dave]\n"

/* The line with which the text, or the override, is refused; empty where it is not. */
static const struct err *refusal(const char *text, const char *set)
{
	static struct err err;
	struct config c;

	err.msg[0] = 0;
	if (!config_parse(&c, text, strlen(text), "c.yaml", &set, set != NULL, &err)) {
		config_release(&c);
		err.msg[0] = 0;
	}
	return &err;
}

struct wrong {
	const char *text, *where, *part, *more;
};

static void refuse_all(const struct wrong *list)
{
	for (; list->text; list++) {
		const struct err *err = refusal(list->text, NULL);
		bool ok = says(err, list->where, list->part, list->more, NULL);

		if (!ok)
			fprintf(stderr, "    %s\n", list->text);
		CU_ASSERT(ok);
		CU_ASSERT_EQUAL(strncmp(err->msg, "c.yaml:", 7), 0);
	}
}

static void test_unknown_words(void)
{
	static const struct wrong list[] = {
		{BASE "engin: {batch: 1}\n", "c.yaml:5: engin", "unknown section \"engin\"", "is \"engine\""},
		{BASE "Metrics: []\n", "c.yaml:5: ", "unknown section", "is \"metrics\""},
		{BASE "5: []\n", "c.yaml:5: ", "unknown section \"5\"", ""},
		{BASE "? [a]\n: b\n", "c.yaml:5: top level", "unknown section", ""},
		{BASE "store:\n  mapz: none\n", "c.yaml:6: store", "unknown key \"mapz\"", "is \"maps\""},
		{BASE "engine: {bacth: 3}\n", "c.yaml:5: engine", "unknown key \"bacth\"", "is \"batch\""},
		{BASE "engine:\n  ? [a]\n  : 3\n", "c.yaml:6: engine", "", ""},
		{HEAD "methods:\n  - dav\n", "c.yaml:5: methods", "unknown method \"dav\"", "is \"dave\""},
		{HEAD "methods:\n  - Dave: {samples: 3}\n", "c.yaml:5: methods", "unknown method \"Dave\"",
			"\"dave\""},
		{HEAD "methods:\n  - deletion\n", "c.yaml:5: methods", "unknown method \"deletion\"", ""},
		{BASE "metrics:\n  - delation\n", "c.yaml:6: metrics", "unknown metric \"delation\"",
			"is \"deletion\""},
		{HEAD "methods:\n  - dave:\n      sampels: 3\n", "c.yaml:6: dave", "unknown key \"sampels\"",
			"\"samples\""},
		{HEAD "methods:\n  - dave:\n      nmae: a\n", "c.yaml:6: dave", "unknown key \"nmae\"",
			"is \"name\""},
		{HEAD "methods:\n  - dave: {preset: rise}\n", "c.yaml:5: dave", "unknown key \"preset\"", ""},
		{HEAD "methods:\n  - random: {samples: 3}\n", "c.yaml:5: random", "unknown key \"samples\"",
			""},
		{HEAD "methods:\n  - dave: {? [a] : 3}\n", "c.yaml:5: dave", "", ""},
		{BASE "metrics:\n  - deletion:\n      preset: rize\n",
			"c.yaml:7: ", "unknown preset \"rize\"", "\"rise\""},
		{BASE "metrics:\n  - deletion: {preset: }\n", "c.yaml:6: ", "unknown preset \"\"", ""},
		{BASE "metrics:\n  - deletion: {presett: rise}\n", "c.yaml:6: deletion", "unknown key",
			"is \"preset\""},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

#define DAVE(pair) HEAD "methods:\n  - dave:\n      " pair "\n"

static void test_wrong_values(void)
{
	static const struct wrong list[] = {
		{DAVE("samples: many"), "c.yaml:6: dave", "samples: expected an integer from 1 to 4096",
			"\"many\""},
		{DAVE("samples: 0"), "c.yaml:6: dave", "samples: expected an integer from 1 to 4096",
			"\"0\""},
		{DAVE("samples: 4097"), "c.yaml:6: dave", "samples: expected an integer", "\"4097\""},
		{DAVE("samples: 4294967297"), "c.yaml:6: dave", "samples: expected an integer", ""},
		{DAVE("samples: 3.0"), "c.yaml:6: dave", "samples: expected an integer", "\"3.0\""},
		{DAVE("samples:"), "c.yaml:6: dave", "samples: expected an integer", "\"\""},
		{DAVE("alpha: nan"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", "\"nan\""},
		{DAVE("alpha: .nan"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", "\".nan\""},
		{DAVE("alpha: 1e308"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", "\"1e308\""},
		{DAVE("alpha: 1e999"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", ""},
		{DAVE("alpha: -0.1"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", "\"-0.1\""},
		{DAVE("alpha: 1.0000001"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", ""},
		{DAVE("alpha: 0,5"), "c.yaml:6: dave", "alpha: expected a number from 0 to 1", "\"0,5\""},
		{DAVE("flip: yes"), "c.yaml:6: dave", "flip: expected true or false", "\"yes\""},
		{DAVE("aggregate: median"), "c.yaml:6: dave", "aggregate: expected one of mad|mean",
			"\"median\""},
		{DAVE("aggregate: me"), "c.yaml:6: dave", "aggregate: expected one of mad|mean", "\"me\""},
		{DAVE("aggregate: mad|mean"), "c.yaml:6: dave", "aggregate: expected one of mad|mean", ""},
		{BASE "engine: {batch: 0}\n", "c.yaml:5: engine",
			"batch: expected auto or an integer from 1 to 1024", ""},
		{BASE "engine: {threads: auto}\n", "c.yaml:5: engine", "threads: expected an integer from 1",
			""},
		{BASE "store: {raw: 1}\n", "c.yaml:5: store", "raw: expected true or false", ""},
		{BASE "store: {maps: float64}\n", "c.yaml:5: store",
			"maps: expected one of none|float16|float32", ""},
		{"run:\n  output: o\n  seed: -1\n", "c.yaml:3: run",
			"seed: expected an integer from 0 to 2^64 - 1", ""},
		{"run: {output: o}\nmodel: {path: m}\ndata:\n  path: d\n  limit: -1\n", "c.yaml:5: data",
			"limit: expected", ""},
		{BASE "metrics:\n  - deletion: {fraction: 0}\n", "c.yaml:6: deletion",
			"fraction: expected a number", ""},
		{BASE "metrics:\n  - deletion: {kernel_size: 30}\n", "c.yaml:6: metrics", "kernel_size",
			"odd number, got 30"},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

static void test_wrong_names(void)
{
	static const char *const names[] = {"map", "raw", "scale", "a b", "a/b", "''", ".a", "..", "\"\\n\"",
		"\xc3\xa9", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *text = x_asprintf(DAVE("name: %s"), names[i]);

		CU_ASSERT(says(refusal(text, NULL), "c.yaml:6: dave: name: expected letters", NULL));
		free(text);
	}
	CU_ASSERT_STRING_EQUAL(refusal(DAVE("name: A-b-c_0"), NULL)->msg, "");
	CU_ASSERT_STRING_EQUAL(
		refusal(DAVE("name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), NULL)
			->msg,
		"");
}

static void test_twice(void)
{
	static const struct wrong list[] = {
		{BASE "run: {output: o}\n", "c.yaml:5: run", "given twice", ""},
		{BASE "methods: [random]\n", "c.yaml:5: methods", "given twice", ""},
		{BASE "engine:\n  batch: 1\n  threads: 1\n  batch: 1\n", "c.yaml:8: engine",
			"batch: given twice", ""},
		{DAVE("alpha: 0\n      alpha: 0"), "c.yaml:7: dave", "alpha: given twice", ""},
		{DAVE("name: a\n      name: a"), "c.yaml:7: ", "name: given twice", ""},
		{BASE "metrics: [deletion: {preset: rise, preset: rise}]\n",
			"c.yaml:5: ", "preset: given twice", ""},
		{HEAD "methods: [dave, random, dave]\n", "c.yaml", "methods: two are called \"dave\"",
			"name:"},
		{HEAD "methods: [dave, random: {name: dave}]\n", "c.yaml", "methods: two are called \"dave\"",
			""},
		{BASE "metrics: [deletion, deletion]\n", "c.yaml", "metrics: two are called \"deletion\"",
			""},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
	CU_ASSERT_STRING_EQUAL(refusal(HEAD "methods: [dave, dave: {name: b}]\n", NULL)->msg, "");
	CU_ASSERT_STRING_EQUAL(refusal(BASE "metrics: [deletion: {name: dave}]\n", NULL)->msg, "");
}

static void test_missing(void)
{
	static const struct wrong list[] = {
		{"model: {path: m}\ndata: {path: d}\nmethods: [dave]\n", "c.yaml", "run.output is missing",
			""},
		{"run: {seed: 3}\nmodel: {path: m}\ndata: {path: d}\nmethods: [dave]\n", "c.yaml",
			"run.output is missing", ""},
		{"run: {output: o}\ndata: {path: d}\nmethods: [dave]\n", "c.yaml", "model.path is missing",
			""},
		{"run: {output: o}\nmodel: {path: m}\nmethods: [dave]\n", "c.yaml", "data.path is missing",
			""},
		{HEAD, "c.yaml", "methods: expected at least one", ""},
		{HEAD "methods: []\n", "c.yaml", "methods: expected at least one", ""},
		{"", "c.yaml", "expected sections run, model, data, methods", ""},
		{"# nothing\n", "c.yaml", "expected sections", ""},
		{"---\n", "c.yaml", "expected sections", ""},
		{"- run\n", "c.yaml", "expected sections", ""},
		{"dave", "c.yaml", "expected sections", ""},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

/* A path that must be given is not given by an empty one. */
static void test_empty_paths(void)
{
	static const struct wrong list[] = {
		{"run:\n  output:\nmodel: {path: m}\ndata: {path: d}\nmethods: [dave]\n", "c.yaml", "output",
			""},
		{"run: {output: o}\nmodel: {path: ''}\ndata: {path: d}\nmethods: [dave]\n", "c.yaml", "path",
			""},
		{"run: {output: o}\nmodel: {path: m}\ndata: {path: }\nmethods: [dave]\n", "c.yaml", "path",
			""},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

static void test_shapes(void)
{
	static const struct wrong list[] = {
		{HEAD "methods: dave\n", "c.yaml:4: methods", "expected a list", ""},
		{HEAD "methods:\n", "c.yaml:4: methods", "expected a list", ""},
		{HEAD "methods:\n  dave: {samples: 5}\n", "c.yaml:5: methods", "expected a list", ""},
		{BASE "metrics: deletion\n", "c.yaml:5: metrics", "expected a list", ""},
		{HEAD "methods:\n  - dave:\n    samples: 5\n", "c.yaml:5: methods", "mind the indentation",
			""},
		{HEAD "methods:\n  - random\n  - dave: 5\n", "c.yaml:6: methods", "- name: {key: value}", ""},
		{HEAD "methods:\n  - dave: [samples]\n", "c.yaml:5: methods", "- name: {key: value}", ""},
		{HEAD "methods:\n  - [dave]\n", "c.yaml:5: methods", "- name", ""},
		{HEAD "methods:\n  -\n", "c.yaml:5: methods", "- name", ""},
		{HEAD "methods:\n  - {}\n", "c.yaml:5: methods", "- name", ""},
		{HEAD "methods:\n  - ''\n", "c.yaml:5: methods", "- name", ""},
		{HEAD "methods:\n  - {[dave]: {}}\n", "c.yaml:5: methods", "- name", ""},
		{HEAD "methods: &m\n  - dave: *m\n", "c.yaml:5: methods", "- name", ""},
		{"run: [output]\nmodel: {path: m}\n", "c.yaml:1: run", "expected keys and values", ""},
		{"run: o.h5\n", "c.yaml:1: run", "expected keys and values", ""},
		{"run: {output: o.h5}\n--- x\n", "c.yaml:2: ", "single YAML document", ""},
		{"run: {output: o.h5\n", "c.yaml:2: ", "not valid YAML", ""},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

/* A list where one value belongs: the line, and the key. */
static void test_lists_as_values(void)
{
	static const struct wrong list[] = {
		{BASE "engine:\n  threads: [1]\n", "c.yaml:6: engine", "threads", "expected a single value"},
		{BASE "engine:\n  threads: {a: 1}\n", "c.yaml:6: engine", "threads",
			"expected a single value"},
		{DAVE("samples: [1]"), "c.yaml:6: dave", "samples", "expected a single value"},
		{DAVE("name: [1]"), "c.yaml:6: dave", "name", "expected a single value"},
		{BASE "metrics:\n  - deletion: {preset: [rise]}\n", "c.yaml:6: ", "preset",
			"expected a single value"},
		{NULL, NULL, NULL, NULL},
	};

	refuse_all(list);
}

static void test_too_many(void)
{
	char text[4096] = HEAD "methods:\n";

	for (int i = 0; i < CONFIG_MAX_ENTRIES; i++)
		sprintf(text + strlen(text), "  - random: {name: r%d}\n", i);
	CU_ASSERT_STRING_EQUAL(refusal(text, NULL)->msg, "");
	strcat(text, "  - random: {name: last}\n");
	CU_ASSERT(says(refusal(text, NULL), "c.yaml:37: methods: more than 32 entries", NULL));
}

static void test_long_paths(void)
{
	char set[OPTION_TEXT + 64] = "data.path=/";

	memset(set + strlen(set), 'x', OPTION_TEXT);
	CU_ASSERT(says(refusal(BASE, set), "data", "path: expected a path of less than 1024 bytes", NULL));
}

static void test_overrides(void)
{
	static const struct {
		const char *set, *part, *more;
	} list[] = {
		{"", "expected section.key=value", ""},
		{"=", "expected section.key=value", ""},
		{"run.seed", "expected section.key=value", ""},
		{"run=5", "expected section.key=value", ""},
		{"run.=5", "unknown key \"\"", ""},
		{"runs.seed=5", "expected section.key=value", ""},
		{"run.sead=5", "unknown key \"sead\"", "is \"seed\""},
		{"run.seed=x", "seed: expected an integer", "\"x\""},
		{"run.seed =5", "unknown key \"seed \"", "is \"seed\""},
		{" run.seed=5", "expected section.key=value", ""},
		{"engine.threads=0", "threads: expected an integer from 1", ""},
		{"methods.dave=5", "expected section.key=value", ""},
		{"methods.dave.=5", "expected", ""},
		{"methods.dave.samples", "expected section.key=value", ""},
		{"methods.random.postprocess=true", "expected section.key=value", "name"},
		{"methods.dav.samples=5", "expected section.key=value", "name"},
		{"metrics.deletion.steps=5", "expected section.key=value", "name"},
		{"methods.dave.sampels=5", "unknown key \"sampels\"", "is \"samples\""},
		{"methods.dave.samples=0", "samples: expected an integer from 1 to 4096", "\"0\""},
		{"methods.dave.preset=rise", "preset", ""},
		{"methods.dave.name=a b", "name: expected letters", ""},
		{"methods.dave.name=map", "name: expected letters", ""},
		{"a\nb=5", "expected section.key=value", ""},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		char *start = x_asprintf("--set %.*s", (int)strcspn(list[i].set, "\n"), list[i].set);

		CU_ASSERT(says(refusal(BASE, list[i].set), start, list[i].part, list[i].more, NULL));
		free(start);
	}
	CU_ASSERT(says(refusal(BASE "metrics: [deletion]\n", "metrics.deletion.preset=rize"),
		"--set metrics.deletion.preset=rize", "unknown preset", "\"rise\"", NULL));
	/* an override by kind does not reach an entry of another name */
	CU_ASSERT(says(refusal(HEAD "methods: [dave: {name: b}]\n", "methods.dave.samples=5"),
		"--set methods.dave", NULL));
}

int register_config_error_tests(void)
{
	static const struct named_test tests[] = {
		{"unknown words", test_unknown_words},
		{"wrong values", test_wrong_values},
		{"wrong names", test_wrong_names},
		{"twice", test_twice},
		{"missing", test_missing},
		{"empty paths", test_empty_paths},
		{"shapes", test_shapes},
		{"lists as values", test_lists_as_values},
		{"too many", test_too_many},
		{"long paths", test_long_paths},
		{"overrides", test_overrides},
		{NULL, NULL},
	};

	return add_suite("config errors", tests);
}

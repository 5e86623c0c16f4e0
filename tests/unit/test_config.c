/* pipeline/config: what a configuration becomes, and what is said about a wrong one. */
#include "pipeline/config.h"

#include <CUnit/CUnit.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attribution/dave.h"
#include "metrics/curve.h"
#include "scratch.h"
#include "support.h"

/* Lines 1 to 3, and a list of methods on line 4. */
#define HEAD "run: {output: o.h5}\nmodel: {path: m}\ndata: {path: d}\n"
#define BASE HEAD "methods: [dave]\n"

static const char full[] = "# The DeiT-Tiny on 49 photographs.\n"
			   "run:\n"
			   "  output: ../results/deit_tiny_val8.h5\n"
			   "  seed: 2026\n"
			   "model:\n"
			   "  path: ../../shared/data/deit_tiny\n"
			   "data:\n"
			   "  path: /data/imagenet_val8\n"
			   "  classes: wnids.txt\n"
			   "  target: label\n"
			   "engine: {batch: auto, threads: 1}\n"
			   "methods:\n"
			   "  - dave: {samples: 50, alpha: 0.5, aggregate: mad, postprocess: true}\n"
			   "  - gradient\n"
			   "metrics:\n"
			   "  - deletion: {preset: rise}\n"
			   "  - insertion: {preset: rise}\n"
			   "  - deletion: {name: deletion_dave, preset: dave}\n"
			   "store: {maps: float32, raw: true}\n";

/* Parses text as the file conf/run.yaml of the temporary folder, with up to two overrides. */
static int parse2(struct config *c, const char *text, const char *a, const char *b, struct err *err)
{
	const char *sets[] = {a, b};
	char *path = scratch_path("conf/run.yaml");

	scratch_folder("conf");
	int rc = config_parse(c, text, strlen(text), path, sets, (a != NULL) + (b != NULL), err);
	free(path);
	return rc;
}

static void good(struct config *c, const char *text, const char *a, const char *b)
{
	struct err err = {""};

	int rc = parse2(c, text, a, b, &err);
	CU_ASSERT_STRING_EQUAL(err.msg, "");
	CU_ASSERT_EQUAL_FATAL(rc, 0);
}

/* The line with which it is refused; empty where it is not. */
static const struct err *refusal(const char *text, const char *set)
{
	static struct err err;
	struct config c;

	err.msg[0] = 0;
	if (parse2(&c, text, set, NULL, &err)) {
		CU_ASSERT(!c.methods_count && !c.metrics_count);
	} else {
		config_release(&c);
		err.msg[0] = 0;
	}
	return &err;
}

static const struct curve_params *curve(const struct config *c, int i)
{
	return c->metrics[i].params;
}

static const struct dave_params *dave(const struct config *c, int i)
{
	return c->methods[i].params;
}

/* folder/rest, with the temporary folder resolved as the parser does. */
static bool is_path(const char *path, const char *rest)
{
	char *conf = scratch_path("conf"), *real = realpath(conf, NULL),
	     *want = x_asprintf("%s/%s", real, rest);
	bool same = !strcmp(path, want);

	free(conf);
	free(real);
	free(want);
	return same;
}

/* ---- what is read ---- */

static void test_full(void)
{
	struct config c;

	good(&c, full, NULL, NULL);
	CU_ASSERT(is_path(c.run.output, "../results/deit_tiny_val8.h5") && c.run.seed == 2026);
	CU_ASSERT(is_path(c.model.path, "../../shared/data/deit_tiny"));
	CU_ASSERT_STRING_EQUAL(c.data.path, "/data/imagenet_val8");
	CU_ASSERT(is_path(c.data.classes, "wnids.txt") && c.data.limit == 0 && c.target == TARGET_LABEL);
	CU_ASSERT(c.engine.batch == 0 && c.engine.threads == 1);
	CU_ASSERT(c.store.maps == STORE_FLOAT32 && c.store.raw == 1);
	CU_ASSERT_FATAL(c.methods_count == 2 && c.metrics_count == 3);
	CU_ASSERT(!strcmp(c.methods[0].name, "dave") && c.methods[0].ops == method_find("dave"));
	CU_ASSERT(!strcmp(c.methods[1].name, "gradient") && c.methods[1].ops == method_find("gradient"));
	const struct dave_params *d = dave(&c, 0);
	CU_ASSERT(
		d->samples == 50 && d->alpha == 0.5 && d->aggregate == DAVE_MAD && d->postprocess && d->flip);
	CU_ASSERT(d->rotation == 20 && d->translation == 0.1 && d->scaling == 0.1);
	CU_ASSERT(!strcmp(c.metrics[0].name, "deletion") && !strcmp(c.metrics[0].preset, "rise"));
	CU_ASSERT(!strcmp(c.metrics[1].name, "insertion") && c.metrics[1].ops == metric_find("insertion"));
	CU_ASSERT(!strcmp(c.metrics[2].name, "deletion_dave") && c.metrics[2].ops == metric_find("deletion"));
	const struct curve_params *r = curve(&c, 0), *i = curve(&c, 1), *p = curve(&c, 2);
	CU_ASSERT(r->order == CURVE_MOST && r->fraction == 1 && r->steps == 224 &&
		  r->substrate == CURVE_CONSTANT);
	CU_ASSERT(r->rank == CURVE_MAP && r->score == CURVE_PROBABILITY && !r->correct_only &&
		  !r->min_probability);
	CU_ASSERT(i->substrate == CURVE_BLUR && i->kernel == CURVE_RISE && i->kernel_size == 11 &&
		  i->sigma == 5);
	CU_ASSERT(p->order == CURVE_LEAST && p->fraction == 0.9 && p->steps == 128 &&
		  p->substrate == CURVE_BLUR);
	CU_ASSERT(
		p->kernel == CURVE_GAUSSIAN && p->kernel_size == 31 && p->sigma == 7 && p->rank == CURVE_RAW);
	CU_ASSERT(p->correct_only && p->min_probability == 0.9);
	config_release(&c);
	CU_ASSERT(!c.methods_count && !c.methods[0].params);
	config_release(&c);
}

static void test_defaults(void)
{
	struct config c;

	good(&c, BASE, NULL, NULL);
	CU_ASSERT(c.run.seed == 0 && c.data.limit == 0 && c.engine.batch == 0 && c.engine.threads == 1);
	CU_ASSERT(c.store.maps == STORE_FLOAT16 && !c.store.raw && c.target == TARGET_LABEL);
	CU_ASSERT(c.metrics_count == 0 && c.methods_count == 1);
	CU_ASSERT_STRING_EQUAL(c.data.classes, "");
	CU_ASSERT(dave(&c, 0)->samples == 50 && dave(&c, 0)->alpha == 0.3 && dave(&c, 0)->postprocess == 1);
	config_release(&c);
	/* the same, written with empty places */
	good(&c, BASE "metrics:\nstore:\nengine: {}\n", NULL, NULL);
	CU_ASSERT(c.metrics_count == 0 && c.store.maps == STORE_FLOAT16);
	config_release(&c);
	good(&c, HEAD "methods:\n  - dave:\n  - random: {}\nmetrics: []\n", NULL, NULL);
	CU_ASSERT(c.methods_count == 2 && dave(&c, 0)->samples == 50);
	config_release(&c);
}

/* Text in quotes or not, anchors, and any order of sections. */
static void test_yaml_forms(void)
{
	struct config c;

	good(&c,
		"methods: [{\"dave\": &p {'samples': \"7\", alpha: 1e-3}}, effective_smooth: {samples: 9}]\n"
		"data: {path: 'a b', limit: 0010, target: prediction}\nmodel: {path: \"m\\x20x\"}\nrun: "
		"{output: o.h5}\n",
		NULL, NULL);
	CU_ASSERT(dave(&c, 0)->samples == 7 && dave(&c, 0)->alpha == 0.001 && dave(&c, 1)->samples == 9);
	CU_ASSERT(is_path(c.data.path, "a b") && is_path(c.model.path, "m x") && c.data.limit == 10);
	CU_ASSERT_EQUAL(c.target, TARGET_PREDICTION);
	config_release(&c);
}

static void test_targets(void)
{
	static const struct {
		const char *text;
		enum config_target target;
		int index;
	} cases[] = {{"label", TARGET_LABEL, 0}, {"prediction", TARGET_PREDICTION, 0}, {"0", TARGET_INDEX, 0},
		{"999", TARGET_INDEX, 999}};
	static const char *const bad[] = {"-1", "cat", "1.5", "", "Label", "99999999999", "16777216", "0x3"};
	struct config c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *set = x_asprintf("data.target=%s", cases[i].text);

		good(&c, BASE, set, NULL);
		CU_ASSERT(c.target == cases[i].target && c.target_index == cases[i].index);
		config_release(&c);
		free(set);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *set = x_asprintf("data.target=%s", bad[i]);

		CU_ASSERT(says(refusal(BASE, set), "data.target",
			"expected label, prediction or a class index", NULL));
		free(set);
	}
}

/* A metric and a figure of a method would be one group of the results. */
static void test_figure_names(void)
{
	CU_ASSERT(
		says(refusal(HEAD "methods: [random, dave]\nmetrics: [{entropy: {name: mc_error}}]\n", NULL),
			"run.yaml", "metric \"mc_error\"", "method dave", NULL));
	CU_ASSERT_STRING_EQUAL(
		refusal(HEAD "methods: [random]\nmetrics: [{entropy: {name: mc_error}}]\n", NULL)->msg, "");
}

/* Metrics of objects need annotations; said before anything runs. */
static void test_objects(void)
{
	CU_ASSERT(
		says(refusal(HEAD "methods: [dave]\nmetrics: [entropy, {pointing_game: {name: pg}}]\n", NULL),
			"run.yaml", "metric pg", "data.boxes", NULL));
	CU_ASSERT_STRING_EQUAL(
		refusal(HEAD "methods: [dave]\nmetrics: [energypg, pointing_game]\n", "data.boxes=b.csv")
			->msg,
		"");
}

static void test_target_error_has_its_line(void)
{
	CU_ASSERT(says(
		refusal(HEAD "methods: [dave]\nengine: {}\n", "data.target=x"), "--set data.target=x", NULL));
	CU_ASSERT(says(refusal("data:\n  path: d\n  target: x\nrun: {output: o}\nmodel: {path: m}\nmethods: "
			       "[dave]\n",
			       NULL),
		"run.yaml:3: ", "target", NULL));
}

/* ---- presets and overrides ---- */

static void test_presets(void)
{
	static const char text[] =
		HEAD "methods: [dave]\nmetrics:\n  - deletion: {steps: 10, preset: rise}\n"
		     "  - insertion: {preset: rise_dataset, sigma: 2}\n  - deletion: {name: plain}\n";
	struct config c;

	good(&c, text, NULL, NULL);
	CU_ASSERT(curve(&c, 0)->steps == 10 && !strcmp(c.metrics[0].preset, "rise"));
	CU_ASSERT(curve(&c, 1)->steps == 28 && curve(&c, 1)->sigma == 2 && curve(&c, 1)->kernel_size == 11);
	CU_ASSERT(curve(&c, 2)->steps == 128 && curve(&c, 2)->fraction == 1 && !*c.metrics[2].preset);
	config_release(&c);
	/* another preset, and the keys of the file still above it */
	good(&c, text, "metrics.deletion.preset=dave", NULL);
	CU_ASSERT(curve(&c, 0)->steps == 10 && curve(&c, 0)->order == CURVE_LEAST &&
		  curve(&c, 0)->fraction == 0.9);
	CU_ASSERT(!strcmp(c.metrics[0].preset, "dave") && curve(&c, 2)->order == CURVE_MOST);
	config_release(&c);
	/* a key beats a preset whatever their order */
	good(&c, text, "metrics.deletion.steps=7", "metrics.deletion.preset=dave");
	CU_ASSERT(curve(&c, 0)->steps == 7 && curve(&c, 0)->order == CURVE_LEAST);
	config_release(&c);
	/* the last of two presets */
	good(&c, text, "metrics.plain.preset=dave", "metrics.plain.preset=rise");
	CU_ASSERT(curve(&c, 2)->steps == 224 && curve(&c, 2)->order == CURVE_MOST &&
		  curve(&c, 2)->fraction == 1);
	CU_ASSERT(!curve(&c, 2)->correct_only);
	config_release(&c);
}

static void test_overrides(void)
{
	struct config c;

	good(&c, full, "run.seed=18446744073709551615", "engine.batch=16");
	CU_ASSERT(c.run.seed == UINT64_MAX && c.engine.batch == 16);
	config_release(&c);
	good(&c, full, "run.seed=1", "run.seed=2");
	CU_ASSERT_EQUAL(c.run.seed, 2);
	config_release(&c);
	good(&c, full, "methods.dave.samples=6", "methods.gradient.postprocess=true");
	CU_ASSERT_EQUAL(dave(&c, 0)->samples, 6);
	config_release(&c);
	good(&c, full, "metrics.deletion_dave.steps=9", "metrics.deletion.steps=8");
	CU_ASSERT(curve(&c, 0)->steps == 8 && curve(&c, 1)->steps == 224 && curve(&c, 2)->steps == 9);
	config_release(&c);
	good(&c, full, "methods.dave.name=zoe", "data.classes=");
	CU_ASSERT(!strcmp(c.methods[0].name, "zoe") && !*c.data.classes);
	config_release(&c);
	/* what the file lacks may come from the command line */
	good(&c, "model: {path: m}\ndata: {path: d}\nmethods: [dave]\n", "run.output=/a=b.h5", NULL);
	CU_ASSERT_STRING_EQUAL(c.run.output, "/a=b.h5");
	config_release(&c);
}

/* The dot separates names in overrides: no name may hold one. */
static void test_override_of_dotted_names(void)
{
	static const char text[] = HEAD "methods:\n  - dave: {name: v1}\n  - dave: {name: v1.5}\n";

	CU_ASSERT(says(refusal(text, NULL), "name: expected letters, digits, _ -", "v1.5", NULL));
}

static void test_override_paths(void)
{
	char cwd[PATH_MAX];
	struct config c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(cwd, sizeof(cwd)));
	char *out = x_asprintf("%s/x/out.h5", cwd), *data = x_asprintf("%s/d", cwd);
	good(&c, BASE, "run.output=x/out.h5", "data.path=/abs");
	CU_ASSERT_STRING_EQUAL(c.run.output, out);
	CU_ASSERT_STRING_EQUAL(c.data.path, "/abs");
	config_release(&c);
	/* a file named without a folder lies in the current one */
	struct err err = {""};
	CU_ASSERT_EQUAL_FATAL(config_parse(&c, BASE, strlen(BASE), "run.yaml", NULL, 0, &err), 0);
	CU_ASSERT_STRING_EQUAL(c.data.path, data);
	config_release(&c);
	free(out);
	free(data);
}

/* ---- text ---- */

/* Parses, writes, and reads that again from another folder: the same text. */
static void round_trip(const char *text, const char *set, int portable)
{
	struct config c, again;
	struct err err = {""};
	const char *output = "run.output=/other/place.h5";

	good(&c, text, set, NULL);
	char *first = config_format(&c, portable);
	int rc = config_parse(&again, first, strlen(first), "/else/where.yaml", &output, portable, &err);
	CU_ASSERT_STRING_EQUAL(err.msg, "");
	if (!rc) {
		char *second = config_format(&again, portable);

		CU_ASSERT_STRING_EQUAL(first, second);
		CU_ASSERT(again.methods_count == c.methods_count && again.metrics_count == c.metrics_count);
		CU_ASSERT(!strcmp(again.data.path, c.data.path) && again.target == c.target);
		for (int i = 0; i < c.metrics_count; i++)
			CU_ASSERT(!memcmp(
				c.metrics[i].params, again.metrics[i].params, sizeof(struct curve_params)));
		config_release(&again);
		free(second);
	}
	CU_ASSERT_EQUAL(strstr(first, "output:") == NULL, portable);
	config_release(&c);
	free(first);
}

static void test_round_trip(void)
{
	for (int portable = 0; portable < 2; portable++) {
		round_trip(full, NULL, portable);
		round_trip(BASE, NULL, portable);
		round_trip(full, "methods.dave.alpha=0.30000000000000004", portable);
		round_trip(full, "metrics.deletion.sigma=123.456789012345678", portable);
		round_trip(full, "data.target=17", portable);
		round_trip(full, "data.path=/a \"b\" \\c: #d\n\te'f\x01\x7f{[%@`", portable);
		round_trip(full, "data.path=/caf\xc3\xa9/\xe7\x8c\xab", portable);
	}
}

/* A path is bytes, of which YAML knows only some. */
static void test_round_trip_of_odd_paths(void)
{
	round_trip(full, "data.path=/line\xe2\x80\xa8separator", 0);
	round_trip(full, "data.path=/next\xc2\x85line", 0);
	CU_ASSERT(says(refusal(full, "data.path=/latin-1 caf\xe9"), "path: expected UTF-8", NULL));
}

static char *text_of(void (*write)(FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	write(f);
	fclose(f);
	return text;
}

/* --help and the reference name every key that there is. */
static void test_reference(void)
{
	char *texts[2] = {text_of(config_help), text_of(config_reference)};

	for (int k = 0; k < 2; k++) {
		for (const struct config_section *s = config_sections; s->name; s++)
			for (const struct option_row *o = s->options; o->name; o++)
				CU_ASSERT(strstr(texts[k], o->name) && strstr(texts[k], o->help));
		for (int i = 0; method_registry[i]; i++)
			CU_ASSERT(strstr(texts[k], method_registry[i]->name) &&
				  strstr(texts[k], method_registry[i]->help));
		for (int i = 0; metric_registry[i]; i++)
			for (const struct metric_preset *p = metric_registry[i]->presets; p && p->name; p++)
				CU_ASSERT(strstr(texts[k], p->help) != NULL);
		free(texts[k]);
	}
}

/* Damaged text: no crash, one line; and what is still accepted survives the round trip. */
static void test_damage(void)
{
	char text[sizeof(full)];
	int accepted = 0;

	for (uint32_t round = 0; round < 1500; round++) {
		struct config c;
		struct err err = {""};

		memcpy(text, full, sizeof(full));
		for (uint32_t k = 0; k < 1 + round % 3; k++) {
			size_t at = (size_t)(random_unit(3 * round + k, 1) * (sizeof(full) - 1));
			text[at] = (char)(1 + 126 * random_unit(3 * round + k, 2));
		}
		if (parse2(&c, text, NULL, NULL, &err)) {
			CU_ASSERT(says(&err, "run.yaml", NULL));
			continue;
		}
		config_release(&c);
		round_trip(text, NULL, 0);
		accepted++;
	}
	CU_ASSERT(accepted > 50 && accepted < 1400);
}

static void test_limits(void)
{
	char *big = x_calloc(1, CONFIG_MAX_BYTES + 2);
	const char *many[257];
	struct config c;
	struct err err = {""};

	memset(big, '\n', CONFIG_MAX_BYTES + 1);
	memcpy(big, BASE, strlen(BASE));
	CU_ASSERT_EQUAL(config_parse(&c, big, CONFIG_MAX_BYTES + 1, "a.yaml", NULL, 0, &err), -1);
	CU_ASSERT(says(&err, "a.yaml", "at most 1048576 bytes", NULL));
	CU_ASSERT_EQUAL_FATAL(config_parse(&c, big, CONFIG_MAX_BYTES, "a.yaml", NULL, 0, &err), 0);
	config_release(&c);
	for (int i = 0; i < 257; i++)
		many[i] = "run.seed=5";
	CU_ASSERT(config_parse(&c, BASE, strlen(BASE), "a.yaml", many, 257, &err) == -1 &&
		  says(&err, "256", NULL));
	CU_ASSERT_EQUAL_FATAL(config_parse(&c, BASE, strlen(BASE), "a.yaml", many, 256, &err), 0);
	CU_ASSERT_EQUAL(c.run.seed, 5);
	config_release(&c);
	free(big);
}

int register_config_tests(void)
{
	static const struct named_test tests[] = {
		{"full example", test_full},
		{"defaults", test_defaults},
		{"forms of YAML", test_yaml_forms},
		{"targets", test_targets},
		{"target error has its line", test_target_error_has_its_line},
		{"objects of metrics", test_objects},
		{"names of figures", test_figure_names},
		{"presets", test_presets},
		{"overrides", test_overrides},
		{"overrides of dotted names", test_override_of_dotted_names},
		{"override paths", test_override_paths},
		{"round trip", test_round_trip},
		{"round trip of odd paths", test_round_trip_of_odd_paths},
		{"help and reference", test_reference},
		{"damage", test_damage},
		{"limits", test_limits},
		{NULL, NULL},
	};

	return add_suite("config", tests) || register_config_error_tests() || register_dataset_tests();
}

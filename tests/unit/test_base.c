/* base/err, arena, clock, option. */
#include "base/err.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/option.h"
#include "scratch.h"
#include "support.h"

/* ---- errors and memory ---- */

static void test_err_set(void)
{
	struct err err = {""};
	char big[3000];

	CU_ASSERT_EQUAL(err_set(&err, "a %d\nb\r\nc %s", 7, "x\ny\n"), -1);
	CU_ASSERT_STRING_EQUAL(err.msg, "a 7 b  c x y ");
	memset(big, 'z', sizeof(big));
	big[sizeof(big) - 1] = 0;
	CU_ASSERT_EQUAL(err_set(&err, "%s", big), -1);
	CU_ASSERT_EQUAL(strlen(err.msg), sizeof(err.msg) - 1);
	err_set(&err, "short");
	CU_ASSERT_STRING_EQUAL(err.msg, "short");
}

static void test_err_prefix(void)
{
	struct err err = {""};
	char big[3000];

	err_set(&err, "what");
	CU_ASSERT_EQUAL(err_prefix(&err, "file:%d", 3), -1);
	CU_ASSERT_STRING_EQUAL(err.msg, "file:3: what");
	err_prefix(&err, "two\nlines");
	CU_ASSERT_STRING_EQUAL(err.msg, "two lines: file:3: what");
	memset(big, 'z', sizeof(big));
	big[1010] = 0;
	err_prefix(&err, "%s", big);
	CU_ASSERT_EQUAL(strlen(err.msg), sizeof(err.msg) - 1);
	CU_ASSERT_STRING_EQUAL(err.msg + 1010, ": two lines: ");
	big[1010] = 'z';
	big[sizeof(big) - 1] = 0;
	err_prefix(&err, "%s", big);
	CU_ASSERT_EQUAL(strspn(err.msg, "z"), sizeof(err.msg) - 1);
}

static void call_bug(void *ctx)
{
	(void)ctx;
	BUG("on purpose");
}

static void test_memory(void)
{
	char *zero = x_calloc(3, 5), *text = x_asprintf("%s-%04d", "a", 42), *copy = x_strdup(text),
	     *none = x_malloc(0);
	void *aligned = x_aligned_alloc(100);

	CU_ASSERT(!memcmp(zero, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15));
	CU_ASSERT_STRING_EQUAL(text, "a-0042");
	CU_ASSERT(copy != text && !strcmp(copy, text));
	CU_ASSERT_EQUAL((uintptr_t)aligned % 64, 0);
	memset(aligned, 1, 100);
	none = x_realloc(none, 10);
	memset(none, 1, 10);
	free(zero);
	free(text);
	free(copy);
	free(none);
	free(aligned);
	CU_ASSERT(aborts(call_bug, NULL));
}

/* ---- arena ---- */

static void carve(struct arena *a, void *out[4])
{
	out[0] = arena_take(a, 3, 5);
	out[1] = arena_floats(a, 100);
	out[2] = arena_take(a, 0, 8);
	out[3] = arena_take(a, 64, 1);
}

static void take_too_much(void *arena)
{
	arena_floats(arena, 1);
}

static void test_arena(void)
{
	struct arena a = {0};
	void *out[4];

	carve(&a, out);
	CU_ASSERT(!out[0] && !out[1] && !out[2] && !out[3]);
	CU_ASSERT_EQUAL(a.used, 64 + 448 + 0 + 64);
	arena_allocate(&a);
	CU_ASSERT_EQUAL(a.used, 0);
	carve(&a, out);
	CU_ASSERT_EQUAL(a.used, a.size);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL((uintptr_t)out[i] % 64, 0);
	CU_ASSERT((char *)out[1] - (char *)out[0] == 64 && (char *)out[3] - (char *)out[1] == 448);
	memset(out[0], 1, 15);
	memset(out[1], 2, 400);
	memset(out[3], 3, 64);
	CU_ASSERT(aborts(take_too_much, &a));
	arena_release(&a);
	CU_ASSERT(!a.base && !a.used && !a.size);
	arena_release(&a);
}

/* ---- clock ---- */

static void test_clock_format(void)
{
	static const struct {
		double seconds;
		const char *text;
	} cases[] = {{0, "0s"}, {0.4, "0s"}, {12.3, "12s"}, {59.4, "59s"}, {59.6, "1m 00s"}, {200, "3m 20s"},
		{3599.4, "59m 59s"}, {3599.7, "1h 00m"}, {3720, "1h 02m"}, {3779, "1h 02m"},
		{360000, "100h 00m"}, {-5, "0s"}, {NAN, "0s"}};
	char buf[32];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_STRING_EQUAL(clock_format(buf, cases[i].seconds), cases[i].text);
	clock_format(buf, INFINITY); /* any text, but no overflow */
	clock_format(buf, 1e300);
}

static void test_clock_seconds(void)
{
	double start = clock_seconds(), now;

	clock_sleep(0.02);
	now = clock_seconds();
	CU_ASSERT(now - start >= 0.0199 && now - start < 5);
	CU_ASSERT_FALSE(stop_requested());
}

/* ---- options ---- */

struct settings {
	int whole, automatic, yes, choice;
	uint64_t seed;
	double real;
	char text[OPTION_TEXT], path[OPTION_TEXT];
};

#define AT(field) offsetof(struct settings, field)

enum { WHOLE, AUTO, SEED, REAL, YES, CHOICE, TEXT, PATH };

static const struct option_row table[] = {
	{"whole", OPT_INT, AT(whole), "5", -3, 4096, NULL, "a"},
	{"automatic", OPT_AUTO, AT(automatic), "auto", 1, 1024, NULL, "b"},
	{"seed", OPT_U64, AT(seed), "18446744073709551615", 0, 0, NULL, "c"},
	{"real", OPT_DOUBLE, AT(real), "0.5", -1e6, 1e300, NULL, "d"},
	{"yes", OPT_BOOL, AT(yes), "true", 0, 0, NULL, "e"},
	{"choice", OPT_CHOICE, AT(choice), "mean", 0, 0, "mad|mean|median", "f"},
	{"text", OPT_STRING, AT(text), "hello", 0, 0, NULL, "g"},
	{"path", OPT_PATH, AT(path), NULL, 0, 0, NULL, "h"},
	OPTION_END,
};

static void test_option_defaults(void)
{
	struct settings s;

	memset(&s, 1, sizeof(s));
	option_defaults(&s, table);
	CU_ASSERT(s.whole == 5 && s.automatic == 0 && s.yes == 1 && s.choice == 1);
	CU_ASSERT(s.seed == UINT64_MAX && s.real == 0.5);
	CU_ASSERT_STRING_EQUAL(s.text, "hello");
	CU_ASSERT_STRING_EQUAL(s.path, "");
	CU_ASSERT_PTR_EQUAL(option_find(table, "real"), &table[REAL]);
	CU_ASSERT_PTR_NULL(option_find(table, "rea"));
	CU_ASSERT_PTR_NULL(option_find(table, ""));
}

/* A set that must work, and read back as `back`. */
static void accept(int row, const char *text, const char *back)
{
	struct settings s = {0};
	struct err err = {""};
	char buf[OPTION_TEXT];

	CU_ASSERT_EQUAL(option_set(&s, &table[row], text, &err), 0);
	CU_ASSERT_STRING_EQUAL(option_format(buf, &s, &table[row]), back);
}

static void refuse(int row, const char *text, const char *expected)
{
	struct settings s;
	struct err err = {""};

	memset(&s, 1, sizeof(s));
	if (option_set(&s, &table[row], text, &err) != -1)
		fprintf(stderr, "\n    %s: \"%s\" was accepted\n", table[row].name, text);
	else
		CU_ASSERT(says(&err, table[row].name, "expected ", expected, NULL));
	CU_ASSERT_NOT_EQUAL(err.msg[0], 0);
}

static void test_option_numbers(void)
{
	static const char whole[] = "an integer from -3 to 4096",
			  automatic[] = "auto or an integer from 1 to 1024",
			  real[] = "a number from -1e+06 to 1e+300";
	static const char *const bad_whole[] = {
		"-4", "4097", "1.0", "", "auto", "4294967301", "99999999999999999999", "0x5", " 5", "1e3"};
	static const char *const bad_real[] = {
		"nan", "inf", "-1000001", "2e300", "1e999", "", "1,5", "0x1p0", "1 "};

	accept(WHOLE, "-3", "-3");
	accept(WHOLE, "4096", "4096");
	accept(AUTO, "auto", "auto");
	accept(AUTO, "1", "1");
	accept(SEED, "0", "0");
	accept(SEED, "18446744073709551615", "18446744073709551615");
	for (size_t i = 0; i < sizeof(bad_whole) / sizeof(bad_whole[0]); i++)
		refuse(WHOLE, bad_whole[i], whole);
	refuse(AUTO, "0", automatic);
	refuse(AUTO, "Auto", automatic);
	refuse(AUTO, "1025", automatic);
	refuse(SEED, "-1", "an integer from 0 to 2^64 - 1");
	refuse(SEED, "18446744073709551616", "an integer from 0 to 2^64 - 1");
	for (size_t i = 0; i < sizeof(bad_real) / sizeof(bad_real[0]); i++)
		refuse(REAL, bad_real[i], real);
}

static void test_option_words(void)
{
	static const char *const bad[] = {
		"", "ma", "m", "mad|", "|", "mad|mean", "mean|median", "medians", "MAD", "mad "};

	accept(YES, "true", "true");
	accept(YES, "false", "false");
	refuse(YES, "True", "true or false");
	refuse(YES, "1", "true or false");
	refuse(YES, "", "true or false");
	accept(CHOICE, "mad", "mad");
	accept(CHOICE, "mean", "mean");
	accept(CHOICE, "median", "median");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse(CHOICE, bad[i], "one of mad|mean|median");
}

static void test_option_text(void)
{
	char big[OPTION_TEXT + 1];

	memset(big, 'x', sizeof(big));
	big[OPTION_TEXT] = 0;
	refuse(TEXT, big, "text of less than 1024 bytes");
	refuse(PATH, big, "a path of less than 1024 bytes");
	big[OPTION_TEXT - 1] = 0;
	accept(TEXT, big, big);
	accept(PATH, big, big);
	accept(TEXT, "", "");
	accept(PATH, "a b/\"c\"", "a b/\"c\"");
}

/* Reads back as the same double; short where a short text is enough. */
static void test_option_doubles(void)
{
	struct settings s = {0}, t = {0};
	struct err err = {""};
	char buf[OPTION_TEXT];
	int wrong = 0;

	accept(REAL, "0.1", "0.1");
	accept(REAL, "7", "7");
	accept(REAL, "-0.30000000000000004", "-0.30000000000000004");
	accept(REAL, "12345", "12345");
	accept(REAL, "0.9", "0.9");
	for (uint32_t i = 0; i < 20000; i++) {
		s.real = (random_unit(5, 2 * i) - 0.1) * pow(10, floor(40 * random_unit(5, 2 * i + 1)) - 34);
		option_format(buf, &s, &table[REAL]);
		wrong += option_set(&t, &table[REAL], buf, &err) != 0 || t.real != s.real;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_option_distance(void)
{
	static const struct {
		const char *a, *b;
		int distance;
	} cases[] = {{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"kitten", "sitting", 3},
		{"samples", "sampels", 1}, {"ab", "ba", 1}, {"abcd", "badc", 2}, {"batch", "bath", 1},
		{"bath", "batch", 1}, {"seed", "sead", 1}, {"flaw", "lawn", 2}, {"ca", "abc", 3}};
	char a[201], b[201];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(option_distance(cases[i].a, cases[i].b), cases[i].distance);
		CU_ASSERT_EQUAL(option_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
	memset(a, 'a', 200);
	memset(b, 'b', 200);
	a[200] = b[200] = 0;
	CU_ASSERT(option_distance(a, b) >= 64);
	CU_ASSERT_EQUAL(option_distance(a, a), 0);
	CU_ASSERT(option_distance(a, "a") >= 63);
}

int register_base_tests(void)
{
	static const struct named_test basics[] = {
		{"err_set", test_err_set},
		{"err_prefix", test_err_prefix},
		{"memory and BUG", test_memory},
		{"arena", test_arena},
		{"clock_format", test_clock_format},
		{"clock_seconds", test_clock_seconds},
		{NULL, NULL},
	};
	static const struct named_test options[] = {
		{"defaults", test_option_defaults},
		{"numbers", test_option_numbers},
		{"words", test_option_words},
		{"text", test_option_text},
		{"doubles round trip", test_option_doubles},
		{"distance", test_option_distance},
		{NULL, NULL},
	};

	return add_suite("base", basics) || add_suite("option", options) || register_num_tests();
}

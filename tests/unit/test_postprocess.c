/* src/attribution/postprocess.c: from the raw map to the map that people look at. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attribution/postprocess.h"
#include "base/err.h"

/* Post-processing in double, straight from methods.md. */
static double naive_postprocess(double *map, const float *raw, int h, int w)
{
	double *m = x_calloc((size_t)(h * w), sizeof(*m)), norm = 0, max = 0;

	for (int k = 0; k < 121; k++)
		norm += exp(-((k / 11 - 5) * (k / 11 - 5) + (k % 11 - 5) * (k % 11 - 5)) / 98.0);
	for (int p = 0; p < h * w; p++) {
		m[p] = fmax(raw[p], 0) / 2;
		for (int k = 0; k < 121; k++) {
			int dy = k / 11 - 5, dx = k % 11 - 5, y = p / w + dy, x = p % w + dx;

			if (y >= 0 && y < h && x >= 0 && x < w)
				m[p] += exp(-(dy * dy + dx * dx) / 98.0) / norm * fmax(raw[y * w + x], 0) / 2;
		}
	}
	for (int p = 0; p < h * w; p++) {
		double sum = 0, total = 0;

		for (int k = 0; k < 25; k++) {
			int dy = k / 5 - 2, dx = k % 5 - 2, y = p / w + dy, x = p % w + dx;
			double v = y >= 0 && y < h && x >= 0 && x < w ? m[y * w + x] : 0;
			double weight =
				exp(-(v - m[p]) * (v - m[p]) / 0.005) * exp(-(dy * dy + dx * dx) / 0.5);

			sum += weight * v;
			total += weight;
		}
		map[p] = sum / (total + 1e-8);
		max = fmax(max, map[p]);
	}
	for (int p = 0; p < h * w; p++)
		map[p] = max > 0 ? map[p] / max : 0;
	free(m);
	return max;
}

/* 2e-6 on maps of maximum 1, whatever the scale of the logit and the size of the plane. */
static void check_postprocess(int h, int w, double scale)
{
	size_t n = (size_t)(h * w);
	float *raw = new_normal(n, scale, 90), *map = x_calloc(n, sizeof(float)),
	      *scratch = x_calloc(postprocess_scratch(h, w), sizeof(float));
	double *want = x_calloc(n, sizeof(*want)), max = naive_postprocess(want, raw, h, w);

	memset(scratch, 0xff, postprocess_scratch(h, w) * sizeof(*scratch));
	CU_ASSERT(near_one("maximum", postprocess_map(map, raw, scratch, h, w), max, 2e-6 * max));
	CU_ASSERT(near_all("post-processed", map, want, n, 2e-6));
	CU_ASSERT_EQUAL(largest_float(map, n), 1);
	free(raw);
	free(map);
	free(scratch);
	free(want);
}

static void test_postprocess(void)
{
	check_postprocess(24, 31, 0.1);
	check_postprocess(24, 31, 1e-4);
	check_postprocess(9, 5, 30);
	check_postprocess(3, 2, 1);
}

static void test_empty_maps(void)
{
	enum { N = 30 };
	float raw[N] = {0}, map[N], scratch[2 * N];

	for (int negative = 0; negative < 2; negative++) {
		for (int i = 0; i < N; i++)
			raw[i] = negative ? -(float)(i + 1) : (i % 2 ? 0.0f : -0.0f);
		memset(map, 0xff, sizeof(map));
		CU_ASSERT_EQUAL(postprocess_map(map, raw, scratch, 5, 6), 0);
		CU_ASSERT_EQUAL(largest_float(map, N), 0);
		CU_ASSERT_FALSE(isnan(map[7]));
	}
	CU_ASSERT_EQUAL(normalise_map(map, raw, 5, 6), 30);
	CU_ASSERT(map[29] == -1 && map[0] == -1 / 30.0f);
	memset(raw, 0, sizeof(raw));
	CU_ASSERT_EQUAL(normalise_map(map, raw, 5, 6), 0);
	CU_ASSERT(map[0] == 0 && map[29] == 0);
	raw[3] = 1e-40f; /* not normal, yet no division by zero */
	CU_ASSERT(normalise_map(map, raw, 5, 6) > 0 && map[3] == 1);
}

int register_postprocess_tests(void)
{
	static const struct named_test tests[] = {
		{"post-processing", test_postprocess},
		{"maps without positive values", test_empty_maps},
		{NULL, NULL},
	};

	return add_suite("dave's post-processing", tests);
}

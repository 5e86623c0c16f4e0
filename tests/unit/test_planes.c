/* The kernels of planes and samples - filter, order, warp - against naive twins. Part of the kernels' tests.
 */
#include "support.h"

#include <CUnit/CUnit.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernels/filter.h"
#include "kernels/order.h"
#include "kernels/warp.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---------------------------------------------------------------- filters */

static void test_filter_gaussian(void)
{
	static const struct {
		int n;
		double sigma;
	} cases[] = {{1, 3}, {3, 0.5}, {11, 7}, {31, 7}, {255, 40}};
	float taps[FILTER_MAX_TAPS];

	for (size_t c = 0; c < COUNT(cases); c++) {
		int n = cases[c].n;
		double sum = 0, s = cases[c].sigma;

		filter_gaussian(taps, n, s);
		for (int i = 0; i < n; i++) {
			double ratio = exp(-(double)((i - n / 2) * (i - n / 2)) / (2 * s * s));

			sum += taps[i];
			CU_ASSERT_EQUAL(taps[i], taps[n - 1 - i]);
			CU_ASSERT(near_one("Gaussian", taps[i] / taps[n / 2], ratio, 3e-7 * ratio));
		}
		CU_ASSERT(near_one("sum", sum, 1, 1e-7));
	}
}

/* The numbers of methods.md section 5, printed with five decimals. */
static void test_filter_rise(void)
{
	static const double half[] = {.08796, .08890, .09047, .09219, .09349, .09398};
	float taps[11], one[1];
	double sum = 0;

	filter_rise(taps, 11, 5);
	for (int i = 0; i < 11; i++) {
		CU_ASSERT(near_one("RISE tap", taps[i], half[i < 6 ? i : 10 - i], 5e-6));
		sum += taps[i];
	}
	CU_ASSERT(near_one("sum", sum, 1, 1e-6));
	filter_rise(one, 1, 5);
	CU_ASSERT(near_one("one tap", one[0], 1, 1e-7));
	filter_rise(taps, 11, 0.3); /* nothing folds: an ordinary Gaussian, truncated at 1 */
	CU_ASSERT(near_one("neighbour", taps[4] / taps[5], exp(-1 / 0.18), 1e-9) && taps[3] == 0);
}

/* 1e-6 of the largest. */
static void check_separable(int n, int height, int width)
{
	size_t plane = (size_t)(height * width);
	float *in = new_normal(plane, 1, 21), *out = x_malloc(plane * sizeof(*out)),
	      *work = x_malloc(plane * sizeof(*work));
	float taps[FILTER_MAX_TAPS];
	double *want = x_calloc(plane, sizeof(*want));

	filter_gaussian(taps, n, 3);
	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j++)
			for (int y = -(n / 2); y <= n / 2; y++)
				for (int x = -(n / 2); x <= n / 2; x++)
					if (i + y >= 0 && i + y < height && j + x >= 0 && j + x < width)
						want[i * width + j] += (double)taps[y + n / 2] *
								       taps[x + n / 2] *
								       in[(i + y) * width + j + x];
	filter_separable(out, in, work, taps, n, height, width);
	CU_ASSERT(near_all("separable filter", out, want, plane, 1e-6 * largest(want, plane)));
	filter_separable(in, in, work, taps, n, height, width);
	CU_ASSERT(same_bits(in, out, plane));
	free(in);
	free(out);
	free(work);
	free(want);
}

static void test_filter_separable(void)
{
	check_separable(11, 20, 27);
	check_separable(1, 4, 5);
	check_separable(11, 3, 4); /* smaller than the kernel */
	check_separable(31, 1, 9);
	check_separable(31, 7, 1);
	check_separable(5, 1, 1);
}

static double naive_bilateral(
	const float *in, int n, double space, double range, int height, int width, int i, int j)
{
	double sum = 0, total = 0, centre = in[i * width + j];

	for (int y = i - n / 2; y <= i + n / 2; y++)
		for (int x = j - n / 2; x <= j + n / 2; x++) {
			bool inside = y >= 0 && y < height && x >= 0 && x < width;
			double v = inside ? in[y * width + x] : 0;
			double w = exp(-0.5 * pow((v - centre) / range, 2)) *
				   exp(-0.5 * ((y - i) * (y - i) + (x - j) * (x - j)) / (space * space));

			sum += w * v;
			total += w;
		}
	return sum / (total + 1e-8);
}

/* 1e-7 of the largest: its sums are double. */
static void test_filter_bilateral(void)
{
	static const struct {
		int n, height, width;
		double space, range;
	} cases[] = {{5, 13, 17, 0.5, 0.05}, {5, 2, 3, 2, 1}, {1, 4, 4, 1, 1}, {15, 9, 20, 4, 0.7},
		{5, 3, 64, 0.5, 0.05}, {7, 4, 65, 1, 0.3}, {5, 5, 150, 0.5, 0.05}};

	for (size_t c = 0; c < COUNT(cases); c++) {
		int h = cases[c].height, w = cases[c].width, n = cases[c].n;
		float *in = new_normal((size_t)(h * w), 0.3, 22),
		      *out = x_malloc((size_t)(h * w) * sizeof(*out));
		double *want = x_calloc((size_t)(h * w), sizeof(*want));

		for (int i = 0; i < h * w; i++)
			want[i] = naive_bilateral(in, n, cases[c].space, cases[c].range, h, w, i / w, i % w);
		filter_bilateral(out, in, n, cases[c].space, cases[c].range, h, w);
		CU_ASSERT(near_all(
			"bilateral", out, want, (size_t)(h * w), 1e-7 * largest(want, (size_t)(h * w))));
		free(in);
		free(out);
		free(want);
	}
}

/* ---------------------------------------------------------------- ranking */

static const float *rank_value;
static int rank_sign;

/* By value, ties by index. */
static int rank_order(const void *a, const void *b)
{
	int i = *(const int *)a, j = *(const int *)b;
	float x = rank_value[i], y = rank_value[j];

	return x == y ? (i > j) - (i < j) : (x > y) - (x < y) ? rank_sign * ((x > y) - (x < y)) : 0;
}

static void check_rank(const float *value, int n)
{
	uint64_t *scratch = x_malloc(2 * (size_t)n * sizeof(*scratch) + 1);
	uint32_t *rank = x_malloc((size_t)n * sizeof(*rank) + 1);
	int *sorted = x_malloc((size_t)n * sizeof(*sorted) + 1), bad = 0;

	for (int most = 0; most < 2; most++) {
		rank_value = value;
		rank_sign = most ? -1 : 1;
		for (int i = 0; i < n; i++)
			sorted[i] = i;
		qsort(sorted, (size_t)n, sizeof(*sorted), rank_order);
		order_rank(rank, value, n, most, scratch);
		for (int i = 0; i < n; i++)
			bad += rank[sorted[i]] != (uint32_t)i;
	}
	CU_ASSERT_EQUAL(bad, 0);
	free(scratch);
	free(rank);
	free(sorted);
}

static void test_order_rank(void)
{
	enum { N = 50176 };
	static const float special[] = {0.0f, -0.0f, 1, -1, INFINITY, -INFINITY, 0.0f, -0.0f, FLT_MIN,
		-FLT_MIN, 1e-45f, -1e-45f, FLT_MAX, -FLT_MAX, 1, -1, INFINITY, -INFINITY, 1.0000001f,
		0.99999994f};
	float *value = new_normal(N, 1, 23);

	check_rank(special, COUNT(special));
	check_rank(special, 1);
	check_rank(value, N);
	for (int i = 0; i < N; i++) /* many ties */
		value[i] = roundf(4 * value[i]);
	check_rank(value, N);
	for (int i = 0; i < N; i++) /* differences in the low bits alone */
		value[i] = 1 + FLT_EPSILON * (float)((i * 7919) % 4099);
	check_rank(value, N);
	memset(value, 0, N * sizeof(*value));
	check_rank(value, N);
	free(value);
}

/* ---------------------------------------------------------------- aggregation */

enum { ENTRIES = 699 };

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static float naive_median(const float *v, int n)
{
	float sorted[300];

	memcpy(sorted, v, (size_t)n * sizeof(*v));
	qsort(sorted, (size_t)n, sizeof(*sorted), by_value);
	return sorted[(n - 1) / 2];
}

static double naive_mad(uint8_t *keep, const float *c, int samples, size_t p)
{
	float v[300], d[300];
	double sum = 0;
	int kept = 0;

	for (int k = 0; k < samples; k++)
		v[k] = c[(size_t)k * ENTRIES + p];
	float median = naive_median(v, samples);
	for (int k = 0; k < samples; k++)
		d[k] = fabsf(v[k] - median);
	double mad = naive_median(d, samples);
	for (int k = 0; k < samples; k++) {
		bool in = d[k] <= 2.5 * (1.4826 * mad + 1e-8);

		keep[(size_t)k * ENTRIES + p] = in;
		sum += in ? v[k] : 0;
		kept += in;
	}
	return sum / kept;
}

/* The mask exactly; the means within 1e-7 of the largest. */
static void check_mad(const float *c, int samples)
{
	float out[ENTRIES];
	double want[ENTRIES];
	uint8_t *keep = x_malloc((size_t)samples * ENTRIES), *expected = x_malloc((size_t)samples * ENTRIES);

	for (size_t p = 0; p < ENTRIES; p++)
		want[p] = naive_mad(expected, c, samples, p);
	float *scratch = x_malloc(aggregate_scratch(samples) * sizeof(*scratch));
	aggregate_mad(out, keep, c, samples, ENTRIES, scratch);
	CU_ASSERT(near_all("MAD mean", out, want, ENTRIES, 1e-7 * largest(want, ENTRIES)));
	CU_ASSERT_EQUAL(memcmp(keep, expected, (size_t)samples * ENTRIES), 0);
	aggregate_mad(out, NULL, c, samples, ENTRIES, scratch);
	CU_ASSERT(near_all("MAD mean", out, want, ENTRIES, 1e-7 * largest(want, ENTRIES)));
	free(scratch);
	free(keep);
	free(expected);
}

static void test_aggregate_mad(void)
{
	static const int samples[] = {1, 2, 3, 4, 5, 6, 7, 50, 63, 64, 65, 300};

	for (size_t s = 0; s < COUNT(samples); s++) {
		size_t n = (size_t)samples[s] * ENTRIES;
		float *c = new_normal(n, 1, 24);

		for (size_t i = 0; i < n; i++) /* heavy tails, so that some are dropped */
			c[i] = c[i] * c[i] * c[i];
		check_mad(c, samples[s]);
		for (size_t i = 0; i < n; i++) /* ties, among them a deviation of 0 */
			c[i] = roundf(c[i]);
		check_mad(c, samples[s]);
		for (size_t i = 0; i < n; i++)
			c[i] = -0.75f;
		check_mad(c, samples[s]);
		free(c);
	}
}

/* By hand: 1 2 3 4 100: median 3, deviations 2 1 0 1 97, mad 1, limit 3.7: 100 goes. 0 0 1: mad 0, so 1 goes.
 */
static void test_aggregate_by_hand(void)
{
	static const float five[] = {1, 2, 3, 4, 100}, three[] = {0, 0, 1}, even[] = {1, 2, 10, 11};
	static const float close[] = {0, 0, 2.4e-8f}, far[] = {0, 0, 2.6e-8f};
	float out[1], *scratch = x_malloc(aggregate_scratch(5) * sizeof(*scratch));
	uint8_t keep[5];

	aggregate_mad(out, keep, five, 5, 1, scratch);
	CU_ASSERT(out[0] == 2.5f && keep[3] == 1 && keep[4] == 0);
	aggregate_mad(out, keep, three, 3, 1, scratch);
	CU_ASSERT(out[0] == 0 && keep[0] && keep[1] && !keep[2]);
	/* lower median 2, deviations 1 0 8 9, lower mad 1 */
	aggregate_mad(out, keep, even, 4, 1, scratch);
	CU_ASSERT(out[0] == 1.5f);
	aggregate_mad(out, keep, close, 3, 1, scratch); /* the limit is never below 2.5e-8 */
	CU_ASSERT(keep[2] == 1 && out[0] == (float)(2.4e-8f / 3.0));
	aggregate_mad(out, keep, far, 3, 1, scratch);
	CU_ASSERT(keep[2] == 0 && out[0] == 0);
	aggregate_mean(out, five, 5, 1);
	CU_ASSERT_EQUAL(out[0], 22);
	free(scratch);
}

/* An infinity is an outlier like another; a NaN makes a NaN of its own entry alone. */
static void test_aggregate_specials(void)
{
	float c[5][3] = {{1, 1, 1}, {2, 2, 2}, {3, 3, INFINITY}, {4, NAN, 4}, {5, 5, 3}}, out[3];
	float *scratch = x_malloc(aggregate_scratch(5) * sizeof(*scratch));

	aggregate_mad(out, NULL, c[0], 5, 3, scratch);
	CU_ASSERT(out[0] == 3 && isnan(out[1]) && out[2] == 2.5f);
	free(scratch);
}

static void test_aggregate_mean_and_error(void)
{
	enum { K = 7 };
	float *c = new_normal(K * ENTRIES, 1, 25), out[ENTRIES], zero[ENTRIES] = {0};
	double want[ENTRIES] = {0}, variance = 0, norm = 0;

	for (size_t i = 0; i < K * ENTRIES; i++)
		want[i % ENTRIES] += (double)c[i] / K;
	aggregate_mean(out, c, K, ENTRIES);
	CU_ASSERT(near_all("mean", out, want, ENTRIES, 1e-7 * largest(want, ENTRIES)));
	for (size_t i = 0; i < K * ENTRIES; i++)
		variance += pow(c[i] - want[i % ENTRIES], 2) / (K - 1);
	for (size_t p = 0; p < ENTRIES; p++)
		norm += (double)out[p] * out[p];
	CU_ASSERT(near_one("error", aggregate_error(out, c, K, ENTRIES), sqrt(variance / K / norm), 1e-12));
	CU_ASSERT(isnan(aggregate_error(out, c, 1, ENTRIES)));
	CU_ASSERT(isnan(aggregate_error(zero, c, K, ENTRIES)));
	free(c);
}

/* ---------------------------------------------------------------- warp */

/* Value of the flipped plane at row y, column x; 0 outside. */
static double tap(const float *in, int flip, double x, double y, int height, int width)
{
	if (x < 0 || x > width - 1 || y < 0 || y > height - 1)
		return 0;
	return in[(int)y * width + (flip ? width - 1 - (int)x : (int)x)];
}

/* One output pixel, from the formula of methods.md section 3: E^-1 D A^-1 (D^-1 E p - t) + c. */
static double naive_warp(const float *in, const struct warp *w, int height, int width, int i, int j)
{
	double rad = w->angle * M_PI / 180, cx = (width - 1) / 2.0, cy = (height - 1) / 2.0;
	double a = cos(rad) * w->scale_x, b = -sin(rad) * w->scale_y, c = sin(rad) * w->scale_x,
	       d = cos(rad) * w->scale_y;
	double det = a * d - b * c;
	/* D = diag(2/(W-1), 2/(H-1)), E = diag(2/W, 2/H) */
	double ux = (j - cx) * (2.0 / width) / (2.0 / (width - 1)) - w->tx;
	double uy = (i - cy) * (2.0 / height) / (2.0 / (height - 1)) - w->ty;
	double vx = (d * ux - b * uy) / det, vy = (-c * ux + a * uy) / det;
	double x = vx * (2.0 / (width - 1)) / (2.0 / width) + cx,
	       y = vy * (2.0 / (height - 1)) / (2.0 / height) + cy;
	double fx = floor(x), fy = floor(y), rx = x - fx, ry = y - fy;

	return (1 - rx) * (1 - ry) * tap(in, w->flip, fx, fy, height, width) +
	       rx * (1 - ry) * tap(in, w->flip, fx + 1, fy, height, width) +
	       (1 - rx) * ry * tap(in, w->flip, fx, fy + 1, height, width) +
	       rx * ry * tap(in, w->flip, fx + 1, fy + 1, height, width);
}

/* The k-th set of random parameters, wider than DAVE's, and its size. */
static struct warp random_warp(uint32_t k, int *height, int *width)
{
	struct warp w;

	*height = 2 + (int)(18 * random_unit(30, k));
	*width = 2 + (int)(18 * random_unit(31, k));
	if (k % 4 == 0) { /* wider than the 64 columns that are worked out together */
		*height = 2;
		*width = 63 + (int)(136 * random_unit(31, k));
	}
	w.flip = random_unit(32, k) < 0.5;
	w.angle = 360 * random_unit(33, k) - 180;
	w.tx = *width * (random_unit(34, k) - 0.5);
	w.ty = *height * (random_unit(35, k) - 0.5);
	w.scale_x = 0.5 + random_unit(36, k);
	w.scale_y = 0.5 + random_unit(37, k);
	return w;
}

/* 5e-7 of the largest: weights are rounded to float, coordinates are not. */
static void test_warp_formula(void)
{
	float in[3 * 400], out[3 * 400];
	double want[3 * 400];

	random_normal(in, COUNT(in), 1, 38);
	for (uint32_t k = 0; k < 200; k++) {
		int h, w, plane;
		struct warp warp = random_warp(k, &h, &w);

		plane = h * w;
		for (int i = 0; i < 3 * plane; i++)
			want[i] = naive_warp(in + i / plane * plane, &warp, h, w, i % plane / w, i % w);
		warp_forward(out, in, &warp, 3, h, w);
		CU_ASSERT(near_all(
			"warp", out, want, (size_t)(3 * plane), 5e-7 * largest_float(in, COUNT(in))));
	}
}

/* <warp(a), b> = <a, warp^T(b)> within 1e-6 of |warp(a)| |b|. */
static void test_warp_adjoint(void)
{
	float a[3 * 400], b[3 * 400], wa[3 * 400], wb[3 * 400];

	random_normal(a, COUNT(a), 1, 39);
	random_normal(b, COUNT(b), 1, 40);
	for (uint32_t k = 0; k < 200; k++) {
		double left = 0, right = 0, na = 0, nb = 0;
		int h, w;
		struct warp warp = random_warp(1000 + k, &h, &w);

		warp_forward(wa, a, &warp, 3, h, w);
		memset(wb, 0xff, sizeof(wb));
		warp_adjoint(wb, b, &warp, 3, h, w);
		for (int i = 0; i < 3 * h * w; i++) {
			left += (double)wa[i] * b[i];
			right += (double)a[i] * wb[i];
			na += (double)wa[i] * wa[i];
			nb += (double)b[i] * b[i];
		}
		CU_ASSERT(near_one("adjoint", left, right, 1e-6 * sqrt(na * nb)));
	}
}

static void test_warp_by_hand(void)
{
	enum { H = 5, W = 7, N = 2 * H * W };
	struct warp w = {0, 0, 0, 0, 1, 1};
	float *in = new_normal(N, 1, 41), out[N];
	int bad = 0;

	warp_forward(out, in, &w, 2, H, W);
	CU_ASSERT(same_bits(out, in, N));
	warp_adjoint(out, in, &w, 2, H, W);
	CU_ASSERT(same_bits(out, in, N));
	w.flip = 1;
	warp_forward(out, in, &w, 2, H, W);
	for (int i = 0; i < N; i++)
		bad += out[i] != in[i / W * W + W - 1 - i % W];
	/* two to the right and one up, in whole source pixels: (W-1)/W of a pixel of the picture's own shift
	 * each */
	w = (struct warp){0, 0, 2 * (W - 1.0) / W, -1 * (H - 1.0) / H, 1, 1};
	warp_forward(out, in, &w, 2, H, W);
	for (int i = 0; i < N; i++) {
		int y = i / W % H + 1, x = i % W - 2;
		double want = y < H && x >= 0 ? in[i / (H * W) * (H * W) + y * W + x] : 0;

		bad += !(fabs(out[i] - want) <= 1e-5);
	}
	CU_ASSERT_EQUAL(bad, 0);
	free(in);
}

/* A positive quarter turn is clockwise: the left column becomes the top row. */
static void test_warp_clockwise(void)
{
	enum { S = 4 };
	struct warp w = {0, 90, 0, 0, 1, 1};
	float *in = new_normal(S * S, 1, 42), out[S * S];

	warp_forward(out, in, &w, 1, S, S);
	for (int i = 0; i < S; i++)
		for (int j = 0; j < S; j++)
			CU_ASSERT(near_one("quarter turn", out[i * S + j], in[(S - 1 - j) * S + i], 1e-6));
	free(in);
}

/* Far outside, and beyond an int: zeros, without a crash (the sanitizers watch the conversions). */
static void test_warp_far_outside(void)
{
	static const double shifts[] = {20, -20, 1e9, -3e9, 1e18, -1e300};
	float in[3 * 12], out[3 * 12];

	for (size_t i = 0; i < COUNT(in); i++)
		in[i] = 1;
	for (size_t k = 0; k < COUNT(shifts); k++) {
		struct warp w = {(int)k & 1, 10, shifts[k], -shifts[k], 1, 1};

		out[0] = 7;
		warp_forward(out, in, &w, 3, 4, 3);
		CU_ASSERT_EQUAL(largest_float(out, COUNT(out)), 0);
		warp_adjoint(out, in, &w, 3, 4, 3);
		CU_ASSERT_EQUAL(largest_float(out, COUNT(out)), 0);
	}
}

int register_planes_tests(void)
{
	static const struct named_test tests[] = {
		{"Gaussian taps", test_filter_gaussian},
		{"RISE's taps", test_filter_rise},
		{"separable filter", test_filter_separable},
		{"bilateral filter", test_filter_bilateral},
		{"ranking against qsort", test_order_rank},
		{"MAD aggregation", test_aggregate_mad},
		{"aggregation by hand", test_aggregate_by_hand},
		{"aggregation of infinities and NaN", test_aggregate_specials},
		{"mean and Monte-Carlo error", test_aggregate_mean_and_error},
		{"warp against its formula", test_warp_formula},
		{"warp and its adjoint", test_warp_adjoint},
		{"identity, flip and shift", test_warp_by_hand},
		{"positive angles turn clockwise", test_warp_clockwise},
		{"warp far outside", test_warp_far_outside},
		{NULL, NULL},
	};

	return add_suite("kernels of planes", tests);
}

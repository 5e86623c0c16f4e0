/* B-cos networks: the kernels against naive twins in double, the stem against a naive stem, small random
 * networks against what must hold of them, and their checkpoints. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "bcos_model.h"
#include "kernels/bcos.h"
#include "kernels/groupnorm.h"

enum { ROWS = 5, IN = 37, OUT = 21 };

/* ---------------------------------------------------------------- the unit */

/* y (OUT) of one input by rows w of length 1; the factor |cos| given, or recorded. */
static void naive_unit(double *y, double *cosine, const double *x, const double *w, bool frozen)
{
	double n = 0;

	for (int i = 0; i < IN; i++)
		n += x[i] * x[i];
	n = sqrt(n) + 1e-12;
	for (int k = 0; k < OUT; k++) {
		double z = 0;

		for (int i = 0; i < IN; i++)
			z += w[k * IN + i] * x[i];
		if (!frozen)
			cosine[k] = z / n;
		y[k] = fabs(cosine[k]) * z;
	}
}

struct unit {
	float x[ROWS * IN], z[ROWS * OUT], dy[ROWS * OUT], w[OUT * IN];
	double ex[ROWS * IN], ew[OUT * IN], ey[ROWS * OUT], cosine[ROWS * OUT];
};

static void unit_init(struct unit *u)
{
	random_normal(u->x, ROWS * IN, 2, 300);
	random_normal(u->dy, ROWS * OUT, 1, 301);
	random_normal(u->w, OUT * IN, 1, 302);
	for (int i = 0; i < ROWS * IN; i++)
		u->ex[i] = u->x[i];
	for (int k = 0; k < OUT; k++) {
		double sum = 0;

		for (int i = 0; i < IN; i++)
			sum += (double)u->w[k * IN + i] * u->w[k * IN + i];
		for (int i = 0; i < IN; i++) {
			u->w[k * IN + i] = (float)(u->w[k * IN + i] / sqrt(sum));
			u->ew[k * IN + i] = u->w[k * IN + i];
		}
	}
	for (int r = 0; r < ROWS; r++) {
		naive_unit(u->ey + r * OUT, u->cosine + r * OUT, u->ex + r * IN, u->ew, false);
		for (int k = 0; k < OUT; k++) {
			double z = 0;

			for (int i = 0; i < IN; i++)
				z += u->ew[k * IN + i] * u->ex[r * IN + i];
			u->z[r * OUT + k] = (float)z;
		}
	}
}

/* 1e-6 of the largest; without cosines and in place the same bits. */
static void test_unit_forward(void)
{
	struct unit u;
	float norm[ROWS], y[ROWS * OUT], cosine[ROWS * OUT], again[ROWS * OUT];

	unit_init(&u);
	bcos_norms(norm, u.x, ROWS, IN, 0, 1e-12f);
	bcos_forward(y, cosine, u.z, norm, ROWS, OUT);
	CU_ASSERT(near_all("y", y, u.ey, ROWS * OUT, 1e-6 * largest(u.ey, ROWS * OUT)));
	CU_ASSERT(near_all("cosine", cosine, u.cosine, ROWS * OUT, 1e-6));
	memcpy(again, u.z, sizeof(again));
	bcos_forward(again, NULL, again, norm, ROWS, OUT);
	CU_ASSERT(same_bits(again, y, ROWS * OUT));
}

/* Where the two constants stand, and that nothing gives nothing. */
static void test_unit_norms(void)
{
	float x[3] = {3, 4, 0}, zero[3] = {0}, norm, y, cosine;

	bcos_norms(&norm, x, 1, 2, 0, 1);
	CU_ASSERT_EQUAL(norm, 6);
	bcos_norms(&norm, x, 1, 2, 11, 0);
	CU_ASSERT_EQUAL(norm, 6);
	bcos_norms(&norm, zero, 1, 3, 0, 1e-12f);
	CU_ASSERT_EQUAL(norm, 1e-12f);
	bcos_forward(&y, &cosine, zero, &norm, 1, 1);
	CU_ASSERT(y == 0 && cosine == 0);
}

/* d <dy, y> / dx by central differences of the twin: 3e-6 of the largest. */
static void check_unit_backward(bool frozen)
{
	struct unit u;
	float norm[ROWS], y[ROWS * OUT], cosine[ROWS * OUT], dz[ROWS * OUT], dx[ROWS * IN] = {0}, pull[ROWS];
	double want[ROWS * IN] = {0}, up[OUT], down[OUT], other[OUT], h = 1e-4;

	unit_init(&u);
	for (int k = 0; k < ROWS * IN; k++) {
		int r = k / IN;
		double *x = u.ex + r * IN, *at = u.ex + k, keep = *at;

		*at = keep + h;
		naive_unit(up, frozen ? u.cosine + r * OUT : other, x, u.ew, frozen);
		*at = keep - h;
		naive_unit(down, frozen ? u.cosine + r * OUT : other, x, u.ew, frozen);
		*at = keep;
		for (int i = 0; i < OUT; i++)
			want[k] += u.dy[r * OUT + i] * (up[i] - down[i]) / (2 * h);
	}
	bcos_norms(norm, u.x, ROWS, IN, 0, 1e-12f);
	bcos_forward(y, cosine, u.z, norm, ROWS, OUT);
	memcpy(dz, u.dy, sizeof(dz)); /* in place */
	if (frozen)
		bcos_backward_frozen(dz, dz, cosine, ROWS * OUT);
	else
		bcos_backward(dz, pull, dz, cosine, ROWS, OUT);
	for (int r = 0; r < ROWS; r++)
		for (int k = 0; k < OUT; k++)
			for (int i = 0; i < IN; i++)
				dx[r * IN + i] += dz[r * OUT + k] * u.w[k * IN + i];
	if (!frozen)
		bcos_backward_norm(dx, u.x, pull, norm, ROWS, IN);
	CU_ASSERT(near_all("dx", dx, want, ROWS * IN, 3e-6 * largest(want, ROWS * IN)));
}

static void test_unit_backward(void)
{
	check_unit_backward(false);
	check_unit_backward(true);
}

/* ---------------------------------------------------------------- the norm of a picture */

enum { PIXELS = 29, CHANNELS = 19, N = PIXELS * CHANNELS };

static void naive_picture_norm(
	double *y, double *xhat, double *rstd, const double *x, const float *w, bool frozen)
{
	double mean = 0, variance = 0;

	for (int i = 0; i < N; i++)
		mean += x[i] / N;
	for (int i = 0; i < N; i++)
		variance += (x[i] - mean) * (x[i] - mean) / N;
	if (!frozen)
		*rstd = 1 / sqrt(variance + 1e-5);
	for (int i = 0; i < N; i++) {
		xhat[i] = (x[i] - mean) * *rstd;
		y[i] = w[i % CHANNELS] * xhat[i];
	}
}

/* 2e-6 of the largest forward, 3e-6 of the largest backward against central differences. */
static void test_groupnorm(void)
{
	float *x = new_normal(N, 2, 310), *w = new_normal(CHANNELS, 1, 311), *dy = new_normal(N, 1, 312);
	float y[N], xhat[N], again[N], dx[N], rstd, other;
	double ex[N], ey[N], ehat[N], erstd, up[N], down[N], scratch[N], h = 1e-4;

	for (int i = 0; i < N; i++)
		ex[i] = x[i] += 3;
	naive_picture_norm(ey, ehat, &erstd, ex, w, false);
	groupnorm_forward(y, &rstd, xhat, x, w, PIXELS, CHANNELS, 1e-5f);
	CU_ASSERT(near_one("rstd", rstd / erstd, 1, 1e-6));
	CU_ASSERT(near_all("y", y, ey, N, 2e-6 * largest(ey, N)));
	CU_ASSERT(near_all("xhat", xhat, ehat, N, 2e-6 * largest(ehat, N)));
	memcpy(again, x, sizeof(again));
	groupnorm_forward(again, &other, NULL, again, w, PIXELS, CHANNELS, 1e-5f);
	CU_ASSERT(same_bits(again, y, N) && same_bits(&other, &rstd, 1));
	for (int frozen = 0; frozen < 2; frozen++) {
		double want[N] = {0}, r = erstd;

		for (int k = 0; k < N; k++) {
			double keep = ex[k];

			ex[k] = keep + h;
			naive_picture_norm(up, scratch, &r, ex, w, frozen);
			ex[k] = keep - h;
			naive_picture_norm(down, scratch, &r, ex, w, frozen);
			ex[k] = keep;
			for (int i = 0; i < N; i++)
				want[k] += dy[i] * (up[i] - down[i]) / (2 * h);
		}
		memcpy(dx, dy, sizeof(dx)); /* in place */
		if (frozen)
			groupnorm_backward_frozen(dx, dx, rstd, w, PIXELS, CHANNELS);
		else
			groupnorm_backward(dx, dx, xhat, rstd, w, PIXELS, CHANNELS);
		CU_ASSERT(near_all("dx", dx, want, N, 3e-6 * largest(want, N)));
	}
	free(x);
	free(w);
	free(dy);
}

/* ---------------------------------------------------------------- the stem */

/* One layer of the stem in double, planes (channels, h, w) as torch has them; weights as the program does. */
static void naive_convolution(double *y, const double *x, const struct stem_shape *s, const float *w)
{
	for (int o = 0; o < s->out; o++)
		for (int p = 0; p < s->h * s->w; p++) {
			double z = 0, n = 1e-6;

			for (int k = 0; k < 9 * s->in; k++) {
				int ch = k % s->in, yy = p / s->w * s->stride + k / s->in / 3 - 1,
				    xx = p % s->w * s->stride + k / s->in % 3 - 1;
				bool inside = yy >= 0 && xx >= 0 && yy < s->in_h && xx < s->in_w;
				double v = inside ? x[(ch * s->in_h + yy) * s->in_w + xx] : 0;

				z += (double)w[o * 9 * s->in + k] * v;
				n += v * v;
			}
			y[o * s->h * s->w + p] = fabs(z) / sqrt(n) * z;
		}
}

/* <dout, stem(x)>, x (channels, H, W), dout (grid, channels of the last); values too unless NULL. */
static double naive_stem(const struct vit *vit, const double *x, const float *dout, double *values)
{
	const struct vit_config *c = &vit->config;
	double a[1024], b[1024], sum = 0;

	memcpy(a, x, sizeof(*x) * (size_t)(c->channels * c->image_h * c->image_w));
	for (int l = 0; l < c->stem_depth; l++) {
		struct stem_shape s = stem_shape(c, l);
		int area = s.h * s.w, n = area * s.out;
		double mean = 0, variance = 0;

		naive_convolution(b, a, &s, vit->weights.stem[l].w);
		for (int i = 0; i < n; i++)
			mean += b[i] / n;
		for (int i = 0; i < n; i++)
			variance += (b[i] - mean) * (b[i] - mean) / n;
		for (int i = 0; i < n; i++)
			a[i] = vit->weights.stem[l].norm[i / area] * (b[i] - mean) /
			       sqrt(variance + (double)c->eps);
		for (int i = 0; i < n && l == c->stem_depth - 1; i++) {
			int place = i % area * s.out + i / area;

			sum += dout[place] * a[i];
			if (values)
				values[place] = a[i];
		}
	}
	return sum;
}

/* Forward 5e-6, the true gradient 2e-5 of the largest; the frozen map, applied to x, gives the output. */
static void test_stem(void)
{
	struct vit vit;
	struct stem_work s = {.image = NULL};
	struct arena a = {0};

	bcos_model_init(&vit, BCOS_CONV);
	const struct vit_config *c = &vit.config;
	int n = (int)model_pixels(&vit), out = c->tokens * c->stem[c->stem_depth - 1];
	float *x = new_normal((size_t)n, 1, 320), *dout = new_normal((size_t)out, 1, 321);
	float *y = x_calloc((size_t)out, sizeof(*y)), *dx = x_calloc((size_t)n, sizeof(*dx));
	float *g = x_calloc((size_t)out, sizeof(*g));
	double *ex = x_calloc((size_t)n, sizeof(*ex)), *want = x_calloc((size_t)n, sizeof(*want));
	double *ey = x_calloc((size_t)out, sizeof(*ey)), left = 0, right = 0, size = 0, h = 1e-5;

	stem_carve(&s, &a, c, VIT_GRADIENT, 2);
	arena_allocate(&a);
	stem_carve(&s, &a, c, VIT_GRADIENT, 2);
	for (int i = 0; i < n; i++)
		ex[i] = x[i];
	naive_stem(&vit, ex, dout, ey);
	for (int i = 0; i < n; i++) {
		ex[i] = x[i] + h;
		want[i] = naive_stem(&vit, ex, dout, NULL);
		ex[i] = x[i] - h;
		want[i] = (want[i] - naive_stem(&vit, ex, dout, NULL)) / (2 * h);
		ex[i] = x[i];
	}
	stem_forward(&s, y, x, c, &vit.weights, 1, VIT_GRADIENT);
	CU_ASSERT(near_all("stem", y, ey, (size_t)out, 5e-6 * largest(ey, (size_t)out)));
	memcpy(g, dout, (size_t)out * sizeof(*g));
	stem_backward(&s, dx, g, c, &vit.weights, 1, false);
	CU_ASSERT(near_all("gradient of the stem", dx, want, (size_t)n, 2e-5 * largest(want, (size_t)n)));
	memcpy(g, dout, (size_t)out * sizeof(*g));
	stem_backward(&s, dx, g, c, &vit.weights, 1, true);
	for (int i = 0; i < out; i++)
		left += (double)dout[i] * y[i];
	for (int i = 0; i < n; i++) {
		right += (double)dx[i] * x[i];
		size += fabs((double)dx[i] * x[i]);
	}
	CU_ASSERT(near_one("frozen stem times x", right, left, 1e-6 * size));
	arena_release(&a);
	vit_release(&vit);
	free(x);
	free(dout);
	free(y);
	free(dx);
	free(g);
	free(ex);
	free(want);
	free(ey);
}

/* Halved where channels grow; multiply-adds counted one by one. */
static void test_stem_shapes(void)
{
	struct vit_config c = {
		.channels = 6, .image_h = 224, .image_w = 96, .stem = {48, 96, 96, 384}, .stem_depth = 4};
	struct stem_shape a = stem_shape(&c, 0), b = stem_shape(&c, 2), d = stem_shape(&c, 3);

	CU_ASSERT(a.h == 112 && a.w == 48 && a.in == 6 && a.in_h == 224 && a.stride == 2);
	CU_ASSERT(b.h == 56 && b.w == 24 && b.in == 96 && b.in_w == 24 && b.stride == 1);
	CU_ASSERT(d.h == 28 && d.w == 12 && d.in == 96 && d.out == 384 && d.stride == 2);
	CU_ASSERT_EQUAL(stem_macs(&c),
		9.0 * (112 * 48 * 48 * 6 + 56 * 24 * 96 * 48 + 56 * 24 * 96 * 96 + 28 * 12 * 384 * 96));
	c.stem_depth = 0;
	CU_ASSERT_EQUAL(stem_macs(&c), 0);
}

int register_bcos_tests(void)
{
	static const struct named_test tests[] = {
		{"unit forward", test_unit_forward},
		{"norms of inputs", test_unit_norms},
		{"unit backward, true and frozen", test_unit_backward},
		{"norm of a picture", test_groupnorm},
		{"stem", test_stem},
		{"shapes of a stem", test_stem_shapes},
		{NULL, NULL},
	};

	return add_suite("bcos", tests) || register_bcos_vit_tests();
}

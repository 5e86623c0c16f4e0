/* src/kernels against naive twins in double precision. The limits are stated where each quantity is compared.
 */
#include "support.h"

#include <CUnit/CUnit.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/filter.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"
#include "kernels/order.h"
#include "kernels/softmax.h"
#include "kernels/warp.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static double *new_doubles(size_t n)
{
	return x_calloc(n, sizeof(double));
}

/* ---------------------------------------------------------------- gemm */

typedef void gemm(float *C, int ldc, const float *A, int lda, const float *B, int ldb, int M, int N, int K,
	float alpha, float beta);

struct gemm_case {
	gemm *run;
	bool a_turned, b_turned;
	int M, N, K;
	float alpha, beta;
};

/* Within the a-priori error bound of a sum of K+2 terms, and nothing written between the rows of C. */
static void check_gemm(const struct gemm_case *t)
{
	int lda = (t->a_turned ? t->M : t->K) + 3, ldb = (t->b_turned ? t->K : t->N) + 2, ldc = t->N + 5,
	    bad = 0;
	float *A = new_normal((size_t)(lda * (t->M + t->K)), 1, 1),
	      *B = new_normal((size_t)(ldb * (t->N + t->K)), 1, 2);
	float *C = new_normal((size_t)(ldc * t->M), 1, 3), *before = new_normal((size_t)(ldc * t->M), 1, 3);

	t->run(C, ldc, A, lda, B, ldb, t->M, t->N, t->K, t->alpha, t->beta);
	for (int i = 0; i < t->M; i++) {
		for (int j = 0; j < t->N; j++) {
			double sum = 0, size = 0, old = (double)t->beta * before[i * ldc + j];

			for (int k = 0; k < t->K; k++) {
				double p = (double)A[t->a_turned ? k * lda + i : i * lda + k] *
					   B[t->b_turned ? j * ldb + k : k * ldb + j];
				sum += p;
				size += fabs(p);
			}
			double limit = (t->K + 2) * 0.5 * FLT_EPSILON * (fabs(t->alpha * size) + fabs(old));
			bad += !(fabs(C[i * ldc + j] - (t->alpha * sum + old)) <= limit);
		}
		bad += !same_bits(C + i * ldc + t->N, before + i * ldc + t->N, 5);
	}
	CU_ASSERT_EQUAL(bad, 0);
	free(A);
	free(B);
	free(C);
	free(before);
}

static void test_gemm(void)
{
	static gemm *const kinds[] = {gemm_nt, gemm_nn, gemm_tn};
	static const int sizes[][3] = {{1, 1, 1}, {1, 17, 5}, {7, 5, 33}, {50, 64, 48}, {13, 1, 100}};
	static const float scales[][2] = {{1, 0}, {1, 1}, {0.25f, 0}, {-2, 0.5f}};

	for (size_t k = 0; k < COUNT(kinds); k++)
		for (size_t s = 0; s < COUNT(sizes); s++)
			for (size_t a = 0; a < COUNT(scales); a++)
				check_gemm(&(struct gemm_case){kinds[k], k == 2, k == 0, sizes[s][0],
					sizes[s][1], sizes[s][2], scales[a][0], scales[a][1]});
}

/* beta 0 overwrites whatever was there: uninitialised memory may hold a NaN. */
static void test_gemm_overwrites_nan(void)
{
	float C[4] = {NAN, NAN, NAN, NAN}, A[2] = {1, 2}, B[2] = {3, 4};

	gemm_nt(C, 2, A, 1, B, 1, 2, 2, 1, 1, 0);
	CU_ASSERT(C[0] == 3 && C[1] == 4 && C[2] == 6 && C[3] == 8);
}

/* ---------------------------------------------------------------- layernorm */

enum { ROWS = 5, WIDTH = 37 };

/* mean and rstd of a row, exactly. */
static double row_statistics(double *mean, const float *x, double eps)
{
	double variance = 0;

	*mean = 0;
	for (int i = 0; i < WIDTH; i++)
		*mean += x[i] / (double)WIDTH;
	for (int i = 0; i < WIDTH; i++)
		variance += (x[i] - *mean) * (x[i] - *mean) / WIDTH;
	return 1 / sqrt(variance + eps);
}

/* Relative to the largest value: 2e-6 for y, xhat and rstd. An offset of 30 standard deviations costs 5e-6
 * more. */
static void check_layernorm_forward(double offset, double spread, double eps, double limit)
{
	float *x = new_normal(ROWS * WIDTH, spread, 4), *w = new_normal(WIDTH, 1, 5),
	      *b = new_normal(WIDTH, 1, 6);
	float y[ROWS * WIDTH], xhat[ROWS * WIDTH], rstd[ROWS], again[ROWS];
	double want_y[ROWS * WIDTH], want_hat[ROWS * WIDTH];

	for (int i = 0; i < ROWS * WIDTH; i++)
		x[i] += (float)offset;
	layernorm_forward(y, rstd, xhat, x, w, b, ROWS, WIDTH, (float)eps);
	for (int r = 0; r < ROWS; r++) {
		double mean, want = row_statistics(&mean, x + r * WIDTH, (float)eps);

		CU_ASSERT(near_one("rstd", rstd[r] / want, 1, limit));
		for (int i = 0; i < WIDTH; i++) {
			want_hat[r * WIDTH + i] = (x[r * WIDTH + i] - mean) * want;
			want_y[r * WIDTH + i] = w[i] * want_hat[r * WIDTH + i] + b[i];
		}
	}
	CU_ASSERT(near_all("xhat", xhat, want_hat, ROWS * WIDTH, limit * largest(want_hat, ROWS * WIDTH)));
	CU_ASSERT(near_all("y", y, want_y, ROWS * WIDTH, limit * largest(want_y, ROWS * WIDTH)));
	layernorm_forward(x, again, NULL, x, w, b, ROWS, WIDTH, (float)eps);
	CU_ASSERT(same_bits(x, y, ROWS * WIDTH) && same_bits(again, rstd, ROWS));
	free(x);
	free(w);
	free(b);
}

static void test_layernorm_forward(void)
{
	check_layernorm_forward(0, 1, 1e-6, 2e-6);
	check_layernorm_forward(30, 1, 1e-6, 7e-6);
	check_layernorm_forward(0, 1e-4, 1e-6, 2e-6); /* eps dominates */
	check_layernorm_forward(0, 0, 1e-5, 2e-6);    /* a constant row */
}

/* y (double) = LayerNorm(x), rstd recomputed or given. */
static void naive_layernorm(
	double *y, const double *x, const float *w, const float *b, double eps, double rstd)
{
	double mean = 0, variance = 0;

	for (int i = 0; i < WIDTH; i++)
		mean += x[i] / WIDTH;
	for (int i = 0; i < WIDTH; i++)
		variance += (x[i] - mean) * (x[i] - mean) / WIDTH;
	if (!(rstd > 0))
		rstd = 1 / sqrt(variance + eps);
	for (int i = 0; i < WIDTH; i++)
		y[i] = w[i] * (x[i] - mean) * rstd + b[i];
}

/* d <dy, LayerNorm(x)> / dx by central differences, added to what dx held; 3e-6 of the largest. */
static void check_layernorm_backward(bool frozen)
{
	float *x = new_normal(ROWS * WIDTH, 2, 7), *w = new_normal(WIDTH, 1, 8), *b = new_normal(WIDTH, 1, 9);
	float *dy = new_normal(ROWS * WIDTH, 1, 10), *dx = new_normal(ROWS * WIDTH, 1, 11);
	float y[ROWS * WIDTH], xhat[ROWS * WIDTH], rstd[ROWS];
	double want[ROWS * WIDTH], at[WIDTH], up[WIDTH], down[WIDTH], h = 1e-4;

	layernorm_forward(y, rstd, xhat, x, w, b, ROWS, WIDTH, 1e-6f);
	for (int k = 0; k < ROWS * WIDTH; k++) {
		int r = k / WIDTH, j = k % WIDTH;
		double mean, keep = frozen ? row_statistics(&mean, x + r * WIDTH, 1e-6f) : 0;

		for (int i = 0; i < WIDTH; i++)
			at[i] = x[r * WIDTH + i];
		at[j] += h;
		naive_layernorm(up, at, w, b, 1e-6f, keep);
		at[j] -= 2 * h;
		naive_layernorm(down, at, w, b, 1e-6f, keep);
		want[k] = dx[k];
		for (int i = 0; i < WIDTH; i++)
			want[k] += dy[r * WIDTH + i] * (up[i] - down[i]) / (2 * h);
	}
	if (frozen)
		layernorm_backward_frozen(dx, dy, rstd, w, ROWS, WIDTH);
	else
		layernorm_backward(dx, dy, xhat, rstd, w, ROWS, WIDTH);
	CU_ASSERT(near_all("dx", dx, want, ROWS * WIDTH, 3e-6 * largest(want, ROWS * WIDTH)));
	free(x);
	free(w);
	free(b);
	free(dy);
	free(dx);
}

static void test_layernorm_backward(void)
{
	check_layernorm_backward(false);
}

static void test_layernorm_backward_frozen(void)
{
	check_layernorm_backward(true);
}

/* ---------------------------------------------------------------- softmax */

static void naive_softmax(double *p, const float *x, int n)
{
	double max = -INFINITY, sum = 0;

	for (int i = 0; i < n; i++)
		max = fmax(max, x[i]);
	for (int i = 0; i < n; i++)
		sum += p[i] = exp(x[i] - max);
	for (int i = 0; i < n; i++)
		p[i] /= sum;
}

/* Probabilities within 1e-6 of their own value down to 1e-30, and sums within 2e-6 of 1. */
static void check_softmax(double scale, int width)
{
	float *x = new_normal((size_t)(4 * width), scale, 12),
	      *p = new_normal((size_t)(4 * width), scale, 12);
	double *want = new_doubles((size_t)width);

	softmax_forward(p, 4, width);
	for (int r = 0; r < 4; r++) {
		double sum = 0;

		naive_softmax(want, x + r * width, width);
		for (int i = 0; i < width; i++) {
			double rounding =
				0.5 * FLT_EPSILON * fabs(2 * scale * 4); /* of the float difference x - max */

			sum += p[r * width + i];
			CU_ASSERT(near_one(
				"softmax", p[r * width + i], want[i], (1e-6 + rounding) * want[i] + 1e-30));
		}
		CU_ASSERT(near_one("sum of softmax", sum, 1, 2e-6));
	}
	free(x);
	free(p);
	free(want);
}

static void test_softmax_forward(void)
{
	for (int width = 1; width < 40; width++)
		check_softmax(1, width);
	check_softmax(5, 197);
	check_softmax(1000, 50);
	check_softmax(0, 33);
}

static void test_softmax_specials(void)
{
	enum { N = 35 };
	float *x = new_normal(3 * N, 1, 13), big[4] = {3e38f, 3e38f, -3e38f, 1e38f};
	float low[2] = {-5000, -5000}, first[N] = {NAN};
	int finite = 0;

	x[2] = x[34] = -INFINITY;
	x[N + 20] = NAN;
	softmax_forward(x, 3, N);
	CU_ASSERT(x[2] == 0 && x[34] == 0);
	for (int i = 0; i < N; i++) {
		CU_ASSERT(isfinite(x[i]) && x[i] >= 0 && x[i] <= 1);
		CU_ASSERT(isnan(x[N + i]));       /* one NaN spoils its whole row, */
		finite += isfinite(x[2 * N + i]); /* and no other */
	}
	CU_ASSERT_EQUAL(finite, N);
	softmax_forward(first, 1, N);
	CU_ASSERT(isnan(first[0]) && isnan(first[1]) && isnan(first[N - 1]));
	softmax_forward(low, 1, 2);
	CU_ASSERT(low[0] == 0.5f && low[1] == 0.5f);
	softmax_forward(big, 1, 4);
	CU_ASSERT(big[0] == 0.5f && big[1] == 0.5f && big[2] == 0 && big[3] == 0);
	free(x);
}

/* 2e-6 of the largest. */
static void test_softmax_backward(void)
{
	enum { N = 41 };
	float *p = new_normal(3 * N, 2, 14), *dp = new_normal(3 * N, 1, 15), dx[3 * N];
	double want[3 * N];

	softmax_forward(p, 3, N);
	for (int i = 0; i < 3 * N; i++) {
		double dot = 0;

		for (int j = i / N * N; j < i / N * N + N; j++)
			dot += (double)dp[j] * p[j];
		want[i] = p[i] * (dp[i] - dot);
	}
	softmax_backward(dx, dp, p, 3, N);
	CU_ASSERT(near_all("softmax adjoint", dx, want, 3 * N, 2e-6 * largest(want, 3 * N)));
	softmax_backward(dp, dp, p, 3, N);
	CU_ASSERT(same_bits(dp, dx, 3 * N));
	free(p);
	free(dp);
}

/* ---------------------------------------------------------------- gelu */

enum { GRID = 240001 };

/* z from -12 to 12 in steps of 1e-4, with exact zero in the middle. */
static float *gelu_grid(void)
{
	float *z = x_malloc(GRID * sizeof(*z));

	for (int i = 0; i < GRID; i++)
		z[i] = (float)((i - GRID / 2) * 1e-4);
	return z;
}

static double naive_gate(double z)
{
	return 0.5 * erfc(-z * M_SQRT1_2);
}

/* The gate within 1.2e-7 (one unit in the last place of 1), y within |z| times that and half a unit of y. */
static void test_gelu_frozen(void)
{
	float *z = gelu_grid(), *y = x_malloc(GRID * sizeof(*y)), *slope = x_malloc(GRID * sizeof(*slope));
	float *plain = x_malloc(GRID * sizeof(*plain));
	double worst_gate = 0, worst_y = 0;

	gelu_forward_frozen(y, slope, z, GRID);
	gelu_forward(plain, z, GRID);
	CU_ASSERT(same_bits(plain, y, GRID));
	CU_ASSERT(z[GRID / 2] == 0 && slope[GRID / 2] == 1 && y[GRID / 2] == 0);
	for (int i = 0; i < GRID; i++) {
		double gate = naive_gate(z[i]), want = z[i] * gate;

		if (z[i] != 0)
			worst_gate = fmax(worst_gate, fabs(slope[i] - gate));
		worst_y = fmax(worst_y, fabs(y[i] - want) - FLT_EPSILON * (fabs(z[i]) + 0.5 * fabs(want)));
	}
	CU_ASSERT(near_one("gate", worst_gate, 0, FLT_EPSILON));
	CU_ASSERT(worst_y <= 0);
	gelu_forward_frozen(z, slope, z, GRID);
	CU_ASSERT(same_bits(z, y, GRID));
	free(z);
	free(y);
	free(slope);
	free(plain);
}

/* The true slope within 3e-7 of the central difference of the exact function (whose own error is 1e-9). */
static void test_gelu_gradient(void)
{
	float *z = gelu_grid(), *y = x_malloc(GRID * sizeof(*y)), *slope = x_malloc(GRID * sizeof(*slope));
	float *plain = x_malloc(GRID * sizeof(*plain)), *gate = x_malloc(GRID * sizeof(*gate));
	double *want = new_doubles(GRID), h = 1e-5;

	for (int i = 0; i < GRID; i++)
		slope[i] = plain[i] = 1;
	gelu_backward(slope, z, GRID);
	gelu_backward_frozen(plain, z, GRID);
	gelu_forward_frozen(y, gate, z, GRID);
	CU_ASSERT(same_bits(plain, gate, GRID));
	for (int i = 0; i < GRID; i++)
		want[i] = ((z[i] + h) * naive_gate(z[i] + h) - (z[i] - h) * naive_gate(z[i] - h)) / (2 * h);
	CU_ASSERT(near_all("slope", slope, want, GRID, 3e-7));
	CU_ASSERT_EQUAL(slope[GRID / 2], 0.5f);
	free(z);
	free(y);
	free(slope);
	free(plain);
	free(gate);
	free(want);
}

static void test_gelu_specials(void)
{
	enum { N = 37 };
	float z[N] = {0}, y[N], gate[N], slope[N];

	z[3] = NAN;
	z[5] = INFINITY;
	z[6] = -1e30f;
	z[7] = -0.0f;
	z[36] = NAN;
	gelu_forward_frozen(y, gate, z, N);
	CU_ASSERT(isnan(y[3]) && isnan(gate[3]) && isnan(y[36]) && isnan(gate[36]));
	CU_ASSERT(y[5] == INFINITY && gate[5] == 1 && y[6] == 0 && gate[6] == 0 && y[7] == 0 && gate[7] == 1);
	CU_ASSERT(y[4] == 0 && gate[4] == 1 && y[35] == 0);
	gelu_forward(y, z, N);
	CU_ASSERT(isnan(y[3]) && isnan(y[36]) && y[5] == INFINITY && y[6] == 0 && y[35] == 0);
	for (int i = 0; i < N; i++)
		slope[i] = 1;
	gelu_backward(slope, z, N);
	CU_ASSERT(isnan(slope[3]) && isnan(slope[36]) && slope[6] == 0 && slope[35] == 0.5f);
}

/* ---------------------------------------------------------------- attention */

enum { TOKENS = 9, HEADS = 3, HEAD = 5, D = HEADS * HEAD };

/* out and prob in double; prob is used instead of computed where `frozen`. */
static void naive_attention(double *out, double *prob, const double *qkv, bool frozen)
{
	for (int h = 0; h < HEADS; h++)
		for (int i = 0; i < TOKENS; i++) {
			double *p = prob + (h * TOKENS + i) * TOKENS, sum = 0;

			for (int j = 0; j < TOKENS && !frozen; j++) {
				p[j] = 0;
				for (int k = 0; k < HEAD; k++)
					p[j] += qkv[i * 3 * D + h * HEAD + k] *
						qkv[j * 3 * D + D + h * HEAD + k];
				sum += p[j] = exp(p[j] / sqrt(HEAD));
			}
			for (int j = 0; j < TOKENS && !frozen; j++)
				p[j] /= sum;
			for (int k = 0; k < HEAD; k++) {
				out[i * D + h * HEAD + k] = 0;
				for (int j = 0; j < TOKENS; j++)
					out[i * D + h * HEAD + k] +=
						p[j] * qkv[j * 3 * D + 2 * D + h * HEAD + k];
			}
		}
}

/* Gradient of <dout, out> by central differences: 5e-6 of the largest. The frozen one in v alone. */
static void attention_gradient(double *want, const float *qkv, const float *dout, double *prob, bool frozen)
{
	double at[TOKENS * 3 * D], up[TOKENS * D], down[TOKENS * D], scratch[HEADS * TOKENS * TOKENS],
		h = 1e-4;

	for (int i = 0; i < TOKENS * 3 * D; i++)
		at[i] = qkv[i];
	for (int i = 0; i < TOKENS * 3 * D; i++) {
		at[i] += h;
		naive_attention(up, frozen ? prob : scratch, at, frozen);
		at[i] -= 2 * h;
		naive_attention(down, frozen ? prob : scratch, at, frozen);
		at[i] += h;
		want[i] = 0;
		for (int k = 0; k < TOKENS * D; k++)
			want[i] += dout[k] * (up[k] - down[k]) / (2 * h);
	}
}

static void test_attention(void)
{
	float *qkv = new_normal(TOKENS * 3 * D, 1, 16), *dout = new_normal(TOKENS * D, 1, 17);
	float dprob[HEADS * TOKENS * TOKENS], also[HEADS * TOKENS * TOKENS];
	float out[TOKENS * D], prob[HEADS * TOKENS * TOKENS], scratch[TOKENS * TOKENS], dqkv[TOKENS * 3 * D];
	float dv[TOKENS * D];
	double exact[TOKENS * 3 * D], want[TOKENS * 3 * D], p[HEADS * TOKENS * TOKENS], o[TOKENS * D];

	for (int i = 0; i < TOKENS * 3 * D; i++)
		exact[i] = qkv[i];
	naive_attention(o, p, exact, false);
	attention_forward(out, prob, qkv, TOKENS, TOKENS, HEADS, HEAD);
	CU_ASSERT(near_all("attention matrices", prob, p, HEADS * TOKENS * TOKENS, 1e-6));
	CU_ASSERT(near_all("attention output", out, o, TOKENS * D, 1e-6 * largest(o, TOKENS * D)));

	attention_gradient(want, qkv, dout, p, false);
	attention_backward(dqkv, dprob, dout, qkv, prob, scratch, 1, 1, TOKENS, TOKENS, HEADS, HEAD);
	attention_backward_prob(also, dout, qkv, TOKENS, TOKENS, HEADS, HEAD);
	CU_ASSERT(same_bits(dprob, also, HEADS * TOKENS * TOKENS));
	for (int h = 0; h < HEADS; h++) /* dprob = dout v^T, written out */
		for (int i = 0; i < TOKENS * TOKENS; i++) {
			double sum = 0;

			for (int k = 0; k < HEAD; k++)
				sum += (double)dout[i / TOKENS * D + h * HEAD + k] *
				       (double)qkv[i % TOKENS * 3 * D + 2 * D + h * HEAD + k];
			CU_ASSERT(near_one("dprob", dprob[h * TOKENS * TOKENS + i], sum, 3e-6));
		}
	CU_ASSERT(near_all("dqkv", dqkv, want, TOKENS * 3 * D, 5e-6 * largest(want, TOKENS * 3 * D)));

	attention_gradient(want, qkv, dout, p, true);
	attention_backward_frozen(dv, dout, prob, TOKENS, TOKENS, HEADS, HEAD);
	for (int i = 0; i < TOKENS; i++)
		CU_ASSERT(near_all(
			"dv", dv + i * D, want + i * 3 * D + 2 * D, D, 2e-6 * largest(want, TOKENS * 3 * D)));
	CU_ASSERT(largest(want, 2 * D) < 1e-9); /* the twin's own q and k get nothing */
	free(qkv);
	free(dout);
}

/* The first QUERIES rows alone: what all rows give, with a cotangent that is zero for the others. */
static void test_attention_queries(void)
{
	enum { QUERIES = 2 };
	float *qkv = new_normal(TOKENS * 3 * D, 1, 16), *dout = new_normal(TOKENS * D, 1, 17);
	float out[TOKENS * D], few_out[QUERIES * D], prob[HEADS * TOKENS * TOKENS];
	float few[HEADS * QUERIES * TOKENS], scratch[TOKENS * TOKENS], dqkv[TOKENS * 3 * D], dv[TOKENS * D],
		few_dv[TOKENS * D];
	float few_dqkv[TOKENS * 3 * D];
	const float untouched = 7;

	memset(dout + QUERIES * D, 0, (TOKENS - QUERIES) * D * sizeof(*dout));
	for (int i = 0; i < TOKENS * 3 * D; i++)
		few_dqkv[i] = untouched;
	attention_forward(out, prob, qkv, TOKENS, TOKENS, HEADS, HEAD);
	attention_backward(dqkv, NULL, dout, qkv, prob, scratch, 1, 1, TOKENS, TOKENS, HEADS, HEAD);
	attention_backward_frozen(dv, dout, prob, TOKENS, TOKENS, HEADS, HEAD);
	attention_forward(few_out, few, qkv, QUERIES, TOKENS, HEADS, HEAD);
	attention_backward(few_dqkv, NULL, dout, qkv, few, scratch, 1, 1, QUERIES, TOKENS, HEADS, HEAD);
	attention_backward_frozen(few_dv, dout, few, QUERIES, TOKENS, HEADS, HEAD);
	for (int i = 0; i < QUERIES * D; i++)
		CU_ASSERT(near_one("output", few_out[i], out[i], 1e-6));
	for (int h = 0; h < HEADS; h++)
		for (int i = 0; i < QUERIES * TOKENS; i++)
			CU_ASSERT(near_one("attention", few[h * QUERIES * TOKENS + i],
				prob[h * TOKENS * TOKENS + i], 1e-6));
	for (int i = 0; i < TOKENS * 3 * D; i++) {
		bool of_q = i % (3 * D) < D, query = i < QUERIES * 3 * D;

		CU_ASSERT(near_one("dqkv", few_dqkv[i], of_q && !query ? untouched : dqkv[i], 2e-6));
	}
	for (int i = 0; i < TOKENS * D; i++)
		CU_ASSERT(near_one("dv", few_dv[i], dv[i], 2e-6));
	free(qkv);
	free(dout);
}

/* ---------------------------------------------------------------- elementwise */

static void test_elementwise(void)
{
	enum { N = 3 * 19 };
	float *x = new_normal(N, 1, 18), *y0 = new_normal(N, 1, 19), *w = new_normal(19, 1, 20), y[5][N];
	double dot = 0;

	for (int k = 0; k < 5; k++)
		memcpy(y[k], y0, sizeof(y[k]));
	rows_fill(y[0], w, 3, 19);
	rows_add(y[1], w, 3, 19);
	rows_add_scaled(y[2], x, w, 3, 19);
	rows_scale(y[3], x, w, 3, 19);
	multiply(y[4], x, N);
	for (int i = 0; i < N; i++) {
		float p = w[i % 19] * x[i];

		CU_ASSERT(y[0][i] == w[i % 19] && y[1][i] == y0[i] + w[i % 19] && y[2][i] == y0[i] + p);
		CU_ASSERT(y[3][i] == p && y[4][i] == y0[i] * x[i]);
		dot += (double)x[i] * w[i % 19];
	}
	CU_ASSERT(near_one("rows_dot", rows_dot(x, w, 3, 19), dot, 1e-13));
	rows_fill(y[0], NULL, 3, 19);
	CU_ASSERT_EQUAL(largest_float(y[0], N), 0);
	free(x);
	free(y0);
	free(w);
}

int register_kernels_tests(void)
{
	static const struct named_test tests[] = {
		{"gemm against naive products", test_gemm},
		{"gemm with beta 0 overwrites NaN", test_gemm_overwrites_nan},
		{"layernorm forward", test_layernorm_forward},
		{"layernorm backward", test_layernorm_backward},
		{"layernorm backward, frozen", test_layernorm_backward_frozen},
		{"softmax forward", test_softmax_forward},
		{"softmax of infinities and NaN", test_softmax_specials},
		{"softmax backward", test_softmax_backward},
		{"GELU and its gate", test_gelu_frozen},
		{"GELU and its true slope", test_gelu_gradient},
		{"GELU of infinities, zeros and NaN", test_gelu_specials},
		{"attention forward, backward, frozen", test_attention},
		{"attention of the first tokens alone", test_attention_queries},
		{"elementwise", test_elementwise},
		{NULL, NULL},
	};

	return add_suite("kernels", tests) || register_planes_tests();
}

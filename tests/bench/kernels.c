/*
 * The kernels alone: matrix products of the passes of ViT-Ti/S/B/L at 1, 2, 4, 8 images, and the elementwise
 * ones.
 *
 *   kernels [others]      others: without the products
 *
 * prints CSV: kernel,shape,value,unit,share. Products in GFLOP/s with the share of the rate of large square
 * products, measured before each model and batch; the others in ns per element (share: GB/s of what they read
 * and write). Medians of ROUNDS.
 */
#include "attribution/postprocess.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"
#include "kernels/elementwise.h"
#include "kernels/filter.h"
#include "kernels/gelu.h"
#include "kernels/gemm.h"
#include "kernels/layernorm.h"
#include "kernels/order.h"
#include "kernels/softmax.h"
#include "kernels/warp.h"

#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQUARE = 2048, ROUNDS = 7, SIDE = 224, PLANE = SIDE * SIDE, SAMPLES = 50 };

static float *signs;
static float *a, *b, *c; /* operands, large enough for all */

/* ---- products ---- */

enum kind { NT, NN, TN };

static double product_rate(enum kind kind, int M, int N, int K)
{
	int calls = 1 + (int)(2e8 / ((double)M * N * K));
	double began = clock_seconds();

	for (int i = 0; i < calls; i++)
		if (kind == NT)
			gemm_nt(c, N, a, K, b, K, M, N, K, 1, 0);
		else if (kind == NN)
			gemm_nn(c, N, a, K, b, N, M, N, K, 1, 0);
		else
			gemm_tn(c, N, a, M, b, N, M, N, K, 1, 0);
	return 2e-9 * M * N * K * calls / (clock_seconds() - began);
}

static double square; /* GFLOP/s of large square products, measured now and then */

static void measure_square(void)
{
	double rate[ROUNDS];

	for (int r = 0; r < ROUNDS; r++)
		rate[r] = product_rate(NT, SQUARE, SQUARE, SQUARE);
	square = median(rate, ROUNDS);
}

static void product(const char *name, enum kind kind, int M, int N, int K)
{
	static const char *const kinds[] = {"nt", "nn", "tn"};
	double rate[ROUNDS];

	for (int r = 0; r < ROUNDS; r++)
		rate[r] = product_rate(kind, M, N, K);
	double value = median(rate, ROUNDS);
	printf("%s %s,%dx%dx%d,%.1f,GFLOP/s,%.3f\n", name, kinds[kind], M, N, K, value, value / square);
	fflush(stdout);
}

static void products(void)
{
	static const struct {
		const char *name;
		int width, heads;
	} models[] = {{"ViT-Ti", 192, 3}, {"ViT-S", 384, 6}, {"ViT-B", 768, 12}, {"ViT-L", 1024, 16}};
	char name[64];

	for (size_t m = 0; m < sizeof(models) / sizeof(models[0]); m++)
		for (int n = 1; n <= 8; n *= 2) {
			int d = models[m].width, rows = 197 * n;

			measure_square();
			snprintf(name, sizeof(name), "%s qkv", models[m].name);
			product(name, NT, rows, 3 * d, d);
			snprintf(name, sizeof(name), "%s proj", models[m].name);
			product(name, NT, rows, d, d);
			product(name, NN, rows, d, d);
			snprintf(name, sizeof(name), "%s fc1", models[m].name);
			product(name, NT, rows, 4 * d, d);
			product(name, NN, rows, d, 4 * d);
			snprintf(name, sizeof(name), "%s fc2", models[m].name);
			product(name, NT, rows, d, 4 * d);
			product(name, NN, rows, 4 * d, d);
		}
	product("attention q k", NT, 197, 197, 64);
	product("attention p v", NN, 197, 64, 197);
	product("attention backward", TN, 197, 64, 197);
}

/* ---- the others ---- */

static struct warp turn = {1, 13, 9, -17, 1.05, 1.05};
static uint32_t rank[PLANE];
static uint64_t sort[2 * PLANE];
static float taps[31];

enum { ROWS = 788, WIDTH = 768, HIDDEN = 3072, TOKENS = 197, HEADS = 12 };

static void run_softmax(void)
{
	memcpy(c, a, (size_t)(4 * HEADS * TOKENS) * TOKENS * sizeof(*c));
	softmax_forward(c, 4 * HEADS * TOKENS, TOKENS);
}
static void run_gelu(void)
{
	gelu_forward(c, a, (size_t)ROWS * HIDDEN);
}
static void run_gate(void)
{
	gelu_forward_frozen(c, b, a, (size_t)ROWS * HIDDEN);
}
static void run_norm(void)
{
	layernorm_forward(c, b, NULL, a, a, a, ROWS, WIDTH, 1e-6f);
}
static void run_norm_frozen(void)
{
	layernorm_backward_frozen(c, a, b, a, ROWS, WIDTH);
}
static void run_fill(void)
{
	rows_fill(c, a, ROWS, HIDDEN);
}
static void run_multiply(void) /* by -1 and 1: other numbers would run into denormals or infinities */
{
	multiply(c, signs, (size_t)ROWS * HIDDEN);
}
static void run_warp(void)
{
	warp_forward(c, a, &turn, 3, SIDE, SIDE);
}
static void run_adjoint(void)
{
	warp_adjoint(c, a, &turn, 3, SIDE, SIDE);
}
static void run_normal(void)
{
	rng_normal(c, 3 * PLANE, (struct rng_key){.seed = 1});
}
static void run_mad(void)
{
	aggregate_mad(c, NULL, a, SAMPLES, 3 * PLANE, b);
}
static void run_error(void)
{
	c[0] = (float)aggregate_error(a, a, SAMPLES, 3 * PLANE);
}
static void run_post(void)
{
	postprocess_map(c, a, b, SIDE, SIDE);
}
static void run_order(void)
{
	order_rank(rank, a, PLANE, 1, sort);
}
static void run_blur(void)
{
	filter_separable(c, a, b, taps, 31, SIDE, SIDE);
}

static const struct {
	const char *name, *shape;
	void (*run)(void);
	double elements, bytes; /* bytes: read and written per element */
} others[] = {
	{"softmax (and a copy)", "9456x197", run_softmax, 4.0 * HEADS *TOKENS *TOKENS, 16},
	{"gelu", "788x3072", run_gelu, (double)ROWS *HIDDEN, 8},
	{"gelu and gate", "788x3072", run_gate, (double)ROWS *HIDDEN, 12},
	{"layernorm", "788x768", run_norm, (double)ROWS *WIDTH, 8},
	{"layernorm backward frozen", "788x768", run_norm_frozen, (double)ROWS *WIDTH, 12},
	{"bias rows", "788x3072", run_fill, (double)ROWS *HIDDEN, 4},
	{"multiply", "788x3072", run_multiply, (double)ROWS *HIDDEN, 12},
	{"warp", "3x224x224", run_warp, 3.0 * PLANE, 8},
	{"warp adjoint", "3x224x224", run_adjoint, 3.0 * PLANE, 8},
	{"normal numbers", "3x224x224", run_normal, 3.0 * PLANE, 4},
	{"MAD aggregation (per sample)", "50x3x224x224", run_mad, 3.0 * PLANE *SAMPLES, 4},
	{"Monte-Carlo error (per sample)", "50x3x224x224", run_error, 3.0 * PLANE *SAMPLES, 4},
	{"post-processing", "224x224", run_post, PLANE, 8},
	{"pixel order", "224x224", run_order, PLANE, 8},
	{"blur of 31 taps", "224x224", run_blur, PLANE, 8},
};

static void time_other(size_t k)
{
	double ns[ROUNDS];

	others[k].run();
	for (int r = 0; r < ROUNDS; r++) {
		int calls = 0;
		double began = clock_seconds(), took;

		do {
			others[k].run();
			calls++;
			took = clock_seconds() - began;
		} while (took < 0.03);
		ns[r] = 1e9 * took / calls / others[k].elements;
	}
	double value = median(ns, ROUNDS);
	printf("%s,%s,%.3f,ns,%.1f\n", others[k].name, others[k].shape, value, others[k].bytes / value);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t most = (size_t)SAMPLES * 3 * PLANE;

	a = x_malloc(most * sizeof(*a));
	b = x_malloc(most * sizeof(*b));
	c = x_malloc(most * sizeof(*c));
	gemm_set_threads(1);
	rng_normal(a, most, (struct rng_key){.seed = 1});
	rng_normal(b, most, (struct rng_key){.seed = 2});
	memset(c, 0, most * sizeof(*c));
	filter_gaussian(taps, 31, 7);
	signs = x_malloc((size_t)ROWS * HIDDEN * sizeof(*signs));
	for (size_t i = 0; i < (size_t)ROWS * HIDDEN; i++)
		signs[i] = a[i] < 0 ? -1 : 1;
	for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++)
		time_other(k);
	if (argc < 2 || strcmp(argv[1], "others"))
		products();
	return 0;
}

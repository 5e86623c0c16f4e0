/* src/kernels/gelu.c, quick GELU and SwiGLU; the means of rows in elementwise.c. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

#include "kernels/elementwise.h"
#include "kernels/gelu.h"

enum { N = 4003 };

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* z from -20 to 20, with 0 in the middle. */
static void grid(float *z)
{
	for (int i = 0; i < N; i++)
		z[i] = (float)((i - N / 2) * 0.01);
}

static void ones(float *y)
{
	for (int i = 0; i < N; i++)
		y[i] = 1;
}

/* The gate and y to 3e-7 of their scale; the true slope against the derivative written out. */
static void test_quick_gelu(void)
{
	static float z[N], y[N], gate[N], slope[N], plain[N], also[N];

	grid(z);
	quick_gelu_forward(plain, z, N);
	quick_gelu_forward_frozen(y, gate, z, N);
	ones(slope);
	quick_gelu_backward(slope, z, N);
	ones(also);
	quick_gelu_backward_frozen(also, z, N);
	CU_ASSERT(same_bits(plain, y, N) && same_bits(gate, also, N) && gate[N / 2] == 0.5f && y[N / 2] == 0);
	for (int i = 0; i < N; i++) {
		double x = z[i], g = sigmoid(1.702 * x);

		CU_ASSERT(near_one("gate", gate[i], g, 3e-7));
		CU_ASSERT(near_one("y", y[i], x * g, 3e-7 * (1 + fabs(x))));
		CU_ASSERT(near_one("slope", slope[i], g + 1.702 * x * g * (1 - g), 1e-6));
	}
}

/* y and both derivatives, z and gate running against each other. */
static void test_swiglu(void)
{
	static float z[N], g[N], y[N], slope[N], slope_gate[N], plain[N], dz[N];

	grid(z);
	for (int i = 0; i < N; i++)
		g[i] = z[(i * 7) % N];
	swiglu_forward(y, slope, z, g, N);
	swiglu_forward(plain, NULL, z, g, N);
	ones(dz);
	swiglu_backward(dz, slope_gate, z, g, N);
	CU_ASSERT(same_bits(dz, slope, N));
	CU_ASSERT(same_bits(plain, y, N));
	for (int i = 0; i < N; i++) {
		double s = sigmoid(g[i]), silu = g[i] * s;

		CU_ASSERT(near_one("silu", slope[i], silu, 3e-7 * (1 + fabs(silu))));
		CU_ASSERT(near_one("y", y[i], silu * z[i], 5e-7 * (1 + fabs(silu * z[i]))));
		CU_ASSERT(near_one(
			"dy/dgate", slope_gate[i], z[i] * (s + g[i] * s * (1 - s)), 2e-6 * (1 + fabs(z[i]))));
	}
	memcpy(plain, z, sizeof(z));
	swiglu_forward(plain, slope, plain, g, N); /* in place */
	CU_ASSERT(same_bits(plain, y, N));
}

static void test_specials(void)
{
	float z[5] = {NAN, INFINITY, -1e30f, 0, 100}, one[5] = {1, 1, 1, 1, 1}, y[5], gate[5];

	quick_gelu_forward_frozen(y, gate, z, 5);
	CU_ASSERT(isnan(y[0]) && y[1] == INFINITY && gate[1] == 1 && y[2] == 0 && gate[2] == 0 && y[3] == 0);
	CU_ASSERT(y[4] == 100);
	swiglu_forward(y, NULL, one, z, 5);
	CU_ASSERT(isnan(y[0]) && y[1] == INFINITY && y[2] == 0 && y[3] == 0 && y[4] == 100);
}

static void test_rows(void)
{
	enum { ROWS = 7, WIDTH = 19 };
	float x[ROWS * WIDTH], mean[WIDTH], y[ROWS * WIDTH], before[ROWS * WIDTH];

	random_normal(x, ROWS * WIDTH, 1, 81);
	random_normal(y, ROWS * WIDTH, 1, 82);
	memcpy(before, y, sizeof(y));
	rows_mean(mean, x, ROWS, WIDTH);
	rows_add_shared(y, mean, 0.25f, ROWS, WIDTH);
	for (int i = 0; i < WIDTH; i++) {
		double sum = 0;

		for (int r = 0; r < ROWS; r++)
			sum += (double)x[r * WIDTH + i];
		CU_ASSERT(near_one("mean", mean[i], sum / ROWS, 2e-7));
		for (int r = 0; r < ROWS; r++)
			CU_ASSERT(y[r * WIDTH + i] == before[r * WIDTH + i] + 0.25f * mean[i]);
	}
}

int register_activations_tests(void)
{
	static const struct named_test tests[] = {
		{"quick GELU", test_quick_gelu},
		{"SwiGLU", test_swiglu},
		{"of infinities and NaN", test_specials},
		{"means of rows", test_rows},
		{NULL, NULL},
	};

	return add_suite("activations", tests);
}

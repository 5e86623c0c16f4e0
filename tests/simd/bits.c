/* A digest of what each vectorised kernel makes of the same random input, one a line: run.sh compares those
 * of builds for different instruction sets. */
#include "attribution/postprocess.h"
#include "base/err.h"
#include "base/rng.h"
#include "kernels/bcos.h"
#include "kernels/elementwise.h"
#include "kernels/filter.h"
#include "kernels/gelu.h"
#include "kernels/groupnorm.h"
#include "kernels/layernorm.h"
#include "kernels/order.h"
#include "kernels/relevance.h"
#include "kernels/softmax.h"
#include "kernels/warp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 7, WIDTH = 197, SAMPLES = 11, HIGH = 20, WIDE = 150, MOST = 1 << 16 };

static float in[MOST], other[MOST], out[MOST], more[MOST];

static void digest(const char *name, const void *data, size_t bytes)
{
	const unsigned char *p = data;
	uint64_t h = 1469598103934665603u;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ p[i]) * 1099511628211u;
	printf("%s %016llx\n", name, (unsigned long long)h);
}

static void rows(void)
{
	size_t n = (size_t)ROWS * WIDTH, size = n * sizeof(float);

	memcpy(out, in, size);
	softmax_forward(out, ROWS, WIDTH);
	digest("softmax", out, size);
	softmax_backward(more, in, out, ROWS, WIDTH);
	digest("softmax_backward", more, size);
	layernorm_forward(out, more, more + n, in, other, other + WIDTH, ROWS, WIDTH, 1e-6f);
	digest("layernorm", out, size);
	digest("layernorm rstd, xhat", more, 2 * size);
	memcpy(out, other, size);
	layernorm_backward(out, in, more + n, more, other, ROWS, WIDTH);
	digest("layernorm_backward", out, size);
	layernorm_backward_frozen(out, in, more, other, ROWS, WIDTH);
	digest("layernorm_backward_frozen", out, size);
	layernorm_forward(out, more, NULL, in, other, NULL, ROWS, WIDTH, 1e-6f);
	digest("layernorm without bias", out, size);
	rows_add(out, in, ROWS, WIDTH);
	rows_add_scaled(out, in, other, ROWS, WIDTH);
	multiply(out, other, n);
	mix(out, in, 0.3, 0.7, n);
	rows_scale(out, out, in, ROWS, WIDTH);
	rows_add_shared(out, in, 0.3f, ROWS, WIDTH);
	digest("elementwise", out, size);
	rows_mean(more, out, ROWS, WIDTH);
	digest("rows_mean", more, WIDTH * sizeof(float));
	printf("all_finite %d", all_finite(out, n));
	out[n - 1] = NAN;
	printf(" %d\n", all_finite(out, n));
}

/* The B-cos unit, and the norm of its stems. */
static void units(void)
{
	size_t n = (size_t)ROWS * WIDTH, size = n * sizeof(float);
	float *norm = more + 2 * n, *pull = norm + ROWS, rstd;

	bcos_norms(norm, in, ROWS, WIDTH, 1e-6f, 1e-12f);
	bcos_forward(out, more, in, norm, ROWS, WIDTH);
	digest("bcos norms", norm, ROWS * sizeof(float));
	digest("bcos", out, size);
	digest("bcos cosine", more, size);
	bcos_backward(out, pull, other, more, ROWS, WIDTH);
	digest("bcos_backward pull", pull, ROWS * sizeof(float));
	bcos_backward_norm(out, in, pull, norm, ROWS, WIDTH);
	digest("bcos_backward", out, size);
	bcos_backward_frozen(out, other, more, n);
	digest("bcos_backward_frozen", out, size);
	groupnorm_forward(out, &rstd, more, in, other, ROWS, WIDTH, 1e-5f);
	digest("groupnorm", out, size);
	digest("groupnorm xhat", more, size);
	groupnorm_backward(out, other + WIDTH, more, rstd, other, ROWS, WIDTH);
	digest("groupnorm_backward", out, size);
	groupnorm_backward_frozen(out, other + WIDTH, rstd, other, ROWS, WIDTH);
	digest("groupnorm_backward_frozen", out, size);
}

/* The steps of relevance propagation; some divisors are zero. */
static void relevances(void)
{
	size_t n = (size_t)ROWS * WIDTH, size = n * sizeof(float);
	float *up = more + n, *down = up + n, *shares = down + n;

	split_signs(up, down, in, n);
	magnitudes(more, other, n);
	for (size_t i = 0; i < n; i += 7)
		more[i] = up[i];
	digest("signs, magnitudes", more, 3 * size);
	divide_or_zero(out, other, up, 0.5f, n);
	digest("divide_or_zero", out, size);
	join_signs(out, up, down, other, in, n);
	digest("join_signs", out, size);
	memcpy(shares, up, size);
	gamma_shares(shares, more, other, 0.3f, n);
	digest("gamma_shares", shares, size);
	digest("gamma_shares signed", more, size);
	gamma_join(out, more, in, 0.3f, n);
	digest("gamma_join", out, size);
}

static void planes(void)
{
	struct warp w = {1, 13, 3, -4, 1.05, 0.97};
	int plane = HIGH * WIDE, entries = 500;
	size_t size = 3 * (size_t)plane * sizeof(float);
	float taps[11];
	double error;

	warp_forward(out, in, &w, 3, HIGH, WIDE);
	digest("warp_forward", out, size);
	warp_adjoint(out, in, &w, 3, HIGH, WIDE);
	digest("warp_adjoint", out, size);
	filter_gaussian(taps, 11, 7);
	filter_separable(out, in, more, taps, 11, HIGH, WIDE);
	digest("filter_separable", out, size / 3);
	postprocess_map(out, in, more, HIGH, WIDE);
	digest("postprocess_map", out, size / 3);
	aggregate_mad(out, (uint8_t *)other, in, SAMPLES, (size_t)entries, more);
	digest("aggregate_mad", out, (size_t)entries * sizeof(float));
	digest("aggregate_mad keep", other, (size_t)(SAMPLES * entries));
	error = aggregate_error(out, in, SAMPLES, (size_t)entries);
	digest("aggregate_error", &error, sizeof(error));
	aggregate_mean(out, in, SAMPLES, (size_t)entries);
	digest("aggregate_mean", out, (size_t)entries * sizeof(float));
}

int main(void)
{
	rng_normal(in, MOST, (struct rng_key){.seed = 1});
	rng_normal(other, MOST, (struct rng_key){.seed = 2});
	digest("rng_normal", in, sizeof(in));
	for (int i = 0; i < MOST; i++) /* to the ends of the range */
		more[i] = in[i] * (i % 3 ? 1 : 5);
	gelu_forward(out, more, MOST);
	digest("gelu", out, sizeof(out));
	gelu_forward_frozen(out, more, more, MOST);
	digest("gelu_frozen", out, sizeof(out));
	digest("gelu gate", more, sizeof(more));
	gelu_backward(out, in, MOST);
	digest("gelu_backward", out, sizeof(out));
	gelu_backward_frozen(out, in, MOST);
	digest("gelu_backward_frozen", out, sizeof(out));
	quick_gelu_forward(out, in, MOST);
	digest("quick_gelu", out, sizeof(out));
	quick_gelu_forward_frozen(out, more, in, MOST);
	digest("quick_gelu gate", more, sizeof(more));
	quick_gelu_backward(more, in, MOST);
	digest("quick_gelu_backward", more, sizeof(more));
	quick_gelu_backward_frozen(more, in, MOST);
	digest("quick_gelu_backward_frozen", more, sizeof(more));
	swiglu_forward(out, more, in, other, MOST);
	digest("swiglu", out, sizeof(out));
	digest("swiglu slope", more, sizeof(more));
	swiglu_backward(out, more, in, other, MOST);
	digest("swiglu_backward", out, sizeof(out));
	digest("swiglu_backward gate", more, sizeof(more));
	for (int i = 0; i < MOST; i++) /* denormal results and beyond */
		more[i] = in[i] * 40;
	gelu_forward(out, more, MOST);
	digest("gelu of large values", out, sizeof(out));
	rows();
	units();
	relevances();
	planes();
	return 0;
}

#include "kernels/attention.h"

#include "kernels/gemm.h"
#include "kernels/softmax.h"

#include <math.h>
#include <stddef.h>

void attention_forward(
	float *out, float *prob, const float *qkv, int queries, int tokens, int heads, int head_dim)
{
	int width = heads * head_dim, ld = 3 * width;
	float scale = 1.0f / sqrtf((float)head_dim);

	for (int h = 0; h < heads; h++) {
		const float *q = qkv + h * head_dim, *k = q + width, *v = k + width;
		float *p = prob + (size_t)h * (size_t)queries * (size_t)tokens;

		gemm_nt(p, tokens, q, ld, k, ld, queries, tokens, head_dim, scale, 0);
		softmax_forward(p, queries, tokens);
		gemm_nn(out + h * head_dim, width, p, tokens, v, ld, queries, head_dim, tokens, 1, 0);
	}
}

void attention_backward(float *dqkv, float *dprob, const float *dout, const float *qkv, const float *prob,
	float *scratch, float qk, float v_factor, int queries, int tokens, int heads, int head_dim)
{
	int width = heads * head_dim, ld = 3 * width;
	float scale = qk / sqrtf((float)head_dim);
	size_t size = (size_t)queries * (size_t)tokens;

	for (int h = 0; h < heads; h++) {
		const float *q = qkv + h * head_dim, *k = q + width, *v = k + width, *g = dout + h * head_dim;
		const float *p = prob + (size_t)h * size;
		float *dq = dqkv + h * head_dim, *dk = dq + width, *dv = dk + width;
		float *dp = dprob ? dprob + (size_t)h * size : scratch;

		gemm_tn(dv, ld, p, tokens, g, width, tokens, head_dim, queries, v_factor, 0);
		gemm_nt(dp, tokens, g, width, v, ld, queries, tokens, head_dim, 1, 0);
		softmax_backward(scratch, dp, p, queries, tokens);
		gemm_nn(dq, ld, scratch, tokens, k, ld, queries, head_dim, tokens, scale, 0);
		gemm_tn(dk, ld, scratch, tokens, q, ld, tokens, head_dim, queries, scale, 0);
	}
}

void attention_backward_prob(
	float *dprob, const float *dout, const float *qkv, int queries, int tokens, int heads, int head_dim)
{
	int width = heads * head_dim;

	for (int h = 0; h < heads; h++)
		gemm_nt(dprob + (size_t)h * (size_t)queries * (size_t)tokens, tokens, dout + h * head_dim,
			width, qkv + 2 * width + h * head_dim, 3 * width, queries, tokens, head_dim, 1, 0);
}

void attention_backward_frozen(
	float *dv, const float *dout, const float *prob, int queries, int tokens, int heads, int head_dim)
{
	int width = heads * head_dim;

	for (int h = 0; h < heads; h++)
		gemm_tn(dv + h * head_dim, width, prob + (size_t)h * (size_t)queries * (size_t)tokens, tokens,
			dout + h * head_dim, width, tokens, head_dim, queries, 1, 0);
}

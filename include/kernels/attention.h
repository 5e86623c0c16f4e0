/*
 * Multi-head self-attention of one image, between the qkv and the output projection.
 *
 *   qkv  (tokens x 3*heads*head_dim), the three parts beside each other, as timm's `attn.qkv` gives them
 *   prob (heads x queries x tokens), softmax(q k^T / sqrt(head_dim)) of the first `queries` tokens
 *   out  (queries x heads*head_dim)
 */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

/* out and prob from qkv. */
void attention_forward(
	float *out, float *prob, const float *qkv, int queries, int tokens, int heads, int head_dim);

/* True adjoint: dqkv from dout, those of q and k times `qk`, that of v times `v` (1 and 1 for the gradient);
 * q's cotangent is written for the first `queries` tokens only. scratch holds queries x tokens floats. dprob
 * (heads x queries x tokens), unless it is NULL, becomes the cotangent of prob. */
void attention_backward(float *dqkv, float *dprob, const float *dout, const float *qkv, const float *prob,
	float *scratch, float qk, float v, int queries, int tokens, int heads, int head_dim);

/* dprob (heads x queries x tokens) alone. */
void attention_backward_prob(
	float *dprob, const float *dout, const float *qkv, int queries, int tokens, int heads, int head_dim);

/* Frozen adjoint (prob a constant): dv (tokens x heads*head_dim) from dout. Nothing reaches q and k. */
void attention_backward_frozen(
	float *dv, const float *dout, const float *prob, int queries, int tokens, int heads, int head_dim);

#endif

/*
 * The unit of B-cos networks, B = 2: y = |cos| z, z = w . x with |w| = 1, cos = z / n, n the norm of x. So a
 * layer of such units is a linear layer whose outputs are scaled by what depends on the input: that factor
 * is the constant of the frozen pass. Around the products z = x w^T, rows x out, of inputs rows x in.
 */
#ifndef KERNELS_BCOS_H
#define KERNELS_BCOS_H

#include <stddef.h>

/* norm (rows) = sqrt(|x|^2 + inside) + outside, of each row of x (rows x in). Linear layers add outside the
 * root, convolutions inside it. */
void bcos_norms(float *norm, const float *x, int rows, int in, float inside, float outside);

/* y (rows x out) = |cos| z and, unless it is NULL, cosine (rows x out). y may be z; cosine may not. */
void bcos_forward(float *y, float *cosine, const float *z, const float *norm, int rows, int out);

/* The true adjoint, in two parts about the product dx = dz w: dz = 2 |cos| dy, and what the norm pulls
 * (rows): the sum over a row of dy cos |cos|. dz may be dy. */
void bcos_backward(float *dz, float *pull, const float *dy, const float *cosine, int rows, int out);

/* The second part: dx (rows x in) -= pull / norm * x, the norm's own gradient being x / norm. */
void bcos_backward_norm(float *dx, const float *x, const float *pull, const float *norm, int rows, int in);

/* Frozen adjoint (|cos| a constant), over n elements: dz = |cos| dy. dz may be dy. */
void bcos_backward_frozen(float *dz, const float *dy, const float *cosine, size_t n);

#endif

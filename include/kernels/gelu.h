/*
 * The activations of the MLP. Exact GELU, y = z * gate(z), gate(z) = (1 + erf(z / sqrt 2)) / 2, over n
 * elements. A backward pass of the layer is one multiplication by a slope: kept from the forward pass where
 * only the frozen one is wanted, or computed from z, which serves both.
 */
#ifndef KERNELS_GELU_H
#define KERNELS_GELU_H

#include <stddef.h>

/* y = GELU(z). y may be z. */
void gelu_forward(float *y, const float *z, size_t n);

/* y = GELU(z) and the frozen slope, gate(z); gate(0) := 1 as published (methods.md section 2).
 * y may be z; slope may not. */
void gelu_forward_frozen(float *y, float *slope, const float *z, size_t n);

/* dz *= the true slope, gate(z) + z * phi(z), phi the normal density. */
void gelu_backward(float *dz, const float *z, size_t n);

/* dz *= the frozen slope, bit for bit that of gelu_forward_frozen(). */
void gelu_backward_frozen(float *dz, const float *z, size_t n);

/* The same of CLIP's "quick GELU", y = z * gate(z), gate(z) = 1 / (1 + exp(-1.702 z)). */
void quick_gelu_forward(float *y, const float *z, size_t n);
void quick_gelu_forward_frozen(float *y, float *slope, const float *z, size_t n);
void quick_gelu_backward(float *dz, const float *z, size_t n);
void quick_gelu_backward_frozen(float *dz, const float *z, size_t n);

/* SwiGLU: y = silu(gate) * z, silu(g) = g / (1 + exp(-g)). slope, or NULL: dy/dz = silu(gate), both frozen
 * and true. y may be z. */
void swiglu_forward(float *y, float *slope, const float *z, const float *gate, size_t n);

/* dz *= silu(gate). dgate, unless it is NULL, becomes the true dz * dy/dgate of the dz that was given; frozen
 * it is zero: silu(gate) is the factor that depends on the input (methods.md section 2). */
void swiglu_backward(float *dz, float *dgate, const float *z, const float *gate, size_t n);

#endif

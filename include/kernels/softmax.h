/* Softmax over the last axis, in place, and its adjoint. rows x width, row-major. NaN stays NaN. */
#ifndef KERNELS_SOFTMAX_H
#define KERNELS_SOFTMAX_H

/* x = softmax(x) row by row (the row's maximum is subtracted first). */
void softmax_forward(float *x, int rows, int width);

/* dx = p * (dp - sum(dp * p)) row by row, p the softmax's result. dx may be dp. */
void softmax_backward(float *dx, const float *dp, const float *p, int rows, int width);

#endif

/* The small passes around the matrix products: bias, LayerScale, residual, products. Row-major. */
#ifndef KERNELS_ELEMENTWISE_H
#define KERNELS_ELEMENTWISE_H

#include <stdbool.h>
#include <stddef.h>

/* y (rows x width) = bias in every row; zeros where bias is NULL. */
void rows_fill(float *y, const float *bias, int rows, int width);

/* y (rows x width) += bias in every row. */
void rows_add(float *y, const float *bias, int rows, int width);

/* y (rows x width) += gamma * x, gamma (width) in every row: LayerScale into the residual stream. */
void rows_add_scaled(float *y, const float *x, const float *gamma, int rows, int width);

/* y (rows x width) = gamma * x. */
void rows_scale(float *y, const float *x, const float *gamma, int rows, int width);

/* y (width) = mean of the rows of x (rows x width). */
void rows_mean(float *y, const float *x, int rows, int width);

/* y (rows x width) += scale * x in every row, x (width): the adjoint of a mean. */
void rows_add_shared(float *y, const float *x, float scale, int rows, int width);

/* y (n) *= x. */
void multiply(float *y, const float *x, size_t n);

/* y (n) = a y + b x, in double. */
void mix(float *y, const float *x, double a, double b, size_t n);

/* Is none of y (n) an infinity or NaN? */
bool all_finite(const float *y, size_t n);

/* sum over rows and columns of bias[column] * g (rows x width), in double. */
double rows_dot(const float *g, const float *bias, int rows, int width);

#endif

/* Matrix products in float32, row-major, over cblas_sgemm. The one place that knows BLAS. */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

/* C (M x N) = alpha * A (M x K) B^T + beta * C, with B (N x K): a linear layer with weights as timm stores
 * them. */
void gemm_nt(float *C, int ldc, const float *A, int lda, const float *B, int ldb, int M, int N, int K,
	float alpha, float beta);

/* C (M x N) = alpha * A (M x K) B + beta * C, with B (K x N): the adjoint of a linear layer. */
void gemm_nn(float *C, int ldc, const float *A, int lda, const float *B, int ldb, int M, int N, int K,
	float alpha, float beta);

/* C (M x N) = alpha * A^T B + beta * C, with A (K x M), B (K x N). */
void gemm_tn(float *C, int ldc, const float *A, int lda, const float *B, int ldb, int M, int N, int K,
	float alpha, float beta);

/* Threads of one call. Bits depend on it (cluster.md), so it is set, never inherited. */
void gemm_set_threads(int threads);

/* The BLAS kernel set in use: "Zen", "SkylakeX", ... Results are bit-identical on machines that agree on it:
 * our own kernels give the same bits for every instruction set (base/simd.h), with one version of glibc,
 * whose sin, cos and exp some of them call once a plane. */
const char *gemm_core(void);

#endif

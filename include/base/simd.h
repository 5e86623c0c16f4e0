/*
 * How the elementwise kernels are vectorised: glibc's vector mathematics (libmvec) inside `omp simd`
 * loops, compiled for AVX2 and for plain x86-64 and chosen at run time. (No AVX-512 variant: the bits depend
 * on the vector length, and clusters mix machines with and without it; OPENBLAS_CORETYPE=Haswell then makes
 * them agree.) Other compilers and machines get the same loops with scalar libm. Sums inside SIMD_LOOP
 * reductions may reassociate; nothing else in the program does.
 */
#ifndef KERNELS_SIMD_H
#define KERNELS_SIMD_H

#include <math.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define SIMD_DISPATCHED 1
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#define SIMD_PRAGMA(x) _Pragma(#x)
/* libmvec has vector versions of these; glibc's headers say so only under -ffast-math. */
#pragma omp declare simd notinbranch
extern float erff(float);
#pragma omp declare simd notinbranch
extern float expf(float);
#else
#define SIMD_CLONES
#define SIMD_PRAGMA(x)
#endif

#define SIMD_LOOP SIMD_PRAGMA(omp simd)
#define SIMD_SUM(variable) SIMD_PRAGMA(omp simd reduction(+ : variable))
#define SIMD_MAX(variable) SIMD_PRAGMA(omp simd reduction(max : variable))

#endif

/* Time and work of all matrix products of a program linked with -Wl,--wrap=cblas_sgemm. Where BENCH_BLAS
 * names a file, "seconds,multiply-adds,seconds of the process" is appended to it at the end. */
#ifndef BENCH_BLAS_H
#define BENCH_BLAS_H

struct blas_total {
	double seconds, macs;
};

/* Since the program began. */
struct blas_total blas_total(void);

#endif

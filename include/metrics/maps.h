/*
 * What metrics ask of one map, or of two: sums, distances, ranks, correlations. Plain loops in double
 * precision. Maps are (n) values; nothing allocates.
 */
#ifndef METRICS_MAPS_H
#define METRICS_MAPS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/option.h"
#include "metrics/metric.h"

#include <stddef.h>
#include <stdint.h>

/* Which of a method's two maps is judged; the option row of that choice. */
enum { MAP_STORED, MAP_RAW };
#define MAP_OF_OPTION(type)                                                                                  \
	{                                                                                                    \
		"of", OPT_CHOICE, offsetof(type, of), "map", 0, 0, "map|raw",                                \
			"judge the stored map, or the raw signed channel sum"                                \
	}

/* For metrics that take many maps: only some of the images; the option row. */
#define MAP_FRACTION_OPTION(type)                                                                            \
	{                                                                                                    \
		"fraction", OPT_DOUBLE, offsetof(type, fraction), "1", 0, 1, NULL,                           \
			"of the images, drawn at random, the same for all metrics; the others have no "      \
			"figures"                                                                            \
	}

/* Is the image one of that fraction? Those of a smaller fraction are among those of a larger one. */
int map_chosen(const struct metric_input *in, double fraction);

/* The map that the option says. */
const float *map_of(const struct metric_input *in, int of);

/* carve() of metrics without scratch memory. */
void *map_carve_nothing(struct arena *a, const void *params, int channels, int height, int width, int batch);

/* 0, or -1 with a message that names the first pixel that is not a number. */
int map_check(const float *map, size_t n, struct err *err);

/* Are all values the same? */
int map_constant(const float *map, size_t n);

/* Sum of the positive values, where the region (n) is 1; region NULL: everywhere. */
double map_positive(const float *map, const unsigned char *region, size_t n);

/* part / total of positive attribution; 0 where the total is 1e-7 or less (methods.md section 5). */
double map_share(double part, double total);

/* Euclidean norm of the map, and of a - b. */
double map_norm(const float *map, size_t n);
double map_distance(const float *a, const float *b, size_t n);

/* Scratch memory of the functions below, for maps of n pixels. */
struct map_scratch {
	uint64_t *sort;          /* 2n */
	uint32_t *place, *pixel; /* (n) */
	double *a, *b;           /* (n) */
};
void map_carve(struct map_scratch *s, struct arena *arena, size_t n);

/* rank (n): 1 for the smallest; those of equal values are averaged. -0 equals +0. No NaN. */
void map_ranks(double *rank, const float *map, size_t n, struct map_scratch *s);

/* Pearson's correlation, and Spearman's: Pearson's of the ranks, ties averaged. NaN where one of the maps is
 * constant: undefined is not zero. */
double map_pearson(const float *a, const float *b, size_t n, struct map_scratch *s);
double map_spearman(const float *a, const float *b, size_t n, struct map_scratch *s);

#endif

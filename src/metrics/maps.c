#include "metrics/maps.h"

#include "base/rng.h"

#include "kernels/order.h"

#include <math.h>

int map_chosen(const struct metric_input *in, double fraction)
{
	double u;

	rng_uniform(&u, 1, (struct rng_key){in->seed, in->image, 0, RNG_SUBSET});
	return u < fraction;
}

const float *map_of(const struct metric_input *in, int of)
{
	return of == MAP_RAW ? in->raw : in->map;
}

void *map_carve_nothing(struct arena *a, const void *params, int channels, int height, int width, int batch)
{
	(void)a;
	(void)params;
	(void)channels;
	(void)height;
	(void)width;
	(void)batch;
	return NULL;
}

int map_check(const float *map, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (isnan(map[i]))
			return err_set(err, "the map is not a number at pixel %zu", i);
	return 0;
}

int map_constant(const float *map, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (map[i] != map[0])
			return 0;
	return 1;
}

double map_positive(const float *map, const unsigned char *region, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		if (map[i] > 0 && (!region || region[i]))
			sum += map[i];
	return sum;
}

double map_share(double part, double total)
{
	return total <= 1e-7 ? 0 : part / total;
}

double map_norm(const float *map, size_t n)
{
	double squares = 0;

	for (size_t i = 0; i < n; i++)
		squares += (double)map[i] * map[i];
	return sqrt(squares);
}

double map_distance(const float *a, const float *b, size_t n)
{
	double squares = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)a[i] - b[i];

		squares += d * d;
	}
	return sqrt(squares);
}

void map_carve(struct map_scratch *s, struct arena *arena, size_t n)
{
	s->sort = arena_take(arena, 2 * n, sizeof(uint64_t));
	s->place = arena_take(arena, n, sizeof(uint32_t));
	s->pixel = arena_take(arena, n, sizeof(uint32_t));
	s->a = arena_take(arena, n, sizeof(double));
	s->b = arena_take(arena, n, sizeof(double));
}

void map_ranks(double *rank, const float *map, size_t n, struct map_scratch *s)
{
	size_t next;

	order_rank(s->place, map, (int)n, 0, s->sort);
	for (size_t i = 0; i < n; i++)
		s->pixel[s->place[i]] = (uint32_t)i;
	for (size_t first = 0; first < n; first = next) {
		for (next = first + 1; next < n && map[s->pixel[next]] == map[s->pixel[first]];)
			next++;
		for (size_t k = first; k < next; k++) /* the mean of first + 1 .. next */
			rank[s->pixel[k]] = 0.5 * (double)(first + 1 + next);
	}
}

static double mean(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i];
	return sum / (double)n;
}

static double correlation(const double *a, const double *b, size_t n)
{
	double mean_a = mean(a, n), mean_b = mean(b, n), ab = 0, aa = 0, bb = 0;

	for (size_t i = 0; i < n; i++) {
		double u = a[i] - mean_a, v = b[i] - mean_b;

		ab += u * v;
		aa += u * u;
		bb += v * v;
	}
	double r = ab / (sqrt(aa) * sqrt(bb));

	return r > 1 ? 1 : r < -1 ? -1 : r; /* NaN stays */ /* a rounding beyond 1 */
}

double map_pearson(const float *a, const float *b, size_t n, struct map_scratch *s)
{
	if (map_constant(a, n) || map_constant(b, n))
		return NAN;
	for (size_t i = 0; i < n; i++) {
		s->a[i] = a[i];
		s->b[i] = b[i];
	}
	return correlation(s->a, s->b, n);
}

double map_spearman(const float *a, const float *b, size_t n, struct map_scratch *s)
{
	if (map_constant(a, n) || map_constant(b, n))
		return NAN;
	map_ranks(s->a, a, n, s);
	map_ranks(s->b, b, n, s);
	return correlation(s->a, s->b, n);
}

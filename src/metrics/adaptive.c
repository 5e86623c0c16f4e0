#include "metrics/adaptive.h"

#include <math.h>

/* FIRST points to begin with; at most ROUND more at a time, whatever the scorer's batch, so that the choice
 * does not depend on it. */
enum { FIRST = 16, ROUND = 8 };

/* Weight of a neighbour's rate beside a chord's own, and of the rate of a chord over which the curve varies
 * as much as it does on average: that much may hide between two equal values. Between 0.25 and 1, and 0.2 and
 * 0.5, it matters little. */
static const double neighbour = 0.5, hidden = 0.25;

void adaptive_carve(struct adaptive *a, struct arena *arena, int points)
{
	a->points = points;
	a->variance = arena_take(arena, (size_t)points, sizeof(double));
	a->right = arena_take(arena, (size_t)points, sizeof(int));
}

int adaptive_first(int *next, int points, double tolerance)
{
	int n = 0;

	if (points <= FIRST || tolerance <= 0) {
		for (; n < points; n++)
			next[n] = n;
		return n;
	}
	for (int i = 0; i < FIRST; i++) {
		double t = i / (FIRST - 1.0);
		int point = (int)((points - 1) * t * t * (3 - 2 * t) + 0.5);

		if (!n || point > next[n - 1])
			next[n++] = point;
	}
	return n;
}

/* Variance, for a path of r = 1, of the integral over all points from i to j less that of their chord. */
static double unit_variance(const double *at, int i, int j)
{
	double length = at[j] - at[i], cubes = 0;

	if (j - i < 2)
		return 0;
	for (int k = i; k < j; k++)
		cubes += (at[k + 1] - at[k]) * (at[k + 1] - at[k]) * (at[k + 1] - at[k]);
	return (length * length * length - cubes) / 12;
}

/* Squared difference of a chord over its length. */
static double rate(const struct adaptive *a, int i)
{
	double difference = a->value[a->right[i]] - a->value[i];

	return difference * difference / (a->at[a->right[i]] - a->at[i]);
}

/* Sets right; the mean slope, up or down. */
static double join(struct adaptive *a)
{
	int left = 0, last = a->points - 1;
	double variation = 0;

	for (int i = 1; i <= last; i++)
		if (a->scored[i]) {
			variation += fabs(a->value[i] - a->value[left]);
			a->right[left] = i;
			left = i;
		}
	return variation / (a->at[last] - a->at[0]);
}

/* Sets right and variance. */
static void judge(struct adaptive *a)
{
	int last = a->points - 1;
	double slope = join(a), before = 0, own = rate(a, 0);

	for (int i = 0; i < last; i = a->right[i]) {
		int j = a->right[i];
		double after = j < last ? rate(a, j) : 0, length = a->at[j] - a->at[i];
		double mean = (own + neighbour * (before + after)) / (1 + neighbour * ((i > 0) + (j < last)));

		a->variance[i] =
			j - i < 2 ? 0 : (mean + hidden * slope * slope * length) * unit_variance(a->at, i, j);
		before = own;
		own = after;
	}
}

static double total(const struct adaptive *a)
{
	double sum = 0;

	for (int i = 0; i < a->points - 1; i = a->right[i])
		sum += a->variance[i];
	return sum;
}

/* The chord to halve: of the largest variance; of equal ones the longest, then the first. -1: none. */
static int worst(const struct adaptive *a)
{
	int best = -1;

	for (int i = 0; i < a->points - 1; i = a->right[i]) {
		int length = a->right[i] - i;

		if (length < 2)
			continue;
		if (best < 0 || a->variance[i] > a->variance[best] ||
			(a->variance[i] == a->variance[best] && length > a->right[best] - best))
			best = i;
	}
	return best;
}

/* Halves a chord, as if its r were the same in both halves. */
static void halve(struct adaptive *a, int i)
{
	int j = a->right[i], middle = i + (j - i) / 2;
	double r = a->variance[i] / unit_variance(a->at, i, j);

	a->variance[i] = r * unit_variance(a->at, i, middle);
	a->variance[middle] = r * unit_variance(a->at, middle, j);
	a->right[i] = middle;
	a->right[middle] = j;
}

int adaptive_next(struct adaptive *a, double tolerance, int *next)
{
	int n = 0;

	judge(a);
	for (int k = 0; k < ROUND && total(a) >= tolerance * tolerance; k++) {
		int i = worst(a);

		if (i < 0)
			break;
		halve(a, i);
	}
	for (int i = 0; i < a->points - 1; i = a->right[i])
		if (!a->scored[i])
			next[n++] = i;
	return n;
}

double adaptive_error(struct adaptive *a)
{
	judge(a);
	return sqrt(total(a));
}

int adaptive_fill(struct adaptive *a)
{
	int n = 1;

	join(a);
	for (int i = 0; i < a->points - 1; i = a->right[i], n++) {
		int j = a->right[i];
		double slope = (a->value[j] - a->value[i]) / (a->at[j] - a->at[i]);

		for (int k = i + 1; k < j; k++)
			a->value[k] = a->value[i] + slope * (a->at[k] - a->at[i]);
	}
	return n;
}

double adaptive_expected(int points, double tolerance)
{
	double n = tolerance > 0 ? 38 * pow(tolerance / 0.002, -2.0 / 3) : points;

	n = n > FIRST ? n : FIRST;
	return n < points ? n : points;
}

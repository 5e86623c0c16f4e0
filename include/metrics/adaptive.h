/*
 * Which points of a curve to score when its integral is wanted to a tolerance. Pure functions of what has
 * been scored so far: no I/O, no randomness.
 *
 * A curve over ranked pixels is rough: between two points it strays from their chord by about the square root
 * of their distance, as a Brownian path does, and no smooth interpolant meets it better than the chord. So
 * the integral is the trapezoid over the scored points; the error of a chord of length L over a path whose
 * variance grows by r per unit has the variance r L^3 / 12; and that variance is smallest in all where it is
 * the same in every chord: the worst chord is halved. r is taken from the squared differences of the chord
 * and its neighbours, and from the total variation, against features that have not been seen yet.
 */
#ifndef METRICS_ADAPTIVE_H
#define METRICS_ADAPTIVE_H

#include "base/arena.h"

struct adaptive {
	int points;
	const double *at; /* (points), ascending */
	double *value;    /* (points): set by the caller where scored */
	double *scored;   /* (points): 1 where value is set, else 0; both ends are before adaptive_next() */
	double *variance; /* scratch (points): of the chord that begins at a point */
	int *right;       /* scratch (points): where that chord ends */
};

/* Takes the scratch memory from the arena. */
void adaptive_carve(struct adaptive *a, struct arena *arena, int points);

/* The points to begin with, ascending, into next (points); returns how many. They lie closer at both ends.
 * Tolerance 0: all points. */
int adaptive_first(int *next, int points, double tolerance);

/* The points to score next, ascending, into next (points); 0: the standard error is below the tolerance, or
 * every point is scored. */
int adaptive_next(struct adaptive *a, double tolerance, int *next);

/* Standard error of the trapezoid over the scored points, as an estimate of the one over all points. */
double adaptive_error(struct adaptive *a);

/* Sets the values between scored points to their chord; returns how many points are scored. */
int adaptive_fill(struct adaptive *a);

/* Points that a curve of that many takes on average: as measured with DeiT-Tiny on photographs (deletion and
 * insertion, preset rise, tolerances 0.0005 to 0.004), to 15 %. */
double adaptive_expected(int points, double tolerance);

#endif

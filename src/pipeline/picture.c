#include "pipeline/picture.h"

#include <math.h>
#include <stddef.h>

/* matplotlib's inferno (CC0) at 33 equal steps. */
static const unsigned char inferno[33][3] = {{0, 0, 4}, {4, 3, 18}, {11, 7, 36}, {21, 11, 55}, {33, 12, 74},
	{47, 10, 91}, {61, 9, 101}, {74, 12, 107}, {87, 16, 110}, {100, 21, 110}, {113, 25, 110},
	{125, 30, 109}, {138, 34, 106}, {151, 39, 102}, {163, 44, 97}, {176, 49, 91}, {188, 55, 84},
	{199, 62, 76}, {210, 70, 68}, {219, 80, 59}, {228, 90, 49}, {235, 102, 40}, {241, 115, 29},
	{246, 128, 19}, {249, 142, 9}, {251, 157, 7}, {252, 172, 17}, {251, 188, 33}, {249, 203, 53},
	{245, 219, 76}, {242, 234, 105}, {243, 246, 138}, {252, 255, 164}};

void picture_colour(unsigned char rgb[3], double value)
{
	double at = 32 * (value > 0 ? fmin(value, 1) : 0); /* NaN becomes 0 */
	int i = at < 31 ? (int)at : 31;

	for (int c = 0; c < 3; c++)
		rgb[c] = (unsigned char)lrint(inferno[i][c] + (at - i) * (inferno[i + 1][c] - inferno[i][c]));
}

static double maximum(const float *map, int height, int width)
{
	double max = 0;

	for (size_t i = 0; i < (size_t)height * (size_t)width; i++)
		max = fmax(max, map[i]);
	return max > 0 ? max : 1;
}

void picture_overlay(unsigned char *out, const unsigned char *photo, const float *map, int height, int width)
{
	double max = maximum(map, height, width);

	for (size_t i = 0; i < (size_t)height * (size_t)width; i++) {
		double value = map[i] > 0 ? map[i] / max : 0, weight = 0.85 * sqrt(value);
		double grey =
			0.75 * (0.299 * photo[3 * i] + 0.587 * photo[3 * i + 1] + 0.114 * photo[3 * i + 2]);
		unsigned char colour[3];

		/* the low end of the scale is black: colour starts where it can be seen */
		picture_colour(colour, 0.25 + 0.75 * value);
		for (int c = 0; c < 3; c++)
			out[3 * i + (size_t)c] =
				(unsigned char)lrint((1 - weight) * grey + weight * colour[c]);
	}
}

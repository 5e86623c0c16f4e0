#include "attribution/postprocess.h"

#include "kernels/filter.h"

#include <math.h>

size_t postprocess_scratch(int height, int width)
{
	return 2 * (size_t)height * (size_t)width;
}

double normalise_map(float *map, const float *raw, int height, int width)
{
	size_t n = (size_t)height * (size_t)width;
	float max = 0;

	for (size_t i = 0; i < n; i++)
		max = fmaxf(max, fabsf(raw[i]));
	for (size_t i = 0; i < n; i++)
		map[i] = max > 0 ? raw[i] / max : 0;
	return max;
}

double postprocess_map(float *map, const float *raw, float *scratch, int height, int width)
{
	size_t n = (size_t)height * (size_t)width;
	float *relu = scratch, *work = scratch + n, taps[11];

	filter_gaussian(taps, 11, 7);
	for (size_t i = 0; i < n; i++)
		relu[i] = raw[i] > 0 ? raw[i] : 0;
	filter_separable(map, relu, work, taps, 11, height, width);
	for (size_t i = 0; i < n; i++)
		relu[i] = 0.5f * (relu[i] + map[i]);
	filter_bilateral(map, relu, 5, 0.5, 0.05, height, width);
	return normalise_map(map, map, height, width);
}

#include "model/pos_embed.h"

#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Keys' cubic kernel. */
static double cubic(double x, double a)
{
	x = fabs(x);
	if (x < 1)
		return ((a + 2) * x - (a + 3)) * x * x + 1;
	if (x < 2)
		return (((x - 5) * x + 8) * x - 4) * a;
	return 0;
}

/* weight (to x from): row i resamples output i. With antialiasing, shrinking widens the kernel and what lies
 * outside is left out; without, the ends are repeated. */
static double *weights(int to, int from, bool antialias)
{
	double *weight = x_calloc((size_t)to * (size_t)from, sizeof(*weight));
	double scale = (double)from / to, wide = antialias && scale > 1 ? scale : 1;

	for (int i = 0; i < to; i++) {
		double *row = weight + (size_t)i * (size_t)from, centre = scale * (i + 0.5) - 0.5, sum = 0;

		for (int j = -2; j < from + 2; j++) {
			int at = j < 0 ? 0 : j >= from ? from - 1 : j;
			double w = cubic((j - centre) / wide, antialias ? -0.5 : -0.75);

			if (antialias && at != j)
				continue;
			row[at] += w;
			sum += w;
		}
		for (int j = 0; j < from; j++)
			row[j] /= sum;
	}
	return weight;
}

void pos_embed_resample(
	float *out, int h, int w, const float *table, int from_h, int from_w, int width, bool antialias)
{
	if (h == from_h && w == from_w) {
		memcpy(out, table, (size_t)(h * w) * (size_t)width * sizeof(*out));
		return;
	}
	double *down = weights(h, from_h, antialias), *across = weights(w, from_w, antialias),
	       *row = x_calloc((size_t)width, sizeof(*row));

	for (int i = 0; i < h * w; i++, out += width) {
		memset(row, 0, (size_t)width * sizeof(*row));
		for (int k = 0; k < from_h * from_w; k++) {
			double weight =
				down[i / w * from_h + k / from_w] * across[i % w * from_w + k % from_w];

			for (int c = 0; weight != 0 && c < width; c++)
				row[c] += weight * (double)table[(size_t)k * (size_t)width + (size_t)c];
		}
		for (int c = 0; c < width; c++)
			out[c] = (float)row[c];
	}
	free(down);
	free(across);
	free(row);
}

void pos_embed_sincos(float *out, int h, int w, int width)
{
	int quarter = width / 4;

	for (int i = 0; i < h * w; i++, out += width)
		for (int k = 0; k < quarter; k++) {
			double f = pow(10000, -(double)k / (quarter - 1));

			out[k] = (float)sin(i % w * f);
			out[quarter + k] = (float)cos(i % w * f);
			out[2 * quarter + k] = (float)sin(i / w * f);
			out[3 * quarter + k] = (float)cos(i / w * f);
		}
}

#include "kernels/warp.h"

#include "base/simd.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Source position of an output pixel (j, i): x = x0 + xj*j + xi*i, and y likewise; affine in (j, i). */
struct map {
	double x0, xj, xi, y0, yj, yi;
};

static struct map source_map(const struct warp *w, int height, int width)
{
	double a = w->angle * (3.14159265358979323846 / 180.0), c = cos(a), s = sin(a);
	/* A = R(angle) diag(scale_x, scale_y); its inverse: */
	double i00 = c / w->scale_x, i01 = s / w->scale_x, i10 = -s / w->scale_y, i11 = c / w->scale_y;
	/* D^-1 E per axis: the matrix is normalised with corners aligned, the sampler is not. */
	double kx = (width - 1.0) / width, ky = (height - 1.0) / height;
	double cx = (width - 1) / 2.0, cy = (height - 1) / 2.0;
	struct map m;

	m.xj = i00;
	m.xi = i01 * ky / kx;
	m.x0 = cx - m.xj * cx - m.xi * cy - (i00 * w->tx + i01 * w->ty) / kx;
	m.yj = i10 * kx / ky;
	m.yi = i11;
	m.y0 = cy - m.yj * cx - m.yi * cy - (i10 * w->tx + i11 * w->ty) / ky;
	return m;
}

enum { CHUNK = 64 }; /* output pixels whose taps are worked out together */

/* The four bilinear taps of pixels side by side: offsets into a channel, weight 0 for those outside. */
struct taps {
	int32_t at[4][CHUNK];
	float weight[4][CHUNK];
};

/* floor(x) for |x| < 2^51; beyond that some number as far outside. (floor() itself is not vectorised.) */
SIMD_INLINE double floor_lane(double x)
{
	const double round = 0x1.8p52; /* adding it rounds to an integer */
	double nearest = x + round - round;

	return nearest - double_of(bits_of_double(1.0) & -(int64_t)(nearest > x));
}

/* Tap k (right neighbour: k & 1, lower one: k & 2) of the pixels (j + c, i). A flip of the source mirrors its
 * column. */
SIMD_CLONES
static void find_tap(
	struct taps *t, int k, const struct map *m, int flip, int j, int i, int height, int width)
{
	double right = k & 1, down = k >> 1, w = width, h = height;
	double from = flip ? w - 1 : 0, step = flip ? -1 : 1;

	SIMD_LOOP
	for (int c = 0; c < CHUNK; c++) {
		double x = m->x0 + m->xj * (j + c) + m->xi * i, y = m->y0 + m->yj * (j + c) + m->yi * i;
		double fx = floor_lane(x), fy = floor_lane(y), tx = fx + right, ty = fy + down;
		/* 1 - fraction for the tap at the floor, the fraction for its neighbour */
		double wx = 1 - right + (2 * right - 1) * (x - fx), wy = 1 - down + (2 * down - 1) * (y - fy);
		/* compared as doubles: far outside would overflow an int; NaN is outside too */
		int64_t inside = -(int64_t)((tx >= 0) & (tx < w) & (ty >= 0) & (ty < h));
		double at = double_of(bits_of_double(ty * w + from + step * tx) & inside);

		t->weight[k][c] = (float)double_of(bits_of_double(wx * wy) & inside);
		t->at[k][c] = (int32_t)at;
	}
}

static int find_taps(struct taps *t, const struct map *m, int flip, int j, int i, int height, int width)
{
	for (int k = 0; k < 4; k++)
		find_tap(t, k, m, flip, j, i, height, width);
	return width - j < CHUNK ? width - j : CHUNK;
}

SIMD_CLONES
static void gather(float *out, const float *plane, const struct taps *t, int n)
{
	SIMD_LOOP
	for (int c = 0; c < n; c++)
		out[c] = t->weight[0][c] * plane[t->at[0][c]] + t->weight[1][c] * plane[t->at[1][c]] +
			 t->weight[2][c] * plane[t->at[2][c]] + t->weight[3][c] * plane[t->at[3][c]];
}

void warp_forward(float *out, const float *in, const struct warp *w, int channels, int height, int width)
{
	struct map m = source_map(w, height, width);
	size_t plane = (size_t)height * (size_t)width;
	struct taps t;

	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j += CHUNK) {
			int n = find_taps(&t, &m, w->flip, j, i, height, width);
			size_t at = (size_t)i * (size_t)width + (size_t)j;

			for (int c = 0; c < channels; c++)
				gather(out + (size_t)c * plane + at, in + (size_t)c * plane, &t, n);
		}
}

void warp_adjoint(float *out, const float *in, const struct warp *w, int channels, int height, int width)
{
	struct map m = source_map(w, height, width);
	size_t plane = (size_t)height * (size_t)width;
	struct taps t;

	memset(out, 0, (size_t)channels * plane * sizeof(*out));
	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j += CHUNK) {
			int n = find_taps(&t, &m, w->flip, j, i, height, width);

			for (int c = 0; c < channels; c++) {
				const float *g = in + (size_t)c * plane + (size_t)i * (size_t)width + j;
				float *p = out + (size_t)c * plane;

				for (int l = 0; l < n; l++)
					for (int k = 0; k < 4; k++)
						p[t.at[k][l]] += t.weight[k][l] * g[l];
			}
		}
}

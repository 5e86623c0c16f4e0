#include "kernels/warp.h"

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

/* The four bilinear taps of one output pixel: offsets into a channel, weight 0 for those outside.
 * A flip of the source mirrors the tap's column. */
struct taps {
	ptrdiff_t at[4];
	float weight[4];
};

static struct taps taps_at(const struct map *m, int flip, int j, int i, int height, int width)
{
	double x = m->x0 + m->xj * j + m->xi * i, y = m->y0 + m->yj * j + m->yi * i;
	double fx = floor(x), fy = floor(y);
	struct taps t;

	for (int k = 0; k < 4; k++) {
		int right = k & 1, down = k >> 1;
		double tx = fx + right, ty = fy + down;
		double wx = right ? x - fx : 1 - (x - fx), wy = down ? y - fy : 1 - (y - fy);
		/* compared as doubles: far outside would overflow an int; NaN is outside too */
		int inside = tx >= 0 && tx < width && ty >= 0 && ty < height;
		int column = inside ? (int)tx : 0, row = inside ? (int)ty : 0;

		t.weight[k] = inside ? (float)(wx * wy) : 0;
		t.at[k] = inside ? (ptrdiff_t)row * width + (flip ? width - 1 - column : column) : 0;
	}
	return t;
}

void warp_forward(float *out, const float *in, const struct warp *w, int channels, int height, int width)
{
	struct map m = source_map(w, height, width);
	size_t plane = (size_t)height * (size_t)width;

	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j++) {
			struct taps t = taps_at(&m, w->flip, j, i, height, width);
			float *o = out + (size_t)i * (size_t)width + j;

			for (int c = 0; c < channels; c++) {
				const float *p = in + (size_t)c * plane;

				o[(size_t)c * plane] = t.weight[0] * p[t.at[0]] + t.weight[1] * p[t.at[1]] +
						       t.weight[2] * p[t.at[2]] + t.weight[3] * p[t.at[3]];
			}
		}
}

void warp_adjoint(float *out, const float *in, const struct warp *w, int channels, int height, int width)
{
	struct map m = source_map(w, height, width);
	size_t plane = (size_t)height * (size_t)width;

	memset(out, 0, (size_t)channels * plane * sizeof(*out));
	for (int i = 0; i < height; i++)
		for (int j = 0; j < width; j++) {
			struct taps t = taps_at(&m, w->flip, j, i, height, width);
			const float *g = in + (size_t)i * (size_t)width + j;

			for (int c = 0; c < channels; c++) {
				float *p = out + (size_t)c * plane, v = g[(size_t)c * plane];

				for (int k = 0; k < 4; k++)
					p[t.at[k]] += t.weight[k] * v;
			}
		}
}

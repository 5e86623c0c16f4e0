/*
 * DAVE's geometric warp of an image (channels x height x width) and its exact adjoint
 * (methods.md section 3): horizontal flip first, then the affine map about the image centre as kornia's
 * RandomAffine applies it, bilinear, zeros outside. Coordinates are computed in double precision.
 */
#ifndef KERNELS_WARP_H
#define KERNELS_WARP_H

struct warp {
	int flip;      /* horizontal flip before everything else */
	double angle;  /* degrees; positive turns the picture clockwise */
	double tx, ty; /* shift in pixels, right and down */
	double scale_x, scale_y;
};

/* out = warp(in); out and in do not overlap. */
void warp_forward(float *out, const float *in, const struct warp *w, int channels, int height, int width);

/* out = warp^T(in): <warp(a), b> = <a, warp^T(b)>. out is overwritten; out and in do not overlap. */
void warp_adjoint(float *out, const float *in, const struct warp *w, int channels, int height, int width);

#endif

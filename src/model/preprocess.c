#include "model/preprocess.h"

#include "formats/resize.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* The short side gets `size`, as torchvision's Resize(int) does it. */
static void resize_short_side(struct preprocess_geometry *g, int size, int width, int height)
{
	/* a thread of pixels would overflow: it ends at a size that preprocess_pixels() refuses */
	double longest = width <= height ? (double)size * height / width : (double)size * width / height;
	int other = (int)fmin(longest, 1e9);

	g->resized_w = width <= height ? size : other;
	g->resized_h = width <= height ? other : size;
}

struct preprocess_geometry preprocess_geometry(const struct vit_config *c, int width, int height)
{
	struct preprocess_geometry g;
	/* transformers names both sizes, and their ratio may fall short of them by a rounding */
	double more = c->layout == VIT_TRANSFORMERS ? 1e-6 : 0;
	int w = (int)floor(c->image_w / c->crop_pct + more), h = (int)floor(c->image_h / c->crop_pct + more);

	if (c->squash) {
		g.resized_w = w;
		g.resized_h = h;
	} else if (w == h) {
		resize_short_side(&g, h, width, height);
	} else { /* the smallest that covers, rounded: timm's ResizeKeepRatio */
		double ratio = fmin((double)height / h, (double)width / w);

		g.resized_w = (int)fmin(rint(width / ratio), 1e9);
		g.resized_h = (int)fmin(rint(height / ratio), 1e9);
	}
	/* timm: rint() in the default rounding mode is half to even, as Python's round(); transformers rounds
	 * down */
	double left = (g.resized_w - c->image_w) / 2.0, top = (g.resized_h - c->image_h) / 2.0;
	g.left = (int)(c->layout == VIT_TRANSFORMERS ? floor(left) : rint(left));
	g.top = (int)(c->layout == VIT_TRANSFORMERS ? floor(top) : rint(top));
	return g;
}

int preprocess_pixels(
	unsigned char *pixels, const struct image *image, const struct vit_config *c, struct err *err)
{
	struct preprocess_geometry g = preprocess_geometry(c, image->width, image->height);
	/* timm resizes bilinearly whatever the checkpoint says where the input is not square */
	bool keeps_ratio = !c->squash && c->image_w != c->image_h && c->layout == VIT_TIMM;
	enum resize_filter filter = keeps_ratio ? RESIZE_BILINEAR : c->interpolation;
	int rc = -1;

	if ((double)g.resized_w * g.resized_h > IMAGE_MAX_PIXELS)
		return err_set(err, "%d x %d pixels are too thin to resize to %d x %d", image->width,
			image->height, g.resized_w, g.resized_h);
	unsigned char *resized = malloc((size_t)g.resized_w * (size_t)g.resized_h * 3);
	if (!resized)
		return err_set(err, "no memory for %d x %d pixels", g.resized_w, g.resized_h);
	if (!resize_u8(resized, g.resized_w, g.resized_h, image->rgb, image->width, image->height, filter,
		    err)) {
		crop_u8(pixels, c->image_w, c->image_h, resized, g.resized_w, g.resized_h, g.left, g.top);
		rc = 0;
	}
	free(resized);
	return rc;
}

static void sources(int *source, int count, int start, int size, int resized)
{
	for (int i = 0; i < count; i++)
		source[i] = (int)((2 * ((int64_t)i + start) + 1) * size / (2 * (int64_t)resized));
}

void preprocess_sources(int *column, int *row, const struct vit_config *c, int width, int height)
{
	struct preprocess_geometry g = preprocess_geometry(c, width, height);

	sources(column, c->image_w, g.left, width, g.resized_w);
	sources(row, c->image_h, g.top, height, g.resized_h);
}

void preprocess_normalise(float *x, const unsigned char *pixels, const struct vit_config *c)
{
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	for (size_t p = 0; p < plane; p++)
		for (size_t ch = 0; ch < 3; ch++)
			x[ch * plane + p] = ((float)pixels[3 * p + ch] / 255.0f - c->mean[ch]) / c->std[ch];
	for (size_t i = 0; c->bcos && i < 3 * plane; i++)
		x[3 * plane + i] = 1 - x[i];
}

void preprocess_black(float *black, const struct vit_config *c)
{
	for (int ch = 0; ch < 3; ch++) {
		black[ch] = (0.0f - c->mean[ch]) / c->std[ch];
		if (c->bcos)
			black[3 + ch] = 1 - black[ch];
	}
}

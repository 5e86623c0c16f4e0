/*
 * From a picture to what the network sees, as the checkpoint's own configuration says (methods.md section 1):
 * short side resized to floor(size / crop_pct), centre crop, /255, (v - mean)/std; for an input that is not
 * square the smallest picture that covers it, and with `squash` both sides resized at once. The 8-bit result
 * equals Pillow's byte for byte.
 */
#ifndef MODEL_PREPROCESS_H
#define MODEL_PREPROCESS_H

#include "base/err.h"
#include "formats/image.h"
#include "model/vit_config.h"

/* The resize and the crop of a picture of given size. */
struct preprocess_geometry {
	int resized_w, resized_h; /* after the resize */
	int left, top;            /* of the crop in the resized picture */
};

struct preprocess_geometry preprocess_geometry(const struct vit_config *c, int width, int height);

/* pixels (H, W, 3), 8 bits: the picture resized and cropped. Errors: no memory, a picture too thin to resize.
 */
int preprocess_pixels(
	unsigned char *pixels, const struct image *image, const struct vit_config *c, struct err *err);

/* Where the frame's pixels come from: column (W) and row (H) receive the column and the row of the picture,
 * of width x height pixels, that the centres of the frame's columns and rows fall into: floor((j + 0.5 +
 * left) * width / resized_w), exactly; in [0, width) and [0, height), never falling (methods.md section 5).
 * The picture is one that preprocess_pixels() took. */
void preprocess_sources(int *column, int *row, const struct vit_config *c, int width, int height);

/* x (3, H, W) = (pixels / 255 - mean) / std; of a B-cos network (6, H, W), the last three 1 - the first. */
void preprocess_normalise(float *x, const unsigned char *pixels, const struct vit_config *c);

/* black (channels): what preprocess_normalise() makes of a black pixel. */
void preprocess_black(float *black, const struct vit_config *c);

#endif

/* Positions: the table at another grid, as timm resamples it (resample_abs_pos_embed; methods.md section 1),
 * or sines and cosines. */
#ifndef MODEL_POS_EMBED_H
#define MODEL_POS_EMBED_H

#include <stdbool.h>

/* out (h x w, width) from table (from_h x from_w, width): bicubic (a = -0.5) with antialiasing, pixel centres
 * aligned as torch's interpolate(align_corners=False, antialias=True) has them, in double; without
 * antialiasing torch's plain bicubic (a = -0.75, ends repeated). A copy where the grids agree. */
void pos_embed_resample(
	float *out, int h, int w, const float *table, int from_h, int from_w, int width, bool antialias);

/* out (h x w, width) = sines and cosines, as B-cos v2 has them: sin and cos of column * f, then of row * f,
 * at width / 4 frequencies f from 1 down to 1 / 10000. width: a multiple of 4, at least 8. */
void pos_embed_sincos(float *out, int h, int w, int width);

#endif

/* From the raw map to the map that people look at (methods.md section 3, "Post-processing"). */
#ifndef ATTRIBUTION_POSTPROCESS_H
#define ATTRIBUTION_POSTPROCESS_H

#include <stddef.h>

/* Floats of scratch that postprocess_map() needs. */
size_t postprocess_scratch(int height, int width);

/* map (H, W) from raw (H, W), the channel sum: ReLU; half of it plus half of its 11x11 Gaussian (sigma 7);
 * 5x5 bilateral (0.5 px, 0.05); divided by the maximum. Returns that maximum; an all-zero map stays zero
 * (returns 0). */
double postprocess_map(float *map, const float *raw, float *scratch, int height, int width);

/* map = raw divided by its largest magnitude, which is returned; an all-zero map stays zero (returns 0). */
double normalise_map(float *map, const float *raw, int height, int width);

#endif

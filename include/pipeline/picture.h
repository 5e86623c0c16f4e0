/* Maps as pictures: a heat map over the photograph. */
#ifndef PIPELINE_PICTURE_H
#define PIPELINE_PICTURE_H

/* Colour of a value in [0, 1] on matplotlib's "inferno" scale (perceptually uniform, readable in grey). */
void picture_colour(unsigned char rgb[3], double value);

/* out (h, w, 3) = the photograph in grey, darkened, with the map in colour over it. map (h, w): negative
 * values count as 0, its maximum is the top of the scale. out may be photo. */
void picture_overlay(unsigned char *out, const unsigned char *photo, const float *map, int height, int width);

#endif

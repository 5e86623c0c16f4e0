/* attnlrp and chefer in double precision, written for reading: every relevance explicitly, rule by rule, for
 * all tokens of all blocks. Of networks with a class token, with and without LayerScale. */
#ifndef UNIT_NAIVE_LRP_H
#define UNIT_NAIVE_LRP_H

#include "model/vit.h"

/* want (H, W) of attnlrp; both gammas 0: rule epsilon. */
void naive_attnlrp(double *want, const struct vit *vit, const float *x, int target, double gamma_linear,
	double gamma_patch);

/* want (patches) of chefer before it is enlarged. dprob: the gradients of the attention matrices, as
 * vit_backward_with() gives them. */
void naive_chefer(
	double *want, const struct vit *vit, const float *x, int target, int start, const float *dprob);

#endif

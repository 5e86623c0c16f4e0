#ifndef MODEL_VIT_MODE_H
#define MODEL_VIT_MODE_H

/* What a forward pass keeps for the backward pass. */
enum vit_mode {
	VIT_FORWARD,   /* nothing */
	VIT_EFFECTIVE, /* attention matrices, rstd, gates, cosines: the frozen backward (methods.md section 2)
			*/
	VIT_GRADIENT,  /* also q, k, v and the normalised tokens: the true gradient */
};

#endif

/*
 * Recomputing from recorded inputs what another implementation computed, under the same names, so that anyone
 * can hold this program against it. The layouts are those of tests/golden (see tests/README.md):
 *
 *   a batch   attributes num_heads, ln_eps; w/<timm names>, x (B,3,H,W), y (B), and per run nK:
 *             t (K), angle flip scale tx ty (K,B), noise (K,B,3,H,W)
 *             -> logits, plain_grad, weff_clean; nK/{augmented,noisy,weff,maps,mask,agg,post}
 *   images    per group imageN, attribute target: x (3,H,W), t angle flip scale tx ty (K), noise (K,3,H,W)
 *             -> imageN/{logits,plain_grad,weff_clean,augmented,...,post}, and the deletion curves of the
 * recorded post where the group has them: curve_dave (least first, 128 strides to 90 %, 31x31 blur) and
 *             curve_most_constant (most first, 32 steps to 50 %, constant)
 *
 * weff is g_k of methods.md section 3 (with its factor 1 - t, in the frame of x), maps is weff * x.
 */
#ifndef PIPELINE_REPLAY_H
#define PIPELINE_REPLAY_H

#include "base/err.h"

/* Reads `input`, writes `output` (replaced; removed on error). model_dir: checkpoint folder, or NULL to use
 * the recorded weights w/. */
int replay_file(const char *input, const char *model_dir, const char *output, struct err *err);

/* One picture through a checkpoint: writes pixels_u8 (H,W,3), x (3,H,W) and logits. */
int replay_image(const char *image, const char *model_dir, const char *output, struct err *err);

#endif

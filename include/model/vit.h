/*
 * The Vision Transformer: a checkpoint loaded once and shared, and the workspace of one thread of work.
 *
 * Shapes: x (n, 3, H, W) normalised; logits and cotangents (n, classes); dx as x. n at most the batch that
 * the workspace was made for. All float32, row-major.
 *
 * The bits of a result depend on n (BLAS picks kernels by shape), never on the other images' values.
 */
#ifndef MODEL_VIT_H
#define MODEL_VIT_H

#include "base/arena.h"
#include "base/err.h"
#include "model/vit_config.h"
#include "model/vit_weights.h"

/* What a forward pass keeps for the backward pass. */
enum vit_mode {
	VIT_FORWARD,   /* nothing */
	VIT_EFFECTIVE, /* attention matrices, rstd, GELU gates: the frozen backward (methods.md section 2) */
	VIT_GRADIENT,  /* also q, k, v and the normalised tokens: the true gradient */
};

struct vit {
	struct vit_config config;
	struct vit_weights weights;
	struct safetensors file; /* mapped read-only */
	char *path;              /* of the safetensors file */
};

/* Loads DIR/config.json and DIR/model.safetensors. vit is zeroed on error. */
int vit_load(struct vit *vit, const char *dir, struct err *err);

/* Takes over an open file (or a list of tensors in memory) and a configuration. */
int vit_init(struct vit *vit, const struct vit_config *config, struct safetensors *file, struct err *err);

void vit_release(struct vit *vit);

/* 0 while nobody has written into the checkpoint since it was loaded. */
int vit_unchanged(const struct vit *vit, struct err *err);

/* Multiply-adds of a pass over one image, for estimates. */
double vit_macs_forward(const struct vit_config *c);
double vit_macs_backward(const struct vit_config *c, enum vit_mode mode);

/* Tokens of an image that leave a block: all of them; of the last block only the one that is classified, so
 * that its queries, projection and MLP are computed for that row alone (exact: nothing reads the others). */
int vit_queries(const struct vit_config *c, int block);

/* What one block keeps; leaving = n * vit_queries(). */
struct vit_kept {
	float *prob;          /* (n, heads, queries, tokens) */
	float *rstd1, *rstd2; /* (n * tokens), (leaving) */
	float *slope;         /* (leaving, hidden): frozen gate or true derivative of GELU */
	float *qkv;           /* (n * tokens, 3 width), VIT_GRADIENT */
	float *xhat1, *xhat2; /* (n * tokens, width), (leaving, width), VIT_GRADIENT */
};

struct vit_work {
	enum vit_mode mode; /* the most that forward passes may keep */
	int batch;
	struct arena arena;
	struct vit_kept *blocks;    /* depth of them */
	float *rstd, *xhat;         /* of the final norm, class token only: (n), (n, width) */
	float *tokens, *normed;     /* (n * tokens, width) */
	float *qkv, *mixed;         /* (n * tokens, 3 width), (n * tokens, width) */
	float *hidden;              /* (n * tokens, hidden) */
	float *prob, *rstd_scratch; /* scratch of one block */
	float *patches;             /* (n * patches, 3 patch^2) */
	float *classified;          /* (n, width): class tokens of the last block, later their cotangents */
	float *pooled;              /* (n, width): those normalised */
	enum vit_mode last_mode;    /* what the last forward pass kept */
	int last_n;
};

/* Memory for passes of up to `batch` images; mode is the most that a pass will keep. */
void vit_work_init(struct vit_work *w, const struct vit *vit, enum vit_mode mode, int batch);
void vit_work_release(struct vit_work *w);

/* Bytes that vit_work_init() would allocate. */
size_t vit_work_bytes(const struct vit_config *c, enum vit_mode mode, int batch);

/* logits (n, classes) of x (n, 3, H, W); keeps what `mode` needs. */
void vit_forward(
	const struct vit *vit, struct vit_work *w, float *logits, const float *x, int n, enum vit_mode mode);

/*
 * Where a logit comes from. The frozen network is affine with the frozen operators as coefficients, so the
 * parts sum to <cotangent, logits> (methods.md section 2).
 */
struct vit_account {
	double pixels, class_token, positions, biases;
};

/* dx (n, 3, H, W) = adjoint of the last forward pass applied to the cotangent (n, classes): the true gradient
 * after VIT_GRADIENT, the frozen one after VIT_EFFECTIVE. account (n of them) may be NULL; only after
 * VIT_EFFECTIVE do its parts have a meaning; `pixels` then needs x, the images of the forward pass. */
void vit_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const float *x, struct vit_account *account);

/* The same for `per` cotangents of each image of the forward pass, which they share: cotangent (n * per,
 * classes), image by image; dx and account likewise. n * per at most the batch of w. */
void vit_backward_shared(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	int per, const float *x, struct vit_account *account);

/* softmax probability of class y among logits (classes), in double precision. */
double vit_probability(const float *logits, int classes, int y);

#endif

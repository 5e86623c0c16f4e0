/*
 * The Vision Transformer: a checkpoint loaded once and shared, and the workspace of one thread of work.
 *
 * Shapes: x (n, channels, H, W) normalised; logits and cotangents (n, classes); dx as x. n at most the batch
 * that the workspace was made for. All float32, row-major.
 *
 * The bits of a result depend on n (BLAS picks kernels by shape), never on the other images' values.
 */
#ifndef MODEL_VIT_H
#define MODEL_VIT_H

#include "base/arena.h"
#include "base/err.h"
#include "model/stem.h"
#include "model/vit_config.h"
#include "model/vit_mode.h"
#include "model/vit_weights.h"

#include <stdint.h>

struct vit {
	struct vit_config config;
	struct vit_weights weights;
	struct safetensors file; /* mapped read-only */
	struct safetensors head; /* of an external head; empty where there is none */
};

/* Loads DIR/config.json and DIR/model.safetensors (or its shards) of timm or transformers; o may be NULL (its
 * head_classes and head_inputs are not read). vit is zeroed on error. */
int vit_load(struct vit *vit, const char *dir, const struct vit_options *o, struct err *err);

/* Takes over an open file (or a list of tensors in memory) and a configuration. */
int vit_init(struct vit *vit, const struct vit_config *config, struct safetensors *file, struct err *err);

void vit_release(struct vit *vit);

/* 0 while nobody has written into the checkpoint since it was loaded. */
int vit_unchanged(const struct vit *vit, struct err *err);

/* Multiply-adds of a pass over one image, for estimates. */
double vit_macs_forward(const struct vit_config *c);
double vit_macs_backward(const struct vit_config *c, enum vit_mode mode);

/* Tokens of an image that leave a block: all of them, the first ones; of the last block only those that are
 * classified where the patches are not, so that queries, projection and MLP are computed for their rows alone
 * (exact: nothing reads the others). */
int vit_queries(const struct vit_config *c, int block);

/* What a norm keeps: rstd (rows), and for the true gradient xhat (rows, width). */
struct vit_norm {
	float *rstd, *xhat;
};

/* What a B-cos layer keeps: its cosines (rows, out), and for the true gradient its inputs (rows, in) and
 * their norms (rows). */
struct vit_unit {
	float *cosine, *x, *norm;
};

/* What one block keeps; leaving = n * vit_queries(). */
struct vit_kept {
	float *prob;                  /* (n, heads, queries, tokens) */
	struct vit_norm norm1, norm2; /* (n * tokens), (leaving) */
	struct vit_norm qk;           /* of the norms of q and k: (n * tokens, 2, heads), VIT_GRADIENT */
	float *activation; /* (leaving, hidden): its frozen slope, or what it takes after VIT_GRADIENT */
	float *gate;       /* the gate that SwiGLU takes, VIT_GRADIENT */
	float *qkv;        /* (n * tokens, 3 width), VIT_GRADIENT */
	float *entering;   /* the residual stream that enters (n * tokens, width), VIT_GRADIENT */
	struct vit_unit proj, fc1, fc2; /* of a B-cos network, whose MLP has no activation */
};

struct vit_work {
	enum vit_mode mode; /* the most that forward passes may keep */
	int batch;          /* images of a forward pass at most */
	int cotangents;     /* of a backward pass at most; not less than batch */
	struct arena arena;
	struct vit_kept *blocks;       /* depth of them */
	struct vit_norm pre, last, fc; /* of norm_pre (n * tokens), norm (leaving), fc_norm (n * parts) */
	struct vit_norm scratch;       /* of a norm that nothing is kept of */
	float *tokens, *normed;        /* (n * tokens, width) */
	float *qkv, *mixed;            /* (n * tokens, 3 width), (n * tokens, width) */
	float *hidden, *gate;          /* (n * tokens, hidden); gate: SwiGLU */
	float *prob;                   /* scratch of one block */
	float *patches;                /* (n * patches, vit_patch_inputs()) */
	float *classified; /* what leaves the last block, where that is not all; later its cotangents */
	float *left;       /* the same (leaving, width), VIT_GRADIENT: kept */
	float *pooled;     /* (n, parts, width): what the head takes */
	/* of a B-cos network: what its ends keep, norms of rows or what they pull, cotangents of the head */
	struct stem_work stem;
	struct vit_unit patch, head;
	float *norms, *dlogits;  /* (n * tokens), (n, classes) */
	enum vit_mode last_mode; /* what the last forward pass kept */
	int last_n;
	uint64_t passes; /* forward passes so far: tells whether what was kept is still there */
};

/* Memory for forward passes of up to `batch` images; mode is the most that a pass will keep. cotangents: of a
 * backward pass at most, where images get several (vit_backward_with()); else the same as batch. */
void vit_work_init(struct vit_work *w, const struct vit *vit, enum vit_mode mode, int batch, int cotangents);
void vit_work_release(struct vit_work *w);

/* Bytes that vit_work_init() would allocate. */
size_t vit_work_bytes(const struct vit_config *c, enum vit_mode mode, int batch, int cotangents);

/* logits (n, classes) of x (n, channels, H, W), the same bits in every mode; keeps what `mode` needs until
 * the next forward pass, through any number of backward passes. */
void vit_forward(
	const struct vit *vit, struct vit_work *w, float *logits, const float *x, int n, enum vit_mode mode);

/*
 * Where a logit comes from. The frozen network is affine with the frozen operators as coefficients, so the
 * parts sum to <cotangent, logits> (methods.md section 2).
 */
struct vit_account {
	double pixels, prefix, positions, biases; /* prefix: class, distillation and register tokens */
};

/*
 * What a backward pass holds constant, and how it shares products out. With nothing constant it is the true
 * gradient; with all three the frozen one (methods.md section 2); AttnLRP in its gradient form, times the
 * image, holds the norms and the activation and halves what comes out of every product (section 4).
 */
struct vit_rules {
	bool attention;  /* constant: the attention matrices, so that nothing reaches q and k */
	bool norm;       /* constant: rstd, of q_norm and k_norm too */
	bool activation; /* constant: its gate; of B-cos layers the cosine */
	float qk, v;     /* factors of the cotangents of q and k, and of v */
};
extern const struct vit_rules vit_rules_true, vit_rules_frozen, vit_rules_attnlrp;

struct vit_backward {
	const struct vit_rules *rules; /* NULL: frozen after VIT_EFFECTIVE, true after VIT_GRADIENT. After
					  VIT_EFFECTIVE no others are possible */
	int per;        /* cotangents of each image of the forward pass, which they share; 0: 1 */
	const float *x; /* the images, for the account's pixels; else NULL */
	struct vit_account *account; /* (n * per) or NULL; its parts have a meaning for frozen rules only */
	float *dprob; /* NULL, or of one cotangent: (depth, heads, tokens, tokens), the cotangents of the
			 attention matrices, block by block (heads, vit_queries(), tokens); not where the
			 rules hold these constant */
};

/* dx (n * per, channels, H, W) = adjoint of the last forward pass applied to the cotangents (n * per,
 * classes), image by image. n * per at most w->cotangents. o may be NULL. */
void vit_backward_with(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const struct vit_backward *o);

/* The same for one cotangent an image, with the rules of the pass's mode. */
void vit_backward(const struct vit *vit, struct vit_work *w, float *dx, const float *cotangent,
	const float *x, struct vit_account *account);

/* patches (n * grid, channels * patch^2): each patch of x (n, channels, H, W) as a row, channel by channel;
 * and x from patches, the adjoint and inverse. */
void vit_gather_patches(float *patches, const float *x, const struct vit_config *c, int n);
void vit_scatter_patches(float *x, const float *patches, const struct vit_config *c, int n);

/* pooled (n, parts, width): the vectors that the head takes from what left the last block (n, vit_queries(),
 * width), normed where there is a final norm; before fc_norm. */
void vit_pool(float *pooled, const float *stream, const struct vit *vit, int n);

/*
 * Puts the head (final norm, pooling, fc_norm, matrix) on what left `block` in the last forward pass, which
 * was one of VIT_GRADIENT over one image: dprob (heads, rows, tokens) = true gradient of <cotangent, those
 * logits> with respect to the attention matrices of that block (LeGrad; methods.md section 4). Returns rows:
 * the first tokens, which are all whose gradient is not zero.
 */
int vit_layer_gradient(
	const struct vit *vit, struct vit_work *w, float *dprob, const float *cotangent, int block);

/* softmax probability of class y among logits (classes), in double precision. */
double vit_probability(const float *logits, int classes, int y);

#endif

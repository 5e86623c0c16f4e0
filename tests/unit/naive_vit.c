#include "naive_vit.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"

void naive_init(struct naive *p, const struct vit *vit)
{
	const struct vit_config *c = &vit->config;
	size_t t = (size_t)c->tokens, l = (size_t)c->depth;

	*p = (struct naive){.vit = vit};
	p->rstd = x_calloc((2 * l + 1) * t, sizeof(double));
	p->prob = x_calloc(l * (size_t)c->heads * t * t, sizeof(double));
	p->gate = x_calloc(l * t * (size_t)c->hidden, sizeof(double));
	p->z = x_calloc(t * (size_t)c->width, sizeof(double));
	p->n = x_calloc(t * (size_t)c->width, sizeof(double));
	p->qkv = x_calloc(t * (size_t)c->width * 3, sizeof(double));
	p->hid = x_calloc(t * (size_t)c->hidden, sizeof(double));
}

void naive_release(struct naive *p)
{
	free(p->rstd);
	free(p->prob);
	free(p->gate);
	free(p->z);
	free(p->n);
	free(p->qkv);
	free(p->hid);
}

/* Output k of a linear layer. */
static double naive_linear(const struct vit_linear *l, const double *x, int in, int k)
{
	double sum = l->b[k];

	for (int i = 0; i < in; i++)
		sum += (double)l->w[(size_t)k * (size_t)in + (size_t)i] * x[i];
	return sum;
}

static void naive_norm(const struct naive *p, const struct vit_linear *l, double *rstd)
{
	const struct vit_config *c = &p->vit->config;
	int d = c->width;

	for (int t = 0; t < c->tokens; t++) {
		const double *z = p->z + t * d;
		double mean = 0, variance = 0;

		for (int i = 0; i < d; i++)
			mean += z[i] / d;
		for (int i = 0; i < d; i++)
			variance += (z[i] - mean) * (z[i] - mean) / d;
		if (!p->frozen)
			rstd[t] = 1 / sqrt(variance + (double)c->eps);
		for (int i = 0; i < d; i++)
			p->n[t * d + i] = l->w[i] * (z[i] - mean) * rstd[t] + l->b[i];
	}
}

static void naive_embed(const struct naive *p, const double *x)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *w = &p->vit->weights;

	for (int t = 0; t < c->tokens; t++)
		for (int i = 0; i < c->width; i++) {
			int cell = t - 1;
			double sum = t ? w->patch.b[i] : w->prefix[i];

			sum += w->pos[t * c->width + i];
			for (int k = 0; t && k < 3 * c->patch * c->patch; k++) {
				int ch = k / (c->patch * c->patch), y = k / c->patch % c->patch,
				    xx = k % c->patch;

				y += cell / c->grid_w * c->patch;
				xx += cell % c->grid_w * c->patch;
				sum += w->patch.w[i * 3 * c->patch * c->patch + k] *
				       x[(ch * c->image_h + y) * c->image_w + xx];
			}
			p->z[t * c->width + i] = sum;
		}
}

/* Softmax matrix of one head, from q and k. */
static void naive_prob(const struct naive *p, double *prob, int h)
{
	const struct vit_config *c = &p->vit->config;
	int d = c->width, hd = c->head_dim;

	for (int i = 0; i < c->tokens; i++) {
		double *row = prob + i * c->tokens, sum = 0;

		for (int j = 0; j < c->tokens; j++) {
			double s = 0;

			for (int k = 0; k < hd; k++)
				s += p->qkv[i * 3 * d + h * hd + k] * p->qkv[j * 3 * d + d + h * hd + k];
			sum += row[j] = exp(s / sqrt(hd));
		}
		for (int j = 0; j < c->tokens; j++)
			row[j] /= sum;
	}
}

static void naive_attention(const struct naive *p, const struct vit_block *b, double *prob)
{
	const struct vit_config *c = &p->vit->config;
	int d = c->width, t = c->tokens;

	for (int i = 0; i < t; i++)
		for (int k = 0; k < 3 * d; k++)
			p->qkv[i * 3 * d + k] = naive_linear(&b->qkv, p->n + i * d, d, k);
	for (int h = 0; h < c->heads && !p->frozen; h++)
		naive_prob(p, prob + h * t * t, h);
	for (int i = 0; i < t; i++)
		for (int k = 0; k < d; k++) {
			p->n[i * d + k] = 0;
			for (int j = 0; j < t; j++)
				p->n[i * d + k] += prob[(k / c->head_dim * t + i) * t + j] *
						   p->qkv[j * 3 * d + 2 * d + k];
		}
	for (int i = 0; i < t; i++)
		for (int k = 0; k < d; k++)
			p->z[i * d + k] +=
				(b->ls1 ? b->ls1[k] : 1.0) * naive_linear(&b->proj, p->n + i * d, d, k);
}

static void naive_mlp(const struct naive *p, const struct vit_block *b, double *gate)
{
	const struct vit_config *c = &p->vit->config;
	int d = c->width, h = c->hidden;

	for (int i = 0; i < c->tokens; i++) {
		for (int k = 0; k < h; k++) {
			double v = naive_linear(&b->fc1, p->n + i * d, d, k);

			if (!p->frozen)
				gate[i * h + k] = 0.5 * erfc(-v * M_SQRT1_2);
			p->hid[i * h + k] = v * gate[i * h + k];
		}
		for (int k = 0; k < d; k++)
			p->z[i * d + k] +=
				(b->ls2 ? b->ls2[k] : 1.0) * naive_linear(&b->fc2, p->hid + i * h, h, k);
	}
}

void naive_forward(const struct naive *p, double *logits, const double *x)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *w = &p->vit->weights;
	int t = c->tokens;

	naive_embed(p, x);
	for (int l = 0; l < c->depth; l++) {
		naive_norm(p, &w->blocks[l].norm1, p->rstd + 2 * l * t);
		naive_attention(p, &w->blocks[l], p->prob + l * c->heads * t * t);
		naive_norm(p, &w->blocks[l].norm2, p->rstd + (2 * l + 1) * t);
		naive_mlp(p, &w->blocks[l], p->gate + l * t * c->hidden);
	}
	naive_norm(p, &w->norm, p->rstd + 2 * c->depth * t);
	for (int k = 0; k < c->classes; k++)
		logits[k] =
			naive_linear(&(struct vit_linear){w->head.parts[0].w, w->head.b}, p->n, c->width, k);
}

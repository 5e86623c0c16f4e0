#include "naive_lrp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { MOST_TOKENS = 64 };

/* chefer: its rules; else AttnLRP with this gamma in the blocks and the head (0: epsilon). */
struct rules {
	bool chefer;
	double gamma;
};

/* Of one block, token by token: what enters, the norms, qkv, ..., and the relevance of the attention. */
struct trace {
	double *in, *n1, *qkv, *score, *prob, *mixed, *attended, *mid, *n2, *z, *hidden, *added, *out;
	double *r_prob; /* (heads, tokens, tokens) */
};

struct naive_lrp {
	const struct vit *vit;
	const struct rules *rules;
	double *x, *patches, *embedded; /* (grid, 3 patch^2), (grid, width), (tokens, width) */
	struct trace *blocks;
	double *last, *logits; /* (tokens, width) after the final norm, (classes) */
};

static double *doubles(size_t n)
{
	return x_calloc(n, sizeof(double));
}

/* ---- forward ---- */

static double *linear(const struct vit_linear *l, const double *x, int rows, int out, int in)
{
	double *y = doubles((size_t)(rows * out));

	for (int r = 0; r < rows; r++)
		for (int j = 0; j < out; j++) {
			y[r * out + j] = l->b[j];
			for (int i = 0; i < in; i++)
				y[r * out + j] += (double)l->w[j * in + i] * x[r * in + i];
		}
	return y;
}

static double rstd_of(const double *x, int width, double eps, double *mean)
{
	double variance = 0;

	*mean = 0;
	for (int i = 0; i < width; i++)
		*mean += x[i] / width;
	for (int i = 0; i < width; i++)
		variance += (x[i] - *mean) * (x[i] - *mean) / width;
	return 1 / sqrt(variance + eps);
}

static double *normed(const struct vit_linear *l, const double *x, int rows, int width, double eps)
{
	double *y = doubles((size_t)(rows * width)), mean;

	for (int r = 0; r < rows; r++) {
		double rstd = rstd_of(x + r * width, width, eps, &mean);

		for (int i = 0; i < width; i++)
			y[r * width + i] = l->w[i] * (x[r * width + i] - mean) * rstd + l->b[i];
	}
	return y;
}

static double *sum(const double *a, const double *b, int n)
{
	double *y = doubles((size_t)n);

	for (int i = 0; i < n; i++)
		y[i] = a[i] + b[i];
	return y;
}

static void attend(struct trace *t, const struct vit_config *c)
{
	int n = c->tokens, d = c->width, hd = c->head_dim;

	t->score = doubles((size_t)(c->heads * n * n));
	t->prob = doubles((size_t)(c->heads * n * n));
	t->r_prob = doubles((size_t)(c->heads * n * n));
	t->mixed = doubles((size_t)(n * d));
	for (int h = 0; h < c->heads; h++)
		for (int i = 0; i < n; i++) {
			double *s = t->score + (h * n + i) * n, *p = t->prob + (h * n + i) * n, all = 0;

			for (int j = 0; j < n; j++) {
				for (int k = 0; k < hd; k++)
					s[j] += t->qkv[i * 3 * d + h * hd + k] *
						t->qkv[j * 3 * d + d + h * hd + k] / sqrt(hd);
				all += p[j] = exp(s[j]);
			}
			for (int j = 0; j < n; j++) {
				p[j] /= all;
				for (int k = 0; k < hd; k++)
					t->mixed[i * d + h * hd + k] +=
						p[j] * t->qkv[j * 3 * d + 2 * d + h * hd + k];
			}
		}
}

static void scale(double *x, const float *by, int rows, int width)
{
	for (int i = 0; by && i < rows * width; i++)
		x[i] *= by[i % width];
}

static double *block_forward(struct trace *t, const struct vit *vit, int l, double *in)
{
	const struct vit_config *c = &vit->config;
	const struct vit_block *b = &vit->weights.blocks[l];
	int n = c->tokens, d = c->width, h = c->hidden;

	t->in = in;
	t->n1 = normed(&b->norm1, in, n, d, (double)c->eps);
	t->qkv = linear(&b->qkv, t->n1, n, 3 * d, d);
	attend(t, c);
	t->attended = linear(&b->proj, t->mixed, n, d, d);
	scale(t->attended, b->ls1, n, d);
	t->mid = sum(in, t->attended, n * d);
	t->n2 = normed(&b->norm2, t->mid, n, d, (double)c->eps);
	t->z = linear(&b->fc1, t->n2, n, h, d);
	t->hidden = doubles((size_t)(n * h));
	for (int i = 0; i < n * h; i++)
		t->hidden[i] = t->z[i] * 0.5 * erfc(-t->z[i] * M_SQRT1_2);
	t->added = linear(&b->fc2, t->hidden, n, d, h);
	scale(t->added, b->ls2, n, d);
	return t->out = sum(t->mid, t->added, n * d);
}

static void forward(struct naive_lrp *p, const float *x)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *w = &p->vit->weights;
	int grid = c->grid_h * c->grid_w, d = c->width, k = vit_patch_inputs(c);
	float *rows = x_calloc((size_t)(grid * k), sizeof(*rows));
	double *stream = doubles((size_t)(c->tokens * d));

	vit_gather_patches(rows, x, c, 1);
	p->x = doubles((size_t)(grid * k));
	for (int i = 0; i < grid * k; i++)
		p->x[i] = rows[i];
	free(rows);
	p->patches = linear(&w->patch, p->x, grid, d, k);
	for (int i = 0; i < c->tokens * d; i++)
		stream[i] = w->pos[i] + (i < d ? w->prefix[i] : p->patches[i - d]);
	p->blocks = x_calloc((size_t)c->depth, sizeof(*p->blocks));
	p->embedded = stream;
	for (int l = 0; l < c->depth; l++)
		stream = block_forward(&p->blocks[l], p->vit, l, stream);
	p->last = normed(&w->norm, stream, c->tokens, d, (double)c->eps);
	p->logits = linear(&(struct vit_linear){w->head.parts[0].w, w->head.b}, p->last, 1, c->classes, d);
}

static void release(struct naive_lrp *p)
{
	for (int l = 0; l < p->vit->config.depth; l++) {
		struct trace *t = &p->blocks[l];
		double *all[] = {t->n1, t->qkv, t->score, t->prob, t->mixed, t->attended, t->mid, t->n2, t->z,
			t->hidden, t->added, t->out, t->r_prob};

		for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
			free(all[i]);
	}
	free(p->blocks);
	free(p->x);
	free(p->patches);
	free(p->embedded);
	free(p->last);
	free(p->logits);
}

/* ---- backward: each takes the relevance of what it made, frees it, and returns that of what it took ---- */

/* What a contribution to an output z counts. */
static double counted(const struct rules *rules, double gamma, double contribution, double z)
{
	if (rules->chefer)
		return fmax(contribution, 0);
	return contribution * (contribution * z > 0 ? 1 + gamma : 1);
}

static double *linear_back(const struct rules *rules, double gamma, double *r, const struct vit_linear *l,
	const double *x, int rows, int out, int in)
{
	double *z = linear(l, x, rows, out, in), *back = doubles((size_t)(rows * in));

	for (int row = 0; row < rows; row++)
		for (int j = 0; j < out; j++) {
			const float *w = l->w + j * in;
			double value = z[row * out + j];
			double all = rules->chefer ? 0 : counted(rules, gamma, l->b[j], value);

			for (int i = 0; i < in; i++)
				all += counted(rules, gamma, w[i] * x[row * in + i], value);
			for (int i = 0; i < in && all != 0; i++)
				back[row * in + i] += counted(rules, gamma, w[i] * x[row * in + i], value) /
						      all * r[row * out + j];
		}
	free(z);
	free(r);
	return back;
}

/* rstd a constant: y is linear in x, with x_i's contribution to y_j w_j rstd (1 [i = j] - 1 / width) x_i. */
static double *norm_back(const struct rules *rules, double *r, const struct vit_linear *l, const double *x,
	int rows, int width, double eps)
{
	if (rules->chefer)
		return r;
	double *y = normed(l, x, rows, width, eps), *back = doubles((size_t)(rows * width)), mean;

	for (int row = 0; row < rows; row++) {
		double rstd = rstd_of(x + row * width, width, eps, &mean);

		for (int j = 0; j < width; j++)
			for (int i = 0; i < width; i++)
				back[row * width + i] += l->w[j] * rstd * ((i == j) - 1.0 / width) *
							 x[row * width + i] / y[row * width + j] *
							 r[row * width + j];
	}
	free(y);
	free(r);
	return back;
}

static double total(const double *x, int n)
{
	double all = 0;

	for (int i = 0; i < n; i++)
		all += x[i];
	return all;
}

/* r becomes that of x, what is returned that of y. */
static double *sum_back(const struct rules *rules, double *r, const double *x, const double *y, int n)
{
	double *back = doubles((size_t)n), all = total(r, n);

	for (int i = 0; i < n; i++) {
		double share = r[i] / (x[i] + y[i]);

		r[i] = x[i] * share;
		back[i] = y[i] * share;
	}
	if (rules->chefer) {
		double a = total(r, n), b = total(back, n), both = fabs(a) + fabs(b);

		for (int i = 0; i < n; i++) {
			r[i] *= fabs(a) / both * all / a;
			back[i] *= fabs(b) / both * all / b;
		}
	}
	return back;
}

static void add(double *r, double *more, int n)
{
	for (int i = 0; i < n; i++)
		r[i] += more[i];
	free(more);
}

/* One attention matrix row: relevance of its scores from that of itself. */
static void softmax_back(const struct rules *rules, double *r, const double *r_prob, const double *score,
	const double *prob, int n)
{
	double all = total(r_prob, n);

	for (int j = 0; j < n; j++)
		r[j] = rules->chefer ? r_prob[j] : score[j] * (r_prob[j] - prob[j] * all);
}

static double *attend_back(const struct rules *rules, double *r, struct trace *t, const struct vit_config *c)
{
	int n = c->tokens, d = c->width, hd = c->head_dim;
	double *back = doubles((size_t)(n * 3 * d)), *r_score = doubles((size_t)n);

	for (int h = 0; h < c->heads; h++)
		for (int i = 0; i < n; i++) {
			const double *p = t->prob + (h * n + i) * n, *s = t->score + (h * n + i) * n;
			double *r_prob = t->r_prob + (h * n + i) * n;

			for (int k = 0; k < hd; k++)
				for (int j = 0; j < n; j++) {
					int v = j * 3 * d + 2 * d + h * hd + k, o = i * d + h * hd + k;
					double half = p[j] * t->qkv[v] / t->mixed[o] * r[o] / 2;

					r_prob[j] += half;
					back[v] += half;
				}
			softmax_back(rules, r_score, r_prob, s, p, n);
			for (int j = 0; j < n; j++)
				for (int k = 0; k < hd; k++) {
					int q = i * 3 * d + h * hd + k, key = j * 3 * d + d + h * hd + k;
					double half =
						t->qkv[q] * t->qkv[key] / sqrt(hd) / s[j] * r_score[j] / 2;

					back[q] += half;
					back[key] += half;
				}
		}
	free(r_score);
	free(r);
	return back;
}

static double *block_back(struct naive_lrp *p, int l, double *r)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_block *b = &p->vit->weights.blocks[l];
	const struct rules *u = p->rules;
	struct trace *t = &p->blocks[l];
	int n = c->tokens, d = c->width, h = c->hidden;
	double gamma = u->gamma, *part;

	part = sum_back(u, r, t->mid, t->added, n * d);
	part = linear_back(u, gamma, part, &b->fc2, t->hidden, n, d, h);
	part = linear_back(u, gamma, part, &b->fc1, t->n2, n, h, d);
	add(r, norm_back(u, part, &b->norm2, t->mid, n, d, (double)c->eps), n * d);
	part = sum_back(u, r, t->in, t->attended, n * d);
	part = linear_back(u, gamma, part, &b->proj, t->mixed, n, d, d);
	part = attend_back(u, part, t, c);
	part = linear_back(u, gamma, part, &b->qkv, t->n1, n, 3 * d, d);
	add(r, norm_back(u, part, &b->norm1, t->in, n, d, (double)c->eps), n * d);
	return r;
}

/* Relevance of what enters the first block, from r0 at the logit of a class; the blocks' r_prob. */
static double *backward(struct naive_lrp *p, int target, double r0)
{
	const struct vit_config *c = &p->vit->config;
	const struct vit_weights *w = &p->vit->weights;
	int n = c->tokens, d = c->width;
	double *r = doubles((size_t)(n * d)), *one = doubles(1);
	const struct vit_linear head = {
		w->head.parts[0].w + target * w->head.parts[0].ldw, w->head.b + target};

	*one = r0;
	one = linear_back(p->rules, p->rules->gamma, one, &head, p->last, 1, 1, d);
	add(r, one, d);
	r = norm_back(p->rules, r, &w->norm, p->blocks[c->depth - 1].out, n, d, (double)c->eps);
	for (int l = c->depth - 1; l >= 0; l--)
		r = block_back(p, l, r);
	return r;
}

void naive_attnlrp(double *want, const struct vit *vit, const float *x, int target, double gamma_linear,
	double gamma_patch)
{
	const struct vit_config *c = &vit->config;
	const struct rules rules = {false, gamma_linear};
	int d = c->width, grid = c->tokens - 1, k = vit_patch_inputs(c), side = c->patch;
	struct naive_lrp p = {.vit = vit, .rules = &rules};

	forward(&p, x);
	double *r = backward(&p, target, p.logits[target]), *part = doubles((size_t)(grid * d));
	for (int i = 0; i < grid * d; i++)
		part[i] = p.patches[i] / p.embedded[d + i] * r[d + i];
	free(r);
	part = linear_back(&rules, gamma_patch, part, &vit->weights.patch, p.x, grid, d, k);
	memset(want, 0, (size_t)(c->image_h * c->image_w) * sizeof(*want));
	for (int i = 0; i < grid * k; i++) {
		int cell = i / k, y = cell / c->grid_w * side + i % k / side % side,
		    column = cell % c->grid_w * side + i % side;

		want[y * c->image_w + column] += part[i];
	}
	free(part);
	release(&p);
}

void naive_chefer(
	double *want, const struct vit *vit, const float *x, int target, int start, const float *dprob)
{
	const struct vit_config *c = &vit->config;
	const struct rules rules = {true, 0};
	struct naive_lrp p = {.vit = vit, .rules = &rules};
	double row[MOST_TOKENS] = {1}, next[MOST_TOKENS];
	int n = c->tokens;

	forward(&p, x);
	free(backward(&p, target, 1));
	for (int l = c->depth - 1; l >= start; l--) {
		int queries = vit_queries(c, l);

		memcpy(next, row, sizeof(next));
		for (int h = 0; h < c->heads; h++)
			for (int i = 0; i < queries; i++)
				for (int j = 0; j < n; j++) {
					double g = dprob[(l * c->heads * n + h * queries + i) * n + j];

					next[j] += row[i] / c->heads *
						   fmax(g * p.blocks[l].r_prob[(h * n + i) * n + j], 0);
				}
		memcpy(row, next, sizeof(row));
	}
	memcpy(want, row + 1, (size_t)(n - 1) * sizeof(*want));
	release(&p);
}

#include "pipeline/replay.h"
#include "pipeline/replay_model.h"

#include "attribution/dave.h"
#include "attribution/postprocess.h"
#include "formats/h5.h"
#include "kernels/order.h"
#include "metrics/curve.h"
#include "model/preprocess.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 4 };

struct replay {
	int64_t in, out;
	struct vit vit;
	struct vit_work work;
	size_t image, plane; /* floats of an image, of a plane */
};

/* ---- one run: the samples of B images ---- */

/* Recorded samples, (K, B) each, and noise (K, B, 3, H, W). */
struct run {
	int K, B;
	double *t, *angle, *tx, *ty, *scale;
	int64_t *flip;
	struct h5_tensor noise;
};

/* What comes out: (K, B, image) tensors, keep as bytes, and (B, ...) aggregates. */
struct result {
	float *augmented, *noisy, *weff, *maps, *agg, *post;
	uint8_t *mask;
};

static void free_run(struct run *r)
{
	free(r->t);
	free(r->angle);
	free(r->tx);
	free(r->ty);
	free(r->scale);
	free(r->flip);
	free(r->noise.data);
}

static double *read_doubles(
	const struct replay *p, const char *group, const char *name, size_t n, struct err *err)
{
	double *v = x_malloc(n * sizeof(*v));
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	if (!h5_read_double(v, n, p->in, path, err))
		return v;
	free(v);
	return NULL;
}

static int read_run(struct run *r, const struct replay *p, const char *group, int B, struct err *err)
{
	char path[256];

	*r = (struct run){.B = B};
	snprintf(path, sizeof(path), "%s/noise", group);
	if (h5_read(&r->noise, p->in, path, err))
		return -1;
	if (r->noise.ndim < 4 || r->noise.dims[0] < 1 || r->noise.dims[0] > AGGREGATE_MAX_SAMPLES)
		return err_set(err, "data set %s: expected 1 to %d samples", path, AGGREGATE_MAX_SAMPLES);
	r->K = (int)r->noise.dims[0];
	size_t n = (size_t)r->K * (size_t)B;
	if (r->noise.count != n * p->image)
		return err_set(err, "data set %s: expected %zu values", path, n * p->image);
	snprintf(path, sizeof(path), "%s/flip", group);
	r->flip = x_malloc(n * sizeof(*r->flip));
	if (h5_read_int(r->flip, n, p->in, path, err) ||
		!(r->t = read_doubles(p, group, "t", (size_t)r->K, err)) ||
		!(r->angle = read_doubles(p, group, "angle", n, err)) ||
		!(r->tx = read_doubles(p, group, "tx", n, err)) ||
		!(r->ty = read_doubles(p, group, "ty", n, err)) ||
		!(r->scale = read_doubles(p, group, "scale", n, err)))
		return -1;
	return 0;
}

/* The samples of image b of the run, through the same functions as dave-eval uses. */
static void run_image(
	struct replay *p, const struct run *r, const struct result *o, const float *x, int target, int b)
{
	const struct vit_config *c = &p->vit.config;
	struct arena arena = {0};
	struct method_input in = {
		.vit = &p->vit, .work = &p->work, .batch = BATCH, .x = x, .targets = &target, .count = 1};

	dave_carve(&arena, c, r->K, BATCH, 1);
	arena_allocate(&arena);
	struct dave_scratch s = dave_carve(&arena, c, r->K, BATCH, 1);
	for (int start = 0; start < r->K; start += BATCH) {
		int n = r->K - start < BATCH ? r->K - start : BATCH;
		float *g = s.contributions + (size_t)start * p->image;

		for (int i = 0; i < n; i++) {
			int at = (start + i) * r->B + b;

			s.samples[i] = (struct dave_sample){
				r->t[start + i], {(int)r->flip[at], r->angle[at], r->tx[at], r->ty[at],
							 r->scale[at], r->scale[at]}};
			memcpy(s.noise + (size_t)i * p->image, r->noise.data + (size_t)at * p->image,
				p->image * sizeof(float));
			warp_forward(o->augmented + (size_t)at * p->image, x, &s.samples[i].warp, c->channels,
				c->image_h, c->image_w);
			dave_mix(o->noisy + (size_t)at * p->image, x, s.noise + (size_t)i * p->image,
				&s.samples[i], c);
		}
		dave_block(g, 0, &s, &in, s.samples, n, 0, 1);
		for (int i = 0; i < n; i++) {
			size_t at = (size_t)((start + i) * r->B + b) * p->image;

			memcpy(o->weff + at, g + (size_t)i * p->image, p->image * sizeof(float));
			for (size_t j = 0; j < p->image; j++)
				o->maps[at + j] = g[(size_t)i * p->image + j] *= x[j];
		}
	}
	uint8_t *keep = x_malloc((size_t)r->K * p->image);
	aggregate_mad(o->agg + (size_t)b * p->image, keep, s.contributions, r->K, p->image, s.aggregation);
	for (int k = 0; k < r->K; k++)
		memcpy(o->mask + (size_t)(k * r->B + b) * p->image, keep + (size_t)k * p->image, p->image);
	free(keep);
	arena_release(&arena);
}

static int post_image(const struct replay *p, const struct result *o, int b, struct err *err)
{
	const struct vit_config *c = &p->vit.config;
	float *raw = x_malloc(p->plane * sizeof(*raw));
	float *scratch = x_malloc(postprocess_scratch(c->image_h, c->image_w) * sizeof(*scratch));
	int rc = method_sum_channels(raw, o->agg + (size_t)b * p->image, c, err);

	if (!rc)
		postprocess_map(o->post + (size_t)b * p->plane, raw, scratch, c->image_h, c->image_w);
	free(raw);
	free(scratch);
	return rc;
}

/* Writes group/name; `squeeze` leaves out the axis of images. kinds: s samples, a aggregate, p post. */
static int write_result(const struct replay *p, const char *group, const struct run *r,
	const struct result *o, bool squeeze, struct err *err)
{
	const struct vit_config *c = &p->vit.config;
	size_t K = (size_t)r->K, B = (size_t)r->B, C = (size_t)c->channels, H = (size_t)c->image_h,
	       W = (size_t)c->image_w;
	size_t full[5] = {K, B, C, H, W}, one[4] = {K, C, H, W}, agg[4] = {B, C, H, W},
	       post[4] = {B, 1, H, W};
	const struct {
		const char *name;
		const float *data;
	} samples[] = {
		{"augmented", o->augmented}, {"noisy", o->noisy}, {"weff", o->weff}, {"maps", o->maps}};
	char path[256];

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", group, samples[i].name);
		if (h5_write(p->out, path, samples[i].data, squeeze ? 4 : 5, squeeze ? one : full, err))
			return -1;
	}
	snprintf(path, sizeof(path), "%s/mask", group);
	if (h5_write_u8(p->out, path, o->mask, squeeze ? 4 : 5, squeeze ? one : full, err))
		return -1;
	snprintf(path, sizeof(path), "%s/agg", group);
	if (h5_write(p->out, path, o->agg, squeeze ? 3 : 4, squeeze ? agg + 1 : agg, err))
		return -1;
	snprintf(path, sizeof(path), "%s/post", group);
	return h5_write(p->out, path, o->post, squeeze ? 2 : 4, squeeze ? post + 2 : post, err);
}

static int replay_run(struct replay *p, const char *group, const float *x, const int64_t *y, int B,
	bool squeeze, struct err *err)
{
	struct run r;
	int rc = read_run(&r, p, group, B, err);
	size_t n = rc ? 0 : (size_t)r.K * (size_t)B * p->image;
	float *block = x_malloc((4 * n + (size_t)B * (p->image + p->plane)) * sizeof(*block));
	struct result o = {block, block + n, block + 2 * n, block + 3 * n, block + 4 * n,
		block + 4 * n + (size_t)B * p->image, x_malloc(n)};

	for (int b = 0; b < B && !rc; b++) {
		run_image(p, &r, &o, x + (size_t)b * p->image, (int)y[b], b);
		rc = post_image(p, &o, b, err);
	}
	if (!rc)
		rc = write_result(p, group, &r, &o, squeeze, err);
	if (rc)
		err_prefix(err, "%s", group);
	free(block);
	free(o.mask);
	free_run(&r);
	return rc;
}

/* ---- deletion curves of a recorded map ---- */

struct curve_scorer {
	struct replay *p;
	float *logits;
	int target;
};

static int score(void *ctx, double *probability, double *logit, const float *images, int n, struct err *err)
{
	struct curve_scorer *s = ctx;
	int classes = s->p->vit.config.classes;

	(void)err;
	vit_forward(&s->p->vit, &s->p->work, s->logits, images, n, VIT_FORWARD);
	for (int i = 0; i < n; i++) {
		probability[i] = vit_probability(s->logits + i * classes, classes, s->target);
		logit[i] = s->logits[i * classes + s->target];
	}
	return 0;
}

static int replay_curve(struct replay *p, const char *name, const struct curve_params *params, const float *x,
	const float *map, int target, struct err *err)
{
	const struct vit_config *c = &p->vit.config;
	struct curve_scorer ctx = {p, x_malloc((size_t)BATCH * (size_t)c->classes * sizeof(float)), target};
	struct scorer scorer = {BATCH, score, &ctx};
	struct metric_input in = {.channels = c->channels,
		.height = c->image_h,
		.width = c->image_w,
		.x = x,
		.raw = map,
		.map = map,
		.correct = 1,
		.scorer = &scorer};
	size_t points = (size_t)curve_points(params, c->image_h, c->image_w);
	double *values = x_malloc(2 * points * sizeof(*values)), figures[CURVE_FIGURES];
	struct metric_output out = {values, values + points, figures};
	float *narrow = x_malloc(points * sizeof(*narrow));
	struct arena arena = {0};

	curve_carve(&arena, params, c->channels, c->image_h, c->image_w, BATCH);
	arena_allocate(&arena);
	void *scratch = curve_carve(&arena, params, c->channels, c->image_h, c->image_w, BATCH);
	int rc = score(&ctx, &in.probability, &in.logit, x, 1, err) ||
		 curve_run(scratch, params, &in, 0, &out, err);
	for (size_t i = 0; i < points && !rc; i++)
		narrow[i] = (float)out.curve[i];
	rc = rc || h5_write(p->out, name, narrow, 1, &points, err);
	arena_release(&arena);
	free(ctx.logits);
	free(values);
	free(narrow);
	return rc;
}

/* The curves of a group imageN that records some: pixels ranked by its recorded `post`, since ranking a
 * recomputed one would swap neighbours. */
static int replay_curves(struct replay *p, const char *group, const float *x, int target, struct err *err)
{
	static const struct {
		const char *name;
		struct curve_params params;
	} kinds[] = {
		{"curve_dave", {CURVE_LEAST, 0.9, 128, CURVE_BLUR, CURVE_GAUSSIAN, 31, 7, CURVE_MAP,
				       CURVE_PROBABILITY, 0, 0, CURVE_UNIFORM, 0, CURVE_STEP}},
		{"curve_most_constant",
			{CURVE_MOST, 0.5, 32, CURVE_CONSTANT, CURVE_GAUSSIAN, 31, 7, CURVE_MAP,
				CURVE_PROBABILITY, 0, 0, CURVE_UNIFORM, 0, CURVE_STEP}},
	};
	char path[256];
	int rc = 0;

	for (int i = 0; i < 2 && !rc; i++) {
		struct h5_tensor post;

		snprintf(path, sizeof(path), "%s/%s", group, kinds[i].name);
		if (!h5_exists(p->in, path))
			continue;
		char *post_path = x_asprintf("%s/post", group);
		rc = h5_read(&post, p->in, post_path, err);
		if (!rc && post.count != p->plane)
			rc = err_set(err, "data set %s does not fit the model's input size", post_path);
		rc = rc || replay_curve(p, path, &kinds[i].params, x, post.data, target, err);
		free(post.data);
		free(post_path);
	}
	return rc;
}

/* ---- whole files ---- */

/* logits, plain_grad and weff_clean of B images, one at a time, under `group`. */
static int replay_clean(struct replay *p, const char *group, const float *x, const int64_t *y, int B,
	bool squeeze, struct err *err)
{
	const struct vit_config *c = &p->vit.config;
	size_t classes = (size_t)c->classes,
	       shape[5] = {(size_t)B, (size_t)c->channels, (size_t)c->image_h, (size_t)c->image_w};
	size_t logit_shape[2] = {(size_t)B, classes};
	float *logits = x_calloc((size_t)B * classes, sizeof(*logits)),
	      *cotangent = x_calloc(classes, sizeof(*cotangent));
	float *grad = x_malloc((size_t)B * p->image * sizeof(*grad)),
	      *weff = x_malloc((size_t)B * p->image * sizeof(*weff));
	float *account = x_malloc((size_t)B * 4 * sizeof(*account));
	size_t account_shape[2] = {(size_t)B, 4};
	char path[4][256];

	snprintf(path[3], sizeof(path[3]), "%.200saccount", group);
	snprintf(path[0], sizeof(path[0]), "%.200slogits", group);
	snprintf(path[1], sizeof(path[1]), "%.200splain_grad", group);
	snprintf(path[2], sizeof(path[2]), "%.200sweff_clean", group);
	for (int b = 0; b < B; b++) {
		const float *xb = x + (size_t)b * p->image;

		cotangent[y[b]] = 1;
		vit_forward(&p->vit, &p->work, logits + (size_t)b * classes, xb, 1, VIT_GRADIENT);
		vit_backward(&p->vit, &p->work, grad + (size_t)b * p->image, cotangent, NULL, NULL);
		vit_forward(&p->vit, &p->work, logits + (size_t)b * classes, xb, 1, VIT_EFFECTIVE);
		struct vit_account parts;
		vit_backward(&p->vit, &p->work, weff + (size_t)b * p->image, cotangent, xb, &parts);
		const double four[4] = {parts.pixels, parts.prefix, parts.positions, parts.biases};
		for (int k = 0; k < 4; k++)
			account[4 * b + k] = (float)four[k];
		cotangent[y[b]] = 0;
	}
	int rc = h5_write(p->out, path[0], logits, squeeze ? 1 : 2, squeeze ? logit_shape + 1 : logit_shape,
			 err) ||
		 h5_write(p->out, path[1], grad, squeeze ? 3 : 4, squeeze ? shape + 1 : shape, err) ||
		 h5_write(p->out, path[2], weff, squeeze ? 3 : 4, squeeze ? shape + 1 : shape, err) ||
		 h5_write(p->out, path[3], account, squeeze ? 1 : 2,
			 squeeze ? account_shape + 1 : account_shape, err);
	free(account);
	free(logits);
	free(cotangent);
	free(grad);
	free(weff);
	return rc ? -1 : 0;
}

struct group_visit {
	struct replay *p;
	struct err *err;
	const float *x;
	const int64_t *y;
	int B, found;
};

static int check_target(const struct replay *p, int64_t y, struct err *err)
{
	if (y < 0 || y >= p->vit.config.classes)
		return err_set(err, "target %lld: expected a class from 0 to %d", (long long)y,
			p->vit.config.classes - 1);
	return 0;
}

static int visit_run(const char *name, void *ctx)
{
	struct group_visit *v = ctx;
	char path[256];

	snprintf(path, sizeof(path), "%s/noise", name);
	return h5_exists(v->p->in, path) ? replay_run(v->p, name, v->x, v->y, v->B, false, v->err) : 0;
}

static int visit_image(const char *name, void *ctx)
{
	struct group_visit *v = ctx;
	struct h5_tensor x;
	char path[256];
	int64_t y;

	if (strncmp(name, "image", 5))
		return 0;
	v->found++;
	snprintf(path, sizeof(path), "%s/x", name);
	if (h5_read(&x, v->p->in, path, v->err))
		return -1;
	snprintf(path, sizeof(path), "%s/", name);
	int rc = x.count == v->p->image
			 ? 0
			 : err_set(v->err, "data set %sx does not fit the model's input size", path);
	rc = rc || h5_attr_int(&y, v->p->in, name, "target", v->err) || check_target(v->p, y, v->err) ||
	     replay_clean(v->p, path, x.data, &y, 1, true, v->err) ||
	     replay_run(v->p, name, x.data, &y, 1, true, v->err) ||
	     replay_curves(v->p, name, x.data, (int)y, v->err);
	free(x.data);
	return rc ? -1 : 0;
}

static int replay_all(struct replay *p, struct err *err)
{
	struct group_visit v = {.p = p, .err = err};
	struct h5_tensor x;
	int rc = 0;

	if (!h5_exists(p->in, "x")) {
		rc = h5_each(p->in, "/", visit_image, &v);
		return rc || v.found ? rc : err_set(err, "found neither x nor groups imageN");
	}
	if (h5_read(&x, p->in, "x", err))
		return -1;
	v.B = (int)x.dims[0];
	v.x = x.data;
	int64_t *y = x_malloc((size_t)v.B * sizeof(*y));
	v.y = y;
	if (x.count != (size_t)v.B * p->image)
		rc = err_set(err, "data set x does not fit the model's input size");
	rc = rc || h5_read_int(y, (size_t)v.B, p->in, "y", err);
	for (int b = 0; b < v.B && !rc; b++)
		rc = check_target(p, y[b], err);
	rc = rc || replay_clean(p, "", x.data, y, v.B, false, err) || h5_each(p->in, "/", visit_run, &v);
	free(y);
	free(x.data);
	return rc ? -1 : 0;
}

/* Gives the finished file its name, or removes it. */
static int finish_output(const char *temporary, const char *output, int rc, struct err *err)
{
	if (!rc && rename(temporary, output))
		rc = err_set(err, "%s: cannot rename to %s: %s", temporary, output, strerror(errno));
	if (rc)
		unlink(temporary);
	return rc;
}

int replay_file(const char *input, const char *model_dir, const char *output, struct err *err)
{
	struct stat a, b;
	if (!stat(input, &a) && !stat(output, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return err_set(err, "%s: the output would replace the recording", output);
	struct replay p = {.in = h5_open(input, err), .out = -1};
	char *temporary = x_asprintf("%s.tmp", output);
	int rc = p.in < 0;

	rc = rc || replay_load(&p.vit, p.in, input, model_dir, err) ||
	     (p.out = h5_create(temporary, err)) < 0;
	if (!rc) {
		const struct vit_config *c = &p.vit.config;

		vit_work_init(&p.work, &p.vit, VIT_GRADIENT, BATCH, BATCH);
		p.plane = (size_t)c->image_h * (size_t)c->image_w;
		p.image = p.plane * (size_t)c->channels;
		rc = replay_all(&p, err);
		if (rc)
			err_prefix(err, "%s", input);
		rc = h5_close(p.out, output, err) || rc;
		rc = finish_output(temporary, output, rc, err);
		vit_work_release(&p.work);
	}
	if (p.in >= 0)
		h5_close(p.in, input, err);
	vit_release(&p.vit);
	free(temporary);
	return rc ? -1 : 0;
}

int replay_image(const char *image, const char *model_dir, const char *output, struct err *err)
{
	struct vit vit;
	struct image picture = {0};
	int64_t out = -1;

	if (vit_load(&vit, model_dir, NULL, err))
		return -1;
	const struct vit_config *c = &vit.config;
	size_t C = (size_t)c->channels, H = (size_t)c->image_h, W = (size_t)c->image_w,
	       classes = (size_t)c->classes;
	unsigned char *pixels = x_malloc(H * W * 3);
	float *x = x_malloc(C * H * W * sizeof(*x)), *logits = x_malloc(classes * sizeof(*logits));
	int rc = image_read(&picture, image, err) || preprocess_pixels(pixels, &picture, c, err);

	if (!rc) {
		struct vit_work work;

		preprocess_normalise(x, pixels, c);
		vit_work_init(&work, &vit, VIT_FORWARD, 1, 1);
		vit_forward(&vit, &work, logits, x, 1, VIT_FORWARD);
		vit_work_release(&work);
		char *temporary = x_asprintf("%s.tmp", output);
		rc = (out = h5_create(temporary, err)) < 0 ||
		     h5_write_u8(out, "pixels_u8", pixels, 3, (size_t[]){H, W, 3}, err) ||
		     h5_write(out, "x", x, 3, (size_t[]){C, H, W}, err) ||
		     h5_write(out, "logits", logits, 1, &classes, err);
		if (out >= 0) {
			rc = h5_close(out, output, err) || rc;
			rc = finish_output(temporary, output, rc, err);
		}
		free(temporary);
	}
	free(pixels);
	free(x);
	free(logits);
	image_release(&picture);
	vit_release(&vit);
	return rc ? -1 : 0;
}

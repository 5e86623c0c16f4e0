/* model/vit_random: for every family of tests/golden/families, and a wider network, which weights each stage
 * of the cascade replaces, and by what. */
#include "model/vit_random.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* What a weight becomes. */
enum kind { NORMAL, DIRECTIONS, ONES, ZEROS, KEPT };

/* When: a block's number, or one of these. */
enum { EMBEDDING = -1, HEAD = -2 };

struct slot {
	const char *name;
	const float *was, *now; /* (rows, width) */
	int rows, width;
	enum kind kind;
	int place;
};

enum { MOST = 160 };

struct slots {
	struct slot slot[MOST];
	int count;
};

/* A weight that is forgotten here does not go unnoticed. */
_Static_assert(sizeof(struct vit_block) == 20 * sizeof(float *), "blocks have other weights than tested");
_Static_assert(sizeof(struct vit_convolution) == 2 * sizeof(float *), "stems have other weights");
_Static_assert(offsetof(struct vit_weights, blocks) == (2 + 2 * VIT_STEM + 2 * 4) * sizeof(float *),
	"networks have other weights than tested");

static void add(struct slots *s, const char *name, int place, enum kind kind, const float *was,
	const float *now, int rows, int width)
{
	CU_ASSERT_FATAL(s->count < MOST);
	if (!rows) /* prefix tokens or convolutions that are not there */
		return;
	s->slot[s->count++] = (struct slot){name, was, now, rows, width, kind, place};
}

static void add_linear(struct slots *s, const char *name, int place, enum kind kind,
	const struct vit_linear *was, const struct vit_linear *now, int out, int in)
{
	add(s, name, place, kind, was->w, now->w, out, in);
	add(s, name, place, ZEROS, was->b, now->b, 1, out);
}

static void add_norm(struct slots *s, const char *name, int place, const struct vit_linear *was,
	const struct vit_linear *now, int width)
{
	add_linear(s, name, place, ONES, was, now, 1, width);
	s->slot[s->count - 1].width = width;
}

static void add_block(struct slots *s, int l, const struct vit_config *c, const struct vit_block *was,
	const struct vit_block *now)
{
	enum kind unit = c->bcos ? DIRECTIONS : NORMAL;
	int d = c->width, h = c->hidden;

	add_norm(s, "norm1", l, &was->norm1, &now->norm1, d);
	add_linear(s, "qkv", l, NORMAL, &was->qkv, &now->qkv, 3 * d, d);
	add_linear(s, "proj", l, unit, &was->proj, &now->proj, d, d);
	add_norm(s, "norm2", l, &was->norm2, &now->norm2, d);
	add_linear(s, "fc1", l, unit, &was->fc1, &now->fc1, h, d);
	add_linear(s, "fc2", l, unit, &was->fc2, &now->fc2, d, h);
	add_norm(s, "q_norm", l, &was->q_norm, &now->q_norm, c->head_dim);
	add_norm(s, "k_norm", l, &was->k_norm, &now->k_norm, c->head_dim);
	add_linear(s, "gate", l, NORMAL, &was->gate, &now->gate, h, d);
	add(s, "ls1", l, KEPT, was->ls1, now->ls1, 1, d);
	add(s, "ls2", l, KEPT, was->ls2, now->ls2, 1, d);
}

/* The parts of a matrix are one slot. */
static void add_head(
	struct slots *s, const struct vit_config *c, const struct vit_head *was, const struct vit_head *now)
{
	int both = c->pool == VIT_POOL_BOTH;

	for (int k = 0; k < was->count; k++) {
		CU_ASSERT(now->parts[k].token == was->parts[k].token);
		CU_ASSERT(now->parts[k].ldw == was->parts[k].ldw);
		CU_ASSERT(was->parts[k].ldw == (both ? 2 : 1) * c->width);
		if (!both || !k)
			add(s, "head", HEAD, c->bcos ? DIRECTIONS : NORMAL, was->parts[k].w, now->parts[k].w,
				c->classes, was->parts[k].ldw);
		else
			CU_ASSERT_PTR_EQUAL(now->parts[k].w, now->parts[0].w + c->width);
	}
	add(s, "head bias", HEAD, c->bcos ? KEPT : ZEROS, was->b, now->b, 1, c->classes);
	CU_ASSERT(now->count == was->count && now->scale <= was->scale && now->scale >= was->scale);
}

static void list(struct slots *s, const struct vit *was_vit, const struct vit_weights *now)
{
	const struct vit_weights *was = &was_vit->weights;
	const struct vit_config *c = &was_vit->config;

	s->count = 0;
	add(s, "prefix", EMBEDDING, NORMAL, was->prefix, now->prefix, c->prefix, c->width);
	add(s, "pos", EMBEDDING, c->bcos ? KEPT : NORMAL, was->pos, now->pos, c->tokens, c->width);
	for (int l = 0, in = c->channels; l < VIT_STEM; in = c->stem[l++]) {
		add(s, "stem", EMBEDDING, DIRECTIONS, was->stem[l].w, now->stem[l].w, c->stem[l], 9 * in);
		add(s, "stem norm", EMBEDDING, ONES, was->stem[l].norm, now->stem[l].norm, 1, c->stem[l]);
	}
	add_linear(s, "patch", EMBEDDING, c->bcos ? DIRECTIONS : NORMAL, &was->patch, &now->patch, c->width,
		vit_patch_inputs(c));
	add_norm(s, "norm_pre", EMBEDDING, &was->norm_pre, &now->norm_pre, c->width);
	for (int l = 0; l < c->depth; l++)
		add_block(s, l, c, &was->blocks[l], &now->blocks[l]);
	add_norm(s, "norm", HEAD, &was->norm, &now->norm, c->width);
	add_norm(s, "fc_norm", HEAD, &was->fc_norm, &now->fc_norm, c->width);
	add_head(s, c, &was->head, &now->head);
}

/* ---- which, and when ---- */

static bool due(const struct slot *s, int depth, int part, int parts)
{
	if (s->kind == KEPT)
		return false;
	if (s->place == EMBEDDING)
		return part == parts;
	return s->place == HEAD || s->place >= depth - (int)ceil((double)depth * part / parts);
}

static void check_stage(const char *name, struct vit_random *r, const struct vit *vit, int part, int parts)
{
	struct slots now, all;
	int wrong = 0;

	vit_random_cascade(r, vit, part, parts);
	CU_ASSERT(!memcmp(&r->vit.config, &vit->config, sizeof(vit->config)));
	list(&now, vit, &r->vit.weights);
	list(&all, vit, &r->weights);
	for (int i = 0; i < now.count; i++) {
		const struct slot *s = &now.slot[i];
		const float *want = due(s, vit->config.depth, part, parts) ? all.slot[i].now : s->was;

		if (s->now == want)
			continue;
		printf("\n    %s: part %d of %d: %s (%d)\n", name, part, parts, s->name, s->place);
		wrong++;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

/* Up and down: a stage does not depend on those before. */
static void check_stages(const char *name, struct vit *vit)
{
	struct vit_random r;

	vit_random_init(&r, vit, 3);
	for (int parts = 1; parts <= vit->config.depth + 2; parts++)
		for (int turn = 0; turn <= 2 * parts; turn++)
			check_stage(name, &r, vit, turn > parts ? 2 * parts - turn : turn, parts);
	vit_random_release(&r);
}

/* ---- by what ---- */

struct sums {
	double n, sum, squares;
};

static bool is_normal(const char *name, const struct sums *s)
{
	double deviation = sqrt(s->squares / s->n - s->sum / s->n * s->sum / s->n);

	return near_one(name, deviation, 0.02, 0.05 * 0.02) &&
	       near_one(name, s->sum / s->n, 0, 5 * 0.02 / sqrt(s->n));
}

/* of: those of a large matrix alone, else of all. */
static bool has_values(const struct slot *s, struct sums *of)
{
	double most = 0;
	bool ok = true;

	for (int r = 0; r < s->rows; r++) {
		double squares = 0;

		for (int i = 0; i < s->width; i++) {
			double w = s->now[r * s->width + i];

			squares += w * w;
			of->sum += w;
			most = fmax(most, fabs(w));
			ok &= s->kind != ZEROS || (w <= 0 && w >= 0);
			ok &= s->kind != ONES || (w <= 1 && w >= 1);
		}
		ok &= s->kind != DIRECTIONS || near_one(s->name, sqrt(squares), 1, 1e-6);
		of->squares += squares;
	}
	of->n += (double)s->rows * s->width;
	return ok && (s->kind != NORMAL || (most < 6 * 0.02 && most > 0.005));
}

/* The values of each, the deviation of all together; and no two have the same numbers. */
static void check_values(const char *name, struct vit *vit)
{
	struct vit_random r;
	struct sums all = {0}, other;
	struct slots s;

	vit_random_init(&r, vit, 4);
	list(&s, vit, &r.weights);
	for (int i = 0; i < s.count; i++) {
		const struct slot *one = &s.slot[i];

		CU_ASSERT((one->was == NULL) == (one->now == NULL));
		if (!one->was || one->kind == KEPT)
			continue;
		other = (struct sums){0};
		if (!has_values(one, one->kind == NORMAL ? &all : &other)) {
			printf("\n    %s: %s (%d)\n", name, one->name, one->place);
			CU_ASSERT(false);
		}
		for (int k = 0; k < i && one->kind <= DIRECTIONS; k++)
			if (s.slot[k].was && s.slot[k].kind <= DIRECTIONS) /* of one sign and ratio */
				CU_ASSERT(fabs(s.slot[k].now[0] / s.slot[k].now[1] -
						  one->now[0] / one->now[1]) > 1e-6);
	}
	CU_ASSERT(all.n > 1500 && is_normal(name, &all));
	vit_random_release(&r);
}

/* Each large matrix by itself. */
static void test_deviation(void)
{
	static const struct model_spec wide = {.image_h = 32,
		.image_w = 32,
		.patch = 8,
		.width = 48,
		.heads = 3,
		.depth = 2,
		.hidden = 100,
		.classes = 100,
		.layer_scale = true};
	struct vit_random r;
	struct vit vit;
	struct slots s;
	int seen = 0;

	model_init(&vit, &wide);
	vit_random_init(&r, &vit, 5);
	list(&s, &vit, &r.weights);
	for (int i = 0; i < s.count; i++) {
		struct sums one = {0};

		if (!s.slot[i].was || s.slot[i].kind != NORMAL || s.slot[i].rows * s.slot[i].width < 4000)
			continue;
		CU_ASSERT(has_values(&s.slot[i], &one));
		CU_ASSERT(is_normal(s.slot[i].name, &one));
		seen++;
	}
	CU_ASSERT_EQUAL(seen, 8); /* patch, head; of two blocks qkv, fc1, fc2 */
	vit_random_release(&r);
	model_release(&vit);
}

/* ---- a function of the seed ---- */

static int differing(const struct slots *a, const struct slots *b, int *drawn)
{
	int differ = 0;

	*drawn = 0;
	for (int i = 0; i < a->count; i++) {
		const struct slot *x = &a->slot[i], *y = &b->slot[i];
		size_t n = (size_t)x->rows * (size_t)x->width;

		if (!x->was || x->kind == KEPT)
			continue;
		differ += !same_bits(x->now, y->now, n);
		*drawn += x->kind <= DIRECTIONS;
	}
	return differ;
}

/* Of the seed alone: not of the weights that are replaced. */
static void check_seed(const char *name, struct vit *vit)
{
	struct vit_random first, again, other;
	struct slots a, b;
	int drawn;

	(void)name;
	vit_random_init(&first, vit, 6);
	CU_ASSERT_EQUAL(vit_random_bytes(vit), first.arena.size);
	vit_random_init(&other, vit, UINT64_C(6) << 32);
	vit_random_cascade(&other, vit, 1, 1);
	vit_random_init(&again, &other.vit, 6);
	list(&a, vit, &first.weights);
	list(&b, vit, &again.weights);
	CU_ASSERT_EQUAL(differing(&a, &b, &drawn), 0);
	list(&b, vit, &other.weights);
	CU_ASSERT_EQUAL(differing(&a, &b, &drawn), drawn);
	CU_ASSERT(drawn > 4);
	vit_random_release(&first);
	vit_random_release(&again);
	vit_random_release(&other);
}

/* ---- what it does ---- */

enum { CLASSES = 5 };

static double distance(const float *a, const float *b)
{
	double most = 0;

	for (int k = 0; k < CLASSES; k++)
		most = fmax(most, fabs((double)a[k] - (double)b[k]));
	return most / largest_float(a, CLASSES);
}

/* Every stage's logits are others than the original's, and than those of the stage before; the original stays
 * as it was. */
static void check_logits(const char *name, struct vit *vit)
{
	float was[CLASSES], before[CLASSES], now[CLASSES], *x = new_normal(model_pixels(vit), 1, 320);
	int depth = vit->config.depth;
	struct vit_random r;
	struct vit_work w;

	CU_ASSERT_EQUAL_FATAL(vit->config.classes, CLASSES);
	vit_work_init(&w, vit, VIT_FORWARD, 1, 1);
	vit_forward(vit, &w, was, x, 1, VIT_FORWARD);
	vit_random_init(&r, vit, 7);
	memcpy(before, was, sizeof(was));
	for (int part = 0; part <= depth; part++) {
		vit_random_cascade(&r, vit, part, depth);
		vit_forward(&r.vit, &w, now, x, 1, VIT_FORWARD);
		if (!(distance(was, now) > 0.01 && distance(before, now) > 1e-4)) {
			printf("\n    %s: part %d: %g, %g\n", name, part, distance(was, now),
				distance(before, now));
			CU_ASSERT(false);
		}
		CU_ASSERT(isfinite(largest_float(now, CLASSES)));
		memcpy(before, now, sizeof(now));
	}
	vit_random_release(&r);
	vit_forward(vit, &w, now, x, 1, VIT_FORWARD);
	CU_ASSERT(same_bits(was, now, CLASSES));
	vit_work_release(&w);
	free(x);
}

/* ---- over the families ---- */

static void test_stages(void)
{
	CU_ASSERT(each_family(check_stages) >= 29);
}

static void test_values(void)
{
	CU_ASSERT(each_family(check_values) >= 29);
}

static void test_seed(void)
{
	CU_ASSERT(each_family(check_seed) >= 29);
}

static void test_logits(void)
{
	CU_ASSERT(each_family(check_logits) >= 29);
}

int register_vit_random_tests(void)
{
	static const struct named_test tests[] = {
		{"which weights a stage replaces", test_stages},
		{"their values", test_values},
		{"deviation of large matrices", test_deviation},
		{"a function of the seed", test_seed},
		{"logits of the stages", test_logits},
		{NULL, NULL},
	};

	return add_suite("vit_random", tests);
}

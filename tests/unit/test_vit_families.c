/* Batches and shared cotangents of every family in tests/golden/families: what single passes give. That those
 * are right, the goldens say. */
#include "support.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { BATCH = 3, CLASSES = 5 };

/* One forward pass that keeps everything serves the frozen backward pass too, and any number of passes: the
 * same bits as the frozen pass of its own. */
static void check_frozen_after_gradient(
	const struct vit *vit, struct vit_work *w, const float *cotangent, const float *x)
{
	size_t pixels = model_pixels(vit);
	float *after = x_malloc(pixels * sizeof(float)), *own = x_malloc(pixels * sizeof(float));
	float logits[CLASSES], other[CLASSES];

	vit_forward(vit, w, logits, x, 1, VIT_GRADIENT);
	vit_backward(vit, w, own, cotangent, NULL, NULL);
	vit_backward_with(vit, w, after, cotangent, &(struct vit_backward){.rules = &vit_rules_frozen});
	vit_backward(vit, w, after, cotangent, NULL, NULL);
	CU_ASSERT(same_bits(after, own, pixels));
	vit_backward_with(vit, w, after, cotangent, &(struct vit_backward){.rules = &vit_rules_frozen});
	vit_forward(vit, w, other, x, 1, VIT_EFFECTIVE);
	vit_backward(vit, w, own, cotangent, NULL, NULL);
	CU_ASSERT(same_bits(after, own, pixels));
	CU_ASSERT(same_bits(logits, other, CLASSES));
	free(after);
	free(own);
}

static void close_to(const char *name, const float *got, const float *want, size_t n)
{
	CU_ASSERT(near_floats(name, got, want, n, 2e-5 * largest_float(want, n)));
}

static void check_mode(
	const char *name, const struct vit *vit, const float *x, const float *cotangent, enum vit_mode mode)
{
	size_t pixels = model_pixels(vit);
	float *dx = x_malloc(BATCH * pixels * sizeof(float)), *one = x_malloc(pixels * sizeof(float));
	float *shared = x_malloc(BATCH * pixels * sizeof(float)), logits[BATCH * CLASSES], single[CLASSES];
	struct vit_work w;

	vit_work_init(&w, vit, VIT_GRADIENT, BATCH, BATCH);
	vit_forward(vit, &w, logits, x, BATCH, mode);
	vit_backward(vit, &w, dx, cotangent, NULL, NULL);
	vit_forward(vit, &w, single, x, 1, mode);
	vit_backward_with(vit, &w, shared, cotangent, &(struct vit_backward){.per = BATCH});
	for (int i = 0; i < BATCH; i++) {
		vit_forward(vit, &w, single, x + (size_t)i * pixels, 1, mode);
		close_to(name, logits + i * CLASSES, single, CLASSES);
		vit_backward(vit, &w, one, cotangent + i * CLASSES, NULL, NULL);
		if (mode == VIT_GRADIENT)
			check_frozen_after_gradient(vit, &w, cotangent + i * CLASSES, x + (size_t)i * pixels);
		close_to(name, dx + (size_t)i * pixels, one, pixels);
		vit_forward(vit, &w, single, x, 1, mode);
		vit_backward(vit, &w, one, cotangent + i * CLASSES, NULL, NULL);
		if (mode == VIT_GRADIENT)
			check_frozen_after_gradient(vit, &w, cotangent + i * CLASSES, x + (size_t)i * pixels);
		close_to(name, shared + (size_t)i * pixels, one, pixels);
	}
	vit_work_release(&w);
	free(dx);
	free(one);
	free(shared);
}

static void check_family(const char *name, struct vit *vit)
{
	float cotangent[BATCH * CLASSES], *x = new_normal(BATCH * model_pixels(vit), 1, 72);

	CU_ASSERT_EQUAL_FATAL(vit->config.classes, CLASSES);
	random_normal(cotangent, BATCH * CLASSES, 1, 71);
	check_mode(name, vit, x, cotangent, VIT_EFFECTIVE);
	check_mode(name, vit, x, cotangent, VIT_GRADIENT);
	free(x);
}

static void test_families(void)
{
	CU_ASSERT(each_family(check_family) >= 29);
}

int register_vit_families_tests(void)
{
	static const struct named_test tests[] = {
		{"batches and shared cotangents are single passes", test_families},
		{NULL, NULL},
	};

	return add_suite("families", tests);
}

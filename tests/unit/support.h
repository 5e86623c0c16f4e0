/* What the unit tests share: registration, skipping, comparing, random numbers, and small random networks. */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/vit.h"

/* One per test file; each adds its suites to the registry. Returns -1 on error. */
int register_simd_tests(void);
int register_activations_tests(void);
int register_vit_families_tests(void);
int register_vit_random_tests(void);
int register_grids_tests(void);
int register_targets_tests(void);
int register_pos_embed_tests(void);
int register_kernels_tests(void); /* and the suite of planes, in test_planes.c */
int register_planes_tests(void);
int register_vit_tests(void);
int register_lrp_tests(void);
int register_bcos_tests(void); /* and the suites of test_bcos_vit.c */
int register_bcos_vit_tests(void);
int register_dave_tests(void); /* and the suite of test_postprocess.c */
int register_postprocess_tests(void);
int register_curve_tests(void); /* and the suites of test_adaptive.c and test_curve_points.c */
int register_adaptive_tests(void);
int register_curve_points_tests(void);
int register_metrics_tests(void); /* and the suite of test_metrics_explain.c */
int register_metrics_explain_tests(void);
int register_image_tests(void);
int register_base_tests(void);
int register_formats_tests(void);
int register_config_tests(void);

struct named_test {
	const char *name;
	void (*run)(void);
};

/* Adds a suite of tests; the list ends with a NULL name. Returns -1 on error. */
int add_suite(const char *name, const struct named_test *tests);

/* Called by a test that cannot run here, which then returns: it counts as skipped, not as passed. */
void test_skip(const char *name, const char *why);
int test_skips(void);

/* n normal numbers times scale, and one uniform number on (0, 1): functions of `stream` alone. */
void random_normal(float *x, size_t n, double scale, uint32_t stream);
double random_unit(uint32_t stream, uint32_t index);

/* n random floats, owned by the caller. */
float *new_normal(size_t n, double scale, uint32_t stream);

/* The largest magnitude; infinity if one is NaN. */
double largest(const double *x, size_t n);
double largest_float(const float *x, size_t n);

/* Is |got - want| <= limit everywhere (false for a NaN)? Prints the worst place where not. */
bool near_all(const char *what, const float *got, const double *want, size_t n, double limit);
bool near_floats(const char *what, const float *got, const float *want, size_t n, double limit);
bool near_one(const char *what, double got, double want, double limit);

/* Bit for bit. */
bool same_bits(const float *a, const float *b, size_t n);

/* A network with random weights, and an eps of LayerNorm that is large enough to matter. */
struct model_spec {
	int image_h, image_w, patch, width, heads, depth, hidden, classes;
	bool layer_scale, no_embed_class;
};

/* The three kinds that the tests use: plain; DeiT-III's on an image that is not square; LayerScale alone. */
enum { MODELS = 3 };
extern const struct model_spec model_specs[MODELS];

void model_init(struct vit *vit, const struct model_spec *spec);
void model_release(struct vit *vit);

/* Floats of an image of that network. */
size_t model_pixels(const struct vit *vit);

/* Loads every network of tests/golden/families (an external head where there is one) and calls f; returns how
 * many. One that cannot be loaded fails the test. */
int each_family(void (*f)(const char *name, struct vit *vit));

#endif

/*
 * The unit tests. Usage: unit [WORD] runs the suites whose name contains WORD, or all.
 * The last line is "N passed, N failed, N skipped", in tests. Exit status 1 if any failed or none ran.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm.h"
#include "support.h"

static int register_all(void)
{
	return register_base_tests() || register_simd_tests() || register_activations_tests() ||
	       register_vit_families_tests() || register_pos_embed_tests() || register_kernels_tests() ||
	       register_formats_tests() || register_image_tests() || register_vit_tests() ||
	       register_bcos_tests() || register_lrp_tests() || register_dave_tests() ||
	       register_curve_tests() || register_metrics_tests() || register_config_tests() ||
	       register_vit_random_tests() || register_targets_tests() || register_grids_tests();
}

static void select_suites(const char *word)
{
	for (CU_pSuite s = CU_get_registry()->pSuite; s; s = s->pNext)
		CU_set_suite_active(s, strstr(s->pName, word) ? CU_TRUE : CU_FALSE);
	CU_set_fail_on_inactive(CU_FALSE);
}

int main(int argc, char **argv)
{
	if (CU_initialize_registry() != CUE_SUCCESS || register_all()) {
		fprintf(stderr, "unit: cannot register the tests: %s\n", CU_get_error_msg());
		return EXIT_FAILURE;
	}
	if (argc > 1)
		select_suites(argv[1]);
	gemm_set_threads(1);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();

	unsigned failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
	unsigned run = CU_get_number_of_tests_run(), skipped = (unsigned)test_skips();
	int ok = !failed && run;

	CU_cleanup_registry();
	printf("%u passed, %u failed, %u skipped\n", run > failed + skipped ? run - failed - skipped : 0,
		failed, skipped);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

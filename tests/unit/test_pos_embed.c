/* src/model/pos_embed.c against torch.nn.functional.interpolate (PyTorch 1.13, float64, bicubic,
 * align_corners false). */
#include "support.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "model/pos_embed.h"

enum { FROM_H = 4, FROM_W = 3, MOST = 30, WIDTH = 3 };

static const struct {
	bool antialias;
	int h, w;
	double want[MOST];
} cases[] = {
	{true, 6, 5,
		{-6.2408143, -2.7697368, 2.0657895, -0.1853888, -2.2360973, -0.3729190, 0.5834065, 1.5882353,
			-0.9271291, -2.7136515, 5.8198375, 4.0227508, 0.8333333, -1.9712894, -3.4685535,
			4.6054769, 3.0254457, 0.1666667, -2.6151534, -4.1352201, 3.7136515, 2.1878841,
			-0.5882353, -3.3643547, -4.8901221, 3.2360973, 1.7103299, -1.0657895, -3.8419089,
			-5.3676763}},
	{true, 2, 2, {0.8941074, -1.1451455, 2.6135535, -3.1904740}},
	{true, 3, 7,
		{-2.8830752, -2.0349145, 0.1902546, 1.8100686, 0.3329361, -1.7776200, -2.5745467, 5.3090600,
			4.5072536, 2.6982460, 0.5000000, -1.5534435, -3.1597275, -3.8846154, 3.5745467,
			2.8464410, 1.2176322, -0.8100686, -2.8377695, -4.4665783, -5.1946840}},
	{false, 6, 5,
		{-6.6317222, -2.4935694, 2.0868056, 0.2115556, -2.2971944, -0.0502500, 0.9637500, 1.5937500,
			-0.7462500, -2.7902500, 6.2175648, 4.1074120, 0.7870370, -2.0177130, -3.5969630,
			4.8062685, 3.0658380, 0.2129630, -2.5367870, -4.1710370, 3.7902500, 2.1422500,
			-0.5937500, -3.3297500, -4.9777500, 3.2971944, 1.6491944, -1.0868056, -3.8228056,
			-5.4708056}},
	{false, 2, 2, {0.5742188, -1.4472656, 2.6406250, -3.8281250}},
	{false, 3, 7,
		{-4.1401610, -2.8390461, 0.0176716, 1.8738426, 0.7635413, -1.5710675, -2.5634752, 6.0813138,
			4.9749909, 3.0320700, 0.5000000, -1.7073615, -3.0820426, -3.9373178, 3.5634752,
			2.6946705, 1.2252828, -0.8738426, -2.9729680, -4.4423557, -5.3111604}},
};

/* The table has ((7 i) % 11) - 5 in its first column, the negative in the second, 1 in the third. */
static void test_pos_embed(void)
{
	float table[FROM_H * FROM_W * WIDTH], out[MOST * WIDTH];

	for (int i = 0; i < FROM_H * FROM_W; i++) {
		table[i * WIDTH] = (float)(7 * i % 11 - 5);
		table[i * WIDTH + 1] = -table[i * WIDTH];
		table[i * WIDTH + 2] = 1;
	}
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		int n = cases[k].h * cases[k].w;

		pos_embed_resample(
			out, cases[k].h, cases[k].w, table, FROM_H, FROM_W, WIDTH, cases[k].antialias);
		for (int i = 0; i < n; i++) {
			CU_ASSERT(near_one("resampled", out[i * WIDTH], cases[k].want[i], 1e-6));
			CU_ASSERT(near_one("negative", out[i * WIDTH + 1], -cases[k].want[i], 1e-6));
			CU_ASSERT(near_one("constant", out[i * WIDTH + 2], 1, 1e-6));
		}
	}
}

static void test_pos_embed_same_grid(void)
{
	float table[6] = {1, -2, 3, 0.1f, 5, 6}, out[6];

	pos_embed_resample(out, 2, 3, table, 2, 3, 1, true);
	CU_ASSERT(!memcmp(out, table, sizeof(table)));
}

int register_pos_embed_tests(void)
{
	static const struct named_test tests[] = {
		{"resampled as torch does", test_pos_embed},
		{"the same grid is a copy", test_pos_embed_same_grid},
		{NULL, NULL},
	};

	return add_suite("positional table", tests);
}

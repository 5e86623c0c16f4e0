#include "attribution/method.h"

#include "attribution/dave.h"

#include <math.h>
#include <string.h>

extern const struct method_ops method_gradient, method_input_x_gradient, method_effective, method_bcos,
	method_random;

const struct method_ops *const method_registry[] = {
	&method_bcos,
	&method_dave,
	&method_effective,
	&method_effective_equivariant,
	&method_effective_smooth,
	&method_gradient,
	&method_input_x_gradient,
	&method_random,
	NULL,
};

const struct method_ops *method_find(const char *name)
{
	for (int i = 0; method_registry[i]; i++)
		if (!strcmp(method_registry[i]->name, name))
			return method_registry[i];
	return NULL;
}

int method_figure_count(const struct method_ops *ops)
{
	int n = 0;

	while (ops->figures && ops->figures[n].name)
		n++;
	return n;
}

int method_sum_channels(float *raw, const float *a, const struct vit_config *c, struct err *err)
{
	size_t plane = (size_t)c->image_h * (size_t)c->image_w;

	for (size_t p = 0; p < plane; p++) {
		double sum = 0;

		for (int ch = 0; ch < c->channels; ch++)
			sum += a[(size_t)ch * plane + p];
		raw[p] = (float)sum;
		if (!isfinite(raw[p]))
			return err_set(err, "attribution is not finite at pixel (%zu, %zu)",
				p / (size_t)c->image_w, p % (size_t)c->image_w);
	}
	return 0;
}

#include "attribution/method.h"

#include "attribution/dave.h"

#include <string.h>

extern const struct method_ops method_attention_rollout, method_attnlrp, method_bcos, method_chefer,
	method_effective, method_gradient, method_input_x_gradient, method_integrated_gradients,
	method_legrad, method_random, method_smoothgrad;

const struct method_ops *const method_registry[] = {
	&method_attention_rollout,
	&method_attnlrp,
	&method_bcos,
	&method_chefer,
	&method_dave,
	&method_effective,
	&method_effective_equivariant,
	&method_effective_smooth,
	&method_gradient,
	&method_input_x_gradient,
	&method_integrated_gradients,
	&method_legrad,
	&method_random,
	&method_smoothgrad,
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

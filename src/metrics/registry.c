#include "metrics/metric.h"

#include <string.h>

extern const struct metric_ops metric_deletion, metric_energypg, metric_entropy, metric_grid_artifact,
	metric_gridpg, metric_insertion, metric_pointing_game, metric_randomisation, metric_sensitivity_max,
	metric_sparseness, metric_stability;

const struct metric_ops *const metric_registry[] = {
	&metric_deletion,
	&metric_energypg,
	&metric_entropy,
	&metric_grid_artifact,
	&metric_gridpg,
	&metric_insertion,
	&metric_pointing_game,
	&metric_randomisation,
	&metric_sensitivity_max,
	&metric_sparseness,
	&metric_stability,
	NULL,
};

const struct metric_ops *metric_find(const char *name)
{
	for (int i = 0; metric_registry[i]; i++)
		if (!strcmp(metric_registry[i]->name, name))
			return metric_registry[i];
	return NULL;
}

int metric_figure_count(const struct metric_ops *ops)
{
	int n = 0;

	while (ops->figures && ops->figures[n].name)
		n++;
	return n;
}

int metric_adaptive(const struct metric_ops *ops, const void *params)
{
	return ops->adaptive && ops->adaptive(params);
}

int metric_figure_stored(const struct metric_ops *ops, const void *params, int figure)
{
	return ops->figures[figure].kind != FIGURE_ADAPTIVE || metric_adaptive(ops, params);
}

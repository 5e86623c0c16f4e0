#include "attribution/clean.h"

#include <string.h>

void clean_carve(struct clean *c, struct arena *a, const struct vit_config *config)
{
	size_t classes = (size_t)config->classes;
	size_t image = (size_t)config->channels * (size_t)config->image_h * (size_t)config->image_w;

	c->logits = arena_floats(a, classes);
	c->cotangent = arena_floats(a, classes);
	for (int i = 0; i < CLEAN_GRADIENTS; i++)
		c->gradients[i].dx = arena_floats(a, image);
}

void clean_begin(struct clean *c, const struct vit *vit, struct vit_work *work, const float *x)
{
	c->vit = vit;
	c->work = work;
	c->x = x;
	c->pass = 0;
	for (int i = 0; i < CLEAN_GRADIENTS; i++)
		c->gradients[i].rules = NULL;
}

const float *clean_forward(struct clean *c)
{
	if (!c->pass || c->pass != c->work->passes) {
		vit_forward(c->vit, c->work, c->logits, c->x, 1, c->work->mode);
		c->pass = c->work->passes;
	}
	return c->logits;
}

const float *clean_logits(struct clean *c)
{
	return c->pass ? c->logits : clean_forward(c);
}

const float *clean_gradient(
	struct clean *c, const struct vit_rules *rules, int target, struct vit_account *account)
{
	int at = 0;

	for (int i = 0; i < CLEAN_GRADIENTS; i++) {
		if (c->gradients[i].rules == rules && c->gradients[i].target == target && !account)
			return c->gradients[i].dx;
		if (!c->gradients[i].rules || c->gradients[i].rules == rules) {
			at = i;
			break;
		}
	}
	clean_forward(c);
	memset(c->cotangent, 0, (size_t)c->vit->config.classes * sizeof(float));
	c->cotangent[target] = 1;
	vit_backward_with(c->vit, c->work, c->gradients[at].dx, c->cotangent,
		&(struct vit_backward){.rules = rules, .x = c->x, .account = account});
	c->gradients[at].rules = rules;
	c->gradients[at].target = target;
	return c->gradients[at].dx;
}

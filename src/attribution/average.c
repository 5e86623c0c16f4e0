#include "attribution/average.h"

#include "base/clock.h"
#include "kernels/elementwise.h"

#include <string.h>

struct average average_carve(struct arena *a, const struct vit_config *c, int batch, int targets)
{
	size_t image = method_image_size(c), wide = (size_t)(batch > targets ? batch : targets);
	struct average s;

	s.images = arena_floats(a, wide * image);
	s.dx = arena_floats(a, wide * image);
	s.logits = arena_floats(a, wide * (size_t)c->classes);
	s.cotangent = arena_floats(a, wide * (size_t)c->classes);
	s.sum = arena_take(a, (size_t)targets * image, sizeof(double));
	return s;
}

int average_gradients(struct average *a, const struct method_input *in, const struct average_images *images,
	struct err *err)
{
	const struct vit_config *c = &in->vit->config;
	size_t image = method_image_size(c);
	int per = in->count, wide = in->batch > per ? in->batch : per;
	int most = wide / per < in->batch ? wide / per : in->batch;

	memset(a->sum, 0, (size_t)per * image * sizeof(*a->sum));
	for (int start = 0; start < images->count; start += most) {
		int n = images->count - start < most ? images->count - start : most;

		if (stop_requested())
			return err_set(err, "stopped");
		for (int i = 0; i < n; i++)
			images->make(images->ctx, a->images + (size_t)i * image, start + i);
		vit_forward(in->vit, in->work, a->logits, a->images, n, VIT_GRADIENT);
		memset(a->cotangent, 0, (size_t)(n * per) * (size_t)c->classes * sizeof(float));
		for (int i = 0; i < n * per; i++)
			a->cotangent[i * c->classes + in->targets[i % per]] = 1;
		vit_backward_with(in->vit, in->work, a->dx, a->cotangent, &(struct vit_backward){.per = per});
		for (int i = 0; i < n * per; i++) {
			const float *dx = a->dx + (size_t)i * image;
			double weight = images->weight[start + i / per],
			       *sum = a->sum + (size_t)(i % per) * image;

			if (!all_finite(dx, image))
				return err_set(err, "sample %d is not finite", start + i / per);
			for (size_t p = 0; p < image; p++)
				sum[p] += weight * (double)dx[p];
		}
	}
	return 0;
}

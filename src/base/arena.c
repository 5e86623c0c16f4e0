#include "base/arena.h"

#include "base/err.h"

#include <stdlib.h>

void *arena_take(struct arena *a, size_t count, size_t item)
{
	size_t bytes = (count * item + 63) / 64 * 64;
	size_t at = a->used;

	a->used += bytes;
	if (!a->base)
		return NULL;
	if (a->used > a->size)
		BUG("arena of %zu bytes asked for %zu", a->size, a->used);
	return a->base + at;
}

float *arena_floats(struct arena *a, size_t count)
{
	return arena_take(a, count, sizeof(float));
}

void arena_allocate(struct arena *a)
{
	a->size = a->used;
	a->base = x_aligned_alloc(a->size);
	a->used = 0;
}

void arena_release(struct arena *a)
{
	free(a->base);
	*a = (struct arena){0};
}

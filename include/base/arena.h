/*
 * An arena: one block of memory carved into aligned pieces by a function that is run twice, first
 * to measure (base == NULL), then to carve. So the plan and the measure cannot disagree.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena {
	char *base;  /* NULL while measuring; owned when made by arena_allocate() */
	size_t used; /* bytes carved so far */
	size_t size; /* bytes that base holds */
};

/* The next `count` items of `item` bytes, 64-byte aligned, uninitialised; NULL while measuring. */
void *arena_take(struct arena *a, size_t count, size_t item);

/* count floats: arena_take(a, count, sizeof(float)). */
float *arena_floats(struct arena *a, size_t count);

/* After the measuring run: allocates a->used bytes and starts again at the beginning. */
void arena_allocate(struct arena *a);

/* Frees what arena_allocate() allocated; a is measuring again. */
void arena_release(struct arena *a);

#endif

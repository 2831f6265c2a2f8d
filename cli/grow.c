/* SPDX-License-Identifier: MIT */
#include "grow.h"

#include <stdlib.h>

enum { FIRST = 32 };

void *
grow(void *data, size_t *cap, size_t need, size_t size)
{
	size_t room = *cap ? *cap : FIRST;
	void *moved;

	if (need <= *cap && data != NULL)
		return data;
	while (room < need)
		if (__builtin_mul_overflow(room, (size_t)2, &room))
			return NULL;
	moved = reallocarray(data, room, size);
	if (moved != NULL)
		*cap = room;
	return moved;
}

/* SPDX-License-Identifier: MIT */
#include "held.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
kn_held_add(struct kn_held *h, enum knee_stream stream, const char *data, size_t size)
{
	struct kn_chunk chunk = { .size = (uint32_t)size, .stream = (uint32_t)stream };
	int err;

	err = kn_buf_reserve(&h->mem, sizeof(chunk) + size);
	if (err < 0)
		return err;
	(void)kn_buf_add(&h->mem, &chunk, sizeof(chunk));
	(void)kn_buf_add(&h->mem, data, size);
	return 0;
}

int
kn_held_reserve(struct kn_held *h)
{
	struct kn_extent *extents;
	size_t cap = h->cap ? h->cap * 2 : 4;

	if (h->nextents < h->cap)
		return 0;
	extents = realloc(h->extents, cap * sizeof(*extents));
	if (extents == NULL)
		return -ENOMEM;
	h->extents = extents;
	h->cap = cap;
	return 0;
}

void
kn_held_spilled(struct kn_held *h, uint64_t offset)
{
	struct kn_extent *last = h->nextents > 0 ? &h->extents[h->nextents - 1] : NULL;

	if (last != NULL && last->offset + last->size == offset) {
		last->size += h->mem.len;
	} else {
		assert(h->extents != NULL && h->nextents < h->cap);
		h->extents[h->nextents++] = (struct kn_extent){ .offset = offset, .size = h->mem.len };
	}
	h->mem.len = 0;
}

void
kn_held_done(struct kn_held *h)
{
	kn_buf_done(&h->mem);
	free(h->extents);
	*h = (struct kn_held){ 0 };
}

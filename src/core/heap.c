/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

static void
place(struct kn_heap *h, size_t at, struct kn_heap_node *n)
{
	h->nodes[at] = n;
	n->index = at + 1;
}

static void
sift_up(struct kn_heap *h, size_t at)
{
	struct kn_heap_node *n = h->nodes[at];

	while (at > 0 && h->nodes[(at - 1) / 2]->key > n->key) {
		place(h, at, h->nodes[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(h, at, n);
}

static void
sift_down(struct kn_heap *h, size_t at)
{
	struct kn_heap_node *n = h->nodes[at];
	size_t child;

	while ((child = 2 * at + 1) < h->len) {
		if (child + 1 < h->len && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (h->nodes[child]->key >= n->key)
			break;
		place(h, at, h->nodes[child]);
		at = child;
	}
	place(h, at, n);
}

struct kn_heap_node *
kn_heap_top(const struct kn_heap *h)
{
	return h->len > 0 ? h->nodes[0] : NULL;
}

int
kn_heap_reserve(struct kn_heap *h, size_t n)
{
	struct kn_heap_node **nodes;
	size_t cap = h->cap ? h->cap : 16;

	if (n <= h->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	nodes = realloc(h->nodes, cap * sizeof(struct kn_heap_node *));
	if (nodes == NULL)
		return -ENOMEM;
	h->nodes = nodes;
	h->cap = cap;
	return 0;
}

int
kn_heap_set(struct kn_heap *h, struct kn_heap_node *n, int64_t key)
{
	int err;

	if (n->index == 0) {
		err = kn_heap_reserve(h, h->len + 1);
		if (err < 0)
			return err;
		place(h, h->len++, n);
	}
	n->key = key;
	sift_up(h, n->index - 1);
	sift_down(h, n->index - 1);
	return 0;
}

void
kn_heap_remove(struct kn_heap *h, struct kn_heap_node *n)
{
	size_t at = n->index - 1;
	struct kn_heap_node *last;

	if (n->index == 0)
		return;
	n->index = 0;
	last = h->nodes[--h->len];
	if (last == n)
		return;
	place(h, at, last);
	sift_up(h, at);
	sift_down(h, last->index - 1);
}

void
kn_heap_done(struct kn_heap *h)
{
	free(h->nodes);
	*h = (struct kn_heap){ 0 };
}

/* SPDX-License-Identifier: MIT */
/* A binary min-heap of deadlines; the nodes live in their owners. */
#ifndef KN_HEAP_H
#define KN_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* index: 0 when in no heap, else the place in it plus one. */
struct kn_heap_node {
	int64_t key;
	size_t index;
};

struct kn_heap {
	struct kn_heap_node **nodes;    /* owned array, nodes borrowed */
	size_t len, cap;
};

/* The node with the smallest key, or NULL. */
struct kn_heap_node *kn_heap_top(const struct kn_heap *h);
/* Put n in, or move it when it is in already. 0 or -ENOMEM (only when it was not in). */
int kn_heap_set(struct kn_heap *h, struct kn_heap_node *n, int64_t key);
/* Take n out; nothing happens when it is in no heap. */
void kn_heap_remove(struct kn_heap *h, struct kn_heap_node *n);
/* Room for n nodes in all, so that kn_heap_set cannot fail before. 0 or -ENOMEM. */
int kn_heap_reserve(struct kn_heap *h, size_t n);
void kn_heap_done(struct kn_heap *h);

#endif

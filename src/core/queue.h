/* SPDX-License-Identifier: MIT */
/*
 * Inputs that were read ahead and wait to be started, packed: a queue of each key, first in first
 * out, a few tens of bytes an input in chunks that are given back as they empty. Reading far ahead
 * is what lets tasks of different kinds run side by side however the input is sorted.
 */
#ifndef KN_QUEUE_H
#define KN_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "task.h"

#define KN_QUEUE_KEYS 64

struct kn_queue_chunk;

struct kn_queue {
	struct {
		struct kn_queue_chunk *first, *last;    /* owned */
		uint64_t len;
	} keys[KN_QUEUE_KEYS];
	uint64_t len;               /* of all */
	size_t bytes;               /* of memory in use */
	struct kn_queue_chunk *spare;   /* owned; one that was emptied, or NULL */
};

/* {0} is an empty queue. Frees what waits. */
void kn_queue_done(struct kn_queue *q);
/* Copies the input. seq rises from push to push. 0 or -ENOMEM. */
int kn_queue_push(struct kn_queue *q, unsigned key, uint64_t seq, const struct knee_input *input);
/* The lowest seq that waits with this key; UINT64_MAX: none. */
uint64_t kn_queue_head(const struct kn_queue *q, unsigned key);
/* Take that one out as a task in state KN_READY, its key set. *ret is NULL when there is none. 0 or
 * -ENOMEM: it still waits. */
int kn_queue_pop(struct kn_queue *q, unsigned key, size_t exec_bytes, struct kn_task **ret);
/* Take this one out, wherever it waits, the same way. It costs a walk over what waits. */
int kn_queue_take(struct kn_queue *q, uint64_t seq, size_t exec_bytes, struct kn_task **ret);
/* Take the lowest seq of all out and forget it; 0: there is none. */
uint64_t kn_queue_drop(struct kn_queue *q);

#endif

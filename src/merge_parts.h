/* SPDX-License-Identifier: MIT */
/*
 * What the parts of merge know of each other: merge.c, the ring of tasks and what they do; merge_print.c, what
 * may be printed now; merge_spill.c, what has no room in memory.
 */
#ifndef KN_MERGE_PARTS_H
#define KN_MERGE_PARTS_H

#include "merge.h"

/* Bytes read of the spill file at once. */
#define KN_MERGE_BUFFER_BYTES ((size_t)64 * 1024)

/* ---- entries of the ring: see struct kn_merge ---- */

/* Of a task that was read, but not started yet: no pointer, and not odd. */
#define KN_ENTRY_RESERVED 2
/* Of one that will not be started, though what comes behind it may have run. */
#define KN_ENTRY_GAP 4

static inline uint64_t *
kn_merge_entry(const struct kn_merge *m, uint64_t seq)
{
	return &m->ring[seq & (m->ring_cap - 1)];
}

static inline bool
kn_entry_is_parked(uint64_t entry)
{
	return (entry & 1) != 0;
}

/* NULL when the entry holds no task in memory. */
static inline struct kn_task *
kn_entry_task(uint64_t entry)
{
	if (entry == KN_ENTRY_RESERVED || entry == KN_ENTRY_GAP || kn_entry_is_parked(entry))
		return NULL;
	return (struct kn_task *)(uintptr_t)entry;
}

/* ---- merge_print.c; as what merge.h has, 0 or -errno ---- */

/* Say that t begins, unless that was said. */
int kn_merge_print_start(struct kn_merge *m, struct kn_task *t);
int kn_merge_print_data(struct kn_merge *m, struct kn_task *t, enum knee_stream stream, const char *data, size_t n);
/* Print what is held of a task that runs: the beginning of a line, or of pieces. The sinks take it even when
 * they are slow: a line is never interrupted. */
int kn_merge_print_line(struct kn_merge *m, struct kn_task *t, struct kn_held *h);
/* Give back what is held of t, unprinted. */
void kn_merge_held_drop(struct kn_merge *m, struct kn_task *t);

/* ---- merge_spill.c ---- */

/* The text of err, which task seq met, for m->error; err. */
int kn_merge_spill_failed(struct kn_merge *m, int err, uint64_t seq);
/* These bytes of the spill file are not wanted any more. */
void kn_merge_spill_release(struct kn_merge *m, uint64_t offset, uint64_t size);
/* What t holds in memory goes to the spill file. */
int kn_merge_spill(struct kn_merge *m, struct kn_task *t, struct kn_held *h);
/* Memory is over its bound: make room, from the task that will be printed last. The one that is being printed may
 * be spilled, but not parked. */
int kn_merge_shrink(struct kn_merge *m);
/* Bring a parked task back; its output stays in the file. */
int kn_merge_unpark(struct kn_merge *m, uint64_t entry, struct kn_task **ret);
/* Bytes of memory that an ended task takes besides its held output. */
uint64_t kn_merge_ended_bytes(const struct kn_task *t);

#endif

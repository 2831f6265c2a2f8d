/* SPDX-License-Identifier: MIT */
/*
 * Puts the output of tasks that run at once into the order that was asked for.
 *
 *	KNEE_ORDER_INPUT  the first unfinished task passes through as it comes, the others are held
 *	KNEE_ORDER_DONE   all are held until they end, then printed whole
 *	KNEE_ORDER_LINES  whole lines pass through, the beginning of a line is held
 *	KNEE_ORDER_PIECES all passes through as it comes, and is held only while the sinks are slow; every
 *	                  result passes, in the order of ending
 *	KNEE_ORDER_NONE   there is no output to hold; results pass through
 *
 * A task that failed may get another attempt, and only the last attempt's output counts:
 * while that is possible nothing of the task passes through.
 *
 * What is held stays in memory up to memory_bytes in all; above that the latest tasks'
 * part goes to a file without a name in tmpdir (the spill file), and ended tasks go there
 * whole ("parked"), so that only 8 bytes of a waiting task stay in memory.
 *
 * A parked task, in the spill file:
 *	struct parked, its tag, its command, its arguments, its extents (struct kn_extent), its chunks
 */
#ifndef KN_MERGE_H
#define KN_MERGE_H

#include "core/sched.h"

/* Tasks between the first unprinted one and the latest started one; starts wait beyond. */
#define KN_MERGE_WINDOW ((uint64_t)1 << 20)

struct kn_merge_host {
	/* Hand an event to the text sinks. 0, -EAGAIN: taken, but their reader is slow: give no
	 * more until kn_merge_pump is called again; or -errno. */
	int (*emit)(void *self, const struct knee_event *event);
	/* The task was printed, or will not be: free it when the turn is over. */
	void (*printed)(void *self, struct kn_task *t);
	void *self;
};

struct kn_cursor {
	unsigned which;             /* held[which] */
	size_t extent;              /* the next one */
	uint64_t offset;            /* in it, or in memory when all extents are done */
};

/* Of the task that is being read: where, and what of a chunk is left. */
struct kn_reader {
	size_t extent;
	uint64_t offset, left;
	enum knee_stream stream;
};

/* Invariant: ring holds the tasks with head <= seq < next; an entry is a struct kn_task *,
 * or the place of a parked one in the spill file times two plus one, 2 for one that was read but not
 * started yet, 4 for one that never will be, or 0 for none. */
struct kn_merge {
	enum knee_order order;
	const char *tmpdir;             /* borrowed */
	uint64_t memory_max;
	const struct kn_sched *sched;   /* borrowed: who may get another attempt */
	struct kn_merge_host host;

	uint64_t *ring;                 /* owned */
	size_t ring_cap;                /* a power of two, or 0 */
	uint64_t head, next;
	struct kn_list ended;           /* orders but INPUT: to be printed */

	struct kn_cursor cursor;        /* of the task that is being printed */
	bool slow;                      /* the last emit said -EAGAIN */
	bool late;                      /* in INPUT: pass nothing of a task through before its result */
	bool pieces_held;               /* PIECES: something of a task that runs may be held */
	bool whole;                     /* pass nothing through; a task's stdout, then its stderr; not LINES */
	bool resumable;                 /* print nothing behind what was cut short */
	bool mute;                      /* ... that has come */
	struct kn_reader reader;

	int spill_fd;
	uint64_t spill_end, spill_live; /* bytes of it: used up to, still wanted */
	uint64_t memory;                /* bytes of held output and of ended tasks in memory */
	char *buffer;                   /* owned */
	char error[512];                /* text, after an error of this module's own */
};

int kn_merge_init(struct kn_merge *m, enum knee_order order, const char *tmpdir, uint64_t memory_max,
    const struct kn_sched *sched, const struct kn_merge_host *host);
/* Frees what was not printed. */
void kn_merge_done(struct kn_merge *m);

/* Those that return a number return 0 or -errno (with text in m->error, or ""). Places are reserved
 * in order of seq, from 1; tasks may be added to them in any order. */
int kn_merge_reserve(struct kn_merge *m, uint64_t seq);
void kn_merge_add(struct kn_merge *m, struct kn_task *t);
int kn_merge_output(struct kn_merge *m, struct kn_task *t, enum knee_stream stream,
    const char *data, size_t n);
/* Does all of t's output wait for its turn? t has ended, and kn_merge_result was not called yet. */
bool kn_merge_waits(const struct kn_merge *m, const struct kn_task *t);
/* The n-th piece of what is held of t, as knee_read. */
int kn_merge_read(struct kn_merge *m, const struct kn_task *t, uint64_t n, enum knee_stream *stream,
    const char **data, size_t *size);
/* The attempt failed: forget its output. */
void kn_merge_retry(struct kn_merge *m, struct kn_task *t);
/* t has its result and belongs to merge from now on. */
int kn_merge_result(struct kn_merge *m, struct kn_task *t);
/* t was never started: it will not be printed. */
void kn_merge_forget(struct kn_merge *m, struct kn_task *t);
/* Nor will what this place is reserved for, after a stop: as kn_merge_forget, a gap, behind which nothing is printed when
 * the run can be resumed. */
void kn_merge_gap(struct kn_merge *m, uint64_t seq);
/* The same where it is known already: no gap. */
void kn_merge_drop(struct kn_merge *m, uint64_t seq);
/* Print what may be printed now. */
int kn_merge_pump(struct kn_merge *m);
/* True when nothing waits to be printed. */
bool kn_merge_empty(const struct kn_merge *m);
/* True when no further task may be added for now. */
bool kn_merge_full(const struct kn_merge *m);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A task: one command for one input, from its creation to its RESULT. The one data
 * type that flows through the program; each module keeps its part of it in here.
 */
#ifndef KN_TASK_H
#define KN_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <knee_program.h>
#include "heap.h"
#include "held.h"
#include "reading.h"

enum kn_state {
	KN_READY,                   /* may be started */
	KN_HANDED,                  /* its executor has it, and has not begun it yet */
	KN_RUNNING,
	KN_ENDING,                  /* was sent a signal of the ending sequence */
	KN_WAITING,                 /* failed; waits for its next attempt */
	KN_DONE,                    /* has its RESULT */
	KN_STATES
};

/* Why a task was made to end. */
enum kn_reason { KN_BY_ITSELF, KN_BY_TIMEOUT, KN_BY_CANCEL, KN_BY_REQUEUE };

/*
 * One block of memory: this, then the executor's private part, then the arguments.
 * Owned by the run until its RESULT, then by merge until it is printed.
 */
struct kn_task {
	uint64_t seq;
	unsigned key;                   /* the tuner's number for what its command is like */
	struct kn_task *next, *prev;    /* in the list of the state that it is in */

	/* sched */
	enum kn_state state;
	enum kn_reason reason;
	unsigned slot;
	size_t term_step;
	bool signalled;                 /* the caller told it to end (knee_task_signal): its group goes with it */
	bool unwanted;                  /* ... before it had begun: it is not to run */
	struct kn_heap_node deadline;   /* of RUNNING, ENDING, WAITING */
	int64_t started_ns;
	int64_t allowed_ns;             /* BY_TIMEOUT: so long it was */
	struct knee_result result;

	/* tuner: what it has used, and how much of that was told */
	struct kn_usage usage, told;
	int64_t suspended_ns;           /* stopped for want of memory since then; 0: it is not */
	bool busy;                      /* its last attempt said: too many at once */

	struct kn_buf part;             /* what it has for the whole; empty: nothing */

	/* what to run: borrowed from the block's end */
	const char *const *args;
	size_t nargs;
	void *data;                     /* the caller's own; not looked at */
	const char *host;               /* borrowed: the machine that has it or had it last; NULL: this one */
	char *command;                  /* owned; the text, when wanted, else NULL */
	char *tag;                      /* owned; NULL without a tag */

	/* merge */
	struct kn_held held[2];         /* [1] only when lines are kept whole */
	bool printing;                  /* its START went to the text sinks */

	void *exec;                     /* the executor's part */
	size_t bytes;                   /* of the block */
};

/* A list of tasks, doubly linked. {0} is empty. */
struct kn_list {
	struct kn_task *first, *last;
	size_t len;
};

void kn_list_append(struct kn_list *l, struct kn_task *t);
void kn_list_remove(struct kn_list *l, struct kn_task *t);

/* A task for this input in state KN_READY, arguments copied; NULL: no memory. */
struct kn_task *kn_task_new(uint64_t seq, const struct knee_input *input, size_t exec_bytes);
void kn_task_free(struct kn_task *t);

#endif

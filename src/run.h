/* SPDX-License-Identifier: MIT */
/*
 * A run: the only place that knows the scheduler, the tuner, the executor and the sinks
 * together. One thread owns all of it; kn_run_turn() is its whole life, step by step.
 */
#ifndef KN_RUN_H
#define KN_RUN_H

#include "core/sched.h"
#include "exec/exec.h"
#include "core/queue.h"
#include "merge.h"
#include "meter.h"
#include "submit.h"
#include "sys/loop.h"
#include "whole.h"

/* What a sink waits for. */
struct kn_sink_state {
	struct kn_watch watch;      /* of its fd, while its reader is slow */
	const struct knee_sink *sink;
	int64_t due_ns;             /* when to tick */
	int64_t flush_ns;           /* when to flush at the latest */
};

/* A descriptor that the caller wants to hear of. */
struct kn_caller_watch {
	struct kn_watch watch;
	struct knee *knee;
	struct kn_caller_watch *next;
	int (*fn)(void *self, int fd);
	void *self;
};

struct knee {
	struct knee_options options;    /* with the defaults filled in */
	struct kn_loop loop;
	struct kn_sched sched;
	struct kn_queue queue;          /* inputs that were read ahead */
	struct kn_meter meter;
	struct kn_exec exec;
	struct kn_merge merge;
	struct kn_whole *whole;         /* owned; of a plugin; NULL without one */
	int64_t whole_next_ns;          /* when it wants its turn */
	bool whole_told;                /* its end has been counted */

	struct knee_template *own_command;  /* owned: made of options.words, or NULL */
	struct kn_submit submit;        /* the source when options has none */
	struct kn_watch source_watch;   /* waits for an input */
	bool source_waiting, source_ended;
	int source_err;                 /* what ended it before its end, or 0 */
	uint64_t seq;                   /* of the latest task */

	struct kn_sink_state *sinks;    /* owned, options.nsinks of them */
	uint64_t unflushed_bytes;       /* given to text sinks since their last flush */
	size_t nlive;                   /* live ones that take events */
	bool slow;                      /* a text sink's reader is: nothing is read or started */
	bool print_more;                /* and there is more to print at once */
	bool woken;                     /* tick all sinks in this turn */

	struct kn_caller_watch *callers;/* owned */
	struct kn_caller_watch *gone;   /* owned: removed in this turn */
	struct kn_list retired;         /* tasks to be freed when the turn is over */

	unsigned limit;                 /* of all kinds of work together */
	unsigned limit_told;            /* to the executor */
	unsigned ahead;                 /* what the executor may have ready beyond it */
	unsigned suspended;             /* running tasks that are stopped for want of memory */
	int picked;                     /* the key that wants_start found */
	bool read_more;                 /* there is room to read further ahead at once */
	bool held;                      /* options.may_start said no: ask again after knee_wake() */
	int64_t exec_next_ns;           /* when the executor wants its tick */
	int64_t begin_ns;               /* of the run */
	int64_t time_ns;                /* since the Epoch, of this turn */
	int64_t told_ns;                /* the latest time that the tuner was told of */
	int64_t last_start_ns;
	int64_t unheard_ns;             /* since when other machines are not read from; 0: they are */
	int64_t hold_starts_ns;         /* no start before, after a refusal */
	int64_t put_off_ns;             /* the last pause after a start that said "not now"; 0: it did not */
	bool locked_told;               /* that tasks wait for one another */
	unsigned refusals;              /* in a row with nothing running */
	bool starting;                  /* a task is between two lists: a stop waits */
	int stop_later;                 /* enum knee_stop plus one; 0: none waits */
	bool noted;                     /* the executor has said why it does not start a task */
	bool ended;
	int err;                        /* what stops the run, or 0 */
	char error[1024];
};

/* k->options is set, all else zero. 0 or -errno; kn_run_done either way. */
int kn_run_init(struct knee *k);
void kn_run_done(struct knee *k);
/* One turn of the loop, that waits until something is due or does not: 1 while there is more to do, 0
 * at the end of the run, -errno after an error (once nothing runs any more). */
int kn_run_turn(struct knee *k, bool wait);
/* Let the loop's descriptor become readable when the next turn is due; at once: now. 0 or -errno. */
int kn_run_arm(struct knee *k, bool at_once);
/* Counts at this moment. */
void kn_run_stats(const struct knee *k, struct knee_stats *ret);
void kn_run_stop(struct knee *k, enum knee_stop how);
/* The user's own hand. */
void kn_run_adjust(struct knee *k, int by);
void kn_run_set_limit(struct knee *k, unsigned limit);
int kn_run_requeue_youngest(struct knee *k);
/* As knee_task_signal. */
int kn_run_task_signal(struct knee *k, uint64_t seq, int signal);
size_t kn_run_work(const struct knee *k, struct knee_work *ret, size_t max);

#endif

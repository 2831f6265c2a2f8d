/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: which task does what next. Pure: it is told the time and what
 * happened, and answers with an action; run.c carries the action out.
 *
 * The life of a task is a table, state by event:
 *
 *	          start    exit      deadline       cancel         kill             requeue
 *	READY     RUNNING                           DONE           DONE
 *	HANDED    RUNNING                           signal         SIGKILL
 *	RUNNING            judge     ENDING+signal  ENDING+signal  ENDING+SIGKILL   ENDING+signal
 *	ENDING             judge     next signal    (SIGKILL)      SIGKILL
 *	WAITING                      READY          DONE+result    DONE+result
 *	DONE
 *
 * judge: DONE with a result; WAITING when it failed and has attempts left; READY after a requeue.
 * (SIGKILL): what has ended, and only waits for what it left, waits no longer.
 *
 * An executor that keeps tasks ready takes them by HAND (READY to HANDED), tells by START when one of them
 * begins, which is ended at once if it was cancelled meanwhile, and may give a task back by RETURN:
 * READY again, or DONE when it is not wanted any more.
 */
#ifndef KN_SCHED_H
#define KN_SCHED_H

#include "hist.h"
#include "queue.h"
#include "task.h"

enum kn_event {
	KN_START,
	KN_EXIT,
	KN_DEADLINE,
	KN_CANCEL,
	KN_KILL,
	KN_REQUEUE,
	KN_HAND,
	KN_RETURN,
	KN_EVENTS
};

enum kn_action {
	KN_NOTHING,
	KN_SIGNAL,                  /* send ret->signal to the task */
	KN_RESULT,                  /* t->result is final */
	KN_RETRY,                   /* t->result is of an attempt; another will follow */
	KN_AGAIN,                   /* was ended for want of memory: READY again, that was no attempt */
	KN_FORGET,                  /* was never started: free it */
};

struct kn_step {
	enum kn_action action;
	int signal;
};

/* What does not change during a run; borrowed. */
struct kn_rules {
	int64_t timeout_ns;
	double timeout_frac;
	unsigned attempts;          /* at most, >= 1 */
	unsigned busy_attempts;     /* at most, of a task that says "too many at once"; 0: none says so */
	int64_t backoff_ns;
	const struct knee_term_step *term_seq;
	size_t nterm_seq;           /* >= 1 */
	struct knee_halt halt;
	bool resumable;             /* what waits for another attempt at a stop was cut short: it will have that */
};

/*
 * Every task that has no RESULT is in exactly one list. A slot is taken from HAND or START
 * to the action that follows EXIT, or RETURN.
 */
struct kn_sched {
	struct kn_rules rules;
	struct kn_list ready;           /* waiting for a slot: their back-off is over, or refused */
	struct kn_list handed;
	struct kn_list running;         /* RUNNING and ENDING, oldest start first */
	struct kn_list waiting;
	struct kn_heap deadlines;
	uint64_t *slots;                /* owned; a bit for each, set when taken */
	size_t nslot_words;
	size_t slot_word;           /* no word before it has a free one */
	uint64_t started, done, failed, succeeded;
	uint64_t stored, stored_failed;     /* results of an earlier run, in none of those */
	uint64_t ready_of[KN_QUEUE_KEYS];   /* tasks in ready, of each key */
	unsigned peak;
	int64_t runtime_sum_ns;
	struct kn_hist *runtimes;       /* owned; only with timeout_frac */
	bool stopped;                   /* no task that was never started may be started */
	bool cancelling;                /* and none may be retried */
	bool halted;
	int halt_status;
};

/* 0 or -ENOMEM. */
int kn_sched_init(struct kn_sched *s, const struct kn_rules *rules);
/* Frees the tasks that are still in a list. */
void kn_sched_done(struct kn_sched *s);

/* A new task: READY. */
void kn_sched_add(struct kn_sched *s, struct kn_task *t);
/* A task that an earlier run has finished. */
void kn_sched_stored(struct kn_sched *s, const struct knee_result *r);
/* The first ready task of this key, or NULL. It stays in ready. */
struct kn_task *kn_sched_next(const struct kn_sched *s, unsigned key);
/* Reserve what starting t needs and choose its slot; a failed or refused start needs
 * no undoing. 0 or -ENOMEM. */
int kn_sched_prepare(struct kn_sched *s, struct kn_task *t);

/* Tell what happened to t. KN_START: result.start_time_ns may be set by the caller, and now_ns may lie in
 * the past; KN_EXIT: result filled but for attempt, and runtime unless that is known better. */
struct kn_step kn_sched_event(struct kn_sched *s, struct kn_task *t, enum kn_event event, int64_t now_ns);

/* Time that does not count has passed: move the starts and deadlines of what runs. */
void kn_sched_shift(struct kn_sched *s, int64_t ns);
/* t is stopped (SIGSTOP), and goes on: the time in between does not count for its time-out. */
void kn_sched_stand(struct kn_sched *s, struct kn_task *t, int64_t now_ns);
void kn_sched_go_on(struct kn_sched *s, struct kn_task *t, int64_t now_ns);

/* A task whose deadline has passed, or NULL; give it KN_DEADLINE. */
struct kn_task *kn_sched_due(const struct kn_sched *s, int64_t now_ns);
/* When the next deadline is; INT64_MAX for none. */
int64_t kn_sched_next_ns(const struct kn_sched *s);

/* Nothing is running or will be, but for tasks never seen yet. */
bool kn_sched_idle(const struct kn_sched *s);
/* No task waits to be started. */
bool kn_sched_starved(const struct kn_sched *s);
/* What the user's halt rule says after the last result. */
enum kn_halting { KN_HALT_NO, KN_HALT_SOON, KN_HALT_NOW } kn_sched_halting(const struct kn_sched *s);
/* The exit status of the run so far. */
int kn_sched_status(const struct kn_sched *s);

/* True while t may still get another attempt. */
bool kn_sched_may_retry(const struct kn_sched *s, const struct kn_task *t);

#endif

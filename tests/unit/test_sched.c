/* SPDX-License-Identifier: MIT */
/*
 * The scheduler under a clock of its own. The property test lets tasks of random length
 * and outcome run against random rules and interruptions, and checks after every event that
 *
 *	exactly one RESULT comes for each task that was started
 *	no more run at once than the limit, and no two share a slot
 *	no more attempts are made than allowed, and none too early
 *	it ends
 */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "../../src/core/sched.h"
#include "random.h"
#include "tap.h"

#define MS ((int64_t)1000000)

static const struct knee_term_step term_seq[] = {
	{ SIGTERM, 200 * MS },
	{ SIGINT, 100 * MS },
	{ SIGKILL, 25 * MS },
};

static const struct kn_rules plain = {
	.attempts = 1,
	.backoff_ns = 100 * MS,
	.term_seq = term_seq,
	.nterm_seq = 3,
};

static struct kn_task *
add(struct kn_sched *s, uint64_t seq)
{
	const struct knee_input none = { 0 };
	struct kn_task *t = kn_task_new(seq, &none, 0);

	kn_sched_add(s, t);
	return t;
}

static void
start(struct kn_sched *s, struct kn_task *t, int64_t now)
{
	(void)kn_sched_prepare(s, t);
	/* As the run does for each attempt. */
	t->result = (struct knee_result){ .attempt = t->result.attempt };
	(void)kn_sched_event(s, t, KN_START, now);
}

/* A scheduler, and its first task, which runs since 0. */
static struct kn_task *
init_and_start(struct kn_sched *s, const struct kn_rules *rules)
{
	struct kn_task *t;

	(void)kn_sched_init(s, rules);
	t = add(s, 1);
	start(s, t, 0);
	return t;
}

static struct kn_step
end(struct kn_sched *s, struct kn_task *t, int status, int64_t now)
{
	t->result.outcome = KNEE_EXITED;
	t->result.status = status;
	return kn_sched_event(s, t, KN_EXIT, now);
}

/* ---- single rules ---------------------------------------------------------- */

static void
test_slots(void)
{
	struct kn_sched s;
	struct kn_task *t[70];

	(void)kn_sched_init(&s, &plain);
	for (unsigned i = 0; i < 70; i++) {
		t[i] = add(&s, i + 1);
		start(&s, t[i], 0);
	}
	is_int(t[0]->slot, 1, "the first slot is 1");
	is_int(t[69]->slot, 70, "slots go on past a word");
	(void)end(&s, t[40], 0, 1);
	kn_task_free(t[40]);
	t[40] = add(&s, 71);
	start(&s, t[40], 1);
	is_int(t[40]->slot, 41, "the lowest free slot is taken again");
	kn_sched_done(&s);
}

static void
test_timeout(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;
	struct kn_step step;

	rules.timeout_ns = 1000 * MS;
	t = init_and_start(&s, &rules);
	is_int(kn_sched_next_ns(&s), 1000 * MS, "the deadline is the time-out");
	ok(kn_sched_due(&s, 999 * MS) == NULL, "not due before");
	ok(kn_sched_due(&s, 1000 * MS) == t, "due then");
	step = kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS);
	is_int(step.signal, SIGTERM, "the first signal");
	step = kn_sched_event(&s, t, KN_DEADLINE, 1200 * MS);
	is_int(step.signal, SIGINT, "the second");
	step = kn_sched_event(&s, t, KN_CANCEL, 1250 * MS);
	is_int(step.action, KN_NOTHING, "a cancel does not start the sequence again");
	step = kn_sched_event(&s, t, KN_DEADLINE, 1300 * MS);
	is_int(step.signal, SIGKILL, "the last");
	is_int(kn_sched_next_ns(&s), INT64_MAX, "no deadline after it");
	step = end(&s, t, 0, 1310 * MS);
	is_int(step.action, KN_RESULT, "one result");
	is_int(t->result.outcome, KNEE_TIMED_OUT, "of a time-out, though it exited with 0");
	is_int(s.failed, 1, "which is a failure");
	kn_task_free(t);
	kn_sched_done(&s);
}

/* The executor has its end, and not yet all that it left. */
static void
test_timeout_of_what_has_ended(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;

	rules.timeout_ns = 1000 * MS;
	t = init_and_start(&s, &rules);
	t->result.runtime_ns = 900 * MS;
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS).action, KN_NOTHING, "no time-out");
	is_int(kn_sched_next_ns(&s), INT64_MAX, "ever");
	(void)end(&s, t, 0, 9000 * MS);
	is_int(t->result.outcome, KNEE_EXITED, "it has its own end");
	kn_task_free(t);
	kn_sched_done(&s);

	t = init_and_start(&s, &rules);
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS).signal, SIGTERM, "too long");
	t->result.runtime_ns = 1010 * MS;
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 1200 * MS).action, KN_NOTHING, "no other signal");
	is_int(kn_sched_next_ns(&s), INT64_MAX, "ever");
	is_int(kn_sched_event(&s, t, KN_CANCEL, 5000 * MS).signal, SIGKILL, "a stop does not wait");
	(void)end(&s, t, 0, 9000 * MS);
	is_int(t->result.outcome, KNEE_TIMED_OUT, "it took too long");
	kn_task_free(t);
	kn_sched_done(&s);

	t = init_and_start(&s, &rules);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS);
	s.cancelling = true;
	is_int(kn_sched_event(&s, t, KN_CANCEL, 1100 * MS).action, KN_NOTHING, "a stop before its end");
	t->result.runtime_ns = 1150 * MS;
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 1200 * MS).signal, SIGINT, "does not wait either");
	kn_sched_done(&s);

	t = init_and_start(&s, &rules);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS);
	t->result.runtime_ns = 999 * MS;
	(void)end(&s, t, 0, 1100 * MS);
	is_int(t->result.outcome, KNEE_EXITED, "the time was not up when it ended");
	kn_task_free(t);
	kn_sched_done(&s);

	/* Its clock may be another one, that of a copy; but not the signal. */
	t = init_and_start(&s, &rules);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS);
	t->result.runtime_ns = 200 * MS;
	t->result.outcome = KNEE_SIGNALED;
	t->result.status = SIGTERM;
	(void)kn_sched_event(&s, t, KN_EXIT, 1100 * MS);
	is_int(t->result.outcome, KNEE_TIMED_OUT, "the signal was that of the time-out");
	kn_task_free(t);
	kn_sched_done(&s);
}

/* What it made is lost with the machine that has it. */
static void
test_timeout_of_what_is_lost(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;

	rules.timeout_ns = 1000 * MS;
	t = init_and_start(&s, &rules);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 1000 * MS);
	t->result.runtime_ns = 999 * MS;
	is_int(kn_sched_event(&s, t, KN_RETURN, 5000 * MS).action, KN_NOTHING, "it had ended in time");
	is_int(t->state, KN_READY, "and runs again");
	is_int(t->result.attempt, 0, "which is no attempt more");
	is_int(kn_sched_next_ns(&s), INT64_MAX, "nor is it due");
	start(&s, t, 6000 * MS);
	is_int(kn_sched_next_ns(&s), 7000 * MS, "it has all its time");
	(void)kn_sched_event(&s, t, KN_DEADLINE, 7000 * MS);
	t->result.runtime_ns = 1001 * MS;
	is_int(kn_sched_event(&s, t, KN_RETURN, 8000 * MS).action, KN_RESULT, "it had not");
	is_int(t->result.outcome, KNEE_TIMED_OUT, "and has had its time");
	kn_task_free(t);
	kn_sched_done(&s);
}

static void
test_stopped_between_two_attempts(bool resumable)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;
	struct kn_step step;

	rules.attempts = 3;
	rules.resumable = resumable;
	t = init_and_start(&s, &rules);
	step = end(&s, t, 5, 10 * MS);
	is_int(step.action, KN_RETRY, "it will be tried again");
	step = kn_sched_event(&s, t, KN_CANCEL, 20 * MS);
	is_int(step.action, KN_RESULT, "a stop in between is its end");
	is_int(t->result.outcome, resumable ? KNEE_CANCELLED : KNEE_EXITED, "%s",
	    resumable ? "and it is cut short" : "with the last attempt's result");
	is_int(t->result.attempt, 1, "no attempt more");
	is_int(s.failed, 1, "which counts as failed");
	kn_task_free(t);
	kn_sched_done(&s);
}

static void
test_shift(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;

	rules.timeout_ns = 1000 * MS;
	t = init_and_start(&s, &rules);
	kn_sched_shift(&s, 5000 * MS);
	ok(kn_sched_due(&s, 5999 * MS) == NULL, "time that does not count is added to the deadline");
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 6000 * MS).signal, SIGTERM, "which still comes");
	kn_sched_done(&s);
}

static void
test_median(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;

	rules.timeout_frac = 2.0;
	(void)init_and_start(&s, &rules);
	is_int(kn_sched_next_ns(&s), INT64_MAX, "no time-out before there is a median");
	for (unsigned i = 0; i < 9; i++) {
		struct kn_task *t = add(&s, i + 10);

		start(&s, t, 0);
		(void)end(&s, t, i % 3 > 0, i % 3 > 0 ? MS : 100 * MS);
		kn_task_free(t);
	}
	ok(kn_sched_next_ns(&s) > 180 * MS, "failures that come at once say nothing of a task's length");
	for (unsigned i = 0; i < 3; i++) {
		struct kn_task *t = add(&s, i + 2);

		start(&s, t, 0);
		(void)end(&s, t, 0, 100 * MS);
		kn_task_free(t);
	}
	ok(kn_sched_next_ns(&s) > 180 * MS && kn_sched_next_ns(&s) < 220 * MS,
	    "200 %% of the median, for a task that was running already: %" PRId64, kn_sched_next_ns(&s));
	kn_sched_done(&s);
}

static void
test_retry(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;
	struct kn_step step;

	rules.attempts = 3;
	t = init_and_start(&s, &rules);
	step = end(&s, t, 1, 0);
	is_int(step.action, KN_RETRY, "a failed attempt is followed by another");
	ok(kn_sched_next(&s, 0) == NULL, "but not at once");
	is_int(kn_sched_next_ns(&s), 100 * MS, "after the back-off");
	(void)kn_sched_event(&s, t, KN_DEADLINE, 100 * MS);
	ok(kn_sched_next(&s, 0) == t, "then it is ready");
	start(&s, t, 100 * MS);
	(void)end(&s, t, 1, 100 * MS);
	is_int(kn_sched_next_ns(&s), 300 * MS, "the back-off doubles");
	(void)kn_sched_event(&s, t, KN_DEADLINE, 300 * MS);
	ok(kn_sched_may_retry(&s, t), "one attempt is left");
	start(&s, t, 300 * MS);
	ok(!kn_sched_may_retry(&s, t), "the last one");
	step = end(&s, t, 7, 300 * MS);
	is_int(step.action, KN_RESULT, "the third attempt is the last");
	is_int(t->result.attempt, 3, "and says so");
	is_int(s.started, 1, "it is one task all the same");
	kn_task_free(t);
	kn_sched_done(&s);
}

static void
test_ending_starts_anew(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;

	rules.attempts = 2;
	rules.timeout_ns = 10 * MS;
	t = init_and_start(&s, &rules);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 10 * MS);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 210 * MS);
	(void)end(&s, t, 0, 220 * MS);
	(void)kn_sched_event(&s, t, KN_DEADLINE, 320 * MS);
	start(&s, t, 320 * MS);
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 330 * MS).signal, SIGTERM,
	    "the second attempt's ending sequence starts with the first signal");
	kn_sched_done(&s);
}

static void
test_ended_before_its_time(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t;

	rules.timeout_ns = 10 * MS;
	t = init_and_start(&s, &rules);
	t->result.runtime_ns = 9 * MS;
	is_int(kn_sched_event(&s, t, KN_DEADLINE, 10 * MS).action, KN_NOTHING,
	    "what has ended has no time-out any more");
	(void)end(&s, t, 1, 20 * MS);
	is_int(t->result.outcome, KNEE_EXITED, "and ended by itself, though that is said later");
	kn_task_free(t);
	kn_sched_done(&s);
}

/* ---- tasks that an executor keeps ready -------------------------------------- */

static struct kn_task *
hand(struct kn_sched *s, uint64_t seq, int64_t now)
{
	struct kn_task *t = add(s, seq);

	(void)kn_sched_prepare(s, t);
	(void)kn_sched_event(s, t, KN_HAND, now);
	return t;
}

static void
test_handed(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *a, *b;

	rules.timeout_ns = 50 * MS;
	(void)kn_sched_init(&s, &rules);
	a = hand(&s, 1, 0);
	b = hand(&s, 2, 0);
	ok(a->state == KN_HANDED && s.handed.len == 2 && s.running.len == 0, "handed out is not running");
	ok(a->slot == 1 && b->slot == 2, "but has its slot");
	ok(!kn_sched_idle(&s) && kn_sched_next_ns(&s) == INT64_MAX, "and no time runs");
	(void)kn_sched_event(&s, a, KN_START, 100 * MS);
	ok(a->state == KN_RUNNING && a->result.attempt == 1 && s.started == 1, "it begins");
	is_int(kn_sched_next_ns(&s), 150 * MS, "its time runs from there");
	(void)kn_sched_event(&s, a, KN_RETURN, 110 * MS);
	ok(a->state == KN_READY && a->result.attempt == 0 && s.started == 0,
	    "given back: that was no attempt");
	ok(kn_sched_next_ns(&s) == INT64_MAX && kn_sched_next(&s, 0) == a, "it waits to be started again");
	(void)kn_sched_event(&s, b, KN_RETURN, 110 * MS);
	ok(b->state == KN_READY && s.handed.len == 0, "so may one that never began");
	start(&s, a, 200 * MS);
	is_int(a->slot, 1, "its slot was free again");
	(void)end(&s, a, 0, 210 * MS);
	is_int(s.done, 1, "and it has its result");
	kn_task_free(a);
	kn_sched_done(&s);
}

static void
test_handed_is_cancelled(void)
{
	struct kn_sched s;
	struct kn_task *a, *b, *c;
	struct kn_step step;

	(void)kn_sched_init(&s, &plain);
	a = hand(&s, 1, 0);
	b = hand(&s, 2, 0);
	c = hand(&s, 3, 0);
	(void)kn_sched_event(&s, c, KN_START, 1 * MS);
	s.stopped = s.cancelling = true;
	step = kn_sched_event(&s, a, KN_CANCEL, 2 * MS);
	ok(step.action == KN_SIGNAL && a->state == KN_HANDED, "its executor is asked for it");
	step = kn_sched_event(&s, a, KN_RETURN, 2 * MS);
	ok(step.action == KN_FORGET && a->state == KN_DONE, "given back, it is forgotten");
	(void)kn_sched_event(&s, b, KN_CANCEL, 2 * MS);
	step = kn_sched_event(&s, b, KN_START, 2 * MS);
	ok(step.action == KN_SIGNAL && b->state == KN_ENDING && s.started == 2,
	    "or begins in that moment, to be ended");
	(void)end(&s, b, 0, 3 * MS);
	ok(b->result.outcome == KNEE_CANCELLED, "and was cancelled");
	(void)kn_sched_event(&s, c, KN_CANCEL, 3 * MS);
	step = kn_sched_event(&s, c, KN_RETURN, 4 * MS);
	ok(step.action == KN_RESULT && c->result.outcome == KNEE_CANCELLED,
	    "what ran has its result, given back or not");
	ok(kn_sched_idle(&s), "nothing is left");
	kn_task_free(a);
	kn_task_free(b);
	kn_task_free(c);
	kn_sched_done(&s);
}

/* A task that failed, and is given back before its next attempt begins, is no success. */
static void
test_handed_retry_is_returned(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *a;
	struct kn_step step;

	rules.attempts = 2;
	(void)kn_sched_init(&s, &rules);
	a = hand(&s, 1, 0);
	(void)kn_sched_event(&s, a, KN_START, 1 * MS);
	step = end(&s, a, 3, 2 * MS);
	ok(step.action == KN_RETRY, "it is to be tried again");
	(void)kn_sched_event(&s, a, KN_DEADLINE, 200 * MS);
	(void)kn_sched_prepare(&s, a);
	a->result = (struct knee_result){ .attempt = a->result.attempt };
	(void)kn_sched_event(&s, a, KN_HAND, 200 * MS);
	s.stopped = s.cancelling = true;
	(void)kn_sched_event(&s, a, KN_CANCEL, 201 * MS);
	step = kn_sched_event(&s, a, KN_RETURN, 202 * MS);
	ok(step.action == KN_RESULT && a->result.outcome == KNEE_CANCELLED, "given back, it is cancelled");
	ok(s.succeeded == 0 && s.failed == 1, "and did not succeed");
	kn_task_free(a);
	kn_sched_done(&s);
}

/* The executor cannot tell how it ended: only that it is gone. */
static void
test_ending_is_returned(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *a, *b;

	rules.timeout_ns = 50 * MS;
	(void)kn_sched_init(&s, &rules);
	a = hand(&s, 1, 0);
	b = hand(&s, 2, 0);
	(void)kn_sched_event(&s, a, KN_START, 0);
	(void)kn_sched_event(&s, b, KN_START, 0);
	(void)kn_sched_event(&s, a, KN_DEADLINE, 50 * MS);
	(void)kn_sched_event(&s, a, KN_RETURN, 60 * MS);
	ok(a->result.outcome == KNEE_TIMED_OUT && a->result.status == SIGTERM,
	    "lost when its time was up: by the signal that it was sent");
	(void)kn_sched_event(&s, b, KN_DEADLINE, 50 * MS);
	(void)kn_sched_event(&s, b, KN_DEADLINE, 250 * MS);
	(void)kn_sched_event(&s, b, KN_RETURN, 260 * MS);
	ok(b->result.outcome == KNEE_TIMED_OUT && b->result.status == SIGINT, "the last one");
	kn_task_free(a);
	kn_task_free(b);
	kn_sched_done(&s);
}

/* Tasks that were told "too many" at the same time do not come back at the same time. */
static void
test_busy_spread(void)
{
	struct kn_rules rules = plain;
	struct kn_sched s;
	struct kn_task *t[16];
	unsigned same = 0;

	rules.busy_attempts = 32;
	(void)kn_sched_init(&s, &rules);
	for (unsigned i = 0; i < 16; i++) {
		t[i] = add(&s, i + 1);
		start(&s, t[i], 0);
		t[i]->busy = true;
		(void)end(&s, t[i], 75, 0);
		ok(t[i]->deadline.key >= 100 * MS && t[i]->deadline.key < 150 * MS,
		    "task %u comes back in time", i + 1);
		for (unsigned k = 0; k < i; k++)
			same += t[i]->deadline.key == t[k]->deadline.key;
	}
	is_int(same, 0, "each at a time of its own");
	kn_sched_done(&s);
}

static void
test_status(void)
{
	struct kn_sched s;

	(void)kn_sched_init(&s, &plain);
	is_int(kn_sched_status(&s), 0, "status of an empty run");
	s.failed = 100;
	is_int(kn_sched_status(&s), 100, "a hundred failures");
	s.failed = 101;
	is_int(kn_sched_status(&s), 101, "one more");
	s.failed = 5000;
	is_int(kn_sched_status(&s), 101, "many more");
	kn_sched_done(&s);
}

static void
test_halt(void)
{
	struct kn_sched s;

	(void)kn_sched_init(&s, &plain);
	s.failed = s.done = 9;
	is_int(kn_sched_halting(&s), KN_HALT_NO, "never");
	s.rules.halt = (struct knee_halt){ .when = KNEE_HALT_SOON, .on = KNEE_HALT_FAIL, .count = 10 };
	is_int(kn_sched_halting(&s), KN_HALT_NO, "soon,fail=10 with 9");
	s.failed = 10;
	is_int(kn_sched_halting(&s), KN_HALT_SOON, "soon,fail=10 with 10");
	s.rules.halt = (struct knee_halt){ .when = KNEE_HALT_NOW, .on = KNEE_HALT_FAIL, .percent = 50 };
	s.started = 4;
	s.failed = 2;
	is_int(kn_sched_halting(&s), KN_HALT_NO, "a share needs three");
	s.failed = 3;
	is_int(kn_sched_halting(&s), KN_HALT_NOW, "three of four are 50 %%");
	s.started = 7;
	is_int(kn_sched_halting(&s), KN_HALT_NO, "three of seven are not");
	kn_sched_done(&s);
}

/* ---- the property test ------------------------------------------------------- */

#define TASKS 400

struct world {
	struct rnd rnd;
	struct kn_sched s;
	unsigned limit;
	int64_t now;
	int64_t ends[TASKS + 1]; /* when each running task ends; 0: not running */
	int64_t ready_at[TASKS + 1];
	unsigned results[TASKS + 1], attempts[TASKS + 1], forgotten[TASKS + 1];
	struct kn_task *tasks[TASKS + 1];
	uint64_t next_seq;
	const char *wrong;
};

static void
take(struct world *w, struct kn_task *t, struct kn_step step)
{
	uint64_t seq = t->seq;

	switch (step.action) {
	case KN_NOTHING:
		break;
	case KN_SIGNAL:
		/* Half of them end on a signal that is not SIGKILL. */
		if (step.signal == SIGKILL || rnd_below(&w->rnd, 2) == 0)
			w->ends[seq] = w->now + 1;
		break;
	case KN_RETRY:
		w->ready_at[seq] = w->now + w->s.rules.backoff_ns;
		break;
	case KN_AGAIN:
		w->wrong = "again without a requeue";
		break;
	case KN_RESULT:
		w->results[seq]++;
		w->tasks[seq] = NULL;
		kn_task_free(t);
		break;
	case KN_FORGET:
		w->forgotten[seq]++;
		w->tasks[seq] = NULL;
		kn_task_free(t);
		break;
	}
}

static void
world_start(struct world *w)
{
	while (w->s.running.len < w->limit) {
		struct kn_task *t = kn_sched_next(&w->s, 0);

		if (t == NULL) {
			if (w->s.stopped || w->next_seq > TASKS)
				return;
			t = add(&w->s, w->next_seq);
			w->tasks[w->next_seq++] = t;
		}
		if (w->now < w->ready_at[t->seq])
			w->wrong = "an attempt came too early";
		start(&w->s, t, w->now);
		w->attempts[t->seq]++;
		w->ends[t->seq] = w->now + 1 + rnd_below(&w->rnd, 500) * MS;
	}
}

static void
world_check(struct world *w)
{
	uint64_t slots[8] = { 0 };

	if (w->s.running.len > w->limit)
		w->wrong = "more run than the limit";
	for (struct kn_task *t = w->s.running.first; t != NULL; t = t->next) {
		uint64_t bit = (uint64_t)1 << t->slot % 64;

		if (t->slot == 0 || (slots[t->slot / 64] & bit) != 0)
			w->wrong = "two tasks share a slot";
		slots[t->slot / 64] |= bit;
		if (t->result.attempt > w->s.rules.attempts)
			w->wrong = "too many attempts";
	}
}

static void
world_stop(struct world *w, enum kn_event event)
{
	struct kn_list *lists[] = { &w->s.ready, &w->s.waiting, &w->s.running };

	w->s.stopped = w->s.cancelling = true;
	for (unsigned i = 0; i < 3; i++)
		for (struct kn_task *t = lists[i]->first, *next; t != NULL; t = next) {
			next = t->next;
			take(w, t, kn_sched_event(&w->s, t, event, w->now));
		}
}

/* Go to the next moment at which something happens, and let it happen. */
static void
world_step(struct world *w)
{
	int64_t next = kn_sched_next_ns(&w->s);
	struct kn_task *t;

	for (uint64_t seq = 1; seq < w->next_seq; seq++)
		if (w->tasks[seq] != NULL && w->ends[seq] != 0 && w->ends[seq] < next)
			next = w->ends[seq];
	if (next == INT64_MAX)
		return;
	if (next > w->now)
		w->now = next;
	while ((t = kn_sched_due(&w->s, w->now)) != NULL)
		take(w, t, kn_sched_event(&w->s, t, KN_DEADLINE, w->now));
	for (uint64_t seq = 1; seq < w->next_seq; seq++) {
		t = w->tasks[seq];
		if (t == NULL || w->ends[seq] == 0 || w->ends[seq] > w->now)
			continue;
		w->ends[seq] = 0;
		take(w, t, end(&w->s, t, rnd_below(&w->rnd, 3) == 0, w->now));
	}
}

static void
world_run(struct world *w)
{
	for (unsigned steps = 0; steps < 100 * TASKS && w->wrong == NULL; steps++) {
		world_start(w);
		world_check(w);
		if (kn_sched_idle(&w->s))
			return;
		world_step(w);
		if (rnd_below(&w->rnd, 2000) == 0)
			world_stop(w, rnd_below(&w->rnd, 2) ? KN_CANCEL : KN_KILL);
		if (rnd_below(&w->rnd, 50) == 0)
			w->limit = 1 + rnd_below(&w->rnd, 40);
		if (w->s.running.len > w->limit)
			w->limit = (unsigned)w->s.running.len;
	}
	if (w->wrong == NULL)
		w->wrong = "it does not end";
}

static void
world_results(struct world *w)
{
	for (uint64_t seq = 1; seq < w->next_seq; seq++) {
		unsigned want = w->attempts[seq] > 0;

		if (w->results[seq] != want || w->forgotten[seq] != !want)
			w->wrong = "not exactly one result for a started task";
	}
	if (!w->s.stopped && w->next_seq != TASKS + 1)
		w->wrong = "tasks were left";
	if (w->s.done != w->s.failed + w->s.succeeded || w->s.done != w->s.started)
		w->wrong = "the counts do not add up";
}

static void
test_property(void)
{
	uint64_t seed = rnd_seed();

	for (unsigned i = 0; i < 200; i++, seed++) {
		static struct world w;
		struct kn_rules rules = plain;

		w = (struct world){ .rnd = { seed | 1 }, .next_seq = 1 };
		rules.attempts = 1 + rnd_below(&w.rnd, 4);
		rules.timeout_ns = rnd_below(&w.rnd, 2) ? (1 + rnd_below(&w.rnd, 400)) * MS : 0;
		rules.timeout_frac = rnd_below(&w.rnd, 4) == 0 ? 1.5 : 0;
		w.limit = 1 + rnd_below(&w.rnd, 40);
		(void)kn_sched_init(&w.s, &rules);
		world_run(&w);
		if (w.wrong == NULL)
			world_results(&w);
		kn_sched_done(&w.s);
		if (w.wrong != NULL) {
			ok(false, "seed %" PRIu64 ": %s", seed, w.wrong);
			return;
		}
	}
	ok(true, "200 random runs up to seed %" PRIu64, seed);
}

int
main(void)
{
	test_slots();
	test_timeout();
	test_timeout_of_what_has_ended();
	test_timeout_of_what_is_lost();
	test_stopped_between_two_attempts(false);
	test_stopped_between_two_attempts(true);
	test_shift();
	test_median();
	test_retry();
	test_ending_starts_anew();
	test_ended_before_its_time();
	test_handed();
	test_handed_is_cancelled();
	test_handed_retry_is_returned();
	test_ending_is_returned();
	test_busy_spread();
	test_status();
	test_halt();
	test_property();
	return done_testing();
}

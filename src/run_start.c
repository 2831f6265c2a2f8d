/* SPDX-License-Identifier: MIT */
/* Which task is started, and when; and tasks that have not been and shall not be. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "run_parts.h"
#include "sys/clock.h"

/* Starts in one turn, so that output and ends are looked at in between: of processes, and of what costs
 * little. */
#define STARTS_PER_TURN 16
#define STARTS_PER_TURN_MOST 1024

/* Starts refused in a row, with growing pauses and nothing running, before the run gives up. */
#define REFUSALS_MAX 8

/* How soon a start is asked again that said "not now", and at the latest. */
#define PUT_OFF_NS ((int64_t)1000000)
#define PUT_OFF_MAX_NS ((int64_t)1000000000)

/* Inputs passed over in one turn that an earlier run has finished. */
#define STORED_PER_TURN 2048

static bool
refused(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* A start was refused by the machine: run fewer, and try again a little later. */
static int
start_refused(struct knee *k, int err)
{
	if (k->sched.running.len + k->sched.handed.len == 0 && ++k->refusals >= REFUSALS_MAX)
		return kn_run_fail(k, err, "cannot start a task: %s", strerror(-err));
	k->hold_starts_ns = kn_tuner_refused(k->meter.tuner, err, k->loop.now_ns);
	return kn_run_changes_tell(k);
}

/* The caller's own start wants no more for now: ask again when a task has ended, or a little later, then
 * later. Nothing is wrong with the machine. */
static void
start_put_off(struct knee *k)
{
	k->put_off_ns = k->put_off_ns == 0 ? PUT_OFF_NS : k->put_off_ns * 2;
	if (k->put_off_ns > PUT_OFF_MAX_NS)
		k->put_off_ns = PUT_OFF_MAX_NS;
	k->hold_starts_ns = k->loop.now_ns + k->put_off_ns;
}

/* t will not be run: it gets its result all the same. */
static int
task_unstarted(struct knee *k, struct kn_task *t, enum knee_outcome outcome, int err)
{
	(void)kn_run_event(k, t, KN_START);
	kn_tuner_started(k->meter.tuner, t->key, k->loop.now_ns);
	kn_feed_tell(k, t->key);
	t->result.outcome = outcome;
	t->result.error = err;
	t->result.status = outcome == KNEE_SKIPPED ? 0 : err == -ENOENT ? 127 : 126;
	if (outcome == KNEE_NOT_STARTED && !k->noted)
		(void)kn_sinks_note(k, KNEE_EVENT_NOTE, "task %llu: cannot be started: %s",
		    kn_run_shown_seq(k, t), strerror(-err));
	kn_meter_ended(&k->meter, t, k->loop.now_ns);
	return kn_run_event(k, t, KN_EXIT);
}

int
kn_run_cancel(struct knee *k, struct kn_task *t)
{
	int err;

	if (t->result.attempt > 0)
		return kn_run_event(k, t, KN_CANCEL);
	err = kn_sched_prepare(&k->sched, t);
	return err < 0 ? err : task_unstarted(k, t, KNEE_CANCELLED, 0);
}

/* t is running: in a group of its own, which this reaches. */
static void
task_signal(struct knee *k, struct kn_task *t, int signal)
{
	/* Those that stop and continue are the only ones that nobody sends to end something. */
	if (signal != SIGSTOP && signal != SIGTSTP && signal != SIGCONT)
		t->signalled = true;
	k->exec.ops->signal(&k->exec, t, signal);
	if (t->suspended_ns != 0 && t->signalled)
		kn_run_resume(k, t);
}

static struct kn_task *
list_find(const struct kn_list *l, uint64_t seq)
{
	struct kn_task *t = l->first;

	while (t != NULL && t->seq != seq)
		t = t->next;
	return t;
}

/* The task with this number among those that wait to be started, be it as an input yet; NULL: none. */
static int
ready_find(struct knee *k, uint64_t seq, struct kn_task **ret)
{
	struct kn_task *t = list_find(&k->sched.ready, seq);
	int err = 0;

	if (t == NULL)
		t = list_find(&k->sched.waiting, seq);
	/* What was submitted, and is not read yet. */
	while (t == NULL && k->options.source.self == &k->submit && k->seq < seq && k->err == 0 &&
	    !kn_merge_full(&k->merge) && kn_feed_next(k) == KN_FEED_QUEUED)
		;
	if (t == NULL && seq <= k->seq)
		err = kn_queue_take(&k->queue, seq, k->exec.ops->task_bytes, &t);
	if (err == 0 && t != NULL && t->state == KN_READY && t->result.attempt == 0 &&
	    list_find(&k->sched.ready, seq) == NULL) {
		kn_merge_add(&k->merge, t);
		kn_sched_add(&k->sched, t);
		kn_feed_tell(k, t->key);
	}
	*ret = t;
	return err;
}

int
kn_run_task_signal(struct knee *k, uint64_t seq, int signal)
{
	struct kn_task *t = list_find(&k->sched.running, seq);
	int err;

	if (t != NULL) {
		task_signal(k, t, signal);
		return 0;
	}
	/* What has not begun cannot be stopped, and need not be. */
	if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGCONT)
		return -ESRCH;
	t = list_find(&k->sched.handed, seq);
	if (t != NULL) {
		t->unwanted = true;
		k->exec_next_ns = 0;
		k->exec.ops->signal(&k->exec, t, signal);
		return 0;
	}
	err = ready_find(k, seq, &t);
	if (err < 0)
		return err;
	return t != NULL ? kn_run_cancel(k, t) : -ESRCH;
}

static int
task_start(struct knee *k, struct kn_task *t)
{
	const struct knee_options *o = &k->options;
	int err;

	err = kn_sched_prepare(&k->sched, t);
	if (err == 0)
		err = kn_run_texts(k, t);
	if (err < 0)
		return start_refused(k, err);
	/* Kept until now: if there is no other attempt after all, it is the last one's output. */
	kn_merge_retry(&k->merge, t);
	t->part.len = 0;
	t->result = (struct knee_result){ .attempt = t->result.attempt };
	t->result.start_time_ns = kn_clock_time_ns();
	t->usage = t->told = (struct kn_usage){ 0 };
	t->busy = false;
	if (o->confirm != NULL && t->result.attempt == 0 && !o->confirm(o->confirm_self, t->command))
		return task_unstarted(k, t, KNEE_SKIPPED, 0);
	k->noted = false;
	err = k->exec.ops->start(&k->exec, t);
	if (refused(err)) /* it may come to no other start, and has no result of an attempt any more */
		t->result.outcome = KNEE_CANCELLED;
	if (err == -EAGAIN && o->executor == KNEE_EXEC_ASYNC) {
		start_put_off(k);
		return 0;
	}
	if (refused(err))
		return start_refused(k, err);
	k->refusals = 0;
	k->put_off_ns = 0;
	k->last_start_ns = k->loop.now_ns;
	if (err < 0)
		return task_unstarted(k, t, KNEE_NOT_STARTED, err);
	if (k->exec.ops->limit != NULL) {
		(void)kn_run_event(k, t, KN_HAND);
		kn_tuner_handed(k->meter.tuner, t->key, 1);
		kn_feed_tell(k, t->key);
		return 0;
	}
	(void)kn_run_event(k, t, KN_START);
	kn_tuner_started(k->meter.tuner, t->key, k->loop.now_ns);
	kn_feed_tell(k, t->key);
	return kn_sinks_task(k, KNEE_EVENT_START, t);
}

/* A stop that the caller asks for meanwhile, in one of its hooks, comes right behind. */
static int
task_start_whole(struct knee *k, struct kn_task *t)
{
	int err, stop;

	k->starting = true;
	err = task_start(k, t);
	k->starting = false;
	stop = k->stop_later;
	k->stop_later = 0;
	if (stop > 0)
		kn_run_stop(k, (enum knee_stop)(stop - 1));
	return err;
}

int64_t
kn_run_start_wait_ns(const struct knee *k)
{
	int64_t at = k->hold_starts_ns;

	if (k->options.delay_ns > 0 && k->last_start_ns > 0 && k->last_start_ns + k->options.delay_ns > at)
		at = k->last_start_ns + k->options.delay_ns;
	return at > k->loop.now_ns ? at : 0;
}

/* The key whose next task could start now; -1: none. */
static int
pick(struct knee *k)
{
	return kn_tuner_pick(k->meter.tuner, k->loop.now_ns);
}

bool
kn_run_wants_start(struct knee *k)
{
	if (k->err != 0 || k->slow || k->held || kn_whole_full(k->whole))
		return false;
	k->picked = pick(k);
	if (k->picked >= 0)
		return true;
	return kn_feed_may_read(k) && k->queue.len == 0 && kn_sched_starved(&k->sched) &&
	    k->sched.running.len + k->sched.handed.len < (uint64_t)k->limit + k->ahead;
}

/* The next task of this key: one that is ready for another attempt, or a new one. */
static struct kn_task *
task_next(struct knee *k, unsigned key)
{
	struct kn_task *ready = kn_sched_next(&k->sched, key);
	struct kn_task *t;

	if (ready != NULL && ready->seq < kn_queue_head(&k->queue, key))
		return ready;
	if (k->sched.stopped)
		return ready;
	if (kn_queue_pop(&k->queue, key, k->exec.ops->task_bytes, &t) < 0) {
		(void)kn_run_fail(k, -ENOMEM, "%s", strerror(ENOMEM));
		return NULL;
	}
	if (t == NULL)
		return ready;
	kn_merge_add(&k->merge, t);
	kn_sched_add(&k->sched, t);
	return t;
}

/* Does the caller let another task start? */
static bool
may_start(struct knee *k)
{
	const struct knee_options *o = &k->options;

	k->held = o->may_start != NULL && o->may_start(o->may_start_self) == 0;
	return !k->held;
}

/* After wants_start: the key whose next task starts now, from an input that is read for it when there is none yet; -1:
 * none. Inputs that are finished already are passed over, many in a turn. */
static int
pick_or_read(struct knee *k)
{
	int key = k->picked, n = KN_FEED_STORED;

	for (int i = 0; i < STORED_PER_TURN && key < 0 && n == KN_FEED_STORED && kn_run_wants_start(k); i++) {
		n = kn_feed_next(k);
		key = n == KN_FEED_QUEUED ? pick(k) : -1;
	}
	k->read_more = n == KN_FEED_STORED && key < 0;
	return key;
}

/* Let the executor know how many may run, and the tuner how many more it may be given: none where
 * there are several kinds of work, each with a limit of its own. How many to start in this turn. */
static unsigned
ahead_tell(struct knee *k)
{
	unsigned ahead = k->exec.ops->limit(&k->exec, k->limit);

	k->limit_told = k->limit;
	if (kn_tuner_nactive(k->meter.tuner) > 1)
		ahead = 0;
	k->ahead = ahead;
	kn_tuner_ahead(k->meter.tuner, ahead);
	return ahead < STARTS_PER_TURN   ? STARTS_PER_TURN :
	    ahead < STARTS_PER_TURN_MOST ? ahead :
					   STARTS_PER_TURN_MOST;
}

int
kn_run_start_some(struct knee *k)
{
	struct kn_task *t;
	unsigned most = STARTS_PER_TURN;
	int key, err;

	k->read_more = false;
	if (k->exec.ops->limit != NULL)
		most = ahead_tell(k);
	for (unsigned i = 0; i < most && kn_run_wants_start(k); i++) {
		/* What it was given may have filled it up. */
		if (i % STARTS_PER_TURN == STARTS_PER_TURN - 1 && k->exec.ops->limit != NULL)
			(void)ahead_tell(k);
		key = pick_or_read(k);
		/* Only now for the delay: the end of the input does not wait for it. */
		if (key < 0 || kn_run_start_wait_ns(k) > 0 || !may_start(k))
			return k->err;
		t = task_next(k, (unsigned)key);
		if (t == NULL)
			return k->err;
		err = task_start_whole(k, t);
		if (err < 0)
			return err;
	}
	if (k->err == 0 && !k->read_more)
		kn_feed_ahead(k);
	return 0;
}

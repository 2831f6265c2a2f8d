/* SPDX-License-Identifier: MIT */
#include "run_parts.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/template.h"
#include "exec/command.h"
#include "explain.h"
#include "sys/machine.h"

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

/* Attempts of a task that says "too many at once". */
#define BUSY_ATTEMPTS 32

/* Threads that wait for locks so much of their time are worth a word. */
#define LOCKED_FRAC 0.25

/* Descriptors kept for what is opened later: the spill file, a script, sinks' files. */
#define FDS_RESERVE 8

int
kn_run_fail(struct knee *k, int err, const char *format, ...)
{
	va_list args;

	if (k->err == 0)
		k->err = err;
	va_start(args, format);
	if (k->error[0] == '\0')
		(void)vsnprintf(k->error, sizeof(k->error), format, args);
	va_end(args);
	return err;
}

/* The texts that follow from the slot: anew for every attempt. */
int
kn_run_texts(struct knee *k, struct kn_task *t)
{
	const struct knee_options *o = &k->options;
	const struct kn_fill f = kn_command_fill(o, t);

	free(t->command);
	free(t->tag);
	t->command = t->tag = NULL;
	if (o->want_text && knee_template_expand(o->command, f.args, f.nargs, f.seq, f.slot, &t->command) < 0)
		return -ENOMEM;
	if (o->tag != NULL && knee_template_expand(o->tag, f.args, f.nargs, f.seq, f.slot, &t->tag) < 0)
		return -ENOMEM;
	return 0;
}

/* The number that people know a task by. */
static unsigned long long
shown_seq(const struct knee *k, const struct kn_task *t)
{
	return kn_command_fill(&k->options, t).seq;
}

/* kn_merge_host.printed */
static void
task_retire(void *self, struct kn_task *t)
{
	struct knee *k = self;

	kn_list_append(&k->retired, t);
}

/* An error of merge's own, or one that a sink has reported already through it. */
int
kn_run_merged(struct knee *k, int err)
{
	if (err == 0 || k->err != 0)
		return err;
	return kn_run_fail(k, err, "%s", k->merge.error[0] ? k->merge.error : strerror(-err));
}

int
kn_run_part(struct knee *k, uint64_t seq, const void *part, size_t size)
{
	int err = kn_whole_put(k->whole, seq, part, size);

	return err < 0 ? kn_run_fail(k, err, "%s", strerror(-err)) : 0;
}

/* kn_whole_host.output: after all tasks, behind everything. */
static void
whole_output(void *self, enum knee_stream stream, const char *data, size_t n)
{
	struct knee *k = self;
	const struct knee_event ev = { .kind = KNEE_EVENT_WHOLE, .stream = stream, .data = data, .size = n };
	int err = kn_sinks_text(k, &ev);

	if (err == -EAGAIN)
		k->slow = true;
}

/* ---- what happens to tasks ------------------------------------------------ */

static int step_take(struct knee *k, struct kn_task *t, struct kn_step step);
static int task_cancel(struct knee *k, struct kn_task *t);
static void resume(struct knee *k, struct kn_task *t);

static int
task_event(struct knee *k, struct kn_task *t, enum kn_event event)
{
	return step_take(k, t, kn_sched_event(&k->sched, t, event, k->loop.now_ns));
}

/* Give an event to every task of a list; it may leave the list by that. */
static int
list_event(struct knee *k, const struct kn_list *l, enum kn_event event)
{
	struct kn_task *t = l->first;
	int err = 0;

	while (t != NULL && err == 0) {
		struct kn_task *next = t->next;

		err = task_event(k, t, event);
		t = next;
	}
	return err;
}

/* Tasks that were read but never started will not be. */
static void
ready_drop(struct knee *k)
{
	struct kn_task *t = k->sched.ready.first;

	while (t != NULL) {
		struct kn_task *next = t->next;

		if (t->result.attempt == 0)
			(void)task_event(k, t, KN_CANCEL);
		t = next;
	}
	for (t = k->sched.handed.first; t != NULL; t = t->next)
		if (t->result.attempt == 0)
			(void)task_event(k, t, KN_CANCEL);
	kn_feed_drop(k);
}

void
kn_run_stop(struct knee *k, enum knee_stop how)
{
	enum kn_event event = how == KNEE_STOP_KILL ? KN_KILL : KN_CANCEL;
	int err;

	if (k->starting) {
		if ((int)how >= k->stop_later)
			k->stop_later = (int)how + 1;
		return;
	}
	k->sched.stopped = true;
	if (how == KNEE_STOP_SOON) {
		ready_drop(k);
		return;
	}
	k->sched.cancelling = true;
	err = list_event(k, &k->sched.ready, event);
	kn_feed_drop(k); /* and tells the tuner that nothing waits */
	if (err == 0)
		err = list_event(k, &k->sched.waiting, event);
	if (err == 0)
		err = list_event(k, &k->sched.handed, event);
	if (err == 0)
		err = list_event(k, &k->sched.running, event);
	(void)err; /* kept in k->err; the turn sees it */
}

static void
halt_check(struct knee *k, const struct kn_task *t)
{
	const struct knee_halt *h = &k->sched.rules.halt;
	enum kn_halting halting = kn_sched_halting(&k->sched);

	if (halting == KN_HALT_NO || k->sched.halted)
		return;
	k->sched.halted = true;
	if (h->count == 0)
		k->sched.halt_status = (int)h->percent;
	else if (h->on == KNEE_HALT_FAIL)
		k->sched.halt_status =
		    t->result.outcome == KNEE_EXITED || t->result.outcome == KNEE_NOT_STARTED ?
		    t->result.status :
		    128 + t->result.status;
	else if (h->on == KNEE_HALT_DONE)
		k->sched.halt_status = k->sched.failed > 100 ? 101 : (int)k->sched.failed;
	kn_run_stop(k, halting == KN_HALT_NOW ? KNEE_STOP_NOW : KNEE_STOP_SOON);
}

/* ---- tasks that are stopped for want of memory ----------------------------- */

static void
suspend(struct knee *k, struct kn_task *t)
{
	k->exec.ops->signal(&k->exec, t, SIGSTOP);
	kn_sched_stand(&k->sched, t, k->loop.now_ns);
	kn_tuner_suspended(k->meter.tuner, ++k->suspended);
}

static void
resume(struct knee *k, struct kn_task *t)
{
	k->exec.ops->signal(&k->exec, t, SIGCONT);
	kn_sched_go_on(&k->sched, t, k->loop.now_ns);
	kn_tuner_suspended(k->meter.tuner, --k->suspended);
}

/* The latest started one that may be stopped, or (end) ended: one that has printed nothing. */
static struct kn_task *
youngest(const struct knee *k, bool end)
{
	struct kn_task *t = k->sched.running.last;
	bool captured = k->options.order != KNEE_ORDER_NONE;

	while (
	    t != NULL && (t->state != KN_RUNNING || (end ? captured && t->printing : t->suspended_ns != 0)))
		t = t->prev;
	return t;
}

int
kn_run_requeue_youngest(struct knee *k)
{
	struct kn_task *t = youngest(k, true);

	if (t == NULL)
		return 0;
	(void)task_event(k, t, KN_REQUEUE);
	return 1;
}

/* What the tuner asks for. */
static void
act(struct knee *k, enum kn_act what)
{
	struct kn_task *t;

	switch (what) {
	case KN_ACT_NONE:
		break;
	case KN_ACT_SUSPEND:
		t = youngest(k, false);
		if (t != NULL && k->sched.running.len - k->suspended > 1)
			suspend(k, t);
		break;
	case KN_ACT_RESUME:
		t = k->sched.running.first;
		while (t != NULL && t->suspended_ns == 0)
			t = t->next;
		if (t != NULL)
			resume(k, t);
		break;
	case KN_ACT_REQUEUE:
		if (k->sched.running.len > 1)
			(void)kn_run_requeue_youngest(k);
		break;
	}
}

static int
step_take(struct knee *k, struct kn_task *t, struct kn_step step)
{
	int err;

	switch (step.action) {
	case KN_NOTHING:
		return 0;
	case KN_SIGNAL:
		k->exec.ops->signal(&k->exec, t, step.signal);
		k->exec_next_ns = 0;      /* one that has not begun is given back in a tick */
		if (t->suspended_ns != 0) /* stopped: it has to run to hear of it */
			resume(k, t);
		return 0;
	case KN_RETRY:
		return kn_sinks_task(k, KNEE_EVENT_RETRY, t);
	case KN_AGAIN:
		kn_feed_tell(k, t->key);
		return kn_sinks_note(k, KNEE_EVENT_NOTE, "task %llu: ended to free memory; it will run again",
		    shown_seq(k, t));
	case KN_FORGET:
		kn_merge_forget(&k->merge, t);
		return 0;
	case KN_RESULT:
		err = kn_sinks_task(k, KNEE_EVENT_RESULT, t);
		if (err == 0)
			err = kn_run_part(k, t->seq, t->part.data, knee_failed(&t->result) ? 0 : t->part.len);
		kn_buf_done(&t->part);
		if (err == 0)
			halt_check(k, t);
		return kn_run_merged(k, kn_merge_result(&k->merge, t));
	}
	return 0;
}

/* kn_exec_host.output. An error stays in k->err, and the loop goes on to end the tasks. */
static void
task_output(void *self, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	struct knee *k = self;
	int err = kn_run_merged(k, kn_merge_output(&k->merge, t, stream, data, n));

	if (err == 0 && k->merge.slow)
		k->exec.paused = true;
}

/* When the tuner is told that something happened: some executors report a little later, but what it hears
 * never goes back in time. */
static int64_t
tell_ns(struct knee *k, int64_t at_ns)
{
	if (at_ns > k->loop.now_ns)
		at_ns = k->loop.now_ns;
	if (at_ns > k->told_ns)
		k->told_ns = at_ns;
	return k->told_ns;
}

/* kn_exec_host.began */
static void
task_began(void *self, struct kn_task *t, int64_t since_ns)
{
	struct knee *k = self;
	int64_t now_ns = k->loop.now_ns;

	if (since_ns > now_ns)
		since_ns = now_ns;
	t->result.start_time_ns = k->time_ns - (now_ns - since_ns);
	(void)task_event(k, t, KN_START);
	t->started_ns = since_ns;
	kn_tuner_handed(k->meter.tuner, t->key, -1);
	kn_tuner_started(k->meter.tuner, t->key, tell_ns(k, since_ns));
	(void)kn_sinks_task(k, KNEE_EVENT_START, t);
	if (t->unwanted)
		(void)task_event(k, t, KN_CANCEL);
}

/* kn_exec_host.returned */
static void
task_returned(void *self, struct kn_task *t)
{
	struct knee *k = self;
	bool began = t->state != KN_HANDED;

	if (t->suspended_ns != 0)
		resume(k, t);
	kn_merge_retry(&k->merge, t);
	t->part.len = 0;
	if (began)
		kn_meter_returned(&k->meter, t, tell_ns(k, k->loop.now_ns));
	else
		kn_tuner_handed(k->meter.tuner, t->key, -1);
	(void)task_event(k, t, KN_RETURN);
	if (t->state != KN_READY)
		return;
	kn_feed_tell(k, t->key);
	if (t->unwanted)
		(void)task_cancel(k, t);
}

/* kn_exec_host.ended */
static void
task_ended(void *self, struct kn_task *t)
{
	struct knee *k = self;
	const struct knee_options *o = &k->options;

	if (t->suspended_ns != 0)
		resume(k, t);
	if (k->put_off_ns > 0)
		k->hold_starts_ns = 0;
	t->busy = false;
	for (size_t i = 0; i < o->nbusy_exits && t->result.outcome == KNEE_EXITED; i++)
		t->busy = t->busy || t->result.status == o->busy_exits[i];
	kn_meter_ended(&k->meter, t,
	    tell_ns(k, t->result.runtime_ns > 0 ? t->started_ns + t->result.runtime_ns : k->loop.now_ns));
	(void)task_event(k, t, KN_EXIT);
}

/* kn_exec_host.note */
static void
task_note(void *self, const struct kn_task *t, const char *text)
{
	struct knee *k = self;

	k->noted = true;
	if (t != NULL)
		(void)kn_sinks_note(k, KNEE_EVENT_NOTE, "task %llu: %s", shown_seq(k, t), text);
	else
		(void)kn_sinks_note(k, KNEE_EVENT_NOTE, "%s", text);
}

/* kn_exec_host.again */
static void
task_again(void *self, struct kn_task *t)
{
	struct knee *k = self;

	kn_merge_retry(&k->merge, t);
}

/* kn_exec_host.capacity */
static void
machines_capacity(void *self, unsigned limit, const char *machine, unsigned its_limit, const char *reason)
{
	struct knee *k = self;
	const struct knee_event ev = {
		.kind = KNEE_EVENT_LIMIT, .limit = its_limit, .host = machine, .reason = reason
	};

	kn_tuner_capacity(k->meter.tuner, limit, k->loop.now_ns);
	k->limit = kn_tuner_limit(k->meter.tuner);
	if (reason != NULL)
		(void)kn_sinks_live(k, &ev);
}

/* ---- starting -------------------------------------------------------------- */

static bool
refused(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* Tell what the tuner has changed, and why. */
static int
changes_tell(struct knee *k)
{
	struct kn_tuner *tuner = k->meter.tuner;
	struct kn_change change;
	struct knee_event ev;
	struct knee_work work;
	char text[512];
	int err = 0;

	k->limit = kn_tuner_limit(tuner);
	while (err == 0 && kn_tuner_change(tuner, &change)) {
		kn_tuner_work(tuner, change.class, &work);
		kn_explain_change(&change, &work, text, sizeof(text));
		ev = (struct knee_event){
			.kind = kn_explain_urgent(change.why) ? KNEE_EVENT_NOTE : KNEE_EVENT_LIMIT,
			.limit = k->limit,
			.work = &work,
			.reason = text,
		};
		err = kn_sinks_live(k, &ev);
	}
	return err;
}

/* A start was refused by the machine: run fewer, and try again a little later. */
static int
start_refused(struct knee *k, int err)
{
	if (k->sched.running.len + k->sched.handed.len == 0 && ++k->refusals >= REFUSALS_MAX)
		return kn_run_fail(k, err, "cannot start a task: %s", strerror(-err));
	k->hold_starts_ns = kn_tuner_refused(k->meter.tuner, err, k->loop.now_ns);
	return changes_tell(k);
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
	(void)task_event(k, t, KN_START);
	kn_tuner_started(k->meter.tuner, t->key, k->loop.now_ns);
	kn_feed_tell(k, t->key);
	t->result.outcome = outcome;
	t->result.error = err;
	t->result.status = outcome == KNEE_SKIPPED ? 0 : err == -ENOENT ? 127 : 126;
	if (outcome == KNEE_NOT_STARTED && !k->noted)
		(void)kn_sinks_note(
		    k, KNEE_EVENT_NOTE, "task %llu: cannot be started: %s", shown_seq(k, t), strerror(-err));
	kn_meter_ended(&k->meter, t, k->loop.now_ns);
	return task_event(k, t, KN_EXIT);
}

/* t waits for a start that it shall not have: its RESULT is that of its last attempt, or that there was none. */
static int
task_cancel(struct knee *k, struct kn_task *t)
{
	int err;

	if (t->result.attempt > 0)
		return task_event(k, t, KN_CANCEL);
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
		resume(k, t);
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
	return t != NULL ? task_cancel(k, t) : -ESRCH;
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
	t->result.start_time_ns = kn_loop_time_ns();
	t->usage = t->told = (struct kn_usage){ 0 };
	t->busy = false;
	if (o->confirm != NULL && t->result.attempt == 0 && !o->confirm(o->confirm_self, t->command))
		return task_unstarted(k, t, KNEE_SKIPPED, 0);
	k->noted = false;
	err = k->exec.ops->start(&k->exec, t);
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
		(void)task_event(k, t, KN_HAND);
		kn_tuner_handed(k->meter.tuner, t->key, 1);
		kn_feed_tell(k, t->key);
		return 0;
	}
	(void)task_event(k, t, KN_START);
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

/* When the delay between two starts, or the pause after a refusal, will be over; 0: it is. */
static int64_t
start_wait_ns(const struct knee *k)
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

static bool
wants_start(struct knee *k)
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

	for (int i = 0; i < STORED_PER_TURN && key < 0 && n == KN_FEED_STORED && wants_start(k); i++) {
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

static int
start_some(struct knee *k)
{
	struct kn_task *t;
	unsigned most = STARTS_PER_TURN;
	int key, err;

	k->read_more = false;
	if (k->exec.ops->limit != NULL)
		most = ahead_tell(k);
	for (unsigned i = 0; i < most && wants_start(k); i++) {
		/* What it was given may have filled it up. */
		if (i % STARTS_PER_TURN == STARTS_PER_TURN - 1 && k->exec.ops->limit != NULL)
			(void)ahead_tell(k);
		key = pick_or_read(k);
		/* Only now for the delay: the end of the input does not wait for it. */
		if (key < 0 || start_wait_ns(k) > 0 || !may_start(k))
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

/* ---- the limit -------------------------------------------------------------- */

/* Descriptors that may still be opened, of which some number is wanted; *max: the limit. */
static unsigned
fds_free(uint64_t wanted, unsigned *max)
{
	struct rlimit limit;
	unsigned open;

	*max = UINT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= UINT_MAX)
		return UINT_MAX;
	*max = (unsigned)limit.rlim_cur;
	if (*max / 2 > wanted) /* plenty: not worth the counting */
		return *max / 2;
	open = kn_machine_fds_open();
	return *max > open + FDS_RESERVE ? *max - open - FDS_RESERVE : 0;
}

/* Where tasks run on other machines each of these finds its own number; here it is the sum of them. */
static int
meter_init_far(struct knee *k)
{
	const struct knee_options o = { .limit = 1 };
	const struct kn_machine machine = {
		.cores = 1, .fds_per_task = 1, .fds_free = UINT_MAX, .processes_free = UINT_MAX
	};
	int err = kn_meter_init(&k->meter, &o, &machine, &k->exec, k->loop.now_ns);

	k->limit = 1;
	return err;
}

static int
meter_init(struct knee *k)
{
	const struct knee_options *o = &k->options;
	unsigned asked = o->limit;
	struct kn_machine machine = {
		.cores = kn_machine_cores_exact(),
		.memory_bytes = kn_machine_memory(),
		.fds_per_task = o->order == KNEE_ORDER_NONE ? 2 : k->exec.ops->fds_per_task,
		.processes_free = o->executor == KNEE_EXEC_ASYNC ? UINT_MAX : kn_machine_processes_free(),
	};
	int err;

	machine.fds_free =
	    fds_free((uint64_t)machine.fds_per_task * (asked > 0 ? asked : 1000), &machine.fds_max);
	err = kn_meter_init(&k->meter, o, &machine, &k->exec, k->loop.now_ns);
	if (err < 0)
		return err;
	k->limit = kn_tuner_limit(k->meter.tuner);
	if (asked == 0 || asked == UINT_MAX || k->limit >= asked)
		return 0;
	return kn_sinks_note(k, KNEE_EVENT_NOTE,
	    "running %u at once, not %u: no more than %u files may be open: raise that with ulimit -n",
	    k->limit, asked, machine.fds_max);
}

/* Threads that share a lock, or an interpreter that has one, run one after the other: say so, once, with
 * what that comes to. Processes do not have it. */
static int
locked_tell(struct knee *k)
{
	double frac, running;

	if (k->options.executor != KNEE_EXEC_THREAD || k->locked_told ||
	    !kn_meter_locked(&k->meter, &frac, &running))
		return 0;
	k->locked_told = frac >= LOCKED_FRAC;
	if (!k->locked_told)
		return 0;
	return kn_sinks_note(k, KNEE_EVENT_NOTE,
	    "tasks wait for a lock of their own %.0f %% of the time: %.1f threads get on like %.1f: in "
	    "processes "
	    "of their own (--isolate) they would not share it",
	    100 * frac, running, running * (1 - frac));
}

static int
limit_sample(struct knee *k)
{
	uint64_t left = k->queue.len + k->sched.ready.len + k->sched.waiting.len;

	if (k->loop.now_ns < kn_meter_due_ns(&k->meter))
		return 0;
	kn_meter_sample(
	    &k->meter, &k->sched, tell_ns(k, k->loop.now_ns), left, k->source_ended || k->sched.stopped);
	act(k, kn_tuner_act(k->meter.tuner));
	(void)locked_tell(k);
	return changes_tell(k);
}

void
kn_run_adjust(struct knee *k, int by)
{
	kn_tuner_adjust(k->meter.tuner, by, k->loop.now_ns);
	(void)changes_tell(k);
}

void
kn_run_set_limit(struct knee *k, unsigned limit)
{
	/* The number that holds now: k->limit is that of the last sample. */
	int64_t by = (int64_t)limit - (int64_t)kn_tuner_limit(k->meter.tuner);

	/* One that was found becomes a given one, though it is the same. */
	if (by != 0 || !kn_tuner_fixed(k->meter.tuner))
		kn_run_adjust(k, by > INT_MAX ? INT_MAX : (int)by);
}

size_t
kn_run_work(const struct knee *k, struct knee_work *ret, size_t max)
{
	struct knee_work work;
	struct kn_change why;
	size_t n = 0, at;

	for (unsigned i = 0; i < kn_tuner_nclasses(k->meter.tuner); i++) {
		kn_tuner_work(k->meter.tuner, i, &work);
		if (work.done == 0 && work.running == 0)
			continue;
		/* What ended before it was known what it needs tells nothing beside the rest. */
		if (work.kind == KNEE_KIND_UNKNOWN && work.running == 0 &&
		    kn_tuner_nclasses(k->meter.tuner) > 1)
			continue;
		kn_tuner_why(k->meter.tuner, i, &why);
		kn_explain_work(&why, &work);
		for (at = n < max ? n++ : n; at > 0 && ret[at - 1].done < work.done; at--)
			if (at < max)
				ret[at] = ret[at - 1];
		if (at < max)
			ret[at] = work;
	}
	return n;
}

/* ---- a turn ------------------------------------------------------------------ */

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Results of other machines wait behind output that nobody takes. So as not to end what has long ended, no task's time
 * passes meanwhile; unless all shall end. */
static bool
unheard(const struct knee *k)
{
	return k->unheard_ns != 0 && !k->sched.cancelling;
}

static void
unheard_look(struct knee *k)
{
	if (k->options.executor != KNEE_EXEC_AGENT || k->slow == (k->unheard_ns != 0))
		return;
	if (!k->slow && unheard(k))
		kn_sched_shift(&k->sched, k->loop.now_ns - k->unheard_ns);
	k->unheard_ns = k->slow ? k->loop.now_ns : 0;
}

static int64_t
turn_deadline(struct knee *k)
{
	int64_t at = unheard(k) ? INT64_MAX : kn_sched_next_ns(&k->sched);
	int64_t wait_ns = start_wait_ns(k);

	if (k->exec_next_ns < at)
		at = k->exec_next_ns;
	if (k->whole_next_ns < at)
		at = k->whole_next_ns;
	if (kn_meter_due_ns(&k->meter) < at)
		at = kn_meter_due_ns(&k->meter);
	for (size_t i = 0; i < k->options.nsinks; i++)
		at = earlier(at, earlier(k->sinks[i].due_ns, k->sinks[i].flush_ns));
	if (wants_start(k) && wait_ns < at)
		at = wait_ns;
	/* What it has ready may be more, or less, than may run now. */
	if (k->exec.ops->limit != NULL && k->limit_told != k->limit)
		return 0;
	return k->print_more || (k->read_more && k->err == 0) ? 0 : at;
}

static int
deadlines_pass(struct knee *k)
{
	struct kn_task *t;
	int err;

	if (unheard(k))
		return 0;
	while ((t = kn_sched_due(&k->sched, k->loop.now_ns)) != NULL) {
		err = task_event(k, t, KN_DEADLINE);
		if (err < 0)
			return err;
		if (t->state == KN_READY)
			kn_feed_tell(k, t->key);
	}
	return 0;
}

/* Hand out what may be printed, as far as the readers take it. */
static int
print_some(struct knee *k)
{
	int err = kn_sinks_flush(k), live_err = 0;

	if (err == 0) {
		err = kn_run_merged(k, kn_merge_pump(&k->merge));
		if (err == 0)
			err = kn_sinks_flush(k);
	}
	k->slow = err == -EAGAIN;
	if (err == 0 || err == -EAGAIN)
		live_err = kn_sinks_flush_live(k);
	if (live_err == -EAGAIN)
		k->slow = true;
	else if (live_err < 0)
		return live_err;
	k->print_more = err == 0 && k->merge.slow; /* the reader has caught up meanwhile */
	if (k->exec.paused && !k->slow)
		k->exec_next_ns = 0; /* it may go on reading at once */
	k->exec.paused = k->slow;
	unheard_look(k);
	return err == -EAGAIN ? 0 : err;
}

void
kn_run_stats(const struct knee *k, struct knee_stats *ret)
{
	const struct kn_sched *s = &k->sched;

	*ret = (struct knee_stats){
		.started = s->started + s->stored,
		.done = s->done + s->stored,
		.failed = s->failed + s->stored_failed,
		.stored = s->stored,
		.total = k->seq,
		.total_known = k->source_ended,
		.running = (unsigned)s->running.len,
		.limit = k->limit,
		.peak = s->peak,
		.elapsed_ns = k->loop.now_ns - k->begin_ns,
		.runtime_sum_ns = s->runtime_sum_ns,
		.held_bytes = k->merge.memory + k->merge.spill_live,
		.sink_blocked = k->slow,
		.left = k->seq - s->started - s->stored,
		.stopped = s->stopped,
		.rising = kn_tuner_direction(k->meter.tuner),
		.one_at_a_time_ns = kn_tuner_one_at_a_time_ns(k->meter.tuner),
		.cpu_busy_frac = kn_tuner_cpu_frac(k->meter.tuner),
		.suspended = k->suspended,
		.status = kn_sched_status(s),
	};
}

/* Free what this turn ended: no event of its batch can reach it any more. */
static void
retire(struct knee *k)
{
	struct kn_caller_watch *c;
	struct kn_task *t;

	while ((t = k->retired.first) != NULL) {
		kn_list_remove(&k->retired, t);
		kn_task_free(t);
	}
	while ((c = k->gone) != NULL) {
		k->gone = c->next;
		free(c);
	}
}

static bool
finished(const struct knee *k)
{
	if (k->sched.running.len + k->sched.handed.len > 0)
		return false;
	if (k->err != 0)
		return true;
	if (!kn_sched_idle(&k->sched) || (k->queue.len > 0 && !k->sched.stopped))
		return false;
	return (k->source_ended || k->sched.stopped) && kn_merge_empty(&k->merge) && !k->slow &&
	    !k->print_more;
}

/* All tasks have ended and are printed: what is left is the whole. Of a run that was cut short there is
 * none, nor while a function that was given up may still use what the tasks share. */
static bool
whole_finished(struct knee *k)
{
	if (k->err != 0 || k->sched.stopped || k->exec.plugin_lost)
		return true;
	kn_whole_finish(k->whole);
	if (!kn_whole_finished(k->whole))
		return false;
	/* As one task more that failed. */
	if (kn_whole_status(k->whole) != 0 && !k->whole_told)
		k->sched.failed++;
	k->whole_told = true;
	return true;
}

static int
turn_steps(struct knee *k, bool wait)
{
	int err;

	err = kn_loop_wait(&k->loop, wait ? turn_deadline(k) : 0);
	k->time_ns = kn_loop_time_ns();
	if (err < 0)
		return k->err != 0 ? err : kn_run_fail(k, err, "waiting for events: %s", strerror(-err));
	err = deadlines_pass(k);
	if (err == 0)
		err = limit_sample(k);
	if (err == 0)
		err = start_some(k);
	if (err < 0)
		return err;
	/* After the starts: an executor may end a task at once. */
	err = k->exec.ops->tick(&k->exec, &k->exec_next_ns);
	if (err < 0)
		return k->exec.error[0] != '\0' ? kn_run_fail(k, err, "%s", k->exec.error) :
						  kn_run_fail(k, err, "running tasks: %s", strerror(-err));
	err = kn_whole_turn(k->whole, k->slow, &k->whole_next_ns);
	return err < 0 ? kn_run_fail(k, err, "combining results: %s", strerror(-err)) : 0;
}

int
kn_run_arm(struct knee *k, bool at_once)
{
	return kn_loop_arm(&k->loop, at_once ? 0 : turn_deadline(k));
}

int
kn_run_turn(struct knee *k, bool wait)
{
	const struct knee_event end = { .kind = KNEE_EVENT_END };
	bool broken = k->err != 0, over;

	if (k->ended)
		return k->err;
	(void)turn_steps(k, wait);
	if (k->err == 0)
		(void)print_some(k);
	if (k->err != 0 && !broken) {
		/* Nothing more can be printed: end what runs, then say why. */
		k->exec.paused = false;
		k->exec_next_ns = 0;
		kn_run_stop(k, KNEE_STOP_NOW);
	}
	over = finished(k) && whole_finished(k);
	k->woken = k->woken || over;
	kn_sinks_tick(k);
	retire(k);
	if (!over)
		return 1;
	kn_feed_peek(k);
	if (k->err == 0)
		k->err = k->source_err;
	(void)kn_sinks_live(k, &end);
	k->ended = true;
	return k->err;
}

static const struct kn_exec_ops *const executors[] = {
	[KNEE_EXEC_PROCESS] = &kn_exec_process,
	[KNEE_EXEC_DRY] = &kn_exec_dry,
	[KNEE_EXEC_WORKER] = &kn_exec_worker,
	[KNEE_EXEC_THREAD] = &kn_exec_thread,
	[KNEE_EXEC_ASYNC] = &kn_exec_async,
	[KNEE_EXEC_AGENT] = &kn_exec_agent,
};

int
kn_run_init(struct knee *k)
{
	const struct knee_options *o = &k->options;
	const struct kn_rules rules = {
		.timeout_ns = o->timeout_ns,
		.timeout_frac = o->timeout_frac,
		.attempts = o->retries > 0 ? o->retries : 1,
		.busy_attempts = o->nbusy_exits > 0 ? BUSY_ATTEMPTS : 0,
		.backoff_ns = o->backoff_ns,
		.term_seq = o->term_seq,
		.nterm_seq = o->nterm_seq,
		.halt = o->halt,
		.resumable = o->resumable != 0,
	};
	const struct kn_whole_host whole_host = { .output = whole_output, .self = k };
	const struct kn_merge_host merge_host = { .emit = kn_sinks_text, .printed = task_retire, .self = k };
	int err;

	k->loop.epoll_fd = k->loop.timer_fd = -1;
	k->merge.spill_fd = -1;
	k->source_watch = (struct kn_watch){ .fd = -1, .fn = kn_feed_readable };
	err = kn_loop_init(&k->loop);
	if (err == 0)
		err = kn_sched_init(&k->sched, &rules);
	if (err == 0)
		err = kn_merge_init(&k->merge, o->order, o->tmpdir, o->memory_bytes, &k->sched, &merge_host);
	if (err == 0)
		err = kn_sinks_init(k);
	if (err < 0)
		return err;
	k->merge.resumable = o->resumable != 0;
	k->merge.whole = o->whole != 0 && o->order != KNEE_ORDER_LINES && o->order != KNEE_ORDER_PIECES;
	k->merge.late = o->executor == KNEE_EXEC_AGENT;
	k->exec = (struct kn_exec){
		.options = o,
		.loop = &k->loop,
		.host = { .began = task_began,
		    .returned = task_returned,
		    .output = task_output,
		    .ended = task_ended,
		    .note = task_note,
		    .again = task_again,
		    .capacity = machines_capacity,
		    .self = k },
	};
	if (o->plugin != NULL)
		err = kn_whole_new(o, &k->loop, &whole_host, &k->whole, k->error, sizeof(k->error));
	if (err < 0)
		return err;
	k->exec.plugin_state = kn_whole_state(k->whole);
	k->exec.ops = executors[o->executor];
	err = k->exec.ops->open(&k->exec);
	if (err < 0) {
		k->exec.ops = NULL;
		return err;
	}
	k->begin_ns = k->loop.now_ns;
	return o->executor == KNEE_EXEC_AGENT ? meter_init_far(k) : meter_init(k);
}

void
kn_run_done(struct knee *k)
{
	struct kn_caller_watch *c;

	/* What still runs is killed; its end is not waited for by the loop any more. */
	if (k->exec.ops != NULL && k->sched.running.len + k->sched.handed.len > 0) {
		k->err = k->err != 0 ? k->err : -ECANCELED;
		kn_run_stop(k, KNEE_STOP_KILL);
		while (kn_run_turn(k, true) > 0)
			;
	}
	if (k->exec.ops != NULL)
		k->exec.ops->close(&k->exec);
	kn_whole_free(k->whole, k->exec.plugin_lost);
	retire(k);
	kn_meter_done(&k->meter);
	kn_queue_done(&k->queue);
	kn_submit_done(&k->submit);
	kn_merge_done(&k->merge);
	kn_sched_done(&k->sched);
	while ((c = k->callers) != NULL) {
		k->callers = c->next;
		free(c);
	}
	free(k->sinks);
	kn_loop_done(&k->loop);
}

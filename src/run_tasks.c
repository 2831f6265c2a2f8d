/* SPDX-License-Identifier: MIT */
/*
 * What happens to the tasks of a run: each event goes to sched.c, which says what follows from it, and that is done
 * here. Most of the events are what the executor reports.
 */
#include <signal.h>
#include <string.h>

#include "run_parts.h"

static int step_take(struct knee *k, struct kn_task *t, struct kn_step step);

int
kn_run_event(struct knee *k, struct kn_task *t, enum kn_event event)
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

		err = kn_run_event(k, t, event);
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
			(void)kn_run_event(k, t, KN_CANCEL);
		t = next;
	}
	for (t = k->sched.handed.first; t != NULL; t = t->next)
		if (t->result.attempt == 0)
			(void)kn_run_event(k, t, KN_CANCEL);
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
	k->sched.cancelling = k->exec.stopping = true;
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

void
kn_run_resume(struct knee *k, struct kn_task *t)
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

	while (t != NULL &&
	    (t->state != KN_RUNNING || t->result.runtime_ns > 0 ||
		(end ? captured && t->printing : t->suspended_ns != 0)))
		t = t->prev;
	return t;
}

int
kn_run_requeue_youngest(struct knee *k)
{
	struct kn_task *t = youngest(k, true);

	if (t == NULL)
		return 0;
	(void)kn_run_event(k, t, KN_REQUEUE);
	return 1;
}

void
kn_run_act(struct knee *k, enum kn_act what)
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
			kn_run_resume(k, t);
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
			kn_run_resume(k, t);
		return 0;
	case KN_RETRY:
		return kn_sinks_task(k, KNEE_EVENT_RETRY, t);
	case KN_AGAIN:
		kn_feed_tell(k, t->key);
		return kn_sinks_note(k, KNEE_EVENT_NOTE, "task %llu: ended to free memory; it will run again",
		    kn_run_shown_seq(k, t));
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
int64_t
kn_run_tell_ns(struct knee *k, int64_t at_ns)
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
	(void)kn_run_event(k, t, KN_START);
	t->started_ns = since_ns;
	kn_tuner_handed(k->meter.tuner, t->key, -1);
	kn_tuner_started(k->meter.tuner, t->key, kn_run_tell_ns(k, since_ns));
	(void)kn_sinks_task(k, KNEE_EVENT_START, t);
	if (t->unwanted)
		(void)kn_run_event(k, t, KN_CANCEL);
}

/* kn_exec_host.returned */
static void
task_returned(void *self, struct kn_task *t)
{
	struct knee *k = self;
	bool began = t->state != KN_HANDED;

	if (t->suspended_ns != 0)
		kn_run_resume(k, t);
	kn_merge_retry(&k->merge, t);
	t->part.len = 0;
	if (began)
		kn_meter_returned(&k->meter, t, kn_run_tell_ns(k, k->loop.now_ns));
	else
		kn_tuner_handed(k->meter.tuner, t->key, -1);
	(void)kn_run_event(k, t, KN_RETURN);
	if (t->state != KN_READY)
		return;
	kn_feed_tell(k, t->key);
	if (t->unwanted)
		(void)kn_run_cancel(k, t);
}

/* kn_exec_host.ended */
static void
task_ended(void *self, struct kn_task *t)
{
	struct knee *k = self;
	const struct knee_options *o = &k->options;

	if (t->suspended_ns != 0)
		kn_run_resume(k, t);
	if (k->put_off_ns > 0)
		k->hold_starts_ns = 0;
	t->busy = kn_exec_says_busy(o, &t->result);
	kn_meter_ended(&k->meter, t,
	    kn_run_tell_ns(
		k, t->result.runtime_ns > 0 ? t->started_ns + t->result.runtime_ns : k->loop.now_ns));
	(void)kn_run_event(k, t, KN_EXIT);
}

/* kn_exec_host.note */
static void
task_note(void *self, const struct kn_task *t, const char *text)
{
	struct knee *k = self;

	k->noted = true;
	if (t != NULL)
		(void)kn_sinks_note(k, KNEE_EVENT_NOTE, "task %llu: %s", kn_run_shown_seq(k, t), text);
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

struct kn_exec_host
kn_run_exec_host(struct knee *k)
{
	return (struct kn_exec_host){
		.began = task_began,
		.returned = task_returned,
		.output = task_output,
		.ended = task_ended,
		.note = task_note,
		.again = task_again,
		.capacity = machines_capacity,
		.self = k,
	};
}

/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/template.h"
#include "sys/machine.h"

/* Starts in one turn, so that output and ends are looked at in between. */
#define STARTS_PER_TURN 16

/* Text sinks are flushed at least after this much output. */
#define FLUSH_BYTES (128 * 1024)

/* And what an event without output may make a sink write: a colour, a newline. */
#define EVENT_BYTES 16

/* Starts refused in a row, with growing pauses and nothing running, before the run gives up. */
#define REFUSALS_MAX 8

/* Descriptors kept for what is opened later: the spill file, a script, sinks' files. */
#define FDS_RESERVE 8

static int fail(struct knee *k, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int note(struct knee *k, enum knee_event_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int
fail(struct knee *k, int err, const char *format, ...)
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

/* ---- sinks --------------------------------------------------------------- */

static int
event_live(struct knee *k, const struct knee_event *ev)
{
	int err;

	for (size_t i = 0; i < k->options.nsinks; i++) {
		const struct knee_sink *sink = k->sinks[i].sink;

		if (sink->text || sink->event == NULL)
			continue;
		err = sink->event(sink->self, ev);
		if (err < 0)
			return fail(k, err, "%s", "");
	}
	return 0;
}

static int
event_task(struct knee *k, enum knee_event_kind kind, const struct kn_task *t)
{
	const struct knee_event ev = {
		.kind = kind,
		.seq = t->seq,
		.slot = t->slot,
		.command = t->command,
		.tag = t->tag,
		.result = kind == KNEE_EVENT_START ? NULL : &t->result,
	};

	return event_live(k, &ev);
}

static int
note(struct knee *k, enum knee_event_kind kind, const char *format, ...)
{
	struct knee_event ev = { .kind = kind, .limit = k->limit };
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ev.reason = text;
	return event_live(k, &ev);
}

static int
sink_writable(struct kn_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	return 0; /* the turn flushes */
}

/* Flush one sink; wait for its descriptor when its reader is slow. 0, -EAGAIN or -errno. */
static int
sink_flush(struct knee *k, struct kn_sink_state *s)
{
	const struct knee_sink *sink = s->sink;
	int err = sink->flush != NULL ? sink->flush(sink->self) : 0;
	int fd = err == -EAGAIN ? sink->fd(sink->self) : -1;
	int watch_err = 0;

	/* A sink with two descriptors may wait now for the one and now for the other. */
	if (fd != s->watch.fd)
		kn_loop_remove(&k->loop, &s->watch);
	if (fd >= 0 && s->watch.fd < 0)
		watch_err = kn_loop_add(&k->loop, &s->watch, fd, EPOLLOUT);
	if (watch_err < 0)
		return fail(k, watch_err, "waiting for a reader: %s", strerror(-watch_err));
	return err == 0 || err == -EAGAIN ? err : fail(k, err, "%s", "");
}

/* All of them; -EAGAIN when a text sink's reader is slow. */
static int
sinks_flush(struct knee *k)
{
	int slow = 0, err;

	k->unflushed_bytes = 0;
	for (size_t i = 0; i < k->options.nsinks; i++) {
		err = sink_flush(k, &k->sinks[i]);
		if (err == -EAGAIN && k->sinks[i].sink->text)
			slow = -EAGAIN;
		else if (err < 0 && err != -EAGAIN)
			return err;
	}
	return slow;
}

/* What a sink may add to an event's data when it puts the tag before each line. */
static uint64_t
tag_bytes(const struct knee_event *ev)
{
	const char *at = ev->data, *end = ev->size > 0 ? at + ev->size : at;
	uint64_t lines = 1;

	while (at != end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		lines++;
		at++;
	}
	return lines * (strlen(ev->tag) + 1);
}

/* kn_merge_host.emit */
static int
event_text(void *self, const struct knee_event *ev)
{
	struct knee *k = self;
	int err;

	if (k->err != 0) /* the reader is gone, or the order cannot be kept */
		return 0;
	for (size_t i = 0; i < k->options.nsinks; i++) {
		const struct knee_sink *sink = k->sinks[i].sink;

		if (!sink->text)
			continue;
		err = sink->event(sink->self, ev);
		if (err < 0)
			return fail(k, err, "%s", "");
	}
	k->unflushed_bytes += ev->size + EVENT_BYTES + (ev->command != NULL ? strlen(ev->command) : 0);
	if (ev->tag != NULL)
		k->unflushed_bytes += tag_bytes(ev);
	return k->unflushed_bytes >= FLUSH_BYTES ? sinks_flush(k) : 0;
}

/* kn_merge_host.printed */
static void
task_retire(void *self, struct kn_task *t)
{
	struct knee *k = self;

	kn_list_append(&k->retired, t);
}

/* An error of merge's own, or one that a sink has reported already through it. */
static int
merge_error(struct knee *k, int err)
{
	if (err == 0 || k->err != 0)
		return err;
	return fail(k, err, "%s", k->merge.error[0] ? k->merge.error : strerror(-err));
}

/* ---- what happens to tasks ------------------------------------------------ */

static int step_take(struct knee *k, struct kn_task *t, struct kn_step step);

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
}

void
kn_run_stop(struct knee *k, enum knee_stop how)
{
	enum kn_event event = how == KNEE_STOP_KILL ? KN_KILL : KN_CANCEL;
	int err;

	k->sched.stopped = true;
	if (how == KNEE_STOP_SOON) {
		ready_drop(k);
		return;
	}
	k->sched.cancelling = true;
	err = list_event(k, &k->sched.ready, event);
	if (err == 0)
		err = list_event(k, &k->sched.waiting, event);
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

static int
step_take(struct knee *k, struct kn_task *t, struct kn_step step)
{
	int err;

	switch (step.action) {
	case KN_NOTHING:
		return 0;
	case KN_SIGNAL:
		k->exec.ops->signal(&k->exec, t, step.signal);
		return 0;
	case KN_RETRY:
		return event_task(k, KNEE_EVENT_RETRY, t);
	case KN_FORGET:
		kn_merge_forget(&k->merge, t);
		return 0;
	case KN_RESULT:
		err = event_task(k, KNEE_EVENT_RESULT, t);
		if (err == 0)
			halt_check(k, t);
		return merge_error(k, kn_merge_result(&k->merge, t));
	}
	return 0;
}

/* kn_exec_host.output. An error stays in k->err, and the loop goes on to end the tasks. */
static void
task_output(void *self, struct kn_task *t, enum knee_stream stream, const char *data, size_t n)
{
	struct knee *k = self;
	int err = merge_error(k, kn_merge_output(&k->merge, t, stream, data, n));

	if (err == 0 && k->merge.slow)
		k->exec.paused = true;
}

/* kn_exec_host.ended */
static void
task_ended(void *self, struct kn_task *t)
{
	struct knee *k = self;

	(void)task_event(k, t, KN_EXIT);
}

/* ---- starting -------------------------------------------------------------- */

static bool
refused(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* There is no input yet: wait for its descriptor. */
static void
source_wait(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	int err = kn_loop_add(&k->loop, &k->source_watch, source->fd(source->self), EPOLLIN);

	if (err < 0)
		(void)fail(k, err, "waiting for input: %s", strerror(-err));
	else
		k->source_waiting = !k->source_watch.always;
}

/* The next input as a task; NULL when there is none now or ever, or an error in k->err. */
static struct kn_task *
task_next(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	struct knee_input input;
	struct kn_task *t;
	int n;

	if (k->source_ended || k->source_waiting)
		return NULL;
	n = source->next(source->self, &input);
	if (n == -EAGAIN) {
		source_wait(k);
		return NULL;
	}
	if (n <= 0) {
		/* An error is one of the inputs that follow: those before it are finished. */
		k->source_ended = true;
		k->source_err = n;
		return NULL;
	}
	t = kn_task_new(k->seq + 1, &input, k->exec.ops->task_bytes);
	if (t == NULL || kn_merge_add(&k->merge, t) < 0) {
		kn_task_free(t);
		(void)fail(k, -ENOMEM, "%s", strerror(ENOMEM));
		return NULL;
	}
	k->seq++;
	kn_sched_add(&k->sched, t);
	return t;
}

static int
source_readable(struct kn_watch *w, uint32_t events)
{
	struct knee *k = (struct knee *)(void *)((char *)w - offsetof(struct knee, source_watch));

	(void)events;
	k->source_waiting = false;
	kn_loop_remove(&k->loop, w);
	return 0;
}

/* The texts that follow from the slot: anew for every attempt. */
static int
task_texts(struct knee *k, struct kn_task *t)
{
	const struct knee_options *o = &k->options;

	free(t->command);
	free(t->tag);
	t->command = t->tag = NULL;
	if (o->want_text &&
	    knee_template_expand(o->command, t->args, t->nargs, t->seq, t->slot, &t->command) < 0)
		return -ENOMEM;
	if (o->tag != NULL && knee_template_expand(o->tag, t->args, t->nargs, t->seq, t->slot, &t->tag) < 0)
		return -ENOMEM;
	return 0;
}

/* A start was refused by the machine: run fewer, and try again a little later. */
static int
start_refused(struct knee *k, int err)
{
	const struct kn_sample sample = {
		.now_ns = k->loop.now_ns,
		.running = (unsigned)k->sched.running.len,
		.done = k->sched.done,
		.refused = err,
	};
	unsigned before = k->limit;

	if (k->sched.running.len == 0 && ++k->refusals >= REFUSALS_MAX)
		return fail(k, err, "cannot start a task: %s", strerror(-err));
	k->limit = kn_tuner_sample(&k->tuner, &sample);
	k->hold_starts_ns = k->tuner.due_ns;
	if (k->limit == before)
		return 0;
	return note(k, KNEE_EVENT_LIMIT, "running %u at once, not %u: the machine refuses more: %s", k->limit,
	    before, strerror(-err));
}

/* t will not be run: it gets its result all the same. */
static int
task_unstarted(struct knee *k, struct kn_task *t, enum knee_outcome outcome, int err)
{
	(void)task_event(k, t, KN_START);
	t->result.outcome = outcome;
	t->result.error = err;
	t->result.status = outcome == KNEE_SKIPPED ? 0 : err == -ENOENT ? 127 : 126;
	if (outcome == KNEE_NOT_STARTED)
		(void)note(k, KNEE_EVENT_NOTE, "task %llu: cannot be started: %s", (unsigned long long)t->seq,
		    strerror(-err));
	return task_event(k, t, KN_EXIT);
}

static int
task_start(struct knee *k, struct kn_task *t)
{
	const struct knee_options *o = &k->options;
	int err;

	err = kn_sched_prepare(&k->sched, t);
	if (err == 0)
		err = task_texts(k, t);
	if (err < 0)
		return start_refused(k, err);
	/* Kept until now: if there is no other attempt after all, it is the last one's output. */
	kn_merge_retry(&k->merge, t);
	t->result = (struct knee_result){ .attempt = t->result.attempt };
	t->result.start_time_ns = kn_loop_time_ns();
	if (o->confirm != NULL && t->result.attempt == 0 && !o->confirm(o->confirm_self, t->command))
		return task_unstarted(k, t, KNEE_SKIPPED, 0);
	err = k->exec.ops->start(&k->exec, t);
	if (refused(err))
		return start_refused(k, err);
	k->refusals = 0;
	k->last_start_ns = k->loop.now_ns;
	if (err < 0)
		return task_unstarted(k, t, KNEE_NOT_STARTED, err);
	(void)task_event(k, t, KN_START);
	return event_task(k, KNEE_EVENT_START, t);
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

static bool
wants_start(const struct knee *k)
{
	if (k->err != 0 || k->slow || k->sched.running.len >= k->limit)
		return false;
	if (kn_sched_next(&k->sched) != NULL)
		return true;
	return !k->sched.stopped && !k->source_ended && !k->source_waiting && !kn_merge_full(&k->merge);
}

static int
start_some(struct knee *k)
{
	struct kn_task *t;
	int err;

	for (int i = 0; i < STARTS_PER_TURN && wants_start(k); i++) {
		t = kn_sched_next(&k->sched);
		if (t == NULL)
			t = task_next(k);
		/* Only now for the delay: the end of the input does not wait for it. */
		if (t == NULL || start_wait_ns(k) > 0)
			return k->err;
		err = task_start(k, t);
		if (err < 0)
			return err;
	}
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

static int
limit_init(struct knee *k)
{
	unsigned asked = k->options.limit;
	struct kn_machine machine = {
		.cores = asked == 0 ? kn_machine_cores() : 1,
		.fds_per_task = k->options.order == KNEE_ORDER_NONE ? 1 : k->exec.ops->fds_per_task,
	};

	machine.fds_free =
	    fds_free((uint64_t)machine.fds_per_task * (asked > 0 ? asked : machine.cores), &machine.fds_max);
	kn_tuner_init(&k->tuner, asked, &machine);
	k->limit = k->tuner.limit;
	if (k->tuner.why != KN_WHY_FDS || asked == UINT_MAX)
		return 0;
	return note(k, KNEE_EVENT_LIMIT,
	    "running %u at once, not %u: no more than %u files may be open: raise that with ulimit -n",
	    k->limit, asked > 0 ? asked : machine.cores, machine.fds_max);
}

static int
limit_sample(struct knee *k)
{
	const struct kn_sample sample = {
		.now_ns = k->loop.now_ns,
		.running = (unsigned)k->sched.running.len,
		.done = k->sched.done,
	};
	unsigned before = k->limit;

	if (k->loop.now_ns < k->tuner.due_ns)
		return 0;
	k->limit = kn_tuner_sample(&k->tuner, &sample);
	if (k->limit != k->tuner.ceiling || k->limit == before)
		return 0;
	return note(k, KNEE_EVENT_LIMIT, "running %u at once again", k->limit);
}

/* ---- a turn ------------------------------------------------------------------ */

static int64_t
turn_deadline(struct knee *k)
{
	int64_t at = kn_sched_next_ns(&k->sched);
	int64_t wait_ns = start_wait_ns(k);

	if (k->exec_next_ns < at)
		at = k->exec_next_ns;
	if (k->tuner.due_ns < at)
		at = k->tuner.due_ns;
	for (size_t i = 0; i < k->options.nsinks; i++)
		if (k->sinks[i].due_ns < at)
			at = k->sinks[i].due_ns;
	if (wants_start(k) && wait_ns < at)
		at = wait_ns;
	return k->print_more ? 0 : at;
}

static int
deadlines_pass(struct knee *k)
{
	struct kn_task *t;
	int err;

	while ((t = kn_sched_due(&k->sched, k->loop.now_ns)) != NULL) {
		err = task_event(k, t, KN_DEADLINE);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Hand out what may be printed, as far as the readers take it. */
static int
print_some(struct knee *k)
{
	int err = sinks_flush(k);

	if (err == 0) {
		err = merge_error(k, kn_merge_pump(&k->merge));
		if (err == 0)
			err = sinks_flush(k);
	}
	k->slow = err == -EAGAIN;
	k->print_more = err == 0 && k->merge.slow; /* the reader has caught up meanwhile */
	if (k->exec.paused && !k->slow)
		k->exec_next_ns = 0; /* it may go on reading at once */
	k->exec.paused = k->slow;
	return err == -EAGAIN ? 0 : err;
}

void
kn_run_stats(const struct knee *k, struct knee_stats *ret)
{
	const struct kn_sched *s = &k->sched;

	*ret = (struct knee_stats){
		.started = s->started,
		.done = s->done,
		.failed = s->failed,
		.total = k->seq,
		.total_known = k->source_ended,
		.running = (unsigned)s->running.len,
		.limit = k->limit,
		.peak = s->peak,
		.elapsed_ns = k->loop.now_ns - k->begin_ns,
		.runtime_sum_ns = s->runtime_sum_ns,
		.held_bytes = k->merge.memory + k->merge.spill_live,
		.sink_blocked = k->slow,
		.left = k->seq - s->started,
		.stopped = s->stopped,
	};
}

static void
sinks_tick(struct knee *k)
{
	struct knee_stats stats;
	bool filled = false;

	for (size_t i = 0; i < k->options.nsinks; i++) {
		struct kn_sink_state *s = &k->sinks[i];

		if (s->sink->tick == NULL || (s->due_ns > k->loop.now_ns && !k->woken))
			continue;
		if (!filled)
			kn_run_stats(k, &stats);
		filled = true;
		s->due_ns = s->sink->tick(s->sink->self, &stats, k->loop.now_ns);
	}
	k->woken = false;
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
	if (k->sched.running.len > 0)
		return false;
	if (k->err != 0)
		return true;
	if (!kn_sched_idle(&k->sched))
		return false;
	return (k->source_ended || k->sched.stopped) && kn_merge_empty(&k->merge) && !k->slow &&
	    !k->print_more;
}

static int
turn_steps(struct knee *k)
{
	int err;

	err = kn_loop_wait(&k->loop, turn_deadline(k));
	if (err < 0)
		return k->err != 0 ? err : fail(k, err, "waiting for events: %s", strerror(-err));
	err = deadlines_pass(k);
	if (err == 0)
		err = limit_sample(k);
	if (err == 0)
		err = start_some(k);
	if (err < 0)
		return err;
	/* After the starts: an executor may end a task at once. */
	err = k->exec.ops->tick(&k->exec, &k->exec_next_ns);
	return err < 0 ? fail(k, err, "running tasks: %s", strerror(-err)) : 0;
}

/* After a stop: was that all of the input anyway? */
static void
source_peek(struct knee *k)
{
	const struct knee_source *source = &k->options.source;
	struct knee_input input;
	int n;

	if (k->source_ended || k->source_waiting || k->err != 0)
		return;
	n = source->next(source->self, &input);
	k->source_ended = n == 0;
	k->seq += n == 1;
}

int
kn_run_turn(struct knee *k)
{
	const struct knee_event end = { .kind = KNEE_EVENT_END };
	bool broken = k->err != 0;

	if (k->ended)
		return k->err;
	(void)turn_steps(k);
	if (k->err == 0)
		(void)print_some(k);
	if (k->err != 0 && !broken) {
		/* Nothing more can be printed: end what runs, then say why. */
		k->exec.paused = false;
		k->exec_next_ns = 0;
		kn_run_stop(k, KNEE_STOP_NOW);
	}
	k->woken = k->woken || finished(k);
	sinks_tick(k);
	retire(k);
	if (!finished(k))
		return 1;
	source_peek(k);
	if (k->err == 0)
		k->err = k->source_err;
	(void)event_live(k, &end);
	k->ended = true;
	return k->err;
}

/* ---- beginning and end --------------------------------------------------------- */

static int
sinks_init(struct knee *k)
{
	size_t n = k->options.nsinks;

	k->sinks = calloc(n > 0 ? n : 1, sizeof(*k->sinks));
	if (k->sinks == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		k->sinks[i] = (struct kn_sink_state){ .watch = { .fd = -1, .fn = sink_writable },
			.sink = &k->options.sinks[i],
			.due_ns = k->options.sinks[i].tick != NULL ? 0 : INT64_MAX };
	return 0;
}

int
kn_run_init(struct knee *k)
{
	const struct knee_options *o = &k->options;
	const struct kn_rules rules = {
		.timeout_ns = o->timeout_ns,
		.timeout_frac = o->timeout_frac,
		.attempts = o->retries > 0 ? o->retries : 1,
		.backoff_ns = o->backoff_ns,
		.term_seq = o->term_seq,
		.nterm_seq = o->nterm_seq,
		.halt = o->halt,
	};
	const struct kn_merge_host merge_host = { .emit = event_text, .printed = task_retire, .self = k };
	int err;

	k->loop.epoll_fd = k->loop.timer_fd = -1;
	k->merge.spill_fd = -1;
	k->source_watch = (struct kn_watch){ .fd = -1, .fn = source_readable };
	err = kn_loop_init(&k->loop);
	if (err == 0)
		err = kn_sched_init(&k->sched, &rules);
	if (err == 0)
		err = kn_merge_init(&k->merge, o->order, o->tmpdir, o->memory_bytes, &k->sched, &merge_host);
	if (err == 0)
		err = sinks_init(k);
	if (err < 0)
		return err;
	k->exec = (struct kn_exec){
		.options = o,
		.loop = &k->loop,
		.host = { .output = task_output, .ended = task_ended, .self = k },
	};
	k->exec.ops = o->executor == KNEE_EXEC_DRY ? &kn_exec_dry : &kn_exec_process;
	err = k->exec.ops->open(&k->exec);
	if (err < 0) {
		k->exec.ops = NULL;
		return err;
	}
	k->begin_ns = k->loop.now_ns;
	return limit_init(k);
}

void
kn_run_done(struct knee *k)
{
	struct kn_caller_watch *c;

	/* What still runs is killed; its end is not waited for by the loop any more. */
	if (k->exec.ops != NULL && k->sched.running.len > 0) {
		k->err = k->err != 0 ? k->err : -ECANCELED;
		kn_run_stop(k, KNEE_STOP_KILL);
		while (kn_run_turn(k) > 0)
			;
	}
	if (k->exec.ops != NULL)
		k->exec.ops->close(&k->exec);
	retire(k);
	kn_merge_done(&k->merge);
	kn_sched_done(&k->sched);
	while ((c = k->callers) != NULL) {
		k->callers = c->next;
		free(c);
	}
	free(k->sinks);
	kn_loop_done(&k->loop);
}

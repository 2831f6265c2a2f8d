/* SPDX-License-Identifier: MIT */
#include "run_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/template.h"
#include "exec/command.h"
#include "sys/clock.h"

/* Attempts of a task that says "too many at once". */
#define BUSY_ATTEMPTS 32

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

unsigned long long
kn_run_shown_seq(const struct knee *k, const struct kn_task *t)
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
	int64_t wait_ns = kn_run_start_wait_ns(k);

	if (k->exec_next_ns < at)
		at = k->exec_next_ns;
	if (k->whole_next_ns < at)
		at = k->whole_next_ns;
	if (kn_meter_due_ns(&k->meter) < at)
		at = kn_meter_due_ns(&k->meter);
	for (size_t i = 0; i < k->options.nsinks; i++)
		at = earlier(at, earlier(k->sinks[i].due_ns, k->sinks[i].flush_ns));
	if (kn_run_wants_start(k) && wait_ns < at)
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
		err = kn_run_event(k, t, KN_DEADLINE);
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
	k->time_ns = kn_clock_time_ns();
	if (err < 0)
		return k->err != 0 ? err : kn_run_fail(k, err, "waiting for events: %s", strerror(-err));
	err = deadlines_pass(k);
	if (err == 0)
		err = kn_run_sample(k);
	if (err == 0)
		err = kn_run_start_some(k);
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
		.host = kn_run_exec_host(k),
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
	return kn_run_meter_init(k);
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

/* SPDX-License-Identifier: MIT */
/* The public interface: defaults and checks of options, then run.c. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "exec/async.h"
#include "exec/command.h"
#include "explain.h"
#include "run.h"
#include "sys/machine.h"

#define MS ((int64_t)1000000)

/* Of output that waits for its turn, in memory: of any run, and more for each machine. */
#define HELD_BYTES ((uint64_t)4 << 20)
#define HELD_MACHINE_BYTES ((uint64_t)64 << 10)

/* No errno of the kernel is above it. */
#define ERRNO_MOST 4095

/* As GNU parallel's default. */
static const struct knee_term_step default_term_seq[] = {
	{ SIGTERM, 200 * MS },
	{ SIGTERM, 100 * MS },
	{ SIGTERM, 50 * MS },
	{ SIGKILL, 25 * MS },
};

static void
defaults_fill(struct knee_options *o)
{
	if (o->nterm_seq == 0) {
		o->term_seq = default_term_seq;
		o->nterm_seq = sizeof(default_term_seq) / sizeof(default_term_seq[0]);
	}
	if (o->backoff_ns <= 0)
		o->backoff_ns = 100 * MS;
	if (o->tmpdir == NULL)
		o->tmpdir = "/tmp";
	if (o->memory_bytes == 0)
		o->memory_bytes = HELD_BYTES;
	/* The more machines, the more tasks end out of order. */
	if (o->executor == KNEE_EXEC_AGENT && o->machines != NULL)
		o->memory_bytes += o->machines->nhosts * HELD_MACHINE_BYTES;
	/* Whether threads wait for one another can be seen with a given number, too. */
	if (o->executor == KNEE_EXEC_THREAD)
		o->measure = 1;
}

/* What the executor cannot do without. */
static const char *
executor_wrong(const struct knee_options *o)
{
	switch (o->executor) {
	case KNEE_EXEC_PROCESS:
	case KNEE_EXEC_DRY:
		return o->command == NULL && o->nwords == 0 ? "options.words is not set" : NULL;
	case KNEE_EXEC_WORKER:
		return o->nworker == 0 ? "options.worker is not set" : NULL;
	case KNEE_EXEC_THREAD:
		if (o->plugin == NULL || o->plugin->run == NULL)
			return "options.plugin has no run";
		return o->plugin->abi != KNEE_PLUGIN_ABI ? "options.plugin is of another version" : NULL;
	case KNEE_EXEC_ASYNC:
		return o->async.start == NULL ? "options.async.start is not set" : NULL;
	case KNEE_EXEC_AGENT:
		return o->machines == NULL || o->machines->nhosts == 0 ? "options.machines has no machine" :
									 NULL;
	}
	return "options.executor is none";
}

static const char *
options_wrong(const struct knee_options *o)
{
	const char *wrong = executor_wrong(o);

	if (wrong != NULL)
		return wrong;
	if ((unsigned)o->order > KNEE_ORDER_PIECES)
		return "options.order is none";
	if (o->limit_max > 0 && o->limit_min > o->limit_max)
		return "options.limit_min is above options.limit_max";
	if (o->timeout_ns < 0 || o->timeout_frac < 0 || o->delay_ns < 0)
		return "a time is negative";
	if (o->confirm != NULL && !o->want_text)
		return "options.confirm needs options.want_text";
	for (size_t i = 0; i < o->nsinks; i++) {
		if (o->sinks[i].text && o->sinks[i].event == NULL)
			return "a text sink has no event hook";
		if (o->sinks[i].flush != NULL && o->sinks[i].fd == NULL)
			return "a sink has a flush hook but no fd hook";
	}
	return NULL;
}

/* The template, when the options have words instead. A worker's record is text, by default the input. Where
 * nothing is run by a command it is what the work is called by. */
static int
command_make(knee *k, char *err, size_t errsize)
{
	static const char *const task[] = { "task" }, *const record[] = { "{}" };
	struct knee_options *o = &k->options;
	bool worker = o->executor == KNEE_EXEC_WORKER;
	const struct knee_template_options how = {
		.flags = KNEE_TEMPLATE_APPEND | (worker ? KNEE_TEMPLATE_TEXT : 0),
	};
	const char *const *words = o->nwords > 0 ? o->words : worker ? record : task;
	int e;

	if (o->command != NULL)
		return 0;
	e = knee_template_new(words, o->nwords > 0 ? o->nwords : 1, &how, &k->own_command, err, errsize);
	if (e == -ENOMEM)
		(void)snprintf(err, errsize, "%s", strerror(ENOMEM));
	o->command = k->own_command;
	return e;
}

int
knee_new(const struct knee_options *options, knee **ret, char *err, size_t errsize)
{
	const char *wrong = options_wrong(options);
	knee *k;
	int e;

	if (wrong != NULL) {
		(void)snprintf(err, errsize, "%s", wrong);
		return -EINVAL;
	}
	k = calloc(1, sizeof(*k));
	if (k == NULL) {
		(void)snprintf(err, errsize, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	k->options = *options;
	defaults_fill(&k->options);
	if (k->options.source.next == NULL)
		k->options.source = kn_submit_source(&k->submit);
	e = command_make(k, err, errsize);
	if (e < 0) {
		free(k);
		return e;
	}
	e = kn_run_init(k);
	if (e == 0)
		e = kn_run_arm(k, true);
	if (e < 0) {
		(void)snprintf(err, errsize, "%s", k->error[0] != '\0' ? k->error : strerror(-e));
		knee_free(k);
		return e;
	}
	*ret = k;
	return 0;
}

int
knee_run(knee *k)
{
	int more;

	while ((more = kn_run_turn(k, true)) > 0)
		;
	return more;
}

int
knee_turn(knee *k, int wait)
{
	int more = kn_run_turn(k, wait != 0), err;

	if (more <= 0)
		return more;
	err = kn_run_arm(k, false);
	return err < 0 ? err : 1;
}

int
knee_fd(const knee *k)
{
	return k->loop.epoll_fd;
}

int
knee_submit(knee *k, const struct knee_input *input)
{
	int err;

	if (k->options.source.self != &k->submit)
		return -EINVAL;
	err = k->ended ? -EPIPE : kn_submit_put(&k->submit, input);
	if (err < 0)
		return err;
	if (k->source_waiting)
		(void)kn_run_arm(k, true);
	k->source_waiting = false;
	return 0;
}

int
knee_output(knee *k, knee_task task, enum knee_stream stream, const void *bytes, size_t size)
{
	if (k->options.executor != KNEE_EXEC_ASYNC)
		return -ESTALE;
	return kn_async_output(&k->exec, task, stream, bytes, size);
}

int
knee_complete(knee *k, knee_task task, int status)
{
	if (k->options.executor != KNEE_EXEC_ASYNC)
		return -ESTALE;
	return kn_async_complete(&k->exec, task, status < -ERRNO_MOST ? -EIO : status);
}

void
knee_stop(knee *k, enum knee_stop how)
{
	kn_run_stop(k, how);
	/* The caller may wait for the descriptor alone, and nothing may be left to happen there. */
	(void)kn_run_arm(k, true);
}

void
knee_signal(knee *k, int sig)
{
	/* What is stopped for want of memory is not woken by the way. */
	for (struct kn_task *t = k->sched.running.first; t != NULL; t = t->next)
		if (sig != SIGCONT || t->suspended_ns == 0)
			k->exec.ops->signal(&k->exec, t, sig);
}

int
knee_task_signal(knee *k, uint64_t seq, int sig)
{
	int err = kn_run_task_signal(k, seq, sig);

	/* What gets its result by it may be all that was waited for. */
	(void)kn_run_arm(k, true);
	return err;
}

void
knee_stood_still(knee *k, int64_t ns)
{
	kn_sched_shift(&k->sched, ns);
}

static int
caller_event(struct kn_watch *w, uint32_t events)
{
	struct kn_caller_watch *c = (struct kn_caller_watch *)(void *)w;

	int err = c->fn(c->self, w->fd);

	(void)events;
	if (err < 0 && c->knee->err == 0)
		c->knee->err = err;
	return err;
}

/* A watch that is removed may have an event in the present batch: freed after the turn. */
static void
watch_forget(knee *k, int fd)
{
	struct kn_caller_watch **at = &k->callers;
	struct kn_caller_watch *c;

	while (*at != NULL && (*at)->watch.fd != fd)
		at = &(*at)->next;
	c = *at;
	if (c == NULL)
		return;
	*at = c->next;
	kn_loop_remove(&k->loop, &c->watch);
	c->next = k->gone;
	k->gone = c;
}

int
knee_watch(knee *k, int fd, int (*fn)(void *self, int fd), void *self)
{
	struct kn_caller_watch *c;
	int err;

	watch_forget(k, fd);
	if (fn == NULL)
		return 0;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	*c = (struct kn_caller_watch){
		.watch = { .fd = -1, .fn = caller_event }, .knee = k, .fn = fn, .self = self
	};
	err = kn_loop_add(&k->loop, &c->watch, fd, EPOLLIN);
	if (err < 0) {
		free(c);
		return err;
	}
	c->next = k->callers;
	k->callers = c;
	return 0;
}

static void
each_running(
    knee *k, const struct kn_task *t, void (*fn)(void *self, uint64_t seq, const char *command), void *self)
{
	const struct kn_fill f = kn_command_fill(&k->options, t);
	char *text = NULL;

	if (t->command == NULL)
		(void)knee_template_expand(k->options.command, f.args, f.nargs, f.seq, f.slot, &text);
	fn(self, f.seq, t->command != NULL ? t->command : text != NULL ? text : "");
	free(text);
}

void
knee_each_running(knee *k, void (*fn)(void *self, uint64_t seq, const char *command), void *self)
{
	for (struct kn_task *t = k->sched.running.first; t != NULL; t = t->next)
		each_running(k, t, fn, self);
}

int
knee_get_host(const knee *k, size_t i, struct knee_host_stats *ret)
{
	return k->options.executor == KNEE_EXEC_AGENT ? kn_agent_host(&k->exec, i, ret) : 0;
}

void
knee_wake(knee *k)
{
	k->woken = true;
}

void
knee_get_stats(const knee *k, struct knee_stats *ret)
{
	kn_run_stats(k, ret);
}

void
knee_adjust(knee *k, int by)
{
	kn_run_adjust(k, by);
}

void
knee_set_limit(knee *k, unsigned limit)
{
	kn_run_set_limit(k, limit);
}

int
knee_requeue_youngest(knee *k)
{
	return kn_run_requeue_youngest(k);
}

size_t
knee_get_work(const knee *k, struct knee_work *ret, size_t max)
{
	return kn_run_work(k, ret, max);
}

int
knee_get_unseen(const knee *k, char *ret, size_t size)
{
	unsigned usage, vitals;

	if (!kn_meter_known(&k->meter, &usage, &vitals))
		return -EAGAIN;
	kn_explain_unseen(usage, vitals, ret, size);
	return ret[0] != '\0';
}

const char *
knee_kind_name(enum knee_kind kind)
{
	static const char *const names[] = {
		[KNEE_KIND_UNKNOWN] = "unknown",
		[KNEE_KIND_CPU] = "CPU",
		[KNEE_KIND_DISK] = "disk",
		[KNEE_KIND_NET] = "network",
		[KNEE_KIND_WAIT] = "wait",
		[KNEE_KIND_MIXED] = "mixed",
		[KNEE_KIND_LOCK] = "lock",
	};
	_Static_assert(sizeof(names) / sizeof(*names) == KNEE_KINDS, "a name for each kind");

	return (unsigned)kind < KNEE_KINDS ? names[kind] : names[KNEE_KIND_UNKNOWN];
}

unsigned
knee_cores(void)
{
	return kn_machine_cores();
}

uint64_t
knee_memory_free(void)
{
	struct kn_vitals_reader *r;
	struct kn_vitals v;

	if (kn_vitals_new(&r) < 0)
		return 0;
	/* At no time after the first reading: only what is true now. */
	kn_vitals_read(r, 0, &v);
	kn_vitals_free(r);
	return v.known & KN_VITALS_MEMORY ? v.memory_free_bytes : 0;
}

int
knee_status(const knee *k)
{
	return kn_sched_status(&k->sched);
}

const char *
knee_error(const knee *k)
{
	return k->error;
}

void
knee_free(knee *k)
{
	if (k == NULL)
		return;
	kn_run_done(k);
	knee_template_free(k->own_command);
	free(k);
}

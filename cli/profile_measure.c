/* SPDX-License-Identifier: MIT */
/*
 * The runs of a profile, one after the other:
 *
 *	empty      commands that do nothing, started as the tasks are: what the start of one costs here
 *	alone      one at a time: what a task needs
 *	together   2, 4, 8 ... at once, until more gives nothing, or the bound or the time is reached
 *	the engine's own choice: its kind, its number and its reason
 *
 * A trial lasts from the moment when as many run as should, to the moment when no more are started;
 * nothing that was started is ended early, since half a task may do harm. Where tasks take as long as
 * alone, each counts by the part of it that lay in that time: so a trial may be as short as a task, and
 * no wave of ends falls out of it by chance. Where they take longer they stand in a queue (a core's, a
 * lock's), and the part of a task that was waiting is no work done: there all that ended counts, over
 * the time until the last end, in which the queue never was empty.
 *
 * What will not fit into the time that is left is not begun.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "grow.h"
#include "profile_parts.h"

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)

/* A trial's shortest time: what the first moments of a process cost is small against it. */
#define TRIAL_NS (500 * MS)
#define LOOK_NS (100 * MS)
/* Empty commands take so long that there are some tens of them. */
#define EMPTY_NS (100 * MS)

#define MESSAGE_BYTES 1024

/* Work that waits: the most at once on trial. A remote service would take more for an attack. */
#define WAITING_MAX 50

/* More at once must give so much more, or it is as good as nothing. */
#define GAIN 1.05
#define HARM 0.8

struct span {
	int64_t start_ns, end_ns;
	bool failed;
};

/* One run. */
struct phase {
	struct profile *p;
	knee *knee;
	const struct knee_template *empty; /* what is run instead; NULL: the command */
	unsigned limit;                    /* 0: the engine's choice */
	int64_t trial_ns;                  /* from when as many run as should */
	uint64_t enough;                   /* stop after that many; 0: by time alone */
	int64_t begin_ns, full_ns, stop_ns;
	unsigned running;
	struct span *spans; /* owned */
	size_t nspans, spans_cap, failed;
	/* Sums of those that succeeded. */
	double cpu_s, delay_s;
	double io_bytes, disk_bytes, output_bytes;
	char text[480]; /* what the task in hand said on stderr */
};

/* ---- a run ------------------------------------------------------------------ */

static int
phase_next(void *self, struct knee_input *ret)
{
	struct phase *ph = self;

	if (ph->stop_ns != 0)
		return 0;
	memset(ret, 0, sizeof(*ret));
	if (ph->empty == NULL)
		*ret = profile_inputs_next(&ph->p->inputs);
	return 1;
}

static int
phase_fd(void *self)
{
	(void)self;
	return -1;
}

/* The engine's view, while there is something to see. */
static void
work_look(struct phase *ph)
{
	struct knee_work work;

	if (ph->limit > 1 || ph->empty != NULL || knee_get_work(ph->knee, &work, 1) != 1)
		return;
	if (ph->limit == 1)
		ph->p->alone = work;
	else
		ph->p->work = work;
}

static void
phase_stop(struct phase *ph, int64_t now_ns)
{
	if (ph->stop_ns != 0)
		return;
	work_look(ph);
	ph->stop_ns = now_ns;
	knee_stop(ph->knee, KNEE_STOP_SOON);
}

/* When the trial is over, as far as known now. */
static int64_t
phase_end(const struct phase *ph)
{
	/* Tasks that end faster than others start never reach the limit. */
	int64_t full_ns = ph->full_ns != 0 ? ph->full_ns : ph->begin_ns + ph->trial_ns / 2;

	return full_ns + ph->trial_ns;
}

static int
attempt_ended(struct phase *ph, const struct knee_result *r, int64_t now_ns)
{
	struct span *spans = grow(ph->spans, &ph->spans_cap, ph->nspans + 1, sizeof(*spans));
	bool failed = knee_failed(r);

	if (spans == NULL)
		return -ENOMEM;
	ph->spans = spans;
	ph->running -= ph->running > 0;
	spans[ph->nspans++] = (struct span){ now_ns - r->runtime_ns, now_ns, failed };
	ph->failed += failed;
	if (!failed)
		ph->cpu_s += (double)(r->cpu_user_ns + r->cpu_sys_ns) / 1e9;
	if (ph->empty != NULL)
		return 0;
	ph->p->runs++;
	ph->p->failed += failed;
	if (failed)
		return 0;
	ph->delay_s += (double)r->delay_ns / 1e9;
	ph->io_bytes += (double)r->io_bytes;
	ph->disk_bytes += (double)r->disk_bytes;
	ph->output_bytes += (double)r->output_bytes;
	if (r->peak_rss_bytes > 0 && (uint64_t)r->peak_rss_bytes > ph->p->task.rss_bytes)
		ph->p->task.rss_bytes = (uint64_t)r->peak_rss_bytes;
	if (r->tree_rss_bytes > ph->p->task.rss_bytes)
		ph->p->task.rss_bytes = r->tree_rss_bytes;
	return 0;
}

static int
live_event(void *self, const struct knee_event *e)
{
	struct phase *ph = self;
	int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int err = 0;

	if (e->kind == KNEE_EVENT_START) {
		if (ph->begin_ns == 0)
			ph->begin_ns = now_ns;
		ph->running++;
		if ((ph->limit == 0 || ph->running == ph->limit) && ph->full_ns == 0)
			ph->full_ns = now_ns;
	} else if (e->kind == KNEE_EVENT_RESULT || e->kind == KNEE_EVENT_RETRY) {
		err = attempt_ended(ph, e->result, now_ns);
		if (ph->enough > 0 && ph->nspans >= ph->enough &&
		    (ph->failed == ph->nspans || now_ns - ph->begin_ns >= TRIAL_NS))
			phase_stop(ph, now_ns);
	}
	return err;
}

static int64_t
live_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct phase *ph = self;
	int64_t end_ns;

	(void)stats;
	if (ph->stop_ns != 0)
		return INT64_MAX;
	if (ph->begin_ns == 0)
		return now_ns + LOOK_NS;
	work_look(ph);
	end_ns = phase_end(ph);
	if (now_ns >= end_ns || (ph->limit == 0 && ph->p->work.settled && now_ns >= ph->begin_ns + SECOND)) {
		phase_stop(ph, now_ns);
		return INT64_MAX;
	}
	return end_ns < now_ns + LOOK_NS ? end_ns : now_ns + LOOK_NS;
}

/* How the first failed task ended, and what it said. */
static void
failure_keep(struct phase *ph, const struct knee_result *r)
{
	struct profile *p = ph->p;
	size_t size = sizeof(p->failure);
	int n;

	if (p->failure[0] != '\0')
		return;
	if (r->outcome == KNEE_EXITED)
		n = snprintf(p->failure, size, "exit status %d", r->status);
	else if (r->outcome == KNEE_NOT_STARTED)
		n = snprintf(p->failure, size, "%s", strerror(-r->error));
	else
		n = snprintf(
		    p->failure, size, r->outcome == KNEE_TIMED_OUT ? "timed out" : "signal %d", r->status);
	if (n > 0 && (size_t)n < size && ph->text[0] != '\0')
		(void)snprintf(p->failure + n, size - (size_t)n, ": %s", ph->text);
}

/* The tasks' output goes nowhere; of what they say on stderr the beginning is kept for a moment. */
static int
text_event(void *self, const struct knee_event *e)
{
	struct phase *ph = self;
	size_t len = strlen(ph->text), room = sizeof(ph->text) - 1 - len;

	if (e->kind == KNEE_EVENT_START)
		ph->text[0] = '\0';
	if (e->kind == KNEE_EVENT_OUTPUT && e->stream == KNEE_STDERR) {
		size_t n = e->size < room ? e->size : room;

		memcpy(ph->text + len, e->data, n);
		ph->text[len + n] = '\0';
	}
	if (e->kind == KNEE_EVENT_RESULT && knee_failed(e->result) && ph->empty == NULL)
		failure_keep(ph, e->result);
	return 0;
}

static int
phase_run(struct phase *ph)
{
	struct profile *p = ph->p;
	const struct knee_sink sinks[] = {
		{ .self = ph, .event = live_event, .tick = live_tick },
		{ .self = ph, .text = 1, .event = text_event },
	};
	struct knee_options k = p->engine;
	char message[MESSAGE_BYTES] = "";
	int err;

	if (ph->empty != NULL)
		k.command = ph->empty;
	k.source = (struct knee_source){ .self = ph, .next = phase_next, .fd = phase_fd };
	k.sinks = sinks;
	k.nsinks = 2;
	k.limit = ph->limit;
	k.measure = 1;
	err = knee_new(&k, &ph->knee, message, sizeof(message));
	if (err < 0)
		return say_error(-err, "%s", message);
	err = signals_start(&p->signals, ph->knee, NULL);
	if (err < 0) {
		(void)say_error(-err, "signals: %s", strerror(-err));
		goto free_knee;
	}
	err = knee_run(ph->knee);
	if (err < 0)
		(void)say_error(-err, "%s", knee_error(ph->knee)[0] ? knee_error(ph->knee) : strerror(-err));
	p->interrupted = p->interrupted || p->signals.interrupted || p->signals.hung_up;
	p->keeper_died = p->keeper_died || p->signals.keeper_died;
	signals_done(&p->signals);

free_knee:
	knee_free(ph->knee);
	ph->knee = NULL;
	return err;
}

/* ---- what a trial says ------------------------------------------------------ */

/* Tasks a second between from and to: each counts by the part of it that lies there. */
static double
throughput(const struct phase *ph, int64_t from_ns, int64_t to_ns)
{
	double tasks = 0;

	for (size_t i = 0; i < ph->nspans; i++) {
		const struct span *s = &ph->spans[i];
		int64_t start_ns = s->start_ns > from_ns ? s->start_ns : from_ns;
		int64_t end_ns = s->end_ns < to_ns ? s->end_ns : to_ns;

		if (s->failed || end_ns <= start_ns)
			continue;
		tasks += (double)(end_ns - start_ns) / (double)(s->end_ns - s->start_ns);
	}
	return to_ns > from_ns ? tasks * 1e9 / (double)(to_ns - from_ns) : 0;
}

static int
by_length(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	int64_t i = x->end_ns - x->start_ns, j = y->end_ns - y->start_ns;

	return (i > j) - (i < j);
}

static double
length_s(const struct span *s)
{
	return (double)(s->end_ns - s->start_ns) / 1e9;
}

/* Those that succeeded come first, the shortest before all others. How many they are. */
static size_t
spans_sort(struct phase *ph)
{
	size_t good = 0;

	for (size_t i = 0; i < ph->nspans; i++) {
		struct span s = ph->spans[i];

		if (s.failed)
			continue;
		ph->spans[i] = ph->spans[good];
		ph->spans[good++] = s;
	}
	if (good > 0)
		qsort(ph->spans, good, sizeof(*ph->spans), by_length);
	return good;
}

/* Tasks a second at limit at once. Sorts the spans. */
static double
level_per_s(const struct profile *p, struct phase *ph, unsigned limit)
{
	int64_t full_ns = ph->full_ns != 0 ? ph->full_ns : ph->begin_ns;
	int64_t last_ns = ph->stop_ns, warm_ns = ph->begin_ns;
	double longer = 1, queue;
	size_t good;

	if (ph->nspans > 0)
		last_ns = ph->spans[ph->nspans - 1].end_ns;
	/* Alone, the first one warms caches up; and only what ended is a whole task. */
	if (ph->nspans >= 3)
		warm_ns = ph->spans[0].end_ns;
	if (limit == 1)
		return throughput(ph, warm_ns, last_ns);
	good = spans_sort(ph);
	if (good > 0 && p->task.runtime_s > 0)
		longer = length_s(&ph->spans[good / 2]) / p->task.runtime_s;
	queue = fmin(fmax(2 * (longer - 1), 0), 1);
	return queue * throughput(ph, ph->begin_ns, last_ns) +
	    (1 - queue) * throughput(ph, full_ns, ph->stop_ns);
}

/* The relative error of the mean length of those that succeeded. */
static double
noise_frac(const struct phase *ph)
{
	double n = 0, mean = 0, squares = 0;

	for (size_t i = 0; i < ph->nspans; i++) {
		double length = length_s(&ph->spans[i]), off = length - mean;

		if (ph->spans[i].failed)
			continue;
		mean += off / ++n;
		squares += off * (length - mean);
	}
	return n >= 2 && mean > 0 ? sqrt(squares / (n - 1) / n) / mean : 0;
}

static void
level_add(struct profile *p, struct phase *ph, unsigned limit)
{
	p->levels[p->nlevels++] = (struct profile_level){
		.limit = limit,
		.per_s = level_per_s(p, ph, limit),
		.noise_frac = noise_frac(ph),
		.done = ph->nspans,
		.failed = ph->failed,
	};
}

/* The median of those that succeeded, and the shortest and longest. Sorts the spans. */
static void
task_fill(struct profile *p, struct phase *ph)
{
	struct profile_task *t = &p->task;
	size_t good = spans_sort(ph);
	double n = (double)good;

	t->done = ph->nspans;
	t->failed = ph->nspans - good;
	if (good == 0)
		return;
	t->runtime_s = length_s(&ph->spans[good / 2]);
	t->shortest_s = length_s(&ph->spans[0]);
	t->longest_s = length_s(&ph->spans[good - 1]);
	t->cpu_s = ph->cpu_s / n;
	t->delay_s = ph->delay_s / n;
	t->io_bytes = ph->io_bytes / n;
	t->disk_bytes = ph->disk_bytes / n;
	t->output_bytes = ph->output_bytes / n;
}

/* ---- which trials ----------------------------------------------------------- */

/* The most at once on trial. */
static unsigned
bound(struct profile *p)
{
	const struct profile_task *t = &p->task;
	double most = WAITING_MAX, cores = (t->cpu_s + t->delay_s) / t->runtime_s;
	double fits = t->rss_bytes > 0 ? (double)knee_memory_free() * 0.7 / (double)t->rss_bytes : 0;

	if (cores > 0.7)
		most = fmax(2, ceil(2 * p->cores / fmax(1, cores)));
	if (p->options.limit_max > 0 && most > p->options.limit_max)
		most = p->options.limit_max;
	if (p->options.limit > 0 && most > p->options.limit)
		most = p->options.limit;
	if (fits > 0 && most > fits) {
		most = fmax(1, floor(fits));
		p->memory_bound = true;
	}
	return (unsigned)most;
}

/* True when more at once is worth another trial. */
static bool
rises(const struct profile *p)
{
	double best = 0;
	size_t from = p->nlevels >= 2 ? p->nlevels - 2 : 0, i;

	if (p->nlevels < 3)
		return true;
	for (i = 0; i < from; i++)
		best = fmax(best, p->levels[i].per_s);
	if (p->levels[p->nlevels - 1].per_s < HARM * best)
		return false;
	return p->levels[from].per_s > GAIN * best || p->levels[from + 1].per_s > GAIN * best;
}

/* What is left of so much of the time; negative: nothing. */
static int64_t
left_ns(const struct profile *p, double frac)
{
	return p->begin_ns + (int64_t)((double)p->time_ns * frac) - clock_ns(CLOCK_MONOTONIC);
}

/* What a start costs on this machine: the time of commands that do nothing, by the same way (at once, or
 * by the shell). What a program does until it gets to its own work nobody can see. */
static int
empty(struct profile *p)
{
	struct phase ph = { .p = p, .limit = 1, .trial_ns = EMPTY_NS };
	const struct profile_input *first = &p->inputs.list[0];
	int by_shell =
	    knee_template_by_shell(p->engine.command, (const char *const *)first->args, first->nargs);
	const char *const word = by_shell > 0 ? ":;" : "true";
	const struct knee_template_options plain = { 0 };
	struct knee_template *command = NULL;
	size_t good;
	int err = knee_template_new(&word, 1, &plain, &command, (char[1]){ 0 }, 1);

	if (err < 0)
		return say_error(-err, "%s", strerror(-err));
	ph.empty = command;
	if (ph.trial_ns > p->time_ns / 20)
		ph.trial_ns = p->time_ns / 20;
	err = phase_run(&ph);
	good = spans_sort(&ph);
	if (err == 0 && good > 0) {
		p->start_s = length_s(&ph.spans[good / 2]);
		p->start_cpu_s = ph.cpu_s / (double)good;
	}
	free(ph.spans);
	knee_template_free(command);
	return err;
}

static int
alone(struct profile *p)
{
	struct phase ph = { .p = p, .limit = 1, .enough = 3, .trial_ns = p->time_ns / 4 };
	struct links before, after;
	int err;

	links_read(&before);
	err = phase_run(&ph);
	links_read(&after);
	if (err == 0 && !p->interrupted) {
		level_add(p, &ph, 1);
		task_fill(p, &ph);
		p->task.net_bytes = ph.nspans > 0 ? links_between(&before, &after) / (double)ph.nspans : -1;
	}
	links_free(&before);
	links_free(&after);
	free(ph.spans);
	return err;
}

static int
trial(struct profile *p, unsigned limit, int64_t trial_ns)
{
	struct phase ph = { .p = p, .limit = limit, .trial_ns = trial_ns };
	int err = phase_run(&ph);

	if (err == 0 && !p->interrupted)
		level_add(p, &ph, limit);
	free(ph.spans);
	return err;
}

static int
together(struct profile *p)
{
	unsigned most = bound(p), limit = 1;
	int64_t task_ns = (int64_t)(p->task.runtime_s * 1e9);
	int err = 0;

	while (err == 0 && !p->interrupted && limit < most && p->nlevels < PROFILE_LEVELS && rises(p)) {
		int64_t left = left_ns(p, 0.75);
		int64_t wanted = task_ns > TRIAL_NS ? task_ns : TRIAL_NS;
		double steps = fmax(1, ceil(log2((double)most / limit)));

		/* The tasks that run at a trial's end are waited for. */
		if (wanted + task_ns > left) {
			p->out_of_time = true;
			break;
		}
		/* For the cores every number counts, and there are few of them. */
		limit *= most > 2 * p->cores && steps * (double)(wanted + task_ns) > (double)left ? 4 : 2;
		if (limit > most)
			limit = most;
		err = trial(p, limit, wanted);
	}
	return err;
}

static int
by_the_engine(struct profile *p)
{
	struct phase ph = { .p = p };
	int64_t task_ns = (int64_t)(p->task.runtime_s * 1e9);
	double most;
	int err;

	/* Whatever it starts must end: no more than the cores can be done with in the time that is left. */
	ph.trial_ns = left_ns(p, 1) - task_ns;
	most = fmax(2, (double)ph.trial_ns / 1e9 / fmax(p->task.cpu_s, 1e-9)) * p->cores;
	if (most < UINT_MAX && (p->engine.limit_max == 0 || most < p->engine.limit_max))
		p->engine.limit_max = (unsigned)most;
	if (ph.trial_ns < task_ns || ph.trial_ns < TRIAL_NS) {
		p->out_of_time = true;
		return 0;
	}
	err = phase_run(&ph);
	free(ph.spans);
	return err;
}

int
profile_measure(struct profile *p)
{
	int err;

	p->begin_ns = clock_ns(CLOCK_MONOTONIC);
	p->cores = knee_cores();
	err = empty(p);
	if (err == 0 && !p->interrupted)
		err = alone(p);
	/* What fails alone has nothing to tell of how it runs together. */
	if (err == 0 && !p->interrupted && p->task.failed < p->task.done)
		err = together(p);
	if (err == 0 && !p->interrupted && p->task.failed < p->task.done)
		err = by_the_engine(p);
	p->spent_ns = clock_ns(CLOCK_MONOTONIC) - p->begin_ns;
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * Many machines on virtual time: the scheduler and the fleet of the product, and agents that are simulated. A
 * task goes to its agent, waits there for a place, runs, and its result comes back; messages take their time.
 * Machines are powered off, frozen, closed and refused, and some fail whatever they get.
 *
 *	test_fleet_sim                  the quick cases, as TAP
 *	test_fleet_sim --table          all, with a thousand agents and ten million tasks
 *	test_fleet_sim --case NAME [--seed N] [--hosts N] [--tasks N]
 *
 * What must hold: each task has exactly one result; it ends; the tasks in memory are no more than what is wanted;
 * and the time it takes is near the ideal split of the work, where there is one.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "../../src/core/fleet.h"
#include "../../src/core/sched.h"
#include "random.h"
#include "tap.h"

#define MS ((int64_t)1000000)
#define SECOND ((int64_t)1000000000)
#define NEVER INT64_MAX

struct fleet_case {
	const char *name;
	uint32_t hosts;
	uint64_t tasks;
	double task_ms;       /* the mean, at speed 1; each is half to one and a half of it */
	double latency_ms;    /* one way */
	unsigned limit;       /* of each; up to twice as much with `mixed` */
	bool mixed;           /* speeds from a quarter to one, limits as said */
	const double *speeds; /* of the machines, or NULL */
	double fault_s;       /* mean time between faults of a machine; 0: none */
	unsigned black;       /* so many of the machines fail all, at once */
	double refuse;        /* part of the connections that are */
	unsigned attempts;
	double ideal; /* at least: ideal time over the time taken; 0: not asked */
	bool large;   /* only with --table */
	bool dies;    /* all are gone in the end */
};

static const double speeds_20_40_80[] = { 0.2, 0.4, 0.8 };

static const struct fleet_case cases[] = {
	{ "three", 3, 3000, 50, 0.2, 4, false, speeds_20_40_80, 0, 0, 0, 1, 0.9, false, false },
	{ "three-few", 3, 300, 200, 0.2, 2, false, speeds_20_40_80, 0, 0, 0, 1, 0.9, false, false },
	{ "three-far", 3, 6000, 20, 40, 4, false, speeds_20_40_80, 0, 0, 0, 1, 0.9, false, false },
	{ "hundred", 100, 100000, 100, 1, 8, true, NULL, 0, 0, 0, 1, 0.9, false, false },
	{ "refused", 200, 40000, 100, 1, 4, true, NULL, 0, 0, 0.5, 1, 0, false, false },
	{ "faults", 50, 60000, 500, 1, 4, true, NULL, 60, 0, 0.1, 1, 0, false, false },
	{ "black", 20, 20000, 500, 1, 4, true, NULL, 0, 3, 0, 5, 0.8, false, false },
	{ "black-two", 2, 2000, 1000, 1, 4, false, NULL, 0, 1, 0, 5, 0.4, false, false },
	{ "all-gone", 5, 100000, 100, 1, 4, false, NULL, 20, 0, 1, 1, 0, false, true },
	{ "thousand", 1000, 300000, 1000, 1, 8, true, NULL, 600, 5, 0.05, 5, 0.6, false, false },
	{ "ten-million", 1000, 10000000, 1000, 1, 8, true, NULL, 0, 0, 0, 1, 0.95, true, false },
	{ "ten-million-faults", 1000, 10000000, 1000, 1, 8, true, NULL, 600, 10, 0.05, 5, 0.8, true, false },
	{ "short", 1000, 10000000, 10, 0.5, 8, false, NULL, 0, 0, 0, 1, 0.9, true, false },
};

/* What travels: a task on its way there, one that runs, its result on its way back; or a PING and its PONG. */
struct job {
	struct kn_heap_node end; /* while it runs */
	struct job *next;
	struct kn_task *task; /* NULL: a PING. Not valid when the generation is an old one */
	uint32_t generation;
	int64_t arrive_ns, length_ns;
	bool failed;
};

struct fifo {
	struct job *first, *last;
};

struct agent {
	struct kn_heap_node event; /* in sim.events */
	uint32_t generation;       /* of the connection: what an older one sends is late */
	unsigned limit;
	double speed;
	bool black, on; /* on: a connection is made, as it sees it */
	int64_t latency_ns;
	int64_t connect_ns; /* when that is done; NEVER */
	bool refused;
	int64_t fault_ns, closed_ns, frozen_ns,
	    off_ns; /* the next fault; when we hear of it; until when it is so */
	struct fifo in, out, waiting;
	struct kn_heap running;
	struct kn_task *tasks; /* what the coordinator thinks that it has */
};

/* The executor's part of a task. */
struct at {
	struct kn_task *next, *prev;
	uint32_t host, last;
	int64_t length_ns;
};

struct sim {
	const struct fleet_case *c;
	struct rnd rnd;
	struct kn_fleet fleet;
	struct kn_sched sched;
	struct agent *agents;
	struct kn_heap events;
	struct job *spare;
	uint8_t *seen; /* a bit for each task that has its result */
	int64_t now;
	uint64_t next_seq, live, live_peak, late, twice, turns, lost, aside, given;
	int64_t drained_ns; /* since then there is no new task to give */
	double work_ns;     /* of all tasks, at speed 1 */
	bool gone;
};

/* ---- parts --------------------------------------------------------------------- */

static double
uniform(struct sim *s)
{
	return (double)(rnd_next(&s->rnd) >> 11) / (double)((uint64_t)1 << 53);
}

static int64_t
soon(struct sim *s, double mean_s)
{
	return mean_s > 0 ? s->now + (int64_t)(-log(1 - uniform(s)) * mean_s * 1e9) + 1 : NEVER;
}

static struct job *
job_new(struct sim *s)
{
	struct job *j = s->spare;

	if (j != NULL)
		s->spare = j->next;
	else if ((j = malloc(sizeof(*j))) == NULL)
		abort();
	*j = (struct job){ 0 };
	return j;
}

static void
job_free(struct sim *s, struct job *j)
{
	j->next = s->spare;
	s->spare = j;
}

static void
push(struct fifo *f, struct job *j)
{
	j->next = NULL;
	if (f->first == NULL)
		f->first = j;
	else
		f->last->next = j;
	f->last = j;
}

static struct job *
pop(struct fifo *f)
{
	struct job *j = f->first;

	if (j != NULL)
		f->first = j->next;
	return j;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When something happens at a. */
static void
agent_due(struct sim *s, struct agent *a)
{
	int64_t at = earlier(earlier(a->connect_ns, a->fault_ns), a->closed_ns), work = NEVER;

	if (a->out.first != NULL)
		at = earlier(at, a->out.first->arrive_ns);
	if (a->in.first != NULL)
		work = earlier(work, a->in.first->arrive_ns);
	if (kn_heap_top(&a->running) != NULL)
		work = earlier(work, kn_heap_top(&a->running)->key);
	if (work < a->frozen_ns)
		work = a->frozen_ns;
	at = earlier(at, work);
	if (at == NEVER)
		kn_heap_remove(&s->events, &a->event);
	else if (kn_heap_set(&s->events, &a->event, at) < 0)
		abort();
}

/* ---- the far end ------------------------------------------------------------------ */

static void
send_back(struct agent *a, struct job *j, int64_t at)
{
	j->arrive_ns = at + a->latency_ns;
	push(&a->out, j);
}

static void
agent_clear(struct sim *s, struct agent *a)
{
	struct kn_heap_node *n;
	struct job *j;

	while ((j = pop(&a->in)) != NULL)
		job_free(s, j);
	while ((j = pop(&a->waiting)) != NULL)
		job_free(s, j);
	while ((j = pop(&a->out)) != NULL)
		job_free(s, j);
	while ((n = kn_heap_top(&a->running)) != NULL) {
		kn_heap_remove(&a->running, n);
		job_free(s, (struct job *)(void *)n);
	}
}

/* One that was frozen for so long that it was given up: what it had is answered, too late. */
static void
agent_late(struct sim *s, struct agent *a)
{
	struct kn_heap_node *n;
	struct job *j;

	while ((j = pop(&a->in)) != NULL)
		send_back(a, j, s->now);
	while ((j = pop(&a->waiting)) != NULL)
		send_back(a, j, s->now);
	while ((n = kn_heap_top(&a->running)) != NULL) {
		kn_heap_remove(&a->running, n);
		send_back(a, (struct job *)(void *)n, s->now);
	}
}

static void
agent_work(struct sim *s, struct agent *a)
{
	struct kn_heap_node *n;
	struct job *j;

	if (s->now < a->frozen_ns)
		return;
	while (a->in.first != NULL && a->in.first->arrive_ns <= s->now) {
		j = pop(&a->in);
		if (j->task == NULL)
			send_back(a, j, s->now);
		else
			push(&a->waiting, j);
	}
	while ((n = kn_heap_top(&a->running)) != NULL && n->key <= s->now) {
		kn_heap_remove(&a->running, n);
		send_back(a, (struct job *)(void *)n, s->now);
	}
	while (a->running.len < a->limit && (j = pop(&a->waiting)) != NULL) {
		j->failed = a->black;
		j->length_ns = a->black ? MS : (int64_t)((double)j->length_ns / a->speed);
		if (kn_heap_set(&a->running, &j->end, s->now + j->length_ns) < 0)
			abort();
	}
}

/* Powered off, frozen, or only its connection closed. */
static void
agent_fault(struct sim *s, struct agent *a)
{
	unsigned what = rnd_below(&s->rnd, 3);
	int64_t lasts = (int64_t)(uniform(s) * 30e9);

	a->fault_ns = soon(s, s->c->fault_s);
	if (!a->on)
		return;
	if (what == 0) {
		a->frozen_ns = s->now + lasts;
		return;
	}
	agent_clear(s, a);
	a->on = false;
	a->off_ns = s->now + (what == 1 ? lasts : 0);
	a->closed_ns = what == 2 ? s->now + a->latency_ns : NEVER;
}

/* ---- the coordinator ---------------------------------------------------------------- */

static struct at *
at_of(struct kn_task *t)
{
	return t->exec;
}

static void
task_drop(struct sim *s, struct kn_task *t)
{
	s->live--;
	kn_task_free(t);
}

static void
leave(struct sim *s, struct kn_task *t)
{
	struct at *at = at_of(t);

	if (at->prev != NULL)
		at_of(at->prev)->next = at->next;
	else
		s->agents[at->host].tasks = at->next;
	if (at->next != NULL)
		at_of(at->next)->prev = at->prev;
	at->last = at->host;
	kn_fleet_took(&s->fleet, at->host);
}

static void
lost(struct sim *s, uint32_t h, bool for_good)
{
	struct agent *a = &s->agents[h];
	struct kn_task *t;

	s->lost++;
	a->generation++;
	a->connect_ns = a->closed_ns = NEVER;
	kn_fleet_lost(&s->fleet, h, for_good, s->now);
	while ((t = a->tasks) != NULL) {
		leave(s, t);
		(void)kn_sched_event(&s->sched, t, KN_RETURN, s->now);
	}
	agent_due(s, a);
}

static void
result(struct sim *s, uint32_t h, const struct job *j)
{
	struct kn_task *t = j->task;

	leave(s, t);
	kn_fleet_result(&s->fleet, h, j->failed);
	(void)kn_sched_event(&s->sched, t, KN_START, s->now - j->length_ns);
	t->result.outcome = KNEE_EXITED;
	t->result.status = j->failed;
	t->result.runtime_ns = j->length_ns;
	if (kn_sched_event(&s->sched, t, KN_EXIT, s->now).action != KN_RESULT)
		return;
	if (s->seen[t->seq / 8] & 1 << t->seq % 8)
		s->twice++;
	s->seen[t->seq / 8] |= (uint8_t)(1 << t->seq % 8);
	task_drop(s, t);
}

static void
received(struct sim *s, struct agent *a)
{
	uint32_t h = (uint32_t)(a - s->agents);

	while (a->out.first != NULL && a->out.first->arrive_ns <= s->now) {
		struct job *j = pop(&a->out);

		if (j->generation == a->generation) {
			kn_fleet_heard(&s->fleet, h, s->now);
			if (j->task != NULL)
				result(s, h, j);
		} else {
			s->late += j->task != NULL;
		}
		job_free(s, j);
	}
}

/* A connection is made, or was refused; nobody answers where it is switched off. */
static void
connected(struct sim *s, struct agent *a)
{
	uint32_t h = (uint32_t)(a - s->agents);
	double length = s->c->task_ms / a->speed, ahead = 0;

	if (s->now < a->off_ns || s->now < a->frozen_ns) {
		a->connect_ns = NEVER;
		return;
	}
	if (a->refused) {
		lost(s, h, false);
		return;
	}
	agent_late(s, a);
	a->connect_ns = NEVER;
	a->on = true;
	/* As an agent asks: enough to be at work while an answer is on its way. */
	if (length < 1000)
		ahead = ceil(a->limit * (2 * s->c->latency_ms + 1) / length);
	kn_fleet_up(&s->fleet, h, s->now);
	kn_fleet_credit(&s->fleet, h, a->limit, a->limit + (unsigned)ahead);
}

static void
agent_event(struct sim *s, struct agent *a)
{
	if (a->fault_ns <= s->now)
		agent_fault(s, a);
	if (a->connect_ns <= s->now)
		connected(s, a);
	if (a->closed_ns <= s->now)
		lost(s, (uint32_t)(a - s->agents), false);
	agent_work(s, a);
	received(s, a);
	agent_due(s, a);
}

static void
due(struct sim *s, int64_t *ret_next)
{
	enum kn_fleet_do what;
	struct agent *a;
	struct job *j;
	uint32_t h;

	while ((what = kn_fleet_due(&s->fleet, s->now, &h, ret_next)) != KN_FLEET_NOTHING) {
		a = &s->agents[h];
		switch (what) {
		case KN_FLEET_CONNECT:
			kn_fleet_connecting(&s->fleet, h, s->now);
			a->connect_ns = s->now + 6 * a->latency_ns + (int64_t)(uniform(s) * 200e6);
			a->refused = uniform(s) < s->c->refuse;
			break;
		case KN_FLEET_PING:
			if (a->on) {
				j = job_new(s);
				j->generation = a->generation;
				j->arrive_ns = s->now + a->latency_ns;
				push(&a->in, j);
			}
			break;
		case KN_FLEET_TOO_LATE:
		case KN_FLEET_SILENT:
		case KN_FLEET_NO_CREDIT:
			lost(s, h, false);
			break;
		case KN_FLEET_SET_ASIDE:
			s->aside++;
			break;
		case KN_FLEET_ALL_GONE:
			s->gone = true;
			return;
		case KN_FLEET_NOTHING:
			break;
		}
		agent_due(s, a);
	}
}

static struct kn_task *
task_make(struct sim *s)
{
	const struct knee_input none = { 0 };
	struct kn_task *t = kn_task_new(s->next_seq++, &none, sizeof(struct at));

	if (t == NULL)
		abort();
	*at_of(t) = (struct at){ .last = KN_FLEET_ANY };
	at_of(t)->length_ns = (int64_t)(s->c->task_ms * (0.5 + uniform(s)) * 1e6) + 1;
	s->work_ns += (double)at_of(t)->length_ns;
	if (++s->live > s->live_peak)
		s->live_peak = s->live;
	kn_sched_add(&s->sched, t);
	return t;
}

/* True when one was given. */
static bool
give(struct sim *s)
{
	struct kn_task *t = kn_sched_next(&s->sched, 0);
	uint32_t h = kn_fleet_pick(&s->fleet, KN_FLEET_ANY, t != NULL ? at_of(t)->last : KN_FLEET_ANY);
	struct agent *a;
	struct job *j;

	if (h == KN_FLEET_ANY || (t == NULL && s->next_seq == s->c->tasks))
		return false;
	if (t == NULL)
		t = task_make(s);
	if (s->next_seq == s->c->tasks && s->drained_ns == 0)
		s->drained_ns = s->now;
	if (kn_sched_prepare(&s->sched, t) < 0)
		abort();
	(void)kn_sched_event(&s->sched, t, KN_HAND, s->now);
	a = &s->agents[h];
	*at_of(t) = (struct at){ .host = h, .last = at_of(t)->last, .length_ns = at_of(t)->length_ns };
	at_of(t)->next = a->tasks;
	if (a->tasks != NULL)
		at_of(a->tasks)->prev = t;
	a->tasks = t;
	s->given++;
	kn_fleet_gave(&s->fleet, h);
	if (!a->on) /* it goes to somebody who is not there any more */
		return true;
	j = job_new(s);
	j->task = t;
	j->generation = a->generation;
	j->length_ns = at_of(t)->length_ns;
	j->arrive_ns = s->now + a->latency_ns;
	push(&a->in, j);
	agent_due(s, a);
	return true;
}

/* ---- a run ------------------------------------------------------------------------------ */

static void
start(struct sim *s, const struct fleet_case *c, uint64_t seed)
{
	static const struct knee_term_step step = { 15, 0 };
	const struct kn_rules rules = {
		.attempts = c->attempts, .backoff_ns = 100 * MS, .term_seq = &step, .nterm_seq = 1
	};
	const struct kn_fleet_rules fleet = { .timeout_ns = 10 * SECOND,
		.connect_ns = 10 * SECOND,
		.connect_most = 50,
		.tries = c->dies ? 3 : 12 };

	*s = (struct sim){ .c = c, .rnd = { seed * 2654435761u + 1 } };
	s->agents = calloc(c->hosts, sizeof(*s->agents));
	s->seen = calloc(c->tasks / 8 + 1, 1);
	if (s->agents == NULL || s->seen == NULL || kn_sched_init(&s->sched, &rules) < 0 ||
	    kn_fleet_init(&s->fleet, c->hosts, &fleet, seed) < 0)
		abort();
	for (uint32_t h = 0; h < c->hosts; h++) {
		struct agent *a = &s->agents[h];

		a->limit = c->limit + (c->mixed ? rnd_below(&s->rnd, c->limit + 1) : 0);
		a->speed = c->speeds != NULL ? c->speeds[h] : c->mixed ? 0.25 + 0.75 * uniform(s) : 1;
		a->latency_ns = (int64_t)(c->latency_ms * 1e6);
		a->black = h < c->black;
		a->connect_ns = a->closed_ns = NEVER;
		a->fault_ns = soon(s, c->fault_s);
		agent_due(s, a);
	}
}

static void
finish(struct sim *s)
{
	struct job *j;

	for (uint32_t h = 0; h < s->c->hosts; h++) {
		agent_clear(s, &s->agents[h]);
		kn_heap_done(&s->agents[h].running);
	}
	while ((j = s->spare) != NULL) {
		s->spare = j->next;
		free(j);
	}
	kn_sched_done(&s->sched);
	kn_fleet_done(&s->fleet);
	kn_heap_done(&s->events);
	free(s->agents);
	free(s->seen);
}

static void
run(struct sim *s)
{
	struct kn_heap_node *n;
	struct kn_task *t;
	int64_t next = 0;

	while (!s->gone && s->sched.done < s->c->tasks) {
		s->turns++;
		while ((t = kn_sched_due(&s->sched, s->now)) != NULL)
			(void)kn_sched_event(&s->sched, t, KN_DEADLINE, s->now);
		due(s, &next);
		while (give(s))
			;
		n = kn_heap_top(&s->events);
		next = earlier(earlier(next, kn_sched_next_ns(&s->sched)), n != NULL ? n->key : NEVER);
		if (next == NEVER)
			return;
		if (next > s->now)
			s->now = next;
		while ((n = kn_heap_top(&s->events)) != NULL && n->key <= s->now)
			agent_event(s, (struct agent *)(void *)n);
	}
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long
rss_kib(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

/* What all could do, were they there from the beginning and never idle. */
static double
ideal_s(const struct sim *s)
{
	double power = 0;

	for (uint32_t h = 0; h < s->c->hosts; h++)
		if (!s->agents[h].black)
			power += s->agents[h].limit * s->agents[h].speed;
	return s->work_ns / 1e9 / power;
}

static void
check(const struct sim *s, double took, uint64_t seed)
{
	const struct fleet_case *c = s->c;
	uint64_t want = 0, results = 0;
	double makespan = (double)s->now / 1e9, slowest = 0;

	for (uint32_t h = 0; h < c->hosts; h++) {
		want += 3 * s->agents[h].limit +
		    (unsigned)(s->agents[h].limit * (2 * c->latency_ms + 1) / c->task_ms * 4);
		slowest = fmax(slowest, 1.5 * c->task_ms / 1e3 / s->agents[h].speed);
	}
	for (uint64_t i = 0; i < c->tasks; i++)
		results += s->seen[i / 8] >> i % 8 & 1;
	diag("%s, seed %" PRIu64 ": %.1f s, ideal %.1f (%.3f), tail %.2f s, slowest task %.2f s", c->name,
	    seed, makespan, ideal_s(s), ideal_s(s) / makespan, makespan - (double)s->drained_ns / 1e9,
	    slowest);
	diag("  %.0f tasks for each second of processor time, %" PRIu64 " turns, %" PRIu64
	     " tasks in memory at most, %ld MiB; lost %" PRIu64 ", set aside %" PRIu64 ", given %" PRIu64
	     ", failed %" PRIu64 ", late %" PRIu64,
	    (double)s->sched.done / took, s->turns, s->live_peak, rss_kib() / 1024, s->lost, s->aside,
	    s->given, s->sched.failed, s->late);
	is_int(s->twice, 0, "%s: no task has two results", c->name);
	is_int(s->gone, c->dies, "%s: all are gone, or not", c->name);
	is_int(results, s->sched.done, "%s: results are what the scheduler counts", c->name);
	if (!c->dies)
		is_int(results, c->tasks, "%s: each task has one", c->name);
	/* Those that wait for another attempt are still there. */
	want += 64 * c->black;
	ok(s->live_peak <= want + 1, "%s: no more tasks in memory than are wanted (%" PRIu64 ")", c->name,
	    want);
	is_int(s->aside, c->black, "%s: set aside are those that fail all", c->name);
	if (c->black > 0)
		is_int(s->sched.failed, 0, "%s: and no task failed by them in the end", c->name);
	if (c->ideal > 0)
		ok(ideal_s(s) / makespan >= c->ideal, "%s: %.3f of the ideal split, at least %.2f", c->name,
		    ideal_s(s) / makespan, c->ideal);
	if (c->fault_s == 0 && c->black == 0)
		ok(makespan - (double)s->drained_ns / 1e9 <= 2 * slowest + 1, "%s: the tail is short",
		    c->name);
}

static void
run_case(const struct fleet_case *c, uint64_t seed)
{
	double began = seconds();
	struct sim s;

	start(&s, c, seed);
	run(&s);
	check(&s, seconds() - began, seed);
	finish(&s);
}

int
main(int argc, char **argv)
{
	const char *only = NULL;
	uint64_t seed = 1, hosts = 0, tasks = 0;
	bool table = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--table") == 0)
			table = true;
		else if (strcmp(argv[i], "--case") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--hosts") == 0 && i + 1 < argc)
			hosts = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--tasks") == 0 && i + 1 < argc)
			tasks = strtoull(argv[++i], NULL, 10);
		else
			return fprintf(stderr,
				   "usage: test_fleet_sim [--table] [--case NAME] [--seed N] "
				   "[--hosts N] [--tasks N]\n"),
			       2;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fleet_case c = cases[i];

		if (only != NULL ? strcmp(only, c.name) != 0 : c.large && !table)
			continue;
		if (hosts > 0 && c.speeds == NULL)
			c.hosts = (uint32_t)hosts;
		if (tasks > 0)
			c.tasks = tasks;
		run_case(&c, seed);
	}
	return done_testing();
}

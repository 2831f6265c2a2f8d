/* SPDX-License-Identifier: MIT */
/*
 * The tuner alone, on simulated services whose best number is known. A program keeps as many units at
 * work as it is told to; time is a number, and chance comes from a seed: the same run each time.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include <knee.h>
#include "../../src/tune/observer.h"
#include "alloc.h"
#include "random.h"
#include "tap.h"

#define MS ((int64_t)1000000)
#define S (1000 * MS)
#define UNITS 4096

/* What a unit of work meets. */
struct world {
	const char *name;
	double length_ms; /* of one that is alone, by half more or less */
	bool random;      /* any length (exponential) */
	double slots;     /* the service gets no faster with more than this; 0: it does */
	double cpu;       /* share of a unit's work that is computing, on so many cores: */
	double cores;
	unsigned refuses;       /* more than this at once are told so; 0: never */
	bool cpu_unknown, idle; /* its processor time is not known; no more wants to run than at the start */
	bool lengths, delay;    /* it tells each one's length; how long they waited for a core */
	double taken;           /* cores that others take */
	enum knee_kind hint;
	unsigned start, most;
	int64_t every_ns; /* it asks so often, whatever is wanted; 0: as is wanted */
};

struct unit {
	double left_ns; /* of its work, alone */
	int64_t began_ns;
	bool refused;
};

struct program {
	const struct world *w;
	struct rnd rnd;
	struct kn_observer observer;
	struct unit units[UNITS];
	int64_t starts[UNITS];
	unsigned running, limit;
	int64_t now_ns, ask_ns;
	uint64_t done, refused;
	double cpu_ns, delay_ns;
	bool verbose;
};

static double
size_ns(struct program *p)
{
	double u = (double)(1 + rnd_below(&p->rnd, 1000000)) / 1000001;

	return p->w->length_ms * 1e6 * (p->w->random ? -log(u) : 0.5 + u);
}

static void
fill(struct program *p)
{
	const struct world *w = p->w;
	unsigned most = w->idle && p->limit > w->start ? w->start : p->limit;

	while (p->running < most && p->running < UNITS) {
		bool refused = w->refuses > 0 && p->running >= w->refuses;

		p->units[p->running++] = (struct unit){
			.left_ns = refused ? 1e6 : size_ns(p),
			.began_ns = p->now_ns,
			.refused = refused,
		};
	}
}

/* How fast each is, for want of cores: all that are there share what others leave. */
static double
core_speed(const struct program *p)
{
	const struct world *w = p->w;
	double cores = w->cores - w->taken, want = p->running * w->cpu;

	return want > cores ? cores / want : 1;
}

/* ... and of the service. */
static double
speed(const struct program *p)
{
	double slots = p->w->slots, n = p->running;

	return fmin(slots > 0 && n > slots ? slots / n : 1, core_speed(p));
}

static void
unit_ends(struct program *p, unsigned i)
{
	struct unit *u = &p->units[i];

	p->done++;
	p->refused += u->refused;
	if (p->w->lengths)
		kn_observer_length(&p->observer, u->began_ns, p->now_ns);
	*u = p->units[--p->running];
}

/* Up to the next end of a unit, or until_ns. */
static void
step(struct program *p, int64_t until_ns)
{
	double fast = speed(p), next_ns = (double)(until_ns - p->now_ns);

	for (unsigned i = 0; i < p->running; i++)
		next_ns = fmin(next_ns, p->units[i].left_ns / (p->units[i].refused ? 1 : fast));
	next_ns = ceil(fmax(1, next_ns));
	p->now_ns += (int64_t)next_ns;
	p->cpu_ns += p->running * fast * p->w->cpu * next_ns;
	p->delay_ns += p->running * (1 - core_speed(p)) * next_ns;
	for (unsigned i = p->running; i-- > 0;) {
		struct unit *u = &p->units[i];

		u->left_ns -= next_ns * (u->refused ? 1 : fast);
		if (u->left_ns <= 0)
			unit_ends(p, i);
	}
	fill(p);
}

static void
ask(struct program *p)
{
	const struct world *w = p->w;
	struct kn_observed now = {
		.now_ns = p->now_ns,
		.running = p->running,
		.done = p->done,
		.refused = p->refused,
		.cpu_ns = w->cpu_unknown ? -1 : (int64_t)p->cpu_ns,
		.delay_ns = w->delay ? (int64_t)p->delay_ns : -1,
		.left = w->idle ? 0 : UINT64_MAX,
		.starts_ns = w->lengths ? p->starts : NULL,
		.nstarts = w->lengths ? p->running : 0,
	};
	unsigned limit;

	for (unsigned i = 0; i < p->running; i++)
		p->starts[i] = p->units[i].began_ns;
	limit = kn_observer_tell(&p->observer, &now);
	if (p->verbose && limit != p->limit)
		diag("%7.2f s: %u -> %u (%u run, phase %d, why %d)", (double)p->now_ns / 1e9, p->limit, limit,
		    p->running, (int)p->observer.limiter.phase, (int)p->observer.limiter.why);
	p->limit = limit;
	p->ask_ns = w->every_ns > 0 ? p->now_ns + w->every_ns : kn_observer_due_ns(&p->observer);
}

static void
begin(struct program *p, const struct world *w, uint64_t seed)
{
	const struct kn_observer_options options = {
		.cores = w->cores > 0 ? w->cores : 4,
		.most = w->most > 0 ? w->most : UNITS,
		.hint = w->hint,
	};

	*p = (struct program){ .w = w, .rnd = { seed | 1 }, .now_ns = S, .limit = w->start };
	p->verbose = getenv("VERBOSE") != NULL;
	kn_observer_init(&p->observer, &options);
	fill(p);
	ask(p);
}

/* Go on for so long; the mean number at once over the last half of it. */
static double
go_on(struct program *p, int64_t length_ns)
{
	int64_t end_ns = p->now_ns + length_ns;
	int64_t before_ns;
	double sum = 0, time = 0;

	while (p->now_ns < end_ns) {
		before_ns = p->now_ns;
		step(p, p->ask_ns < end_ns ? p->ask_ns : end_ns);
		if (before_ns > end_ns - length_ns / 2) {
			sum += p->limit * (double)(p->now_ns - before_ns);
			time += (double)(p->now_ns - before_ns);
		}
		if (p->now_ns >= p->ask_ns)
			ask(p);
	}
	return sum / time;
}

/* Five runs of so long: all are to settle from .. to. */
static void
settles(const struct world *w, int64_t length_ns, double from, double to)
{
	struct program *p = malloc(sizeof(*p));
	double mean, most = 0, least = INFINITY;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		begin(p, w, seed * 7919);
		mean = go_on(p, length_ns);
		most = fmax(most, mean);
		least = fmin(least, mean);
	}
	ok(least >= from && most <= to, "%s: at %.1f to %.1f, wanted %.1f to %.1f", w->name, least, most,
	    from, to);
	free(p);
}

static void
test_services(void)
{
	struct world w = { .name = "20 at once, 50 ms", .length_ms = 50, .slots = 20, .start = 4 };

	settles(&w, 120 * S, 19, 30);
	w.name = "... asked twice a second";
	w.every_ns = 500 * MS;
	settles(&w, 120 * S, 19, 30);
	w.every_ns = 0;
	w.name = "... from 200";
	w.start = 200;
	settles(&w, 120 * S, 19, 40);
	w.start = 4;
	w.name = "... of any length";
	w.random = true;
	settles(&w, 120 * S, 19, 45);
	w.name = "... 3 ms";
	w.length_ms = 3;
	settles(&w, 120 * S, 19, 40);
	w.name = "... 1 s";
	w.length_ms = 1000;
	settles(&w, 600 * S, 19, 60);
	w.name = "... whose lengths are told";
	w.length_ms = 200;
	w.lengths = true;
	settles(&w, 120 * S, 19, 100);
	w.name = "... no more than 10 allowed";
	w.most = 10;
	settles(&w, 120 * S, 8, 10);
}

static void
test_cores(void)
{
	struct world w = {
		.name = "computing on 4 cores", .length_ms = 10, .cpu = 1, .cores = 4, .start = 4
	};

	settles(&w, 20 * S, 4, 4);
	w.name = "... from 1";
	w.start = 1;
	settles(&w, 20 * S, 4, 4);
	w.name = "... from 64";
	w.start = 64;
	settles(&w, 20 * S, 4, 4);
	w.name = "... of which others take 2, as is told";
	w.taken = 2;
	w.delay = true;
	settles(&w, 20 * S, 4, 4);
	w.start = 4;
	settles(&w, 20 * S, 4, 4);
	w = (struct world){ .name = "computing half of the time", .length_ms = 10, .cpu = 0.5, .cores = 4 };
	w.start = 4;
	settles(&w, 60 * S, 7, 11);
	w.name = "computing, which is not told";
	w.cpu = 1;
	w.cpu_unknown = true;
	settles(&w, 120 * S, 3.5, 8);
}

static void
test_others(void)
{
	struct world w = { .name = "more than 12 are refused", .length_ms = 30, .refuses = 12, .start = 4 };

	settles(&w, 120 * S, 10, 12.5);
	w.random = true;
	w.name = "... of any length";
	settles(&w, 120 * S, 10, 12.5);
	w = (struct world){ .name = "a lock", .length_ms = 10, .slots = 1, .start = 1 };
	settles(&w, 120 * S, 1, 2);
	w.name = "... from 8";
	w.start = 8;
	settles(&w, 120 * S, 1, 4);
	w.name = "nothing waits to be begun: nothing is tried";
	w.idle = true;
	settles(&w, 20 * S, 8, 8);
}

/* Waits for a service, then computes, then waits again. */
static void
test_change(void)
{
	struct world w = { .length_ms = 20, .slots = 20, .cores = 4, .start = 4 };
	struct program *p = malloc(sizeof(*p));
	double mean;

	begin(p, &w, 1);
	mean = go_on(p, 120 * S);
	ok(mean >= 19 && mean <= 40, "waiting: %.1f at once", mean);
	w.slots = 0;
	w.cpu = 1;
	mean = go_on(p, 20 * S);
	ok(mean >= 4 && mean <= 4, "then it computes: %.1f", mean);
	w.slots = 20;
	w.cpu = 0;
	mean = go_on(p, 120 * S);
	ok(mean >= 19 && mean <= 40, "then it waits again: %.1f", mean);
	free(p);
}

static void
test_bounds(void)
{
	const struct kn_observer_options options = { .cores = 4, .asked = 7 };
	struct kn_observed o = { .now_ns = S, .running = 3, .cpu_ns = -1, .delay_ns = -1, .left = 20 };
	struct kn_observer t;
	bool same = true;

	kn_observer_init(&t, &options);
	for (unsigned i = 0; i < 100; i++, o.now_ns += 100 * MS, o.done += 10)
		same &= kn_observer_tell(&t, &o) == 7;
	ok(same, "a number that is given stays");
	kn_observer_init(
	    &t, &(struct kn_observer_options){ .cores = 4, .most = 100, .hint = KNEE_KIND_WAIT });
	o.cpu_ns = 0;
	is_int(kn_observer_tell(&t, &o), 3, "what runs is the start");
	o.now_ns += 50 * MS;
	is_int(kn_observer_tell(&t, &o), 23, "few that wait run all at once");
}

static void
test_public(void)
{
	struct knee_observation o = { .now_ns = 5 * S, .running = 2, .cpu_ns = 0, .queued = 1 };
	knee_tuner *t = NULL;
	int64_t next_ns = 0;

	is_int(knee_tuner_new(&(struct knee_threads){ .kind = KNEE_KINDS }, &t), -EINVAL, "no such kind");
	alloc_fail_at = 1;
	alloc_count = 0;
	is_int(knee_tuner_new(NULL, &t), -ENOMEM, "no memory");
	alloc_fail_at = 0;
	ok(t == NULL, "both leave it alone");
	is_int(knee_tuner_new(NULL, &t), 0, "all by default");
	is_int(knee_tuner_observe(t, &o, &next_ns), 2, "begins with what runs");
	ok(next_ns > o.now_ns && next_ns <= o.now_ns + S, "and wants to be told again soon");
	is_int(knee_tuner_observe(t, &o, NULL), 2, "the same again is no harm");
	o.now_ns -= S;
	is_int(knee_tuner_observe(t, &o, NULL), 2, "nor is a clock that falls");
	knee_tuner_free(t);
	is_int(knee_tuner_new(&(struct knee_threads){ .limit = UINT_MAX }, &t), 0, "as many as it wants");
	is_int(knee_tuner_observe(t, &o, NULL), UINT_MAX, "is what it says");
	knee_tuner_free(t);
	knee_tuner_free(NULL);
}

int
main(void)
{
	test_services();
	test_cores();
	test_others();
	test_change();
	test_bounds();
	test_public();
	return done_testing();
}

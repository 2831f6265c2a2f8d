/* SPDX-License-Identifier: MIT */
/*
 * What has been gathered at one limit, and the throughput that it shows: by the slope of progress, or by
 * the lengths of tasks. It knows nothing of other numbers, and decides nothing. Part of limiter.c.
 */
#ifndef KN_WINDOW_H
#define KN_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* Lengths that one window keeps. */
#define KN_LENGTHS 192

/* No standard error is taken to be less. */
#define KN_SE_MIN 0.02

struct kn_tick;                     /* limiter.h */

struct kn_window {
	int64_t begin_ns;           /* tasks started and work done since then count; 0: not begun */
	int64_t asked_ns;           /* when the limit was set */
	int64_t from_ns;            /* the lengths of tasks started since then count */
	int64_t full_ns;            /* when as many ran as the limit says; 0: not yet */
	bool raised;                /* the tasks that came with the step up are among them */
	unsigned n;                 /* rates gathered */
	double sum, sum2;           /* of the rates */
	double area, time;          /* of running over time; time in ns */
	double cpu;                 /* of the share of cores busy, over time */
	double lengths[KN_LENGTHS]; /* ln of ns, of tasks started in it */
	int64_t started_ns[KN_LENGTHS]; /* of the same */
	unsigned nlengths;
	unsigned ended;             /* all of them */
	double need;                /* the standard error that is wanted */
	double factor;              /* of its length: random, so that two runs do not keep step */
	uint64_t seed;              /* of that; never 0 */
};

/* The throughput at a limit, in the class's unit. */
struct kn_estimate {
	double lnx, se;             /* its natural logarithm, and the standard error of that */
	bool some;                  /* shows the gross of it */
	bool enough;                /* may be judged */
	bool full;                  /* as good as it will get */
	bool fine;                  /* ... or as good as is wanted */
};

/* Begin anew: the limit has just been set, or what was gathered is of no use. Keeps the seed. */
void kn_window_reset(struct kn_window *w, double need, int64_t now_ns);
/* A task has ended. */
void kn_window_length(struct kn_window *w, int64_t started_ns, int64_t runtime_ns);
/* Take a tick into it. False when nothing is measured yet. */
bool kn_window_gather(struct kn_window *w, unsigned limit, const struct kn_tick *t);
/* False when it shows nothing. thorough: take all the lengths that it can keep, where few are coarse. */
bool kn_window_estimate(const struct kn_window *w, unsigned limit, bool thorough, const struct kn_tick *t,
    struct kn_estimate *ret);
/* Leave out the tasks that came with the step up; false: none of them counts any more. */
bool kn_window_later(struct kn_window *w, const struct kn_tick *t);
/* Share of the cores that was busy; < 0: unknown. */
double kn_window_cpu(const struct kn_window *w, const struct kn_tick *t);
/* A rate is of so much time: when the next tick should come. */
int64_t kn_window_part_ns(const struct kn_window *w, const struct kn_tick *t);

#endif

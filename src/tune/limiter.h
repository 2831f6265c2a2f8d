/* SPDX-License-Identifier: MIT */
/*
 * The limit of one class: a search for the smallest number at once whose throughput is within 2 %
 * of the best one's. Pure: it is told how far the work has come and what was seen, and sets its
 * limit. limiter.c has the law.
 */
#ifndef KN_LIMITER_H
#define KN_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "levels.h"
#include "why.h"
#include "window.h"

enum kn_phase {
	KN_PHASE_MODEL,             /* no search: the number is given */
	KN_PHASE_BASE,              /* measures where it stands */
	KN_PHASE_RAMP,              /* measures the next higher number */
	KN_PHASE_CONFIRM,           /* no gain was seen: measures the lower number again */
	KN_PHASE_REFINE,            /* measures between known numbers */
	KN_PHASE_HOLD,              /* runs at the best */
	KN_PHASE_PROBE,             /* looks whether another is better by now */
	KN_PHASE_BACK,              /* and measures the best again */
};

/* One tick: what happened since the last. */
struct kn_tick {
	int64_t now_ns, elapsed_ns;
	double running;             /* on average since the last tick */
	unsigned running_now;
	double work;                /* progress in any unit that stays; < 0: cannot be seen, use lengths */
	bool counts;                /* it is whole tasks, counted when they end: as coarse as lengths */
	double cpu_frac;            /* share of the usable cores that is busy; < 0: unknown */
	const double *ages;         /* ln of ns that running tasks have run, of those started in the window */
	size_t nages;
	size_t nages_all;           /* how many there are; ages may hold a part of them */
	double runtime_ns;          /* mean of a task; 0: unknown */
	uint64_t left;              /* tasks not started; UINT64_MAX: no end in sight */
	uint64_t done;              /* of this class */
	bool may_raise;             /* no guard objects */
	bool waits;                 /* its tasks wait and use next to nothing: trying more is cheap */
	bool starved;               /* nothing was there to be started: the limit was not in the way */
};

struct kn_limiter {
	unsigned limit;             /* tasks at once, min..max */
	unsigned min, max;
	enum kn_phase phase;
	enum kn_why why;            /* of the last change */
	double figure[3];
	int64_t due_ns;             /* of the next tick */

	unsigned base;              /* the number that the search stands on; 0: none measured */
	double growth;              /* of the present step */
	bool blind;                 /* raised without proof, and not compared with less yet */
	unsigned top;               /* known not to help or to harm: the ramp stays below; 0: none */
	unsigned refused;           /* a service said that it is too many; 0: none did */
	double cpu_share;           /* of a task's time: steps grow to what the cores still hold */
	struct kn_window window;    /* what has been gathered at the present limit */
	struct kn_levels levels;    /* what was found of each number */

	double before;              /* lnx of the best, measured before a probe */
	double before_se;
	unsigned probe;             /* the number that is or was probed */
	double probe_lnx, probe_se;
	unsigned hold_windows, hold_wait;   /* windows held, and to hold before the next probe */
	int probe_up;               /* the direction of the next: 1, -1 */
	unsigned shifted;           /* windows in a row far from the known throughput */
	unsigned contradicted;      /* probes in a row that won */
	unsigned ceiling;           /* after a guard lowered it; 0: none */
	int64_t ceiling_until_ns;
	unsigned backed;            /* from where it did, the last time; 0: it did not */

	int64_t begin_ns;
	double lost_ns;             /* what probes have cost */
	unsigned free_probes;       /* that may be made beyond the budget */
	double lost_max_ns;         /* what they may cost by now */
	double same_errors;
};

struct kn_limiter_start {
	unsigned start, min, max;
	bool search;                /* false: the number is given, from outside */
	bool known;                 /* start was found in an earlier run: hold it first */
	double cpu_share;
	double same_errors;         /* numbers are equal within so many standard errors; 0: the usual */
	uint64_t seed;
	enum kn_why why;
};

void kn_limiter_init(struct kn_limiter *l, const struct kn_limiter_start *start, int64_t now_ns);
/* The numbers that are allowed from now on. True when the limit had to move. */
bool kn_limiter_bounds(struct kn_limiter *l, unsigned min, unsigned max, enum kn_why why, int64_t now_ns);
/* A given number (phase MODEL). True when it is another one. */
bool kn_limiter_set(struct kn_limiter *l, unsigned limit, enum kn_why why, int64_t now_ns);
/* A task has ended. */
void kn_limiter_length(struct kn_limiter *l, int64_t started_ns, int64_t runtime_ns);
/* Decide; true when there is something to say: limit, why and figure. */
bool kn_limiter_tick(struct kn_limiter *l, const struct kn_tick *tick);
/* A guard asks to run at most `to`, and to stay below the present number for a while. */
void kn_limiter_back_off(struct kn_limiter *l, unsigned to, enum kn_why why, int64_t now_ns);
/* The work has changed: forget what was measured and search again from the present limit. */
void kn_limiter_restart(struct kn_limiter *l, enum kn_why why, int64_t now_ns);

/* Other tasks count from now on: the present window begins anew. */
void kn_limiter_disturb(struct kn_limiter *l, int64_t now_ns);
/* Tasks whose length the window counts started at or after this. */
int64_t kn_limiter_window_ns(const struct kn_limiter *l);
/* The smallest number within 2 % of the best, NULL when none was measured. */
const struct kn_level *kn_limiter_best(const struct kn_limiter *l);
bool kn_limiter_settled(const struct kn_limiter *l);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The tuner of work that is not seen task by task: a loop's threads, a server's own pool. It is told
 * sums (units that ended, processor time), classifies by them and searches by the limiter's law. Pure.
 *
 *	sums --> share of a unit's time on a core --> kind --> the cores by the model, or the search
 */
#ifndef KN_OBSERVER_H
#define KN_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <knee_program.h>
#include "limiter.h"

#define KN_OBSERVER_AGES 256

struct kn_observer_options {
	double cores;               /* usable */
	unsigned asked;             /* the number is given; 0: found */
	unsigned most;              /* of what is found, >= 1 */
	enum knee_kind hint;
	int64_t look_ns;            /* how often what it is may be looked at; 0: as is usual */
};

/* What has happened so far, and is now. */
struct kn_observed {
	int64_t now_ns;
	unsigned running;
	uint64_t done, refused;     /* refused ones are done, too */
	int64_t cpu_ns;             /* < 0: not known */
	int64_t delay_ns;           /* ready to run, waiting for a core; < 0: not known */
	uint64_t left;              /* units not begun; 0: nothing waits; UINT64_MAX: no end in sight */
	const int64_t *starts_ns;   /* of units that run; NULL: the observer is not told lengths */
	size_t nstarts;
};

/* Sums since some moment. */
struct kn_observer_sums {
	int64_t since_ns;
	double area;                /* of running over time, ns */
	double done, cpu_ns, delay_ns;
};

struct kn_observer {
	struct kn_observer_options options;
	struct kn_limiter limiter;
	struct kn_observed last;    /* now_ns 0: none yet. Its pointer is not used */
	struct kn_observer_sums look, tick;
	double length_ns;           /* mean of a unit, by Little's law; 0: not known */
	double length_area, length_done;    /* what it comes from; older ones fade */
	int64_t begin_ns;

	enum knee_kind kind, next;  /* what it is taken for; what the last looks say */
	unsigned looks, agreed;     /* looks in all; that say `next`, in a row */
	int64_t next_ns;            /* since when they do */
	double share;               /* of a unit's time that it would compute alone */
	double alone;               /* the same, seen while cores were free; < 0: it was not */
	unsigned model;             /* what the model says, and since when */
	int64_t model_ns;
	bool must_search;           /* no model for few: a service has refused */

	bool by_lengths;            /* how throughput is measured */
	unsigned lengths_agreed;    /* ticks in a row at which the other way was the right one */
	bool backed;                /* it was lowered, and units that began before may still be refused */
	uint64_t backed_done;       /* until so many have ended well, */
	int64_t backed_until_ns;    /* or then */
	double ages[KN_OBSERVER_AGES];
};

void kn_observer_init(struct kn_observer *o, const struct kn_observer_options *options);
/* A unit that began at started_ns is done; to be told as well as the sums. */
void kn_observer_length(struct kn_observer *o, int64_t started_ns, int64_t now_ns);
/* How many at once from now on. The number to begin with is what runs at the first call. */
unsigned kn_observer_tell(struct kn_observer *o, const struct kn_observed *now);
/* When the next call is wanted. */
int64_t kn_observer_due_ns(const struct kn_observer *o);

#endif

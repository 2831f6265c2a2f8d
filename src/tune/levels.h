/* SPDX-License-Identifier: MIT */
/*
 * The numbers at once that were measured, and the throughput found at each. Pure figures: what is measured,
 * and when, others decide. Part of limiter.c.
 */
#ifndef KN_LEVELS_H
#define KN_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers that were measured are kept, the oldest forgotten first. */
#define KN_LEVELS 24

/* Numbers this close to the best throughput are as good. */
#define KN_SAME 0.02

/* Of d ln throughput / d ln number: it rises nearly in proportion. */
#define KN_STEEP 0.7

/* The throughput at one number at once. */
struct kn_level {
	unsigned n;
	double lnx;                 /* natural logarithm of the throughput, in the class's unit */
	double se;                  /* of lnx */
	int64_t at_ns;
};

/* Invariant: rising by their number, each of which is there once. {0} is empty. */
struct kn_levels {
	struct kn_level at[KN_LEVELS];
	unsigned n;
};

/* What was measured of n now: in place of what was known of it, */
void kn_levels_put(struct kn_levels *v, unsigned n, double lnx, double se, int64_t now_ns);
/* or together with that, unless that is of another time. */
void kn_levels_add(struct kn_levels *v, unsigned n, double lnx, double se, int64_t now_ns);
/* Throughput has moved with the number unchanged: the work did, and all numbers with it. */
void kn_levels_shift(struct kn_levels *v, double by);
/* Forget the numbers below n; n and those above. */
void kn_levels_drop_below(struct kn_levels *v, unsigned n);
void kn_levels_drop_from(struct kn_levels *v, unsigned n);

/* The level of n, or NULL. */
const struct kn_level *kn_levels_find(const struct kn_levels *v, unsigned n);
/* The highest number below n, or 0. */
unsigned kn_levels_below(const struct kn_levels *v, unsigned n);
/* The smallest number up to max that is as good as the best of them, NULL when there is none. Where measuring
 * is coarse, as good is within so many standard errors. */
const struct kn_level *kn_levels_best(const struct kn_levels *v, unsigned max, double same_errors);
/* Is this one, the best up to max, known coarsely, and another may be as good? */
bool kn_levels_doubtful(const struct kn_levels *v, const struct kn_level *best, unsigned max);
/* Does throughput rise nearly in proportion from the next lower number up to n? */
bool kn_levels_steep(const struct kn_levels *v, unsigned n);

#endif

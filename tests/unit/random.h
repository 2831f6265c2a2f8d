/* SPDX-License-Identifier: MIT */
/* Random numbers for tests that a seed repeats: xorshift64*. */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

struct rnd {
	uint64_t state;             /* never 0 */
};

/* $SEED, or one that differs from run to run. */
static inline uint64_t
rnd_seed(void)
{
	const char *s = getenv("SEED");

	return s != NULL ? strtoull(s, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)clock();
}

static inline uint64_t
rnd_next(struct rnd *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 2685821657736338717u;
}

/* 0 .. n-1 */
static inline unsigned
rnd_below(struct rnd *r, unsigned n)
{
	return (unsigned)(rnd_next(r) >> 33) % n;
}

#endif

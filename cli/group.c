/* SPDX-License-Identifier: MIT */
/*
 * A command is taken to cost startup + inputs * each. Both come from a line through what was
 * measured, each size weighted by what its results say in proportion (a long command varies by
 * more nanoseconds than a short one). What start-up costs is seen in small commands alone: in one
 * of a thousand inputs it is less than the noise. So results are kept by size, they fade mostly when
 * newer ones of that size come, and now and then a command gets far fewer inputs, or some more, to
 * renew them.
 *
 * Sizes grow at most sixteenfold beyond what a result has come of: an estimate from some quick
 * commands is not worth more. Once the end is seen, inputs are dealt in rounds, one command to each
 * slot, half of what is left in each (Hummel, Schonberg and Flynn, "Factoring", 1992); when start-up
 * would be too much of such a command, the rest is dealt in one round.
 */
#include "group.h"

#include <limits.h>
#include <math.h>

/* The weight that an older result keeps when one of its size comes. */
#define KEEPS 0.9
/* ... and when one of any size comes: the costs may have changed since. */
#define KEEPS_OTHER 0.99
/* start-up : work = 1 : 19 */
#define WORK_PER_STARTUP 19.0
/* A shorter command would cost the runner's own work too often, where there is a start-up at all. */
#define RUNTIME_LEAST_NS 2e8
#define GROWTH 16
#define RENEW_EVERY 32
/* In the rounds toward the end start-up : work = 1 : 2 at most. */
#define WORK_LEAST 2.0

void
group_result(struct group *g, unsigned inputs, int64_t runtime_ns)
{
	struct group_bin *b;
	unsigned i = 0;

	if (inputs == 0 || runtime_ns < 0)
		return;
	while (i < GROUP_BINS - 1 && inputs >> i > 1)
		i++;
	for (unsigned j = 0; j < GROUP_BINS; j++)
		g->bins[j].n *= KEEPS_OTHER;
	b = &g->bins[i];
	b->inputs = (b->inputs * b->n * KEEPS + inputs) / (b->n * KEEPS + 1);
	b->runtime_ns = (b->runtime_ns * b->n * KEEPS + (double)runtime_ns) / (b->n * KEEPS + 1);
	b->n = b->n * KEEPS + 1;
	if (inputs > g->largest)
		g->largest = inputs;
}

void
group_costs(const struct group *g, double *startup_ns, double *each_ns)
{
	double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
	unsigned sizes = 0;

	*startup_ns = *each_ns = 0;
	for (unsigned i = 0; i < GROUP_BINS; i++) {
		const struct group_bin *b = &g->bins[i];
		double y = fmax(b->runtime_ns, 1), weight = b->n / y / y;

		sizes += b->n > 0;
		w += weight;
		wx += weight * b->inputs;
		wy += weight * y;
		wxx += weight * b->inputs * b->inputs;
		wxy += weight * b->inputs * y;
	}
	if (sizes < 2)
		return;
	*each_ns = (w * wxy - wx * wy) / (w * wxx - wx * wx);
	*startup_ns = (wy - wx * *each_ns) / w;
	if (*each_ns < 0) {
		*each_ns = 0;
		*startup_ns = wy / w;
	} else if (*startup_ns < 0) {
		*startup_ns = 0;
		*each_ns = wxy / wxx;
	}
}

/* a / b rounded up, for numbers that may be huge; at most UINT_MAX. */
static unsigned
share(uint64_t a, uint64_t b)
{
	uint64_t n = a / b + (a % b > 0);

	return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

/* A size from a quotient of costs, whose divisor may be 0. */
static unsigned
rounded(double size)
{
	return size < 1 ? 1 : size < UINT_MAX ? (unsigned)ceil(size) : UINT_MAX;
}

/* The size for the middle of the run. */
static unsigned
wanted(const struct group *g, double startup_ns, double each_ns)
{
	double size = WORK_PER_STARTUP * startup_ns / each_ns;
	unsigned most = g->largest < UINT_MAX / GROWTH ? g->largest * GROWTH : UINT_MAX, n;

	if (startup_ns <= 0 || size <= 1)
		return 1;
	n = rounded(fmax(size, RUNTIME_LEAST_NS / each_ns));
	return n < most ? n : most;
}

unsigned
group_size_most(const struct group *g)
{
	double startup_ns, each_ns;

	group_costs(g, &startup_ns, &each_ns);
	return startup_ns + each_ns > 0 ? wanted(g, startup_ns, each_ns) : 4;
}

/* A command's size in a round that begins with so much left. */
static unsigned
round_size(uint64_t left, unsigned slots, double startup_ns, double each_ns)
{
	unsigned half = share(left, (uint64_t)2 * slots);

	return half * each_ns >= WORK_LEAST * startup_ns ? half : share(left, slots);
}

unsigned
group_size(struct group *g, uint64_t left, unsigned slots, unsigned most)
{
	unsigned turn = g->asked++, size, part = UINT_MAX;
	double startup_ns, each_ns;

	if (slots == 0)
		slots = 1;
	group_costs(g, &startup_ns, &each_ns);
	if (startup_ns + each_ns > 0)
		size = wanted(g, startup_ns, each_ns);
	else
		size = 1u << turn % 3; /* some sizes, to draw a line through */
	if (left != UINT64_MAX && g->round_left == 0) {
		g->round_part = round_size(left, slots, startup_ns, each_ns);
		g->round_left = slots;
	}
	if (left != UINT64_MAX) {
		g->round_left--;
		part = g->round_part < left ? g->round_part : (unsigned)left;
	}
	if (startup_ns + each_ns > 0 && part > size && turn % RENEW_EVERY == 0)
		size = size >= 8 ? 1 : size * 4;
	size = size < part ? size : part;
	return size < most ? size : most;
}

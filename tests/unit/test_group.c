/* SPDX-License-Identifier: MIT */
/*
 * How many inputs to a command: the costs that are found, and whole runs on a virtual clock, whose
 * time is compared with what no division of the inputs could beat.
 */
#include "group.h"

#include <limits.h>
#include <math.h>

#include "random.h"
#include "tap.h"

#define MS 1000000.0

static void
test_costs(void)
{
	struct group g = { 0 };
	double startup, each;

	group_costs(&g, &startup, &each);
	ok(startup == 0 && each == 0, "nothing known");
	is_int(group_size(&g, UINT64_MAX, 4, 100), 1, "the first size");
	is_int(group_size(&g, UINT64_MAX, 4, 100), 2, "the second");
	is_int(group_size(&g, UINT64_MAX, 4, 1), 1, "never more than fit");
	group_result(&g, 1, 101000000);
	group_costs(&g, &startup, &each);
	ok(startup == 0 && each == 0, "one size says nothing");
	group_result(&g, 2, 102000000);
	group_costs(&g, &startup, &each);
	ok(fabs(startup - 100 * MS) < 1 && fabs(each - MS) < 1, "two do: %.0f + n * %.0f", startup, each);
	is_int(group_size_most(&g), 32, "growth is sixteenfold");
	is_int(group_size(&g, UINT64_MAX, 4, 100), 32, "and no more");
	for (unsigned n = 4; n <= 4096; n *= 2)
		group_result(&g, n, (int64_t)((100 + n) * MS));
	is_int(group_size(&g, UINT64_MAX, 4, 1000000), 1900, "nineteen times the start-up");
	is_int(group_size(&g, UINT64_MAX, 4, 500), 500, "or what fits");
	for (unsigned i = 0; i < 4; i++)
		is_int(group_size(&g, 8000 - 1000 * i, 4, 1000000), 1000, "the end is seen: command %u", i);
	is_int(group_size(&g, 4000, 4, 1000000), 500, "half of what is left is dealt in a round");
	g.round_left = 0;
	is_int(group_size(&g, 1000, 4, 1000000), 250, "all of it when start-up would be too much");
	g.round_left = 0;
	is_int(group_size(&g, 3, 4, 1000000), 1, "at the very end");
	is_int(group_size(&g, 100, 4, 1000000), 1, "as the round began");
	g.round_left = 0;
	is_int(group_size(&g, 100, 0, 10), 10, "no slots is one");

	g = (struct group){ 0 };
	group_result(&g, 1, 10000000);
	group_result(&g, 2, 20000000);
	is_int(group_size_most(&g), 1, "without start-up one at a time");
	g = (struct group){ 0 };
	group_result(&g, 1, 1000000);
	group_result(&g, 2, 900000);
	group_costs(&g, &startup, &each);
	ok(startup > 0.9 * MS && startup < MS && each == 0,
	    "what is quicker with more inputs has start-up alone");
	is_int(group_size_most(&g), 32, "and gets as many as may be");
	group_result(&g, 0, 5);
	group_result(&g, 5, -1);
	group_result(&g, UINT_MAX, INT64_MAX);
	ok(group_size(&g, UINT64_MAX, 1, UINT_MAX) >= 1, "any number is a result");
	g = (struct group){ 0 };
	group_result(&g, 1, 10000000);
	group_result(&g, 2, 30000000);
	group_costs(&g, &startup, &each);
	ok(startup == 0 && each > 10 * MS && each < 15 * MS, "what is slower than in proportion has none");
	g = (struct group){ 0 };
	for (unsigned n = 1; n <= 256; n *= 2)
		group_result(&g, n, (int64_t)((2 + n) * MS));
	ok(group_size_most(&g) >= 200 && group_size_most(&g) <= 201, "a command is not shorter than 200 ms");
	g = (struct group){ 0 };
	group_result(&g, 1, 0);
	group_result(&g, 2, 0);
	ok(group_size(&g, UINT64_MAX, 1, 10) >= 1 && group_size(&g, 5, 3, 10) >= 1, "even no time at all");
}

/* Costs that change in the middle, as when all is in memory at last: the sizes follow. */
static void
test_changes(void)
{
	static const double phases[][2] = { { 900, 1 }, { 10, 1 }, { 0.001, 20 }, { 300, 1 }, { 3, 0.5 } };
	struct group g = { 0 };
	unsigned n;

	for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++) {
		double startup = phases[i][0], each = phases[i][1], want = 19 * startup / each;

		if (want > 1 && want < 200 / each)
			want = 200 / each;
		for (int j = 0; j < 4000; j++) {
			n = group_size(&g, UINT64_MAX, 2, 100000);
			group_result(&g, n, (int64_t)((startup + n * each) * MS));
		}
		n = group_size_most(&g);
		ok(n > want / 2 && n < 2 + want * 2, "start-up %g ms, each %g ms: %u", startup, each, n);
	}
}

struct work {
	uint64_t inputs;
	unsigned slots, most;
	double startup_ms, each_ms, spread; /* spread: half the relative width of each input's time */
	bool open;                          /* the end is seen only when it is near */
};

#define SLOTS 64

struct outcome {
	double makespan_ms, best_ms, busy_ms;
	unsigned commands, rises;
	uint64_t given;
	bool empty; /* a command without inputs, or with too many */
};

/* Run it: a slot that is free asks for the next command. */
static struct outcome
run(const struct work *w, struct rnd *r)
{
	double ends[SLOTS] = { 0 }, took[SLOTS] = { 0 }, work_ms = 0, per_slot;
	unsigned has[SLOTS] = { 0 }, before = 0;
	struct outcome o = { 0 };
	struct group g = { 0 };

	while (o.given < w->inputs) {
		uint64_t left = w->inputs - o.given;
		bool seen = !w->open || left < (uint64_t)2 * w->slots * group_size_most(&g);
		unsigned slot = 0, n;

		for (unsigned i = 1; i < w->slots; i++)
			if (ends[i] < ends[slot])
				slot = i;
		if (has[slot] > 0)
			group_result(&g, has[slot], (int64_t)(took[slot] * MS));
		n = group_size(&g, seen ? left : UINT64_MAX, w->slots, w->most);
		o.empty = o.empty || n == 0 || n > w->most;
		if (n > left)
			n = (unsigned)left;
		took[slot] = w->startup_ms;
		for (unsigned i = 0; i < n; i++) {
			double each = w->each_ms * (1 + w->spread * (rnd_below(r, 2001) / 1000.0 - 1));

			took[slot] += each;
			work_ms += each;
		}
		has[slot] = n;
		ends[slot] += took[slot];
		o.busy_ms += took[slot];
		o.makespan_ms = fmax(o.makespan_ms, ends[slot]);
		o.given += n;
		o.commands++;
		o.rises += left < w->inputs / 4 && n > before;
		before = n;
	}
	/* No division is quicker than one command to each slot, of equal length. */
	per_slot = (double)(w->inputs < w->slots ? w->inputs : w->slots);
	o.best_ms = w->startup_ms + work_ms / per_slot;
	return o;
}

static void
test_runs(uint64_t seed)
{
	/* ratio: of the makespan to the best. Runs of a few seconds pay for learning. */
	static const struct {
		const char *name;
		struct work work;
		double ratio;
	} cases[] = {
		{ "an interpreter", { 20000, 4, 100000, 40, 2, 0.5, false }, 1.10 },
		{ "the same, from a pipe", { 20000, 4, 100000, 40, 2, 0.5, true }, 1.10 },
		{ "a short list", { 500, 4, 100000, 40, 2, 0.5, false }, 2.0 },
		{ "nothing but start-up", { 100000, 4, 4000, 1, 0.001, 0, false }, 1.7 },
		{ "start-up that is nothing", { 5000, 8, 100000, 0.01, 20, 0.9, false }, 1.05 },
		{ "no start-up", { 5000, 8, 100000, 0, 20, 0.9, true }, 1.05 },
		{ "a long start-up", { 100000, 16, 100000, 3000, 5, 0.9, false }, 1.9 },
		{ "many slots", { 200000, 64, 100000, 50, 5, 0.9, true }, 1.15 },
		{ "lines that hold 10", { 20000, 4, 10, 40, 2, 0.5, false }, 3.1 },
		{ "one slot", { 10000, 1, 100000, 40, 2, 0.5, false }, 1.10 },
		{ "fewer inputs than slots", { 5, 16, 100, 40, 2, 0.5, false }, 1.10 },
	};
	struct rnd r = { seed | 1 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct work *w = &cases[i].work;
		struct outcome o = run(w, &r);

		ok(o.given == w->inputs && !o.empty, "%s: all inputs, none empty", cases[i].name);
		ok(o.makespan_ms <= cases[i].ratio * o.best_ms,
		    "%s: %.0f ms in %u commands, %.2f of the best", cases[i].name, o.makespan_ms, o.commands,
		    o.makespan_ms / o.best_ms);
		if (o.best_ms > 100 * w->startup_ms && w->most > 10000)
			ok(o.commands * w->startup_ms < 0.1 * o.busy_ms, "%s: start-up takes %.1f %%",
			    cases[i].name, 100 * o.commands * w->startup_ms / o.busy_ms);
	}
}

/* Once the costs are known sizes never rise toward an end that is seen. */
static void
test_falls(uint64_t seed)
{
	struct rnd r = { (seed ^ 5) | 1 };
	size_t wrong = 0;

	for (int turn = 0; turn < 300; turn++) {
		double startup = 1 + rnd_below(&r, 1000), each = 0.1 + rnd_below(&r, 100);
		unsigned slots = 1 + rnd_below(&r, 64), before = UINT_MAX, size = 0;
		uint64_t left = 1 + rnd_below(&r, 100000), seen = 0, all;
		struct group g = { 0 };

		for (unsigned n = 1; n < 1 << 20; n *= 2)
			group_result(&g, n, (int64_t)((startup + n * each) * MS));
		if (left > (uint64_t)2 * slots * group_size_most(&g))
			left = (uint64_t)2 * slots * group_size_most(&g);
		for (all = left; left > 0; left -= size) {
			size = group_size(&g, left, slots, UINT_MAX);
			wrong += size < 1 || size > left || size > before;
			before = size;
			seen += size;
		}
		wrong += seen != all || size > 2 + 4 * startup / each;
	}
	is_int(wrong, 0, "sizes fall, add up, and the last is small (SEED=%llu)", (unsigned long long)seed);
}

int
main(void)
{
	uint64_t seed = rnd_seed();

	test_costs();
	test_changes();
	test_runs(seed);
	test_falls(seed);
	return done_testing();
}

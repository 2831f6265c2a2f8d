/* SPDX-License-Identifier: MIT */
/* The table of measured numbers: what it keeps, and which of them is best. */
#include "tune/levels.h"

#include <math.h>

#include "tap.h"

#define FINE 0.01
#define ALL 1000

/* Numbers with a throughput each, all measured as well, the first one longest ago. */
static struct kn_levels
table(unsigned n, const unsigned *numbers, const double *throughputs, double se)
{
	struct kn_levels v = { 0 };

	for (unsigned i = 0; i < n; i++)
		kn_levels_put(&v, numbers[i], log(throughputs[i]), se, (int64_t)i);
	return v;
}

static unsigned
best(const struct kn_levels *v, unsigned max, double same_errors)
{
	const struct kn_level *a = kn_levels_best(v, max, same_errors);

	return a != NULL ? a->n : 0;
}

static void
test_order(void)
{
	struct kn_levels v = table(4, (unsigned[]){ 8, 2, 4, 2 }, (double[]){ 80, 20, 40, 10 }, FINE);

	is_int(v.n, 3, "each number is there once");
	ok(v.at[0].n == 2 && v.at[1].n == 4 && v.at[2].n == 8, "rising");
	ok(v.at[0].lnx == log(10), "what is put counts alone");
	ok(kn_levels_find(&v, 4) == &v.at[1] && kn_levels_find(&v, 3) == NULL, "a number is found, or not");
	is_int(kn_levels_below(&v, 8), 4, "the highest below one that was measured");
	is_int(kn_levels_below(&v, 7), 4, "... and below one that was not");
	is_int(kn_levels_below(&v, 2), 0, "none is below the lowest");
	kn_levels_shift(&v, 1);
	ok(v.at[0].lnx == log(10) + 1 && v.at[2].lnx == log(80) + 1, "all move");
}

static void
test_full(void)
{
	struct kn_levels v = { 0 };

	for (unsigned i = 0; i < KN_LEVELS; i++)
		kn_levels_put(&v, 10 * (i + 1), 0, FINE, i == 2 ? 0 : 1000 + (int64_t)i);
	kn_levels_put(&v, 55, 0, FINE, 2000);
	is_int(v.n, KN_LEVELS, "there is no room for more");
	ok(kn_levels_find(&v, 30) == NULL, "the oldest one went");
	is_int(v.at[4].n, 55, "the new one is in its place above that");
	kn_levels_put(&v, 5, 0, FINE, 2001);
	ok(v.at[0].n == 5 && v.at[1].n == 20 && v.n == KN_LEVELS, "... and below one that went");
	kn_levels_put(&v, 240, 1, FINE, 2002);
	ok(v.n == KN_LEVELS && v.at[1].n == 20 && v.at[v.n - 1].lnx == 1, "none goes for one that is there");
}

static void
test_add(void)
{
	struct kn_levels v = table(1, (unsigned[]){ 4 }, (double[]){ 1 }, 0.1);

	kn_levels_add(&v, 4, 0.2, 0.1, 1);
	ok(fabs(v.at[0].lnx - 0.1) < 1e-9 && fabs(v.at[0].se - 0.1 / sqrt(2)) < 1e-9,
	    "two looks are one finer one");
	kn_levels_add(&v, 4, 3, 0.1, 2);
	ok(v.at[0].lnx == 3 && v.at[0].se == 0.1, "what is far from it is of another time");
}

static void
test_best(void)
{
	struct kn_levels none = { 0 };
	struct kn_levels v = table(4, (unsigned[]){ 2, 4, 8, 16 }, (double[]){ 50, 99, 100, 70 }, FINE);
	struct kn_levels rough = table(3, (unsigned[]){ 2, 4, 8 }, (double[]){ 90, 95, 100 }, 0.2);

	ok(kn_levels_best(&none, ALL, 0) == NULL && best(&v, 1, 0) == 0, "nothing is the best of nothing");
	is_int(best(&v, ALL, 0), 4, "the smallest within 2 %%");
	is_int(best(&v, 3, 0), 2, "of those that are allowed");
	is_int(best(&rough, ALL, 0), 8, "5 %% are more than that");
	is_int(best(&rough, ALL, 1), 4, "... but not where measuring is coarse, within 8 %%");
	ok(!kn_levels_doubtful(&v, &v.at[1], ALL), "a fine measurement leaves no doubt");
	ok(kn_levels_doubtful(&rough, &rough.at[2], ALL), "a coarse one does");
	rough.at[0].lnx = rough.at[1].lnx = -5;
	ok(!kn_levels_doubtful(&rough, &rough.at[2], ALL), "... unless all others are far below");
	ok(kn_levels_steep(&v, 4) && !kn_levels_steep(&v, 8),
	    "up to 4 it rises in proportion, up to 8 it does not");
	ok(!kn_levels_steep(&v, 2) && !kn_levels_steep(&v, 3),
	    "nobody knows of the lowest, and of what was not measured");
}

static void
test_drop(void)
{
	struct kn_levels v = table(4, (unsigned[]){ 2, 4, 8, 16 }, (double[]){ 1, 2, 3, 4 }, FINE);

	kn_levels_drop_below(&v, 4);
	ok(v.n == 3 && v.at[0].n == 4, "those below 4 are forgotten");
	kn_levels_drop_from(&v, 8);
	ok(v.n == 1 && v.at[0].n == 4, "those from 8 on are forgotten");
	kn_levels_drop_from(&v, 1);
	is_int(v.n, 0, "all are");
}

int
main(void)
{
	test_order();
	test_full();
	test_add();
	test_best();
	test_drop();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include <math.h>
#include <string.h>

#include "engine.h"

#define WORSE 1.6    /* much worse than the best */
#define WORSE_MOST 3 /* numbers in a row that are, and the sweep goes no further */

static int
fixed_try(const struct sim_set *set, const struct sim_fixed *fixed, struct sim_best *best)
{
	const struct sim_options options = { .fixed = fixed };
	struct sim_best now = { .fixed = *fixed };
	struct sim_result r;
	int err;

	for (unsigned i = 0; i < set->n; i++) {
		err = sim_run(set->worlds[i], &options, set->seeds[i], &r);
		if (err < 0)
			return err;
		now.of[i] = r.wrong == NULL && r.lost == 0 ? (double)r.ns / SIM_SECOND : INFINITY;
		now.mean_s += now.of[i] / set->n;
	}
	if (best->mean_s == 0 || now.mean_s < best->mean_s)
		*best = now;
	return now.mean_s > WORSE * best->mean_s;
}

static unsigned
suggested(const struct sim_world *w, unsigned type)
{
	const struct sim_type *t = &w->types[type];
	unsigned best = 1;

	for (unsigned i = 0; i < t->nphases; i++) {
		const struct sim_pool *p = &w->pools[t->phases[i].pool];

		best = p->best > best ? p->best : best;
	}
	return best < w->ntasks ? best : w->ntasks;
}

static int
single_try(const struct sim_set *set, unsigned n, struct sim_best *best)
{
	const struct sim_fixed fixed = { .total = n };

	return fixed_try(set, &fixed, best);
}

/* Up and down from *at by a factor, as long as it gets better. */
static int
coordinate(
    const struct sim_set *set, unsigned *at, double factor, struct sim_fixed *fixed, struct sim_best *best)
{
	unsigned most = set->worlds[0]->ntasks;

	for (int up = 0; up < 2; up++) {
		for (;;) {
			double before = best->mean_s;
			unsigned was = *at, n = (unsigned)lround(was * (up ? factor : 1 / factor));
			int err;

			n = n == was ? (up ? was + 1 : was - 1) : n;
			if (n < 1 || n > most)
				break;
			*at = n;
			err = fixed_try(set, fixed, best);
			if (err < 0)
				return err;
			if (best->mean_s < before)
				continue;
			*at = was;
			break;
		}
	}
	return 0;
}

/* From n up or down by steps of about 1.41, to the end or until it has long been much worse. */
static int
sweep(const struct sim_set *set, unsigned n, bool up, struct sim_best *best)
{
	unsigned most = set->worlds[0]->ntasks < SIM_TABLE ? set->worlds[0]->ntasks : SIM_TABLE;
	unsigned worse = 0;
	int err = 0;

	while (err >= 0 && n >= 1 && n <= most && worse < WORSE_MOST) {
		unsigned next = (unsigned)lround(n * (up ? 1.41 : 1 / 1.41));

		err = single_try(set, n, best);
		worse = err > 0 ? worse + 1 : 0;
		if (up && n < most && next > most)
			n = most;
		else
			n = next != n ? next : up ? n + 1 : n - 1;
	}
	return err;
}

int
sim_best_single(const struct sim_set *set, bool near, struct sim_best *ret)
{
	struct sim_fixed fixed = { 0 };
	int err = 0;

	*ret = (struct sim_best){ 0 };
	for (int up = 0; err >= 0 && up < (near ? 0 : 2); up++)
		err = sweep(set, suggested(set->worlds[0], 0), up, ret);
	if (near)
		err = single_try(set, suggested(set->worlds[0], 0), ret);
	fixed = ret->fixed;
	for (double factor = near ? 1.35 : 1.18; err >= 0 && factor > 1.05; factor = sqrt(factor)) {
		err = coordinate(set, &fixed.total, factor, &fixed, ret);
		fixed = ret->fixed;
	}
	return err < 0 ? err : 0;
}

int
sim_best_vector(const struct sim_set *set, struct sim_best *ret)
{
	const struct sim_world *w = set->worlds[0];
	struct sim_fixed fixed = { 0 };
	int err;

	*ret = (struct sim_best){ 0 };
	for (unsigned i = 0; i < w->ntypes; i++)
		fixed.of[i] = suggested(w, i);
	/* What looks the same cannot be run ahead of what stands before it. */
	fixed.in_order =
	    w->ntypes > 1 && memcmp(&w->types[0].name, &w->types[1].name, sizeof(w->types[0].name)) == 0;
	err = fixed_try(set, &fixed, ret);
	for (double factor = 1.4; err >= 0 && factor > 1.05; factor = sqrt(factor)) {
		for (unsigned i = 0; err >= 0 && i < w->ntypes; i++) {
			fixed = ret->fixed;
			err = coordinate(set, &fixed.of[i], factor, &fixed, ret);
		}
	}
	return err < 0 ? err : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the machine says, from mild to severe; the severest rule decides.
 *
 *	pressure (PSI memory)   some > 5 % of the time: limits stay. full > 2 %: they come down and
 *	                        nothing starts. full > 10 % for 2 s, or swapping in while full > 2 %:
 *	                        the youngest stops. Still so 3 s later: stopping was not enough,
 *	                        what it holds is needed, and it is run again later
 *	--memfree               less is free: nothing starts; less than half: the youngest is run later
 *	--memsuspend            less than twice that is free: as many go on as GNU parallel lets,
 *	                        1 + 1 / (2 - free / size), the others stop until there is more
 *	--noswap                swapping in and out: nothing starts
 *	--load                  more processes want to run: nothing starts
 *
 * One task a second is stopped or ended, so that the effect is seen before the next; stopping for
 * --memsuspend waits for nothing, because how many may go on is known. What was stopped for
 * pressure is run later after a minute: it holds memory and makes no progress.
 *
 * There is always a way on: one task of ours runs whatever the pressure, which others may cause,
 * and when all are stopped the oldest goes on. Only what the user asked for (--memfree, --load,
 * --noswap) waits while nothing runs.
 */
#include "guard.h"

#include <math.h>

#define SECOND_NS INT64_C(1000000000)
#define NEVER_NS (INT64_MIN / 2)
#define NOT_SINCE INT64_MAX

#define SOME_MUCH 0.05
#define FULL_MUCH 0.02
#define FULL_HEAVY 0.1
#define SUSPEND_AFTER_NS (2 * SECOND_NS)
#define REQUEUE_AFTER_NS (5 * SECOND_NS)
#define SUSPENDED_MOST_NS (60 * SECOND_NS)
#define CALM_NS (3 * SECOND_NS)
#define BACK_OFF_EVERY_NS (2 * SECOND_NS)

/* ---- what tasks of a key need ----------------------------------------------- */

#define PEAKS 128
#define SMALLEST_PEAK 65536.0
/* Then all counts are halved, so that what was long ago fades. */
#define PEAKS_MOST 1024
/* So many ends say more than what running tasks were seen to use. */
#define PEAKS_ENOUGH 10
/* So many tell the largest well. */
#define PEAKS_MANY 16

void
kn_peaks_add(struct kn_peaks *p, uint64_t peak_bytes)
{
	double steps;
	unsigned i;

	if (peak_bytes == 0)
		return;
	steps = ceil(4 * log2((double)peak_bytes / SMALLEST_PEAK));
	i = steps <= 0 ? 0 : steps >= PEAKS - 1 ? PEAKS - 1 : (unsigned)steps;
	if (p->total >= PEAKS_MOST) {
		p->total = 0;
		for (unsigned j = 0; j < PEAKS; j++) {
			p->count[j] /= 2;
			p->total += p->count[j];
		}
	}
	p->count[i]++;
	p->total++;
	if (peak_bytes > p->largest)
		p->largest = peak_bytes;
}

void
kn_peaks_live(struct kn_peaks *p, uint64_t rss_bytes)
{
	if (rss_bytes > p->live_max)
		p->live_max = rss_bytes;
}

uint64_t
kn_peaks_expect(const struct kn_peaks *p)
{
	uint32_t rank = p->total - p->total / 10, seen = 0;
	double expect = 0;
	unsigned i = 0;

	if (p->total > 0) {
		while (i < PEAKS - 1 && (seen += p->count[i]) < rank)
			i++;
		expect = 1.2 * SMALLEST_PEAK * exp2(i / 4.0);
	}
	/* Of many none was larger: equal tasks need no reserve for what never happened. */
	if (p->total >= PEAKS_MANY)
		expect = fmin(expect, 1.02 * (double)p->largest);
	if (p->total < PEAKS_ENOUGH)
		expect = fmax(expect, 1.5 * (double)p->live_max);
	return (uint64_t)expect;
}

/* ---- the rules -------------------------------------------------------------- */

struct verdict {
	enum kn_guard_state state;
	enum kn_guard_reason reason;
	double figure;
};

/* Of two rules of the same severity the first one counts. */
static void
find(struct verdict *v, enum kn_guard_state state, enum kn_guard_reason reason, double figure)
{
	if (state > v->state)
		*v = (struct verdict){ state, reason, figure };
}

void
kn_guard_init(struct kn_guard *g, const struct kn_guard_options *options)
{
	*g = (struct kn_guard){
		.options = *options,
		.full_since_ns = NOT_SINCE,
		.calm_since_ns = NOT_SINCE,
		.suspended_since_ns = NOT_SINCE,
		.backed_ns = NEVER_NS,
		.acted_ns = NEVER_NS,
		.free_bytes = UINT64_MAX,
	};
}

/* Start or end a span of time. */
static void
mark(int64_t *since_ns, bool now_so, int64_t now_ns)
{
	if (!now_so)
		*since_ns = NOT_SINCE;
	else if (*since_ns == NOT_SINCE)
		*since_ns = now_ns;
}

/* Has it been so for that long? */
static bool
lasted(int64_t since_ns, int64_t now_ns, int64_t span_ns)
{
	return since_ns != NOT_SINCE && now_ns - since_ns >= span_ns;
}

static void
by_pressure(
    struct kn_guard *g, int64_t now_ns, const struct kn_vitals *v, bool stopped, struct verdict *found)
{
	bool known = v->known & KN_VITALS_PRESSURE;
	double some = known ? v->pressure_some_frac : 0, full = known ? v->pressure_full_frac : 0;
	bool swaps_in = (v->known & KN_VITALS_SWAP) && v->swap_in_bytes > 0;
	enum kn_guard_reason reason = swaps_in ? KN_GUARD_BY_SWAP : KN_GUARD_BY_PRESSURE;

	mark(&g->full_since_ns, full > FULL_HEAVY, now_ns);
	if (some > SOME_MUCH)
		find(found, KN_GUARD_NO_RAISE, KN_GUARD_BY_PRESSURE, some);
	if (full > FULL_MUCH)
		find(found, KN_GUARD_BACK_OFF, reason, full);
	if (lasted(g->full_since_ns, now_ns, SUSPEND_AFTER_NS) || (full > FULL_MUCH && swaps_in))
		find(found, KN_GUARD_SUSPEND, reason, full);
	if (stopped && lasted(g->full_since_ns, now_ns, REQUEUE_AFTER_NS))
		find(found, KN_GUARD_REQUEUE, reason, full);
}

static void
by_options(const struct kn_guard *g, const struct kn_vitals *v, struct verdict *found)
{
	const struct kn_guard_options *o = &g->options;
	double bytes = (double)g->free_bytes;

	if (g->free_bytes < o->memfree_bytes)
		find(found, KN_GUARD_NO_START, KN_GUARD_BY_MEMORY, bytes);
	if (g->free_bytes < o->memfree_bytes / 2)
		find(found, KN_GUARD_REQUEUE, KN_GUARD_BY_MEMORY, bytes);
	if (o->noswap && (v->known & KN_VITALS_SWAP) && v->swap_in_bytes > 0 && v->swap_out_bytes > 0)
		find(found, KN_GUARD_NO_START, KN_GUARD_BY_SWAP,
		    (double)v->swap_in_bytes + (double)v->swap_out_bytes);
	if (o->load_max > 0 && (v->known & KN_VITALS_LOAD) && v->runnable > o->load_max)
		find(found, KN_GUARD_NO_START, KN_GUARD_BY_LOAD, v->runnable);
}

/* --memsuspend, which stops tasks one by one without waiting for an effect. */
static void
by_memsuspend(const struct kn_guard *g, unsigned running, struct verdict *found)
{
	double size = (double)g->options.memsuspend_bytes, bytes = (double)g->free_bytes;
	double may_run;

	if (size <= 0 || bytes >= 2 * size || running == 0)
		return;
	may_run = 1 + floor(1 / (2 - bytes / size));
	find(found, running > may_run ? KN_GUARD_SUSPEND : KN_GUARD_NO_START, KN_GUARD_BY_MEMORY, bytes);
}

static uint64_t
floor_bytes(const struct kn_guard *g)
{
	uint64_t part = g->options.memory_bytes / 20, least = UINT64_C(256) << 20;

	if (g->options.memfree_bytes > 0)
		return g->options.memfree_bytes;
	if (g->options.memory_bytes > 0 && g->options.memory_bytes < UINT64_C(2) << 30)
		return part;
	return part > least ? part : least;
}

/* Is there room for a stopped task to go on? */
static bool
has_room(const struct kn_guard *g)
{
	return g->free_bytes >= floor_bytes(g) &&
	    (double)g->free_bytes >= 2 * (double)g->options.memsuspend_bytes;
}

static void
decide_resume(struct kn_guard *g, int64_t now_ns, unsigned running, unsigned suspended, bool calm)
{
	mark(&g->calm_since_ns, calm && has_room(g), now_ns);
	mark(&g->suspended_since_ns, suspended > 0, now_ns);
	g->resume = suspended > 0 && (running == 0 || lasted(g->calm_since_ns, now_ns, CALM_NS));
	if (g->resume && g->calm_since_ns != NOT_SINCE)
		g->calm_since_ns = now_ns - CALM_NS + SECOND_NS; /* the next one a second later */
}

/* Tasks that are stopped go on before others start, or are run again later in the end. */
static void
by_suspended(const struct kn_guard *g, int64_t now_ns, const struct kn_vitals *v, struct verdict *found)
{
	double full = v->known & KN_VITALS_PRESSURE ? v->pressure_full_frac : 0;

	if (g->suspended_since_ns == NOT_SINCE)
		return;
	if (g->options.memsuspend_bytes > 0) {
		find(found, KN_GUARD_NO_START, KN_GUARD_BY_MEMORY, (double)g->free_bytes);
		return;
	}
	find(found, KN_GUARD_NO_START, KN_GUARD_BY_PRESSURE, full);
	if (!g->resume && lasted(g->suspended_since_ns, now_ns, SUSPENDED_MOST_NS))
		find(found, KN_GUARD_REQUEUE, KN_GUARD_BY_PRESSURE, full);
}

/* ---- the decision ----------------------------------------------------------- */

/* What cannot be done now becomes milder. */
static void
soften(const struct kn_guard *g, int64_t now_ns, unsigned running, unsigned suspended, struct verdict *found)
{
	unsigned needed = found->state == KN_GUARD_SUSPEND ? 2 : 1;

	if (found->state >= KN_GUARD_SUSPEND &&
	    (running < needed || running + suspended < 2 || now_ns - g->acted_ns < SECOND_NS))
		found->state = found->reason == KN_GUARD_BY_MEMORY ? KN_GUARD_NO_START : KN_GUARD_BACK_OFF;
	if (found->state == KN_GUARD_BACK_OFF && now_ns - g->backed_ns < BACK_OFF_EVERY_NS)
		found->state = KN_GUARD_NO_START;
}

void
kn_guard_vitals(
    struct kn_guard *g, int64_t now_ns, const struct kn_vitals *v, unsigned running, unsigned suspended)
{
	struct verdict found = { .state = KN_GUARD_OK }, pressure = found;

	g->free_bytes = v->known & KN_VITALS_MEMORY ? v->memory_free_bytes : UINT64_MAX;
	if (g->options.memory_bytes == 0 && v->known & KN_VITALS_MEMORY)
		g->options.memory_bytes = v->memory_bytes;
	by_pressure(g, now_ns, v, suspended > 0, &pressure);
	decide_resume(g, now_ns, running, suspended, pressure.state == KN_GUARD_OK);
	if (running == 0 && pressure.state > KN_GUARD_NO_RAISE)
		pressure.state = KN_GUARD_NO_RAISE;

	by_options(g, v, &found);
	find(&found, pressure.state, pressure.reason, pressure.figure);
	by_suspended(g, now_ns, v, &found);
	soften(g, now_ns, running, suspended, &found);
	by_memsuspend(g, running, &found);

	if (found.state == KN_GUARD_BACK_OFF)
		g->backed_ns = now_ns;
	if (found.state >= KN_GUARD_SUSPEND)
		g->acted_ns = now_ns;
	g->state = found.state;
	g->reason = found.reason;
	g->figure = found.figure;
}

/* ---- admission -------------------------------------------------------------- */

bool
kn_guard_admits(const struct kn_guard *g, uint64_t expect, uint64_t outstanding, unsigned running)
{
	double need = (double)floor_bytes(g) + (double)outstanding;

	if (running == 0 || g->free_bytes == UINT64_MAX)
		return true;
	need += expect > 0 ? (double)expect : (double)g->options.memory_bytes / 10;
	return (double)g->free_bytes >= need;
}

/* ---- failures --------------------------------------------------------------- */

bool
kn_tries_suspect(struct kn_tries here, struct kn_tries below)
{
	if (here.done == 0 || below.done == 0)
		return false;
	return (double)here.failed / here.done > 0.1 + 2.0 * below.failed / below.done;
}

bool
kn_tries_worse(struct kn_tries here, struct kn_tries below)
{
	double n = here.done, m = below.done, more, all, error;

	if (here.done == 0 || below.done == 0)
		return false;
	more = here.failed / n - below.failed / m;
	all = ((double)here.failed + below.failed) / (n + m);
	error = sqrt(all * (1 - all) * (1 / n + 1 / m));
	return more * n >= 3 && more > 3 * error;
}

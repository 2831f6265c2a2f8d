/* SPDX-License-Identifier: MIT */
/*
 * The law of one limit.
 *
 * What is wanted is not the knee of the curve but the smallest number whose throughput is within
 * 2 % of the best. Where tasks wait and nothing is busy one step too few costs a factor and one too
 * many a percent; so evidence is asked for to stop, and little to go on.
 *
 *	BASE     measure the start
 *	RAMP     a step up (twice, or as many as the idle cores could feed); a sequential test says:
 *	         helped (stand there, go on), did not, or made it worse (back at once)
 *	CONFIRM  it did not: measure the lower number once more; if the gain was hidden by drift, go on
 *	REFINE   measure the middle of the widest gap beside the best number
 *	HOLD     run at the best and watch it; now and then
 *	PROBE    measure another number, then
 *	BACK     the best again, and compare with the mean of before and after
 *
 * Throughput is measured in windows (window.h). Tasks that a step up starts all at once stand, where there
 * is a line, before it is as long as it will be; so they flatter the step. Their word is taken for a gain in
 * proportion, which no line can feign, or for none; for what lies between, only tasks count that were
 * started when the limit was reached.
 *
 * Sources: the step test is Wald's sequential probability ratio; A-B-A and paying for probes out of a
 * budget, common practice in experiments.
 */
#include "limiter.h"

#include <math.h>

#define MS ((int64_t)1000000)

#define HOLD_TICK_NS (250 * MS)
#define CEILING_NS (10000 * MS)

/* Standard errors wanted, of ln throughput. */
#define NEED_BASE 0.1
#define NEED_RAMP 0.06
#define NEED_REFINE 0.03
#define NEED_HOLD 0.02

/* A step by factor g has to give a tenth of what g promises. */
#define GAIN_SHARE 0.1
#define ACCEPT 1.5
#define REJECT (-2.9)
#define HARM 0.05

/* Where measuring is coarse, numbers within so many standard errors are as good as the best. */
#define SAME_ERRORS 0.7

/* Without a single end to go by, waiting tasks are raised to this: soon where few are left, whose
 * end is what is waited for; else ever more slowly, since what runs then can only be waited out. */
#define BLIND_MAX 50
#define BLIND_NS (500 * MS)
#define BLIND_SLOW_NS (12000 * MS)
#define BLIND_FEW 8
/* What it is compared with then. */
#define BLIND_FALL 8

/* From here on the steps of what waits, and still gains in proportion, are fourfold. */
#define FAST_FROM 16

/* Fewer at once, where tasks only wait, has to be shown not to cost more than this. */
#define LOSS_MOST 0.05

/* What is held follows the latest window by this share. */
#define FOLLOW 0.3

#define CPU_FULL 0.97
#define HOLD_FIRST 6
#define HOLD_MAX 64
#define BUDGET_FRAC 0.04
/* After a number that harms, so many are free, while so many rounds of tasks are left. */
#define FREE_PROBES 2
#define FREE_LEFT 16

static unsigned
clamp(unsigned n, unsigned least, unsigned most)
{
	if (n > most)
		n = most;
	return n < least ? least : n;
}

const struct kn_level *
kn_limiter_best(const struct kn_limiter *l)
{
	return kn_levels_best(&l->levels, l->max, l->same_errors);
}

/* ---- the search --------------------------------------------------------------- */

static void
move(struct kn_limiter *l, unsigned limit, enum kn_phase phase, double need, int64_t now_ns)
{
	unsigned before = l->limit;

	l->limit = clamp(limit, l->min, l->max);
	l->phase = phase;
	kn_window_reset(&l->window, need, now_ns);
	l->window.raised = l->limit > before;
}

static bool
say(struct kn_limiter *l, enum kn_why why, double a, double b, double c)
{
	l->why = why;
	l->figure[0] = a;
	l->figure[1] = b;
	l->figure[2] = c;
	return true;
}

static bool
cores_full(const struct kn_limiter *l, const struct kn_tick *t)
{
	return l->cpu_share > 0.1 && kn_window_cpu(&l->window, t) > CPU_FULL;
}

/* The factor of the next step up. */
static double
growth(const struct kn_limiter *l, const struct kn_tick *t)
{
	double cpu = kn_window_cpu(&l->window, t);

	if (l->cpu_share > 0.1 && cpu > 0.1)
		return fmin(4, fmax(1.25, 1.1 / cpu));
	if (t->runtime_ns > 30e9 && t->work >= 0 && !t->waits)
		return 1.5; /* what is too much can only be waited out */
	if (t->waits && l->base >= FAST_FROM && l->top == 0 && l->refused == 0 &&
	    kn_levels_steep(&l->levels, l->base))
		return 4;
	return 2;
}

static unsigned
highest(const struct kn_limiter *l)
{
	unsigned most = l->max;

	if (l->top > 0 && l->top - 1 < most)
		most = l->top - 1;
	if (l->ceiling > 0 && l->ceiling < most)
		most = l->ceiling;
	return most > l->min ? most : l->min;
}

/* What the window at the present limit has cost against the best one known. */
static void
pay(struct kn_limiter *l, double lnx, int64_t now_ns)
{
	const struct kn_level *best = kn_limiter_best(l);
	double share = best != NULL ? 1 - exp(lnx - best->lnx) : 0;

	if (share > 0)
		l->lost_ns += share * (double)(now_ns - l->window.asked_ns);
}

static bool
hold(struct kn_limiter *l, enum kn_why why, const struct kn_tick *t)
{
	const struct kn_level *best = kn_limiter_best(l);
	const struct kn_level *above = NULL, *below = NULL;
	double a = -1, b = -1;

	if (best == NULL) {
		move(l, l->limit, KN_PHASE_BASE, NEED_BASE, t->now_ns);
		return false;
	}
	for (unsigned i = 0; i < l->levels.n; i++) {
		if (l->levels.at[i].n > best->n && above == NULL)
			above = &l->levels.at[i];
		if (l->levels.at[i].n < best->n)
			below = &l->levels.at[i];
	}
	if (above != NULL)
		a = exp(above->lnx - best->lnx);
	if (below != NULL)
		b = exp(below->lnx - best->lnx);
	l->base = best->n;
	move(l, best->n, KN_PHASE_HOLD, NEED_HOLD, t->now_ns);
	l->hold_windows = 0;
	if (l->hold_wait == 0)
		l->hold_wait = HOLD_FIRST;
	return say(l, why, a, b, 0);
}

/* Between lo and hi, by their geometric mean; 0 when nothing is between them. */
static unsigned
between(unsigned lo, unsigned hi)
{
	unsigned n;

	if (hi < lo + 2 || (double)hi / lo <= 1.3)
		return 0;
	n = (unsigned)lround(sqrt((double)lo * hi));
	return clamp(n, lo + 1, hi - 1);
}

/* The number to measure next around the best one; 0: none is worth it. */
static unsigned
refine_choose(const struct kn_limiter *l, const struct kn_tick *t)
{
	const struct kn_level *best = kn_limiter_best(l);
	unsigned i, lo, hi, up = 0, down = 0;
	double slope = 0;

	if (best == NULL || t->left < 4 * (uint64_t)best->n)
		return 0;
	/* Beyond the budget only where the next number up harms: the best may well lie between. */
	if (l->lost_ns > l->lost_max_ns && (l->free_probes == 0 || t->left < FREE_LEFT * (uint64_t)best->n))
		return 0;
	if (kn_levels_doubtful(&l->levels, best, l->max))
		return best->n;
	i = (unsigned)(best - l->levels.at);
	if (i + 1 < l->levels.n && l->levels.at[i + 1].n <= l->max) {
		hi = l->levels.at[i + 1].n;
		if (l->ceiling == 0 || hi <= l->ceiling + 1)
			up = between(best->n, hi);
	}
	lo = i > 0 ? l->levels.at[i - 1].n : 0;
	if (lo > 0)
		slope = (best->lnx - l->levels.at[i - 1].lnx) / log((double)best->n / lo);
	else if (best->n > l->min)
		lo = clamp(best->n / 4, l->min, best->n);
	/* Where it rises in proportion up to the best, nothing below can be as good. */
	if (lo > 0 && slope < KN_STEEP)
		down =
		    lo == best->n - 1 && kn_levels_find(&l->levels, lo) == NULL ? lo : between(lo, best->n);
	if (up > 0 && down > 0) {
		hi = l->levels.at[i + 1].n;
		return (double)hi / best->n >= (double)best->n / lo ? up : down;
	}
	return up > 0 ? up : down;
}

static bool rise(struct kn_limiter *l, enum kn_why why, double gain, double se, const struct kn_tick *t);

static bool
refine(struct kn_limiter *l, enum kn_why why, const struct kn_tick *t)
{
	const struct kn_level *best = kn_limiter_best(l);
	bool was_blind = l->blind;
	unsigned n;

	l->blind = false;
	/* The raise without proof was right: go on from there. */
	if (was_blind && best != NULL && best == &l->levels.at[l->levels.n - 1] && l->levels.n > 1 &&
	    best->lnx - best[-1].lnx > 0.5 * log((double)best->n / best[-1].n)) {
		l->limit = best->n;
		return rise(l, KN_WHY_RISE, exp(best->lnx - best[-1].lnx) - 1, best->se, t);
	}
	n = refine_choose(l, t);
	if (n == 0)
		return hold(l, why == KN_WHY_CONFIRM || why == KN_WHY_REFINE ? KN_WHY_SETTLED : why, t);
	l->free_probes -= l->free_probes > 0;
	move(l, n, KN_PHASE_REFINE, NEED_REFINE, t->now_ns);
	return say(l, KN_WHY_REFINE, 0, 0, 0);
}

/* The present limit is measured and stands: try the next step up. */
static bool
rise(struct kn_limiter *l, enum kn_why why, double gain, double se, const struct kn_tick *t)
{
	unsigned most = highest(l), next;

	l->base = l->limit;
	if (cores_full(l, t))
		return refine(l, KN_WHY_CPU_FULL, t);
	if (l->base >= most && l->base < l->refused) {
		kn_levels_drop_below(&l->levels, l->base);
		return hold(l, KN_WHY_SETTLED, t);
	}
	if (l->base >= most)
		return refine(l, l->base >= l->max ? KN_WHY_BOUND : KN_WHY_SETTLED, t);
	if (t->left < 3 * (uint64_t)l->base && !(t->waits && t->left > 0))
		return refine(l, KN_WHY_SETTLED, t);
	if (!t->may_raise) {
		kn_window_reset(&l->window, NEED_RAMP, t->now_ns);
		l->phase = KN_PHASE_BASE;
		return false;
	}
	l->growth = growth(l, t);
	next = (unsigned)lround(l->base * l->growth);
	/* Near a number that is known to harm: not right below it, but half way. */
	if (next > most && (l->top > 0 || l->ceiling > 0))
		next = (unsigned)lround(sqrt((double)l->base * (most + 1)));
	next = clamp(next, l->base + 1, most);
	l->growth = (double)next / l->base;
	move(l, next, KN_PHASE_RAMP, NEED_RAMP, t->now_ns);
	return say(l, why, gain, se, 0);
}

/* What is measured now is so far below the best that no more precision is needed. */
static bool
clearly_worse(const struct kn_limiter *l, const struct kn_estimate *e)
{
	const struct kn_level *best = kn_limiter_best(l);
	double d;

	if (best == NULL || !e->some)
		return false;
	d = e->lnx - best->lnx;
	return d < -2 * HARM && d / hypot(e->se, best->se) < -3;
}

static bool
ramp_judge(struct kn_limiter *l, const struct kn_estimate *e, const struct kn_tick *t)
{
	const struct kn_level *base = kn_levels_find(&l->levels, l->base);
	double d, sd, th, ratio;
	bool beyond;

	if (base == NULL) {
		kn_levels_put(&l->levels, l->limit, e->lnx, e->se, t->now_ns);
		return rise(l, KN_WHY_RISE, 0, 0, t);
	}
	d = e->lnx - base->lnx;
	sd = hypot(e->se, base->se);
	th = log(1 + GAIN_SHARE * (l->growth - 1));
	/* A small step that seems to harm is more often noise: it is measured again. So is what few ends
	 * say, looked at again and again. */
	if (e->some && d < (l->growth < 1.5 ? -3 * HARM : -HARM) &&
	    d / sd < (t->work < 0 && !e->full ? -3 : -2)) {
		kn_levels_put(&l->levels, l->limit, e->lnx, e->se, t->now_ns);
		l->top = l->limit;
		l->free_probes = FREE_PROBES;
		pay(l, e->lnx, t->now_ns);
		return refine(l, KN_WHY_HARM, t) && say(l, KN_WHY_HARM, 1 - exp(d), (double)l->top, 0);
	}
	if (!e->enough || (d < KN_STEEP * log(l->growth) && kn_window_later(&l->window, t)))
		return false;
	/* Below a number that was refused: what is not refused is taken, unless it is slower. */
	if (l->limit < l->refused && d > -sd) {
		kn_levels_put(&l->levels, l->limit, e->lnx, e->se, t->now_ns);
		return rise(l, KN_WHY_RISE, exp(d) - 1, sd, t);
	}
	ratio = (d - th) * 2 * th / (sd * sd);
	/* What is left in doubt is the lower number's fault: the next higher one tells more. */
	beyond = d > 2 * th && t->waits && t->work < 0 && e->se <= base->se;
	if (ratio > ACCEPT || beyond || (e->full && d > th / 2 && d > sd)) {
		kn_levels_put(&l->levels, l->limit, e->lnx, e->se, t->now_ns);
		return rise(l, KN_WHY_RISE, exp(d) - 1, sd, t);
	}
	if (ratio > REJECT && !e->full)
		return false;
	kn_levels_put(&l->levels, l->limit, e->lnx, e->se, t->now_ns);
	l->probe = l->limit;
	l->probe_lnx = e->lnx;
	l->probe_se = e->se;
	move(l, l->base, KN_PHASE_CONFIRM, t->work < 0 ? NEED_RAMP : NEED_RAMP / 2, t->now_ns);
	return say(l, KN_WHY_CONFIRM, exp(d) - 1, sd, 0);
}

static bool
confirm_judge(struct kn_limiter *l, const struct kn_estimate *e, const struct kn_tick *t)
{
	double gain = l->probe_lnx - e->lnx;

	pay(l, e->lnx, t->now_ns);
	kn_levels_put(&l->levels, l->base, e->lnx, e->se, t->now_ns);
	if (gain > 0.03 && gain > hypot(e->se, l->probe_se) && l->probe <= highest(l)) {
		l->limit = l->probe;
		(void)rise(l, KN_WHY_DRIFT, exp(gain) - 1, 0, t);
		return true;
	}
	l->top = l->probe;
	return refine(l, KN_WHY_CONFIRM, t);
}

/* ---- holding and probing -------------------------------------------------------- */

/* The next number up: twice, or half way to the lowest that is clearly worse. */
static unsigned
probe_up(const struct kn_limiter *l)
{
	const struct kn_level *here = kn_levels_find(&l->levels, l->limit);
	unsigned most = l->ceiling > 0 && l->ceiling < l->max ? l->ceiling : l->max, hi = 0;

	for (unsigned i = 0; i < l->levels.n && here != NULL && hi == 0; i++) {
		const struct kn_level *v = &l->levels.at[i];

		if (v->n > l->limit && here->lnx - v->lnx > 2 * hypot(here->se, v->se))
			hi = v->n;
	}
	if (l->refused > l->limit && (hi == 0 || l->refused < hi))
		hi = l->refused;
	if (hi > 0 && hi - 1 < most)
		most = hi - 1;
	if (l->limit >= most)
		return 0;
	if (hi == 0)
		return clamp(2 * l->limit, l->limit + 1, most);
	return clamp((unsigned)lround(sqrt((double)l->limit * hi)), l->limit + 1, most);
}

/* ... and down: not where throughput rises in proportion up to here. */
static unsigned
probe_down(const struct kn_limiter *l)
{
	if (l->limit <= l->min || kn_levels_steep(&l->levels, l->limit))
		return 0;
	return clamp((unsigned)lround(l->limit / 1.25), l->min, l->limit - 1);
}

static unsigned
probe_choose(struct kn_limiter *l)
{
	unsigned up = probe_up(l), down = probe_down(l);

	if (l->probe_up == 0)
		l->probe_up = 1;
	if (up == 0 || (l->probe_up < 0 && down > 0))
		return down;
	return up;
}

static bool
hold_judge(struct kn_limiter *l, const struct kn_estimate *e, const struct kn_tick *t)
{
	const struct kn_level *known = kn_levels_find(&l->levels, l->limit);
	double lnx = e->lnx, se = e->se, by;

	if (known != NULL) {
		by = e->lnx - known->lnx;
		l->shifted = fabs(by) > 3 * hypot(e->se, known->se) && fabs(by) > 0.1 ? l->shifted + 1 : 0;
		if (l->shifted >= 2) {
			kn_levels_shift(&l->levels, by);
			l->shifted = 0;
		} else {
			lnx = (1 - FOLLOW) * known->lnx + FOLLOW * e->lnx;
			se = hypot((1 - FOLLOW) * known->se, FOLLOW * e->se);
		}
	}
	kn_levels_put(&l->levels, l->limit, lnx, fmax(se, KN_SE_MIN), t->now_ns);
	l->before = lnx;
	l->before_se = fmax(se, KN_SE_MIN);
	l->hold_windows++;
	if (l->hold_windows < l->hold_wait || t->left < 10 * (uint64_t)l->limit || !t->may_raise ||
	    l->lost_ns > l->lost_max_ns || cores_full(l, t)) {
		kn_window_reset(&l->window, NEED_HOLD, t->now_ns);
		l->window.begin_ns = t->now_ns;
		return false;
	}
	l->probe = probe_choose(l);
	if (l->probe == 0) {
		kn_window_reset(&l->window, NEED_HOLD, t->now_ns);
		return false;
	}
	l->base = l->limit;
	move(l, l->probe, KN_PHASE_PROBE, NEED_REFINE, t->now_ns);
	return say(l, KN_WHY_PROBE, 0, 0, 0);
}

static bool
probe_judge(struct kn_limiter *l, const struct kn_estimate *e, const struct kn_tick *t)
{
	double d = e->lnx - l->before, sd = hypot(e->se, l->before_se);
	bool bad = e->some && d < -2 * HARM && d / sd < -3;

	if (!bad && (!e->fine || kn_window_later(&l->window, t)))
		return false;
	l->probe_lnx = e->lnx;
	l->probe_se = e->se;
	pay(l, e->lnx, t->now_ns);
	move(l, l->base, KN_PHASE_BACK, NEED_REFINE, t->now_ns);
	return say(l, KN_WHY_PROBE_BACK, exp(d) - 1, sd, 0);
}

static bool
back_judge(struct kn_limiter *l, const struct kn_estimate *e, const struct kn_tick *t)
{
	double ref = (l->before + e->lnx) / 2;
	double ref_se = hypot(l->before_se, e->se) / 2;
	double d = l->probe_lnx - ref, sd = hypot(l->probe_se, ref_se);
	bool up = l->probe > l->base, won;

	won = up ? d > 0.01 + 0.01 * log((double)l->probe / l->base) && d > 1.64 * sd :
		   d > -KN_SAME / 2 && (!t->waits || d - sd > -LOSS_MOST);
	kn_levels_put(&l->levels, l->base, ref, ref_se, t->now_ns);
	l->hold_windows = 0;
	if (!won) {
		kn_levels_add(&l->levels, l->probe, ref + d, sd, t->now_ns);
		l->contradicted = 0;
		l->probe_up = -l->probe_up;
		l->hold_wait = clamp((unsigned)(l->hold_wait * 1.6), HOLD_FIRST, HOLD_MAX);
		move(l, l->base, KN_PHASE_HOLD, NEED_HOLD, t->now_ns);
		return false;
	}
	/* The table is of another time: what it says around here does not hold any more. */
	l->levels.n = 0;
	kn_levels_put(&l->levels, l->base, ref, ref_se, t->now_ns);
	kn_levels_put(&l->levels, l->probe, ref + d, sd, t->now_ns);
	l->top = up ? 0 : l->top;
	l->hold_wait = HOLD_FIRST;
	/* Far from the top: do not wait for a second time. */
	if (up && (++l->contradicted >= 2 || d > 0.25 * log((double)l->probe / l->base))) {
		l->contradicted = 0;
		l->limit = l->probe;
		l->window.cpu = 0;
		return rise(l, KN_WHY_PROBE_WON, exp(d) - 1, 0, t);
	}
	move(l, l->probe, KN_PHASE_HOLD, NEED_HOLD, t->now_ns);
	return say(l, KN_WHY_PROBE_WON, exp(d) - 1, 0, 0);
}

/* ---- a tick ------------------------------------------------------------------------ */

/* Tasks that wait, nothing has ended, nothing is busy: start more without waiting for proof. */
static bool
blind(struct kn_limiter *l, const struct kn_tick *t)
{
	unsigned most = clamp(highest(l), 1, BLIND_MAX);
	int64_t patience_ns;

	if (!t->waits || t->work >= 0 || !t->may_raise || l->window.nlengths > 0 || l->limit >= most)
		return false;
	if (l->phase != KN_PHASE_BASE || l->levels.n > 0)
		return false;
	patience_ns = t->left < BLIND_FEW * (uint64_t)l->limit ? BLIND_NS :
	    l->blind                                           ? 2 * (l->window.asked_ns - l->begin_ns) :
								 BLIND_SLOW_NS;
	if (t->now_ns - l->window.asked_ns < patience_ns || t->running_now < l->limit || t->left == 0)
		return false;
	l->base = 0;
	l->blind = true;
	move(l, clamp(l->limit * 2, 1, most), KN_PHASE_BASE, NEED_BASE, t->now_ns);
	return say(l, KN_WHY_BLIND, 0, 0, 0);
}

static void
budget(struct kn_limiter *l, const struct kn_tick *t)
{
	double elapsed = (double)(t->now_ns - l->begin_ns);
	double rest = elapsed;

	if (t->left != UINT64_MAX && t->done > 0)
		rest = elapsed * (double)t->left / (double)t->done;
	l->lost_max_ns = BUDGET_FRAC * (elapsed + rest);
	if (l->ceiling == 0 || t->now_ns < l->ceiling_until_ns)
		return;
	if (l->phase == KN_PHASE_MODEL && l->ceiling < l->max) {
		/* No search feels its way up again: a step at a time. */
		l->ceiling += l->ceiling / 4 + 1;
		l->ceiling_until_ns = t->now_ns + CEILING_NS;
		return;
	}
	l->ceiling = 0;
	l->top += l->top / 4 + 1;
	if (l->refused > 0)
		l->refused += l->refused / 4 + 1;
}

static void
next_tick(struct kn_limiter *l, const struct kn_tick *t)
{
	int64_t part = kn_window_part_ns(&l->window, t);

	if ((l->phase == KN_PHASE_HOLD || l->phase == KN_PHASE_MODEL) && part < HOLD_TICK_NS)
		part = HOLD_TICK_NS;
	l->due_ns = t->now_ns + part;
}

bool
kn_limiter_tick(struct kn_limiter *l, const struct kn_tick *t)
{
	struct kn_estimate e = { 0 };

	budget(l, t);
	next_tick(l, t);
	if (l->phase == KN_PHASE_MODEL)
		return false;
	if (blind(l, t))
		return true;
	if (!kn_window_gather(&l->window, l->limit, t) ||
	    !kn_window_estimate(&l->window, l->limit, l->phase == KN_PHASE_PROBE, t, &e))
		return false;
	if (l->phase == KN_PHASE_RAMP)
		return ramp_judge(l, &e, t);
	if (l->phase == KN_PHASE_PROBE)
		return probe_judge(l, &e, t);
	if (l->phase == KN_PHASE_REFINE && clearly_worse(l, &e)) {
		pay(l, e.lnx, t->now_ns);
		kn_levels_add(&l->levels, l->limit, e.lnx, e.se, t->now_ns);
		return refine(l, KN_WHY_REFINE, t);
	}
	if (!e.fine)
		return false;
	switch (l->phase) {
	case KN_PHASE_BASE:
		kn_levels_put(&l->levels, l->limit, e.lnx, e.se, t->now_ns);
		/* What was raised without proof has nothing below to compare with: a part of it first. */
		if (l->blind && l->limit >= 2 * BLIND_FALL && l->limit >= 4 * l->min) {
			move(l, l->limit / BLIND_FALL, KN_PHASE_REFINE, NEED_RAMP, t->now_ns);
			return say(l, KN_WHY_REFINE, 0, 0, 0);
		}
		return rise(l, KN_WHY_RISE, 0, e.se, t);
	case KN_PHASE_CONFIRM:
		return confirm_judge(l, &e, t);
	case KN_PHASE_REFINE:
		if (kn_window_later(&l->window, t))
			return false;
		pay(l, e.lnx, t->now_ns);
		kn_levels_add(&l->levels, l->limit, e.lnx, e.se, t->now_ns);
		return refine(l, KN_WHY_REFINE, t);
	case KN_PHASE_HOLD:
		return hold_judge(l, &e, t);
	case KN_PHASE_BACK:
		return back_judge(l, &e, t);
	case KN_PHASE_MODEL:
	case KN_PHASE_RAMP:
	case KN_PHASE_PROBE:
		break;
	}
	return false;
}

/* ---- from outside ------------------------------------------------------------------- */

void
kn_limiter_init(struct kn_limiter *l, const struct kn_limiter_start *s, int64_t now_ns)
{
	*l = (struct kn_limiter){
		.min = s->min > 0 ? s->min : 1,
		.max = s->max > s->min ? s->max :
		    s->min > 0         ? s->min :
					 1,
		.phase = !s->search ? KN_PHASE_MODEL :
		    s->known        ? KN_PHASE_HOLD :
				      KN_PHASE_BASE,
		.why = s->why,
		.cpu_share = s->cpu_share,
		.same_errors = s->same_errors > 0 ? s->same_errors : SAME_ERRORS,
		.begin_ns = now_ns,
		.due_ns = now_ns,
		.hold_wait = s->known ? 2 : HOLD_FIRST,
		.window.seed = s->seed != 0 ? s->seed : 88172645463325252,
	};
	l->limit = clamp(s->start, l->min, l->max);
	kn_window_reset(&l->window, s->known ? NEED_HOLD : NEED_BASE, now_ns);
}

bool
kn_limiter_bounds(struct kn_limiter *l, unsigned min, unsigned max, enum kn_why why, int64_t now_ns)
{
	unsigned limit;

	l->min = min > 0 ? min : 1;
	l->max = max > l->min ? max : l->min;
	limit = clamp(l->limit, l->min, l->max);
	if (l->base > l->max) {
		l->base = 0;
		/* What a probe would go back to is forbidden: stay. */
		if (l->phase == KN_PHASE_PROBE || l->phase == KN_PHASE_BACK)
			move(l, limit, KN_PHASE_HOLD, NEED_HOLD, now_ns);
	}
	if (limit == l->limit)
		return false;
	l->limit = limit;
	if (l->phase != KN_PHASE_MODEL)
		move(l, limit, KN_PHASE_BASE, NEED_BASE, now_ns);
	return say(l, why, 0, 0, 0);
}

bool
kn_limiter_set(struct kn_limiter *l, unsigned limit, enum kn_why why, int64_t now_ns)
{
	if (l->ceiling > 0 && limit > l->ceiling && why != KN_WHY_HAND)
		limit = l->ceiling;
	limit = clamp(limit, l->min, l->max);
	l->phase = KN_PHASE_MODEL;
	if (limit == l->limit)
		return false;
	move(l, limit, KN_PHASE_MODEL, NEED_HOLD, now_ns);
	return say(l, why, 0, 0, 0);
}

void
kn_limiter_length(struct kn_limiter *l, int64_t started_ns, int64_t runtime_ns)
{
	kn_window_length(&l->window, started_ns, runtime_ns);
}

void
kn_limiter_back_off(struct kn_limiter *l, unsigned to, enum kn_why why, int64_t now_ns)
{
	unsigned before = l->limit;
	int64_t wait_ns = CEILING_NS;

	/* Again at the same height: wait longer each time. */
	if (l->backed > 0 && before <= l->backed + l->backed / 4 + 1)
		wait_ns = (int64_t)fmin(
		    fmax(4 * (double)(now_ns - l->begin_ns), (double)CEILING_NS), 60.0 * CEILING_NS);
	l->backed = before;
	l->ceiling_until_ns = now_ns + wait_ns;
	if (l->phase == KN_PHASE_MODEL) {
		l->ceiling = l->limit = clamp(to, l->min, l->max);
		(void)say(l, why, 0, 0, 0);
		return;
	}
	kn_levels_drop_from(&l->levels, before);
	l->ceiling = before > 1 ? before - 1 : 1;
	l->top = before > 1 ? before : 2;
	l->base = 0;
	l->refused = why == KN_WHY_BUSY ? before : 0;
	move(l, to, KN_PHASE_BASE, NEED_BASE, now_ns);
	(void)say(l, why, 0, 0, 0);
}

void
kn_limiter_restart(struct kn_limiter *l, enum kn_why why, int64_t now_ns)
{
	if (l->phase == KN_PHASE_HOLD && l->levels.n == 0) {
		/* What was learnt in an earlier run and is not measured yet: only the unit is another. */
		kn_window_reset(&l->window, NEED_HOLD, now_ns);
		return;
	}
	l->levels.n = 0;
	l->base = l->top = l->refused = 0;
	l->contradicted = l->shifted = 0;
	l->hold_wait = HOLD_FIRST;
	if (l->phase != KN_PHASE_MODEL)
		move(l, l->limit, KN_PHASE_BASE, NEED_BASE, now_ns);
	(void)say(l, why, 0, 0, 0);
}

void
kn_limiter_disturb(struct kn_limiter *l, int64_t now_ns)
{
	if (l->phase != KN_PHASE_MODEL)
		kn_window_reset(&l->window, l->window.need, now_ns);
}

int64_t
kn_limiter_window_ns(const struct kn_limiter *l)
{
	return l->window.from_ns;
}

bool
kn_limiter_settled(const struct kn_limiter *l)
{
	return l->phase == KN_PHASE_MODEL || l->phase == KN_PHASE_HOLD || l->phase == KN_PHASE_PROBE ||
	    l->phase == KN_PHASE_BACK;
}

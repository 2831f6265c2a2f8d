/* SPDX-License-Identifier: MIT */
/*
 * Throughput is the slope of the tasks' progress where that can be seen, measured in windows of a
 * quarter second and more whose standard error comes from their own parts. Where it cannot (a sleep,
 * a remote service) it is, by Little's law, the number at once divided by the length of a task, of
 * tasks started since the limit was set; those that still run count by their age.
 *
 * Source: the window in which the pipe is found full is BBR's.
 */
#include "window.h"

#include <math.h>

#include "fit.h"
#include "limiter.h"

#define MS ((int64_t)1000000)

/* How long it is: a quarter of a task within these bounds, in parts of which each gives a rate. */
#define WINDOW_MIN_NS (250 * MS)
#define WINDOW_MAX_NS (10000 * MS)
#define PART_MIN_NS (50 * MS)
#define RATES_MIN 5
#define RATES_MAX 60

/* What a change of the limit stirs up takes as long as a task, within these bounds. */
#define SETTLE_MIN_NS (100 * MS)
#define SETTLE_MAX_NS (500 * MS)

/* So many lengths show something, so many are enough; and so much of what was started has to have ended. */
#define LENGTHS_MIN 6
#define LENGTHS_MAX 64
#define ENDED_SHARE 0.4

/* What lengths are allowed of the standard error that is wanted: there are far fewer of them than of moments
 * of progress. */
#define NEED_LENGTHS 2.5
/* Where tasks do more than wait, no larger one is ever wanted of lengths. */
#define NEED_BUSY 0.06
/* Parts of a window are not independent. */
#define AUTOCORRELATION 1.3

static double
random_unit(struct kn_window *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (double)(w->seed >> 11) / 9007199254740992.0;
}

static int64_t
clamp_ns(double ns, int64_t least, int64_t most)
{
	if (ns < (double)least)
		return least;
	return ns > (double)most ? most : (int64_t)ns;
}

static unsigned
clamp(unsigned n, unsigned least, unsigned most)
{
	if (n > most)
		n = most;
	return n < least ? least : n;
}

void
kn_window_reset(struct kn_window *w, double need, int64_t now_ns)
{
	w->begin_ns = w->full_ns = 0;
	w->asked_ns = w->from_ns = now_ns;
	w->raised = false;
	w->n = w->nlengths = w->ended = 0;
	w->sum = w->sum2 = w->area = w->time = w->cpu = 0;
	w->need = need;
	w->factor = 0.8 + 0.4 * random_unit(w);
}

void
kn_window_length(struct kn_window *w, int64_t started_ns, int64_t runtime_ns)
{
	if (started_ns < w->from_ns || runtime_ns <= 0)
		return;
	w->lengths[w->ended % KN_LENGTHS] = log((double)runtime_ns);
	w->started_ns[w->ended % KN_LENGTHS] = started_ns;
	w->ended++;
	w->nlengths = w->ended < KN_LENGTHS ? w->ended : KN_LENGTHS;
}

static int64_t
window_ns(const struct kn_window *w, const struct kn_tick *t)
{
	return (int64_t)(w->factor * (double)clamp_ns(0.25 * t->runtime_ns, WINDOW_MIN_NS, WINDOW_MAX_NS));
}

int64_t
kn_window_part_ns(const struct kn_window *w, const struct kn_tick *t)
{
	int64_t part_ns = window_ns(w, t) / RATES_MIN;

	return part_ns < PART_MIN_NS ? PART_MIN_NS : part_ns;
}

/* Is the limit in force: as many run as it says, and what a change stirs up is over? */
static bool
begins(const struct kn_window *w, double limit, const struct kn_tick *t)
{
	int64_t since_ns = t->now_ns - w->asked_ns;
	int64_t settle_ns = clamp_ns(t->runtime_ns, SETTLE_MIN_NS, SETTLE_MAX_NS);

	if (t->running_now > limit * 1.1 + 0.5)
		return false;
	if (t->running_now + 0.5 < limit * 0.9 && (t->starved || since_ns < 2 * settle_ns))
		return false;
	/* Lengths count from the moment of the change: old tasks are not among them. */
	return t->work < 0 || since_ns >= settle_ns;
}

bool
kn_window_gather(struct kn_window *w, unsigned limit, const struct kn_tick *t)
{
	double rate;

	if (w->full_ns == 0 && t->running_now >= limit)
		w->full_ns = t->now_ns;
	if (w->begin_ns == 0) {
		if (begins(w, limit, t))
			w->begin_ns = t->now_ns;
		return false;
	}
	if (t->starved && t->running < 0.8 * limit) {
		kn_window_reset(w, w->need, t->now_ns); /* what it shows is the input's pace */
		return false;
	}
	w->area += t->running * (double)t->elapsed_ns;
	w->time += (double)t->elapsed_ns;
	if (t->cpu_frac >= 0)
		w->cpu += t->cpu_frac * (double)t->elapsed_ns;
	if (t->work >= 0 && t->elapsed_ns > 0) {
		rate = t->work / (double)t->elapsed_ns;
		w->n++;
		w->sum += rate;
		w->sum2 += rate * rate;
	}
	return true;
}

static bool
estimate_rates(const struct kn_window *w, const struct kn_tick *t, struct kn_estimate *ret)
{
	double mean, var;

	if (w->n < 2 || w->sum <= 0)
		return false;
	mean = w->sum / w->n;
	var = (w->sum2 - w->sum * mean) / (w->n - 1);
	ret->lnx = log(mean);
	ret->se = var > 0 ? AUTOCORRELATION * sqrt(var / w->n) / mean : 0;
	ret->se = fmax(ret->se, KN_SE_MIN);
	ret->some = w->n >= 3;
	ret->enough = w->n >= RATES_MIN && t->now_ns - w->begin_ns >= window_ns(w, t);
	ret->full = ret->enough && w->n >= RATES_MAX;
	ret->fine = ret->full || (ret->enough && ret->se <= (t->counts ? NEED_LENGTHS : 1) * w->need);
	return true;
}

static bool
estimate_lengths(const struct kn_window *w, unsigned limit, bool thorough, const struct kn_tick *t,
    struct kn_estimate *ret)
{
	struct kn_fit fit;
	unsigned least, most;
	double need;
	bool half;

	if (w->nlengths < 2 || w->time <= 0 || w->area <= 0 ||
	    kn_fit_lognormal(w->lengths, w->nlengths, t->ages, t->nages, &fit) < 0)
		return false;
	ret->lnx = log(w->area / w->time) - fit.mu;
	ret->se = fmax(fit.se, KN_SE_MIN);
	/* Before most have ended, those that did are the short ones. */
	half = (double)w->ended >= ENDED_SHARE * ((double)w->ended + (double)t->nages_all);
	ret->some = w->ended >= LENGTHS_MIN;
	least = clamp(limit, LENGTHS_MIN, LENGTHS_MAX / 2);
	ret->enough = half && w->ended >= least && t->now_ns - w->asked_ns >= WINDOW_MIN_NS;
	most = thorough ? KN_LENGTHS : LENGTHS_MAX;
	ret->full = ret->enough && w->ended >= clamp(2 * limit, most, KN_LENGTHS);
	need = t->waits ? w->need : fmin(w->need, NEED_BUSY);
	ret->fine = ret->full || (ret->enough && ret->se <= NEED_LENGTHS * need);
	return true;
}

bool
kn_window_estimate(const struct kn_window *w, unsigned limit, bool thorough, const struct kn_tick *t,
    struct kn_estimate *ret)
{
	return t->work >= 0 ? estimate_rates(w, t, ret) : estimate_lengths(w, limit, thorough, t, ret);
}

bool
kn_window_later(struct kn_window *w, const struct kn_tick *t)
{
	unsigned kept = 0;

	if (t->work >= 0 || !w->raised)
		return false;
	w->raised = false;
	w->from_ns = w->full_ns > 0 ? w->full_ns : t->now_ns;
	for (unsigned i = 0; i < w->nlengths; i++) {
		if (w->started_ns[i] < w->from_ns)
			continue;
		w->lengths[kept] = w->lengths[i];
		w->started_ns[kept++] = w->started_ns[i];
	}
	w->nlengths = w->ended = kept;
	return true;
}

double
kn_window_cpu(const struct kn_window *w, const struct kn_tick *t)
{
	if (t->cpu_frac < 0 || w->time <= 0)
		return -1;
	return w->cpu / w->time;
}

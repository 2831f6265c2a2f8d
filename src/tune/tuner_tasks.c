/* SPDX-License-Identifier: MIT */
/*
 * What happens to tasks: they are handed out, begin, are looked at and end. Here it is counted for their keys
 * and classes; what is made of it is decided at the next sample, but for failures that come with the number
 * at once, which lower a limit where they are seen.
 */
#include <math.h>

#include "tuner_state.h"

/* Means of ended tasks follow the latest by this share. */
#define FOLLOW 0.1

/* So many time-outs and no other end make one ask whether fewer at once are faster, so often. */
#define LATE_MIN 4
#define LATE_STEPS 3

static void
flow(struct kn_tuner *t, struct kn_key *k, int64_t now_ns)
{
	struct kn_class *c = &t->classes[k->class];

	kn_area_flow(&k->area, k->running, now_ns);
	kn_area_flow(&c->area, c->running, now_ns);
}

void
kn_tuner_handed(struct kn_tuner *t, unsigned key, int by)
{
	t->handed += (unsigned)by;
	t->keys[key].handed += (unsigned)by;
	t->classes[t->keys[key].class].handed += (unsigned)by;
}

void
kn_tuner_ahead(struct kn_tuner *t, unsigned ahead)
{
	t->ahead = ahead;
}

void
kn_tuner_started(struct kn_tuner *t, unsigned key, int64_t now_ns)
{
	struct kn_key *k = &t->keys[key];
	struct kn_class *c = &t->classes[k->class];

	flow(t, k, now_ns);
	if (k->first_ns == 0)
		k->first_ns = now_ns;
	if (c->limiter.begin_ns == 0) /* made before the first start, when there was no clock yet */
		c->limiter.begin_ns = c->limiter.window.asked_ns = c->ticked_ns = now_ns;
	k->started++;
	k->fresh++;
	k->running++;
	t->running++;
	if (++c->running > c->peak)
		c->peak = c->running;
	if (t->fixed && t->options.load_max <= 0 && t->options.memfree_bytes == 0 &&
	    t->options.memsuspend_bytes == 0 && !t->options.noswap && !t->options.measure)
		return;
	if (t->due_ns == INT64_MAX)
		t->due_ns = now_ns + KN_FIRST_LOOKS_NS;
}

static void
class_progress(struct kn_class *c, const struct kn_usage *delta)
{
	if (delta->known & KN_USAGE_DELAY)
		c->delay_ns += (double)delta->delay_ns;
	if (c->signal == KN_SIGNAL_BYTES)
		c->work += (double)delta->bytes;
	else if (c->signal == KN_SIGNAL_CPU)
		c->work += (double)delta->cpu_ns;
}

void
kn_tuner_progress(struct kn_tuner *t, unsigned key, int64_t started_ns, const struct kn_usage *delta,
    const struct kn_usage *total)
{
	struct kn_key *k = &t->keys[key];
	struct kn_class *c = &t->classes[k->class];

	kn_traits_add(&k->traits, delta);
	class_progress(c, delta);
	if (total->known & KN_USAGE_RSS)
		kn_tuner_memory_seen(k, total->rss_bytes);
	kn_tuner_alive(t, key, started_ns);
}

void
kn_tuner_alive(struct kn_tuner *t, unsigned key, int64_t started_ns)
{
	struct kn_class *c = &t->classes[t->keys[key].class];

	if (c->oldest_ns == 0 || started_ns < c->oldest_ns)
		c->oldest_ns = started_ns;
	c->looked++;
	if (started_ns < kn_limiter_window_ns(&c->limiter))
		return;
	c->fresh_looked++;
	if (c->nages < KN_AGES)
		c->ages[c->nages++] = (double)started_ns; /* its age is known when the sample comes */
}

/* Nothing comes to its end in time, and fewer at once were never tried: it may be for that. */
static bool
all_late(struct kn_class *c, const struct kn_end *end)
{
	if (!end->late || c->below.done > 0 || c->here.done < LATE_MIN || c->here.failed < c->here.done ||
	    c->limiter.limit == 1 || c->late_steps == LATE_STEPS)
		return false;
	c->late_steps++;
	return true;
}

/* Failures that come with the number at once: a task that says so, or a rise beyond chance. */
static void
failures(struct kn_tuner *t, struct kn_key *k, const struct kn_end *end)
{
	struct kn_class *c = &t->classes[k->class];

	if ((end->cut && !end->late) || t->fixed || end->started_ns <= c->backed_ns)
		return;
	if (end->busy && c->running >= c->limiter.limit)
		return; /* the limit is lower already, and comes into force as tasks end */
	if (c->limiter.limit != c->tries_limit) {
		if (c->limiter.limit > c->tries_limit && !kn_tries_suspect(c->here, c->below)) {
			c->below.done += c->here.done;
			c->below.failed += c->here.failed;
		}
		c->here = (struct kn_tries){ 0 };
		c->tries_limit = c->limiter.limit;
	}
	if (end->started_ns < kn_limiter_window_ns(&c->limiter) && !end->busy)
		return;
	c->here.done++;
	c->here.failed += end->failed;
	if (end->busy)
		kn_tuner_back_off(t, k->class, KN_WHY_BUSY, c->running + 1, 0, end->now_ns);
	else if (end->failed && (kn_tries_worse(c->here, c->below) || all_late(c, end)))
		kn_tuner_back_off(t, k->class, KN_WHY_FAILURES, (double)c->here.failed / c->here.done,
		    c->below.done > 0 ? (double)c->below.failed / c->below.done : 0, end->now_ns);
}

static void
follow(double *mean, double value, bool first)
{
	*mean = first ? value : *mean + FOLLOW * (value - *mean);
}

/* How long it would have taken alone: without waiting for a core, and with the efficiency that
 * was measured at few at once. */
static double
alone_ns(const struct kn_key *k, const struct kn_class *c, const struct kn_end *end, double runtime)
{
	const struct kn_level *low = c->limiter.levels.n > 0 ? &c->limiter.levels.at[0] : NULL;
	const struct kn_level *here = kn_levels_find(&c->limiter.levels, c->limiter.limit);
	double alone = runtime, slower;

	if (end->usage.known & KN_USAGE_DELAY)
		alone -= (double)end->usage.delay_ns;
	else if (k->measured && k->shares.cpu > 0.5)
		alone = fmin(alone, (double)end->usage.cpu_ns / k->shares.cores);
	if (low != NULL && here != NULL && low != here && k->shares.cpu <= 0.5) {
		slower = exp(here->lnx - low->lnx) * low->n / here->n;
		if (slower < 1)
			alone *= slower;
	}
	return fmax(alone, fmin(runtime, (double)end->usage.cpu_ns / fmax(1, k->shares.cores)));
}

void
kn_tuner_ended(struct kn_tuner *t, unsigned key, const struct kn_end *end)
{
	struct kn_key *k = &t->keys[key];
	struct kn_class *c = &t->classes[k->class];
	double runtime = (double)(end->now_ns - end->started_ns);
	bool first = k->done == 0;

	flow(t, k, end->now_ns);
	kn_tuner_memory_back(t, k, end->started_ns);
	k->running--;
	c->running--;
	t->running--;
	kn_traits_add(&k->traits, &end->delta);
	class_progress(c, &end->delta);
	k->traits.ends++;
	if (!end->cut && !end->busy) {
		k->done++;
		c->done++;
		follow(&k->runtime_ns, runtime, first && k->prior.kind == KNEE_KIND_UNKNOWN);
		follow(&k->cpu_ns, (double)end->usage.cpu_ns, first);
		follow(&k->bytes, (double)end->usage.bytes, first);
		follow(&c->runtime_ns, runtime, c->runtime_ns <= 0);
		kn_peaks_add(&k->peaks, end->peak_rss_bytes);
		kn_limiter_length(&c->limiter, end->started_ns, (int64_t)runtime);
		c->runtime_sum += runtime;
		c->alone_sum += alone_ns(k, c, end, runtime);
	}
	failures(t, k, end);
}

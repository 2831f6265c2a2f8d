/* SPDX-License-Identifier: MIT */
#include "tuner.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tuner_state.h"

#define MS ((int64_t)1000000)

/* After a refusal: wait this long before starting more, and twice as long each time again. */
#define PAUSE_NS (50 * MS)
#define PAUSE_MAX_NS (5000 * MS)
#define REFUSALS_SAME 3

/* No machine here runs more at once than this (pid_max on 64-bit Linux is 4 Mi). */
#define LIMIT_MAX 65536

/* Keys that are not measured yet are looked at this often, and at most so long. */
#define FIRST_LOOKS_NS (40 * MS)
#define FIRST_NS (3000 * MS)
#define GUARD_NS (500 * MS)
#define IDLE_NS (250 * MS)

/* Where lengths are the signal, so many are looked at, to see whether the work has changed. */
#define FEW_LOOKS 24

/* Means of ended tasks follow the latest by this share. */
#define FOLLOW 0.1

/* Bytes and CPU time are a clock for tasks at least this long; bytes from so many a task. */
#define LONG_NS (200.0 * MS)
#define BYTES_MIN (256.0 * 1024)
#define CPU_CLOCK_MIN 0.1

#define BACK_OFF 0.7
#define BACK_OFF_AGAIN_NS (3000 * MS)

/* So many time-outs and no other end make one ask whether fewer at once are faster, so often. */
#define LATE_MIN 4
#define LATE_STEPS 3

/* What memory forbids for so long is taken out of the limit. */
#define MEMORY_BLOCKS_NS (500 * MS)
#define MEMORY_BLOCKS 3

/* For so long tasks of other classes may start before one that there is no memory for. */
#define PASS_OVER_NS (10000 * MS)

/* While the tasks of an unknown command still grow, each may become so many times as large. */
#define GROWTH_ROOM 4
#define GROWTH_MIN_BYTES (16.0 * 1024 * 1024)

int
kn_tuner_new(const struct kn_tuner_options *o, const struct kn_machine *m, struct kn_tuner **ret)
{
	const struct kn_guard_options guard = {
		.memory_bytes = m->memory_bytes,
		.memfree_bytes = o->memfree_bytes,
		.memsuspend_bytes = o->memsuspend_bytes,
		.load_max = o->load_max,
		.noswap = o->noswap,
	};
	unsigned fit = m->fds_free / m->fds_per_task;
	unsigned want = o->asked > 0 ? o->asked : o->most > 0 ? o->most : LIMIT_MAX;
	struct kn_tuner *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	t->options = *o;
	t->machine = *m;
	t->fixed = o->asked > 0;
	t->pause_ns = PAUSE_NS;
	t->cap_due_ns = t->due_ns = t->guard_due_ns = INT64_MAX;
	t->cpu_frac = -1;
	if (want > LIMIT_MAX)
		want = LIMIT_MAX;
	if (want > m->processes_free)
		want = m->processes_free > 0 ? m->processes_free : 1;
	if (want > fit)
		want = fit > 0 ? fit : 1;
	t->cap = t->cap_most = want;
	kn_guard_init(&t->guard, &guard);
	/* What the user forbids holds from the first start on. */
	t->guarded = o->load_max > 0 || o->memfree_bytes > 0 || o->memsuspend_bytes > 0 || o->noswap;
	if (t->guarded)
		t->due_ns = 0;
	*ret = t;
	return 0;
}

void
kn_tuner_free(struct kn_tuner *t)
{
	free(t);
}

void
kn_tuner_tell(struct kn_tuner *t, unsigned class, unsigned from, enum kn_why why)
{
	const struct kn_class *c = &t->classes[class];
	struct kn_change *change;

	if (t->nchanges == KN_CHANGES) { /* nobody listens: the oldest is lost */
		t->change_first = (t->change_first + 1) % KN_CHANGES;
		t->nchanges--;
	}
	change = &t->changes[(t->change_first + t->nchanges++) % KN_CHANGES];
	*change = (struct kn_change){
		.now_ns = c->area.at_ns, .class = class, .from = from, .to = c->limiter.limit, .why = why
	};
	memcpy(change->figure, c->limiter.figure, sizeof(change->figure));
	if (why == KN_WHY_HARM || why == KN_WHY_CONFIRM)
		change->finding = kn_signs_compare(&c->signs_base, &c->signs);
	if (from > 0 && change->to != from)
		t->direction = change->to > from ? 1 : -1;
}

/* ---- keys ----------------------------------------------------------------------- */

/* With a given number there is one class, whatever the keys. */
static void
fixed_class(struct kn_tuner *t)
{
	const struct kn_limiter_start start = {
		.start = t->cap,
		.min = 1,
		.max = LIMIT_MAX,
		.why = KN_WHY_HAND,
	};

	if (t->nclasses > 0)
		return;
	t->classes[0] = (struct kn_class){ .busy_frac = -1 };
	kn_limiter_init(&t->classes[0].limiter, &start, 0);
	t->nclasses = 1;
}

static bool
name_same(const struct kn_key_name *a, const struct kn_key_name *b)
{
	return strcmp(a->program, b->program) == 0 && strcmp(a->kind, b->kind) == 0 &&
	    strcmp(a->place.host, b->place.host) == 0 && strcmp(a->place.disk, b->place.disk) == 0;
}

unsigned
kn_tuner_key(struct kn_tuner *t, const struct kn_key_name *name)
{
	struct kn_key *k;

	for (unsigned i = 0; i < t->nkeys; i++)
		if (name_same(&t->keys[i].name, name))
			return i;
	if (t->nkeys == KN_KEYS)
		return KN_KEYS - 1;
	k = &t->keys[t->nkeys];
	*k = (struct kn_key){ .name = *name, .head_seq = UINT64_MAX, .kind = t->options.hint };
	if (t->fixed)
		fixed_class(t);
	else
		k->class = kn_tuner_class(t, k, k->kind, 0);
	return t->nkeys++;
}

size_t
kn_tuner_nkeys(const struct kn_tuner *t)
{
	return t->nkeys;
}

const struct kn_key_name *
kn_tuner_key_name(const struct kn_tuner *t, unsigned key)
{
	return &t->keys[key].name;
}

void
kn_tuner_recall(struct kn_tuner *t, unsigned key, const struct kn_prior *prior)
{
	struct kn_key *k = &t->keys[key];

	k->prior = *prior;
	k->runtime_ns = prior->runtime_ns;
	k->shares = (struct kn_shares){
		.cpu = prior->cpu_share,
		.disk = prior->disk_share,
		.net = prior->net_share,
		.wait = prior->wait_share,
		.cores = prior->cores_per_task,
	};
	if (t->fixed || prior->kind == KNEE_KIND_UNKNOWN || t->options.hint != KNEE_KIND_UNKNOWN)
		return;
	k->kind = prior->kind;
	kn_tuner_move(t, k, kn_tuner_class(t, k, k->kind, 0), 0);
}

void
kn_tuner_queue(struct kn_tuner *t, unsigned key, uint64_t queued, uint64_t head_seq)
{
	struct kn_key *k = &t->keys[key];

	t->classes[k->class].queued += queued - k->queued;
	k->queued = queued;
	k->head_seq = head_seq;
}

/* ---- which next ------------------------------------------------------------------ */

/* What the next task of k may come to need; 0: nothing known. */
static uint64_t
expected_bytes(const struct kn_key *k)
{
	uint64_t expect = kn_peaks_expect(&k->peaks);
	double grown = GROWTH_ROOM * k->rss;

	if (k->peaks.total == 0 && k->prior.rss_bytes > 0)
		return (uint64_t)(1.2 * k->prior.rss_bytes);
	if (k->growing && k->peaks.total == 0 && grown > (double)expect)
		expect = (uint64_t)grown;
	return expect;
}

/* What running tasks may still take beyond what they used when the machine was last read; those that
 * started since may take all of it. */
static uint64_t
outstanding_bytes(const struct kn_tuner *t)
{
	double sum = 0;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];
		unsigned fresh = k->fresh < k->running ? k->fresh : k->running;

		if (k->running > 0)
			sum += k->needed + fresh * (double)expected_bytes(k);
	}
	/* What was remembered may be any number: this is more than any machine has. */
	return (uint64_t)fmin(sum, 1e18);
}

static bool
class_room(const struct kn_tuner *t, const struct kn_class *c)
{
	if (c->running + c->handed < c->limiter.limit + t->ahead)
		return true;
	return !t->fixed && t->running + t->handed < t->options.least;
}

/* The key of c whose next task has waited longest, or -1. */
static int
key_next(const struct kn_tuner *t, const struct kn_class *c)
{
	int best = -1;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];

		if (&t->classes[k->class] == c && k->queued > 0 &&
		    (best < 0 || k->head_seq < t->keys[best].head_seq))
			best = (int)i;
	}
	return best;
}

/* Has a's next task waited longer than b's? */
static bool
class_older(const struct kn_tuner *t, const struct kn_class *a, const struct kn_class *b)
{
	int x = key_next(t, a), y = key_next(t, b);

	return x >= 0 && (y < 0 || t->keys[x].head_seq < t->keys[y].head_seq);
}

/* The class furthest below its limit that has something to start, of those not passed over; NULL: none.
 * Of two as far below it is the one that has waited longer, so that all have their turn where a bound
 * leaves no room for each. */
static const struct kn_class *
class_next(const struct kn_tuner *t, const bool passed[KN_CLASSES])
{
	const struct kn_class *best = NULL;
	double least = INFINITY;

	for (unsigned i = 0; i < t->nclasses; i++) {
		const struct kn_class *c = &t->classes[i];
		double share = (double)(c->running + c->handed) / c->limiter.limit;

		if (passed[i] || c->queued == 0 || !class_room(t, c))
			continue;
		if (share < least || (share <= least && class_older(t, c, best))) {
			least = share;
			best = c;
		}
	}
	return best;
}

int
kn_tuner_pick(const struct kn_tuner *t, int64_t now_ns)
{
	bool passed[KN_CLASSES] = { false };
	const struct kn_class *c;
	int key;

	if (t->running + t->handed >= t->cap + t->ahead || t->guard.state >= KN_GUARD_NO_START ||
	    (t->guarded && !t->sampled))
		return -1;
	while ((c = class_next(t, passed)) != NULL) {
		key = key_next(t, c);
		if (t->fixed || key < 0 ||
		    kn_guard_admits(
			&t->guard, expected_bytes(&t->keys[key]), outstanding_bytes(t), t->running))
			return key;
		/* No memory for it now: something smaller may go first, but not for ever. */
		if (c->forbidden_ns > 0 && now_ns - c->forbidden_ns > PASS_OVER_NS)
			return -1;
		passed[c - t->classes] = true;
	}
	return -1;
}

unsigned
kn_tuner_nactive(const struct kn_tuner *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->nclasses; i++)
		n += t->classes[i].queued > 0 || t->classes[i].running + t->classes[i].handed > 0;
	return n;
}

bool
kn_tuner_hungry(const struct kn_tuner *t)
{
	return !t->fixed && t->running < t->cap && t->guard.state < KN_GUARD_NO_START;
}

/* ---- what happens to tasks --------------------------------------------------------- */

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
		t->due_ns = now_ns + FIRST_LOOKS_NS;
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
	if (total->known & KN_USAGE_RSS) {
		k->rss_sum += (double)total->rss_bytes;
		k->needed_sum += fmax(0, (double)expected_bytes(k) - (double)total->rss_bytes);
		k->rss_n++;
		kn_peaks_live(&k->peaks, total->rss_bytes);
	}
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

static void
back_off(struct kn_tuner *t, unsigned class, enum kn_why why, double a, double b, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	unsigned from = c->limiter.limit, before = c->running < from ? c->running : from;
	unsigned proven = kn_levels_below(&c->limiter.levels, before), to;

	to = (unsigned)(BACK_OFF * before);
	/* What a service took a while ago it takes again. */
	if (why == KN_WHY_BUSY && proven > to)
		to = proven;
	if (to < 1)
		to = 1;
	c->backed_ns = now_ns;
	c->must_search = true;
	if (c->limiter.phase == KN_PHASE_MODEL && c->kind != KNEE_KIND_CPU && c->kind != KNEE_KIND_UNKNOWN)
		c->limiter.phase = KN_PHASE_BASE;
	kn_limiter_back_off(&c->limiter, to, why, now_ns);
	c->limiter.figure[0] = a;
	c->limiter.figure[1] = b;
	c->tries_limit = c->limiter.limit;
	c->here = (struct kn_tries){ 0 };
	kn_tuner_tell(t, class, from, why);
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
		back_off(t, k->class, KN_WHY_BUSY, c->running + 1, 0, end->now_ns);
	else if (end->failed && (kn_tries_worse(c->here, c->below) || all_late(c, end)))
		back_off(t, k->class, KN_WHY_FAILURES, (double)c->here.failed / c->here.done,
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

/* What an ended task used is free again, before the machine is read the next time. */
static void
memory_given_back(struct kn_tuner *t, struct kn_key *k, int64_t started_ns)
{
	unsigned older = k->running - (k->fresh < k->running ? k->fresh : k->running);

	if (started_ns >= t->vitals_ns) {
		k->fresh -= k->fresh > 0;
		return;
	}
	if (older > 0)
		k->needed *= (double)(older - 1) / older;
	if (t->guard.free_bytes < UINT64_MAX - (uint64_t)k->rss)
		t->guard.free_bytes += (uint64_t)k->rss;
}

void
kn_tuner_ended(struct kn_tuner *t, unsigned key, const struct kn_end *end)
{
	struct kn_key *k = &t->keys[key];
	struct kn_class *c = &t->classes[k->class];
	double runtime = (double)(end->now_ns - end->started_ns);
	bool first = k->done == 0;

	flow(t, k, end->now_ns);
	memory_given_back(t, k, end->started_ns);
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

int64_t
kn_tuner_refused(struct kn_tuner *t, int err, int64_t now_ns)
{
	unsigned from = kn_tuner_limit(t);

	/* The third time that files run out at about the same number, it is the number. */
	if (err == -EMFILE && t->refused_at > 0 && t->running <= t->refused_at + 1 &&
	    t->running + 1 >= t->refused_at)
		t->refusals++;
	else
		t->refusals = 1;
	t->refused_at = t->running;
	if (err == -EMFILE && t->refusals >= REFUSALS_SAME && t->running > 0)
		t->cap_most = t->running;
	t->refused_ns = now_ns;
	t->cap = t->running > 0 ? t->running : 1;
	t->cap_due_ns = now_ns + t->pause_ns;
	if (t->pause_ns < PAUSE_MAX_NS)
		t->pause_ns *= 2;
	if (t->due_ns > t->cap_due_ns)
		t->due_ns = t->cap_due_ns;
	if (t->nclasses > 0 && kn_tuner_limit(t) != from) {
		t->classes[0].limiter.figure[0] = -err;
		t->classes[0].area.at_ns = now_ns;
		kn_tuner_tell(t, 0, from, KN_WHY_REFUSED);
		t->changes[(t->change_first + t->nchanges - 1) % KN_CHANGES].to = t->cap;
	}
	return t->cap_due_ns;
}

/* ---- a sample ------------------------------------------------------------------------ */

/* Only a limit that is reached shows that the machine starts tasks again. */
static void
cap_recover(struct kn_tuner *t, int64_t now_ns)
{
	if (now_ns < t->cap_due_ns)
		return;
	if (t->cap >= t->cap_most) {
		/* Refused at the same number again soon, it waits longer than before. */
		if (now_ns - t->refused_ns > 4 * t->pause_ns) {
			t->cap_due_ns = INT64_MAX;
			t->pause_ns = PAUSE_NS;
		} else {
			t->cap_due_ns = now_ns + t->pause_ns;
		}
		return;
	}
	if (t->running >= t->cap) {
		t->cap += 1 + t->cap / 8;
		if (t->pause_ns > PAUSE_NS)
			t->pause_ns /= 2;
		if (t->cap >= t->cap_most) {
			t->cap = t->cap_most;
			if (t->nclasses > 0) {
				kn_tuner_tell(t, 0, t->cap, KN_WHY_RECOVERED);
				t->changes[(t->change_first + t->nchanges - 1) % KN_CHANGES].to = t->cap;
			}
		}
	}
	t->cap_due_ns = now_ns + t->pause_ns;
}

/* The resident memory of a key's tasks, and whether it still grows. fresh: the machine's free memory
 * was read just now. */
static void
memory_follow(struct kn_key *k, int64_t now_ns, bool fresh)
{
	if (fresh) {
		k->needed = k->rss_n > 0 ? k->needed_sum / k->rss_n * k->running : 0;
		k->fresh = k->rss_n > 0 ? 0 : k->running;
	}
	if (k->rss_n > 0) {
		k->rss = k->rss_sum / k->rss_n;
		if (now_ns - k->rss_ns >= IDLE_NS) {
			k->growing = k->rss > GROWTH_MIN_BYTES && k->rss > 1.05 * k->rss_before;
			k->rss_before = k->rss;
			k->rss_ns = now_ns;
		}
	}
	k->rss_sum = k->rss_n = k->needed_sum = 0;
}

static enum kn_signal
signal_of(const struct kn_tuner *t, unsigned class, const struct kn_shares *s)
{
	const struct kn_class *c = &t->classes[class];
	double bytes = 0, time = 0, runtime = c->runtime_ns, age = (double)(c->area.at_ns - c->oldest_ns);

	for (unsigned i = 0; i < t->nkeys; i++) {
		if (t->keys[i].class != class)
			continue;
		bytes += t->keys[i].traits.bytes;
		time += t->keys[i].traits.time_ns;
	}
	if (runtime <= 0 || (c->oldest_ns > 0 && age > runtime))
		runtime = c->oldest_ns > 0 ? fmax(age, runtime) : runtime;
	if (runtime < LONG_NS || time <= 0 || c->kind == KNEE_KIND_WAIT || c->kind == KNEE_KIND_LOCK)
		return KN_SIGNAL_LENGTHS;
	if (bytes / time * fmax(runtime, 1e9) >= BYTES_MIN && bytes / time * runtime >= BYTES_MIN)
		return KN_SIGNAL_BYTES;
	return s->cpu >= CPU_CLOCK_MIN ? KN_SIGNAL_CPU : KN_SIGNAL_LENGTHS;
}

static void
signal_choose(struct kn_tuner *t, unsigned class, const struct kn_shares *s, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	enum kn_signal signal = signal_of(t, class, s);
	bool fresh = c->limiter.levels.n == 0;

	c->signal_agreed = signal == c->signal_next ? c->signal_agreed + 1 : 1;
	c->signal_next = signal;
	if (signal == c->signal || (!fresh && c->signal_agreed < 8))
		return;
	c->signal = signal;
	c->work = 0;
	if (!fresh)
		kn_limiter_restart(&c->limiter, KN_WHY_CHANGED, now_ns);
	else if (c->limiter.phase != KN_PHASE_MODEL)
		kn_limiter_restart(&c->limiter, c->limiter.why, now_ns);
}

static bool
other_probes(const struct kn_tuner *t, unsigned class)
{
	for (unsigned i = 0; i < t->nclasses; i++)
		if (i != class && t->classes[i].running > 0 &&
		    (t->classes[i].limiter.phase == KN_PHASE_PROBE ||
			t->classes[i].limiter.phase == KN_PHASE_BACK))
			return true;
	return false;
}

/* Tasks of the class that are not started yet; UINT64_MAX: no end in sight. */
static uint64_t
class_left(const struct kn_tuner *t, const struct kn_class *c)
{
	if (t->left_known)
		return c->queued;
	return UINT64_MAX;
}

/* Does memory forbid to start what of the class comes next? */
static bool
memory_forbids(const struct kn_tuner *t, unsigned class)
{
	const struct kn_key *next = NULL;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];

		if (k->class == class && k->queued > 0 && (next == NULL || k->head_seq < next->head_seq))
			next = k;
	}
	return next != NULL &&
	    !kn_guard_admits(&t->guard, expected_bytes(next), outstanding_bytes(t), t->running);
}

/* A limit that memory keeps from being reached is no limit: it comes down to what runs, and rises
 * again as memory allows. */
static void
memory_bound(struct kn_tuner *t, unsigned class, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	bool forbids = c->queued > 0 && memory_forbids(t, class);
	unsigned from = c->limiter.limit;

	c->forbidden_ns = !forbids ? 0 : c->forbidden_ns > 0 ? c->forbidden_ns : now_ns;
	if (c->running >= from || c->queued == 0) {
		c->reached_ns = now_ns;
		c->blocked = c->blocked_most = 0;
		if (c->memory_most > 0 && c->running >= c->memory_most && !forbids)
			c->memory_most += 1 + c->memory_most / 3;
		return;
	}
	c->blocked += forbids;
	if (c->running > c->blocked_most)
		c->blocked_most = c->running;
	if (now_ns - c->reached_ns < MEMORY_BLOCKS_NS || c->blocked < MEMORY_BLOCKS)
		return;
	c->memory_most = c->blocked_most > 0 ? c->blocked_most : 1;
	c->reached_ns = now_ns;
	c->blocked = c->blocked_most = 0;
	kn_class_model(t, class, now_ns);
	if (c->limiter.limit == from)
		return;
	c->limiter.why = KN_WHY_MEMORY;
	c->limiter.figure[0] = t->guard.free_bytes == UINT64_MAX ? 0 : (double)t->guard.free_bytes;
	kn_tuner_tell(t, class, from, KN_WHY_MEMORY);
}

/* What the machine showed since the last tick, at the limit that was in force. */
static void
signs_gather(struct kn_tuner *t, struct kn_class *c, int64_t now_ns)
{
	const char *disk = c->kind == KNEE_KIND_DISK ? c->resource : NULL;

	kn_signs_delay(&c->signs, c->delay_ns, c->area.sum);
	c->delay_ns = 0;
	if (t->vitals_ns == now_ns)
		kn_signs_vitals(&c->signs, &t->vitals, disk, (double)t->vitals_elapsed_ns);
}

/* Share of the cores that is busy without what only computes, which gives way to the others. */
static double
cpu_taken(const struct kn_tuner *t, const struct kn_class *c)
{
	double cores = 0;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];

		if (&t->classes[k->class] != c && t->classes[k->class].kind == KNEE_KIND_CPU)
			cores += k->running * k->shares.cores;
	}
	return t->cpu_frac < 0 ? -1 : fmax(0, t->cpu_frac - cores / t->machine.cores);
}

static void
class_tick(struct kn_tuner *t, unsigned class, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	struct kn_shares s = kn_class_shares(t, class);
	unsigned from = c->limiter.limit;
	struct kn_tick tick = {
		.now_ns = now_ns,
		.elapsed_ns = now_ns - c->ticked_ns,
		.running_now = c->running,
		.cpu_frac = cpu_taken(t, c),
		.ages = c->ages,
		.nages = c->nages,
		.nages_all = c->looked > 0 ? (size_t)(c->fresh_looked / c->looked * c->running) : 0,
		.runtime_ns = c->runtime_ns,
		.left = class_left(t, c),
		.done = c->done,
		.may_raise = t->guard.state == KN_GUARD_OK && !other_probes(t, class) &&
		    !kn_tries_suspect(c->here, c->below),
		.waits = (c->kind == KNEE_KIND_WAIT || c->kind == KNEE_KIND_NET) && s.cpu < 0.3,
		.starved = c->queued == 0,
	};

	signal_choose(t, class, &s, now_ns);
	tick.running = tick.elapsed_ns > 0 ? c->area.sum / (double)tick.elapsed_ns : c->running;
	tick.work = c->signal == KN_SIGNAL_LENGTHS ? -1 : c->work;
	if (tick.runtime_ns <= 0 && c->oldest_ns > 0)
		tick.runtime_ns = (double)(now_ns - c->oldest_ns);
	for (size_t i = 0; i < c->nages; i++)
		c->ages[i] = log(fmax(1, (double)now_ns - c->ages[i]));
	signs_gather(t, c, now_ns);
	c->area.sum = 0;
	c->ticked_ns = now_ns;
	c->work = 0;
	if (kn_limiter_tick(&c->limiter, &tick))
		kn_tuner_tell(t, class, from, c->limiter.why);
	if (c->limiter.limit != from) {
		c->signs_base = c->signs;
		c->signs = (struct kn_signs){ 0 };
	}
}

static enum kn_why
guard_why(enum kn_guard_reason reason)
{
	switch (reason) {
	case KN_GUARD_BY_SWAP:
		return KN_WHY_SWAP;
	case KN_GUARD_BY_MEMORY:
		return KN_WHY_MEMORY;
	case KN_GUARD_BY_LOAD:
		return KN_WHY_LOAD;
	case KN_GUARD_BY_PRESSURE:
	case KN_GUARD_BY_NOTHING:
		break;
	}
	return KN_WHY_PRESSURE;
}

static void
guard_sample(struct kn_tuner *t, int64_t now_ns, const struct kn_vitals *v)
{
	enum kn_guard_state before = t->guard.state;

	t->vitals = *v;
	t->vitals_elapsed_ns = t->vitals_ns > 0 ? now_ns - t->vitals_ns : 0;
	t->vitals_ns = now_ns;
	t->cpu_frac = v->known & KN_VITALS_CPU ? v->cpu_busy / t->machine.cores : -1;
	kn_guard_vitals(&t->guard, now_ns, v, t->running - t->suspended, t->suspended);
	if (t->guard.resume && t->suspended > 0)
		t->act = KN_ACT_RESUME;
	if (t->guard.state == KN_GUARD_SUSPEND)
		t->act = KN_ACT_SUSPEND;
	if (t->guard.state == KN_GUARD_REQUEUE)
		t->act = KN_ACT_REQUEUE;
	if (t->guard.state < KN_GUARD_NO_START || t->guard.state <= before)
		return;
	for (unsigned i = 0; i < t->nclasses; i++) {
		struct kn_class *c = &t->classes[i];

		/* What was lowered already shows its effect only when the tasks above it have ended. */
		if (c->running == 0 || (!t->fixed && c->running > c->limiter.limit) ||
		    (c->backed_ns > 0 && now_ns - c->backed_ns < BACK_OFF_AGAIN_NS))
			continue;
		if (t->guard.state >= KN_GUARD_BACK_OFF && t->guard.reason != KN_GUARD_BY_LOAD && !t->fixed) {
			back_off(t, i, guard_why(t->guard.reason), t->guard.figure, 0, now_ns);
			continue;
		}
		c->limiter.figure[0] = t->guard.figure;
		kn_tuner_tell(t, i, c->limiter.limit, guard_why(t->guard.reason));
	}
}

/* Some key runs of which it is not known yet what it needs. */
static bool
unmeasured(const struct kn_tuner *t, int64_t now_ns)
{
	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];

		if (k->running > 0 && !k->measured && now_ns - k->first_ns < FIRST_NS)
			return true;
	}
	return false;
}

static void
due_set(struct kn_tuner *t, int64_t now_ns)
{
	int64_t due = now_ns + (t->fixed ? GUARD_NS : IDLE_NS);

	if (unmeasured(t, now_ns) && due > now_ns + FIRST_LOOKS_NS)
		due = now_ns + FIRST_LOOKS_NS;
	for (unsigned i = 0; i < t->nclasses && !t->fixed; i++) {
		const struct kn_class *c = &t->classes[i];

		if (c->running > 0 && c->limiter.due_ns < due)
			due = c->limiter.due_ns;
	}
	if (t->cap_due_ns < due)
		due = t->cap_due_ns;
	t->due_ns = due;
	if (t->running == 0 && t->guard.state < KN_GUARD_NO_START && t->suspended == 0 && !t->guarded)
		t->due_ns = t->cap_due_ns;
}

void
kn_tuner_sample(struct kn_tuner *t, const struct kn_sample *s)
{
	t->sampled = true;
	t->left = s->left;
	t->left_known = s->left_known;
	cap_recover(t, s->now_ns);
	if (s->vitals != NULL)
		guard_sample(t, s->now_ns, s->vitals);
	for (unsigned i = 0; i < t->nkeys; i++)
		memory_follow(&t->keys[i], s->now_ns, s->vitals != NULL);
	kn_tuner_sort(t, s->now_ns);
	for (unsigned i = 0; i < t->nclasses; i++) {
		struct kn_class *c = &t->classes[i];

		kn_area_flow(&c->area, c->running, s->now_ns);
		if (!t->fixed && (c->running > 0 || c->queued > 0)) {
			kn_class_model(t, i, s->now_ns);
			memory_bound(t, i, s->now_ns);
			if (s->now_ns >= c->limiter.due_ns)
				class_tick(t, i, s->now_ns);
		}
		c->nages = 0;
		c->looked = c->fresh_looked = 0;
		c->oldest_ns = 0;
	}
	due_set(t, s->now_ns);
}

int64_t
kn_tuner_due_ns(const struct kn_tuner *t)
{
	return t->due_ns;
}

unsigned
kn_tuner_looks(const struct kn_tuner *t)
{
	if (t->fixed)
		return t->options.measure ? UINT_MAX : 0;
	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];
		const struct kn_class *c = &t->classes[k->class];

		/* Progress is of all; so is what is not known yet, and memory that grows. */
		if (k->running > 0 && (!k->measured || k->growing || c->signal != KN_SIGNAL_LENGTHS))
			return UINT_MAX;
	}
	return FEW_LOOKS;
}

void
kn_tuner_adjust(struct kn_tuner *t, int by, int64_t now_ns)
{
	unsigned from = kn_tuner_limit(t);
	int64_t to = (int64_t)from + by;

	if (to < 1)
		to = 1;
	if (to > LIMIT_MAX)
		to = LIMIT_MAX;
	t->cap = t->cap_most = (unsigned)to;
	if (t->fixed && t->nclasses > 0) {
		(void)kn_limiter_set(&t->classes[0].limiter, t->cap, KN_WHY_HAND, now_ns);
	} else {
		/* Every class may use all of it: what is picked first stays in balance. */
		for (unsigned i = 0; i < t->nclasses; i++)
			(void)kn_limiter_set(&t->classes[i].limiter, t->cap, KN_WHY_HAND, now_ns);
		t->options.least = t->cap;
	}
	if (t->nclasses == 0)
		return;
	t->classes[0].area.at_ns = now_ns;
	kn_tuner_tell(t, 0, from, KN_WHY_HAND);
	t->changes[(t->change_first + t->nchanges - 1) % KN_CHANGES].to = t->cap;
}

void
kn_tuner_capacity(struct kn_tuner *t, unsigned limit, int64_t now_ns)
{
	t->cap = t->cap_most = limit < 1 ? 1 : limit > LIMIT_MAX ? LIMIT_MAX : limit;
	if (t->nclasses > 0)
		(void)kn_limiter_set(&t->classes[0].limiter, t->cap, KN_WHY_HAND, now_ns);
}

bool
kn_tuner_change(struct kn_tuner *t, struct kn_change *ret)
{
	if (t->nchanges == 0)
		return false;
	*ret = t->changes[t->change_first];
	t->change_first = (t->change_first + 1) % KN_CHANGES;
	t->nchanges--;
	return true;
}

enum kn_act
kn_tuner_act(struct kn_tuner *t)
{
	enum kn_act act = t->act;

	t->act = KN_ACT_NONE;
	return act;
}

void
kn_tuner_suspended(struct kn_tuner *t, unsigned suspended)
{
	t->suspended = suspended;
}

unsigned
kn_tuner_limit(const struct kn_tuner *t)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < t->nclasses; i++)
		if (t->fixed || t->classes[i].running > 0 || t->classes[i].queued > 0)
			sum += t->classes[i].limiter.limit;
	if (sum < t->options.least)
		sum = t->options.least;
	if (t->nclasses == 0 || sum == 0)
		sum = t->fixed ? t->cap : 1;
	return sum < t->cap ? (unsigned)sum : t->cap;
}

int
kn_tuner_direction(const struct kn_tuner *t)
{
	return t->direction;
}

bool
kn_tuner_fixed(const struct kn_tuner *t)
{
	return t->fixed;
}

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
/* The same of all machines of a run together. */
#define CAPACITY_MAX (1U << 20)

/* Keys that are not measured yet are looked at more often, but no longer than this. */
#define FIRST_NS (3000 * MS)
#define GUARD_NS (500 * MS)
#define IDLE_NS (250 * MS)

/* Where lengths are the signal, so many are looked at, to see whether the work has changed. */
#define FEW_LOOKS 24

/* Bytes and CPU time are a clock for tasks at least this long; bytes from so many a task. */
#define LONG_NS (200.0 * MS)
#define BYTES_MIN (256.0 * 1024)
#define CPU_CLOCK_MIN 0.1

#define BACK_OFF 0.7
#define BACK_OFF_AGAIN_NS (3000 * MS)

/* For so long tasks of other classes may start before one that there is no memory for. */
#define PASS_OVER_NS (10000 * MS)

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
	t->cap_due_ns = t->due_ns = INT64_MAX;
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
		.max = CAPACITY_MAX,
		.why = KN_WHY_HAND,
	};

	if (t->nclasses > 0)
		return;
	t->classes[0] = (struct kn_class){ 0 };
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

static bool
class_room(const struct kn_tuner *t, const struct kn_class *c)
{
	if (c->running + c->handed < c->limiter.limit + t->ahead)
		return true;
	return !t->fixed && t->running + t->handed < t->options.least;
}

int
kn_tuner_next_key(const struct kn_tuner *t, const struct kn_class *c)
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
	int x = kn_tuner_next_key(t, a), y = kn_tuner_next_key(t, b);

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
		key = kn_tuner_next_key(t, c);
		if (t->fixed || key < 0 || kn_tuner_memory_admits(t, &t->keys[key]))
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

/* ---- what the machine refuses ------------------------------------------------------ */

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

/* ---- what lowers limits at once ----------------------------------------------------- */

void
kn_tuner_back_off(struct kn_tuner *t, unsigned class, enum kn_why why, double a, double b, int64_t now_ns)
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
			kn_tuner_back_off(t, i, guard_why(t->guard.reason), t->guard.figure, 0, now_ns);
			continue;
		}
		c->limiter.figure[0] = t->guard.figure;
		kn_tuner_tell(t, i, c->limiter.limit, guard_why(t->guard.reason));
	}
}

/* ---- a sample ------------------------------------------------------------------------ */

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

	if (unmeasured(t, now_ns) && due > now_ns + KN_FIRST_LOOKS_NS)
		due = now_ns + KN_FIRST_LOOKS_NS;
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
		kn_tuner_memory_follow(&t->keys[i], s->now_ns, s->vitals != NULL);
	kn_tuner_sort(t, s->now_ns);
	for (unsigned i = 0; i < t->nclasses; i++) {
		struct kn_class *c = &t->classes[i];

		kn_area_flow(&c->area, c->running, s->now_ns);
		if (!t->fixed && (c->running > 0 || c->queued > 0)) {
			kn_class_model(t, i, s->now_ns);
			kn_tuner_memory_bound(t, i, s->now_ns);
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

/* ---- from outside -------------------------------------------------------------------- */

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
	t->cap = t->cap_most = limit < 1 ? 1 : limit > CAPACITY_MAX ? CAPACITY_MAX : limit;
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
	unsigned idle = 0;

	for (unsigned i = 0; i < t->nclasses; i++)
		if (t->fixed || t->classes[i].running > 0 || t->classes[i].queued > 0)
			sum += t->classes[i].limiter.limit;
	/* A class that its keys have left has nothing to say. */
	for (unsigned i = 0; i < t->nkeys && sum == 0; i++)
		if (t->classes[t->keys[i].class].limiter.limit > idle)
			idle = t->classes[t->keys[i].class].limiter.limit;
	if (sum == 0)
		sum = idle;
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

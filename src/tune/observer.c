/* SPDX-License-Identifier: MIT */
#include "observer.h"

#include <math.h>

#include "classify.h"

#define MS ((int64_t)1000000)

/* Shares are looked at this often; so many looks make the first kind, so many in a row another one,
 * if they say so for long enough: a second, or this part of the life so far. */
#define LOOK_NS (40 * MS)
#define LOOKS_FIRST 5
#define AGREE 3
#define AGREE_NS (1000 * MS)
#define AGREE_PART 4
#define FOLLOW 0.3

/* What was found to compute does so while its share is above this. */
#define CPU_STAYS 0.55
#define CPU_SHARE_MIN 0.1
#define CPU_ROOM 1.25
/* So much of the cores in use, and units may have been waiting for one. Where the wait cannot be seen, a
 * unit that computes so many times what it did when cores were free has become another. */
#define SATURATED 0.9
#define CHANGED 1.5

/* A number of the model is taken when it stays so long. */
#define MODEL_STAYS_NS (1000 * MS)
#define IDLE_NS (250 * MS)

/* So many units that wait, and fewer, are not searched with. */
#define FEW_WAITING 32

/* Units that last so long are measured by their lengths, where they are told. */
#define LENGTHS_NS 5e6
#define LENGTHS_AGREE 8
/* Else by counting them: over the time of one at least, since those that began together end together,
 * and until so many have ended, or this long. */
#define COUNT_MAX_NS 2e9
#define COUNT_MIN_NS 200e6
#define COUNT_ENDS 200
#define COUNT_ENDS_NS 500e6
#define LENGTH_FADE 64

/* Counting is coarse, and of numbers that are as good the smallest is wanted: it gets this in its favour,
 * in standard errors. */
#define SAME_ERRORS 1.0

/* After a refusal it comes down once for all units that ran then: until as many have ended well, or
 * would have. */
#define BACK_OFF 0.7
#define BACKED_NS (200 * MS)
#define BACKED_LENGTHS 4

void
kn_observer_init(struct kn_observer *o, const struct kn_observer_options *options)
{
	*o = (struct kn_observer){ .options = *options, .alone = -1, .kind = options->hint };
	if (o->options.most < 1)
		o->options.most = 1;
	if (o->options.look_ns <= 0)
		o->options.look_ns = LOOK_NS;
}

static bool
searches(const struct kn_observer *o)
{
	return o->options.asked == 0 && o->kind != KNEE_KIND_CPU && o->kind != KNEE_KIND_UNKNOWN;
}

static void
begin(struct kn_observer *o, const struct kn_observed *now)
{
	unsigned number = o->options.asked > 0 ? o->options.asked : now->running;
	struct kn_limiter_start start = {
		.start = number,
		.min = 1,
		.max = o->options.asked > 0 ? o->options.asked : o->options.most,
		.same_errors = SAME_ERRORS,
		.why = KN_WHY_START,
	};

	/* Without processor times nothing tells what it is: all of it is searched. */
	if (now->cpu_ns < 0 && o->kind == KNEE_KIND_UNKNOWN)
		o->kind = KNEE_KIND_WAIT;
	start.search = searches(o);
	kn_limiter_init(&o->limiter, &start, now->now_ns);
	o->begin_ns = o->look.since_ns = o->tick.since_ns = o->model_ns = now->now_ns;
}

/* ---- what it is ------------------------------------------------------------------ */

/* The share of its time that a unit would compute if it never waited for a core. */
static double
look_share(struct kn_observer *o, double elapsed_ns)
{
	double busy = fmin(1, o->look.cpu_ns / o->look.area), queued;

	if (o->last.delay_ns >= 0) {
		queued = fmin(0.95, o->look.delay_ns / o->look.area);
		return fmin(1, fmin(busy / (1 - queued), busy + queued));
	}
	if (o->look.cpu_ns < SATURATED * o->options.cores * elapsed_ns) {
		o->alone = o->alone < 0 ? busy : o->alone + FOLLOW * (busy - o->alone);
		return busy;
	}
	if (o->alone < 0 || busy > CHANGED * o->alone)
		o->alone = -1;
	return o->alone < 0 ? 1 : fmax(busy, o->alone);
}

/* What is not computing is waiting: more cannot be told from sums. */
static enum knee_kind
kind_of(const struct kn_observer *o)
{
	struct kn_shares s = { .cpu = o->share, .wait = 1 - o->share };

	if (o->kind == KNEE_KIND_CPU && o->share >= CPU_STAYS)
		return KNEE_KIND_CPU;
	return kn_classify(&s);
}

static void
kind_set(struct kn_observer *o, enum knee_kind kind, int64_t now_ns)
{
	bool searched = searches(o);

	o->kind = kind;
	o->model = 0;
	if (!searches(o) || searched)
		return;
	o->limiter.phase = KN_PHASE_BASE;
	kn_limiter_restart(&o->limiter, KN_WHY_KIND, now_ns);
}

static void
kind_follow(struct kn_observer *o, int64_t now_ns)
{
	bool known = o->kind != KNEE_KIND_UNKNOWN;
	enum knee_kind kind = kind_of(o);
	int64_t stays_ns = (now_ns - o->begin_ns) / AGREE_PART;

	if (kind != o->next)
		o->next_ns = now_ns;
	o->agreed = kind == o->next ? o->agreed + 1 : 1;
	o->next = kind;
	if (stays_ns > AGREE_NS)
		stays_ns = AGREE_NS;
	if (known && (kind == o->kind || o->agreed < AGREE || now_ns - o->next_ns < stays_ns))
		return;
	/* What a hint says is waiting may wait for a disk or the net, which cannot be seen here. */
	if (kind == KNEE_KIND_WAIT && searches(o) && o->kind != KNEE_KIND_MIXED)
		return;
	if (o->looks >= LOOKS_FIRST)
		kind_set(o, kind, now_ns);
}

static void
look(struct kn_observer *o, const struct kn_observed *now)
{
	double elapsed_ns = (double)(now->now_ns - o->look.since_ns), share;

	if (elapsed_ns < (double)o->options.look_ns)
		return;
	if (now->cpu_ns >= 0 && o->look.area > 0) {
		share = look_share(o, elapsed_ns);
		o->share = o->looks == 0 ? share : o->share + FOLLOW * (share - o->share);
		o->looks++;
		kind_follow(o, now->now_ns);
	}
	o->look = (struct kn_observer_sums){ .since_ns = now->now_ns };
}

/* ---- its number ------------------------------------------------------------------ */

/* Waiting units, and no more of them than this: all at once. 0: more, or not known. */
static unsigned
few(const struct kn_observer *o, const struct kn_observed *now)
{
	uint64_t total = now->left < FEW_WAITING ? now->left + now->running : UINT64_MAX;

	if ((o->kind != KNEE_KIND_WAIT && o->kind != KNEE_KIND_NET) || o->must_search || now->left == 0 ||
	    o->limiter.levels.n > 0 || o->limiter.base > 0)
		return 0;
	return total <= FEW_WAITING ? (unsigned)total : 0;
}

/* The number or the bounds that need no search. */
static void
model(struct kn_observer *o, const struct kn_observed *now)
{
	unsigned most = o->options.most, number;
	double room;

	if (o->options.asked > 0 || o->kind == KNEE_KIND_UNKNOWN)
		return;
	if (o->kind == KNEE_KIND_CPU) {
		number = kn_cpu_slots(o->options.cores, o->share);
		if (number != o->model) {
			o->model = number;
			o->model_ns = now->now_ns;
		}
		if (now->now_ns - o->model_ns >= MODEL_STAYS_NS)
			(void)kn_limiter_set(&o->limiter, number, KN_WHY_CORES, now->now_ns);
		return;
	}
	if (o->share >= CPU_SHARE_MIN) {
		/* It bounds the search; what runs already is not taken back for it. */
		room = fmax(ceil(CPU_ROOM * o->options.cores / o->share) + 1, o->limiter.limit);
		most = most < room ? most : (unsigned)room;
	}
	o->limiter.cpu_share = o->share;
	(void)kn_limiter_bounds(&o->limiter, 1, most, KN_WHY_BOUND, now->now_ns);
	number = few(o, now);
	if (number > o->limiter.limit)
		(void)kn_limiter_set(&o->limiter, number, KN_WHY_MODEL, now->now_ns);
}

/* A service said that so many are too many. Units that began before it was lowered say so again. */
static void
refusals(struct kn_observer *o, const struct kn_observed *now)
{
	unsigned before = now->running < o->limiter.limit ? now->running : o->limiter.limit, to, proven;

	if (o->backed) {
		o->backed = now->done - now->refused < o->backed_done && now->now_ns < o->backed_until_ns;
		return;
	}
	if (now->refused <= o->last.refused || o->options.asked > 0)
		return;
	proven = kn_levels_below(&o->limiter.levels, before);
	to = (unsigned)(BACK_OFF * before);
	if (proven > to)
		to = proven;
	o->backed = o->must_search = true;
	o->backed_done = now->done - now->refused + now->running;
	o->backed_until_ns = now->now_ns + BACKED_NS + (int64_t)(BACKED_LENGTHS * o->length_ns);
	if (searches(o) && o->limiter.phase == KN_PHASE_MODEL)
		o->limiter.phase = KN_PHASE_BASE;
	kn_limiter_back_off(&o->limiter, to, KN_WHY_BUSY, now->now_ns);
}

/* Once there is something to forget, the way of measuring changes only for good. */
static void
signal_choose(struct kn_observer *o, const struct kn_observed *now)
{
	bool lengths = now->starts_ns != NULL && o->length_ns >= LENGTHS_NS;

	o->lengths_agreed = lengths != o->by_lengths ? o->lengths_agreed + 1 : 0;
	if (lengths == o->by_lengths || (o->limiter.levels.n > 0 && o->lengths_agreed < LENGTHS_AGREE))
		return;
	o->by_lengths = lengths;
	o->lengths_agreed = 0;
	if (searches(o))
		kn_limiter_restart(&o->limiter, o->limiter.why, now->now_ns);
}

static double
cores_wanted(const struct kn_observer *o, double elapsed_ns)
{
	double wanted_ns = o->tick.cpu_ns;

	if (o->last.delay_ns >= 0)
		wanted_ns += o->tick.delay_ns;
	return fmin(1, wanted_ns / elapsed_ns / o->options.cores);
}

/* Logarithms of the ages of what began in the limiter's window. */
static size_t
ages(struct kn_observer *o, const struct kn_observed *now, size_t *ret_all)
{
	size_t n = 0, all = 0;

	for (size_t i = 0; i < now->nstarts; i++) {
		if (now->starts_ns[i] < kn_limiter_window_ns(&o->limiter))
			continue;
		all++;
		if (n < KN_OBSERVER_AGES)
			o->ages[n++] = log(fmax(1, (double)(now->now_ns - now->starts_ns[i])));
	}
	*ret_all = all;
	return n;
}

static void
tick(struct kn_observer *o, const struct kn_observed *now)
{
	double elapsed_ns = (double)(now->now_ns - o->tick.since_ns);
	struct kn_tick t = {
		.now_ns = now->now_ns,
		.elapsed_ns = now->now_ns - o->tick.since_ns,
		.running = o->tick.area / elapsed_ns,
		.running_now = now->running,
		.cpu_frac = now->cpu_ns < 0 ? -1 : cores_wanted(o, elapsed_ns),
		.ages = o->ages,
		.runtime_ns = o->length_ns,
		.left = now->left,
		.done = now->done,
		.may_raise = !o->backed,
		.waits = o->kind == KNEE_KIND_WAIT || o->kind == KNEE_KIND_NET,
		.starved = now->left == 0,
		.counts = true,
	};

	signal_choose(o, now);
	t.work = o->by_lengths ? -1 : o->tick.done;
	t.nages = ages(o, now, &t.nages_all);
	o->tick = (struct kn_observer_sums){ .since_ns = now->now_ns };
	(void)kn_limiter_tick(&o->limiter, &t);
}

/* ---- from outside ---------------------------------------------------------------- */

void
kn_observer_length(struct kn_observer *o, int64_t started_ns, int64_t now_ns)
{
	kn_limiter_length(&o->limiter, started_ns, now_ns - started_ns);
}

static void
sums_add(struct kn_observer_sums *s, const struct kn_observer_sums *more)
{
	s->area += more->area;
	s->done += more->done;
	s->cpu_ns += more->cpu_ns;
	s->delay_ns += more->delay_ns;
}

static void
gather(struct kn_observer *o, const struct kn_observed *now)
{
	const struct kn_observed *last = &o->last;
	struct kn_observer_sums s = {
		.area = 0.5 * ((double)last->running + now->running) * (double)(now->now_ns - last->now_ns),
		/* What was refused is over soon, and was of no use. */
		.done = (double)(now->done - last->done) - (double)(now->refused - last->refused),
	};

	if (now->cpu_ns >= 0 && last->cpu_ns >= 0)
		s.cpu_ns = (double)(now->cpu_ns - last->cpu_ns);
	if (now->delay_ns >= 0 && last->delay_ns >= 0)
		s.delay_ns = (double)(now->delay_ns - last->delay_ns);
	sums_add(&o->look, &s);
	sums_add(&o->tick, &s);
	o->length_area += s.area;
	o->length_done += s.done;
	if (o->length_done > 0)
		o->length_ns = o->length_area / o->length_done;
	while (o->length_done > LENGTH_FADE) {
		o->length_area /= 2;
		o->length_done /= 2;
	}
}

unsigned
kn_observer_tell(struct kn_observer *o, const struct kn_observed *now)
{
	if (o->last.now_ns == 0) {
		begin(o, now);
	} else if (now->now_ns > o->last.now_ns) {
		gather(o, now);
		look(o, now);
		model(o, now);
		refusals(o, now);
		if (now->now_ns >= kn_observer_due_ns(o) && searches(o))
			tick(o, now);
	}
	o->last = *now;
	return o->limiter.limit;
}

int64_t
kn_observer_due_ns(const struct kn_observer *o)
{
	int64_t due_ns = o->limiter.due_ns, count_ns;
	double ends_ns;

	if (o->kind == KNEE_KIND_UNKNOWN)
		return o->look.since_ns + o->options.look_ns;
	if (!searches(o))
		return o->last.now_ns + IDLE_NS;
	if (o->by_lengths)
		return due_ns;
	ends_ns = fmin(COUNT_ENDS * o->length_ns / o->limiter.limit, COUNT_ENDS_NS);
	ends_ns = fmax(COUNT_MIN_NS, fmax(o->length_ns, ends_ns));
	count_ns = (int64_t)fmin(ends_ns, COUNT_MAX_NS);
	count_ns += o->tick.since_ns;
	return due_ns > count_ns ? due_ns : count_ns;
}

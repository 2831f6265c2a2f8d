/* SPDX-License-Identifier: MIT */
#include "fleet.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#define SECOND_NS ((int64_t)1000000000)

/* How long to wait before the second try, and at most. */
#define WAIT_FIRST_NS SECOND_NS
#define WAIT_MOST_NS (60 * SECOND_NS)

/* Of those with room so many are compared. */
#define CANDIDATES 8

/* After so many results the older ones count half. */
#define STAY_MEMORY 64

/* Results needed, of a machine and of the others, before one is called odd; and how small the probability must
 * be that it was chance: below exp(-ODD_SURELY), for any of the machines. */
#define ODD_RESULTS 10
#define ODD_SURELY 14.0

/* Nobody is held back longer than this at a time, lest what is no fault of its own stops it for long. */
#define HELD_MOST_NS (30 * SECOND_NS)
#define HELD_FIRST_NS (5 * SECOND_NS)

/* After so many results all that came before count half. */
#define LATELY_ALL 64
#define LATELY_EACH 32

static struct kn_fleet_host *
host_of(struct kn_heap_node *n)
{
	return (struct kn_fleet_host *)(void *)((char *)n - offsetof(struct kn_fleet_host, due));
}

static uint32_t
number_of(const struct kn_fleet *f, const struct kn_fleet_host *host)
{
	return (uint32_t)(host - f->hosts);
}

/* kn_fleet_init made the room, so this cannot fail. A node is in one heap at most. */
static void
due_at(struct kn_heap *heap, struct kn_fleet_host *host, int64_t at_ns)
{
	(void)kn_heap_set(heap, &host->due, at_ns);
}

int
kn_fleet_init(struct kn_fleet *f, uint32_t n, const struct kn_fleet_rules *rules, uint64_t seed)
{
	*f = (struct kn_fleet){ .n = n, .rules = *rules, .first = KN_FLEET_ANY, .random = seed, .alive = n };
	f->hosts = calloc(n > 0 ? n : 1, sizeof(*f->hosts));
	if (f->hosts == NULL)
		return -ENOMEM;
	if (kn_heap_reserve(&f->idle, n) < 0 || kn_heap_reserve(&f->timers, n) < 0) {
		kn_fleet_done(f);
		return -ENOMEM;
	}
	/* The first tries go in the order of the list: small keys, before any time. */
	for (uint32_t h = 0; h < n; h++) {
		f->hosts[h].ring = f->hosts[h].ring_prev = KN_FLEET_ANY;
		due_at(&f->idle, &f->hosts[h], INT64_MIN + (int64_t)h);
	}
	return 0;
}

void
kn_fleet_done(struct kn_fleet *f)
{
	kn_heap_done(&f->idle);
	kn_heap_done(&f->timers);
	free(f->hosts);
	*f = (struct kn_fleet){ 0 };
}

/* ---- the ring of those with room -------------------------------------------- */

static bool
has_room(const struct kn_fleet *f, uint32_t h)
{
	const struct kn_fleet_host *host = &f->hosts[h];

	return host->state == KN_HOST_UP && host->out < host->want && !host->full && !host->odd &&
	    !host->held;
}

static void
ring_leave(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (host->ring == h) {
		f->first = KN_FLEET_ANY;
	} else {
		f->hosts[host->ring_prev].ring = host->ring;
		f->hosts[host->ring].ring_prev = host->ring_prev;
		if (f->first == h)
			f->first = host->ring;
	}
	host->ring = host->ring_prev = KN_FLEET_ANY;
}

/* At its end, which is before its first. */
static void
ring_join(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (f->first == KN_FLEET_ANY) {
		host->ring = host->ring_prev = f->first = h;
		return;
	}
	host->ring = f->first;
	host->ring_prev = f->hosts[f->first].ring_prev;
	f->hosts[host->ring_prev].ring = h;
	f->hosts[f->first].ring_prev = h;
}

static void
ring_look(struct kn_fleet *f, uint32_t h)
{
	bool in = f->hosts[h].ring != KN_FLEET_ANY, should = has_room(f, h);

	if (in && !should)
		ring_leave(f, h);
	else if (!in && should)
		ring_join(f, h);
}

/* ---- whose tasks fail oddly often ----------------------------------------------- */

static bool
mostly_fails(const struct kn_fleet_host *host)
{
	return host->late_done >= ODD_RESULTS && host->late_failed > host->late_done / 2;
}

/*
 * Those that mostly fail are nothing to compare with: among three broken machines each would look like the others.
 * Where all fail there is nobody to compare with, and it is the command. These two stand around each change of what
 * is summed.
 */
static void
sound_sub(struct kn_fleet *f, const struct kn_fleet_host *host)
{
	if (host->state == KN_HOST_ASIDE || mostly_fails(host))
		return;
	f->sound_done -= host->late_done;
	f->sound_failed -= host->late_failed;
	if (host->state == KN_HOST_UP) {
		f->sound_out -= host->out;
		f->sound_limit -= host->limit;
	}
}

static void
sound_add(struct kn_fleet *f, const struct kn_fleet_host *host)
{
	if (host->state == KN_HOST_ASIDE || mostly_fails(host))
		return;
	f->sound_done += host->late_done;
	f->sound_failed += host->late_failed;
	if (host->state == KN_HOST_UP) {
		f->sound_out += host->out;
		f->sound_limit += host->limit;
	}
}

/*
 * More than half of its results are failures, of the others' less than a fifth of that share; and that is not chance:
 * if each of its n results failed with the others' probability p, as many failures as it has, a share q, would
 * come with a probability of at most exp(-n D), D = q ln(q/p) + (1-q) ln((1-q)/(1-p)) (Chernoff's bound for the
 * binomial distribution). For p stands (K+1)/(N+2), a guess above K of N. Each machine may be unlucky, so the
 * bound is divided by their number. Only what came lately counts, for all over the same time: so inputs
 * that fail wherever they run are not blamed on one that came when they did, and one that was good for
 * long is noticed when it breaks.
 */
static bool
odd(const struct kn_fleet *f, const struct kn_fleet_host *host)
{
	double n = host->late_done, others = (double)f->sound_done;
	double q, p, d;

	if (f->rules.pinned || !mostly_fails(host) || others < ODD_RESULTS)
		return false;
	q = host->late_failed / n;
	p = ((double)f->sound_failed + 1) / (others + 2);
	if ((double)f->sound_failed / others >= q / 5 || p >= q)
		return false;
	d = q * log(q / p) + (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0);
	return n * d > ODD_SURELY + log((double)f->n);
}

/* There are others at work, or soon will be, that have not shown enough yet. */
static bool
others_begin(const struct kn_fleet *f)
{
	return f->sound_done < ODD_RESULTS && (f->sound_out > 0 || f->connecting > 0);
}

/* To be set aside as soon as somebody asks what is due. */
static void
odd_look(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (host->state != KN_HOST_UP || host->odd || f->up < 2 || !odd(f, host))
		return;
	host->odd = true;
	due_at(&f->timers, host, INT64_MIN);
	ring_look(f, h);
}

/* Its first tasks failed. To wait for the others is worth it only when they can do a good part of what it does; and
 * for those that are on their way no longer than connections usually take. */
static void
held_begin(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];
	int64_t until_ns = f->now_ns + HELD_MOST_NS;

	if (f->rules.pinned || host->state != KN_HOST_UP || host->held || host->odd || !mostly_fails(host) ||
	    !others_begin(f))
		return;
	if (f->sound_out == 0 || f->sound_limit < host->limit / 4)
		until_ns = f->connecting > 0 ? host->up_ns + HELD_FIRST_NS : 0;
	if (until_ns <= f->now_ns)
		return;
	host->held = true;
	host->held_ns = until_ns;
	f->nheld++;
	if (host->due.key > until_ns)
		due_at(&f->timers, host, until_ns);
	ring_look(f, h);
}

static void
held_end(struct kn_fleet *f, uint32_t h)
{
	if (!f->hosts[h].held)
		return;
	f->hosts[h].held = false;
	f->nheld--;
	odd_look(f, h);
	ring_look(f, h);
}

/* Are those that are held to be held on? Of a run this is so once, in its first moments. */
static void
held_look(struct kn_fleet *f)
{
	if (f->nheld == 0 || others_begin(f))
		return;
	for (uint32_t h = 0; h < f->n; h++)
		held_end(f, h);
}

/* What is long ago counts ever less, of all at the same time. */
static void
fade(struct kn_fleet *f)
{
	if (f->late_done < LATELY_ALL + LATELY_EACH * (uint64_t)f->n)
		return;
	f->late_done = 0;
	for (uint32_t h = 0; h < f->n; h++) {
		struct kn_fleet_host *host = &f->hosts[h];

		sound_sub(f, host);
		host->late_done /= 2;
		host->late_failed /= 2;
		sound_add(f, host);
		f->late_done += host->late_done;
	}
}

/* ---- what happened ------------------------------------------------------------ */

static void
time_is(struct kn_fleet *f, int64_t now_ns)
{
	if (now_ns > f->now_ns)
		f->now_ns = now_ns;
}

/* No state is entered from a wrong one, whatever the caller heard from a machine. */
static bool
is_idle(const struct kn_fleet_host *host)
{
	return host->state == KN_HOST_IDLE || host->state == KN_HOST_WAITING;
}

void
kn_fleet_connecting(struct kn_fleet *f, uint32_t h, int64_t now_ns)
{
	struct kn_fleet_host *host = &f->hosts[h];

	time_is(f, now_ns);
	if (!is_idle(host))
		return;
	kn_heap_remove(host->state == KN_HOST_IDLE ? &f->idle : &f->timers, &host->due);
	host->state = KN_HOST_CONNECTING;
	host->begun_ns = now_ns;
	host->at_ns = f->rules.connect_ns > 0 ? now_ns + f->rules.connect_ns : INT64_MAX;
	f->connecting++;
	due_at(&f->timers, host, host->at_ns);
}

void
kn_fleet_patience(struct kn_fleet *f, uint32_t h, int64_t ns, int64_t now_ns)
{
	struct kn_fleet_host *host = &f->hosts[h];

	time_is(f, now_ns);
	if (host->state != KN_HOST_CONNECTING || f->rules.connect_ns <= 0 || host->at_ns >= now_ns + ns)
		return;
	host->at_ns = now_ns + ns;
	due_at(&f->timers, host, host->at_ns);
}

void
kn_fleet_up(struct kn_fleet *f, uint32_t h, int64_t now_ns)
{
	struct kn_fleet_host *host = &f->hosts[h];

	time_is(f, now_ns);
	if (host->state != KN_HOST_CONNECTING)
		return;
	f->connecting--;
	f->up++;
	sound_sub(f, host);
	host->state = KN_HOST_UP;
	host->limit = host->want = 0;
	sound_add(f, host);
	host->up_ns = host->heard_ns = host->stay_at_ns = now_ns;
	host->served = false;
	host->ping_ns = f->rules.timeout_ns > 0 ? now_ns + f->rules.timeout_ns / 4 : INT64_MAX;
	host->credit_ns = f->rules.timeout_ns > 0 ? now_ns + f->rules.timeout_ns : INT64_MAX;
	f->out += host->out;
	due_at(&f->timers, host, host->ping_ns);
}

void
kn_fleet_credit(struct kn_fleet *f, uint32_t h, uint32_t limit, uint32_t want)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (host->state != KN_HOST_UP)
		return;
	if (want > KN_FLEET_WANT_MOST)
		want = KN_FLEET_WANT_MOST;
	if (limit > want)
		limit = want;
	host->credit_ns = INT64_MAX;
	f->limit = f->limit - host->limit + limit;
	f->want = f->want - host->want + want;
	sound_sub(f, host);
	host->limit = limit;
	host->want = want;
	sound_add(f, host);
	ring_look(f, h);
	held_look(f);
}

void
kn_fleet_heard(struct kn_fleet *f, uint32_t h, int64_t now_ns)
{
	time_is(f, now_ns);
	if (now_ns > f->hosts[h].heard_ns)
		f->hosts[h].heard_ns = now_ns;
}

void
kn_fleet_full(struct kn_fleet *f, uint32_t h, bool full)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (host->full == full)
		return;
	host->full = full;
	if (full)
		f->nfull++;
	else
		f->nfull--;
	ring_look(f, h);
}

void
kn_fleet_listen(struct kn_fleet *f, int64_t now_ns)
{
	for (uint32_t h = 0; h < f->n; h++) {
		kn_fleet_heard(f, h, now_ns);
		if (f->hosts[h].state == KN_HOST_UP && f->hosts[h].credit_ns != INT64_MAX)
			f->hosts[h].credit_ns = now_ns + f->rules.timeout_ns;
	}
}

/* Count the time that its tasks were there, before their number changes. */
static void
stay(struct kn_fleet *f, struct kn_fleet_host *host)
{
	if (f->now_ns > host->stay_at_ns)
		host->stay_ns += (double)host->out * (double)(f->now_ns - host->stay_at_ns);
	host->stay_at_ns = f->now_ns;
}

void
kn_fleet_gave(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];

	stay(f, host);
	sound_sub(f, host);
	host->out++;
	sound_add(f, host);
	f->out += host->state == KN_HOST_UP;
	f->aside_out += host->state == KN_HOST_ASIDE;
	/* The next look begins behind it. */
	if (host->ring != KN_FLEET_ANY)
		f->first = host->ring;
	ring_look(f, h);
}

void
kn_fleet_took(struct kn_fleet *f, uint32_t h)
{
	struct kn_fleet_host *host = &f->hosts[h];

	if (host->out == 0)
		return;
	stay(f, host);
	sound_sub(f, host);
	host->out--;
	sound_add(f, host);
	f->out -= host->state == KN_HOST_UP;
	f->aside_out -= host->state == KN_HOST_ASIDE;
	ring_look(f, h);
	held_look(f);
}

void
kn_fleet_result(struct kn_fleet *f, uint32_t h, bool failed)
{
	struct kn_fleet_host *host = &f->hosts[h];

	host->served = true;
	host->done++;
	host->failed += failed;
	f->done++;
	f->failed += failed;
	sound_sub(f, host);
	host->late_done++;
	host->late_failed += failed;
	sound_add(f, host);
	f->late_done++;
	fade(f);
	/* A failure may be quick for that it did nothing, and is no sign of speed. */
	stay(f, host);
	host->stayed += !failed;
	if (host->stayed >= STAY_MEMORY) {
		host->stayed /= 2;
		host->stay_ns /= 2;
	}
	held_look(f);
	if (failed) {
		odd_look(f, h);
		held_begin(f, h);
	}
}

static uint64_t
random_next(struct kn_fleet *f)
{
	uint64_t z = f->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Those that were refused together come back one by one: each up to half as late again. */
static int64_t
wait_ns(struct kn_fleet *f, unsigned tries)
{
	int64_t wait = WAIT_FIRST_NS;

	for (unsigned i = 1; i < tries && wait < WAIT_MOST_NS; i++)
		wait *= 2;
	if (wait > WAIT_MOST_NS)
		wait = WAIT_MOST_NS;
	wait += wait / 512 * (int64_t)(random_next(f) >> 56);
	return wait < WAIT_MOST_NS ? wait : WAIT_MOST_NS;
}

/* Leave what its state counts in. */
static void
leave(struct kn_fleet *f, struct kn_fleet_host *host)
{
	switch (host->state) {
	case KN_HOST_IDLE:
		kn_heap_remove(&f->idle, &host->due);
		return;
	case KN_HOST_CONNECTING:
		f->connecting--;
		break;
	case KN_HOST_UP:
		f->up--;
		f->limit -= host->limit;
		f->want -= host->want;
		f->out -= host->out;
		/* One that ends, or falls silent, as soon as it was begun is no better than one that cannot be reached,
		 * nor is one that never wanted a task. */
		if (host->served ||
		    (host->credit_ns == INT64_MAX && host->heard_ns - host->up_ns >= f->rules.timeout_ns))
			host->tries = 0;
		break;
	case KN_HOST_ASIDE:
		f->aside_out -= host->out;
		break;
	case KN_HOST_WAITING:
	case KN_HOST_GONE:
		break;
	}
	kn_heap_remove(&f->timers, &host->due);
}

void
kn_fleet_lost(struct kn_fleet *f, uint32_t h, bool for_good, int64_t now_ns)
{
	struct kn_fleet_host *host = &f->hosts[h];
	bool aside = host->state == KN_HOST_ASIDE;

	time_is(f, now_ns);
	if (host->state == KN_HOST_GONE)
		return;
	sound_sub(f, host);
	leave(f, host);
	kn_fleet_full(f, h, false);
	host->lost += host->state == KN_HOST_UP || aside;
	host->limit = host->want = 0;
	host->odd = false;
	host->tries++;
	if (for_good || aside || host->tries >= f->rules.tries) {
		f->alive -= !aside;
		host->state = KN_HOST_GONE;
	} else {
		host->state = KN_HOST_WAITING;
		host->at_ns = now_ns + wait_ns(f, host->tries);
		due_at(&f->timers, host, host->at_ns);
	}
	/* Of one that was aside all is forgotten. */
	if (aside)
		host->late_done = host->late_failed = 0;
	sound_add(f, host);
	f->nheld -= host->held;
	host->held = false;
	ring_look(f, h);
	held_look(f);
}

/* ---- what to do ----------------------------------------------------------------- */

/* How long a task given now may take there, by how long those before it did. What has had no result yet counts as one
 * that is just ending. Below the limit it begins at once; beyond it stands in line. What is alike is filled
 * evenly, which is what the second term is for. */
static double
cost(const struct kn_fleet *f, const struct kn_fleet_host *host)
{
	double more = f->now_ns > host->stay_at_ns ? (double)(f->now_ns - host->stay_at_ns) : 0;
	double stays = (host->stay_ns + (double)host->out * more + 1) / (host->stayed + 1);
	double share = ((double)host->out + 1) / (host->limit > 0 ? (double)host->limit : 1);

	return stays * (fmax(share, 1) + share / 4);
}

uint32_t
kn_fleet_pick(const struct kn_fleet *f, uint32_t pin, uint32_t avoid)
{
	uint32_t best = KN_FLEET_ANY, h = f->first;
	double least = 0;

	if (pin != KN_FLEET_ANY)
		return pin < f->n && has_room(f, pin) ? pin : KN_FLEET_ANY;
	if (h == KN_FLEET_ANY || f->hosts[h].ring == h)
		return h;
	for (unsigned i = 0; i < CANDIDATES; i++) {
		double costs = cost(f, &f->hosts[h]);

		if (h != avoid && (best == KN_FLEET_ANY || costs < least)) {
			best = h;
			least = costs;
		}
		h = f->hosts[h].ring;
		if (h == f->first)
			break;
	}
	return best;
}

void
kn_fleet_room(const struct kn_fleet *f, uint64_t *ret_limit, uint64_t *ret_want)
{
	uint64_t limit = f->limit, want = f->want;

	for (uint32_t h = 0; h < f->n && f->nfull > 0; h++) {
		const struct kn_fleet_host *host = &f->hosts[h];

		if (host->state != KN_HOST_UP || !host->full)
			continue;
		limit -= host->limit > host->out ? host->limit - host->out : 0;
		want -= host->want > host->out ? host->want - host->out : 0;
	}
	*ret_limit = limit;
	*ret_want = want;
}

static enum kn_fleet_do
set_aside(struct kn_fleet *f, struct kn_fleet_host *host)
{
	host->odd = false;
	/* The last one is kept: something may yet come of it, and of nobody else. */
	if (f->up < 2) {
		due_at(&f->timers, host, host->ping_ns);
		ring_look(f, number_of(f, host));
		return KN_FLEET_NOTHING;
	}
	sound_sub(f, host);
	f->up--;
	f->alive--;
	f->limit -= host->limit;
	f->want -= host->want;
	f->out -= host->out;
	f->aside_out += host->out;
	f->late_done -= host->late_done;
	host->late_done = host->late_failed = 0;
	host->limit = host->want = 0;
	host->state = KN_HOST_ASIDE;
	due_at(&f->timers, host, host->ping_ns);
	ring_look(f, number_of(f, host));
	held_look(f);
	return KN_FLEET_SET_ASIDE;
}

/* Its heartbeat. When something was heard is noted, not moved in the heap, so that it costs nothing. */
static enum kn_fleet_do
heartbeat(struct kn_fleet *f, struct kn_fleet_host *host, int64_t now_ns)
{
	int64_t silent_ns = f->rules.timeout_ns > 0 ? host->heard_ns + f->rules.timeout_ns : INT64_MAX;
	enum kn_fleet_do what = KN_FLEET_NOTHING;
	int64_t next_ns;

	if (now_ns >= silent_ns)
		return KN_FLEET_SILENT;
	if (host->state == KN_HOST_UP && now_ns >= host->credit_ns)
		return KN_FLEET_NO_CREDIT;
	if (now_ns >= host->ping_ns) {
		host->ping_ns = now_ns + f->rules.timeout_ns / 4;
		what = KN_FLEET_PING;
	}
	next_ns = host->ping_ns < silent_ns ? host->ping_ns : silent_ns;
	if (host->state == KN_HOST_UP && host->credit_ns < next_ns)
		next_ns = host->credit_ns;
	if (host->held && host->held_ns < next_ns)
		next_ns = host->held_ns;
	due_at(&f->timers, host, next_ns);
	return what;
}

static enum kn_fleet_do
host_due(struct kn_fleet *f, struct kn_fleet_host *host, int64_t now_ns)
{
	switch (host->state) {
	case KN_HOST_CONNECTING:
		return KN_FLEET_TOO_LATE;
	case KN_HOST_UP:
		if (host->odd)
			return set_aside(f, host);
		if (host->held && now_ns >= host->held_ns)
			held_end(f, number_of(f, host));
		return heartbeat(f, host, now_ns);
	case KN_HOST_ASIDE:
		return heartbeat(f, host, now_ns);
	case KN_HOST_WAITING:
		kn_heap_remove(&f->timers, &host->due);
		host->state = KN_HOST_IDLE;
		due_at(&f->idle, host, host->at_ns);
		return KN_FLEET_NOTHING;
	case KN_HOST_IDLE:
	case KN_HOST_GONE:
		break;
	}
	kn_heap_remove(&f->timers, &host->due);
	return KN_FLEET_NOTHING;
}

enum kn_fleet_do
kn_fleet_due(struct kn_fleet *f, int64_t now_ns, uint32_t *ret_host, int64_t *ret_next_ns)
{
	struct kn_heap_node *top;
	enum kn_fleet_do what;

	time_is(f, now_ns);
	*ret_next_ns = now_ns;
	while ((top = kn_heap_top(&f->timers)) != NULL && top->key <= now_ns) {
		struct kn_fleet_host *host = host_of(top);

		what = host_due(f, host, now_ns);
		if (what != KN_FLEET_NOTHING) {
			*ret_host = number_of(f, host);
			return what;
		}
	}
	top = kn_heap_top(&f->idle);
	if (top != NULL && (f->rules.connect_most == 0 || f->connecting < f->rules.connect_most)) {
		*ret_host = number_of(f, host_of(top));
		return KN_FLEET_CONNECT;
	}
	top = kn_heap_top(&f->timers);
	*ret_next_ns = top != NULL ? top->key : INT64_MAX;
	if (f->alive == 0 && f->aside_out == 0 && !f->told_gone) {
		f->told_gone = true;
		return KN_FLEET_ALL_GONE;
	}
	return KN_FLEET_NOTHING;
}

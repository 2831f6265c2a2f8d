/* SPDX-License-Identifier: MIT */
/*
 * Many machines under a clock of their own. The property test lets random things happen to random fleets, and checks
 * after each that
 *
 *	the sums are the sums over those that are up
 *	nobody is picked who is not up, is set aside, or has all that it wants
 *	nobody is connected to too often at once, and none is given up for silence that spoke, or for no credit that
 *	said one
 *	it ends: all are gone, or all the work is done
 */
#include <inttypes.h>

#include "../../src/core/fleet.h"
#include "random.h"
#include "tap.h"

#define SECOND ((int64_t)1000000000)
#define MS ((int64_t)1000000)

static const struct kn_fleet_rules plain = {
	.timeout_ns = 8 * SECOND,
	.connect_ns = 30 * SECOND,
	.connect_most = 2,
	.tries = 3,
};

static struct kn_fleet
fleet(uint32_t n, const struct kn_fleet_rules *rules)
{
	struct kn_fleet f;

	ok(kn_fleet_init(&f, n, rules, 42) == 0, "%u machines", n);
	return f;
}

/* What is due now: what, of whom. */
static void
due(struct kn_fleet *f, int64_t now, enum kn_fleet_do what, uint32_t h, const char *name)
{
	uint32_t host = KN_FLEET_ANY;
	int64_t next;

	is_int(kn_fleet_due(f, now, &host, &next), what, "%s", name);
	if (what != KN_FLEET_NOTHING && what != KN_FLEET_ALL_GONE)
		is_int(host, h, "%s: of whom", name);
}

static int64_t
next_of(struct kn_fleet *f, int64_t now)
{
	uint32_t host;
	int64_t next;

	while (kn_fleet_due(f, now, &host, &next) != KN_FLEET_NOTHING)
		;
	return next;
}

static void
up(struct kn_fleet *f, uint32_t h, uint32_t limit, uint32_t want, int64_t now)
{
	kn_fleet_connecting(f, h, now);
	kn_fleet_up(f, h, now);
	kn_fleet_credit(f, h, limit, want);
}

/* n results of h, of which the first bad ones failed. */
static void
results(struct kn_fleet *f, uint32_t h, unsigned n, unsigned bad)
{
	for (unsigned i = 0; i < n; i++) {
		kn_fleet_gave(f, h);
		kn_fleet_took(f, h);
		kn_fleet_result(f, h, i < bad);
	}
}

/* ---- the life of one -------------------------------------------------------- */

/* State by event: what each event makes of each state. */
static void
test_table(void)
{
	enum { CONNECTING, UP, LOST, GOOD, EVENTS };
	static const char *const states[] = { "idle", "connecting", "up", "waiting", "aside", "gone" };
	static const char *const events[] = { "connecting", "up", "lost", "lost for good" };
	static const enum kn_host_state becomes[6][EVENTS] = {
		[KN_HOST_IDLE] = { KN_HOST_CONNECTING, KN_HOST_IDLE, KN_HOST_WAITING, KN_HOST_GONE },
		[KN_HOST_CONNECTING] = { KN_HOST_CONNECTING, KN_HOST_UP, KN_HOST_WAITING, KN_HOST_GONE },
		[KN_HOST_UP] = { KN_HOST_UP, KN_HOST_UP, KN_HOST_WAITING, KN_HOST_GONE },
		[KN_HOST_WAITING] = { KN_HOST_CONNECTING, KN_HOST_WAITING, KN_HOST_WAITING, KN_HOST_GONE },
		[KN_HOST_ASIDE] = { KN_HOST_ASIDE, KN_HOST_ASIDE, KN_HOST_GONE, KN_HOST_GONE },
		[KN_HOST_GONE] = { KN_HOST_GONE, KN_HOST_GONE, KN_HOST_GONE, KN_HOST_GONE },
	};

	for (unsigned state = 0; state < 6; state++) {
		for (unsigned event = 0; event < EVENTS; event++) {
			struct kn_fleet f;

			(void)kn_fleet_init(&f, 2, &plain, 1);
			if (state != KN_HOST_IDLE)
				kn_fleet_connecting(&f, 0, 0);
			if (state == KN_HOST_UP || state == KN_HOST_ASIDE)
				kn_fleet_up(&f, 0, 0);
			if (state == KN_HOST_ASIDE) {
				up(&f, 1, 4, 4, 0);
				results(&f, 1, 10, 0);
				results(&f, 0, 10, 10);
				(void)next_of(&f, 0);
			}
			if (state == KN_HOST_WAITING || state == KN_HOST_GONE)
				kn_fleet_lost(&f, 0, state == KN_HOST_GONE, 0);
			is_int(f.hosts[0].state, state, "it is %s", states[state]);
			if (event == CONNECTING)
				kn_fleet_connecting(&f, 0, 1);
			else if (event == UP)
				kn_fleet_up(&f, 0, 1);
			else
				kn_fleet_lost(&f, 0, event == GOOD, 1);
			is_int(f.hosts[0].state, becomes[state][event], "%s, then %s", states[state],
			    events[event]);
			kn_fleet_done(&f);
		}
	}
}

static void
test_connect(void)
{
	struct kn_fleet f = fleet(3, &plain);

	due(&f, 0, KN_FLEET_CONNECT, 0, "the first is connected to first");
	kn_fleet_connecting(&f, 0, 0);
	due(&f, 0, KN_FLEET_CONNECT, 1, "then the second");
	kn_fleet_connecting(&f, 1, 0);
	due(&f, 0, KN_FLEET_NOTHING, 0, "no more than two at once");
	is_int(next_of(&f, 0), 30 * SECOND, "asked again when they are too late");
	kn_fleet_up(&f, 0, SECOND);
	kn_fleet_credit(&f, 0, 1, 1);
	due(&f, SECOND, KN_FLEET_CONNECT, 2, "one is up: the third");
	kn_fleet_connecting(&f, 2, SECOND);
	kn_fleet_heard(&f, 0, 30 * SECOND);
	due(&f, 30 * SECOND, KN_FLEET_PING, 0, "the first hears of us");
	due(&f, 30 * SECOND, KN_FLEET_TOO_LATE, 1, "the second is too late");
	kn_fleet_lost(&f, 1, false, 30 * SECOND);
	kn_fleet_up(&f, 2, 30 * SECOND);
	due(&f, 30 * SECOND, KN_FLEET_NOTHING, 0, "and waits");
	ok(f.hosts[1].at_ns >= 31 * SECOND && f.hosts[1].at_ns < 32 * SECOND,
	    "for a second or a little more");
	due(&f, f.hosts[1].at_ns, KN_FLEET_CONNECT, 1, "then it is tried again");
	kn_fleet_done(&f);
}

static void
test_patience(void)
{
	struct kn_fleet f = fleet(1, &plain);

	kn_fleet_connecting(&f, 0, 5 * SECOND);
	kn_fleet_patience(&f, 0, 40 * SECOND, 10 * SECOND);
	kn_fleet_patience(&f, 0, SECOND, 20 * SECOND);
	due(&f, 49 * SECOND, KN_FLEET_NOTHING, 0, "it has longer than others, and less does not shorten it");
	due(&f, 50 * SECOND, KN_FLEET_TOO_LATE, 0, "but not for ever");
	is_int(f.hosts[0].at_ns - f.hosts[0].begun_ns, 45 * SECOND, "it had so long");
	kn_fleet_lost(&f, 0, true, 50 * SECOND);
	kn_fleet_patience(&f, 0, 40 * SECOND, 50 * SECOND);
	due(&f, 50 * SECOND, KN_FLEET_ALL_GONE, 0, "who is gone has none");
	kn_fleet_done(&f);
}

static void
test_tries(void)
{
	struct kn_fleet_rules rules = plain;
	struct kn_fleet f;
	int64_t now = 0, waits = SECOND;

	rules.tries = 9;
	f = fleet(1, &rules);
	for (unsigned i = 1; i < 9; i++) {
		kn_fleet_connecting(&f, 0, now);
		kn_fleet_lost(&f, 0, false, now);
		ok(f.hosts[0].at_ns >= now + waits && f.hosts[0].at_ns <= now + waits + waits / 2,
		    "try %u: waits %.1f s", i, (double)(f.hosts[0].at_ns - now) / 1e9);
		ok(f.hosts[0].at_ns <= now + 60 * SECOND, "and a minute at most");
		now = f.hosts[0].at_ns;
		waits = waits * 2 < 60 * SECOND ? waits * 2 : 60 * SECOND;
	}
	due(&f, now, KN_FLEET_CONNECT, 0, "the last try");
	kn_fleet_connecting(&f, 0, now);
	kn_fleet_lost(&f, 0, false, now);
	is_int(f.hosts[0].state, KN_HOST_GONE, "no more");
	due(&f, now, KN_FLEET_ALL_GONE, 0, "so all are gone");
	due(&f, now, KN_FLEET_NOTHING, 0, "which is said once");
	is_int(next_of(&f, now), INT64_MAX, "and never again");
	kn_fleet_done(&f);
}

/* One that ends as soon as it is up does not go on for ever; one that served has all its tries again. */
static void
test_short_lives(void)
{
	struct kn_fleet f = fleet(1, &plain);

	for (unsigned i = 0; i < 20; i++) {
		up(&f, 0, 1, 1, (i * 2) * SECOND);
		results(&f, 0, 1, 0);
		kn_fleet_lost(&f, 0, false, (i * 2 + 1) * SECOND);
	}
	is_int(f.hosts[0].state, KN_HOST_WAITING, "one that gave a result each time is tried again");
	for (unsigned i = 20; i < 22; i++) {
		up(&f, 0, 1, 1, (i * 2) * SECOND);
		kn_fleet_lost(&f, 0, false, (i * 2 + 1) * SECOND);
	}
	is_int(f.hosts[0].state, KN_HOST_GONE, "one that never does is not");
	is_int(f.hosts[0].lost, 22, "its losses are counted");
	kn_fleet_done(&f);
	f = fleet(1, &plain);
	for (unsigned i = 0; i < 20; i++) {
		up(&f, 0, 1, 1, i * 100 * SECOND);
		kn_fleet_heard(&f, 0, (i * 100 + 50) * SECOND);
		kn_fleet_lost(&f, 0, false, (i * 100 + 58) * SECOND);
	}
	is_int(f.hosts[0].state, KN_HOST_WAITING, "one that was up for long is tried again");
	for (unsigned i = 20; i < 22; i++) {
		up(&f, 0, 1, 1, i * 100 * SECOND);
		kn_fleet_heard(&f, 0, (i * 100 + 1) * SECOND);
		kn_fleet_lost(&f, 0, false, (i * 100 + 9) * SECOND);
	}
	is_int(f.hosts[0].state, KN_HOST_GONE, "one that falls silent each time is not");
	kn_fleet_done(&f);
}

static void
test_heartbeat(void)
{
	struct kn_fleet f = fleet(1, &plain);

	up(&f, 0, 1, 1, 0);
	is_int(next_of(&f, 0), 2 * SECOND, "a PING every quarter of the time-out");
	due(&f, 2 * SECOND - 1, KN_FLEET_NOTHING, 0, "not before");
	due(&f, 2 * SECOND, KN_FLEET_PING, 0, "then");
	due(&f, 2 * SECOND, KN_FLEET_NOTHING, 0, "once");
	due(&f, 4 * SECOND, KN_FLEET_PING, 0, "and again");
	kn_fleet_heard(&f, 0, 5 * SECOND);
	due(&f, 6 * SECOND, KN_FLEET_PING, 0, "and again");
	due(&f, 12 * SECOND, KN_FLEET_PING, 0, "late, once");
	is_int(next_of(&f, 12 * SECOND), 13 * SECOND, "silence is noticed to the moment");
	due(&f, 13 * SECOND - 1, KN_FLEET_NOTHING, 0, "not before");
	due(&f, 13 * SECOND, KN_FLEET_SILENT, 0, "eight seconds after the last sign");
	kn_fleet_listen(&f, 13 * SECOND);
	due(&f, 13 * SECOND, KN_FLEET_NOTHING, 0, "nobody listened: silence begins now");
	due(&f, 20 * SECOND, KN_FLEET_PING, 0, "and");
	due(&f, 21 * SECOND, KN_FLEET_SILENT, 0, "ends as ever");
	kn_fleet_lost(&f, 0, false, 21 * SECOND);
	is_int(f.up, 0, "it is not up");
	kn_fleet_done(&f);
}

/* One that answers, but never says how much it wants. */
static void
test_credit(void)
{
	struct kn_fleet f = fleet(1, &plain);

	for (unsigned i = 0; i < plain.tries; i++) {
		int64_t at = i * 100 * SECOND;

		kn_fleet_connecting(&f, 0, at);
		kn_fleet_up(&f, 0, at);
		kn_fleet_heard(&f, 0, at + 5 * SECOND);
		due(&f, at + 7 * SECOND, KN_FLEET_PING, 0, "it may still say it");
		kn_fleet_heard(&f, 0, at + 8 * SECOND - 1);
		is_int(next_of(&f, at + 8 * SECOND - 1), at + 8 * SECOND, "asked again to the moment");
		kn_fleet_heard(&f, 0, at + 8 * SECOND);
		due(&f, at + 8 * SECOND, KN_FLEET_NO_CREDIT, 0, "it has not: the time-out is over");
		kn_fleet_lost(&f, 0, false, at + 8 * SECOND);
	}
	is_int(f.hosts[0].state, KN_HOST_GONE, "that it was heard of for long gives it no more tries");
	kn_fleet_done(&f);
	f = fleet(1, &plain);
	up(&f, 0, 0, 0, 0);
	kn_fleet_heard(&f, 0, 8 * SECOND);
	due(&f, 8 * SECOND, KN_FLEET_PING, 0, "to want nothing is an answer");
	kn_fleet_lost(&f, 0, false, 9 * SECOND);
	kn_fleet_connecting(&f, 0, 20 * SECOND);
	kn_fleet_up(&f, 0, 20 * SECOND);
	kn_fleet_listen(&f, 27 * SECOND);
	due(&f, 27 * SECOND, KN_FLEET_PING, 0, "nobody listened");
	kn_fleet_heard(&f, 0, 33 * SECOND);
	due(&f, 34 * SECOND, KN_FLEET_PING, 0, "so it has all its time again");
	due(&f, 35 * SECOND, KN_FLEET_NO_CREDIT, 0, "but not more");
	kn_fleet_done(&f);
}

/* ---- who is picked --------------------------------------------------------------- */

static void
test_pick(void)
{
	struct kn_fleet f = fleet(3, &plain);
	unsigned given[3] = { 0 };
	uint64_t room, wanted;
	uint32_t h;

	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY), KN_FLEET_ANY, "nobody is up");
	up(&f, 0, 2, 2, 0);
	up(&f, 1, 16, 16, 0);
	up(&f, 2, 16, 16, 0);
	for (unsigned i = 0; i < 17; i++) {
		h = kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY);
		given[h]++;
		kn_fleet_gave(&f, h);
	}
	is_int(given[0], 1, "of 17 the small one gets one");
	is_int(given[1], 8, "and each large one 8");
	is_int(given[2], 8, "the same");
	for (unsigned i = 17; i < 34; i++) {
		h = kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY);
		ok(h != KN_FLEET_ANY, "somebody has room");
		kn_fleet_gave(&f, h);
	}
	is_int(f.out, 34, "34 are out");
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY), KN_FLEET_ANY, "no more is wanted");
	kn_fleet_credit(&f, 0, 2, 3);
	is_int(kn_fleet_pick(&f, 1, KN_FLEET_ANY), KN_FLEET_ANY, "who is named has no room");
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), 0, "who is named has");
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, 0), 0, "avoided, but nobody else has room");
	kn_fleet_took(&f, 2);
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, 0), 2, "avoided");
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, 2), 0, "avoided");
	kn_fleet_full(&f, 2, true);
	kn_fleet_room(&f, &room, &wanted);
	is_int(room, 2 + 16 + 15, "nothing more may run there,");
	is_int(wanted, 3 + 16 + 15, "nor is wanted");
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, 0), 0, "its connection is full");
	kn_fleet_full(&f, 2, false);
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, 0), 2, "and no more");
	kn_fleet_credit(&f, 0, 1, 1);
	is_int(f.want, 33, "less is wanted than is out");
	kn_fleet_credit(&f, 1, 5, UINT32_MAX);
	is_int(f.hosts[1].want, KN_FLEET_WANT_MOST, "what is wanted is bounded");
	kn_fleet_done(&f);
}

/* With little left the quick one gets it, though the slow one is free. */
static void
test_quick_one(void)
{
	struct kn_fleet f = fleet(2, &plain);
	uint32_t h;

	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	for (int64_t t = 0; t < 80; t++) {
		kn_fleet_heard(&f, 1, t * 100 * MS);
		if (t % 8 == 0)
			kn_fleet_gave(&f, 0);
		kn_fleet_gave(&f, 1);
		kn_fleet_heard(&f, 1, (t + 1) * 100 * MS);
		kn_fleet_took(&f, 1);
		kn_fleet_result(&f, 1, false);
		if (t % 8 == 7) {
			kn_fleet_took(&f, 0);
			kn_fleet_result(&f, 0, false);
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		h = kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY);
		is_int(h, 1, "the quick one, %u", i);
		kn_fleet_gave(&f, h);
	}
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY), 0, "it is full: the slow one");
	kn_fleet_done(&f);
}

/* ---- who is set aside ----------------------------------------------------------------- */

static void
test_aside(void)
{
	struct kn_fleet f = fleet(2, &plain);

	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 30, 1);
	kn_fleet_gave(&f, 0);
	results(&f, 0, 9, 9);
	due(&f, 0, KN_FLEET_NOTHING, 0, "nine failures are not enough");
	results(&f, 0, 1, 1);
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), KN_FLEET_ANY, "after ten it gets nothing more");
	due(&f, 0, KN_FLEET_SET_ASIDE, 0, "and is set aside");
	due(&f, 0, KN_FLEET_NOTHING, 0, "once");
	is_int(f.up, 1, "one is up");
	is_int(f.want, 4, "only its credit counts");
	is_int(f.out, 0, "and what is out there");
	due(&f, 2 * SECOND, KN_FLEET_PING, 0, "the heart beats");
	due(&f, 2 * SECOND, KN_FLEET_PING, 1, "on both, for one task is still there");
	kn_fleet_lost(&f, 1, true, 3 * SECOND);
	due(&f, 3 * SECOND, KN_FLEET_NOTHING, 0, "the other is gone; that task still may end");
	kn_fleet_took(&f, 0);
	kn_fleet_result(&f, 0, false);
	due(&f, 3 * SECOND, KN_FLEET_ALL_GONE, 0, "and then all are gone");
	kn_fleet_done(&f);
}

/* As often as all others, as often as chance makes it, the last one, the named one: not set aside. */
static void
test_not_aside(void)
{
	struct kn_fleet_rules rules = plain;
	struct kn_fleet f = fleet(2, &plain);

	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 100, 20);
	results(&f, 0, 100, 80);
	due(&f, 0, KN_FLEET_NOTHING, 0, "four times as often as the others");
	kn_fleet_done(&f);
	f = fleet(2, &plain);
	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 10, 1);
	results(&f, 0, 10, 6);
	due(&f, 0, KN_FLEET_NOTHING, 0, "six of ten, but the others' one of ten may be chance");
	kn_fleet_done(&f);
	f = fleet(2, &plain);
	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 50, 0);
	kn_fleet_lost(&f, 1, false, 0);
	results(&f, 0, 50, 50);
	is_int(next_of(&f, 0) > 0 ? f.hosts[0].state : 0, KN_HOST_UP, "the last one that is up");
	kn_fleet_done(&f);
	f = fleet(2, &plain);
	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 50, 0);
	results(&f, 0, 50, 50);
	kn_fleet_lost(&f, 1, false, 0);
	is_int(next_of(&f, 0) > 0 ? f.hosts[0].state : 0, KN_HOST_UP, "the last one, as it turned out");
	is_int(kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY), 0, "it gets tasks again");
	kn_fleet_done(&f);
	rules.pinned = true;
	f = fleet(2, &rules);
	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	results(&f, 1, 50, 0);
	results(&f, 0, 50, 50);
	due(&f, 0, KN_FLEET_NOTHING, 0, "one whose tasks are its own");
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), 0, "it gets them");
	kn_fleet_done(&f);
}

/* A black hole may not eat the list while the others are at their first task. */
static void
test_held(void)
{
	struct kn_fleet f = fleet(2, &plain);
	unsigned eaten = 0;

	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 8, 0);
	for (unsigned i = 0; i < 8; i++)
		kn_fleet_gave(&f, 1);
	while (kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY) == 0 && eaten < 1000) {
		results(&f, 0, 1, 1);
		eaten++;
	}
	is_int(eaten, 10, "ten failures, and it is held back");
	for (unsigned i = 0; i < 9; i++) {
		kn_fleet_took(&f, 1);
		kn_fleet_result(&f, 1, false);
		kn_fleet_gave(&f, 1);
	}
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), KN_FLEET_ANY, "still");
	kn_fleet_took(&f, 1);
	kn_fleet_result(&f, 1, false);
	due(&f, 0, KN_FLEET_SET_ASIDE, 0, "until the other has shown that it can be done");
	kn_fleet_done(&f);
	f = fleet(2, &plain);
	up(&f, 0, 4, 4, 0);
	up(&f, 1, 4, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		kn_fleet_gave(&f, 1);
	results(&f, 0, 10, 10);
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), KN_FLEET_ANY, "held back");
	is_int(next_of(&f, 0), 2 * SECOND, "the heart beats on");
	kn_fleet_listen(&f, 29 * SECOND);
	(void)next_of(&f, 29 * SECOND);
	is_int(next_of(&f, 29 * SECOND), 30 * SECOND, "but not for ever");
	(void)next_of(&f, 30 * SECOND);
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), 0, "after half a minute it may try");
	results(&f, 0, 1, 1);
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), KN_FLEET_ANY, "held back again");
	kn_fleet_lost(&f, 1, false, 0);
	is_int(kn_fleet_pick(&f, 0, KN_FLEET_ANY), 0, "nobody else is at work: it goes on");
	kn_fleet_done(&f);
}

/* Three broken ones among five look alike, and are told from the two that are not. */
static void
test_many_odd(void)
{
	struct kn_fleet f = fleet(5, &plain);
	unsigned eaten = 0;
	uint32_t h;

	for (h = 0; h < 5; h++)
		up(&f, h, 4, 4, 0);
	for (h = 3; h < 5; h++)
		for (unsigned i = 0; i < 4; i++)
			kn_fleet_gave(&f, h);
	while ((h = kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY)) != KN_FLEET_ANY && eaten++ < 1000)
		results(&f, h, 1, 1);
	ok(eaten >= 30 && eaten < 40, "ten failures of each, or little more: %u", eaten);
	for (unsigned i = 0; i < 10; i++) {
		kn_fleet_took(&f, 3 + i % 2);
		kn_fleet_result(&f, 3 + i % 2, false);
		kn_fleet_gave(&f, 3 + i % 2);
	}
	for (h = 0; h < 3; h++)
		due(&f, 0, KN_FLEET_SET_ASIDE, h, "set aside");
	due(&f, 0, KN_FLEET_NOTHING, 0, "the others are not");
	kn_fleet_done(&f);
	f = fleet(3, &plain);
	for (h = 0; h < 3; h++)
		up(&f, h, 4, 4, 0);
	for (eaten = 0; eaten < 3000; eaten++)
		results(&f, kn_fleet_pick(&f, KN_FLEET_ANY, KN_FLEET_ANY), 1, 1);
	due(&f, 0, KN_FLEET_NOTHING, 0, "where all fail nobody is odd");
	kn_fleet_done(&f);
}

/* It was good for long, then its disk was full. And one that came late, to a stretch of bad inputs. */
static void
test_lately(void)
{
	struct kn_fleet f = fleet(4, &plain);
	enum kn_fleet_do what = KN_FLEET_NOTHING;
	unsigned n = 0;
	uint32_t h;

	for (h = 0; h < 4; h++)
		up(&f, h, 4, 4, 0);
	for (unsigned i = 0; i < 100000; i++)
		results(&f, i % 4, 1, 0);
	while (what == KN_FLEET_NOTHING && n++ < 1000) {
		int64_t next;

		for (h = 0; h < 4; h++)
			results(&f, h, 1, h == 2);
		what = kn_fleet_due(&f, 0, &h, &next);
	}
	is_int(what, KN_FLEET_SET_ASIDE, "set aside");
	ok(h == 2 && n < 100, "the third, after %u failures", n);
	kn_fleet_done(&f);
	f = fleet(4, &plain);
	for (h = 0; h < 3; h++)
		up(&f, h, 4, 4, 0);
	for (unsigned i = 0; i < 100000; i++)
		results(&f, i % 3, 1, 0);
	up(&f, 3, 4, 4, 0);
	for (unsigned i = 0; i < 4000; i++)
		results(&f, i % 4, 1, 1);
	(void)next_of(&f, 0);
	is_int(f.up, 4, "nobody is blamed for bad inputs");
	kn_fleet_done(&f);
}

/* ---- anything, at random ---------------------------------------------------------------- */

#define CHAOS_HOSTS 12

struct chaos {
	struct kn_fleet f;
	struct rnd rnd;
	int64_t now;
	unsigned tasks; /* not given yet */
	bool credited[CHAOS_HOSTS];
	const char *wrong;
};

static void
check(struct chaos *c)
{
	const struct kn_fleet *f = &c->f;
	uint64_t limit = 0, want = 0, out = 0, aside = 0, done = 0, sound = 0, sound_out = 0, held = 0;
	uint32_t n_up = 0, connecting = 0, room = 0, ring = 0, h;

	for (h = 0; h < f->n; h++) {
		const struct kn_fleet_host *host = &f->hosts[h];
		bool is_up = host->state == KN_HOST_UP;

		limit += is_up ? host->limit : 0;
		want += is_up ? host->want : 0;
		out += is_up ? host->out : 0;
		aside += host->state == KN_HOST_ASIDE ? host->out : 0;
		n_up += is_up;
		connecting += host->state == KN_HOST_CONNECTING;
		done += host->done;
		held += host->held;
		if (host->state != KN_HOST_ASIDE &&
		    (host->late_done < 10 || host->late_failed <= host->late_done / 2)) {
			sound += host->late_done;
			sound_out += is_up ? host->out : 0;
		}
		room += is_up && host->out < host->want && !host->full && !host->odd && !host->held;
	}
	h = f->first;
	while (h != KN_FLEET_ANY && ring <= f->n) {
		ring++;
		h = f->hosts[h].ring == f->first ? KN_FLEET_ANY : f->hosts[h].ring;
	}
	if (limit != f->limit || want != f->want || out != f->out || aside != f->aside_out || done != f->done)
		c->wrong = "a sum";
	if (sound != f->sound_done || sound_out != f->sound_out || held != f->nheld)
		c->wrong = "a sum over the sound ones";
	if (n_up != f->up || connecting != f->connecting || connecting > f->rules.connect_most)
		c->wrong = "a count of states";
	if (ring != room)
		c->wrong = "the ring";
}

static void
give(struct chaos *c)
{
	uint32_t pin = rnd_below(&c->rnd, 4) == 0 ? rnd_below(&c->rnd, c->f.n) : KN_FLEET_ANY;
	uint32_t avoid = rnd_below(&c->rnd, 4) == 0 ? rnd_below(&c->rnd, c->f.n) : KN_FLEET_ANY;
	uint32_t h = kn_fleet_pick(&c->f, pin, avoid);

	if (h == KN_FLEET_ANY)
		return;
	if (c->f.hosts[h].state != KN_HOST_UP || c->f.hosts[h].out >= c->f.hosts[h].want)
		c->wrong = "a pick";
	kn_fleet_gave(&c->f, h);
	c->tasks--;
}

static void
lose(struct chaos *c, uint32_t h, bool for_good)
{
	kn_fleet_lost(&c->f, h, for_good, c->now);
	c->credited[h] = false;
	check(c);
	while (c->f.hosts[h].out > 0) {
		kn_fleet_took(&c->f, h);
		c->tasks++;
	}
}

/* true: all are gone. */
static bool
do_due(struct chaos *c)
{
	int64_t next;
	uint32_t h;

	for (;;) {
		switch (kn_fleet_due(&c->f, c->now, &h, &next)) {
		case KN_FLEET_NOTHING:
			if (next <= c->now)
				c->wrong = "the time to ask again";
			return false;
		case KN_FLEET_CONNECT:
			if (rnd_below(&c->rnd, 8) == 0)
				lose(c, h, rnd_below(&c->rnd, 8) == 0);
			else
				kn_fleet_connecting(&c->f, h, c->now);
			break;
		case KN_FLEET_PING:
			break;
		case KN_FLEET_SILENT:
			if (c->now - c->f.hosts[h].heard_ns < c->f.rules.timeout_ns)
				c->wrong = "it was not silent";
			lose(c, h, false);
			break;
		case KN_FLEET_NO_CREDIT:
			if (c->credited[h] || c->now - c->f.hosts[h].up_ns < c->f.rules.timeout_ns)
				c->wrong = "it had said its credit, or had time";
			lose(c, h, false);
			break;
		case KN_FLEET_TOO_LATE:
			lose(c, h, false);
			break;
		case KN_FLEET_SET_ASIDE:
			if (c->f.up == 0)
				c->wrong = "the last one was set aside";
			if (rnd_below(&c->rnd, 2) == 0)
				lose(c, h, true);
			break;
		case KN_FLEET_ALL_GONE:
			return true;
		}
		check(c);
	}
}

static void
something(struct chaos *c)
{
	uint32_t h = rnd_below(&c->rnd, c->f.n);
	struct kn_fleet_host *host = &c->f.hosts[h];
	unsigned what = rnd_below(&c->rnd, 40);

	if (what < 20) {
		if (host->out > 0) {
			kn_fleet_took(&c->f, h);
			kn_fleet_result(&c->f, h, rnd_below(&c->rnd, 100) < (h % 3 == 0 ? 90 : 5));
		}
	} else if (what < 28) {
		kn_fleet_up(&c->f, h, c->now);
	} else if (what < 32) {
		kn_fleet_credit(&c->f, h, rnd_below(&c->rnd, 8), rnd_below(&c->rnd, 12));
		c->credited[h] = host->state == KN_HOST_UP;
	} else if (what < 37) {
		kn_fleet_heard(&c->f, h, c->now);
	} else if (what < 38) {
		kn_fleet_full(&c->f, h, rnd_below(&c->rnd, 2) == 0 && c->f.hosts[h].state == KN_HOST_UP);
	} else if (rnd_below(&c->rnd, 50) == 0) {
		lose(c, h, rnd_below(&c->rnd, 30) == 0);
	}
}

static void
test_chaos(uint64_t seed)
{
	struct chaos c = { .rnd = { seed * 2 + 1 }, .tasks = 3000 };
	struct kn_fleet_rules rules = plain;
	bool gone = false;
	uint64_t turns = 0;

	rules.connect_most = 1 + rnd_below(&c.rnd, 4);
	rules.tries = 1 + rnd_below(&c.rnd, 20);
	rules.pinned = rnd_below(&c.rnd, 8) == 0;
	(void)kn_fleet_init(&c.f, 1 + rnd_below(&c.rnd, CHAOS_HOSTS), &rules, seed);
	while (
	    !gone && c.wrong == NULL && (c.tasks > 0 || c.f.out + c.f.aside_out > 0) && turns++ < 2000000) {
		c.now += rnd_below(&c.rnd, 200) * MS;
		gone = do_due(&c);
		if (c.tasks > 0)
			give(&c);
		check(&c);
		something(&c);
		check(&c);
	}
	ok(c.wrong == NULL && turns < 2000000,
	    "SEED=%" PRIu64 ": %u machines, %s after %" PRIu64 " turns%s%s", seed, c.f.n,
	    gone ? "all gone" : "done", turns, c.wrong != NULL ? ", wrong: " : "",
	    c.wrong != NULL ? c.wrong : "");
	kn_fleet_done(&c.f);
}

/* ---- no memory ------------------------------------------------------------------------------ */

#include "alloc.h"

static void
test_memory(void)
{
	struct kn_fleet f;

	for (alloc_fail_at = 1; alloc_fail_at < 10; alloc_fail_at++) {
		alloc_count = 0;
		if (kn_fleet_init(&f, 100, &plain, 1) == 0) {
			kn_fleet_done(&f);
			break;
		}
	}
	is_int(alloc_fail_at, 4, "each of three allocations may fail");
	alloc_fail_at = 0;
}

int
main(void)
{
	uint64_t seed = rnd_seed() % 1000000;

	test_table();
	test_connect();
	test_patience();
	test_tries();
	test_short_lives();
	test_heartbeat();
	test_credit();
	test_pick();
	test_quick_one();
	test_aside();
	test_not_aside();
	test_held();
	test_many_odd();
	test_lately();
	for (unsigned i = 0; i < 60; i++)
		test_chaos(getenv("SEED") != NULL && i == 0 ? seed : seed + i);
	test_memory();
	return done_testing();
}

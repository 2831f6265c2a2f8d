/* SPDX-License-Identifier: MIT */
/* The guards: each rule of guard.c at its edge, the ways back, admission, failures that rise. */
#include "tune/guard.h"

#include <math.h>
#include <stdint.h>

#include "random.h"
#include "tap.h"

#define S INT64_C(1000000000)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const char *const state_names[] = { "ok", "no raise", "no start", "back off", "suspend", "requeue" };

static struct kn_vitals
calm(void)
{
	return (struct kn_vitals){
		.known = KN_VITALS_MEMORY | KN_VITALS_PRESSURE | KN_VITALS_SWAP | KN_VITALS_LOAD,
		.memory_bytes = 8 * GIB,
		.memory_free_bytes = 6 * GIB,
		.runnable = 2,
	};
}

static struct kn_vitals
pressed(double some, double full)
{
	struct kn_vitals v = calm();

	v.pressure_some_frac = some;
	v.pressure_full_frac = full;
	return v;
}

static struct kn_vitals
with_free(uint64_t bytes)
{
	struct kn_vitals v = calm();

	v.memory_free_bytes = bytes;
	return v;
}

static struct kn_guard
guard(struct kn_guard_options o)
{
	struct kn_guard g;

	if (o.memory_bytes == 0)
		o.memory_bytes = 8 * GIB;
	kn_guard_init(&g, &o);
	return g;
}

/* What it says at once, of a machine that was never looked at before. */
static const char *
says(struct kn_guard_options o, struct kn_vitals v, unsigned running)
{
	struct kn_guard g = guard(o);

	kn_guard_vitals(&g, 100 * S, &v, running, 0);
	return state_names[g.state];
}

static const char *
then(struct kn_guard *g, int64_t now_ns, struct kn_vitals v, unsigned running, unsigned suspended)
{
	kn_guard_vitals(g, now_ns, &v, running, suspended);
	return state_names[g->state];
}

static void
test_edges(void)
{
	struct kn_guard_options none = { 0 };
	struct kn_vitals v = pressed(0.5, 0.5);

	is_str(says(none, calm(), 8), "ok", "a calm machine");
	is_str(says(none, pressed(0.05, 0.02), 8), "ok", "pressure at its bounds");
	is_str(says(none, pressed(0.051, 0.02), 8), "no raise", "some pressure");
	is_str(says(none, pressed(0.051, 0.021), 8), "back off", "full pressure");
	is_str(says(none, pressed(0.5, 0.5), 8), "back off", "heavy pressure is given time");
	is_str(says(none, pressed(0.5, 0.5), 0), "no raise", "nothing of ours runs: a start is allowed");
	v.known &= ~(unsigned)KN_VITALS_PRESSURE;
	is_str(says(none, v, 8), "ok", "pressure that is not known");
	v = calm();
	v.swap_in_bytes = v.swap_out_bytes = 4096;
	is_str(says(none, v, 8), "ok", "swapping without pressure");
	is_str(says((struct kn_guard_options){ .noswap = true }, v, 8), "no start", "--noswap");
	is_str(says((struct kn_guard_options){ .noswap = true }, v, 0), "no start", "even when none runs");
	v.swap_out_bytes = 0;
	is_str(says((struct kn_guard_options){ .noswap = true }, v, 8), "ok", "in alone is not both");
	v = pressed(0.06, 0.03);
	v.swap_in_bytes = 4096;
	is_str(says(none, v, 8), "suspend", "swapping in under pressure");
	is_str(says(none, v, 1), "back off", "the last task goes on");
	v.known &= ~(unsigned)KN_VITALS_SWAP;
	is_str(says(none, v, 8), "back off", "swapping that is not known");
}

static void
test_options(void)
{
	struct kn_guard_options load = { .load_max = 4 }, memfree = { .memfree_bytes = GIB };
	struct kn_vitals v = calm();

	v.runnable = 4;
	is_str(says(load, v, 0), "ok", "as much load as is allowed");
	v.runnable = 5;
	is_str(says(load, v, 0), "no start", "more");
	v.known &= ~(unsigned)KN_VITALS_LOAD;
	is_str(says(load, v, 0), "ok", "load that is not known");

	is_str(says(memfree, with_free(GIB), 3), "ok", "--memfree is free");
	is_str(says(memfree, with_free(GIB - 1), 3), "no start", "less");
	is_str(says(memfree, with_free(GIB - 1), 0), "no start", "less, and nothing runs");
	is_str(says(memfree, with_free(GIB / 2), 3), "no start", "half");
	is_str(says(memfree, with_free(GIB / 2 - 1), 3), "requeue", "less than half");
	is_str(says(memfree, with_free(GIB / 2 - 1), 1), "no start", "the last task is left alone");
	v = with_free(1);
	v.known &= ~(unsigned)KN_VITALS_MEMORY;
	is_str(says(memfree, v, 3), "ok", "memory that is not known");
}

static void
test_reason(void)
{
	struct kn_guard g = guard((struct kn_guard_options){ .memfree_bytes = GIB, .load_max = 1 });
	struct kn_vitals v = with_free(GIB / 4);

	v.runnable = 9;
	v.pressure_full_frac = 0.04;
	kn_guard_vitals(&g, 5 * S, &v, 4, 0);
	ok(g.reason == KN_GUARD_BY_MEMORY && g.figure == (double)(GIB / 4),
	    "the severest rule is the reason");
	v.memory_free_bytes = 2 * GIB;
	kn_guard_vitals(&g, 6 * S, &v, 4, 0);
	ok(g.reason == KN_GUARD_BY_PRESSURE && g.figure == 0.04, "then the next one");
	v.pressure_full_frac = 0;
	kn_guard_vitals(&g, 7 * S, &v, 4, 0);
	ok(g.reason == KN_GUARD_BY_LOAD && g.figure == 9, "then the next");
	v.runnable = 1;
	kn_guard_vitals(&g, 8 * S, &v, 4, 0);
	ok(g.state == KN_GUARD_OK && g.reason == KN_GUARD_BY_NOTHING, "then none");
}

/* Heavy pressure that nothing helps against. */
static void
test_heavy(void)
{
	struct kn_guard g = guard((struct kn_guard_options){ 0 });
	struct kn_vitals v = pressed(0.9, 0.3);

	is_str(then(&g, 0, v, 4, 0), "back off", "0 s: limits come down");
	is_str(then(&g, S, v, 4, 0), "no start", "1 s: once");
	is_str(then(&g, 2 * S, v, 4, 0), "suspend", "2 s: one stops");
	is_str(then(&g, 2 * S + S / 2, v, 3, 1), "back off", "2.5 s: its effect is awaited");
	is_str(then(&g, 3 * S, v, 3, 1), "suspend", "3 s: another stops");
	is_str(then(&g, 4 * S, v, 2, 2), "suspend", "4 s: another");
	is_str(then(&g, 5 * S, v, 1, 3), "requeue", "5 s: it was not enough: one is run later");
	is_str(then(&g, 5 * S + S / 2, v, 1, 2), "back off", "5.5 s: its effect is awaited");
	is_str(then(&g, 6 * S, v, 1, 2), "requeue", "6 s");
	is_str(then(&g, 7 * S, v, 1, 1), "requeue", "7 s");
	is_str(then(&g, 8 * S, v, 1, 0), "back off", "8 s: the last one goes on");
	is_str(then(&g, 9 * S, v, 0, 0), "no raise", "9 s: and when it has ended another may start");
	g = guard((struct kn_guard_options){ 0 });
	(void)then(&g, 0, v, 4, 0);
	(void)then(&g, S, pressed(0.9, 0.1), 4, 0);
	is_str(then(&g, 2 * S, v, 4, 0), "back off", "with a break in it, it is not heavy for two seconds");
	ok(!g.resume, "nothing to resume");
	g = guard((struct kn_guard_options){ 0 });
	(void)then(&g, 0, v, 4, 0);
	is_str(then(&g, 5 * S, v, 4, 0), "suspend", "none was stopped before: that comes first");
}

static void
test_resume(void)
{
	struct kn_guard g = guard((struct kn_guard_options){ 0 });

	(void)then(&g, 0, pressed(0.9, 0.3), 4, 0);
	is_str(then(&g, 2 * S, pressed(0.9, 0.3), 4, 0), "suspend", "one stops");
	is_str(then(&g, 3 * S, calm(), 3, 2), "no start", "stopped tasks go first");
	ok(!g.resume, "but not at once");
	(void)then(&g, 5 * S, pressed(0.06, 0), 3, 2);
	(void)then(&g, 6 * S, calm(), 3, 2);
	(void)then(&g, 8 * S, calm(), 3, 2);
	ok(!g.resume, "nor within three seconds of the last pressure");
	(void)then(&g, 9 * S, calm(), 3, 2);
	ok(g.resume, "after three seconds");
	(void)then(&g, 9 * S + S / 2, calm(), 4, 1);
	ok(!g.resume, "one by one");
	(void)then(&g, 10 * S, calm(), 4, 1);
	ok(g.resume, "a second apart");
	is_str(then(&g, 11 * S, calm(), 5, 0), "ok", "then all is as before");
	ok(!g.resume, "nothing to resume");

	(void)then(&g, 20 * S, with_free(100 * MIB), 3, 1);
	(void)then(&g, 24 * S, with_free(100 * MIB), 3, 1);
	ok(!g.resume, "not without room");
	is_str(then(&g, 25 * S, pressed(0.9, 0.9), 0, 1), "no start", "when all others have ended");
	ok(g.resume, "it goes on whatever the pressure");
}

static void
test_minute(void)
{
	struct kn_guard g = guard((struct kn_guard_options){ 0 });
	struct kn_vitals v = pressed(0.06, 0);

	(void)then(&g, 0, pressed(0.9, 0.3), 3, 0);
	(void)then(&g, 2 * S, pressed(0.9, 0.3), 3, 0);
	(void)then(&g, 3 * S, v, 1, 2);
	is_str(then(&g, 62 * S, v, 1, 2), "no start", "59 s stopped");
	is_str(then(&g, 63 * S, v, 1, 2), "requeue", "a minute: run later");
	is_str(then(&g, 64 * S, v, 1, 1), "requeue", "and the other");
	is_str(then(&g, 65 * S, v, 1, 0), "no raise", "none is left");

	g = guard((struct kn_guard_options){ 0 });
	(void)then(&g, 0, v, 1, 1);
	(void)then(&g, 57 * S, calm(), 1, 1);
	is_str(then(&g, 60 * S, calm(), 1, 1), "no start", "it may go on at that very moment");
	ok(g.resume, "and does");
}

static void
test_memsuspend(void)
{
	struct kn_guard_options o = { .memsuspend_bytes = GIB };
	struct kn_guard g = guard(o);
	int64_t now = 0;

	is_str(says(o, with_free(2 * GIB), 8), "ok", "twice the size is free");
	is_str(says(o, with_free(2 * GIB - 1), 8), "no start", "just less: none starts, but all go on");
	is_str(says(o, with_free(GIB * 3 / 2), 4), "suspend", "one and a half: three go on");
	is_str(says(o, with_free(GIB * 3 / 2), 3), "no start", "and no more start");
	is_str(says(o, with_free(GIB), 3), "suspend", "once: two go on");
	is_str(says(o, with_free(GIB - 1), 2), "suspend", "less: one");
	is_str(says(o, with_free(0), 1), "no start", "and it is never stopped");
	is_str(says(o, with_free(0), 0), "ok", "nor is the first one kept from its start");
	for (unsigned running = 8; running > 1; running--, now += S / 4)
		(void)then(&g, now, with_free(GIB / 2), running, 8 - running);
	ok(g.state == KN_GUARD_SUSPEND && g.reason == KN_GUARD_BY_MEMORY, "all but one stop without a pause");
	is_str(then(&g, 100 * S, with_free(GIB / 2), 1, 7), "no start", "they wait for as long as it takes");
	ok(!g.resume, "all of them");
	(void)then(&g, 101 * S, with_free(3 * GIB), 1, 7);
	(void)then(&g, 104 * S, with_free(3 * GIB), 1, 7);
	ok(g.resume, "and go on when there is memory");
}

static void
test_peaks(void)
{
	struct kn_peaks p = { 0 };

	is_int(kn_peaks_expect(&p), 0, "nothing known");
	kn_peaks_add(&p, 0);
	is_int(kn_peaks_expect(&p), 0, "a peak of 0 tells nothing");
	kn_peaks_live(&p, 100 * MIB);
	kn_peaks_live(&p, 50 * MIB);
	is_int(kn_peaks_expect(&p), 150 * MIB, "seen live: half as much again");
	kn_peaks_add(&p, 10 * MIB);
	is_int(kn_peaks_expect(&p), 150 * MIB, "one end does not make up for it");
	for (int i = 0; i < 99; i++)
		kn_peaks_add(&p, 10 * MIB);
	is_int(kn_peaks_expect(&p), (intmax_t)(1.02 * 10 * MIB), "a hundred of 10 MiB: hardly more");
	for (int i = 0; i < 11; i++)
		kn_peaks_add(&p, 500 * MIB);
	ok(kn_peaks_expect(&p) < 15 * MIB, "a tenth of 500 MiB is above the percentile");
	kn_peaks_add(&p, 500 * MIB);
	is_int(kn_peaks_expect(&p), (intmax_t)(1.02 * 500 * MIB), "more than a tenth are not");
	for (int i = 0; i < 20000; i++)
		kn_peaks_add(&p, 2 * MIB);
	ok(kn_peaks_expect(&p) < 3 * MIB, "and they are forgotten");
	ok(p.total <= 1024, "the counts stay bounded");

	p = (struct kn_peaks){ 0 };
	kn_peaks_add(&p, 1);
	is_int(kn_peaks_expect(&p), 78643, "the smallest bucket");
	p = (struct kn_peaks){ 0 };
	kn_peaks_add(&p, UINT64_MAX);
	ok(kn_peaks_expect(&p) > UINT64_C(1) << 40, "the largest");
	p = (struct kn_peaks){ 0 };
	kn_peaks_add(&p, 65536);
	is_int(p.count[0], 1, "a bucket holds its upper edge");
	kn_peaks_add(&p, 65537);
	is_int(p.count[1], 1, "and not more");
}

static void
test_admits(void)
{
	struct kn_guard g = guard((struct kn_guard_options){ .memory_bytes = 16 * GIB });
	uint64_t floor = 16 * GIB / 20;

	ok(kn_guard_admits(&g, GIB, 0, 5), "memory that was never looked at keeps nobody back");
	(void)then(&g, S, with_free(4 * GIB), 5, 0);
	ok(kn_guard_admits(&g, 4 * GIB - floor, 0, 5), "as much as is free above the floor");
	ok(!kn_guard_admits(&g, 4 * GIB - floor + 1, 0, 5), "and no more");
	ok(kn_guard_admits(&g, 4 * GIB, UINT64_MAX, 0), "but for the only one");
	ok(!kn_guard_admits(&g, GIB, 3 * GIB, 5), "what running tasks still want is theirs");
	ok(!kn_guard_admits(&g, 1, UINT64_MAX, 5), "all of it");
	ok(kn_guard_admits(&g, 0, GIB, 5), "unknown: with a tenth to spare");
	ok(!kn_guard_admits(&g, 0, 2 * GIB, 5), "not with less");

	g = guard((struct kn_guard_options){ .memory_bytes = 3 * GIB });
	(void)then(&g, S, with_free(GIB), 5, 0);
	ok(kn_guard_admits(&g, 768 * MIB, 0, 5) && !kn_guard_admits(&g, 769 * MIB, 0, 5), "256 MiB at least");
	g = guard((struct kn_guard_options){ .memory_bytes = GIB });
	(void)then(&g, S, with_free(GIB / 2), 5, 0);
	ok(kn_guard_admits(&g, 460 * MIB, 0, 5) && !kn_guard_admits(&g, 461 * MIB, 0, 5),
	    "a twentieth on a small machine");
	g = guard((struct kn_guard_options){ .memfree_bytes = 2 * GIB });
	(void)then(&g, S, with_free(3 * GIB), 5, 0);
	ok(kn_guard_admits(&g, GIB, 0, 5) && !kn_guard_admits(&g, GIB + 1, 0, 5), "--memfree is the floor");
}

static bool
worse(uint32_t failed, uint32_t done, uint32_t below_failed, uint32_t below_done)
{
	return kn_tries_worse(
	    (struct kn_tries){ done, failed }, (struct kn_tries){ below_done, below_failed });
}

static void
test_tries(uint64_t seed)
{
	struct rnd r = { seed | 1 };
	unsigned alarms = 0, found = 0;

	ok(!worse(0, 0, 0, 0) && !worse(5, 5, 0, 0) && !worse(0, 0, 0, 9), "nothing to compare");
	ok(!worse(1, 1, 0, 1000) && !worse(2, 2, 0, 1000), "one failure never is worse, nor two");
	ok(worse(3, 3, 0, 1000), "three of three are");
	ok(!worse(3, 5, 0, 5), "but not against five");
	ok(!worse(50, 50, 50, 50), "all fail, here as there");
	ok(!worse(10, 100, 20, 100), "fewer fail");
	ok(worse(30, 100, 5, 100), "many more fail");
	ok(!worse(12, 100, 8, 100), "a few more may be chance");
	for (int turn = 0; turn < 1000; turn++) {
		struct kn_tries below = { 200, 0 }, here = { 100, 0 }, more = { 100, 0 };

		for (int i = 0; i < 200; i++)
			below.failed += rnd_below(&r, 100) < 5;
		for (int i = 0; i < 100; i++) {
			here.failed += rnd_below(&r, 100) < 5;
			more.failed += rnd_below(&r, 100) < 35;
		}
		alarms += kn_tries_worse(here, below);
		found += kn_tries_worse(more, below);
	}
	ok(alarms < 20, "%u false alarms in a thousand (SEED=%llu)", alarms, (unsigned long long)seed);
	ok(found > 980, "%u of a thousand are found", found);
}

/* Whatever the machine says: the last task is left alone, one a second is acted on, and there is a
 * way on. */
static void
test_laws(uint64_t seed)
{
	struct rnd r = { (seed ^ 99) | 1 };
	size_t wrong = 0, acted = 0;

	for (int turn = 0; turn < 200; turn++) {
		struct kn_guard_options o = {
			.memfree_bytes = rnd_below(&r, 3) == 0 ? GIB : 0,
			.memsuspend_bytes = rnd_below(&r, 4) == 0 ? GIB : 0,
			.noswap = rnd_below(&r, 2) == 0,
		};
		struct kn_guard g = guard(o);
		unsigned running = rnd_below(&r, 12), suspended = 0, bad = 0;
		int64_t now = 0, last = INT64_MIN / 2;

		for (int i = 0; i < 400; i++) {
			struct kn_vitals v = with_free(rnd_below(&r, 4096) * MIB);

			if (i % 100 == 0)
				bad = rnd_below(&r, 3);
			v.pressure_full_frac = bad * rnd_below(&r, 100) / 300.0;
			v.pressure_some_frac = 2 * v.pressure_full_frac;
			v.swap_in_bytes = bad * rnd_below(&r, 2);
			v.swap_out_bytes = bad * rnd_below(&r, 2);
			v.known &= ~(rnd_below(&r, 20) == 0 ? (unsigned)rnd_next(&r) : 0);
			now += (int64_t)(1 + rnd_below(&r, 10)) * S / 10;
			kn_guard_vitals(&g, now, &v, running, suspended);
			if (g.state >= KN_GUARD_SUSPEND) {
				acted++;
				wrong += running + suspended < 2 || running == 0;
				wrong += g.state == KN_GUARD_SUSPEND && running < 2;
				wrong += o.memsuspend_bytes == 0 && now - last < S;
				wrong += g.resume && g.state == KN_GUARD_SUSPEND && o.memsuspend_bytes == 0;
				last = now;
			}
			wrong += running == 0 && suspended > 0 && !g.resume;
			wrong += (g.state == KN_GUARD_OK) != (g.reason == KN_GUARD_BY_NOTHING);
			wrong += suspended > 0 && g.state < KN_GUARD_NO_START;
			if (g.state == KN_GUARD_REQUEUE) {
				running -= suspended == 0;
				suspended -= suspended > 0;
			} else if (g.state == KN_GUARD_SUSPEND) {
				running--;
				suspended++;
			} else if (g.state < KN_GUARD_NO_START) {
				running++;
			}
			if (g.resume && suspended > 0) {
				running++;
				suspended--;
			}
			if (rnd_below(&r, 6) == 0 && running > 0)
				running--;
		}
	}
	is_int(wrong, 0, "laws hold in %zu acts (SEED=%llu)", acted, (unsigned long long)seed);
}

int
main(void)
{
	uint64_t seed = rnd_seed();

	test_edges();
	test_options();
	test_reason();
	test_heavy();
	test_resume();
	test_minute();
	test_memsuspend();
	test_peaks();
	test_admits();
	test_tries(seed);
	test_laws(seed);
	return done_testing();
}

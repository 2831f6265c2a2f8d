/* SPDX-License-Identifier: MIT */
/* A window: when it begins, what counts in it, and the throughput that it shows. */
#include "tune/window.h"

#include <math.h>

#include "tap.h"
#include "tune/limiter.h"

#define MS INT64_C(1000000)
#define LIMIT 4
#define NEED 0.05

static struct kn_window
window(void)
{
	struct kn_window w = { .seed = 1 };

	kn_window_reset(&w, NEED, 0);
	return w;
}

/* 50 ms in which as many ran as may, tasks of a second each; work: what they did in it. */
static struct kn_tick
tick(int64_t now_ns, double work)
{
	return (struct kn_tick){
		.now_ns = now_ns,
		.elapsed_ns = 50 * MS,
		.running = LIMIT,
		.running_now = LIMIT,
		.work = work,
		.cpu_frac = -1,
		.runtime_ns = 1e9,
		.left = UINT64_MAX,
	};
}

static void
test_begin(void)
{
	struct kn_window w = window();
	struct kn_tick t = tick(100 * MS, 1);

	ok(!kn_window_gather(&w, LIMIT, &t) && w.begin_ns == 0, "what the change stirred up is not over");
	t = tick(600 * MS, 1);
	t.running_now = LIMIT + 2;
	ok(!kn_window_gather(&w, LIMIT, &t) && w.begin_ns == 0, "more run than may");
	t = tick(650 * MS, 1);
	ok(!kn_window_gather(&w, LIMIT, &t) && w.begin_ns == 650 * MS, "it begins");
	t = tick(700 * MS, 1);
	ok(kn_window_gather(&w, LIMIT, &t) && w.n == 1, "and then it counts");
	t = tick(750 * MS, 1);
	t.running = 1;
	t.starved = true;
	ok(!kn_window_gather(&w, LIMIT, &t) && w.begin_ns == 0 && w.n == 0,
	    "with too little to do it begins anew");
	ok(w.need == NEED && w.asked_ns == 750 * MS, "... and wants the same");
}

static void
test_rates(void)
{
	struct kn_window w = window();
	struct kn_estimate e = { 0 };
	int64_t now_ns = 1000 * MS;
	struct kn_tick t = tick(now_ns, 5e6);

	t.cpu_frac = 0.5;
	(void)kn_window_gather(&w, LIMIT, &t);
	ok(!kn_window_estimate(&w, LIMIT, false, &t, &e), "of no rate there is no throughput");
	ok(kn_window_cpu(&w, &t) < 0, "nor a share of the cores");
	for (int i = 0; i < 3; i++) {
		t.now_ns += 50 * MS;
		(void)kn_window_gather(&w, LIMIT, &t);
	}
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && e.some && !e.enough, "three show the gross of it");
	ok(fabs(e.lnx - log(0.1)) < 1e-9, "5e6 in 50 ms");
	ok(e.se == KN_SE_MIN, "equal ones are not believed to be exact");
	ok(kn_window_cpu(&w, &t) == 0.5, "half of the cores were busy");
	for (int i = 0; i < 6; i++) {
		t.now_ns += 50 * MS;
		(void)kn_window_gather(&w, LIMIT, &t);
	}
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && e.enough && e.fine && !e.full, "nine are fine");
	for (int i = 0; i < 9; i++) {
		t.now_ns += 50 * MS;
		t.work = i % 2 == 0 ? 1e6 : 9e6;
		(void)kn_window_gather(&w, LIMIT, &t);
	}
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && e.enough && !e.fine, "but not when they differ");
	ok(kn_window_part_ns(&w, &t) >= 50 * MS, "the parts are no shorter than what was told");
}

static void
test_lengths(void)
{
	struct kn_window w = window();
	struct kn_estimate e = { 0 };
	struct kn_tick t = tick(50 * MS, -1);

	w.raised = true;
	(void)kn_window_gather(&w, LIMIT, &t);
	t.now_ns = 2000 * MS;
	(void)kn_window_gather(&w, LIMIT, &t);
	kn_window_length(&w, -1, 100 * MS);
	is_int(w.ended, 0, "a task that started before the limit was set does not count");
	for (int64_t i = 0; i < 6; i++)
		kn_window_length(&w, i * 20 * MS, 500 * MS);
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && e.some && e.enough, "six show it");
	ok(fabs(e.lnx - (log(LIMIT) - log(500e6))) < 0.01, "by Little's law");
	t.nages_all = 12;
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && !e.enough,
	    "while twice as many run they are the short ones");
	ok(kn_window_later(&w, &t), "those that came with the step up are left out");
	ok(w.ended == 3 && w.from_ns == 50 * MS, "three started when it was reached");
	ok(!kn_window_later(&w, &t) && w.ended == 3, "that is done once");
	for (int i = 0; i < KN_LENGTHS + 10; i++)
		kn_window_length(&w, 1000 * MS, 500 * MS);
	t.nages_all = 0;
	ok(w.nlengths == KN_LENGTHS && w.ended == KN_LENGTHS + 13, "the latest are kept, all are counted");
	ok(kn_window_estimate(&w, LIMIT, true, &t, &e) && e.full, "that is as good as it gets");
}

static void
test_thorough(void)
{
	struct kn_window w = window();
	struct kn_estimate e = { 0 };
	struct kn_tick t = tick(50 * MS, -1);

	(void)kn_window_gather(&w, LIMIT, &t);
	t.now_ns = 2000 * MS;
	(void)kn_window_gather(&w, LIMIT, &t);
	for (int i = 0; i < 100; i++)
		kn_window_length(&w, 0, i % 2 == 0 ? 5 * MS : 5000 * MS);
	ok(kn_window_estimate(&w, LIMIT, false, &t, &e) && e.full, "a hundred coarse ones are enough");
	ok(kn_window_estimate(&w, LIMIT, true, &t, &e) && e.enough && !e.full && !e.fine,
	    "... but for who is thorough");
}

int
main(void)
{
	test_begin();
	test_rates();
	test_lengths();
	test_thorough();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/* The policy with a given number, where it comes down when starts are refused, and up again. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "../../src/tune/tuner_state.h"
#include "tap.h"

#define MS ((int64_t)1000000)

static const struct kn_machine machine = {
	.cores = 4,
	.fds_free = 300,
	.fds_per_task = 3,
	.fds_max = 320,
	.processes_free = UINT_MAX,
};

/* A tuner with one key of which many tasks wait. */
static struct kn_tuner *
tuner_make(unsigned asked)
{
	const struct kn_tuner_options options = { .asked = asked, .most = asked > 0 ? 0 : 64 };
	const struct kn_key_name name = { .program = "work", .place.spindle = -1 };
	struct kn_tuner *t;

	if (kn_tuner_new(&options, &machine, &t) < 0)
		return NULL;
	kn_tuner_queue(t, kn_tuner_key(t, &name), 1000000, 1);
	return t;
}

static unsigned
start_all(struct kn_tuner *t, int64_t now_ns)
{
	unsigned n = 0;

	while (n < 100000 && kn_tuner_pick(t, now_ns) == 0) {
		kn_tuner_started(t, 0, now_ns);
		n++;
	}
	return n;
}

static void
sample(struct kn_tuner *t, int64_t now_ns)
{
	const struct kn_sample s = { .now_ns = now_ns, .left = 1000000 };

	kn_tuner_sample(t, &s);
}

/* What all machines of a run can do is more than one ever could. */
static void
test_capacity(void)
{
	struct kn_tuner *t = tuner_make(1);

	kn_tuner_capacity(t, 200000, 0);
	is_int(kn_tuner_limit(t), 200000, "as many as all machines take");
	kn_tuner_capacity(t, UINT_MAX, 0);
	is_int(kn_tuner_limit(t), 1 << 20, "within reason");
	kn_tuner_capacity(t, 0, 0);
	is_int(kn_tuner_limit(t), 1, "never none");
	kn_tuner_free(t);
}

static void
test_given(void)
{
	struct kn_tuner *t = tuner_make(50);

	is_int(kn_tuner_limit(t), 50, "the number that is asked for");
	is_int(start_all(t, 1), 50, "and so many start");
	ok(kn_tuner_fixed(t), "it is a given one");
	kn_tuner_free(t);
	t = tuner_make(101);
	is_int(kn_tuner_limit(t), 100, "no more than descriptors allow");
	kn_tuner_free(t);
	t = tuner_make(UINT_MAX);
	is_int(start_all(t, 1), 100, "as many as descriptors allow");
	kn_tuner_free(t);
}

static void
test_refused(void)
{
	struct kn_tuner *t = tuner_make(10);
	struct kn_change change;
	int64_t due;

	for (int i = 0; i < 6; i++)
		kn_tuner_started(t, 0, 1);
	due = kn_tuner_refused(t, -EAGAIN, 10 * MS);
	is_int(kn_tuner_limit(t), 6, "a refusal: what runs is the limit");
	ok(kn_tuner_change(t, &change) && change.why == KN_WHY_REFUSED && change.figure[0] == EAGAIN,
	    "it is told, with the error");
	ok(due > 10 * MS, "no start before a pause");
	ok(kn_tuner_refused(t, -EAGAIN, due) - due > due - 10 * MS, "the next pause is longer");
	ok(!kn_tuner_change(t, &change), "what did not change is not told again");
	sample(t, 10000 * MS);
	is_int(kn_tuner_limit(t), 7, "after the pause one more, for the limit is reached");
	sample(t, 20000 * MS);
	is_int(kn_tuner_limit(t), 7, "but not while it is not");
	for (int i = 0; i < 10 && kn_tuner_limit(t) < 10; i++) {
		(void)start_all(t, 20000 * MS);
		sample(t, 30000 * MS + i * 10000 * MS);
	}
	is_int(kn_tuner_limit(t), 10, "up to what was asked for");
	ok(kn_tuner_change(t, &change) && change.why == KN_WHY_RECOVERED, "which is told");
	kn_tuner_free(t);
}

static void
test_hand(void)
{
	struct kn_tuner *t = tuner_make(10);

	kn_tuner_adjust(t, 5, 1);
	is_int(kn_tuner_limit(t), 15, "raised by hand");
	kn_tuner_adjust(t, -100, 1);
	is_int(kn_tuner_limit(t), 1, "never below one");
	kn_tuner_free(t);
	t = tuner_make(0);
	kn_tuner_adjust(t, 6, 1);
	is_int(kn_tuner_limit(t), (intmax_t)start_all(t, 1), "a found number becomes a given one");
	kn_tuner_free(t);
}

/* As many kinds of work as there can be, all in a moment: each is told. */
static void
test_many_changes(void)
{
	const struct kn_tuner_options options = { .hint = KNEE_KIND_NET };
	struct kn_key_name name = { .program = "work", .place.spindle = -1 };
	struct kn_change change;
	struct kn_tuner *t;
	unsigned first = 0, others = 0;

	if (kn_tuner_new(&options, &machine, &t) < 0)
		return;
	for (unsigned i = 0; i < KN_KEYS; i++) {
		(void)snprintf(name.place.host, sizeof(name.place.host), "host%u", i);
		kn_tuner_queue(t, kn_tuner_key(t, &name), 1000, i);
	}
	sample(t, 100 * MS);
	while (kn_tuner_change(t, &change)) {
		first += change.why == KN_WHY_HINT;
		others += change.why != KN_WHY_HINT;
	}
	is_int(first, KN_KEYS, "the start of each kind is told, beside %u other changes", others);
	kn_tuner_free(t);
}

/* A class looks more often than the machine is read: bytes count over the time in which they moved. */
static void
test_swapped(void)
{
	struct kn_tuner *t = tuner_make(0);
	struct kn_vitals v = { .known = KN_VITALS_SWAP, .net_busy_frac = -1 };
	struct kn_sample s = { .now_ns = 1000 * MS, .left = 1000000, .vitals = &v };
	const struct kn_class *c = &t->classes[0];
	const struct kn_signs *signs;

	kn_tuner_started(t, 0, 900 * MS);
	kn_tuner_sample(t, &s);
	t->classes[0].ticked_ns = 1150 * MS;
	t->classes[0].limiter.due_ns = s.now_ns = 1200 * MS;
	v.swap_in_bytes = 20000000;
	kn_tuner_sample(t, &s);
	signs = c->signs.time_ns[KN_SYMPTOM_SWAP] > 0 ? &c->signs : &c->signs_base;
	is_int((int64_t)signs->mean[KN_SYMPTOM_SWAP], 100000000, "20 MB in 0.2 s are 100 MB/s");
	kn_tuner_free(t);
}

#define GIB ((uint64_t)1 << 30)

/* What there is no memory for is passed over, but not for ever. */
static void
test_passed_over(void)
{
	const struct kn_tuner_options options = { 0 };
	const struct kn_machine m = { .cores = 4,
		.fds_free = 300,
		.fds_per_task = 3,
		.processes_free = UINT_MAX,
		.memory_bytes = 8 * GIB };
	const struct kn_key_name names[] = { { .program = "large" }, { .program = "small" } };
	const struct kn_prior priors[] = { { .kind = KNEE_KIND_WAIT, .limit = 4, .rss_bytes = 4e9 },
		{ .kind = KNEE_KIND_NET, .limit = 4, .rss_bytes = 1e6 } };
	const struct kn_vitals v = {
		.known = KN_VITALS_MEMORY, .memory_bytes = 8 * GIB, .memory_free_bytes = 3 * GIB
	};
	const struct kn_sample s = { .now_ns = 100 * MS, .left = 1000, .vitals = &v };
	const struct kn_usage none = { 0 };
	struct kn_tuner *t;

	if (kn_tuner_new(&options, &m, &t) < 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		is_int(kn_tuner_key(t, &names[i]), i, "a key");
		kn_tuner_recall(t, i, &priors[i]);
		kn_tuner_queue(t, i, 100, i + 1);
	}
	kn_tuner_started(t, 0, 1);
	kn_tuner_started(t, 1, 1);
	kn_tuner_progress(
	    t, 0, 1, &none, &(struct kn_usage){ .known = KN_USAGE_RSS, .rss_bytes = 4000000000 });
	kn_tuner_progress(t, 1, 1, &none, &(struct kn_usage){ .known = KN_USAGE_RSS, .rss_bytes = 1000000 });
	kn_tuner_sample(t, &s);
	is_int(kn_tuner_pick(t, 110 * MS), 1, "what memory allows goes first");
	is_int(kn_tuner_pick(t, 11000 * MS), -1, "but not for ever");
	kn_tuner_free(t);
}

/* Work that a few ends have shown to compute: key `key` of t, at the time now_ns. */
static void
end_of(struct kn_tuner *t, unsigned key, int64_t now_ns, int64_t runtime_ns, double cpu_share, bool busy,
    bool late)
{
	struct kn_end end = { .now_ns = now_ns, .started_ns = now_ns - runtime_ns };

	end.usage.known = KN_USAGE_CPU;
	end.usage.cpu_ns = (int64_t)(cpu_share * (double)runtime_ns);
	end.delta = end.usage;
	end.busy = busy;
	end.late = end.cut = late;
	end.failed = busy || late;
	kn_tuner_ended(t, key, &end);
}

/* Run all that may start for 100 ms each, so many times, with a sample after each. The number above
 * which one more is told that it is too many, or runs out of time; 0: none is. Returns how many were. */
static unsigned
rounds(struct kn_tuner *t, int64_t *now_ns, unsigned n, double cpu_share, unsigned bears, bool late)
{
	unsigned told = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned running = 0;

		while (running < 1000 && kn_tuner_pick(t, *now_ns) == 0) {
			kn_tuner_started(t, 0, *now_ns);
			running++;
		}
		*now_ns += 100 * MS;
		for (unsigned j = running; j > 0; j--) {
			bool over = bears > 0 && (late ? running : j) > bears;

			told += over;
			end_of(t, 0, *now_ns, 100 * MS, cpu_share, over && !late, over && late);
		}
		sample(t, *now_ns);
	}
	return told;
}

static void
test_busy_cores(void)
{
	struct kn_tuner *t = tuner_make(0);
	int64_t now = MS;
	unsigned told;

	(void)rounds(t, &now, 100, 1, 0, false);
	is_int(kn_tuner_limit(t), 4, "what computes gets the cores");
	told = rounds(t, &now, 600, 1, 2, false);
	ok(told > 0 && told < 30, "two at once is all that is borne: few are told so");
	if (told >= 30)
		diag("%u in a minute", told);
	ok(kn_tuner_limit(t) <= 3, "and the number stays there");
	(void)rounds(t, &now, 6000, 1, 0, false);
	is_int(kn_tuner_limit(t), 4, "until nobody says so any more");
	kn_tuner_free(t);
}

static void
test_busy_once(void)
{
	struct kn_tuner *t = tuner_make(0);
	int64_t now = MS;
	unsigned before;

	while (kn_tuner_limit(t) < 8)
		(void)rounds(t, &now, 1, .01, 0, false);
	before = kn_tuner_limit(t);
	(void)rounds(t, &now, 1, .01, before - 1, false);
	ok(kn_tuner_limit(t) < before, "one task is told that it is one too many");
	(void)rounds(t, &now, 3000, .01, 0, false);
	if (!ok(kn_tuner_limit(t) >= 4 * before, "minutes later nobody says so: the search has gone on"))
		diag("%u, and %u before", kn_tuner_limit(t), before);
	kn_tuner_free(t);
}

/* An input that comes late, or another machine that hands out work, finds the number that was found. */
static void
test_idle(void)
{
	const struct kn_key_name name = { .program = "work", .place.spindle = -1 };
	const struct kn_tuner_options options = { .most = 64 };
	struct kn_tuner *t;
	int64_t now = MS;
	unsigned before;

	if (!ok(kn_tuner_new(&options, &machine, &t) == 0, "a tuner"))
		return;
	is_int(kn_tuner_limit(t), 1, "before the first task one may start");
	kn_tuner_queue(t, kn_tuner_key(t, &name), 1000, 1);
	while (kn_tuner_limit(t) < 8)
		(void)rounds(t, &now, 1, .01, 0, false);
	before = kn_tuner_limit(t);
	kn_tuner_queue(t, 0, 0, 0);
	is_int(kn_tuner_limit(t), before, "when nothing runs and nothing waits the number stays");
	kn_tuner_free(t);
}

/* What waited when it last ran computes now. */
static void
test_idle_class_left(void)
{
	const struct kn_key_name name = { .program = "work", .place.spindle = -1 };
	const struct kn_prior waits = {
		.kind = KNEE_KIND_WAIT, .limit = 50, .wait_share = 1, .runtime_ns = 1e8
	};
	const struct kn_tuner_options options = { .most = 64 };
	struct kn_tuner *t;
	int64_t now = MS;

	if (!ok(kn_tuner_new(&options, &machine, &t) == 0, "a tuner"))
		return;
	kn_tuner_recall(t, kn_tuner_key(t, &name), &waits);
	kn_tuner_queue(t, 0, 1000, 1);
	is_int(kn_tuner_limit(t), 50, "it starts where it settled");
	(void)rounds(t, &now, 100, 1, 0, false);
	is_int(kn_tuner_limit(t), 4, "what computes gets the cores");
	kn_tuner_queue(t, 0, 0, 0);
	is_int(kn_tuner_limit(t), 4, "also when nothing runs: the class that it has left does not count");
	kn_tuner_free(t);
}

static void
test_late(void)
{
	struct kn_tuner *t = tuner_make(0);
	int64_t now = MS;
	unsigned told;

	told = rounds(t, &now, 600, .01, 6, true);
	if (!ok(told > 0 && told < 100, "time-outs that come with the number bring it down"))
		diag("%u tasks were timed out, and the number is %u", told, kn_tuner_limit(t));
	kn_tuner_free(t);
}

/* Every program is of an unknown kind first, and then of its own. */
static void
test_many_classes(void)
{
	struct kn_tuner *t = tuner_make(0);
	struct kn_key_name name = { .place.spindle = -1 };
	int64_t now = MS;
	struct knee_work work;
	bool shared = false;

	kn_tuner_queue(t, 0, 0, UINT64_MAX);
	for (unsigned i = 0; i < KN_KEYS - 1; i++) {
		(void)snprintf(name.program, sizeof(name.program), "wait%u", i);
		kn_tuner_queue(t, kn_tuner_key(t, &name), 100, i);
	}
	for (unsigned i = 0; i < 40; i++) {
		unsigned of[KN_KEYS] = { 0 };
		int key;

		while ((key = kn_tuner_pick(t, now)) >= 0) {
			kn_tuner_started(t, (unsigned)key, now);
			of[key]++;
		}
		now += 100 * MS;
		for (unsigned k = 0; k < KN_KEYS; k++)
			for (; of[k] > 0; of[k]--)
				end_of(t, k, now, 100 * MS, .01, false, false);
		sample(t, now);
	}
	for (unsigned i = 0; i < kn_tuner_nclasses(t); i++) {
		kn_tuner_work(t, i, &work);
		if (work.kind == KNEE_KIND_UNKNOWN && strchr(work.name, ',') != NULL)
			shared = true;
	}
	ok(!shared, "63 programs that wait: none shares a class for want of another");
	kn_tuner_free(t);
}

/* A bound that leaves room for one: what has waited longest goes first. */
static void
test_turns(void)
{
	const struct kn_tuner_options options = { .most = 1 };
	const struct kn_key_name names[] = { { .program = "first" }, { .program = "second" } };
	struct kn_tuner *t;
	unsigned of[2] = { 0 };
	uint64_t seq = 1;

	if (kn_tuner_new(&options, &machine, &t) < 0)
		return;
	for (unsigned i = 0; i < 2; i++)
		kn_tuner_queue(t, kn_tuner_key(t, &names[i]), 100, seq++);
	for (int i = 0; i < 20; i++) {
		int key = kn_tuner_pick(t, i * 100 * MS + 1);

		if (!ok(key >= 0, "one may start"))
			break;
		kn_tuner_started(t, (unsigned)key, i * 100 * MS + 1);
		kn_tuner_queue(t, (unsigned)key, 100, seq++);
		end_of(t, (unsigned)key, (i + 1) * 100 * MS + 1, 100 * MS, .01, false, false);
		of[key]++;
	}
	is_int(of[0], 10, "each has its turn");
	is_int(of[1], 10, "... and the other");
	kn_tuner_free(t);
}

int
main(void)
{
	test_busy_cores();
	test_busy_once();
	test_idle();
	test_idle_class_left();
	test_late();
	test_many_classes();
	test_turns();
	test_passed_over();
	test_capacity();
	test_given();
	test_refused();
	test_hand();
	test_many_changes();
	test_swapped();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/* The policy: where the limit starts, how it comes down when starts are refused, and up again. */
#include <errno.h>
#include <limits.h>

#include "../../src/tune/tuner.h"
#include "tap.h"

static const struct kn_machine machine = { .cores = 4, .fds_free = 300, .fds_per_task = 3, .fds_max = 320 };

static unsigned
sample(struct kn_tuner *t, int64_t now_ns, unsigned running, int refused)
{
	const struct kn_sample s = { .now_ns = now_ns, .running = running, .refused = refused };

	return kn_tuner_sample(t, &s);
}

static void
test_start(void)
{
	struct kn_tuner t;

	kn_tuner_init(&t, 0, &machine);
	is_int(t.limit, 4, "the cores when no number is asked for");
	kn_tuner_init(&t, 50, &machine);
	is_int(t.limit, 50, "the number that is asked for");
	kn_tuner_init(&t, 101, &machine);
	is_int(t.limit, 100, "no more than descriptors allow");
	is_int(t.why, KN_WHY_FDS, "and that is why");
	kn_tuner_init(&t, UINT_MAX, &machine);
	is_int(t.limit, 100, "as many as descriptors allow");
}

static void
test_refused(void)
{
	struct kn_tuner t;
	int64_t due;

	kn_tuner_init(&t, 10, &machine);
	is_int(sample(&t, 0, 6, -EAGAIN), 6, "a refusal brings the limit down to what runs");
	due = t.due_ns;
	ok(due > 0 && due < INT64_MAX, "and asks for a later sample");
	is_int(sample(&t, due - 1, 6, 0), 6, "nothing changes before");
	is_int(sample(&t, due, 5, 0), 6, "nor while the limit is not reached");
	is_int(sample(&t, t.due_ns, 6, 0), 7, "then one more");
	for (int i = 0; i < 10; i++)
		(void)sample(&t, t.due_ns, t.limit, 0);
	is_int(t.limit, 10, "up to the number at the start and no further");
	is_int(t.due_ns, INT64_MAX, "where no sample is wanted any more");
	is_int(sample(&t, 0, 0, -EAGAIN), 1, "never below one");
}

int
main(void)
{
	test_start();
	test_refused();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/* What a profile makes of its trials: throughput of a part of a run, the number, the speed-up.
 * No task runs here. */
#include "profile_links.c"
#include "profile_measure.c"
#include "profile_report.c"
#include "tap.h"

static void
is_near(double got, double want, const char *name)
{
	if (!ok(fabs(got - want) < 1e-6 * fabs(want) + 1e-9, "%s", name))
		diag("got %g, want %g", got, want);
}

static void
test_throughput(void)
{
	/* Two at once, 1 s each, but for one that failed and one that ends after the trial. */
	struct span spans[] = {
		{ 0, 1 * SECOND, false },
		{ 0, 1 * SECOND, false },
		{ 1 * SECOND, 2 * SECOND, false },
		{ 1 * SECOND, 2 * SECOND, true },
		{ 2 * SECOND, 6 * SECOND, false },
	};
	struct phase ph = { .spans = spans, .nspans = 5 };

	is_near(throughput(&ph, 0, 2 * SECOND), 1.5, "whole tasks, the failed one does not count");
	is_near(throughput(&ph, SECOND / 2, SECOND), 2, "halves of tasks count by halves");
	is_near(throughput(&ph, 2 * SECOND, 4 * SECOND), 0.25, "so does one that ends later");
	is_near(throughput(&ph, SECOND, SECOND), 0, "no time, no throughput");
	is_near(throughput(&ph, 10 * SECOND, 12 * SECOND), 0, "nothing there");
}

static void
test_alone(void)
{
	struct span spans[] = {
		{ 0, 4 * SECOND, false },
		{ 5 * SECOND, 6 * SECOND, false },
		{ 6 * SECOND, 8 * SECOND, true },
		{ 8 * SECOND, 9 * SECOND, false },
	};
	struct profile p = { 0 };
	struct phase ph = { .p = &p, .spans = spans, .nspans = 4, .failed = 1, .cpu_s = 3 };

	ph.stop_ns = 9 * SECOND;
	level_add(&p, &ph, 1);
	is_near(p.levels[0].per_s, 2.0 / 5, "alone: the first one, which warms up, is left out");
	is_int(p.levels[0].failed, 1, "failures are counted");
	task_fill(&p, &ph);
	is_near(p.task.runtime_s, 1, "the median of those that succeeded");
	is_near(p.task.longest_s, 4, "the longest");
	is_near(p.task.cpu_s, 1, "the mean");
}

/* Links come and go while it is measured: those of other people's containers. */
static void
test_links(void)
{
	struct link first[] = { { "eth0", 1000 }, { "veth1", 5000 } },
		    then[] = { { "eth0", 1700 }, { "veth2", 40 } };
	const struct links none = { 0 }, before = { first, 2 }, after = { then, 2 };
	struct links now;

	is_near(
	    links_between(&before, &after), 740, "one that went takes nothing away, one that came counts");
	is_near(links_between(&after, &before), 5000, "nor does one whose count begins anew");
	is_near(links_between(&none, &after), 1740, "nothing was there before");
	is_near(links_between(&before, &none), -1, "none can be seen");
	links_read(&now);
	ok(now.len > 0 && link_bytes(&now, "lo") >= 0, "this machine has links");
	is_near(links_between(&now, &now), 0, "nothing goes over them in no time");
	links_free(&now);
}

static void
test_queue(void)
{
	/* Four at once before one lock, 1 s each: the last three end after no more were started. */
	struct span lock[] = {
		{ 0, 1 * SECOND, false },
		{ 0, 2 * SECOND, false },
		{ 0, 3 * SECOND, false },
		{ 0, 4 * SECOND, false },
		{ 1 * SECOND, 5 * SECOND, false },
	};
	/* And four that only wait, one of them long. */
	struct span wait[] = {
		{ 0, 1 * SECOND, false },
		{ 0, 1 * SECOND, false },
		{ 0, 1 * SECOND, false },
		{ 0, 2 * SECOND, false },
	};
	struct profile p = { .task.runtime_s = 1 };
	struct phase ph = { .p = &p, .spans = lock, .nspans = 5 };

	ph.stop_ns = 2 * SECOND - 1;
	level_add(&p, &ph, 4);
	is_near(p.levels[0].per_s, 1, "what stood in a queue is no work done");
	ph = (struct phase){ .p = &p, .spans = wait, .nspans = 4, .stop_ns = SECOND };
	level_add(&p, &ph, 4);
	ok(p.levels[1].per_s > 3, "a long one at the end takes nothing away");
}

static struct profile
with_levels(const double *per_s, size_t n)
{
	struct profile p = { .cores = 2, .nlevels = n, .task = { .runtime_s = 1, .done = 3 } };

	for (size_t i = 0; i < n; i++)
		p.levels[i] =
		    (struct profile_level){ .limit = 1U << i, .per_s = per_s[i], .noise_frac = 0.02 };
	return p;
}

static void
test_rises(void)
{
	struct profile p = with_levels((double[]){ 1, 1 }, 2);

	ok(rises(&p), "one trial that gave nothing is not enough");
	p = with_levels((double[]){ 1, 1, 1 }, 3);
	ok(!rises(&p), "two are");
	p = with_levels((double[]){ 1, 1, 1.2 }, 3);
	ok(rises(&p), "a gain late counts");
	p = with_levels((double[]){ 1, 2, 2.05, 4 }, 4);
	ok(rises(&p), "so does one after a pause");
	p = with_levels((double[]){ 1, 2, 2, 0.5 }, 4);
	ok(!rises(&p), "harm ends it");
}

static void
test_answer(void)
{
	struct profile p = with_levels((double[]){ 1, 2, 3.9, 4 }, 4);

	p.task.cpu_s = 0.1;
	is_int(profile_limit(&p), 4, "the smallest number near the best");
	is_int(profile_kind(&p), KNEE_KIND_WAIT, "what rises and needs nothing waits");
	is_near(speed_up(&p, 4), 3.9, "measured");
	is_near(speed_up(&p, 1), 1, "alone");
	is_near(speed_up(&p, 64), 4, "beyond the trials no more than they gave");
	ok(speed_up(&p, 3) > 2 && speed_up(&p, 3) < 3.9, "between two of them");
	p.work = (struct knee_work){ .kind = KNEE_KIND_NET, .limit = 7, .settled = 1 };
	is_int(profile_limit(&p), 7, "the engine's number comes first");
	is_int(profile_kind(&p), KNEE_KIND_NET, "and so does its kind");

	p = with_levels((double[]){ 1, 1.02, 1.04 }, 3);
	is_int(profile_kind(&p), KNEE_KIND_LOCK, "what waits and does not rise stands in a queue");
	is_int(profile_limit(&p), 1, "one at once");
	p.work = (struct knee_work){ .kind = KNEE_KIND_LOCK, .limit = 8 };
	is_int(profile_limit(&p), 1, "wherever the engine's search is as yet");
	p.work.settled = 1;
	is_int(profile_limit(&p), 8, "but not where it ended");
	p.work = (struct knee_work){ 0 };
	p.task.cpu_s = 0.9;
	is_int(profile_kind(&p), KNEE_KIND_CPU, "what computes");
	is_int(profile_limit(&p), 2, "has the cores");
	p.work = (struct knee_work){ .kind = KNEE_KIND_WAIT, .limit = 8 };
	is_int(profile_kind(&p), KNEE_KIND_CPU, "whatever a search that goes on takes it for");
	is_int(profile_limit(&p), 2, "and at whatever number that is");
	p.work = (struct knee_work){ 0 };
	p.task.cpu_s = 2;
	p.task.delay_s = 1.9;
	is_near(cores_per_task(&p), 3.9, "four threads on two cores want four");
	is_int(profile_limit(&p), 1, "and run alone");
	p.nlevels = 1;
	p.task.cpu_s = p.task.delay_s = 0;
	is_int(profile_limit(&p), 0, "without trials nobody knows");
	is_near(speed_up(&p, 5), 0, "nor how much faster");
}

static void
test_search_goes_on(void)
{
	struct profile p = with_levels((double[]){ 1, 2, 4, 8, 8.1, 8.05 }, 6);

	p.task.cpu_s = 0.1;
	p.work = (struct knee_work){ .kind = KNEE_KIND_WAIT, .limit = 128 };
	is_int(profile_limit(&p), 8, "trials that saw the end of the rise know better");
	p.work.limit = 4;
	is_int(profile_limit(&p), 8, "also when the search is still below it");
	for (size_t i = 0; i < p.nlevels; i++)
		p.levels[i].noise_frac = 0;
	p.levels[3].per_s = 7.9;
	is_int(profile_limit(&p), 16, "2 %% less is another number, where chance is no excuse");
	p.nlevels = 4;
	p.work.limit = 128;
	is_int(profile_limit(&p), 128, "where the trials still rose the search has seen more");
	p.work.limit = 5;
	is_int(profile_limit(&p), 8, "or less");
}

/* Each second some end; noise is what their lengths differ by. */
static void
test_noise(void)
{
	struct span spans[] = {
		{ 0, 1 * SECOND, false },
		{ 0, 3 * SECOND, false },
		{ 0, 1 * SECOND, false },
		{ 0, 3 * SECOND, false },
	};
	struct profile p = { .task.runtime_s = 1 };
	struct phase ph = { .p = &p, .spans = spans, .nspans = 4, .stop_ns = SECOND };

	level_add(&p, &ph, 4);
	is_near(p.levels[0].noise_frac, sqrt(1.0 / 3) / 2, "the error of a mean of four");
	for (size_t i = 0; i < 4; i++)
		spans[i] = (struct span){ 0, SECOND, false };
	ph = (struct phase){ .p = &p, .spans = spans, .nspans = 4, .stop_ns = SECOND };
	level_add(&p, &ph, 4);
	is_near(p.levels[1].noise_frac, 0, "equal ones have none");
}

int
main(void)
{
	test_throughput();
	test_alone();
	test_links();
	test_queue();
	test_rises();
	test_answer();
	test_search_goes_on();
	test_noise();
	return done_testing();
}

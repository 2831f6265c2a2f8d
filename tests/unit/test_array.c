/* SPDX-License-Identifier: MIT */
/*
 * Loops over arrays: each item once, the lowest error, sums that stay the same, and nothing left behind.
 * Where threads are wanted items wait for each other, or for what they are there to see; nothing is
 * said of times.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <knee.h>
#include "alloc.h"
#include "random.h"
#include "tap.h"

/* What waits for an event gives up after so many naps of 1 ms: the test has failed then. */
#define NAPS 20000

static unsigned entries_before; /* in /proc/self/task */
static atomic_uint threads_made, threads_joined;
static atomic_uint threads_fail_at; /* 0: none; n: the nth and later ones cannot be made */

int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __real_pthread_join(pthread_t t, void **ret);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __wrap_pthread_join(pthread_t t, void **ret);

int
__wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*main)(void *), void *arg)
{
	unsigned n = atomic_fetch_add(&threads_made, 1) + 1;
	int err =
	    threads_fail_at > 0 && n >= threads_fail_at ? EAGAIN : __real_pthread_create(t, attr, main, arg);

	if (err != 0)
		atomic_fetch_sub(&threads_made, 1);
	return err;
}

int
__wrap_pthread_join(pthread_t t, void **ret)
{
	atomic_fetch_add(&threads_joined, 1);
	return __real_pthread_join(t, ret);
}

static void
nap(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Entries of a folder of /proc/self. */
static unsigned
entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		(void)closedir(d);
	return n;
}

static void *
nothing(void *arg)
{
	return arg;
}

/* A sanitizer makes a thread of its own with the first one, and keeps it. */
static void
first_thread(void)
{
	pthread_t t;

	entries_before = entries("/proc/self/task");
	if (__real_pthread_create(&t, NULL, nothing, NULL) != 0)
		return;
	(void)__real_pthread_join(t, NULL);
	if (getenv("KNEE_TSAN") != NULL)
		entries_before++;
}

/* All threads that were made were joined. The kernel may list one a moment longer. */
static void
nothing_left(const char *name)
{
	unsigned made = threads_made, joined = threads_joined;

	is_int(joined, made, "%s: all of %u threads were joined", name, made);
	for (unsigned i = 0; i < NAPS && entries("/proc/self/task") > entries_before; i++)
		nap();
	is_int(entries("/proc/self/task"), entries_before, "%s: no thread is left", name);
	threads_made = threads_joined = 0;
}

/* ---- each item once -------------------------------------------------------------------- */

struct marks {
	atomic_uchar *seen;
	atomic_uint at_work, peak;
	unsigned spin;
};

static int
mark(void *self, size_t i)
{
	struct marks *m = self;
	unsigned n = atomic_fetch_add(&m->at_work, 1) + 1, peak = m->peak;

	while (n > peak && !atomic_compare_exchange_weak(&m->peak, &peak, n))
		;
	for (unsigned k = 0; k < m->spin; k++)
		atomic_signal_fence(memory_order_seq_cst);
	atomic_fetch_add(&m->seen[i], 1);
	atomic_fetch_sub(&m->at_work, 1);
	return 0;
}

static void
once(size_t count, unsigned spin, const struct knee_threads *how, const char *name)
{
	struct marks m = { .seen = calloc(count + 1, sizeof(*m.seen)), .spin = spin };
	size_t wrong = 0;

	is_int(knee_for(count, mark, &m, how), 0, "%zu items, %s", count, name);
	for (size_t i = 0; i < count; i++)
		wrong += m.seen[i] != 1;
	is_int(wrong, 0, "%zu items, %s: each once", count, name);
	if (how != NULL && how->limit > 0)
		ok(m.peak <= how->limit, "%zu items, %s: %u at once", count, name, (unsigned)m.peak);
	free(m.seen);
}

static void
test_once(void)
{
	const size_t counts[] = { 0, 1, 2, 3, 17, 1000, 300000 };
	const struct knee_threads one = { .limit = 1 }, three = { .limit = 3 };
	const struct knee_threads many = { .limit = 24, .kind = KNEE_KIND_WAIT };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		once(counts[i], 0, NULL, "found");
		once(counts[i], 0, &one, "by one thread");
		once(counts[i], 0, &three, "by three");
		once(counts[i], 0, &many, "by 24 at once");
	}
	once(200, 200000, NULL, "long ones, found");
	once(200, 200000, &three, "long ones, by three");
	nothing_left("each once");
}

static int
note_thread(void *self, size_t i)
{
	atomic_uint *others = self;

	(void)i;
	if (getpid() != gettid())
		atomic_fetch_add(others, 1);
	return 0;
}

/* It may happen that something else has the core meanwhile, and the loop lasts long: but not each time. */
static void
test_tiny(void)
{
	unsigned made = 1;

	for (unsigned i = 0; i < 1000 && made > 0; i++) {
		atomic_uint others = 0;

		threads_made = threads_joined = 0;
		(void)knee_for(10, note_thread, &others, NULL);
		made = threads_made + others;
	}
	is_int(made, 0, "a tiny loop makes no thread");
	threads_made = threads_joined = 0;
}

/* ---- threads ------------------------------------------------------------------------- */

struct meeting {
	atomic_uint here, most;
	unsigned want;
	atomic_bool met, signals;
};

/* Waits until as many are there as are wanted. */
static int
meet(void *self, size_t i)
{
	struct meeting *m = self;
	unsigned n = atomic_fetch_add(&m->here, 1) + 1, most = m->most;
	sigset_t set;

	(void)i;
	while (n > most && !atomic_compare_exchange_weak(&m->most, &most, n))
		;
	if (n >= m->want)
		m->met = true;
	for (unsigned k = 0; k < NAPS && !m->met; k++)
		nap();
	(void)pthread_sigmask(SIG_SETMASK, NULL, &set);
	if (gettid() != getpid() && (!sigismember(&set, SIGTERM) || !sigismember(&set, SIGCHLD)))
		m->signals = true;
	atomic_fetch_sub(&m->here, 1);
	return 0;
}

/* The same, but it does not wait for ever. */
static int
meet_by_chance(void *self, size_t i)
{
	struct meeting *m = self;
	unsigned n = atomic_fetch_add(&m->here, 1) + 1, most = m->most;

	(void)i;
	while (n > most && !atomic_compare_exchange_weak(&m->most, &most, n))
		;
	if (n >= m->want)
		m->met = true;
	for (unsigned k = 0; k < 3 && !m->met; k++)
		nap();
	atomic_fetch_sub(&m->here, 1);
	return 0;
}

static void
test_threads(void)
{
	struct meeting m = { .want = 5 };
	sigset_t before = { 0 }, after = { 0 }; /* the kernel fills in a part */

	(void)pthread_sigmask(SIG_SETMASK, NULL, &before);
	is_int(knee_for(5, meet, &m, &(struct knee_threads){ .limit = 5, .kind = KNEE_KIND_WAIT }), 0,
	    "five items that are said to wait");
	ok(m.met, "all begin at once");
	m = (struct meeting){ .want = 20 };
	is_int(knee_for(20, meet, &m, &(struct knee_threads){ .kind = KNEE_KIND_NET }), 0,
	    "twenty, without a number");
	ok(m.met, "all begin at once, too");
	ok(!m.signals, "no signal is delivered to these threads");
	(void)pthread_sigmask(SIG_SETMASK, NULL, &after);
	ok(!sigismember(&after, SIGTERM) && memcmp(&before, &after, sizeof(before)) == 0,
	    "the caller's mask is as before");
	m = (struct meeting){ .want = UINT_MAX };
	(void)knee_for(
	    100, meet_by_chance, &m, &(struct knee_threads){ .limit_max = 3, .kind = KNEE_KIND_WAIT });
	ok(m.most <= 3, "no more than are allowed: %u", (unsigned)m.most);
	nothing_left("threads");
}

/* Items wait: more threads than cores come, without being told. */
static void
test_found(void)
{
	struct meeting m = { .want = 4 + 2 * (unsigned)sysconf(_SC_NPROCESSORS_ONLN) };

	is_int(knee_for(20000, meet_by_chance, &m, NULL), 0, "items that wait");
	ok(m.met, "%u at once are found", m.want);
	nothing_left("found");
}

#define FAST 200000
#define SLOW 2000
#define ALL 1000000

struct slow {
	atomic_int first; /* the thread that had a slow item first */
	atomic_bool shared;
};

static int
slow_among_fast(void *self, size_t i)
{
	struct slow *s = self;
	int none = 0;

	if (i < FAST || i >= FAST + SLOW || s->shared)
		return 0;
	if (!atomic_compare_exchange_strong(&s->first, &none, gettid()) && none != gettid())
		s->shared = true;
	nap();
	return 0;
}

static void
test_slow(void)
{
	struct slow s = { 0 };

	is_int(knee_for(ALL, slow_among_fast, &s, &(struct knee_threads){ .limit = 2 }), 0,
	    "slow items among a great many fast ones");
	ok(s.shared, "who has them gives some away");
	nothing_left("slow");
}

/* ---- errors ---------------------------------------------------------------------------- */

struct bad {
	size_t count, lowest;
	uint64_t seed;
	unsigned one_in;
	atomic_uchar *seen;
};

static int
bad_value(const struct bad *b, size_t i)
{
	struct rnd r = { (b->seed + i) * 2654435761u + 1 };

	(void)rnd_next(&r);
	return rnd_below(&r, b->one_in) == 0 ? -(int)(i % 1000) - 1 : 0;
}

static int
maybe_bad(void *self, size_t i)
{
	struct bad *b = self;

	atomic_fetch_add(&b->seen[i], 1);
	if (i % 64 == 0)
		sched_yield();
	return bad_value(b, i);
}

static size_t
bad_run(uint64_t seed, unsigned limit)
{
	struct bad b = { .seed = seed, .count = 1 + seed % 5000, .one_in = (unsigned)(1 + seed % 3000) };
	struct knee_threads how = { .limit = limit, .kind = seed % 2 ? KNEE_KIND_WAIT : KNEE_KIND_UNKNOWN };
	size_t wrong = 0;
	int value, want;

	b.seen = calloc(b.count, sizeof(*b.seen));
	value = knee_for(b.count, maybe_bad, &b, &how);
	while (b.lowest < b.count && bad_value(&b, b.lowest) == 0)
		wrong += b.seen[b.lowest++] != 1;
	want = b.lowest < b.count ? bad_value(&b, b.lowest) : 0;
	for (size_t i = b.lowest; i < b.count; i++)
		wrong += b.seen[i] > 1;
	free(b.seen);
	if (value != want)
		diag("seed %llu: %d, wanted %d", (unsigned long long)seed, value, want);
	return wrong + (value != want);
}

static void
test_errors(void)
{
	uint64_t seed = rnd_seed();
	size_t wrong = 0;

	for (unsigned i = 0; i < 400; i++)
		wrong += bad_run(seed + i, i % 5);
	is_int(wrong, 0, "the lowest error, and all below were called (SEED=%llu)", (unsigned long long)seed);
	nothing_left("errors");
}

/* Item 0 waits until the last one has failed, and fails then. */
static int
late_error(void *self, size_t i)
{
	atomic_bool *last = self;

	if (i == 0) {
		for (unsigned k = 0; k < NAPS && !*last; k++)
			nap();
		return 100;
	}
	if (i == 3)
		*last = true;
	return i == 3 ? 103 : 0;
}

static void
test_late_error(void)
{
	const struct knee_threads how = { .limit = 4, .kind = KNEE_KIND_WAIT };
	atomic_bool last = false;

	is_int(knee_for(4, late_error, &last, &how), 100, "the lowest item's error, though it came last");
	ok(last, "it did");
	nothing_left("a late error");
}

/* ---- inside each other, and beside --------------------------------------------------------- */

static int
inner(void *self, size_t i)
{
	atomic_ullong *sum = self;

	for (unsigned k = 0; k < 2000; k++)
		atomic_signal_fence(memory_order_seq_cst);
	atomic_fetch_add(sum, i);
	return 0;
}

static int
outer(void *self, size_t i)
{
	(void)i;
	return knee_for(1000, inner, self, &(struct knee_threads){ .limit = 3 });
}

static void *
beside(void *arg)
{
	(void)knee_for(20, outer, arg, &(struct knee_threads){ .limit = 2 });
	return NULL;
}

static void
test_nested(void)
{
	const struct knee_threads how = { .limit = 3, .kind = KNEE_KIND_WAIT };
	atomic_ullong sum = 0, sums[4] = { 0 };
	pthread_t t[4];

	is_int(knee_for(20, outer, &sum, &how), 0, "loops in a loop");
	is_int(sum, 20 * 499500, "each item of each");
	for (unsigned i = 0; i < 4; i++)
		(void)pthread_create(&t[i], NULL, beside, &sums[i]);
	for (unsigned i = 0; i < 4; i++)
		(void)pthread_join(t[i], NULL);
	for (unsigned i = 0; i < 4; i++)
		is_int(sums[i], 20 * 499500, "loops beside each other: %u", i);
	nothing_left("nested");
}

/* ---- what is missing ------------------------------------------------------------------------ */

static void
test_no_threads(void)
{
	const struct knee_threads wait = { .kind = KNEE_KIND_WAIT, .limit = 8 },
				  found = { .kind = KNEE_KIND_NET };

	for (unsigned n = 1; n < 6; n++) {
		threads_fail_at = n;
		once(2000, 2000, &wait, "threads fail");
		nothing_left("threads fail");
		threads_fail_at = n;
		once(2000, 2000, &found, "threads and the monitor fail");
		nothing_left("threads and the monitor fail");
	}
	threads_fail_at = 0;
}

static void
test_no_memory(void)
{
	const struct knee_threads how = { .kind = KNEE_KIND_NET };
	struct marks m = { .spin = 2000 };
	size_t wrong = 0;

	for (unsigned n = 1; n < 8; n++) {
		m.seen = calloc(2000, sizeof(*m.seen));
		alloc_count = 0;
		alloc_fail_at = n;
		wrong += knee_for(2000, mark, &m, &how) != 0;
		alloc_fail_at = 0;
		for (size_t i = 0; i < 2000; i++)
			wrong += m.seen[i] != 1;
		free(m.seen);
	}
	is_int(wrong, 0, "without memory for threads the others do it");
	nothing_left("no memory");
}

/* ---- map ------------------------------------------------------------------------------------- */

static int
widen(void *self, const void *item, void *ret)
{
	const unsigned *bad = self;
	unsigned n = *(const unsigned *)item;

	if (bad != NULL && n >= *bad)
		return (int)n;
	*(uint64_t *)ret = n;
	return 0;
}

static void
test_map(void)
{
	size_t count = 100000, wrong = 0;
	unsigned *in = malloc(count * sizeof(*in)), bad = 777;
	uint64_t *out = calloc(count, sizeof(*out));
	struct knee_array from = { in, count, sizeof(*in) }, to = { out, count, sizeof(*out) };

	for (size_t i = 0; i < count; i++)
		in[i] = (unsigned)i;
	is_int(knee_map(&from, &to, widen, NULL, NULL), 0, "map");
	for (size_t i = 0; i < count; i++)
		wrong += out[i] != i;
	is_int(wrong, 0, "each item to its place");
	is_int(
	    knee_map(&from, &to, widen, &bad, &(struct knee_threads){ .limit = 3 }), 777, "the lowest error");
	to.count--;
	is_int(knee_map(&from, &to, widen, NULL, NULL), -EINVAL, "not as many out as in");
	from.count = to.count = 0;
	is_int(knee_map(&from, &to, widen, NULL, NULL), 0, "nothing");
	free(out);
	free(in);
	nothing_left("map");
}

/* ---- reduce ------------------------------------------------------------------------------------ */

static int
sum_step(void *self, void *whole, const void *item)
{
	(void)self;
	*(double *)whole += *(const double *)item;
	return 0;
}

static int
sum_combine(void *self, void *whole, const void *part)
{
	return sum_step(self, whole, part);
}

/* x -> a x + b, one after another: the order counts, and how they are put together does not. */
struct affine {
	uint64_t a, b;
};

static int
affine_combine(void *self, void *whole, const void *part)
{
	struct affine *w = whole;
	const struct affine *p = part;

	(void)self;
	*w = (struct affine){ p->a * w->a, p->a * w->b + p->b };
	return 0;
}

static int
affine_step(void *self, void *whole, const void *item)
{
	const unsigned *n = item, *bad = self;

	if (bad != NULL && *n >= *bad)
		return (int)*n;
	return affine_combine(NULL, whole, &(struct affine){ 2 * *n + 3, *n ^ 0x5bd1e995 });
}

static void
test_sums(void)
{
	const struct knee_fold fold = { sizeof(double), sum_step, sum_combine };
	const size_t counts[] = { 0, 1, 63, 64, 65, 1000, 1000000 };
	double *x = malloc(1000000 * sizeof(*x));
	struct rnd r = { 12345 };

	for (size_t i = 0; i < 1000000; i++)
		x[i] = (double)rnd_below(&r, 1000003) / (double)(1 + rnd_below(&r, 1000));
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		struct knee_array in = { x, counts[c], sizeof(*x) };
		double first = 0, sum;
		unsigned wrong = 0;

		is_int(knee_reduce(&in, &first, &fold, NULL, &(struct knee_threads){ .limit = 1 }), 0,
		    "the sum of %zu", counts[c]);
		for (unsigned limit = 0; limit < 9; limit++) {
			sum = 0;
			wrong += knee_reduce(
				     &in, &sum, &fold, NULL, &(struct knee_threads){ .limit = limit }) != 0;
			wrong += memcmp(&sum, &first, sizeof(sum)) != 0;
		}
		is_int(wrong, 0, "the same to the last bit, however many threads: %.3f", first);
	}
	free(x);
	nothing_left("sums");
}

static int
combine_bad(void *self, void *whole, const void *part)
{
	(void)self;
	(void)whole;
	return ((const struct affine *)part)->a > 0 ? -EDOM : 0;
}

static void
test_order(void)
{
	const struct knee_fold fold = { sizeof(struct affine), affine_step, affine_combine };
	const struct knee_fold no_combine = { sizeof(struct affine), affine_step, combine_bad };
	size_t count = 20000;
	unsigned *n = malloc(count * sizeof(*n)), bad = 9999, wrong = 0;
	struct knee_array in = { n, count, sizeof(*n) };
	struct affine want = { 1, 0 }, got;

	for (size_t i = 0; i < count; i++) {
		n[i] = (unsigned)i;
		(void)affine_step(NULL, &want, &n[i]);
	}
	for (unsigned i = 0; i < 20; i++) {
		got = (struct affine){ 1, 0 };
		wrong += knee_reduce(&in, &got, &fold, NULL, &(struct knee_threads){ .limit = i % 5 }) != 0;
		wrong += got.a != want.a || got.b != want.b;
	}
	is_int(wrong, 0, "parts are put together in their order");
	is_int(knee_reduce(&in, &got, &fold, &bad, &(struct knee_threads){ .limit = 3 }), 9999,
	    "the lowest error");
	is_int(knee_reduce(&in, &got, &no_combine, &bad, NULL), -EDOM, "an error of combine comes before");
	free(n);
	nothing_left("order");
}

static void
test_reduce_memory(void)
{
	const struct knee_fold fold = { sizeof(struct affine), affine_step, affine_combine };
	unsigned n[100], failures = 0, wrong = 0;
	struct knee_array in = { n, 100, sizeof(*n) };
	struct affine got;
	int err;

	for (unsigned i = 0; i < 100; i++)
		n[i] = i;
	for (alloc_fail_at = 1;; alloc_fail_at++) {
		got = (struct affine){ 1, 0 };
		alloc_count = 0;
		err = knee_reduce(&in, &got, &fold, NULL, &(struct knee_threads){ .limit = 1 });
		if (alloc_count < alloc_fail_at)
			break;
		wrong += err != -ENOMEM;
		failures++;
	}
	alloc_fail_at = 0;
	is_int(err, 0, "with memory it is done");
	ok(wrong == 0 && failures == 2 + 70, "all of %u allocations have failed: two, and 70 pieces",
	    failures);
}

int
main(void)
{
	unsigned fds = entries("/proc/self/fd");

	first_thread();

	test_once();
	test_tiny();
	test_threads();
	test_found();
	test_slow();
	test_errors();
	test_late_error();
	test_nested();
	test_no_threads();
	test_no_memory();
	test_map();
	test_sums();
	test_order();
	test_reduce_memory();
	is_int(entries("/proc/self/fd"), fds, "no descriptor is left");
	return done_testing();
}

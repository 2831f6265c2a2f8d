/* SPDX-License-Identifier: MIT */
/*
 * knee_for: a loop on threads of their own that live no longer than the loop.
 *
 * The caller begins alone, so that a loop that is over in some microseconds never makes a thread. Then
 * threads come, each starting another while there is work for it. They take runs of items that last
 * about CHUNK_NS, by how long the last ones took, and fewer toward the end. Who meets slow items among
 * fast ones gives away half of what it took as soon as somebody has nothing to do; so the last thread
 * never has much more to do than the others.
 *
 * A loop that goes on for some milliseconds gets a monitor: a thread that looks at the others some
 * times a second, asks the observer how many should be at work, and starts or parks them. Nobody else
 * could: when items wait, all others may sit in one.
 *
 * Everything that threads share is under the loop's lock but for what is said to be atomic. The lock is
 * taken once for each run of items, and never while an item is at work.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <knee.h>

#include "sys/clock.h"
#include "sys/machine.h"
#include "sys/probe.h"
#include "tune/observer.h"

#define US 1000
#define MS ((int64_t)1000000)

/* The caller is alone for so long. */
#define ALONE_NS (30 * US)
#define ALONE_CHUNK_NS (10 * US)
#define CHUNK_NS (200 * US)
/* A thread has to have so much to do to be worth its start, or to be handed what another took. */
#define WORTH_NS (50 * US)
/* The next run is no longer than this many times the last: its items may be slower. */
#define CHUNK_GROWTH 16
/* Where there was nothing to give away it is looked for again after so many items. */
#define AGAIN 64
/* Runs that were given away and nobody took yet. */
#define GIVEN 64

/* A loop that lasts so long, or whose items do, has a monitor. */
#define MONITOR_NS (2 * MS)
#define MONITOR_ITEM_NS (1 * MS)
#define LOOK_NS (20 * MS)
#define LOOKS 64
/* No search goes on beyond this many threads. */
#define MOST 4096
/* So many items that are said to wait begin at once; of more of them, so many. */
#define FEW_WAITING 32
#define START_WAITS 4

#define LINE 64 /* bytes of a cache line: what one thread writes often stands apart */

struct range {
	size_t from, to;
};

struct worker {
	struct loop *loop;        /* borrowed */
	struct worker *next;      /* set before it is in the list, and never changed */
	pthread_t thread;         /* not the caller's */
	unsigned index;           /* 0: the caller's. It works while this is below the limit */
	struct range range;       /* what it is at work on; its own */
	size_t chunk;             /* how many it took the last time */
	double item_ns;           /* how long each took; 0: not known */
	int64_t now_ns;           /* when its range began, or the last one ended */
	int64_t began_ns;         /* the same while it is at work, else 0 */
	int64_t cpu_ns, delay_ns; /* seen by the monitor, which owns them */
	_Atomic pid_t tid;        /* 0: it does not run yet */
	char apart[LINE];
	_Atomic uint64_t done; /* items */
	char apart_too[LINE];
};

struct monitor {
	pthread_t thread;
	struct kn_observer observer;
	int64_t starts_ns[KN_OBSERVER_AGES];
	unsigned sweeps;
	bool begun, cpu_unknown, delay_unknown;
};

/* Invariant: the items from 0 up to next are done, or in the range of a worker that is at work, or in
 * given; but for those above the first bad one. */
struct loop {
	int (*body)(void *self, size_t i);
	void *self;
	atomic_uint wanted; /* not 0: see attend() */
	char apart[LINE];
	pthread_mutex_t lock;
	pthread_cond_t work; /* a range was given away, or the loop is over */
	pthread_cond_t room; /* the limit rose, or ... */
	pthread_cond_t tick; /* for the monitor: it is over */
	struct knee_threads how;
	size_t count, next;
	struct range given[GIVEN];
	unsigned ngiven;
	unsigned limit;      /* so many may be at work */
	unsigned most;       /* no more threads can be made */
	unsigned threads;    /* the caller's among them */
	unsigned busy, idle; /* at work; waiting for something to do */
	bool planned;        /* the limit is more than the caller's start */
	bool over;
	size_t bad; /* the lowest item that failed, SIZE_MAX: none */
	int value;  /* and what it returned */
	int64_t begin_ns;
	double item_ns;          /* how long items took lately */
	struct worker *workers;  /* owned; the last in the list is the caller's */
	struct monitor *monitor; /* owned; NULL: none yet */
	bool monitored;          /* ... but it was tried */
};

/* ---- ranges ------------------------------------------------------------------------ */

/* After something idle or given has changed. */
static void
want(struct loop *l)
{
	unsigned wanted = l->idle > l->ngiven ? l->idle - l->ngiven : 0;

	atomic_store_explicit(&l->wanted, l->bad < SIZE_MAX ? 1 : wanted, memory_order_relaxed);
}

/* Items that nobody has taken, and that are to be. */
static size_t
untaken(const struct loop *l)
{
	return l->bad < SIZE_MAX ? 0 : l->count - l->next;
}

/* As many as last for about CHUNK_NS; toward the end a share of the rest, so that all end together. */
static size_t
chunk_size(const struct loop *l, const struct worker *w)
{
	double n = l->threads > 1 ? CHUNK_NS : ALONE_CHUNK_NS;
	double share = (double)(l->count - l->next) / (2.0 * l->threads);

	n = w->item_ns > 0 ? n / w->item_ns : 1;
	n = fmin(n, fmin(share, CHUNK_GROWTH * (double)w->chunk));
	return n < 1 ? 1 : (size_t)n;
}

static bool
take(struct worker *w)
{
	struct loop *l = w->loop;

	while (l->ngiven > 0) {
		w->range = l->given[--l->ngiven];
		want(l);
		if (w->range.from < l->bad)
			return true;
	}
	if (untaken(l) == 0)
		return false;
	w->chunk = chunk_size(l, w);
	w->range = (struct range){ l->next, l->next + w->chunk };
	l->next += w->chunk;
	return true;
}

static void
failed(struct worker *w, size_t i, int value)
{
	struct loop *l = w->loop;

	pthread_mutex_lock(&l->lock);
	if (i < l->bad) {
		l->bad = i;
		l->value = value;
	}
	want(l);
	pthread_mutex_unlock(&l->lock);
	w->range.to = i + 1;
}

/* Somebody has nothing to do, or something has failed; i is the next item. Returns the one before which
 * not to ask again. */
static size_t
attend(struct worker *w, size_t i)
{
	struct loop *l = w->loop;
	size_t left = w->range.to - i;
	double item_ns = (double)(kn_clock_ns() - w->now_ns) / (double)(i - w->range.from);
	size_t again = left > AGAIN ? i + AGAIN : w->range.to;

	pthread_mutex_lock(&l->lock);
	if (l->bad < w->range.to) {
		again = w->range.to = l->bad > i ? l->bad : i;
	} else if (left > 1 && item_ns * (double)left > WORTH_NS && l->idle > l->ngiven &&
	    l->ngiven < GIVEN) {
		size_t middle = i + (left + 1) / 2;

		l->given[l->ngiven++] = (struct range){ middle, w->range.to };
		again = i;
		w->range.to = middle;
		pthread_cond_signal(&l->work);
		want(l);
	}
	pthread_mutex_unlock(&l->lock);
	return again;
}

static void
range_run(struct worker *w)
{
	struct loop *l = w->loop;
	int (*body)(void *self, size_t i) = l->body;
	void *self = l->self;
	uint64_t before = atomic_load_explicit(&w->done, memory_order_relaxed) - w->range.from;
	size_t i = w->range.from, end = w->range.to, again = i;

	while (i < end) {
		int value = body(self, i++);

		atomic_store_explicit(&w->done, before + i, memory_order_relaxed);
		if (value != 0) {
			failed(w, i - 1, value);
			return;
		}
		if (atomic_load_explicit(&l->wanted, memory_order_relaxed) > 0 && i >= again) {
			again = attend(w, i);
			end = w->range.to;
		}
	}
}

/* ---- threads ----------------------------------------------------------------------- */

static void work(struct worker *w);

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	atomic_store_explicit(&w->tid, gettid(), memory_order_relaxed);
	work(w);
	return NULL;
}

/* A thread that no signal is delivered to: they are the program's. */
static int
thread_start(pthread_t *ret, void *(*main)(void *), void *arg)
{
	sigset_t all, before;
	int err;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(ret, NULL, main, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static bool
worker_start(struct loop *l, unsigned index, double item_ns)
{
	struct worker *w = malloc(sizeof(*w));

	if (w == NULL)
		return false;
	*w = (struct worker){ .loop = l, .index = index, .item_ns = item_ns, .now_ns = kn_clock_ns() };
	/* What others have taken says how much to take. */
	w->chunk = SIZE_MAX / CHUNK_GROWTH;
	if (thread_start(&w->thread, worker_main, w) < 0) {
		free(w);
		return false;
	}
	/* It may be over already; but this thread is not, and is joined first: see loop_done(). */
	pthread_mutex_lock(&l->lock);
	w->next = l->workers;
	l->workers = w;
	pthread_mutex_unlock(&l->lock);
	return true;
}

/* What the caller says of the items, and how many begin with them. */
static bool
said_to_wait(const struct loop *l)
{
	switch (l->how.kind) {
	case KNEE_KIND_DISK:
	case KNEE_KIND_NET:
	case KNEE_KIND_WAIT:
	case KNEE_KIND_LOCK:
		return true;
	case KNEE_KIND_UNKNOWN:
	case KNEE_KIND_CPU:
	case KNEE_KIND_MIXED:
	case KNEE_KINDS:
		break;
	}
	return false;
}

static unsigned
first_limit(const struct loop *l)
{
	unsigned n = l->how.limit;

	if (n > 0)
		return n;
	n = kn_machine_affinity();
	if (l->how.kind == KNEE_KIND_WAIT || l->how.kind == KNEE_KIND_NET)
		n = l->count <= FEW_WAITING ? (unsigned)l->count : n > START_WAITS ? n : START_WAITS;
	if (l->how.limit_max > 0 && n > l->how.limit_max)
		n = l->how.limit_max;
	return n;
}

/* How many threads have something to do. */
static unsigned
threads_worth(const struct loop *l)
{
	size_t left = untaken(l);
	double n = l->item_ns > 0 ? fmin((double)left, (double)left * l->item_ns / WORTH_NS) : (double)left;

	n = fmin(l->busy + n, fmin(l->limit, l->most));
	return n < 1 ? 1 : (unsigned)n;
}

/* Start another thread if there is work for it; lets go of the lock meanwhile. True: there may be more
 * to start. */
static bool
grow(struct loop *l)
{
	unsigned index = l->threads;
	double item_ns = l->item_ns;
	bool started;

	if (l->over || index >= threads_worth(l))
		return false;
	l->threads++;
	pthread_mutex_unlock(&l->lock);
	started = worker_start(l, index, item_ns);
	pthread_mutex_lock(&l->lock);
	if (!started) {
		/* Those that there are do it. */
		l->threads--;
		l->most = l->threads;
	}
	return started;
}

static void monitor_start(struct loop *l);

/* More threads, and their monitor, as it turns out what there is to do. */
static void
grow_up(struct loop *l, struct worker *w)
{
	int64_t elapsed_ns = w->now_ns - l->begin_ns;

	if (untaken(l) == 0 || (elapsed_ns < ALONE_NS && !said_to_wait(l)))
		return;
	if (!l->planned) {
		l->planned = true;
		l->limit = first_limit(l);
		/* Nobody is there yet but the caller. */
		atomic_store_explicit(&w->tid, gettid(), memory_order_relaxed);
	}
	if (l->how.limit == 0 && !l->monitored &&
	    (elapsed_ns >= MONITOR_NS || l->item_ns >= MONITOR_ITEM_NS || said_to_wait(l)))
		monitor_start(l);
	if (grow(l))
		w->now_ns = kn_clock_ns();
}

/* What w was at work on is done. */
static void
range_done(struct worker *w)
{
	struct loop *l = w->loop;
	size_t n = w->range.to - w->range.from;
	int64_t now_ns = kn_clock_ns();

	pthread_mutex_lock(&l->lock);
	l->busy--;
	if (n > 0)
		w->item_ns = l->item_ns = (double)(now_ns - w->now_ns) / (double)n;
	if (n == 1 && l->monitor != NULL)
		kn_observer_length(&l->monitor->observer, w->now_ns, now_ns);
	w->now_ns = now_ns;
	w->began_ns = 0;
}

static void
over(struct loop *l)
{
	l->over = true;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->room);
	pthread_cond_signal(&l->tick);
}

/* Wait until so many may be at work. What w has given away is for those that may be. */
static void
park(struct worker *w)
{
	struct loop *l = w->loop;

	if (l->ngiven > 0)
		pthread_cond_broadcast(&l->work);
	else if (l->busy == 0 && untaken(l) == 0)
		over(l);
	if (!l->over)
		pthread_cond_wait(&l->room, &l->lock);
	w->now_ns = kn_clock_ns();
}

/* Wait for something to do; false: nothing will come. */
static bool
range_next(struct worker *w)
{
	struct loop *l = w->loop;

	while (!l->over) {
		if (w->index >= l->limit) {
			park(w);
			continue;
		}
		grow_up(l, w);
		if (take(w)) {
			l->busy++;
			w->began_ns = w->now_ns;
			return true;
		}
		if (l->busy == 0) {
			over(l);
			break;
		}
		l->idle++;
		want(l);
		pthread_cond_wait(&l->work, &l->lock);
		l->idle--;
		want(l);
		w->now_ns = kn_clock_ns();
	}
	return false;
}

static void
work(struct worker *w)
{
	pthread_mutex_lock(&w->loop->lock);
	while (range_next(w)) {
		pthread_mutex_unlock(&w->loop->lock);
		range_run(w);
		range_done(w);
	}
	pthread_mutex_unlock(&w->loop->lock);
}

/* ---- the monitor ------------------------------------------------------------------- */

/* What the threads have used so far. Without the lock: it reads files. The list is only added to, at its
 * head. Of many threads each is looked at in its turn. */
static void
usage_read(struct monitor *m, struct worker *head, unsigned threads)
{
	unsigned stride = (threads + LOOKS - 1) / LOOKS, n = m->sweeps++;

	for (struct worker *w = head; w != NULL; w = w->next) {
		pid_t tid = atomic_load_explicit(&w->tid, memory_order_relaxed);
		struct kn_usage usage = { 0 };

		if (tid == 0 || n++ % stride != 0)
			continue;
		kn_probe_thread(tid, false, &usage);
		m->cpu_unknown |= !(usage.known & KN_USAGE_CPU);
		m->delay_unknown |= !(usage.known & KN_USAGE_DELAY);
		w->cpu_ns = usage.cpu_ns;
		w->delay_ns = usage.delay_ns;
	}
}

static void
observed(const struct loop *l, struct monitor *m, struct kn_observed *ret)
{
	*ret = (struct kn_observed){
		.now_ns = kn_clock_ns(),
		.running = m->begun ? l->busy : l->limit,
		.left = untaken(l),
		.starts_ns = m->starts_ns,
	};
	for (const struct worker *w = l->workers; w != NULL; w = w->next) {
		ret->done += atomic_load_explicit(&w->done, memory_order_relaxed);
		ret->cpu_ns += w->cpu_ns;
		ret->delay_ns += w->delay_ns;
		if (w->began_ns > 0 && ret->nstarts < KN_OBSERVER_AGES)
			m->starts_ns[ret->nstarts++] = w->began_ns;
	}
	if (m->cpu_unknown)
		ret->cpu_ns = -1;
	if (m->cpu_unknown || m->delay_unknown)
		ret->delay_ns = -1;
}

static void
monitor_begin(struct loop *l, struct monitor *m)
{
	struct kn_observer_options options = { .hint = l->how.kind, .look_ns = LOOK_NS };
	unsigned free_threads;

	pthread_mutex_unlock(&l->lock);
	options.cores = kn_machine_cores_exact();
	free_threads = kn_machine_processes_free();
	pthread_mutex_lock(&l->lock);
	if (free_threads < MOST && l->most > l->threads + free_threads)
		l->most = l->threads + free_threads;
	options.most = l->most;
	kn_observer_init(&m->observer, &options);
	/* What the mask of cores does not say: a quota. */
	if (!said_to_wait(l) && l->limit > ceil(options.cores))
		l->limit = (unsigned)ceil(options.cores);
}

static int64_t
monitor_look(struct loop *l, struct monitor *m)
{
	struct worker *head = l->workers;
	unsigned threads = l->threads, before = l->limit;
	struct kn_observed now;

	pthread_mutex_unlock(&l->lock);
	usage_read(m, head, threads);
	pthread_mutex_lock(&l->lock);
	observed(l, m, &now);
	m->begun = true;
	m->observer.options.most = l->most;
	l->limit = kn_observer_tell(&m->observer, &now);
	if (l->limit > before)
		pthread_cond_broadcast(&l->room);
	while (grow(l))
		;
	return kn_observer_due_ns(&m->observer);
}

static void *
monitor_main(void *arg)
{
	struct loop *l = arg;
	int64_t due_ns;

	pthread_mutex_lock(&l->lock);
	monitor_begin(l, l->monitor);
	while (!l->over && untaken(l) > 0) {
		due_ns = monitor_look(l, l->monitor);
		if (!l->over)
			(void)pthread_cond_timedwait(&l->tick, &l->lock,
			    &(struct timespec){
				.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000 });
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* Without one the number stays what it was at the start. */
static void
monitor_start(struct loop *l)
{
	struct monitor *m = calloc(1, sizeof(*m));

	l->monitored = true;
	if (m == NULL)
		return;
	l->monitor = m;
	/* It waits for the lock, which is held. */
	if (thread_start(&m->thread, monitor_main, l) < 0) {
		l->monitor = NULL;
		free(m);
	}
}

/* ---- a loop ------------------------------------------------------------------------ */

static int
loop_init(struct loop *l, const struct knee_threads *how)
{
	pthread_condattr_t attr;
	int err;

	if (how != NULL)
		l->how = *how;
	l->limit = l->threads = 1;
	l->most = l->how.limit > 0 ? l->how.limit : l->how.limit_max > 0 ? l->how.limit_max : MOST;
	l->bad = SIZE_MAX;
	l->begin_ns = kn_clock_ns();
	err = pthread_condattr_init(&attr);
	if (err != 0)
		return -err;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_cond_init(&l->work, NULL);
	(void)pthread_cond_init(&l->room, NULL);
	(void)pthread_cond_init(&l->tick, &attr);
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

/* Join what came to the list since `joined` was its head; returns the head now. */
static struct worker *
workers_join(struct loop *l, struct worker *joined)
{
	struct worker *head;

	for (;;) {
		pthread_mutex_lock(&l->lock);
		head = l->workers;
		pthread_mutex_unlock(&l->lock);
		if (head == joined)
			return head;
		for (struct worker *w = head; w != joined; w = w->next)
			(void)pthread_join(w->thread, NULL);
		joined = head;
	}
}

/* The loop is over. Workers may still start others, or the monitor; that starts workers, and looks at all
 * of them. */
static void
loop_done(struct loop *l, struct worker *caller)
{
	struct worker *head = workers_join(l, caller), *next;

	if (l->monitor != NULL) {
		(void)pthread_join(l->monitor->thread, NULL);
		head = workers_join(l, head);
		free(l->monitor);
	}
	for (struct worker *w = head; w != caller; w = next) {
		next = w->next;
		free(w);
	}
	(void)pthread_cond_destroy(&l->tick);
	(void)pthread_cond_destroy(&l->room);
	(void)pthread_cond_destroy(&l->work);
	(void)pthread_mutex_destroy(&l->lock);
}

int
knee_for(size_t count, int (*body)(void *self, size_t i), void *self, const struct knee_threads *how)
{
	struct loop l = { .body = body, .self = self, .count = count };
	struct worker caller = { .loop = &l, .chunk = 1 };
	int err = loop_init(&l, how);

	if (err < 0)
		return err;
	l.workers = &caller;
	caller.now_ns = l.begin_ns;
	work(&caller);
	loop_done(&l, &caller);
	return l.value;
}

/* SPDX-License-Identifier: MIT */
/* Asynchronous work that other threads end, too late or never, while the run may be stopped. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <knee_program.h>

#include "async_world.h"
#include "random.h"
#include "tap.h"

#define THREADS 4

/* Threads that end what was started; ring and the world are shared, the rest is of either side. */
struct pool {
	struct world *w;
	pthread_mutex_t lock; /* of all below, but for what is atomic */
	pthread_cond_t more;
	struct {
		knee_task task;
		uint64_t n;
	} ring[MOST];
	size_t head, len;
	bool over;
	bool forgets; /* now and then a task is not ended, or another one twice */
	uint64_t seed;
	pthread_t threads[THREADS];
	atomic_ullong completed, refused;
};

static struct pool pool;

static void
pool_work(struct rnd *r, knee_task task, uint64_t n)
{
	unsigned what = pool.forgets ? rnd_below(r, 10) : 9;
	char line[40];
	int size = snprintf(line, sizeof(line), "%llu ", (unsigned long long)n);

	if (what == 0)
		return;
	for (unsigned spin = rnd_below(r, 200); spin > 0; spin--)
		atomic_thread_fence(memory_order_seq_cst);
	/* In two pieces: they stay together. */
	(void)knee_output(pool.w->k, task, KNEE_STDOUT, line, 1);
	(void)knee_output(pool.w->k, task, KNEE_STDOUT, line + 1, (size_t)size - 1);
	for (int i = 0; i < (what == 1 ? 2 : 1); i++)
		if (knee_complete(pool.w->k, task, pool.forgets ? (int)rnd_below(r, 2) : 0) == 0)
			atomic_fetch_add(&pool.completed, 1);
		else
			atomic_fetch_add(&pool.refused, 1);
}

static void *
pool_thread(void *arg)
{
	struct rnd r = { pool.seed * 31 + (uint64_t)(uintptr_t)arg * 7919 + 1 };
	knee_task task;
	uint64_t n;

	pthread_mutex_lock(&pool.lock);
	while (!pool.over) {
		if (pool.len == 0) {
			pthread_cond_wait(&pool.more, &pool.lock);
			continue;
		}
		task = pool.ring[pool.head].task;
		n = pool.ring[pool.head].n;
		pool.head = (pool.head + 1) % MOST;
		pool.len--;
		pthread_mutex_unlock(&pool.lock);
		pool_work(&r, task, n);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

static int
start_in_pool(struct world *w, knee_task task, uint64_t n)
{
	int err = 0;

	(void)w;
	pthread_mutex_lock(&pool.lock);
	if (pool.len == MOST) {
		err = -EAGAIN;
	} else {
		pool.ring[(pool.head + pool.len) % MOST].task = task;
		pool.ring[(pool.head + pool.len++) % MOST].n = n;
		pthread_cond_signal(&pool.more);
	}
	pthread_mutex_unlock(&pool.lock);
	return err;
}

static void
pool_open(struct world *w, uint64_t seed, bool forgets)
{
	pool.w = w;
	pool.seed = seed;
	pool.forgets = forgets;
	pool.over = false;
	pool.head = pool.len = 0;
	atomic_store(&pool.completed, 0);
	atomic_store(&pool.refused, 0);
	pthread_mutex_init(&pool.lock, NULL);
	pthread_cond_init(&pool.more, NULL);
	w->at_start = start_in_pool;
	world_open(w);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&pool.threads[i], NULL, pool_thread, (void *)i) != 0)
			exit(1);
}

static void
pool_close(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.over = true;
	pthread_cond_broadcast(&pool.more);
	pthread_mutex_unlock(&pool.lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(pool.threads[i], NULL);
	pthread_mutex_destroy(&pool.lock);
	pthread_cond_destroy(&pool.more);
}

static void
test_threads(struct world *w)
{
	world_init(w, 10000, 200);
	pool_open(w, 1, false);
	is_int(knee_run(w->k), 0, "ends from other threads");
	pool_close();
	is_int(w->results, 10000, "all have results");
	is_int(atomic_load(&pool.completed), 10000, "all were taken");
	ok(counts_to(w, 10000), "and their output is in order");
	knee_free(w->k);
}

/* How an attempt ended that nobody completed. */
static bool
given_up(const struct knee_result *r)
{
	return (r->outcome == KNEE_TIMED_OUT || r->outcome == KNEE_CANCELLED) && r->status == SIGKILL;
}

/* Ends of attempts. A task that was waiting for its next attempt at a stop has its last end told again. */
static struct {
	unsigned long long completed, given_up;
	unsigned told[512]; /* of each seq: the last attempt */
} ends;

static int
count_ends(void *self, const struct knee_event *ev)
{
	if (ev->kind == KNEE_EVENT_RETRY || ev->kind == KNEE_EVENT_RESULT) {
		bool again = ends.told[ev->seq] == ev->result->attempt;

		ends.told[ev->seq] = ev->result->attempt;
		ends.given_up += !again && given_up(ev->result);
		ends.completed += !again && !given_up(ev->result);
	}
	return on_live(self, ev);
}

/* A run with all of it at random: when it is stopped, how, what times out. True: all was as it should be. */
static bool
stopped_run(struct world *w, uint64_t seed)
{
	struct rnd r = { seed * 2654435761u + 1 };
	struct knee_stats stats = { 0 };
	bool right = true;

	world_init(w, 1 + rnd_below(&r, 400), 1 + rnd_below(&r, 60));
	w->sinks[1].event = count_ends;
	w->o.timeout_ns = (1 + rnd_below(&r, 3)) * MS;
	w->o.retries = rnd_below(&r, 3);
	w->o.backoff_ns = MS / 4;
	w->o.order = rnd_below(&r, 2) ? KNEE_ORDER_INPUT : KNEE_ORDER_DONE;
	memset(&ends, 0, sizeof(ends));
	pool_open(w, seed, true);
	for (unsigned turns = rnd_below(&r, 60); turns > 0 && knee_turn(w->k, 1) > 0; turns--)
		;
	if (rnd_below(&r, 2)) {
		knee_stop(w->k, (enum knee_stop)rnd_below(&r, 3));
		(void)knee_run(w->k);
		knee_get_stats(w->k, &stats);
		right = stats.done == stats.started && stats.running == 0 && w->results == stats.done;
	}
	pool_close();
	knee_free(w->k);
	return right && !w->wrong_data && ends.completed == atomic_load(&pool.completed);
}

static void
test_stops(struct world *w)
{
	uint64_t seed = rnd_seed();
	unsigned runs = 300, wrong = 0;

	for (unsigned i = 0; i < runs; i++)
		if (!stopped_run(w, seed + i) && wrong++ == 0)
			diag("wrong with SEED=%llu", (unsigned long long)(seed + i));
	is_int(wrong, 0, "%u runs that are stopped anywhere (SEED=%llu)", runs, (unsigned long long)seed);
}

int
main(void)
{
	struct world *w = malloc(sizeof(*w));

	if (w == NULL)
		return 1;
	test_threads(w);
	test_stops(w);
	free(w);
	return done_testing();
}

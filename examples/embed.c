/* SPDX-License-Identifier: MIT */
/*
 * A server that asks how many threads are right. It has a pool of its own; a few times a second it tells
 * knee's tuner what has been done, and makes the pool as large as it is told.
 *
 * Its requests wait first for a backend that serves a few at a time, as a database would. Then the work
 * changes: they compute, and the cores are what counts.
 *
 *	cc embed.c $(pkg-config --cflags --libs knee) -pthread
 *	./a.out [SECONDS [PLACES]]      of each of the two; places of the backend
 */
#include <knee.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 256
#define SECOND 1000000000
#define ANSWER_NS 4000000  /* of the backend */
#define COMPUTE_NS 1000000 /* of a request that computes */

struct server {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* the size of the pool, or the end */
	unsigned size;          /* threads with a lower number work; under the lock */
	int quit;               /* the same */
	pthread_t threads[MOST];
	unsigned nthreads;    /* that were made; the main thread's */
	sem_t places;         /* of the backend */
	atomic_int computing; /* the requests compute */
	atomic_uint running;
	atomic_ullong done;
};

struct seat {
	struct server *server;
	unsigned number;
};

static int64_t
clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static void
sleep_ns(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };

	while (ns > 0 && nanosleep(&t, &t) != 0)
		;
}

/* There is always another request. */
static void
request(struct server *s)
{
	int64_t end_ns;

	if (s->computing) {
		end_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + COMPUTE_NS;
		while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end_ns)
			;
		return;
	}
	while (sem_wait(&s->places) != 0)
		;
	sleep_ns(ANSWER_NS);
	sem_post(&s->places);
}

static void *
serve(void *arg)
{
	struct seat seat = *(struct seat *)arg;
	struct server *s = seat.server;

	free(arg);
	pthread_mutex_lock(&s->lock);
	while (!s->quit) {
		if (seat.number >= s->size) {
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		s->running++;
		request(s);
		s->running--;
		s->done++;
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void
resize(struct server *s, unsigned size)
{
	struct seat *seat;

	pthread_mutex_lock(&s->lock);
	s->size = size;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	while (s->nthreads < size) {
		seat = malloc(sizeof(*seat));
		if (seat == NULL)
			return;
		*seat = (struct seat){ .server = s, .number = s->nthreads };
		if (pthread_create(&s->threads[s->nthreads], NULL, serve, seat) != 0) {
			free(seat);
			return;
		}
		s->nthreads++;
	}
}

/* Let it work for so long, as many at once as the tuner says. */
static void
watch(struct server *s, knee_tuner *tuner, unsigned *size, const char *work, int64_t length_ns)
{
	int64_t now_ns = clock_ns(CLOCK_MONOTONIC), begin_ns = now_ns, next_ns;
	unsigned long long before = s->done;
	struct knee_observation o = { .queued = 1 };
	unsigned wanted;

	while (now_ns < begin_ns + length_ns) {
		o.now_ns = now_ns;
		o.running = s->running;
		o.done = s->done;
		o.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		wanted = knee_tuner_observe(tuner, &o, &next_ns);
		if (wanted != *size)
			printf("%6.2f s: %s: %u threads, then %u\n", (double)(now_ns - begin_ns) / SECOND,
			    work, *size, wanted);
		*size = wanted;
		resize(s, wanted);
		if (next_ns > begin_ns + length_ns)
			next_ns = begin_ns + length_ns;
		sleep_ns(next_ns - now_ns);
		now_ns = clock_ns(CLOCK_MONOTONIC);
	}
	printf("%s: %llu requests, at the end %u at once\n", work, s->done - before, *size);
}

static void
close_server(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->quit = 1;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->nthreads; i++)
		pthread_join(s->threads[i], NULL);
	sem_destroy(&s->places);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 20;
	unsigned places = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 12, size = 4;
	struct server s = { .nthreads = 0 };
	knee_tuner *tuner;
	int err = knee_tuner_new(&(struct knee_threads){ .limit_max = MOST }, &tuner);

	if (err < 0) {
		fprintf(stderr, "embed: %s\n", strerror(-err));
		return 1;
	}
	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.changed, NULL);
	sem_init(&s.places, 0, places > 0 ? places : 1);
	/* The first call says where to begin. */
	size = knee_tuner_observe(
	    tuner, &(struct knee_observation){ .now_ns = clock_ns(CLOCK_MONOTONIC), .running = size }, NULL);
	resize(&s, size);
	watch(&s, tuner, &size, "waiting", (int64_t)(seconds * SECOND));
	s.computing = 1;
	watch(&s, tuner, &size, "computing", (int64_t)(seconds * SECOND));
	close_server(&s);
	knee_tuner_free(tuner);
	return 0;
}

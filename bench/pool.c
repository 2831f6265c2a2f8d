/* SPDX-License-Identifier: MIT */
/*
 * Empty tasks through a pool of threads: by libknee, whole and ordered, by GLib's GThreadPool, by OpenMP.
 *
 *	pool knee|glib|openmp TASKS THREADS
 *
 * Prints the seconds from the first task to the last. Each task is a function call that counts; what is
 * measured is the way to it and back. With knee each task is an input of its own, goes through scheduler,
 * tuner, threads and merge, and its result is handed to a sink in the order of the inputs.
 */
#include <glib.h>
#include <inttypes.h>
#include <knee.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static atomic_ulong counted;

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- knee ------------------------------------------------------------------------ */

struct inputs {
	uint64_t left, seen;
};

static int
inputs_next(void *self, struct knee_input *ret)
{
	struct inputs *in = self;

	(void)ret; /* no arguments */
	return in->left-- > 0;
}

static int
task_run(void *state, struct knee_call *call)
{
	(void)state;
	(void)call;
	atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed);
	return 0;
}

static int
result_take(void *self, const struct knee_event *e)
{
	struct inputs *in = self;

	if (e->kind == KNEE_EVENT_RESULT && e->seq != ++in->seen)
		abort();
	return 0;
}

static double
by_knee(uint64_t tasks, unsigned threads)
{
	static const struct knee_plugin plugin = {
		.abi = KNEE_PLUGIN_ABI, .size = sizeof(plugin), .name = "empty", .run = task_run
	};
	struct inputs in = { .left = tasks };
	struct knee_sink sink = { .self = &in, .text = 1, .event = result_take };
	struct knee_options options = {
		.source = { .self = &in, .next = inputs_next },
		.sinks = &sink,
		.nsinks = 1,
		.executor = KNEE_EXEC_THREAD,
		.plugin = &plugin,
		.limit = threads,
	};
	char err[256];
	double begin = now();
	knee *k;

	if (knee_new(&options, &k, err, sizeof(err)) < 0 || knee_run(k) < 0)
		abort();
	knee_free(k);
	if (in.seen != tasks)
		abort();
	return now() - begin;
}

/* ---- the others -------------------------------------------------------------------- */

static void
item_run(gpointer data, gpointer user)
{
	(void)data;
	(void)user;
	atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed);
}

static double
by_glib(uint64_t tasks, unsigned threads)
{
	double begin = now();
	GThreadPool *pool = g_thread_pool_new(item_run, NULL, (gint)threads, TRUE, NULL);

	for (uint64_t i = 1; i <= tasks; i++)
		g_thread_pool_push(pool, (gpointer)(uintptr_t)i, NULL);
	g_thread_pool_free(pool, FALSE, TRUE);
	return now() - begin;
}

static double
by_openmp(uint64_t tasks, unsigned threads)
{
	double begin = now();

#pragma omp parallel num_threads(threads)
#pragma omp single
	for (uint64_t i = 0; i < tasks; i++) {
#pragma omp task
		atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed);
	}
	return now() - begin;
}

int
main(int argc, char **argv)
{
	uint64_t tasks = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
	unsigned threads = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	double seconds;

	if (tasks == 0) {
		(void)fprintf(stderr, "usage: pool knee|glib|openmp TASKS THREADS\n");
		return 2;
	}
	if (strcmp(argv[1], "knee") == 0)
		seconds = by_knee(tasks, threads);
	else if (strcmp(argv[1], "glib") == 0)
		seconds = by_glib(tasks, threads);
	else
		seconds = by_openmp(tasks, threads);
	if (atomic_load(&counted) != tasks)
		abort();
	printf("%.6f\n", seconds);
	return 0;
}

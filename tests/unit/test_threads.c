/* SPDX-License-Identifier: MIT */
/*
 * Functions on threads through the public interface: their order, their output, their parts of the whole, and
 * runs that are stopped, time out or are thrown away at any moment. Made to run under a thread sanitizer, an
 * address sanitizer and valgrind: a race, a loss or a use after free is what most of it looks for.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <knee_program.h>

#include "random.h"
#include "tap.h"

#define MS ((int64_t)1000000)

/* What a task does, by bits of its number's hash; all of it is known without running it. */
struct work {
	bool fails, waits, writes, large, parts;
	unsigned fails_first;
};

/* A run over the numbers 1 .. count, and what came out. */
struct world {
	struct knee_options o;
	struct knee_plugin plugin;
	struct knee_sink sinks[2];
	uint64_t count, given, seed;
	char text[24];
	const char *arg;
	unsigned kinds; /* bits of KIND_*: what tasks may do */
	atomic_ulong ran, opened, closed;
	pthread_mutex_t lock;
	uint64_t shared; /* under the lock */

	uint64_t results, failed, last_seq, bytes, sum, whole;
	bool wrong_order, wrong_output, wrong_data, bad_combine;
	uint64_t stop_at; /* results after which the run is stopped; 0: never */
	enum knee_stop how;
	knee *k;
};

enum { KIND_FAILS = 1, KIND_WAITS = 2, KIND_WRITES = 4, KIND_LARGE = 8, KIND_PARTS = 16, KIND_RETRY = 32 };

static struct work
work_of(const struct world *w, uint64_t n)
{
	uint64_t h = (n + w->seed) * 0x9e3779b97f4a7c15;

	return (struct work){
		.fails = (w->kinds & KIND_FAILS) && (h >> 32) % 7 == 0,
		.waits = (w->kinds & KIND_WAITS) && (h >> 36) % 5 == 0,
		.writes = (w->kinds & KIND_WRITES) && (h >> 40) % 2 == 0,
		.large = (w->kinds & KIND_LARGE) && (h >> 44) % 29 == 0,
		.parts = (w->kinds & KIND_PARTS) && (h >> 48) % 3 != 0,
		.fails_first = (w->kinds & KIND_RETRY) && (h >> 52) % 11 == 0 ? 1 : 0,
	};
}

/* ---- the plugin ----------------------------------------------------------------- */

static int
w_open(void **state, int argc, const char *const *argv, char *err, size_t errsize)
{
	struct world *w;

	(void)err;
	(void)errsize;
	if (argc != 1)
		return -EINVAL;
	memcpy(&w, &argv[0], sizeof(w)); /* the test's own way to itself */
	atomic_fetch_add(&w->opened, 1);
	*state = w;
	return 0;
}

static int
w_run(void *state, struct knee_call *call)
{
	struct world *w = state;
	uint64_t n = strtoull(call->args[0], NULL, 10);
	struct work work = work_of(w, n);
	char line[1024] = "";
	int len = snprintf(line, sizeof(line), "%s\n", call->args[0]), err = 0;

	atomic_fetch_add(&w->ran, 1);
	if (call->data != w || call->seq != n || call->nargs != 1)
		return 99;
	(void)pthread_mutex_lock(&w->lock);
	w->shared += n;
	(void)pthread_mutex_unlock(&w->lock);
	for (int i = 0; work.waits && i < 20 && !call->cancelled(call); i++)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	if (work.writes)
		err = call->write(call, n % 2 ? KNEE_STDOUT : KNEE_STDERR, line, (size_t)len);
	for (int i = 0; work.large && i < 3000 && err == 0; i++)
		err = call->write(call, KNEE_STDOUT, line, sizeof(line));
	if (work.parts)
		err = call->part(call, &n, sizeof(n));
	if (call->attempt <= work.fails_first)
		return 5;
	return work.fails ? 3 : 0;
}

/* The whole is a list of numbers, which must rise. */
static int
w_combine(void *state, struct knee_bytes *whole, const struct knee_bytes *part)
{
	struct world *w = state;
	uint64_t last, first, *data = realloc(whole->data, whole->size + part->size);

	if (data == NULL)
		return -ENOMEM;
	memcpy(&last, (char *)data + whole->size - sizeof(last), sizeof(last));
	memcpy(&first, part->data, sizeof(first));
	if (last >= first)
		w->bad_combine = true;
	memcpy((char *)data + whole->size, part->data, part->size);
	whole->data = data;
	whole->size += part->size;
	return 0;
}

static int
w_close(void *state, const struct knee_bytes *whole, struct knee_call *call)
{
	struct world *w = state;

	atomic_fetch_add(&w->closed, 1);
	if (whole != NULL && whole->size > 0)
		(void)call->write(call, KNEE_STDOUT, whole->data, whole->size);
	return 0;
}

/* ---- source and sinks -------------------------------------------------------------- */

static int
next(void *self, struct knee_input *ret)
{
	struct world *w = self;

	if (w->given == w->count)
		return 0;
	(void)snprintf(w->text, sizeof(w->text), "%llu", (unsigned long long)++w->given);
	w->arg = w->text;
	*ret = (struct knee_input){ .args = &w->arg, .nargs = 1, .data = w };
	return 1;
}

static int
on_text(void *self, const struct knee_event *ev)
{
	struct world *w = self;

	switch (ev->kind) {
	case KNEE_EVENT_OUTPUT:
		w->bytes += ev->size;
		/* Much output comes in pieces of any size. */
		if ((w->kinds & KIND_LARGE) == 0 && strtoull(ev->data, NULL, 10) != ev->seq)
			w->wrong_output = true;
		break;
	case KNEE_EVENT_WHOLE:
		w->whole += ev->size / sizeof(uint64_t);
		break;
	case KNEE_EVENT_RESULT:
		w->wrong_order = w->wrong_order || ev->seq <= w->last_seq;
		w->last_seq = ev->seq;
		w->wrong_data = w->wrong_data || ev->input_data != w;
		break;
	case KNEE_EVENT_START:
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_NOTE:
	case KNEE_EVENT_END:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int
on_live(void *self, const struct knee_event *ev)
{
	struct world *w = self;

	if (ev->kind != KNEE_EVENT_RESULT)
		return 0;
	w->results++;
	w->failed += knee_failed(ev->result) != 0;
	w->sum += ev->seq;
	if (w->results == w->stop_at)
		knee_stop(w->k, w->how);
	return 0;
}

static void
world_init(struct world *w, uint64_t count, unsigned kinds)
{
	static const struct knee_term_step quick[] = { { 15, 5 * MS }, { 9, 5 * MS } };

	*w = (struct world){ .count = count, .kinds = kinds };
	(void)pthread_mutex_init(&w->lock, NULL);
	w->plugin = (struct knee_plugin){
		.abi = KNEE_PLUGIN_ABI,
		.size = sizeof(struct knee_plugin),
		.name = "world",
		.open = w_open,
		.run = w_run,
		.combine = w_combine,
		.close = w_close,
	};
	w->sinks[0] = (struct knee_sink){ .self = w, .text = 1, .event = on_text };
	w->sinks[1] = (struct knee_sink){ .self = w, .event = on_live };
	w->arg = (const char *)w;
	w->o = (struct knee_options){
		.source = { .self = w, .next = next },
		.sinks = w->sinks,
		.nsinks = 2,
		.executor = KNEE_EXEC_THREAD,
		.plugin = &w->plugin,
		.plugin_argc = 1,
		.plugin_argv = &w->arg,
		.term_seq = quick,
		.nterm_seq = 2,
		.backoff_ns = 1 * MS,
	};
}

/* Run it to its end: 0, or what stopped it. */
static int
world_run(struct world *w)
{
	char err[256] = "";
	int n = knee_new(&w->o, &w->k, err, sizeof(err));

	if (n < 0) {
		diag("%s", err);
		return n;
	}
	n = knee_run(w->k);
	knee_free(w->k);
	(void)pthread_mutex_destroy(&w->lock);
	return n;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void
test_all(
    const char *name, uint64_t count, unsigned kinds, unsigned limit, unsigned flags, enum knee_order order)
{
	struct world *w = malloc(sizeof(*w));
	uint64_t failed = 0, parts = 0;

	world_init(w, count, kinds);
	w->o.limit = limit;
	w->o.order = order;
	w->o.retries = 3;
	w->plugin.flags = flags;
	if ((kinds & KIND_FAILS) != 0)
		w->o.retries = 1;
	for (uint64_t n = 1; n <= count; n++) {
		struct work work = work_of(w, n);
		bool fails = work.fails || (w->o.retries == 1 && work.fails_first > 0);

		failed += fails;
		parts += work.parts && !fails;
	}
	is_int(world_run(w), 0, "%s", name);
	is_int(w->results, count, "%s: a result for each", name);
	is_int(w->sum, count * (count + 1) / 2, "%s: and for each its own", name);
	is_int(w->failed, failed, "%s: those failed that should", name);
	is_int(w->whole, parts, "%s: each part is in the whole", name);
	ok(!w->bad_combine, "%s: in its place", name);
	ok(!w->wrong_output && !w->wrong_data, "%s: output and data are of their task", name);
	ok(order == KNEE_ORDER_DONE || !w->wrong_order, "%s: in order", name);
	is_int(w->opened, 1, "%s: opened once", name);
	is_int(w->closed, 1, "%s: closed once", name);
	free(w);
}

static void
test_runs(void)
{
	const unsigned all = KIND_WRITES | KIND_PARTS | KIND_FAILS | KIND_WAITS;

	test_all("nothing", 0, 0, 2, 0, KNEE_ORDER_INPUT);
	test_all("one", 1, all, 2, 0, KNEE_ORDER_INPUT);
	test_all("brief ones", 20000, KIND_WRITES, 2, 0, KNEE_ORDER_INPUT);
	test_all("parts", 5000, KIND_PARTS, 4, 0, KNEE_ORDER_INPUT);
	test_all("parts in a tree", 5000, KIND_PARTS, 4, KNEE_PLUGIN_ASSOCIATIVE, KNEE_ORDER_INPUT);
	test_all("all kinds", 600, all, 8, 0, KNEE_ORDER_INPUT);
	test_all("all kinds, in a tree", 600, all, 8, KNEE_PLUGIN_ASSOCIATIVE, KNEE_ORDER_DONE);
	test_all("the number is found", 600, all, 0, 0, KNEE_ORDER_INPUT);
	test_all("attempts", 400, KIND_RETRY | KIND_PARTS | KIND_WRITES, 4, 0, KNEE_ORDER_INPUT);
	test_all("much output", 120, KIND_LARGE | KIND_WRITES, 3, 0, KNEE_ORDER_INPUT);
}

/* Stopped, thrown away or timed out after so many results or turns, by seed. *odd counts what is wrong. Returns
 * whether the plugin was closed in the end. */
static bool
cancelled_run(struct world *w, unsigned seed, unsigned *odd)
{
	struct rnd r = { seed * 77777ull };
	char err[256] = "";
	unsigned turns;

	world_init(w, 1 + rnd_below(&r, 900), rnd_below(&r, 64));
	w->seed = seed;
	w->plugin.flags = rnd_below(&r, 2) ? KNEE_PLUGIN_ASSOCIATIVE : 0;
	w->o.limit = rnd_below(&r, 9);
	w->o.retries = rnd_below(&r, 3);
	w->o.timeout_ns = rnd_below(&r, 3) == 0 ? 2 * MS : 0;
	w->o.order = rnd_below(&r, 2) ? KNEE_ORDER_INPUT : KNEE_ORDER_DONE;
	w->how = (enum knee_stop)rnd_below(&r, 3);
	w->stop_at = rnd_below(&r, 3) == 0 ? 0 : rnd_below(&r, (unsigned)w->count) + 1;
	turns = rnd_below(&r, 3) == 0 ? rnd_below(&r, 60) : 1000000;
	if (knee_new(&w->o, &w->k, err, sizeof(err)) < 0) {
		(*odd)++;
		return true;
	}
	while (turns-- > 0 && knee_turn(w->k, 1) > 0)
		;
	knee_free(w->k);
	*odd += w->wrong_order && w->o.order == KNEE_ORDER_INPUT;
	*odd += w->wrong_output || w->wrong_data || w->bad_combine || w->results > w->count;
	return w->opened == w->closed;
}

static void
test_cancelled(void)
{
	unsigned rounds = getenv("KNEE_CANCELS") != NULL ? (unsigned)atoi(getenv("KNEE_CANCELS")) : 60;
	unsigned odd = 0, unclosed = 0;

	for (unsigned seed = 1; seed <= rounds; seed++) {
		bool closed = false;

		/* A thread that gets no core for 100 ms is given up, as one that hangs: not three times in a row. It
		 * may use its world later. */
		for (unsigned i = 0; i < 3 && !closed; i++) {
			static struct world *left[200];
			static unsigned nleft;
			struct world *w = malloc(sizeof(*w));

			closed = cancelled_run(w, seed, &odd);
			if (closed) {
				(void)pthread_mutex_destroy(&w->lock);
				free(w);
			} else if (nleft < 200)
				left[nleft++] = w;
		}
		unclosed += !closed;
	}
	is_int(odd, 0, "%u runs that were cut short: nothing is wrong", rounds);
	is_int(unclosed, 0, "and each was closed");
}

static atomic_int stubborn_go;

static int
stubborn_run(void *state, struct knee_call *call)
{
	(void)state;
	if (call->seq == 1)
		while (!atomic_load(&stubborn_go))
			(void)nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	return 0;
}

/* What was given up goes on with it. */
static const struct knee_plugin stubborn = {
	.abi = KNEE_PLUGIN_ABI,
	.size = sizeof(struct knee_plugin),
	.run = stubborn_run,
};

static unsigned
threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

/* One that never returns is given up, and the run has its end; it returns afterwards into nothing. */
static void
test_given_up(void)
{
	struct world *w = malloc(sizeof(*w));
	unsigned before = threads(); /* a sanitizer may have one of its own */

	world_init(w, 10, 0);
	w->o.plugin = &stubborn;
	w->o.limit = 1;
	w->o.timeout_ns = 10 * MS;
	is_int(world_run(w), 0, "a function that does not return");
	is_int(w->results, 10, "holds nobody up");
	is_int(w->failed, 1, "and has failed");
	atomic_store(&stubborn_go, 1);
	for (int i = 0; threads() > before && i < 3000; i++)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	is_int(threads(), before, "it takes with it what was left");
	free(w);
}

int
main(void)
{
	test_runs();
	test_cancelled();
	test_given_up();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous work through the public interface: ends that come in any order, from within start, too late or
 * never; inputs that are submitted; and another loop that drives the run. Other threads: test_async_threads.c.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <knee_program.h>

#include "async_world.h"
#include "random.h"
#include "tap.h"

/* The i-th of those that go on is over. */
static void
finish(struct world *w, size_t i, int status)
{
	char line[40];
	int n = snprintf(line, sizeof(line), "%llu ", (unsigned long long)w->going[i].n);

	w->failed = w->failed || knee_output(w->k, w->going[i].task, KNEE_STDOUT, line, (size_t)n) < 0 ||
	    knee_complete(w->k, w->going[i].task, status) < 0;
	w->ngoing--;
	memmove(&w->going[i], &w->going[i + 1], (w->ngoing - i) * sizeof(w->going[0]));
}

static int
start_and_end(struct world *w, knee_task task, uint64_t n)
{
	char line[40];
	int size = snprintf(line, sizeof(line), "%llu ", (unsigned long long)n);

	return knee_output(w->k, task, KNEE_STDOUT, line, (size_t)size) < 0 ?
	    -EIO :
	    knee_complete(w->k, task, n % 10 == 0);
}

static int
start_never(struct world *w, knee_task task, uint64_t n)
{
	(void)w;
	(void)task;
	(void)n;
	return 0;
}

/* ---- one thread --------------------------------------------------------------- */

static void
test_order(struct world *w)
{
	struct rnd r = { rnd_seed() | 1 };

	world_init(w, 500, 20);
	world_open(w);
	while (knee_turn(w->k, w->ngoing == 0) > 0)
		if (w->ngoing > 0 && (w->ngoing == 20 || w->given == 500))
			finish(w, rnd_below(&r, (unsigned)w->ngoing), 0);
	is_int(w->results, 500, "each task has a result");
	is_int(w->peak, 20, "so many went on at once");
	ok(counts_to(w, 500), "ends in any order, output in the order of the inputs");
	ok(!w->wrong_order && !w->failed, "so are the results, and no call failed");
	ok(!w->wrong_data, "the data of an input goes with its task");
	knee_free(w->k);
}

static void
test_within_start(struct world *w)
{
	struct knee_stats stats;

	world_init(w, 1000, 3);
	w->at_start = start_and_end;
	world_open(w);
	is_int(knee_run(w->k), 0, "tasks that end within start");
	is_int(w->results, 1000, "have their results");
	ok(counts_to(w, 1000), "and their output");
	knee_get_stats(w->k, &stats);
	is_int(stats.failed, 100, "the failed ones are counted");
	is_int(stats.status, 100, "and stand in the exit status");
	knee_free(w->k);
}

/* -EAGAIN a few times, then: even ones cannot start, every third fails later like that. */
static int
start_some(struct world *w, knee_task task, uint64_t n)
{
	if (w->starts <= 9)
		return -EAGAIN;
	if (n % 2 == 0)
		return n == 2 ? -ENOENT : -EMFILE;
	return knee_complete(w->k, task, n % 3 == 0 ? -EIO : 300);
}

static int
note_result(struct world *w, const struct knee_event *ev)
{
	if (ev->result->outcome != (ev->seq % 6 == 1 || ev->seq % 6 == 5 ? KNEE_EXITED : KNEE_NOT_STARTED))
		w->failed = true;
	if (ev->seq == 1)
		is_int(ev->result->status, 255, "a status that is none");
	if (ev->seq == 2)
		is_int(ev->result->status, 127, "-ENOENT is 127");
	if (ev->seq == 3)
		is_int(ev->result->error, -EIO, "completed with an error");
	if (ev->seq == 4)
		is_int(ev->result->error, -EMFILE, "an error of start is the task's");
	return 0;
}

static void
test_not_started(struct world *w)
{
	world_init(w, 10, 4);
	w->at_start = start_some;
	w->at_result = note_result;
	world_open(w);
	is_int(knee_run(w->k), 0, "what cannot start does not end the run, nor does -EAGAIN without an end");
	is_int(w->results, 10, "all have results");
	ok(!w->failed, "of the right outcome");
	knee_free(w->k);
}

static void
test_retries(struct world *w)
{
	static const int busy[] = { 75 };
	knee_task names[16] = { 0 };
	size_t n = 0;
	bool repeated = false;

	world_init(w, 4, 4);
	w->o.retries = 3;
	w->o.backoff_ns = MS;
	w->o.busy_exits = busy;
	w->o.nbusy_exits = 1;
	world_open(w);
	while (knee_turn(w->k, w->ngoing == 0) > 0)
		while (w->ngoing > 0) {
			for (size_t i = 0; i < n; i++)
				repeated = repeated || names[i] == w->going[0].task;
			names[n++ % 16] = w->going[0].task;
			/* 1: at once; 2: the second time; 3: never; 4: busy five times. */
			finish(w, 0,
			    w->going[0].n == 3                                 ? 5 :
				w->going[0].n == 4 && w->going[0].attempt <= 5 ? 75 :
				w->going[0].n == 2 && w->going[0].attempt == 1 ? 1 :
										 0);
		}
	is_int(w->starts, 1 + 2 + 3 + 6, "attempts");
	is_int(w->retries, w->starts - 4, "all but the last are told as such");
	ok(!repeated, "each has another name");
	ok(counts_to(w, 4), "only the output of the last counts");
	is_int(w->results, 4, "one result each");
	knee_free(w->k);
}

static int
no_time(struct world *w, const struct knee_event *ev)
{
	w->failed = w->failed || ev->result->outcome != KNEE_TIMED_OUT || ev->result->status != SIGKILL;
	return 0;
}

static void
test_timeout(struct world *w)
{
	world_init(w, 5, 2);
	w->at_start = start_never;
	w->at_result = no_time;
	w->o.timeout_ns = MS;
	world_open(w);
	is_int(knee_run(w->k), 0, "tasks that never end");
	is_int(w->results, 5, "are given up");
	is_int(w->cancels, 5, "after one word each");
	ok(!w->failed, "by their time-out");
	is_int(knee_complete(w->k, w->cancelled, 0), -ESTALE, "to complete one of them is stale");
	is_int(knee_output(w->k, w->cancelled, KNEE_STDOUT, "x", 1), -ESTALE, "so is its output");
	knee_free(w->k);
}

/* Who is told to end does so at once. */
static void
cancel_ends(void *self, knee_task task)
{
	struct world *w = self;

	w->cancels++;
	w->failed = w->failed || knee_output(w->k, task, KNEE_STDERR, "late ", 5) < 0 ||
	    knee_complete(w->k, task, 28) < 0;
}

static void
test_cancel(struct world *w)
{
	world_init(w, 3, 3);
	w->at_start = start_never;
	w->o.async.cancel = cancel_ends;
	w->o.timeout_ns = MS;
	world_open(w);
	is_int(knee_run(w->k), 0, "tasks that end when they are told to");
	is_mem(w->out, w->nout, "late late late ", 15, "may say something about it");
	is_int(w->last.outcome, KNEE_TIMED_OUT, "it is a time-out");
	is_int(w->last.status, 28, "with a status of their own");
	ok(!w->failed, "completed in time");
	knee_free(w->k);

	world_init(w, 3, 3);
	w->at_start = start_never;
	w->o.async.cancel = cancel_ends;
	world_open(w);
	(void)knee_turn(w->k, 0);
	knee_stop(w->k, KNEE_STOP_KILL);
	is_int(knee_run(w->k), 0, "killed at once");
	is_int(w->cancels, w->starts, "they are told, too");
	is_int(w->last.outcome, KNEE_CANCELLED, "and are cancelled");
	ok(!w->failed, "what they say comes before they are given up");
	knee_free(w->k);
}

static int
start_and_stop(struct world *w, knee_task task, uint64_t n)
{
	if (n == 3)
		knee_stop(w->k, KNEE_STOP_SOON);
	if (n == 3)
		knee_stop(w->k, KNEE_STOP_NOW);
	return n < 3 ? knee_complete(w->k, task, 0) : 0;
}

static void
test_stop_in_start(struct world *w)
{
	struct knee_stats stats;

	world_init(w, 100, 10);
	w->at_start = start_and_stop;
	world_open(w);
	is_int(knee_run(w->k), 0, "a stop within start");
	knee_get_stats(w->k, &stats);
	ok(stats.stopped != 0, "stops the run");
	is_int(w->results, w->starts, "every task that was started has its result");
	is_int(w->last.outcome, KNEE_CANCELLED, "the one that was being started, too");
	knee_free(w->k);
}

static void
test_stale(struct world *w)
{
	knee_task task;

	world_init(w, 70, 70);
	world_open(w);
	is_int(knee_complete(w->k, 0, 0), -ESTALE, "no task has the name 0");
	is_int(knee_complete(w->k, (knee_task)1 << 32, 0), -ESTALE, "nor any before the first start");
	while (w->starts < 70)
		(void)knee_turn(w->k, 1);
	task = w->going[3].task;
	is_int(knee_complete(w->k, UINT64_MAX, 0), -ESTALE, "nor is there one of the highest number");
	is_int(knee_complete(w->k, task + ((knee_task)1 << 32), 0), -ESTALE, "nor the next one of a slot");
	is_int(knee_complete(w->k, task - ((knee_task)1 << 32), 0), -ESTALE, "nor one before the first");
	is_int(knee_output(w->k, task, KNEE_STDOUT, "", 0), 0, "no output is fine");
	is_int(knee_complete(w->k, task, 0), 0, "completed");
	is_int(knee_complete(w->k, task, 0), -ESTALE, "and not again");
	is_int(knee_output(w->k, task, KNEE_STDOUT, "x", 1), -ESTALE, "no output after that");
	knee_free(w->k);
	is_int(w->results, 70, "knee_free ends what goes on");
}

static int
start_one(struct world *w, knee_task task, uint64_t n)
{
	(void)n;
	if (w->ngoing > 0)
		return -EAGAIN;
	w->going[w->ngoing++].task = task;
	return 0;
}

static void
test_put_off(struct world *w)
{
	world_init(w, 100, 10);
	w->at_start = start_one;
	world_open(w);
	while (w->starts < 9)
		(void)knee_turn(w->k, 1);
	is_int(w->ngoing, 1, "start takes one and puts off the others, eight times");
	w->ngoing = 0;
	(void)knee_complete(w->k, w->going[0].task, 0);
	for (int i = 0; i < 3; i++)
		(void)knee_turn(w->k, 0);
	is_int(w->ngoing, 1, "when that has ended it is asked at once");
	knee_free(w->k);
}

/* The first attempt fails, the second one never starts. */
static int
start_once(struct world *w, knee_task task, uint64_t n)
{
	(void)n;
	return w->starts == 1 ? knee_complete(w->k, task, 3) : -EAGAIN;
}

static void
test_put_off_and_stopped(struct world *w)
{
	world_init(w, 1, 1);
	w->o.retries = 2;
	w->o.backoff_ns = MS;
	w->at_start = start_once;
	world_open(w);
	while (w->starts < 3)
		(void)knee_turn(w->k, 1);
	knee_stop(w->k, KNEE_STOP_NOW);
	is_int(knee_run(w->k), 0, "stopped when another attempt is put off");
	is_int(w->results, 1, "the task has its result");
	is_int(w->last.outcome, KNEE_CANCELLED, "which is no success");
	knee_free(w->k);
}

/* ---- inputs that are submitted ---------------------------------------------------- */

static int
submit(struct world *w, uint64_t n)
{
	char text[24];
	const char *arg = text;

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return knee_submit(w->k, &(struct knee_input){ .args = &arg, .nargs = 1, .data = w->sinks + n });
}

/* Each result brings two more, up to 1000, and the last one the end. */
static int
submit_more(struct world *w, const struct knee_event *ev)
{
	(void)ev;
	for (int i = 0; i < 2 && w->given < 1000; i++)
		w->failed = w->failed || submit(w, ++w->given) < 0;
	if (w->results == 1000)
		w->failed = w->failed || knee_submit(w->k, NULL) < 0;
	return 0;
}

static void
test_submit(struct world *w)
{
	struct pollfd fd = { .events = POLLIN };

	world_init(w, 0, 5);
	w->at_start = start_and_end;
	w->at_result = submit_more;
	world_open(w);
	fd.fd = knee_fd(w->k);
	is_int(poll(&fd, 1, 0), 1, "the first turn is due");
	for (int i = 0; i < 100; i++)
		is_int(knee_turn(w->k, 0), 1, "nothing to do, and not at the end");
	is_int(poll(&fd, 1, 0), 0, "the descriptor is quiet");
	is_int(submit(w, ++w->given), 0, "an input");
	is_int(poll(&fd, 1, 0), 1, "wakes it");
	is_int(knee_run(w->k), 0, "inputs that callbacks submit");
	is_int(w->results, 1000, "all have results");
	ok(counts_to(w, 1000) && !w->failed && !w->wrong_data, "in their order");
	is_int(submit(w, 1001), -EPIPE, "after the last there is none");
	is_int(knee_submit(w->k, NULL), -EPIPE, "nor another last one");
	knee_free(w->k);

	world_init(w, 1, 1);
	world_open(w);
	is_int(submit(w, 1), -EINVAL, "a run with a source takes none");
	knee_free(w->k);

	world_init(w, 0, 1);
	world_open(w);
	(void)submit(w, 1);
	(void)submit(w, 2);
	knee_stop(w->k, KNEE_STOP_SOON);
	is_int(knee_run(w->k), 0, "a run that is stopped does not wait for the last input");
	is_int(w->results, 0, "and starts nothing");
	knee_free(w->k);
}

/* ---- other loops ------------------------------------------------------------------- */

/* Nothing but knee_fd() says when a turn is due; ends come by a descriptor of the loop's own. */
static void
test_foreign_loop(struct world *w)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int loop = epoll_create1(EPOLL_CLOEXEC), own = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned turns = 0;
	uint64_t one = 1;
	int more = 1;

	world_init(w, 2000, 100);
	world_open(w);
	ev.data.fd = own;
	(void)epoll_ctl(loop, EPOLL_CTL_ADD, own, &ev);
	ev.data.fd = knee_fd(w->k);
	(void)epoll_ctl(loop, EPOLL_CTL_ADD, ev.data.fd, &ev);
	while (more > 0 && epoll_wait(loop, &ev, 1, 60000) == 1) {
		if (ev.data.fd == own) {
			(void)!read(own, &one, sizeof(one));
			while (w->ngoing > 0)
				finish(w, w->ngoing / 2, 0);
			continue;
		}
		turns++;
		more = knee_turn(w->k, 0);
		if (w->ngoing == 100 || (w->given == 2000 && w->ngoing > 0))
			(void)!write(own, &one, sizeof(one));
	}
	is_int(more, 0, "a loop of epoll's drives a run to its end");
	is_int(w->results, 2000, "all have results");
	ok(counts_to(w, 2000) && !w->failed, "in order");
	ok(turns < 2000, "%u turns: none for nothing", turns);
	close(own);
	close(loop);
	knee_free(w->k);
}

static void
test_foreign_timers(struct world *w)
{
	struct pollfd fd = { .events = POLLIN };
	unsigned turns = 0;
	int more = 1;

	world_init(w, 3, 3);
	w->at_start = start_never;
	w->o.timeout_ns = 5 * MS;
	w->o.retries = 2;
	w->o.backoff_ns = 5 * MS;
	world_open(w);
	fd.fd = knee_fd(w->k);
	while (more > 0 && poll(&fd, 1, 60000) == 1) {
		more = knee_turn(w->k, 0);
		turns++;
	}
	is_int(more, 0, "time-outs, steps of the end and back-offs wake another loop");
	is_int(w->starts, 6, "each task had two attempts");
	is_int(w->results, 3, "and one result");
	ok(turns < 200, "%u turns: the loop waits in between", turns);
	knee_free(w->k);
}

/* ---- many --------------------------------------------------------------------------- */

static void
test_many(struct world *w)
{
	struct knee_stats stats;

	world_init(w, 100000, 1000);
	w->sinks[0].event = on_live; /* once more, so that all is counted twice */
	w->o.nsinks = 1;
	world_open(w);
	while (knee_turn(w->k, w->ngoing == 0) > 0)
		while (w->ngoing == 1000 || (w->given == w->count && w->ngoing > 0))
			finish(w, w->ngoing - 1, 0);
	knee_get_stats(w->k, &stats);
	is_int(w->results, 100000, "100,000 tasks");
	is_int(stats.peak, 1000, "1,000 at once");
	ok(w->sum == 100000ull * 100001 / 2 && !w->failed, "each once");
	knee_free(w->k);
}

/* ---- options -------------------------------------------------------------------------- */

static void
refused(struct world *w, const char *why)
{
	char err[200] = "";
	knee *k = NULL;

	is_int(knee_new(&w->o, &k, err, sizeof(err)), -EINVAL, "refused");
	is_str(err, why, "with a reason");
}

static void
test_options(struct world *w)
{
	static const char *const words[] = { "fetch", "-x" }, *const broken[] = { "{= =}" };
	char err[200] = "";
	knee *k = NULL;

	world_init(w, 1, 1);
	w->o.async.start = NULL;
	refused(w, "options.async.start is not set");
	w->o.executor = KNEE_EXEC_PROCESS;
	refused(w, "options.words is not set");
	w->o.executor = KNEE_EXEC_WORKER;
	refused(w, "options.worker is not set");
	w->o.executor = KNEE_EXEC_THREAD;
	refused(w, "options.plugin has no run");
	w->o.executor = (enum knee_executor)99;
	refused(w, "options.executor is none");
	world_init(w, 1, 1);
	w->o.words = broken;
	w->o.nwords = 1;
	ok(knee_new(&w->o, &k, err, sizeof(err)) == -EINVAL && err[0] != '\0', "words that are wrong: %s",
	    err);

	for (int i = 0; i < 2; i++) {
		world_init(w, 1, 0);
		w->at_start = start_and_end;
		w->o.want_text = 1;
		w->o.words = i == 0 ? NULL : words;
		w->o.nwords = i == 0 ? 0 : 2;
		world_open(w);
		is_int(knee_run(w->k), 0, "with a number that is found");
		is_str(w->command, i == 0 ? "task 1" : "fetch -x 1", "the words name the work");
		knee_free(w->k);
	}
}

int
main(void)
{
	struct world *w = malloc(sizeof(*w));

	if (w == NULL)
		return 1;
	test_order(w);
	test_within_start(w);
	test_not_started(w);
	test_retries(w);
	test_timeout(w);
	test_cancel(w);
	test_stop_in_start(w);
	test_stale(w);
	test_put_off(w);
	test_put_off_and_stopped(w);
	test_submit(w);
	test_foreign_loop(w);
	test_foreign_timers(w);
	test_many(w);
	test_options(w);
	free(w);
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/*
 * A run whose caller has numbers of its own for tasks and signals single ones, and the order PIECES: what an
 * agent on another machine is made of. Real processes; each test waits for what it has asked for.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <knee_program.h>

#include "tap.h"

#define TASKS 8

/* What was seen of each task, by its own number. */
struct seen {
	char out[256];
	size_t nout;
	unsigned starts, results, text_starts, text_results;
	struct knee_result result;
};

struct world {
	knee *k;
	struct seen tasks[TASKS + 1];
	unsigned results;
};

static int
on_text(void *self, const struct knee_event *ev)
{
	struct world *w = self;
	struct seen *t = ev->seq >= 1 && ev->seq <= TASKS ? &w->tasks[ev->seq] : &w->tasks[0];

	t->text_starts += ev->kind == KNEE_EVENT_START;
	t->text_results += ev->kind == KNEE_EVENT_RESULT;
	if (ev->kind != KNEE_EVENT_OUTPUT || t->nout + ev->size >= sizeof(t->out))
		return 0;
	memcpy(t->out + t->nout, ev->data, ev->size);
	t->nout += ev->size;
	return 0;
}

static int
on_live(void *self, const struct knee_event *ev)
{
	struct world *w = self;

	if (ev->kind == KNEE_EVENT_START)
		w->tasks[ev->seq].starts++;
	if (ev->kind != KNEE_EVENT_RESULT)
		return 0;
	w->tasks[ev->seq].results++;
	w->tasks[ev->seq].result = *ev->result;
	w->results++;
	return 0;
}

/* The n-th input's data says 100 n, in slot 7. */
static void
numbers(void *data, uint64_t *seq, unsigned *slot)
{
	*seq = 100 * (uint64_t)(uintptr_t)data;
	*slot = 7;
}

static void
world_begin(struct world *w, enum knee_executor executor, const char *word, unsigned n, bool numbered)
{
	static struct knee_sink sinks[2];
	static const char *const env[] = { "PATH=/usr/bin:/bin", "PARALLEL_SSHHOST=far", NULL };
	static const char *const quick[] = { "sed -u s/x/x/" },
				 *const slow[] = { "while read x; do sleep 1000; done" };
	const char *words[] = { word };
	struct knee_options o = {
		.words = words,
		.nwords = 1,
		.sinks = sinks,
		.nsinks = 2,
		.executor = executor,
		.worker = strcmp(word, "{}") == 0 ? slow : quick,
		.nworker = 1,
		.order = KNEE_ORDER_PIECES,
		.limit = 1,
		.numbers = numbered ? numbers : NULL,
		.environ_base = env,
		.first_stdin = -1,
	};
	char err[256];

	*w = (struct world){ 0 };
	sinks[0] = (struct knee_sink){ .self = w, .text = 1, .event = on_text };
	sinks[1] = (struct knee_sink){ .self = w, .event = on_live };
	if (knee_new(&o, &w->k, err, sizeof(err)) < 0) {
		fail("knee_new: %s", err);
		exit(1);
	}
	for (unsigned i = 1; i <= n; i++) {
		char arg[16];
		const char *args[] = { arg };
		const struct knee_input input = { .args = args, .nargs = 1, .data = (void *)(uintptr_t)i };

		(void)snprintf(arg, sizeof(arg), "%u", i);
		if (knee_submit(w->k, &input) < 0)
			exit(1);
	}
}

static void
world_end(struct world *w)
{
	(void)knee_submit(w->k, NULL);
	is_int(knee_run(w->k), 0, "the run ends");
	knee_free(w->k);
}

static void
until_out(struct world *w, unsigned seq)
{
	while (w->tasks[seq].nout == 0 && knee_turn(w->k, 1) > 0)
		;
}

static void
until_results(struct world *w, unsigned n)
{
	while (w->results < n && knee_turn(w->k, 1) > 0)
		;
}

static void
test_numbers(void)
{
	struct world w;

	world_begin(
	    &w, KNEE_EXEC_PROCESS, "echo {#} {%} $PARALLEL_SEQ $PARALLEL_JOBSLOT $PARALLEL_SSHHOST", 2, true);
	world_end(&w);
	is_str(w.tasks[1].out, "100 7 100 7 far\n", "numbers of the caller's");
	is_str(w.tasks[2].out, "200 7 200 7 far\n", "for each task");
	world_begin(&w, KNEE_EXEC_PROCESS, "echo {#} {%} $PARALLEL_SEQ $PARALLEL_JOBSLOT $PARALLEL_SSHHOST",
	    1, false);
	world_end(&w);
	is_str(w.tasks[1].out, "1 1 1 1 :\n", "without them the engine's own");
	world_begin(&w, KNEE_EXEC_WORKER, "{}-{#}-{%}", 2, true);
	world_end(&w);
	is_str(w.tasks[2].out, "2-200-7\n", "in a worker's records, too");
}

static void
test_running(void)
{
	struct world w;

	world_begin(&w, KNEE_EXEC_PROCESS, "echo {}; exec sleep 1000", 2, false);
	until_out(&w, 1);
	is_int(knee_task_signal(w.k, 1, SIGUSR1), 0, "a running task is signalled");
	until_out(&w, 2);
	is_int(w.tasks[1].result.outcome, KNEE_SIGNALED, "and ended by it");
	is_int(w.tasks[1].result.status, SIGUSR1, "by that signal");
	is_int(w.tasks[2].results, 0, "it alone");
	is_int(knee_task_signal(w.k, 1, SIGTERM), -ESRCH, "it is no more");
	is_int(knee_task_signal(w.k, 9, SIGTERM), -ESRCH, "and there is no ninth");
	(void)knee_task_signal(w.k, 2, SIGKILL);
	world_end(&w);
	is_int(w.tasks[2].result.status, SIGKILL, "the second one by another");
	is_str(w.tasks[2].out, "2\n", "what it had printed passed while it ran");
}

/* Its group goes with it, as after a time-out: the pipe that the background process holds is closed. */
static void
test_group(void)
{
	struct world w;

	world_begin(
	    &w, KNEE_EXEC_PROCESS, "(trap '' TERM; echo $BASHPID{}; exec sleep 1000) & wait", 1, false);
	until_out(&w, 1);
	(void)knee_task_signal(w.k, 1, SIGTERM);
	world_end(&w);
	is_int(w.tasks[1].result.status, SIGTERM, "the task ends by the signal that its child ignores");
}

static void
test_waiting(enum knee_executor executor, const char *word, const char *name)
{
	struct world w;

	world_begin(&w, executor, word, 6, false);
	if (executor == KNEE_EXEC_PROCESS)
		until_out(&w, 1);
	else
		while (w.tasks[1].starts == 0 && knee_turn(w.k, 1) > 0)
			;
	for (unsigned i = 3; i <= 5; i++)
		is_int(knee_task_signal(w.k, i, SIGTERM), 0, "%s: task %u, which waits", name, i);
	is_int(knee_task_signal(w.k, 6, SIGSTOP), -ESRCH, "%s: what waits cannot be stopped", name);
	until_results(&w, 3);
	for (unsigned i = 3; i <= 5; i++) {
		is_int(w.tasks[i].results, 1, "%s: task %u has its result at once", name, i);
		is_int(w.tasks[i].result.outcome, KNEE_CANCELLED, "%s: it is cancelled", name);
	}
	is_int(w.tasks[1].results, 0, "%s: the first one still runs", name);
	(void)knee_task_signal(w.k, 1, SIGKILL);
	while (w.tasks[1].results == 0 && knee_turn(w.k, 1) > 0)
		;
	for (unsigned i = 2; i <= 6; i += 4) {
		while (w.tasks[i].starts == 0 && knee_turn(w.k, 1) > 0)
			;
		(void)knee_task_signal(w.k, i, SIGKILL);
	}
	world_end(&w);
	for (unsigned i = 1; i <= 6; i++) {
		is_int(w.tasks[i].results, 1, "%s: one result for task %u", name, i);
		is_int(w.tasks[i].text_results, 1, "%s: and one for those who print", name);
		is_int(w.tasks[i].starts, i < 3 || i > 5, "%s: started or not", name);
	}
}

/* Submitted and not even read by the engine. */
static void
test_submitted(void)
{
	struct world w;

	world_begin(&w, KNEE_EXEC_PROCESS, "echo {}", 3, false);
	is_int(knee_task_signal(w.k, 2, SIGTERM), 0, "a task that was only submitted");
	is_int(knee_task_signal(w.k, 2, SIGTERM), -ESRCH, "is no more");
	world_end(&w);
	is_str(w.tasks[1].out, "1\n", "the first one runs");
	is_int(w.tasks[2].result.outcome, KNEE_CANCELLED, "the second one is cancelled");
	is_int(w.tasks[2].text_results, 1, "and printed as such");
	is_str(w.tasks[3].out, "3\n", "the third one runs");
}

int
main(void)
{
	test_numbers();
	test_running();
	test_group();
	test_waiting(KNEE_EXEC_PROCESS, "echo {}; exec sleep 1000", "processes");
	test_waiting(KNEE_EXEC_WORKER, "{}", "workers");
	test_submitted();
	return done_testing();
}

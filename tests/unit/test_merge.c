/* SPDX-License-Identifier: MIT */
/*
 * The merge: random tasks write random bytes in random turns, to a sink that is slow at
 * random moments, with so little memory that most of it goes through the spill file.
 * What comes out must be, byte for byte, what each order promises.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/merge.h"
#include "random.h"
#include "tap.h"

#define TASKS 120

/* What one task wrote in its last attempt, stream by stream, and what came out of it. */
struct written {
	struct kn_buf want[2], got[2];
	bool started, ended;
	bool behind; /* some of its stderr has come */
};

struct world {
	struct rnd rnd;
	struct kn_sched s;
	struct kn_merge m;
	struct written tasks[TASKS + 1];
	struct kn_task *running[TASKS + 1];
	uint64_t printed; /* tasks handed back */
	uint64_t now_printing, last_ended;
	bool partial; /* the last output did not end a line */
	enum knee_order order;
	bool whole;
	const char *wrong;
};

/* Each task has two arguments, its number and nothing. */
static void
check_args(struct world *w, const struct knee_event *ev)
{
	char number[32];

	(void)snprintf(number, sizeof(number), "%" PRIu64, ev->seq);
	if (ev->nargs != 2 || strcmp(ev->args[0], number) != 0 || strcmp(ev->args[1], "") != 0)
		w->wrong = "other arguments";
	if (ev->input_data != &w->tasks[ev->seq])
		w->wrong = "another pointer of the caller's";
}

static int
on_emit(void *self, const struct knee_event *ev)
{
	struct world *w = self;
	struct written *t = &w->tasks[ev->seq];
	unsigned which = ev->stream == KNEE_STDERR;

	if (w->order != KNEE_ORDER_LINES && w->order != KNEE_ORDER_PIECES && w->now_printing != 0 &&
	    w->now_printing != ev->seq)
		w->wrong = "an event between another task's events";
	if (w->order == KNEE_ORDER_INPUT && ev->seq < w->last_ended)
		w->wrong = "out of order";
	check_args(w, ev);
	switch (ev->kind) {
	case KNEE_EVENT_START:
		t->started = true;
		if (w->whole && (ev->result == NULL || ev->result->outcome != KNEE_EXITED))
			w->wrong = "the start of a whole task without its result";
		w->now_printing = ev->seq;
		break;
	case KNEE_EVENT_OUTPUT:
		if (!t->started || t->ended || ev->size == 0)
			w->wrong = "output out of place";
		if (w->whole && t->behind && which == 0)
			w->wrong = "stdout behind stderr";
		t->behind = which == 1;
		(void)kn_buf_add(&t->got[which], ev->data, ev->size);
		break;
	case KNEE_EVENT_RESULT:
		t->ended = true;
		w->now_printing = 0;
		w->last_ended = ev->seq;
		break;
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_NOTE:
	case KNEE_EVENT_END:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		w->wrong = "an event that is none of merge's";
	}
	return rnd_below(&w->rnd, 3) == 0 ? -EAGAIN : 0;
}

static void
on_printed(void *self, struct kn_task *t)
{
	struct world *w = self;

	w->printed++;
	kn_task_free(t);
}

/* A random piece of output, now and then a large one, with or without newlines. */
static size_t
piece(struct world *w, char *data, size_t max)
{
	size_t n = rnd_below(&w->rnd, 20) == 0 ? rnd_below(&w->rnd, (unsigned)max) : rnd_below(&w->rnd, 60);

	for (size_t i = 0; i < n; i++)
		data[i] = rnd_below(&w->rnd, 30) == 0 ? '\n' : (char)rnd_below(&w->rnd, 256);
	return n;
}

static struct kn_task *
task_begin(struct world *w, uint64_t seq)
{
	char number[32];
	const struct knee_input input = {
		.args = (const char *[]){ number, "" }, .nargs = 2, .data = &w->tasks[seq]
	};
	struct kn_task *t;

	(void)snprintf(number, sizeof(number), "%" PRIu64, seq);
	t = kn_task_new(seq, &input, 0);
	t->tag = rnd_below(&w->rnd, 2) ? strdup("tag") : NULL;
	t->command = rnd_below(&w->rnd, 2) ? strdup("command") : NULL;
	kn_sched_add(&w->s, t);
	if (kn_merge_reserve(&w->m, seq) < 0)
		w->wrong = "kn_merge_reserve";
	kn_merge_add(&w->m, t);
	(void)kn_sched_prepare(&w->s, t);
	(void)kn_sched_event(&w->s, t, KN_START, 0);
	return t;
}

static void
task_write(struct world *w, struct kn_task *t)
{
	static char data[100000];
	unsigned which = rnd_below(&w->rnd, 2);
	size_t n = piece(w, data, sizeof(data));

	(void)kn_buf_add(&w->tasks[t->seq].want[which], data, n);
	if (kn_merge_output(&w->m, t, which ? KNEE_STDERR : KNEE_STDOUT, data, n) < 0)
		w->wrong = "kn_merge_output";
}

/* The attempt ends; true when it was the last one. */
static bool
task_end(struct world *w, struct kn_task *t)
{
	struct written *wr = &w->tasks[t->seq];
	struct kn_step step;

	t->result.outcome = KNEE_EXITED;
	t->result.status = rnd_below(&w->rnd, 3) == 0;
	step = kn_sched_event(&w->s, t, KN_EXIT, 0);
	if (step.action == KN_RETRY) {
		kn_merge_retry(&w->m, t);
		wr->want[0].len = wr->want[1].len = 0;
		(void)kn_sched_event(&w->s, t, KN_DEADLINE, INT64_MAX / 2);
		(void)kn_sched_prepare(&w->s, t);
		(void)kn_sched_event(&w->s, t, KN_START, 0);
		return false;
	}
	if (kn_merge_result(&w->m, t) < 0)
		w->wrong = "kn_merge_result";
	return true;
}

static void
world_run(struct world *w)
{
	uint64_t next = 1, live = 0;

	while ((next <= TASKS || live > 0) && w->wrong == NULL) {
		uint64_t seq;

		if (next <= TASKS && (live == 0 || rnd_below(&w->rnd, 4) == 0)) {
			w->running[next] = task_begin(w, next);
			next++;
			live++;
		}
		seq = 1 + rnd_below(&w->rnd, (unsigned)next - 1);
		if (w->running[seq] == NULL)
			continue;
		if (rnd_below(&w->rnd, 6) > 0) {
			task_write(w, w->running[seq]);
		} else if (task_end(w, w->running[seq])) {
			w->running[seq] = NULL;
			live--;
		}
		if (rnd_below(&w->rnd, 2) == 0 && kn_merge_pump(&w->m) < 0)
			w->wrong = "kn_merge_pump";
	}
	for (unsigned i = 0; i < 1000000 && !kn_merge_empty(&w->m) && w->wrong == NULL; i++)
		if (kn_merge_pump(&w->m) < 0)
			w->wrong = "kn_merge_pump at the end";
}

static void
world_check(struct world *w)
{
	if (!kn_merge_empty(&w->m))
		w->wrong = "it does not end";
	if (w->m.memory != 0 || w->m.spill_live != 0)
		w->wrong = "the counts of what is held do not go back to 0";
	for (uint64_t seq = 1; seq <= TASKS; seq++) {
		struct written *t = &w->tasks[seq];

		if (!t->ended)
			w->wrong = "a task was not printed";
		for (unsigned i = 0; i < 2; i++)
			if (t->got[i].len != t->want[i].len ||
			    (t->got[i].len > 0 &&
				memcmp(t->got[i].data, t->want[i].data, t->got[i].len) != 0))
				w->wrong = "other bytes came out than went in";
	}
}

static const char *
world_one(uint64_t seed, enum knee_order order, bool whole)
{
	static struct world w;
	const struct knee_term_step step = { 9, 0 };
	const struct kn_rules rules = {
		.attempts = seed % 3 == 0 ? 2 : 1, .backoff_ns = 1, .term_seq = &step, .nterm_seq = 1
	};
	const struct kn_merge_host host = { .emit = on_emit, .printed = on_printed, .self = &w };

	w = (struct world){ .rnd = { seed * 2 + 1 }, .order = order, .whole = whole };
	(void)kn_sched_init(&w.s, &rules);
	if (kn_merge_init(&w.m, order, "/tmp", 1 + rnd_below(&w.rnd, 100000), &w.s, &host) < 0)
		return "kn_merge_init";
	w.m.whole = whole;
	world_run(&w);
	if (w.wrong == NULL)
		world_check(&w);
	for (unsigned i = 0; i <= TASKS; i++)
		for (unsigned k = 0; k < 2; k++) {
			kn_buf_done(&w.tasks[i].want[k]);
			kn_buf_done(&w.tasks[i].got[k]);
		}
	kn_merge_done(&w.m);
	kn_sched_done(&w.s);
	return w.wrong;
}

static void
test_order(enum knee_order order, bool whole, const char *name)
{
	uint64_t seed = rnd_seed();

	for (unsigned i = 0; i < 60; i++, seed++) {
		const char *wrong = world_one(seed, order, whole);

		if (wrong != NULL) {
			ok(false, "%s, seed %" PRIu64 ": %s", name, seed, wrong);
			return;
		}
	}
	ok(true, "%s: 60 random runs up to seed %" PRIu64, name, seed);
}

static void
test_no_folder(void)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct knee_term_step step = { 9, 0 };
	const struct kn_rules rules = { .attempts = 1, .term_seq = &step, .nterm_seq = 1 };
	const struct kn_merge_host host = { .emit = on_emit, .printed = on_printed, .self = w };
	struct kn_task *first, *second;

	w->rnd.state = 1;
	(void)kn_sched_init(&w->s, &rules);
	(void)kn_merge_init(&w->m, KNEE_ORDER_INPUT, "/no/such/folder", 4, &w->s, &host);
	first = task_begin(w, 1);
	second = task_begin(w, 2);
	is_int(kn_merge_output(&w->m, second, KNEE_STDOUT, "held", 4), -ENOENT, "no folder to spill to");
	ok(strstr(w->m.error, "/no/such/folder") != NULL && strstr(w->m.error, "task 2") != NULL,
	    "the error names the folder and the task: %s", w->m.error);
	(void)first;
	kn_merge_done(&w->m);
	kn_sched_done(&w->s);
	free(w);
}

/* What will not be started is a gap: a run that can be resumed prints nothing behind it, for it comes then. */
static void
test_gap(bool resumable)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct knee_term_step step = { 9, 0 };
	const struct kn_rules rules = { .attempts = 1, .term_seq = &step, .nterm_seq = 1 };
	const struct kn_merge_host host = { .emit = on_emit, .printed = on_printed, .self = w };
	struct kn_task *t[4];

	w->rnd.state = 1;
	(void)kn_sched_init(&w->s, &rules);
	(void)kn_merge_init(&w->m, KNEE_ORDER_INPUT, "/tmp", 1000, &w->s, &host);
	w->m.resumable = resumable;
	for (uint64_t seq = 1; seq < 4; seq++)
		t[seq] = task_begin(w, seq);
	for (uint64_t seq = 1; seq < 4; seq += 2) {
		(void)kn_sched_event(&w->s, t[seq], KN_EXIT, 0);
		(void)kn_merge_result(&w->m, t[seq]);
	}
	(void)kn_sched_event(&w->s, t[2], KN_RETURN, 0);
	(void)kn_sched_event(&w->s, t[2], KN_CANCEL, 0);
	kn_merge_forget(&w->m, t[2]);
	while (!kn_merge_empty(&w->m))
		(void)kn_merge_pump(&w->m);
	ok(w->tasks[1].ended, "what is before the gap is printed");
	ok(w->tasks[3].ended == !resumable, "what is behind it%s", resumable ? " is not" : ", too");
	is_str(w->wrong != NULL ? w->wrong : "nothing", "nothing", "is wrong");
	kn_merge_done(&w->m);
	kn_sched_done(&w->s);
	free(w);
}

int
main(void)
{
	test_gap(true);
	test_gap(false);
	test_order(KNEE_ORDER_INPUT, false, "input order");
	test_order(KNEE_ORDER_DONE, false, "order of ending");
	test_order(KNEE_ORDER_LINES, false, "whole lines");
	test_order(KNEE_ORDER_PIECES, false, "pieces");
	test_order(KNEE_ORDER_INPUT, true, "input order, whole tasks");
	test_order(KNEE_ORDER_DONE, true, "order of ending, whole tasks");
	test_no_folder();
	return done_testing();
}

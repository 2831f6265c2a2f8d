/* SPDX-License-Identifier: MIT */
/* A run of asynchronous work that is seen through the public interface: its inputs, starts, output and ends. */
#ifndef ASYNC_WORLD_H
#define ASYNC_WORLD_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <knee_program.h>

#include "tap.h"

#define MS ((int64_t)1000000)
#define MOST 4096 /* attempts that go on at the same time */

/* A run whose inputs are the numbers 1 .. count, and what is seen of it. */
struct world {
	knee *k;
	struct knee_options o;
	struct knee_sink sinks[2];
	uint64_t count, given;      /* of the source */
	char text[24];
	const char *arg;

	/* What was started and not completed, oldest first. */
	struct {
		knee_task task;
		uint64_t n;
		unsigned attempt;
	} going[MOST];
	size_t ngoing;
	unsigned attempts_of[256];  /* of the low inputs */
	unsigned starts, cancels;
	knee_task cancelled;

	/* What came out. */
	char out[65536];
	size_t nout, own_from;
	unsigned results, retries, peak;
	uint64_t last_seq;
	struct knee_result last;
	uint64_t sum;
	bool wrong_order, wrong_data, failed;
	char command[64];
	int (*at_start)(struct world *w, knee_task task, uint64_t n);
	int (*at_result)(struct world *w, const struct knee_event *ev);
};

static inline int
world_next(void *self, struct knee_input *ret)
{
	struct world *w = self;

	if (w->given == w->count)
		return 0;
	(void)snprintf(w->text, sizeof(w->text), "%llu", (unsigned long long)++w->given);
	w->arg = w->text;
	*ret = (struct knee_input){ .args = &w->arg, .nargs = 1, .data = w->sinks + w->given };
	return 1;
}

static inline int
world_start(void *self, knee_task task, const struct knee_input *input)
{
	struct world *w = self;
	uint64_t n = strtoull(input->args[0], NULL, 10);

	w->starts++;
	if (input->data != w->sinks + n)
		w->wrong_data = true;
	if (n < 256)
		w->attempts_of[n]++;
	if (w->at_start != NULL)
		return w->at_start(w, task, n);
	if (w->ngoing == MOST) {
		w->failed = true;
		return -EAGAIN;
	}
	w->going[w->ngoing].task = task;
	w->going[w->ngoing].attempt = n < 256 ? w->attempts_of[n] : 1;
	w->going[w->ngoing++].n = n;
	if (w->ngoing > w->peak)
		w->peak = (unsigned)w->ngoing;
	return 0;
}

static inline void
world_cancel(void *self, knee_task task)
{
	struct world *w = self;

	w->cancels++;
	w->cancelled = task;
}

/* A task's output is its own, or the beginning of that. */
static inline void
own_check(struct world *w, uint64_t seq)
{
	char line[40];
	size_t n = (size_t)snprintf(line, sizeof(line), "%llu ", (unsigned long long)seq);
	size_t got = w->nout - w->own_from;

	if (got > 0 && w->out[w->own_from] != 'l' &&
	    (got > n || memcmp(w->out + w->own_from, line, got) != 0))
		w->wrong_data = true;
}

static inline int
on_text(void *self, const struct knee_event *ev)
{
	struct world *w = self;

	if (ev->kind == KNEE_EVENT_START)
		w->own_from = w->nout;
	if (ev->kind == KNEE_EVENT_OUTPUT && w->nout + ev->size < sizeof(w->out)) {
		memcpy(w->out + w->nout, ev->data, ev->size);
		w->nout += ev->size;
	}
	if (ev->kind == KNEE_EVENT_RESULT) {
		w->wrong_order = w->wrong_order || ev->seq <= w->last_seq;
		w->last_seq = ev->seq;
		if (ev->input_data != w->sinks + ev->seq)
			w->wrong_data = true;
		own_check(w, ev->seq);
	}
	return 0;
}

static inline int
on_live(void *self, const struct knee_event *ev)
{
	struct world *w = self;

	if (ev->kind == KNEE_EVENT_RETRY)
		w->retries++;
	if (ev->kind != KNEE_EVENT_RESULT)
		return 0;
	w->results++;
	w->last = *ev->result;
	w->sum += ev->seq;
	(void)snprintf(w->command, sizeof(w->command), "%s", ev->command != NULL ? ev->command : "");
	return w->at_result != NULL ? w->at_result(w, ev) : 0;
}

/* Inputs 1 .. count, so many at once; count 0: they are submitted. */
static inline void
world_init(struct world *w, uint64_t count, unsigned at_once)
{
	static const struct knee_term_step quick_steps[] = { { SIGTERM, MS }, { SIGKILL, MS } };

	*w = (struct world){ .count = count };
	w->sinks[0] = (struct knee_sink){ .self = w, .text = 1, .event = on_text };
	w->sinks[1] = (struct knee_sink){ .self = w, .event = on_live };
	w->o = (struct knee_options){
		.source = { .self = w, .next = count > 0 ? world_next : NULL },
		.sinks = w->sinks,
		.nsinks = 2,
		.executor = KNEE_EXEC_ASYNC,
		.async = { .self = w, .start = world_start, .cancel = world_cancel },
		.limit = at_once,
		.first_stdin = -1,
		.term_seq = quick_steps,
		.nterm_seq = 2,
	};
}

static inline void
world_open(struct world *w)
{
	char err[200] = "";

	if (knee_new(&w->o, &w->k, err, sizeof(err)) < 0) {
		fail("knee_new: %s", err);
		exit(done_testing());
	}
}

/* "1 2 3 ..." */
static inline bool
counts_to(const struct world *w, uint64_t count)
{
	char line[40];
	size_t at = 0;

	for (uint64_t i = 1; i <= count; i++) {
		size_t n = (size_t)snprintf(line, sizeof(line), "%llu ", (unsigned long long)i);

		if (at + n > w->nout || memcmp(w->out + at, line, n) != 0)
			return false;
		at += n;
	}
	return at == w->nout;
}

#endif

/* SPDX-License-Identifier: MIT */
#include "batch_auto.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "group.h"

/* More commands than that are in flight only where nobody minds a result that is not learnt from. */
#define GIVEN 4096

struct batch_auto {
	struct group group;
	unsigned slots;
	int fd;       /* readable: a command may be given out again */
	bool waiting; /* a command was asked for in vain: fd is to tell */
	uint64_t ngiven, nresults;
	/* What was given out; tasks are numbered as they are, from 1. */
	struct {
		uint64_t seq;
		unsigned inputs;
	} given[GIVEN];
};

int
batch_auto_new(unsigned slots, struct batch_auto **ret)
{
	struct batch_auto *a = calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return -ENOMEM;
	a->slots = slots > 0 ? slots : 1;
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->fd < 0) {
		err = -errno;
		free(a);
		return err;
	}
	*ret = a;
	return 0;
}

void
batch_auto_free(struct batch_auto *a)
{
	if (a == NULL)
		return;
	close(a->fd);
	free(a);
}

/* ---- giving out ------------------------------------------------------------- */

/* As many as run, and a few so that no slot waits for us. */
static bool
is_enough(const struct batch_auto *a)
{
	return a->ngiven - a->nresults > (uint64_t)a->slots + a->slots / 4;
}

static void
wake(struct batch_auto *a)
{
	uint64_t one = 1;

	if (!a->waiting || is_enough(a))
		return;
	a->waiting = false;
	(void)!write(a->fd, &one, sizeof(one));
}

bool
batch_auto_may_give(struct batch_auto *a)
{
	uint64_t count;

	(void)!read(a->fd, &count, sizeof(count));
	a->waiting = is_enough(a);
	return !a->waiting;
}

int
batch_auto_fd(const struct batch_auto *a)
{
	return a->fd;
}

size_t
batch_auto_ahead(const struct batch_auto *a)
{
	size_t ahead;

	if (__builtin_mul_overflow((size_t)2 * a->slots, group_size_most(&a->group), &ahead))
		return SIZE_MAX;
	return ahead < SIZE_MAX ? ahead + 1 : ahead;
}

size_t
batch_auto_size(struct batch_auto *a, uint64_t left, size_t most)
{
	return group_size(&a->group, left, a->slots, most < UINT_MAX ? (unsigned)most : UINT_MAX);
}

void
batch_auto_given(struct batch_auto *a, size_t inputs)
{
	uint64_t seq = ++a->ngiven;

	a->given[seq % GIVEN].seq = seq;
	a->given[seq % GIVEN].inputs = (unsigned)inputs;
}

/* ---- the sink ----------------------------------------------------------------- */

static void
take_result(struct batch_auto *a, const struct knee_event *e)
{
	a->nresults++;
	/* One that was killed in the middle says nothing of what its inputs cost. */
	if (e->result->outcome == KNEE_EXITED && a->given[e->seq % GIVEN].seq == e->seq)
		group_result(&a->group, a->given[e->seq % GIVEN].inputs, e->result->runtime_ns);
	wake(a);
}

static void
take_limit(struct batch_auto *a, unsigned limit)
{
	a->slots = limit > 0 ? limit : 1;
	wake(a);
}

static int
event(void *self, const struct knee_event *e)
{
	switch (e->kind) {
	case KNEE_EVENT_RESULT:
		take_result(self, e);
		break;
	case KNEE_EVENT_LIMIT:
		take_limit(self, e->limit);
		break;
	case KNEE_EVENT_START:
	case KNEE_EVENT_OUTPUT:
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_NOTE:
	case KNEE_EVENT_END:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int64_t
tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	(void)now_ns;
	take_limit(self, stats->limit);
	return INT64_MAX;
}

struct knee_sink
batch_auto_sink(struct batch_auto *a)
{
	return (struct knee_sink){ .self = a, .event = event, .tick = tick };
}

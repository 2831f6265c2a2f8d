/* SPDX-License-Identifier: MIT */
/* --onall and --nonall: an input is a task for each machine, one behind the other, so that the output has
 * them side by side. Which machine, the input's data says: its number + 1. */
#include <stdint.h>

#include "machines.h"

static int
source_next(void *self, struct knee_input *ret)
{
	struct each_host *e = self;
	int got;

	if (e->at == e->n) {
		got = e->inner.next(e->inner.self, &e->input);
		if (got != 1)
			return got;
		e->at = 0;
	}
	*ret = e->input;
	ret->data = (void *)(uintptr_t)++e->at; // NOLINT(performance-no-int-to-ptr): a number, never followed
	return 1;
}

static int
source_fd(void *self)
{
	struct each_host *e = self;

	return e->inner.fd(e->inner.self);
}

struct knee_source
each_host_source(struct each_host *e, const struct knee_source *inner, size_t n)
{
	*e = (struct each_host){ .inner = *inner, .n = n, .at = n };
	return (struct knee_source){ .self = e, .next = source_next, .fd = source_fd };
}

size_t
each_host_pin(void *input_data)
{
	return input_data != NULL ? (size_t)(uintptr_t)input_data - 1 : SIZE_MAX;
}

/* ---- --tag --------------------------------------------------------------------------- */

static int
tag_event(void *self, const struct knee_event *e)
{
	struct each_host_tag *t = self;
	struct knee_event tagged = *e;

	if (e->input_data != NULL)
		tagged.tag = machines_name(t->machines, e->input_data);
	return t->inner.event(t->inner.self, &tagged);
}

static int
tag_flush(void *self)
{
	struct each_host_tag *t = self;

	return t->inner.flush(t->inner.self);
}

static int
tag_fd(void *self)
{
	struct each_host_tag *t = self;

	return t->inner.fd(t->inner.self);
}

static int64_t
tag_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct each_host_tag *t = self;

	return t->inner.tick(t->inner.self, stats, now_ns);
}

struct knee_sink
each_host_tag_sink(struct each_host_tag *t, const struct knee_sink *inner)
{
	struct knee_sink sink = *inner;

	t->inner = *inner;
	sink.self = t;
	sink.event = tag_event;
	sink.flush = inner->flush != NULL ? tag_flush : NULL;
	sink.fd = inner->fd != NULL ? tag_fd : NULL;
	sink.tick = inner->tick != NULL ? tag_tick : NULL;
	return sink;
}

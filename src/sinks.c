/* SPDX-License-Identifier: MIT */
/* Events on their way out of the run: to live sinks at once, to text sinks in the order of printing. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "run_parts.h"

/* Text sinks are flushed at least after this much output. */
#define FLUSH_BYTES (128 * 1024)

/* And what an event without output may make a sink write: a colour, a newline. */
#define EVENT_BYTES 16

/* ---- sinks --------------------------------------------------------------- */

int
kn_sinks_live(struct knee *k, const struct knee_event *ev)
{
	int err;

	for (size_t i = 0; i < k->options.nsinks; i++) {
		const struct knee_sink *sink = k->sinks[i].sink;

		if (sink->text || sink->event == NULL)
			continue;
		err = sink->event(sink->self, ev);
		if (err < 0)
			return kn_run_fail(k, err, "%s", "");
	}
	return 0;
}

struct held_task {
	struct kn_merge *merge;
	const struct kn_task *task;
};

/* knee_event.read */
static int
held_read(void *self, uint64_t n, enum knee_stream *stream, const char **data, size_t *size)
{
	struct held_task *h = self;

	return kn_merge_read(h->merge, h->task, n, stream, data, size);
}

int
kn_sinks_task(struct knee *k, enum knee_event_kind kind, const struct kn_task *t)
{
	if (k->nlive == 0)
		return 0;

	struct held_task held = { .merge = &k->merge, .task = t };
	bool waits = kind == KNEE_EVENT_RESULT && kn_merge_waits(&k->merge, t);
	const struct knee_event ev = {
		.kind = kind,
		.seq = t->seq,
		.slot = t->slot,
		.command = t->command,
		.tag = t->tag,
		.result = &t->result,
		.args = t->args,
		.nargs = t->nargs,
		.input_data = t->data,
		.host = t->host,
		.part = t->part.data,
		.part_size = kind == KNEE_EVENT_RESULT ? t->part.len : 0,
		.read = waits ? held_read : NULL,
		.read_self = &held,
	};

	return kn_sinks_live(k, &ev);
}

int
kn_sinks_note(struct knee *k, enum knee_event_kind kind, const char *format, ...)
{
	struct knee_event ev = { .kind = kind, .limit = k->limit };
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ev.reason = text;
	return kn_sinks_live(k, &ev);
}

static int
sink_writable(struct kn_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	return 0; /* the turn flushes */
}

/* Flush one sink; wait for its descriptor when its reader is slow. 0, -EAGAIN or -errno. */
static int
sink_flush(struct knee *k, struct kn_sink_state *s)
{
	const struct knee_sink *sink = s->sink;
	int err = sink->flush != NULL ? sink->flush(sink->self) : 0;
	int fd = err == -EAGAIN ? sink->fd(sink->self) : -1;
	int watch_err = 0;

	s->flush_ns = err > 0 ? k->loop.now_ns + err : INT64_MAX;
	if (err > 0)
		err = 0;
	/* A sink with two descriptors may wait now for the one and now for the other. */
	if (fd != s->watch.fd)
		kn_loop_remove(&k->loop, &s->watch);
	if (fd >= 0 && s->watch.fd < 0)
		watch_err = kn_loop_add(&k->loop, &s->watch, fd, EPOLLOUT);
	if (watch_err < 0)
		return kn_run_fail(k, watch_err, "waiting for a reader: %s", strerror(-watch_err));
	return err == 0 || err == -EAGAIN ? err : kn_run_fail(k, err, "%s", "");
}

/* Those of one sort; -EAGAIN when the reader of one is slow. */
static int
flush_sort(struct knee *k, bool text)
{
	int slow = 0, err;

	for (size_t i = 0; i < k->options.nsinks; i++) {
		if ((k->sinks[i].sink->text != 0) != text)
			continue;
		err = sink_flush(k, &k->sinks[i]);
		if (err == -EAGAIN)
			slow = -EAGAIN;
		else if (err < 0)
			return err;
	}
	return slow;
}

int
kn_sinks_flush(struct knee *k)
{
	k->unflushed_bytes = 0;
	return flush_sort(k, true);
}

int
kn_sinks_flush_live(struct knee *k)
{
	return flush_sort(k, false);
}

/* What a sink may add to an event's data when it puts the tag before each line. */
static uint64_t
tag_bytes(const struct knee_event *ev)
{
	const char *at = ev->data, *end = ev->size > 0 ? at + ev->size : at;
	uint64_t lines = 1;

	while (at != end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		lines++;
		at++;
	}
	return lines * (strlen(ev->tag) + 1);
}

/* kn_merge_host.emit */
int
kn_sinks_text(void *self, const struct knee_event *ev)
{
	struct knee *k = self;
	int err;

	if (k->err != 0) /* the reader is gone, or the order cannot be kept */
		return 0;
	for (size_t i = 0; i < k->options.nsinks; i++) {
		const struct knee_sink *sink = k->sinks[i].sink;

		if (!sink->text)
			continue;
		err = sink->event(sink->self, ev);
		if (err < 0)
			return kn_run_fail(k, err, "%s", "");
	}
	k->unflushed_bytes += ev->size + EVENT_BYTES + (ev->command != NULL ? strlen(ev->command) : 0);
	if (ev->tag != NULL)
		k->unflushed_bytes += tag_bytes(ev);
	return k->unflushed_bytes >= FLUSH_BYTES ? kn_sinks_flush(k) : 0;
}

void
kn_sinks_tick(struct knee *k)
{
	struct knee_stats stats;
	bool filled = false;

	for (size_t i = 0; i < k->options.nsinks; i++) {
		struct kn_sink_state *s = &k->sinks[i];

		if (s->sink->tick == NULL || (s->due_ns > k->loop.now_ns && !k->woken))
			continue;
		if (!filled)
			kn_run_stats(k, &stats);
		filled = true;
		s->due_ns = s->sink->tick(s->sink->self, &stats, k->loop.now_ns);
	}
	k->held = k->held && !k->woken;
	k->woken = false;
}

/* ---- beginning and end --------------------------------------------------------- */

int
kn_sinks_init(struct knee *k)
{
	size_t n = k->options.nsinks;

	k->sinks = calloc(n > 0 ? n : 1, sizeof(*k->sinks));
	if (k->sinks == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		k->sinks[i] = (struct kn_sink_state){ .watch = { .fd = -1, .fn = sink_writable },
			.sink = &k->options.sinks[i],
			.due_ns = k->options.sinks[i].tick != NULL ? 0 : INT64_MAX,
			.flush_ns = INT64_MAX };
	for (size_t i = 0; i < n; i++)
		k->nlive += !k->options.sinks[i].text && k->options.sinks[i].event != NULL;
	return 0;
}

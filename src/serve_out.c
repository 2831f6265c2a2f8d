/* SPDX-License-Identifier: MIT */
/*
 * What goes to the coordinator. Frames are put together in s->send, and written as the connection takes them:
 * what does not fit goes on when there is room, and only when much is left do the tasks wait, too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "serve.h"
#include "sys/clock.h"
#include "sys/loop.h"

/* Of one OUT or ERR. */
#define PIECE_BYTES ((size_t)128 * 1024)
/* Left unwritten: above it the readers of tasks' output wait. */
#define HIGH_BYTES ((size_t)512 * 1024)

/* Tasks that end within this time are asked for ahead: more than a round trip takes. */
#define AHEAD_NS ((double)50e6)
#define AHEAD_MOST 4096
/* Long ones may be so long together. */
#define AHEAD_BYTES ((double)(32 * 1024 * 1024))
/* Of tasks that take so long none is: at the end another machine may have it sooner. */
#define LONG_NS ((double)1e9)
/* How much a task counts in the mean of their lengths. */
#define LENGTH_SHARE 16
/* Of a NOTE: what is said of a name is not as long as that may be. */
#define NOTE_BYTES 1024

bool
kn_serve_blocked(const struct kn_serve *s)
{
	return s->send.len - s->sent > HIGH_BYTES;
}

int
kn_serve_write(struct kn_serve *s)
{
	while (s->sent < s->send.len) {
		ssize_t n = write(s->out, s->send.data + s->sent, s->send.len - s->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return kn_serve_fail(s, -errno, "the coordinator is gone: %s", strerror(errno));
		s->sent += (size_t)n;
	}
	if (s->sent == s->send.len || s->sent > HIGH_BYTES) {
		kn_buf_drop(&s->send, s->sent);
		s->sent = 0;
	}
	return 0;
}

/* ---- credit ------------------------------------------------------------------ */

static uint32_t
ahead(const struct kn_serve *s, uint32_t limit)
{
	double n;

	if (s->length_ns == 0)
		return 1;
	if (s->length_ns >= LONG_NS)
		return 0;
	n = (double)limit * AHEAD_NS / s->length_ns;
	if (n * (double)s->longest > AHEAD_BYTES)
		n = AHEAD_BYTES / (double)s->longest;
	return n < 1 ? 1 : n > AHEAD_MOST ? AHEAD_MOST : (uint32_t)n;
}

/* Is what is wanted so much another number that it is worth a frame? */
static bool
differs(uint32_t told, uint32_t want)
{
	uint32_t by = told > want ? told - want : want - told;

	return by > told / 8 || (by != 0 && want < 8);
}

static int
credit_put(struct kn_serve *s, uint32_t limit, uint32_t want)
{
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_CREDIT, &at);

	if (err == 0)
		err = kn_put_u32(&s->send, limit);
	if (err == 0)
		err = kn_put_u32(&s->send, want);
	if (err == 0)
		err = kn_put_text(&s->send, s->why);
	if (err == 0)
		err = kn_frame_end(&s->send, at);
	if (err < 0)
		return err;
	s->limit = limit;
	if (limit > s->limit_most)
		s->limit_most = limit;
	s->want = want;
	memcpy(s->why_told, s->why, sizeof(s->why));
	return 0;
}

static int
credit(struct kn_serve *s)
{
	struct knee_stats stats;
	uint32_t limit, want;

	kn_run_stats(s->k, &stats);
	limit = s->draining || s->closed ? 0 : stats.limit;
	want = limit > 0 ? limit + ahead(s, limit) : 0;
	if (want > KN_SERVE_TASKS_MOST)
		want = KN_SERVE_TASKS_MOST;
	/* After CLOSE nothing more will come anyway. */
	if (s->closed && !s->draining)
		return 0;
	if (limit == s->limit && !differs(s->want, want) && strcmp(s->why, s->why_told) == 0)
		return 0;
	return credit_put(s, limit, want);
}

int
kn_serve_ready(struct kn_serve *s)
{
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_READY, &at);

	if (err == 0)
		err = kn_put_u32(&s->send, s->dialled);
	if (err == 0)
		err = kn_frame_end(&s->send, at);
	return err == 0 ? credit(s) : err;
}

int
kn_serve_pong(struct kn_serve *s, uint64_t stamp)
{
	s->pong = kn_serve_blocked(s);
	s->pong_stamp = stamp;
	return s->pong ? 0 : kn_frame_u64(&s->send, KN_FRAME_PONG, stamp);
}

/* ---- what happens to tasks ----------------------------------------------------- */

int
kn_serve_result(struct kn_serve *s, struct kn_serve_task *t, const struct knee_result *r)
{
	double length_ns = (double)r->runtime_ns;
	size_t at;
	int err;

	kn_serve_files_clean(s, t);
	/* Nothing but the end of this agent cancels what runs: that says nothing of the task. */
	if (t->began && r->outcome == KNEE_CANCELLED) {
		err = kn_frame_u64(&s->send, KN_FRAME_RETURNED, t->id);
		if (err == 0)
			kn_serve_forget(s, t);
		return err;
	}
	err = kn_frame_begin(&s->send, KN_FRAME_RESULT, &at);
	if (err == 0)
		err = kn_put_u64(&s->send, t->id);
	if (err == 0)
		err = kn_put_result(&s->send, r);
	if (err == 0)
		err = kn_put_u32(&s->send, t->waits);
	if (err == 0)
		err = kn_frame_end(&s->send, at);
	if (err < 0)
		return err;
	if (r->outcome == KNEE_EXITED)
		s->length_ns += s->length_ns == 0 ? length_ns : (length_ns - s->length_ns) / LENGTH_SHARE;
	kn_serve_forget(s, t);
	return 0;
}

static int
output(struct kn_serve *s, uint64_t id, const struct knee_event *ev)
{
	enum kn_frame_kind kind = ev->stream == KNEE_STDERR ? KN_FRAME_ERR : KN_FRAME_OUT;
	int err = 0;

	for (size_t at = 0; at < ev->size && err == 0;) {
		size_t n = ev->size - at < PIECE_BYTES ? ev->size - at : PIECE_BYTES;

		err = kn_frame_bytes(&s->send, kind, &id, ev->data + at, n);
		at += n;
	}
	return err;
}

/* Its files come yet: they are no part of its time. */
static int
ended(struct kn_serve *s, const struct kn_serve_task *t, const struct knee_result *r)
{
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_ENDED, &at);

	if (err == 0)
		err = kn_put_u64(&s->send, t->id);
	if (err == 0)
		err = kn_put_u64(&s->send, (uint64_t)r->runtime_ns);
	return err == 0 ? kn_frame_end(&s->send, at) : err;
}

/* What would be printed: knee_sink.event. */
static int
on_text(void *self, const struct knee_event *ev)
{
	struct kn_serve *s = self;
	struct kn_serve_task *t = ev->input_data;

	if (ev->kind == KNEE_EVENT_OUTPUT)
		return output(s, t->id, ev);
	if (ev->kind != KNEE_EVENT_RESULT)
		return 0;
	return kn_serve_files_back(s, t, ev->result) ? ended(s, t, ev->result) :
						       kn_serve_result(s, t, ev->result);
}

static int
began(struct kn_serve *s, const struct knee_event *ev)
{
	struct kn_serve_task *t = ev->input_data;
	int64_t ago_ns = kn_clock_time_ns() - ev->result->start_time_ns;
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_BEGAN, &at);

	t->began = true;
	if (err == 0)
		err = kn_put_u64(&s->send, t->id);
	if (err == 0)
		err = kn_put_u64(&s->send, ago_ns > 0 ? (uint64_t)ago_ns : 0);
	return err == 0 ? kn_frame_end(&s->send, at) : err;
}

int
kn_serve_note(struct kn_serve *s, uint64_t id, const char *text)
{
	char cut[NOTE_BYTES];
	size_t at;
	int err = kn_frame_begin(&s->send, KN_FRAME_NOTE, &at);

	(void)snprintf(cut, sizeof(cut), "%s", text);
	if (err == 0)
		err = kn_put_u64(&s->send, id);
	if (err == 0)
		err = kn_put_text(&s->send, cut);
	return err == 0 ? kn_frame_end(&s->send, at) : err;
}

/* What happens now: knee_sink.event. */
static int
on_live(void *self, const struct knee_event *ev)
{
	struct kn_serve *s = self;

	switch (ev->kind) {
	case KNEE_EVENT_START:
		return began(s, ev);
	case KNEE_EVENT_NOTE:
		return kn_serve_note(s, 0, ev->reason);
	case KNEE_EVENT_LIMIT:
		(void)snprintf(s->why, sizeof(s->why), "%s", ev->reason);
		return 0;
	case KNEE_EVENT_OUTPUT:
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_RESULT:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENT_END:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

/* ---- writing ------------------------------------------------------------------- */

/* There is room again: the turn flushes. */
static int
writable(struct kn_watch *w, uint32_t events)
{
	struct kn_serve *s = (struct kn_serve *)(void *)((char *)w - offsetof(struct kn_serve, wake));

	(void)events;
	kn_loop_remove(&s->k->loop, w);
	return 0;
}

static int
flush(void *self)
{
	struct kn_serve *s = self;
	int err = kn_serve_files_pump(s);

	if (err == 0)
		err = credit(s);
	if (err == 0 && s->pong)
		err = kn_serve_pong(s, s->pong_stamp);
	if (err == 0)
		err = kn_serve_write(s);
	if (err < 0)
		return err;
	if (kn_serve_blocked(s))
		return -EAGAIN;
	if (s->sent < s->send.len && s->wake.fd < 0)
		return kn_loop_add(&s->k->loop, &s->wake, s->wake_fd, EPOLLOUT);
	/* There is more: in the next turn. */
	return s->sent == s->send.len && s->back != NULL ? 1 : 0;
}

static int
sink_fd(void *self)
{
	return ((struct kn_serve *)self)->out;
}

void
kn_serve_sinks(struct kn_serve *s)
{
	s->wake = (struct kn_watch){ .fd = -1, .fn = writable };
	s->sinks[0] =
	    (struct knee_sink){ .self = s, .text = 1, .event = on_text, .flush = flush, .fd = sink_fd };
	s->sinks[1] = (struct knee_sink){ .self = s, .event = on_live };
}

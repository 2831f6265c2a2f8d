/* SPDX-License-Identifier: MIT */
#include "call.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A parcel is posted when it has so many bytes. */
#define PARCEL_BYTES (64 * 1024)
/* No more bytes of a call may be on their way: what a pipe of a process holds, too. */
#define UNREAD_BYTES ((size_t)1 << 20)

int
kn_thread_create(pthread_t *ret, void *(*main)(void *self), void *self)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	sigset_t most, old;
	int err;

	(void)sigfillset(&most);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		(void)sigdelset(&most, faults[i]);
	(void)pthread_sigmask(SIG_SETMASK, &most, &old);
	err = -pthread_create(ret, NULL, main, self);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int
kn_desk_init(struct kn_desk *d, struct kn_loop *loop)
{
	int err;

	err = -pthread_mutex_init(&d->lock, NULL);
	if (err < 0)
		return err;
	err = -pthread_cond_init(&d->room, NULL);
	if (err < 0) {
		(void)pthread_mutex_destroy(&d->lock);
		return err;
	}
	return kn_mailbox_init(&d->mailbox, loop);
}

void
kn_desk_done(struct kn_desk *d)
{
	kn_mailbox_done(&d->mailbox);
	(void)pthread_cond_destroy(&d->room);
	(void)pthread_mutex_destroy(&d->lock);
}

/* ---- the function's side --------------------------------------------------- */

static struct kn_call *
call_of(struct knee_call *face)
{
	return (struct kn_call *)(void *)face;
}

/* Post what was written so far, when there is room for it. 0, -ECANCELED or -ENOMEM. */
static int
out_post(struct kn_call *c)
{
	struct kn_parcel *p = calloc(1, sizeof(*p));
	size_t n = c->out.len;
	int err = 0;

	if (p == NULL)
		return -ENOMEM;
	*p = (struct kn_parcel){ .kind = KN_PARCEL_OUTPUT, .call = c, .chunks = c->out };
	(void)pthread_mutex_lock(&c->desk->lock);
	while (c->unread > 0 && c->unread + n > UNREAD_BYTES && !c->dropped && !atomic_load(&c->cancelled))
		(void)pthread_cond_wait(&c->desk->room, &c->desk->lock);
	if (c->dropped || (atomic_load(&c->cancelled) && c->unread + n > UNREAD_BYTES)) {
		err = -ECANCELED;
	} else {
		c->unread += n;
		c->out = (struct kn_buf){ 0 };
		kn_mailbox_post(&c->desk->mailbox, &p->letter);
	}
	(void)pthread_mutex_unlock(&c->desk->lock);
	if (err < 0)
		free(p);
	return err;
}

/* Add to the last chunk when it is of the same stream: many write a few bytes at a time. */
static int
out_add(struct kn_call *c, enum knee_stream stream, const char *data, size_t n)
{
	struct kn_chunk head = { .size = (uint32_t)n, .stream = (uint32_t)stream };
	struct kn_buf *b = &c->out;
	int err = kn_buf_reserve(b, sizeof(head) + n);

	if (err < 0)
		return err;
	if (b->len > 0)
		memcpy(&head, b->data + c->last, sizeof(head));
	if (b->len > 0 && head.stream == (uint32_t)stream) {
		head.size += (uint32_t)n;
		memcpy(b->data + c->last, &head, sizeof(head));
	} else {
		head = (struct kn_chunk){ .size = (uint32_t)n, .stream = (uint32_t)stream };
		c->last = b->len;
		(void)kn_buf_add(b, &head, sizeof(head));
	}
	return kn_buf_add(b, data, n);
}

static int
face_write(struct knee_call *face, enum knee_stream stream, const void *bytes, size_t size)
{
	struct kn_call *c = call_of(face);
	const char *at = bytes;
	int err = 0;

	while (size > 0 && err == 0) {
		size_t n = size < PARCEL_BYTES ? size : PARCEL_BYTES;

		if (atomic_load_explicit(&c->cancelled, memory_order_relaxed))
			return -ECANCELED;
		err = out_add(c, stream, at, n);
		at += n;
		size -= n;
		if (err == 0 && c->out.len >= PARCEL_BYTES)
			err = out_post(c);
	}
	return err;
}

static int
face_part(struct knee_call *face, const void *bytes, size_t size)
{
	struct kn_call *c = call_of(face);

	c->part.len = 0;
	return kn_buf_add(&c->part, bytes, size);
}

static int
face_cancelled(const struct knee_call *face)
{
	const struct kn_call *c = (const struct kn_call *)(const void *)face;

	return atomic_load_explicit(&c->cancelled, memory_order_relaxed);
}

void
kn_call_init(
    struct kn_call *c, struct kn_desk *d, uint64_t seq, unsigned attempt, const struct knee_input *input)
{
	c->face = (struct knee_call){
		.seq = seq,
		.attempt = attempt,
		.args = input->args,
		.nargs = input->nargs,
		.data = input->data,
		.write = face_write,
		.part = face_part,
		.cancelled = face_cancelled,
	};
	c->desk = d;
	c->begin = (struct kn_parcel){ .kind = KN_PARCEL_BEGIN, .call = c };
	c->end = (struct kn_parcel){ .kind = KN_PARCEL_END, .call = c };
	c->out.len = 0;
	c->part.len = 0;
	atomic_init(&c->cancelled, false);
	c->unread = 0;
	c->dropped = false;
}

void
kn_call_done(struct kn_call *c)
{
	kn_buf_done(&c->out);
	kn_buf_done(&c->part);
}

void
kn_call_begin(struct kn_call *c)
{
	kn_mailbox_post(&c->desk->mailbox, &c->begin.letter);
}

void
kn_call_end(struct kn_call *c)
{
	kn_mailbox_post(&c->desk->mailbox, &c->end.letter);
}

/* ---- the loop's side --------------------------------------------------------- */

void
kn_call_cancel(struct kn_call *c)
{
	(void)pthread_mutex_lock(&c->desk->lock);
	atomic_store(&c->cancelled, true);
	(void)pthread_cond_broadcast(&c->desk->room);
	(void)pthread_mutex_unlock(&c->desk->lock);
}

static void
chunks_read(const struct kn_buf *b,
    void (*read)(void *self, enum knee_stream stream, const char *data, size_t n), void *self)
{
	struct kn_chunk head;

	for (size_t at = 0; at < b->len; at += sizeof(head) + head.size) {
		memcpy(&head, b->data + at, sizeof(head));
		read(self, (enum knee_stream)head.stream, b->data + at + sizeof(head), head.size);
	}
}

void
kn_parcel_free(struct kn_parcel *p)
{
	kn_buf_done(&p->chunks);
	free(p);
}

void
kn_parcel_read(struct kn_parcel *p,
    void (*read)(void *self, enum knee_stream stream, const char *data, size_t n), void *self)
{
	struct kn_call *c = p->call;

	chunks_read(&p->chunks, read, self);
	(void)pthread_mutex_lock(&c->desk->lock);
	c->unread -= p->chunks.len;
	(void)pthread_cond_broadcast(&c->desk->room);
	(void)pthread_mutex_unlock(&c->desk->lock);
	kn_parcel_free(p);
}

void
kn_call_read(struct kn_call *c, void (*read)(void *self, enum knee_stream stream, const char *data, size_t n),
    void *self)
{
	chunks_read(&c->out, read, self);
	c->out.len = 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a function sees of the task that it carries out (struct knee_call), and how its output comes
 * back to the loop: in parcels through a mailbox, of which no more than a bounded number of bytes
 * is on its way. The function's thread waits for room; the loop never does.
 */
#ifndef KN_CALL_H
#define KN_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include <knee_program.h>

#include "../core/held.h"
#include "../sys/mailbox.h"

/* What the calls of one executor share. */
struct kn_desk {
	struct kn_mailbox mailbox;
	pthread_mutex_t lock;       /* of the calls' unread and dropped, and of what the owner guards by it */
	pthread_cond_t room;        /* some call has fewer unread bytes, or was cancelled or dropped */
};

enum kn_parcel_kind { KN_PARCEL_BEGIN, KN_PARCEL_OUTPUT, KN_PARCEL_END };

struct kn_call;

/* BEGIN and END are embedded in their call. */
struct kn_parcel {
	struct kn_letter letter;    /* first */
	enum kn_parcel_kind kind;
	struct kn_call *call;       /* borrowed */
	struct kn_buf chunks;       /* owned; OUTPUT alone: as in core/held.h */
	struct kn_parcel *next;     /* in the loop's list of those that wait until it reads again */
};

/* One attempt. The function's thread owns all of it from its start to its END, but for what the
 * comments say. */
struct kn_call {
	struct knee_call face;      /* first */
	struct kn_desk *desk;       /* borrowed */
	struct kn_parcel begin, end;
	struct kn_buf out;          /* chunks not posted yet */
	size_t last;                /* where the last of them begins; meaningless when there is none */
	struct kn_buf part;
	atomic_bool cancelled;
	size_t unread;              /* bytes posted and not read yet; under the lock */
	bool dropped;               /* nobody waits for it any more: it posts nothing; under the lock */
};

/* Start a thread with all signals blocked but those of its own faults: the rest are for the program's own.
 * 0 or -errno. */
int kn_thread_create(pthread_t *ret, void *(*main)(void *self), void *self);

/* 0 or -errno; kn_desk_done then all the same. d is zeroed. */
int kn_desk_init(struct kn_desk *d, struct kn_loop *loop);
void kn_desk_done(struct kn_desk *d);

/* c is zeroed, or was used by an attempt before: its buffers are kept. The input's strings must
 * outlive the call. */
void kn_call_init(struct kn_call *c, struct kn_desk *d, uint64_t seq, unsigned attempt,
    const struct knee_input *input);
void kn_call_done(struct kn_call *c);

/* The function's thread: it begins; it has ended, and what it wrote last lies in c->out. */
void kn_call_begin(struct kn_call *c);
void kn_call_end(struct kn_call *c);

/* The loop's thread. Ask the function to end. */
void kn_call_cancel(struct kn_call *c);
/* Read the chunks of an OUTPUT parcel and free it. */
void kn_parcel_read(struct kn_parcel *p,
    void (*read)(void *self, enum knee_stream stream, const char *data, size_t n), void *self);
/* The same of what is left after the END. */
void kn_call_read(struct kn_call *c,
    void (*read)(void *self, enum knee_stream stream, const char *data, size_t n), void *self);
void kn_parcel_free(struct kn_parcel *p);

#endif

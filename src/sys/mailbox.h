/* SPDX-License-Identifier: MIT */
/*
 * Letters from other threads to the loop's. Posting is lock-free and never waits; the loop is woken
 * by an eventfd, but only when it sleeps, so that a busy loop costs its writers no system call.
 *
 * A letter is embedded in its owner, and belongs to the mailbox from post to take.
 */
#ifndef KN_MAILBOX_H
#define KN_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "loop.h"

struct kn_letter {
	struct kn_letter *next;
};

/* Invariant: newest points to the letters not taken, the newest first. */
struct kn_mailbox {
	_Atomic(struct kn_letter *) newest;
	atomic_bool dozing;         /* the loop sleeps, or is about to: who posts wakes it */
	struct kn_watch watch;      /* of the eventfd */
	struct kn_loop *loop;       /* borrowed */
	/* Called when the loop was woken, before the rest of its turn: letters may be taken there already.
	 * May be NULL, as kn_mailbox_init leaves it. */
	void (*came)(struct kn_mailbox *m);
};

/* 0 or -errno; m is a valid empty one for kn_mailbox_done either way. */
int kn_mailbox_init(struct kn_mailbox *m, struct kn_loop *loop);
/* Nobody posts any more, and all letters were taken. Twice is once. */
void kn_mailbox_done(struct kn_mailbox *m);

/* From any thread. */
void kn_mailbox_post(struct kn_mailbox *m, struct kn_letter *l);

/* The loop's thread: all letters that came, oldest first; NULL: none. */
struct kn_letter *kn_mailbox_take(struct kn_mailbox *m);
/* Before the loop waits: true when it will be woken by the next letter; false when some lie there
 * already, so that it must not wait. */
bool kn_mailbox_doze(struct kn_mailbox *m);

#endif

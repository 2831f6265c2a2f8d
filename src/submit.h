/* SPDX-License-Identifier: MIT */
/* The source of a run without one: what knee_submit() was given, in that order. */
#ifndef KN_SUBMIT_H
#define KN_SUBMIT_H

#include "core/queue.h"

/* {0} is an empty one. */
struct kn_submit {
	struct kn_queue queue;      /* with one key */
	struct kn_task *given;      /* owned: what next() lends its arguments from, or NULL */
	uint64_t seq;
	bool ended;                 /* there will be no more */
};

void kn_submit_done(struct kn_submit *s);
/* Copies the input; NULL: it was the last. 0, -ENOMEM, or -EPIPE: after the last. */
int kn_submit_put(struct kn_submit *s, const struct knee_input *input);
/* As any source; its fd is NULL: after -EAGAIN kn_submit_put is what to wait for. */
struct knee_source kn_submit_source(struct kn_submit *s);

#endif

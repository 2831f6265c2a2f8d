/* SPDX-License-Identifier: MIT */
/* What the parts of a run (run.c, feed.c, sinks.c) know of each other. */
#ifndef KN_RUN_PARTS_H
#define KN_RUN_PARTS_H

#include "run.h"

/* run.c */

/* The run ends with err, a -errno, and this text unless there is one already. Returns err. */
int kn_run_fail(struct knee *k, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* An error of merge's own, or one that a sink has reported already through it. */
int kn_run_merged(struct knee *k, int err);
/* Task seq has its result, and this part of the whole. 0, or -errno with k->err set. */
int kn_run_part(struct knee *k, uint64_t seq, const void *part, size_t size);
/* The texts that follow from the slot: anew for every attempt. 0 or -ENOMEM. */
int kn_run_texts(struct knee *k, struct kn_task *t);

/* feed.c */

enum { KN_FEED_NONE, KN_FEED_QUEUED, KN_FEED_STORED };

/* Read the next input into the queue, unless an earlier run has its result. KN_FEED_NONE: there is none
 * now or ever; or an error in k->err. */
int kn_feed_next(struct knee *k);
/* May another input be read now? */
bool kn_feed_may_read(const struct knee *k);
/* Read further than what can start now, so that tasks of other kinds are found. */
void kn_feed_ahead(struct knee *k);
/* The source's descriptor is readable. */
int kn_feed_readable(struct kn_watch *w, uint32_t events);
/* After a stop: was that all of the input anyway? */
void kn_feed_peek(struct knee *k);
/* Tell the tuner what waits with this key: read ahead, or ready for another attempt. */
void kn_feed_tell(struct knee *k, unsigned key);
/* Inputs that were read ahead will not be started. */
void kn_feed_drop(struct knee *k);

/* sinks.c */

int kn_sinks_init(struct knee *k);
/* To the live ones. 0, or -errno with k->err set. */
int kn_sinks_live(struct knee *k, const struct knee_event *ev);
int kn_sinks_task(struct knee *k, enum knee_event_kind kind, const struct kn_task *t);
int kn_sinks_note(struct knee *k, enum knee_event_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* To the text ones; kn_merge_host.emit. */
int kn_sinks_text(void *self, const struct knee_event *ev);
/* Flush the text ones; -EAGAIN when the reader of one is slow. */
int kn_sinks_flush(struct knee *k);
/* Flush the live ones: once a turn, after the others. A slow reader there is waited for by nobody. */
int kn_sinks_flush_live(struct knee *k);
void kn_sinks_tick(struct knee *k);

#endif

/* SPDX-License-Identifier: MIT */
/* What the parts of a run (run.c, run_*.c, feed.c, sinks.c) know of each other. */
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
/* The number that people know a task by. */
unsigned long long kn_run_shown_seq(const struct knee *k, const struct kn_task *t);

/* run_tasks.c */

/* Whom the executor reports to. */
struct kn_exec_host kn_run_exec_host(struct knee *k);
/* Something has happened to t: do what follows. 0 or -errno. */
int kn_run_event(struct knee *k, struct kn_task *t, enum kn_event event);
/* t, which was stopped for want of memory, goes on. */
void kn_run_resume(struct knee *k, struct kn_task *t);
/* What the tuner asks for. */
void kn_run_act(struct knee *k, enum kn_act what);
/* When the tuner is told that something happened at at_ns. */
int64_t kn_run_tell_ns(struct knee *k, int64_t at_ns);

/* run_start.c */

/* Could a task start now, but for a delay? Sets k->picked. */
bool kn_run_wants_start(struct knee *k);
/* When the delay between two starts, or the pause after a refusal, will be over; 0: it is. */
int64_t kn_run_start_wait_ns(const struct knee *k);
/* Start what may be started in this turn. 0, or -errno with k->err set. */
int kn_run_start_some(struct knee *k);
/* t waits for a start that it shall not have: its RESULT is that of its last attempt, or that there was none. */
int kn_run_cancel(struct knee *k, struct kn_task *t);

/* run_limit.c */

/* The tuner and what it is told, once the executor is open. 0 or -errno. */
int kn_run_meter_init(struct knee *k);
/* Measure, when it is time, and do what the tuner makes of it. 0, or -errno with k->err set. */
int kn_run_sample(struct knee *k);
/* Tell what the tuner has changed, and why. */
int kn_run_changes_tell(struct knee *k);

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

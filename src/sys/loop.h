/* SPDX-License-Identifier: MIT */
/*
 * The event loop: epoll for descriptors, one timerfd for the nearest deadline, and the
 * clock, read once a turn.
 *
 * A watch is embedded in its owner. A callback may remove any watch, its own too, but
 * the memory of a watch must stay until kn_loop_wait has returned: a removed one may
 * still have an event in the same batch, which is then dropped.
 */
#ifndef KN_LOOP_H
#define KN_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* fd: -1 when not in the loop. */
struct kn_watch {
	int fd;
	int (*fn)(struct kn_watch *w, uint32_t events);   /* 0, or -errno: kn_loop_wait returns it */
	bool always;                /* a regular file: epoll does not take it, it is always ready */
};

#define KN_WATCH_NONE { .fd = -1 }

struct kn_loop {
	int epoll_fd, timer_fd;
	int64_t now_ns;             /* CLOCK_MONOTONIC, of this turn */
	int64_t armed_ns;           /* the timer's deadline; INT64_MAX: not armed */
};

/* 0 or -errno. */
int kn_loop_init(struct kn_loop *l);
/* Takes one whose init failed, too. */
void kn_loop_done(struct kn_loop *l);

/* events: EPOLLIN, EPOLLOUT, EPOLLET...; 0: only errors and hang-ups. w->fn is set.
 * A descriptor that epoll cannot watch gets w->always set, and no callback. */
int kn_loop_add(struct kn_loop *l, struct kn_watch *w, int fd, uint32_t events);
int kn_loop_change(struct kn_loop *l, struct kn_watch *w, uint32_t events);
/* Nothing happens when it is in no loop. Does not close fd. */
void kn_loop_remove(struct kn_loop *l, struct kn_watch *w);
/* The same, and close fd. Closing alone does not take it out: a child that is just being started holds a
 * copy of it until its exec is done, and posix_spawn returns a little before that. */
void kn_loop_close(struct kn_loop *l, struct kn_watch *w);

/* Let the timer go off at at_ns, unless it does so earlier; what has passed: at once. 0 or -errno. Only
 * for who waits for epoll_fd himself: kn_loop_wait does it. */
int kn_loop_arm(struct kn_loop *l, int64_t at_ns);
/* Wait for events or until_ns (INT64_MAX: for ever), call the callbacks. 0 or -errno. */
int kn_loop_wait(struct kn_loop *l, int64_t until_ns);

#endif

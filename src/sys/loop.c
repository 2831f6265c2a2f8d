/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fd.h"

#define BATCH 64

int
kn_loop_init(struct kn_loop *l)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int err;

	*l = (struct kn_loop){ .epoll_fd = -1, .timer_fd = -1, .armed_ns = INT64_MAX };
	l->now_ns = kn_clock_ns();
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->timer_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->timer_fd, &ev) < 0) {
		err = -errno;
		kn_loop_done(l);
		return err;
	}
	return 0;
}

void
kn_loop_done(struct kn_loop *l)
{
	kn_fd_close(&l->timer_fd);
	kn_fd_close(&l->epoll_fd);
}

int
kn_loop_add(struct kn_loop *l, struct kn_watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	w->always = false;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		if (errno != EPERM)
			return -errno;
		w->always = true;
	}
	w->fd = fd;
	return 0;
}

int
kn_loop_change(struct kn_loop *l, struct kn_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->always)
		return 0;
	return epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

void
kn_loop_remove(struct kn_loop *l, struct kn_watch *w)
{
	if (w->fd < 0)
		return;
	if (!w->always)
		(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
}

void
kn_loop_close(struct kn_loop *l, struct kn_watch *w)
{
	int fd = w->fd;

	kn_loop_remove(l, w);
	kn_fd_close(&fd);
}

static int
timer_set(struct kn_loop *l, int64_t at_ns)
{
	struct itimerspec t = { 0 };

	if (at_ns == l->armed_ns)
		return 0;
	if (at_ns != INT64_MAX) {
		t.it_value.tv_sec = at_ns / 1000000000;
		t.it_value.tv_nsec = at_ns % 1000000000;
	}
	if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &t, NULL) < 0)
		return -errno;
	l->armed_ns = at_ns;
	return 0;
}

int
kn_loop_arm(struct kn_loop *l, int64_t at_ns)
{
	if (at_ns >= l->armed_ns)
		return 0;
	/* To the kernel 0 is no time, but never. */
	return timer_set(l, at_ns > 0 ? at_ns : 1);
}

int
kn_loop_wait(struct kn_loop *l, int64_t until_ns)
{
	struct epoll_event ev[BATCH];
	bool poll_only = until_ns <= l->now_ns;
	int first_err = 0, err, n;

	/* An earlier deadline than needed costs one empty turn; a later one must be moved. */
	err = poll_only ? 0 : kn_loop_arm(l, until_ns);
	if (err < 0)
		return err;
	n = epoll_wait(l->epoll_fd, ev, BATCH, poll_only ? 0 : -1);
	l->now_ns = kn_clock_ns();
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (l->armed_ns <= l->now_ns)
		l->armed_ns = INT64_MAX;
	for (int i = 0; i < n; i++) {
		struct kn_watch *w = ev[i].data.ptr;
		uint64_t expired;

		if (w == NULL) {
			(void)!read(l->timer_fd, &expired, sizeof(expired));
			continue;
		}
		if (w->fd < 0)
			continue;
		/* An error of one is no reason to keep the others waiting. */
		err = w->fn(w, ev[i].events);
		if (first_err == 0)
			first_err = err;
	}
	return first_err;
}

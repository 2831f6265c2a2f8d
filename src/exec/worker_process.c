/* SPDX-License-Identifier: MIT */
/*
 * A worker as a process: its pipes, read and written without blocking and edge triggered, and its end.
 *
 * The reading end of its stdin stays open on this side, too.  So a write to a worker that has gone
 * neither fails nor raises SIGPIPE, which a library must not ask its caller to ignore; that it has gone is
 * known by its pidfd.  And what is left in the pipe then tells how far it had read.
 *
 * Its stderr is read before its answers: when an answer has come, what was written before it is there.
 *
 * A worker ends by the end of its stdin.  If it does not within END_NS, the ending sequence follows.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sys/fd.h"
#include "../sys/procfile.h"
#include "worker_parts.h"

/* Read from one worker before others get their turn, and of one that has ended. */
#define TURN_BYTES (16 * KN_READ_BYTES)

/* From the end of its stdin to the first step of the ending sequence. */
#define END_NS ((int64_t)2000000000)
/* From the end of its stdout, in the middle of a record, to its own. */
#define MUTE_NS ((int64_t)100000000)

/* ---- the pipes ------------------------------------------------------------ */

static void
stdin_close(struct kn_worker *w)
{
	kn_loop_close(w->exec->loop, &w->in);
	kn_fd_close(&w->in_far);
	w->unsent.len = w->sent = 0;
}

static void
in_wait(struct kn_worker *w, bool full)
{
	if (w->in_full != full &&
	    kn_loop_change(w->exec->loop, &w->in, full ? EPOLLOUT | EPOLLET : EPOLLET) == 0)
		w->in_full = full;
}

void
kn_worker_write(struct kn_worker *w)
{
	while (w->in.fd >= 0 && w->sent < w->unsent.len) {
		ssize_t n = write(w->in.fd, w->unsent.data + w->sent, w->unsent.len - w->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			in_wait(w, true);
			return;
		}
		if (n < 0) {
			kn_worker_kill(w);
			return;
		}
		w->sent += (size_t)n;
	}
	w->unsent.len = w->sent = 0;
	in_wait(w, false);
}

size_t
kn_worker_unread(const struct kn_worker *w)
{
	int n = 0;

	if (w->in_far < 0 || ioctl(w->in_far, FIONREAD, &n) < 0)
		return 0;
	return (size_t)n + w->unsent.len - w->sent;
}

/* The bytes read, 0 when there are none now; *w is closed at its end. */
static size_t
pipe_read(struct kn_worker *w, struct kn_watch *watch, bool *ready, char *buffer)
{
	ssize_t n;

	do
		n = read(watch->fd, buffer, KN_READ_BYTES);
	while (n < 0 && errno == EINTR);
	*ready = n > 0;
	if (n == 0 || (n < 0 && errno != EAGAIN))
		kn_loop_close(w->exec->loop, watch);
	return n > 0 ? (size_t)n : 0;
}

static void
errors_read(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;
	size_t total = 0, n;

	w->err_ready = w->err.fd >= 0;
	while (w->err_ready && total < TURN_BYTES && !kn_worker_full(w)) {
		n = pipe_read(w, &w->err, &w->err_ready, r->err_buffer);
		if (n > 0)
			kn_worker_errors(w, r->err_buffer, n);
		total += n;
	}
}

/* See to its end from now on: in wait_ns the step of the ending sequence, behind its last SIGKILL. */
static void
end_in(struct kn_worker *w, int64_t wait_ns, size_t step)
{
	struct kn_runner *r = w->exec->state;

	w->term_step = step;
	/* kn_worker_start() made the room. */
	(void)kn_heap_set(&r->due, &w->due, w->exec->loop->now_ns + wait_ns);
}

void
kn_worker_read(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;
	size_t total = 0, n;
	bool open = w->out.fd >= 0;

	w->out_ready = open;
	while (w->out_ready && total < TURN_BYTES && !kn_worker_full(w)) {
		n = pipe_read(w, &w->out, &w->out_ready, r->buffer);
		errors_read(w);
		if (n > 0)
			kn_worker_answers(w, r->buffer, n);
		total += n;
	}
	if (!open)
		errors_read(w);
	if (!w->out_ready)
		kn_worker_settle(w);
	/* It cannot answer any more: most likely it is just ending. */
	if (open && w->out.fd < 0 && w->state == KN_WORKER_BUSY && w->end.fd >= 0)
		end_in(w, MUTE_NS, w->exec->options->nterm_seq);
	r->unread = r->unread || w->out_ready || w->err_ready;
}

bool
kn_worker_waits(const struct kn_worker *w)
{
	char path[64], text[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/wchan", (int)w->child.pid);
	return kn_procfile_read(path, text, sizeof(text)) > 0 && strstr(text, "pipe_read") != NULL;
}

void
kn_worker_read_on(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_worker *next;

	if (!r->unread || e->paused)
		return;
	r->unread = false;
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL; w = next) {
		next = kn_worker_at(w->node.next);
		if (w->out_ready || w->err_ready)
			kn_worker_read(w);
	}
}

static struct kn_worker *
worker_of(struct kn_watch *w, size_t offset)
{
	return (struct kn_worker *)(void *)((char *)w - offset);
}

static int
in_event(struct kn_watch *watch, uint32_t events)
{
	struct kn_worker *w = worker_of(watch, offsetof(struct kn_worker, in));

	(void)events;
	if (w->in_full)
		kn_worker_write(w);
	return 0;
}

static int
out_event(struct kn_watch *watch, uint32_t events)
{
	(void)events;
	kn_worker_read(worker_of(watch, offsetof(struct kn_worker, out)));
	return 0;
}

static int
err_event(struct kn_watch *watch, uint32_t events)
{
	struct kn_worker *w = worker_of(watch, offsetof(struct kn_worker, err));

	(void)events;
	errors_read(w);
	((struct kn_runner *)w->exec->state)->unread |= w->err_ready;
	return 0;
}

/* ---- its end --------------------------------------------------------------- */

void
kn_worker_signal(struct kn_worker *w, int signal)
{
	/* Its end need not be doubted any longer. */
	if (w->suspect && signal != SIGSTOP && signal != SIGTSTP && signal != SIGCONT)
		end_in(w, 0, 0);
	/* After it was waited for, its number may be another's. */
	if (w->child.pidfd >= 0 && w->state != KN_WORKER_GONE)
		kn_child_signal(&w->child, signal);
}

void
kn_worker_kill(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;

	if (!w->suspect)
		kn_heap_remove(&r->due, &w->due);
	w->signalled = true;
	kn_worker_signal(w, SIGKILL);
}

void
kn_worker_retire(struct kn_worker *w)
{
	stdin_close(w);
	end_in(w, END_NS, 0);
}

/* Nothing of it is left but its memory. */
static void
put_away(struct kn_worker *w)
{
	struct kn_runner *r = w->exec->state;

	stdin_close(w);
	kn_loop_close(w->exec->loop, &w->out);
	kn_loop_close(w->exec->loop, &w->err);
	kn_loop_remove(w->exec->loop, &w->end);
	kn_fd_close(&w->child.pidfd);
	kn_heap_remove(&r->due, &w->due);
	kn_probe_done(&w->probe);
	r->numbers.data[w->number - 1] = 0;
	w->out_ready = w->err_ready = false;
	w->state = KN_WORKER_GONE;
	kn_chain_remove(&r->workers, &w->node);
	kn_chain_push(&r->gone, &w->node);
}

/* It has ended: what it wrote before is read, paused or not, and counts. */
static void
worker_over(struct kn_worker *w)
{
	struct rusage usage = { 0 };
	int status = 0;

	kn_probe_last(&w->probe);
	/* One that was made to end takes its group along: the number is its own as long as it has not
	 * been waited for. */
	w->suspect = false;
	if (w->signalled)
		kn_worker_signal(w, SIGKILL);
	if (kn_child_wait(&w->child, &status, &usage) < 0)
		status = SIGKILL; /* as the wait status of one that was killed */
	kn_worker_ended(w, status, &usage);
	put_away(w);
}

static int
end_event(struct kn_watch *watch, uint32_t events)
{
	struct kn_worker *w = worker_of(watch, offsetof(struct kn_worker, end));
	struct kn_runner *r = w->exec->state;

	(void)events;
	kn_loop_remove(w->exec->loop, &w->end);
	w->ended_ns = w->exec->loop->now_ns;
	/* A turn's bytes are more than its pipes hold; whom it started and did not wait for may go on
	 * writing, and is not waited for. */
	kn_worker_read(w);
	w->suspect = w->state == KN_WORKER_BUSY && w->nanswered < w->nwindow && !w->signalled &&
	    kn_child_was_killed(&w->child, &w->by_status) && !(w->by_status && r->no_stop);
	if (w->suspect) {
		kn_worker_doubt(w);
		end_in(w, KN_SUSPECT_NS, 0);
	} else {
		worker_over(w);
	}
	return 0;
}

void
kn_worker_steps(struct kn_exec *e)
{
	const struct knee_options *o = e->options;
	struct kn_runner *r = e->state;
	struct kn_heap_node *n;

	while ((n = kn_heap_top(&r->due)) != NULL && n->key <= e->loop->now_ns) {
		struct kn_worker *w =
		    (struct kn_worker *)(void *)((char *)n - offsetof(struct kn_worker, due));

		if (w->suspect) {
			r->no_stop = r->no_stop || (w->by_status && !w->signalled);
			worker_over(w);
			continue;
		}
		if (w->term_step >= o->nterm_seq) {
			kn_worker_kill(w);
			continue;
		}
		w->signalled = true;
		kn_worker_signal(w, o->term_seq[w->term_step].signal);
		end_in(w, o->term_seq[w->term_step].wait_ns, w->term_step + 1);
	}
}

void
kn_worker_free_gone(struct kn_runner *r)
{
	struct kn_worker *w;

	while ((w = kn_worker_at(kn_chain_pop(&r->gone))) != NULL) {
		kn_buf_done(&w->unsent);
		kn_buf_done(&w->held);
		free(w);
	}
}

/* ---- its start -------------------------------------------------------------- */

/* The lowest number that no worker has. */
static int
number_take(struct kn_runner *r, unsigned *ret)
{
	char *free_one = r->numbers.len > 0 ? memchr(r->numbers.data, 0, r->numbers.len) : NULL;
	int err;

	if (free_one == NULL) {
		err = kn_buf_addc(&r->numbers, 0);
		if (err < 0)
			return err;
		free_one = r->numbers.data + r->numbers.len - 1;
	}
	*free_one = 1;
	*ret = (unsigned)(free_one - r->numbers.data) + 1;
	return 0;
}

/* A pipe to write into without blocking; the other end blocks. */
static int
stdin_pipe(int ret[2])
{
	int err = kn_fd_pipe(ret);

	if (err < 0)
		return err;
	if (fcntl(ret[0], F_SETFL, 0) < 0 || fcntl(ret[1], F_SETFL, O_NONBLOCK) < 0) {
		err = -errno;
		kn_fd_close(&ret[0]);
		kn_fd_close(&ret[1]);
	}
	return err;
}

/* Put *fd into the loop, which has it from now on. */
static int
watch_add(struct kn_worker *w, struct kn_watch *watch, int *fd, uint32_t events)
{
	int err = kn_loop_add(w->exec->loop, watch, *fd, events);

	if (err == 0)
		*fd = -1;
	return err;
}

static int
worker_watch(struct kn_worker *w, int in[2], int *out, int *errs)
{
	int pidfd = w->child.pidfd;
	int err;

	w->in.fn = in_event;
	w->out.fn = out_event;
	w->err.fn = err_event;
	w->end.fn = end_event;
	err = kn_loop_add(w->exec->loop, &w->end, pidfd, EPOLLIN);
	if (err == 0)
		err = watch_add(w, &w->in, &in[1], EPOLLET);
	if (err == 0)
		err = watch_add(w, &w->out, out, EPOLLIN | EPOLLET);
	if (err == 0)
		err = watch_add(w, &w->err, errs, EPOLLIN | EPOLLET);
	if (err == 0) {
		w->in_far = in[0];
		in[0] = -1;
	}
	return err;
}

/* Start w's process, with pipes. */
static int
worker_spawn(struct kn_exec *e, struct kn_worker *w)
{
	struct kn_runner *r = e->state;
	const struct kn_fill fill = { .seq = r->started + 1, .slot = w->number };
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, errs[2] = { -1, -1 };
	struct kn_spawn plan = { .in = -1 };
	int err;

	err = stdin_pipe(in);
	if (err == 0)
		err = kn_fd_pipe(out);
	if (err == 0)
		err = kn_fd_pipe(errs);
	plan.in = in[0];
	plan.out = out[1];
	plan.err = errs[1];
	if (err == 0)
		err = kn_launcher_start(&r->launcher, r->command, &fill, &plan, &w->child);
	if (err == 0 && worker_watch(w, in, &out[0], &errs[0]) < 0) {
		/* One that cannot be watched must not run on unseen. */
		kn_worker_signal(w, SIGKILL);
		(void)waitpid(w->child.pid, NULL, 0);
		err = -ECHILD;
	}
	for (int i = 0; i < 2; i++) {
		kn_fd_close(&in[i]);
		kn_fd_close(&out[i]);
		kn_fd_close(&errs[i]);
	}
	return err;
}

int
kn_worker_start(struct kn_exec *e, struct kn_worker **ret)
{
	struct kn_runner *r = e->state;
	struct kn_worker *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return -ENOMEM;
	*w = (struct kn_worker){
		.exec = e,
		.child.pidfd = -1,
		.in = KN_WATCH_NONE,
		.out = KN_WATCH_NONE,
		.err = KN_WATCH_NONE,
		.end = KN_WATCH_NONE,
		.in_far = -1,
		.probe = KN_PROBE_NONE,
		.size = 1,
		.answers.framing = r->framing,
	};
	err = number_take(r, &w->number);
	if (err < 0) {
		free(w);
		return err;
	}
	kn_chain_push(&r->workers, &w->node);
	err = kn_heap_reserve(&r->due, r->numbers.len);
	if (err == 0)
		err = worker_spawn(e, w);
	if (err < 0) {
		put_away(w);
		return err;
	}
	r->started++;
	*ret = w;
	return 0;
}

/* ---- the end of all ---------------------------------------------------------- */

/* The loop cannot wait any more: without it. */
static void
end_blocking(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_worker *w;

	while ((w = kn_worker_at(r->workers.first)) != NULL) {
		kn_worker_kill(w);
		(void)waitpid(w->child.pid, NULL, 0);
		put_away(w);
	}
}

void
kn_worker_end_all(struct kn_exec *e)
{
	struct kn_runner *r = e->state;
	struct kn_heap_node *n;
	int err = 0;

	e->paused = false;
	for (struct kn_worker *w = kn_worker_at(r->workers.first); w != NULL;
	     w = kn_worker_at(w->node.next)) {
		if (w->state == KN_WORKER_IDLE || w->state == KN_WORKER_BUSY)
			kn_worker_retire(w);
		w->state = w->state == KN_WORKER_DOOMED ? KN_WORKER_DOOMED : KN_WORKER_RETIRED;
		if (r->hurry && !w->signalled)
			end_in(w, 0, 0);
	}
	while (r->workers.first != NULL && err == 0) {
		kn_worker_steps(e);
		n = kn_heap_top(&r->due);
		err = kn_loop_wait(e->loop, n != NULL ? n->key : INT64_MAX);
		kn_worker_read_on(e);
		kn_worker_free_gone(r);
	}
	end_blocking(e);
	kn_worker_free_gone(r);
}

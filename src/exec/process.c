/* SPDX-License-Identifier: MIT */
/*
 * A task is a process, in a process group of its own.
 *
 * Its stdout and stderr are two pipes that this side reads without blocking, edge
 * triggered, so that stopping to read costs nothing but a note (proc.ready) and no
 * system call.
 *
 * A task ends when its pidfd says so, not at the end of its output: what it leaves in
 * the background may hold the pipes for hours. After its end what is in the pipes is
 * read; if someone still holds them open, a little longer, for QUIET_NS without a byte
 * and GRACE_NS at most; then they are closed.
 *
 * What was killed by somebody else has its end only after KN_SUSPECT_NS (exec.h).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sys/fd.h"
#include "../sys/probe.h"
#include "command.h"
#include "exec.h"

#define QUIET_NS ((int64_t)10000000)
#define GRACE_NS ((int64_t)100000000)

#define READ_BYTES (128 * 1024)
/* Read from one stream before others get their turn. */
#define TURN_BYTES (8 * READ_BYTES)
/* A stream that fills a whole pipe gets a larger one. */
#define PIPE_BYTES (1024 * 1024)

/* Up to this many at once fit the usual limit of 1,024 open files. */
#define FEW_TASKS 200

struct stream {
	struct kn_watch watch;
	bool ready; /* may have more to read: the edge was seen, or reading was cut short */
	bool wide;  /* its pipe was enlarged */
};

/* A started task. In the runner's list `unread` while a stream is ready. */
struct proc {
	struct kn_exec *exec; /* borrowed */
	struct kn_task *task; /* borrowed; this is its private part */
	struct kn_child child;
	struct kn_probe probe;
	struct kn_watch end;
	struct stream streams[2];
	int64_t exited_ns;         /* 0: runs */
	struct kn_heap_node drain; /* after its end: when to stop waiting for more output, or for a stop */
	bool suspect;              /* all is read; somebody else killed it, ... */
	bool by_status;            /* ... as it says itself */
	struct proc *next_unread;
	bool unread;
};

struct runner {
	struct kn_launcher launcher;
	struct kn_heap draining;
	struct proc *unread;
	char *buffer; /* READ_BYTES */
	int null_fd;
	int err; /* reading failed: the next tick says so */
	bool first_started;
	bool no_stop; /* a status was waited for in vain */
};

static struct proc *
proc_of(struct kn_task *t)
{
	return t->exec;
}

/* ---- output ------------------------------------------------------------- */

static void
stream_close(struct kn_exec *e, struct stream *s)
{
	s->ready = false;
	kn_loop_close(e->loop, &s->watch);
}

static void
unread_later(struct runner *r, struct proc *p)
{
	if (p->unread)
		return;
	p->unread = true;
	p->next_unread = r->unread;
	r->unread = p;
}

/*
 * Read until there is no more for now, reading is paused, or max bytes are through.
 * Sets ready when there may be more; closes the stream at its end, or when it cannot be
 * read: then runner.err says why, and the task still comes to its own end. How much was
 * read.
 */
static size_t
stream_read(struct proc *p, unsigned which, size_t max)
{
	struct runner *r = p->exec->state;
	struct stream *s = &p->streams[which];
	const struct kn_exec_host *host = &p->exec->host;
	size_t total = 0;

	s->ready = true;
	while (total < max) {
		ssize_t n = read(s->watch.fd, r->buffer, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			s->ready = false;
			break;
		}
		if (n < 0 && r->err == 0)
			r->err = -errno;
		if (n <= 0) {
			stream_close(p->exec, s);
			break;
		}
		total += (size_t)n;
		p->task->result.output_bytes += (uint64_t)n;
		if (n >= 65536 && !s->wide) {
			/* Not allowed beyond the user's share of pipe memory: then it stays small. */
			(void)fcntl(s->watch.fd, F_SETPIPE_SZ, PIPE_BYTES);
			s->wide = true;
		}
		host->output(
		    host->self, p->task, which == 0 ? KNEE_STDOUT : KNEE_STDERR, r->buffer, (size_t)n);
		if (p->exec->paused)
			break;
	}
	return total;
}

/* The stream can be read: do it, or note it when reading is paused. */
static void
stream_event(struct proc *p, unsigned which)
{
	struct stream *s = &p->streams[which];

	if (p->exec->paused)
		s->ready = true;
	else
		(void)stream_read(p, which, TURN_BYTES);
	if (s->ready)
		unread_later(p->exec->state, p);
}

static int
stdout_event(struct kn_watch *w, uint32_t events)
{
	(void)events;
	stream_event((struct proc *)(void *)((char *)w - offsetof(struct proc, streams[0].watch)), 0);
	return 0;
}

static int
stderr_event(struct kn_watch *w, uint32_t events)
{
	(void)events;
	stream_event((struct proc *)(void *)((char *)w - offsetof(struct proc, streams[1].watch)), 1);
	return 0;
}

/* ---- the end of a task --------------------------------------------------- */

static bool
drained(const struct proc *p)
{
	return p->streams[0].watch.fd < 0 && p->streams[1].watch.fd < 0;
}

/* Take p out of the list of those with something left to read. */
static void
unread_forget(struct runner *r, struct proc *p)
{
	struct proc **at = &r->unread;

	if (!p->unread)
		return;
	while (*at != NULL && *at != p)
		at = &(*at)->next_unread;
	if (*at == p)
		*at = p->next_unread;
	p->unread = false;
}

static void
result_fill(struct kn_task *t, int status, const struct rusage *usage)
{
	uint64_t blocks = (uint64_t)usage->ru_inblock + (uint64_t)usage->ru_oublock;
	struct knee_result *res = &t->result;

	if (WIFSIGNALED(status)) {
		res->outcome = KNEE_SIGNALED;
		res->status = WTERMSIG(status);
	} else {
		res->outcome = KNEE_EXITED;
		res->status = WEXITSTATUS(status);
	}
	res->cpu_user_ns = (int64_t)usage->ru_utime.tv_sec * 1000000000 + usage->ru_utime.tv_usec * 1000;
	res->cpu_sys_ns = (int64_t)usage->ru_stime.tv_sec * 1000000000 + usage->ru_stime.tv_usec * 1000;
	res->peak_rss_bytes = (int64_t)usage->ru_maxrss * 1024;
	res->disk_read_bytes = (uint64_t)usage->ru_inblock * 512;
	res->disk_written_bytes = (uint64_t)usage->ru_oublock * 512;
	res->waits = (uint64_t)usage->ru_nvcsw;
	res->switches = (uint64_t)usage->ru_nivcsw;
	/* In units of 512 bytes, for a task that ended before anyone looked. */
	if (blocks * 512 > t->usage.disk_bytes)
		t->usage.disk_bytes = blocks * 512;
}

static void
proc_finish(struct proc *p)
{
	struct runner *r = p->exec->state;
	struct rusage usage;
	int status = 0;

	unread_forget(r, p);

	stream_close(p->exec, &p->streams[0]);
	stream_close(p->exec, &p->streams[1]);
	kn_heap_remove(&r->draining, &p->drain);
	/* A task that was made to end takes its group along: the number is its own as long as it has
	 * not been waited for. */
	if (p->task->state == KN_ENDING || p->task->signalled)
		kn_child_signal(&p->child, SIGKILL);
	/* Its group may hold processes that were stopped with it. */
	if (p->task->suspended_ns != 0)
		kn_child_signal(&p->child, SIGCONT);
	kn_probe_last(&p->probe);
	p->task->usage = p->probe.usage;
	kn_probe_done(&p->probe);
	if (kn_child_wait(&p->child, &status, &usage) == 0)
		result_fill(p->task, status, &usage);
	else
		p->task->result.outcome = KNEE_NOT_STARTED;
	kn_fd_close(&p->child.pidfd);
	p->exec->host.ended(p->exec->host.self, p->task);
}

/* All that it has written is read. */
static void
proc_read(struct proc *p)
{
	struct runner *r = p->exec->state;
	bool by_status;

	if (p->task->state == KN_ENDING || p->task->signalled ||
	    !kn_child_was_killed(&p->child, &by_status) || (by_status && r->no_stop) ||
	    kn_heap_set(&r->draining, &p->drain, p->exited_ns + KN_SUSPECT_NS) < 0) {
		proc_finish(p);
		return;
	}
	p->suspect = true;
	p->by_status = by_status;
	p->task->result.runtime_ns =
	    p->exited_ns > p->task->started_ns ? p->exited_ns - p->task->started_ns : 1;
	unread_forget(r, p);
	stream_close(p->exec, &p->streams[0]);
	stream_close(p->exec, &p->streams[1]);
}

/* Read what an ended task left in its pipes, paused or not: it is little. Finish it when
 * that was all; else wait for the holder of the other end, in bounds. */
static void
proc_drain(struct proc *p)
{
	struct runner *r = p->exec->state;
	int64_t now_ns = p->exec->loop->now_ns;
	int64_t until_ns;
	size_t got = 0;

	for (unsigned i = 0; i < 2; i++) {
		while (p->streams[i].watch.fd >= 0) {
			got += stream_read(p, i, TURN_BYTES);
			if (!p->streams[i].ready || got >= 2 * PIPE_BYTES)
				break;
		}
	}
	until_ns = p->drain.index == 0 || got > 0 ? now_ns + QUIET_NS : p->drain.key;
	if (until_ns > p->exited_ns + GRACE_NS)
		until_ns = p->exited_ns + GRACE_NS;
	if (drained(p) || until_ns <= now_ns || kn_heap_set(&r->draining, &p->drain, until_ns) < 0)
		proc_read(p);
}

static int
end_event(struct kn_watch *w, uint32_t events)
{
	struct proc *p = (struct proc *)(void *)((char *)w - offsetof(struct proc, end));

	(void)events;
	kn_loop_remove(p->exec->loop, &p->end);
	p->exited_ns = p->exec->loop->now_ns;
	proc_drain(p);
	return 0;
}

/* ---- starting ------------------------------------------------------------ */

/* Watch what was started. After a failure the caller closes all and kills. */
static int
watch_proc(struct proc *p, int *out, int *err_fd)
{
	struct kn_loop *loop = p->exec->loop;
	int err;

	p->end.fn = end_event;
	p->streams[0].watch.fn = stdout_event;
	p->streams[1].watch.fn = stderr_event;
	err = kn_loop_add(loop, &p->end, p->child.pidfd, EPOLLIN);
	if (err == 0 && *out >= 0) {
		err = kn_loop_add(loop, &p->streams[0].watch, *out, EPOLLIN | EPOLLET);
		if (err == 0)
			*out = -1;
	}
	if (err == 0 && *err_fd >= 0) {
		err = kn_loop_add(loop, &p->streams[1].watch, *err_fd, EPOLLIN | EPOLLET);
		if (err == 0)
			*err_fd = -1;
	}
	return err;
}

/* A started child that cannot be watched must not run on unseen. */
static void
proc_abandon(struct proc *p)
{
	kn_child_signal(&p->child, SIGKILL);
	(void)waitpid(p->child.pid, NULL, 0);
	stream_close(p->exec, &p->streams[0]);
	stream_close(p->exec, &p->streams[1]);
	kn_loop_remove(p->exec->loop, &p->end);
	kn_fd_close(&p->child.pidfd);
}

static int
process_start(struct kn_exec *e, struct kn_task *t)
{
	struct runner *r = e->state;
	struct proc *p = proc_of(t);
	bool captured = e->options->order != KNEE_ORDER_NONE;
	bool first = t->seq == 1 && !r->first_started && e->options->first_stdin >= 0;
	const struct kn_fill fill = kn_command_fill(e->options, t);
	struct kn_spawn plan = { .out = -1, .err = -1 };
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 };
	int err = 0;

	*p = (struct proc){ .exec = e,
		.task = t,
		.child.pidfd = -1,
		.probe = KN_PROBE_NONE,
		.end = KN_WATCH_NONE,
		.streams = { { .watch = KN_WATCH_NONE }, { .watch = KN_WATCH_NONE } } };
	if (captured)
		err = kn_fd_pipe(out);
	if (captured && err == 0)
		err = kn_fd_pipe(errs);
	if (err == 0)
		err = kn_heap_reserve(&r->draining, r->draining.len + 1);
	if (err < 0)
		goto pipes;
	plan.in = first ? e->options->first_stdin : r->null_fd;
	plan.out = out[1];
	plan.err = errs[1];
	err = kn_launcher_start(&r->launcher, e->options->command, &fill, &plan, &p->child);
	if (err < 0)
		goto pipes;
	r->first_started = r->first_started || first;
	err = watch_proc(p, &out[0], &errs[0]);
	if (err < 0) {
		proc_abandon(p);
		err = -ECHILD;
	}
pipes:
	kn_fd_close(&out[0]);
	kn_fd_close(&out[1]);
	kn_fd_close(&errs[0]);
	kn_fd_close(&errs[1]);
	return err;
}

/* ---- the other hooks ------------------------------------------------------ */

static int
process_open(struct kn_exec *e)
{
	struct runner *r = calloc(1, sizeof(*r));
	int err;

	if (r == NULL)
		return -ENOMEM;
	err = kn_launcher_init(&r->launcher, e->options);
	if (err < 0)
		goto runner;
	err = -ENOMEM;
	r->buffer = malloc(READ_BYTES);
	if (r->buffer == NULL)
		goto launcher;
	r->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (r->null_fd < 0) {
		err = -errno;
		goto buffer;
	}
	if (e->options->limit == 0 || e->options->limit > FEW_TASKS)
		kn_spawner_raise_files(&r->launcher.spawner);
	e->state = r;
	return 0;
buffer:
	free(r->buffer);
launcher:
	kn_launcher_done(&r->launcher);
runner:
	free(r);
	return err;
}

static void
process_signal(struct kn_exec *e, struct kn_task *t, int signal)
{
	struct proc *p = proc_of(t);
	struct runner *r = e->state;

	/* The stop that was waited for; the next tick sees it. */
	if (p->suspect && signal != SIGSTOP && signal != SIGTSTP && signal != SIGCONT)
		(void)kn_heap_set(&r->draining, &p->drain, e->loop->now_ns);
	/* The group of a task that has ended may still hold what it left behind; its number
	 * is not given to another process while a member lives, but it may be when none does. */
	if (p->exited_ns == 0 && p->child.pidfd >= 0)
		kn_child_signal(&p->child, signal);
}

static void
process_look(struct kn_exec *e, struct kn_task *t, bool deep)
{
	struct proc *p = proc_of(t);

	(void)e;
	if (p->exited_ns != 0)
		return;
	if (p->probe.pid == 0) /* only now: most tasks of a fast run are never looked at */
		kn_probe_init(&p->probe, p->child.pid);
	kn_probe_look(&p->probe, deep);
	t->usage = p->probe.usage;
}

/* Go on reading where it was cut short. */
static void
read_unread(struct kn_exec *e)
{
	struct runner *r = e->state;
	struct proc *p = r->unread;

	r->unread = NULL;
	while (p != NULL) {
		struct proc *next = p->next_unread;

		p->unread = false;
		for (unsigned i = 0; i < 2; i++)
			if (p->streams[i].ready)
				stream_event(p, i);
		p = next;
	}
}

static int
process_tick(struct kn_exec *e, int64_t *next_ns)
{
	struct runner *r = e->state;
	struct kn_heap_node *n;
	int err = r->err;

	if (!e->paused)
		read_unread(e);
	while ((n = kn_heap_top(&r->draining)) != NULL && n->key <= e->loop->now_ns) {
		struct proc *p = (struct proc *)(void *)((char *)n - offsetof(struct proc, drain));

		if (!p->suspect) {
			proc_drain(p);
			continue;
		}
		r->no_stop = r->no_stop || (p->by_status && p->task->state == KN_RUNNING);
		proc_finish(p);
	}
	n = kn_heap_top(&r->draining);
	*next_ns = n != NULL ? n->key : INT64_MAX;
	if (r->unread != NULL && !e->paused)
		*next_ns = e->loop->now_ns;
	r->err = 0;
	return err;
}

static void
process_close(struct kn_exec *e)
{
	struct runner *r = e->state;

	kn_fd_close(&r->null_fd);
	free(r->buffer);
	kn_heap_done(&r->draining);
	kn_launcher_done(&r->launcher);
	free(r);
}

const struct kn_exec_ops kn_exec_process = {
	.task_bytes = sizeof(struct proc),
	.fds_per_task = 4,
	.open = process_open,
	.start = process_start,
	.signal = process_signal,
	.look = process_look,
	.tick = process_tick,
	.close = process_close,
};

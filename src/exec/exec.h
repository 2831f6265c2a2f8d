/* SPDX-License-Identifier: MIT */
/*
 * What carries tasks out. An executor starts tasks, reports their output and, once for
 * each started task, their end. It knows nothing of order, retries or limits.
 */
#ifndef KN_EXEC_H
#define KN_EXEC_H

#include <stdbool.h>

#include "../core/task.h"
#include "../sys/loop.h"

/*
 * Who ends everything at once (Slurm at the time limit of a job, systemd at the end of a service) signals the
 * tasks and this program one after the other. So a process that somebody else killed has its end so much later:
 * a stop that comes until then was meant for it, too, and it counts as cancelled, to be run again, not as failed.
 * Where one was waited for in vain that only said by its status that it was killed, such a status means nothing, and is
 * not waited for again.
 *
 * Of a task that has ended, and has its end later, for that or for what it left on another machine, t->result.runtime_ns
 * says so by being more than 0: its time-out is over.
 */
#define KN_SUSPECT_NS ((int64_t)500000000)

/* Whom an executor reports to: run.c. Called on the loop's thread, from within its turn or tick, but
 * not from start() or signal(), where that is not said. */
struct kn_exec_host {
	/* Only of executors with a limit hook: what start() took begins to run. Its time counts from
	 * since_ns: CLOCK_MONOTONIC, not after now. */
	void (*began)(void *self, struct kn_task *t, int64_t since_ns);
	/* ... and: it is not going to run, or through no fault of its own has to run again (a worker died
	 * with others' records in it). That was no attempt; start() will be called once more. */
	void (*returned)(void *self, struct kn_task *t);
	/* The data is borrowed until it returns. */
	void (*output)(void *self, struct kn_task *t, enum knee_stream stream, const char *data, size_t n);
	/* t->result holds outcome, status and usage, and runtime_ns if it is known better than from now;
	 * t->usage the last of what was looked at. t and its private part stay valid until the turn is over. */
	void (*ended)(void *self, struct kn_task *t);
	/* Something the user should read, of t unless that is NULL. From start(), too: then the error that it
	 * returns says no more. */
	void (*note)(void *self, const struct kn_task *t, const char *text);
	/* Of executors whose tasks run elsewhere: all that t printed so far is void, it will come anew. */
	void (*again)(void *self, struct kn_task *t);
	/* ... and: so many tasks may run at once from now on, on all machines together (>= 1). reason: why a
	 * machine's own number changed, or NULL. From start(), too, without one. */
	void (*capacity)(void *self, unsigned limit, const char *machine, unsigned its_limit, const char *reason);
	void *self;
};

struct kn_exec {
	const struct kn_exec_ops *ops;
	const struct knee_options *options;     /* borrowed */
	struct kn_loop *loop;                   /* borrowed */
	struct kn_exec_host host;
	void *plugin_state;                     /* of options->plugin, made by its open() */
	bool plugin_lost;                       /* functions that were given up may go on: it must not be closed */
	void *state;                            /* the executor's own, from open to close */
	char error[512];                        /* text for an error that tick() returns, or "" */
	bool paused;                            /* set by run.c: report no output, but what is left when
	                                           a task ends */
	bool stopping;                          /* set by run.c: all that runs is made to end */
};

struct kn_exec_ops {
	size_t task_bytes;          /* of a task's private part, zeroed at creation */
	unsigned fds_per_task;
	/* 0 or -errno; after a failure close is not called. */
	int (*open)(struct kn_exec *e);
	/* 0; or -errno, nothing was started and ended() will not come. */
	int (*start)(struct kn_exec *e, struct kn_task *t);
	/* For executors that keep tasks ready for who runs them next, so that short ones need not wait for the
	 * loop: no more than limit tasks may run at once from now on. Returns how many more than that it
	 * would like to be given. NULL: what is started runs. Called before the starts of each turn. */
	unsigned (*limit)(struct kn_exec *e, unsigned limit);
	/* Of the ending sequence, or the user's. A task that has not begun yet is returned soon after any signal
	 * of the former, if it does not begin in this very moment. After SIGKILL one ends soon, whatever it does. */
	void (*signal)(struct kn_exec *e, struct kn_task *t, int signal);
	/* Bring t->usage up to date; deep: and see what it waits for. NULL: there is nothing to see. */
	void (*look)(struct kn_exec *e, struct kn_task *t, bool deep);
	/* Once a turn. *next_ns: when it wants to be called next, INT64_MAX for never. 0 or -errno. */
	int (*tick)(struct kn_exec *e, int64_t *next_ns);
	/* No task is running any more, or all were sent SIGKILL: frees all. */
	void (*close)(struct kn_exec *e);
};

/* Does that end say that too many run at once (knee_options.busy_exits)? */
static inline bool
kn_exec_says_busy(const struct knee_options *o, const struct knee_result *r)
{
	for (size_t i = 0; i < o->nbusy_exits && r->outcome == KNEE_EXITED; i++)
		if (r->status == o->busy_exits[i])
			return true;
	return false;
}

extern const struct kn_exec_ops kn_exec_process;
extern const struct kn_exec_ops kn_exec_dry;
extern const struct kn_exec_ops kn_exec_worker;
extern const struct kn_exec_ops kn_exec_thread;
extern const struct kn_exec_ops kn_exec_async;
extern const struct kn_exec_ops kn_exec_agent;

/* The i-th machine of kn_exec_agent: 1 and *ret; 0: there are no more. */
int kn_agent_host(const struct kn_exec *e, size_t i, struct knee_host_stats *ret);

#endif

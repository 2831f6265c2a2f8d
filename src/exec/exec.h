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

/* Whom an executor reports to: run.c. Called from within the loop's turn or tick. */
struct kn_exec_host {
	/* The data is borrowed until it returns. */
	void (*output)(void *self, struct kn_task *t, enum knee_stream stream, const char *data, size_t n);
	/* t->result holds outcome, status and usage, t->usage the last of what was looked at. t and its private part stay valid
	 * until the turn is over. */
	void (*ended)(void *self, struct kn_task *t);
	void *self;
};

struct kn_exec {
	const struct kn_exec_ops *ops;
	const struct knee_options *options;     /* borrowed */
	struct kn_loop *loop;                   /* borrowed */
	struct kn_exec_host host;
	void *state;                            /* the executor's own, from open to close */
	bool paused;                            /* set by run.c: report no output, but what is left when
	                                           a task ends */
};

struct kn_exec_ops {
	size_t task_bytes;          /* of a task's private part, zeroed at creation */
	unsigned fds_per_task;
	/* 0 or -errno; after a failure close is not called. */
	int (*open)(struct kn_exec *e);
	/* 0; or -errno, nothing was started and ended() will not come. */
	int (*start)(struct kn_exec *e, struct kn_task *t);
	void (*signal)(struct kn_exec *e, struct kn_task *t, int signal);
	/* Bring t->usage up to date; deep: and see what it waits for. NULL: there is nothing to see. */
	void (*look)(struct kn_exec *e, struct kn_task *t, bool deep);
	/* Once a turn. *next_ns: when it wants to be called next, INT64_MAX for never. 0 or -errno. */
	int (*tick)(struct kn_exec *e, int64_t *next_ns);
	/* No task is running any more, or all were sent SIGKILL: frees all. */
	void (*close)(struct kn_exec *e);
};

extern const struct kn_exec_ops kn_exec_process;
extern const struct kn_exec_ops kn_exec_dry;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Threads that carry out calls of a plugin's function, and the queue that they take them from.
 *
 * No more calls than the limit run at once: a thread that finds as many at work waits. Where calls are
 * brief a thread takes several at a time, so that it need not wait for the others between two of them.
 *
 * A thread cannot be killed. One whose call is given up is lost: another takes its place, and what is its
 * own lives on until it returns, if ever. What the crew shares is never freed under it.
 *
 * The lock is the desk's. It guards what is said to be under the lock, and is held by nobody for long.
 */
#ifndef KN_CREW_H
#define KN_CREW_H

#include <sys/resource.h>

#include "../core/chain.h"
#include "../core/task.h"
#include "call.h"

/* A thread takes no more at a time. */
#define KN_CREW_BATCH 32

/* From QUEUED to TAKEN by a thread, under the lock; from TAKEN to ENDED by that thread or to DROPPED by
 * the loop's, whichever comes first. */
enum kn_job_state {
	KN_JOB_QUEUED,
	KN_JOB_TAKEN,
	KN_JOB_ENDED,               /* its END is posted, or will be at once */
	KN_JOB_DROPPED,             /* given up: it is its thread's own, which posts nothing any more */
};

/* A call of one task's attempt. Owned by the executor, which keeps it for another task afterwards; one
 * that was dropped, by its thread. */
struct kn_job {
	struct kn_call call;        /* first */
	struct kn_chain_node node;  /* in a list of the executor's, in the queue, or in its thread's batch */
	atomic_int state;           /* enum kn_job_state */

	/* the executor's alone */
	struct kn_task *task;       /* borrowed */
	struct kn_buf text;         /* the input's strings, and pointers to them */
	bool going;                 /* it is in the list `gone` */
	bool began;                 /* the run has heard of it */
	int signal;                 /* the last one that it was sent */
	int64_t give_up_ns;         /* after SIGKILL: until then it may still return */

	/* its thread's, from TAKEN to ENDED */
	struct kn_crew_thread *thread;  /* borrowed; while it is TAKEN */
	pid_t tid;
	int64_t begin_ns, end_ns;
	int status;
	bool instant;               /* it was too short to be measured */
	struct rusage usage;        /* of this call alone; maxrss is not */
	int64_t user_ns, sys_ns;    /* the same: time on a core */
	int64_t delay_ns;           /* it was ready and waited for a core; < 0: not known */
};

struct kn_crew_thread {
	pthread_t thread;
	struct kn_crew *crew;       /* borrowed; or, of a lost one, owned together with the others */
	struct kn_crew_thread *next;
	pid_t tid;
	struct kn_chain batch;      /* jobs: what it took and has not begun; the loop's when its call was dropped */
	_Atomic(struct kn_job *) now;   /* what it runs */
	struct rusage usage;        /* its own, at the end of the last call that was measured */
	int schedstat_fd;           /* -1: none */
	int64_t delay_ns;           /* when last read */
	bool over;                  /* it returns, and may be joined; under the lock */
};

/* Under the lock, but for what the loop's thread alone writes: that may read it without. */
struct kn_crew {
	struct kn_desk desk;
	pthread_cond_t work;        /* there is something to take, or to end for */
	const struct knee_plugin *plugin;   /* borrowed */
	void *plugin_state;         /* borrowed */
	struct kn_chain queue;      /* of jobs */
	struct kn_crew_thread *threads;     /* owned; lost ones own themselves; the loop's thread alone */
	unsigned nthreads;          /* that neither are lost nor return */
	unsigned idle, busy, lost;
	unsigned nover;             /* to be joined */
	unsigned limit;             /* written by the loop's thread alone */
	bool brief;                 /* the same: calls are short, and their begin is no parcel */
	bool quit;
	bool orphan;                /* only lost threads own it: the last one frees it */
};

/* All of these are called on the loop's thread. */

/* A crew without threads: they come with the work. 0 or -errno. */
int kn_crew_new(
    struct kn_loop *loop, const struct knee_plugin *plugin, void *plugin_state, struct kn_crew **ret);
/* No more work comes. Waits for all threads but the lost ones, and frees the crew, or leaves that to the
 * last of these. True: some of them go on. */
bool kn_crew_close(struct kn_crew *c);
/* So many at once from now on. */
void kn_crew_limit(struct kn_crew *c, unsigned limit, bool brief);
/* Put all of fresh into the queue at once, which empties it, and see that there is someone to take what
 * waits. When no thread can be made, those that there are do it; 0, or -errno when there are none. */
int kn_crew_queue(struct kn_crew *c, struct kn_chain *fresh);
/* Take j, which was put into the queue, out again; false: a thread has it. */
bool kn_crew_recall(struct kn_crew *c, struct kn_job *j);
/* Give j up, all of whose parcels were read: from now on it posts none, and is its thread's. What that
 * took beside it goes back into the queue. False: it ends in this very moment, or posts something. */
bool kn_crew_drop(struct kn_crew *c, struct kn_job *j);

void kn_job_free(struct kn_job *j);

static inline struct kn_job *
kn_job_at(struct kn_chain_node *n)
{
	return n != NULL ? (struct kn_job *)(void *)((char *)n - offsetof(struct kn_job, node)) : NULL;
}

#endif

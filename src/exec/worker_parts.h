/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the worker executor know of each other: worker.c, records that wait and who gets them;
 * worker_window.c, those that a worker has; worker_usage.c, what they use; worker_process.c, a process and
 * its pipes; worker_held.c, answers that wait to be certain.
 */
#ifndef KN_EXEC_WORKER_PARTS_H
#define KN_EXEC_WORKER_PARTS_H

#include "../core/chain.h"
#include "../core/framing.h"
#include "../sys/probe.h"
#include "command.h"
#include "exec.h"

/* Records that a worker may have at once. */
#define KN_WINDOW_MAX 64

/* Bytes read at once. */
#define KN_READ_BYTES (64 * 1024)

/* Up to this many at once fit the usual limit of 1,024 open files. */
#define KN_FEW_WORKERS 150

/* Answers kept until they are certain; above that they are passed on, or, while nothing may be, left in
 * the pipe. */
#define KN_HELD_BYTES ((size_t)1 << 20)

/* What workers say on stderr between two records, for the next one. */
#define KN_LATE_BYTES ((size_t)1 << 16)

enum kn_job_state {
	KN_JOB_NONE,                /* not ours */
	KN_JOB_QUEUED,
	KN_JOB_SENT,                /* a worker has it, and others to answer before */
	KN_JOB_FRONT,               /* in the works */
	KN_JOB_ANSWERED,
};

/* A task's private part. */
struct kn_job {
	struct kn_chain_node node;  /* first; QUEUED: in the queue */
	struct kn_task *task;       /* borrowed */
	enum kn_job_state state;
	bool told;                  /* the run knows that it has begun */
	bool recalled;              /* it was told to end before that */
	struct kn_worker *worker;   /* SENT, FRONT, ANSWERED */
	unsigned place;             /* in its window */
	struct kn_buf request;      /* owned; QUEUED */
	size_t request_bytes;
	int64_t since_ns, until_ns; /* when it became the front, and was answered */
	int status;                 /* ANSWERED */
	bool looked;                /* base is known */
	struct kn_usage base;       /* what its worker had used before */
	bool part_open;             /* in the middle of its part for the whole */
};

enum kn_worker_state {
	KN_WORKER_IDLE,
	KN_WORKER_BUSY,
	KN_WORKER_RETIRED,          /* its stdin is closed: it is to end */
	KN_WORKER_DOOMED,           /* broke the protocol, or was told to end: killed, not dead yet */
	KN_WORKER_GONE,
};

/* In runner.workers until it is GONE, then in runner.gone until no event can reach it. */
struct kn_worker {
	struct kn_chain_node node;  /* first */
	struct kn_exec *exec;       /* borrowed */
	enum kn_worker_state state;
	unsigned number;            /* {%} of its command; the lowest free one, from 1 */

	/* worker_process.c */
	struct kn_child child;
	struct kn_watch in, out, err, end;
	int in_far;                 /* the other end of its stdin: see there */
	struct kn_buf unsent;       /* requests, the first sent bytes of which are written */
	size_t sent;
	bool in_full;               /* waits to be written to */
	bool out_ready, err_ready;  /* may have more to read */
	bool signalled;             /* it was made to end */
	struct kn_heap_node due;    /* when to take the next step of its ending */
	size_t term_step;
	bool suspect;               /* somebody else killed it: `due` is when its end counts; ... */
	bool by_status;             /* ... as it says itself */
	int64_t ended_ns;           /* when that was, or its end; 0: runs */

	/* worker_window.c */
	struct kn_job *window[KN_WINDOW_MAX];   /* NULL: its answer is nobody's */
	unsigned nwindow, nanswered;
	unsigned size;              /* records that it may get at once */
	uint64_t answered;          /* in all */
	unsigned quiet;             /* windows without a word on stderr, from 0 on */
	int64_t window_ns;          /* when it got its window */
	bool slow;                  /* some record of its window takes long, and is told before its end */
	bool certain;               /* it waited for its next record, and was read after that */
	bool unseen;                /* it never seems to wait: that is not asked any more */
	unsigned blind;             /* windows in a row at whose end it did not */
	int64_t settle_ns;          /* look again whether it waits; 0: its window is not answered */
	int64_t settle_wait_ns;
	int64_t record_ns;          /* how long one of the last window took */
	int64_t cpu_ns;             /* of its process, at the end of the last window */
	struct kn_probe probe;
	struct kn_answers answers;
	const char *broke;          /* DOOMED: how it broke the protocol; NULL: it did not */

	/* worker_held.c */
	struct kn_buf held;         /* struct chunk, bytes, ... */
	size_t held_at;             /* the first bytes of it that are passed on already */
	bool loose;                 /* of this window some was passed on: the rest may be, too */
};

struct kn_runner {
	struct kn_launcher launcher;
	struct knee_template *command;      /* owned: the workers' */
	enum knee_framing framing;
	struct kn_chain workers, gone;      /* of kn_worker */
	unsigned nworkers;          /* IDLE and BUSY */
	unsigned nidle, nbusy;
	unsigned limit;
	uint64_t started;           /* workers, in all */
	struct kn_chain queue;      /* of kn_job */
	struct kn_heap due;
	struct kn_buf numbers;      /* a byte for each number: 1 when it is taken */
	struct kn_buf record;
	struct kn_buf late;         /* stderr of no record */
	char *buffer, *err_buffer;
	bool unread;                /* some worker is ready to be read */
	bool settling;              /* some worker has a settle_ns */
	bool recalled;              /* some job is recalled */
	bool no_stop;               /* a status was waited for in vain */
	bool hurry;                 /* the run was told to end: at its end nobody is waited for */
	int err;                    /* the next tick says so */
};

static inline struct kn_job *
kn_job_at(struct kn_chain_node *n)
{
	return (struct kn_job *)(void *)n;
}

static inline struct kn_worker *
kn_worker_at(struct kn_chain_node *n)
{
	return (struct kn_worker *)(void *)n;
}

/* ---- worker_process.c ---------------------------------------------------- */

/* Start a worker, IDLE. 0 or -errno, as kn_spawn(). */
int kn_worker_start(struct kn_exec *e, struct kn_worker **ret);
/* Write what is unsent, as far as it can be now. */
void kn_worker_write(struct kn_worker *w);
/* Read its stderr, then its answers, as far as can be now. */
void kn_worker_read(struct kn_worker *w);
/* Signal its group. */
void kn_worker_signal(struct kn_worker *w, int signal);
/* No more records: close its stdin, and see to its end. */
void kn_worker_retire(struct kn_worker *w);
/* End it now. */
void kn_worker_kill(struct kn_worker *w);
/* Read on where it was cut short. */
void kn_worker_read_on(struct kn_exec *e);
/* Take the steps of endings that are due. */
void kn_worker_steps(struct kn_exec *e);
/* Free those that no event can reach any more. */
void kn_worker_free_gone(struct kn_runner *r);
/* All that are left: let them end, then make them. Returns when none is left. */
void kn_worker_end_all(struct kn_exec *e);
/* Is it asleep until it can read its next record? */
bool kn_worker_waits(const struct kn_worker *w);
/* Bytes of its window that it has not read, in the pipe and before it. */
size_t kn_worker_unread(const struct kn_worker *w);

/* ---- worker.c ------------------------------------------------------------ */

/* Hand out what is queued. */
void kn_worker_refill(struct kn_exec *e);

/* ---- worker_window.c ----------------------------------------------------- */

/* An idle worker gets its window: of what is queued as many as there are, up to most. 0, or -errno: it gets
 * none. */
int kn_worker_give(struct kn_worker *w, unsigned most);
/* An idle worker gets no more. */
void kn_worker_dismiss(struct kn_worker *w);
/* Of its window: what is recalled and not begun goes back, and its answer will be nobody's; what is in the
 * works begins in this very moment. */
void kn_worker_recall(struct kn_worker *w);
/* It goes back to the run: it did not begin, or is not to blame for what went wrong. */
void kn_job_return(struct kn_exec *e, struct kn_job *job);
/* The run is to hear of records that take long, and only of these before they end: what is answered and waits
 * for its window to be settled counts as running for the run, and is not. When the next will be one;
 * INT64_MAX: none. */
int64_t kn_worker_tell_slow(struct kn_exec *e);
/* Look again at those whose windows are answered; when next, or INT64_MAX. */
int64_t kn_worker_settle_again(struct kn_exec *e);
/* Bytes of its stdout. */
void kn_worker_answers(struct kn_worker *w, const char *data, size_t size);
/* Bytes of its stderr. */
void kn_worker_errors(struct kn_worker *w, const char *data, size_t size);
/* All that it wrote so far was read. */
void kn_worker_settle(struct kn_worker *w);
/* The run is to know that the job has begun. */
void kn_worker_tell(struct kn_worker *w, struct kn_job *job);
/* It has ended, and whether it is to blame is not known yet: so does its front. */
void kn_worker_doubt(struct kn_worker *w);
/* It has ended, with this wait status; what it used in all. */
void kn_worker_ended(struct kn_worker *w, int status, const struct rusage *usage);

/* ---- worker_usage.c ------------------------------------------------------ */

/* The job is at the front now: what did its worker use before? A worker that nobody looks at, as those of
 * short records are, costs nothing here. */
void kn_worker_usage_begin(struct kn_worker *w, struct kn_job *job);
/* What the last look showed, without what the worker had used before, is the task's. */
void kn_worker_usage_since(const struct kn_worker *w, const struct kn_job *job);
/* Share out the CPU time since the last time over the first n records of the window. */
void kn_worker_usage_share(struct kn_worker *w, unsigned n, int64_t cpu_ns);
/* kn_exec_ops.look */
void kn_worker_look(struct kn_exec *e, struct kn_task *t, bool deep);

/* ---- worker_held.c ------------------------------------------------------- */

/* Output of a record of w's window: passed on when that may be now, else kept. */
void kn_worker_output(struct kn_worker *w, struct kn_job *job, const struct kn_piece *piece);
/* Nothing more can be kept, and nothing passed on. */
bool kn_worker_full(const struct kn_worker *w);
/* Pass on what is kept of the jobs up to this place in the window. */
void kn_worker_release(struct kn_worker *w, unsigned place);
/* ... of that one alone, which then has to end: it is kept still, as the output of nobody. */
void kn_worker_release_one(struct kn_worker *w, unsigned place);
/* Forget it. */
void kn_worker_forget(struct kn_worker *w);

#endif

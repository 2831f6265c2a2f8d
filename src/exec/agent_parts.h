/* SPDX-License-Identifier: MIT */
/* What the files of the executor for other machines (agent*.c) know of each other. */
#ifndef KN_AGENT_PARTS_H
#define KN_AGENT_PARTS_H

#include <stddef.h>

#include "../core/chain.h"
#include "../core/fleet.h"
#include "../sys/courier.h"
#include "../sys/dial.h"
#include "agent_link.h"
#include "exec.h"

struct kn_job;

/* A task, or a copy of one, that a machine has: between its TASK and its RESULT. */
struct kn_errand {
	struct kn_chain_node node;  /* first; of the same machine */
	struct kn_job *job;
	uint64_t id;                /* on the wire; 0: no machine has it */
	uint32_t host;              /* who has it */
	bool began;
	bool signalled;             /* it was sent a signal that ends things */
	bool asked;                 /* it is to be given back, if it has not begun */
	bool answered;              /* its machine has no more to say of it */
	int64_t since_ns;           /* when it began; before that, when it was sent */
};

/* The private part of a task. */
struct kn_job {
	struct kn_chain_node node;  /* first; in the list of those that wait for a machine */
	struct kn_task *task;
	struct kn_errand errand;
	struct kn_errand *twin;     /* owned: a copy that runs elsewhere, or NULL */
	struct kn_buf twin_output;  /* what that has printed: frames OUT and ERR */
	uint32_t pin, avoid;        /* the machine that it must run on, where it failed last; KN_FLEET_ANY: none */
	unsigned losses;            /* machines that were lost while it ran there */
	bool recalled;              /* waits for a machine, and is not wanted any more */
	bool alone;                 /* a copy of it could not be held: it gets no other one */
	int64_t given_up_ns;        /* it is to end: when it does so, whatever its machine says; 0: it is not */
	bool sent_kill;             /* ... by SIGKILL; else only if it has not begun */
	struct kn_chain_node killed_node;
	bool killed;                /* is in that list */
};

enum kn_remote_stage {
	KN_REMOTE_GREETING,        /* nothing has come from the agent */
	KN_REMOTE_HELLO,           /* OPEN is sent */
	KN_REMOTE_READY,           /* HELLO has come */
	KN_REMOTE_UP,
	KN_REMOTE_BYE,             /* it ended in good order */
};

struct kn_remote {
	struct kn_link link;        /* first: a link is its machine */
	struct kn_exec *exec;       /* borrowed */
	const struct knee_host *spec;   /* borrowed */
	uint32_t index;
	enum kn_remote_stage stage;
	bool dirty;                 /* has something to write, and is in that list */
	bool urgent;                /* ... and not only tasks */
	uint32_t unsent;            /* tasks of that */
	bool was_up;
	bool got_program;           /* over this connection */
	struct kn_remote *next_dirty;
	struct kn_chain errands;    /* the latest first */
	struct kn_sendoff *sendoffs, *sendoff_last;     /* owned list: tasks whose files go ahead of them */
	struct kn_courier courier;  /* files that come back */
	struct kn_chain waiting;    /* jobs for it alone that it has no room for */
	struct kn_buf words;        /* lines that were said before it was up */
	unsigned running, peak;
	uint64_t lost_tasks;
	unsigned notes;             /* of its agent, passed on */
	unsigned base_changes;      /* how often a file for every machine changed while it was sent */
	uint64_t reasons;           /* why its number changed: how often that was */
	char why[160];
};

struct kn_id_entry {
	struct kn_errand *errand;   /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct kn_agents {
	const struct knee_machines *how;    /* borrowed */
	struct kn_fleet fleet;
	struct kn_remote *machines;        /* owned, how->nhosts of them */
	struct kn_spawner spawner;
	struct kn_program program;
	struct kn_dial *dial;               /* owned; NULL: nobody connects back */
	struct kn_chain waiting;            /* jobs for any machine */
	struct kn_chain killed;             /* jobs that were sent SIGKILL: by killed_node */
	struct kn_remote *dirty;
	struct kn_id_entry *ids;            /* owned */
	size_t nids, ids_cap;
	uint32_t free_id;                   /* UINT32_MAX: none */
	struct kn_buf payload;              /* of a TASK in the making */
	uint64_t limit_told;
	int64_t gather_ns;                  /* when tasks that are gathered go out at the latest */
	int64_t started_ns;                 /* when the last task was given to us, or links are read again */
	int64_t copies_ns;                  /* when to look for tasks to be copied; with --speculate */
	int64_t tick_ns;                    /* the last one */
	int64_t idle_ns;                    /* when to look for tasks that wait while other machines are idle */
	double runtime_ns;                  /* of a task; follows the latest; 0: none has ended */
	size_t sendoffs;                    /* of all machines */
	bool slots;                         /* {%} means something: no task is handed out ahead, for each has one */
	bool paused;                        /* links are not read */
	bool recalls;                       /* jobs that wait are not wanted any more */
	bool gone;                          /* no machine is left: the next job that needs one ends the run */
	bool closing;
};

static inline struct kn_errand *
kn_errand_at(struct kn_chain_node *n)
{
	return (struct kn_errand *)(void *)n;
}

static inline struct kn_job *
kn_job_at(struct kn_chain_node *n)
{
	return (struct kn_job *)(void *)n;
}

static inline struct kn_job *
kn_job_killed_at(struct kn_chain_node *n)
{
	return n != NULL ? (struct kn_job *)(void *)((char *)n - offsetof(struct kn_job, killed_node)) : NULL;
}

/* agent_task.c: what is said of tasks, both ways */
int kn_agent_send(struct kn_exec *e, struct kn_remote *m, struct kn_errand *r);
/* signal: with KN_SIGNAL_UNWANTED or without. */
void kn_agent_signal(struct kn_exec *e, struct kn_errand *r, int signal);
/* One of those that end something, or may: not those that stop and continue. */
bool kn_agent_signal_ends(int signal);
void kn_agent_frame(struct kn_remote *m, const struct kn_frame *f);
/* r leaves its machine, whatever that says of it later; if it has not answered it is told to end it. */
void kn_agent_forget(struct kn_exec *e, struct kn_errand *r);
/* The machine has something to write. */
void kn_agent_dirty(struct kn_remote *m);

/* The errand that this machine has by that name; NULL: none, or no more. */
struct kn_errand *kn_agent_errand(const struct kn_remote *m, uint64_t id);
/* The TASK of r. flags: enum kn_task_flags. 0 or -errno. */
int kn_agent_task_put(struct kn_remote *m, const struct kn_errand *r, uint32_t flags);

/* agent_files.c: files that go with tasks */
/* Does the next task of m wait for files to be sent first? */
bool kn_agent_files_ahead(const struct kn_remote *m);
/* The TASK of r, which has its id, goes when its files have. 0 or -errno. */
int kn_agent_files_send(struct kn_remote *m, const struct kn_errand *r);
/* m is up: it gets what every machine gets. 0 or -ENOMEM. */
int kn_agent_files_base(struct kn_remote *m);
/* Go on with what is on its way, before the links are flushed. */
void kn_agent_files_tick(struct kn_exec *e, int64_t *next_ns);
/* r is sent a signal: true when its TASK has not been, and it goes back soon (ends) or hears nothing of it. */
bool kn_agent_files_signal(struct kn_remote *m, const struct kn_errand *r, bool ends);
/* The fields of TASK that name what comes back and is removed. 0 or -errno. */
int kn_agent_files_put(struct kn_buf *to, const struct kn_remote *m, const struct kn_task *t);
/* FILE or DATA. 0, -EBADMSG, or another -errno: m is of no use any more. */
int kn_agent_files_came(struct kn_remote *m, const struct kn_frame *f);
/* r has this result, and its files get their names: whether all have; *res says so when they cannot. */
bool kn_agent_files_keep(struct kn_remote *m, const struct kn_errand *r, struct knee_result *res);
/* Files of a task wait there to be removed: tell whether that may be. */
void kn_agent_files_kept(struct kn_remote *m, uint64_t id, enum kn_kept kept);
/* What came by this id is not wanted, unless it was kept. */
void kn_agent_files_forget(struct kn_remote *m, uint64_t id);
void kn_agent_files_lost(struct kn_remote *m);

/* agent_jobs.c: tasks that wait for a machine */
/* Give j to one, or let it wait. 0, or -errno: it cannot be sent. */
int kn_jobs_start(struct kn_exec *e, struct kn_job *j);
/* Those that wait here: who is not wanted any more goes back, the others to who has room. */
void kn_jobs_tend(struct kn_exec *e);
/* Tasks that a machine has had for a while, and that wait there for others to end, go where there is room. They come
 * back by RETURNED, unless they began meanwhile. */
void kn_jobs_move(struct kn_exec *e, int64_t *next_ns);

/* agent_errand.c: the end of what machines have, and copies */
/* A copy's output is held up to so many bytes; one that prints more is ended. */
#define KN_TWIN_OUTPUT_MOST ((size_t)1024 * 1024)
/* Errand r has its result; or it did not run, and goes back: by_machine: that one is better avoided. Both may free r. */
void kn_errand_end(struct kn_exec *e, struct kn_errand *r, const struct knee_result *res);
void kn_errand_back(struct kn_exec *e, struct kn_errand *r, bool by_machine);
/* The command of r has ended, after so long, and its files are on their way: that is not limited in time. May free r. */
void kn_errand_ended(struct kn_exec *e, struct kn_errand *r, int64_t runtime_ns);
/* The copy of j is not wanted any more. */
void kn_twin_end(struct kn_exec *e, struct kn_job *j);
/* Those that were sent SIGKILL and are not heard of: whatever their machine does, the run goes on. */
void kn_killed_give_up(struct kn_exec *e, int64_t *next_ns);
/* --speculate: when nothing new has come for a while, and there is room: the end of the input, most likely. */
void kn_copies_make(struct kn_exec *e, int64_t *next_ns);

/* agent_remote.c: machines */
extern const struct kn_link_host kn_remote_link;
/* kn_dial: from now on fd is the way to that machine's agent. */
void kn_remote_dialled(void *self, uint32_t host, int fd);
/* All that is due with the machines. */
void kn_remotes_due(struct kn_exec *e, int64_t *next_ns);
/* 0, or -errno: jobs wait for machines, and there are none: the run is at its end. Said once. */
int kn_remotes_gone(struct kn_exec *e);
/* The connection ends, and what leads there. Where that is the agent itself, with its keeper, it is told to end all at
 * once: killed together with its keeper it would leave its tasks behind. */
void kn_remote_close(struct kn_remote *m);
/* The connection is of no use any more: its tasks go back. for_good: do not try again. */
void kn_remote_lost(struct kn_remote *m, const char *why, bool for_good);
void kn_remote_note(struct kn_remote *m, const struct kn_task *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* agent.c */
/* A machine that has not read so much gets no more tasks. */
#define KN_PENDING_MOST ((size_t)512 * 1024)
/* Tell the run how many may be out now, if that has changed. */
void kn_agent_capacity(struct kn_exec *e);

#endif

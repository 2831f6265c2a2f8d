/* SPDX-License-Identifier: MIT */
/*
 * The far end of a connection: an agent, which carries out what a coordinator on another machine gives it.
 *
 *	frames in   serve_in.c     TASK -> knee_submit(), SIGNAL -> knee_task_signal(), CLOSE -> no more will come
 *	the engine  run.c          with the order PIECES: output as it comes, each result behind its own
 *	frames out  serve_out.c    two sinks: OUT, ERR and RESULT as text is printed; BEGAN, NOTE as it happens
 *	files       serve_files.c  what comes before a task, and what goes back after it; KEPT -> it is removed here
 *
 * The coordinator keeps order, attempts, time-outs and the journal; here each task runs once. It is known there by
 * its id, here by the record that is its input's data, and to the engine by a number.
 *
 * The agent lives exactly as long as its coordinator: it ends itself and all its tasks when the connection is
 * closed, when what comes is not sense, or when nothing comes for the time-out. A coordinator that does not read
 * what is sent to it is none of these, as long as it says PING.
 */
#ifndef KN_SERVE_H
#define KN_SERVE_H

#include "core/frame.h"
#include "core/open.h"
#include "run.h"
#include "sys/courier.h"

/* Tasks that an agent has at most, running and waiting. */
#define KN_SERVE_TASKS_MOST 65536
#define KN_SERVE_BUCKETS 4096
/* Of their arguments, in all: so much, and for each that was said to be able to run what one may have. */
#define KN_SERVE_BYTES_MOST ((uint64_t)256 * 1024 * 1024)
#define KN_SERVE_LINE_BYTES ((uint64_t)KN_FRAME_TASK_MOST)

/* A task that has no RESULT yet. Owned by the table. */
struct kn_serve_task {
	struct kn_serve_task *next; /* in its bucket */
	uint64_t id, seq;           /* the coordinator's */
	uint64_t number;            /* the engine's */
	unsigned slot;
	bool began;
	bool unwanted;              /* the coordinator has it no more: no files go back */
	const char **returns;       /* owned array of nreturns, into bytes: paths that are wanted back */
	size_t nreturns;
	const char **clean;         /* owned array of nclean, the same: what is removed when it has ended */
	size_t nclean;
	char *bytes;                /* owned: of the frame, when it has any of these; else NULL */
	bool waits;                 /* files of it stay until its RESULT is answered */
	size_t size;                /* of its TASK */
};

struct kn_serve {
	const struct knee_agent_options *o;     /* borrowed */
	int in, out;                /* the connection, borrowed; or owned when it was dialled */
	int life;                   /* -1; the first connection when `in` was dialled: its end is the end */
	bool dialled;
	knee *k;
	struct kn_open open;        /* borrows from open_bytes */
	struct kn_buf open_bytes;
	bool opened, closed;        /* OPEN, CLOSE came */
	bool draining;              /* told to end */
	bool leaving;               /* no task is left: what is to be said is being said */
	bool left;                  /* BYE is in `send`: nothing follows it */

	/* in */
	struct kn_buf got;
	struct kn_buf more;         /* of TASK_MORE */
	int64_t heard_ns;           /* when something came last */
	int timer;                  /* goes off when that is too long ago */

	/* tasks */
	struct kn_serve_task *buckets[KN_SERVE_BUCKETS];
	size_t ntasks;
	uint64_t bytes;             /* sum of their sizes */
	size_t longest;             /* of all TASKs that came */
	uint64_t submitted;

	/* out */
	struct kn_buf send;         /* sent of it are out */
	size_t sent;
	int wake_fd;                /* out again, to be waited for */
	struct kn_watch wake;
	bool pong;                  /* pong_stamp is to be sent when there is room */
	uint64_t pong_stamp;
	uint32_t limit, want;       /* as was said last */
	uint32_t limit_most;        /* that was ever said */
	double length_ns;           /* of tasks, the last ones counting most; 0: none has ended */
	char why[160], why_told[160];

	/* files */
	struct kn_courier courier;
	struct kn_serve_back *back, *back_last; /* owned list: ended tasks, whose files go back */
	struct kn_serve_waiting *waiting, *waiting_last;    /* owned list: files of tasks whose RESULT is to be answered */
	bool stays;                 /* the folder that was made has files that are wanted yet */
	int64_t alive_ns;           /* when the coordinator was last told that we are, unasked */

	/* what was made for the engine */
	const char **env;           /* owned array; the last two owned, too */
	char *own[2];
	char nice_text[16];
	const char *prefix[3];
	struct knee_template *command;
	struct knee_sink sinks[2];
	char *folder;               /* owned; made for this run, and removed at its end unless it stays; or NULL */

	char error[512];            /* "" or the text of what ended it */
};

/* serve.c */

/* err, with this text, unless there is one already. */
int kn_serve_fail(struct kn_serve *s, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct kn_serve_task *kn_serve_find(const struct kn_serve *s, uint64_t id);
/* In the table from now on. */
void kn_serve_add(struct kn_serve *s, struct kn_serve_task *t);
/* Out of it, and freed. */
void kn_serve_forget(struct kn_serve *s, struct kn_serve_task *t);
void kn_serve_task_free(struct kn_serve_task *t);

/* serve_in.c */

/* Read what there is into s->got. 1, 0: nothing, or -errno with the text set: the connection is lost. */
int kn_serve_read(struct kn_serve *s);
/* Do what the frames in s->got say; before OPEN came, that is all. */
int kn_serve_frames(struct kn_serve *s);

/* serve_out.c */

void kn_serve_sinks(struct kn_serve *s);
/* The RESULT of t, which is forgotten; RETURNED, when it was ended only because the agent ends. 0 or -ENOMEM. */
int kn_serve_result(struct kn_serve *s, struct kn_serve_task *t, const struct knee_result *r);
/* Something for the user to read, of the task with that id; 0: of none. */
int kn_serve_note(struct kn_serve *s, uint64_t id, const char *text);
/* Say READY, and what is wanted. */
int kn_serve_ready(struct kn_serve *s);
int kn_serve_pong(struct kn_serve *s, uint64_t stamp);
/* Write what the connection takes now. 0 or -errno. */
int kn_serve_write(struct kn_serve *s);
/* Is much of it not out? */
bool kn_serve_blocked(const struct kn_serve *s);

/* serve_files.c */

/* FILE or DATA came: for the task that comes later, or for all. 0 or -errno with the text set: the end. */
int kn_serve_file(struct kn_serve *s, const struct kn_frame *f);
/* t has ended with r, its output is in s->send. Send back what is wanted; what is to be removed waits then. True:
 * kn_serve_result is called later, when that is done; false: at once. */
bool kn_serve_files_back(struct kn_serve *s, struct kn_serve_task *t, const struct knee_result *r);
/* Whether t has its files: 0; 1: it has not, and the coordinator was told so; -ENOMEM. */
int kn_serve_files_check(struct kn_serve *s, const struct kn_serve_task *t);
/* t has ended: what came for it alone is removed, if that is wanted. */
void kn_serve_files_clean(struct kn_serve *s, const struct kn_serve_task *t);
/* The RESULT of that id is answered: what waits is removed, or stays. 0, or -errno with the text set: the end. */
int kn_serve_files_kept(struct kn_serve *s, uint64_t id, enum kn_kept kept);
/* Put together more of what goes back. 0 or -errno. */
int kn_serve_files_pump(struct kn_serve *s);
/* What nobody answered for stays. */
void kn_serve_files_done(struct kn_serve *s);

#endif

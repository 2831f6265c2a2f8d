/* SPDX-License-Identifier: MIT */
/*
 * One connection to an agent: the child process that leads there (ssh, srun, or the program itself), bytes
 * each way without waiting, and what it says on its stderr. It knows of frames only that the greeting comes
 * before them. Part of exec/agent.c.
 */
#ifndef KN_AGENT_LINK_H
#define KN_AGENT_LINK_H

#include "../core/frame.h"
#include "../sys/loop.h"
#include "../sys/spawn.h"
#include "command.h"

/* Lines of stderr that are passed on, of one connection. */
#define KN_LINK_WORDS_MOST 40

enum kn_link_phase {
	KN_LINK_CLOSED,
	KN_LINK_BOOT,               /* its greeting has not come */
	KN_LINK_FRAMES,
};

struct kn_link;

/* Called within the loop's turn. Each may close the link. */
struct kn_link_host {
	/* The greeting has come. */
	void (*greeted)(struct kn_link *l, unsigned protocol, const char *version);
	void (*frame)(struct kn_link *l, const struct kn_frame *f);
	/* "knee-boot want MACHINE SIZE" has come. */
	void (*wanted)(struct kn_link *l, const char *machine, uint64_t size);
	/* Nothing more will come: why, in words. Called once, and not after kn_link_close(). */
	void (*lost)(struct kn_link *l, const char *why);
	/* A line of its stderr, or of what came before the greeting when that is an error (boot). */
	void (*said)(struct kn_link *l, const char *line);
};

struct kn_link {
	const struct kn_link_host *host;    /* borrowed */
	struct kn_loop *loop;               /* borrowed */
	enum kn_link_phase phase;
	struct kn_child child;
	bool child_lives;                   /* and is to be waited for */
	struct kn_watch end, in, out, err;  /* in: what we write to; out, err: what we read */
	int life_fd;                        /* after a move: the child's stdin, which tells it that we live; or -1 */
	struct kn_buf received, sending, words;
	size_t sent;                        /* bytes of sending that are gone already */
	const char *program;                /* borrowed: goes before what is in sending, program_left bytes */
	size_t program_left;
	bool in_full;                       /* the other end takes no more for now */
	bool out_ended;                     /* nothing more comes from there, but its end may tell more */
	bool reading;                       /* a call of host->frame is going on */
	unsigned nwords;
	char last[200];                     /* of stderr: the last line, printable */
	uint64_t read_bytes;                /* before the greeting */
};

/* l is zeroed. */
void kn_link_init(struct kn_link *l, const struct kn_link_host *host, struct kn_loop *loop);
/* Closes it, and waits for the child, which was killed. */
void kn_link_done(struct kn_link *l);

/* Start the command. 0 or -errno. Only when !kn_link_busy(). */
int kn_link_open(struct kn_link *l, struct kn_spawner *spawner, const char *path, const char *const *argv,
    size_t nargv, char *const *env);
/* The child of before has not been waited for yet. */
bool kn_link_busy(const struct kn_link *l);
/* Its stdin gets this program; borrowed until the link is closed. */
void kn_link_program(struct kn_link *l, const void *program, size_t size);
/* From now on bytes go through fd, a socket, which it takes; frames that have come count, what was begun of one does not;
 * the child lives on. 0 or -errno (fd is closed then). */
int kn_link_move(struct kn_link *l, int fd);
/* Write what is in l->sending, as far as it goes. Calls nothing. */
void kn_link_flush(struct kn_link *l);
/* Bytes that wait to be written. */
size_t kn_link_pending(const struct kn_link *l);
/* Read on, or do not: what comes waits in the pipe. */
void kn_link_pause(struct kn_link *l, bool pause);
/* End the connection: the child gets EOF and `signal`. What it still says is not heard. */
void kn_link_close(struct kn_link *l, int signal);

#endif

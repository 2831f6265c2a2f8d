/* SPDX-License-Identifier: MIT */
/* sem_file.c: the file of one semaphore: who holds a slot, and the locks of those who look. */
#ifndef CLI_SEM_FILE_H
#define CLI_SEM_FILE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* {.fd = -1} is valid and closed. */
struct sem_file {
	int fd;
	char *path;                 /* owned */
};

#define SEM_RECORD_BYTES 64

/* The live holders, as read under the lock. {0} is valid. */
struct sem_holders {
	size_t n;
	char (*records)[SEM_RECORD_BYTES];  /* owned: n, and room for one more */
	struct pollfd *ends;        /* owned: n, and room for one more; fd is a pidfd, or -1: not watched */
};

/* Open the file of this id; it is made when make is set. 0, -ENOENT (it is not there, and make is
 * not set), or another -errno after say(). */
int sem_file_open(struct sem_file *f, const char *id, bool make);
/* Forgets its locks, too. Takes a closed one. */
void sem_file_close(struct sem_file *f);

/*
 * Wait in the queue of those who want at most slots to hold one, until all who came before have
 * theirs. slots 0: wait until all queues are empty, and stay in none. A stop of this process or a
 * signal with a handler leaves the queue; afterwards it is joined again, until deadline_ns (of the
 * monotonic clock; INT64_MAX: none).
 * 0, -ETIME, or -errno after say().
 */
int sem_file_queue(struct sem_file *f, unsigned slots, int64_t deadline_ns);
void sem_file_queue_leave(struct sem_file *f, unsigned slots);
/* 1: somebody is in a queue, 0: nobody, -errno after say(). */
int sem_file_queued(struct sem_file *f);

/* Nobody else reads or changes the holders until sem_file_unlock(). 0, -ESTALE: the file was removed
 * meanwhile (not locked then), or -errno after say(). */
int sem_file_lock(struct sem_file *f);
void sem_file_unlock(struct sem_file *f);
/* With the lock: the holders that are still there. *ret is replaced. 0 or -errno after say(). */
int sem_file_read(struct sem_file *f, struct sem_holders *ret);
/* With the lock: the holders are those of h and pid, a process that exists. 0 or -errno after say(). */
int sem_file_add(struct sem_file *f, struct sem_holders *h, pid_t pid);
/* With the lock, when there are neither holders nor a queue. */
void sem_file_remove(struct sem_file *f);
void sem_holders_done(struct sem_holders *h);

/* The id that stands for the controlling terminal, in text. */
void sem_terminal_id(char *text, size_t size);

#endif

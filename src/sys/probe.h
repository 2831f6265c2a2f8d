/* SPDX-License-Identifier: MIT */
/*
 * What a running task uses: its process and all processes below it, read from /proc without any
 * privilege. The descriptor of its own /proc/PID/io is kept open, so that the totals of a process
 * that has ended but was not waited for can still be read, with those of its waited-for children.
 *
 * The totals never fall, although the tree changes while it is read: a process that ends between
 * two reads takes its counters with it until they appear in its parent, so the greatest sum so
 * far counts. What a process that detached itself from the tree did is lost.
 *
 * Nothing here blocks. A look costs some ten microseconds for each process of the tree, of which
 * it takes 64 at most.
 */
#ifndef KN_PROBE_H
#define KN_PROBE_H

#include <stdbool.h>
#include <sys/types.h>

#include "../core/reading.h"

/* One task's probe; KN_PROBE_NONE is a valid empty one that holds nothing. */
struct kn_probe {
	pid_t pid;                  /* 0: none */
	int io_fd;                  /* /proc/PID/io of the task's own process; -1: not open */
	bool io_refused;            /* another user's program, or no such file: never tried again */
	int64_t delay_now_ns;       /* of the processes that there were at the last look */
	struct kn_usage usage;      /* the latest; never falls but for rss_bytes */
};

#define KN_PROBE_NONE { .io_fd = -1 }

/* Opens io_fd, as long as the process is alive. */
void kn_probe_init(struct kn_probe *p, pid_t pid);
/* Look at the tree now, and update p->usage. look_deep: also see what each process waits for
 * (costs more; fills looks and what was seen). Does nothing for an empty probe. */
void kn_probe_look(struct kn_probe *p, bool look_deep);
/* The process has ended and was not waited for yet: the last totals. Opens nothing; the CPU time of
 * children that it had waited for since the last look is missing (wait4(2) tells it). */
void kn_probe_last(struct kn_probe *p);
void kn_probe_done(struct kn_probe *p);

/* One thread of this process: its totals so far go to *ret, but for rss; a deep look is added to what *ret
 * has of them. What cannot be read stays as it was. */
void kn_probe_thread(pid_t tid, bool look_deep, struct kn_usage *ret);

#endif

/* SPDX-License-Identifier: MIT */
/* keeper.c: nothing that knee started outlives it. */
#ifndef CLI_KEEPER_H
#define CLI_KEEPER_H

#include <sys/types.h>

/*
 * Split in two: the calling process becomes the keeper and never returns; its child
 * returns 0 and is the program from here on. -errno when that cannot be done.
 * The keeper passes signals on, stops and continues with its child, collects what tasks
 * left behind, kills what is left of that when its child has ended, and ends as its
 * child did, by the same status or signal.
 * crash_hint: what to say before that when the child ended by a fault of its own; NULL: nothing.
 */
int keeper_start(const char *crash_hint);

/* The signal that the program gets when its keeper was killed. */
int keeper_death_signal(void);

/* Stop this process as SIGTSTP would, or not, where nobody could continue it. */
void keeper_stop_self(void);

/* In the program, when its keeper is dead: kill all that this run ever started and that is
 * still there. */
void keeper_sweep_alone(void);

#endif

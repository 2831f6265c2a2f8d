/* SPDX-License-Identifier: MIT */
/* signals.c: what each signal does to a run; they arrive through a signalfd. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include "cli.h"

struct signals {
	int fd;                     /* -1: not started */
	knee *knee;                 /* borrowed */
	struct progress *progress;  /* borrowed, may be NULL */
	bool interrupted;           /* INT, TERM or QUIT came */
	bool hung_up;               /* HUP came */
	bool plain;                 /* HUP is as TERM, and USR1 says nothing: tasks are no user's */
	bool keeper_died;
	int64_t last_int_ns;        /* CLOCK_MONOTONIC; 0: none */
};

/* Block the signals and hear of them from the engine's loop. 0 or -errno. */
int signals_start(struct signals *s, knee *k, struct progress *progress);
/* Take what has come; self is a struct signals. For knee_watch(). Always 0. */
int signals_event(void *self, int fd);
void signals_done(struct signals *s);

#endif

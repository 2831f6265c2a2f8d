/* SPDX-License-Identifier: MIT */
/* sem.c: a counting semaphore for commands, as the sem of GNU parallel. */
#ifndef CLI_SEM_H
#define CLI_SEM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the command line (of main) is one for sem_main: called as sem, "knee sem ...", or with an
 * option that only a semaphore has. */
bool sem_wanted(int argc, char **argv);

/* All of it, argv of main. The exit status; in the foreground it does not return when it runs. */
int sem_main(int argc, char **argv);

/* ---- sem_options.c ---------------------------------------------------------- */

struct sem_options {
	const char *id;             /* NULL: the controlling terminal */
	unsigned slots;             /* how many may hold one; UINT_MAX: any number */
	bool foreground;
	bool wait;                  /* --wait: run nothing */
	bool quote;                 /* the words are words, not shell code */
	bool take_anyway;           /* run when the time is over; else give up */
	bool help, version;
	int64_t timeout_ns;         /* 0: none */
	bool nice_set;
	int nice;
	char *const *command;
	size_t ncommand;
};

/* True for the long options that only a semaphore has; name: size bytes, without dashes. */
bool sem_option_own(const char *name, size_t size);
/* Read the words behind the program's name (and "sem"), borrowed. 0, or -EINVAL after say(). */
int sem_options_parse(struct sem_options *ret, char *const *words, size_t nwords);
void sem_help(void);

#endif

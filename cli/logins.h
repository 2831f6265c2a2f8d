/* SPDX-License-Identifier: MIT */
/*
 * logins.c: machines as people write them, in -S, in files of logins, and behind `knee hosts`:
 *
 *	LIST  = PART { , PART }             a comma inside [] does not separate; \, and ,, are one
 *	PART  = [@GROUP[+GROUP]/][N/]LOGIN  N: at most so many tasks at once there
 *	      | @GROUP[+GROUP]              of all logins only those in one of these groups
 *	      | -NODESET  !NODESET          without these
 *	      | ..  -                       the user's own file of logins; standard input's lines
 *	LOGIN = [COMMAND WORDS] [USER@]HOST[:PORT]
 *	      | :                           this machine
 *	HOST  = a node set (knee_nodeset_parse) | [IPV6] | IPV6
 *
 * A file has a list on each line; # begins a comment.
 */
#ifndef CLI_LOGINS_H
#define CLI_LOGINS_H

#include <stdbool.h>
#include <stddef.h>

/* One machine, or one way to it. Strings are the list's. */
struct login {
	const char *text;           /* USER@HOST:PORT, with its COMMAND if it has one: what makes it another one */
	const char *host;           /* ":" is this machine */
	const char *user, *port;    /* NULL: ssh knows */
	const char *command;        /* NULL: ssh */
	const char *groups;         /* "+a+b+", or "" */
	unsigned limit;             /* N; 0: none given */
	bool here;
};

/* {0} is empty. In the order in which they came, each once. */
struct logins {
	struct login *list;         /* owned */
	size_t n, cap;
	size_t *table, table_size;  /* owned: where in list by text; 0: empty, else the place + 1 */
	struct logins_text *texts;  /* owned */
	const char *groups;         /* those that @GROUP chose, as above; NULL: all */
	bool took_stdin;            /* "-" was named */
};

/* What option is called in messages ("-S"). A login that is there already keeps its place and takes the new N.
 * 0, or -errno after say(). */
int logins_add(struct logins *l, const char *option, const char *list);
/* The file name: found here, in ~/.parallel or ~/.config/knee; ".." and "-" as above; ".": the one of all users. */
int logins_add_file(struct logins *l, const char *option, const char *name);
/* All are there: leave those that @GROUP chose. -EINVAL after say() when none is left. */
int logins_settle(struct logins *l, const char *option);
/* Takes zeroed ones. */
void logins_done(struct logins *l);

#endif

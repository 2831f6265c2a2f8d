/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "command.h"

extern char **environ;

void
engine_options(const struct cli_options *o, struct engine_nice *nice, struct knee_options *k)
{
	k->limit_min = o->limit_min;
	k->kind = o->kind;
	k->busy_exits = o->busy_exits;
	k->nbusy_exits = o->nbusy_exits;
	k->load_max = o->load_max;
	k->memfree_bytes = o->memfree_bytes;
	k->memsuspend_bytes = o->memsuspend_bytes;
	k->noswap = o->noswap;
	k->timeout_ns = o->timeout_ns;
	k->term_seq = o->term_seq;
	k->nterm_seq = o->nterm_seq;
	k->environ_base = (const char *const *)environ;
	k->slot_var = o->slot_var;
	k->shell = command_shell();
	k->tmpdir = o->tmpdir;
	if (!o->nice_set)
		return;
	/* nice(1) counts from the niceness that it has. */
	(void)snprintf(nice->number, sizeof(nice->number), "%d", o->nice - getpriority(PRIO_PROCESS, 0));
	nice->words[0] = "nice";
	nice->words[1] = "-n";
	nice->words[2] = nice->number;
	k->prefix = nice->words;
	k->nprefix = 3;
}

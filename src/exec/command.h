/* SPDX-License-Identifier: MIT */
/*
 * Starting a command: from its template to a child process. Directly when nothing in it means
 * something to a shell and there is such a program, else by the shell.
 */
#ifndef KN_EXEC_COMMAND_H
#define KN_EXEC_COMMAND_H

#include "../core/task.h"
#include "../core/template.h"
#include "../sys/spawn.h"
#include "environ.h"
#include "program.h"

/* What is made once and used for every start. */
struct kn_launcher {
	const struct knee_options *options; /* borrowed: shell, prefix */
	struct kn_spawner spawner;
	struct kn_environ environ;
	struct kn_program program, prefix_program;
	struct kn_command command;
	const char **argv;          /* owned, strings borrowed */
	size_t argv_cap;
};

/* What the command is made of for t: its numbers are the caller's, when options say so. */
struct kn_fill kn_command_fill(const struct knee_options *options, const struct kn_task *t);

/* 0 or -errno; the caller frees only after 0. */
int kn_launcher_init(struct kn_launcher *l, const struct knee_options *options);
void kn_launcher_done(struct kn_launcher *l);

/* Start the command that template makes of fill, whose numbers go into the environment. plan: where
 * its descriptors go; the rest of it is filled in here. 0, or as kn_spawn(). */
int kn_launcher_start(struct kn_launcher *l, const struct knee_template *template,
    const struct kn_fill *fill, struct kn_spawn *plan, struct kn_child *child);

#endif

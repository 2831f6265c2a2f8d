/* SPDX-License-Identifier: MIT */
/* machines.c: -S and its kin, as the engine wants to have them. each_host.c: --onall, --nonall. */
#ifndef CLI_MACHINES_H
#define CLI_MACHINES_H

#include "cli.h"

/* Do the options ask for other machines? (options_machines.c) */
bool machines_wanted(const struct cli_options *o);
/* --onall, one task after another on each of them: without a number, and in GNU parallel whatever -j says. */
bool machines_one_by_one(const struct cli_options *o);
/* What --wd says that cannot be. in: asked only with --header. 0, or -errno after say(). */
int machines_dir_check(const struct cli_options *o, struct inputs *in);
/* What does not go together. 0, or -EINVAL after say(). */
int machines_check(const struct cli_options *o);

struct machines;
struct slurm;
/* Read the logins (standard input may have them), or take slurm's nodes (borrowed; NULL: none); *ret stays NULL when
 * no machines are wanted. 0, or -errno after say(). */
int machines_new(struct cli_options *o, struct slurm *slurm, struct machines **ret);
void machines_free(struct machines *m);
/* The command that the far ends read again; in has the names of its columns. 0, or -errno after say(). */
int machines_command(struct machines *m, struct inputs *in);
/* What the engine is told of them, in *k; borrowed from m. Nothing when m is NULL. */
void machines_options(struct machines *m, struct knee_options *k);
size_t machines_count(const struct machines *m);

/* ---- every task on every machine ------------------------------------------- */

/* The source that gives each input of inner to all machines, in turn. {0} is none. */
struct each_host {
	struct knee_source inner;
	struct knee_input input;    /* borrowed from inner */
	size_t n, at;               /* machines; how many of them have the input */
};
struct knee_source each_host_source(struct each_host *e, const struct knee_source *inner, size_t n);
/* knee_machines.pin */
size_t each_host_pin(void *input_data);
/* --tag: a sink that hands on to inner, with the machine's name as the tag. */
struct each_host_tag {
	struct knee_sink inner;
	const struct machines *machines;
};
struct knee_sink each_host_tag_sink(struct each_host_tag *t, const struct knee_sink *inner);
/* The name of the machine that an input is for. */
const char *machines_name(const struct machines *m, const void *input_data);

#endif

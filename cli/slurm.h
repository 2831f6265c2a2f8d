/* SPDX-License-Identifier: MIT */
/* slurm.c: --on slurm: the nodes of a job as machines. */
#ifndef CLI_SLURM_H
#define CLI_SLURM_H

#include "cli.h"

struct slurm;

/* Find the job that this process is in, or get one; *ret stays NULL without --on. To be called before
 * keeper_start(). In a job that Slurm has started again --journal goes on: o->resume. 0, or -errno after say(). */
int slurm_open(struct cli_options *o, struct slurm **ret);
/* Give back what was got, and wait until it is. Takes NULL. */
void slurm_close(struct slurm *s);

/* The nodes, n of them, in *ret (owned by s): each with the command that runs script (borrowed) there. 0 or -ENOMEM. */
int slurm_hosts(struct slurm *s, const char *script, const struct knee_host **ret, size_t *ret_n);

/* The run has ended before its work was done: how to go on with it. */
void slurm_say_unfinished(const struct slurm *s, const struct cli_options *o);

#endif

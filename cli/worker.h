/* SPDX-License-Identifier: MIT */
/* worker.c: --worker and --framing, between the options and the engine. */
#ifndef CLI_WORKER_H
#define CLI_WORKER_H

#include "cli.h"

/* What does not go together. 0, or -EINVAL after say(). */
int worker_check(const struct cli_options *o);
/* With o->worker set: the workers' command and framing. o is borrowed. */
void worker_options(const struct cli_options *o, struct knee_options *ret);
/* The framing by its name, for the same. */
const char *worker_framing_name(const struct cli_options *o);

#endif

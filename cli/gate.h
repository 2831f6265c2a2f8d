/* SPDX-License-Identifier: MIT */
/* gate.c: --limit COMMAND, which is asked before every start. */
#ifndef CLI_GATE_H
#define CLI_GATE_H

#include "cli.h"

struct gate;

/* command goes to shell -c; both are borrowed. -errno after say(). */
int gate_new(const char *command, const char *shell, struct gate **ret);
/* Hear of the command's end from k's loop; before the run begins. 0 or -errno. */
int gate_start(struct gate *g, knee *k);
/* As options.may_start, with the gate as self. */
int gate_may_start(void *self);
/* True when the command could not be run, and the run was stopped for that. */
bool gate_failed(const struct gate *g);
/* Ends the command if it runs. Takes NULL. */
void gate_free(struct gate *g);

#endif

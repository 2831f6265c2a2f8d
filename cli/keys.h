/* SPDX-License-Identifier: MIT */
/* keys.c: a line "+" or "-" on the terminal changes how many run at once. */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include "cli.h"

struct keys;

/* *ret NULL: nobody can type anything to this run. -errno after say(). */
int keys_new(const struct cli_options *o, const struct inputs *in, struct keys **ret);
struct knee_sink keys_sink(struct keys *s);
void keys_start(struct keys *s, knee *k, struct progress *progress);
/* Takes NULL. */
void keys_free(struct keys *s);

#endif

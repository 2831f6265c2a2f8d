/* SPDX-License-Identifier: MIT */
/* engine.c: what the user's options ask of the engine, in a run as in a profile. */
#ifndef CLI_ENGINE_H
#define CLI_ENGINE_H

#include "options.h"

/* The words before each command, for --nice; to live as long as the engine. {0}. */
struct engine_nice {
	char number[16];
	const char *words[3];
};

/* Set that of *k; the rest is left as it is. It borrows from o and nice. */
void engine_options(const struct cli_options *o, struct engine_nice *nice, struct knee_options *k);

#endif

/* SPDX-License-Identifier: MIT */
/* --shuf: all inputs, in random order. */
#ifndef CLI_SHUFFLE_H
#define CLI_SHUFFLE_H

#include <knee_program.h>

struct shuffle;

/* tmpdir is borrowed. 0, or -errno after say(). */
int shuffle_new(const char *tmpdir, struct shuffle **ret);
void shuffle_free(struct shuffle *s);

/* Add an input, which is copied. 0, or -errno after say(). */
int shuffle_add(struct shuffle *s, const struct knee_input *input);
/* No more will be added: mix them. 0, or -errno after say(). */
int shuffle_mix(struct shuffle *s);
/* 1: the next input, until the next call; 0 at the end; -errno after say(). */
int shuffle_next(struct shuffle *s, struct knee_input *ret);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * --group auto, between batch.c and the engine: it hears as a sink what commands took, and says how
 * large the next one is. The size is settled when the command is given out, so they are not given
 * out far ahead of the slots: what is known later makes better sizes, and the tail shorter.
 */
#ifndef CLI_BATCH_AUTO_H
#define CLI_BATCH_AUTO_H

#include <stdbool.h>
#include <stddef.h>

#include <knee_program.h>

struct batch_auto;

/* slots: tasks at once, as far as known by now. 0 or -errno. */
int batch_auto_new(unsigned slots, struct batch_auto **ret);
void batch_auto_free(struct batch_auto *a);
/* To be among the engine's sinks. */
struct knee_sink batch_auto_sink(struct batch_auto *a);

/* May a command be given out? If not, the descriptor becomes readable when it may. */
bool batch_auto_may_give(struct batch_auto *a);
int batch_auto_fd(const struct batch_auto *a);
/* So many inputs are worth having at hand, to see the end in time. */
size_t batch_auto_ahead(const struct batch_auto *a);
/* Inputs for the next command, 1 .. most. left: how many there are in all, or UINT64_MAX. */
size_t batch_auto_size(struct batch_auto *a, uint64_t left, size_t most);
/* The next command was given out, with so many. */
void batch_auto_given(struct batch_auto *a, size_t inputs);

#endif

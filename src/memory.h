/* SPDX-License-Identifier: MIT */
/*
 * What was learnt of commands on this machine, from one run to the next: an SQLite file. It is a
 * hint and never a must: a file that is locked, broken or of another version is as good as none,
 * and no run fails for it.
 */
#ifndef KN_MEMORY_H
#define KN_MEMORY_H

#include "tune/tuner.h"

struct kn_memory;

/* Open the file (and make it, with its folders, when missing). NULL when that is not possible. */
struct kn_memory *kn_memory_open(const char *path, const struct kn_machine *machine);
void kn_memory_close(struct kn_memory *m);
/* 1: known, 0: not. Entries of a machine with another number of cores, and those older than 90 days,
 * are not. */
int kn_memory_get(struct kn_memory *m, const struct kn_key_name *key, struct kn_prior *ret);
/* Keep it; all of a run in one transaction, ended by close. Numbers fade into older ones by halves. */
void kn_memory_put(struct kn_memory *m, const struct kn_key_name *key, const struct kn_prior *prior);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Node sets: many names of machines in few words, as Slurm writes them, and pdsh and ClusterShell without their
 * operators.  Pure.
 *
 *	SET    = TERM { , TERM }                    names, in order, each once
 *	TERM   = PATTERN                            added
 *	       | - PATTERN, ! PATTERN               taken out of all before it
 *	PATTERN= text with any number of [RANGES]   web[01-40,55]  r[1-2]n[1-16]-ib
 *	RANGES = RANGE { , RANGE }
 *	RANGE  = N | N-M | N-M/STEP                 the width of N holds: 01 02 ... 10
 */
#ifndef KN_NODESET_H
#define KN_NODESET_H

#include "buf.h"

/* Names at most, so that "n[1-999999999]" is an error and no end of memory. */
#define KN_NODESET_MOST 1000000

/* Names, each NUL-terminated, one behind the other in bytes. */
struct kn_nodeset {
	struct kn_buf bytes;
	const char **names;         /* owned; n of them, into bytes; valid until the next call that changes it */
	size_t n;
};

/* The names of s, in order, each once. 0, -ENOMEM, -E2BIG (too many), or -EINVAL; with text in err ("web[3-1]: ..."). */
int kn_nodeset_parse(const char *s, struct kn_nodeset *ret, char *err, size_t errsize);
void kn_nodeset_done(struct kn_nodeset *set);
/* The other way: names in few words ("web[01-03,07],db"), sorted by name and number, widths kept, in *ret (malloc). 0 or
 * -ENOMEM. What it gives, parsed, is the same set. */
int kn_nodeset_fold(const char *const *names, size_t n, char **ret);

#endif

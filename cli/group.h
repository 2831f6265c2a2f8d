/* SPDX-License-Identifier: MIT */
/*
 * --group auto: how many inputs go into one command. Start-up is to take less than a twentieth of
 * a command's time; toward the end groups get smaller, so that all slots end together. Pure:
 * the results are told, the size is asked.
 */
#ifndef CLI_GROUP_H
#define CLI_GROUP_H

#include <stdint.h>

/* One for each power of two: sizes from 2^i on. */
#define GROUP_BINS 24

/* What commands of about one size took; older results fade. */
struct group_bin {
	double n;                   /* results, faded; 0: none */
	double inputs, runtime_ns;  /* means */
};

/* {0} is empty. */
struct group {
	struct group_bin bins[GROUP_BINS];
	unsigned largest;           /* size that a result has come of */
	unsigned asked;             /* sizes given so far */
	unsigned round_left;        /* commands of a round that are still to come */
	unsigned round_part;        /* inputs that each of them may have */
};

/* A command with so many inputs took so long. */
void group_result(struct group *g, unsigned inputs, int64_t runtime_ns);
/* Inputs for the next command, >= 1 and <= most. left: inputs that are not in a command yet, as far
 * as known (UINT64_MAX: no end in sight); slots: commands at once. */
unsigned group_size(struct group *g, uint64_t left, unsigned slots, unsigned most);
/* What the next size will be at most, whatever is left: to look that far ahead for the end. */
unsigned group_size_most(const struct group *g);
/* The two costs in nanoseconds, as known; both 0 before that. */
void group_costs(const struct group *g, double *startup_ns, double *each_ns);

#endif

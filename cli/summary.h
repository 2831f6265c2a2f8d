/* SPDX-License-Identifier: MIT */
/* What is said of a run when it is over. Pure: no clock, no terminal. */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>

#include <knee_program.h>

enum {
	SUMMARY_BYTES = 512,
	SUMMARY_COLUMNS = 200, /* no sentence is longer; "knee: " counts */
};

struct summary_view {
	const struct knee_stats *stats;
	const struct knee_work *works; /* the first is told whole, the others short */
	size_t nworks;
	size_t machines; /* other machines that had tasks; 0: it all ran here */
	bool fixed; /* the number at once was the user's: nothing was searched for */
	bool utf8;
};

/* The sentence at the end, without the name of the program. */
void summary_line(const struct summary_view *v, char ret[SUMMARY_BYTES]);

/* One kind of work for --explain: all that was measured of it. */
void summary_work(const struct knee_work *work, bool fixed, char ret[SUMMARY_BYTES]);

/* 12.3 s or 2m05s. */
void summary_duration(char *ret, size_t size, int64_t ns);

/* summary_hosts.c: a sentence for the machines that did alike, said by say(); lost ones always, the others when
 * all is not 0. How many machines have done anything; 0: the run had none. */
size_t summary_hosts(const knee *k, bool all);

#endif

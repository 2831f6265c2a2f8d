/* SPDX-License-Identifier: MIT */
/*
 * The rooms of knee profile.
 *
 *	profile.c (options) --> profile_inputs.c (some inputs, kept) --> profile_measure.c (runs;
 *	    profile_links.c, what goes over the network meanwhile) --> profile_report.c (text, JSON)
 */
#ifndef CLI_PROFILE_PARTS_H
#define CLI_PROFILE_PARTS_H

#include "cli.h"
#include "signals.h"

/* ---- inputs (profile_inputs.c) ------------------------------------------ */

struct profile_input {
	char **args;                /* owned, and so is each */
	size_t nargs;
};

/* Copies of the first inputs, given out in turn, for ever. */
struct profile_inputs {
	struct profile_input *list; /* owned */
	size_t n, cap;
	uint64_t given;             /* how often one was given out */
};

/* As many as a profile may need, or as come without long waiting. 0, or -errno after say(). */
int profile_inputs_read(struct profile_inputs *in, struct knee_source source);
void profile_inputs_done(struct profile_inputs *in);
/* The next one; only when there is one. */
struct knee_input profile_inputs_next(struct profile_inputs *in);

/* ---- the machine's links (profile_links.c) ------------------------------- */

/* What went over each link that this process can see, so far. */
struct links {
	struct link *list;          /* owned */
	size_t len;
};

void links_read(struct links *ret);
/* Bytes over all of them meanwhile; of one that went away nobody knows. < 0: none can be seen. */
double links_between(const struct links *before, const struct links *after);
void links_free(struct links *l);

/* ---- what was measured (profile_measure.c) ------------------------------ */

#define PROFILE_LEVELS 12

/* So many at once, on trial. */
struct profile_level {
	unsigned limit;
	double per_s;               /* tasks a second, those that succeeded */
	double noise_frac;          /* of it: what chance may have added, by how its tasks' lengths differ */
	uint64_t done, failed;
};

/* What one task needs, when it runs alone: the median of its lengths, and means. */
struct profile_task {
	uint64_t done, failed;
	double runtime_s, shortest_s, longest_s;
	double cpu_s, delay_s;
	double io_bytes, disk_bytes, output_bytes;
	uint64_t rss_bytes;         /* the largest */
	double net_bytes;           /* over all links, by anyone, for each task; < 0: not to be seen */
};

struct profile {
	struct cli_options options;
	bool json, forget, help;
	int64_t time_ns;            /* the budget */

	struct profile_inputs inputs;
	struct knee_options engine; /* what all runs have in common */
	struct signals signals;
	bool interrupted, keeper_died;

	int64_t begin_ns, spent_ns;
	unsigned cores;
	double start_s, start_cpu_s;        /* of an empty command, started the same way; 0: none ran */
	struct profile_task task;
	struct profile_level levels[PROFILE_LEVELS];
	size_t nlevels;
	bool out_of_time;           /* levels, or the engine's own try, were left out */
	bool memory_bound;          /* ... for want of memory */
	struct knee_work alone;     /* the engine's view of tasks that run alone; limit 0: none */
	struct knee_work work;      /* and of its own choice */
	uint64_t runs, failed;      /* all tasks that were run */
	char failure[640];          /* of the first failed task: how it ended, and its first lines */
};

/* Run some. 0, or -errno after say(); p->interrupted when a signal ended it. */
int profile_measure(struct profile *p);

/* ---- what it means (profile_report.c) ----------------------------------- */

/* The number that knee would use, and the kind of work. */
unsigned profile_limit(const struct profile *p);
enum knee_kind profile_kind(const struct profile *p);
/* 0, or -errno after say(). */
int profile_print_text(const struct profile *p);
int profile_print_json(const struct profile *p);

#endif

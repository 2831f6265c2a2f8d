/* SPDX-License-Identifier: MIT */
/*
 * The table of cases and of what is accepted of them (accepted.txt), and running it.
 *
 * A line of the table is a case, blanks between its columns, or a gate; "#" begins a comment.
 *
 *	group world size signal cv order noise event unit accepted [quick]
 *	gate group geomean each p90 worst
 *
 *	size      R50: 50 tasks for each slot of the best number; T12: 12 tasks
 *	signal    progress: what tasks do is seen; completions: only that they end
 *	cv        of the sizes; p1.5: Pareto with that exponent
 *	order     random, asc, desc, blocks (of 100, sorted within)
 *	noise     percent of the capacity
 *	event     -, half, double (the speed, in mid-run), fewer, more (the slots), warm (caches),
 *	          kind, key (of the work), second (it knows what a run before has learnt)
 *	unit      mean seconds of a task alone
 *	accepted  the mean, over seeds, of the time over that of the best numbers that stay
 *	quick     one of those that each run of the tests checks
 *	gate      what all cases of a group must keep, in one: the geometric mean; the mean of each; the 90th
 *	          percentile and the worst of all its runs; - for none
 */
#ifndef SIM_CASES_H
#define SIM_CASES_H

#include <stdio.h>

#include "engine.h"
#include "oracle.h"

#define SIM_CASES 256
#define SIM_GATES 16

struct sim_row {
	struct sim_case c;
	char group[16];
	double accepted;
	bool quick;
};

struct sim_gate {
	char group[16];
	double geomean, each, p90, worst;   /* 0: none */
};

struct sim_table {
	struct sim_row rows[SIM_CASES];
	unsigned nrows;
	struct sim_gate gates[SIM_GATES];
	unsigned ngates;
};

struct sim_outcome {
	double mean, p90, worst;    /* of the time over the best one's */
	double ratios[SIM_SEEDS];
	unsigned n;
	double against_single;      /* the time of the best single number over ours; 0: only one kind */
	struct sim_best best;
	double lost_frac[SIM_LOSSES];   /* means */
	double near_s;              /* median; < 0: most never came near */
	double limits[SIM_SEEDS];   /* the last ones, over the first pool's best */
	uint64_t busy_late, killed, lost, tasks, skipped_most;
	const char *wrong;
	uint64_t wrong_seed;
	uint64_t worst_seed;
};

/* 0, -errno of opening, or -EINVAL: line *line is not as above. */
int sim_table_read(struct sim_table *t, const char *path, unsigned *line);
/* A column's word into the case: "size", "signal", "cv", "order", "noise", "event", "unit", "world".
 * false: no such word. */
bool sim_case_set(struct sim_case *c, const char *column, const char *word);
void sim_case_print(FILE *f, const struct sim_case *c);
/* Seeds first, first + 1, ... 0 or -errno. */
int sim_case_run(const struct sim_case *c, uint64_t first, unsigned seeds, bool near, struct sim_outcome *ret);
/* One run of a case with the tuner, options as given. When the case's event is "second", a run with
 * another seed goes before, and its learning is recalled. 0 or -errno. */
int sim_case_once(const struct sim_case *c, uint64_t seed, const struct sim_options *o, struct sim_result *ret);

/* q of the way through n numbers, at most SIM_SEEDS * SIM_CASES; 0 when there are none. */
double sim_quantile(const double *x, unsigned n, double q);

#endif

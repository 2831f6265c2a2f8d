/* SPDX-License-Identifier: MIT */
/*
 * A run of a world on virtual time. What it models beyond the worlds: a start takes the runner
 * 0.2 ms, one after the other, and the task 0.6 ms of a core before anything else; the capacity
 * wavers, and what happens now still shows some samples later; memory fills, is swapped, and at
 * last the kernel kills; refused and failed tasks are tried again after a growing pause.
 */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "driver.h"

/* Where time was lost against the best number all along: only of worlds with one kind of task. */
enum sim_loss { SIM_LOSS_SEARCH, SIM_LOSS_HOLD, SIM_LOSS_TAIL, SIM_LOSSES };

struct sim_result {
	int64_t ns;
	uint64_t ended;             /* tasks */
	uint64_t lost;              /* of these, given up after 32 attempts */
	uint64_t busy, failed;      /* attempts that were refused by the service; that failed */
	uint64_t busy_late;         /* refused after the first minute */
	uint64_t killed;            /* by the kernel, for want of memory */
	uint64_t requeued, samples, changes;
	uint64_t skipped_most;      /* the longest that a queue was passed over, in starts */
	unsigned peak;
	unsigned limit;             /* at the last sample */
	double lost_s[SIM_LOSSES];
	double near_s;              /* from when on the limit gave 95 % of the best throughput; < 0: never */
	const char *wrong;          /* what may never happen, and did; NULL: nothing */
	struct sim_prior learnt[SIM_TYPES];
};

/* 0 or -ENOMEM. The same world, options and seed give the same result. */
int sim_run(const struct sim_world *w, const struct sim_options *o, uint64_t seed, struct sim_result *ret);

#endif

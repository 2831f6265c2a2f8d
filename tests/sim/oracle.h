/* SPDX-License-Identifier: MIT */
/* The best numbers that stay, found by trying: what a tuner is compared with. */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "driver.h"

#define SIM_SEEDS 64

/* The same case with several seeds. Borrowed. */
struct sim_set {
	struct sim_world *worlds[SIM_SEEDS];
	uint64_t seeds[SIM_SEEDS];
	unsigned n;
};

struct sim_best {
	struct sim_fixed fixed;
	double mean_s;
	double of[SIM_SEEDS];       /* seconds with each seed */
};

/*
 * The one number with the shortest mean over all seeds, so that luck with one of them does not
 * flatter it. near: only look around the number that the curve suggests, which is much quicker.
 * 0 or -ENOMEM.
 */
int sim_best_single(const struct sim_set *set, bool near, struct sim_best *ret);
/* The best numbers, one for each type, by going up and down with each in turn. 0 or -ENOMEM. */
int sim_best_vector(const struct sim_set *set, struct sim_best *ret);

#endif

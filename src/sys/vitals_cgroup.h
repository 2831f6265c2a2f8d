/* SPDX-License-Identifier: MIT */
/* The cgroups' part of the machine's state: how much memory they leave, and how much processor
 * time their members used, where they and not the machine set the bound. */
#ifndef KN_VITALS_CGROUP_H
#define KN_VITALS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Of nested groups with a limit. */
#define KN_VITALS_LEVELS 8

struct kn_vitals_cgroup {
	double quota_cores;         /* of the tightest one; HUGE_VAL: none is tighter than affinity */
	int usage_fd;               /* that one's processor time; -1: not to be had */
	int usage_version;
	struct kn_vitals_level {
		uint64_t limit;
		int version;
		int usage_fd, stat_fd, pressure_fd;     /* -1: not open */
	} levels[KN_VITALS_LEVELS];
	unsigned nlevels;
	bool memory_hidden;         /* groups may set limits of memory of which not all can be seen */
};

/* affinity_cores, memory_bytes: only what is below that is a bound. */
void kn_vitals_cgroup_init(struct kn_vitals_cgroup *c, double affinity_cores, uint64_t memory_bytes);
void kn_vitals_cgroup_done(struct kn_vitals_cgroup *c);
/* Nanoseconds of processor time under the quota so far. */
bool kn_vitals_cgroup_cpu(const struct kn_vitals_cgroup *c, int64_t *ret);
/* Lower *total and *free to what the groups leave. */
void kn_vitals_cgroup_memory(const struct kn_vitals_cgroup *c, uint64_t *total, uint64_t *free_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/* What this machine lets this process use. */
#ifndef KN_MACHINE_H
#define KN_MACHINE_H

/* Cores: the affinity mask, and the processor quota of the cgroups (v1 or v2) when it is
 * smaller, rounded up. At least 1. Linux: sched_getaffinity(2), cgroups(7). */
unsigned kn_machine_cores(void);

/* Descriptors that are open now. */
unsigned kn_machine_fds_open(void);

#endif

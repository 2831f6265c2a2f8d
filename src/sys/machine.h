/* SPDX-License-Identifier: MIT */
/* What this machine lets this process use. */
#ifndef KN_MACHINE_H
#define KN_MACHINE_H

#include <stdint.h>

/* Cores: the affinity mask, and the processor quota of the cgroups (v1 or v2) when it is
 * smaller: half a core is 0.5. Above 0. Linux: sched_getaffinity(2), cgroups(7). */
double kn_machine_cores_exact(void);
/* The same, rounded up. At least 1. */
unsigned kn_machine_cores(void);

/* The affinity mask alone, which costs next to nothing to ask. At least 1. */
unsigned kn_machine_affinity(void);

/* Bytes of RAM, or the cgroups' limit when smaller. 0: unknown. */
uint64_t kn_machine_memory(void);

/* Processes (and threads) that may still be started: RLIMIT_NPROC, which does not bind root, and
 * pids.max of the cgroups. UINT_MAX: no bound known. */
unsigned kn_machine_processes_free(void);

/* Descriptors that are open now. */
unsigned kn_machine_fds_open(void);

#endif

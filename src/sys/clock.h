/* SPDX-License-Identifier: MIT */
/* clock.c: the time, in nanoseconds. core and tune have none: they are told it. */
#ifndef KN_CLOCK_H
#define KN_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC. Who has a loop takes its now_ns, which is read once a turn. */
int64_t kn_clock_ns(void);
/* CPU time of this thread: to measure what something costs. */
int64_t kn_clock_cpu_ns(void);
/* CLOCK_REALTIME, since the Epoch: for records, not for logic. */
int64_t kn_clock_time_ns(void);

#endif

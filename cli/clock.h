/* SPDX-License-Identifier: MIT */
/* clock.c: the time of one of the system's clocks. */
#ifndef CLI_CLOCK_H
#define CLI_CLOCK_H

#include <stdint.h>
#include <time.h>

/* In nanoseconds. */
int64_t clock_ns(clockid_t id);

#endif

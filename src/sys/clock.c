/* SPDX-License-Identifier: MIT */
#include "clock.h"

#include <time.h>

static int64_t
read_ns(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
kn_clock_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t
kn_clock_cpu_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t
kn_clock_time_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

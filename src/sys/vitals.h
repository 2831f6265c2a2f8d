/* SPDX-License-Identifier: MIT */
/*
 * The state of the machine, as far as an unprivileged process in this container may know:
 * /proc/stat, /proc/meminfo, /proc/pressure, /proc/diskstats, /proc/net, /sys/block and the
 * cgroups (v1 and v2) that this process is in. What cannot be read is left out of kn_vitals.known.
 */
#ifndef KN_VITALS_H
#define KN_VITALS_H

#include "../core/reading.h"

/* Holds the files open, and the counters of the reading before. */
struct kn_vitals_reader;

/* Takes the first counters. 0 or -ENOMEM; a file that cannot be opened is no error. */
int kn_vitals_new(struct kn_vitals_reader **ret);
void kn_vitals_free(struct kn_vitals_reader *r);
/* What happened since the last reading, the first time since kn_vitals_new. When that is less than
 * 1 ms ago: only what is true now. now_ns: CLOCK_MONOTONIC. */
void kn_vitals_read(struct kn_vitals_reader *r, int64_t now_ns, struct kn_vitals *ret);

#endif

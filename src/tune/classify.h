/* SPDX-License-Identifier: MIT */
/*
 * What bounds a kind of work: shares of a task's time on a core, at a disk, at the network, at a
 * lock, or waiting for what cannot be seen. Pure.
 */
#ifndef KN_CLASSIFY_H
#define KN_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>

#include <knee_program.h>
#include "../core/reading.h"

/* Sums over tasks of one key; older ones fade. {0} is empty. */
struct kn_traits {
	double time_ns;             /* of tasks' lives that the sums below cover */
	double cpu_ns, delay_ns;
	double bytes, disk_bytes;
	double looks, cpu_looks, disk_looks, net_looks, lock_looks;
	double ends;                /* tasks that ended */
	bool delay_known;
	int64_t faded_ns;           /* when they were last halved */
};

struct kn_shares {
	double cpu, disk, net, lock, wait;  /* of a task's time when it has the machine to itself; sum 1 */
	double cores;               /* used on average while it lives; > 1 for several threads */
};

/* What was seen of a task since the last look. The time of its life is added apart: traits.time_ns. */
void kn_traits_add(struct kn_traits *t, const struct kn_usage *delta);
/* Let the past fade: halves the sums once a second, if enough is left to go by. */
void kn_traits_fade(struct kn_traits *t, int64_t now_ns);
/* The shares; false when too little was seen. */
bool kn_traits_shares(const struct kn_traits *t, struct kn_shares *ret);
/* What bounds work of such shares. */
enum knee_kind kn_classify(const struct kn_shares *s);
/* How many tasks that use so many cores on average keep all cores busy; used 0: not known. */
unsigned kn_cpu_slots(double cores, double used);

#endif

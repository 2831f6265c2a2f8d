/* SPDX-License-Identifier: MIT */
/*
 * Guards act at once, outside the search: they may forbid starts, lower limits, or have tasks
 * suspended or run again later, and they say why. Memory, failures that rise with the number at
 * once, refusals of the machine, its load.
 */
#ifndef KN_GUARD_H
#define KN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include <knee_program.h>
#include "../core/reading.h"

/* ---- memory: admission by what a task of its key is known to need ------- */

/* Peaks of a key's tasks, as a histogram of powers of 2^(1/4); {0} is empty. */
struct kn_peaks {
	uint32_t count[128];        /* bucket i: peaks up to 64 KiB * 2^(i/4) */
	uint32_t total;
	uint64_t largest;           /* of all that ended */
	uint64_t live_max;          /* the most that a running task was seen to use */
};

void kn_peaks_add(struct kn_peaks *p, uint64_t peak_bytes);
/* A running task uses so much now. */
void kn_peaks_live(struct kn_peaks *p, uint64_t rss_bytes);
/* What to expect of the next task: the 90th percentile and a fifth, but hardly more than the largest
 * of many; or half as much again as what
 * was seen live; 0: nothing known. */
uint64_t kn_peaks_expect(const struct kn_peaks *p);

struct kn_guard_options {
	uint64_t memory_bytes;      /* of the machine; 0: unknown */
	uint64_t memfree_bytes, memsuspend_bytes;
	double load_max;
	bool noswap;
};

enum kn_guard_state {
	KN_GUARD_OK,
	KN_GUARD_NO_RAISE,          /* limits stay; starts go on */
	KN_GUARD_NO_START,          /* nothing starts */
	KN_GUARD_BACK_OFF,          /* and limits come down (said once in two seconds, else NO_START) */
	KN_GUARD_SUSPEND,           /* nothing starts, and the youngest running task is stopped (SIGSTOP) */
	KN_GUARD_REQUEUE,           /* nothing starts, and the youngest task, stopped or not, is ended, to
	                               run again later */
};

/* Why it is in that state. */
enum kn_guard_reason {
	KN_GUARD_BY_NOTHING, KN_GUARD_BY_PRESSURE, KN_GUARD_BY_SWAP, KN_GUARD_BY_MEMORY, KN_GUARD_BY_LOAD,
};

struct kn_guard {
	struct kn_guard_options options;
	enum kn_guard_state state;
	enum kn_guard_reason reason;
	double figure;              /* share of time, bytes or processes that the reason speaks of */
	bool resume;                /* the oldest suspended task may go on */
	int64_t full_since_ns;      /* heavy pressure; INT64_MAX: none */
	int64_t calm_since_ns;      /* no pressure, and room; INT64_MAX: it is not so */
	int64_t suspended_since_ns; /* some task is, without a break; INT64_MAX: none */
	int64_t backed_ns;          /* the last BACK_OFF */
	int64_t acted_ns;           /* the last suspension or requeue: the next has to wait for its effect */
	uint64_t free_bytes;        /* of the last vitals; UINT64_MAX: unknown */
};

void kn_guard_init(struct kn_guard *g, const struct kn_guard_options *options);
/* New vitals: sets state, reason, resume. suspended: how many tasks are stopped now; running: that
 * are not (the last one is never suspended or requeued for want of memory). SUSPEND, REQUEUE and
 * resume speak of one task each time that they are said. */
void kn_guard_vitals(struct kn_guard *g, int64_t now_ns, const struct kn_vitals *v, unsigned running,
    unsigned suspended);
/* May one more task start that is expected to need `expect` bytes (0: unknown), when running tasks
 * are expected to need `outstanding` bytes more than they use now? Always when none runs. */
bool kn_guard_admits(const struct kn_guard *g, uint64_t expect, uint64_t outstanding, unsigned running);

/* ---- failures that rise with the number at once ------------------------- */

/* Counts at one limit; {0} is empty. */
struct kn_tries {
	uint32_t done, failed;
};

/* True when `here` fails more often than `below` does, beyond chance (and at least 3 more failed).
 * One failure never does. Source: a one-sided test of two proportions, 3 standard errors. */
bool kn_tries_worse(struct kn_tries here, struct kn_tries below);
/* True when it looks so, by far less: a reason not to go further up, and to measure nothing by it. */
bool kn_tries_suspect(struct kn_tries here, struct kn_tries below);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The policy that says how many tasks may run at once. Pure: run.c hands it what was
 * measured and takes its limit. This one starts at a fixed number and comes down when the
 * machine refuses to start more, and up again step by step when it no longer does.
 */
#ifndef KN_TUNER_H
#define KN_TUNER_H

#include <stdint.h>

/* The machine, as numbers. */
struct kn_machine {
	unsigned cores;             /* that this process may use, >= 1 */
	unsigned fds_free;          /* descriptors that may still be opened */
	unsigned fds_per_task;      /* >= 1 */
	unsigned fds_max;           /* the limit itself, for the reason's text */
};

/* What was measured since the last one. */
struct kn_sample {
	int64_t now_ns;
	unsigned running;
	uint64_t done;
	int refused;                /* 0, or the -errno with which a start was refused */
};

/* What the limit follows from, for messages. */
enum kn_why {
	KN_WHY_ASKED,               /* the number that was asked for, or the cores */
	KN_WHY_FDS,                 /* the limit of open files */
	KN_WHY_REFUSED,             /* the machine refused to start more */
	KN_WHY_RECOVERED,           /* it no longer does */
};

struct kn_tuner {
	unsigned limit;             /* tasks at once, >= 1 */
	unsigned ceiling;           /* limit never rises above it */
	enum kn_why why;
	int64_t due_ns;             /* when the next sample is wanted; INT64_MAX: none */
	int64_t pause_ns;           /* between a refusal and the next try */
};

/* asked: tasks at once; 0: the cores; UINT_MAX: as many as descriptors allow. */
void kn_tuner_init(struct kn_tuner *t, unsigned asked, const struct kn_machine *machine);
/* The limit from now on; why and due_ns are set too. */
unsigned kn_tuner_sample(struct kn_tuner *t, const struct kn_sample *sample);

#endif

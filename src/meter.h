/* SPDX-License-Identifier: MIT */
/*
 * Between the run and the tuner: names keys, looks at running tasks and the machine when a sample
 * is due, and keeps what was learnt. Looking never takes more than a 120th of the time.
 */
#ifndef KN_METER_H
#define KN_METER_H

#include "core/sched.h"
#include "exec/exec.h"
#include "key.h"
#include "memory.h"
#include "sys/vitals.h"
#include "tune/tuner.h"

struct kn_meter {
	struct kn_tuner *tuner;             /* owned */
	struct kn_namer namer;
	struct kn_vitals_reader *vitals;    /* owned; NULL: none */
	struct kn_memory *memory;           /* owned; NULL: nothing is kept */
	struct kn_machine machine;
	struct kn_exec *exec;               /* borrowed */
	bool names;                         /* keys are told apart */
	int64_t vitals_ns;                  /* when they were last read */
	int64_t look_ns;                    /* no look at tasks before */
	double length_ns;                   /* mean of tasks, lately */
	uint64_t ended;
	/* Deep looks at tasks while several ran: how many, in how many one waited for a lock, and the sum of the
	 * numbers that ran. */
	uint64_t together, locked, together_running;
	unsigned key;                       /* of the last input */
	uint64_t random;
	uint32_t sweeps;
	/* What was known of any task looked at, and in any reading of the machine. */
	unsigned usage_known, vitals_known;
	uint32_t looks, readings;
};

/* 0 or -errno. m is zeroed; kn_meter_done either way. */
int kn_meter_init(struct kn_meter *m, const struct knee_options *options, const struct kn_machine *machine,
    struct kn_exec *exec, int64_t now_ns);
/* Remembers what was learnt, and frees all. */
void kn_meter_done(struct kn_meter *m);
/* The key of this input. 0 or -ENOMEM. */
int kn_meter_key(struct kn_meter *m, const struct knee_input *input, unsigned *ret);
/* When kn_meter_sample is wanted next; INT64_MAX: not at all. */
int64_t kn_meter_due_ns(const struct kn_meter *m);
/* Look, and let the tuner decide. left: tasks not started, as far as known. */
void kn_meter_sample(struct kn_meter *m, const struct kn_sched *s, int64_t now_ns, uint64_t left,
    bool left_known);
/* A task's attempt has ended, and when: t->result and t->usage are final. */
void kn_meter_ended(struct kn_meter *m, struct kn_task *t, int64_t now_ns);
/* ... or was no attempt after all: its length tells nothing. */
void kn_meter_returned(struct kn_meter *m, struct kn_task *t, int64_t now_ns);

/* The share of their time that tasks which ran together waited for a lock, and how many ran then. False: too
 * few were seen. */
bool kn_meter_locked(const struct kn_meter *m, double *ret_frac, double *ret_running);

/* What the kernel or a container withholds, so that decisions are made without: the bits of
 * kn_usage_known and kn_vitals_known that were seen. False: too early to tell. */
bool kn_meter_known(const struct kn_meter *m, unsigned *ret_usage, unsigned *ret_vitals);

#endif

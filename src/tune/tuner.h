/* SPDX-License-Identifier: MIT */
/*
 * The policy that says how many tasks run at once, and which goes next. Pure: it is told what
 * was measured and decides; run.c carries that out, and the simulator drives the same object.
 *
 * A key is what a command's tasks have in common (program, kind of file, device or host). What is
 * learnt of a key, by looking at its running tasks and from their ends, gives it a kind: what
 * bounds it. A class is all keys of one kind that lean on the same thing (the cores; one disk; one
 * host; for what only waits, one program). Every class has a limit of its own, found by a limiter
 * (limiter.h); guards (guard.h) stop or lower them at once.
 *
 *	started, progress, ended, refused --> keys --> classes --> limits --> pick
 *	                            sample (vitals) ---^
 */
#ifndef KN_TUNER_H
#define KN_TUNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/reading.h"
#include "guard.h"
#include "limiter.h"
#include "symptom.h"
#include "why.h"

/* More different keys than this share the last one. */
#define KN_KEYS 64
#define KN_CLASSES (KN_KEYS + 1)

struct kn_tuner_options {
	unsigned asked;             /* tasks at once, one limit for all; 0: found; UINT_MAX: what descriptors allow */
	unsigned least, most;       /* bounds of what is found; 0: none */
	enum knee_kind hint;        /* for the start of every key; UNKNOWN: none */
	double load_max;            /* 0: no bound */
	uint64_t memfree_bytes, memsuspend_bytes;   /* 0: as measured */
	bool noswap;
	bool measure;               /* look at tasks even when the number is given */
	uint64_t seed;              /* of what is random: window lengths */
};

struct kn_key_name {
	char program[48];           /* its base name; "" for shell code without one */
	char kind[16];              /* the ending of its first file argument, "" when none */
	struct kn_place place;
};

/* What a run keeps of a key for the next one. Numbers that are 0 were not learnt. */
struct kn_prior {
	enum knee_kind kind;
	unsigned limit;             /* where its class settled */
	double cpu_share, disk_share, net_share, wait_share;
	double cores_per_task;
	double runtime_ns, cpu_ns, bytes;   /* means of a task */
	double rss_bytes;           /* the 90th percentile of peaks */
};

/* How a task (an attempt) ended. */
struct kn_end {
	int64_t now_ns, started_ns;
	struct kn_usage usage;      /* its last cumulative reading; cpu from rusage */
	struct kn_usage delta;      /* what of it was not given to kn_tuner_progress yet */
	uint64_t peak_rss_bytes;
	bool failed;
	bool busy;                  /* it said: too many at once */
	bool cut;                   /* we ended it: its length tells nothing */
	bool late;                  /* ... because its time was up */
};

struct kn_sample {
	int64_t now_ns;
	uint64_t left;              /* tasks not started yet, as far as known */
	bool left_known;            /* there are no more than that */
	const struct kn_vitals *vitals;     /* since the last sample; NULL: not read this time */
};

struct kn_change {
	int64_t now_ns;
	unsigned class;
	unsigned from, to;
	enum kn_why why;
	double figure[3];
	struct kn_finding finding;  /* what got worse with more at once, where more did not help */
};

/* What the machine is asked to do with running tasks, for want of memory. */
enum kn_act { KN_ACT_NONE, KN_ACT_SUSPEND, KN_ACT_RESUME, KN_ACT_REQUEUE };

struct kn_tuner;

/* 0 or -ENOMEM. */
int kn_tuner_new(const struct kn_tuner_options *options, const struct kn_machine *machine,
    struct kn_tuner **ret);
void kn_tuner_free(struct kn_tuner *t);

/* The number of this key, < KN_KEYS; a new one when it is not known yet. */
unsigned kn_tuner_key(struct kn_tuner *t, const struct kn_key_name *name);
size_t kn_tuner_nkeys(const struct kn_tuner *t);
const struct kn_key_name *kn_tuner_key_name(const struct kn_tuner *t, unsigned key);
/* What an earlier run learnt of key; before its first start. */
void kn_tuner_recall(struct kn_tuner *t, unsigned key, const struct kn_prior *prior);
/* What this run learnt of it; false when too little. */
bool kn_tuner_learnt(const struct kn_tuner *t, unsigned key, struct kn_prior *ret);

/* Tasks of key that wait to be started, and the lowest seq of them. */
void kn_tuner_queue(struct kn_tuner *t, unsigned key, uint64_t queued, uint64_t head_seq);
/* The key whose next task should start now, or -1: none may. */
int kn_tuner_pick(const struct kn_tuner *t, int64_t now_ns);
/* Classes that run something or have something queued. */
unsigned kn_tuner_nactive(const struct kn_tuner *t);
/* True when a class could run more, but has nothing queued: reading further ahead may help. */
bool kn_tuner_hungry(const struct kn_tuner *t);

/* An executor that keeps tasks ready was given one of key, which starts later (kn_tuner_started then, after
 * by -1), or gave it back: by is 1 or -1. It may be given so many more than the limits say. */
void kn_tuner_handed(struct kn_tuner *t, unsigned key, int by);
void kn_tuner_ahead(struct kn_tuner *t, unsigned ahead);

void kn_tuner_started(struct kn_tuner *t, unsigned key, int64_t now_ns);
/* A running task was looked at: what it used since the last look, however long ago, and since when
 * it runs. Where there are too many, each is looked at in its turn. */
void kn_tuner_progress(struct kn_tuner *t, unsigned key, int64_t started_ns,
    const struct kn_usage *delta, const struct kn_usage *total);
/* ... or was passed over: it is alive. All running tasks are in the one or the other, each time. */
void kn_tuner_alive(struct kn_tuner *t, unsigned key, int64_t started_ns);
void kn_tuner_ended(struct kn_tuner *t, unsigned key, const struct kn_end *end);
/* A start was refused with -errno err: no start before the time returned. */
int64_t kn_tuner_refused(struct kn_tuner *t, int err, int64_t now_ns);
/* Decide. Call when due, after kn_tuner_progress of the running tasks. */
void kn_tuner_sample(struct kn_tuner *t, const struct kn_sample *sample);
/* When the next sample is wanted; INT64_MAX: never. */
int64_t kn_tuner_due_ns(const struct kn_tuner *t);
/* How many running tasks the next sample needs to be looked at: 0: none, only vitals. */
unsigned kn_tuner_looks(const struct kn_tuner *t);
/* The user's own hand. */
void kn_tuner_adjust(struct kn_tuner *t, int by, int64_t now_ns);

/* With a given number: it is another one from now on, by no decision and without a word. */
void kn_tuner_capacity(struct kn_tuner *t, unsigned limit, int64_t now_ns);

/* The oldest change not yet taken; false when there is none. */
bool kn_tuner_change(struct kn_tuner *t, struct kn_change *ret);
/* What is to be done with running tasks now (asked after each sample). */
enum kn_act kn_tuner_act(struct kn_tuner *t);
/* So many running tasks are stopped now. */
void kn_tuner_suspended(struct kn_tuner *t, unsigned suspended);
/* The sum of the limits of all classes that run something or have something queued; when none does, the highest
 * of one that keys are in. */
unsigned kn_tuner_limit(const struct kn_tuner *t);
/* That of the search: 1, 0, -1. */
int kn_tuner_direction(const struct kn_tuner *t);
/* Share of the usable cores that is busy, by anyone; < 0: unknown. */
double kn_tuner_cpu_frac(const struct kn_tuner *t);
/* A fixed or hand-set limit: one class for all. */
bool kn_tuner_fixed(const struct kn_tuner *t);

/* For people: class c, 0 <= c < kn_tuner_nclasses. Fills all of *ret but `why`. */
unsigned kn_tuner_nclasses(const struct kn_tuner *t);
void kn_tuner_work(const struct kn_tuner *t, unsigned c, struct knee_work *ret);
/* Why class c's limit is what it is. */
void kn_tuner_why(const struct kn_tuner *t, unsigned c, struct kn_change *ret);
/* What the tasks done would have taken one at a time: an estimate; 0: none. */
int64_t kn_tuner_one_at_a_time_ns(const struct kn_tuner *t);

#endif

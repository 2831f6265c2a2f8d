/* SPDX-License-Identifier: MIT */
/* What a tuner is made of: for tuner*.c alone. */
#ifndef KN_TUNER_STATE_H
#define KN_TUNER_STATE_H

#include "classify.h"
#include "tuner.h"

#define KN_AGES 256
/* Keys that are not measured yet are looked at this often. */
#define KN_FIRST_LOOKS_NS ((int64_t)40000000)
/* All classes may change more than once before anybody asks. */
#define KN_CHANGES (3 * KN_CLASSES)

/* Of something that changes by steps, its integral over time. */
struct kn_area {
	double sum;                 /* since it was last taken, in units times ns */
	int64_t at_ns;              /* up to when */
};

/* By what a class's throughput is measured. */
enum kn_signal {
	KN_SIGNAL_LENGTHS,          /* how long its tasks take */
	KN_SIGNAL_BYTES,            /* what they read and write */
	KN_SIGNAL_CPU,              /* what they compute */
};

struct kn_key {
	struct kn_key_name name;
	unsigned class;
	enum knee_kind kind;        /* where it is sorted in now */
	enum knee_kind next;        /* what the last looks say */
	unsigned agreed;            /* how many in a row */
	int64_t next_ns;            /* since when */
	bool measured;              /* kind is of this run's tasks */
	struct kn_shares shares;
	struct kn_traits traits;
	struct kn_area area;        /* of running */
	struct kn_prior prior;      /* kind UNKNOWN: none */

	struct kn_peaks peaks;
	double rss, rss_before;     /* mean of its running tasks at the last sample, and 250 ms before */
	double rss_sum, rss_n, needed_sum;  /* of this sample's looks */
	double needed;              /* bytes its tasks may still take, of those that ran at the last vitals */
	unsigned fresh;             /* started since */
	int64_t rss_ns;
	bool growing;

	uint64_t queued, head_seq, started, done;
	unsigned running, handed;
	int64_t first_ns;           /* of the first start; 0: none yet */
	double runtime_ns, cpu_ns, bytes;   /* means of ended tasks, the latest weigh more */
};

struct kn_class {
	enum knee_kind kind;
	char resource[64];
	char program[48];           /* of its first key, which may have moved since */
	struct kn_limiter limiter;
	enum kn_signal signal, signal_next;
	unsigned signal_agreed;
	double work;                /* progress since the last tick, by the signal */
	struct kn_area area;        /* of running, since the last tick */
	int64_t ticked_ns;
	unsigned running, peak;
	unsigned handed;            /* given to the executor, not begun */
	uint64_t queued, done;
	double runtime_ns;          /* mean of ended tasks; 0: none */
	int64_t oldest_ns;          /* start of the oldest task looked at */
	double ages[KN_AGES];
	size_t nages;
	double looked, fresh_looked;        /* running tasks looked at; of those, started in the window */
	unsigned memory_most;       /* memory allowed no more; 0: it did */
	unsigned blocked_most;      /* the most that ran since the limit was last reached */
	unsigned blocked;           /* samples since then in which memory forbade the next start */
	int64_t reached_ns;         /* when that was */
	int64_t forbidden_ns;       /* since when memory forbids the next start; 0: it does not */
	struct kn_tries here, below;
	unsigned tries_limit;
	unsigned late_steps;        /* how often it was lowered because nothing ended in time */
	int64_t backed_ns;          /* tasks that started before tell of a limit that is gone */
	unsigned model_next;        /* what the model says now, if it is another number */
	int64_t model_ns;           /* since when */
	bool must_search;           /* no model: a guard has spoken */
	double runtime_sum, alone_sum;
	struct kn_signs signs, signs_base;  /* at the present limit, and where the search stands */
	double delay_ns;            /* that its tasks waited for a core, since the last tick */
};

struct kn_tuner {
	struct kn_tuner_options options;
	struct kn_machine machine;
	struct kn_guard guard;
	struct kn_key keys[KN_KEYS];
	unsigned nkeys;
	struct kn_class classes[KN_CLASSES];
	unsigned nclasses;
	double alone_sum;           /* of classes that gave their place to another */
	unsigned running, suspended;
	unsigned handed, ahead;     /* tasks the executor has, and may have, beside the running ones */
	uint64_t left;
	bool left_known;
	bool fixed;
	unsigned cap;               /* of all classes: descriptors, refusals, the user's bound */
	unsigned cap_most;          /* it recovers to this after refusals */
	bool guarded;               /* the user forbids starts under some condition */
	bool sampled;               /* ... which has been looked at */
	unsigned refusals, refused_at;      /* in a row at about the same number of running tasks */
	int64_t refused_ns;
	int64_t cap_due_ns, pause_ns;
	int64_t due_ns;
	double cpu_frac;            /* < 0: unknown */
	struct kn_vitals vitals;
	int64_t vitals_ns;
	int64_t vitals_elapsed_ns;  /* that they cover; 0: unknown, they are the first */
	enum kn_act act;
	int direction;
	struct kn_change changes[KN_CHANGES];
	unsigned change_first, nchanges;
};

/* tuner.c */
/* A limit has changed, or a guard has spoken: a change for kn_tuner_change(). */
void kn_tuner_tell(struct kn_tuner *t, unsigned class, unsigned from, enum kn_why why);
/* The key of c whose next task has waited longest, or -1. */
int kn_tuner_next_key(const struct kn_tuner *t, const struct kn_class *c);
/* Lower a class's limit for what a guard or its tasks say; a, b: the figures of why. */
void kn_tuner_back_off(struct kn_tuner *t, unsigned class, enum kn_why why, double a, double b,
    int64_t now_ns);

/* classes.c */
/* An area up to now, of a value that was `value` since the last call. */
void kn_area_flow(struct kn_area *a, double value, int64_t now_ns);
/* Means over a class's keys, weighted by what runs. */
struct kn_shares kn_class_shares(const struct kn_tuner *t, unsigned class);
/* Sort every key by what was seen, and give new classes their limits. */
void kn_tuner_sort(struct kn_tuner *t, int64_t now_ns);
/* The class for work of this kind at this place, made when missing. */
unsigned kn_tuner_class(struct kn_tuner *t, const struct kn_key *k, enum knee_kind kind, int64_t now_ns);
/* Move a key with its running and waiting tasks. */
void kn_tuner_move(struct kn_tuner *t, struct kn_key *k, unsigned class, int64_t now_ns);
/* The given number or the bounds of a class, by the model. */
void kn_class_model(struct kn_tuner *t, unsigned class, int64_t now_ns);

/* tuner_memory.c */
/* Is there memory for the next task of k? */
bool kn_tuner_memory_admits(const struct kn_tuner *t, const struct kn_key *k);
/* A running task of k uses so much. */
void kn_tuner_memory_seen(struct kn_key *k, uint64_t rss_bytes);
/* A sample: the resident memory of k's tasks, and whether it still grows. fresh: the machine's free memory
 * was read just now. */
void kn_tuner_memory_follow(struct kn_key *k, int64_t now_ns, bool fresh);
/* What an ended task of k used is free again, before the machine is read the next time. */
void kn_tuner_memory_back(struct kn_tuner *t, struct kn_key *k, int64_t started_ns);
/* A limit that memory keeps from being reached is no limit: it comes down to what runs, and rises again as
 * memory allows. */
void kn_tuner_memory_bound(struct kn_tuner *t, unsigned class, int64_t now_ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What decides which task starts next: the tuner of the product, told what src/run.c tells it; or
 * numbers that stay, to compare it with. It reads the input ahead, and keeps what waits.
 */
#ifndef SIM_DRIVER_H
#define SIM_DRIVER_H

#include <stdio.h>

#include "world.h"

/* Numbers at once that stay: of all tasks, or (total 0) of each type. */
struct sim_fixed {
	unsigned total;
	unsigned of[SIM_TYPES];
	bool in_order;              /* no type's tasks before another's that stand before them */
};

struct sim_prior {
	bool known;
	struct kn_prior prior;
};

struct sim_options {
	const struct sim_fixed *fixed;      /* NULL: the tuner */
	struct kn_tuner_options tuner;
	const struct sim_prior *recall;     /* of each type; NULL: nothing is known */
	FILE *print, *log;                  /* decisions for people; all calls (log.h). NULL: neither */
	bool check;                 /* look at every start whether it was within its limit */
	double refuse_frac;                 /* of starts that the machine refuses */
};

struct sim_fifo {
	uint32_t *tasks;            /* owned; read ahead, from head on */
	unsigned head, len, cap;
	uint32_t *again;            /* owned; those to be tried again, rising */
	unsigned nagain, again_cap;
};

struct sim_driver {
	const struct sim_world *world;
	const struct sim_options *options;
	struct kn_tuner *tuner;     /* owned; NULL: fixed */
	struct sim_fifo queues[KN_KEYS];
	unsigned nqueues;
	unsigned key[SIM_TYPES];    /* queue of a type's tasks */
	unsigned running[KN_KEYS], running_all;
	uint64_t skipped[KN_KEYS];  /* later tasks started while it had some waiting and none running */
	uint64_t skipped_most;
	uint32_t next;              /* task that is read next */
	uint64_t waiting;           /* in the queues */
	uint64_t changes;
	bool overrun;               /* one was started beyond the limit */
};

/* 0 or -ENOMEM; sim_driver_done in either case. */
int sim_driver_init(struct sim_driver *d, const struct sim_world *w, const struct sim_options *o);
void sim_driver_done(struct sim_driver *d);
/* Read ahead as far as allowed. 0 or -ENOMEM. */
int sim_driver_read(struct sim_driver *d);
/* The task that should start now; false: none. Take it with sim_driver_started. */
bool sim_driver_next(struct sim_driver *d, int64_t now_ns, uint32_t *ret);
/* The head of its queue was started. */
void sim_driver_started(struct sim_driver *d, uint32_t task, int64_t now_ns);
/* The machine refused to start one: no start before the time returned. */
int64_t sim_driver_refused(struct sim_driver *d, int64_t now_ns);
void sim_driver_ended(struct sim_driver *d, uint32_t task, const struct kn_end *end);
/* A task that has ended waits again. 0 or -ENOMEM. */
int sim_driver_again(struct sim_driver *d, uint32_t task);
int64_t sim_driver_due_ns(const struct sim_driver *d);
unsigned sim_driver_looks(const struct sim_driver *d);
void sim_driver_alive(struct sim_driver *d, uint32_t task, int64_t started_ns);
void sim_driver_progress(struct sim_driver *d, uint32_t task, int64_t started_ns,
    const struct kn_usage *delta, const struct kn_usage *total);
enum kn_act sim_driver_sample(struct sim_driver *d, int64_t now_ns, uint64_t backing_off,
    const struct kn_vitals *v);
/* So many running tasks are stopped now. */
void sim_driver_suspended(struct sim_driver *d, unsigned suspended);
/* What the run has learnt of each type. */
void sim_driver_learnt(const struct sim_driver *d, struct sim_prior ret[SIM_TYPES]);

#endif

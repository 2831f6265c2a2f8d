/* SPDX-License-Identifier: MIT */
/*
 * Worlds: machines whose best number is known, and the tasks that run on them.
 *
 * A pool is a resource (the cores, a disk, a service) with a curve X(n): how many units of work all
 * of n tasks do together in a second. They share it equally: each goes on at X(n)/n; or, with
 * servers, so many are served and the others stand in line. A task alone does one unit a second. What a task does in that second, and what it is seen to wait for when others
 * slow it down, is what a look at it shows; so knee's classification sees what it would in reality.
 *
 * A case is a world and how it is used: number of tasks, their sizes and order, noise, what happens
 * in the middle, what can be seen. With a seed it gives the same tasks and the same noise each time.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reading.h"
#include "tune/tuner.h"
#include "random.h"

#define SIM_SECOND 1e9
#define SIM_TABLE 1024      /* a curve's table; it is flat, or linear, beyond */
#define SIM_POOLS 5
#define SIM_TYPES 4
#define SIM_PHASES 3

/* What one look at a task sees. */
enum sim_seen { SIM_CPU, SIM_DISK, SIM_NET, SIM_LOCK, SIM_IDLE, SIM_SEEN };

enum sim_signal { SIM_PROGRESS, SIM_OPAQUE };
enum sim_order { SIM_RANDOM, SIM_ASCENDING, SIM_DESCENDING, SIM_BLOCKS };

/* What changes in mid-run; AGAIN: nothing, but the run knows what another one has learnt. */
enum sim_event {
	SIM_NOTHING, SIM_HALF, SIM_DOUBLE, SIM_FEWER, SIM_MORE, SIM_WARM, SIM_KIND, SIM_KEY, SIM_AGAIN,
};

struct sim_case {
	char world[16];
	double per_slot;            /* tasks for each slot of the best number; 0: tasks */
	unsigned tasks;
	enum sim_signal signal;
	double cv;                  /* of sizes; < 0: Pareto with that exponent */
	enum sim_order order;
	double noise_frac;          /* of the capacity; autocorrelated */
	enum sim_event event;
	double unit_s;              /* the mean size */
};

struct sim_pool {
	double x[SIM_TABLE + 1];
	bool linear;                /* beyond the table */
	unsigned best;              /* the smallest number within 1 % of the best */
	double base[SIM_SEEN];      /* what a second of a task that is alone consists of: sum 1 */
	enum sim_seen queue;        /* what a task that others slow down is seen to wait for */
	double bytes, disk_bytes, chunk_bytes;  /* of a unit; bytes come in such pieces */
	unsigned servers;           /* serves so many at once, in turn; 0: all that are there share it */
};

struct sim_phase {
	unsigned pool;
	double share;               /* of the task's size */
};

struct sim_type {
	struct kn_key_name name;
	struct sim_phase phases[SIM_PHASES];
	unsigned nphases;
	uint64_t rss_bytes;
	unsigned refuses_above;     /* with more than this many at once a task is told "busy"; 0: never */
	unsigned fails_above;       /* ... or just fails, after half its time */
};

struct sim_world {
	struct sim_pool pools[SIM_POOLS];   /* the first: the cores of this machine */
	unsigned npools;
	struct sim_type types[SIM_TYPES];
	unsigned ntypes;
	struct kn_machine machine;
	uint64_t memory_used_bytes; /* by others */
	double noise_frac;
	int64_t noise_step_ns;
	/* When this share of the tasks has ended, speed and slots are multiplied. */
	double change_at, speed[2], slots[2], disk[2];

	float *size;                /* owned; seconds alone */
	uint8_t *type;              /* owned */
	unsigned ntasks;
};

/* 0, -ENOMEM, or -EINVAL: no such world. */
int sim_world_new(const struct sim_case *c, uint64_t seed, struct sim_world **ret);
void sim_world_free(struct sim_world *w);
const char *sim_world_name(size_t i);   /* NULL after the last */

/* Units a second of n tasks, when the pool has `slots` times its slots. */
double sim_pool_x(const struct sim_pool *p, unsigned n, double slots);

/* The words of the columns of cases; the table ends with NULL. */
extern const char *const sim_signal_names[], *const sim_order_names[], *const sim_event_names[];

static inline struct rnd
sim_rnd(uint64_t seed, uint64_t stream)
{
	uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u + stream * 0xd1b54a32d192ed03u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (struct rnd){ .state = (z ^ (z >> 31)) | 1 };
}

/* 0 <= u < 1 */
static inline double
sim_uniform(struct rnd *r)
{
	return (double)(rnd_next(r) >> 11) * 0x1p-53;
}

double sim_normal(struct rnd *r);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Many machines: which of them gets the next task, which is given up, and when all are.  Pure: it is told the
 * time and what happened, and answers; exec/agent.c has the connections, tests/sim drives it with a clock of
 * its own and a thousand machines.
 *
 *	       connect       up           lost
 *	IDLE ---------> CONNECTING ---> UP ------> WAITING ---> CONNECTING ...      tried again, ever later
 *	                    | failed     | aside                  | no more tries
 *	                    v            v                        v
 *	                  WAITING      ASIDE                    GONE
 *
 * Work goes out by credit: each machine says how much it wants to have (`want`), as much as it can soon
 * start. One that answers and never says that is lost, or tasks would wait for it for ever. As long as there is
 * work for all, each is kept full. When there is not, the next task goes where it is likely to end first: by how
 * long tasks stay at a machine, and by how much of what it runs at once is out.
 *
 * A machine is set aside when its tasks fail and those of the others do not: see odd() in fleet.c. Until the
 * others have shown enough to be compared with, those whose first tasks mostly failed are given nothing more,
 * or they would eat up the list in the time that the others need for a single task.
 */
#ifndef KN_FLEET_H
#define KN_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap.h"

#define KN_FLEET_ANY UINT32_MAX
/* A machine is not believed when it wants more than this. */
#define KN_FLEET_WANT_MOST 65536

enum kn_host_state { KN_HOST_IDLE, KN_HOST_CONNECTING, KN_HOST_UP, KN_HOST_WAITING, KN_HOST_ASIDE, KN_HOST_GONE };

struct kn_fleet_host {
	enum kn_host_state state;
	uint32_t limit, want;       /* as the machine says; want is bounded */
	uint32_t out;               /* tasks that it has */
	unsigned tries;             /* that failed, without a result or long being up since */
	int64_t at_ns;              /* WAITING: when to try again; CONNECTING: when it has taken too long */
	int64_t begun_ns;           /* CONNECTING: since when */
	int64_t heard_ns;           /* UP: the last sign of life */
	int64_t ping_ns;            /* UP: when to send the next PING */
	int64_t credit_ns;          /* UP: when it must have said its first credit; INT64_MAX: it has */
	uint64_t done, failed;      /* results; of these, failures */
	uint64_t lost;              /* times that it was */
	/* of fleet.c */
	uint32_t ring, ring_prev;   /* the next and previous one with room; KN_FLEET_ANY: in no ring */
	struct kn_heap_node due;    /* IDLE: in fleet.idle; what has a deadline: in fleet.timers */
	int64_t up_ns;              /* since when it is UP */
	bool served;                /* it has given a result since then */
	bool full;                  /* its connection takes no more for now */
	bool odd;                   /* it is to be set aside */
	bool held;                  /* it gets nothing until the others have shown more, */
	int64_t held_ns;            /* or until then */
	uint32_t late_done, late_failed;        /* of done, failed: lately, as all fade together */
	double stay_ns, stayed;     /* how long its tasks were there in sum, and how many; later ones count more */
	int64_t stay_at_ns;         /* stay_ns is up to then */
};

struct kn_fleet_rules {
	int64_t timeout_ns;         /* silence that long is a loss, and so is no credit that long after it is up */
	int64_t connect_ns;         /* a connection that takes longer is a failure */
	unsigned connect_most;      /* connections that are being made at once */
	unsigned tries;             /* to connect, before a machine is gone; for good errors: one */
	bool pinned;                /* tasks name their machine: none goes elsewhere */
};

struct kn_fleet {
	struct kn_fleet_host *hosts;    /* owned */
	uint32_t n;
	struct kn_fleet_rules rules;
	uint64_t limit, want, out;  /* sums over those that are up; see kn_fleet_room */
	uint32_t up, connecting;
	uint32_t nfull;
	uint64_t done, failed;      /* sums */
	uint32_t first;             /* of the ring of those with room; KN_FLEET_ANY: none */
	uint64_t random;            /* state of the jitter */
	/* of fleet.c */
	int64_t now_ns;             /* the latest time that it was told */
	struct kn_heap idle;        /* those that want a connection, by since when */
	struct kn_heap timers;
	uint32_t alive;             /* neither GONE nor ASIDE */
	uint32_t nheld;
	uint64_t aside_out;         /* tasks that those aside have still */
	/* Sums over those of whose results not more than half failed lately. */
	uint64_t sound_done, sound_failed, sound_out, sound_limit;
	uint64_t late_done;         /* of all */
	bool told_gone;
};

/* 0 or -ENOMEM. seed: of the jitter of tries. */
int kn_fleet_init(struct kn_fleet *f, uint32_t n, const struct kn_fleet_rules *rules, uint64_t seed);
void kn_fleet_done(struct kn_fleet *f);

/* ---- what happened ----- */
void kn_fleet_connecting(struct kn_fleet *f, uint32_t h, int64_t now_ns);
/* It is CONNECTING, and has so long from now on, for there is much to be sent first. */
void kn_fleet_patience(struct kn_fleet *f, uint32_t h, int64_t ns, int64_t now_ns);
void kn_fleet_up(struct kn_fleet *f, uint32_t h, int64_t now_ns);
void kn_fleet_credit(struct kn_fleet *f, uint32_t h, uint32_t limit, uint32_t want);
void kn_fleet_heard(struct kn_fleet *f, uint32_t h, int64_t now_ns);
/* So much waits to be written to it that it gets nothing more, until that is less. */
void kn_fleet_full(struct kn_fleet *f, uint32_t h, bool full);
/* Nothing could be heard meanwhile, for want of reading: silence begins now, and the wait for its first credit. */
void kn_fleet_listen(struct kn_fleet *f, int64_t now_ns);
/* It has one task more; one less, for whatever reason. */
void kn_fleet_gave(struct kn_fleet *f, uint32_t h);
void kn_fleet_took(struct kn_fleet *f, uint32_t h);
/* One of its tasks has a result. */
void kn_fleet_result(struct kn_fleet *f, uint32_t h, bool failed);
/* The connection failed or was lost; its tasks are taken one by one (kn_fleet_took). for_good: there is no use in
 * trying again. */
void kn_fleet_lost(struct kn_fleet *f, uint32_t h, bool for_good, int64_t now_ns);

/* ---- what to do ----- */
/* Who gets the next task: one that is up and has room; pin: that one or none; avoid: another one if there is any with
 * room, KN_FLEET_ANY: none to avoid. KN_FLEET_ANY: nobody has room. */
uint32_t kn_fleet_pick(const struct kn_fleet *f, uint32_t pin, uint32_t avoid);

/* How many may run at once and are wanted, all together: what f.limit and f.want say, but of those whose connection is full no
 * more than they have. */
void kn_fleet_room(const struct kn_fleet *f, uint64_t *ret_limit, uint64_t *ret_want);

enum kn_fleet_do {
	KN_FLEET_NOTHING,
	KN_FLEET_CONNECT,           /* *ret_host */
	KN_FLEET_PING,
	KN_FLEET_TOO_LATE,          /* connecting took too long: end that, then kn_fleet_lost */
	KN_FLEET_SILENT,            /* nothing was heard: end the connection, then kn_fleet_lost */
	KN_FLEET_NO_CREDIT,         /* something was, but never its credit: the same */
	KN_FLEET_SET_ASIDE,         /* its tasks fail far oftener than others': it gets no more. */
	KN_FLEET_ALL_GONE,          /* nobody is up, and nobody will be */
};
/* What is due, one thing at a time; to be called until it is NOTHING; *ret_next_ns: when to ask again. After CONNECT comes
 * kn_fleet_connecting or kn_fleet_lost, after TOO_LATE, SILENT and NO_CREDIT kn_fleet_lost, or the same is due again.
 * One that is set aside keeps its tasks and its heartbeats until kn_fleet_lost. ALL_GONE comes once. */
enum kn_fleet_do kn_fleet_due(struct kn_fleet *f, int64_t now_ns, uint32_t *ret_host, int64_t *ret_next_ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What is read of tasks and of the machine, as plain numbers: sys/ fills them in, tune/ decides
 * by them. What the kernel withholds is left out and its bit in `known` stays clear: nobody
 * guesses. Counters of a task are cumulative and never fall.
 */
#ifndef KN_READING_H
#define KN_READING_H

#include <stdint.h>

enum kn_usage_known {
	KN_USAGE_CPU = 1,           /* cpu_ns */
	KN_USAGE_BYTES = 2,         /* bytes, disk_bytes, reads */
	KN_USAGE_DELAY = 4,         /* delay_ns */
	KN_USAGE_RSS = 8,           /* rss_bytes, peak_bytes */
	KN_USAGE_LOOKS = 16,        /* looks and what was seen in them */
};

/* What a task has used so far, over the whole tree of its processes. */
struct kn_usage {
	unsigned known;             /* enum kn_usage_known */
	int64_t cpu_ns;             /* all threads, user and system */
	int64_t delay_ns;           /* ready to run, waiting for a core (/proc/PID/schedstat) */
	uint64_t bytes;             /* through read(2) and write(2) alike (rchar + wchar) */
	uint64_t disk_bytes;        /* to and from block devices */
	uint64_t reads;             /* read(2) and write(2) calls */
	uint64_t rss_bytes;         /* now (the only one that may fall) */
	uint64_t peak_bytes;        /* the most that it was at a look */
	/* One look sees one instant of the tree: how many looks, and in how many of them some
	 * process was on or ready for a core, waited for a disk, for a socket, for a lock. */
	unsigned looks, cpu_looks, disk_looks, net_looks, lock_looks;
};

#define KN_DISKS 8
#define KN_NAME_BYTES 32

struct kn_disk {
	char name[KN_NAME_BYTES];   /* vda */
	uint32_t device;            /* major << 20 | minor, of the whole disk */
	int spindle;                /* 1: a rotating disk; 0: flash; -1: unknown (virtual, mapped) */
	double busy_frac;           /* of the time since the reading before; tells little of flash */
	double bytes_per_s, ops_per_s;
	int64_t latency_ns;         /* mean of an operation */
};

enum kn_vitals_known {
	KN_VITALS_CPU = 1,          /* cpu_busy, cpu_steal */
	KN_VITALS_MEMORY = 2,       /* memory_free_bytes, memory_bytes */
	KN_VITALS_PRESSURE = 4,     /* pressure_* */
	KN_VITALS_SWAP = 8,         /* swap_in_bytes, swap_out_bytes */
	KN_VITALS_DISKS = 16,
	KN_VITALS_NET = 32,         /* net_* */
	KN_VITALS_RETRANS = 64,     /* retrans_frac */
	KN_VITALS_LOAD = 128,       /* runnable */
	KN_VITALS_SWITCHES = 256,   /* switches_per_s */
	KN_VITALS_GROUPS = 512,     /* memory_*: also what the cgroups allow and use */
};

/* The machine since the reading before. */
struct kn_vitals {
	unsigned known;             /* enum kn_vitals_known */
	double cpu_busy;            /* cores in use, of those this process may use, by anyone */
	double cpu_steal_frac;      /* share of those cores' time that the hypervisor took */
	uint64_t memory_bytes;      /* in all: RAM, or the cgroup's limit when smaller */
	uint64_t memory_free_bytes; /* that could still be used: MemAvailable, or the rest of the cgroup's */
	double pressure_some_frac;  /* share of time that some task waited for memory (PSI) */
	double pressure_full_frac;  /* ... that all did */
	uint64_t swap_in_bytes, swap_out_bytes;
	double net_bytes_per_s;     /* received and sent, all interfaces but loopback */
	double net_busy_frac;       /* of the busiest link whose speed is known; < 0: none is */
	double retrans_frac;        /* TCP segments sent again, of those sent */
	double switches_per_s;      /* context switches, the whole machine */
	unsigned runnable;          /* processes that want to run or wait for a disk, now */
	struct kn_disk disks[KN_DISKS];
	unsigned ndisks;
};

/* What hardly changes during a run. */
struct kn_machine {
	double cores;               /* usable: affinity, and the cgroups' quota when smaller; > 0 */
	uint64_t memory_bytes;      /* 0: unknown */
	unsigned fds_free;          /* descriptors that may still be opened */
	unsigned fds_per_task;      /* >= 1 */
	unsigned fds_max;           /* the limit itself, for messages */
	unsigned processes_free;    /* RLIMIT_NPROC, pids.max; UINT_MAX: no bound known */
};

/* Where a task's work goes, as far as its command tells: one of a device, a host, or neither. */
struct kn_place {
	char host[64];              /* of the first URL, "" when none */
	char disk[KN_NAME_BYTES];   /* of the first path that exists, "" when none or unknown */
	uint32_t device;            /* of that path, 0 when none */
	int spindle;                /* as in kn_disk; -1 without a disk */
};

#endif

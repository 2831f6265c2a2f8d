/* SPDX-License-Identifier: MIT */
/*
 * Each part of a reading has its own counters of the time before. A reading that comes less than a
 * millisecond after the one before tells only what is true now, and leaves those counters, so
 * that the next one has the whole time in between.
 */
#include "vitals.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "disk.h"
#include "fd.h"
#include "procfile.h"
#include "vitals_cgroup.h"

#define LEAST_NS 1000000

/* Of the machine's disks and partitions, those that were used since it started. */
#define DEVICES 128
#define LINKS 32

enum file { STAT, MEMINFO, PRESSURE, VMSTAT, DISKSTATS, NET_DEV, NET_SNMP, FILES };

static const char *const paths[FILES] = {
	[STAT] = "/proc/stat",
	[MEMINFO] = "/proc/meminfo",
	[PRESSURE] = "/proc/pressure/memory",
	[VMSTAT] = "/proc/vmstat",
	[DISKSTATS] = "/proc/diskstats",
	[NET_DEV] = "/proc/net/dev",
	[NET_SNMP] = "/proc/net/snmp",
};

struct device {
	uint32_t number; /* major << 20 | minor */
	bool whole;      /* no partition */
	struct kn_disk_id id;
	uint64_t ops, sectors, wait_ms, busy_ms;
};

struct link {
	char name[16];
	uint64_t in, out;
	double bytes_per_s; /* each way; 0: unknown */
};

struct cpu_times {
	uint64_t all, idle, steal;
	unsigned cpus;
};

/* Microseconds since the boot. */
struct pressure {
	uint64_t some, full;
};

struct kn_vitals_reader {
	int fds[FILES]; /* -1: not open */
	struct kn_vitals_cgroup cgroup;
	cpu_set_t *mask; /* owned; NULL: unknown */
	size_t mask_size;
	char *text; /* owned; the file being read */
	size_t size;

	int64_t before_ns;
	double elapsed_s; /* since then; 0: too short to tell, or the first */
	bool keep;        /* the counters become those of the time before */

	struct cpu_times cpu;
	int64_t cgroup_cpu_ns;
	bool cgroup_cpu_known;
	uint64_t switches, swapped_in, swapped_out;
	uint64_t segments, retransmitted;
	struct pressure pressure, level_pressure[KN_VITALS_LEVELS];
	struct device devices[DEVICES];
	unsigned ndevices;
	struct link links[LINKS];
	unsigned nlinks;
};

/* The text of a file, until the next one is read. NULL: not to be had. */
static const char *
text_of(struct kn_vitals_reader *r, enum file file)
{
	ssize_t n = r->fds[file] >= 0 ? kn_procfile_whole(r->fds[file], r->text, r->size) : -ENOENT;

	/* /proc/stat grows with the cores and interrupts. */
	while (n == (ssize_t)r->size - 1 && r->size < (size_t)4 << 20) {
		char *bigger = realloc(r->text, r->size * 2);

		if (bigger == NULL)
			return NULL;
		r->text = bigger;
		r->size *= 2;
		n = kn_procfile_whole(r->fds[file], r->text, r->size);
	}
	return n > 0 ? r->text : NULL;
}

static uint64_t
labelled(const char *text, const char *label)
{
	const char *s = kn_procfile_after(text, label);

	return s != NULL ? kn_procfile_number(&s) : 0;
}

/* Some of the kernel's counters step back now and then. */
static uint64_t
risen(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static double
per_second(const struct kn_vitals_reader *r, uint64_t now, uint64_t before)
{
	return (double)risen(now, before) / r->elapsed_s;
}

/* The lines "cpuN user nice system idle iowait irq softirq steal", of the cores this
 * process may use. */
static struct cpu_times
cpu_times(const struct kn_vitals_reader *r, const char *text)
{
	struct cpu_times sum = { 0 };

	for (const char *s = text; s != NULL && strncmp(s, "cpu", 3) == 0; s = kn_procfile_line(s)) {
		const char *p = s + 3;
		uint64_t values[8], number;

		if (*p < '0' || *p > '9')
			continue; /* the sum of all */
		number = kn_procfile_number(&p);
		if (r->mask == NULL || !CPU_ISSET_S(number, r->mask_size, r->mask))
			continue;
		for (size_t i = 0; i < 8; i++) {
			values[i] = kn_procfile_number(&p);
			sum.all += values[i];
		}
		sum.idle += values[3] + values[4];
		sum.steal += values[7];
		sum.cpus++;
	}
	return sum;
}

/* Time comes in ticks of 10 ms: without one there is nothing to tell, and the counters wait. */
static bool
cores_in_use(struct kn_vitals_reader *r, const char *text, struct kn_vitals *ret)
{
	struct cpu_times now = cpu_times(r, text);
	uint64_t all = risen(now.all, r->cpu.all), idle = risen(now.idle, r->cpu.idle);
	bool known = r->elapsed_s > 0 && now.cpus > 0 && now.cpus == r->cpu.cpus && all > 0;

	if (known) {
		ret->cpu_busy = (double)now.cpus * (double)risen(all, idle) / (double)all;
		ret->cpu_steal_frac = fmin(1, (double)risen(now.steal, r->cpu.steal) / (double)all);
	}
	if (known || (r->keep && r->elapsed_s <= 0) || now.cpus != r->cpu.cpus)
		r->cpu = now;
	return known;
}

/* With a quota it is the group's own use that tells how much of it is left. Where that cannot be
 * read, what all use of the cores stands for it, as far as the quota goes. */
static bool
quota_in_use(struct kn_vitals_reader *r, bool known, struct kn_vitals *ret)
{
	int64_t now_ns;

	if (r->cgroup.usage_fd < 0) {
		ret->cpu_busy = fmin(ret->cpu_busy, r->cgroup.quota_cores);
		return known;
	}
	if (!kn_vitals_cgroup_cpu(&r->cgroup, &now_ns))
		return false;
	known = r->elapsed_s > 0 && r->cgroup_cpu_known;
	if (known)
		ret->cpu_busy = fmax(0, (double)(now_ns - r->cgroup_cpu_ns) / 1e9 / r->elapsed_s);
	if (r->keep) {
		r->cgroup_cpu_ns = now_ns;
		r->cgroup_cpu_known = true;
	}
	return known;
}

static void
read_stat(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, STAT);
	uint64_t switches, running;
	bool known;

	if (text == NULL)
		return;
	known = cores_in_use(r, text, ret);
	switches = labelled(text, "ctxt ");
	running = labelled(text, "procs_running ");
	if (running > 0) {
		/* This process, which reads it, is one of them. */
		ret->runnable = (unsigned)(running - 1 + labelled(text, "procs_blocked "));
		ret->known |= KN_VITALS_LOAD;
	}
	if (r->elapsed_s > 0 && switches > 0) {
		ret->switches_per_s = per_second(r, switches, r->switches);
		ret->known |= KN_VITALS_SWITCHES;
	}
	if (r->keep)
		r->switches = switches;
	if (r->cgroup.quota_cores < HUGE_VAL)
		known = quota_in_use(r, known, ret);
	if (known)
		ret->known |= KN_VITALS_CPU;
}

static void
read_memory(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, MEMINFO);

	if (text == NULL || kn_procfile_after(text, "MemAvailable:") == NULL)
		return;
	ret->memory_bytes = labelled(text, "MemTotal:") * 1024;
	ret->memory_free_bytes = labelled(text, "MemAvailable:") * 1024;
	kn_vitals_cgroup_memory(&r->cgroup, &ret->memory_bytes, &ret->memory_free_bytes);
	ret->known |= KN_VITALS_MEMORY;
	if (!r->cgroup.memory_hidden)
		ret->known |= KN_VITALS_GROUPS;
}

/* "some avg10=0.00 ... total=N" and the same with "full". Raises what ret has already. */
static bool
read_pressure_of(struct kn_vitals_reader *r, int fd, struct pressure *before, struct kn_vitals *ret)
{
	struct pressure now = { 0 };
	const char *some, *full;
	char text[512];

	if (fd < 0 || kn_procfile_reread(fd, text, sizeof(text)) <= 0)
		return false;
	some = strstr(text, "total=");
	if (some == NULL)
		return false;
	full = strstr(some + 1, "total=");
	some += strlen("total=");
	now.some = kn_procfile_number(&some);
	if (full != NULL) {
		full += strlen("total=");
		now.full = kn_procfile_number(&full);
	}
	if (r->elapsed_s > 0) {
		double some_frac = fmin(1, per_second(r, now.some, before->some) / 1e6);
		double full_frac = fmin(1, per_second(r, now.full, before->full) / 1e6);

		ret->pressure_some_frac = fmax(ret->pressure_some_frac, some_frac);
		ret->pressure_full_frac = fmax(ret->pressure_full_frac, full_frac);
	}
	if (r->keep)
		*before = now;
	return true;
}

/* Of the machine and of the groups with a limit, the one that presses most. */
static void
read_pressure(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	bool known = read_pressure_of(r, r->fds[PRESSURE], &r->pressure, ret);

	for (unsigned i = 0; i < r->cgroup.nlevels; i++) {
		if (read_pressure_of(r, r->cgroup.levels[i].pressure_fd, &r->level_pressure[i], ret))
			known = true;
	}
	if (known && r->elapsed_s > 0)
		ret->known |= KN_VITALS_PRESSURE;
}

static void
read_swap(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, VMSTAT);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t in, out;

	if (text == NULL || kn_procfile_after(text, "pswpin ") == NULL)
		return;
	in = labelled(text, "pswpin ");
	out = labelled(text, "pswpout ");
	if (r->elapsed_s > 0) {
		ret->swap_in_bytes = risen(in, r->swapped_in) * page;
		ret->swap_out_bytes = risen(out, r->swapped_out) * page;
		ret->known |= KN_VITALS_SWAP;
	}
	if (r->keep) {
		r->swapped_in = in;
		r->swapped_out = out;
	}
}

/* The device's entry, made when it is new; NULL when there is no room. */
static struct device *
find_device(struct kn_vitals_reader *r, unsigned major, unsigned minor)
{
	uint32_t number = kn_disk_device(major, minor);
	struct device *d;

	for (unsigned i = 0; i < r->ndevices; i++) {
		if (r->devices[i].number == number)
			return &r->devices[i];
	}
	if (r->ndevices == DEVICES)
		return NULL;
	d = &r->devices[r->ndevices++];
	*d = (struct device){ .number = number };
	d->whole = kn_disk_find(major, minor, &d->id) == 0 && d->id.device == number;
	return d;
}

/* The busiest come first; of equally busy ones, those that move more. */
static void
put_disk(struct kn_vitals *v, const struct kn_disk *disk)
{
	unsigned at = v->ndisks;

	while (at > 0 &&
	    (v->disks[at - 1].busy_frac < disk->busy_frac ||
		(v->disks[at - 1].busy_frac <= disk->busy_frac &&
		    v->disks[at - 1].bytes_per_s < disk->bytes_per_s)))
		at--;
	if (at == KN_DISKS)
		return;
	if (v->ndisks < KN_DISKS)
		v->ndisks++;
	memmove(&v->disks[at + 1], &v->disks[at], (v->ndisks - 1 - at) * sizeof(*disk));
	v->disks[at] = *disk;
}

/* now: its counters. */
static void
tell_disk(
    const struct kn_vitals_reader *r, const struct device *d, const struct device *now, struct kn_vitals *ret)
{
	uint64_t ops = risen(now->ops, d->ops);
	struct kn_disk disk = {
		.device = d->number,
		.spindle = d->id.spindle,
		.busy_frac = fmin(1, per_second(r, now->busy_ms, d->busy_ms) / 1e3),
		.bytes_per_s = per_second(r, now->sectors, d->sectors) * 512,
		.ops_per_s = (double)ops / r->elapsed_s,
		.latency_ns = ops > 0 ? (int64_t)(risen(now->wait_ms, d->wait_ms) * 1000000 / ops) : 0,
	};

	memcpy(disk.name, d->id.name, sizeof(disk.name));
	put_disk(ret, &disk);
}

/* "major minor name reads merged sectors ms writes merged sectors ms in-flight busy-ms ..." */
static void
read_disk(struct kn_vitals_reader *r, const char *s, struct kn_vitals *ret)
{
	unsigned major = (unsigned)kn_procfile_number(&s), minor = (unsigned)kn_procfile_number(&s);
	struct device now = { 0 }, *d;

	kn_procfile_skip(&s, 1);
	for (int writes = 0; writes < 2; writes++) {
		now.ops += kn_procfile_number(&s);
		kn_procfile_skip(&s, 1);
		now.sectors += kn_procfile_number(&s);
		now.wait_ms += kn_procfile_number(&s);
	}
	kn_procfile_skip(&s, 1);
	now.busy_ms = kn_procfile_number(&s);
	if (now.ops == 0)
		return;
	d = find_device(r, major, minor);
	if (d == NULL || !d->whole)
		return;
	/* One that is new here was not used before: its counters were 0. */
	if (r->elapsed_s > 0)
		tell_disk(r, d, &now, ret);
	if (r->keep) {
		d->ops = now.ops;
		d->sectors = now.sectors;
		d->wait_ms = now.wait_ms;
		d->busy_ms = now.busy_ms;
	}
}

static void
read_disks(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, DISKSTATS);

	if (text == NULL)
		return;
	for (const char *s = text; s != NULL; s = kn_procfile_line(s))
		read_disk(r, s, ret);
	if (r->elapsed_s > 0)
		ret->known |= KN_VITALS_DISKS;
}

/* Mbit/s; -1 or an error where the kernel does not know. */
static double
link_speed(const char *name)
{
	char path[64], text[32];
	const char *s = text;

	(void)stpcpy(stpcpy(stpcpy(path, "/sys/class/net/"), name), "/speed");
	if (kn_procfile_read(path, text, sizeof(text)) <= 0)
		return 0;
	return (double)kn_procfile_number(&s) * 1e6 / 8;
}

static struct link *
find_link(struct kn_vitals_reader *r, const char *name, size_t length, bool *ret_new)
{
	struct link *l;

	*ret_new = false;
	for (unsigned i = 0; i < r->nlinks; i++) {
		l = &r->links[i];
		if (strncmp(l->name, name, length) == 0 && l->name[length] == '\0')
			return l;
	}
	if (r->nlinks == LINKS)
		return NULL;
	*ret_new = true;
	l = &r->links[r->nlinks++];
	*l = (struct link){ 0 };
	memcpy(l->name, name, length);
	l->bytes_per_s = link_speed(l->name);
	return l;
}

/* "  eth0: bytes packets errs drop fifo frame compressed multicast bytes ..." */
static void
read_link(struct kn_vitals_reader *r, const char *s, struct kn_vitals *ret)
{
	const char *name = s + strspn(s, " ");
	size_t length = strcspn(name, ": \n");
	struct link *l;
	uint64_t in, out;
	bool new;

	if (name[length] != ':' || length >= sizeof(l->name) || strncmp(name, "lo:", 3) == 0)
		return;
	l = find_link(r, name, length, &new);
	if (l == NULL)
		return;
	s = name + length + 1;
	in = kn_procfile_number(&s);
	kn_procfile_skip(&s, 7);
	out = kn_procfile_number(&s);
	if (r->elapsed_s > 0 && !new) {
		double in_rate = per_second(r, in, l->in), out_rate = per_second(r, out, l->out);

		ret->net_bytes_per_s += in_rate + out_rate;
		if (l->bytes_per_s > 0)
			ret->net_busy_frac =
			    fmax(ret->net_busy_frac, fmax(in_rate, out_rate) / l->bytes_per_s);
	}
	if (r->keep || new) {
		l->in = in;
		l->out = out;
	}
}

static void
read_net(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, NET_DEV);

	if (text == NULL)
		return;
	for (const char *s = text; s != NULL; s = kn_procfile_line(s))
		read_link(r, s, ret);
	if (r->elapsed_s > 0)
		ret->known |= KN_VITALS_NET;
}

/* The value below the word in the two lines that begin with "Tcp:". */
static uint64_t
below_word(const char *words, const char *values, const char *word)
{
	size_t n = strlen(word);

	for (;;) {
		words += strspn(words, " ");
		if (*words == '\n' || *words == '\0')
			return 0;
		if (strncmp(words, word, n) == 0 && (words[n] == ' ' || words[n] == '\n'))
			return kn_procfile_number(&values);
		kn_procfile_skip(&words, 1);
		kn_procfile_skip(&values, 1);
	}
}

static void
read_tcp(struct kn_vitals_reader *r, struct kn_vitals *ret)
{
	const char *text = text_of(r, NET_SNMP);
	const char *words = text != NULL ? kn_procfile_after(text, "Tcp:") : NULL;
	const char *values = words != NULL ? kn_procfile_after(words, "Tcp:") : NULL;
	uint64_t segments, retransmitted;

	/* What is after is the rest of the first line, so that the second is found as the next. */
	if (values == NULL)
		return;
	segments = below_word(words, values, "OutSegs");
	retransmitted = below_word(words, values, "RetransSegs");
	if (r->elapsed_s > 0) {
		uint64_t sent = risen(segments, r->segments);

		if (sent > 0)
			ret->retrans_frac =
			    fmin(1, (double)risen(retransmitted, r->retransmitted) / (double)sent);
		ret->known |= KN_VITALS_RETRANS;
	}
	if (r->keep) {
		r->segments = segments;
		r->retransmitted = retransmitted;
	}
}

void
kn_vitals_read(struct kn_vitals_reader *r, int64_t now_ns, struct kn_vitals *ret)
{
	int64_t elapsed_ns = now_ns - r->before_ns;
	bool first = r->before_ns == 0;

	*ret = (struct kn_vitals){ .net_busy_frac = -1 };
	r->keep = first || elapsed_ns >= LEAST_NS;
	r->elapsed_s = !first && r->keep ? (double)elapsed_ns / 1e9 : 0;
	read_stat(r, ret);
	read_memory(r, ret);
	read_pressure(r, ret);
	read_swap(r, ret);
	read_disks(r, ret);
	read_net(r, ret);
	read_tcp(r, ret);
	if (r->keep)
		r->before_ns = now_ns;
}

/* The kernel's mask may be wider than the C library's usual one: ask with wider ones. */
static int
read_mask(struct kn_vitals_reader *r)
{
	for (unsigned cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
		r->mask = CPU_ALLOC(cpus);
		r->mask_size = CPU_ALLOC_SIZE(cpus);
		if (r->mask == NULL)
			return -ENOMEM;
		if (sched_getaffinity(0, r->mask_size, r->mask) == 0)
			return 0;
		CPU_FREE(r->mask);
		r->mask = NULL;
	}
	return 0;
}

int
kn_vitals_new(struct kn_vitals_reader **ret)
{
	struct kn_vitals_reader *r = calloc(1, sizeof(*r));
	struct kn_vitals unused;
	const char *text;
	uint64_t memory;
	int err = -ENOMEM;

	if (r == NULL)
		return err;
	r->cgroup.usage_fd = -1;
	for (enum file file = 0; file < FILES; file++) {
		int fd = kn_procfile_open(paths[file]);

		r->fds[file] = fd >= 0 ? fd : -1;
	}
	r->size = 16384;
	r->text = malloc(r->size);
	if (r->text == NULL)
		goto free_reader;
	err = read_mask(r);
	if (err < 0)
		goto free_reader;
	text = text_of(r, MEMINFO);
	memory = text != NULL ? labelled(text, "MemTotal:") * 1024 : UINT64_MAX;
	kn_vitals_cgroup_init(
	    &r->cgroup, r->mask != NULL ? (double)CPU_COUNT_S(r->mask_size, r->mask) : HUGE_VAL, memory);
	/* The first counters, so that the first reading that is asked for has differences. */
	kn_vitals_read(r, kn_clock_ns(), &unused);
	*ret = r;
	return 0;

free_reader:
	kn_vitals_free(r);
	return err;
}

void
kn_vitals_free(struct kn_vitals_reader *r)
{
	if (r == NULL)
		return;
	kn_vitals_cgroup_done(&r->cgroup);
	for (enum file file = 0; file < FILES; file++)
		kn_fd_close(&r->fds[file]);
	if (r->mask != NULL)
		CPU_FREE(r->mask);
	free(r->text);
	free(r);
}

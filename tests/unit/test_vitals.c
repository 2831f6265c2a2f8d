/* SPDX-License-Identifier: MIT */
/*
 * The state of the machine, its bounds, and places: first of this machine and of real cgroups,
 * then with files put over those of /proc and /sys in a mount namespace of the test's own, where
 * every figure is known.
 */
#include "sys/vitals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <knee_program.h>
#include "sys/machine.h"
#include "sys/places.h"
#include "tap.h"

#define MIB (1024ULL * 1024)
#define SECOND 1000000000LL

static char folder[] = "/tmp/knee-vitals-XXXXXX";

static void
skip(const char *why)
{
	printf("ok %u - # SKIP %s\n", ++tap.run, why);
}

static bool
near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fmax(1, fabs(b));
}

#define is_near(got, want, ...) tap_near(__FILE__, __LINE__, (got), (want), __VA_ARGS__)

static void __attribute__((format(printf, 5, 6)))
tap_near(const char *file, int line, double got, double want, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	tap_point(file, line, near(got, want), format, ap);
	va_end(ap);
	if (!near(got, want))
		printf("#   got: %g\n#  want: %g\n", got, want);
}

static int64_t
clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* Write text into a file that exists, or a new one. */
static bool
put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static bool
put_in(const char *where, const char *name, const char *text)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", where, name);
	return put(path, text);
}

/* End a child; valgrind reports what it leaves open. */
static _Noreturn void
leave(int status)
{
	close_range(3, ~0U, 0);
	_exit(status);
}

/* Processor time that a child uses up before this returns. */
static void
burn_elsewhere(int64_t ns)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		while (clock_of(CLOCK_PROCESS_CPUTIME_ID) < ns)
			;
		leave(0);
	}
	waitpid(pid, NULL, 0);
}

static void
test_this_machine(void)
{
	struct kn_vitals_reader *r;
	struct kn_vitals v;
	double cores = kn_machine_cores_exact();

	ok(cores > 0 && kn_machine_cores() == (unsigned)ceil(cores), "cores: %g", cores);
	ok(kn_machine_memory() > 0, "memory");
	is_int(kn_vitals_new(&r), 0, "a reader");
	burn_elsewhere(SECOND / 10);
	kn_vitals_read(r, clock_of(CLOCK_MONOTONIC), &v);
	ok((v.known & KN_VITALS_CPU) != 0 && v.cpu_busy > 0 && v.cpu_busy <= cores + 0.01,
	    "the first reading knows the cores in use: %g", v.cpu_busy);
	ok((v.known & KN_VITALS_SWITCHES) != 0 && v.switches_per_s > 0, "and the switches");
	ok((v.known & KN_VITALS_MEMORY) != 0 && v.memory_free_bytes > 0 &&
		v.memory_free_bytes <= v.memory_bytes,
	    "and the memory");
	ok(v.memory_bytes <= kn_machine_memory(), "of which no more is known than there is");
	kn_vitals_free(r);
	kn_vitals_free(NULL);
}

static char groups[3][128];

/* Groups with a quota of half a core, of the version that is here; false when they cannot
 * be made. */
static bool
make_groups(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct",
		"/sys/fs/cgroup" };
	bool two = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;

	for (size_t i = two ? 2 : 0; i < (two ? 3U : 2U); i++) {
		if (access(roots[i], F_OK) < 0)
			continue;
		(void)snprintf(groups[i], sizeof(groups[i]), "%s/knee-test-%d", roots[i], (int)getpid());
		if (mkdir(groups[i], 0755) < 0) {
			groups[i][0] = '\0';
			return false;
		}
	}
	if (two)
		return put_in(groups[2], "cpu.max", "50000 100000");
	return groups[0][0] != '\0' && groups[1][0] != '\0' &&
	    put_in(groups[0], "cpu.cfs_quota_us", "50000") &&
	    put_in(groups[0], "cpu.cfs_period_us", "100000");
}

struct quota_result {
	double exact, others, own;
	unsigned whole, known_others, known_own;
};

/* In a child that is in the groups: what all use is not what the group uses. */
static void
measure_quota(struct quota_result *q)
{
	struct kn_vitals_reader *r;
	struct kn_vitals v;
	char number[32];
	int go[2];
	pid_t outside;
	bool joined = true;

	/* One that stays outside the groups, and burns when told. */
	if (pipe2(go, O_CLOEXEC) < 0)
		return;
	outside = fork();
	if (outside == 0) {
		char byte;

		close(go[1]);
		if (read(go[0], &byte, 1) == 1) {
			while (clock_of(CLOCK_PROCESS_CPUTIME_ID) < SECOND / 4)
				;
		}
		leave(0);
	}
	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	for (size_t i = 0; i < 3; i++)
		joined = (groups[i][0] == '\0' || put_in(groups[i], "cgroup.procs", number)) && joined;
	if (!joined || kn_vitals_new(&r) < 0)
		return;
	q->exact = kn_machine_cores_exact();
	q->whole = kn_machine_cores();
	if (write(go[1], "g", 1) != 1)
		return;
	waitpid(outside, NULL, 0);
	kn_vitals_read(r, clock_of(CLOCK_MONOTONIC), &v);
	q->others = v.cpu_busy;
	q->known_others = v.known;
	/* Two at once: the quota holds them to half a core. */
	for (int i = 0; i < 2; i++) {
		if (fork() == 0) {
			while (clock_of(CLOCK_PROCESS_CPUTIME_ID) < SECOND / 8)
				;
			leave(0);
		}
	}
	while (wait(NULL) > 0)
		;
	kn_vitals_read(r, clock_of(CLOCK_MONOTONIC), &v);
	q->own = v.cpu_busy;
	q->known_own = v.known;
	kn_vitals_free(r);
}

static void
test_quota(void)
{
	struct quota_result q = { 0 };
	int up[2];
	pid_t pid;

	if (!make_groups()) {
		skip("no cgroup with a quota can be made here");
		goto remove_groups;
	}
	if (pipe2(up, O_CLOEXEC) < 0)
		exit(1);
	pid = fork();
	if (pid == 0) {
		measure_quota(&q);
		leave(write(up[1], &q, sizeof(q)) != sizeof(q));
	}
	close(up[1]);
	if (read(up[0], &q, sizeof(q)) != sizeof(q))
		q.exact = 0;
	close(up[0]);
	waitpid(pid, NULL, 0);
	is_near(q.exact, 0.5, "a quota of half a core");
	is_int(q.whole, 1, "is one task at once");
	ok((q.known_others & KN_VITALS_CPU) != 0 && q.others < 0.2, "what others use is not the group's: %g",
	    q.others);
	ok((q.known_own & KN_VITALS_CPU) != 0 && q.own > 0.01 && q.own < 0.8, "what it uses itself is: %g",
	    q.own);

remove_groups:
	for (size_t i = 0; i < 3; i++) {
		if (groups[i][0] != '\0')
			rmdir(groups[i]);
	}
}

/* To be held to one core, and to few processes. */
static void
test_bounds(void)
{
	pid_t pid;
	int status = 0;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		unsigned long mask[16] = { 0 };
		size_t first = 0;

		if (syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0)
			leave(9);
		while (mask[first] == 0)
			first++;
		mask[first] &= ~(mask[first] - 1);
		memset(mask + first + 1, 0, sizeof(mask) - (first + 1) * sizeof(mask[0]));
		syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask);
		leave(kn_machine_cores_exact() <= 1 && kn_machine_cores() == 1 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "an affinity of one core");

	pid = fork();
	if (pid == 0) {
		struct rlimit few = { 50, 50 };

		setrlimit(RLIMIT_NPROC, &few);
		if (geteuid() == 0 && kn_machine_processes_free() == 50)
			leave(1);
		if (geteuid() == 0 && setuid(65534) < 0)
			leave(2);
		leave(kn_machine_processes_free() <= 50 ? 0 : 3);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "a limit of processes, which does not bind root");
}

/* Put a file of the test's own over one of the system's. */
static bool
cover(const char *name, const char *target, const char *text)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return put(path, text) && mount(path, target, "none", MS_BIND, NULL) == 0;
}

static bool
cover_folder(const char *name, const char *target)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return mount(path, target, "none", MS_BIND, NULL) == 0;
}

/* What is below the folder of the test changes. */
static void
set(const char *name, const char *text)
{
	if (!put_in(folder, name, text))
		ok(false, "%s is written", name);
}

static void
unlink_in(const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
}

static void
set_folder(const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	mkdir(path, 0755);
}

static void
set_link(const char *to, const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (symlink(to, path) < 0)
		ok(false, "%s is linked", name);
}

/* Folders of the test's over those of /sys, with disks of every kind. */
static bool
cover_disks(void)
{
	static const char *const folders[] = { "block", "block/.d", "block/.d/sda", "block/.d/sda/queue",
		"block/.d/sda/device", "block/.d/sda/sda1", "block/.d/vda", "block/.d/vda/queue",
		"block/.d/nvme0n1", "block/.d/nvme0n1/queue", "block/.d/dm-0", "block/.d/dm-0/queue",
		"block/.d/dm-0/slaves", "block/.d/dm-0/slaves/sda1", "block/.d/dm-1", "block/.d/dm-1/queue",
		"block/.d/dm-1/slaves", "block/.d/dm-1/slaves/sda1", "block/.d/dm-1/slaves/nvme0n1",
		"devices", "net", "net/eth9", "net/wlan9" };
	static const char *const disks[] = { "sda", "vda", "nvme0n1", "dm-0", "dm-1" };
	static const char *const numbers[] = { "8:0", "254:0", "259:0", "999:0", "999:1" };
	char name[128], to[PATH_MAX];

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		set_folder(folders[i]);
	for (size_t i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "block/.d/%s/dev", disks[i]);
		set(name, numbers[i]);
		(void)snprintf(name, sizeof(name), "block/.d/%s/queue/rotational", disks[i]);
		set(name, strcmp(disks[i], "nvme0n1") == 0 ? "0\n" : "1\n");
		(void)snprintf(name, sizeof(name), "block/%s", disks[i]);
		(void)snprintf(to, sizeof(to), ".d/%s", disks[i]);
		set_link(to, name);
		(void)snprintf(name, sizeof(name), "devices/%s", numbers[i]);
		(void)snprintf(to, sizeof(to), "%s/block/.d/%s", folder, disks[i]);
		set_link(to, name);
	}
	set("block/.d/sda/device/model", "WDC WD40EFRX\n");
	set("block/.d/sda/sda1/partition", "1\n");
	set_link(".d/sda/sda1", "block/sda1");
	(void)snprintf(to, sizeof(to), "%s/block/.d/sda/sda1", folder);
	set_link(to, "devices/8:1");
	set("net/eth9/speed", "1000\n");
	set("net/wlan9/speed", "-1\n");
	return cover_folder("block", "/sys/class/block") && cover_folder("devices", "/sys/dev/block") &&
	    cover_folder("net", "/sys/class/net");
}

/* A version 2 of which the own group and its parent set limits. */
static bool
cover_cgroup(void)
{
	set_folder("cgroup");
	set_folder("cgroup/a");
	set_folder("cgroup/a/b");
	set("cgroup/cgroup.controllers", "cpu memory pids\n");
	set("cgroup/a/cpu.max", "150000 100000\n");
	set("cgroup/a/cpu.stat", "usage_usec 5000000\nuser_usec 1\n");
	set("cgroup/a/b/cpu.max", "max 100000\n");
	set("cgroup/a/memory.max", "1073741824\n");
	set("cgroup/a/memory.high", "max\n");
	set("cgroup/a/memory.current", "536870912\n");
	set("cgroup/a/memory.stat", "anon 1\ninactive_file 104857600\n");
	set("cgroup/a/memory.pressure",
	    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	set("cgroup/a/b/memory.max", "max\n");
	set("cgroup/a/b/memory.high", "max\n");
	set("cgroup/a/b/memory.current", "1048576\n");
	set("cgroup/a/pids.max", "100\n");
	set("cgroup/a/pids.current", "58\n");
	set("cgroup/a/b/pids.max", "max\n");
	return cover_folder("cgroup", "/sys/fs/cgroup") &&
	    cover("self-cgroup", "/proc/self/cgroup", "0::/a/b\n");
}

static unsigned own_cpu;

/* The own core has been at work for busy ticks of all, another one for other ticks. */
static void
set_stat(unsigned busy, unsigned idle, unsigned steal, unsigned switches)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
	    "cpu  1 2 3 4 5 6 7 8 9 10\n"
	    "cpu%u %u 0 0 %u 0 0 0 %u 0 0\n"
	    "cpu%u 0 0 0 999999 0 0 0 0 0 0\n"
	    "intr 5 1 2 3\nctxt %u\nbtime 1\nprocesses 9\nprocs_running 4\nprocs_blocked 2\nsoftirq 1 2\n",
	    own_cpu, busy, idle, steal, own_cpu + 1, switches);
	set("stat", text);
}

static bool
cover_proc(void)
{
	unsigned long mask[16] = { 0 };

	if (syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0 || mask[0] == 0)
		return false;
	own_cpu = (unsigned)__builtin_ctzl(mask[0]);
	memset(mask, 0, sizeof(mask));
	mask[0] = 1UL << own_cpu;
	if (syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask) < 0)
		return false;
	/* Files of this folder cannot be covered: they are looked up anew each time. */
	set_folder("proc-net");
	if (!cover("stat", "/proc/stat", "") || !cover_folder("proc-net", "/proc/self/net"))
		return false;
	set_stat(1000, 1000, 0, 5000);
	return cover("meminfo", "/proc/meminfo",
		   "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n") &&
	    cover("pressure", "/proc/pressure/memory",
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n") &&
	    cover("vmstat", "/proc/vmstat", "nr_free_pages 1\npswpin 10\npswpout 20\npgalloc 3\n") &&
	    cover("diskstats", "/proc/diskstats",
		"   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
		"   8       0 sda 100 0 2000 400 0 0 0 0 0 300 400\n"
		"   8       1 sda1 100 0 2000 400 0 0 0 0 0 300 400\n"
		" 254       0 vda 10 0 80 10 10 0 80 10 0 20 20\n") &&
	    put_in(folder, "proc-net/dev",
		"Inter-| Receive\n face |bytes\n"
		"    lo: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n"
		"  eth9: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n"
		" wlan9: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n") &&
	    put_in(folder, "proc-net/snmp",
		"Ip: A B\nIp: 1 2\nTcp: X OutSegs RetransSegs Y\nTcp: 7 1000 10 3\n");
}

/* Two seconds later. */
static void
set_later(void)
{
	set_stat(1150, 1050, 20, 7000);
	set("pressure",
	    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1400000\n"
	    "full avg10=0.00 avg60=0.00 avg300=0.00 total=600000\n");
	set("vmstat", "nr_free_pages 1\npswpin 12\npswpout 25\npgalloc 3\n");
	set("diskstats",
	    "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
	    "   8       0 sda 150 0 4000 900 50 0 2000 500 0 1300 900\n"
	    "   8       1 sda1 150 0 4000 900 50 0 2000 500 0 1300 900\n"
	    " 254       0 vda 10 0 80 10 10 0 80 10 0 20 20\n"
	    " 259       0 nvme0n1 200 0 40000 20 0 0 0 0 0 1500 20\n");
	set("proc-net/dev",
	    "Inter-| Receive\n face |bytes\n"
	    "    lo: 99999500 1 0 0 0 0 0 0 99999500 1 0 0 0 0 0 0\n"
	    "  eth9: 125001000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n"
	    " wlan9: 1000 1 0 0 0 0 0 0 252000 1 0 0 0 0 0 0\n");
	set("proc-net/snmp", "Ip: A B\nIp: 1 2\nTcp: X OutSegs RetransSegs Y\nTcp: 7 1400 20 3\n");
}

static void
check_disks(const struct kn_vitals *v)
{
	is_int(v->ndisks, 3, "disks that were used, without partitions");
	is_str(v->disks[0].name, "nvme0n1", "the busiest first");
	is_int(v->disks[0].spindle, 0, "which is flash");
	is_near(v->disks[0].busy_frac, 0.75, "its share of time, though it is new");
	is_str(v->disks[1].name, "sda", "the next");
	is_int(v->disks[1].spindle, 1, "rotates, and is no virtual one");
	is_int(v->disks[1].device, 8 << 20, "its number");
	is_near(v->disks[1].busy_frac, 0.5, "its share of time");
	is_near(v->disks[1].bytes_per_s, 4000 * 512 / 2.0, "its bytes");
	is_near(v->disks[1].ops_per_s, 50, "its operations");
	is_int(v->disks[1].latency_ns, 10000000, "how long each took");
	is_str(v->disks[2].name, "vda", "one at rest");
	is_int(v->disks[2].spindle, -1, "of which nobody knows: it is virtual");
}

static void
check_vitals(void)
{
	struct kn_vitals_reader *r;
	struct kn_vitals v;
	int64_t start_ns;

	is_int(kn_vitals_new(&r), 0, "a reader of known files");
	start_ns = clock_of(CLOCK_MONOTONIC);
	kn_vitals_read(r, start_ns + SECOND, &v);
	set_later();
	kn_vitals_read(r, start_ns + SECOND + 999999, &v);
	is_int(v.known, KN_VITALS_MEMORY | KN_VITALS_LOAD | KN_VITALS_GROUPS,
	    "after less than a millisecond: what is true now");
	kn_vitals_read(r, start_ns + 3 * SECOND, &v);
	is_int(v.known, 1023, "everything is known");
	is_near(v.cpu_busy, 170.0 / 220, "the use of the own core, and of no other");
	is_near(v.cpu_steal_frac, 20.0 / 220, "what was stolen of it");
	is_near(v.switches_per_s, 1000, "switches");
	is_int(v.runnable, 5, "who wants to run, without this one");
	is_int(v.memory_bytes, 8192 * MIB, "memory");
	is_int(v.memory_free_bytes, 4096 * MIB, "that is free");
	is_near(v.pressure_some_frac, 0.2, "pressure on some");
	is_near(v.pressure_full_frac, 0.05, "on all");
	is_int(v.swap_in_bytes, 2 * sysconf(_SC_PAGESIZE), "swapped in");
	is_int(v.swap_out_bytes, 5 * sysconf(_SC_PAGESIZE), "swapped out");
	is_near(v.net_bytes_per_s, 125250000 / 2.0, "bytes of the network, without loopback");
	is_near(v.net_busy_frac, 0.5, "of the link whose speed is known");
	is_near(v.retrans_frac, 0.025, "sent again");
	is_int(knee_memory_free(), 4096 * MIB, "what is free can be asked without a reader");
	check_disks(&v);
	kn_vitals_read(r, start_ns + 4 * SECOND, &v);
	ok((v.known & KN_VITALS_CPU) == 0, "without a tick of the clock nothing is said of the cores");
	is_near(v.switches_per_s, 0, "each reading counts from the one before");
	kn_vitals_free(r);
}

static void
check_groups(void)
{
	struct kn_vitals_reader *r;
	struct kn_vitals v;
	int64_t start_ns;

	is_near(kn_machine_cores_exact(), 1, "the affinity is tighter than a quota of 1.5");
	set("cgroup/a/cpu.max", "25000 100000\n");
	is_near(kn_machine_cores_exact(), 0.25, "a quota of the parent's is tighter");
	is_int(kn_machine_cores(), 1, "rounded up");
	is_int(kn_machine_memory(), 1024 * MIB, "memory that the parent allows");
	is_int(kn_machine_processes_free(), 42, "processes that the parent allows");

	is_int(kn_vitals_new(&r), 0, "a reader in groups");
	start_ns = clock_of(CLOCK_MONOTONIC);
	kn_vitals_read(r, start_ns + SECOND, &v);
	is_int(v.memory_bytes, 1024 * MIB, "the limit is what there is");
	is_int(v.memory_free_bytes, (512 + 100) * MIB, "free is also what of the cache nobody uses");
	is_int(knee_memory_free(), (512 + 100) * MIB, "and so it is told to a program");
	set("cgroup/a/cpu.stat", "usage_usec 5400000\nuser_usec 1\n");
	set("cgroup/a/memory.pressure",
	    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
	    "full avg10=0.00 avg60=0.00 avg300=0.00 total=800000\n");
	kn_vitals_read(r, start_ns + 3 * SECOND, &v);
	is_near(v.cpu_busy, 0.2, "the group's use of its quota");
	is_near(v.pressure_some_frac, 0.5, "the pressure in the group, which is higher");
	is_near(v.pressure_full_frac, 0.4, "on all of it");
	kn_vitals_free(r);

	unlink_in("cgroup/a/memory.current");
	is_int(kn_vitals_new(&r), 0, "a reader where the use of a limit is hidden");
	kn_vitals_read(r, start_ns + 4 * SECOND, &v);
	ok((v.known & KN_VITALS_GROUPS) == 0, "does not know what the groups leave");
	kn_vitals_free(r);
}

/* The disk of the folder of the test becomes that device; NULL: none at all. */
static void
set_own_disk(const char *device)
{
	char path[PATH_MAX], to[PATH_MAX];
	struct stat st;

	if (stat(folder, &st) < 0)
		return;
	(void)snprintf(path, sizeof(path), "%s/devices/%u:%u", folder, major(st.st_dev), minor(st.st_dev));
	unlink(path);
	(void)snprintf(to, sizeof(to), "%s/block/.d/%s", folder, device != NULL ? device : "");
	if (device != NULL && symlink(to, path) < 0)
		ok(false, "%s is linked", path);
}

static void
check_folder(struct kn_places *p, const char *mounted)
{
	char path[64], option[128];
	struct kn_place place;

	for (int i = 0; i < 6; i++) {
		(void)snprintf(path, sizeof(path), "data/file%d", i);
		set(path, "");
		(void)snprintf(path, sizeof(path), "%s/data/file%d", folder, i);
		kn_places_find(p, (const char *[]){ "-q", path, NULL }, 9, &place);
		is_str(place.disk, "sda", "a file is on the disk of its partition");
		is_int(place.device, 8 << 20, "which has this number");
		is_int(place.spindle, 1, "and rotates");
		kn_places_find(p, (const char *[]){ mounted, NULL }, 9, &place);
		is_str(place.disk, "", "a mount point in the same folder is on none");
		is_int(place.spindle, -1, "and nothing is known of it");
	}
	(void)snprintf(option, sizeof(option), "--input=%s", path);
	kn_places_find(p, (const char *[]){ option }, 1, &place);
	is_str(place.disk, "sda", "a path in an option");
	(void)snprintf(option, sizeof(option), "%s/data/x=y/../file1", folder);
	set_folder("data/x=y");
	kn_places_find(p, (const char *[]){ option }, 1, &place);
	is_str(place.disk, "sda", "a path with an equals sign");
}

/* A file system with a number of its own: its mount tells its disk. */
static void
check_mountinfo(unsigned minor, const char *disk, int spindle)
{
	struct kn_places *p;
	struct kn_place place;
	struct statx st;
	char text[512], node[64];

	if (kn_places_new(&p) < 0 || statx(AT_FDCWD, folder, 0, STATX_MNT_ID, &st) < 0)
		return;
	set_own_disk(NULL);
	kn_places_find(p, (const char *[]){ folder, NULL }, 9, &place);
	is_str(place.disk, "", "a file system without a disk is on none");
	kn_places_free(p);
	(void)snprintf(node, sizeof(node), "%s/node", folder);
	if ((st.stx_mask & STATX_MNT_ID) == 0 || mknod(node, S_IFBLK | 0600, makedev(999, minor)) < 0) {
		skip("no mount numbers, or no device can be made here");
		return;
	}
	(void)snprintf(text, sizeof(text),
	    "99999 1 0:77 / /proc rw - proc proc rw\n"
	    "%llu 1 0:78 / / rw,noatime shared:1 - btrfs %s rw,subvol=/\n",
	    (unsigned long long)st.stx_mnt_id, node);
	set("mountinfo", text);
	if (kn_places_new(&p) < 0)
		return;
	kn_places_find(p, (const char *[]){ folder, NULL }, 9, &place);
	is_str(place.disk, disk, "its mount's source is the disk");
	is_int(place.spindle, spindle, "which is what those below it are together");
	unlink(node);
	kn_places_free(p);
}

static void
check_places(void)
{
	struct kn_places *p;
	char mounted[64];

	set_own_disk("sda/sda1");
	set_folder("data");
	set_folder("data/mounted");
	(void)snprintf(mounted, sizeof(mounted), "%s/data/mounted", folder);
	if (kn_places_new(&p) < 0 || mount("none", mounted, "tmpfs", 0, NULL) < 0 ||
	    !cover("mountinfo", "/proc/self/mountinfo", "")) {
		skip("nothing can be mounted here");
		return;
	}
	check_folder(p, mounted);
	kn_places_free(p);
	check_mountinfo(0, "dm-0", 1);
	check_mountinfo(1, "dm-1", -1);
}

static void
test_known_files(void)
{
	if (syscall(SYS_unshare, CLONE_NEWNS) < 0 && syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS) < 0) {
		skip("no mount namespace can be made here");
		return;
	}
	/* In memory, and gone with the namespace. */
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 || !cover_disks() || !cover_proc() ||
	    !cover("self-cgroup", "/proc/self/cgroup", "")) {
		skip("the system's files cannot be covered here");
		return;
	}
	check_vitals();
	check_places();
	if (cover_cgroup())
		check_groups();
	else
		skip("the cgroups cannot be covered here");
}

static void
is_host(const char *word, const char *host)
{
	struct kn_places *p;
	struct kn_place place;

	if (kn_places_new(&p) < 0)
		exit(1);
	kn_places_find(p, (const char *[]){ "-o", word, NULL }, 9, &place);
	is_str(place.host, host, "the host of %s", word);
	kn_places_free(p);
}

static void
test_hosts(void)
{
	static const char *const none[] = { "echo", "s/a/b/", "no such file", "-n", NULL };
	struct kn_places *p;
	struct kn_place place;

	is_host("https://Example.ORG/a?b", "example.org");
	is_host("http://user:p%40w@host:8080/x@y", "host");
	is_host("--url=ftp://files.example", "files.example");
	is_host("http://[::1]:80/", "::1");
	is_host("http://a?b@c", "a");
	is_host("curl 'http://h'; true", "h");
	is_host("file:///etc/passwd", "");
	is_host("://", "");
	is_host("http://a234567890123456789012345678901234567890123456789012345678901234567890",
	    "a23456789012345678901234567890123456789012345678901234567890123");
	if (kn_places_new(&p) < 0)
		exit(1);
	kn_places_find(p, none, 9, &place);
	ok(place.host[0] == '\0' && place.disk[0] == '\0' && place.device == 0 && place.spindle == -1,
	    "words that lead nowhere");
	kn_places_find(p, (const char *[]){ "/proc/self/stat", NULL }, 9, &place);
	is_str(place.disk, "", "what the kernel makes up is on no disk");
	kn_places_find(p, none, 0, &place);
	is_str(place.disk, "", "no words at all");
	kn_places_free(p);
	kn_places_free(NULL);
}

/* Removes the folder when the test has ended, from outside its mounts. */
static pid_t
start_remover(int *ret_end)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		exit(1);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		char byte;

		close(ends[1]);
		if (read(ends[0], &byte, 1) == 0)
			execlp("rm", "rm", "-rf", "--one-file-system", folder, NULL);
		leave(1);
	}
	close(ends[0]);
	*ret_end = ends[1];
	return pid;
}

int
main(void)
{
	unsigned fds;
	pid_t remover;
	int end;

	if (mkdtemp(folder) == NULL)
		return 1;
	remover = start_remover(&end);
	fds = kn_machine_fds_open();
	test_this_machine();
	test_bounds();
	test_quota();
	test_hosts();
	test_known_files();
	is_int(kn_machine_fds_open(), fds, "no descriptor is left open");
	close(end);
	waitpid(remover, NULL, 0);
	return done_testing();
}

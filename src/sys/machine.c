/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cgroup.h"
#include "procfile.h"

/* The kernel's mask may be wider than the C library's usual one: ask with wider ones. */
unsigned
kn_machine_affinity(void)
{
	for (unsigned cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(cpus);
		size_t size = CPU_ALLOC_SIZE(cpus);
		int count = 0;
		bool known;

		if (set == NULL)
			return 1;
		known = sched_getaffinity(0, size, set) == 0;
		if (known)
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (known)
			return count > 0 ? (unsigned)count : 1;
	}
	return 1;
}

double
kn_machine_cores_exact(void)
{
	double least = kn_machine_affinity();
	struct kn_cgroup g;

	if (kn_cgroup_find("cpu", &g) < 0)
		return least;
	do
		least = fmin(least, kn_cgroup_cores(&g));
	while (kn_cgroup_up(&g));
	return least;
}

unsigned
kn_machine_cores(void)
{
	return (unsigned)ceil(kn_machine_cores_exact());
}

uint64_t
kn_machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t least = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
	struct kn_cgroup g;

	if (least == 0 || kn_cgroup_find("memory", &g) < 0)
		return least;
	do {
		uint64_t limit = kn_cgroup_memory(&g);

		if (limit < least)
			least = limit;
	} while (kn_cgroup_up(&g));
	return least;
}

static uint64_t
difference(uint64_t from, uint64_t what)
{
	return from > what ? from - what : 0;
}

/* All processes and threads of the machine: the second number in the fourth word of
 * /proc/loadavg, "2/345". 0: unknown. */
static uint64_t
all_threads(void)
{
	char text[128];
	const char *s = text;

	if (kn_procfile_read("/proc/loadavg", text, sizeof(text)) <= 0)
		return 0;
	s = strchr(text, '/');
	if (s == NULL)
		return 0;
	s++;
	return kn_procfile_number(&s);
}

/* Processes and threads of one user. */
static uint64_t
user_threads(uid_t uid)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;
	uint64_t n = 0;

	if (d == NULL)
		return 0;
	while ((entry = readdir(d)) != NULL) {
		char path[300], text[4096];
		const char *s;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		if (kn_procfile_read(path, text, sizeof(text)) <= 0)
			continue;
		s = kn_procfile_after(text, "Uid:");
		if (s == NULL || kn_procfile_number(&s) != uid)
			continue;
		s = kn_procfile_after(text, "Threads:");
		n += s != NULL ? kn_procfile_number(&s) : 1;
	}
	closedir(d);
	return n;
}

/* Far from the limit, what all users have together is near enough, and known at once. */
#define NPROC_FAR 4096

static uint64_t
rlimit_free(void)
{
	struct rlimit limit;
	uint64_t all = all_threads();

	if (geteuid() == 0 || getrlimit(RLIMIT_NPROC, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT_MAX;
	if (all > 0 && difference(limit.rlim_cur, all) >= NPROC_FAR)
		return difference(limit.rlim_cur, all);
	return difference(limit.rlim_cur, user_threads(getuid()));
}

unsigned
kn_machine_processes_free(void)
{
	uint64_t least = rlimit_free();
	struct kn_cgroup g;

	if (kn_cgroup_find("pids", &g) < 0)
		return least < UINT_MAX ? (unsigned)least : UINT_MAX;
	do {
		uint64_t max, current;

		if (!kn_cgroup_number(&g, "pids.max", &max) || max == UINT64_MAX ||
		    !kn_cgroup_number(&g, "pids.current", &current))
			continue;
		if (difference(max, current) < least)
			least = difference(max, current);
	} while (kn_cgroup_up(&g));
	return least < UINT_MAX ? (unsigned)least : UINT_MAX;
}

unsigned
kn_machine_fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	if (d == NULL)
		return 16;
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the folder's own */
}

/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's mask may be wider than the C library's usual one: ask with wider ones. */
static unsigned
affinity_cores(void)
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
			return (unsigned)count;
	}
	return 1;
}

/* One number or two from a small file; how many were read. */
static int
read_numbers(const char *path, double *a, double *b)
{
	FILE *f = fopen(path, "re");
	int n;

	if (f == NULL)
		return 0;
	n = fscanf(f, "%lf %lf", a, b);
	fclose(f);
	return n > 0 ? n : 0;
}

/* More cores than any machine has: no quota. */
#define NO_QUOTA 1e9

static double
smaller(double a, double b)
{
	return a < b ? a : b;
}

/* The quota in cores that folder sets, or NO_QUOTA. Version 2 names both numbers in one
 * file ("max" when there is none), version 1 in two. */
static double
quota_of(const char *folder)
{
	char path[PATH_MAX + 32];
	double quota, period, unused;

	(void)snprintf(path, sizeof(path), "%s/cpu.max", folder);
	if (read_numbers(path, &quota, &period) == 2 && quota > 0 && period > 0)
		return quota / period;
	(void)snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
	if (read_numbers(path, &quota, &unused) < 1 || quota <= 0)
		return NO_QUOTA;
	(void)snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
	if (read_numbers(path, &period, &unused) < 1 || period <= 0)
		return NO_QUOTA;
	return quota / period;
}

/* The smallest quota from mount + group up to mount itself. */
static double
quota_up(const char *mount, char *group)
{
	char folder[PATH_MAX];
	double least = NO_QUOTA;
	char *slash;

	for (;;) {
		int n = snprintf(folder, sizeof(folder), "%s%s", mount, group);

		if (n > 0 && (size_t)n < sizeof(folder))
			least = smaller(least, quota_of(folder));
		slash = strrchr(group, '/');
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

/* True if word is one of the comma-separated words of list. */
static bool
list_has(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (;; list++) {
		if (strncmp(list, word, n) == 0 && (list[n] == ',' || list[n] == '\0'))
			return true;
		list = strchr(list, ',');
		if (list == NULL)
			return false;
	}
}

/* Lines of /proc/self/cgroup: "0::/group" (version 2) or "4:cpu,cpuacct:/group". */
static double
quota_cores(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX];
	double least = NO_QUOTA;

	if (f == NULL)
		return least;
	while (fgets(line, sizeof(line), f) != NULL) {
		char *kinds = strchr(line, ':');
		char *group = kinds != NULL ? strchr(kinds + 1, ':') : NULL;

		if (group == NULL)
			continue;
		*kinds++ = '\0';
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (kinds[0] == '\0')
			least = smaller(least, quota_up("/sys/fs/cgroup", group));
		else if (list_has(kinds, "cpu"))
			least = smaller(least, quota_up("/sys/fs/cgroup/cpu", group));
	}
	fclose(f);
	return least;
}

unsigned
kn_machine_cores(void)
{
	double quota = quota_cores();
	unsigned cores = affinity_cores();
	unsigned whole;

	if (quota >= cores)
		return cores > 0 ? cores : 1;
	whole = (unsigned)quota;
	return whole + ((double)whole < quota);
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

/* SPDX-License-Identifier: MIT */
#include "vitals_cgroup.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "fd.h"
#include "procfile.h"

/* Version 1 counts processor time in a controller of its own, which may be in another place: that
 * count is the quota's only if this process is in the same group there. */
static int
open_usage_1(const struct kn_cgroup *g)
{
	const char *group = g->folder + g->mount_length;
	size_t n = strlen(group);
	struct kn_cgroup other;
	const char *there;
	int fd = kn_cgroup_open(g, "cpuacct.usage");

	if (fd >= 0)
		return fd;
	if (kn_cgroup_find("cpuacct", &other) < 0)
		return -1;
	there = other.folder + other.mount_length;
	if (strncmp(there, group, n) != 0 || (there[n] != '\0' && there[n] != '/'))
		return -1;
	other.folder[other.mount_length + n] = '\0';
	fd = kn_cgroup_open(&other, "cpuacct.usage");
	return fd >= 0 ? fd : -1;
}

static void
init_cpu(struct kn_vitals_cgroup *c, double affinity_cores)
{
	struct kn_cgroup g, tightest = { 0 };

	if (kn_cgroup_find("cpu", &g) < 0)
		return;
	do {
		double cores = kn_cgroup_cores(&g);

		if (cores < affinity_cores && cores < c->quota_cores) {
			c->quota_cores = cores;
			tightest = g;
		}
	} while (kn_cgroup_up(&g));
	if (c->quota_cores >= affinity_cores)
		return;
	c->usage_version = tightest.version;
	c->usage_fd = tightest.version == 1 ? open_usage_1(&tightest) : kn_cgroup_open(&tightest, "cpu.stat");
	if (c->usage_fd < 0)
		c->usage_fd = -1;
}

static void
init_memory(struct kn_vitals_cgroup *c, uint64_t memory_bytes)
{
	struct kn_cgroup g;

	if (kn_cgroup_find("memory", &g) < 0)
		return;
	c->memory_hidden = !kn_cgroup_mounted(&g);
	do {
		struct kn_vitals_level level = { .limit = kn_cgroup_memory(&g), .version = g.version };

		if (level.limit >= memory_bytes)
			continue;
		level.usage_fd =
		    kn_cgroup_open(&g, g.version == 1 ? "memory.usage_in_bytes" : "memory.current");
		if (level.usage_fd < 0) {
			c->memory_hidden = true;
			continue;
		}
		level.stat_fd = kn_cgroup_open(&g, "memory.stat");
		level.pressure_fd = kn_cgroup_open(&g, "memory.pressure");
		c->levels[c->nlevels++] = level;
	} while (kn_cgroup_up(&g) && c->nlevels < KN_VITALS_LEVELS);
}

void
kn_vitals_cgroup_init(struct kn_vitals_cgroup *c, double affinity_cores, uint64_t memory_bytes)
{
	*c = (struct kn_vitals_cgroup){ .quota_cores = HUGE_VAL, .usage_fd = -1 };
	init_cpu(c, affinity_cores);
	init_memory(c, memory_bytes);
}

void
kn_vitals_cgroup_done(struct kn_vitals_cgroup *c)
{
	kn_fd_close(&c->usage_fd);
	for (unsigned i = 0; i < c->nlevels; i++) {
		kn_fd_close(&c->levels[i].usage_fd);
		kn_fd_close(&c->levels[i].stat_fd);
		kn_fd_close(&c->levels[i].pressure_fd);
	}
	c->nlevels = 0;
}

/* Version 1 has nanoseconds, version 2 a list with "usage_usec N". */
bool
kn_vitals_cgroup_cpu(const struct kn_vitals_cgroup *c, int64_t *ret)
{
	char text[1024];
	const char *s = text;

	if (c->usage_fd < 0 || kn_procfile_reread(c->usage_fd, text, sizeof(text)) <= 0)
		return false;
	if (c->usage_version == 1) {
		*ret = (int64_t)kn_procfile_number(&s);
		return true;
	}
	s = kn_procfile_after(text, "usage_usec");
	if (s == NULL)
		return false;
	*ret = (int64_t)kn_procfile_number(&s) * 1000;
	return true;
}

/* The page cache counts as used, but what of it was not used lately goes before anything
 * else does. */
static uint64_t
reclaimable(const struct kn_vitals_level *level)
{
	char text[8192];
	const char *s;

	if (level->stat_fd < 0 || kn_procfile_whole(level->stat_fd, text, sizeof(text)) <= 0)
		return 0;
	s = kn_procfile_after(text, level->version == 1 ? "total_inactive_file " : "inactive_file ");
	return s != NULL ? kn_procfile_number(&s) : 0;
}

void
kn_vitals_cgroup_memory(const struct kn_vitals_cgroup *c, uint64_t *total, uint64_t *free_bytes)
{
	for (unsigned i = 0; i < c->nlevels; i++) {
		const struct kn_vitals_level *level = &c->levels[i];
		uint64_t used, cache, left;
		char text[64];
		const char *s = text;

		if (kn_procfile_reread(level->usage_fd, text, sizeof(text)) <= 0)
			continue;
		used = kn_procfile_number(&s);
		cache = reclaimable(level);
		used = used > cache ? used - cache : 0;
		left = level->limit > used ? level->limit - used : 0;
		if (level->limit < *total)
			*total = level->limit;
		if (left < *free_bytes)
			*free_bytes = left;
	}
}

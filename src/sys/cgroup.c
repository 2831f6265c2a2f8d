/* SPDX-License-Identifier: MIT */
#include "cgroup.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fd.h"
#include "procfile.h"

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

/* mount + group; a group of "/" adds nothing. */
static int
set_folder(struct kn_cgroup *g, int version, const char *mount, const char *group)
{
	int n = snprintf(g->folder, sizeof(g->folder), "%s%s", mount, group);

	if (n <= 0 || (size_t)n >= sizeof(g->folder))
		return -ENOENT;
	if (g->folder[n - 1] == '/')
		g->folder[n - 1] = '\0';
	g->version = version;
	g->mount_length = strlen(mount);
	return 0;
}

/* Version 2 stands beside version 1 on some machines. */
static int
set_version_2(struct kn_cgroup *g, const char *group)
{
	bool alone = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;

	return set_folder(g, 2, alone ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified", group);
}

/* Controllers that share a hierarchy ("cpu,cpuacct") have a link for each, but for where
 * somebody forgot them. */
static int
set_version_1(struct kn_cgroup *g, const char *controller, const char *controllers, const char *group)
{
	char mount[128];

	(void)snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", controller);
	if (access(mount, F_OK) < 0)
		(void)snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%.100s", controllers);
	return set_folder(g, 1, mount, group);
}

/* Lines of /proc/self/cgroup: "0::/group" (version 2) or "4:cpu,cpuacct:/group"; a controller
 * that stands in one of the latter is not in version 2. */
int
kn_cgroup_find(const char *controller, struct kn_cgroup *ret)
{
	int fd = kn_procfile_open("/proc/self/cgroup");
	int found = -ENOENT;
	char text[8192];
	char *rest = text;

	if (fd < 0 || kn_procfile_whole(fd, text, sizeof(text)) < 0)
		text[0] = '\0';
	kn_fd_close(&fd);
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		char *controllers = strchr(line, ':');
		char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

		if (group == NULL)
			continue;
		*controllers++ = '\0';
		*group++ = '\0';
		if (list_has(controllers, controller))
			return set_version_1(ret, controller, controllers, group);
		if (controllers[0] == '\0')
			found = set_version_2(ret, group);
	}
	return found;
}

bool
kn_cgroup_mounted(const struct kn_cgroup *g)
{
	char mount[PATH_MAX];

	(void)snprintf(mount, sizeof(mount), "%.*s", (int)g->mount_length, g->folder);
	return access(mount, F_OK) == 0;
}

bool
kn_cgroup_up(struct kn_cgroup *g)
{
	char *slash = strrchr(g->folder + g->mount_length, '/');

	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

int
kn_cgroup_open(const struct kn_cgroup *g, const char *name)
{
	char path[PATH_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/%s", g->folder, name);
	return kn_procfile_open(path);
}

bool
kn_cgroup_number(const struct kn_cgroup *g, const char *name, uint64_t *ret)
{
	int fd = kn_cgroup_open(g, name);
	char text[64];
	const char *s = text;
	ssize_t n;

	if (fd < 0)
		return false;
	n = kn_procfile_reread(fd, text, sizeof(text));
	kn_fd_close(&fd);
	if (n <= 0)
		return false;
	*ret = text[0] >= '0' && text[0] <= '9' ? kn_procfile_number(&s) : UINT64_MAX;
	return true;
}

/* Version 2 names both numbers in one file, version 1 in two. */
double
kn_cgroup_cores(const struct kn_cgroup *g)
{
	int fd = kn_cgroup_open(g, "cpu.max");
	uint64_t quota = UINT64_MAX, period = 0;
	char text[64] = "";
	const char *s = text;

	if (fd < 0) {
		if (!kn_cgroup_number(g, "cpu.cfs_quota_us", &quota) ||
		    !kn_cgroup_number(g, "cpu.cfs_period_us", &period))
			return HUGE_VAL;
	} else if (kn_procfile_reread(fd, text, sizeof(text)) > 0 && text[0] >= '0' && text[0] <= '9') {
		quota = kn_procfile_number(&s);
		period = kn_procfile_number(&s);
	}
	kn_fd_close(&fd);
	if (quota == UINT64_MAX || quota == 0 || period == 0)
		return HUGE_VAL;
	return (double)quota / (double)period;
}

/* Above memory.high a group is slowed down until it gave memory back: no use for us. */
uint64_t
kn_cgroup_memory(const struct kn_cgroup *g)
{
	uint64_t limit = UINT64_MAX, high = UINT64_MAX;

	if (g->version == 1) {
		(void)kn_cgroup_number(g, "memory.limit_in_bytes", &limit);
		return limit;
	}
	(void)kn_cgroup_number(g, "memory.max", &limit);
	(void)kn_cgroup_number(g, "memory.high", &high);
	return limit < high ? limit : high;
}

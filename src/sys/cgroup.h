/* SPDX-License-Identifier: MIT */
/*
 * The cgroups that this process is in, version 1 or 2, from its own up to the root as far as it is
 * mounted here: every one of them may set a limit. Linux: cgroups(7). Inside a container the group
 * that /proc/self/cgroup names may not exist below the mount; then the files of the mount itself,
 * which is the container's group, answer on the way up.
 */
#ifndef KN_CGROUP_H
#define KN_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kn_cgroup {
	int version;                /* 1 or 2 */
	size_t mount_length;        /* of the beginning of folder */
	char folder[PATH_MAX];
};

/* That of a controller ("cpu", "memory"). 0 or -ENOENT. */
int kn_cgroup_find(const char *controller, struct kn_cgroup *ret);
/* False where its files are not mounted: it may have limits, and nobody can see them. */
bool kn_cgroup_mounted(const struct kn_cgroup *g);
/* Go to the parent. False when there is none. */
bool kn_cgroup_up(struct kn_cgroup *g);

/* A file of it: the descriptor or -errno. */
int kn_cgroup_open(const struct kn_cgroup *g, const char *name);
/* The first number in a file; UINT64_MAX for "max" and for a negative one, which both mean
 * none. False without such a file. */
bool kn_cgroup_number(const struct kn_cgroup *g, const char *name, uint64_t *ret);
/* Cores that this one alone allows, HUGE_VAL without a quota. */
double kn_cgroup_cores(const struct kn_cgroup *g);
/* Bytes that it alone allows, UINT64_MAX without a limit. */
uint64_t kn_cgroup_memory(const struct kn_cgroup *g);

#endif

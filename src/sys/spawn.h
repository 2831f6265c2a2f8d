/* SPDX-License-Identifier: MIT */
/*
 * Starting and ending processes. posix_spawn, which does not copy this process's
 * memory tables; then a pidfd, through which alone the child is waited for.
 */
#ifndef KN_SPAWN_H
#define KN_SPAWN_H

#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Made once, used for every start. */
struct kn_spawner {
	posix_spawnattr_t attr;
	struct rlimit nofile;       /* what children get */
	int raised;                 /* this process has more than that */
};

struct kn_spawn {
	const char *path;           /* resolved: no search is done */
	char *const *argv;
	char *const *env;
	int in;
	int out, err;               /* -1: as this process's own */
	int script;                 /* -1, or becomes descriptor 3 */
};

/* A started child. pidfd is close-on-exec. */
struct kn_child {
	pid_t pid;
	int pidfd;
};

int kn_spawner_init(struct kn_spawner *s);
void kn_spawner_done(struct kn_spawner *s);
/* Let this process open as many descriptors as the hard limit allows; children keep the
 * soft one. */
void kn_spawner_raise_files(struct kn_spawner *s);

/*
 * Start it, in a process group of its own. 0, or -errno: nothing was started
 * (-ENOENT, -EACCES, -ENOEXEC, -E2BIG, ...: the program; -EAGAIN, -ENOMEM, -EMFILE: the machine).
 * -ECHILD: it was started but could not be watched; it has been killed and waited for.
 */
int kn_spawn(struct kn_spawner *s, const struct kn_spawn *plan, struct kn_child *ret);

/* Collect a child whose pidfd is readable: wait status and usage. 0, -EAGAIN, -errno. */
int kn_child_wait(struct kn_child *c, int *status, struct rusage *usage);
/* Did one whose pidfd is readable die of a signal that is sent to end programs (TERM, KILL, INT, HUP, QUIT)? Or does
 * it only say so by its status, 128 and the signal, as shells and Java do: *by_status. It can still be waited for. */
bool kn_child_was_killed(const struct kn_child *c, bool *by_status);
/* kn_child_wait() for one that was sent SIGKILL: waits until it has ended, and closes the pidfd. */
void kn_child_reap(struct kn_child *c);

/* CPU time of the process itself, all its threads, until now; -1: not known. It was not waited for. */
int64_t kn_child_cpu_ns(const struct kn_child *c);

/* Signal its whole process group, or it alone where it has none any more. */
void kn_child_signal(const struct kn_child *c, int signal);

#endif

/* SPDX-License-Identifier: MIT */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fd.h"

/*
 * Children get no blocked signals, and the default action for those that knee's
 * program or anyone before it may ignore for its own sake: SIGPIPE.
 */
int
kn_spawner_init(struct kn_spawner *s)
{
	sigset_t none, defaults;
	int err;

	*s = (struct kn_spawner){ 0 };
	err = posix_spawnattr_init(&s->attr);
	if (err != 0)
		return -err;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_setsigmask(&s->attr, &none);
	(void)posix_spawnattr_setsigdefault(&s->attr, &defaults);
	(void)posix_spawnattr_setpgroup(&s->attr, 0);
	(void)posix_spawnattr_setflags(
	    &s->attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return 0;
}

void
kn_spawner_done(struct kn_spawner *s)
{
	(void)posix_spawnattr_destroy(&s->attr);
	if (s->raised)
		(void)setrlimit(RLIMIT_NOFILE, &s->nofile);
}

void
kn_spawner_raise_files(struct kn_spawner *s)
{
	struct rlimit more;

	if (getrlimit(RLIMIT_NOFILE, &s->nofile) < 0)
		return;
	more = s->nofile;
	more.rlim_cur = more.rlim_max;
	s->raised = more.rlim_cur != s->nofile.rlim_cur && setrlimit(RLIMIT_NOFILE, &more) == 0;
}

static int
actions_add(posix_spawn_file_actions_t *a, const struct kn_spawn *plan)
{
	const int from[4] = { plan->in, plan->out, plan->err, plan->script };
	int err;

	for (int to = 0; to < 4; to++) {
		if (from[to] < 0)
			continue;
		err = posix_spawn_file_actions_adddup2(a, from[to], to);
		if (err != 0)
			return -err;
	}
	return 0;
}

int
kn_spawn(struct kn_spawner *s, const struct kn_spawn *plan, struct kn_child *ret)
{
	struct rlimit now = s->nofile;
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int err, spare, pidfd;

	/* Keeps a place for the pidfd: a child must not be started that cannot be watched. */
	spare = fcntl(plan->in, F_DUPFD_CLOEXEC, 3);
	if (spare < 0)
		return -errno;
	err = -posix_spawn_file_actions_init(&actions);
	if (err < 0)
		goto spare;
	err = actions_add(&actions, plan);
	if (err < 0)
		goto actions;
	if (s->raised) {
		now.rlim_cur = now.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &s->nofile);
	}
	err = -posix_spawn(&pid, plan->path, &actions, &s->attr, plan->argv, plan->env);
	if (s->raised)
		(void)setrlimit(RLIMIT_NOFILE, &now);
	if (err < 0)
		goto actions;
	kn_fd_close(&spare);
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		(void)kill(-pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		err = -ECHILD;
		goto actions;
	}
	*ret = (struct kn_child){ .pid = pid, .pidfd = pidfd };
actions:
	(void)posix_spawn_file_actions_destroy(&actions);
spare:
	kn_fd_close(&spare);
	return err;
}

int
kn_child_wait(struct kn_child *c, int *status, struct rusage *usage)
{
	pid_t pid = wait4(c->pid, status, WNOHANG, usage);

	if (pid < 0)
		return -errno;
	return pid == 0 ? -EAGAIN : 0;
}

bool
kn_child_was_killed(const struct kn_child *c, bool *by_status)
{
	siginfo_t info = { 0 };
	int sig;

	*by_status = false;
	if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return false;
	*by_status = info.si_code == CLD_EXITED;
	sig = *by_status ? info.si_status - 128 : info.si_status;
	return sig == SIGTERM || sig == SIGKILL || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT;
}

void
kn_child_reap(struct kn_child *c)
{
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	kn_fd_close(&c->pidfd);
}

int64_t
kn_child_cpu_ns(const struct kn_child *c)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(c->pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return -1;
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
kn_child_signal(const struct kn_child *c, int signal)
{
	if (kill(-c->pid, signal) < 0)
		(void)pidfd_send_signal(c->pidfd, signal, NULL, 0);
}

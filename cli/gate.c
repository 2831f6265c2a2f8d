/* SPDX-License-Identifier: MIT */
/*
 * --limit COMMAND: its exit status says whether a task may start.
 *
 *	0   one task may start
 *	1   none now
 *	2   none now, and the youngest task is ended, to be run again later
 *
 * The command is a process beside the run, never waited for: an answer lets one task pass, and the
 * next one that wants to start asks anew. After a "no" the command is asked again by itself, each
 * time a little later; after a "yes" that nobody needed, because as many tasks run as may, once a
 * second: a 2 must be heard then too. It sees neither our stdin nor our stdout, which are the
 * tasks'.
 */
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define MS ((int64_t)1000000)
#define AGAIN_FIRST_NS (100 * MS)
#define AGAIN_MOST_NS (1000 * MS)

/* What a shell says when it cannot run the command. */
enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

enum gate_state {
	GATE_UNASKED,
	GATE_ASKING, /* the command runs */
	GATE_OPEN,   /* it said yes, for one task */
	GATE_CLOSED, /* it said no */
};

/* Invariant: pid and pidfd are those of the command in GATE_ASKING, else 0 and -1. */
struct gate {
	const char *command, *shell; /* borrowed */
	knee *knee;                  /* borrowed; NULL until the run begins */
	enum gate_state state;
	pid_t pid;
	int pidfd;
	int timer_fd;
	int64_t again_ns; /* how long to wait after the next "no" */
	bool wondered;    /* a status without meaning was told */
	bool failed;
};

static void
timer_set(struct gate *g, int64_t ns)
{
	const struct itimerspec t = { .it_value = {
					  .tv_sec = ns / (1000 * MS), .tv_nsec = ns % (1000 * MS) } };

	(void)timerfd_settime(g->timer_fd, 0, &t, NULL);
}

/* Nothing can be asked: a run that waits for ever for an answer helps nobody. */
static void
fail(struct gate *g)
{
	g->failed = true;
	g->state = GATE_CLOSED;
	knee_stop(g->knee, KNEE_STOP_NOW);
}

static void
close_gate(struct gate *g)
{
	g->state = GATE_CLOSED;
	timer_set(g, g->again_ns);
	g->again_ns = 2 * g->again_ns < AGAIN_MOST_NS ? 2 * g->again_ns : AGAIN_MOST_NS;
}

static void
open_gate(struct gate *g)
{
	g->state = GATE_OPEN;
	g->again_ns = AGAIN_FIRST_NS;
	timer_set(g, AGAIN_MOST_NS);
	knee_wake(g->knee);
}

static void
answer_take(struct gate *g, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == 0) {
		open_gate(g);
		return;
	}
	if (code == NOT_FOUND || code == NOT_EXECUTABLE) {
		say("--limit: '%s' cannot be run (status %d): the run ends", g->command, code);
		fail(g);
		return;
	}
	if (code != 1 && code != 2 && !g->wondered) {
		say("--limit: '%s' ended with %s %d, not 0, 1 or 2: no task starts meanwhile", g->command,
		    code < 0 ? "signal" : "status", code < 0 ? WTERMSIG(status) : code);
		g->wondered = true;
	}
	if (code == 2)
		(void)knee_requeue_youngest(g->knee);
	close_gate(g);
}

/* The command has ended. */
static int
command_event(void *self, int fd)
{
	struct gate *g = self;
	int status;

	if (waitpid(g->pid, &status, WNOHANG) == 0)
		return 0;
	(void)knee_watch(g->knee, fd, NULL, NULL);
	close(g->pidfd);
	g->pidfd = -1;
	g->pid = 0;
	answer_take(g, status);
	return 0;
}

/* ---- asking --------------------------------------------------------------- */

/* No blocked or ignored signals of ours; a group of its own, to be ended whole. -errno. */
static int
attributes_make(posix_spawnattr_t *attr)
{
	sigset_t none, defaults;
	int err = posix_spawnattr_init(attr);

	if (err != 0)
		return -err;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	(void)posix_spawnattr_setsigmask(attr, &none);
	(void)posix_spawnattr_setsigdefault(attr, &defaults);
	(void)posix_spawnattr_setpgroup(attr, 0);
	(void)posix_spawnattr_setflags(
	    attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return 0;
}

static int
command_spawn(const struct gate *g, pid_t *ret)
{
	char *const argv[] = { (char *)(uintptr_t)g->shell, (char[]){ "-c" }, (char *)(uintptr_t)g->command,
		NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int err = attributes_make(&attr);

	if (err < 0)
		return err;
	err = -posix_spawn_file_actions_init(&actions);
	if (err < 0)
		goto attributes;
	err = -posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (err == 0)
		err = -posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (err == 0)
		err = -posix_spawn(ret, g->shell, &actions, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
attributes:
	(void)posix_spawnattr_destroy(&attr);
	return err;
}

static void
command_kill(struct gate *g)
{
	if (g->pid <= 0)
		return;
	(void)kill(-g->pid, SIGKILL);
	(void)waitpid(g->pid, NULL, 0);
	g->pid = 0;
	if (g->pidfd >= 0)
		close(g->pidfd);
	g->pidfd = -1;
}

static void
ask(struct gate *g)
{
	int err = command_spawn(g, &g->pid);

	if (err == 0) {
		g->pidfd = pidfd_open(g->pid, 0);
		err = g->pidfd < 0 ? -errno : knee_watch(g->knee, g->pidfd, command_event, g);
		if (err < 0)
			command_kill(g);
	} else {
		g->pid = 0;
	}
	if (err == 0) {
		g->state = GATE_ASKING;
		timer_set(g, 0);
	} else if (err == -EAGAIN || err == -ENOMEM || err == -EMFILE || err == -ENFILE) {
		/* The machine has no room for it now, nor for a task. */
		close_gate(g);
	} else {
		say("--limit: '%s' cannot be run: %s: %s: the run ends", g->command, g->shell,
		    strerror(-err));
		fail(g);
	}
}

static int
timer_event(void *self, int fd)
{
	struct gate *g = self;
	uint64_t expired;

	if (read(fd, &expired, sizeof(expired)) == (ssize_t)sizeof(expired) && g->state != GATE_ASKING &&
	    !g->failed)
		ask(g);
	return 0;
}

int
gate_may_start(void *self)
{
	struct gate *g = self;

	if (g->state == GATE_OPEN) {
		g->state = GATE_UNASKED;
		return 1;
	}
	if (g->state == GATE_UNASKED)
		ask(g);
	return 0;
}

/* ---- making --------------------------------------------------------------- */

int
gate_new(const char *command, const char *shell, struct gate **ret)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	*g = (struct gate){ .command = command, .shell = shell, .pidfd = -1, .again_ns = AGAIN_FIRST_NS };
	g->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (g->timer_fd < 0) {
		free(g);
		return say_error(errno, "--limit: %s", strerror(errno));
	}
	*ret = g;
	return 0;
}

int
gate_start(struct gate *g, knee *k)
{
	g->knee = k;
	return knee_watch(k, g->timer_fd, timer_event, g);
}

bool
gate_failed(const struct gate *g)
{
	return g->failed;
}

void
gate_free(struct gate *g)
{
	if (g == NULL)
		return;
	command_kill(g);
	close(g->timer_fd);
	free(g);
}

/* SPDX-License-Identifier: MIT */
/*
 * knee agent: carries out what a knee on another machine gives it. Frames come on stdin and go to stdout
 * (knee-agent(5)); both move out of the way of tasks, which find nothing there. It runs under the keeper, so that
 * nothing is left behind whoever is killed, and ends when its connection does.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"
#include "command.h"
#include "keeper.h"
#include "options_table.h"

extern char **environ;

struct agent {
	int in, out, signals; /* -1: none */
	bool keeper_died;
	char *learnt;
};

/* Slurm sends TERM some time before it kills, a terminal that is gone HUP; all of them mean the same here. */
static const int ending[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

/* knee_agent_options.stop */
static int
told(void *self, int fd)
{
	struct agent *a = self;
	struct signalfd_siginfo info;
	int how = -1;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if ((int)info.ssi_signo == keeper_death_signal())
			a->keeper_died = true;
		else if (how < 0)
			how = info.ssi_signo == SIGQUIT ? KNEE_STOP_KILL : KNEE_STOP_NOW;
	}
	return a->keeper_died ? KNEE_STOP_KILL : how;
}

static int
signals_open(struct agent *a)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		sigaddset(&set, ending[i]);
	sigaddset(&set, keeper_death_signal());
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return a->signals < 0 ? -errno : 0;
}

/* knee_agent_options.jobs */
static int
jobs(const char *text, unsigned cores, unsigned *limit, unsigned *least, unsigned *most)
{
	struct value_jobs v;
	int err = value_jobs(text, cores, &v);

	if (err < 0)
		return err;
	*limit = v.limit;
	*least = v.least;
	*most = v.most;
	return 0;
}

/* The connection gets numbers that no task has, and where it was is nothing. */
static int
connection_move(struct agent *a)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int err = 0;

	a->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	a->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (null_fd < 0 || a->in < 0 || a->out < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
	    dup2(null_fd, STDOUT_FILENO) < 0)
		err = -errno;
	if (null_fd > STDERR_FILENO)
		close(null_fd);
	return err;
}

static int
agent_serve(struct agent *a)
{
	const char *tmpdir = getenv("TMPDIR");
	char message[1024] = "";
	const struct knee_agent_options o = {
		.in = a->in,
		.out = a->out,
		.environ_base = (const char *const *)environ,
		.shell = command_shell(),
		.memory_path = a->learnt,
		.tmpdir = tmpdir != NULL && tmpdir[0] != '\0' ? tmpdir : "/tmp",
		.jobs = jobs,
		.load = value_load,
		.stop_fd = a->signals,
		.stop = told,
		.stop_self = a,
	};
	int err = knee_agent_serve(&o, message, sizeof(message));

	/* Where nobody listens any more there is nobody to tell. */
	if (err < 0 && err != -ECONNRESET && err != -EPIPE && !a->keeper_died)
		(void)say_error(-err, "agent: %s", message);
	return err;
}

int
agent_main(int argc, char **argv)
{
	struct agent a = { .in = -1, .out = -1, .signals = -1 };
	int err;

	(void)argv;
	if (argc > 2 || isatty(STDIN_FILENO)) {
		say("agent: is started by knee on another machine, not by hand: see --sshlogin");
		return EXIT_TROUBLE;
	}
	err = keeper_start(NULL);
	if (err == 0)
		err = signals_open(&a);
	if (err == 0)
		err = connection_move(&a);
	if (err < 0) {
		say("agent: cannot start: %s", strerror(-err));
		return EXIT_TROUBLE;
	}
	err = learnt_path(&a.learnt);
	if (err == 0)
		err = agent_serve(&a);
	free(a.learnt);
	if (a.keeper_died)
		keeper_sweep_alone();
	return err < 0 ? EXIT_TROUBLE : 0;
}

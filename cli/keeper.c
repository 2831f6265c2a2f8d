/* SPDX-License-Identifier: MIT */
/*
 * Two processes stand for one run.
 *
 *	the keeper      the process that the user started; waits, and does nothing else
 *	the program     its child; runs the engine; parent of all tasks
 *
 * Whichever is killed, even by SIGKILL, the other one is still there to end every task:
 *
 * - The program dies: the keeper, a sub-reaper, becomes the parent of every process below
 *   it, kills them all and collects them, until it has no child left. So it does at every
 *   end of a run, for what tasks left behind.
 * - The keeper dies: the kernel sends the program its parent-death signal. The program kills
 *   its tasks and what descends from them. Processes whose parents had ended before belonged
 *   to the keeper; they are now init's, and are found by PARALLEL_PID in their environment,
 *   which every task gets.
 *
 * The keeper's name is not the program's, so that one "killall -9 knee" does not take both.
 *
 * Signals from the terminal reach both by themselves; others reach the process that the user
 * knows, the keeper, and are passed on.
 */
#include "keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
/* Rounds of killing, with pauses of 1 ms: enough for all but a process that the kernel holds. */
#define SWEEP_ROUNDS 2000

static pid_t keeper_pid;

/* Children that the keeper had before it was knee: a shell's process substitution, or what
 * whoever started us left running before its exec. They are none of ours. */
static struct {
	pid_t *pids; /* owned until the process ends */
	size_t len;
} strangers;

int
keeper_death_signal(void)
{
	return SIGRTMIN;
}

/* ---- who is there --------------------------------------------------------- */

struct process {
	pid_t pid, parent;
	bool mine;
};

struct processes {
	struct process *list;
	size_t len, cap;
};

/* Parent of pid, from /proc/PID/stat; 0 when it is gone or a zombie. */
static pid_t
parent_of(pid_t pid)
{
	char path[64], text[512];
	const char *at;
	char state;
	int fd, parent;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')'); /* the name before it may hold anything */
	if (at == NULL || sscanf(at + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
		return 0;
	return parent;
}

static int
processes_read(struct processes *p)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	p->len = 0;
	if (d == NULL)
		return -errno;
	while ((e = readdir(d)) != NULL) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		pid_t parent = pid > 0 ? parent_of(pid) : 0;
		struct process *more;

		if (parent == 0)
			continue;
		if (p->len == p->cap) {
			more = realloc(p->list, (p->cap * 2 + 256) * sizeof(*more));
			if (more == NULL)
				break;
			p->list = more;
			p->cap = p->cap * 2 + 256;
		}
		p->list[p->len++] = (struct process){ .pid = pid, .parent = parent };
	}
	closedir(d);
	return 0;
}

static bool
is_stranger(pid_t pid)
{
	for (size_t i = 0; i < strangers.len; i++)
		if (strangers.pids[i] == pid)
			return true;
	return false;
}

static int
by_pid(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Note the children that are there already. 0 or -errno. */
static int
strangers_note(void)
{
	struct processes p = { 0 };
	pid_t ended;
	int err;

	/* Nearly always there are none, and one call tells. */
	do
		ended = waitpid(-1, NULL, WNOHANG);
	while (ended > 0);
	if (ended < 0)
		return errno == ECHILD ? 0 : -errno;
	err = processes_read(&p);
	strangers.pids = err == 0 ? calloc(p.len + 1, sizeof(pid_t)) : NULL;
	if (err == 0 && strangers.pids == NULL)
		err = -ENOMEM;
	for (size_t i = 0; i < p.len && err == 0; i++)
		if (p.list[i].parent == getpid())
			strangers.pids[strangers.len++] = p.list[i].pid;
	free(p.list);
	return err;
}

/* One of them ended: its number may be given to a process of ours. */
static void
strangers_forget(pid_t pid)
{
	for (size_t i = 0; i < strangers.len; i++)
		if (strangers.pids[i] == pid)
			strangers.pids[i] = strangers.pids[--strangers.len];
}

/* Mark all that descend from root: in passes, each of which finds at least one generation. */
static void
processes_mark(struct processes *p, pid_t root)
{
	bool found = true;

	qsort(p->list, p->len, sizeof(*p->list), by_pid);
	while (found) {
		found = false;
		for (size_t i = 0; i < p->len; i++) {
			const struct process key = { .pid = p->list[i].parent };
			const struct process *parent;

			if (p->list[i].mine || is_stranger(p->list[i].pid))
				continue;
			parent = bsearch(&key, p->list, p->len, sizeof(*p->list), by_pid);
			p->list[i].mine = key.pid == root || (parent != NULL && parent->mine);
			found = found || p->list[i].mine;
		}
	}
}

/* True if /proc/PID/environ has this "NAME=value". */
static bool
has_variable(pid_t pid, const char *variable)
{
	char path[64];
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (!found && getdelim(&line, &cap, '\0', f) > 0)
		found = strcmp(line, variable) == 0;
	free(line);
	fclose(f);
	return found;
}

/* Kill what descends from this process, and whatever has variable (NULL: nothing) in its
 * environment. How many there were. */
static size_t
kill_round(struct processes *p, const char *variable)
{
	size_t killed = 0;
	pid_t self = getpid();

	if (processes_read(p) < 0)
		return 0;
	processes_mark(p, self);
	for (size_t i = 0; i < p->len; i++) {
		if (p->list[i].pid == self)
			continue;
		if (!p->list[i].mine && (variable == NULL || !has_variable(p->list[i].pid, variable)))
			continue;
		if (kill(p->list[i].pid, SIGKILL) == 0)
			killed++;
	}
	return killed;
}

static void
sweep(const char *variable)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct processes p = { 0 };

	for (int round = 0; round < SWEEP_ROUNDS; round++) {
		size_t killed = kill_round(&p, variable);

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (killed == 0)
			break;
		nanosleep(&pause, NULL);
	}
	free(p.list);
}

void
keeper_sweep_alone(void)
{
	char variable[48];

	(void)snprintf(variable, sizeof(variable), "PARALLEL_PID=%d", (int)getpid());
	sweep(variable);
}

/* ---- the keeper's life ------------------------------------------------------ */

static _Noreturn void
end_as(int status)
{
	const struct rlimit none = { 0 };
	sigset_t set;

	if (WIFSIGNALED(status)) {
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(WTERMSIG(status), SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, WTERMSIG(status));
		(void)kill(getpid(), WTERMSIG(status));
		(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Stop as a program does that knows nothing of SIGTSTP: where nobody could continue it (an
 * orphaned process group) the kernel does not stop it. */
void
keeper_stop_self(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	(void)kill(getpid(), SIGTSTP);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Collect what ended. Returns true when the program did, with its status. */
static bool
collect(pid_t program, int *ret)
{
	bool ended = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != program) {
			strangers_forget(pid);
			continue;
		}
		if (WIFSTOPPED(status)) {
			keeper_stop_self();
			(void)kill(program, SIGCONT);
			continue;
		}
		*ret = status;
		ended = true;
	}
	return ended;
}

/* Did it end by what a wrong program gets, not by somebody's signal? */
static bool
crashed(int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGABRT;
}

static _Noreturn void
keep(pid_t program, const sigset_t *signals, const char *crash_hint)
{
	siginfo_t info;
	int status = 0;

	(void)prctl(PR_SET_NAME, "kn-keeper");
	for (;;) {
		int sig = sigwaitinfo(signals, &info);

		if (sig == SIGCHLD && collect(program, &status))
			break;
		/* The terminal's own (SI_KERNEL) go to the whole foreground group, but for the one that
		 * says that it is gone: that goes to the session's leader, which may be this. */
		if (sig > 0 && sig != SIGCHLD && (info.si_code != SI_KERNEL || sig == SIGHUP))
			(void)kill(program, sig);
	}
	if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
		sweep(NULL);
	if (crash_hint != NULL && crashed(status))
		say("%s: %s", crash_hint, strsignal(WTERMSIG(status)));
	end_as(status);
}

/* All signals but those that were ignored when the program started: nohup, or a shell's job in
 * the background. A blocked signal would be kept even then. */
static void
keeper_signals(sigset_t *ret)
{
	struct sigaction now;

	sigfillset(ret);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			sigdelset(ret, sig);
}

int
keeper_start(const char *crash_hint)
{
	sigset_t all, before;
	pid_t pid;
	int err;

	err = strangers_note();
	if (err < 0)
		return err;
	(void)signal(SIGCHLD, SIG_DFL); /* may be inherited as ignored; then nothing could be waited for */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -errno;
	keeper_signals(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	keeper_pid = getpid();
	pid = fork();
	if (pid > 0)
		keep(pid, &all, crash_hint);
	err = pid < 0 ? -errno : 0;
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, keeper_death_signal());
		if (getppid() != keeper_pid)
			_exit(255);
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}

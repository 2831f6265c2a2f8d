/* SPDX-License-Identifier: MIT */
/*
 * sem: a counting semaphore for commands, across processes.
 *
 *	sem [--fg|--bg] [--id NAME] [-j N] [--st TIME] [-q] COMMAND [WORD]...
 *	sem --wait [--id NAME] [--st TIME]
 *
 * Who holds a slot, and who waits for whom. The usual ways have a helper that holds a lock for the
 * command. Then a slot is free when the helper is gone, which is not when the command is: kill the
 * helper and two commands run at once; let the command inherit the lock and a daemon that it
 * left behind holds the slot for good. Here nobody holds anything for anybody:
 *
 * - The command is the holder. A slot is a line in a file that names one process (sem_file.c says
 *   how, so that no other process is ever taken for it). With --fg it is sem's own process, which
 *   becomes the command by exec: it has its status, its terminal, its signals, without a
 *   go-between. With --bg it is a child that becomes the command, while sem ends.
 * - A slot is free when that process is gone. Nobody has to give it back and nobody can forget to:
 *   there is no moment at which a kill -9, of sem, the command or any other, frees it too early or
 *   leaves it taken. What the command leaves in the background does not count.
 * - Who waits watches the holders themselves, by their pidfds, and the kernel wakes it when one is
 *   gone: no signal to miss, no interval to poll at. Whether a slot is free is then looked up under
 *   a lock that only living processes have, for a moment.
 * - Those who want the same number wait in a queue: the first watches the holders, each other one is
 *   blocked by a lock of the one before, which goes on when that has its slot or is gone. A
 *   thousand waiting cost one wake-up for each end. Who allows more at once (-j4 beside -j1) has a
 *   queue of its own: it need not wait for those who allow less, as with GNU parallel; else two
 *   could wait for each other.
 *
 * In order, for --bg: lock; count the holders; fork a child that waits for a word; write it down;
 * unlock; give the word; the child execs. Killed before the word, sem leaves a child that reads an
 * end and ends; it was counted, or never was. With --fg the same without the child.
 *
 * The first of a queue that is suspended by ^Z leaves it, and lets the next one watch. By SIGSTOP it
 * cannot: those behind it wait until it is continued or killed.
 */
#include "sem.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "command.h"
#include "keeper.h"
#include "options_table.h"
#include "sem_file.h"

#define EXIT_GAVE_UP 1

struct sem {
	struct sem_options options;
	char terminal[64];
	const char *id; /* borrowed */
	struct sem_file file;
	struct sem_holders holders;
	int64_t deadline_ns; /* INT64_MAX: none */
	int stop_fd;         /* readable when ^Z was typed; -1: not while waiting as the first */
	sigset_t waiting;    /* the mask meanwhile */
	/* What the command shall find as it was. */
	struct sigaction alarm;
	sigset_t mask;
	struct rlimit files;
};

/* ---- while waiting ---------------------------------------------------------- */

static void
alarm_heard(int sig)
{
	(void)sig;
}

/* At the deadline SIGALRM takes this process out of a queue. It comes again and again: the first one
 * may come right before the wait begins. */
static void
alarm_set(struct sem *s)
{
	struct sigaction act = { .sa_handler = alarm_heard };
	struct itimerval timer = { .it_interval.tv_usec = 20000 };

	if (s->options.timeout_ns == 0)
		return;
	timer.it_value.tv_sec = (time_t)(s->options.timeout_ns / 1000000000);
	timer.it_value.tv_usec = (suseconds_t)(s->options.timeout_ns / 1000 % 1000000 + 1);
	if (timer.it_value.tv_usec > 999999)
		timer.it_value.tv_usec = 999999;
	(void)sigaction(SIGALRM, &act, NULL);
	sigdelset(&s->waiting, SIGALRM);
	(void)sigprocmask(SIG_SETMASK, &s->waiting, NULL);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

static void
waiting_begin(struct sem *s)
{
	struct rlimit most;

	s->deadline_ns =
	    s->options.timeout_ns > 0 ? clock_ns(CLOCK_MONOTONIC) + s->options.timeout_ns : INT64_MAX;
	(void)sigaction(SIGALRM, NULL, &s->alarm);
	(void)sigprocmask(SIG_BLOCK, NULL, &s->mask);
	s->waiting = s->mask;
	alarm_set(s);
	/* Each holder that is watched takes a descriptor. */
	(void)getrlimit(RLIMIT_NOFILE, &s->files);
	most = s->files;
	most.rlim_cur = most.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &most);
}

static void
waiting_end(struct sem *s)
{
	const struct itimerval none = { 0 };

	if (s->options.timeout_ns > 0)
		(void)setitimer(ITIMER_REAL, &none, NULL);
	if (s->stop_fd >= 0)
		close(s->stop_fd);
	s->stop_fd = -1;
	(void)sigaction(SIGALRM, &s->alarm, NULL);
	(void)sigprocmask(SIG_SETMASK, &s->mask, NULL);
	(void)setrlimit(RLIMIT_NOFILE, &s->files);
}

/* Become the first of the queue. Until then ^Z stops this process as any other; from then on it is
 * something that is waited for, too. 0, -ETIME, or -errno after say(). */
static int
queue_join(struct sem *s)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	(void)sigprocmask(SIG_SETMASK, &s->waiting, NULL);
	err = sem_file_queue(&s->file, s->options.slots, s->deadline_ns);
	if (err < 0)
		return err;
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	if (s->stop_fd < 0)
		s->stop_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->stop_fd < 0 ? say_error(errno, "signals: %s", strerror(errno)) : 0;
}

/* ^Z: leave the queue, stop, and join it again when continued. */
static int
stop(struct sem *s)
{
	struct signalfd_siginfo info;

	while (read(s->stop_fd, &info, sizeof(info)) > 0)
		;
	sem_file_queue_leave(&s->file, s->options.slots);
	keeper_stop_self();
	return queue_join(s);
}

/* Wait until a holder is gone. 0: look again, -ETIME, or -errno. */
static int
holders_wait(struct sem *s)
{
	struct pollfd *ends = s->holders.ends;
	size_t n = s->holders.n;
	int64_t left = s->deadline_ns - clock_ns(CLOCK_MONOTONIC);
	struct timespec t = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
	int ready;

	if (left <= 0)
		return -ETIME;
	ends[n] = (struct pollfd){ .fd = s->stop_fd, .events = POLLIN };
	ready = ppoll(ends, n + 1, s->deadline_ns < INT64_MAX ? &t : NULL, NULL);
	if (ready < 0 && errno != EINTR)
		return say_error(errno, "waiting: %s", strerror(errno));
	if (ready > 0 && ends[n].revents != 0)
		return stop(s);
	return 0;
}

/* ---- a slot ----------------------------------------------------------------- */

/* As the first of the queue: until there is a free slot. 0: there is, and the file is locked;
 * -ESTALE, -ETIME, -errno: it is not. */
static int
slot_watch(struct sem *s)
{
	for (;;) {
		int err = sem_file_lock(&s->file);

		if (err < 0)
			return err;
		err = sem_file_read(&s->file, &s->holders);
		if (err == 0 && s->holders.n < s->options.slots)
			return 0;
		sem_file_unlock(&s->file);
		if (err == 0)
			err = holders_wait(s);
		if (err < 0)
			return err;
	}
}

/* Wait for a slot. 0: it is free and the file is locked; -ETIME; or -errno after say(). */
static int
slot_wait(struct sem *s)
{
	int err;

	do {
		sem_file_close(&s->file);
		err = sem_file_open(&s->file, s->id, true);
		if (err == 0)
			err = queue_join(s);
		if (err == 0)
			err = slot_watch(s);
	} while (err == -ESTALE);
	return err;
}

/* The time is over: lock the file, for one more than there should be. 0 or -errno after say(). */
static int
slot_force(struct sem *s)
{
	int err = sem_file_lock(&s->file);

	while (err == -ESTALE) {
		sem_file_close(&s->file);
		err = sem_file_open(&s->file, s->id, true);
		if (err == 0)
			err = sem_file_lock(&s->file);
	}
	return err < 0 ? err : sem_file_read(&s->file, &s->holders);
}

/* Get a slot, or the right to do without. 0: the file is locked; -ETIME: given up; -errno. */
static int
slot_get(struct sem *s)
{
	const char *then = s->options.take_anyway ? "running the command anyway" : "nothing is run";
	int err = slot_wait(s);

	if (err != -ETIME)
		return err;
	say("no free slot of %s%s%s in time: %s", s->options.id != NULL ? "'" : "",
	    s->options.id != NULL ? s->id : "this terminal", s->options.id != NULL ? "'" : "", then);
	return s->options.take_anyway ? slot_force(s) : -ETIME;
}

/* ---- the command ------------------------------------------------------------ */

/* Append word; with quotes around it when it shall stay one. */
static char *
word_put(char *to, const char *word, bool quote)
{
	if (!quote)
		return stpcpy(to, word);
	*to++ = '\'';
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\\'");
		*to++ = *word;
	}
	*to++ = '\'';
	return to;
}

/* The text for the shell, malloc'd; NULL without memory. It begins with a blank: a command that
 * begins with a hyphen is no option of the shell. */
static char *
command_text(const struct sem_options *o)
{
	size_t size = 1;
	char *text, *to;

	for (size_t i = 0; i < o->ncommand; i++)
		size += 4 * strlen(o->command[i]) + 3;
	text = malloc(size);
	if (text == NULL)
		return NULL;
	to = text;
	for (size_t i = 0; i < o->ncommand; i++) {
		*to++ = ' ';
		to = word_put(to, o->command[i], o->quote);
	}
	*to = '\0';
	return text;
}

/* Become the command. Returns the errno of what could not be done. */
static int
command_exec(const struct sem_options *o, const char *text)
{
	const char *shell = command_shell(), *slash = strrchr(shell, '/');

	if (o->nice_set && setpriority(PRIO_PROCESS, 0, o->nice) < 0)
		say("--nice: %s", strerror(errno));
	execl(shell, slash != NULL ? slash + 1 : shell, "-c", text, (char *)NULL);
	return errno;
}

static int
exec_failed(int error)
{
	if (error == E2BIG)
		say("the command is too long for the system: put it into a script");
	else
		say("%s: cannot be run: %s", command_shell(), strerror(error));
	return error == ENOENT ? 127 : error == E2BIG ? EXIT_TROUBLE : 126;
}

/* --fg. Returns the exit status when the command could not be run. */
static int
run_here(struct sem *s, const char *text)
{
	int err = sem_file_add(&s->file, &s->holders, getpid());

	sem_holders_done(&s->holders);
	sem_file_close(&s->file);
	waiting_end(s);
	return err < 0 ? EXIT_TROUBLE : exec_failed(command_exec(&s->options, text));
}

/* The child of --bg: when sem says so, become the command. What goes wrong is told to sem. */
static _Noreturn void
child_run(struct sem *s, const char *text, int fd)
{
	char go;
	int error;

	sem_holders_done(&s->holders);
	sem_file_close(&s->file);
	waiting_end(s);
	if (read(fd, &go, 1) != 1)
		_exit(EXIT_TROUBLE);
	error = command_exec(&s->options, text);
	(void)send(fd, &error, sizeof(error), MSG_NOSIGNAL);
	_exit(EXIT_TROUBLE);
}

/* Let the child go on, and wait until it has become the command. The exit status. */
static int
child_release(int fd)
{
	int error;
	ssize_t n;

	(void)send(fd, "", 1, MSG_NOSIGNAL);
	do
		n = recv(fd, &error, sizeof(error), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	return n == sizeof(error) ? exec_failed(error) : 0;
}

/* --bg. The exit status. */
static int
run_behind(struct sem *s, const char *text)
{
	int fds[2], status = EXIT_TROUBLE;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		say("cannot start: %s", strerror(errno));
		return EXIT_TROUBLE;
	}
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		child_run(s, text, fds[1]);
	}
	close(fds[1]);
	if (pid < 0)
		say("cannot start: %s", strerror(errno));
	else if (sem_file_add(&s->file, &s->holders, pid) == 0) {
		/* The child may still have a copy of the descriptor: closing it would not unlock. */
		sem_file_unlock(&s->file);
		sem_file_queue_leave(&s->file, s->options.slots);
		status = child_release(fds[0]);
	}
	close(fds[0]);
	return status;
}

/* Wait for a slot and run the command in it. The exit status. */
static int
sem_run(struct sem *s)
{
	char *text = command_text(&s->options);
	int err = text != NULL ? slot_get(s) : say_error(ENOMEM, "%s", strerror(ENOMEM)), status;

	if (err == -ETIME)
		status = EXIT_GAVE_UP;
	else if (err < 0)
		status = EXIT_TROUBLE;
	else
		status = s->options.foreground ? run_here(s, text) : run_behind(s, text);
	free(text);
	return status;
}

/* ---- --wait ----------------------------------------------------------------- */

/* One look. 1: nobody holds or waits, and the file is removed; 0: look again; -ETIME, -ESTALE, or
 * -errno after say(). */
static int
look(struct sem *s)
{
	int err = sem_file_lock(&s->file), queued;

	if (err < 0)
		return err;
	err = sem_file_read(&s->file, &s->holders);
	queued = err == 0 ? sem_file_queued(&s->file) : 0;
	if (err == 0 && queued == 0 && s->holders.n == 0) {
		sem_file_remove(&s->file);
		err = 1;
	}
	sem_file_unlock(&s->file);
	if (err != 0 || queued < 0)
		return err != 0 ? err : queued;
	return s->holders.n > 0 ? holders_wait(s) : sem_file_queue(&s->file, 0, s->deadline_ns);
}

/* The exit status. */
static int
wait_for_all(struct sem *s)
{
	int err;

	do {
		sem_file_close(&s->file);
		err = sem_file_open(&s->file, s->id, false);
		while (err == 0)
			err = look(s);
	} while (err == -ESTALE);
	if (err == -ETIME) {
		say("commands still run%s", s->options.take_anyway ? ": going on without them" : "");
		return s->options.take_anyway ? 0 : EXIT_GAVE_UP;
	}
	return err == 1 || err == -ENOENT ? 0 : EXIT_TROUBLE;
}

/* ---- all of it -------------------------------------------------------------- */

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

bool
sem_wanted(int argc, char **argv)
{
	const char *name = argc > 0 ? base_name(argv[0]) : "";

	if (strcmp(name, "sem") == 0)
		return true;
	if (argc > 1 && strcmp(name, "parallel") != 0 && strcmp(argv[1], "sem") == 0)
		return true;
	for (int i = 1; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0;) {
		if (argv[i][1] == '-' && sem_option_own(argv[i] + 2, strcspn(argv[i] + 2, "=")))
			return true;
		i += (int)options_word_count(argv[i]);
	}
	return false;
}

static int
show(const struct sem_options *o)
{
	if (o->help)
		sem_help();
	else
		puts("knee " KNEE_VERSION);
	if (fflush(stdout) == 0)
		return 0;
	say("standard output: %s", strerror(errno));
	return EXIT_TROUBLE;
}

int
sem_main(int argc, char **argv)
{
	struct sem s = { .file.fd = -1, .stop_fd = -1 };
	int skip, status;

	say_face("sem");
	skip = argc > 1 && strcmp(argv[1], "sem") == 0 && strcmp(base_name(argv[0]), "sem") != 0 ? 2 : 1;
	if (sem_options_parse(&s.options, argv + skip, argc > skip ? (size_t)(argc - skip) : 0) < 0)
		return EXIT_TROUBLE;
	if (s.options.help || s.options.version)
		return show(&s.options);
	s.id = s.options.id;
	if (s.id == NULL) {
		sem_terminal_id(s.terminal, sizeof(s.terminal));
		s.id = s.terminal;
	}
	waiting_begin(&s);
	status = s.options.wait ? wait_for_all(&s) : sem_run(&s);
	sem_holders_done(&s.holders);
	sem_file_close(&s.file);
	return status;
}

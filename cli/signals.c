/* SPDX-License-Identifier: MIT */
/*
 *	INT, TERM   end what runs by the ending sequence; a second INT within a second: at once
 *	QUIT        end what runs at once
 *	HUP         start no more, say what runs, wait for it
 *	USR1        say what runs
 *	USR2        show the progress line, or no longer
 *	TSTP, CONT  stop and continue the tasks too
 *	WINCH       the terminal has another width
 *
 * One that was ignored when knee started (nohup, a shell's background job) stays ignored.
 */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "keeper.h"

/* The keeper passes on what it gets, and a signal to the whole group reaches the program too: two
 * INT closer than this are one, and no finger is faster. */
#define SAME_INT_NS ((int64_t)50000000)
#define SECOND_INT_NS ((int64_t)1000000000)

static const int wanted[] = {
	SIGINT,
	SIGTERM,
	SIGQUIT,
	SIGHUP,
	SIGUSR1,
	SIGUSR2,
	SIGTSTP,
	SIGCONT,
	SIGWINCH,
};

static void
say_task(void *self, uint64_t seq, const char *command)
{
	(void)self;
	say("running: task %llu: %s", (unsigned long long)seq, command != NULL ? command : "");
}

static void
on_int(struct signals *s)
{
	int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int64_t since_ns = now_ns - s->last_int_ns;

	if (s->last_int_ns != 0 && since_ns < SAME_INT_NS)
		return;
	knee_stop(s->knee, s->last_int_ns != 0 && since_ns < SECOND_INT_NS ? KNEE_STOP_KILL : KNEE_STOP_NOW);
	s->last_int_ns = now_ns;
	s->interrupted = true;
}

static void
on_stop(struct signals *s)
{
	int64_t begin_ns = clock_ns(CLOCK_MONOTONIC);

	if (s->progress != NULL)
		progress_pause(s->progress, true);
	knee_signal(s->knee, SIGTSTP);
	keeper_stop_self();
	knee_signal(s->knee, SIGCONT);
	knee_stood_still(s->knee, clock_ns(CLOCK_MONOTONIC) - begin_ns);
	if (s->progress != NULL)
		progress_pause(s->progress, false);
}

static void
on_signal(struct signals *s, int sig)
{
	switch (sig) {
	case SIGINT:
		on_int(s);
		break;
	case SIGTERM:
		knee_stop(s->knee, KNEE_STOP_NOW);
		s->interrupted = true;
		break;
	case SIGQUIT:
		knee_stop(s->knee, KNEE_STOP_KILL);
		s->interrupted = true;
		break;
	case SIGHUP:
		if (!s->hung_up && !s->plain)
			knee_each_running(s->knee, say_task, NULL);
		s->hung_up = true;
		knee_stop(s->knee, s->plain ? KNEE_STOP_NOW : KNEE_STOP_SOON);
		break;
	case SIGUSR1:
		if (!s->plain)
			knee_each_running(s->knee, say_task, NULL);
		break;
	case SIGUSR2:
		if (s->progress != NULL)
			progress_toggle(s->progress);
		knee_wake(s->knee);
		break;
	case SIGTSTP:
		on_stop(s);
		break;
	case SIGCONT:
		knee_signal(s->knee, SIGCONT);
		break;
	case SIGWINCH:
		if (s->progress != NULL)
			progress_resize(s->progress);
		knee_wake(s->knee);
		break;
	default:
		break;
	}
	if (sig == keeper_death_signal()) {
		s->keeper_died = s->interrupted = true;
		knee_stop(s->knee, KNEE_STOP_KILL);
	}
}

int
signals_event(void *self, int fd)
{
	struct signals *s = self;
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		on_signal(s, (int)info.ssi_signo);
	return 0;
}

int
signals_start(struct signals *s, knee *k, struct progress *progress)
{
	struct sigaction now;
	sigset_t set;
	int err;

	*s = (struct signals){ .fd = -1, .knee = k, .progress = progress };
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (sigaction(wanted[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, wanted[i]);
	sigaddset(&set, keeper_death_signal());
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd < 0)
		return -errno;
	err = knee_watch(k, s->fd, signals_event, s);
	if (err < 0)
		signals_done(s);
	return err;
}

void
signals_done(struct signals *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* SPDX-License-Identifier: MIT */
/*
 * Lines typed on the terminal while tasks run: "+" and "-" start one task more or one less at
 * once, "+5" five more. The terminal's mode is never touched, so a line ends with Enter.
 *
 * The terminal has other readers, and what they are waiting for is not ours to take:
 *
 * - another job of the shell, while we are in the background: our group is looked at before each
 *   read, and SIGTTIN is blocked, so that a read that comes too late fails and stops nobody;
 * - a pager behind our output, which reads key by key: then the terminal is not in its line mode;
 * - a password prompt: then it does not echo;
 * - whatever writes our inputs into a pipe (ssh, sudo) may ask questions: nothing is read before
 *   it has ended;
 * - the shell after us: a line longer than any of ours is left, and so is all that follows.
 */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "machines.h"
#include "options_table.h"

/* More bytes at once are nothing that we asked for; "+65535" has seven. */
enum { LINE_BYTES = 16 };

enum { STEP_MOST = 65535 };

/* How often to look whether the terminal is ours again. */
static const int64_t look_ns = 1000000000;

struct keys {
	int fd;                    /* the terminal; -1: given up */
	knee *knee;                /* borrowed */
	struct progress *progress; /* borrowed */
	bool watched;              /* the engine tells when there is something to read */
	bool after_writer;         /* not before the writer of stdin is gone */
	bool notes;
};

static void
give_up(struct keys *s)
{
	if (s->watched)
		(void)knee_watch(s->knee, s->fd, NULL, NULL);
	s->watched = false;
	close(s->fd);
	s->fd = -1;
}

/* The terminal is ours: we are in the foreground, and nobody else reads it in a way of his own. */
static bool
is_ours(int fd)
{
	struct termios mode;

	return tcgetpgrp(fd) == getpgrp() && tcgetattr(fd, &mode) == 0 &&
	    (mode.c_lflag & (ICANON | ECHO)) == (ICANON | ECHO);
}

/* How many more (or fewer) a typed line wants; 0: it says something else. */
static int
step_of(const char *line)
{
	int n = 0;

	if (strlen(line) == strspn(line, "+"))
		return (int)strlen(line);
	if (strlen(line) == strspn(line, "-"))
		return -(int)strlen(line);
	if (*line != '+' && *line != '-')
		return 0;
	(void)value_integer(line, -STEP_MOST, STEP_MOST, &n);
	return n;
}

/* line: as typed, without its end. */
static void
line_take(struct keys *s, char *line)
{
	size_t len;
	int step;

	line += strspn(line, " \t");
	len = strlen(line);
	while (len > 0 && strchr(" \t\r", line[len - 1]))
		line[--len] = '\0';
	progress_typed(s->progress);
	step = step_of(line);
	if (step != 0) {
		knee_adjust(s->knee, step);
		progress_fixed(s->progress);
	} else if (len > 0 && s->notes) {
		say("+ or - and Enter: one task more or fewer at once; +5: five more");
	}
	knee_wake(s->knee);
}

/* One line, as the terminal hands them out. 0: there may be more; -EAGAIN: there is none;
 * else it is over. */
static int
line_read(struct keys *s)
{
	char line[LINE_BYTES + 1];
	int waiting = 0;
	ssize_t n;

	if (ioctl(s->fd, FIONREAD, &waiting) < 0)
		return -errno;
	if (waiting > LINE_BYTES)
		return -EMSGSIZE;
	n = read(s->fd, line, LINE_BYTES);
	if (n < 0)
		return -errno;
	if (n == 0) /* Ctrl-D says nothing to us */
		return waiting > 0 ? 0 : -EAGAIN;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	line_take(s, line);
	return 0;
}

/* The engine is to look again later: the next tick watches the terminal when it may. */
static void
let_go(struct keys *s)
{
	(void)knee_watch(s->knee, s->fd, NULL, NULL);
	s->watched = false;
	knee_wake(s->knee);
}

static int
keys_event(void *self, int fd)
{
	struct keys *s = self;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int err = 0;

	if (!is_ours(fd)) {
		let_go(s);
		return 0;
	}
	if (poll(&p, 1, 0) < 0 || (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
		give_up(s);
		return 0;
	}
	while (err == 0)
		err = line_read(s);
	if (err == -EIO)
		let_go(s);
	else if (err != -EAGAIN && err != -EINTR)
		give_up(s);
	return 0;
}

/* A pipe that nobody holds the other end of says so, even while there is something in it. */
static bool
writer_gone(void)
{
	struct pollfd p = { .fd = STDIN_FILENO };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static int64_t
keys_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct keys *s = self;

	if (s->fd < 0 || s->watched || s->knee == NULL)
		return INT64_MAX;
	s->after_writer = s->after_writer && !stats->total_known && !writer_gone();
	if (!s->after_writer && is_ours(s->fd)) {
		if (knee_watch(s->knee, s->fd, keys_event, s) < 0)
			return now_ns + look_ns;
		s->watched = true;
		return INT64_MAX;
	}
	return now_ns + look_ns;
}

/* ---- making --------------------------------------------------------------- */

/* True when nobody else wants what is typed: no answers to -p, no inputs; and there is somebody
 * to see what comes of it. On other machines it would change nothing: each has a number of its own. */
static bool
wanted(const struct cli_options *o, const struct inputs *in)
{
	if (o->prompt || o->dry_run || o->shellquote || machines_wanted(o) || !isatty(STDERR_FILENO))
		return false;
	return !inputs_use_stdin(in) || !isatty(STDIN_FILENO);
}

int
keys_new(const struct cli_options *o, const struct inputs *in, struct keys **ret)
{
	struct keys *s;
	struct stat st;

	*ret = NULL;
	if (!wanted(o, in))
		return 0;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	/* An open of our own: its O_NONBLOCK is nobody else's. */
	s->fd = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (s->fd < 0) {
		free(s);
		return 0;
	}
	s->notes = !o->silent;
	s->after_writer = inputs_use_stdin(in) && fstat(STDIN_FILENO, &st) == 0 && !S_ISREG(st.st_mode);
	*ret = s;
	return 0;
}

struct knee_sink
keys_sink(struct keys *s)
{
	return (struct knee_sink){ .self = s, .tick = keys_tick };
}

void
keys_start(struct keys *s, knee *k, struct progress *progress)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTTIN);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	s->knee = k;
	s->progress = progress;
}

void
keys_free(struct keys *s)
{
	if (s == NULL)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

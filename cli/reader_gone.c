/* SPDX-License-Identifier: MIT */
/*
 * "knee ... | head -1" must end when head does, not at the next line of output, which may be
 * hours away. The kernel tells it of the writing end of a pipe by an error event.
 */
#include "reader_gone.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static int
reader_event(void *self, int fd)
{
	struct pollfd p = { .fd = fd };

	/* Once is enough; and where it is no error, the pipe is open for reading too, and no end
	 * will ever be seen. */
	(void)knee_watch(self, fd, NULL, NULL);
	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0 ? -EPIPE : 0;
}

int
reader_gone_watch(knee *k, int *ret)
{
	struct stat st;
	int fd, err;

	if (fstat(STDOUT_FILENO, &st) < 0 || !S_ISFIFO(st.st_mode))
		return 0;
	/* A number of its own: the text sink may wait on the other for room. */
	fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	err = knee_watch(k, fd, reader_event, k);
	if (err < 0) {
		close(fd);
		return err;
	}
	*ret = fd;
	return 0;
}

void
reader_gone_die(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)raise(SIGPIPE);
}

/* SPDX-License-Identifier: MIT */
/* -t: each command, as a shell would read it, on stderr when it starts. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli.h"

/* The bytes written, or -1: stderr is closed or its reader gone, and the line is lost. */
static ssize_t
write_some(const struct iovec *iov, int niov)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	do {
		n = writev(STDERR_FILENO, iov, niov);
		if (n < 0 && errno == EAGAIN)
			poll(&p, 1, -1);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	return n;
}

/* In one write, so that the tasks' own lines do not get into it; waited for like a message. */
static int
trace_event(void *self, const struct knee_event *e)
{
	struct iovec iov[2] = { [1] = { .iov_base = (char[]){ '\n' }, .iov_len = 1 } };

	(void)self;
	if (e->kind != KNEE_EVENT_START || e->command == NULL)
		return 0;
	iov[0].iov_base = (void *)(uintptr_t)e->command;
	iov[0].iov_len = strlen(e->command);
	say_before();
	while (iov[1].iov_len > 0) {
		ssize_t n = write_some(iov, 2);

		if (n <= 0)
			break;
		if ((size_t)n > iov[0].iov_len)
			iov[1].iov_len = 0;
		else
			iov[0] = (struct iovec){
				.iov_base = (char *)iov[0].iov_base + n,
				.iov_len = iov[0].iov_len - (size_t)n,
			};
	}
	say_after();
	return 0;
}

struct knee_sink
trace_sink(void)
{
	return (struct knee_sink){ .event = trace_event };
}

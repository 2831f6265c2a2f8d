/* SPDX-License-Identifier: MIT */
/*
 * A service on the loopback interface with a capacity that is known, for bench/oracle and bench/fetch:
 *
 *	oracle_server latency MS       answers every request after MS milliseconds
 *	oracle_server slots N MS       works on N at once, MS each; what comes more waits its turn
 *	oracle_server slower N MS      MS up to N in flight; with k > N a request takes MS * (k / N)^2
 *	oracle_server refuse N MS      MS up to N in flight; beyond that it answers "busy" at once
 *	oracle_server http MS          answers every GET after MS milliseconds, on connections that stay
 *
 * It prints its port and serves until its stdin ends, so that it cannot outlive who started it.
 * A byte on stdin is a question, answered by a line on stdout, and starts the counts anew:
 *
 *	in-flight served refused most-in-flight
 *
 * One process and one thread: a heap of the moments at which answers are due, and epoll. A client
 * sends its request in one piece and closes after the answer "ok\n" or "busy\n" (not with http). The work on a
 * request goes on when its client is gone, as it does in most services.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL /* in nanoseconds */

/* An answer that is due. The connection is the one that was meant only if it has the same age:
 * the number of a closed descriptor is soon another client's. */
struct due {
	int64_t at_ns;
	int fd;
	unsigned age;
};

struct connection {
	unsigned age; /* how many connections had this descriptor before */
	bool asked;
};

enum mode { LATENCY, SLOTS, SLOWER, REFUSE, HTTP, MODES };

static const char *const mode_names[] = { "latency", "slots", "slower", "refuse", "http" };
_Static_assert(sizeof(mode_names) / sizeof(mode_names[0]) == MODES, "a name for each mode");

struct server {
	enum mode mode;
	size_t bound;
	int64_t latency_ns;
	int epoll, timer, listener;
	int64_t armed_ns; /* when the timer goes off; 0: it does not */
	int64_t *free_ns; /* SLOTS: when each of them is free again */
	struct due *heap; /* earliest first; one for each request in flight */
	size_t ndue, maxdue;
	struct connection *connections; /* by descriptor */
	size_t nconnections;
	unsigned long long served, refused;
	size_t most;
};

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

/* ---- the heap ------------------------------------------------------------- */

static int
heap_push(struct server *s, struct due due)
{
	size_t at = s->ndue, more;
	struct due *grown;

	if (s->ndue == s->maxdue) {
		more = s->maxdue * 2 + 64;
		grown = realloc(s->heap, more * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		s->heap = grown;
		s->maxdue = more;
	}
	s->ndue++;
	for (; at > 0 && s->heap[(at - 1) / 2].at_ns > due.at_ns; at = (at - 1) / 2)
		s->heap[at] = s->heap[(at - 1) / 2];
	s->heap[at] = due;
	return 0;
}

static struct due
heap_pop(struct server *s)
{
	struct due first = s->heap[0], last = s->heap[--s->ndue];
	size_t at = 0, child;

	for (; (child = 2 * at + 1) < s->ndue; at = child) {
		if (child + 1 < s->ndue && s->heap[child + 1].at_ns < s->heap[child].at_ns)
			child++;
		if (s->heap[child].at_ns >= last.at_ns)
			break;
		s->heap[at] = s->heap[child];
	}
	s->heap[at] = last;
	return first;
}

/* ---- requests ------------------------------------------------------------- */

static int
watch(struct server *s, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void
hang_up(struct server *s, int fd)
{
	assert(s->connections != NULL);
	s->connections[fd].age++;
	close(fd);
}

static void
say(int fd, const char *text)
{
	/* A client that is gone is found by its end of file. */
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* When the answer to a request that comes now is due; -1: refused. */
static int64_t
due_ns(struct server *s, int64_t now)
{
	double over = (double)(s->ndue + 1) / (double)s->bound;
	size_t best = 0;

	switch (s->mode) {
	case SLOTS:
		/* Each takes the same time, so that who comes first is served first. */
		for (size_t i = 1; i < s->bound; i++)
			if (s->free_ns[i] < s->free_ns[best])
				best = i;
		if (s->free_ns[best] < now)
			s->free_ns[best] = now;
		return s->free_ns[best] += s->latency_ns;
	case SLOWER:
		return now + (over <= 1 ? s->latency_ns : (int64_t)((double)s->latency_ns * over * over));
	case REFUSE:
		return over <= 1 ? now + s->latency_ns : -1;
	case LATENCY:
	case HTTP:
	case MODES:
		break;
	}
	return now + s->latency_ns;
}

static int
request(struct server *s, int fd)
{
	struct connection *connection = &s->connections[fd];
	struct due due = { .at_ns = due_ns(s, now_ns()), .fd = fd, .age = connection->age };
	int err;

	connection->asked = true;
	if (due.at_ns < 0) {
		s->refused++;
		say(fd, "busy\n");
		return 0;
	}
	err = heap_push(s, due);
	if (s->ndue > s->most)
		s->most = s->ndue;
	return err;
}

static int
readable(struct server *s, int fd)
{
	char text[256];
	ssize_t got = recv(fd, text, sizeof(text), MSG_DONTWAIT);

	assert((size_t)fd < s->nconnections && s->connections != NULL);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		hang_up(s, fd);
		return 0;
	}
	return s->connections[fd].asked ? 0 : request(s, fd);
}

static int
accept_all(struct server *s)
{
	struct connection *grown;
	size_t count;
	int fd;

	while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if ((size_t)fd >= s->nconnections) {
			count = (size_t)fd * 2 + 64;
			grown = realloc(s->connections, count * sizeof(*grown));
			if (grown == NULL) {
				close(fd);
				return -ENOMEM;
			}
			memset(grown + s->nconnections, 0, (count - s->nconnections) * sizeof(*grown));
			s->connections = grown;
			s->nconnections = count;
		}
		s->connections[fd].asked = false;
		if (watch(s, fd) < 0)
			hang_up(s, fd);
	}
	/* A connection that was reset while it waited is no reason to stop. */
	return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
}

/* Answer what is due, and set the timer for what is due next. */
static int
answer_due(struct server *s)
{
	struct itimerspec when = { 0 };
	int64_t now = now_ns(), next;
	struct due due;

	while (s->ndue > 0 && s->heap[0].at_ns <= now) {
		due = heap_pop(s);
		s->served++;
		if (s->connections[due.fd].age != due.age)
			continue;
		say(due.fd, s->mode == HTTP ? "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n" : "ok\n");
		s->connections[due.fd].asked = s->mode != HTTP;
	}
	next = s->ndue > 0 ? s->heap[0].at_ns : 0;
	if (next == s->armed_ns)
		return 0;
	s->armed_ns = next;
	when.it_value.tv_sec = next / (1000 * MS);
	when.it_value.tv_nsec = next % (1000 * MS);
	return timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

/* 0: go on; 1: stdin is at its end. */
static int
question(struct server *s)
{
	char byte;

	if (read(STDIN_FILENO, &byte, 1) != 1)
		return 1;
	printf("%zu %llu %llu %zu\n", s->ndue, s->served, s->refused, s->most);
	s->served = s->refused = 0;
	s->most = s->ndue;
	return fflush(stdout) == 0 ? 0 : 1;
}

/* ---- the program ---------------------------------------------------------- */

static int
serve(struct server *s)
{
	struct epoll_event events[128];
	uint64_t expired;
	int n, fd, err = 0;

	while (err == 0) {
		n = epoll_wait(s->epoll, events, 128, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n && err == 0; i++) {
			fd = events[i].data.fd;
			if (fd == STDIN_FILENO)
				err = question(s);
			else if (fd == s->listener)
				err = accept_all(s);
			else if (fd == s->timer)
				(void)!read(fd, &expired, sizeof(expired));
			else
				err = readable(s, fd);
		}
		if (err == 0)
			err = answer_due(s);
	}
	return err < 0 ? err : 0;
}

static int
open_all(struct server *s)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	struct rlimit files;
	int err;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->epoll < 0 || s->timer < 0 || s->listener < 0)
		return -errno;
	if (bind(s->listener, (struct sockaddr *)&address, size) < 0 || listen(s->listener, SOMAXCONN) < 0 ||
	    getsockname(s->listener, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	err = watch(s, STDIN_FILENO);
	if (err == 0)
		err = watch(s, s->timer);
	if (err == 0)
		err = watch(s, s->listener);
	printf("%d\n", ntohs(address.sin_port));
	return err == 0 && fflush(stdout) != 0 ? -EIO : err;
}

static int
parse(struct server *s, int argc, char **argv)
{
	int mode = 0;

	while (argc > 1 && mode < MODES && strcmp(argv[1], mode_names[mode]) != 0)
		mode++;
	if (argc != (mode == LATENCY || mode == HTTP ? 3 : 4) || mode == MODES)
		return -EINVAL;
	s->mode = (enum mode)mode;
	s->bound = argc == 3 ? 1 : (size_t)strtoul(argv[2], NULL, 10);
	s->latency_ns = strtol(argv[argc - 1], NULL, 10) * MS;
	if (s->bound == 0 || s->latency_ns <= 0)
		return -EINVAL;
	s->free_ns = calloc(s->bound, sizeof(*s->free_ns));
	return s->free_ns == NULL ? -ENOMEM : 0;
}

int
main(int argc, char **argv)
{
	struct server server = { .epoll = -1, .timer = -1, .listener = -1 };
	int err;

	err = parse(&server, argc, argv);
	if (err == -EINVAL) {
		fputs("usage: oracle_server latency MS | http MS | slots N MS | slower N MS | refuse N MS\n",
		    stderr);
		return 2;
	}
	if (err == 0)
		err = open_all(&server);
	if (err == 0)
		err = serve(&server);
	if (err < 0)
		fprintf(stderr, "oracle_server: %s\n", strerror(-err));
	/* The descriptors go with the process. */
	free(server.free_ns);
	free(server.heap);
	free(server.connections);
	return err < 0 ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Both ends of connecting back, over the addresses of this machine: an agent that was told the right words gets a
 * connection, once; nobody else does, and whoever says nothing does not stand in the way. The listener's clock is
 * the loop's, and where 5 s have to pass they do not: the slots are made older.
 */
#include "../../src/sys/dial.c"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "tap.h"

/* A loop in which nothing happens for so long has failed. */
#define LONG_NS ((int64_t)20000000000)

struct came {
	unsigned n;
	uint32_t host;
	int fd;
};

static void
came(void *self, uint32_t host, int fd)
{
	struct came *c = self;

	c->n++;
	c->host = host;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = fd;
}

/* An agent on a thread of its own, as kn_dial waits. */
struct agent {
	pthread_t thread;
	const char *const *addresses;
	size_t n;
	char text[KN_DIAL_TEXT_BYTES];
	int64_t timeout_ns;
	int fd, err;
	int done[2]; /* a pipe: written to at the end */
};

static void *
agent_main(void *arg)
{
	struct agent *a = arg;

	a->fd = -1;
	a->err = kn_dial(a->addresses, a->n, a->text, a->timeout_ns, &a->fd);
	(void)!write(a->done[1], "", 1);
	return NULL;
}

static int
on_done(struct kn_watch *w, uint32_t events)
{
	char c;

	(void)events;
	return read(w->fd, &c, 1) == 1 ? -ECANCELED : 0;
}

/* Run the loop until the agent is done. */
static int
agent_run(struct kn_loop *l, struct agent *a)
{
	struct kn_watch done = { .fd = -1, .fn = on_done };
	int64_t end_ns = l->now_ns + LONG_NS;
	int err = 0;

	(void)!pipe2(a->done, O_CLOEXEC);
	(void)kn_loop_add(l, &done, a->done[0], EPOLLIN);
	(void)pthread_create(&a->thread, NULL, agent_main, a);
	while (err == 0 && l->now_ns < end_ns)
		err = kn_loop_wait(l, end_ns);
	is_int(err, -ECANCELED, "the agent comes to an end");
	(void)pthread_join(a->thread, NULL);
	kn_loop_remove(l, &done);
	close(a->done[0]);
	close(a->done[1]);
	return a->err;
}

/* Run the loop until nothing has happened for a moment, or what is asked for has. */
static void
turns(struct kn_loop *l, const struct kn_dial *d, size_t want)
{
	int64_t end_ns = l->now_ns + LONG_NS;
	size_t have;

	do {
		(void)kn_loop_wait(l, l->now_ns + 10000000);
		have = 0;
		for (size_t i = 0; i < SLOTS; i++)
			have += d->slots[i].watch.fd >= 0;
	} while (have != want && l->now_ns < end_ns);
	is_int(have, want, "%zu stand in the door", want);
}

static int
stranger(const struct kn_dial *d, const char *says)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)d->doors[0].port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)) < 0)
		diag("connect: %s", strerror(errno));
	if (says != NULL)
		(void)!write(fd, says, strlen(says));
	return fd;
}

/* Is the other side's end closed? Closes this one. */
static bool
was_closed(struct kn_loop *l, int fd)
{
	struct timeval limit = { .tv_usec = 1000 };
	int64_t end_ns = l->now_ns + LONG_NS;
	char c;
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	do {
		(void)kn_loop_wait(l, l->now_ns + 1000000);
		n = read(fd, &c, 1);
	} while (n < 0 && errno == EAGAIN && l->now_ns < end_ns);
	close(fd);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void
test_agent(struct kn_loop *l)
{
	struct came c = { .fd = -1 };
	struct agent a = { .timeout_ns = LONG_NS };
	struct kn_dial *d = NULL;
	const char *with[KN_DIAL_ADDRESSES];
	char again[KN_DIAL_TEXT_BYTES], got[8];
	size_t n;

	is_int(kn_dial_listen(l, 3, came, &c, &d), 0, "a listener");
	a.addresses = kn_dial_addresses(d, &n);
	ok(n >= 1, "has %zu addresses, the first is %s", n, a.addresses[0]);
	/* One where nobody listens, and one that is none, do no harm. */
	with[0] = "127.0.0.1:1";
	with[1] = "nowhere";
	with[2] = a.addresses[0];
	a.addresses = with;
	a.n = 3;
	is_int(kn_dial_offer(d, 2, a.text), 0, "an offer");
	is_int(agent_run(l, &a), 0, "an agent gets a connection");
	is_int(c.n, 1, "the coordinator too, one");
	is_int(c.host, 2, "and knows whose");
	ok((fcntl(c.fd, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(a.fd, F_GETFD) & FD_CLOEXEC) != 0,
	    "no program that is started gets them");
	ok((fcntl(c.fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(a.fd, F_GETFL) & O_NONBLOCK) != 0,
	    "both do not block");
	(void)!write(c.fd, "down", 4);
	is_int(poll(&(struct pollfd){ .fd = a.fd, .events = POLLIN }, 1, 10000), 1, "what one side says");
	is_int(read(a.fd, got, sizeof(got)), 4, "the other hears, and nothing else");
	close(a.fd);

	is_int(agent_run(l, &a), -ECONNREFUSED, "the same words once more: refused");
	is_int(kn_dial_offer(d, 2, again), 0, "another offer");
	ok(strcmp(a.text, again) != 0, "has other words");
	is_int(agent_run(l, &a), -ECONNREFUSED, "the old ones: refused");
	memcpy(a.text, again, sizeof(again));
	a.text[0] = a.text[0] == '0' ? '1' : '0';
	is_int(agent_run(l, &a), -ECONNREFUSED, "one digit is wrong: refused");
	memcpy(a.text, again, sizeof(again));
	a.text[strlen(a.text) - 1] ^= 1;
	is_int(agent_run(l, &a), -EPROTO, "a coordinator that answers anything else is none");
	is_int(c.n, 2, "though it took the agent for one");
	kn_dial_free(d);
	close(c.fd);
}

/* An agent says line and goes on talking at once: what it says then is for whoever gets the connection. */
static void
test_line(struct kn_loop *l)
{
	struct came c = { .fd = -1 };
	struct kn_dial *d = NULL;
	char text[KN_DIAL_TEXT_BYTES], line[2 * LINE_MOST], got[64];
	int fd;

	(void)kn_dial_listen(l, 2, came, &c, &d);
	(void)kn_dial_offer(d, 0, text);
	fd = stranger(d, NULL);
	(void)!write(fd, text, 10);
	turns(l, d, 1);
	while (d->slots[0].len < 10)
		(void)kn_loop_wait(l, l->now_ns + 1000000);
	*strrchr(text, ' ') = '\0';
	(void)snprintf(line, sizeof(line), "%s\nframes", text + 10);
	(void)!write(fd, line, strlen(line));
	turns(l, d, 0);
	is_int(c.n, 1, "a line in two pieces");
	is_int(poll(&(struct pollfd){ .fd = c.fd, .events = POLLIN }, 1, 10000), 1, "what follows it");
	is_mem(got, (size_t)read(c.fd, got, sizeof(got)), "frames", 6, "is left alone");
	close(fd);

	(void)kn_dial_offer(d, 1, text);
	ok(was_closed(l, stranger(d, "GET / HTTP/1.0\r\n\r\n")), "another protocol is dropped");
	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	ok(was_closed(l, stranger(d, line)), "so is a line without an end");
	(void)snprintf(line, sizeof(line), "%.32s 2\n", text);
	ok(was_closed(l, stranger(d, line)), "and who says a host that there is not");
	(void)snprintf(line, sizeof(line), "%.32s 0\n", text);
	ok(was_closed(l, stranger(d, line)), "or another one");
	(void)snprintf(line, sizeof(line), "%.32s 1 \n", text);
	ok(was_closed(l, stranger(d, line)), "or more than that");
	is_int(c.n, 1, "nobody came by that");
	kn_dial_withdraw(d, 1);
	ok(was_closed(l, stranger(d, NULL)), "when nobody is waited for, all are dropped at once");
	kn_dial_free(d);
	close(c.fd);
}

static void
test_silent(struct kn_loop *l)
{
	struct came c = { .fd = -1 };
	struct agent a = { .timeout_ns = LONG_NS };
	struct kn_dial *d = NULL;
	int fds[SLOTS + 1];

	(void)kn_dial_listen(l, 1, came, &c, &d);
	a.addresses = kn_dial_addresses(d, &a.n);
	(void)kn_dial_offer(d, 0, a.text);
	for (size_t i = 0; i < SLOTS; i++)
		fds[i] = stranger(d, NULL);
	turns(l, d, SLOTS);
	fds[SLOTS] = stranger(d, NULL);
	while (d->doors[0].watch.fd >= 0)
		(void)kn_loop_wait(l, l->now_ns + LONG_NS);
	turns(l, d, SLOTS);
	pass("one more than there is room for waits");
	/* A second later the oldest give way, and the agent comes through, not only when they have to go. */
	a.timeout_ns = 3000000000;
	for (size_t i = 0; i < SLOTS; i++)
		d->slots[i].since_ns -= PAUSE_NS;
	is_int(agent_run(l, &a), 0, "but does not keep an agent out");
	/* And after five all are gone. */
	for (size_t i = 0; i < SLOTS; i++)
		d->slots[i].since_ns -= SILENT_MOST_NS;
	timer_next(d);
	turns(l, d, 0);
	for (size_t i = 0; i <= SLOTS; i++)
		close(fds[i]);
	close(a.fd);
	kn_dial_free(d);
	close(c.fd);
}

static void
test_nobody(void)
{
	const char *const silent[] = { "192.0.2.1:9", "[2001:db8::1]:9" };
	const char *const bad[] = { "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
		"[::1:5", "host:22", "::1:22" };
	const char text[] = "00000000000000000000000000000000 0 11111111111111111111111111111111";
	int fd = -1, before = dup(0), after;

	ok(kn_dial(silent, 2, text, 50000000, &fd) < 0, "an address where nobody answers costs the time-out");
	is_int(kn_dial(bad, sizeof(bad) / sizeof(bad[0]), text, LONG_NS, &fd), -EINVAL,
	    "addresses that are none");
	is_int(kn_dial(bad, 0, text, LONG_NS, &fd), -EINVAL, "no address");
	is_int(kn_dial(silent, 2, "word", LONG_NS, &fd), -EINVAL, "words that are none");
	is_int(kn_dial(silent, 2, "0 1", LONG_NS, &fd), -EINVAL, "or too short");
	is_int(fd, -1, "nothing comes of that");
	close(before);
	after = dup(0);
	is_int(after, before, "and no descriptor is left");
	close(after);
}

int
main(void)
{
	struct kn_loop l;

	(void)kn_loop_init(&l);
	test_agent(&l);
	test_line(&l);
	test_silent(&l);
	test_nobody();
	kn_loop_done(&l);
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
/*
 * dial.h has the protocol. The coordinator never waits for anyone: an accepted connection has a slot until it
 * has said its line, or 5 s are over. When all slots are taken, those who stand in the kernel's queue wait,
 * but not longer than a second for somebody who says nothing.
 */
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "fd.h"

/* Connections that have not said their line yet. */
#define SLOTS 64
/* A line with its newline. */
#define LINE_MOST 128
#define SILENT_MOST_NS ((int64_t)5000000000)
/* So old one must give way when the slots are full; so long nothing is accepted when descriptors are. */
#define PAUSE_NS ((int64_t)1000000000)
#define BACKLOG 1024
#define ADDRESS_BYTES 64
#define RANDOM_BYTES (KN_DIAL_TOKEN_HEX / 2)

_Static_assert(KN_DIAL_TEXT_BYTES <= LINE_MOST, "a text is longer than a line may be");

/* What an agent was told. */
struct offer {
	bool open;
	char token[KN_DIAL_TOKEN_HEX + 1];
	char answer[KN_DIAL_TOKEN_HEX + 1];
};

/* One that was accepted. Free: watch.fd is -1. */
struct slot {
	struct kn_watch watch; /* first */
	struct kn_dial *dial;
	int64_t since_ns;
	size_t len;
	char line[LINE_MOST];
};

struct door {
	struct kn_watch watch; /* first */
	struct kn_dial *dial;
	int fd; /* -1: none; it is out of the loop while nobody can be taken in */
	int family;
	unsigned port;
};

struct kn_dial {
	struct kn_loop *loop;
	void (*came)(void *self, uint32_t host, int fd);
	void *self;
	struct door doors[2];
	struct kn_watch timer;
	struct slot slots[SLOTS];
	char texts[KN_DIAL_ADDRESSES][ADDRESS_BYTES];
	const char *addresses[KN_DIAL_ADDRESSES];
	size_t naddresses;
	uint32_t nhosts, nopen;
	struct offer offers[];
};

/* ---- sockets of both ends ------------------------------------------------------- */

static void
no_delay(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* In a time that does not tell how much of it is right. */
static bool
same_secret(const char *a, const char *b, size_t n)
{
	unsigned char differ = 0;

	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

/* ---- the coordinator: who is let in ------------------------------------------------- */

static struct slot *
slot_find(struct kn_dial *d, bool free)
{
	struct slot *oldest = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &d->slots[i];

		if ((s->watch.fd < 0) != free)
			continue;
		if (free)
			return s;
		if (oldest == NULL || s->since_ns < oldest->since_ns)
			oldest = s;
	}
	return oldest;
}

static void
slot_drop(struct slot *s)
{
	kn_loop_close(s->dial->loop, &s->watch);
}

/* Let the doors in the loop or take them out of it. */
static int
doors_open(struct kn_dial *d, bool open)
{
	int err = 0;

	for (size_t i = 0; i < 2 && err == 0; i++) {
		struct door *door = &d->doors[i];

		if (!open)
			kn_loop_remove(d->loop, &door->watch);
		else if (door->fd >= 0 && door->watch.fd < 0)
			err = kn_loop_add(d->loop, &door->watch, door->fd, EPOLLIN);
	}
	return err;
}

static void
timer_set(struct kn_dial *d, int64_t at_ns)
{
	const struct itimerspec t = { .it_value = {
					  .tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000 } };

	(void)timerfd_settime(d->timer.fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Set it to when the oldest must go; never, when nobody is there. */
static void
timer_next(struct kn_dial *d)
{
	const struct slot *oldest = slot_find(d, false);

	timer_set(d, oldest != NULL ? oldest->since_ns + SILENT_MOST_NS : 0);
}

static int
on_timer(struct kn_watch *w, uint32_t events)
{
	struct kn_dial *d = (struct kn_dial *)(void *)((char *)w - offsetof(struct kn_dial, timer));
	uint64_t expired;

	(void)events;
	(void)!read(w->fd, &expired, sizeof(expired));
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &d->slots[i];

		if (s->watch.fd >= 0 && d->loop->now_ns - s->since_ns >= SILENT_MOST_NS)
			slot_drop(s);
	}
	timer_next(d);
	return doors_open(d, true);
}

/* The host whose agent says this line, and the answer to it; -1: nobody's. */
static int64_t
who_says(struct kn_dial *d, const char *line, size_t len, char answer[KN_DIAL_TOKEN_HEX + 2])
{
	struct offer *o;
	char *end;
	unsigned long host;

	if (len < KN_DIAL_TOKEN_HEX + 2 || line[KN_DIAL_TOKEN_HEX] != ' ' ||
	    line[KN_DIAL_TOKEN_HEX + 1] < '0' || line[KN_DIAL_TOKEN_HEX + 1] > '9')
		return -1;
	host = strtoul(line + KN_DIAL_TOKEN_HEX + 1, &end, 10);
	if (end != line + len || host >= d->nhosts)
		return -1;
	o = &d->offers[host];
	if (!o->open || !same_secret(o->token, line, KN_DIAL_TOKEN_HEX))
		return -1;
	memcpy(answer, o->answer, KN_DIAL_TOKEN_HEX);
	answer[KN_DIAL_TOKEN_HEX] = '\n';
	answer[KN_DIAL_TOKEN_HEX + 1] = '\0';
	kn_dial_withdraw(d, (uint32_t)host);
	return (int64_t)host;
}

/* A whole line, without its newline. */
static void
slot_said(struct slot *s)
{
	char answer[KN_DIAL_TOKEN_HEX + 2];
	struct kn_dial *d = s->dial;
	int64_t host;
	int fd = s->watch.fd;

	s->line[s->len] = '\0';
	host = who_says(d, s->line, s->len, answer);
	/* A new socket takes these few bytes, or it is broken. */
	if (host < 0 || send(fd, answer, KN_DIAL_TOKEN_HEX + 1, MSG_NOSIGNAL) != KN_DIAL_TOKEN_HEX + 1) {
		slot_drop(s);
		return;
	}
	kn_loop_remove(d->loop, &s->watch);
	d->came(d->self, (uint32_t)host, fd);
}

/* Read up to the newline and no further: what follows belongs to whoever gets the connection. */
static int
slot_read(struct kn_watch *w, uint32_t events)
{
	struct slot *s = (struct slot *)(void *)w;
	struct kn_dial *d = s->dial;
	char *at = s->line + s->len, *newline;
	ssize_t n;

	(void)events;
	n = recv(w->fd, at, sizeof(s->line) - s->len, MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	newline = n > 0 ? memchr(at, '\n', (size_t)n) : NULL;
	if (newline != NULL)
		n = newline + 1 - at;
	if (n > 0)
		n = recv(w->fd, at, (size_t)n, 0);
	if (n <= 0 || (newline == NULL && s->len + (size_t)n == sizeof(s->line))) {
		slot_drop(s);
	} else {
		s->len += (size_t)n - (newline != NULL);
		if (newline == NULL)
			return 0;
		slot_said(s);
	}
	timer_next(d);
	return doors_open(d, true);
}

/* A place for one more; NULL: not now, and the doors are closed until then. */
static struct slot *
slot_get(struct kn_dial *d)
{
	struct slot *s = slot_find(d, true), *oldest;

	if (s != NULL)
		return s;
	oldest = slot_find(d, false);
	if (d->loop->now_ns - oldest->since_ns >= PAUSE_NS) {
		slot_drop(oldest);
		return oldest;
	}
	(void)doors_open(d, false);
	timer_set(d, oldest->since_ns + PAUSE_NS);
	return NULL;
}

static int
door_knocked(struct kn_watch *w, uint32_t events)
{
	struct door *door = (struct door *)(void *)w;
	struct kn_dial *d = door->dial;
	struct slot *s;
	int fd;

	(void)events;
	/* One at a time: the loop calls again while there are more, and somebody gives way to none but one that
	 * is there. */
	s = slot_get(d);
	if (s == NULL)
		return 0;
	fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return 0;
	if (fd < 0) {
		/* No descriptors or no memory: the queue keeps them. */
		(void)doors_open(d, false);
		timer_set(d, d->loop->now_ns + PAUSE_NS);
		return 0;
	}
	no_delay(fd);
	s->since_ns = d->loop->now_ns;
	s->len = 0;
	if (d->nopen == 0 || kn_loop_add(d->loop, &s->watch, fd, EPOLLIN) < 0)
		close(fd);
	timer_next(d);
	return 0;
}

/* ---- the coordinator: where it can be found ------------------------------------------ */

/* 0 or -errno. */
static int
door_make(struct door *door)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .any.sa_family = (sa_family_t)door->family };
	socklen_t len = door->family == AF_INET6 ? sizeof(a.v6) : sizeof(a.v4);
	const int on = 1;
	int err = 0;

	door->fd = socket(door->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (door->fd < 0)
		return -errno;
	if (door->family == AF_INET6)
		(void)setsockopt(door->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(door->fd, &a.any, len) < 0 || listen(door->fd, BACKLOG) < 0 ||
	    getsockname(door->fd, &a.any, &len) < 0) {
		err = -errno;
		kn_fd_close(&door->fd);
		return err;
	}
	door->port = ntohs(door->family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
	return 0;
}

static void
address_add(struct kn_dial *d, const struct sockaddr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
	const struct door *door = &d->doors[a->sa_family == AF_INET6];
	char *text, ip[INET6_ADDRSTRLEN];

	if (door->fd < 0 || d->naddresses == KN_DIAL_ADDRESSES)
		return;
	/* One that means something else on each link is of no use elsewhere. */
	if (a->sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
		return;
	if (inet_ntop(a->sa_family,
		a->sa_family == AF_INET6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ip,
		sizeof(ip)) == NULL)
		return;
	text = d->texts[d->naddresses];
	(void)snprintf(text, ADDRESS_BYTES, a->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, door->port);
	d->addresses[d->naddresses++] = text;
}

static int
addresses_find(struct kn_dial *d)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return -errno;
	for (int loopback = 0; loopback < 2 && d->naddresses == 0; loopback++)
		for (int family = AF_INET; family != 0; family = family == AF_INET ? AF_INET6 : 0)
			for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
				if (i->ifa_addr != NULL && i->ifa_addr->sa_family == family &&
				    (i->ifa_flags & IFF_UP) != 0 &&
				    ((i->ifa_flags & IFF_LOOPBACK) != 0) == loopback)
					address_add(d, i->ifa_addr);
	freeifaddrs(all);
	return d->naddresses > 0 ? 0 : -EADDRNOTAVAIL;
}

int
kn_dial_listen(struct kn_loop *loop, uint32_t nhosts, void (*came)(void *self, uint32_t host, int fd),
    void *self, struct kn_dial **ret)
{
	struct kn_dial *d;
	int err, err6, fd;

	d = calloc(1, sizeof(*d) + nhosts * sizeof(d->offers[0]));
	if (d == NULL)
		return -ENOMEM;
	d->loop = loop;
	d->came = came;
	d->self = self;
	d->nhosts = nhosts;
	d->timer = (struct kn_watch){ .fd = -1, .fn = on_timer };
	for (size_t i = 0; i < SLOTS; i++)
		d->slots[i] = (struct slot){ .watch = { .fd = -1, .fn = slot_read }, .dial = d };
	for (size_t i = 0; i < 2; i++)
		d->doors[i] = (struct door){ .watch = { .fd = -1, .fn = door_knocked },
			.dial = d,
			.fd = -1,
			.family = i == 0 ? AF_INET : AF_INET6 };
	err = door_make(&d->doors[0]);
	err6 = door_make(&d->doors[1]);
	if (err < 0 && err6 == 0)
		err = 0;
	if (err == 0)
		err = addresses_find(d);
	if (err < 0)
		goto fail;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		goto fail;
	}
	err = kn_loop_add(loop, &d->timer, fd, EPOLLIN);
	if (err < 0)
		close(fd);
	else
		err = doors_open(d, true);
	if (err < 0)
		goto fail;
	*ret = d;
	return 0;
fail:
	kn_dial_free(d);
	return err;
}

void
kn_dial_free(struct kn_dial *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		slot_drop(&d->slots[i]);
	for (size_t i = 0; i < 2; i++) {
		kn_loop_remove(d->loop, &d->doors[i].watch);
		kn_fd_close(&d->doors[i].fd);
	}
	kn_loop_close(d->loop, &d->timer);
	free(d);
}

const char *const *
kn_dial_addresses(const struct kn_dial *d, size_t *ret_n)
{
	*ret_n = d->naddresses;
	return d->addresses;
}

static void
hex(const unsigned char *bytes, char ret[KN_DIAL_TOKEN_HEX + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < RANDOM_BYTES; i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret[KN_DIAL_TOKEN_HEX] = '\0';
}

int
kn_dial_offer(struct kn_dial *d, uint32_t host, char ret[KN_DIAL_TEXT_BYTES])
{
	unsigned char bytes[2 * RANDOM_BYTES];
	struct offer *o = &d->offers[host];
	ssize_t n;

	kn_dial_withdraw(d, host);
	do
		n = getrandom(bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(bytes))
		return n < 0 ? -errno : -EIO;
	hex(bytes, o->token);
	hex(bytes + RANDOM_BYTES, o->answer);
	o->open = true;
	d->nopen++;
	(void)snprintf(ret, KN_DIAL_TEXT_BYTES, "%s %u %s", o->token, (unsigned)host, o->answer);
	return 0;
}

void
kn_dial_withdraw(struct kn_dial *d, uint32_t host)
{
	if (d->offers[host].open)
		d->nopen--;
	d->offers[host].open = false;
}

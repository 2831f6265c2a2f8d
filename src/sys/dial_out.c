/* SPDX-License-Identifier: MIT */
/*
 * The agent's end of dial.h. All addresses are tried at once, as those that lead nowhere are often silent. The
 * first that gives the right answer wins.
 */
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fd.h"

#define LINE_MOST 128

/* One connection in the making; fd -1: it is none any more. */
struct attempt {
	int fd;
	bool said;
	size_t len; /* of the answer, as far as it came */
	char answer[KN_DIAL_TOKEN_HEX + 1];
};

/* What the text says: the line to say, and the answer to that. */
struct words {
	char line[LINE_MOST];
	size_t len;
	char answer[KN_DIAL_TOKEN_HEX + 1];
};

/* 0 or -EINVAL. */
static int
words_of(const char *text, struct words *ret)
{
	const char *last = strrchr(text, ' ');
	size_t len = last != NULL ? (size_t)(last - text) : 0;

	if (len <= KN_DIAL_TOKEN_HEX || len >= sizeof(ret->line) || strlen(last + 1) != KN_DIAL_TOKEN_HEX)
		return -EINVAL;
	memcpy(ret->line, text, len);
	ret->line[len] = '\n';
	ret->len = len + 1;
	memcpy(ret->answer, last + 1, KN_DIAL_TOKEN_HEX);
	ret->answer[KN_DIAL_TOKEN_HEX] = '\n';
	return 0;
}

/* "IP:PORT" or "[IP]:PORT". 0 or -EINVAL. */
static int
address_parse(const char *s, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
	const char *colon = strrchr(s, ':');
	char ip[INET6_ADDRSTRLEN + 2], *end;
	unsigned long port;
	size_t len;

	if (colon == NULL || colon == s || (len = (size_t)(colon - s)) >= sizeof(ip))
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port == 0 || port > 65535)
		return -EINVAL;
	memcpy(ip, s, len);
	ip[len] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (ip[0] == '[' && ip[len - 1] == ']') {
		ip[len - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(*v6);
		return inet_pton(AF_INET6, ip + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_len = sizeof(*v4);
	return inet_pton(AF_INET, ip, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static int
attempt_begin(struct attempt *a, const char *address)
{
	struct sockaddr_storage to;
	const int on = 1;
	socklen_t len;
	int err;

	err = address_parse(address, &to, &len);
	if (err < 0)
		return err;
	a->fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return -errno;
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(a->fd, (const struct sockaddr *)(const void *)&to, len) < 0 && errno != EINPROGRESS) {
		err = -errno;
		kn_fd_close(&a->fd);
		return err;
	}
	return 0;
}

/* It is connected, or failed. 0 or -errno. */
static int
attempt_say(struct attempt *a, const struct words *w)
{
	socklen_t len = sizeof(int);
	int err = 0;
	ssize_t n;

	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	if (err != 0)
		return -err;
	n = send(a->fd, w->line, w->len, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	a->said = true;
	return (size_t)n == w->len ? 0 : -EIO;
}

/* 1: the right answer is there; 0: not yet; or -errno. No byte behind it is read. */
static int
attempt_hear(struct attempt *a, const struct words *w)
{
	ssize_t n = recv(a->fd, a->answer + a->len, sizeof(a->answer) - a->len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* The other side let us in and threw us out, before or after it had read what we said. */
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -ECONNREFUSED;
	if (n < 0)
		return -errno;
	a->len += (size_t)n;
	if (memcmp(a->answer, w->answer, a->len) != 0)
		return -EPROTO;
	return a->len == sizeof(a->answer);
}

/* Wait for one step of any. 1: *ret_fd is it; 0: go on; -errno: none is left, or the time is over. */
static int
attempts_step(struct attempt *as, size_t n, const struct words *w, int64_t until_ns, int *last, int *ret_fd)
{
	struct pollfd p[KN_DIAL_ADDRESSES];
	int64_t left_ns = until_ns - kn_clock_ns();
	size_t alive = 0;

	for (size_t i = 0; i < n; i++) {
		p[i] = (struct pollfd){ .fd = as[i].fd, .events = as[i].said ? POLLIN : POLLOUT };
		alive += as[i].fd >= 0;
	}
	if (alive == 0)
		return *last;
	if (left_ns <= 0)
		return -ETIMEDOUT;
	if (poll(p, n, (int)((left_ns + 999999) / 1000000)) < 0)
		return errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < n; i++) {
		int got;

		if (p[i].fd < 0 || p[i].revents == 0)
			continue;
		got = as[i].said ? attempt_hear(&as[i], w) : attempt_say(&as[i], w);
		if (got > 0) {
			*ret_fd = as[i].fd;
			as[i].fd = -1;
			return 1;
		}
		if (got < 0) {
			*last = got;
			kn_fd_close(&as[i].fd);
		}
	}
	return 0;
}

int
kn_dial(const char *const *addresses, size_t n, const char *text, int64_t timeout_ns, int *ret_fd)
{
	struct attempt as[KN_DIAL_ADDRESSES];
	int64_t until_ns = kn_clock_ns() + timeout_ns;
	struct words w;
	int got, err, last = -EINVAL;

	if (n > KN_DIAL_ADDRESSES)
		n = KN_DIAL_ADDRESSES;
	err = words_of(text, &w);
	if (err < 0)
		return err;
	for (size_t i = 0; i < n; i++) {
		as[i] = (struct attempt){ .fd = -1 };
		err = attempt_begin(&as[i], addresses[i]);
		if (err < 0)
			last = err;
	}
	do
		got = attempts_step(as, n, &w, until_ns, &last, ret_fd);
	while (got == 0);
	for (size_t i = 0; i < n; i++)
		kn_fd_close(&as[i].fd);
	return got < 0 ? got : 0;
}

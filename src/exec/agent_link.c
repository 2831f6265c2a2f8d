/* SPDX-License-Identifier: MIT */
#include "agent_link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../sys/fd.h"

/* Read at a time, and in one go before others get their turn. */
#define READ_BYTES ((size_t)128 * 1024)
#define TURN_BYTES (8 * READ_BYTES)
/* At its end so many times: who is still there and writes on and on is not waited for. */
#define LAST_TURNS 64
#define PIPE_BYTES (1024 * 1024)
/* A line of stderr is cut there. */
#define LINE_BYTES 1000

static struct kn_link *
link_at(struct kn_watch *w, size_t offset)
{
	return (struct kn_link *)(void *)((char *)w - offset);
}

/* ---- what the far end says for people ---------------------------------------- */

/* A line without what could do something to a terminal. */
static void
line_say(struct kn_link *l, const char *line, size_t n)
{
	char text[LINE_BYTES + 1];
	size_t len = 0;

	for (size_t i = 0; i < n && len < LINE_BYTES; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c >= ' ' && c != 0x7f)
			text[len++] = (char)c;
		else if (c == '\t')
			text[len++] = ' ';
	}
	text[len] = '\0';
	if (len == 0)
		return;
	(void)snprintf(l->last, sizeof(l->last), "%.*s", (int)sizeof(l->last) - 1, text);
	if (l->nwords++ < KN_LINK_WORDS_MOST)
		l->host->said(l, text);
}

static void
lines_say(struct kn_link *l, bool all)
{
	size_t at = 0;

	while (at < l->words.len) {
		const char *line = l->words.data + at, *end = memchr(line, '\n', l->words.len - at);
		size_t n = end != NULL ? (size_t)(end - line) : l->words.len - at;

		if (end == NULL && !all && n < LINE_BYTES)
			break;
		line_say(l, line, n);
		at += n + (end != NULL);
	}
	kn_buf_drop(&l->words, at);
}

static void
words_read(struct kn_link *l)
{
	char text[4096];
	ssize_t n;

	while (l->err.fd >= 0) {
		n = read(l->err.fd, text, sizeof(text));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			kn_loop_close(l->loop, &l->err);
			lines_say(l, true);
			return;
		}
		/* Words that there is no memory for are lost, nothing else is. */
		if (kn_buf_add(&l->words, text, (size_t)n) == 0)
			lines_say(l, false);
	}
}

/* ---- the end ------------------------------------------------------------------ */

static void
connection_close(struct kn_link *l)
{
	kn_loop_close(l->loop, &l->in);
	kn_loop_close(l->loop, &l->out);
	kn_loop_close(l->loop, &l->err);
	kn_fd_close(&l->life_fd);
	l->sent = 0;
	l->sending.len = 0;
	l->program_left = 0;
	l->in_full = l->out_ended = false;
	l->phase = KN_LINK_CLOSED;
	if (!l->reading)
		kn_buf_done(&l->received);
	kn_buf_done(&l->sending);
	kn_buf_done(&l->words);
}

void
kn_link_close(struct kn_link *l, int signal)
{
	connection_close(l);
	if (l->child_lives)
		kn_child_signal(&l->child, signal);
}

static void
lost(struct kn_link *l, const char *why)
{
	if (l->phase == KN_LINK_CLOSED)
		return;
	connection_close(l);
	l->host->lost(l, why);
}

/* ---- reading ------------------------------------------------------------------ */

/* A line of the far end's start, if it is one. */
static void
boot_line(struct kn_link *l, char *line)
{
	static const char want[] = "knee-boot want ", failed[] = "knee-boot failed ";
	char *machine, *size, *end;
	uint64_t bytes;

	if (strncmp(line, failed, sizeof(failed) - 1) == 0) {
		l->nwords = 0;
		line_say(l, line + sizeof(failed) - 1, strlen(line + sizeof(failed) - 1));
		return;
	}
	if (strncmp(line, want, sizeof(want) - 1) != 0)
		return;
	machine = line + sizeof(want) - 1;
	size = strchr(machine, ' ');
	if (size == NULL)
		return;
	*size++ = '\0';
	bytes = strtoull(size, &end, 10);
	if (end > size && (*end == '\0' || *end == '\r'))
		l->host->wanted(l, machine, bytes);
}

/* What comes before the greeting, line by line. */
static void
boot_lines(struct kn_link *l, size_t n)
{
	char line[256];
	size_t at = 0;

	while (at < n && l->phase == KN_LINK_BOOT) {
		const char *begin = l->received.data + at;
		size_t length = (size_t)((const char *)memchr(begin, '\n', n - at) - begin);

		if (length < sizeof(line)) {
			memcpy(line, begin, length);
			line[length] = '\0';
			boot_line(l, line);
		}
		at += length + 1;
	}
}

/* Look for the greeting. Bytes that are used up. */
static size_t
boot_read(struct kn_link *l)
{
	char version[64];
	unsigned protocol = 0;
	size_t bytes = 0;
	int n = kn_frame_greeting(
	    "knee-agent", l->received.data, l->received.len, &protocol, version, sizeof(version), &bytes);

	if (n < 0) {
		lost(l, "its greeting makes no sense");
		return 0;
	}
	boot_lines(l, bytes);
	if (l->phase != KN_LINK_BOOT)
		return 0;
	l->read_bytes += bytes;
	if (n == 0 && l->read_bytes + l->received.len - bytes > KN_FRAME_NOISE_MOST) {
		lost(l, "it says much, but not what an agent says");
		return 0;
	}
	if (n == 1) {
		l->phase = KN_LINK_FRAMES;
		l->host->greeted(l, protocol, version);
	}
	return bytes;
}

/* Hand out the frames that have come. */
static void
received_use(struct kn_link *l)
{
	struct kn_frame frame;
	size_t at = 0, bytes;
	int n = 1;

	l->reading = true;
	if (l->phase == KN_LINK_BOOT)
		at = boot_read(l);
	while (l->phase == KN_LINK_FRAMES &&
	    (n = kn_frame_take(l->received.data + at, l->received.len - at, &frame, &bytes)) == 1) {
		at += bytes;
		l->host->frame(l, &frame);
	}
	l->reading = false;
	if (l->phase == KN_LINK_CLOSED)
		kn_buf_done(&l->received);
	else if (n < 0)
		lost(l, "what it sends are no frames: something in between changes bytes, or it is broken");
	else
		kn_buf_drop(&l->received, at);
}

/* Read what is there, as much as a turn may take; hand it out. Bytes that were read. */
static size_t
link_read(struct kn_link *l)
{
	size_t total = 0;
	ssize_t n = 1;

	while (total < TURN_BYTES && l->out.fd >= 0 && n > 0) {
		if (kn_buf_reserve(&l->received, READ_BYTES) < 0) {
			lost(l, strerror(ENOMEM));
			return 0;
		}
		n = read(l->out.fd, l->received.data + l->received.len, READ_BYTES);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0) {
			bool more = (size_t)n == READ_BYTES;

			l->received.len += (size_t)n;
			total += (size_t)n;
			received_use(l);
			if (!more)
				return total;
		} else if (n == 0 || errno != EAGAIN) {
			/* Most likely the child is just ending, and tells why. */
			kn_loop_close(l->loop, &l->out);
			/* After a move both are one socket, and the other side waits until that is closed. */
			if (l->life_fd >= 0)
				kn_loop_close(l->loop, &l->in);
			l->out_ended = true;
			if (!l->child_lives)
				lost(l, "the connection was closed");
		}
	}
	return total;
}

static int
out_event(struct kn_watch *w, uint32_t events)
{
	(void)events;
	(void)link_read(link_at(w, offsetof(struct kn_link, out)));
	return 0;
}

static int
err_event(struct kn_watch *w, uint32_t events)
{
	(void)events;
	words_read(link_at(w, offsetof(struct kn_link, err)));
	return 0;
}

static int
in_event(struct kn_watch *w, uint32_t events)
{
	struct kn_link *l = link_at(w, offsetof(struct kn_link, in));

	(void)events;
	if (l->in_full)
		kn_link_flush(l);
	return 0;
}

/* The child has ended: what it wrote before is read, and why it ended is known. */
static int
end_event(struct kn_watch *w, uint32_t events)
{
	struct kn_link *l = link_at(w, offsetof(struct kn_link, end));
	struct rusage usage;
	char why[320];
	int status = 0;

	(void)events;
	kn_loop_remove(l->loop, &l->end);
	if (kn_child_wait(&l->child, &status, &usage) < 0)
		status = SIGKILL;
	kn_fd_close(&l->child.pidfd);
	l->child_lives = false;
	for (int i = 0; i < LAST_TURNS && link_read(l) > 0; i++)
		;
	words_read(l);
	if (l->phase == KN_LINK_CLOSED)
		return 0;
	if (WIFSIGNALED(status))
		(void)snprintf(why, sizeof(why), "its connection was killed by signal %d", WTERMSIG(status));
	else if (l->last[0] != '\0')
		(void)snprintf(why, sizeof(why), "%s", l->last);
	else
		(void)snprintf(why, sizeof(why), "its connection ended with status %d", WEXITSTATUS(status));
	lost(l, why);
	return 0;
}

/* ---- writing ------------------------------------------------------------------ */

/* Write some; how much went, 0: no more for now. An error is seen by who reads: the end of the other side. */
static size_t
bytes_write(struct kn_link *l, const char *data, size_t n)
{
	ssize_t done;

	do
		done = write(l->in.fd, data, n);
	while (done < 0 && errno == EINTR);
	if (done < 0 && errno == EAGAIN)
		l->in_full = true;
	else if (done < 0)
		kn_loop_close(l->loop, &l->in);
	return done > 0 ? (size_t)done : 0;
}

void
kn_link_flush(struct kn_link *l)
{
	size_t n = 1;

	l->in_full = false;
	while (l->in.fd >= 0 && l->program_left > 0 && n > 0) {
		n = bytes_write(l, l->program, l->program_left);
		l->program += n;
		l->program_left -= n;
	}
	while (l->in.fd >= 0 && n > 0 && l->sent < l->sending.len) {
		n = bytes_write(l, l->sending.data + l->sent, l->sending.len - l->sent);
		l->sent += n;
	}
	if (l->sent == l->sending.len) {
		l->sent = l->sending.len = 0;
	} else if (l->sent >= READ_BYTES) {
		kn_buf_drop(&l->sending, l->sent);
		l->sent = 0;
	}
}

size_t
kn_link_pending(const struct kn_link *l)
{
	return l->program_left + l->sending.len - l->sent;
}

void
kn_link_program(struct kn_link *l, const void *program, size_t size)
{
	l->program = program;
	l->program_left = size;
	kn_link_flush(l);
}

void
kn_link_pause(struct kn_link *l, bool pause)
{
	if (l->out.fd >= 0)
		(void)kn_loop_change(l->loop, &l->out, pause ? 0 : EPOLLIN);
}

/* ---- the beginning -------------------------------------------------------------- */

void
kn_link_init(struct kn_link *l, const struct kn_link_host *host, struct kn_loop *loop)
{
	l->host = host;
	l->loop = loop;
	l->child.pidfd = l->life_fd = -1;
	l->end = (struct kn_watch){ .fd = -1, .fn = end_event };
	l->in = (struct kn_watch){ .fd = -1, .fn = in_event };
	l->out = (struct kn_watch){ .fd = -1, .fn = out_event };
	l->err = (struct kn_watch){ .fd = -1, .fn = err_event };
}

bool
kn_link_busy(const struct kn_link *l)
{
	return l->child_lives || l->phase != KN_LINK_CLOSED;
}

/* Three pipes: ours are fds[0] (to write), [1] and [2] (to read); the child's theirs[]. All are -1 after an error. */
static int
pipes_make(int fds[3], int theirs[3])
{
	int pair[2], err = 0;

	for (int i = 0; i < 3; i++)
		fds[i] = theirs[i] = -1;
	for (int i = 0; i < 3 && err == 0; i++) {
		if (pipe2(pair, O_CLOEXEC) < 0) {
			err = -errno;
			break;
		}
		fds[i] = pair[i == 0];
		theirs[i] = pair[i != 0];
		if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
			err = -errno;
		(void)fcntl(fds[i], F_SETPIPE_SZ, i < 2 ? PIPE_BYTES : 4096);
	}
	for (int i = 0; i < 3 && err < 0; i++) {
		kn_fd_close(&fds[i]);
		kn_fd_close(&theirs[i]);
	}
	return err;
}

/* Watch a descriptor that is the link's from then on, also after an error. */
static int
watch_open(struct kn_link *l, struct kn_watch *w, int fd, uint32_t events)
{
	int err = kn_loop_add(l->loop, w, fd, events);

	if (err < 0)
		close(fd);
	return err;
}

int
kn_link_open(struct kn_link *l, struct kn_spawner *spawner, const char *path, const char *const *argv,
    size_t nargv, char *const *env)
{
	const char **words = calloc(nargv + 1, sizeof(*words));
	struct kn_spawn plan = { .path = path, .env = env, .script = -1 };
	int fds[3], theirs[3], err = words != NULL ? pipes_make(fds, theirs) : -ENOMEM;

	if (err < 0) {
		free(words);
		return err;
	}
	memcpy(words, argv, nargv * sizeof(*words));
	memcpy(&plan.argv, &words, sizeof(plan.argv));
	plan.in = theirs[0];
	plan.out = theirs[1];
	plan.err = theirs[2];
	err = kn_spawn(spawner, &plan, &l->child);
	free(words);
	for (int i = 0; i < 3; i++)
		kn_fd_close(&theirs[i]);
	if (err < 0) {
		for (int i = 0; i < 3; i++)
			kn_fd_close(&fds[i]);
		return err;
	}
	l->child_lives = true;
	l->phase = KN_LINK_BOOT;
	l->sent = l->sending.len = l->received.len = 0;
	l->nwords = 0;
	l->last[0] = '\0';
	l->read_bytes = 0;
	err = watch_open(l, &l->in, fds[0], EPOLLOUT | EPOLLET);
	if (err == 0)
		err = watch_open(l, &l->out, fds[1], EPOLLIN);
	else
		close(fds[1]);
	if (err == 0)
		err = watch_open(l, &l->err, fds[2], EPOLLIN);
	else
		close(fds[2]);
	if (err == 0)
		err = kn_loop_add(l->loop, &l->end, l->child.pidfd, EPOLLIN);
	if (err < 0) { /* nobody would hear of its end */
		kn_link_close(l, SIGKILL);
		kn_child_reap(&l->child);
		l->child_lives = false;
	}
	return err;
}

int
kn_link_move(struct kn_link *l, int fd)
{
	int other = fcntl(fd, F_DUPFD_CLOEXEC, 3), err;

	if (other < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	l->life_fd = l->in.fd;
	kn_loop_remove(l->loop, &l->in);
	kn_loop_close(l->loop, &l->out);
	l->received.len = 0;
	l->sent = l->sending.len = 0;
	err = watch_open(l, &l->out, fd, EPOLLIN);
	if (err == 0)
		err = watch_open(l, &l->in, other, EPOLLOUT | EPOLLET);
	else
		close(other);
	return err;
}

void
kn_link_done(struct kn_link *l)
{
	kn_link_close(l, SIGKILL);
	kn_loop_remove(l->loop, &l->end);
	if (l->child_lives)
		kn_child_reap(&l->child);
	l->child_lives = false;
	kn_buf_done(&l->received);
}

/* SPDX-License-Identifier: MIT */
/*
 * Writing without waiting.
 *
 * stdout and stderr are shared with the shell and whoever else was started with
 * them, and O_NONBLOCK is a property of what is shared: setting it would break them.
 * So a pipe or terminal is opened anew through /proc, which gives a description of
 * our own that may be non-blocking; where that is refused (no /proc, a terminal of
 * another user) poll() is asked before each small write. Files and other devices
 * have no reader to be slow: they are written to directly, because the inherited
 * description has the offset and the O_APPEND that count.
 *
 * Small pieces are gathered; large ones go out together with what waits in one
 * writev(), without a copy.
 */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum {
	GATHER_BYTES = 64 * 1024, /* from here on bytes are written, not kept */
	KEEP_BYTES = 1024 * 1024, /* a larger empty buffer is given back */
	TTY_BYTES = 256,          /* poll() promises a terminal's buffer no more */
};

/* A pipe or terminal: a description of our own if it can be had. */
static void
reopen(struct writer *w)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	w->kind = fd < 0 ? WRITER_POLLED : WRITER_REOPENED;
	if (fd >= 0)
		w->fd = w->own = fd;
}

void
writer_init(struct writer *w, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	*w = (struct writer){ .kind = WRITER_PLAIN, .fd = fd, .own = -1, .base = -1 };
	/* O_PATH descriptors fail in the write, with EBADF as well. */
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0) {
		w->error = -EBADF;
		return;
	}
	w->tty = isatty(fd);
	if (S_ISSOCK(st.st_mode))
		w->kind = WRITER_SOCKET;
	else if (S_ISFIFO(st.st_mode) || w->tty)
		reopen(w);
}

void
writer_init_file(struct writer *w, int fd)
{
	*w = (struct writer){ .kind = WRITER_PLAIN, .fd = fd, .own = fd, .base = -1 };
}

void
writer_track(struct writer *w)
{
	int flags = fcntl(w->fd, F_GETFL);
	struct stat st;

	if (w->error < 0 || flags < 0 || fstat(w->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	w->base = (flags & O_APPEND) != 0 ? st.st_size : lseek(w->fd, 0, SEEK_CUR);
}

/* After a write: whatever else the file has got since the start is not ours. */
static void
others_note(struct writer *w)
{
	off_t at = lseek(w->fd, 0, SEEK_CUR);

	if (at >= w->base && (uint64_t)(at - w->base) >= w->written)
		w->others = (uint64_t)(at - w->base) - w->written;
}

void
writer_done(struct writer *w)
{
	if (w->own >= 0)
		close(w->own);
	free(w->data);
	*w = (struct writer){ .fd = -1, .own = -1, .base = -1 };
}

static ssize_t
send_some(int fd, const struct iovec *iov, size_t niov)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = niov };

	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One piece, so small that a descriptor which poll() calls writable takes it at once. */
static ssize_t
write_polled(const struct writer *w, const struct iovec *iov)
{
	struct pollfd p = { .fd = w->fd, .events = POLLOUT };
	size_t most = w->tty ? TTY_BYTES : PIPE_BUF;
	int ready = poll(&p, 1, 0);

	if (ready == 0) {
		errno = EAGAIN;
		return -1;
	}
	return ready < 0 ? -1 : write(w->fd, iov->iov_base, iov->iov_len < most ? iov->iov_len : most);
}

/* The bytes written, more than 0, or -errno. */
static ssize_t
write_some(const struct writer *w, const struct iovec *iov, int niov)
{
	ssize_t n = -1;

	do {
		switch (w->kind) {
		case WRITER_PLAIN:
		case WRITER_REOPENED:
			n = writev(w->fd, iov, niov);
			break;
		case WRITER_POLLED:
			n = write_polled(w, iov);
			break;
		case WRITER_SOCKET:
			n = send_some(w->fd, iov, (size_t)niov);
			break;
		}
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -EIO;
	return n < 0 ? -errno : n;
}

/* Drop n written bytes from the pieces; true when some are left, in *iov and *niov. */
static bool
advance(struct iovec **iov, int *niov, size_t n)
{
	while (*niov > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov == 0)
		return false;
	(*iov)->iov_base = (char *)(*iov)->iov_base + n;
	(*iov)->iov_len -= n;
	return true;
}

/* The last byte of the first n of the pieces; 0 < n <= their sum. */
static char
byte_before(const struct iovec *iov, size_t n)
{
	while (n > iov->iov_len) {
		n -= iov->iov_len;
		iov++;
	}
	return ((const char *)iov->iov_base)[n - 1];
}

/* Write pieces that are not empty until all are written or the reader is slow. The bytes
 * written, *err 0, -EAGAIN or -errno. */
static size_t
write_pieces(struct writer *w, struct iovec *iov, int niov, int *err)
{
	size_t sum = 0;
	char last = '\n';
	bool more = true;

	if (w->with_messages)
		say_before();
	*err = 0;
	while (more) {
		ssize_t n = write_some(w, iov, niov);

		if (n < 0) {
			*err = (int)n;
			break;
		}
		last = byte_before(iov, (size_t)n);
		sum += (size_t)n;
		more = advance(&iov, &niov, (size_t)n);
	}
	w->written += sum;
	if (w->base >= 0 && sum > 0)
		others_note(w);
	if (sum > 0)
		w->line_open = last != '\n';
	if (w->with_messages && !w->line_open)
		say_after();
	w->blocked = *err == -EAGAIN;
	if (*err < 0 && !w->blocked)
		w->error = *err;
	return sum;
}

/* Room for n more bytes behind those that wait. */
static int
reserve(struct writer *w, size_t n)
{
	size_t len = w->end - w->start;
	size_t cap = w->cap ? w->cap : GATHER_BYTES;
	char *data;

	if (n <= w->cap - w->end)
		return 0;
	if (n > SIZE_MAX / 2 - len)
		return -ENOMEM;
	if (w->start > 0)
		memmove(w->data, w->data + w->start, len);
	w->start = 0;
	w->end = len;
	if (n <= w->cap - len)
		return 0;
	while (cap < len + n)
		cap *= 2;
	data = realloc(w->data, cap);
	if (data == NULL)
		return -ENOMEM;
	w->data = data;
	w->cap = cap;
	return 0;
}

static int
keep(struct writer *w, const char *data, size_t n)
{
	int err = reserve(w, n);

	if (err < 0)
		return err;
	if (n > 0)
		memcpy(w->data + w->end, data, n);
	w->end += n;
	return 0;
}

/* n bytes of those that wait have been written. */
static void
drop(struct writer *w, size_t n)
{
	w->start += n;
	if (w->start < w->end)
		return;
	w->start = w->end = 0;
	if (w->cap > KEEP_BYTES) {
		free(w->data);
		w->data = NULL;
		w->cap = 0;
	}
}

static int
put(struct writer *w, const void *data, size_t n)
{
	size_t waiting = w->end - w->start;
	struct iovec iov[2] = {
		{ .iov_base = w->data + w->start, .iov_len = waiting },
		{ .iov_base = (void *)(uintptr_t)data, .iov_len = n },
	};
	size_t written;
	int err;

	if (w->error < 0)
		return w->error;
	if (w->blocked || waiting + n < GATHER_BYTES)
		return keep(w, data, n);
	written = waiting > 0 ? write_pieces(w, iov, 2, &err) : write_pieces(w, iov + 1, 1, &err);
	if (err < 0 && err != -EAGAIN)
		return err;
	if (written < waiting) {
		drop(w, written);
		return keep(w, data, n);
	}
	drop(w, waiting);
	written -= waiting;
	return written < n ? keep(w, (const char *)data + written, n - written) : 0;
}

int
writer_put(struct writer *w, const void *data, size_t n)
{
	int err = n > 0 ? put(w, data, n) : 0;

	if (err == 0)
		w->taken += n;
	return err;
}

int
writer_flush(struct writer *w)
{
	struct iovec iov = { .iov_base = w->data + w->start, .iov_len = w->end - w->start };
	size_t written;
	int err;

	if (!writer_waits(w))
		return 0;
	if (w->error < 0)
		return w->error;
	written = write_pieces(w, &iov, 1, &err);
	drop(w, written);
	return err;
}

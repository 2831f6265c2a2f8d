/* SPDX-License-Identifier: MIT */
/*
 * One buffer, which holds what has been read and not yet given out, and grows only when
 * a single record is longer than it. A record is given out where it lies, its delimiter
 * replaced by a NUL, so that nothing is copied but the torn record at the buffer's end.
 *
 * Standard input belongs to others too, so it is never made non-blocking: a pipe, a
 * terminal or a socket is read only after poll(2) has said that there is something, and
 * a regular file always. Two programs that read one pipe at once could still make a
 * read wait; that is for those who do it.
 */
#include "reader.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "grow.h"

enum { CHUNK = 64 * 1024 };

/* Invariant: at <= scanned <= end < cap; no delimiter lies in [at, scanned). */
struct reader {
	int fd;
	enum reader_end on_free;
	unsigned char delimiter;
	bool regular;
	bool ended;  /* read() has said so, once is enough */
	off_t start; /* of a regular file */
	char *data;  /* owned */
	size_t cap;
	size_t at, scanned, end;
	size_t nul; /* where the first NUL byte lies, SIZE_MAX: nowhere */
	uint64_t count;
};

int
reader_new(int fd, unsigned char delimiter, enum reader_end end, struct reader **ret)
{
	struct reader *r;
	struct stat st;

	/* A closed standard input holds no records. */
	if (fstat(fd, &st) < 0)
		st.st_mode = 0;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->fd = fd;
	r->on_free = end;
	r->delimiter = delimiter;
	r->regular = S_ISREG(st.st_mode);
	r->ended = st.st_mode == 0;
	r->nul = SIZE_MAX;
	if (r->regular)
		r->start = lseek(fd, 0, SEEK_CUR);
	*ret = r;
	return 0;
}

void
reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	if (r->on_free == READER_CLOSE)
		close(r->fd);
	free(r->data);
	free(r);
}

/* Room for a chunk, and for the NUL behind a last record. */
static int
make_room(struct reader *r)
{
	size_t rest = r->end - r->at, need = r->cap;
	char *data;

	if (r->at > 0) {
		memmove(r->data, r->data + r->at, rest);
		if (r->nul != SIZE_MAX)
			r->nul -= r->at;
		r->scanned -= r->at;
		r->end = rest;
		r->at = 0;
	}
	if (r->data == NULL)
		need = (size_t)2 * CHUNK;
	else if (rest >= r->cap / 2)
		need = r->cap + 1;
	data = grow(r->data, &r->cap, need, 1);
	if (data == NULL)
		return -ENOMEM;
	r->data = data;
	return 0;
}

static int
ready(const struct reader *r, int timeout_ms)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };
	int n;

	if (r->regular)
		return 0;
	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -EAGAIN : 0;
}

/* Read once. 0 or -errno. */
static int
fill(struct reader *r)
{
	ssize_t n;
	char *nul;
	int err;

	err = ready(r, 0);
	if (err < 0)
		return err;
	err = make_room(r);
	if (err < 0)
		return err;
	do
		n = read(r->fd, r->data + r->end, r->cap - r->end - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->ended = n == 0;
	if (r->delimiter != '\0' && r->nul == SIZE_MAX) {
		nul = memchr(r->data + r->end, '\0', (size_t)n);
		if (nul != NULL)
			r->nul = (size_t)(nul - r->data);
	}
	r->end += (size_t)n;
	return 0;
}

/* Give out what lies before end, and go on behind it, after the delimiter if there is one. */
static int
take(struct reader *r, size_t end, char **ret, size_t *len)
{
	if (r->nul < end)
		return -EILSEQ;
	r->data[end] = '\0';
	*ret = r->data + r->at;
	*len = end - r->at;
	r->at = end < r->end ? end + 1 : end;
	r->scanned = r->at;
	r->count++;
	return 1;
}

int
reader_next(struct reader *r, char **ret, size_t *len)
{
	char *found;
	int err;

	for (;;) {
		found = r->scanned == r->end ?
		    NULL :
		    memchr(r->data + r->scanned, r->delimiter, r->end - r->scanned);
		if (found != NULL)
			return take(r, (size_t)(found - r->data), ret, len);
		r->scanned = r->end;
		if (r->ended)
			break;
		err = fill(r);
		if (err < 0)
			return err;
	}
	if (r->at == r->end)
		return 0;
	return take(r, r->end, ret, len);
}

int
reader_wait(const struct reader *r)
{
	return ready(r, -1);
}

int
reader_fd(const struct reader *r)
{
	return r->fd;
}

uint64_t
reader_count(const struct reader *r)
{
	return r->count;
}

bool
reader_rewinds(const struct reader *r)
{
	return r->regular;
}

int
reader_rewind(struct reader *r)
{
	if (lseek(r->fd, r->start, SEEK_SET) < 0)
		return -errno;
	r->at = r->scanned = r->end = 0;
	r->nul = SIZE_MAX;
	r->ended = false;
	r->count = 0;
	return 0;
}

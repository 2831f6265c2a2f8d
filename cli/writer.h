/* SPDX-License-Identifier: MIT */
/*
 * Bytes on their way to a descriptor that may be slow: what it does not take now
 * is kept. Never waits for a pipe's, a terminal's or a socket's reader.
 */
#ifndef CLI_WRITER_H
#define CLI_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum writer_kind {
	WRITER_PLAIN,    /* file, device: takes everything at once, or fails */
	WRITER_REOPENED, /* pipe or terminal through a description of our own */
	WRITER_POLLED,   /* pipe or terminal that could not be opened anew */
	WRITER_SOCKET,
};

/* Invariant: the bytes that wait are data[start..end); start == end == 0 when none do. */
struct writer {
	enum writer_kind kind;
	int fd;    /* what is written to */
	int own;   /* fd when it is ours to close, or -1 */
	int error; /* -errno that ended it; nothing is written any more */
	bool tty;
	bool with_messages; /* its bytes show where messages do: stand between say_before and say_after */
	bool blocked;       /* the last write was refused or cut short: the reader is slow */
	bool line_open;     /* what was written ends within a line */
	char *data;         /* owned */
	size_t start, end, cap;
	uint64_t taken, written; /* bytes given to it, and of them written */
	off_t base;         /* writer_track: where in the file it began; -1: nobody asks */
	uint64_t others;    /* bytes that others had put into the file by the last write: messages */
};

/* Write to an inherited descriptor, which stays as it is: no flag of it changes. A
 * descriptor that cannot be written to is found out by the first byte: -EBADF. */
void writer_init(struct writer *w, int fd);
/* Write to a file of our own; fd is closed by writer_done. */
void writer_init_file(struct writer *w, int fd);
/* From now on know how far a regular file got that others write to as well: what the first n bytes
 * of it were, as of the write that wrote them, ends at base + n + others. Nothing of it was written yet. */
void writer_track(struct writer *w);
/* What waits is dropped. Takes a done one. */
void writer_done(struct writer *w);

/* Take n bytes: keep them, or write them when they are many. 0; -ENOMEM; -errno of the write,
 * then and ever after. A slow reader is no error: the bytes are kept. */
int writer_put(struct writer *w, const void *data, size_t n);
/* Write what waits. 0: nothing waits now; -EAGAIN: the reader is slow; -errno as writer_put. */
int writer_flush(struct writer *w);

static inline bool
writer_waits(const struct writer *w)
{
	return w->start < w->end;
}

#endif

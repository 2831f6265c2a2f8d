/* SPDX-License-Identifier: MIT */
/*
 * Records of a descriptor, one after another, without ever waiting for it: knee's loop
 * waits, with all it has to wait for. Nothing is printed here.
 */
#ifndef CLI_READER_H
#define CLI_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader;

enum reader_end {
	READER_KEEP,                /* fd stays the caller's */
	READER_CLOSE,               /* reader_free closes it */
};

/*
 * A reader of fd, whose records end with delimiter. A regular file is read from where
 * it stands now. 0, -ENOMEM, or -EISDIR for a directory; fd stays the caller's then.
 */
int reader_new(int fd, unsigned char delimiter, enum reader_end end, struct reader **ret);
void reader_free(struct reader *r);

/*
 * 1: *ret is the next record, *len bytes and a NUL instead of its delimiter; the caller
 * may write into it; it stays until the next call. A last one without delimiter counts.
 * 0: the end, now and from now on. -EAGAIN: nothing yet, wait until fd is readable.
 * -EILSEQ: the record holds a NUL byte though the delimiter is another one.
 * -ENOMEM, or what read(2) says.
 */
int reader_next(struct reader *r, char **ret, size_t *len);

/* Wait until reader_next has something to say. 0 or -errno. */
int reader_wait(const struct reader *r);
int reader_fd(const struct reader *r);
/* Records given out so far since the start. */
uint64_t reader_count(const struct reader *r);

/* True for a regular file: it can be read again. */
bool reader_rewinds(const struct reader *r);
/* Back to where it started. 0 or -errno. */
int reader_rewind(struct reader *r);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A temporary file that has no name, written from the front: what has to be read again
 * and can not be, because it came through a pipe. It is gone when knee is, however that ends.
 */
#ifndef CLI_SPOOL_H
#define CLI_SPOOL_H

#include <stddef.h>
#include <stdint.h>

struct spool;

/* In folder, which is borrowed. 0, or -errno after say(). */
int spool_new(const char *folder, struct spool **ret);
void spool_free(struct spool *s);

/* Add bytes at the end; they are in the file after spool_flush. 0, or -errno after say():
 * -ENOSPC names the folder. */
int spool_add(struct spool *s, const void *data, size_t size);
int spool_flush(struct spool *s);

/* Bytes added so far. */
uint64_t spool_size(const struct spool *s);
/* The file, to be read; it stays s's. */
int spool_fd(const struct spool *s);

#endif

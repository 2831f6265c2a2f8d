/* SPDX-License-Identifier: MIT */
/* Descriptors: always close-on-exec, never 0, 1 or 2, -1 when none. */
#ifndef KN_FD_H
#define KN_FD_H

#include <stdint.h>

/* Close *fd and set it to -1; nothing happens when it is -1 already. */
void kn_fd_close(int *fd);
/* A pipe: ret[0] to read, without blocking; ret[1] to write, blocking. 0 or -errno. */
int kn_fd_pipe(int ret[2]);
/* A file in folder that has no name and is gone when closed. The fd or -errno. */
int kn_fd_temporary(const char *folder);
/* Write all of it at offset. 0 or -errno. */
int kn_fd_write_at(int fd, const void *data, uint64_t size, uint64_t offset);
/* Read exactly size bytes at offset. 0 or -errno; -EIO when the file is shorter. */
int kn_fd_read_at(int fd, void *data, uint64_t size, uint64_t offset);

#endif

/* SPDX-License-Identifier: MIT */
/* Small files of /proc and /sys, read whole and parsed by hand: a buffered stream costs more than
 * the kernel takes to write most of them. */
#ifndef KN_PROCFILE_H
#define KN_PROCFILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The descriptor or -errno. */
int kn_procfile_open(const char *path);
/* The text from its start, as much as fits with the '\0' after it; no more than a page of it comes
 * when it is a list. Its length or -errno. */
ssize_t kn_procfile_read(const char *path, char *buf, size_t size);
/* The same of an open file: the kernel writes it anew. */
ssize_t kn_procfile_reread(int fd, char *buf, size_t size);
/* The same, of lists too: up to their end, or size - 1 when there is more. */
ssize_t kn_procfile_whole(int fd, char *buf, size_t size);

/* The number at *s after blanks, 0 when there is none; *s moves behind it. */
uint64_t kn_procfile_number(const char **s);
/* *s moves over n words and the blanks before each. */
void kn_procfile_skip(const char **s, unsigned n);
/* What stands behind label in the line that begins with it; NULL when no line does. */
const char *kn_procfile_after(const char *text, const char *label);
/* The line after this one; NULL when that was the last. */
const char *kn_procfile_line(const char *s);

#endif

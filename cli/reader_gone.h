/* SPDX-License-Identifier: MIT */
/* reader_gone.c: notice that nobody reads our output any more, also while nothing is written. */
#ifndef CLI_READER_GONE_H
#define CLI_READER_GONE_H

#include <knee_program.h>

/* Stop the run with -EPIPE when the reader of the pipe on standard output closes it. 0, or -errno.
 * *ret: a descriptor to close after the run; untouched when standard output is no pipe. */
int reader_gone_watch(knee *k, int *ret);
/* The reader of our output is gone: end as every filter does, quietly. */
void reader_gone_die(void);

#endif

/* SPDX-License-Identifier: MIT */
/* joblog_read.c: what an earlier run's job log knows. */
#ifndef CLI_JOBLOG_READ_H
#define CLI_JOBLOG_READ_H

#include <stdio.h>
#include <sys/types.h>

#include "options.h"

struct joblog_past;

/*
 * Read it, which takes two bits a task; for --retry-failed, also 16 bytes for each line of one that
 * failed. *ret stays NULL when there is no such file. With KNEE_RESUME_NO only its first line and
 * its end are looked at. 0, or -errno after say().
 */
int joblog_read(const char *path, enum knee_resume resume, struct joblog_past **ret);
void joblog_read_free(struct joblog_past *p);   /* takes NULL */

/* Bytes up to the end of its last whole line; 0: not even the first line is there. */
off_t joblog_read_end(const struct joblog_past *p);

/* --onall: were its tasks for these n machines, in turn? 0, or -errno after say(). */
int joblog_read_machines(struct joblog_past *p, const struct knee_host *machines, size_t n);

/* The inputs of inner, in the same order as ever, with what the log has of them. With
 * --retry-failed inner is not asked: the inputs are the commands that failed. */
struct knee_source joblog_read_source(struct joblog_past *p, const struct knee_source *inner);

#endif

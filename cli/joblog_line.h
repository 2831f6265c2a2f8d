/* SPDX-License-Identifier: MIT */
/*
 * joblog_line.c: a line of a job log, as GNU parallel's --joblog has it.
 *
 *	Seq TAB Host TAB Starttime TAB JobRuntime TAB Send TAB Receive TAB Exitval TAB Signal TAB Command LF
 *
 * Host is ":" for this machine, Starttime and JobRuntime are seconds, Receive is bytes of output. A
 * newline in Command is a NUL byte. A time-out is Exitval -1 and Signal 15.
 */
#ifndef CLI_JOBLOG_LINE_H
#define CLI_JOBLOG_LINE_H

#include <stdio.h>

#include <knee_program.h>

#define JOBLOG_HEAD "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

/* How the task ended, as its columns Exitval and Signal say it. */
void joblog_line_status(const struct knee_result *result, int *exitval, int *signal);
/* Errors are the stream's. */
void joblog_line_put(FILE *out, uint64_t seq, const char *host, const struct knee_result *result,
    const char *command);

/* The most that a number of a task can be. */
#define JOBLOG_SEQ_MAX ((uint64_t)1 << 40)

struct joblog_line {
	uint64_t seq;               /* 1..JOBLOG_SEQ_MAX */
	int failed;
	const char *host;           /* within the line that was read, as is */
	char *command;              /* its newlines are newlines again */
};

/* Take a line of n bytes, its LF not among them, and a NUL behind; it is written to. 0, or -EINVAL. */
int joblog_line_parse(char *line, size_t n, struct joblog_line *ret);

#endif

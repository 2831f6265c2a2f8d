/* SPDX-License-Identifier: MIT */
#include "joblog_line.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SEQ, HOST, START, RUNTIME, SEND, RECEIVE, EXITVAL, SIGNAL, COMMAND, FIELDS };

void
joblog_line_status(const struct knee_result *result, int *exitval, int *signal)
{
	bool timed_out = result->outcome == KNEE_TIMED_OUT;
	bool signaled = result->outcome == KNEE_SIGNALED || result->outcome == KNEE_CANCELLED;

	*exitval = timed_out ? -1 : signaled ? 0 : result->status;
	*signal = timed_out ? 15 : signaled ? result->status : 0;
}

void
joblog_line_put(
    FILE *out, uint64_t seq, const char *host, const struct knee_result *result, const char *command)
{
	int exitval, signal;

	joblog_line_status(result, &exitval, &signal);
	(void)fprintf(out, "%llu\t%s\t%.3f\t%10.3f\t0\t%llu\t%d\t%d\t", (unsigned long long)seq, host,
	    (double)result->start_time_ns / 1e9, (double)result->runtime_ns / 1e9,
	    (unsigned long long)result->output_bytes, exitval, signal);
	for (const char *s = command; *s != '\0'; s++)
		(void)putc(*s == '\n' ? '\0' : *s, out);
	(void)putc('\n', out);
}

/* A whole number of at most 18 digits. */
static bool
parse_number(const char *s, long long *ret)
{
	const char *digits = s + (*s == '-');
	size_t n = strspn(digits, "0123456789");

	if (n == 0 || n > 18 || digits[n] != '\0')
		return false;
	*ret = strtoll(s, NULL, 10);
	return true;
}

/* Blanks, a sign, digits; perhaps a point and more digits. */
static bool
is_decimal(const char *s)
{
	static const char digits[] = "0123456789";
	size_t n;

	s += strspn(s, " ");
	s += *s == '-';
	n = strspn(s, digits);
	if (n == 0 || s[n] == '\0')
		return n > 0;
	s += n;
	n = strspn(s + 1, digits);
	return *s == '.' && n > 0 && s[n + 1] == '\0';
}

int
joblog_line_parse(char *line, size_t n, struct joblog_line *ret)
{
	char *const end = line + n;
	char *field[FIELDS] = { line };
	long long seq, exitval, signal;

	for (int i = 1; i < FIELDS; i++) {
		char *tab = memchr(field[i - 1], '\t', (size_t)(end - field[i - 1]));

		/* A NUL byte, as a lost block of a disk has them, would hide what follows. */
		if (tab == NULL || memchr(field[i - 1], '\0', (size_t)(tab - field[i - 1])) != NULL)
			return -EINVAL;
		*tab = '\0';
		field[i] = tab + 1;
	}
	for (int i = START; i <= RECEIVE; i++)
		if (!is_decimal(field[i]))
			return -EINVAL;
	if (!parse_number(field[SEQ], &seq) || seq < 1 || (uint64_t)seq > JOBLOG_SEQ_MAX ||
	    *field[HOST] == '\0' || !parse_number(field[EXITVAL], &exitval) ||
	    !parse_number(field[SIGNAL], &signal))
		return -EINVAL;
	for (char *s = field[COMMAND]; s < end; s++)
		if (*s == '\0')
			*s = '\n';
	*ret = (struct joblog_line){
		.seq = (uint64_t)seq,
		.failed = exitval != 0 || signal != 0,
		.host = field[HOST],
		.command = field[COMMAND],
	};
	return 0;
}

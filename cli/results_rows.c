/* SPDX-License-Identifier: MIT */
/*
 * The rows of --results FILE.csv, .tsv and .json: GNU parallel's columns. CSV is RFC 4180's but that lines
 * end in LF; TSV is the same with tabs. JSON is an object on each line.
 *
 * The first line of CSV and TSV has a column for each input of the first task. A row with fewer has empty
 * ones, one with more has all that is left in the last, with blanks between: every row has as many columns
 * as the first line, which is what programs that read such files insist on.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "joblog_line.h"
#include "json_text.h"
#include "results.h"

static const char *const columns[] = { "Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval",
	"Signal", "Command" };

#define NCOLUMNS (sizeof(columns) / sizeof(*columns))

/* Stdout and Stderr. */
enum { LAST_COLUMNS = 2 };

static char
separator(const struct results_row *r)
{
	return r->format == RESULTS_TSV ? '\t' : ',';
}

/* Within quotes. */
static void
put_quoted(FILE *out, const char *s, size_t n)
{
	const char *quote;

	while ((quote = memchr(s, '"', n)) != NULL) {
		size_t size = (size_t)(quote - s) + 1;

		(void)fwrite(s, 1, size, out);
		(void)putc('"', out);
		s += size;
		n -= size;
	}
	(void)fwrite(s, 1, n, out);
}

/* A value: with quotes if it could be taken for something else without. */
static void
put_value(FILE *out, const char *s)
{
	if (strpbrk(s, "\",\t\r\n ") == NULL) {
		(void)fputs(s, out);
		return;
	}
	(void)putc('"', out);
	put_quoted(out, s, strlen(s));
	(void)putc('"', out);
}

void
results_head_put(FILE *out, struct results_row *r, const struct results_names *names, size_t nargs)
{
	char name[24];

	if (r->format == RESULTS_JSON)
		return;
	r->width = nargs;
	for (size_t i = 0; i < NCOLUMNS; i++)
		(void)fprintf(out, "%s%c", columns[i], separator(r));
	for (size_t i = 0; i < nargs; i++) {
		(void)snprintf(name, sizeof(name), "V%zu", i + 1);
		put_value(out, i < names->n ? names->header[i] : name);
		(void)putc(separator(r), out);
	}
	(void)fprintf(out, "Stdout%cStderr\n", separator(r));
}

/* The inputs, in as many columns as there are; and a separator behind each. */
static void
put_inputs(FILE *out, const struct results_row *r, const struct knee_event *e)
{
	for (size_t i = 0; i < r->width; i++) {
		bool more = i + 1 == r->width && e->nargs > r->width;

		if (more)
			(void)putc('"', out);
		for (size_t k = i; more && k < e->nargs; k++) {
			if (k > i)
				(void)putc(' ', out);
			put_quoted(out, e->args[k], strlen(e->args[k]));
		}
		if (more)
			(void)putc('"', out);
		else if (i < e->nargs)
			put_value(out, e->args[i]);
		(void)putc(separator(r), out);
	}
}

static const char *
host_of(const struct knee_event *e)
{
	return e->host != NULL ? e->host : ":";
}

static void
begin_json(FILE *out, const struct knee_event *e, int exitval, int signal)
{
	const struct knee_result *result = e->result;

	(void)fprintf(out, "{\"Seq\": %" PRIu64 ", \"Host\": ", e->seq);
	json_text_put(out, host_of(e), strlen(host_of(e)));
	(void)fprintf(out,
	    ", \"Starttime\": %.3f, \"JobRuntime\": %.3f, \"Send\": 0, "
	    "\"Receive\": %" PRIu64 ", \"Exitval\": %d, \"Signal\": %d, \"Command\": ",
	    (double)result->start_time_ns / 1e9, (double)result->runtime_ns / 1e9, result->output_bytes,
	    exitval, signal);
	json_text_put(out, e->command, strlen(e->command));
	(void)fputs(", \"V\": [", out);
	for (size_t i = 0; i < e->nargs; i++) {
		if (i > 0)
			(void)fputs(", ", out);
		json_text_put(out, e->args[i], strlen(e->args[i]));
	}
	(void)fputs("], \"Stdout\": \"", out);
}

void
results_row_begin(FILE *out, struct results_row *r, const struct knee_event *e)
{
	const struct knee_result *result = e->result;
	char s = separator(r);
	int exitval, signal;

	r->stream = KNEE_STDOUT;
	r->filled = false;
	r->nrest = 0;
	joblog_line_status(result, &exitval, &signal);
	if (r->format == RESULTS_JSON) {
		begin_json(out, e, exitval, signal);
		return;
	}
	(void)fprintf(out, "%" PRIu64 "%c", e->seq, s);
	put_value(out, host_of(e));
	(void)fprintf(out, "%c%.3f%c%.3f%c0%c%" PRIu64 "%c%d%c%d%c", s, (double)result->start_time_ns / 1e9,
	    s, (double)result->runtime_ns / 1e9, s, s, result->output_bytes, s, exitval, s, signal, s);
	put_value(out, e->command);
	(void)putc(s, out);
	put_inputs(out, r, e);
}

/* A piece of a column of JSON; a character may be in several of them. */
static void
put_json(FILE *out, struct results_row *r, const char *data, size_t n)
{
	char both[2 * sizeof(r->rest)];
	size_t more = n < sizeof(r->rest) ? n : sizeof(r->rest);
	size_t taken = 0;

	if (r->nrest > 0) {
		memcpy(both, r->rest, r->nrest);
		memcpy(both + r->nrest, data, more);
		taken = json_text_part(out, both, r->nrest + more, false);
		if (more == n) {
			r->nrest += more - taken;
			memcpy(r->rest, both + taken, r->nrest);
			return;
		}
		/* All of the rest was taken: a character has no more bytes than were added. */
		taken -= r->nrest;
		r->nrest = 0;
	}
	taken += json_text_part(out, data + taken, n - taken, false);
	r->nrest = n - taken;
	memcpy(r->rest, data + taken, r->nrest);
}

static void
column_end(FILE *out, struct results_row *r)
{
	if (r->format == RESULTS_JSON)
		(void)json_text_part(out, r->rest, r->nrest, true);
	if (r->format == RESULTS_JSON || r->filled)
		(void)putc('"', out);
	r->filled = false;
	r->nrest = 0;
}

/* From stdout to stderr. */
static void
column_next(FILE *out, struct results_row *r)
{
	column_end(out, r);
	if (r->format == RESULTS_JSON)
		(void)fputs(", \"Stderr\": \"", out);
	else
		(void)putc(separator(r), out);
	r->stream = KNEE_STDERR;
}

void
results_row_put(FILE *out, struct results_row *r, const struct knee_event *e)
{
	if (e->stream != r->stream)
		column_next(out, r);
	if (r->format == RESULTS_JSON) {
		put_json(out, r, e->data, e->size);
		return;
	}
	if (!r->filled)
		(void)putc('"', out);
	r->filled = true;
	put_quoted(out, e->data, e->size);
}

void
results_row_end(FILE *out, struct results_row *r)
{
	if (r->stream == KNEE_STDOUT)
		column_next(out, r);
	column_end(out, r);
	(void)fputs(r->format == RESULTS_JSON ? "}\n" : "\n", out);
}

/* ---- the rows of an earlier run --------------------------------------------------- */

struct look {
	bool quoted, head; /* head: within the first line */
	size_t columns;    /* of it */
	off_t end;         /* behind the last whole row */
};

static void
look_at(struct look *l, const struct results_row *r, const char *data, size_t n, off_t offset)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '"' && r->format != RESULTS_JSON) {
			l->quoted = !l->quoted;
		} else if (data[i] == '\n' && !l->quoted) {
			l->end = offset + (off_t)i + 1;
			l->head = false;
		} else if (data[i] == separator(r) && !l->quoted && l->head) {
			l->columns++;
		}
	}
}

int
results_rows_look(int fd, struct results_row *r, off_t *ret_end)
{
	const char *begin = r->format == RESULTS_JSON ? "{\"Seq\":" :
	    r->format == RESULTS_TSV                  ? "Seq\t" :
							"Seq,";
	struct look l = { .head = true, .columns = 1 };
	char data[16384];
	off_t offset = 0;
	ssize_t n;

	while ((n = pread(fd, data, sizeof(data), offset)) > 0) {
		/* An unfinished first line is nothing yet, but it has to be one of ours. */
		size_t head = strlen(begin) < (size_t)n ? strlen(begin) : (size_t)n;

		if (offset == 0 && memcmp(data, begin, head) != 0)
			return -EINVAL;
		look_at(&l, r, data, (size_t)n, offset);
		offset += n;
	}
	if (n < 0)
		return -errno;
	if (l.end > 0 && r->format != RESULTS_JSON) {
		if (l.columns < NCOLUMNS + LAST_COLUMNS)
			return -EINVAL;
		r->width = l.columns - NCOLUMNS - LAST_COLUMNS;
	}
	*ret_end = l.end;
	return 0;
}

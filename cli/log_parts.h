/* SPDX-License-Identifier: MIT */
/*
 * The rooms of knee log.
 *
 *	argv --> log_options.c --> log.c: rows of the library --> log_columns.c: cells
 *	    --> log_print.c: a table, TSV, CSV or JSON
 */
#ifndef CLI_LOG_PARTS_H
#define CLI_LOG_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"

/* ---- log_options.c -------------------------------------------------------- */

enum log_format { LOG_TABLE, LOG_TSV, LOG_CSV, LOG_JSON };
enum log_what { LOG_TASKS, LOG_TOTALS, LOG_RUNS, LOG_STEPS, LOG_OUTPUT };

struct log_options {
	const char *journal;
	enum log_what what;
	enum log_format format;
	struct knee_log_filter filter;
	uint64_t output_seq;        /* --output */
	bool help;
};

/* argv without "knee log". 0, or -EINVAL after say(). Strings are borrowed from argv. */
int log_options_parse(struct log_options *ret, int argc, char **argv);
void log_help(FILE *out);

/* ---- log_time.c ------------------------------------------------------------ */

/* A moment as people write it: "2026-11-24", "2026-11-24 04:08:16.5", with Z or +01:00 behind it, "16:30"
 * (today), "2h ago" or "2h", "@1795493586". Local time when it names no zone. -EINVAL: not of these
 * forms, or no such moment. */
int log_time_parse(const char *s, int64_t now_ns, int64_t *ret_ns);

/* ---- log_columns.c: what of a row is shown, and how it is called ---------- */

enum log_type {
	LOG_TEXT,
	LOG_COUNT,
	LOG_NANOSECONDS,            /* a length; shown in seconds */
	LOG_BYTES,
	LOG_MOMENT,                 /* nanoseconds since the Epoch */
	LOG_FRACTION,
};

struct log_cell {
	bool known;
	int64_t number;             /* COUNT, NANOSECONDS, BYTES, MOMENT */
	double real;                /* FRACTION */
	const char *text;           /* TEXT; borrowed from the row or static */
};

/*
 * name: of the CSV column and the JSON member; NULL: in the table alone. title: of the table's column;
 * NULL: not in the table. keep: when a terminal is too narrow columns go by this, the lowest first; 0
 * stays.
 */
struct log_column {
	const char *name, *title;
	enum log_type type;
	int keep;
	bool left;                  /* in the table: words stand left, numbers right */
	bool of_attempts;           /* in the table only when its rows are attempts */
};

enum { LOG_COLUMNS_MAX = 40 };

struct log_view {
	const struct log_column *columns;
	size_t n;
	bool attempts;
};

struct log_view log_view_tasks(bool attempts);
struct log_view log_view_runs(void);
struct log_view log_view_steps(void);
struct log_view log_view_totals(void);

/* "exited", "timed-out", ... */
const char *log_outcome_name(enum knee_outcome outcome);

/* Room for a text that a row does not have as such. */
struct log_scratch {
	char end[24];
};

/* The cells of a row, as many as the view has columns. They live as long as row and scratch. */
void log_cells_task(const struct knee_log_task *t, struct log_scratch *scratch, struct log_cell *ret);
void log_cells_run(const struct knee_log_run *r, struct log_cell *ret);
void log_cells_step(const struct knee_log_step *s, struct log_cell *ret);
void log_cells_totals(const struct knee_log_totals *t, struct log_cell *ret);

/* ---- log_format.c: numbers and texts --------------------------------------- */

enum { LOG_CELL_BYTES = 64 };

/* For people: "1.23s", "3.9M", "2026-11-24 04:08:16". */
void log_put_seconds(char ret[LOG_CELL_BYTES], int64_t ns);
void log_put_bytes(char ret[LOG_CELL_BYTES], int64_t bytes);
void log_put_moment(char ret[LOG_CELL_BYTES], int64_t ns);
/* For programs: RFC 3339 in local time, to the microsecond. */
void log_put_rfc3339(char ret[LOG_CELL_BYTES], int64_t ns);

/* ---- log_print.c ----------------------------------------------------------- */

struct log_print;

/* To standard output. 0 or -errno after say(). */
int log_print_new(enum log_format format, const struct log_view *view, struct log_print **ret);
/* What was put is written. Takes NULL. */
void log_print_free(struct log_print *p);
int log_print_row(struct log_print *p, const struct log_cell *cells);
/* All rows are there. */
int log_print_end(struct log_print *p);
/* A line of a job log; its first line, without a task. */
void log_joblog_head(void);
void log_joblog_row(const struct knee_log_task *t);
/* The sums in words. filtered: of some tasks; attempts: the rows are attempts. */
void log_print_totals(const struct knee_log_totals *t, bool filtered, bool attempts);
/* 0, or -errno when standard output took not all of it: -EPIPE in silence, the rest after say(). */
int log_printed(void);

#endif

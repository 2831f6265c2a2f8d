/* SPDX-License-Identifier: MIT */
/*
 * knee log: what a journal has, for people and for programs.
 *
 *	knee log [OPTION]... JOURNAL
 *
 * All of it comes from the library, which looks at the journal without a trace; here it is asked for
 * and printed. No process is started, so no keeper is needed.
 */
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "log_parts.h"

#define MESSAGE_BYTES 2048

/* Which rows there are, and how to get the cells of the next one: 1, 0 at the end, -errno. */
struct rows {
	struct log_view view;
	int (*next)(knee_log *l, struct log_scratch *scratch, struct log_cell *ret);
};

static int
task_next(knee_log *l, struct log_scratch *scratch, struct log_cell *ret)
{
	struct knee_log_task task;
	int got = knee_log_next_task(l, &task);

	if (got > 0)
		log_cells_task(&task, scratch, ret);
	return got;
}

static int
run_next(knee_log *l, struct log_scratch *scratch, struct log_cell *ret)
{
	struct knee_log_run run;
	int got = knee_log_next_run(l, &run);

	(void)scratch;
	if (got > 0)
		log_cells_run(&run, ret);
	return got;
}

static int
step_next(knee_log *l, struct log_scratch *scratch, struct log_cell *ret)
{
	struct knee_log_step step;
	int got = knee_log_next_step(l, &step);

	(void)scratch;
	if (got > 0)
		log_cells_step(&step, ret);
	return got;
}

/* What the library has to say about the last call. */
static int
failed(const knee_log *l, int err)
{
	return say_error(-err, "%s", knee_log_error(l));
}

static int
rows_print(const struct log_options *o, knee_log *l, const struct rows *rows)
{
	struct log_cell cells[LOG_COLUMNS_MAX];
	struct log_scratch scratch;
	struct log_print *print = NULL;
	int err = log_print_new(o->format, &rows->view, &print), got = 1;

	while (err == 0 && (got = rows->next(l, &scratch, cells)) > 0)
		err = log_print_row(print, cells);
	/* What was read before an error is shown all the same. */
	if (err == 0)
		err = log_print_end(print);
	if (err == 0 && got < 0)
		err = failed(l, got);
	log_print_free(print);
	return err;
}

static bool
is_filtered(const struct knee_log_filter *f)
{
	return f->states != 0 || f->host != NULL || f->since_time_ns != 0 || f->until_time_ns != 0 ||
	    f->seq_first != 0 || f->seq_last != 0;
}

static int
totals_print(const struct log_options *o, knee_log *l)
{
	struct log_view view = log_view_totals();
	struct log_cell cells[LOG_COLUMNS_MAX];
	struct knee_log_totals totals = { 0 };
	struct log_print *print = NULL;
	int err = knee_log_get_totals(l, &totals);

	if (err < 0)
		return failed(l, err);
	if (o->format == LOG_TABLE) {
		/* Behind rows they stand apart. */
		if (o->what == LOG_TASKS && totals.tasks > 0)
			putchar('\n');
		log_print_totals(&totals, is_filtered(&o->filter), o->filter.attempts != 0);
		return log_printed();
	}
	err = log_print_new(o->format, &view, &print);
	if (err < 0)
		return err;
	log_cells_totals(&totals, cells);
	err = log_print_row(print, cells);
	if (err == 0)
		err = log_print_end(print);
	log_print_free(print);
	return err;
}

/* A job log: tasks that have ended, since a row is what says so. */
static int
joblog_print(knee_log *l)
{
	struct knee_log_task task;
	uint64_t rows = 0;
	int got, err = 0;

	log_joblog_head();
	while (err == 0 && (got = knee_log_next_task(l, &task)) != 0) {
		if (got < 0) {
			err = failed(l, got);
			break;
		}
		if (task.state != KNEE_LOG_SUCCEEDED && task.state != KNEE_LOG_FAILED)
			continue;
		log_joblog_row(&task);
		if (++rows % 256 == 0)
			err = log_printed();
	}
	return err < 0 ? err : log_printed();
}

static int
tasks_print(const struct log_options *o, knee_log *l)
{
	struct rows rows = { log_view_tasks(o->filter.attempts != 0), task_next };
	int err;

	if (o->format == LOG_TSV)
		return joblog_print(l);
	err = rows_print(o, l, &rows);
	if (err < 0 || o->format != LOG_TABLE)
		return err;
	return totals_print(o, l);
}

/* To where the task wrote it. */
static int
output_write(enum knee_stream stream, const char *data, size_t size)
{
	int fd = stream == KNEE_STDERR ? STDERR_FILENO : STDOUT_FILENO;

	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE)
			return -EPIPE;
		if (n < 0)
			return say_error(errno, "standard %s: %s", stream == KNEE_STDERR ? "error" : "output",
			    strerror(errno));
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int
output_print(knee_log *l, uint64_t seq)
{
	int got = 1, err = 0;

	for (uint64_t n = 0; err == 0; n++) {
		enum knee_stream stream;
		const char *data;
		size_t size;

		got = knee_log_output(l, seq, n, &stream, &data, &size);
		if (got <= 0)
			break;
		err = output_write(stream, data, size);
	}
	return got < 0 ? failed(l, got) : err;
}

static int
what_print(const struct log_options *o, knee_log *l)
{
	switch (o->what) {
	case LOG_TASKS:
		return tasks_print(o, l);
	case LOG_TOTALS:
		return totals_print(o, l);
	case LOG_RUNS:
		return rows_print(o, l, &(struct rows){ log_view_runs(), run_next });
	case LOG_STEPS:
		return rows_print(o, l, &(struct rows){ log_view_steps(), step_next });
	case LOG_OUTPUT:
		return output_print(l, o->output_seq);
	}
	return 0;
}

/* The reader is gone: end as every filter does. */
static void
die_of_pipe(void)
{
	(void)signal(SIGPIPE, SIG_DFL);
	(void)raise(SIGPIPE);
}

int
log_main(int argc, char **argv)
{
	char message[MESSAGE_BYTES] = "";
	struct log_options o;
	knee_log *l = NULL;
	int err;

	if (log_options_parse(&o, argc - 1, argv + 1) < 0)
		return EXIT_TROUBLE;
	if (o.help) {
		log_help(stdout);
		return log_printed() < 0 ? EXIT_TROUBLE : 0;
	}
	err = knee_log_open(o.journal, &l, message, sizeof(message));
	if (err < 0) {
		say("%s", message);
		return EXIT_TROUBLE;
	}
	err = knee_log_select(l, &o.filter);
	if (err < 0)
		(void)failed(l, err);
	else
		err = what_print(&o, l);
	knee_log_free(l);
	if (err == -EPIPE)
		die_of_pipe();
	return err < 0 ? EXIT_TROUBLE : 0;
}

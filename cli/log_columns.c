/* SPDX-License-Identifier: MIT */
/*
 * What of a task, a run, a step or the sums is shown, and under which name. In the table is what
 * people look for; CSV and JSON have all. Their names are for good: programs read them.
 */
#include <assert.h>
#include <string.h>

#include "log_parts.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

/* ---- tasks ------------------------------------------------------------------- */

static const struct log_column task_columns[] = {
	{ .name = "seq", .title = "SEQ", .type = LOG_COUNT },
	{ .name = "attempt", .title = "TRY", .type = LOG_COUNT, .keep = 8, .of_attempts = true },
	{ .name = "state", .title = "STATE", .type = LOG_TEXT, .keep = 7, .left = true },
	{ .name = "host", .title = "HOST", .type = LOG_TEXT, .keep = 1, .left = true },
	{ .name = "run", .type = LOG_COUNT },
	{ .name = "slot", .type = LOG_COUNT },
	{ .name = "start", .title = "START", .type = LOG_MOMENT, .keep = 2, .left = true },
	{ .name = "runtime_s", .title = "TIME", .type = LOG_NANOSECONDS, .keep = 5 },
	{ .title = "CPU", .type = LOG_NANOSECONDS, .keep = 4 },
	{ .name = "cpu_user_s", .type = LOG_NANOSECONDS },
	{ .name = "cpu_system_s", .type = LOG_NANOSECONDS },
	{ .name = "memory_bytes", .title = "MEMORY", .type = LOG_BYTES, .keep = 3 },
	{ .name = "read_bytes", .type = LOG_BYTES },
	{ .name = "written_bytes", .type = LOG_BYTES },
	{ .name = "io_bytes", .type = LOG_BYTES },
	{ .name = "output_bytes", .type = LOG_BYTES },
	{ .name = "waits", .type = LOG_COUNT },
	{ .name = "switches", .type = LOG_COUNT },
	{ .name = "delay_s", .type = LOG_NANOSECONDS },
	{ .name = "printed", .type = LOG_COUNT },
	{ .name = "outcome", .type = LOG_TEXT },
	{ .name = "exit", .type = LOG_COUNT },
	{ .name = "signal", .type = LOG_COUNT },
	{ .title = "EXIT", .type = LOG_TEXT, .keep = 6 },
	{ .name = "command", .title = "COMMAND", .type = LOG_TEXT, .left = true },
};

struct log_view
log_view_tasks(bool attempts)
{
	return (struct log_view){ task_columns, COUNT_OF(task_columns), attempts };
}

static const char *
state_name(enum knee_log_state state)
{
	switch (state) {
	case KNEE_LOG_SUCCEEDED:
		return "succeeded";
	case KNEE_LOG_FAILED:
		return "failed";
	case KNEE_LOG_RUNNING:
		return "running";
	case KNEE_LOG_INTERRUPTED:
		break;
	}
	return "interrupted";
}

const char *
log_outcome_name(enum knee_outcome outcome)
{
	static const char *const names[] = {
		[KNEE_EXITED] = "exited",
		[KNEE_SIGNALED] = "signaled",
		[KNEE_TIMED_OUT] = "timed-out",
		[KNEE_CANCELLED] = "cancelled",
		[KNEE_NOT_STARTED] = "not-started",
		[KNEE_SKIPPED] = "skipped",
	};
	_Static_assert(COUNT_OF(names) == KNEE_OUTCOMES, "a name for each outcome");

	return names[outcome];
}

/* True when a signal ended it. */
static bool
by_signal(const struct knee_result *r)
{
	return r->outcome == KNEE_SIGNALED || r->outcome == KNEE_TIMED_OUT || r->outcome == KNEE_CANCELLED;
}

/* How it ended, in a word. */
static const char *
end_put(const struct knee_result *r, struct log_scratch *scratch)
{
	const char *signal = by_signal(r) ? sigabbrev_np(r->status) : NULL;

	if (r->outcome == KNEE_SKIPPED)
		return "skipped";
	if (r->outcome == KNEE_TIMED_OUT)
		return "timeout";
	if (signal != NULL)
		return signal;
	(void)snprintf(scratch->end, sizeof(scratch->end), by_signal(r) ? "signal %d" : "%d", r->status);
	return scratch->end;
}

/* ---- cells --------------------------------------------------------------------- */

/* Cells in the order of their columns; each of these puts the next one. */
struct filling {
	struct log_cell *next;
};

static void
put_number(struct filling *f, int64_t n, bool known)
{
	*f->next++ = (struct log_cell){ .known = known, .number = n };
}

static void
put_count(struct filling *f, uint64_t n, bool known)
{
	put_number(f, n < INT64_MAX ? (int64_t)n : INT64_MAX, known);
}

static void
put_text(struct filling *f, const char *text)
{
	*f->next++ = (struct log_cell){ .known = text[0] != '\0', .text = text };
}

/* Below 0 stands for what is not known. */
static void
put_fraction(struct filling *f, double x)
{
	*f->next++ = (struct log_cell){ .known = x >= 0, .real = x };
}

static void
put_used(struct filling *f, const struct knee_result *r, bool ended)
{
	put_number(f, r->runtime_ns, ended);
	put_number(f, r->cpu_user_ns + r->cpu_sys_ns, ended);
	put_number(f, r->cpu_user_ns, ended);
	put_number(f, r->cpu_sys_ns, ended);
	put_number(f, r->peak_rss_bytes, ended);
	put_count(f, r->disk_read_bytes, ended);
	put_count(f, r->disk_written_bytes, ended);
	put_count(f, r->io_bytes, ended && r->io_bytes > 0);
	put_count(f, r->output_bytes, ended);
	put_count(f, r->waits, ended);
	put_count(f, r->switches, ended);
	put_number(f, r->delay_ns, ended && r->delay_ns > 0);
}

void
log_cells_task(const struct knee_log_task *t, struct log_scratch *scratch, struct log_cell *ret)
{
	const struct knee_result *r = &t->result;
	struct filling f = { ret };
	bool ended = t->ended != 0;

	put_count(&f, t->seq, true);
	put_count(&f, r->attempt, true);
	put_text(&f, state_name(t->state));
	put_text(&f, t->host);
	put_count(&f, t->run, t->run > 0);
	put_count(&f, t->slot, t->slot > 0);
	put_number(&f, r->start_time_ns, r->start_time_ns > 0);
	put_used(&f, r, ended);
	put_count(&f, t->printed != 0, true);
	put_text(&f, ended ? log_outcome_name(r->outcome) : "");
	put_number(&f, r->status, ended && !by_signal(r) && r->outcome != KNEE_SKIPPED);
	put_number(&f, r->status, ended && by_signal(r));
	put_text(&f, ended ? end_put(r, scratch) : "");
	put_text(&f, t->command);
	assert((size_t)(f.next - ret) == COUNT_OF(task_columns));
}

/* ---- runs ------------------------------------------------------------------------ */

static const struct log_column run_columns[] = {
	{ .name = "run", .title = "RUN", .type = LOG_COUNT },
	{ .name = "state", .title = "STATE", .type = LOG_TEXT, .keep = 12, .left = true },
	{ .name = "begin", .title = "BEGIN", .type = LOG_MOMENT, .keep = 11, .left = true },
	{ .name = "end", .title = "END", .type = LOG_MOMENT, .keep = 9, .left = true },
	{ .name = "host", .title = "HOST", .type = LOG_TEXT, .keep = 8, .left = true },
	{ .name = "pid", .title = "PID", .type = LOG_COUNT, .keep = 7 },
	{ .name = "status", .title = "STATUS", .type = LOG_COUNT, .keep = 10 },
	{ .name = "inputs", .title = "INPUTS", .type = LOG_COUNT, .keep = 5 },
	{ .name = "tasks", .title = "TASKS", .type = LOG_COUNT, .keep = 4 },
	{ .name = "succeeded", .type = LOG_COUNT },
	{ .name = "failed", .title = "FAILED", .type = LOG_COUNT, .keep = 6 },
	{ .name = "attempts", .title = "ATTEMPTS", .type = LOG_COUNT, .keep = 3 },
	{ .name = "retried", .type = LOG_COUNT },
	{ .name = "cancelled", .type = LOG_COUNT },
	{ .name = "runtime_s", .title = "TIME", .type = LOG_NANOSECONDS, .keep = 1 },
	{ .name = "cpu_s", .title = "CPU", .type = LOG_NANOSECONDS, .keep = 2 },
	{ .name = "version", .type = LOG_TEXT },
	{ .name = "directory", .type = LOG_TEXT },
	{ .name = "arguments", .type = LOG_TEXT },
	{ .name = "command", .title = "COMMAND", .type = LOG_TEXT, .left = true },
};

struct log_view
log_view_runs(void)
{
	return (struct log_view){ run_columns, COUNT_OF(run_columns), false };
}

void
log_cells_run(const struct knee_log_run *r, struct log_cell *ret)
{
	struct filling f = { ret };

	put_count(&f, r->run, true);
	put_text(&f, r->ended ? "ended" : r->alive ? "running" : "died");
	put_number(&f, r->begin_time_ns, true);
	/* Of one that died: the last sign of life. */
	put_number(&f, r->end_time_ns, !r->alive);
	put_text(&f, r->host);
	put_number(&f, r->pid, true);
	put_number(&f, r->status, r->ended);
	put_number(&f, r->inputs, r->inputs >= 0);
	put_count(&f, r->tasks, true);
	put_count(&f, r->succeeded, true);
	put_count(&f, r->failed, true);
	put_count(&f, r->attempts, true);
	put_count(&f, r->retried, true);
	put_count(&f, r->cancelled, true);
	put_number(&f, r->runtime_ns, true);
	put_number(&f, r->cpu_ns, true);
	put_text(&f, r->version);
	put_text(&f, r->directory);
	put_text(&f, r->arguments);
	put_text(&f, r->command);
	assert((size_t)(f.next - ret) == COUNT_OF(run_columns));
}

/* ---- steps ------------------------------------------------------------------------ */

static const struct log_column step_columns[] = {
	{ .name = "run", .title = "RUN", .type = LOG_COUNT, .keep = 3 },
	{ .name = "time", .title = "TIME", .type = LOG_MOMENT, .keep = 4, .left = true },
	{ .name = "at_once", .title = "AT ONCE", .type = LOG_COUNT },
	{ .name = "running", .title = "RUNNING", .type = LOG_COUNT, .keep = 1 },
	{ .name = "done", .title = "DONE", .type = LOG_COUNT, .keep = 2 },
	{ .name = "cpu_busy", .type = LOG_FRACTION },
	{ .name = "busy", .type = LOG_FRACTION },
	{ .name = "throughput", .type = LOG_FRACTION },
	{ .name = "kind", .title = "KIND", .type = LOG_TEXT, .keep = 5, .left = true },
	{ .name = "resource", .type = LOG_TEXT },
	{ .name = "work", .title = "WORK", .type = LOG_TEXT, .keep = 6, .left = true },
	{ .name = "reason", .title = "REASON", .type = LOG_TEXT, .left = true },
};

struct log_view
log_view_steps(void)
{
	return (struct log_view){ step_columns, COUNT_OF(step_columns), false };
}

void
log_cells_step(const struct knee_log_step *s, struct log_cell *ret)
{
	struct filling f = { ret };

	put_count(&f, s->run, true);
	put_number(&f, s->time_ns, true);
	put_count(&f, s->at_once, true);
	put_count(&f, s->running, true);
	put_count(&f, s->done, true);
	put_fraction(&f, s->cpu_busy_frac);
	put_fraction(&f, s->busy_frac);
	put_fraction(&f, s->throughput_frac);
	put_text(&f, s->kind);
	put_text(&f, s->resource);
	put_text(&f, s->work);
	put_text(&f, s->reason);
	assert((size_t)(f.next - ret) == COUNT_OF(step_columns));
}

/* ---- sums -------------------------------------------------------------------------- */

static const struct log_column totals_columns[] = {
	{ .name = "tasks", .type = LOG_COUNT },
	{ .name = "succeeded", .type = LOG_COUNT },
	{ .name = "failed", .type = LOG_COUNT },
	{ .name = "running", .type = LOG_COUNT },
	{ .name = "interrupted", .type = LOG_COUNT },
	{ .name = "attempts", .type = LOG_COUNT },
	{ .name = "runs", .type = LOG_COUNT },
	{ .name = "begin", .type = LOG_MOMENT },
	{ .name = "end", .type = LOG_MOMENT },
	{ .name = "elapsed_s", .type = LOG_NANOSECONDS },
	{ .name = "runtime_s", .type = LOG_NANOSECONDS },
	{ .name = "cpu_s", .type = LOG_NANOSECONDS },
	{ .name = "memory_bytes", .type = LOG_BYTES },
	{ .name = "read_bytes", .type = LOG_BYTES },
	{ .name = "written_bytes", .type = LOG_BYTES },
	{ .name = "output_bytes", .type = LOG_BYTES },
};

struct log_view
log_view_totals(void)
{
	return (struct log_view){ totals_columns, COUNT_OF(totals_columns), false };
}

void
log_cells_totals(const struct knee_log_totals *t, struct log_cell *ret)
{
	struct filling f = { ret };

	put_count(&f, t->tasks, true);
	put_count(&f, t->succeeded, true);
	put_count(&f, t->failed, true);
	put_count(&f, t->running, true);
	put_count(&f, t->interrupted, true);
	put_count(&f, t->attempts, true);
	put_count(&f, t->runs, true);
	put_number(&f, t->begin_time_ns, t->begin_time_ns > 0);
	put_number(&f, t->end_time_ns, t->end_time_ns > 0);
	put_number(&f, t->elapsed_ns, t->elapsed_ns > 0);
	put_number(&f, t->runtime_ns, true);
	put_number(&f, t->cpu_ns, true);
	put_number(&f, t->peak_rss_bytes, true);
	put_count(&f, t->disk_read_bytes, true);
	put_count(&f, t->disk_written_bytes, true);
	put_count(&f, t->output_bytes, true);
	assert((size_t)(f.next - ret) == COUNT_OF(totals_columns));
}

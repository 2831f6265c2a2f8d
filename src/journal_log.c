/* SPDX-License-Identifier: MIT */
/*
 * knee_log_*: what a journal holds, as rows. The file is looked at by journal_look.c; here are the
 * questions, and what becomes of the answers. Each question begins behind the last row that was
 * handed out, so a row that is written meanwhile is in its place or too late, never twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "journal_look.h"
#include "sys/clock.h"

_Static_assert(KN_JOURNAL_STARTED == 0 && KN_JOURNAL_SUCCEEDED == 1 && KN_JOURNAL_FAILED == 2,
    "the statements below have these numbers");
_Static_assert(
    KNEE_LOG_SUCCEEDED == 1 && KNEE_LOG_FAILED == 2 && KNEE_LOG_RUNNING == 4 && KNEE_LOG_INTERRUPTED == 8,
    "and these");
_Static_assert(KNEE_EXITED == 0 && KNEE_CANCELLED == 3, "and these");

/* ---- questions ----------------------------------------------------------------------------------- */

/* The state of a task, and of any attempt. What was cancelled is to run again. */
#define STATE \
	"CASE t.state WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE" \
	" CASE WHEN a.run = ?9 AND a.outcome IS NOT 3 THEN 4 ELSE 8 END END"
#define STATE_OF_ATTEMPT \
	"CASE WHEN a.attempt = t.attempts THEN " STATE " WHEN a.outcome IS NULL OR a.outcome = 3 THEN 8" \
	" WHEN a.outcome = 0 AND a.status = 0 THEN 1 ELSE 2 END"

/* The first term needs no look at the attempt, which is most of the work. */
#define FROM_TASKS \
	" FROM task t LEFT JOIN attempt a ON a.seq = t.seq AND a.attempt = t.attempts" \
	" WHERE t.seq > ?1 AND t.seq <= ?3" \
	" AND (?4 & CASE t.state WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 12 END) <> 0" \
	" AND (?4 & " STATE ") <> 0" FILTERS
#define FROM_ATTEMPTS \
	" FROM task t CROSS JOIN attempt a ON a.seq = t.seq" \
	" WHERE t.seq >= ?1 AND (t.seq > ?1 OR a.attempt > ?2) AND t.seq <= ?3" \
	" AND (?4 & " STATE_OF_ATTEMPT ") <> 0" FILTERS
#define FILTERS \
	" AND (?5 IS NULL OR a.host = ?5) AND (?6 = 0 OR a.start_ns >= ?6) AND (?7 = 0 OR a.start_ns < ?7)"

#define ATTEMPT_COLUMNS \
	"a.run, a.host, a.slot, a.start_ns, a.runtime_ns, a.outcome, a.status, a.user_ns, a.system_ns," \
	" a.rss_bytes, a.io_bytes, a.read_bytes, a.written_bytes, a.waits, a.switches, a.delay_ns," \
	" a.output_bytes, a.out_at, a.out_bytes, a.err_at, a.err_bytes, a.command," \
	" a.host = (SELECT host FROM run WHERE run.run = a.run)"

static const char sql_tasks[] = "SELECT t.seq, t.attempts, t.attempts, " STATE
				", t.printed, " ATTEMPT_COLUMNS FROM_TASKS " ORDER BY t.seq";
static const char sql_attempts[] = "SELECT t.seq, a.attempt, t.attempts, " STATE_OF_ATTEMPT
				   ", t.printed, " ATTEMPT_COLUMNS FROM_ATTEMPTS " ORDER BY t.seq, a.attempt";

enum task_column {
	T_SEQ,
	T_ATTEMPT,
	T_ATTEMPTS,
	T_STATE,
	T_PRINTED,
	T_RUN,
	T_HOST,
	T_SLOT,
	T_START,
	T_RUNTIME,
	T_OUTCOME,
	T_STATUS,
	T_USER,
	T_SYSTEM,
	T_RSS,
	T_IO,
	T_READ,
	T_WRITTEN,
	T_WAITS,
	T_SWITCHES,
	T_DELAY,
	T_OUTPUT,
	T_OUT_AT,
	T_OUT_BYTES,
	T_ERR_AT,
	T_ERR_BYTES,
	T_COMMAND,
	T_LOCAL,
};

/* The end of a run, or the last second of which it wrote something. */
#define RUNS_WITH_LAST \
	"(SELECT run.*, max(begin_ns, coalesce(end_ns, seen_ns, begin_ns)) AS last_ns FROM run" \
	" LEFT JOIN (SELECT run AS of, max(at_ns) AS seen_ns FROM sample GROUP BY run) ON of = run.run) r" \
	" LEFT JOIN progress p ON p.run = r.run"

static const char sql_runs[] =
    "SELECT r.run, r.run = ifnull(?9, 0), r.end_ns IS NOT NULL, r.begin_ns, r.last_ns, r.status, r.pid,"
    " r.inputs, p.tasks, p.succeeded, p.failed, p.attempts, p.retried, p.cancelled, p.runtime_ns,"
    " p.user_ns + p.system_ns, r.host, r.version, r.directory, r.command, r.arguments"
    " FROM " RUNS_WITH_LAST " WHERE r.run > ?1 ORDER BY r.run";

enum run_column {
	R_RUN,
	R_ALIVE,
	R_ENDED,
	R_BEGIN,
	R_LAST,
	R_STATUS,
	R_PID,
	R_INPUTS,
	R_TASKS,
	R_SUCCEEDED,
	R_FAILED,
	R_ATTEMPTS,
	R_RETRIED,
	R_CANCELLED,
	R_RUNTIME,
	R_CPU,
	R_HOST,
	R_VERSION,
	R_DIRECTORY,
	R_COMMAND,
	R_ARGUMENTS,
};

static const char sql_steps[] = "SELECT rowid, run, at_ns, at_once, running, done, cpu_busy, busy, "
				"throughput, work, resource, kind, reason"
				" FROM step WHERE rowid > ?1 ORDER BY rowid";

enum step_column {
	S_ROW,
	S_RUN,
	S_AT,
	S_AT_ONCE,
	S_RUNNING,
	S_DONE,
	S_CPU_BUSY,
	S_BUSY,
	S_THROUGHPUT,
	S_WORK,
	S_RESOURCE,
	S_KIND,
	S_REASON,
};

/* Of all: from the sums that every commit brings up to date. Who runs now is in no sum. */
static const char sql_totals[] =
    "SELECT (SELECT tasks FROM progress ORDER BY run DESC LIMIT 1),"
    " (SELECT succeeded FROM progress ORDER BY run DESC LIMIT 1),"
    " (SELECT failed FROM progress ORDER BY run DESC LIMIT 1),"
    " CASE WHEN ?9 IS NULL THEN 0 ELSE (SELECT count(*) FROM task t CROSS JOIN attempt a"
    "  ON a.seq = t.seq AND a.attempt = t.attempts"
    "  WHERE t.state = 0 AND a.run = ?9 AND a.outcome IS NOT 3) END,"
    " NULL, sum(p.attempts), sum(p.runtime_ns), sum(p.user_ns + p.system_ns), sum(p.read_bytes),"
    " sum(p.written_bytes), sum(p.output_bytes), max(p.rss_bytes), min(r.begin_ns), max(r.last_ns),"
    " count(*), sum(r.last_ns - r.begin_ns), ?9 IS NOT NULL FROM " RUNS_WITH_LAST;

/* Of some: by looking at each. */
#define SUMS(state, from) \
	"SELECT count(*), sum(s = 1), sum(s = 2), sum(s = 4), sum(s = 8), sum(outcome IS NOT NULL)," \
	" sum(runtime_ns), sum(user_ns + system_ns), sum(read_bytes), sum(written_bytes), " \
	"sum(output_bytes)," \
	" max(rss_bytes), min(start_ns), max(start_ns + ifnull(runtime_ns, 0))," \
	" (SELECT count(*) FROM run), 0, ?9 IS NOT NULL" \
	" FROM (SELECT " state " AS s, a.*" from ")"
static const char sql_totals_of_tasks[] = SUMS(STATE, FROM_TASKS);
static const char sql_totals_of_attempts[] = SUMS(STATE_OF_ATTEMPT, FROM_ATTEMPTS);

enum totals_column {
	C_TASKS,
	C_SUCCEEDED,
	C_FAILED,
	C_RUNNING,
	C_INTERRUPTED,
	C_ATTEMPTS,
	C_RUNTIME,
	C_CPU,
	C_READ,
	C_WRITTEN,
	C_OUTPUT,
	C_RSS,
	C_BEGIN,
	C_END,
	C_RUNS,
	C_ELAPSED,
	C_ALIVE,
};

static const char sql_output[] = "SELECT n, stream, data FROM output WHERE seq = ?1 AND n >= ?2 ORDER BY n";
static const char sql_task[] =
    "SELECT t.state, t.printed, a.out_at, a.out_bytes, a.err_at, a.err_bytes FROM task t"
    " LEFT JOIN attempt a ON a.seq = t.seq AND a.attempt = t.attempts WHERE t.seq = ?1";

enum { O_N, O_STREAM, O_DATA };
enum { W_STATE, W_PRINTED, W_OUT_AT, W_OUT_BYTES, W_ERR_AT, W_ERR_BYTES };

/* ---- cursors --------------------------------------------------------------------------------------- */

/* Rows that were read; at is the next to be handed out. {0}: none yet. */
struct cursor {
	struct kn_look_rows rows;
	size_t at;
	bool end; /* there are none behind these */
};

struct knee_log {
	struct kn_look *look;
	struct knee_log_filter filter; /* host is owned */
	struct cursor tasks, runs, steps, output;
	int64_t seq, attempt, run, step; /* of the last row that was handed out */
	uint64_t output_seq, output_n;   /* whose pieces output has, and the first one's number */
};

/* A row in c->rows at c->at: 1, 0 at the end, -errno. The values are those of the question behind the
 * last row. */
static int
cursor_fill(
    struct knee_log *l, struct cursor *c, const char *sql, const struct kn_look_value *values, size_t n)
{
	int err;

	if (c->at < c->rows.nrows)
		return 1;
	if (c->end)
		return 0;
	err = kn_look(l->look, sql, values, n, &c->rows);
	if (err < 0)
		return err;
	c->at = 0;
	c->end = !c->rows.more;
	return c->rows.nrows > 0;
}

static void
cursor_rewind(struct cursor *c)
{
	c->at = c->rows.nrows = 0;
	c->end = false;
}

/* One row of numbers, of which the cursor is the room. */
static int
row_get(struct knee_log *l, struct cursor *c, const char *sql, const struct kn_look_value *values, size_t n)
{
	cursor_rewind(c);
	return cursor_fill(l, c, sql, values, n);
}

/* The cell of the row in hand; what is not known is 0, "" or -1. */
static int64_t
number(const struct cursor *c, size_t column)
{
	return kn_look_number(&c->rows, c->at, column, 0);
}

static uint64_t
count(const struct cursor *c, size_t column)
{
	int64_t n = number(c, column);

	return n > 0 ? (uint64_t)n : 0;
}

static unsigned
small(const struct cursor *c, size_t column)
{
	uint64_t n = count(c, column);

	return n < UINT_MAX ? (unsigned)n : UINT_MAX;
}

static const char *
text(const struct cursor *c, size_t column)
{
	return kn_look_text(&c->rows, c->at, column);
}

static int64_t
number_or_none(const struct cursor *c, size_t column)
{
	return kn_look_number(&c->rows, c->at, column, -1);
}

static double
frac(const struct cursor *c, size_t column)
{
	return kn_look_real(&c->rows, c->at, column, -1);
}

/* ---- tasks ------------------------------------------------------------------------------------------ */

enum { FILTER_VALUES = 7 };

static void
filter_values(const struct knee_log *l, int64_t seq, int64_t attempt, struct kn_look_value ret[FILTER_VALUES])
{
	const struct knee_log_filter *f = &l->filter;
	uint64_t last = f->seq_last > 0 && f->seq_last < INT64_MAX ? f->seq_last : INT64_MAX;

	ret[0] = (struct kn_look_value){ .number = seq };
	ret[1] = (struct kn_look_value){ .number = attempt };
	ret[2] = (struct kn_look_value){ .number = (int64_t)last };
	ret[3] = (struct kn_look_value){ .number = f->states != 0 ? f->states : INT64_MAX };
	ret[4] = (struct kn_look_value){ .text = f->host, .null = f->host == NULL };
	ret[5] = (struct kn_look_value){ .number = f->since_time_ns };
	ret[6] = (struct kn_look_value){ .number = f->until_time_ns };
}

/* The place before the first task that is selected. */
static int64_t
seq_before(const struct knee_log_filter *f)
{
	if (f->seq_first == 0)
		return 0;
	return f->seq_first - 1 < INT64_MAX ? (int64_t)(f->seq_first - 1) : INT64_MAX;
}

int
knee_log_select(knee_log *l, const struct knee_log_filter *filter)
{
	struct knee_log_filter f = filter != NULL ? *filter : (struct knee_log_filter){ 0 };
	char *host = NULL;

	if (f.host != NULL) {
		host = strdup(f.host);
		if (host == NULL)
			return kn_look_fail(l->look, -ENOMEM, "%s", strerror(ENOMEM));
	}
	free((char *)(uintptr_t)l->filter.host);
	l->filter = f;
	l->filter.host = host;
	l->seq = seq_before(&f);
	l->attempt = INT64_MAX;
	cursor_rewind(&l->tasks);
	return 0;
}

static enum knee_log_state
state_of(const struct cursor *c, size_t column)
{
	switch (number(c, column)) {
	case KNEE_LOG_SUCCEEDED:
		return KNEE_LOG_SUCCEEDED;
	case KNEE_LOG_FAILED:
		return KNEE_LOG_FAILED;
	case KNEE_LOG_RUNNING:
		return KNEE_LOG_RUNNING;
	default:
		return KNEE_LOG_INTERRUPTED;
	}
}

static void
result_fill(const struct cursor *c, struct knee_result *ret)
{
	int64_t outcome = number_or_none(c, T_OUTCOME);

	*ret = (struct knee_result){
		.outcome =
		    outcome >= 0 && outcome < KNEE_OUTCOMES ? (enum knee_outcome)outcome : KNEE_CANCELLED,
		.status = (int)number(c, T_STATUS),
		.attempt = small(c, T_ATTEMPT),
		.start_time_ns = number(c, T_START),
		.runtime_ns = number(c, T_RUNTIME),
		.cpu_user_ns = number(c, T_USER),
		.cpu_sys_ns = number(c, T_SYSTEM),
		.peak_rss_bytes = number(c, T_RSS),
		.disk_read_bytes = count(c, T_READ),
		.disk_written_bytes = count(c, T_WRITTEN),
		.waits = count(c, T_WAITS),
		.switches = count(c, T_SWITCHES),
		.output_bytes = count(c, T_OUTPUT),
		.io_bytes = count(c, T_IO),
		.delay_ns = number(c, T_DELAY),
	};
}

int
knee_log_next_task(knee_log *l, struct knee_log_task *ret)
{
	struct kn_look_value values[FILTER_VALUES];
	struct cursor *c = &l->tasks;
	int got;

	filter_values(l, l->seq, l->attempt, values);
	got = cursor_fill(l, c, l->filter.attempts ? sql_attempts : sql_tasks, values, FILTER_VALUES);
	if (got <= 0)
		return got;
	*ret = (struct knee_log_task){
		.seq = count(c, T_SEQ),
		.attempts = small(c, T_ATTEMPTS),
		.state = state_of(c, T_STATE),
		.ended = number_or_none(c, T_OUTCOME) >= 0,
		.printed = number(c, T_PRINTED) != 0,
		.run = count(c, T_RUN),
		.slot = small(c, T_SLOT),
		.local = number(c, T_LOCAL) != 0,
		.host = text(c, T_HOST),
		.command = text(c, T_COMMAND),
		.out_at = number_or_none(c, T_OUT_AT),
		.err_at = number_or_none(c, T_ERR_AT),
		.out_bytes = count(c, T_OUT_BYTES),
		.err_bytes = count(c, T_ERR_BYTES),
	};
	result_fill(c, &ret->result);
	l->seq = number(c, T_SEQ);
	l->attempt = number(c, T_ATTEMPT);
	c->at++;
	return 1;
}

/* ---- runs and steps ----------------------------------------------------------------------------------- */

int
knee_log_next_run(knee_log *l, struct knee_log_run *ret)
{
	struct cursor *c = &l->runs;
	int got = cursor_fill(l, c, sql_runs, &(struct kn_look_value){ .number = l->run }, 1);

	if (got <= 0)
		return got;
	*ret = (struct knee_log_run){
		.run = count(c, R_RUN),
		.alive = number(c, R_ALIVE) != 0,
		.ended = number(c, R_ENDED) != 0,
		.begin_time_ns = number(c, R_BEGIN),
		.end_time_ns = number(c, R_LAST),
		.status = (int)number(c, R_STATUS),
		.pid = number(c, R_PID),
		.inputs = number_or_none(c, R_INPUTS),
		.tasks = count(c, R_TASKS),
		.succeeded = count(c, R_SUCCEEDED),
		.failed = count(c, R_FAILED),
		.attempts = count(c, R_ATTEMPTS),
		.retried = count(c, R_RETRIED),
		.cancelled = count(c, R_CANCELLED),
		.runtime_ns = number(c, R_RUNTIME),
		.cpu_ns = number(c, R_CPU),
		.host = text(c, R_HOST),
		.version = text(c, R_VERSION),
		.directory = text(c, R_DIRECTORY),
		.command = text(c, R_COMMAND),
		.arguments = text(c, R_ARGUMENTS),
	};
	l->run = number(c, R_RUN);
	c->at++;
	return 1;
}

int
knee_log_next_step(knee_log *l, struct knee_log_step *ret)
{
	struct cursor *c = &l->steps;
	int got = cursor_fill(l, c, sql_steps, &(struct kn_look_value){ .number = l->step }, 1);

	if (got <= 0)
		return got;
	*ret = (struct knee_log_step){
		.run = count(c, S_RUN),
		.time_ns = number(c, S_AT),
		.at_once = small(c, S_AT_ONCE),
		.running = small(c, S_RUNNING),
		.done = count(c, S_DONE),
		.cpu_busy_frac = frac(c, S_CPU_BUSY),
		.busy_frac = frac(c, S_BUSY),
		.throughput_frac = frac(c, S_THROUGHPUT),
		.work = text(c, S_WORK),
		.resource = text(c, S_RESOURCE),
		.kind = text(c, S_KIND),
		.reason = text(c, S_REASON),
	};
	l->step = number(c, S_ROW);
	c->at++;
	return 1;
}

/* ---- totals ------------------------------------------------------------------------------------------- */

static bool
filter_is_none(const struct knee_log_filter *f)
{
	unsigned any = KNEE_LOG_SUCCEEDED | KNEE_LOG_FAILED | KNEE_LOG_RUNNING | KNEE_LOG_INTERRUPTED;

	return (f->states == 0 || f->states == any) && f->host == NULL && f->since_time_ns == 0 &&
	    f->until_time_ns == 0 && f->seq_first <= 1 && f->seq_last == 0 && !f->attempts;
}

static void
totals_fill(const struct cursor *c, struct knee_log_totals *ret)
{
	*ret = (struct knee_log_totals){
		.runs = count(c, C_RUNS),
		.attempts = count(c, C_ATTEMPTS),
		.tasks = count(c, C_TASKS),
		.succeeded = count(c, C_SUCCEEDED),
		.failed = count(c, C_FAILED),
		.running = count(c, C_RUNNING),
		.interrupted = count(c, C_INTERRUPTED),
		.begin_time_ns = number(c, C_BEGIN),
		.end_time_ns = number(c, C_END),
		.elapsed_ns = number(c, C_ELAPSED),
		.runtime_ns = number(c, C_RUNTIME),
		.cpu_ns = number(c, C_CPU),
		.disk_read_bytes = count(c, C_READ),
		.disk_written_bytes = count(c, C_WRITTEN),
		.output_bytes = count(c, C_OUTPUT),
		.peak_rss_bytes = number(c, C_RSS),
		.alive = number(c, C_ALIVE) != 0,
	};
}

int
knee_log_get_totals(knee_log *l, struct knee_log_totals *ret)
{
	struct kn_look_value values[FILTER_VALUES];
	struct cursor c = { 0 };
	bool none = filter_is_none(&l->filter);
	int64_t now_ns = kn_clock_time_ns();
	uint64_t known;
	int got;

	filter_values(l, seq_before(&l->filter), INT64_MAX, values);
	if (none)
		got = row_get(l, &c, sql_totals, NULL, 0);
	else
		got = row_get(l, &c, l->filter.attempts ? sql_totals_of_attempts : sql_totals_of_tasks,
		    values, FILTER_VALUES);
	if (got > 0)
		totals_fill(&c, ret);
	kn_look_rows_done(&c.rows);
	if (got <= 0 || !none)
		return got < 0 ? got : 0;
	known = ret->succeeded + ret->failed + ret->running;
	if (ret->tasks > known)
		ret->interrupted = ret->tasks - known;
	if (ret->alive && now_ns > ret->end_time_ns) {
		ret->elapsed_ns += now_ns - ret->end_time_ns;
		ret->end_time_ns = now_ns;
	}
	return 0;
}

/* ---- output ------------------------------------------------------------------------------------------- */

/* There is no piece n: is this the end of what is kept? 0, or -errno. */
static int
output_end(struct knee_log *l, uint64_t seq, uint64_t n)
{
	struct cursor c = { 0 };
	int got = row_get(l, &c, sql_task, &(struct kn_look_value){ .number = (int64_t)seq }, 1);
	int err = 0;

	if (got < 0)
		err = got;
	else if (got == 0)
		err = kn_look_fail(l->look, -ENODATA, "has no task %" PRIu64, seq);
	else if (number(&c, W_STATE) == KN_JOURNAL_STARTED)
		err = kn_look_fail(
		    l->look, -ENODATA, "task %" PRIu64 " has not ended: no output of it is kept", seq);
	else if (number(&c, W_PRINTED) != 0 && n > 0)
		err = kn_look_fail(l->look, -ENODATA,
		    "task %" PRIu64 ": its output was printed meanwhile, and is no longer kept", seq);
	else if (number(&c, W_PRINTED) != 0 && number_or_none(&c, W_OUT_AT) >= 0)
		err = kn_look_fail(l->look, -ENODATA,
		    "task %" PRIu64 ": its output was printed, and is no longer kept: %" PRIu64
		    " bytes at offset %" PRId64 " of the file that standard output went to",
		    seq, count(&c, W_OUT_BYTES), number(&c, W_OUT_AT));
	else if (number(&c, W_PRINTED) != 0)
		err = kn_look_fail(l->look, -ENODATA,
		    "task %" PRIu64 ": its output was printed, and is no longer kept", seq);
	kn_look_rows_done(&c.rows);
	return err;
}

int
knee_log_output(
    knee_log *l, uint64_t seq, uint64_t n, enum knee_stream *stream, const char **data, size_t *size)
{
	struct cursor *c = &l->output;
	struct kn_look_value values[] = { { .number = seq <= INT64_MAX ? (int64_t)seq : 0 },
		{ .number = n <= INT64_MAX ? (int64_t)n : INT64_MAX } };
	const struct kn_look_cell *cell;
	int got;

	if (seq != l->output_seq || n < l->output_n || n - l->output_n >= c->rows.nrows) {
		got = row_get(l, c, sql_output, values, 2);
		if (got < 0)
			return got;
		l->output_seq = seq;
		l->output_n = n;
	}
	if (n - l->output_n >= c->rows.nrows)
		return output_end(l, seq, n);
	c->at = (size_t)(n - l->output_n);
	if (number(c, O_N) != (int64_t)n)
		return kn_look_fail(l->look, -EUCLEAN, "damaged: output of task %" PRIu64 " is missing", seq);
	cell = &c->rows.cells[c->at * c->rows.ncolumns + O_DATA];
	*stream = number(c, O_STREAM) == KNEE_STDERR ? KNEE_STDERR : KNEE_STDOUT;
	*data = text(c, O_DATA);
	*size = cell->type == KN_LOOK_BYTES ? cell->size : 0;
	return 1;
}

/* ---- making ------------------------------------------------------------------------------------------- */

int
knee_log_open(const char *path, knee_log **ret, char *err, size_t errsize)
{
	knee_log *l = calloc(1, sizeof(*l));
	struct cursor none = { 0 };
	int e = l != NULL ? kn_look_new(path, &l->look) : -ENOMEM;

	if (e < 0) {
		(void)snprintf(err, errsize, "%s: %s", path, strerror(-e));
		free(l);
		return e;
	}
	e = knee_log_select(l, NULL);
	/* Whatever is wrong with the file is said now. */
	if (e == 0)
		e = row_get(l, &none, "SELECT 1", NULL, 0);
	kn_look_rows_done(&none.rows);
	if (e < 0) {
		(void)snprintf(err, errsize, "%s", kn_look_error(l->look));
		knee_log_free(l);
		return e;
	}
	*ret = l;
	return 0;
}

const char *
knee_log_error(const knee_log *l)
{
	return kn_look_error(l->look);
}

void
knee_log_free(knee_log *l)
{
	if (l == NULL)
		return;
	kn_look_rows_done(&l->tasks.rows);
	kn_look_rows_done(&l->runs.rows);
	kn_look_rows_done(&l->steps.rows);
	kn_look_rows_done(&l->output.rows);
	free((char *)(uintptr_t)l->filter.host);
	kn_look_free(l->look);
	free(l);
}

/* SPDX-License-Identifier: MIT */
/*
 * The journal as a source: the inputs of another one, each with what the journal has of it.
 *
 * The rows of task are stepped through alongside, some thousand at a time: no statement stays open, so
 * that a resume of hours keeps no checkpoint from being made. Rows that this run writes are of inputs
 * which were handed out before, and are never read here.
 *
 * An input is the one of its row when both have the same digest. With KNEE_RETRY_FAILED an input that
 * has no result is passed over: stored without a result, it counts nowhere. Stored output behind it is left
 * for the run that will have its result.
 */
#include "journal.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- stored output ------------------------------------------------------------ */

int
kn_journal_output_put(
    struct knee_journal *j, uint64_t seq, uint64_t n, enum knee_stream stream, const char *data, size_t size)
{
	const int64_t key[] = { (int64_t)seq, (int64_t)n, (int64_t)stream };

	kn_journal_bind(j, KN_SQL_OUTPUT_PUT, 1, key, 3);
	(void)sqlite3_bind_blob64(j->sql[KN_SQL_OUTPUT_PUT], 4, data, size, SQLITE_STATIC);
	j->outputs++;
	return kn_journal_write(j, KN_SQL_OUTPUT_PUT);
}

int
kn_journal_output_drop(struct knee_journal *j, uint64_t seq)
{
	const int64_t key = (int64_t)seq;
	int err;

	kn_journal_bind(j, KN_SQL_OUTPUT_DROP, 1, &key, 1);
	err = kn_journal_write(j, KN_SQL_OUTPUT_DROP);
	if (err == 0)
		j->outputs -= sqlite3_changes(j->db);
	return err;
}

int
kn_journal_part_put(struct knee_journal *j, uint64_t seq, const void *data, size_t size)
{
	const int64_t key = (int64_t)seq;

	kn_journal_bind(j, KN_SQL_PART_PUT, 1, &key, 1);
	(void)sqlite3_bind_blob64(j->sql[KN_SQL_PART_PUT], 2, data, size, SQLITE_STATIC);
	j->parts = true;
	return kn_journal_write(j, KN_SQL_PART_PUT);
}

/* It is the statement's until that is reset. */
static int
part_get(struct knee_journal *j, uint64_t seq, struct knee_stored *ret)
{
	const int64_t key = (int64_t)seq;
	int found;

	kn_journal_reset(j, KN_SQL_PART_GET);
	kn_journal_bind(j, KN_SQL_PART_GET, 1, &key, 1);
	found = kn_journal_step(j, KN_SQL_PART_GET);
	if (found <= 0)
		return found;
	ret->part = sqlite3_column_blob(j->sql[KN_SQL_PART_GET], 0);
	ret->part_size = (size_t)sqlite3_column_bytes(j->sql[KN_SQL_PART_GET], 0);
	return 0;
}

/* knee_stored.read. The piece is the statement's until it is reset. */
static int
stored_read(void *self, uint64_t n, enum knee_stream *stream, const char **data, size_t *size)
{
	struct knee_journal *j = self;
	const int64_t key[] = { (int64_t)j->resume.seq, (int64_t)n };
	sqlite3_stmt *s = j->sql[KN_SQL_OUTPUT_GET];
	int found;

	kn_journal_reset(j, KN_SQL_OUTPUT_GET);
	kn_journal_bind(j, KN_SQL_OUTPUT_GET, 1, key, 2);
	found = kn_journal_step(j, KN_SQL_OUTPUT_GET);
	if (found <= 0)
		return found;
	*stream = sqlite3_column_int(s, 0) == KNEE_STDERR ? KNEE_STDERR : KNEE_STDOUT;
	*data = sqlite3_column_blob(s, 1);
	*size = (size_t)sqlite3_column_bytes(s, 1);
	if (*data == NULL) /* an empty piece */
		*data = "";
	return 1;
}

/* ---- rows ------------------------------------------------------------------------- */

/* The next rows behind seq after. */
static int
batch_read(struct knee_journal *j, uint64_t after)
{
	struct kn_journal_resume *r = &j->resume;
	const int64_t from[] = { (int64_t)after, KN_JOURNAL_BATCH };
	int n = 1;

	r->nrows = r->at = 0;
	kn_journal_bind(j, KN_SQL_BATCH, 1, from, 2);
	while (r->nrows < KN_JOURNAL_BATCH && (n = kn_journal_step(j, KN_SQL_BATCH)) > 0)
		r->rows[r->nrows++] = (struct kn_journal_row){
			.seq = (uint64_t)kn_journal_column(j, KN_SQL_BATCH, 0),
			.digest = kn_journal_column(j, KN_SQL_BATCH, 1),
			.state = (unsigned char)kn_journal_column(j, KN_SQL_BATCH, 2),
			.printed = (unsigned char)kn_journal_column(j, KN_SQL_BATCH, 3),
		};
	kn_journal_reset(j, KN_SQL_BATCH);
	r->all_read = r->nrows < KN_JOURNAL_BATCH || r->rows[r->nrows - 1].seq >= j->last_before;
	return n < 0 ? n : 0;
}

/* The row of task seq, asked for in order; *ret NULL: there is none. */
static int
row_of(struct knee_journal *j, uint64_t seq, const struct kn_journal_row **ret)
{
	struct kn_journal_resume *r = &j->resume;
	int err = 0;

	*ret = NULL;
	if (r->rows == NULL || seq > j->last_before)
		return 0;
	while (err == 0) {
		while (r->at < r->nrows && r->rows[r->at].seq < seq)
			r->at++;
		if (r->at < r->nrows || r->all_read)
			break;
		err = batch_read(j, seq - 1);
	}
	if (err == 0 && r->at < r->nrows && r->rows[r->at].seq == seq)
		*ret = &r->rows[r->at];
	return err;
}

static int
result_read(struct knee_journal *j, uint64_t seq, struct knee_result *ret)
{
	const int64_t key = (int64_t)seq;
	const enum kn_journal_sql sql = KN_SQL_RESULT;
	int n;

	kn_journal_bind(j, sql, 1, &key, 1);
	n = kn_journal_step(j, sql);
	if (n < 0)
		return n;
	if (n == 0)
		return kn_journal_fail(j, -EUCLEAN,
		    "%s: the journal is damaged: it has no result of task %" PRIu64 ": begin another journal",
		    j->path, seq);
	*ret = (struct knee_result){
		.outcome = (enum knee_outcome)((uint64_t)kn_journal_column(j, sql, 0) % KNEE_OUTCOMES),
		.status = (int)kn_journal_column(j, sql, 1),
		.attempt = (unsigned)kn_journal_column(j, sql, 2),
		.start_time_ns = kn_journal_column(j, sql, 3),
		.runtime_ns = kn_journal_column(j, sql, 4),
		.cpu_user_ns = kn_journal_column(j, sql, 5),
		.cpu_sys_ns = kn_journal_column(j, sql, 6),
		.peak_rss_bytes = kn_journal_column(j, sql, 7),
		.io_bytes = (uint64_t)kn_journal_column(j, sql, 8),
		.disk_read_bytes = (uint64_t)kn_journal_column(j, sql, 9),
		.disk_written_bytes = (uint64_t)kn_journal_column(j, sql, 10),
		.waits = (uint64_t)kn_journal_column(j, sql, 11),
		.switches = (uint64_t)kn_journal_column(j, sql, 12),
		.delay_ns = kn_journal_column(j, sql, 13),
		.output_bytes = (uint64_t)kn_journal_column(j, sql, 14),
	};
	kn_journal_reset(j, sql);
	return 0;
}

/* ---- inputs that are not what they were ------------------------------------------------ */

/* The input as it is shown: its arguments, cut. */
static void
input_text(const struct knee_input *input, char *ret, size_t size)
{
	size_t n = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < input->nargs && n + 1 < size; i++) {
		int more = snprintf(ret + n, size - n, "%s%.60s", i > 0 ? " " : "", input->args[i]);

		n += more > 0 ? (size_t)more : 0;
	}
}

static int
stale(struct knee_journal *j, uint64_t seq, const struct knee_input *input)
{
	const int64_t digest = kn_journal_digest(input->args, input->nargs), key = (int64_t)seq;
	struct kn_journal_resume *r = &j->resume;
	char shown[128], command[128] = "", moved[64] = "it is new or was changed";
	int n;

	input_text(input, shown, sizeof(shown));
	kn_journal_bind(j, KN_SQL_COMMAND_OF, 1, &key, 1);
	n = kn_journal_step(j, KN_SQL_COMMAND_OF);
	if (n > 0)
		(void)snprintf(command, sizeof(command), "%s",
		    (const char *)sqlite3_column_text(j->sql[KN_SQL_COMMAND_OF], 0));
	kn_journal_reset(j, KN_SQL_COMMAND_OF);
	kn_journal_bind(j, KN_SQL_SEQ_OF, 1, &digest, 1);
	if (n >= 0)
		n = kn_journal_step(j, KN_SQL_SEQ_OF);
	if (n > 0)
		(void)snprintf(
		    moved, sizeof(moved), "it was number %" PRId64, kn_journal_column(j, KN_SQL_SEQ_OF, 0));
	kn_journal_reset(j, KN_SQL_SEQ_OF);
	if (n < 0)
		return n;
	/* No error of the journal: what runs is finished and written. */
	r->stale = true;
	(void)snprintf(j->error, sizeof(j->error),
	    "%s: input %" PRIu64 " (%s) is not what it was: %s; task %" PRIu64
	    " was: %s: give the inputs as they were, in the same order, new ones behind them, or begin "
	    "another "
	    "journal",
	    j->path, seq, shown, moved, seq, command);
	return -ESTALE;
}

/* ---- the source --------------------------------------------------------------------------- */

/* Does an input with this row run? */
static bool
runs(const struct knee_journal *j, const struct kn_journal_row *row)
{
	if (row == NULL || row->state == KN_JOURNAL_STARTED)
		return j->how != KNEE_RETRY_FAILED;
	return row->state == KN_JOURNAL_FAILED &&
	    (j->how == KNEE_RESUME_FAILED || j->how == KNEE_RETRY_FAILED);
}

static int
next(void *self, struct knee_input *ret)
{
	struct knee_journal *j = self;
	struct kn_journal_resume *r = &j->resume;
	const struct kn_journal_row *row;
	int n, err;

	if (j->err != 0 || r->stale)
		return j->err != 0 ? j->err : -ESTALE;
	n = r->inner.next(r->inner.self, ret);
	if (n == 0)
		r->ended = true;
	if (n <= 0)
		return n;
	ret->stored = NULL;
	r->seq++;
	err = row_of(j, r->seq, &row);
	if (err < 0)
		return err;
	if (row != NULL && row->digest != kn_journal_digest(ret->args, ret->nargs))
		return stale(j, r->seq, ret);
	if (runs(j, row))
		return 1;
	r->stored = (struct knee_stored){ .printed = 1, .read = stored_read, .self = j };
	if (row != NULL && row->state != KN_JOURNAL_STARTED) {
		r->stored.result = &r->result;
		/* Behind what was passed over it goes on waiting. */
		r->stored.printed = row->printed || (r->passed && j->order == KNEE_ORDER_INPUT);
		r->result = (struct knee_result){ .outcome = KNEE_EXITED, .attempt = 1 };
		if (row->state == KN_JOURNAL_FAILED || !row->printed)
			err = result_read(j, r->seq, &r->result);
		if (err == 0 && j->parts)
			err = part_get(j, r->seq, &r->stored);
	} else {
		r->passed = true;
	}
	ret->stored = &r->stored;
	return err < 0 ? err : 1;
}

static int
source_fd(void *self)
{
	struct knee_journal *j = self;

	return j->resume.inner.fd(j->resume.inner.self);
}

struct knee_source
knee_journal_source(knee_journal *j, const struct knee_source *inner)
{
	j->resume.inner = *inner;
	/* Without memory for it: the first input says so. */
	if (j->last_before > 0 && j->resume.rows == NULL) {
		j->resume.rows = calloc(KN_JOURNAL_BATCH, sizeof(*j->resume.rows));
		if (j->resume.rows == NULL)
			(void)kn_journal_fail(j, -ENOMEM, "%s: %s", j->path, strerror(ENOMEM));
	}
	return (struct knee_source){ .self = j, .next = next, .fd = source_fd };
}

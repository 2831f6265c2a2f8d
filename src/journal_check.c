/* SPDX-License-Identifier: MIT */
/*
 * May this file be used? It is looked at before anything opens it for writing, so that a file that is
 * refused stays as it was, byte for byte:
 *
 *	its lock           another run has it
 *	its first bytes    no SQLite file, another program's, a newer version's, cut short
 *	read-only SQLite   damaged, of another command, holds a run already, output files that shrank
 *
 * SQLite reads a file without a log as one that does not change ("immutable"): else it would leave
 * files of its own beside it. Where a log is, the run died, and its log and shared memory are
 * there anyway.
 *
 * The one thing that is written here: a start that died while it made the file leaves a rollback
 * journal, and SQLite undoes that with the first look.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal_header.h"
#include "journal_uri.h"
#include "sys/fd.h"

/* Files below this size are searched for damage before the run. */
#define CHECK_BYTES ((int64_t)64 << 20)

/* The size of the file beside the journal that has this ending; 0: none. */
static int64_t
beside(const struct knee_journal *j, const char *ending)
{
	struct stat st;
	char *name;
	int64_t size;

	if (asprintf(&name, "%s%s", j->real, ending) < 0)
		return 0;
	size = stat(name, &st) == 0 ? st.st_size : 0;
	free(name);
	return size;
}

/* ---- reading by SQL -------------------------------------------------------- */

/* A connection that reads. An SQLite code; closing *ret is for the caller in any case. */
static int
reader_open(const struct knee_journal *j, sqlite3 **ret)
{
	char *uri = kn_journal_uri(j->real, beside(j, "-wal") == 0 ? "?mode=ro&immutable=1" : "?mode=ro");
	int code;

	*ret = NULL;
	if (uri == NULL)
		return SQLITE_NOMEM;
	code = sqlite3_open_v2(uri, ret,
	    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	free(uri);
	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(*ret, 1000);
	return code;
}

/* The first row of a query: n numbers (NULL: KN_JOURNAL_NULL), then texts (malloc) where wanted. SQLITE_ROW,
 * SQLITE_DONE when there is none, or another code. */
static int
query(sqlite3 *db, const char *sql, const int64_t *args, int nargs, int64_t *numbers, int n, char **texts,
    int ntexts)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	for (int i = 0; i < nargs && code == SQLITE_OK; i++)
		code = sqlite3_bind_int64(s, i + 1, args[i]);
	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	for (int i = 0; i < n && code == SQLITE_ROW; i++)
		numbers[i] =
		    sqlite3_column_type(s, i) == SQLITE_NULL ? KN_JOURNAL_NULL : sqlite3_column_int64(s, i);
	for (int i = 0; i < ntexts && code == SQLITE_ROW; i++) {
		const char *text = (const char *)sqlite3_column_text(s, n + i);

		texts[i] = strdup(text != NULL ? text : "");
		if (texts[i] == NULL)
			code = SQLITE_NOMEM;
	}
	(void)sqlite3_finalize(s);
	return code;
}

/* The error for a code that a query gave; 0 for those that are none. */
static int
query_error(struct knee_journal *j, sqlite3 *db, int code)
{
	int err;

	if (code == SQLITE_ROW || code == SQLITE_DONE || code == SQLITE_OK)
		return 0;
	err = kn_journal_errno(db, code);
	if (err != -EUCLEAN)
		return kn_journal_fail(
		    j, err, "%s: cannot be read: %s", j->path, kn_journal_reason(db, code));
	return kn_journal_fail(j, err,
	    "%s: the journal is damaged (%s); it was left as it is: begin another journal", j->path,
	    sqlite3_errstr(code));
}

/* ---- the lock ---------------------------------------------------------------- */

/* "2026-11-24 04:20:00" */
static void
time_text(int64_t ns, char *ret, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	if (localtime_r(&seconds, &tm) == NULL || strftime(ret, size, "%F %T", &tm) == 0)
		(void)snprintf(ret, size, "%" PRId64, (int64_t)seconds);
}

/* Another process has the lock: who? */
static int
held_by_another(struct knee_journal *j)
{
	int64_t numbers[2] = { 0, 0 };
	sqlite3 *db = NULL;
	char *host = NULL, when[64];
	int code = reader_open(j, &db);

	if (code == SQLITE_OK)
		code = query(db, "SELECT pid, begin_ns, host FROM run ORDER BY run DESC LIMIT 1", NULL, 0,
		    numbers, 2, &host, 1);
	(void)sqlite3_close(db);
	time_text(numbers[1], when, sizeof(when));
	if (code == SQLITE_ROW)
		(void)kn_journal_fail(j, -EBUSY,
		    "%s: run by pid %" PRId64 " on %s since %s: wait for it, or use another journal", j->path,
		    numbers[0], host, when);
	else
		(void)kn_journal_fail(
		    j, -EBUSY, "%s: another run has it: wait for it, or use another journal", j->path);
	free(host);
	return j->err;
}

/* The file that is locked, by a name without links; a name may lead elsewhere by now. */
static int
real_find(struct knee_journal *j, const struct stat *locked)
{
	struct stat st;

	j->real = realpath(j->path, NULL);
	if (j->real == NULL || stat(j->real, &st) < 0)
		return kn_journal_fail(j, -errno, "%s: cannot be opened: %s", j->path, strerror(errno));
	if (st.st_dev != locked->st_dev || st.st_ino != locked->st_ino)
		return kn_journal_fail(j, -ESTALE, "%s: has just become another file: try again", j->path);
	return 0;
}

int
kn_journal_lock(struct knee_journal *j)
{
	struct stat st;
	int err;

	j->lock_fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
	j->made = j->lock_fd >= 0;
	if (!j->made && errno == EEXIST)
		j->lock_fd = open(j->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (j->lock_fd < 0 || fstat(j->lock_fd, &st) < 0)
		return kn_journal_fail(j, -errno, "%s: cannot be opened: %s", j->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return kn_journal_fail(j, -EINVAL, "%s: is no regular file: a journal needs one", j->path);
	err = flock(j->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (err == 0 || err == -EWOULDBLOCK) {
		int found = real_find(j, &st);

		return found < 0 || err == 0 ? found : held_by_another(j);
	}
	return kn_journal_fail(j, err, "%s: cannot be locked: %s", j->path, strerror(-err));
}

/* ---- the first bytes ---------------------------------------------------------- */

/* A start died while it made the tables: let SQLite undo that. */
static int
creation_undo(struct knee_journal *j)
{
	sqlite3 *db = NULL;
	int code = sqlite3_open_v2(
	    j->real, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_exec(db, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
	(void)query_error(j, db, code);
	(void)sqlite3_close(db);
	return j->err;
}

/* 1: a journal; 0: an empty file; or -errno, noted. */
static int
bytes_check(struct knee_journal *j, int64_t size)
{
	unsigned char first[KN_JOURNAL_HEADER_BYTES] = { 0 };
	struct kn_journal_header h;
	int err = 0;

	if (size < KN_JOURNAL_HEADER_BYTES && beside(j, "-wal") > 0)
		return kn_journal_fail(j, -EUCLEAN,
		    "%s: the journal is damaged (it is empty, but its log is not); it was left as it is: "
		    "begin "
		    "another journal",
		    j->path);
	if (size == 0)
		return 0;
	if (size >= KN_JOURNAL_HEADER_BYTES)
		err = kn_fd_read_at(j->lock_fd, first, sizeof(first), 0);
	if (err < 0)
		return kn_journal_fail(j, err, "%s: cannot be read: %s", j->path, strerror(-err));
	kn_journal_header_read(first, &h);
	if (!h.is_sqlite || h.id != KN_JOURNAL_ID)
		return kn_journal_fail(j, -EINVAL,
		    "%s: is no journal of knee; it was left as it is: name another file", j->path);
	if (h.version > KN_JOURNAL_VERSION)
		return kn_journal_fail(j, -EINVAL,
		    "%s: was written by a newer version of knee (format %u, this one knows %u): use that "
		    "version, "
		    "or another journal",
		    j->path, h.version, (unsigned)KN_JOURNAL_VERSION);
	if (h.version < 1)
		return kn_journal_fail(j, -EUCLEAN,
		    "%s: the journal is damaged (it has no version); it was left as it is: begin another "
		    "journal",
		    j->path);
	if (h.bytes > (uint64_t)size && beside(j, "-wal") == 0 && beside(j, "-journal") == 0)
		return kn_journal_fail(j, -EUCLEAN,
		    "%s: the journal is cut short: %" PRId64 " bytes of %" PRIu64
		    "; it was left as it is: begin another journal",
		    j->path, size, h.bytes);
	return 1;
}

/* ---- the tables ------------------------------------------------------------------ */

static int
damage_check(struct knee_journal *j, sqlite3 *db, int64_t size)
{
	char *text = NULL;
	int code, err;

	if (size >= CHECK_BYTES)
		return 0;
	code = query(db, "PRAGMA quick_check(1)", NULL, 0, NULL, 0, &text, 1);
	err = query_error(j, db, code);
	if (err == 0 && text != NULL && strcmp(text, "ok") != 0)
		err = kn_journal_fail(j, -EUCLEAN,
		    "%s: the journal is damaged (%s); it was left as it is: begin another journal", j->path,
		    strchr(text, '\n') != NULL ? strchr(text, '\n') + 1 : text);
	free(text);
	return err;
}

static const char sql_last_run[] =
    "SELECT run, pid, begin_ns, tasks, succeeded, failed, host, command FROM run JOIN progress USING (run)"
    " ORDER BY run DESC LIMIT 1";

static const char sql_last_seq[] = "SELECT coalesce(max(seq), 0) FROM task";

static const char sql_outputs[] =
    "SELECT count(*), count(DISTINCT seq), (SELECT count(*) FROM (SELECT 1 FROM part LIMIT 1)) FROM output";

/* The latest run that wrote to this file, as its stdout or its stderr. The number of a device may be another
 * one after a restart of the machine. */
static const char sql_place[] =
    "SELECT written, ended, born, tail, open, output_order, boot FROM ("
    " SELECT run, out_written AS written, out_ended AS ended, out_born_ns AS born, out_tail AS tail,"
    "  1 AS open FROM progress"
    "  WHERE out_inode = ?2 AND (out_device = ?1 OR out_born_ns IS NULL OR out_born_ns = ?3)"
    " UNION ALL SELECT run, err_written, err_ended, err_born_ns, err_tail, err_open FROM progress"
    "  WHERE err_inode = ?2 AND (err_device = ?1 OR err_born_ns IS NULL OR err_born_ns = ?3))"
    " JOIN run USING (run) ORDER BY run DESC LIMIT 1";

/* The latest run that wrote to a file: did it stop before its end? Were tasks printed to a file by any? */
static const char sql_elsewhere[] =
    "SELECT end_ns IS NULL OR inputs IS NULL,"
    " (SELECT count(*) FROM progress WHERE out_written > out_begin), out_path"
    " FROM progress JOIN run USING (run) WHERE out_inode IS NOT NULL AND resume <> 3"
    " ORDER BY run DESC LIMIT 1";

static int
past_read(struct knee_journal *j, sqlite3 *db, struct kn_journal_past *past)
{
	int64_t numbers[6];
	char *texts[2] = { NULL, NULL };
	int code = query(db, sql_last_run, NULL, 0, numbers, 6, texts, 2);

	past->host = texts[0];
	past->command = texts[1];
	if (code == SQLITE_ROW) {
		past->run = numbers[0];
		past->pid = numbers[1];
		past->begin_ns = numbers[2];
		memcpy(past->sums, numbers + 3, 3 * sizeof(*numbers));
		code = query(db, sql_last_seq, NULL, 0, &past->last_seq, 1, NULL, 0);
	}
	if (code == SQLITE_ROW)
		code = query(db, sql_outputs, NULL, 0, past->outputs, 3, NULL, 0);
	return query_error(j, db, code);
}

/* The output goes to no file of earlier runs: what they printed would be missing there. When they came to
 * their end nothing is torn apart, and what failed may go where the user likes. */
static int
elsewhere_check(struct knee_journal *j, sqlite3 *db)
{
	int64_t n[2] = { 0, 0 };
	char *path = NULL;
	int code = query(db, sql_elsewhere, NULL, 0, n, 2, &path, 1), err = query_error(j, db, code);

	if (err == 0 && code == SQLITE_ROW && n[0] != 0 && n[1] != 0)
		err = kn_journal_fail(j, -EINVAL,
		    "%s: the output so far is in another file, %s: go on there, by >>FILE or --output FILE, "
		    "or "
		    "begin another journal",
		    j->path, path);
	free(path);
	return err;
}

static int
places_check(struct knee_journal *j, sqlite3 *db, const struct knee_journal_options *o)
{
	int err = 0;

	for (size_t i = 0; i < 2 && err == 0; i++) {
		struct kn_journal_place *p = &j->place[i];
		int64_t file[3] = { p->device, p->inode, p->born_ns }, n[6];
		char *boot = NULL;
		int code = SQLITE_DONE;

		if (p->fd >= 0)
			code = query(db, sql_place, file, 3, n, 6, &boot, 1);
		err = query_error(j, db, code);
		if (err == 0 && code == SQLITE_ROW)
			err = kn_journal_place_check(j, p,
			    &(struct kn_journal_mark){ .written = n[0],
				.ended = n[1] == KN_JOURNAL_NULL ? -1 : n[1],
				.born_ns = n[2],
				.tail = n[3],
				.open = n[4] != 0,
				.lines = n[5] == KNEE_ORDER_LINES || n[5] == KNEE_ORDER_PIECES,
				.rebooted =
				    boot[0] != '\0' && j->boot[0] != '\0' && strcmp(boot, j->boot) != 0 });
		free(boot);
	}
	if (err == 0 && !j->unseen && o->out >= 0 && !j->place[0].known && o->resume != KNEE_RETRY_FAILED)
		err = elsewhere_check(j, db);
	return err;
}

/* What the user asks for, against what is there. */
static int
asked_check(struct knee_journal *j, const struct knee_journal_options *o, const struct kn_journal_past *past)
{
	const char *command = o->command != NULL ? o->command : "";
	char when[64];

	if (past->run == 0 || past->command == NULL)
		return 0;
	time_text(past->begin_ns, when, sizeof(when));
	if (o->resume == KNEE_RESUME_NO)
		return kn_journal_fail(j, -EEXIST,
		    "%s: holds a run already, of %s: add --resume to go on with it, or name another file",
		    j->path, when);
	if (strcmp(past->command, command) != 0)
		return kn_journal_fail(j, -EINVAL,
		    "%s: is of another command: '%.200s', not '%.200s': give that command, or name another "
		    "journal",
		    j->path, past->command, command);
	if (past->outputs[1] > 0 && o->order == KNEE_ORDER_NONE)
		return kn_journal_fail(j, -EINVAL,
		    "%s: has the output of %" PRId64
		    " tasks that is not printed yet, and nothing could print it: --resume once without -u",
		    j->path, past->outputs[1]);
	return 0;
}

int
kn_journal_check(struct knee_journal *j, const struct knee_journal_options *o, struct kn_journal_past *past)
{
	sqlite3 *db = NULL;
	struct stat st;
	int err;

	if (fstat(j->lock_fd, &st) < 0)
		return kn_journal_fail(j, -errno, "%s: %s", j->path, strerror(errno));
	err = bytes_check(j, st.st_size);
	if (err >= 0 && beside(j, "-journal") > 0) {
		err = creation_undo(j);
		if (err == 0 && fstat(j->lock_fd, &st) == 0)
			err = bytes_check(j, st.st_size);
	}
	if (err <= 0)
		return err;
	err = query_error(j, NULL, reader_open(j, &db));
	if (err == 0)
		err = damage_check(j, db, st.st_size);
	if (err == 0)
		err = past_read(j, db, past);
	if (err == 0)
		err = asked_check(j, o, past);
	if (err == 0 && past->run > 0)
		err = places_check(j, db, o);
	(void)sqlite3_close(db);
	return err < 0 ? err : 1;
}

void
kn_journal_past_done(struct kn_journal_past *past)
{
	free(past->host);
	free(past->command);
	*past = (struct kn_journal_past){ 0 };
}

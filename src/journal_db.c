/* SPDX-License-Identifier: MIT */
/*
 * SQLite, as the journal uses it: one connection in WAL mode, its statements, one transaction at a
 * time, and what can go wrong with them.
 *
 * Checkpoints are made here and not by SQLite, which would make one every 1000 pages, and each costs
 * two waits for the disk. A log that a slow reader keeps from being used again grows until the
 * reader is gone.
 */
#include "journal.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/clock.h"

/* Pages in the log before a checkpoint: 64 MiB. */
#define CHECKPOINT_FRAMES 16384

/* How long somebody else may hold the file (the sqlite3 program, in a transaction). */
#define BUSY_MS 10000

#define LOG_END_TRIES 40

static const char *const sql_text[KN_SQL_COUNT] = {
	[KN_SQL_BEGIN] = "BEGIN IMMEDIATE",
	[KN_SQL_COMMIT] = "COMMIT",
	[KN_SQL_RUN_BEGIN] =
	    "INSERT INTO run (run, pid, output_order, resume, memory_bytes, begin_ns, version, host, boot,"
	    " directory, command, arguments, kernel, cores)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
	[KN_SQL_RUN_END] = "UPDATE run SET end_ns = ?2, status = ?3, inputs = ?4 WHERE run = ?1",
	[KN_SQL_PROGRESS_BEGIN] =
	    "INSERT INTO progress (run, tasks, succeeded, failed, attempts, retried, cancelled, runtime_ns,"
	    " user_ns, system_ns, rss_bytes, read_bytes, written_bytes, output_bytes, out_device, out_inode,"
	    " out_born_ns, out_begin, out_written, out_tail, err_device, err_inode, err_born_ns, err_begin,"
	    " err_written, err_tail, out_path, err_open) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
	    " ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, 0)",
	[KN_SQL_PROGRESS] =
	    "UPDATE progress SET tasks = ?2, succeeded = ?3, failed = ?4, attempts = ?5, retried = ?6,"
	    " cancelled = ?7, runtime_ns = ?8, user_ns = ?9, system_ns = ?10, rss_bytes = ?11,"
	    " read_bytes = ?12, written_bytes = ?13, output_bytes = ?14, out_written = ?15, out_tail = ?16,"
	    " err_written = ?17, err_tail = ?18, err_open = ?19 WHERE run = ?1",
	[KN_SQL_PROGRESS_END] = "UPDATE progress SET out_ended = ?2, err_ended = ?3 WHERE run = ?1",
	[KN_SQL_TASK_GET] = "SELECT state, attempts, printed FROM task WHERE seq = ?1",
	[KN_SQL_TASK] = "INSERT OR REPLACE INTO task VALUES (?1, ?2, ?3, ?4, ?5)",
	[KN_SQL_TASK_PRINTED] = "UPDATE task SET printed = 1 WHERE seq = ?1 AND state <> 0",
	[KN_SQL_ATTEMPT] =
	    "INSERT OR REPLACE INTO attempt (seq, attempt, run, slot, start_ns, runtime_ns, outcome, status,"
	    " user_ns, system_ns, rss_bytes, io_bytes, read_bytes, written_bytes, waits, switches, delay_ns,"
	    " output_bytes, out_at, out_bytes, err_at, err_bytes, host, command) VALUES (?1, ?2, ?3, ?4, ?5,"
	    " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
	[KN_SQL_ATTEMPT_PLACE] =
	    "UPDATE attempt SET out_at = ?2, out_bytes = ?3, err_at = ?4, err_bytes = ?5 WHERE seq = ?1"
	    " AND attempt = (SELECT attempts FROM task WHERE seq = ?1)",
	[KN_SQL_OUTPUT_PUT] = "INSERT INTO output VALUES (?1, ?2, ?3, ?4)",
	[KN_SQL_OUTPUT_GET] = "SELECT stream, data FROM output WHERE seq = ?1 AND n = ?2",
	[KN_SQL_OUTPUT_DROP] = "DELETE FROM output WHERE seq = ?1",
	[KN_SQL_PART_PUT] = "INSERT OR REPLACE INTO part VALUES (?1, ?2)",
	[KN_SQL_PART_GET] = "SELECT data FROM part WHERE seq = ?1",
	[KN_SQL_STEP] =
	    "INSERT INTO step (run, at_ns, at_once, running, done, work, resource, kind, reason, cpu_busy,"
	    " busy, throughput) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[KN_SQL_SAMPLE] = "INSERT INTO sample VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[KN_SQL_BATCH] = "SELECT seq, digest, state, printed FROM task WHERE seq > ?1 ORDER BY seq LIMIT ?2",
	[KN_SQL_RESULT] =
	    "SELECT outcome, status, attempt, start_ns, runtime_ns, user_ns, system_ns, rss_bytes, io_bytes,"
	    " read_bytes, written_bytes, waits, switches, delay_ns, output_bytes FROM attempt WHERE seq = ?1"
	    " AND attempt = (SELECT attempts FROM task WHERE seq = ?1)",
	[KN_SQL_SEQ_OF] = "SELECT seq FROM task WHERE digest = ?1 ORDER BY seq LIMIT 1",
	[KN_SQL_COMMAND_OF] = "SELECT command FROM attempt WHERE seq = ?1 ORDER BY attempt DESC LIMIT 1",
};

/* ---- errors -------------------------------------------------------------- */

int
kn_journal_fail(struct knee_journal *j, int err, const char *format, ...)
{
	va_list args;

	if (j->err != 0)
		return j->err;
	j->err = err;
	va_start(args, format);
	(void)vsnprintf(j->error, sizeof(j->error), format, args);
	va_end(args);
	return err;
}

int
kn_journal_errno(struct sqlite3 *db, int code)
{
	int system = db != NULL ? sqlite3_system_errno(db) : 0;

	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
		return code == SQLITE_IOERR_NOMEM ? -ENOMEM : system > 0 ? -system : -EIO;
	case SQLITE_CANTOPEN:
		return system > 0 ? -system : -EIO;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT: /* rows that contradict each other */
	case SQLITE_ERROR:      /* a table that has not the columns of its version */
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_TOOBIG:
		return -E2BIG;
	default:
		return -EIO;
	}
}

const char *
kn_journal_reason(struct sqlite3 *db, int code)
{
	switch (code & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
	case SQLITE_ERROR:
		return "the file is damaged";
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return "another program keeps it locked";
	case SQLITE_READONLY:
		return "it cannot be written";
	default:
		return strerror(-kn_journal_errno(db, code));
	}
}

int
kn_journal_sqlite_fail(struct knee_journal *j, int code, const char *what)
{
	int err = kn_journal_errno(j->db, code);
	const char *then = "add --resume to go on from there";

	if (err == -ENOSPC || err == -EDQUOT)
		then = "free some space and add --resume to go on from there";
	if (err == -EUCLEAN)
		return kn_journal_fail(j, err, "%s: %s: %s (%s): begin another journal", j->path, what,
		    kn_journal_reason(j->db, code), sqlite3_errstr(code));
	return kn_journal_fail(j, err, "%s: %s: %s: what was finished before is safe; %s", j->path, what,
	    kn_journal_reason(j->db, code), then);
}

/* ---- statements ---------------------------------------------------------- */

void
kn_journal_bind(struct knee_journal *j, enum kn_journal_sql which, int first, const int64_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int at = first + (int)i;

		if (values[i] == KN_JOURNAL_NULL)
			(void)sqlite3_bind_null(j->sql[which], at);
		else
			(void)sqlite3_bind_int64(j->sql[which], at, values[i]);
	}
}

void
kn_journal_bind_text(struct knee_journal *j, enum kn_journal_sql which, int at, const char *text)
{
	/* Bytes that are no UTF-8 are kept as they are. */
	(void)sqlite3_bind_text(j->sql[which], at, text != NULL ? text : "", -1, SQLITE_STATIC);
}

void
kn_journal_bind_real(struct knee_journal *j, enum kn_journal_sql which, int at, double value)
{
	if (value < 0)
		(void)sqlite3_bind_null(j->sql[which], at);
	else
		(void)sqlite3_bind_double(j->sql[which], at, value);
}

int64_t
kn_journal_column(struct knee_journal *j, enum kn_journal_sql which, int column)
{
	return sqlite3_column_int64(j->sql[which], column);
}

void
kn_journal_reset(struct knee_journal *j, enum kn_journal_sql which)
{
	(void)sqlite3_reset(j->sql[which]);
}

int
kn_journal_step(struct knee_journal *j, enum kn_journal_sql which)
{
	int code = sqlite3_step(j->sql[which]);

	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE) {
		(void)sqlite3_reset(j->sql[which]);
		return 0;
	}
	(void)kn_journal_sqlite_fail(
	    j, code, sqlite3_stmt_readonly(j->sql[which]) != 0 ? "cannot be read" : "cannot be written");
	(void)sqlite3_reset(j->sql[which]);
	return j->err;
}

int
kn_journal_write(struct knee_journal *j, enum kn_journal_sql which)
{
	int err = kn_journal_begin(j);

	return err < 0 ? err : kn_journal_step(j, which);
}

/* ---- transactions -------------------------------------------------------- */

int
kn_journal_begin(struct knee_journal *j)
{
	int err;

	if (j->err != 0 || j->writing)
		return j->err;
	err = kn_journal_step(j, KN_SQL_BEGIN);
	j->writing = err == 0;
	return err;
}

/* sqlite3_wal_hook: after a commit */
static int
log_grew(void *self, sqlite3 *db, const char *name, int frames)
{
	struct knee_journal *j = self;

	(void)db, (void)name;
	if (frames < j->frames) /* it was begun anew */
		j->checkpoint_at = CHECKPOINT_FRAMES;
	j->frames = frames;
	return SQLITE_OK;
}

/* Move what is in the log to the tables, as far as readers let it. */
static int
checkpoint(struct knee_journal *j)
{
	/* What the disk has of the journal should not be more than what it has of the output. */
	int err = kn_journal_places_sync(j), code;

	if (err < 0)
		return err;
	code = sqlite3_wal_checkpoint_v2(j->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

	j->checkpoint_at = j->frames + CHECKPOINT_FRAMES;
	if (code == SQLITE_OK || code == SQLITE_BUSY)
		return 0;
	return kn_journal_sqlite_fail(j, code, "cannot be written");
}

/* The sums, and how far the output is written. */
static int
progress_write(struct knee_journal *j)
{
	int64_t places[5];

	for (size_t i = 0; i < 2; i++) {
		struct kn_journal_place *p = &j->place[i];

		places[2 * i] = p->fd >= 0 ? p->written : KN_JOURNAL_NULL;
		places[2 * i + 1] = p->fd >= 0 ? kn_journal_place_tail(p) : KN_JOURNAL_NULL;
	}
	places[4] = j->place[1].printing != 0;
	kn_journal_bind(j, KN_SQL_PROGRESS, 1, &j->run, 1);
	kn_journal_bind(j, KN_SQL_PROGRESS, 2, j->sums, KN_SUM_COUNT);
	kn_journal_bind(j, KN_SQL_PROGRESS, 2 + KN_SUM_COUNT, places, 5);
	return kn_journal_step(j, KN_SQL_PROGRESS);
}

int
kn_journal_commit(struct knee_journal *j)
{
	int err = j->err;
	bool written = err == 0 && j->progressed;

	if (!j->writing)
		return err;
	if (written)
		err = progress_write(j);
	/* The journal must not promise what the disk has not got. */
	if (err == 0 && j->sync && j->moved)
		err = kn_journal_places_sync(j);
	if (err == 0)
		err = kn_journal_step(j, KN_SQL_COMMIT);
	if (err < 0) {
		kn_journal_rollback(j);
		return err;
	}
	j->writing = j->progressed = j->moved = false;
	if (written)
		j->place[1].open = j->place[1].printing != 0;
	j->committed_ns = kn_clock_ns();
	return j->frames >= j->checkpoint_at ? checkpoint(j) : 0;
}

void
kn_journal_rollback(struct knee_journal *j)
{
	/* SQLite may have done so itself. */
	if (j->writing)
		(void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
	j->writing = false;
}

/* ---- the connection ------------------------------------------------------ */

static int
run_sql(struct knee_journal *j, const char *sql, const char *what)
{
	int code = sqlite3_exec(j->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : kn_journal_sqlite_fail(j, code, what);
}

/* All tables or, when this start dies meanwhile, none. */
static int
tables_make(struct knee_journal *j)
{
	char id[128];
	int err;

	(void)snprintf(id, sizeof(id), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
	    KN_JOURNAL_ID, KN_JOURNAL_VERSION);
	err = run_sql(j, "PRAGMA page_size = 4096; BEGIN IMMEDIATE", "cannot be made");
	if (err == 0)
		err = run_sql(j, kn_journal_schema, "cannot be made");
	if (err == 0)
		err = run_sql(j, id, "cannot be made");
	if (err < 0)
		(void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

/* The write-ahead log, which readers do not stop and that does not stop them. */
static int
log_begin(struct knee_journal *j)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(j->db, "PRAGMA journal_mode = WAL", -1, &s, NULL);
	bool wal = false;

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		wal = strcmp((const char *)sqlite3_column_text(s, 0), "wal") == 0;
	(void)sqlite3_finalize(s);
	if (code != SQLITE_ROW)
		return kn_journal_sqlite_fail(j, code, "cannot be written");
	if (!wal)
		return kn_journal_fail(j, -ENOTSUP,
		    "%s: no write-ahead log is possible there: put the journal on a local disk", j->path);
	j->checkpoint_at = CHECKPOINT_FRAMES;
	(void)sqlite3_wal_hook(j->db, log_grew, j);
	return run_sql(j,
	    j->sync ? "PRAGMA journal_size_limit = 67108864; PRAGMA synchronous = FULL" :
		      "PRAGMA journal_size_limit = 67108864; PRAGMA synchronous = NORMAL",
	    "cannot be written");
}

int
kn_journal_db_open(struct knee_journal *j, bool make)
{
	int code = sqlite3_open_v2(
	    j->real, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	int err;

	if (code != SQLITE_OK)
		return kn_journal_sqlite_fail(j, code, "cannot be opened");
	(void)sqlite3_busy_timeout(j->db, BUSY_MS);
	/* One wait for the disk for all of it, below. */
	err = run_sql(j,
	    make ? "PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF" : "PRAGMA temp_store = MEMORY",
	    "cannot be opened");
	if (err == 0 && make)
		err = tables_make(j);
	if (err == 0)
		err = log_begin(j);
	if (err == 0 && make && fdatasync(j->lock_fd) < 0)
		err = kn_journal_fail(j, -errno, "%s: cannot be made: %s", j->path, strerror(errno));
	return err;
}

int
kn_journal_db_prepare(struct knee_journal *j)
{
	for (int i = 0; i < KN_SQL_COUNT; i++) {
		int code =
		    sqlite3_prepare_v3(j->db, sql_text[i], -1, SQLITE_PREPARE_PERSISTENT, &j->sql[i], NULL);

		if (code != SQLITE_OK)
			return kn_journal_sqlite_fail(j, code, "cannot be used");
	}
	return 0;
}

/* True while SQLite's log lies beside the file. */
static bool
has_log(const struct knee_journal *j)
{
	struct stat st;
	char *name;
	bool has;

	if (asprintf(&name, "%s-wal", j->real) < 0)
		return false;
	has = stat(name, &st) == 0;
	free(name);
	return has;
}

/* The last to close takes the log away, but not while somebody reads. A look of knee log takes
 * milliseconds: wait for that. Nothing is lost in a log that stays, but a copy of the file alone would
 * lack it. */
static void
log_end(const struct knee_journal *j)
{
	static const struct timespec pause = { .tv_nsec = 5000000 };

	for (int i = 0; i < LOG_END_TRIES && has_log(j); i++) {
		sqlite3 *db = NULL;

		(void)nanosleep(&pause, NULL);
		if (sqlite3_open_v2(j->real, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
		    SQLITE_OK)
			(void)sqlite3_exec(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL);
		(void)sqlite3_close(db);
	}
}

void
kn_journal_db_close(struct knee_journal *j)
{
	bool was_open = j->db != NULL;

	for (int i = 0; i < KN_SQL_COUNT; i++) {
		(void)sqlite3_finalize(j->sql[i]);
		j->sql[i] = NULL;
	}
	(void)sqlite3_close(j->db);
	j->db = NULL;
	if (was_open && j->err == 0)
		log_end(j);
}

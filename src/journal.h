/* SPDX-License-Identifier: MIT */
/*
 * The journal's file (its tables: journal_schema.c) and what the parts of the journal share:
 *
 *	journal.c         the sink: what happens goes into the tables
 *	journal_entries.c the tasks whose rows are not written for good
 *	journal_open.c    from a path to a journal that is written
 *	journal_check.c   before that: is it one, and may it go on? Writes nothing
 *	journal_place.c   stdout and stderr: how far they are written, and the cut
 *	journal_lost.c    after a loss of power: output that is not there
 *	journal_resume.c  the source: what an earlier run has of each input
 *	journal_db.c      SQLite: statements, transactions, errors
 *
 * Who runs it holds a lock (flock) on the file by a descriptor that is closed after SQLite's.
 * A transaction is begun by the first change and committed when the sinks are flushed, 10 ms after the
 * one before at the earliest.
 */
#ifndef KN_JOURNAL_H
#define KN_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <knee_program.h>

#define KN_JOURNAL_ID 0x6b6e6565    /* "knee": PRAGMA application_id */
#define KN_JOURNAL_VERSION 1        /* PRAGMA user_version */

#define KN_JOURNAL_NULL INT64_MIN   /* stands for SQL's NULL */

/* What a task is: task.state. */
enum kn_journal_state {
	KN_JOURNAL_STARTED,         /* was in flight: it runs again */
	KN_JOURNAL_SUCCEEDED,
	KN_JOURNAL_FAILED,
};

/* CREATE TABLE ...; of all tables. */
extern const char kn_journal_schema[];

struct sqlite3;
struct sqlite3_stmt;

/* The statements that are prepared: journal_db.c has their text. */
enum kn_journal_sql {
	KN_SQL_BEGIN,
	KN_SQL_COMMIT,
	KN_SQL_RUN_BEGIN,
	KN_SQL_RUN_END,
	KN_SQL_PROGRESS_BEGIN,
	KN_SQL_PROGRESS,
	KN_SQL_PROGRESS_END,
	KN_SQL_TASK_GET,
	KN_SQL_TASK,
	KN_SQL_TASK_PRINTED,
	KN_SQL_ATTEMPT,
	KN_SQL_ATTEMPT_PLACE,
	KN_SQL_OUTPUT_PUT,
	KN_SQL_OUTPUT_GET,
	KN_SQL_OUTPUT_DROP,
	KN_SQL_PART_PUT,
	KN_SQL_PART_GET,
	KN_SQL_STEP,
	KN_SQL_SAMPLE,
	KN_SQL_BATCH,
	KN_SQL_RESULT,
	KN_SQL_SEQ_OF,
	KN_SQL_COMMAND_OF,
	KN_SQL_COUNT
};

/* stdout or stderr, when it is a regular file: else fd is -1. Inodes are used again: of two files with the
 * same one the time of birth or else what lies before the mark (tail) says which it is. */
struct kn_journal_place {
	int fd;                     /* borrowed */
	int read_fd;                /* owned; the same file for reading; -1: that is not allowed */
	const char *name;           /* for messages */
	int64_t device, inode;
	int64_t born_ns;            /* KN_JOURNAL_NULL: the file system does not know */
	bool known;                 /* an earlier run wrote to it ... */
	int64_t cut;                /* ... to be cut to this size first; -1: not at all */
	bool lost;                  /* the machine went down, and it is shorter than the journal says */
	int64_t base;               /* its end when this run began */
	int64_t written;            /* up to here: the output of printed tasks */
	int64_t tail_at, tail;      /* the digest of what lies before tail_at; KN_JOURNAL_NULL: unknown */
	uint64_t printing;          /* stderr: behind written may be output of this task; 0: of none */
	bool open;                  /* ... and that is committed: the next start cuts it off */
};

/* What an earlier run says of the same file. */
struct kn_journal_mark {
	int64_t written, ended;     /* ended: -1: it was killed */
	int64_t born_ns, tail;      /* KN_JOURNAL_NULL: unknown */
	bool open;                  /* output of an unfinished task may lie behind written */
	bool lines;                 /* nobody knows where a task's output lies */
	bool rebooted;              /* the machine was started anew since */
};

/* Where the bytes of a task lie: out_at, out_bytes, err_at, err_bytes of its attempt. */
struct kn_journal_span {
	int64_t n[4];
};

/*
 * A task of this run, from its first start until its rows are written for good.
 *
 *	open    an attempt runs
 *	waits   it has its result, which does not count until its output is written
 *	gone    it is finished, or was cancelled: with the next commit the entry goes
 */
struct kn_journal_entry {
	uint64_t seq;
	int64_t digest;
	enum kn_journal_state state;
	bool printed;
	bool open, waits, gone;
	bool dirty;                 /* its rows are to be written: it is in the list of those */
	uint32_t before;            /* attempts of earlier runs */
	uint32_t attempt;           /* the latest one, over all runs */
	uint32_t slot;
	int64_t start_ns;           /* since the Epoch */
	struct knee_result result;  /* unless open */
	struct kn_journal_span span;
	char *command;              /* owned */
	char *host;                 /* owned: the machine that it is on; NULL: this one */
	struct kn_journal_entry *next;      /* that is dirty, or spare */
};

/* Open addressing by seq; size is a power of two or 0, at most half of it used. */
struct kn_journal_entries {
	struct kn_journal_entry **list;     /* owned, and what it points to */
	size_t size, used;
	struct kn_journal_entry *spare;     /* owned: to be used again */
};

/* The row of progress, in the order of its columns from tasks on. */
enum kn_journal_sum {
	KN_SUM_TASKS,
	KN_SUM_SUCCEEDED,
	KN_SUM_FAILED,
	KN_SUM_ATTEMPTS,
	KN_SUM_RETRIED,
	KN_SUM_CANCELLED,
	KN_SUM_RUNTIME,
	KN_SUM_USER,
	KN_SUM_SYSTEM,
	KN_SUM_RSS,
	KN_SUM_READ,
	KN_SUM_WRITTEN,
	KN_SUM_OUTPUT,
	KN_SUM_COUNT
};

/* A row of task that the source has read ahead. */
struct kn_journal_row {
	uint64_t seq;
	int64_t digest;
	unsigned char state, printed;
};

#define KN_JOURNAL_BATCH 4096

struct kn_journal_resume {
	struct knee_source inner;
	uint64_t seq;               /* of the input handed out last */
	bool ended;                 /* of inner */
	struct kn_journal_row *rows;        /* owned; KN_JOURNAL_BATCH of them; NULL: nothing to resume */
	size_t nrows, at;
	bool all_read;              /* of the table */
	bool passed;                /* an input without a result was passed over */
	bool stale;                 /* an input was not what it was: there are no more */
	struct knee_result result;
	struct knee_stored stored;
};

struct knee_journal {
	char *path;                 /* owned; as it was given, for messages */
	char *real;                 /* owned; the file that it leads to: SQLite's other files lie beside that */
	int lock_fd;
	bool made;                  /* the file was made by this start */
	struct sqlite3 *db;
	struct sqlite3_stmt *sql[KN_SQL_COUNT];
	enum knee_resume how;
	enum knee_order order;
	bool sync;
	struct kn_journal_place place[2];   /* stdout, stderr */
	bool unseen;                /* nothing is told when a task's output is written: results count at once */
	char host[72], boot[64];    /* boot_id of the kernel: a pid of another one says nothing */
	int64_t redone;             /* tasks that are not finished after all: their output was lost */

	int64_t run;                /* of this start */
	uint64_t last_before;       /* the highest seq of earlier runs */
	int64_t sums[KN_SUM_COUNT];
	int64_t outputs;            /* rows of output */
	bool parts;                 /* there are rows of part */
	struct kn_journal_entries entries;
	struct kn_journal_entry *dirty_first, *dirty_last;
	uint64_t cut_seq;           /* with KNEE_ORDER_INPUT: the first cancelled task; UINT64_MAX: none */
	uint64_t told[2];           /* bytes up to the last mark */
	int64_t sample_due_ns;      /* CLOCK_MONOTONIC */
	struct knee_stats sampled;

	bool writing;               /* a transaction is open */
	bool progressed;            /* ... and sums or places have changed */
	bool moved;                 /* ... places have: for sync */
	int64_t committed_ns;       /* the last commit, CLOCK_MONOTONIC */
	int frames, checkpoint_at;  /* pages in the write-ahead log; a checkpoint is due at */
	struct kn_journal_resume resume;

	int err;                    /* the first -errno: nothing is written after it */
	char error[1024];
};

/* FNV-1a 64 over the arguments, each with its NUL. */
static inline int64_t
kn_journal_digest(const char *const *args, size_t nargs)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < nargs; i++) {
		const char *s = args[i];

		do
			h = (h ^ (unsigned char)*s) * 0x100000001b3;
		while (*s++ != '\0');
	}
	return (int64_t)h;
}

/* The same over bytes. */
static inline int64_t
kn_journal_digest_bytes(const unsigned char *data, size_t n)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < n; i++)
		h = (h ^ data[i]) * 0x100000001b3;
	return (int64_t)h;
}

/* ---- journal_db.c -------------------------------------------------------- */

/* Note the error and its text, unless there is one already; returns err. */
int kn_journal_fail(struct knee_journal *j, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* What SQLite has just said, while doing what: -errno, noted. */
int kn_journal_sqlite_fail(struct knee_journal *j, int code, const char *what);
/* The -errno for an SQLite code, and its text. */
int kn_journal_errno(struct sqlite3 *db, int code);
const char *kn_journal_reason(struct sqlite3 *db, int code);

/* Open for writing, prepare, close. 0 or -errno, noted. */
int kn_journal_db_open(struct knee_journal *j, bool make);
int kn_journal_db_prepare(struct knee_journal *j);
void kn_journal_db_close(struct knee_journal *j);

/* Bind n numbers from parameter first on. */
void kn_journal_bind(struct knee_journal *j, enum kn_journal_sql which, int first, const int64_t *values,
    size_t n);
void kn_journal_bind_text(struct knee_journal *j, enum kn_journal_sql which, int at, const char *text);
/* Below 0: NULL. */
void kn_journal_bind_real(struct knee_journal *j, enum kn_journal_sql which, int at, double value);
/* One step: 1 a row (kn_journal_reset ends it), 0 done (and reset), or -errno, noted (and reset). */
int kn_journal_step(struct knee_journal *j, enum kn_journal_sql which);
void kn_journal_reset(struct knee_journal *j, enum kn_journal_sql which);
/* The same for a statement that gives no row. Begins a transaction when none is open. */
int kn_journal_write(struct knee_journal *j, enum kn_journal_sql which);
int64_t kn_journal_column(struct knee_journal *j, enum kn_journal_sql which, int column);

/* 0 or -errno, noted. commit: nothing happens when nothing was written. */
int kn_journal_begin(struct knee_journal *j);
int kn_journal_commit(struct knee_journal *j);
void kn_journal_rollback(struct knee_journal *j);

/* ---- journal_check.c ----------------------------------------------------- */

/* What the last run says of itself, and what all of them left. */
struct kn_journal_past {
	int64_t run;                /* 0: none */
	int64_t pid, begin_ns;
	char *host, *command;       /* owned */
	int64_t sums[KN_SUM_COUNT];
	int64_t last_seq;
	int64_t outputs[3];         /* rows of output; tasks that have some; 1: there are rows of part */
};

/* Take the lock and find j->real, then see whether the file may be used: new, or as o.resume says. Fills in past, whose
 * strings the caller frees, and the places. 0 or -errno with text in j->error; nothing was written but
 * an empty file made (j->made). */
int kn_journal_lock(struct knee_journal *j);
int kn_journal_check(struct knee_journal *j, const struct knee_journal_options *o, struct kn_journal_past *past);
void kn_journal_past_done(struct kn_journal_past *past);

/* ---- journal_place.c ----------------------------------------------------- */

void kn_journal_places_look(struct knee_journal *j, const struct knee_journal_options *o);
void kn_journal_places_done(struct knee_journal *j);
/* Compare with what is known; -EINVAL: the file is shorter, or another one. Changes no file. */
int kn_journal_place_check(struct knee_journal *j, struct kn_journal_place *p, const struct kn_journal_mark *mark);
/* Where the next byte goes. */
int64_t kn_journal_place_end(const struct kn_journal_place *p);
/* "standard output (FILE)"; its path alone, "" when it has none. */
void kn_journal_place_name(const struct kn_journal_place *p, char *ret, size_t size);
void kn_journal_place_path(const struct kn_journal_place *p, char *ret, size_t size);
/* What lies before written, as a digest: p->tail. */
int64_t kn_journal_place_tail(struct kn_journal_place *p);
/* Cut what was left half written. 0 or -errno, noted. */
int kn_journal_places_cut(struct knee_journal *j);
int kn_journal_places_sync(struct knee_journal *j);
/* Its size now; -1: no place. */
int64_t kn_journal_place_size(const struct kn_journal_place *p);

/* ---- journal_lost.c ------------------------------------------------------ */

/* Within the transaction that begins the run, before the cut. 0 or -errno, noted. */
int kn_journal_lost_redo(struct knee_journal *j);

/* ---- journal_resume.c ---------------------------------------------------- */

/* A piece of the output of task seq; all of them go. */
int kn_journal_output_put(struct knee_journal *j, uint64_t seq, uint64_t n, enum knee_stream stream,
    const char *data, size_t size);
int kn_journal_output_drop(struct knee_journal *j, uint64_t seq);
/* What it has for the whole. */
int kn_journal_part_put(struct knee_journal *j, uint64_t seq, const void *data, size_t size);

/* ---- journal.c ------------------------------------------------------------ */

/* The rows of all tasks that have changed. 0 or -errno, noted. */
int kn_journal_write_tasks(struct knee_journal *j);

/* ---- journal_entries.c ---------------------------------------------------- */

/* NULL: there is none. */
struct kn_journal_entry *kn_journal_entry_find(const struct kn_journal_entries *t, uint64_t seq);
/* A new one; NULL without memory. */
struct kn_journal_entry *kn_journal_entry_add(struct kn_journal_entries *t, uint64_t seq);
/* Frees what it owns. */
void kn_journal_entry_remove(struct kn_journal_entries *t, struct kn_journal_entry *e);
void kn_journal_entries_done(struct kn_journal_entries *t);

#endif

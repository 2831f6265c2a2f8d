/* SPDX-License-Identifier: MIT */
/*
 * The file: an SQLite database with application_id 0x6b6e6565 ("knee"), user_version 1 and one
 * table, learnt, a row for each kind of command on each number of cores.
 *
 *	program, ending, host, disk   TEXT     struct kn_key_name; "" for what is not known
 *	millicores                    INTEGER  usable cores, in thousandths
 *	seen                          INTEGER  when it was last learnt, seconds since the Epoch
 *	kind                          INTEGER  enum knee_kind: another order is another version
 *	at_once                       INTEGER  the limit
 *	cpu, disk_share, net, wait    REAL     shares of a task's time
 *	cores_per_task, runtime_ns, cpu_ns, bytes, rss_bytes   REAL
 *
 * 0 stands for what was not learnt, and leaves an older number as it is. Rows older than 90 days
 * go with the next write, and so do the oldest of more than 4096.
 *
 * A rollback journal, not a write-ahead log: home folders are on network file systems too, and a
 * log needs memory that is shared. It is not synced: what is lost with the power is learnt again, a
 * file that broke is put aside (PATH.broken) and begun anew, and no run waits for a disk at its end.
 * A killed process breaks nothing. The only transactions are those that make the table and that write
 * at the end of a run, both of them short; who finds the file locked for 50 ms goes without.
 */
#include "memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 50

#define VERSION 1

static_assert(KNEE_KINDS == 7, "kinds are stored by number: raise VERSION when they change");

/* In the order of the columns above, from program on. */
enum column {
	C_PROGRAM = 1,
	C_ENDING,
	C_HOST,
	C_DISK,
	C_MILLICORES,
	C_KIND,
	C_AT_ONCE,
	C_CPU,
	C_DISK_SHARE,
	C_NET,
	C_WAIT,
	C_CORES,
	C_RUNTIME,
	C_CPU_NS,
	C_BYTES,
	C_RSS
};

static const char sql_make[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS learnt ("
    " program TEXT NOT NULL, ending TEXT NOT NULL, host TEXT NOT NULL, disk TEXT NOT NULL,"
    " millicores INTEGER NOT NULL, seen INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, at_once INTEGER NOT NULL,"
    " cpu REAL NOT NULL, disk_share REAL NOT NULL, net REAL NOT NULL, wait REAL NOT NULL,"
    " cores_per_task REAL NOT NULL, runtime_ns REAL NOT NULL, cpu_ns REAL NOT NULL,"
    " bytes REAL NOT NULL, rss_bytes REAL NOT NULL,"
    " PRIMARY KEY (program, ending, host, disk, millicores)) WITHOUT ROWID;"
    "PRAGMA application_id = 1802397029;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* Or from the future: the clock was wrong. */
#define OLD "seen NOT BETWEEN strftime('%s', 'now') - 90 * 86400 AND strftime('%s', 'now') + 86400"

static const char sql_get[] =
    "SELECT kind, at_once, cpu, disk_share, net, wait, cores_per_task, runtime_ns, cpu_ns, bytes, rss_bytes"
    " FROM learnt WHERE program = ?1 AND ending = ?2 AND host = ?3 AND disk = ?4 AND millicores = ?5"
    " AND NOT (" OLD ")";

static const char sql_drop[] =
    "DELETE FROM learnt WHERE " OLD ";"
    "DELETE FROM learnt WHERE seen <= (SELECT seen FROM learnt ORDER BY seen DESC LIMIT 1 OFFSET 4096);";

/* A mean: the new and the old by halves, or whichever is known. */
#define FADE(c) \
	", " c " = CASE WHEN excluded." c " = 0 THEN " c " WHEN " c " = 0 THEN excluded." c " ELSE (" c \
	" + excluded." c ") / 2 END"
/* The shares are known together: one of 0 is a share all the same. */
#define FADE_SHARE(c) \
	", " c " = CASE WHEN excluded.cpu + excluded.disk_share + excluded.net + excluded.wait = 0 THEN " c \
	" WHEN cpu + disk_share + net + wait = 0 THEN excluded." c " ELSE (" c " + excluded." c ") / 2 END"
#define LATEST(c) ", " c " = CASE WHEN excluded." c " = 0 THEN " c " ELSE excluded." c " END"

static const char sql_put[] =
    "INSERT INTO learnt (program, ending, host, disk, millicores, seen, kind, at_once, cpu, disk_share,"
    " net, wait, cores_per_task, runtime_ns, cpu_ns, bytes, rss_bytes)"
    " VALUES (?1, ?2, ?3, ?4, ?5, strftime('%s', 'now'), ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    " ON CONFLICT (program, ending, host, disk, millicores) DO UPDATE SET seen = excluded.seen" LATEST("kind")
	LATEST("at_once") FADE_SHARE("cpu") FADE_SHARE("disk_share") FADE_SHARE("net") FADE_SHARE("wait")
	    FADE("cores_per_task") FADE("runtime_ns") FADE("cpu_ns") FADE("bytes") FADE("rss_bytes");

struct kn_memory {
	sqlite3 *db;             /* owned */
	sqlite3_stmt *get, *put; /* owned; put is made when it is first needed */
	int64_t millicores;
	bool writing; /* a transaction is open */
	bool shut;    /* nothing more is written */
	bool broken;  /* put the file aside at the end */
	char path[];
};

/* ---- the file -------------------------------------------------------------------------------- */

/* Make the folder of path and the one above it when they are missing, for their owner alone: a cache
 * is made in a home that exists, and no home is made for it. */
static void
folders_make(char *path)
{
	char *last = strrchr(path, '/');
	char *above = last != NULL && last != path ? memrchr(path, '/', (size_t)(last - path)) : NULL;

	if (above != NULL && above != path) {
		*above = '\0';
		(void)mkdir(path, 0700);
		*above = '/';
	}
	if (last != NULL && last != path) {
		*last = '\0';
		(void)mkdir(path, 0700);
		*last = '/';
	}
}

/* True when there is a file now. SQLite would make it for all to read: what someone runs is theirs.
 * One that is there is not opened here, since closing it would give up the locks of another run in
 * this process. A device (/dev/null) is none. */
static bool
file_make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
	struct stat st;

	if (fd >= 0)
		close(fd);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static void
name_with(const char *path, const char *ending, void (*act)(const char *path, const char *name))
{
	char *name = malloc(strlen(path) + strlen(ending) + 1);

	if (name == NULL)
		return;
	(void)stpcpy(stpcpy(name, path), ending);
	act(path, name);
	free(name);
}

static void
act_rename(const char *path, const char *name)
{
	(void)rename(path, name);
}

static void
act_unlink(const char *path, const char *name)
{
	(void)path;
	(void)unlink(name);
}

/* The journal must go too: it would be rolled back into the next file of that name. */
static void
file_put_aside(const char *path)
{
	name_with(path, ".broken", act_rename);
	name_with(path, "-journal", act_unlink);
	name_with(path, "-wal", act_unlink);
}

/* ---- the database ---------------------------------------------------------------------------- */

/* The result of the pragma, a number, in *ret. An SQLite code. */
static int
pragma_number(sqlite3 *db, const char *sql, int *ret)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		*ret = sqlite3_column_int(s, 0);
		code = SQLITE_OK;
	}
	(void)sqlite3_finalize(s);
	return code;
}

/* Make the table when the file is new. SQLITE_MISMATCH: it is another's, or of another version. */
static int
table_make(sqlite3 *db)
{
	int version = 0, tables = 0;
	int code = pragma_number(db, "PRAGMA user_version", &version);

	if (code != SQLITE_OK || version == VERSION)
		return code;
	if (version != 0)
		return SQLITE_MISMATCH;
	code = pragma_number(db,
	    "SELECT count(*) FROM sqlite_master WHERE name <> 'learnt' AND tbl_name <> 'learnt'", &tables);
	if (code != SQLITE_OK || tables > 0)
		return code != SQLITE_OK ? code : SQLITE_MISMATCH;
	code = sqlite3_exec(db, sql_make, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

static void
database_close(struct kn_memory *m)
{
	(void)sqlite3_finalize(m->get);
	(void)sqlite3_finalize(m->put);
	(void)sqlite3_close(m->db);
	m->get = m->put = NULL;
	m->db = NULL;
}

/* An SQLite code; database_close() is for the caller in any case. */
static int
database_open(struct kn_memory *m)
{
	int code = sqlite3_open_v2(m->path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (code != SQLITE_OK)
		return code;
	(void)sqlite3_busy_timeout(m->db, BUSY_MS);
	code = sqlite3_exec(m->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = table_make(m->db);
	if (code == SQLITE_OK)
		code = sqlite3_prepare_v2(m->db, sql_get, -1, &m->get, NULL);
	return code;
}

/* True for what no other try will read. SQLITE_ERROR: a table that has not the columns of its version. */
static bool
is_broken(int code)
{
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR;
}

struct kn_memory *
kn_memory_open(const char *path, const struct kn_machine *machine)
{
	size_t size = strlen(path) + 1;
	struct kn_memory *m;
	int code;

	if (size == 1)
		return NULL;
	m = calloc(1, sizeof(*m) + size);
	if (m == NULL)
		return NULL;
	memcpy(m->path, path, size);
	m->millicores = llround(machine->cores * 1000);
	folders_make(m->path);
	code = file_make(m->path) ? database_open(m) : SQLITE_CANTOPEN;
	if (is_broken(code)) {
		database_close(m);
		file_put_aside(m->path);
		code = file_make(m->path) ? database_open(m) : SQLITE_CANTOPEN;
	}
	if (code != SQLITE_OK) {
		database_close(m);
		free(m);
		return NULL;
	}
	return m;
}

void
kn_memory_close(struct kn_memory *m)
{
	if (m == NULL)
		return;
	if (m->writing && sqlite3_exec(m->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		(void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
	database_close(m);
	if (m->broken)
		file_put_aside(m->path);
	free(m);
}

/* ---- one key --------------------------------------------------------------------------------- */

/* A number that can be counted with, whoever wrote it: no time in nanoseconds is longer than 30 years,
 * and no count of bytes comes near it. */
static double
sane(double x)
{
	return isfinite(x) && x > 0 ? fmin(x, 1e18) : 0;
}

static double
share(double x)
{
	return fmin(sane(x), 1);
}

static void
text_bind(sqlite3_stmt *s, int column, const char *text, size_t size)
{
	/* Bytes that are no UTF-8 are kept as they are. */
	(void)sqlite3_bind_text(s, column, text, (int)strnlen(text, size), SQLITE_STATIC);
}

static void
key_bind(const struct kn_memory *m, sqlite3_stmt *s, const struct kn_key_name *key)
{
	text_bind(s, C_PROGRAM, key->program, sizeof(key->program));
	text_bind(s, C_ENDING, key->kind, sizeof(key->kind));
	text_bind(s, C_HOST, key->place.host, sizeof(key->place.host));
	text_bind(s, C_DISK, key->place.disk, sizeof(key->place.disk));
	(void)sqlite3_bind_int64(s, C_MILLICORES, m->millicores);
}

/* One step of a statement, which lets go of its lock after it: SQLITE_ROW and *ret, or another code. */
static int
statement_run(struct kn_memory *m, sqlite3_stmt *s, struct kn_prior *ret)
{
	int code = sqlite3_step(s);

	if (code == SQLITE_ROW && ret != NULL) {
		int kind = sqlite3_column_int(s, 0);
		sqlite3_int64 limit = sqlite3_column_int64(s, 1);

		*ret = (struct kn_prior){
			.kind = kind > 0 && kind < KNEE_KINDS ? (enum knee_kind)kind : KNEE_KIND_UNKNOWN,
			.limit = limit > 0 && limit <= INT32_MAX ? (unsigned)limit : 0,
			.cpu_share = share(sqlite3_column_double(s, 2)),
			.disk_share = share(sqlite3_column_double(s, 3)),
			.net_share = share(sqlite3_column_double(s, 4)),
			.wait_share = share(sqlite3_column_double(s, 5)),
			.cores_per_task = sane(sqlite3_column_double(s, 6)),
			.runtime_ns = sane(sqlite3_column_double(s, 7)),
			.cpu_ns = sane(sqlite3_column_double(s, 8)),
			.bytes = sane(sqlite3_column_double(s, 9)),
			.rss_bytes = sane(sqlite3_column_double(s, 10)),
		};
	}
	if (is_broken(code))
		m->broken = true;
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	return code;
}

int
kn_memory_get(struct kn_memory *m, const struct kn_key_name *key, struct kn_prior *ret)
{
	key_bind(m, m->get, key);
	return statement_run(m, m->get, ret) == SQLITE_ROW;
}

/* Begin to write; false when that cannot be, and then not asked again. */
static bool
writing_begin(struct kn_memory *m)
{
	if (m->writing || m->shut)
		return m->writing;
	m->writing = sqlite3_exec(m->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
	m->shut = !m->writing;
	if (!m->writing)
		return false;
	if (is_broken(sqlite3_exec(m->db, sql_drop, NULL, NULL, NULL)) ||
	    is_broken(sqlite3_prepare_v2(m->db, sql_put, -1, &m->put, NULL)))
		m->broken = true;
	return true;
}

void
kn_memory_put(struct kn_memory *m, const struct kn_key_name *key, const struct kn_prior *prior)
{
	sqlite3_stmt *s;

	if (!writing_begin(m) || m->put == NULL)
		return;
	s = m->put;
	key_bind(m, s, key);
	(void)sqlite3_bind_int(s, C_KIND, (int)prior->kind);
	(void)sqlite3_bind_int64(s, C_AT_ONCE, prior->limit);
	(void)sqlite3_bind_double(s, C_CPU, share(prior->cpu_share));
	(void)sqlite3_bind_double(s, C_DISK_SHARE, share(prior->disk_share));
	(void)sqlite3_bind_double(s, C_NET, share(prior->net_share));
	(void)sqlite3_bind_double(s, C_WAIT, share(prior->wait_share));
	(void)sqlite3_bind_double(s, C_CORES, sane(prior->cores_per_task));
	(void)sqlite3_bind_double(s, C_RUNTIME, sane(prior->runtime_ns));
	(void)sqlite3_bind_double(s, C_CPU_NS, sane(prior->cpu_ns));
	(void)sqlite3_bind_double(s, C_BYTES, sane(prior->bytes));
	(void)sqlite3_bind_double(s, C_RSS, sane(prior->rss_bytes));
	(void)statement_run(m, s, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * A look opens the database, copies rows out and closes it again, so that neither a lock nor a
 * snapshot is held while whoever asked for the rows waits for a slow reader of its own. How it is
 * opened depends on what lies beside it:
 *
 *	-wal and -shm    a run writes, or was killed: the usual way, read-only. SQLite's locks keep us
 *	                 apart from the writer, and nobody waits for anybody.
 *	no -wal          a run ended in good order: the file is all there is. It is read as a file that
 *	                 cannot change (immutable), since the usual way would make a -wal and a -shm
 *	                 beside it, and leave them there.
 *	-wal alone       somebody copied or moved the two, perhaps to where nothing can be made: read
 *	                 without locks, with the index of the log in our own memory.
 *
 * In the last two somebody may begin to write while we read. So what lies there is compared before
 * and after, and when it is not the same the rows are dropped and the look is done again.
 *
 * Whether a run goes on is seen from its process. To ask for its lock would be surer, and could keep
 * another run from getting it.
 */
#include "journal_look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "journal_header.h"
#include "journal_uri.h"
#include "sys/procfile.h"

enum {
	BUSY_MS = 2000,       /* a writer is in the middle of a recovery */
	TRIES = 20,           /* what changes under our hands is looked at again */
	MANY_BYTES = 1 << 20, /* of rows: the rest waits for the next look */
	ALIVE = 9,            /* ?9 in a statement */
};

/* A process begins before its run does; clocks differ a little. */
#define CLOCK_SLACK_NS ((int64_t)2000000000)

enum way { WAY_WHOLE, WAY_SHARED, WAY_ALONE };

/* What lies there. */
struct sight {
	struct stat file, wal;
	bool has_wal, has_shm;
};

struct kn_look {
	char *path;  /* owned, as the caller named it */
	char *real;  /* owned; where it really is; NULL: not looked yet */
	sqlite3 *db; /* during a look */
	char error[1024];
};

/* ---- errors ---------------------------------------------------------------------------------- */

int
kn_look_fail(struct kn_look *k, int err, const char *format, ...)
{
	size_t n = (size_t)snprintf(k->error, sizeof(k->error), "%.700s: ", k->path);
	va_list list;

	va_start(list, format);
	(void)vsnprintf(k->error + n, sizeof(k->error) - n, format, list);
	va_end(list);
	return err;
}

const char *
kn_look_error(const struct kn_look *k)
{
	return k->error;
}

static int
fail_damaged(struct kn_look *k, const char *why)
{
	return kn_look_fail(
	    k, -EUCLEAN, "damaged: %s; what can be saved of it: sqlite3 FILE .recover | sqlite3 NEW", why);
}

/* What an SQLite code means, after the call that gave it. */
static int
fail_code(struct kn_look *k, int code)
{
	const char *why = k->db != NULL ? sqlite3_errmsg(k->db) : sqlite3_errstr(code);
	int error = k->db != NULL ? sqlite3_system_errno(k->db) : 0;

	switch (code & 0xff) {
	case SQLITE_NOTADB:
		return kn_look_fail(k, -EINVAL, "is no journal of knee");
	case SQLITE_CORRUPT:
	case SQLITE_ERROR: /* no such table, no such column */
	case SQLITE_MISMATCH:
	case SQLITE_FORMAT:
		return fail_damaged(k, why);
	case SQLITE_NOMEM:
		return kn_look_fail(k, -ENOMEM, "%s", strerror(ENOMEM));
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return kn_look_fail(k, -EBUSY, "another program holds it: try again later");
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return kn_look_fail(k, error > 0 ? -error : -EACCES, "cannot be read: %s%s%s", why,
		    error > 0 ? ": " : "", error > 0 ? strerror(error) : "");
	default:
		return kn_look_fail(k, error > 0 ? -error : -EIO, "%s%s%s", why, error > 0 ? ": " : "",
		    error > 0 ? strerror(error) : "");
	}
}

/* ---- what lies there --------------------------------------------------------------------------- */

/* True when there is such a file beside the journal. */
static bool
beside(const struct kn_look *k, const char *ending, struct stat *ret)
{
	char *name = malloc(strlen(k->real) + strlen(ending) + 1);
	bool found;

	if (name == NULL)
		return false;
	(void)stpcpy(stpcpy(name, k->real), ending);
	found = stat(name, ret) == 0;
	free(name);
	return found;
}

static int
sight_take(struct kn_look *k, struct sight *ret)
{
	struct stat shm;

	memset(ret, 0, sizeof(*ret));
	/* SQLite puts its other files beside the file that a link leads to. */
	if (k->real == NULL)
		k->real = realpath(k->path, NULL);
	if (k->real == NULL || stat(k->real, &ret->file) < 0)
		return kn_look_fail(k, -errno, "%s", strerror(errno));
	if (!S_ISREG(ret->file.st_mode))
		return kn_look_fail(k, -EINVAL, "is no regular file, and no journal of knee");
	if (faccessat(AT_FDCWD, k->real, R_OK, AT_EACCESS) < 0)
		return kn_look_fail(k, -errno, "%s", strerror(errno));
	/* An empty log has nothing to add. */
	ret->has_wal = beside(k, "-wal", &ret->wal) && ret->wal.st_size > 0;
	ret->has_shm = beside(k, "-shm", &shm);
	/* Beside such a file SQLite would remove the log. */
	if (ret->has_wal && ret->file.st_size < KN_JOURNAL_HEADER_BYTES)
		return kn_look_fail(k, -EUCLEAN, "is damaged: it is empty, but its log is not");
	return 0;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool
same_sight(const struct sight *a, const struct sight *b)
{
	return same_file(&a->file, &b->file) && a->has_wal == b->has_wal && a->has_shm == b->has_shm &&
	    (!a->has_wal || same_file(&a->wal, &b->wal));
}

static enum way
way_of(const struct sight *s)
{
	if (!s->has_wal)
		return WAY_WHOLE;
	return s->has_shm ? WAY_SHARED : WAY_ALONE;
}

/* ---- opening ------------------------------------------------------------------------------------ */

/* A file that stands alone says in its first page how many pages it has. To open it once more for
 * that would, when closed, take away the locks of a connection that this process may have. */
static int
size_check(struct kn_look *k)
{
	unsigned char first[KN_JOURNAL_HEADER_BYTES];
	struct kn_journal_header header;
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;

	if (sqlite3_file_control(k->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
	    file == NULL || file->pMethods == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
		return kn_look_fail(k, -EIO, "cannot be read");
	if (size == 0)
		return kn_look_fail(k, -EINVAL, "is empty: no journal of knee, or not yet");
	if (size < KN_JOURNAL_HEADER_BYTES ||
	    file->pMethods->xRead(file, first, KN_JOURNAL_HEADER_BYTES, 0) != SQLITE_OK)
		return kn_look_fail(k, -EINVAL, "is no journal of knee");
	kn_journal_header_read(first, &header);
	if (!header.is_sqlite)
		return kn_look_fail(k, -EINVAL, "is no journal of knee");
	if ((uint64_t)size < header.bytes) {
		char why[96];

		(void)snprintf(why, sizeof(why), "cut short: %lld bytes of %lld", (long long)size,
		    (long long)header.bytes);
		return fail_damaged(k, why);
	}
	return 0;
}

/* The one number that sql gives, in *ret. */
static int
number_get(struct kn_look *k, const char *sql, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(k->db, sql, -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		*ret = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return code == SQLITE_ROW ? 0 : fail_code(k, code);
}

static int
identity_check(struct kn_look *k)
{
	int64_t id = 0, version = 0;
	int err = number_get(k, "PRAGMA application_id", &id);

	if (err == 0)
		err = number_get(k, "PRAGMA user_version", &version);
	if (err < 0)
		return err;
	if (id != KN_JOURNAL_ID)
		return kn_look_fail(k, -EINVAL, "is no journal of knee");
	/* What is learnt of commands is in a file with the same mark. */
	err = number_get(k, "SELECT count(*) FROM sqlite_master WHERE name = 'learnt'", &id);
	if (err < 0)
		return err;
	if (id > 0 || version < 1)
		return kn_look_fail(k, -EINVAL, "is no journal of knee");
	if (version > KN_JOURNAL_VERSION)
		return kn_look_fail(k, -EINVAL,
		    "written by a newer version of knee: its format is %lld, this one reads %d",
		    (long long)version, KN_JOURNAL_VERSION);
	return 0;
}

static int
database_open(struct kn_look *k, enum way way)
{
	static const char *const parameters[] = {
		[WAY_WHOLE] = "?immutable=1",
		[WAY_SHARED] = "",
		[WAY_ALONE] = "?vfs=unix-none",
	};
	char *uri = kn_journal_uri(k->real, parameters[way]);
	int code;

	if (uri == NULL)
		return kn_look_fail(k, -ENOMEM, "%s", strerror(ENOMEM));
	code =
	    sqlite3_open_v2(uri, &k->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	free(uri);
	if (code != SQLITE_OK)
		return fail_code(k, code);
	(void)sqlite3_busy_timeout(k->db, BUSY_MS);
	/* Whoever made the file: nothing in it is run. */
	(void)sqlite3_db_config(k->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(k->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (way == WAY_ALONE) {
		code = sqlite3_exec(k->db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL);
		if (code != SQLITE_OK)
			return fail_code(k, code);
	}
	if (way == WAY_WHOLE) {
		int err = size_check(k);

		if (err < 0)
			return err;
	}
	return identity_check(k);
}

/* ---- the run that goes on ----------------------------------------------------------------------- */

/* Nanoseconds since the Epoch at which the process was started; 0: there is none, or a dead one. */
static int64_t
process_begin(int64_t pid)
{
	char path[64], text[1024];
	struct timespec now, up;
	const char *s;
	int64_t begin_ns;

	(void)snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
	if (pid <= 0 || kn_procfile_read(path, text, sizeof(text)) <= 0)
		return 0;
	/* The name before it may hold anything. */
	s = strrchr(text, ')');
	if (s == NULL || s[1] != ' ' || s[2] == 'Z' || s[2] == 'X')
		return 0;
	s++;
	kn_procfile_skip(&s, 19);
	begin_ns = (int64_t)(kn_procfile_number(&s) * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK)));
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)clock_gettime(CLOCK_BOOTTIME, &up);
	return (int64_t)(now.tv_sec - up.tv_sec) * 1000000000 + (now.tv_nsec - up.tv_nsec) + begin_ns;
}

/* True when the run of that row (host, boot, pid, begin_ns) goes on. Of another machine nothing can be
 * seen: what has no end is taken to go on. */
static bool
is_alive(sqlite3_stmt *row)
{
	const char *host = (const char *)sqlite3_column_text(row, 1);
	const char *boot = (const char *)sqlite3_column_text(row, 2);
	char own_host[256] = "", own_boot[64] = "";
	int64_t process_ns;

	(void)gethostname(own_host, sizeof(own_host) - 1);
	if (host == NULL || strcmp(host, own_host) != 0)
		return true;
	(void)kn_procfile_read("/proc/sys/kernel/random/boot_id", own_boot, sizeof(own_boot));
	own_boot[strcspn(own_boot, "\n")] = '\0';
	if (boot != NULL && boot[0] != '\0' && own_boot[0] != '\0' && strcmp(boot, own_boot) != 0)
		return false;
	process_ns = process_begin(sqlite3_column_int64(row, 3));
	return process_ns > 0 && process_ns <= sqlite3_column_int64(row, 4) + CLOCK_SLACK_NS;
}

/* Its number in *ret, 0 when none does. */
static int
alive_find(struct kn_look *k, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(k->db,
	    "SELECT run, host, boot, pid, begin_ns, end_ns FROM run ORDER BY run DESC LIMIT 1", -1, &s, NULL);

	*ret = 0;
	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	if (code == SQLITE_ROW && sqlite3_column_type(s, 5) == SQLITE_NULL && is_alive(s))
		*ret = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : fail_code(k, code);
}

/* ---- a look ----------------------------------------------------------------------------------- */

static int
values_bind(sqlite3_stmt *s, const struct kn_look_value *values, size_t n, int64_t alive)
{
	int code = SQLITE_OK;

	for (size_t i = 0; i < n && code == SQLITE_OK; i++) {
		const struct kn_look_value *v = &values[i];

		if (v->null)
			code = sqlite3_bind_null(s, (int)i + 1);
		else if (v->text != NULL)
			code = sqlite3_bind_text(s, (int)i + 1, v->text, -1, SQLITE_STATIC);
		else
			code = sqlite3_bind_int64(s, (int)i + 1, v->number);
	}
	if (code == SQLITE_OK && sqlite3_bind_parameter_count(s) >= ALIVE && alive > 0)
		code = sqlite3_bind_int64(s, ALIVE, alive);
	return code;
}

static int
rows_read(struct kn_look *k, const char *sql, const struct kn_look_value *values, size_t nvalues,
    struct kn_look_rows *ret)
{
	sqlite3_stmt *s = NULL;
	int64_t alive;
	int code, err;

	err = alive_find(k, &alive);
	if (err < 0)
		return err;
	code = sqlite3_prepare_v2(k->db, sql, -1, &s, NULL);
	if (code == SQLITE_OK)
		code = values_bind(s, values, nvalues, alive);
	ret->ncolumns = (size_t)sqlite3_column_count(s);
	while (code == SQLITE_OK || code == SQLITE_ROW) {
		code = sqlite3_step(s);
		if (code != SQLITE_ROW)
			break;
		if (ret->nrows >= KN_LOOK_ROWS || ret->bytes.len >= MANY_BYTES) {
			ret->more = true;
			code = SQLITE_DONE;
			break;
		}
		if (kn_look_row_add(ret, s) < 0)
			code = SQLITE_NOMEM;
	}
	err = code == SQLITE_DONE ? 0 : fail_code(k, code);
	(void)sqlite3_finalize(s);
	return err;
}

int
kn_look(struct kn_look *k, const char *sql, const struct kn_look_value *values, size_t nvalues,
    struct kn_look_rows *ret)
{
	struct sight before, after;
	int err = 0;

	for (int i = 0; i < TRIES; i++) {
		kn_look_rows_clear(ret);
		err = sight_take(k, &before);
		if (err < 0)
			return err;
		k->db = NULL;
		err = database_open(k, way_of(&before));
		if (err == 0)
			err = rows_read(k, sql, values, nvalues, ret);
		(void)sqlite3_close(k->db);
		k->db = NULL;
		if (err == 0 && way_of(&before) == WAY_SHARED)
			return 0;
		/* An error may come from what changed as well. */
		if (sight_take(k, &after) == 0 && same_sight(&before, &after))
			break;
		if (i == TRIES - 1 && err == 0)
			err = kn_look_fail(k, -EBUSY, "it changes all the time: try again later");
	}
	if (err < 0)
		kn_look_rows_clear(ret);
	return err;
}

/* ---- making ------------------------------------------------------------------------------------- */

int
kn_look_new(const char *path, struct kn_look **ret)
{
	struct kn_look *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return -ENOMEM;
	k->path = strdup(path);
	if (k->path == NULL) {
		free(k);
		return -ENOMEM;
	}
	*ret = k;
	return 0;
}

void
kn_look_free(struct kn_look *k)
{
	if (k == NULL)
		return;
	free(k->real);
	free(k->path);
	free(k);
}

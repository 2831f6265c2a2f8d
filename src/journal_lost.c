/* SPDX-License-Identifier: MIT */
/*
 * After a loss of power: the journal may have reached the disk when the output file had not. Then the file is
 * shorter than the journal says, and the tasks whose output lies behind its end are not finished after
 * all. The last output that is there whole is where the next run goes on.
 */
#include "journal.h"

#include <sqlite3.h>

/* Of a stream, "out" or "err"; ?1: the inode of its file; ?2: the size. All runs count that wrote to it. */
#define SQL_REDO(stream) \
	"UPDATE task SET state = 0, printed = 0 WHERE state <> 0 AND seq IN (" \
	" SELECT a.seq FROM attempt a JOIN progress p USING (run) JOIN task t ON t.seq = a.seq" \
	"  AND t.attempts = a.attempt WHERE p." stream "_inode = ?1" \
	"  AND a." stream "_at + a." stream "_bytes > ?2)"

/* The end of the last output that is there whole; without one the place where the first run began. */
#define SQL_WHOLE(stream) \
	"SELECT coalesce(max(a." stream "_at + a." stream "_bytes), (SELECT min(" stream "_begin, ?2)" \
	"  FROM progress WHERE " stream "_inode = ?1 ORDER BY run LIMIT 1))" \
	" FROM attempt a JOIN progress p USING (run)" \
	" WHERE p." stream "_inode = ?1 AND a." stream "_at + a." stream "_bytes <= ?2"

static const char *const sql_redo[2] = { SQL_REDO("out"), SQL_REDO("err") };
static const char *const sql_whole[2] = { SQL_WHOLE("out"), SQL_WHOLE("err") };

static const char sql_counts[] = "SELECT count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2)"
				 " FROM task";

/* One row of numbers, or none. */
static int
numbers_of(struct knee_journal *j, const char *sql, const int64_t args[2], int64_t *ret, int n)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(j->db, sql, -1, &s, NULL);

	for (int i = 0; i < 2 && code == SQLITE_OK && i < sqlite3_bind_parameter_count(s); i++)
		code = sqlite3_bind_int64(s, i + 1, args[i]);
	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	for (int i = 0; i < n && code == SQLITE_ROW; i++)
		ret[i] = sqlite3_column_int64(s, i);
	(void)sqlite3_finalize(s);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 :
							   kn_journal_sqlite_fail(j, code, "cannot be read");
}

static int
place_redo(struct knee_journal *j, size_t which)
{
	struct kn_journal_place *p = &j->place[which];
	const int64_t file[2] = { p->inode, p->cut };
	int64_t whole = 0, counts[2] = { 0, 0 };
	int err = numbers_of(j, sql_redo[which], file, NULL, 0);

	if (err == 0) {
		j->redone += sqlite3_changes(j->db);
		err = numbers_of(j, sql_whole[which], file, &whole, 1);
	}
	if (err == 0)
		err = numbers_of(j, sql_counts, file, counts, 2);
	if (err < 0)
		return err;
	p->cut = p->base = whole;
	j->sums[KN_SUM_SUCCEEDED] = counts[0];
	j->sums[KN_SUM_FAILED] = counts[1];
	return 0;
}

int
kn_journal_lost_redo(struct knee_journal *j)
{
	int err = j->place[0].lost ? place_redo(j, 0) : 0;

	return err == 0 && j->place[1].lost ? place_redo(j, 1) : err;
}

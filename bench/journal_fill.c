/* SPDX-License-Identifier: MIT */
/*
 * A journal of millions of finished tasks, without running them: knee began it and ran the one input
 * "1" to its end, and the rows of that task are written again for the inputs 2 to COUNT, each with the
 * digest and the command of its own.
 *
 *	journal_fill FILE COUNT
 *
 * So header, run and all that is not of a task are genuine, columns are asked for and not assumed, and
 * the rows of the two tables lie in the file as those of a run would: side by side.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "journal.h"

#define ROWS_OF_A_COMMIT 100000

static sqlite3 *db;

static void
check(int code)
{
	if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
		return;
	fprintf(stderr, "journal_fill: %s\n", db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
	exit(1);
}

static void
run(const char *sql)
{
	check(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* The row of task 1 once more, with another seq (?1), digest (?2) and command (?3). */
static sqlite3_stmt *
copying(const char *table)
{
	sqlite3_stmt *s = NULL, *ret = NULL;
	char *text =
	    sqlite3_mprintf("CREATE TEMP TABLE one_%s AS SELECT * FROM %s WHERE seq = 1", table, table);

	run(text);
	sqlite3_free(text);
	text = sqlite3_mprintf(
	    "SELECT 'INSERT INTO main.%s SELECT ' || group_concat(CASE name"
	    "  WHEN 'seq' THEN '?1' WHEN 'digest' THEN '?2' WHEN 'command' THEN '?3' ELSE name END)"
	    " || ' FROM one_%s' FROM (SELECT name FROM pragma_table_info('%s') ORDER BY cid)",
	    table, table, table);
	check(sqlite3_prepare_v2(db, text, -1, &s, NULL));
	sqlite3_free(text);
	check(sqlite3_step(s));
	check(sqlite3_prepare_v2(db, (const char *)sqlite3_column_text(s, 0), -1, &ret, NULL));
	check(sqlite3_finalize(s));
	return ret;
}

static void
insert(sqlite3_stmt *s)
{
	check(sqlite3_step(s));
	check(sqlite3_reset(s));
}

static void
fill(unsigned long long count)
{
	sqlite3_stmt *task = copying("task"), *attempt = copying("attempt");
	char command[64];
	const char *arg = command + sizeof("/bin/true ") - 1;

	for (unsigned long long seq = 2; seq <= count; seq++) {
		(void)snprintf(command, sizeof(command), "/bin/true %llu", seq);
		check(sqlite3_bind_int64(task, 1, (int64_t)seq));
		check(sqlite3_bind_int64(task, 2, kn_journal_digest(&arg, 1)));
		check(sqlite3_bind_int64(attempt, 1, (int64_t)seq));
		check(sqlite3_bind_text(attempt, 3, command, -1, SQLITE_STATIC));
		insert(task);
		insert(attempt);
		if (seq % ROWS_OF_A_COMMIT == 0)
			run("COMMIT; BEGIN");
	}
	check(sqlite3_finalize(task));
	check(sqlite3_finalize(attempt));
}

int
main(int argc, char **argv)
{
	unsigned long long count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	char *text;

	if (count < 1) {
		fprintf(stderr, "usage: journal_fill FILE COUNT\n");
		return 2;
	}
	check(sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL));
	/* If this dies the file is of no use: it need not be safe meanwhile. */
	run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN");
	fill(count);
	text = sqlite3_mprintf(
	    "UPDATE run SET inputs = %llu;"
	    "UPDATE progress SET tasks = %llu, succeeded = %llu, attempts = %llu,"
	    " runtime_ns = runtime_ns * %llu, user_ns = user_ns * %llu, system_ns = system_ns * %llu;"
	    "COMMIT; PRAGMA journal_mode = WAL",
	    count, count, count, count, count, count, count);
	run(text);
	sqlite3_free(text);
	check(sqlite3_close(db));
	return 0;
}

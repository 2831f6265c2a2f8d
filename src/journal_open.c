/* SPDX-License-Identifier: MIT */
/*
 * From a path to a journal that is written: the lock, the checks, then the first writing. The run's own
 * row and the cut of its output files are one step: the row is committed after the cut, and a start that
 * dies in between finds the files as long as the journal says.
 */
#include "journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/buf.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/machine.h"
#include "sys/procfile.h"

/* ---- what a run says of itself ---------------------------------------------- */

/* The length of the UTF-8 sequence at s, 0 when it is none. */
static size_t
utf8_length(const char *s)
{
	unsigned char c = (unsigned char)s[0];
	size_t n = c < 0x80       ? 1 :
	    c >= 0xc2 && c < 0xe0 ? 2 :
	    (c & 0xf0) == 0xe0    ? 3 :
	    c >= 0xf0 && c < 0xf5 ? 4 :
				    0;

	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static int
json_char(struct kn_buf *b, const char *s, size_t n)
{
	char escaped[8];

	if (n == 0)
		return kn_buf_add(b, "\\ufffd", 6);
	if (n > 1 || ((unsigned char)*s >= 0x20 && *s != '"' && *s != '\\'))
		return kn_buf_add(b, s, n);
	(void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)(unsigned char)*s);
	return kn_buf_add(b, escaped, 6);
}

/* The words as a JSON array, with a NUL. */
static int
json_words(struct kn_buf *b, const char *const *words, size_t n)
{
	int err = kn_buf_add(b, "[", 1);

	for (size_t i = 0; i < n && err == 0; i++) {
		const char *s = words[i];

		err = kn_buf_add(b, i > 0 ? ",\"" : "\"", i > 0 ? 2 : 1);
		while (err == 0 && *s != '\0') {
			size_t size = utf8_length(s);

			err = json_char(b, s, size);
			s += size > 0 ? size : 1;
		}
		if (err == 0)
			err = kn_buf_add(b, "\"", 1);
	}
	return err == 0 ? kn_buf_add(b, "]", 2) : err;
}

static void
boot_id(char *ret, size_t size)
{
	if (kn_procfile_read("/proc/sys/kernel/random/boot_id", ret, size) < 0)
		ret[0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static int
run_begin(struct knee_journal *j, const struct knee_journal_options *o)
{
	const int64_t numbers[] = { j->run, getpid(), (int64_t)o->order, (int64_t)o->resume,
		(int64_t)kn_machine_memory(), kn_clock_time_ns() };
	const enum kn_journal_sql sql = KN_SQL_RUN_BEGIN;
	struct kn_buf arguments = { 0 };
	struct utsname kernel = { 0 };
	char *directory = getcwd(NULL, 0);
	int err = json_words(&arguments, o->argv, o->argc);

	(void)uname(&kernel);
	if (err == 0) {
		kn_journal_bind(j, sql, 1, numbers, 6);
		kn_journal_bind_text(j, sql, 7, KNEE_VERSION);
		kn_journal_bind_text(j, sql, 8, j->host);
		kn_journal_bind_text(j, sql, 9, j->boot);
		kn_journal_bind_text(j, sql, 10, directory);
		kn_journal_bind_text(j, sql, 11, o->command);
		kn_journal_bind_text(j, sql, 12, arguments.data);
		kn_journal_bind_text(j, sql, 13, kernel.release);
		kn_journal_bind_real(j, sql, 14, kn_machine_cores_exact());
		err = kn_journal_write(j, sql);
	} else {
		err = kn_journal_fail(j, err, "%s: %s", j->path, strerror(-err));
	}
	kn_buf_done(&arguments);
	free(directory);
	return err;
}

static int
progress_begin(struct knee_journal *j)
{
	enum { COLUMNS = 6 };
	int64_t places[2 * COLUMNS];
	char path[4096] = "";

	for (size_t i = 0; i < 2; i++) {
		struct kn_journal_place *p = &j->place[i];
		const int64_t columns[COLUMNS] = { p->device, p->inode, p->born_ns, p->base, p->written,
			p->fd >= 0 ? kn_journal_place_tail(p) : 0 };

		for (size_t n = 0; n < COLUMNS; n++)
			places[COLUMNS * i + n] = p->fd >= 0 ? columns[n] : KN_JOURNAL_NULL;
	}
	kn_journal_bind(j, KN_SQL_PROGRESS_BEGIN, 1, &j->run, 1);
	kn_journal_bind(j, KN_SQL_PROGRESS_BEGIN, 2, j->sums, KN_SUM_COUNT);
	kn_journal_bind(j, KN_SQL_PROGRESS_BEGIN, 2 + KN_SUM_COUNT, places, sizeof(places) / sizeof(*places));
	if (j->place[0].fd >= 0)
		kn_journal_place_path(&j->place[0], path, sizeof(path));
	kn_journal_bind_text(
	    j, KN_SQL_PROGRESS_BEGIN, 2 + KN_SUM_COUNT + (int)(sizeof(places) / sizeof(*places)), path);
	return kn_journal_write(j, KN_SQL_PROGRESS_BEGIN);
}

/* ---- opening ------------------------------------------------------------------ */

static struct knee_journal *
journal_new(const struct knee_journal_options *o)
{
	struct knee_journal *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->lock_fd = -1;
	j->place[0] = j->place[1] = (struct kn_journal_place){ .fd = -1, .read_fd = -1 };
	j->how = o->resume;
	j->order = o->order;
	j->sync = o->sync != 0;
	j->unseen = o->order == KNEE_ORDER_NONE || (o->out < 0 && o->err < 0);
	j->cut_seq = UINT64_MAX;
	j->sampled.cpu_busy_frac = -1;
	(void)gethostname(j->host, sizeof(j->host) - 1);
	boot_id(j->boot, sizeof(j->boot));
	j->path = strdup(o->path);
	if (j->path != NULL)
		return j;
	free(j);
	return NULL;
}

/* A file that was made for this start goes with it. */
static void
file_remove(const struct knee_journal *j)
{
	static const char *const endings[] = { "", "-wal", "-shm", "-journal" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		char *name;

		if (asprintf(&name, "%s%s", j->real != NULL ? j->real : j->path, endings[i]) < 0)
			return;
		(void)unlink(name);
		free(name);
	}
}

static void
journal_free(struct knee_journal *j)
{
	kn_journal_db_close(j);
	kn_fd_close(&j->lock_fd);
	kn_journal_places_done(j);
	kn_journal_entries_done(&j->entries);
	free(j->resume.rows);
	free(j->real);
	free(j->path);
	free(j);
}

/* All that is read before anything is written. */
static int
check(struct knee_journal *j, const struct knee_journal_options *o, bool *make)
{
	struct kn_journal_past past = { 0 };
	int is;

	kn_journal_places_look(j, o);
	is = kn_journal_lock(j);
	if (is == 0)
		is = kn_journal_check(j, o, &past);
	if (is >= 0 && past.run == 0 && o->resume == KNEE_RETRY_FAILED)
		is = kn_journal_fail(
		    j, -ENOENT, "%s: holds no run whose failed tasks could be run again", j->path);
	*make = is == 0;
	j->run = past.run + 1;
	j->last_before = (uint64_t)past.last_seq;
	j->outputs = past.outputs[0];
	j->parts = past.outputs[2] != 0;
	memcpy(j->sums, past.sums, sizeof(j->sums));
	kn_journal_past_done(&past);
	return is < 0 ? is : 0;
}

/* The row of this run, and the files as it needs them. */
static int
begin(struct knee_journal *j, const struct knee_journal_options *o)
{
	int err = kn_journal_begin(j);

	if (err == 0)
		err = run_begin(j, o);
	if (err == 0)
		err = kn_journal_lost_redo(j);
	if (err == 0)
		err = kn_journal_places_cut(j);
	if (err == 0)
		err = progress_begin(j);
	return err < 0 ? err : kn_journal_commit(j);
}

int
knee_journal_open(const struct knee_journal_options *o, knee_journal **ret, char *err, size_t errsize)
{
	struct knee_journal *j = journal_new(o);
	bool make = false;
	int e;

	if (j == NULL) {
		(void)snprintf(err, errsize, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	e = check(j, o, &make);
	if (e == 0)
		e = kn_journal_db_open(j, make);
	if (e == 0)
		e = kn_journal_db_prepare(j);
	if (e == 0)
		e = begin(j, o);
	if (e == 0) {
		if (errsize > 0)
			err[0] = '\0';
		if (j->redone > 0)
			(void)snprintf(err, errsize,
			    "%s: the machine went down before all output was on the disk: %" PRId64
			    " tasks run again whose output was lost",
			    j->path, j->redone);
		*ret = j;
		return 0;
	}
	kn_journal_rollback(j);
	(void)snprintf(err, errsize, "%s", j->error);
	/* Before the lock goes: nobody else can have begun with it. */
	kn_journal_db_close(j);
	if (j->made)
		file_remove(j);
	journal_free(j);
	return e;
}

/* ---- closing ------------------------------------------------------------------ */

static int
end(struct knee_journal *j, int status)
{
	const int64_t numbers[] = { j->run, kn_clock_time_ns(), status,
		j->resume.ended ? (int64_t)j->resume.seq : KN_JOURNAL_NULL };
	int64_t sizes[3] = { j->run, kn_journal_place_size(&j->place[0]),
		kn_journal_place_size(&j->place[1]) };
	bool is_whole = j->cut_seq == UINT64_MAX && j->entries.used == 0 && j->outputs == 0;
	int err;

	for (size_t i = 0; i < 2; i++) {
		/* Nothing is half written: what follows the last output are messages, and they stay. But a
		 * whole is printed anew by a run that goes on from here. */
		if (is_whole && sizes[i + 1] >= 0 && (i > 0 || !j->parts)) {
			j->place[i].written = sizes[i + 1];
			j->place[i].printing = 0;
		}
		if (sizes[i + 1] < 0)
			sizes[i + 1] = KN_JOURNAL_NULL;
	}
	j->progressed = j->progressed || is_whole;
	err = kn_journal_write_tasks(j);
	kn_journal_bind(j, KN_SQL_RUN_END, 1, numbers, 4);
	if (err == 0)
		err = kn_journal_write(j, KN_SQL_RUN_END);
	kn_journal_bind(j, KN_SQL_PROGRESS_END, 1, sizes, 3);
	if (err == 0)
		err = kn_journal_write(j, KN_SQL_PROGRESS_END);
	return err < 0 ? err : kn_journal_commit(j);
}

int
knee_journal_close(knee_journal *j, int status)
{
	int err;

	if (j == NULL)
		return 0;
	err = j->err == 0 ? end(j, status) : j->err;
	kn_journal_rollback(j);
	journal_free(j);
	return err;
}

const char *
knee_journal_error(const knee_journal *j)
{
	return j->error;
}

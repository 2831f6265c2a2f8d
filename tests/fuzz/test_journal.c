/* SPDX-License-Identifier: MIT */
/*
 * A journal that was damaged, by bytes or by values that nobody writes: it is refused with a text and
 * left as it was, or it is gone on from to the end; and whoever only looks into it writes nothing.
 *
 * The damage is done to a small journal that is made here, once closed in good order and once
 * as a run that died leaves it: so the inputs stay small and outlive a change of the format.
 *
 * Bytes: how to open it; then four bytes for each damage: what, where (2), with what. Or the file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <knee_program.h>

#include "fuzz.h"

enum { TASKS = 12, ROWS_MAX = 1000, COLUMNS_MAX = 160, DAMAGES_MAX = 64 };
enum { RESUME = 3, DIED = 4, RAW = 8, PRINTS = 16, SYNC = 32, OTHER = 64, LOOK = 128 };

struct bytes {
	uint8_t *data; /* owned */
	size_t size;
};

/* A column of a table, and a row's ones. */
struct column {
	char table[32], name[32];
};

static struct {
	char folder[64], path[80], wal[88];
	struct bytes file[2], log[2]; /* as it was closed, and as it was left; the -wal */
	struct column columns[COLUMNS_MAX];
	size_t ncolumns;
	int out; /* where tasks print */
} base;

/* ---- files -------------------------------------------------------------------- */

static struct bytes
file_get(const char *path)
{
	struct bytes b = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return b;
	HOLDS(fstat(fd, &st) == 0, "%s", path);
	b.size = (size_t)st.st_size;
	b.data = malloc(b.size + 1);
	HOLDS(b.data != NULL && read(fd, b.data, b.size) == (ssize_t)b.size, "%s", path);
	close(fd);
	return b;
}

static void
file_put(const char *path, const struct bytes *b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	HOLDS(fd >= 0 && write(fd, b->data, b->size) == (ssize_t)b->size, "%s", path);
	close(fd);
}

static struct bytes
copy(const struct bytes *b)
{
	struct bytes c = { .data = malloc(b->size + 1), .size = b->size };

	HOLDS(c.data != NULL, "no memory");
	if (b->size > 0)
		memcpy(c.data, b->data, b->size);
	return c;
}

static bool
same(const struct bytes *a, const struct bytes *b)
{
	return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void
remove_all(void)
{
	static const char *const endings[] = { "", "-wal", "-shm", "-journal" };
	char name[128];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", base.path, endings[i]);
		(void)unlink(name);
	}
}

static void
base_remove(void)
{
	remove_all();
	(void)rmdir(base.folder);
	close(base.out);
	for (size_t i = 0; i < 2; i++) {
		free(base.file[i].data);
		free(base.log[i].data);
	}
}

/* ---- a run -------------------------------------------------------------------- */

struct feed {
	unsigned at;
	char text[32];
	const char *arg;
};

static int
feed_next(void *self, struct knee_input *ret)
{
	struct feed *f = self;

	if (f->at == TASKS)
		return 0;
	(void)snprintf(f->text, sizeof(f->text), "input %u", ++f->at);
	f->arg = f->text;
	*ret = (struct knee_input){ .args = &f->arg, .nargs = 1 };
	return 1;
}

static int
feed_fd(void *self)
{
	(void)self;
	return -1;
}

/* Two pieces. */
static int
output_read(void *self, uint64_t n, enum knee_stream *stream, const char **data, size_t *size)
{
	(void)self;
	if (n > 1)
		return 0;
	*stream = n == 0 ? KNEE_STDOUT : KNEE_STDERR;
	*data = "some output\n";
	*size = strlen(*data);
	return 1;
}

static int
tell(const struct knee_sink *sink, enum knee_event_kind kind, const struct knee_input *input, uint64_t seq,
    const struct knee_result *result)
{
	const struct knee_event event = {
		.kind = kind,
		.seq = seq,
		.slot = 1,
		.command = "echo",
		.result = result,
		.args = input->args,
		.nargs = input->nargs,
		.read = kind == KNEE_EVENT_RESULT && seq % 3 == 0 ? output_read : NULL,
	};

	return sink->event(sink->self, &event);
}

/* An input that runs: tasks end in good and in bad order, some stay in flight. */
static int
task_run(
    const struct knee_sink *sink, knee_journal *j, const struct knee_input *input, uint64_t seq, bool all)
{
	const struct knee_result result = { .outcome = seq % 5 == 0 ? KNEE_SIGNALED : KNEE_EXITED,
		.status = seq % 5 == 0 ? 9 : seq % 4 == 0,
		.attempt = 1,
		.start_time_ns = 1700000000000000000,
		.runtime_ns = 12345678,
		.cpu_user_ns = 1234567,
		.cpu_sys_ns = 123456,
		.peak_rss_bytes = 1 << 20,
		.output_bytes = 12 };
	int err = tell(sink, KNEE_EVENT_START, input, seq, NULL);

	if (err == 0 && seq % 7 == 0)
		err = tell(sink, KNEE_EVENT_RETRY, input, seq, &result);
	if (err == 0 && seq % 7 == 0)
		err = tell(sink, KNEE_EVENT_START, input, seq, NULL);
	if (err == 0 && (all || seq % 6 != 5))
		err = tell(sink, KNEE_EVENT_RESULT, input, seq, &result);
	if (err == 0 && (all || seq < 3))
		knee_journal_printed(j, seq, 12 * seq, 0);
	return err;
}

/* What an earlier run has of an input. */
static int
stored_take(knee_journal *j, const struct knee_stored *s, uint64_t seq)
{
	enum knee_stream stream;
	const char *data;
	size_t size, all = 0;
	int n = 0;

	if (s->result != NULL)
		HOLDS((unsigned)s->result->outcome < KNEE_OUTCOMES, "outcome %d", (int)s->result->outcome);
	if (s->printed)
		return 0;
	for (uint64_t i = 0; i < ROWS_MAX && (n = s->read(s->self, i, &stream, &data, &size)) > 0; i++) {
		HOLDS(stream == KNEE_STDOUT || stream == KNEE_STDERR, "stream %d", (int)stream);
		for (size_t k = 0; k < size; k++)
			all += (unsigned char)data[k];
	}
	HOLDS(all < SIZE_MAX, "every byte is there");
	if (n == 0)
		knee_journal_printed(j, seq, 12 * seq, 0);
	return n;
}

static int
inputs_run(knee_journal *j, bool all)
{
	struct feed feed = { 0 };
	const struct knee_source inner = { .self = &feed, .next = feed_next, .fd = feed_fd };
	struct knee_source source = knee_journal_source(j, &inner);
	struct knee_sink sink = knee_journal_sink(j);
	const struct knee_stats stats = { .started = 1, .running = 1, .limit = 2 };
	const struct knee_work work = { .kind = KNEE_KIND_CPU, .name = "echo", .limit = 2, .nlevels = 0 };
	const struct knee_event limit = {
		.kind = KNEE_EVENT_LIMIT, .limit = 2, .work = &work, .reason = "as many as cores"
	};
	struct knee_input input;
	uint64_t seq = 0;
	int n;

	while ((n = source.next(source.self, &input)) > 0) {
		seq++;
		n = input.stored != NULL ? stored_take(j, input.stored, seq) :
					   task_run(&sink, j, &input, seq, all);
		if (n == 0 && seq == 2)
			n = sink.event(sink.self, &limit);
		if (n == 0 && sink.tick != NULL)
			(void)sink.tick(sink.self, &stats, (int64_t)seq * 1000000000);
		if (n == 0 && seq % 4 == 0)
			n = sink.flush(sink.self);
		if (n < 0)
			break;
	}
	if (n == 0 && all)
		n = sink.event(sink.self, &(struct knee_event){ .kind = KNEE_EVENT_END });
	HOLDS(n == 0 || knee_journal_error(j)[0] != '\0', "%d without a text", n);
	return n;
}

static int
journal_open(enum knee_resume resume, uint8_t how, knee_journal **ret)
{
	static const char *const argv[] = { "knee", "echo" };
	const struct knee_journal_options o = { .path = base.path,
		.resume = resume,
		.sync = (how & SYNC) != 0,
		.command = (how & OTHER) != 0 ? "another" : "echo",
		.argv = argv,
		.argc = 2,
		.out = (how & PRINTS) != 0 ? base.out : -1,
		.err = -1 };
	char err[1024] = "";
	int got = knee_journal_open(&o, ret, err, sizeof(err));

	HOLDS(got <= 0, "%d", got);
	HOLDS(
	    got == 0 || (err[0] != '\0' && memchr(err, '\0', sizeof(err)) != NULL), "%d without a text", got);
	return got;
}

/* ---- the journal that is damaged ------------------------------------------------ */

static void
columns_find(void)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;

	HOLDS(sqlite3_open(base.path, &db) == SQLITE_OK &&
		sqlite3_prepare_v2(db,
		    "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p"
		    " WHERE m.type = 'table' ORDER BY m.name, p.cid",
		    -1, &s, NULL) == SQLITE_OK,
	    "no tables");
	while (base.ncolumns < COLUMNS_MAX && sqlite3_step(s) == SQLITE_ROW) {
		struct column *c = &base.columns[base.ncolumns++];

		(void)snprintf(c->table, sizeof(c->table), "%s", (const char *)sqlite3_column_text(s, 0));
		(void)snprintf(c->name, sizeof(c->name), "%s", (const char *)sqlite3_column_text(s, 1));
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	HOLDS(base.ncolumns > 0, "no tables");
}

static void
base_make(void)
{
	knee_journal *j = NULL;

	if (base.folder[0] != '\0')
		return;
	(void)snprintf(base.folder, sizeof(base.folder), "%s/knee-fuzz-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	HOLDS(mkdtemp(base.folder) != NULL, "no folder");
	(void)snprintf(base.path, sizeof(base.path), "%s/j", base.folder);
	(void)snprintf(base.wal, sizeof(base.wal), "%s-wal", base.path);
	(void)atexit(base_remove);
	base.out = memfd_create("out", MFD_CLOEXEC);
	HOLDS(base.out >= 0 && journal_open(KNEE_RESUME_NO, PRINTS, &j) == 0, "no journal");
	HOLDS(inputs_run(j, false) == 0, "%s", knee_journal_error(j));
	base.file[1] = file_get(base.path);
	base.log[1] = file_get(base.wal);
	HOLDS(knee_journal_close(j, 1) == 0, "not closed");
	base.file[0] = file_get(base.path);
	columns_find();
	remove_all();
}

/* Put a value where nobody would: all rows, or one. */
static void
value_damage(uint16_t where, uint8_t with)
{
	static const char *const values[] = { "-1", "0", "1", "2", "255", "256", "9223372036854775807",
		"(-9223372036854775807 - 1)", "NULL", "'text'", "''", "x'00ff'", "zeroblob(20000)", "1e300",
		"-0.5", "4294967296" };
	const struct column *c = &base.columns[where % base.ncolumns];
	char sql[256];
	sqlite3 *db = NULL;

	(void)snprintf(sql, sizeof(sql),
	    with >= 128 ?
		"UPDATE OR REPLACE %s SET %s = %s WHERE %s IN (SELECT %s FROM %s LIMIT 1 OFFSET %u)" :
		"UPDATE OR IGNORE %s SET %s = %s",
	    c->table, c->name, values[with & 15], c->name, c->name, c->table, with >> 4 & 7u);
	if (sqlite3_open(base.path, &db) == SQLITE_OK)
		(void)sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_close(db);
}

static void
byte_damage(struct bytes *b, uint8_t what, uint16_t where, uint8_t with)
{
	if (b->size == 0)
		return;
	switch (what >> 4 & 3) {
	case 0:
		b->data[where % b->size] = with;
		break;
	case 1: /* in the header, or that of a page */
		b->data[((size_t)(where >> 8) * 4096 + (where & 127)) % b->size] = with;
		break;
	case 2:
		b->size = where % b->size;
		break;
	case 3:
		b->data[where % b->size] ^= (uint8_t)(1 << (with & 7));
		break;
	}
}

/* The file and its log, with all the damage that the bytes say. */
static void
damaged_make(struct fuzz_bytes *b, uint8_t how, struct bytes *file, struct bytes *log)
{
	bool died = (how & DIED) != 0;

	remove_all();
	if ((how & RAW) != 0) {
		*file = copy(&(struct bytes){ (uint8_t *)b->data, b->size });
		*log = (struct bytes){ 0 };
		return;
	}
	*file = copy(&base.file[died]);
	*log = copy(&base.log[died]);
	for (int i = 0; i < DAMAGES_MAX && b->size > 0; i++) {
		uint8_t what = fuzz_byte(b);
		uint16_t where = fuzz_u16(b);
		uint8_t with = fuzz_byte(b);

		if ((what & 3) == 3 && !died) {
			file_put(base.path, file);
			value_damage(where, with);
			free(file->data);
			*file = file_get(base.path);
		} else {
			byte_damage((what & 3) == 2 ? log : file, what, where, with);
		}
	}
}

/* ---- what must hold -------------------------------------------------------------- */

static void
check_untouched(const struct bytes *file, const struct bytes *log, const char *who)
{
	struct bytes now = file_get(base.path), now_log = file_get(base.wal);

	HOLDS(same(file, &now), "%s changed the file", who);
	HOLDS(same(log, &now_log), "%s changed the log", who);
	free(now.data);
	free(now_log.data);
}

static int
names_beside(void)
{
	DIR *d = opendir(base.folder);
	int n = 0;

	HOLDS(d != NULL, "no folder");
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
check_resume(const struct bytes *file, const struct bytes *log, uint8_t how)
{
	knee_journal *j = NULL;

	HOLDS(ftruncate(base.out, 12 * TASKS) == 0, "no memory");
	if (journal_open((enum knee_resume)(how & RESUME), how, &j) < 0) {
		check_untouched(file, log, "a start that was refused");
		return;
	}
	(void)inputs_run(j, true);
	(void)knee_journal_close(j, 0);
}

static void
look_at_output(knee_log *l, uint64_t seq)
{
	enum knee_stream stream;
	const char *data;
	size_t size = 0;
	int n = 0;

	for (uint64_t i = 0; i < ROWS_MAX && (n = knee_log_output(l, seq, i, &stream, &data, &size)) > 0; i++)
		HOLDS(size == 0 || data != NULL, "no data");
	HOLDS(n >= 0 || knee_log_error(l)[0] != '\0', "%d without a text", n);
}

static void
look(knee_log *l, uint8_t how)
{
	const struct knee_log_filter filter = { .states = how & 7u, .attempts = (how & SYNC) != 0 };
	struct knee_log_totals totals;
	struct knee_log_task task;
	struct knee_log_step step;
	struct knee_log_run run;
	uint64_t last = 0;
	int n, rows = 0;

	(void)knee_log_get_totals(l, &totals);
	HOLDS(knee_log_select(l, &filter) == 0, "no memory");
	while (rows++ < ROWS_MAX && (n = knee_log_next_task(l, &task)) > 0) {
		HOLDS((unsigned)task.result.outcome < KNEE_OUTCOMES, "outcome %d", (int)task.result.outcome);
		HOLDS(task.host != NULL && task.command != NULL, "no text");
		if (task.seq != last && rows < 4)
			look_at_output(l, task.seq);
		last = task.seq;
	}
	HOLDS(rows < ROWS_MAX, "no end of tasks");
	for (rows = 0; rows < ROWS_MAX && (n = knee_log_next_run(l, &run)) > 0; rows++)
		HOLDS(run.host != NULL && run.arguments != NULL, "no text");
	for (rows = 0; rows < ROWS_MAX && (n = knee_log_next_step(l, &step)) > 0; rows++)
		HOLDS(step.work != NULL && step.kind != NULL && step.reason != NULL, "no text");
	(void)knee_log_get_totals(l, &totals);
}

static void
check_look(const struct bytes *file, const struct bytes *log, uint8_t how)
{
	char err[1024] = "";
	knee_log *l = NULL;
	int before = names_beside(), got = knee_log_open(base.path, &l, err, sizeof(err));

	HOLDS(got == 0 || err[0] != '\0', "%d without a text", got);
	if (got == 0)
		look(l, how);
	knee_log_free(l);
	HOLDS(names_beside() == before, "there is a file more");
	check_untouched(file, log, "who looked");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size };
	uint8_t how = fuzz_byte(&b);
	struct bytes file, log;

	base_make();
	damaged_make(&b, how, &file, &log);
	file_put(base.path, &file);
	if (log.size > 0)
		file_put(base.wal, &log);
	else
		(void)unlink(base.wal);
	if ((how & LOOK) != 0)
		check_look(&file, &log, how);
	check_resume(&file, &log, how);
	remove_all();
	free(file.data);
	free(log.data);
	return 0;
}

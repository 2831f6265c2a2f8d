/* SPDX-License-Identifier: MIT */
/* The journal by its own interface, in a folder of its own: what a run that was killed leaves (a child
 * that ends without closing), what the next start makes of it, and all files that are refused. */
#include <knee_program.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"
#include "tap.h"

static char folder[] = "/tmp/knee-test-journal-XXXXXX";
static char path[128], out_path[128], text[1024];

/* A path of its own for each test. */
static void
begin(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(out_path, sizeof(out_path), "%s/%s.out", folder, name);
}

/* ---- the pieces of a run ------------------------------------------------------- */

static struct knee_journal_options
options(enum knee_resume resume, int out)
{
	static const char *const argv[] = { "knee", "echo \"\t\"", "\xff" };

	return (struct knee_journal_options){
		.path = path,
		.resume = resume,
		.command = "echo",
		.argv = argv,
		.argc = 3,
		.out = out,
		.err = -1,
	};
}

/* NULL, the error in text and its number in *err when it is refused. */
static knee_journal *
open_how(enum knee_resume resume, int out, int *err)
{
	struct knee_journal_options o = options(resume, out);
	knee_journal *j = NULL;
	int e;

	text[0] = '\0';
	e = knee_journal_open(&o, &j, text, sizeof(text));
	if (err != NULL)
		*err = e;
	else if (e < 0)
		diag("%s", text);
	return j;
}

static int
out_open(int flags)
{
	return open(out_path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
}

struct kept {
	const char *out;
	bool given;
};

/* knee_read: one piece */
static int
read_kept(void *self, uint64_t n, enum knee_stream *stream, const char **data, size_t *size)
{
	const struct kept *k = self;

	*stream = KNEE_STDOUT;
	*data = k->out;
	*size = strlen(k->out);
	return n == 0 && *size > 0;
}

static int
event(knee_journal *j, enum knee_event_kind kind, uint64_t seq, const char *input,
    const struct knee_result *result, const char *kept)
{
	struct knee_sink sink = knee_journal_sink(j);
	struct kept k = { .out = kept };
	const struct knee_event ev = {
		.kind = kind,
		.seq = seq,
		.slot = 1,
		.command = input,
		.args = &input,
		.nargs = 1,
		.result = result,
		.read = kept != NULL ? read_kept : NULL,
		.read_self = &k,
	};

	return sink.event(sink.self, &ev);
}

static int
start(knee_journal *j, uint64_t seq, const char *input)
{
	return event(j, KNEE_EVENT_START, seq, input, NULL, NULL);
}

/* kept: what waits for its turn; NULL: the output goes to the text sinks */
static int
end(knee_journal *j, uint64_t seq, const char *input, enum knee_outcome outcome, int status, const char *kept)
{
	const struct knee_result r = {
		.outcome = outcome, .status = status, .attempt = 1, .runtime_ns = 5, .start_time_ns = 7
	};

	return event(j, KNEE_EVENT_RESULT, seq, input, &r, kept);
}

static int
run_one(knee_journal *j, uint64_t seq, const char *input, int status, const char *kept)
{
	int err = start(j, seq, input);

	return err < 0 ? err : end(j, seq, input, KNEE_EXITED, status, kept);
}

/* What is not committed yet goes out now. */
static void
commit(knee_journal *j)
{
	(void)event(j, KNEE_EVENT_END, 0, NULL, NULL, NULL);
}

/* Whatever SQL on the file; the first column of its last row. */
static int
sql(const char *query)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int ret = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, query, -1, &s, NULL) == SQLITE_OK)
		while (sqlite3_step(s) == SQLITE_ROW)
			ret = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return ret;
}

/* Runs fn in a child that is killed when it is through; from outside, so that nothing tidies up first. */
static void
killed_run(void (*fn)(void))
{
	int status = -1, through[2];
	char c;
	pid_t pid;

	if (!ok(pipe(through) == 0, "a pipe"))
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fn();
		(void)!write(through[1], "", 1);
		for (;;)
			(void)pause();
	}
	close(through[1]);
	ok(read(through[0], &c, 1) == 1 && kill(pid, SIGKILL) == 0, "the run has done what it does");
	close(through[0]);
	ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "and died");
}

/* ---- sources --------------------------------------------------------------------- */

struct list {
	const char *const *words;
	const char *word;
	size_t n;
};

static int
list_next(void *self, struct knee_input *ret)
{
	struct list *l = self;

	if (l->words[l->n] == NULL)
		return 0;
	l->word = l->words[l->n++];
	*ret = (struct knee_input){ .args = &l->word, .nargs = 1 };
	return 1;
}

static int
list_fd(void *self)
{
	(void)self;
	return 42;
}

/* What the source says of these inputs, a letter each: r it runs, P stored and printed, p stored (its
 * output follows), capitals and small; f and F: the same, failed; - passed over; ! the end by an error. */
static const char *
source_says(knee_journal *j, const char *const *words)
{
	static char said[256];
	struct list l = { .words = words };
	struct knee_source inner = { .self = &l, .next = list_next, .fd = list_fd };
	struct knee_source s = knee_journal_source(j, &inner);
	struct knee_input in = { 0 };
	size_t n = 0;
	int more = 1;

	while (n < sizeof(said) - 80 && (more = s.next(s.self, &in)) == 1) {
		const struct knee_stored *stored = in.stored;
		enum knee_stream stream;
		const char *data;
		size_t size;

		if (stored == NULL)
			said[n++] = 'r';
		else if (stored->result == NULL)
			said[n++] = '-';
		else if (knee_failed(stored->result))
			said[n++] = stored->printed ? 'F' : 'f';
		else
			said[n++] = stored->printed ? 'P' : 'p';
		for (uint64_t i = 0; stored != NULL && !stored->printed &&
		     stored->read(stored->self, i, &stream, &data, &size) == 1 && size < 40;
		     i++) {
			memcpy(said + n, data, size);
			n += size;
		}
	}
	if (more < 0)
		said[n++] = '!';
	said[n] = '\0';
	return said;
}

/* ---- a run and its rows ------------------------------------------------------------ */

static void
test_new(void)
{
	knee_journal *j;
	struct stat st;

	begin("new");
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	if (!ok(j != NULL, "a new journal"))
		return;
	is_str(knee_journal_error(j), "", "no error");
	is_int(run_one(j, 1, "a", 0, NULL), 0, "a task");
	is_int(run_one(j, 2, "b", 3, NULL), 0, "another, that fails");
	is_int(start(j, 3, "c"), 0, "one that is cancelled");
	is_int(end(j, 3, "c", KNEE_CANCELLED, 15, NULL), 0, "... so");
	is_int(end(j, 4, "d", KNEE_NOT_STARTED, 127, NULL), 0, "one that could not start");
	is_int(end(j, 5, "e", KNEE_SKIPPED, 0, NULL), 0, "one that was skipped");
	is_int(knee_journal_close(j, 2), 0, "closed");
	is_int(sql("PRAGMA application_id"), 0x6b6e6565, "application_id");
	is_int(sql("PRAGMA user_version"), 1, "user_version");
	is_int(sql("PRAGMA page_size"), 4096, "page_size");
	is_int(sql("SELECT count(*) FROM task"), 4, "four tasks");
	is_int(sql("SELECT state * 10 + printed FROM task WHERE seq = 1"), 11, "the first succeeded");
	is_int(sql("SELECT state * 10 + printed FROM task WHERE seq = 2"), 21, "the second failed");
	is_int(sql("SELECT state FROM task WHERE seq = 3"), 0, "the third is to run again");
	is_int(sql("SELECT state FROM task WHERE seq = 4"), 2, "the fourth failed");
	is_int(sql("SELECT status FROM attempt WHERE seq = 2 AND attempt = 1"), 3, "its status");
	is_int(sql("SELECT outcome FROM attempt WHERE seq = 3"), KNEE_CANCELLED, "its outcome");
	is_int(sql("SELECT tasks * 1000 + succeeded * 100 + failed * 10 + cancelled FROM progress"), 4121,
	    "sums");
	is_int(sql("SELECT runtime_ns FROM progress"), 20, "of times");
	is_int(sql("SELECT status FROM run WHERE end_ns > begin_ns"), 2, "the run's end");
	is_int(sql("SELECT arguments = '[\"knee\",\"echo \\u0022\\u0009\\u0022\",\"\\ufffd\"]' FROM run"), 1,
	    "arguments");
	is_int(sql("SELECT digest = 620337896427418084 FROM task WHERE seq = 1"), 1, "a digest by the book");
	snprintf(text, sizeof(text), "%s-wal", path);
	ok(stat(text, &st) < 0, "nothing lies beside it");
}

static void
test_attempts(void)
{
	const struct knee_result bad = { .outcome = KNEE_EXITED, .status = 1, .attempt = 1 };
	knee_journal *j;

	begin("attempts");
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	start(j, 1, "a");
	event(j, KNEE_EVENT_RETRY, 1, "a", &bad, NULL);
	start(j, 1, "a");
	start(j, 1, "a"); /* ended to free memory */
	commit(j);
	is_int(sql("SELECT count(*) FROM attempt WHERE outcome IS NULL"), 1, "one in flight");
	end(j, 1, "a", KNEE_EXITED, 1, NULL);
	knee_journal_close(j, 1);
	is_int(sql("SELECT attempts FROM task"), 2, "two attempts");
	is_int(sql("SELECT count(*) FROM attempt"), 2, "two rows");
	is_int(sql("SELECT retried FROM progress"), 1, "one was followed");
	j = open_how(KNEE_RESUME_FAILED, -1, NULL);
	run_one(j, 1, "a", 0, NULL);
	knee_journal_close(j, 0);
	is_int(sql("SELECT attempts FROM task"), 3, "they count on across runs");
	is_int(sql("SELECT run FROM attempt WHERE attempt = 3"), 2, "with their run");
	is_int(sql("SELECT succeeded * 10 + failed FROM progress WHERE run = 1"), 1, "failed at first");
	is_int(sql("SELECT succeeded * 10 + failed FROM progress WHERE run = 2"), 10, "succeeded then");
}

/* Many in flight, ended in any order: each is found again. */
static void
test_many(void)
{
	enum { TASKS = 5000, AT_ONCE = 700 };
	uint64_t flying[AT_ONCE], next = 1;
	struct rnd r = { rnd_seed() | 1 };
	size_t n = 0;
	knee_journal *j;
	int bad = 0;

	begin("many");
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	diag("SEED=%llu", (unsigned long long)r.state);
	while (next <= TASKS || n > 0) {
		if (next <= TASKS && (n == 0 || (n < AT_ONCE && rnd_below(&r, 5) < 3))) {
			bad += start(j, next, "x") < 0;
			flying[n++] = next++;
		} else {
			size_t at = rnd_below(&r, (unsigned)n);

			bad += end(j, flying[at], "x", KNEE_EXITED, flying[at] % 7 == 0, NULL) < 0;
			flying[at] = flying[--n];
		}
		if (rnd_below(&r, 64) == 0)
			commit(j);
	}
	is_int(bad, 0, "no error");
	is_int(knee_journal_close(j, 0), 0, "closed");
	is_int(sql("SELECT count(*) FROM task WHERE state = 1 AND attempts = 1"), TASKS - TASKS / 7,
	    "all there");
	is_int(
	    sql("SELECT count(*) FROM attempt WHERE status = (seq % 7 = 0)"), TASKS, "each with its status");
}

/* ---- resuming ------------------------------------------------------------------------ */

static void
mixed_run(void)
{
	int out = out_open(O_TRUNC);
	knee_journal *j = open_how(KNEE_RESUME_NO, out, NULL);

	run_one(j, 1, "a", 0, NULL);
	(void)!write(out, "one\n", 4);
	knee_journal_printed(j, 1, 4, 0);
	run_one(j, 2, "b", 1, NULL);
	(void)!write(out, "two\n", 4);
	knee_journal_printed(j, 2, 8, 0);
	start(j, 3, "c");                /* prints, and is killed */
	run_one(j, 4, "d", 0, "four\n"); /* waits for its turn */
	run_one(j, 5, "e", 9, "five\n");
	start(j, 7, "g"); /* 6 was not started yet */
	commit(j);
	(void)!write(out, "thr", 3);
}

static const char *const letters[] = { "a", "b", "c", "d", "e", "f", "g", "h", NULL };

static void
test_resume(void)
{
	knee_journal *j;
	struct stat st;
	int out;

	begin("resume");
	killed_run(mixed_run);
	out = out_open(O_APPEND);
	j = open_how(KNEE_RESUME, out, NULL);
	ok(j != NULL && fstat(out, &st) == 0 && st.st_size == 8, "what was half written is cut off");
	is_str(source_says(j, letters), "PFrpfour\nffive\nrrr", "what runs and what does not");
	is_int(run_one(j, 3, "c", 0, NULL), 0, "it runs");
	knee_journal_printed(j, 3, 6, 0);
	knee_journal_printed(j, 4, 11, 0);
	is_int(knee_journal_close(j, 0), 0, "closed");
	is_int(sql("SELECT group_concat(seq) FROM output"), 5, "only what is unprinted is kept");
	is_int(sql("SELECT out_written FROM progress WHERE run = 2"), 19, "how far it is written");
	is_int(
	    sql("SELECT out_at * 100 + out_bytes FROM attempt WHERE seq = 4"), 1405, "where an output lies");
	is_int(sql("SELECT inputs FROM run WHERE run = 2"), 8, "how many inputs there are");
	is_int(sql("SELECT attempts FROM task WHERE seq = 3"), 2, "the killed attempt counts");
	close(out);
}

static void
test_failed(void)
{
	knee_journal *j;

	begin("failed");
	killed_run(mixed_run);
	j = open_how(KNEE_RESUME_FAILED, -1, NULL);
	is_str(source_says(j, letters), "Prrpfour\nrrrr", "--resume-failed: what failed too");
	run_one(j, 5, "e", 0, NULL);
	knee_journal_close(j, 0);
	is_int(
	    sql("SELECT count(*) FROM output WHERE seq = 5"), 0, "the output of the failed attempt is gone");
	j = open_how(KNEE_RETRY_FAILED, -1, NULL);
	is_str(
	    source_says(j, letters), "Pr-PP---", "--retry-failed: nothing else, and no output ahead of it");
	knee_journal_close(j, 0);
	begin("none");
	ok(open_how(KNEE_RETRY_FAILED, -1, &(int){ 0 }) == NULL, "--retry-failed of nothing: %s", text);
	ok(access(path, F_OK) < 0, "... makes no file");
}

static void
refuses_inputs(const char *says, const char *const *words, const char *hint)
{
	knee_journal *j = open_how(KNEE_RESUME, -1, NULL);

	is_str(source_says(j, words), says, "other inputs end it");
	ok(strstr(knee_journal_error(j), hint) != NULL, "%s", knee_journal_error(j));
	knee_journal_close(j, 255);
}

static void
test_stale(void)
{
	begin("stale");
	killed_run(mixed_run);
	refuses_inputs("P!", (const char *const[]){ "a", "B", "c", NULL }, "it is new or was changed");
	refuses_inputs("P!", (const char *const[]){ "a", "c", "b", NULL }, "it was number 3");
	refuses_inputs("PFrpfour\nffive\nr!",
	    (const char *const[]){ "a", "b", "c", "d", "e", "new", "f", NULL }, "task 7 was: g");
}

/* ---- what is printed -------------------------------------------------------------------- */

static void
unprinted_run(void)
{
	int out = out_open(O_TRUNC);
	knee_journal *j = open_how(KNEE_RESUME_NO, out, NULL);

	run_one(j, 1, "a", 0, NULL); /* was printed, but nobody said so */
	(void)!write(out, "one\n", 4);
	commit(j);
}

static void
test_unprinted(void)
{
	knee_journal *j;
	struct stat st;
	int out;

	begin("unprinted");
	killed_run(unprinted_run);
	is_int(sql("SELECT state FROM task"), 0, "what is not known to be printed is not finished");
	out = out_open(O_APPEND);
	j = open_how(KNEE_RESUME, out, NULL);
	ok(fstat(out, &st) == 0 && st.st_size == 0, "and is cut off");
	is_str(source_says(j, (const char *const[]){ "a", NULL }), "r", "it runs again");
	knee_journal_close(j, 0);
	close(out);
}

/* Ended in good order: behind a task that was cut short nothing counts as printed. */
static void
test_cancelled(void)
{
	int out;
	knee_journal *j;
	struct stat st;

	begin("cancelled");
	out = out_open(O_TRUNC);
	j = open_how(KNEE_RESUME_NO, out, NULL);
	start(j, 1, "a");
	run_one(j, 2, "b", 0, "two\n");
	end(j, 1, "a", KNEE_CANCELLED, 15, NULL);
	(void)!write(out, "on", 2);
	knee_journal_printed(j, 2, 6, 0);
	knee_journal_close(j, 255);
	is_int(sql("SELECT out_written * 100 + out_ended FROM progress"), 2, "written and ended");
	(void)!write(out, "mine", 4);
	j = open_how(KNEE_RESUME, out, NULL);
	ok(fstat(out, &st) == 0 && st.st_size == 6, "what others appended since is not cut");
	is_str(
	    source_says(j, (const char *const[]){ "a", "b", NULL }), "rptwo\n", "stored output comes again");
	knee_journal_close(j, 255);
	is_int(ftruncate(out, 4), 0, "shorter again");
	j = open_how(KNEE_RESUME, out, NULL);
	ok(j == NULL && strstr(text, "has 4 bytes, not the 6") != NULL, "a file that shrank: %s", text);
	is_int(sql("SELECT count(*) FROM run"), 2, "and that start is not noted");
	close(out);
}

/* ---- files that are refused ---------------------------------------------------------------- */

struct copy {
	char *data;
	size_t size;
};

static struct copy
file_copy(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct copy c = { .data = malloc(1 << 20) };
	ssize_t n = fd >= 0 && c.data != NULL ? read(fd, c.data, 1 << 20) : -1;

	if (fd >= 0)
		close(fd);
	c.size = n > 0 ? (size_t)n : 0;
	return c;
}

static void
file_make(const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ok(fd >= 0 && write(fd, data, size) == (ssize_t)size, "a file of %zu bytes", size);
	close(fd);
}

/* This file is refused with this number, and stays as it was. */
static void
refused(enum knee_resume how, int want, const char *what)
{
	struct copy before = file_copy(), after;
	int err = 0;

	ok(open_how(how, -1, &err) == NULL, "refused: %s", text);
	is_int(err, want, "... as it should");
	ok(strstr(text, path) != NULL && strstr(text, what) != NULL, "... and says '%s'", what);
	after = file_copy();
	is_mem(after.data, after.size, before.data, before.size, "... untouched");
	for (size_t i = 0; i < 3; i++) {
		static const char *const endings[] = { "-wal", "-shm", "-journal" };
		char name[160];

		snprintf(name, sizeof(name), "%s%s", path, endings[i]);
		ok(access(name, F_OK) < 0, "... no %s", endings[i]);
	}
	free(before.data);
	free(after.data);
}

static void
journal_make(void)
{
	knee_journal *j = open_how(KNEE_RESUME_NO, -1, NULL);
	char input[32];

	for (uint64_t i = 1; i <= 500; i++) {
		snprintf(input, sizeof(input), "%llu", (unsigned long long)i);
		run_one(j, i, input, 0, NULL);
	}
	is_int(knee_journal_close(j, 0), 0, "a journal");
}

static void
test_refused(void)
{
	struct knee_journal_options other;
	struct copy whole;
	knee_journal *j = NULL;

	begin("refused ?#%41");
	journal_make();
	refused(KNEE_RESUME_NO, -EEXIST, "add --resume");
	whole = file_copy();
	file_make(whole.data, whole.size / 2);
	refused(KNEE_RESUME, -EUCLEAN, "cut short");
	file_make(whole.data, 60);
	refused(KNEE_RESUME, -EINVAL, "is no journal of knee");
	memset(whole.data + 4096, 0x5a, 4096);
	file_make(whole.data, whole.size);
	refused(KNEE_RESUME, -EUCLEAN, "damaged");
	free(whole.data);
	file_make("hello\n", 6);
	refused(KNEE_RESUME, -EINVAL, "is no journal of knee");
	unlink(path);
	sql("CREATE TABLE t (x)");
	refused(KNEE_RESUME_NO, -EINVAL, "is no journal of knee");
	unlink(path);
	journal_make();
	sql("PRAGMA user_version = 2");
	/* sqlite3_open leaves no log behind: the pragma was the last connection's */
	refused(KNEE_RESUME, -EINVAL, "newer version");
	sql("PRAGMA user_version = 1");
	other = options(KNEE_RESUME, -1);
	other.command = "cat";
	is_int(knee_journal_open(&other, &j, text, sizeof(text)), -EINVAL, "another command");
	ok(strstr(text, "'echo', not 'cat'") != NULL, "%s", text);
	snprintf(path, sizeof(path), "%s", folder);
	ok(open_how(KNEE_RESUME, -1, &(int){ 0 }) == NULL, "a folder: %s", text);
	snprintf(path, sizeof(path), "%s/no/such", folder);
	ok(open_how(KNEE_RESUME, -1, &(int){ 0 }) == NULL, "no folder: %s", text);
}

static void
test_busy(void)
{
	char pid[32];
	knee_journal *j;
	int err;

	begin("busy");
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	snprintf(pid, sizeof(pid), "run by pid %d on ", (int)getpid());
	ok(open_how(KNEE_RESUME, -1, &err) == NULL && err == -EBUSY, "a second run");
	ok(strstr(text, pid) != NULL, "names the first: %s", text);
	is_int(run_one(j, 1, "a", 0, NULL), 0, "which goes on");
	is_int(knee_journal_close(j, 0), 0, "to its end");
	j = open_how(KNEE_RESUME, -1, NULL);
	ok(j != NULL, "then it is free");
	knee_journal_close(j, 0);
}

/* Killed while the tables were made: the rollback journal of that is undone. */
static void
test_unborn(void)
{
	knee_journal *j;

	begin("unborn");
	file_make("", 0);
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	ok(j != NULL, "an empty file is a new journal");
	knee_journal_close(j, 0);
	sql("DELETE FROM run");
	sql("DELETE FROM progress");
	j = open_how(KNEE_RESUME_NO, -1, NULL);
	ok(j != NULL, "so is one without a run");
	knee_journal_close(j, 0);
}

int
main(void)
{
	if (mkdtemp(folder) == NULL)
		return 1;
	test_new();
	test_attempts();
	test_many();
	test_resume();
	test_failed();
	test_stale();
	test_unprinted();
	test_cancelled();
	test_refused();
	test_busy();
	test_unborn();
	snprintf(text, sizeof(text), "rm -r '%s'", folder);
	ok(system(text) == 0, "cleaned up");
	return done_testing();
}

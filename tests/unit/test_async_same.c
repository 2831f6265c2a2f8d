/* SPDX-License-Identifier: MIT */
/*
 * The same hundred inputs as processes and as asynchronous work: the same output, byte for byte, and
 * the same rows in the journal, but for the command, the times and what only processes use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <knee_program.h>

#include "tap.h"

#define INPUTS 100
#define ROWS (2 * INPUTS)

struct row {
	uint64_t seq, output_bytes, out_bytes, err_bytes;
	int64_t out_at, err_at;
	enum knee_log_state state;
	struct knee_result result;
	unsigned attempts;
	int ended, printed;
};

struct run {
	const char *folder;
	knee *k;
	knee_journal *journal;
	int fd[2];
	uint64_t written[2];
	unsigned given;
	char text[8];
	const char *arg;
	knee_task late; /* ends with the next start, or at the end of the input */
	unsigned late_n;
	char *bytes[2];
	size_t size[2];
	struct row rows[ROWS];
	size_t nrows;
};

static void
end(struct run *r, knee_task task, unsigned n)
{
	char line[32];
	int size = snprintf(line, sizeof(line), "out %u\n", n);

	(void)knee_output(r->k, task, KNEE_STDOUT, line, (size_t)size);
	size = snprintf(line, sizeof(line), "err %u\n", n);
	(void)knee_output(r->k, task, KNEE_STDERR, line, (size_t)size);
	(void)knee_complete(r->k, task, n % 7 == 0);
}

static int
start(void *self, knee_task task, const struct knee_input *input)
{
	struct run *r = self;
	unsigned n = (unsigned)strtoul(input->args[0], NULL, 10);

	if (n % 5 == 3 && n < INPUTS - 5 && r->late == 0) {
		r->late = task;
		r->late_n = n;
		return 0;
	}
	end(r, task, n);
	if (r->late != 0)
		end(r, r->late, r->late_n);
	r->late = 0;
	return 0;
}

static int
next(void *self, struct knee_input *ret)
{
	struct run *r = self;

	if (r->given == INPUTS)
		return 0;
	(void)snprintf(r->text, sizeof(r->text), "%u", ++r->given);
	r->arg = r->text;
	*ret = (struct knee_input){ .args = &r->arg, .nargs = 1 };
	return 1;
}

static int
on_text(void *self, const struct knee_event *ev)
{
	struct run *r = self;
	unsigned which = ev->stream == KNEE_STDERR;

	if (ev->kind == KNEE_EVENT_OUTPUT) {
		if (write(r->fd[which], ev->data, ev->size) != (ssize_t)ev->size)
			return -EIO;
		r->written[which] += ev->size;
	}
	if (ev->kind == KNEE_EVENT_RESULT)
		knee_journal_printed(r->journal, ev->seq, r->written[0], r->written[1]);
	return 0;
}

static const char *
path_of(const struct run *r, const char *name, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/%s", r->folder, name);
	return path;
}

static int
run_it(struct run *r, enum knee_executor executor)
{
	static const char *const words[] = {
		"printf 'out %s\\n' {}; printf 'err %s\\n' {} >&2; exit $(( {} % 7 == 0 ))"
	};
	struct knee_sink sinks[2] = { { .self = r, .text = 1, .event = on_text } };
	struct knee_options o = {
		.words = words,
		.nwords = executor == KNEE_EXEC_PROCESS,
		.source = { .self = r, .next = next },
		.sinks = sinks,
		.nsinks = 2,
		.executor = executor,
		.async = { .self = r, .start = start },
		.limit = 4,
		.retries = 2,
		.backoff_ns = 1000000,
		.first_stdin = -1,
		.want_text = 1,
	};
	char err[200] = "";
	int e;

	sinks[1] = knee_journal_sink(r->journal);
	e = knee_new(&o, &r->k, err, sizeof(err));
	if (e == 0)
		e = knee_run(r->k);
	if (e < 0)
		diag("%s%s", err, r->k != NULL ? knee_error(r->k) : "");
	knee_free(r->k);
	return e;
}

static void
rows_read(struct run *r, const char *path)
{
	const struct knee_log_filter all = { .attempts = 1 };
	struct knee_log_task t;
	knee_log *log = NULL;
	char err[200] = "";

	if (knee_log_open(path, &log, err, sizeof(err)) < 0 || knee_log_select(log, &all) < 0) {
		fail("the journal: %s", err);
		return;
	}
	while (r->nrows < ROWS && knee_log_next_task(log, &t) == 1)
		r->rows[r->nrows++] = (struct row){ .seq = t.seq,
			.output_bytes = t.result.output_bytes,
			.out_bytes = t.out_bytes,
			.err_bytes = t.err_bytes,
			.out_at = t.out_at,
			.err_at = t.err_at,
			.state = t.state,
			.result = t.result,
			.attempts = t.attempts,
			.ended = t.ended,
			.printed = t.printed };
	knee_log_free(log);
}

static void
output_read(struct run *r, unsigned which)
{
	struct stat st = { 0 };

	(void)fstat(r->fd[which], &st);
	r->size[which] = (size_t)st.st_size;
	r->bytes[which] = malloc(r->size[which] + 1);
	if (r->bytes[which] == NULL ||
	    pread(r->fd[which], r->bytes[which], r->size[which], 0) != (ssize_t)r->size[which])
		r->size[which] = 0;
}

static void
run_whole(struct run *r, enum knee_executor executor)
{
	static const char *const names[] = { "out", "err", "journal" };
	char path[256], err[200] = "";
	struct knee_journal_options o = { .command = "same", .argv = names, .argc = 1, .path = path };

	for (unsigned i = 0; i < 2; i++)
		r->fd[i] = open(path_of(r, names[i], path, sizeof(path)), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	o.out = r->fd[0];
	o.err = r->fd[1];
	path_of(r, names[2], path, sizeof(path));
	is_int(knee_journal_open(&o, &r->journal, err, sizeof(err)), 0, "a journal %s", err);
	is_int(run_it(r, executor), 0, "a run");
	is_int(knee_journal_close(r->journal, 0), 0, "closed");
	rows_read(r, path);
	for (unsigned i = 0; i < 2; i++) {
		output_read(r, i);
		close(r->fd[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		(void)unlink(path_of(r, names[i], path, sizeof(path)));
}

static bool
same(const struct row *a, const struct row *b)
{
	return a->seq == b->seq && a->output_bytes == b->output_bytes && a->out_bytes == b->out_bytes &&
	    a->err_bytes == b->err_bytes && a->out_at == b->out_at && a->err_at == b->err_at &&
	    a->state == b->state && a->attempts == b->attempts && a->ended == b->ended &&
	    a->printed == b->printed && a->result.outcome == b->result.outcome &&
	    a->result.status == b->result.status && a->result.error == b->result.error &&
	    a->result.attempt == b->result.attempt;
}

static void
row_show(const struct row *r)
{
	diag("task %llu: state %d, outcome %d, status %d, error %d, attempt %u of %u, ended %d, printed %d, "
	     "%llu bytes, %lld+%llu, %lld+%llu",
	    (unsigned long long)r->seq, r->state, r->result.outcome, r->result.status, r->result.error,
	    r->result.attempt, r->attempts, r->ended, r->printed, (unsigned long long)r->output_bytes,
	    (long long)r->out_at, (unsigned long long)r->out_bytes, (long long)r->err_at,
	    (unsigned long long)r->err_bytes);
}

int
main(void)
{
	char folder[] = "/tmp/knee-same-XXXXXX";
	struct run *runs = calloc(2, sizeof(*runs));
	struct run *a = runs, *b = runs + 1;
	size_t wrong = 0;

	if (runs == NULL || mkdtemp(folder) == NULL)
		return 1;
	a->folder = b->folder = folder;
	run_whole(a, KNEE_EXEC_PROCESS);
	run_whole(b, KNEE_EXEC_ASYNC);
	ok(a->size[0] > 600 && a->size[1] > 600, "there is output: %zu bytes", a->size[0]);
	is_mem(b->bytes[0], b->size[0], a->bytes[0], a->size[0], "the same stdout");
	is_mem(b->bytes[1], b->size[1], a->bytes[1], a->size[1], "the same stderr");
	is_int(a->nrows, INPUTS + INPUTS / 7, "a row for each attempt");
	is_int(b->nrows, a->nrows, "as many of either");
	for (size_t i = 0; i < a->nrows && i < b->nrows; i++)
		if (!same(&a->rows[i], &b->rows[i]) && wrong++ == 0) {
			row_show(&a->rows[i]);
			row_show(&b->rows[i]);
		}
	is_int(wrong, 0, "the same rows");
	for (unsigned i = 0; i < 2; i++) {
		free(a->bytes[i]);
		free(b->bytes[i]);
	}
	free(runs);
	is_int(rmdir(folder), 0, "nothing is left");
	return done_testing();
}

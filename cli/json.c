/* SPDX-License-Identifier: MIT */
/*
 * --json: what happens, as it happens, an object of JSON on a line, for programs that watch a run
 * (knee-json(5)). Names and units are those of knee log's JSON; bytes that are not UTF-8 become U+FFFD.
 *
 * When the reader is slow nothing starts, so that what waits for it stays small. When it is gone the run
 * goes on without: a task is not worth less because nobody watches. Any other error ends the run.
 *
 * The last line has the exit status. It is written when all else is over, and the sink's END is too early.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json_text.h"
#include "log_parts.h"
#include "writer.h"

/* At the end: so long may a reader take nothing before the last lines are given up. */
#define PATIENCE_MS 10000

struct json {
	knee *knee;          /* borrowed; NULL until the run begins */
	const char *journal; /* borrowed, or NULL */
	int fd;              /* the user's */
	struct writer w;
	bool gone;  /* the reader is: nothing is written */
	int error;  /* -errno that ended the run */
	FILE *line; /* owned: a line, in text */
	char *text;
	size_t size;
	char host[256];
	/* Sums over the attempts of this run, and what there is to say of it at the end. */
	uint64_t attempts, output_bytes;
	int64_t runtime_ns, cpu_ns;
	struct knee_stats stats;
};

/* ---- out ----------------------------------------------------------------------- */

/* 0 when the run may go on. */
static int
failed(struct json *j, int err)
{
	if (j->error != 0)
		return j->error;
	if (err != -EPIPE) {
		j->error = say_error(
		    -err, "--json: descriptor %d: %s: the last events are lost", j->fd, strerror(-err));
		return j->error;
	}
	if (!j->gone)
		say("--json: nobody reads descriptor %d any more: the run goes on without", j->fd);
	j->gone = true;
	return 0;
}

static int
line_end(struct json *j)
{
	int err;

	(void)fputs("}\n", j->line);
	if (fflush(j->line) != 0 || ferror(j->line))
		return failed(j, -ENOMEM);
	err = writer_put(&j->w, j->text, j->size);
	return err < 0 ? failed(j, err) : 0;
}

/* ---- members -------------------------------------------------------------------- */

static void
put_name(struct json *j, const char *name)
{
	(void)fprintf(j->line, ", \"%s\": ", name);
}

static void
put_text(struct json *j, const char *name, const char *text)
{
	put_name(j, name);
	if (text != NULL && *text != '\0')
		json_text_put(j->line, text, strlen(text));
	else
		(void)fputs("null", j->line);
}

static void
put_count(struct json *j, const char *name, uint64_t n)
{
	put_name(j, name);
	(void)fprintf(j->line, "%" PRIu64, n);
}

static void
put_known(struct json *j, const char *name, int64_t n, bool known)
{
	put_name(j, name);
	if (known)
		(void)fprintf(j->line, "%" PRId64, n);
	else
		(void)fputs("null", j->line);
}

static void
put_flag(struct json *j, const char *name, bool value)
{
	put_name(j, name);
	(void)fputs(value ? "true" : "false", j->line);
}

static void
put_seconds(struct json *j, const char *name, int64_t ns, bool known)
{
	put_name(j, name);
	if (known)
		(void)fprintf(j->line, "%" PRId64 ".%09" PRId64, ns / 1000000000, ns % 1000000000);
	else
		(void)fputs("null", j->line);
}

static void
put_moment(struct json *j, const char *name, int64_t time_ns)
{
	char text[LOG_CELL_BYTES];

	log_put_rfc3339(text, time_ns);
	put_text(j, name, text);
}

static void
put_words(struct json *j, const char *name, const char *const *words, size_t n)
{
	put_name(j, name);
	for (size_t i = 0; i < n; i++) {
		(void)fputs(i == 0 ? "[" : ", ", j->line);
		json_text_put(j->line, words[i], strlen(words[i]));
	}
	(void)fputs(n == 0 ? "[]" : "]", j->line);
}

static void
line_begin(struct json *j, const char *event)
{
	rewind(j->line);
	(void)fprintf(j->line, "{\"event\": \"%s\"", event);
	put_moment(j, "time", clock_ns(CLOCK_REALTIME));
}

/* ---- events ------------------------------------------------------------------------ */

static void
put_task(struct json *j, const char *event, const struct knee_event *e)
{
	line_begin(j, event);
	put_count(j, "seq", e->seq);
	put_text(j, "host", e->host != NULL && strcmp(e->host, ":") != 0 ? e->host : j->host);
	put_count(j, "slot", e->slot);
	put_count(j, "attempt", e->result->attempt);
	put_text(j, "command", e->command);
	put_words(j, "inputs", e->args, e->nargs);
}

static void
put_result(struct json *j, const struct knee_result *r)
{
	bool signaled =
	    r->outcome == KNEE_SIGNALED || r->outcome == KNEE_TIMED_OUT || r->outcome == KNEE_CANCELLED;

	put_moment(j, "start", r->start_time_ns);
	put_seconds(j, "runtime_s", r->runtime_ns, true);
	put_text(j, "outcome", log_outcome_name(r->outcome));
	put_known(j, "exit", r->status, !signaled && r->outcome != KNEE_SKIPPED);
	put_known(j, "signal", r->status, signaled);
	put_seconds(j, "cpu_user_s", r->cpu_user_ns, true);
	put_seconds(j, "cpu_system_s", r->cpu_sys_ns, true);
	put_known(j, "memory_bytes", r->peak_rss_bytes, true);
	put_count(j, "read_bytes", r->disk_read_bytes);
	put_count(j, "written_bytes", r->disk_written_bytes);
	put_known(j, "io_bytes", (int64_t)r->io_bytes, r->io_bytes > 0);
	put_count(j, "output_bytes", r->output_bytes);
	put_count(j, "waits", r->waits);
	put_count(j, "switches", r->switches);
	put_seconds(j, "delay_s", r->delay_ns, r->delay_ns > 0);
}

static int
task_end(struct json *j, const struct knee_event *e)
{
	const struct knee_result *r = e->result;

	j->attempts += r->outcome != KNEE_SKIPPED;
	j->output_bytes += r->output_bytes;
	j->runtime_ns += r->runtime_ns;
	j->cpu_ns += r->cpu_user_ns + r->cpu_sys_ns;
	put_task(j, "task_end", e);
	put_flag(j, "retry", e->kind == KNEE_EVENT_RETRY);
	put_result(j, r);
	return line_end(j);
}

static int
limit(struct json *j, const struct knee_event *e)
{
	const struct knee_work *work = e->work;

	line_begin(j, "limit");
	put_count(j, "limit", e->limit);
	put_known(j, "at_once", work != NULL ? work->limit : 0, work != NULL);
	put_known(j, "running", work != NULL ? work->running : 0, work != NULL);
	put_known(j, "done", work != NULL ? (int64_t)work->done : 0, work != NULL);
	put_name(j, "busy");
	if (work != NULL && work->busy_frac >= 0)
		(void)fprintf(j->line, "%.4f", work->busy_frac);
	else
		(void)fputs("null", j->line);
	put_text(j, "kind", work != NULL ? knee_kind_name(work->kind) : NULL);
	put_text(j, "resource", work != NULL ? work->resource : NULL);
	put_text(j, "work", work != NULL ? work->name : NULL);
	put_text(j, "reason", e->reason);
	return line_end(j);
}

static int
json_event(void *self, const struct knee_event *e)
{
	struct json *j = self;

	if (e->kind == KNEE_EVENT_END)
		knee_get_stats(j->knee, &j->stats);
	if (j->gone || j->error != 0)
		return j->error;
	switch (e->kind) {
	case KNEE_EVENT_START:
		put_task(j, "task_start", e);
		return line_end(j);
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_RESULT:
		return task_end(j, e);
	case KNEE_EVENT_LIMIT:
		return limit(j, e);
	case KNEE_EVENT_NOTE:
		if (e->work != NULL) /* a limit that changed for a reason which is worth a note */
			return limit(j, e);
		line_begin(j, "note");
		put_text(j, "text", e->reason);
		return line_end(j);
	case KNEE_EVENT_OUTPUT:
	case KNEE_EVENT_END:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int
json_flush(void *self)
{
	struct json *j = self;
	int err = j->gone || j->error != 0 ? 0 : writer_flush(&j->w);

	return err < 0 && err != -EAGAIN ? failed(j, err) : err;
}

static int
json_fd(void *self)
{
	struct json *j = self;

	return j->w.fd;
}

struct knee_sink
json_sink(struct json *j)
{
	return (struct knee_sink){ .self = j, .event = json_event, .flush = json_flush, .fd = json_fd };
}

/* ---- beginning and end ---------------------------------------------------------------- */

int
json_check(const struct cli_options *o)
{
	int flags = o->json_fd >= 0 ? fcntl(o->json_fd, F_GETFL) : O_WRONLY;

	if (flags < 0)
		return say_error(EBADF, "--json: descriptor %d is not open: redirect it, as by %d>FILE",
		    o->json_fd, o->json_fd);
	if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0)
		return say_error(EBADF, "--json: descriptor %d is not open for writing", o->json_fd);
	return 0;
}

int
json_new(const struct cli_options *o, struct json **ret)
{
	struct json *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return say_error(ENOMEM, "--json: %s", strerror(ENOMEM));
	*ret = j;
	j->fd = o->json_fd;
	j->journal = o->journal;
	writer_init(&j->w, j->fd);
	j->w.with_messages = j->w.tty || j->fd == STDERR_FILENO;
	/* It is not for the tasks: its reader is to see the end when knee ends. */
	if (j->fd > STDERR_FILENO)
		(void)fcntl(j->fd, F_SETFD, FD_CLOEXEC);
	if (gethostname(j->host, sizeof(j->host) - 1) < 0)
		j->host[0] = '\0';
	j->line = open_memstream(&j->text, &j->size);
	return j->line == NULL ? say_error(ENOMEM, "--json: %s", strerror(ENOMEM)) : 0;
}

void
json_start(struct json *j, knee *k, int argc, char **argv)
{
	char *directory = realpath(".", NULL);

	j->knee = k;
	line_begin(j, "run_begin");
	put_text(j, "version", KNEE_VERSION);
	put_text(j, "host", j->host);
	put_count(j, "pid", (uint64_t)getpid());
	put_text(j, "directory", directory);
	put_words(j, "arguments", (const char *const *)argv, (size_t)argc);
	put_text(j, "journal", j->journal);
	/* An error shows with the next event. */
	(void)line_end(j);
	(void)json_flush(j);
	free(directory);
}

/* Write the last lines, as long as somebody takes them. */
static void
drain(struct json *j)
{
	struct pollfd p = { .fd = j->w.fd, .events = POLLOUT };

	while (json_flush(j) == -EAGAIN)
		if (poll(&p, 1, PATIENCE_MS) == 0) {
			(void)failed(j, -ETIMEDOUT);
			break;
		}
}

void
json_end(struct json *j, int status)
{
	const struct knee_stats *s = j != NULL ? &j->stats : NULL;

	if (j == NULL || j->knee == NULL || j->gone || j->error != 0)
		return;
	line_begin(j, "run_end");
	put_known(j, "status", status, true);
	put_count(j, "tasks", s->done);
	put_count(j, "succeeded", s->done - s->failed);
	put_count(j, "failed", s->failed);
	put_count(j, "stored", s->stored);
	put_count(j, "left", s->left);
	put_flag(j, "stopped", s->stopped != 0);
	put_count(j, "attempts", j->attempts);
	put_count(j, "peak", s->peak);
	put_seconds(j, "elapsed_s", s->elapsed_ns, true);
	put_seconds(j, "runtime_s", j->runtime_ns, true);
	put_seconds(j, "cpu_s", j->cpu_ns, true);
	put_count(j, "output_bytes", j->output_bytes);
	(void)line_end(j);
	drain(j);
}

void
json_free(struct json *j)
{
	if (j == NULL)
		return;
	writer_done(&j->w);
	if (j->line != NULL)
		(void)fclose(j->line);
	free(j->text);
	free(j);
}

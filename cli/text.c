/* SPDX-License-Identifier: MIT */
/*
 * The tasks' output on stdout and stderr.
 *
 * The engine hands the bytes over in the order in which they are to be seen; here
 * they get what the user wants around them: the command (-v), a tag before each
 * line (--tag), a colour (--color), or a file instead of stdout (--files).  When
 * both streams lead to the same file or terminal, both go through one writer: their
 * bytes stay in order.
 *
 * As in GNU parallel a tag stands before each line of each stream of a task, and a
 * last line without a newline stays without.  Other than there, a colour changes no
 * other byte either, and stderr is not lost with --files.
 *
 * A journal hears which tasks' bytes have really been written (text_marks.h).  With -u the tasks'
 * bytes take no way through here, and nothing can be said of them.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "text_files.h"
#include "text_marks.h"
#include "writer.h"

/* One of the two ways out. first and last: the tasks whose bytes wait in the writer. */
struct out {
	struct writer w;
	size_t stream; /* its index */
	const char *name;
	bool color;
	bool said;
	uint64_t first, last;
	struct text_marks *marks; /* borrowed; NULL: nobody asks what is written */
};

/* A task between START and RESULT; kept only when there is a tag, a colour or files. */
struct text_task {
	uint64_t seq;
	bool line_open[2]; /* by stream: the last byte was no newline */
	char *path;        /* owned; --files: its file, or NULL */
};

struct text_sink {
	struct out out[2];
	struct out *to[2]; /* by stream: both out[0] when they are the same file */
	bool verbose, tagged, files, live;
	int error; /* -errno of an event; no other is taken after it */
	struct text_files file;
	struct text_marks marks;
	struct text_task *tasks;  /* owned; in any order */
	size_t ntasks, cap, last; /* last: the one used last */
};

/* Tones of the 256-colour cube that are readable on black and on white. */
static const char *const colors[] = { "\033[38;5;33m", "\033[38;5;166m", "\033[38;5;35m", "\033[38;5;162m",
	"\033[38;5;37m", "\033[38;5;136m", "\033[38;5;99m", "\033[38;5;203m" };
static const char color_end[] = "\033[m";

static size_t
stream_index(enum knee_stream stream)
{
	return stream == KNEE_STDERR;
}

/* ---- bytes out ---------------------------------------------------------- */

static int
out_failed(struct out *o, int err)
{
	if (err == -EPIPE || o->said)
		return err;
	o->said = true;
	if (o->first == o->last)
		return say_error(-err, "%s: %s: output of task %" PRIu64 " is incomplete", o->name,
		    strerror(-err), o->first);
	return say_error(-err, "%s: %s: output of tasks %" PRIu64 " to %" PRIu64 " is incomplete", o->name,
	    strerror(-err), o->first, o->last);
}

static int
out_put(struct out *o, uint64_t seq, const void *data, size_t n)
{
	int err;

	if (!writer_waits(&o->w) && !o->said)
		o->first = o->last = seq;
	if (seq < o->first)
		o->first = seq;
	if (seq > o->last)
		o->last = seq;
	err = writer_put(&o->w, data, n);
	if (o->marks != NULL)
		text_marks_written(o->marks, o->stream, &o->w);
	return err < 0 ? out_failed(o, err) : 0;
}

static int
out_puts(struct out *o, uint64_t seq, const char *s)
{
	return out_put(o, seq, s, strlen(s));
}

/* At most one line or a part of it, n bytes with its newline if it has one. */
static int
out_line(struct out *o, const struct knee_event *e, const char *tag, const char *data, size_t n)
{
	size_t newline = n > 0 && data[n - 1] == '\n';
	const char *color = NULL;
	int err = 0;

	if (o->color && (tag != NULL || n > newline))
		color = colors[(e->seq - 1) % (sizeof(colors) / sizeof(*colors))];
	if (color != NULL)
		err = out_puts(o, e->seq, color);
	if (err == 0 && tag != NULL)
		err = out_puts(o, e->seq, tag);
	if (err == 0 && tag != NULL)
		err = out_put(o, e->seq, "\t", 1);
	if (err == 0)
		err = out_put(o, e->seq, data, n - newline);
	if (err == 0 && color != NULL)
		err = out_puts(o, e->seq, color_end);
	if (err == 0 && newline)
		err = out_put(o, e->seq, "\n", 1);
	return err;
}

/* Bytes of a task's stream, with tag and colour; a line may begin and end anywhere in them. */
static int
task_put(struct text_sink *t, struct text_task *task, const struct knee_event *e, enum knee_stream stream,
    const char *data, size_t n)
{
	size_t which = stream_index(stream);
	struct out *o = t->to[which];
	int err = 0;

	if (task == NULL || (!t->tagged && !o->color))
		return out_put(o, e->seq, data, n);
	while (n > 0 && err == 0) {
		const char *newline = memchr(data, '\n', n);
		size_t len = newline != NULL ? (size_t)(newline - data) + 1 : n;
		const char *tag = t->tagged && !task->line_open[which] ? e->tag : NULL;

		err = out_line(o, e, tag, data, len);
		task->line_open[which] = newline == NULL;
		data += len;
		n -= len;
	}
	return err;
}

/* ---- tasks -------------------------------------------------------------- */

static struct text_task *
task_find(struct text_sink *t, uint64_t seq)
{
	if (t->last < t->ntasks && t->tasks[t->last].seq == seq)
		return &t->tasks[t->last];
	for (size_t i = 0; i < t->ntasks; i++)
		if (t->tasks[i].seq == seq) {
			t->last = i;
			return &t->tasks[i];
		}
	return NULL;
}

static struct text_task *
task_add(struct text_sink *t, uint64_t seq)
{
	if (t->ntasks == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 8;
		struct text_task *tasks = reallocarray(t->tasks, cap, sizeof(*tasks));

		if (tasks == NULL)
			return NULL;
		t->tasks = tasks;
		t->cap = cap;
	}
	t->last = t->ntasks;
	t->tasks[t->ntasks++] = (struct text_task){ .seq = seq };
	return &t->tasks[t->last];
}

static void
task_drop(struct text_sink *t, struct text_task *task)
{
	free(task->path);
	task->path = NULL;
	*task = t->tasks[--t->ntasks];
}

/* A file whose name was not printed is nobody's. */
static void
task_forget(struct text_sink *t, struct text_task *task)
{
	if (t->file.seq == task->seq)
		text_files_done(&t->file);
	if (task->path != NULL)
		unlink(task->path);
	task_drop(t, task);
}

static int
stdout_put(
    struct text_sink *t, struct text_task *task, const struct knee_event *e, const char *data, size_t n)
{
	assert(task != NULL || !t->files); /* OUTPUT comes after START */
	if (t->files)
		return text_files_put(&t->file, e->seq, task->path, data, n);
	return task_put(t, task, e, KNEE_STDOUT, data, n);
}

static int
start(struct text_sink *t, const struct knee_event *e)
{
	struct text_task *task = task_find(t, e->seq);
	int err = 0;

	if (task != NULL)
		task_forget(t, task);
	task = NULL;
	if (t->tagged || t->files || t->out[0].color || t->out[1].color) {
		task = task_add(t, e->seq);
		if (task == NULL)
			return say_error(ENOMEM, "%s", strerror(ENOMEM));
	}
	if (t->files)
		err = text_files_create(&t->file, e->seq, &task->path);
	if (err == 0 && t->verbose && e->command != NULL)
		err = stdout_put(t, task, e, e->command, strlen(e->command));
	if (err == 0 && t->verbose && e->command != NULL)
		err = stdout_put(t, task, e, "\n", 1);
	return err;
}

static int
output(struct text_sink *t, const struct knee_event *e)
{
	struct text_task *task = task_find(t, e->seq);

	if (e->stream == KNEE_STDOUT)
		return stdout_put(t, task, e, e->data, e->size);
	if (t->marks.journal != NULL && t->to[1] == &t->out[1])
		knee_journal_printing(t->marks.journal, e->seq);
	return task_put(t, task, e, e->stream, e->data, e->size);
}

static int
result(struct text_sink *t, const struct knee_event *e)
{
	struct text_task *task = task_find(t, e->seq);
	int err = 0;

	if (task == NULL)
		return 0;
	if (task->path != NULL) {
		err = text_files_close(&t->file, e->seq, task->path);
		if (err == 0)
			err = task_put(t, task, e, KNEE_STDOUT, task->path, strlen(task->path));
		if (err == 0)
			err = task_put(t, task, e, KNEE_STDOUT, "\n", 1);
	}
	if (err < 0)
		return err;
	task_drop(t, task);
	return 0;
}

/* ---- the sink ----------------------------------------------------------- */

static int
text_flush(void *self)
{
	struct text_sink *t = self;
	bool slow = false;
	int failed = 0;

	for (size_t i = 0; i < 2; i++) {
		int err = writer_flush(&t->out[i].w);

		if (t->marks.journal != NULL)
			text_marks_written(&t->marks, i, &t->out[i].w);
		if (err == -EAGAIN)
			slow = true;
		else if (err < 0 && failed == 0)
			failed = out_failed(&t->out[i], err);
	}
	/* What was written whole counts, also when the rest fails. */
	if (t->marks.journal != NULL)
		text_marks_tell(&t->marks);
	return failed < 0 ? failed : slow ? -EAGAIN : 0;
}

static int
event_take(struct text_sink *t, const struct knee_event *e)
{
	int err;

	switch (e->kind) {
	case KNEE_EVENT_START:
		err = start(t, e);
		/* The tasks' own bytes take no way through here: do not let them overtake. */
		if (err == 0 && t->live && t->verbose)
			err = text_flush(t);
		return err == -EAGAIN ? 0 : err;
	case KNEE_EVENT_OUTPUT:
		return output(t, e);
	case KNEE_EVENT_RESULT:
		err = result(t, e);
		if (err == 0 && t->marks.journal != NULL)
			err = text_marks_add(&t->marks, e->seq, &t->out[0].w, &t->out[1].w);
		return err;
	case KNEE_EVENT_WHOLE:
		return task_put(t, NULL, e, e->stream, e->data, e->size);
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_NOTE:
	case KNEE_EVENT_END:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int
text_event(void *self, const struct knee_event *e)
{
	struct text_sink *t = self;

	if (t->error != 0)
		return t->error;
	t->error = event_take(t, e);
	if (t->error < 0 && t->marks.journal != NULL)
		text_marks_tell(&t->marks);
	return t->error;
}

static int
text_fd(void *self)
{
	struct text_sink *t = self;

	return writer_waits(&t->out[0].w) && t->out[0].w.blocked ? t->out[0].w.fd : t->out[1].w.fd;
}

static bool
color_wanted(const struct cli_options *o, const struct writer *w)
{
	const char *term = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");

	if (o->color != WHEN_AUTO)
		return o->color == WHEN_ALWAYS;
	return w->tty && term != NULL && strcmp(term, "dumb") != 0 && (no_color == NULL || *no_color == '\0');
}

static bool
same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static void
outs_init(struct text_sink *t, const struct cli_options *o)
{
	bool same = same_file(STDOUT_FILENO, STDERR_FILENO);

	t->out[0].name = "standard output";
	t->out[1].name = "standard error";
	t->out[1].stream = 1;
	writer_init(&t->out[0].w, STDOUT_FILENO);
	if (same)
		writer_init_file(&t->out[1].w, -1);
	else
		writer_init(&t->out[1].w, STDERR_FILENO);
	t->to[0] = &t->out[0];
	t->to[1] = &t->out[same ? 0 : 1];
	t->to[1]->w.with_messages = true;
	if (t->out[0].w.tty && t->out[1].w.tty)
		t->out[0].w.with_messages = true;
	if (t->live)
		return;
	for (size_t i = 0; i < 2; i++)
		t->out[i].color = color_wanted(o, &t->out[i].w);
}

int
text_new(const struct cli_options *o, struct text_sink **ret)
{
	struct text_sink *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	t->live = o->order == KNEE_ORDER_NONE;
	t->verbose = o->verbose && !o->dry_run;
	t->tagged = !t->live && (o->host_tag || (o->tagstring != NULL && *o->tagstring != '\0'));
	t->files = !t->live && o->files && !o->dry_run;
	text_files_init(&t->file, o->tmpdir != NULL ? o->tmpdir : "/tmp");
	outs_init(t, o);
	*ret = t;
	return 0;
}

void
text_journal(struct text_sink *t, knee_journal *j)
{
	if (t->live)
		return;
	t->marks.journal = j;
	for (size_t i = 0; i < 2; i++) {
		t->out[i].marks = &t->marks;
		writer_track(&t->out[i].w);
	}
}

void
text_free(struct text_sink *t)
{
	if (t == NULL)
		return;
	while (t->ntasks > 0)
		task_forget(t, &t->tasks[t->ntasks - 1]);
	text_files_done(&t->file);
	writer_done(&t->out[0].w);
	writer_done(&t->out[1].w);
	text_marks_done(&t->marks);
	free(t->tasks);
	free(t);
}

/* With -u there is no order of printing: what is printed here, the command of -v, belongs to the
 * moment when the task starts. */
struct knee_sink
text_sink(struct text_sink *t)
{
	return (struct knee_sink){
		.self = t,
		.text = !t->live,
		.event = text_event,
		.flush = text_flush,
		.fd = text_fd,
	};
}

static int
text_event_whole(void *self, const struct knee_event *e)
{
	return e->kind == KNEE_EVENT_WHOLE ? text_event(self, e) : 0;
}

struct knee_sink
text_sink_whole(struct text_sink *t)
{
	struct knee_sink sink = text_sink(t);

	sink.text = 1;
	sink.event = text_event_whole;
	return sink;
}

/* SPDX-License-Identifier: MIT */
/*
 * --results FILE.csv, .tsv, .json: a row for every task that has ended; FILE "-": on standard output.
 *
 * Output goes into its row as it comes, piece by piece: of stdout first, then of stderr
 * (knee_options.whole), so that no row has to be in memory.
 *
 * A new run empties the file. One that goes on appends: with a journal what was half written is cut off
 * already, since the file is to the journal what standard output would be; with a job log what is no
 * whole row is cut off here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results.h"
#include "text_marks.h"
#include "writer.h"

struct results_file {
	const char *path; /* borrowed; "-": standard output */
	bool append;
	bool head; /* the first line is there */
	bool skip; /* the task was not run */
	int fd;    /* ours, unless it is standard output; -1: none */
	int error; /* -errno of an event; no other is taken after it */
	struct results_names names;
	struct results_row row;
	struct writer w, none; /* none: writes nothing, for the marks of two streams */
	struct text_marks marks;
	FILE *gather; /* owned: what an event becomes, in text */
	char *text;
	size_t size;
};

static bool
is_stdout(const struct results_file *f)
{
	return strcmp(f->path, "-") == 0;
}

/* ---- writing ---------------------------------------------------------------- */

/* The reader of standard output is gone: that is no news. */
static int
failed(struct results_file *f, int err)
{
	if (f->error != 0 || (err == -EPIPE && is_stdout(f)))
		return err;
	return say_error(-err, "--results: %s: %s: the last rows are not in it", f->path, strerror(-err));
}

/* Hand over what was gathered. */
static int
gathered(struct results_file *f)
{
	int err;

	if (fflush(f->gather) != 0 || ferror(f->gather))
		return failed(f, -ENOMEM);
	err = writer_put(&f->w, f->text, f->size);
	if (f->marks.journal != NULL)
		text_marks_written(&f->marks, 0, &f->w);
	return err < 0 ? failed(f, err) : 0;
}

static int
event_take(struct results_file *f, const struct knee_event *e)
{
	int err;

	if (e->kind == KNEE_EVENT_START)
		f->skip = e->result == NULL || e->result->outcome == KNEE_SKIPPED;
	if (f->skip)
		return 0;
	rewind(f->gather);
	if (e->kind == KNEE_EVENT_START) {
		if (!f->head)
			results_head_put(f->gather, &f->row, &f->names, e->nargs);
		f->head = true;
		results_row_begin(f->gather, &f->row, e);
	} else if (e->kind == KNEE_EVENT_OUTPUT) {
		results_row_put(f->gather, &f->row, e);
	} else if (e->kind == KNEE_EVENT_RESULT) {
		results_row_end(f->gather, &f->row);
	}
	err = gathered(f);
	if (err == 0 && e->kind == KNEE_EVENT_RESULT && f->marks.journal != NULL)
		err = text_marks_add(&f->marks, e->seq, &f->w, &f->none);
	return err;
}

static int
file_event(void *self, const struct knee_event *e)
{
	struct results_file *f = self;

	if (f->error == 0)
		f->error = event_take(f, e);
	return f->error;
}

static int
file_flush(void *self)
{
	struct results_file *f = self;
	int err = writer_flush(&f->w);

	if (f->marks.journal != NULL) {
		text_marks_written(&f->marks, 0, &f->w);
		text_marks_written(&f->marks, 1, &f->none);
		text_marks_tell(&f->marks);
	}
	if (err < 0 && err != -EAGAIN)
		f->error = failed(f, err);
	return err;
}

static int
file_fd(void *self)
{
	struct results_file *f = self;

	return f->w.fd;
}

struct knee_sink
results_file_sink(struct results_file *f)
{
	return (struct knee_sink){
		.self = f, .text = 1, .event = file_event, .flush = file_flush, .fd = file_fd
	};
}

/* ---- opening ------------------------------------------------------------------ */

int
results_file_open(const char *path, enum results_format format, bool append, struct results_file **ret)
{
	/* At the end, or from the start: the journal looks where it stands. */
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : 0);
	struct results_file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return say_error(ENOMEM, "--results: %s", strerror(ENOMEM));
	*f = (struct results_file){ .path = path, .append = append, .fd = -1, .row.format = format };
	writer_init_file(&f->w, -1);
	writer_init_file(&f->none, -1);
	*ret = f;
	f->gather = open_memstream(&f->text, &f->size);
	if (f->gather == NULL)
		return say_error(ENOMEM, "--results: %s", strerror(ENOMEM));
	if (is_stdout(f)) {
		f->fd = STDOUT_FILENO;
		return 0;
	}
	f->fd = open(path, flags, 0666);
	return f->fd < 0 ? say_error(errno, "--results: %s: %s", path, strerror(errno)) : 0;
}

/* Cut off what is no whole row of an earlier run. */
static int
rows_find(struct results_file *f, const struct stat *st)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	off_t end = 0;
	int err = fd >= 0 ? results_rows_look(fd, &f->row, &end) : -errno;

	if (fd >= 0)
		close(fd);
	if (err == -EINVAL)
		return say_error(
		    EINVAL, "--results: %s: there is something else in it: use another file", f->path);
	if (err == 0 && st->st_size > end && ftruncate(f->fd, end) < 0)
		err = -errno;
	f->head = end > 0;
	return err < 0 ? say_error(-err, "--results: %s: %s", f->path, strerror(-err)) : 0;
}

int
results_file_start(struct results_file *f, const struct results_names *names, knee_journal *journal)
{
	struct stat st;
	int err = 0;

	f->names = *names;
	if (!is_stdout(f) && fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (f->append)
			err = rows_find(f, &st);
		else if (ftruncate(f->fd, 0) < 0)
			err = say_error(errno, "--results: %s: %s", f->path, strerror(errno));
	}
	if (err < 0)
		return err;
	writer_init(&f->w, f->fd);
	f->marks.journal = journal;
	if (journal != NULL)
		writer_track(&f->w);
	return 0;
}

int
results_file_fd(const struct results_file *f)
{
	return f->fd;
}

void
results_file_free(struct results_file *f)
{
	if (f == NULL)
		return;
	writer_done(&f->w);
	if (f->fd >= 0 && f->fd != STDOUT_FILENO)
		close(f->fd);
	text_marks_done(&f->marks);
	if (f->gather != NULL)
		(void)fclose(f->gather);
	free(f->text);
	free(f);
}

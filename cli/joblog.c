/* SPDX-License-Identifier: MIT */
/*
 * --joblog: a line for every task that has ended, in that order, and going on from such a file.
 *
 * The lines of a turn are written together. Tasks that were ended by a stop or --halt have none, as
 * with GNU parallel: they have not ended by themselves, and a resume runs them again. Of a task that is
 * tried several times the last attempt counts.
 *
 * FILE is emptied by a new run; +FILE, or a run that goes on, appends. What a run that died left of
 * a line is cut off before. "-" is standard output. With --dry-run nothing is written: it could not be told
 * from what was run.
 *
 * With --journal it is the journal that knows what is to run.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "joblog_line.h"
#include "joblog_read.h"
#include "writer.h"

struct joblog {
	const char *path;         /* borrowed */
	bool append, resumes;     /* resumes: from this log, not from a journal */
	struct joblog_past *past; /* owned; NULL: a new log */
	struct writer w;
	FILE *gather; /* owned: a line, in text; NULL: nothing is written */
	char *text;
	size_t size;
};

static bool
is_stdout(const struct joblog *l)
{
	return strcmp(l->path, "-") == 0;
}

/* ---- writing ---------------------------------------------------------------- */

/* The reader of standard output is gone: that is no news. */
static int
failed(const struct joblog *l, int err)
{
	if (err == -EPIPE && is_stdout(l))
		return err;
	return say_error(-err,
	    "--joblog: %s: %s: the last lines are not in it: make room, or use another file, and --resume",
	    l->path, strerror(-err));
}

/* Waits: a log is to be a file. */
static int
joblog_flush(void *self)
{
	struct joblog *l = self;
	int err;

	while ((err = writer_flush(&l->w)) == -EAGAIN)
		(void)poll(&(struct pollfd){ .fd = l->w.fd, .events = POLLOUT }, 1, -1);
	return err < 0 ? failed(l, err) : 0;
}

static int
line_write(struct joblog *l, const struct knee_event *e)
{
	int err;

	rewind(l->gather);
	joblog_line_put(l->gather, e->seq, e->host != NULL ? e->host : ":", e->result,
	    e->command != NULL ? e->command : "");
	if (fflush(l->gather) != 0 || ferror(l->gather))
		return failed(l, -ENOMEM);
	err = writer_put(&l->w, l->text, l->size);
	return err < 0 ? failed(l, err) : 0;
}

static int
joblog_event(void *self, const struct knee_event *e)
{
	struct joblog *l = self;

	if (l->gather == NULL)
		return 0;
	if (e->kind == KNEE_EVENT_END)
		return joblog_flush(l);
	if (e->kind != KNEE_EVENT_RESULT || e->result->outcome == KNEE_CANCELLED ||
	    e->result->outcome == KNEE_SKIPPED)
		return 0;
	return line_write(l, e);
}

static int
joblog_fd(void *self)
{
	struct joblog *l = self;

	return l->w.fd;
}

struct knee_sink
joblog_sink(struct joblog *l)
{
	return (struct knee_sink){ .self = l, .event = joblog_event, .flush = joblog_flush, .fd = joblog_fd };
}

/* ---- opening ------------------------------------------------------------------ */

static int
check(const struct cli_options *o)
{
	if (o->resume == KNEE_RESUME_NO || o->journal != NULL)
		return 0;
	if (strcmp(o->joblog, "-") == 0)
		return say_error(EINVAL, "--joblog -: there is nothing to go on from: name a file");
	if (o->shuf && o->resume != KNEE_RETRY_FAILED)
		return say_error(EINVAL,
		    "--joblog: with --shuf the order is another one each time, and the log knows inputs by "
		    "their number: shuffle the inputs once, by shuf(1), into a file");
	if (o->group_auto && o->resume != KNEE_RETRY_FAILED)
		return say_error(EINVAL,
		    "--joblog: --group auto makes other commands each time, and the log knows them by their "
		    "number: say how many inputs, by -n");
	return 0;
}

/* --retry-failed: the commands are the log's, and nothing else is read. */
static int
take_inputs_away(struct cli_options *o)
{
	if (o->ninputs == 0)
		o->inputs = calloc(1, sizeof(*o->inputs));
	if (o->inputs == NULL)
		return say_error(ENOMEM, "--joblog: %s", strerror(ENOMEM));
	o->inputs[0] = (struct input_spec){ .kind = INPUT_ARGS };
	o->ninputs = 1;
	o->ncommand = 0;
	o->replacement = o->colsep = NULL;
	o->header = o->no_args = o->quote = o->shellquote = o->context = o->shuf = o->group_auto = false;
	o->batch = BATCH_ARGS;
	o->max_args = o->max_lines = o->max_chars = 0;
	/* How many there are is not known from the inputs. */
	o->no_run_if_empty = true;
	return 0;
}

int
joblog_open(struct cli_options *o, struct joblog **ret)
{
	struct joblog *l;
	int err;

	if (o->joblog == NULL)
		return 0;
	err = check(o);
	if (err < 0)
		return err;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return say_error(ENOMEM, "--joblog: %s", strerror(ENOMEM));
	writer_init_file(&l->w, -1);
	*ret = l;
	l->path = o->joblog + (o->joblog[0] == '+');
	l->append = o->joblog[0] == '+' || o->resume != KNEE_RESUME_NO;
	l->resumes = o->resume != KNEE_RESUME_NO && o->journal == NULL;
	if (l->append && !is_stdout(l))
		err = joblog_read(l->path, l->resumes ? o->resume : KNEE_RESUME_NO, &l->past);
	if (err < 0 || !l->resumes || o->resume != KNEE_RETRY_FAILED)
		return err;
	if (l->past == NULL)
		return say_error(ENOENT, "--retry-failed: %s: %s", l->path, strerror(ENOENT));
	return take_inputs_away(o);
}

/* It must be nothing that the run reads or keeps. */
static int
check_others(const struct joblog *l, const struct cli_options *o)
{
	struct stat st, other;

	if (is_stdout(l) || fstat(l->w.fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (o->journal != NULL && stat(o->journal, &other) == 0 && other.st_dev == st.st_dev &&
	    other.st_ino == st.st_ino)
		return say_error(EINVAL, "--joblog: %s: it is the journal: use another file", l->path);
	for (size_t i = 0; i < o->ninputs; i++)
		if (o->inputs[i].kind == INPUT_FILE && stat(o->inputs[i].path, &other) == 0 &&
		    other.st_dev == st.st_dev && other.st_ino == st.st_ino)
			return say_error(
			    EINVAL, "--joblog: %s: inputs are read from it: use another file", l->path);
	return 0;
}

/* Cut off what is no whole line of an earlier run; the first line, when there is none. */
static int
begin(struct joblog *l)
{
	off_t end = l->past != NULL ? joblog_read_end(l->past) : 0;
	struct stat st;
	int err = 0;

	if (fstat(l->w.fd, &st) == 0 && S_ISREG(st.st_mode) && !is_stdout(l) && st.st_size > end &&
	    ftruncate(l->w.fd, end) < 0)
		return say_error(errno, "--joblog: %s: %s", l->path, strerror(errno));
	if (end == 0)
		err = writer_put(&l->w, JOBLOG_HEAD, sizeof(JOBLOG_HEAD) - 1);
	return err < 0 ? failed(l, err) : joblog_flush(l);
}

int
joblog_start(struct joblog *l, const struct cli_options *o)
{
	int fd, err = 0;

	if (l->resumes && l->past != NULL && o->each_host && o->nmachines > 0)
		err = joblog_read_machines(l->past, o->machines, o->nmachines);
	if (err < 0 || o->dry_run || o->shellquote)
		return err;
	l->gather = open_memstream(&l->text, &l->size);
	if (l->gather == NULL)
		return say_error(ENOMEM, "--joblog: %s", strerror(ENOMEM));
	fd = is_stdout(l) ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) :
			    open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return say_error(errno, "--joblog: %s: %s", l->path, strerror(errno));
	writer_init_file(&l->w, fd);
	err = check_others(l, o);
	return err < 0 ? err : begin(l);
}

struct knee_source
joblog_source(struct joblog *l, const struct knee_source *inner)
{
	return l->resumes && l->past != NULL ? joblog_read_source(l->past, inner) : *inner;
}

void
joblog_free(struct joblog *l)
{
	if (l == NULL)
		return;
	joblog_read_free(l->past);
	writer_done(&l->w);
	if (l->gather != NULL)
		(void)fclose(l->gather);
	free(l->text);
	free(l);
}

/* SPDX-License-Identifier: MIT */
/*
 * --results DIR: of each task the files stdout, stderr and seq, in a folder named after its inputs:
 *
 *	DIR/1/VALUE/2/VALUE/	the number of the source, or its name in the header, and the value
 *
 * In a folder's name "/" is "\_" and "\" is "\\"; what would be "." or ".." has a "\" before it. A name of
 * more than 255 bytes goes on in a folder within; one that is empty is left out. But for "." and ".." and
 * what is too long, which it lets go astray, all of this is GNU parallel's.
 *
 * When DIR has replacement strings, what becomes of it is the folder when it ends in "/", else the file
 * of stdout, beside which are FILE.err and FILE.seq.
 *
 * With --onall all machines have the same inputs: the machine's name is the first folder, DIR/web1/1/VALUE/,
 * and the last name of what becomes of replacement strings.
 *
 * Only one file is open at a time: with --lb many tasks write side by side.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results.h"
#include "writer.h"

enum result_file { FILE_OUT, FILE_ERR, FILE_SEQ };

struct results_dir {
	const char *path;                 /* borrowed */
	const struct knee_template *name; /* borrowed; NULL: no template */
	struct results_names names;
	knee_journal *journal; /* borrowed, or NULL */
	bool sync;
	int error; /* -errno of an event; no other is taken after it */

	/* The file that is open; seq 0: none is. */
	uint64_t seq;
	enum result_file file;
	struct writer w;
	char *at; /* owned; its path */
};

/* ---- names -------------------------------------------------------------------- */

/* "/" and one folder, or several if it is long. */
static void
put_folder(FILE *out, const char *s)
{
	size_t n = 0;

	if (*s == '\0')
		return;
	(void)putc('/', out);
	if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		(void)putc('\\', out);
	for (; *s != '\0'; s++) {
		bool escaped = *s == '/' || *s == '\\';

		if (n + escaped + 1 > NAME_MAX) {
			(void)putc('/', out);
			n = 0;
		}
		if (escaped)
			(void)putc('\\', out);
		(void)putc(*s == '/' ? '_' : *s, out);
		n += escaped + 1;
	}
}

static const char *
machine(const struct knee_event *e)
{
	return e->host != NULL ? e->host : ":";
}

static void
put_folders(FILE *out, const struct results_dir *d, const struct knee_event *e)
{
	(void)fputs(d->path, out);
	if (d->names.host)
		put_folder(out, machine(e));
	for (size_t i = 0; i < e->nargs; i++) {
		size_t source = d->names.sources > 0 ? i % d->names.sources : i;

		if (source < d->names.n)
			put_folder(out, d->names.header[source]);
		else
			(void)fprintf(out, "/%zu", source + 1);
		put_folder(out, e->args[i]);
	}
	(void)putc('/', out);
}

/* What becomes of the template. 0 or -errno. */
static int
put_template(FILE *out, const struct results_dir *d, const struct knee_event *e)
{
	char *text = NULL;
	size_t size;
	bool folder;
	int err = knee_template_expand(d->name, e->args, e->nargs, e->seq, e->slot, &text);

	if (err < 0)
		return err;
	size = strlen(text);
	folder = size > 0 && text[size - 1] == '/';
	(void)fwrite(text, 1, size - folder, out);
	if (d->names.host && size > 0)
		put_folder(out, machine(e));
	if (folder)
		(void)putc('/', out);
	free(text);
	return 0;
}

/* The path of a task's file in *ret (malloc'd). */
static int
path_make(const struct results_dir *d, const struct knee_event *e, enum result_file file, char **ret)
{
	static const char *const within[] = {
		[FILE_OUT] = "stdout", [FILE_ERR] = "stderr", [FILE_SEQ] = "seq"
	};
	static const char *const beside[] = { [FILE_OUT] = "", [FILE_ERR] = ".err", [FILE_SEQ] = ".seq" };
	char *base = NULL;
	size_t size;
	FILE *out = open_memstream(&base, &size);
	int err = 0;

	if (out == NULL)
		return -ENOMEM;
	if (d->name != NULL)
		err = put_template(out, d, e);
	else
		put_folders(out, d, e);
	if (fclose(out) != 0 && err == 0)
		err = -ENOMEM;
	if (err == 0) {
		if (asprintf(ret, "%s%s", base, (size > 0 && base[size - 1] == '/' ? within : beside)[file]) <
		    0)
			err = -ENOMEM;
	}
	free(base);
	return err;
}

/* ---- files -------------------------------------------------------------------- */

/* The folders that path lies in. What cannot be made shows when the file is. */
static void
folders_make(char *path)
{
	for (char *slash = path; (slash = strchr(slash + 1, '/')) != NULL;) {
		*slash = '\0';
		(void)mkdir(path, 0777);
		*slash = '/';
	}
}

static int
failed(int err, uint64_t seq, const char *path)
{
	return say_error(-err, "--results: %s: %s: what task %" PRIu64 " printed is not all there", path,
	    strerror(-err), seq);
}

/* Write out and close the file that is open. */
static int
release(struct results_dir *d)
{
	int err;

	if (d->seq == 0)
		return 0;
	err = writer_flush(&d->w);
	if (err == 0 && d->sync && fdatasync(d->w.fd) < 0)
		err = -errno;
	if (err < 0)
		err = failed(err, d->seq, d->at);
	writer_done(&d->w);
	free(d->at);
	d->at = NULL;
	d->seq = 0;
	return err;
}

/* Make this file of the task the one that is open. flags: O_TRUNC for a new one. */
static int
turn_to(struct results_dir *d, const struct knee_event *e, enum result_file file, int flags)
{
	int fd, err;

	if (d->seq == e->seq && d->file == file)
		return 0;
	err = release(d);
	if (err < 0)
		return err;
	err = path_make(d, e, file, &d->at);
	if (d->at == NULL)
		return say_error(-err, "--results: %s", strerror(-err));
	flags |= O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
	fd = open(d->at, flags, 0666);
	if (fd < 0 && errno == ENOENT) {
		folders_make(d->at);
		fd = open(d->at, flags, 0666);
	}
	if (fd < 0) {
		err = failed(-errno, e->seq, d->at);
		free(d->at);
		d->at = NULL;
		return err;
	}
	writer_init_file(&d->w, fd);
	d->seq = e->seq;
	d->file = file;
	return 0;
}

static int
put(struct results_dir *d, const char *data, size_t n)
{
	int err = writer_put(&d->w, data, n);

	return err < 0 ? failed(err, d->seq, d->at) : 0;
}

/* ---- the sink ------------------------------------------------------------------- */

/* stdout is the last one to be made: it comes first, and stays open. */
static int
start(struct results_dir *d, const struct knee_event *e)
{
	char number[24];
	int err, n = snprintf(number, sizeof(number), "%" PRIu64, e->seq);

	if (e->result != NULL && e->result->outcome == KNEE_SKIPPED)
		return 0;
	err = turn_to(d, e, FILE_SEQ, O_TRUNC);
	if (err == 0)
		err = put(d, number, (size_t)n);
	if (err == 0)
		err = turn_to(d, e, FILE_ERR, O_TRUNC);
	return err < 0 ? err : turn_to(d, e, FILE_OUT, O_TRUNC);
}

static int
event_take(struct results_dir *d, const struct knee_event *e)
{
	int err;

	switch (e->kind) {
	case KNEE_EVENT_START:
		return start(d, e);
	case KNEE_EVENT_OUTPUT:
		err = turn_to(d, e, e->stream == KNEE_STDERR ? FILE_ERR : FILE_OUT, 0);
		return err < 0 ? err : put(d, e->data, e->size);
	case KNEE_EVENT_RESULT:
		err = d->seq == e->seq ? release(d) : 0;
		if (err == 0 && d->journal != NULL)
			knee_journal_printed(d->journal, e->seq, 0, 0);
		return err;
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_NOTE:
	case KNEE_EVENT_END:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int
dir_event(void *self, const struct knee_event *e)
{
	struct results_dir *d = self;

	if (d->error == 0)
		d->error = event_take(d, e);
	return d->error;
}

struct knee_sink
results_dir_sink(struct results_dir *d)
{
	return (struct knee_sink){ .self = d, .text = 1, .event = dir_event };
}

int
results_dir_new(const char *path, const struct knee_template *name, const struct results_names *names,
    knee_journal *journal, bool sync, struct results_dir **ret)
{
	struct results_dir *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	*d = (struct results_dir){
		.path = path, .name = name, .names = *names, .journal = journal, .sync = sync
	};
	writer_init_file(&d->w, -1);
	*ret = d;
	return 0;
}

void
results_dir_free(struct results_dir *d)
{
	if (d == NULL)
		return;
	if (d->error == 0)
		(void)release(d);
	writer_done(&d->w);
	free(d->at);
	free(d);
}

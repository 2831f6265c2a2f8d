/* SPDX-License-Identifier: MIT */
/*
 * -j FILE: the number at once may be changed by writing to the file. As with GNU parallel it is
 * looked at when a task ends, and read when it has changed. What cannot be read, or says nothing,
 * changes nothing: the file may just be being written.
 *
 * A number that is found by measuring can be fixed so, but not the other way round.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "options_table.h"

struct jobs_file {
	const char *path;          /* borrowed */
	knee *knee;                /* borrowed; NULL until the run begins */
	struct progress *progress; /* borrowed */
	struct timespec changed;   /* what was read last */
	ino_t inode;
	off_t size;
	bool notes;
};

/* True when the file is another one than was read last. */
static bool
is_new(struct jobs_file *f)
{
	struct stat st;

	if (stat(f->path, &st) < 0)
		return false;
	if (st.st_ino == f->inode && st.st_size == f->size && st.st_mtim.tv_sec == f->changed.tv_sec &&
	    st.st_mtim.tv_nsec == f->changed.tv_nsec)
		return false;
	f->inode = st.st_ino;
	f->size = st.st_size;
	f->changed = st.st_mtim;
	return true;
}

static void
read_again(const struct jobs_file *f)
{
	struct value_jobs jobs;
	char line[64];
	int err = config_first_line(f->path, line, sizeof(line));

	if (err == 0 && line[0] == '\0')
		return;
	if (err == 0)
		err = value_jobs(line, value_jobs_of_cores(line) ? knee_cores() : 1, &jobs);
	if (err == 0 && jobs.limit > 0) {
		knee_set_limit(f->knee, jobs.limit);
		progress_fixed(f->progress);
	} else if (f->notes && err == 0) {
		say("-j: %s: '%s' counts at the start alone: the number stays", f->path, line);
	} else if (f->notes) {
		say("-j: %s: not a number of tasks: the number stays", f->path);
	}
}

static int
jobs_file_event(void *self, const struct knee_event *event)
{
	struct jobs_file *f = self;

	if (event->kind == KNEE_EVENT_RESULT && f->knee != NULL && is_new(f))
		read_again(f);
	return 0;
}

int
jobs_file_new(const struct cli_options *o, struct jobs_file **ret)
{
	struct jobs_file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	f->path = o->jobs_file;
	f->notes = !o->silent;
	/* It was read a moment ago. */
	(void)is_new(f);
	*ret = f;
	return 0;
}

void
jobs_file_free(struct jobs_file *f)
{
	free(f);
}

struct knee_sink
jobs_file_sink(struct jobs_file *f)
{
	return (struct knee_sink){ .self = f, .event = jobs_file_event };
}

void
jobs_file_start(struct jobs_file *f, knee *k, struct progress *progress)
{
	f->knee = k;
	f->progress = progress;
}

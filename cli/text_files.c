/* SPDX-License-Identifier: MIT */
/*
 * The files of --files.  They are made in the folder for temporary files, readable
 * by the user alone, and belong to the user once their name has been printed; the
 * text sink removes those whose name never was.
 *
 * With whole lines of many tasks side by side (--lb) as many files are written as
 * tasks run.  Descriptors are what the tasks need, so only one file is open at a
 * time; in the other orders a task's output comes in one go and it stays open.
 */
#include "text_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const char suffix[] = ".out";

void
text_files_init(struct text_files *f, const char *folder)
{
	*f = (struct text_files){ .folder = folder };
	writer_init_file(&f->w, -1);
}

void
text_files_done(struct text_files *f)
{
	writer_done(&f->w);
	f->seq = 0;
}

static int
failed(int err, uint64_t seq, const char *path)
{
	return say_error(-err, "%s: %s: output of task %" PRIu64 " is incomplete", path, strerror(-err), seq);
}

int
text_files_create(struct text_files *f, uint64_t seq, char **path)
{
	char *made;
	int fd;

	if (asprintf(&made, "%s/knee-XXXXXX%s", f->folder, suffix) < 0)
		return say_error(ENOMEM, "--files: %s", strerror(ENOMEM));
	fd = mkostemps(made, (int)sizeof(suffix) - 1, O_CLOEXEC | O_APPEND);
	if (fd < 0) {
		int err = errno;

		free(made);
		return say_error(
		    err, "%s: %s: no file for the output of task %" PRIu64, f->folder, strerror(err), seq);
	}
	/* Whatever another task's file still gathers is written when it is its turn again. */
	if (f->seq == 0) {
		writer_init_file(&f->w, fd);
		f->seq = seq;
	} else {
		close(fd);
	}
	*path = made;
	return 0;
}

/* Write out and close the file of the task that is open. */
static int
release(struct text_files *f, const char *path)
{
	int err = writer_flush(&f->w);
	uint64_t seq = f->seq;

	text_files_done(f);
	return err < 0 ? failed(err, seq, path) : 0;
}

static int
turn_to(struct text_files *f, uint64_t seq, const char *path)
{
	int fd, err;

	if (f->seq == seq)
		return 0;
	if (f->seq != 0) {
		err = release(f, f->folder);
		if (err < 0)
			return err;
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return failed(-errno, seq, path);
	writer_init_file(&f->w, fd);
	f->seq = seq;
	return 0;
}

int
text_files_put(struct text_files *f, uint64_t seq, const char *path, const void *data, size_t n)
{
	int err = turn_to(f, seq, path);

	if (err < 0)
		return err;
	err = writer_put(&f->w, data, n);
	return err < 0 ? failed(err, seq, path) : 0;
}

int
text_files_close(struct text_files *f, uint64_t seq, const char *path)
{
	return f->seq == seq ? release(f, path) : 0;
}

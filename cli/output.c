/* SPDX-License-Identifier: MIT */
/*
 * --output FILE: like >FILE, and like >>FILE when a run is resumed, but that nothing is emptied
 * before it is sure that the run begins: a shell does that first, and only then is it found out
 * that the journal is of another run.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static bool
is_same(const struct stat *st, const char *path)
{
	struct stat other;

	return stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

/* The file must not be one that the run reads or keeps its log in. */
static int
check_others(const struct cli_options *o)
{
	const char *const logs[] = { o->journal, o->joblog };
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++)
		if (logs[i] != NULL && is_same(&st, logs[i]))
			return say_error(
			    EINVAL, "--output: %s: the log is kept in it: use another file", o->output);
	for (size_t i = 0; i < o->ninputs; i++)
		if (o->inputs[i].kind == INPUT_FILE && is_same(&st, o->inputs[i].path))
			return say_error(
			    EINVAL, "--output: %s: inputs are read from it: use another file", o->output);
	return 0;
}

int
output_open(const struct cli_options *o)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (o->resume != KNEE_RESUME_NO ? O_APPEND : 0);
	int fd, err = 0;

	if (o->output == NULL)
		return 0;
	fd = open(o->output, flags, 0666);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		err = say_error(errno, "--output: %s: %s", o->output, strerror(errno));
	if (fd >= 0)
		close(fd);
	return err < 0 ? err : check_others(o);
}

int
output_start(const struct cli_options *o)
{
	struct stat st;

	if (o->output == NULL || o->resume != KNEE_RESUME_NO)
		return 0;
	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(STDOUT_FILENO, 0) < 0)
		return say_error(errno, "--output: %s: %s", o->output, strerror(errno));
	return 0;
}

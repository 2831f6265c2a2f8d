/* SPDX-License-Identifier: MIT */
/*
 * The engine takes inputs only as it needs them, and learns their number with the last
 * one.  For arguments and regular files, which are most of what people wait for, the
 * number can be had at once by counting delimiters.
 */
#include "total.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT_BYTES = 64 * 1024 };

/* A longer list is not worth the wait before the first task. */
static const off_t list_bytes_max = 32 * 1024 * 1024;

/* Delimiters from here to the end, and a last record without one. */
static bool
records_count(int fd, off_t at, unsigned char delimiter, uint64_t *ret)
{
	char data[COUNT_BYTES];
	uint64_t n = 0;
	bool open = false;
	ssize_t got;

	while ((got = pread(fd, data, sizeof(data), at)) > 0) {
		const char *end = data + got;
		const char *found = data;

		while ((found = memchr(found, delimiter, (size_t)(end - found))) != NULL) {
			n++;
			if (++found == end)
				break;
		}
		open = (unsigned char)end[-1] != delimiter;
		at += got;
	}
	*ret = n + open;
	return got == 0;
}

static bool
file_count(const char *path, unsigned char delimiter, uint64_t *ret)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct stat st;
	off_t at = 0;
	bool known;
	int fd;

	/* Opening a FIFO to look at it would be noticed at its other end: stat it first. */
	if ((is_stdin ? fstat(STDIN_FILENO, &st) : stat(path, &st)) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size > list_bytes_max)
		return false;
	fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (is_stdin)
		at = lseek(fd, 0, SEEK_CUR);
	known = at >= 0 && records_count(fd, at, delimiter, ret);
	if (!is_stdin)
		close(fd);
	return known;
}

/* Inputs of the i-th source; one at least where there are others to go with. */
static bool
source_count(
    const struct cli_options *o, const struct input_spec *specs, size_t nspecs, size_t i, uint64_t *ret)
{
	uint64_t lead = (i == 0 && o->skip_first_line) + (uint64_t)o->header;
	uint64_t n = specs[i].nargs;

	if (specs[i].kind == INPUT_FILE && !file_count(specs[i].path, o->delimiter, &n))
		return false;
	n = n > lead ? n - lead : 0;
	*ret = n == 0 && nspecs > 1 ? 1 : n;
	return true;
}

/* Linked sources are as one, as long as the shortest (the longest with --link). */
static bool
inputs_count(const struct cli_options *o, const struct input_spec *specs, size_t nspecs, uint64_t *ret)
{
	uint64_t product = 1, axis = 0, n;
	unsigned stdins = 0;

	for (size_t i = 0; i < nspecs; i++) {
		stdins += specs[i].kind == INPUT_FILE && strcmp(specs[i].path, "-") == 0;
		if (stdins > 1 || !source_count(o, specs, nspecs, i, &n))
			return false;
		if (i > 0 && o->link_wrap)
			axis = n > axis ? n : axis;
		else if (i > 0 && specs[i].linked)
			axis = n < axis ? n : axis;
		else if (__builtin_mul_overflow(product, i > 0 ? axis : 1, &product))
			return false;
		else
			axis = n;
	}
	return !__builtin_mul_overflow(product, axis, ret);
}

bool
total_tasks(const struct cli_options *o, uint64_t *ret)
{
	const struct input_spec from_stdin = { .kind = INPUT_FILE, .path = "-" };
	const struct input_spec *specs = o->ninputs > 0 ? o->inputs : &from_stdin;
	size_t nspecs = o->ninputs > 0 ? o->ninputs : 1;
	uint64_t per_task = o->max_args > 0 && !o->no_args ? o->max_args : 1;
	uint64_t inputs;

	if (o->batch != BATCH_ARGS || o->max_lines > 0 || o->eof_string != NULL || o->no_run_if_empty ||
	    (per_task > 1 && (o->max_chars > 0 || o->colsep != NULL)))
		return false;
	if (!inputs_count(o, specs, nspecs, &inputs))
		return false;
	if (per_task > 1 && __builtin_mul_overflow(inputs, nspecs, &inputs))
		return false;
	*ret = inputs / per_task + (inputs % per_task > 0);
	return !o->each_host || o->nmachines == 0 || !__builtin_mul_overflow(*ret, o->nmachines, ret);
}

/* SPDX-License-Identifier: MIT */
/*
 * --results FILE with --resume: which part of any file is whole rows; and rows of any output, which have
 * to be whole and of one line of columns.
 *
 * Bytes: the format, and 1 to look at the rest as a file; else the pieces of output: a stream (its lowest
 * bit) and a string each, what is stdout's before what is stderr's.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "results.h"

static void
look(const void *data, size_t n, enum results_format format, struct results_row *row, off_t *end, int *err)
{
	int fd = memfd_create("rows", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		abort();
	*row = (struct results_row){ .format = format };
	*end = -1;
	*err = results_rows_look(fd, row, end);
	close(fd);
}

static void
any_file(const uint8_t *data, size_t n, enum results_format format)
{
	struct results_row row, again;
	off_t end, end_again;
	int err;

	look(data, n, format, &row, &end, &err);
	HOLDS(err == 0 || err == -EINVAL, "%d", err);
	if (err < 0)
		return;
	HOLDS(end >= 0 && (size_t)end <= n && (end == 0 || data[end - 1] == '\n'), "%lld", (long long)end);
	look(data, (size_t)end, format, &again, &end_again, &err);
	HOLDS(
	    err == 0 && end_again == end && again.width == row.width, "%d, %lld", err, (long long)end_again);
}

static void
any_output(struct fuzz_bytes *b, enum results_format format)
{
	const struct knee_result result = { .outcome = KNEE_EXITED };
	const struct results_names names = { 0 };
	struct fuzz_words args = fuzz_words(b, 2);
	struct knee_event e = { .seq = 1,
		.command = "a \"b\"",
		.result = &result,
		.args = (const char *const *)args.words,
		.nargs = args.n,
		.stream = KNEE_STDOUT };
	struct results_row row = { .format = format }, seen;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	off_t end;
	int err;

	if (f == NULL)
		abort();
	results_head_put(f, &row, &names, args.n);
	results_row_begin(f, &row, &e);
	while (b->size > 0) {
		char *piece;

		e.stream = (fuzz_byte(b) & 1) != 0 ? KNEE_STDERR : e.stream;
		piece = fuzz_string(b);
		e.data = piece;
		e.size = strlen(piece);
		if (e.size > 0)
			results_row_put(f, &row, &e);
		free(piece);
	}
	results_row_end(f, &row);
	if (fclose(f) != 0)
		abort();
	look(text, size, format, &seen, &end, &err);
	HOLDS(err == 0 && (size_t)end == size, "%d, %lld of %zu", err, (long long)end, size);
	HOLDS(seen.width == row.width, "%zu, not %zu columns", seen.width, row.width);
	/* One byte less, and the last row is not whole. */
	look(text, size - 1, format, &seen, &end, &err);
	HOLDS(err == 0 && (size_t)end < size - 1, "%d, %lld of %zu", err, (long long)end, size - 1);
	free(text);
	fuzz_words_free(&args);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { .data = data, .size = size };
	enum results_format format = (enum results_format)(fuzz_byte(&b) % 3);

	if (fuzz_byte(&b) == 1)
		any_file(b.data, b.size, format);
	else
		any_output(&b, format);
	return 0;
}

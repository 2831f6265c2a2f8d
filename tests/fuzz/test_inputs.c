/* SPDX-License-Identifier: MIT */
/*
 * Inputs: up to three sources with every option that is about them. What is read of regular files is
 * what is read of pipes; of one source without options, it is its lines.
 *
 * Bytes: flags; more flags; [separator NUL] [end NUL]; the sources, with 0x1e in between.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"
#include "fuzz.h"
#include "total.h"

enum {
	SOURCES = 3,
	TAKEN_MAX = 500,    /* of a product */
	SOURCE_BYTES = 8192 /* a pipe takes that at once */
};

enum { HEADER = 1, SKIP = 2, NO_EMPTY = 4, WRAP = 8, TRIM = 48, LINES = 64, SHUFFLE = 128 };
enum { COUNT = 3, COLSEP = 4, END = 8, NUL = 16, LINKED_2 = 32, LINKED_3 = 64, WORDS = 128 };

struct trial {
	struct cli_options o;
	struct input_spec specs[SOURCES];
	char paths[SOURCES][32];
	struct fuzz_bytes texts[SOURCES];
	int fds[SOURCES];
	struct fuzz_words words; /* the first source, when it is ::: */
};

/* What was read. */
struct taken {
	uint64_t n, digest, sum;
	int end;
};

static int
file_of(const struct fuzz_bytes *text, bool pipe_it)
{
	int fds[2];

	if (!pipe_it) {
		fds[0] = memfd_create("input", MFD_CLOEXEC);
		HOLDS(
		    fds[0] >= 0 && write(fds[0], text->data, text->size) == (ssize_t)text->size, "no memory");
		return fds[0];
	}
	HOLDS(pipe(fds) == 0 && write(fds[1], text->data, text->size) == (ssize_t)text->size, "no pipe");
	close(fds[1]);
	return fds[0];
}

/* FNV-1a. Of the arguments, each with its NUL. */
static uint64_t
digest(const struct knee_input *input)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < input->nargs; i++) {
		const char *s = input->args[i];

		do
			h = (h ^ (unsigned char)*s) * 0x100000001b3;
		while (*s++ != '\0');
	}
	return h;
}

static void
take_all(struct trial *t, struct taken *ret)
{
	struct inputs *in = NULL;
	const char *const *names;
	size_t nnames = 0;
	struct knee_input input = { 0 };
	int got;

	*ret = (struct taken){ 0 };
	got = inputs_new(&t->o, &in);
	if (got == 0)
		got = inputs_header(in, &names, &nnames);
	for (size_t i = 0; got == 0 && i < nnames; i++)
		ret->sum += strlen(names[i]);
	while (got >= 0 && ret->n < TAKEN_MAX && (got = inputs_next(in, &input)) > 0) {
		uint64_t h = digest(&input);

		ret->n++;
		ret->digest = ret->digest * 31 + h;
		ret->sum += h;
	}
	HOLDS(got <= 1 && got != -EAGAIN, "%d", got);
	ret->end = got;
	inputs_free(in);
}

static void
take(struct trial *t, bool pipe_it, struct taken *ret, uint64_t *total)
{
	for (size_t i = 0; i < t->o.ninputs; i++) {
		if (t->specs[i].kind == INPUT_ARGS)
			continue;
		t->fds[i] = file_of(&t->texts[i], pipe_it);
		(void)snprintf(t->paths[i], sizeof(t->paths[i]), "/proc/self/fd/%d", t->fds[i]);
		t->specs[i].path = t->paths[i];
	}
	*total = UINT64_MAX;
	(void)total_tasks(&t->o, total);
	take_all(t, ret);
	for (size_t i = 0; i < t->o.ninputs; i++)
		if (t->specs[i].kind == INPUT_FILE)
			close(t->fds[i]);
}

/* Of one source without options. */
static void
check_lines(const struct fuzz_bytes *text, uint8_t delimiter, const struct taken *got)
{
	struct fuzz_bytes b = *text;
	struct taken want = { 0 };

	while (b.size > 0 && want.n < TAKEN_MAX && want.end == 0) {
		const uint8_t *end = memchr(b.data, delimiter, b.size);
		size_t n = end != NULL ? (size_t)(end - b.data) : b.size;
		char *line = fuzz_until(&b, delimiter);
		const struct knee_input input = { .args = (const char *const *)&line, .nargs = 1 };

		if (strlen(line) != n) {
			want.end = -EINVAL;
		} else {
			want.n++;
			want.digest = want.digest * 31 + digest(&input);
		}
		free(line);
	}
	HOLDS(got->n == want.n && got->digest == want.digest, "%d lines, not %d", (int)got->n, (int)want.n);
	HOLDS(got->n == TAKEN_MAX || got->end == want.end, "the end is %d, not %d", got->end, want.end);
}

static void
trial_run(struct trial *t, bool plain)
{
	struct taken files, pipes;
	uint64_t total, unknown;

	take(t, false, &files, &total);
	take(t, true, &pipes, &unknown);
	HOLDS(files.n == pipes.n && files.end == pipes.end, "%d of files, %d of pipes; %d, %d", (int)files.n,
	    (int)pipes.n, files.end, pipes.end);
	/* Shuffled they come in another order each time. */
	if (!t->o.shuf || files.n < TAKEN_MAX)
		HOLDS(files.sum == pipes.sum, "others of files than of pipes");
	if (!t->o.shuf)
		HOLDS(files.digest == pipes.digest, "another order of files than of pipes");
	if (total < UINT64_MAX && files.end == 0)
		HOLDS(total == files.n, "%d told, %d read", (int)total, (int)files.n);
	if (plain)
		check_lines(&t->texts[0], t->o.delimiter, &files);
}

static void
specs_make(struct trial *t, struct fuzz_bytes *b, uint8_t more)
{
	t->o.inputs = t->specs;
	t->o.ninputs = (more & COUNT) % (size_t)SOURCES + 1;
	for (size_t i = 0; i < t->o.ninputs; i++) {
		const uint8_t *end = b->size > 0 ? memchr(b->data, 0x1e, b->size) : NULL;
		size_t n = end != NULL ? (size_t)(end - b->data) : b->size;

		t->texts[i] = (struct fuzz_bytes){ b->data, n < SOURCE_BYTES ? n : SOURCE_BYTES };
		b->data += n + (end != NULL);
		b->size -= n + (end != NULL);
		t->specs[i].kind = INPUT_FILE;
		t->specs[i].linked = (i == 1 && (more & LINKED_2) != 0) || (i == 2 && (more & LINKED_3) != 0);
	}
	if ((more & WORDS) != 0) {
		struct fuzz_bytes text = t->texts[0];

		t->words = fuzz_words(&text, TAKEN_MAX);
		t->specs[0] =
		    (struct input_spec){ .kind = INPUT_ARGS, .args = t->words.words, .nargs = t->words.n };
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size };
	uint8_t flags = fuzz_byte(&b), more = fuzz_byte(&b);
	struct trial t = { .o = {
			       .face = "knee",
			       .delimiter = (more & NUL) != 0 ? '\0' : '\n',
			       .header = (flags & HEADER) != 0,
			       .skip_first_line = (flags & SKIP) != 0,
			       .no_run_if_empty = (flags & NO_EMPTY) != 0,
			       .link_wrap = (flags & WRAP) != 0,
			       .trim = (enum trim)((flags & TRIM) / 16),
			       .max_lines = (flags & LINES) != 0,
			       .shuf = (flags & SHUFFLE) != 0,
			       .tmpdir = "/tmp",
			   } };
	char *colsep = (more & COLSEP) != 0 ? fuzz_string(&b) : NULL;
	char *end = (more & END) != 0 ? fuzz_string(&b) : NULL;

	/* Of separators that are more than a byte: test_colsep.c. */
	if (colsep != NULL && strlen(colsep) == 1)
		t.o.colsep = colsep;
	t.o.eof_string = end;
	specs_make(&t, &b, more);
	trial_run(
	    &t, flags == 0 && t.o.ninputs == 1 && t.o.colsep == NULL && end == NULL && t.words.words == NULL);
	fuzz_words_free(&t.words);
	free(colsep);
	free(end);
	return 0;
}

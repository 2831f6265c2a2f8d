/* SPDX-License-Identifier: MIT */
/*
 * A random order needs all inputs before the first can be given, so this is the one place
 * where memory grows with their number: by 8 bytes for each, the place of its record in a
 * temporary file, which holds the rest. A record there is a struct stored, then the
 * arguments one behind the other, a NUL after each.
 *
 * The mixing is Fisher and Yates': every order is as likely as any other.
 */
#include "shuffle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli.h"
#include "grow.h"
#include "spool.h"

enum {
	DRAWN = 32,       /* getrandom() never gives part of 256 bytes */
	FIRST_READ = 512, /* most records are shorter: one pread */
};

struct stored {
	size_t nargs;
	size_t size; /* bytes that follow */
};

struct shuffle {
	struct spool *spool; /* owned */
	uint64_t *offsets;   /* owned */
	size_t n, cap;
	size_t at; /* next one to give */
	uint64_t drawn[DRAWN];
	size_t ndrawn; /* still unused, the first ones */
	char *text;    /* owned: the present input */
	size_t text_cap;
	const char **args; /* owned: into text */
	size_t args_cap;
};

static int
out_of_memory(void)
{
	return say_error(ENOMEM, "--shuf: %s", strerror(ENOMEM));
}

int
shuffle_new(const char *tmpdir, struct shuffle **ret)
{
	struct shuffle *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return out_of_memory();
	err = spool_new(tmpdir, &s->spool);
	if (err < 0) {
		free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void
shuffle_free(struct shuffle *s)
{
	if (s == NULL)
		return;
	spool_free(s->spool);
	free(s->offsets);
	free(s->text);
	free(s->args);
	free(s);
}

int
shuffle_add(struct shuffle *s, const struct knee_input *input)
{
	struct stored head = { .nargs = input->nargs };
	uint64_t *offsets = grow(s->offsets, &s->cap, s->n + 1, sizeof(*offsets));
	size_t i;
	int err;

	if (offsets == NULL)
		return out_of_memory();
	s->offsets = offsets;
	offsets[s->n++] = spool_size(s->spool);
	for (i = 0; i < input->nargs; i++)
		head.size += strlen(input->args[i]) + 1;
	err = spool_add(s->spool, &head, sizeof(head));
	for (i = 0; i < input->nargs && err == 0; i++)
		err = spool_add(s->spool, input->args[i], strlen(input->args[i]) + 1);
	return err;
}

static int
draw(struct shuffle *s, uint64_t *ret)
{
	ssize_t got;

	if (s->ndrawn == 0) {
		do
			got = getrandom(s->drawn, sizeof(s->drawn), 0);
		while (got < 0 && errno == EINTR);
		if (got != (ssize_t)sizeof(s->drawn))
			return say_error(got < 0 ? errno : EIO, "--shuf: no random numbers: %s",
			    strerror(got < 0 ? errno : EIO));
		s->ndrawn = DRAWN;
	}
	*ret = s->drawn[--s->ndrawn];
	return 0;
}

/* A number below n, each as likely: those draws that would favour the low ones are
 * thrown away. */
static int
draw_below(struct shuffle *s, uint64_t n, uint64_t *ret)
{
	uint64_t unfair = -n % n, drawn = 0;
	int err;

	do {
		err = draw(s, &drawn);
		if (err < 0)
			return err;
	} while (drawn < unfair);
	*ret = drawn % n;
	return 0;
}

int
shuffle_mix(struct shuffle *s)
{
	uint64_t other = 0, offset;
	size_t left;
	int err;

	for (left = s->n; left > 1; left--) {
		err = draw_below(s, left, &other);
		if (err < 0)
			return err;
		offset = s->offsets[left - 1];
		s->offsets[left - 1] = s->offsets[other];
		s->offsets[other] = offset;
	}
	return spool_flush(s->spool);
}

/* Bytes [from, to) of the record at offset into text, which has room; *ret: how many of
 * the file's bytes there were, from offset. */
static int
read_record(struct shuffle *s, uint64_t offset, size_t from, size_t to, size_t *ret)
{
	ssize_t n = 1;

	while (from < to && n != 0) {
		n = pread(spool_fd(s->spool), s->text + from, to - from, (off_t)(offset + from));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return say_error(errno, "--shuf: temporary file: %s", strerror(errno));
		from += (size_t)n;
	}
	*ret = from;
	return 0;
}

/* The record at offset, whole, in text. */
static int
load_record(struct shuffle *s, uint64_t offset, struct stored *head)
{
	size_t size = sizeof(*head), got = 0;
	char *text = grow(s->text, &s->text_cap, FIRST_READ, 1);
	int err;

	if (text == NULL)
		return out_of_memory();
	s->text = text;
	err = read_record(s, offset, 0, FIRST_READ, &got);
	if (err < 0)
		return err;
	if (got >= size) {
		memcpy(head, text, size);
		size += head->size;
	}
	text = grow(text, &s->text_cap, size, 1);
	if (text == NULL)
		return out_of_memory();
	s->text = text;
	err = read_record(s, offset, got, size, &got);
	if (err < 0)
		return err;
	return got < size ? say_error(EIO, "--shuf: temporary file: it was cut short") : 0;
}

int
shuffle_next(struct shuffle *s, struct knee_input *ret)
{
	struct stored head = { 0 };
	const char **args;
	char *text;
	size_t i;
	int err;

	if (s->at == s->n)
		return 0;
	err = load_record(s, s->offsets[s->at], &head);
	if (err < 0)
		return err;
	args = grow(s->args, &s->args_cap, head.nargs, sizeof(*args));
	if (args == NULL)
		return out_of_memory();
	s->args = args;
	text = s->text + sizeof(head);
	for (i = 0; i < head.nargs; i++, text += strlen(text) + 1)
		args[i] = text;
	s->at++;
	*ret = (struct knee_input){ .args = args, .nargs = head.nargs };
	return 1;
}

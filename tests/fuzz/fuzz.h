/* SPDX-License-Identifier: MIT */
/*
 * What the targets share. A target is a file test_NAME.c with one function that takes any bytes and
 * must neither crash, leak, nor break what it says with HOLDS. It becomes two programs:
 *
 *	fuzz_NAME   with libFuzzer, which makes bytes of its own: tests/fuzz/run
 *	test_NAME   with corpus.c, which gives it the files of corpus/NAME: a test like any other
 *
 * Bytes are taken from the front: numbers that choose, then strings that end with a NUL or at the end.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; else the text is printed and the program ends by SIGABRT. */
#define HOLDS(cond, ...) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: does not hold: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
			abort(); \
		} \
	} while (0)

/* What is left to take. */
struct fuzz_bytes {
	const uint8_t *data;
	size_t size;
};

/* 0 when nothing is left. */
static inline uint8_t
fuzz_byte(struct fuzz_bytes *b)
{
	if (b->size == 0)
		return 0;
	b->size--;
	return *b->data++;
}

static inline uint16_t
fuzz_u16(struct fuzz_bytes *b)
{
	uint8_t high = fuzz_byte(b);

	return (uint16_t)(high << 8 | fuzz_byte(b));
}

/* n bytes and a NUL on the heap, not a byte more: a read beyond it is seen. */
static inline char *
fuzz_copy(const void *data, size_t n)
{
	char *s = malloc(n + 1);

	if (s == NULL)
		abort();
	if (n > 0)
		memcpy(s, data, n);
	s[n] = '\0';
	return s;
}

/* The string up to the next byte end, or all; the caller frees. */
static inline char *
fuzz_until(struct fuzz_bytes *b, uint8_t end)
{
	const uint8_t *found = b->size > 0 ? memchr(b->data, end, b->size) : NULL;
	size_t n = found != NULL ? (size_t)(found - b->data) : b->size;
	char *s = fuzz_copy(b->data, n);

	n += found != NULL;
	b->data += n;
	b->size -= n;
	return s;
}

static inline char *
fuzz_string(struct fuzz_bytes *b)
{
	return fuzz_until(b, '\0');
}

/* Strings on the heap, and a NULL behind the last. */
struct fuzz_words {
	char **words;               /* owned, and what it holds */
	size_t n;
};

/* max at most, fewer when nothing is left. */
static inline struct fuzz_words
fuzz_words(struct fuzz_bytes *b, size_t max)
{
	struct fuzz_words w = { .words = calloc(max + 1, sizeof(*w.words)) };

	if (w.words == NULL)
		abort();
	while (w.n < max && b->size > 0)
		w.words[w.n++] = fuzz_string(b);
	return w;
}

static inline void
fuzz_words_free(struct fuzz_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->words[i]);
	free(w->words);
	*w = (struct fuzz_words){ 0 };
}

#endif

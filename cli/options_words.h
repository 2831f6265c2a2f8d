/* SPDX-License-Identifier: MIT */
/*
 * Words as options, whichever table these are in.  The rules are those of getopt_long(3) and of GNU
 * parallel: options end at the first word that is none or at "--"; short ones may stand together
 * (-kj4); a long one's value is behind "=" or is the next word; hyphens inside long names do not
 * count, and the beginning of a name is enough when no other begins so.
 *
 * Names are lists, blank-separated; one of a single byte is a short option, the others are long.
 */
#ifndef CLI_OPTIONS_WORDS_H
#define CLI_OPTIONS_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* The first or next name in such a list: its start, *size its length; NULL at the end. Start with
 * after = NULL. */
const char *options_name_next(const char *list, const char *after, size_t *size);

enum options_match { OPTIONS_MATCH_NO, OPTIONS_MATCH_BEGINS, OPTIONS_MATCH_WHOLE };

/* How a name of size bytes matches what was typed, without "--" and "=value". */
enum options_match options_name_match(const char *name, size_t size, const char *typed, size_t typedsize);
/* The best match among the long names. */
enum options_match options_match(const char *list, const char *typed, size_t size);
/* True when letter is one of the short ones. */
bool options_letter(const char *list, char letter);

enum options_takes {
	OPTIONS_TAKES_NONE,
	OPTIONS_TAKES_VALUE,
	OPTIONS_MAY_TAKE,    /* it may be left out, and must be attached: -lX, --max-lines=X */
};

/* As tables say it: NULL; "[X]" may be left out; "X". */
enum options_takes options_takes(const char *value);

/* A table and what its options do. */
struct options_reader {
	void *self;
	/* The option as typed, size bytes behind the dashes ("-" of a short one): keep it in mind, for the
	 * others. An enum options_takes, or -errno after say(). */
	int (*find)(void *self, const char *dashes, const char *typed, size_t size);
	/* Do what it says with its value (NULL: none). 0 or -errno after say(). */
	int (*set)(void *self, const char *value);
	/* It was given a value and takes none, or the other way round. -errno after say(). */
	int (*refuse)(void *self, enum options_takes takes);
	/* Is word one that it takes though it could do without? NULL: never. */
	bool (*literal)(void *self, const char *word);
};

/* Read words as options until the first that is none; *used is how many were. 0 or -errno. */
int options_words_read(const struct options_reader *r, char *const *words, size_t nwords, size_t *used);

#endif

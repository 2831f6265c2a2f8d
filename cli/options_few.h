/* SPDX-License-Identifier: MIT */
/*
 * options_few.c: the options of a command that has few of them, and a table of its own (knee hosts, sem).
 * Names and rules of words are those of a run (options_words.h).
 */
#ifndef CLI_OPTIONS_FEW_H
#define CLI_OPTIONS_FEW_H

#include <stddef.h>

/* names: blank-separated; one of a single byte is a short option. value: as options_takes() has it.
 * help: for the command's own use. what: which one it is, of the command's own enum. */
struct options_few {
	const char *names, *value, *help;
	int what;
};

struct options_few_reader {
	const struct options_few *table;
	size_t n;
	void *self;
	/* typed: the option as typed, with its dashes; value: NULL: none. 0 or -errno after say(). */
	int (*set)(void *self, int what, const char *typed, const char *value);
	/* None of the table, or the beginning of several. name: what is behind the dashes, of which size bytes
	 * are the name. -errno after say(). */
	int (*unknown)(void *self, const char *typed, const char *name, size_t size);
};

/* Read words as options until the first that is none; *used is how many were. 0 or -errno. */
int options_few_read(const struct options_few_reader *r, char *const *words, size_t nwords, size_t *used);

#endif

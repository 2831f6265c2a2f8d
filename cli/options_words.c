/* SPDX-License-Identifier: MIT */
#include "options_words.h"

#include <string.h>

/* ---- names ------------------------------------------------------------------ */

const char *
options_name_next(const char *list, const char *after, size_t *size)
{
	const char *name = after ? after + *size : list;

	name += strspn(name, " ");
	*size = strcspn(name, " ");
	return *size > 0 ? name : NULL;
}

/* Hyphens inside names do not count: --dryrun is --dry-run. */
enum options_match
options_name_match(const char *name, size_t size, const char *typed, size_t typedsize)
{
	const char *end = name + size, *typedend = typed + typedsize;

	for (;;) {
		while (name < end && *name == '-')
			name++;
		while (typed < typedend && *typed == '-')
			typed++;
		if (typed == typedend)
			return name == end ? OPTIONS_MATCH_WHOLE : OPTIONS_MATCH_BEGINS;
		if (name == end || *name != *typed)
			return OPTIONS_MATCH_NO;
		name++;
		typed++;
	}
}

enum options_match
options_match(const char *list, const char *typed, size_t size)
{
	enum options_match best = OPTIONS_MATCH_NO;
	const char *name = NULL;
	size_t n;

	while ((name = options_name_next(list, name, &n)) != NULL) {
		enum options_match match =
		    n > 1 ? options_name_match(name, n, typed, size) : OPTIONS_MATCH_NO;

		if (match > best)
			best = match;
	}
	return best;
}

bool
options_letter(const char *list, char letter)
{
	const char *name = NULL;
	size_t n;

	while ((name = options_name_next(list, name, &n)) != NULL) {
		if (n == 1 && *name == letter)
			return true;
	}
	return false;
}

/* ---- words ------------------------------------------------------------------ */

enum options_takes
options_takes(const char *value)
{
	if (value == NULL)
		return OPTIONS_TAKES_NONE;
	return *value == '[' ? OPTIONS_MAY_TAKE : OPTIONS_TAKES_VALUE;
}

/* Set an option that wants a value to the next word. */
static int
next_word_take(const struct options_reader *r, char *const *words, size_t nwords, size_t *at)
{
	if (*at == nwords)
		return r->refuse(r->self, OPTIONS_TAKES_VALUE);
	return r->set(r->self, words[(*at)++]);
}

/* The long option words[*at]; *at is moved behind it and its value. */
static int
long_read(const struct options_reader *r, char *const *words, size_t nwords, size_t *at)
{
	const char *typed = words[(*at)++] + 2, *value = strchr(typed, '=');
	size_t size = value ? (size_t)(value++ - typed) : strlen(typed);
	int takes = r->find(r->self, "--", typed, size);

	if (takes < 0)
		return takes;
	if (value && takes == OPTIONS_TAKES_NONE)
		return r->refuse(r->self, OPTIONS_TAKES_NONE);
	if (value == NULL && takes == OPTIONS_MAY_TAKE && *at < nwords && r->literal != NULL &&
	    r->literal(r->self, words[*at]))
		value = words[(*at)++];
	if (value || takes != OPTIONS_TAKES_VALUE)
		return r->set(r->self, value);
	return next_word_take(r, words, nwords, at);
}

/* The short options in words[*at]; *at is moved behind them and the last one's value. */
static int
short_read(const struct options_reader *r, char *const *words, size_t nwords, size_t *at)
{
	for (const char *letter = words[(*at)++] + 1; *letter; letter++) {
		int takes = r->find(r->self, "-", letter, 1), err;

		if (takes < 0)
			return takes;
		if (takes != OPTIONS_TAKES_NONE && letter[1] != '\0')
			return r->set(r->self, letter + 1);
		if (takes == OPTIONS_TAKES_VALUE)
			return next_word_take(r, words, nwords, at);
		err = r->set(r->self, NULL);
		if (err < 0)
			return err;
	}
	return 0;
}

int
options_words_read(const struct options_reader *r, char *const *words, size_t nwords, size_t *used)
{
	size_t at = 0;
	int err = 0;

	while (err == 0 && at < nwords && words[at][0] == '-' && words[at][1] != '\0') {
		if (strcmp(words[at], "--") == 0) {
			at++;
			break;
		}
		if (words[at][1] == '-')
			err = long_read(r, words, nwords, &at);
		else
			err = short_read(r, words, nwords, &at);
	}
	*used = at;
	return err;
}

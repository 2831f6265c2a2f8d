/* SPDX-License-Identifier: MIT */
#include "options_few.h"

#include <errno.h>
#include <stdio.h>

#include "cli.h"
#include "options_words.h"

/* What options_words_read() is told of: the table, and the option in hand. */
struct scan {
	const struct options_few_reader *r;
	const struct options_few *option;
	char typed[64];
};

/* The option of this long name, or the only one that begins so; NULL: none, or several. */
static const struct options_few *
find_long(const struct options_few_reader *r, const char *typed, size_t size)
{
	const struct options_few *found = NULL;
	bool several = false;

	for (size_t i = 0; i < r->n; i++) {
		switch (options_match(r->table[i].names, typed, size)) {
		case OPTIONS_MATCH_WHOLE:
			return &r->table[i];
		case OPTIONS_MATCH_BEGINS:
			several |= found != NULL;
			found = &r->table[i];
			break;
		case OPTIONS_MATCH_NO:
			break;
		}
	}
	return several ? NULL : found;
}

static const struct options_few *
find_short(const struct options_few_reader *r, char letter)
{
	for (size_t i = 0; i < r->n; i++)
		if (options_letter(r->table[i].names, letter))
			return &r->table[i];
	return NULL;
}

static int
scan_find(void *self, const char *dashes, const char *typed, size_t size)
{
	struct scan *scan = self;

	(void)snprintf(scan->typed, sizeof(scan->typed), "%s%.*s", dashes, size < 48 ? (int)size : 48, typed);
	scan->option = dashes[1] == '-' ? find_long(scan->r, typed, size) : find_short(scan->r, *typed);
	if (scan->option == NULL)
		return scan->r->unknown(scan->r->self, scan->typed, typed, size);
	return (int)options_takes(scan->option->value);
}

static int
scan_set(void *self, const char *value)
{
	struct scan *scan = self;

	return scan->r->set(scan->r->self, scan->option->what, scan->typed, value);
}

static int
scan_refuse(void *self, enum options_takes takes)
{
	const struct scan *scan = self;

	return say_error(
	    EINVAL, "%s: %s", scan->typed, takes == OPTIONS_TAKES_NONE ? "takes no value" : "needs a value");
}

int
options_few_read(const struct options_few_reader *r, char *const *words, size_t nwords, size_t *used)
{
	struct scan scan = { .r = r };
	const struct options_reader reader = {
		.self = &scan, .find = scan_find, .set = scan_set, .refuse = scan_refuse
	};

	return options_words_read(&reader, words, nwords, used);
}

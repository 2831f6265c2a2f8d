/* SPDX-License-Identifier: MIT */
/*
 * --colsep and --trim: any text as the separator, any record cut at it.
 *
 * Bytes: how to trim; the separator and a NUL; the record.
 */
#include <errno.h>

#include "colsep.h"
#include "fuzz.h"

enum { PATTERN_MAX = 64, RECORD_MAX = 256 };

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* False for what the C library's regular expressions take minutes or gigabytes for: it is the
 * user's own pattern, and no matter of knee's. */
static bool
is_tame(const char *pattern)
{
	size_t repeats = 0;

	for (const char *s = pattern; *s != '\0'; s++) {
		if (*s == '\\' && s[1] >= '1' && s[1] <= '9')
			return false;
		repeats += *s == '{';
		if (*s == '{' && strspn(s + 1, "0123456789,") > 2)
			return false;
	}
	return repeats < 3 && strlen(pattern) <= PATTERN_MAX;
}

/* Columns lie in the record one behind the other, with one separator byte in between. */
static void
check_byte(const struct columns *c, const char *record)
{
	size_t all = 0;

	for (size_t i = 0; i < c->nargs; i++) {
		HOLDS(strncmp(record + all, c->args[i], strlen(c->args[i])) == 0, "column %zu is '%s'", i,
		    c->args[i]);
		all += strlen(c->args[i]) + 1;
	}
	HOLDS(all == strlen(record) + 1, "%zu bytes of %zu", all, strlen(record) + 1);
}

/* They are pieces of it, in their order. */
static void
check_pieces(const struct columns *c, const char *record)
{
	const char *at = record;

	for (size_t i = 0; i < c->nargs; i++) {
		at = strstr(at, c->args[i]);
		HOLDS(at != NULL, "column %zu is '%s'", i, c->args[i]);
		at += strlen(c->args[i]);
	}
}

static void
check_trimmed(const struct columns *c, enum trim trim)
{
	for (size_t i = 0; i < c->nargs; i++) {
		const char *s = c->args[i];

		if ((trim & TRIM_LEFT) != 0)
			HOLDS(!is_space(s[0]), "a blank on the left of '%s'", s);
		if ((trim & TRIM_RIGHT) != 0 && s[0] != '\0')
			HOLDS(!is_space(s[strlen(s) - 1]), "a blank on the right of '%s'", s);
	}
}

static void
check_record(const struct colsep *sep, int literal, enum trim trim, const char *record)
{
	struct columns c = { 0 };
	char *copy = fuzz_copy(record, strlen(record));
	size_t n;

	HOLDS(columns_fill(&c, sep, TRIM_NONE, copy, strlen(copy)) == 0, "no memory");
	HOLDS(c.nargs > 0, "no column");
	if (sep == NULL || literal >= 0)
		check_byte(&c, record);
	else
		check_pieces(&c, record);
	n = c.nargs;
	strcpy(copy, record);
	HOLDS(columns_fill(&c, sep, trim, copy, strlen(record)) == 0 && c.nargs == n, "%zu columns, then %zu",
	    n, c.nargs);
	check_trimmed(&c, trim);
	columns_done(&c);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size };
	enum trim trim = (enum trim)(fuzz_byte(&b) & 3);
	char *pattern = fuzz_string(&b), *record, *posix = NULL;
	struct colsep *sep = NULL;
	const char *why = NULL;
	int literal = -1, err;
	bool fold = false;

	if (b.size > RECORD_MAX)
		b.size = RECORD_MAX;
	record = fuzz_string(&b);
	err = colsep_translate(pattern, &posix, &literal, &fold, &why);
	HOLDS(err == 0 || (err == -EINVAL && why != NULL), "%d", err);
	HOLDS(err < 0 || literal != 0, "a NUL as the separator");
	if (is_tame(pattern) && colsep_new(pattern, &sep) == 0)
		check_record(sep, literal, trim, record);
	check_record(NULL, -1, trim, record);
	colsep_free(sep);
	free(posix);
	free(pattern);
	free(record);
	return 0;
}

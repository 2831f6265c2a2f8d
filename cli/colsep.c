/* SPDX-License-Identifier: MIT */
/*
 * A separator that is a single byte is looked for as such, in place; any other is a
 * regular expression, and its columns are copied, because a match may be empty and leave
 * no place for a NUL. As GNU parallel has it, a separator that matches nothing cuts between
 * bytes, and empty columns at the end are columns. Unlike there, what a group matched is
 * no column of its own: POSIX knows no group that does not capture.
 */
#include "colsep.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "grow.h"

struct colsep {
	int literal; /* the byte, or -1: regex */
	regex_t regex;
};

int
colsep_new(const char *pattern, struct colsep **ret)
{
	struct colsep *c = calloc(1, sizeof(*c));
	char *posix = NULL, text[128];
	const char *why = NULL;
	bool fold = false;
	int err;

	if (c == NULL)
		return say_error(ENOMEM, "--colsep: %s", strerror(ENOMEM));
	err = colsep_translate(pattern, &posix, &c->literal, &fold, &why);
	if (err < 0) {
		err = say_error(-err, "--colsep: '%s': %s", pattern, why != NULL ? why : strerror(-err));
		goto free_colsep;
	}
	if (c->literal < 0) {
		err = regcomp(&c->regex, posix, REG_EXTENDED | (fold ? REG_ICASE : 0));
		if (err != 0) {
			regerror(err, &c->regex, text, sizeof(text));
			err = say_error(EINVAL, "--colsep: '%s': %s", pattern, text);
			goto free_colsep;
		}
	}
	free(posix);
	*ret = c;
	return 0;

free_colsep:
	free(posix);
	free(c);
	return err;
}

void
colsep_free(struct colsep *c)
{
	if (c == NULL)
		return;
	if (c->literal < 0)
		regfree(&c->regex);
	free(c);
}

/* What Perl's \s stands for, in every locale. */
static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Add the len bytes at s, with the NUL behind them, less the blanks that trim takes away. */
static int
add_column(struct columns *c, enum trim trim, char *s, size_t len)
{
	const char **args = grow(c->args, &c->cap, c->nargs + 1, sizeof(*args));

	if (args == NULL)
		return -ENOMEM;
	c->args = args;
	if (trim & TRIM_RIGHT) {
		while (len > 0 && is_space(s[len - 1]))
			len--;
		s[len] = '\0';
	}
	if (trim & TRIM_LEFT)
		while (is_space(*s))
			s++;
	args[c->nargs++] = s;
	return 0;
}

static int
split_at_byte(struct columns *c, int sep, enum trim trim, char *s, size_t len)
{
	char *end = s + len, *found;
	int err;

	while ((found = memchr(s, sep, (size_t)(end - s))) != NULL) {
		*found = '\0';
		err = add_column(c, trim, s, (size_t)(found - s));
		if (err < 0)
			return err;
		s = found + 1;
	}
	return add_column(c, trim, s, (size_t)(end - s));
}

/* The first match in [from, len) that ends a column which began at from: an empty one
 * there would end none. */
static bool
find_match(const struct colsep *sep, const char *s, size_t from, size_t len, regmatch_t *m)
{
	int flags = REG_STARTEND | (from > 0 ? REG_NOTBOL : 0);

	*m = (regmatch_t){ .rm_so = (regoff_t)from, .rm_eo = (regoff_t)len };
	if (regexec(&sep->regex, s, 1, m, flags) != 0)
		return false;
	if (m->rm_eo > m->rm_so || (size_t)m->rm_so > from)
		return true;
	if (from == len)
		return false;
	*m = (regmatch_t){ .rm_so = (regoff_t)from + 1, .rm_eo = (regoff_t)len };
	return regexec(&sep->regex, s, 1, m, REG_STARTEND | REG_NOTBOL) == 0;
}

static int
split_at_match(struct columns *c, const struct colsep *sep, enum trim trim, const char *s, size_t len)
{
	/* Every byte may be a column, each takes a NUL, and so does the one behind the last. */
	char *copy = grow(c->copy, &c->copy_cap, 2 * len + 2, 1);
	size_t from = 0, end;
	regmatch_t m;
	bool more;
	int err;

	if (copy == NULL)
		return -ENOMEM;
	c->copy = copy;
	do {
		more = find_match(sep, s, from, len, &m);
		end = more ? (size_t)m.rm_so : len;
		memcpy(copy, s + from, end - from);
		copy[end - from] = '\0';
		err = add_column(c, trim, copy, end - from);
		if (err < 0)
			return err;
		copy += end - from + 1;
		from = more ? (size_t)m.rm_eo : len;
	} while (more);
	return 0;
}

int
columns_fill(struct columns *c, const struct colsep *sep, enum trim trim, char *record, size_t len)
{
	c->nargs = 0;
	if (sep == NULL)
		return add_column(c, trim, record, len);
	if (sep->literal >= 0)
		return split_at_byte(c, sep->literal, trim, record, len);
	return split_at_match(c, sep, trim, record, len);
}

void
columns_done(struct columns *c)
{
	free(c->args);
	free(c->copy);
	*c = (struct columns){ 0 };
}

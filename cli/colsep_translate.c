/* SPDX-License-Identifier: MIT */
/*
 * Perl's regular expressions, as far as POSIX has them under another spelling:
 *
 *	\t \n \r \f \v... \xHH \0OO     the byte
 *	\d \w \s, and \D \W \S          [0-9], [[:alnum:]_], [[:space:]], and their complements
 *	\, \. \| ...                    the byte, in brackets too (POSIX has no \ in those)
 *	(?:...)                         (...)
 *	(?i)... at the very start       case does not count
 *
 * Everything else that the two languages read differently is refused: lazy and possessive
 * repetition, other (?...), other \letters.
 */
#include "colsep.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
	const char *at; /* what is still to be read */
	char *out;      /* what has been written; there is room */
	const char *why;
};

/* What an escape stands for. */
enum escape { ESCAPE_BYTE, ESCAPE_CLASS, ESCAPE_NOT_CLASS, ESCAPE_PASS, ESCAPE_ERROR };

/* A class is at most [^[:alnum:]_], 13 bytes from 2. */
enum { WORST = 8 };

static void
put(struct pattern *p, const char *s)
{
	size_t n = strlen(s);

	memcpy(p->out, s, n);
	p->out += n;
}

static int
number(const char **at, int base, int digits)
{
	int value = 0, digit;

	for (; digits > 0 && isxdigit((unsigned char)**at); digits--, ++*at) {
		digit = isdigit((unsigned char)**at) ? **at - '0' : (**at | 0x20) - 'a' + 10;
		if (digit >= base)
			break;
		value = value * base + digit;
	}
	return value & 0xff;
}

static const char *
class_of(char letter)
{
	switch (letter | 0x20) {
	case 'd':
		return "0-9";
	case 's':
		return "[:space:]";
	default:
		return "[:alnum:]_";
	}
}

/* Read the escape whose backslash has been read; *byte: the byte, or the letter. */
static enum escape
read_escape(struct pattern *p, int *byte)
{
	static const char letters[] = "tnrfvae";
	static const unsigned char bytes[] = "\t\n\r\f\v\a\033";
	char c = *p->at;
	const char *found;

	if (c == '\0') {
		p->why = "a backslash at the end";
		return ESCAPE_ERROR;
	}
	p->at++;
	*byte = (unsigned char)c;
	found = strchr(letters, c);
	if (found != NULL) {
		*byte = bytes[found - letters];
	} else if (c == '0') {
		*byte = number(&p->at, 8, 2);
	} else if (c == 'x') {
		*byte = number(&p->at, 16, 2);
	} else if (strchr("dsw", c) != NULL) {
		return ESCAPE_CLASS;
	} else if (strchr("DSW", c) != NULL) {
		return ESCAPE_NOT_CLASS;
	} else if (strchr("bB123456789", c) != NULL) {
		return ESCAPE_PASS;
	} else if (isalnum((unsigned char)c)) {
		p->why = "an escape that this version does not know";
		return ESCAPE_ERROR;
	}
	if (*byte != '\0')
		return ESCAPE_BYTE;
	p->why = "no input holds a NUL byte";
	return ESCAPE_ERROR;
}

static void
put_literal(struct pattern *p, int byte)
{
	if (strchr(".[]{}()*+?^$|\\", byte) != NULL)
		*p->out++ = '\\';
	*p->out++ = (char)byte;
}

/* The bytes of a set that mean something by their place there; they are put last. */
struct set {
	bool negated, close, open, caret, dash;
};

static bool
set_special(struct set *s, int byte)
{
	switch (byte) {
	case ']':
		return s->close = true;
	case '[':
		return s->open = true;
	case '^':
		return s->caret = true;
	case '-':
		return s->dash = true;
	default:
		return false;
	}
}

/* The set, whose ordinary members lie at [items, p->out), as brackets: a ] comes first,
 * a ^ does not, a - comes first or last, no [ before one of [.:= */
static void
finish_set(struct pattern *p, char *start, const struct set *s)
{
	size_t n = (size_t)(p->out - start);
	bool inner = s->negated || s->close || s->open || n > 0;
	char items[3] = { 0 }, *item = items;

	if (!inner && s->caret && !s->dash) {
		p->out = start;
		put(p, "\\^");
		return;
	}
	*item++ = '[';
	if (s->negated)
		*item++ = '^';
	if (s->close)
		*item++ = ']';
	memmove(start + (item - items), start, n);
	memcpy(start, items, (size_t)(item - items));
	p->out += item - items;
	if (!inner && s->dash)
		put(p, "-");
	if (s->open)
		put(p, "[");
	if (s->caret)
		put(p, "^");
	if (inner && s->dash)
		put(p, "-");
	put(p, "]");
}

/* One member of a set: 1 and its *byte, 0 for a class, which has been put, or -EINVAL. */
static int
read_member(struct pattern *p, int *byte)
{
	const char *end;

	if (p->at[0] == '[' && p->at[1] == ':' && (end = strstr(p->at + 2, ":]")) != NULL) {
		memcpy(p->out, p->at, (size_t)(end + 2 - p->at));
		p->out += end + 2 - p->at;
		p->at = end + 2;
		return 0;
	}
	*byte = (unsigned char)*p->at++;
	if (*byte != '\\')
		return 1;
	switch (read_escape(p, byte)) {
	case ESCAPE_BYTE:
		return 1;
	case ESCAPE_CLASS:
		put(p, class_of((char)*byte));
		return 0;
	case ESCAPE_NOT_CLASS:
	case ESCAPE_PASS:
		p->why = "an escape that has no place in brackets";
		break;
	case ESCAPE_ERROR:
		break;
	}
	return -EINVAL;
}

/* The set whose [ has been read. */
static int
read_set(struct pattern *p)
{
	struct set set = { 0 };
	char *start = p->out;
	int byte = 0, to = 0, one;
	bool first = true;

	set.negated = *p->at == '^';
	if (set.negated)
		p->at++;
	for (; *p->at != '\0' && (first || *p->at != ']'); first = false) {
		one = read_member(p, &byte);
		if (one < 0)
			return one;
		if (one == 0)
			continue;
		if (p->at[0] != '-' || p->at[1] == ']' || p->at[1] == '\0') {
			if (!set_special(&set, byte))
				*p->out++ = (char)byte;
			continue;
		}
		p->at++;
		one = read_member(p, &to);
		if (one <= 0 || strchr("[]^-", byte) != NULL || strchr("[]^-", to) != NULL) {
			p->why = "a range of signs that POSIX does not know";
			return -EINVAL;
		}
		*p->out++ = (char)byte;
		*p->out++ = '-';
		*p->out++ = (char)to;
	}
	if (*p->at == '\0') {
		p->why = "a [ without its ]";
		return -EINVAL;
	}
	p->at++;
	finish_set(p, start, &set);
	return 0;
}

/* The bytes of {n}, {n,} or {n,m} at s, 0 when it is none. */
static size_t
interval(const char *s)
{
	size_t digits = strspn(s + 1, "0123456789"), n = 1 + digits;

	if (digits == 0)
		return 0;
	if (s[n] == ',')
		n += 1 + strspn(s + n + 1, "0123456789");
	return s[n] == '}' ? n + 1 : 0;
}

/* A byte that is neither escape nor set. *repeats: it says how often. */
static int
read_plain(struct pattern *p, bool *repeats)
{
	size_t n = 1;

	*repeats = strchr("*+?", *p->at) != NULL;
	if (*p->at == '{') {
		n = interval(p->at);
		*repeats = n > 0;
	} else if (p->at[0] == '(' && p->at[1] == '?') {
		if (p->at[2] != ':') {
			p->why = "a (?...) that POSIX does not know";
			return -EINVAL;
		}
		put(p, "(");
		p->at += 3;
		return 0;
	}
	if ((*p->at == '{' && n == 0) || *p->at == '}') {
		put_literal(p, *p->at++);
		return 0;
	}
	memcpy(p->out, p->at, n);
	p->out += n;
	p->at += n;
	return 0;
}

static int
read_escaped(struct pattern *p)
{
	int byte = 0;

	switch (read_escape(p, &byte)) {
	case ESCAPE_BYTE:
		put_literal(p, byte);
		return 0;
	case ESCAPE_CLASS:
	case ESCAPE_NOT_CLASS:
		put(p, byte & 0x20 ? "[" : "[^");
		put(p, class_of((char)byte));
		put(p, "]");
		return 0;
	case ESCAPE_PASS:
		*p->out++ = '\\';
		*p->out++ = (char)byte;
		return 0;
	case ESCAPE_ERROR:
		break;
	}
	return -EINVAL;
}

static int
translate(struct pattern *p)
{
	bool repeated = false, repeats;
	int err = 0;

	while (*p->at != '\0' && err == 0) {
		repeats = false;
		if (repeated && (*p->at == '?' || *p->at == '+')) {
			p->why = "lazy or possessive repetition, which POSIX does not know";
			return -EINVAL;
		}
		if (*p->at == '\\') {
			p->at++;
			err = read_escaped(p);
		} else if (*p->at == '[') {
			p->at++;
			err = read_set(p);
		} else {
			err = read_plain(p, &repeats);
		}
		repeated = repeats;
	}
	*p->out = '\0';
	return err;
}

/* The byte that a translated pattern is, or -1. */
static int
only_byte(const char *posix)
{
	if (posix[0] == '\\' && posix[1] != '\0' && posix[2] == '\0' && !isalnum((unsigned char)posix[1]))
		return (unsigned char)posix[1];
	if (posix[0] != '\0' && posix[1] == '\0' && strchr(".[]{}()*+?^$|\\", posix[0]) == NULL)
		return (unsigned char)posix[0];
	return -1;
}

int
colsep_translate(const char *pattern, char **ret, int *literal, bool *fold, const char **why)
{
	struct pattern p = { .at = pattern };
	char *out = malloc(strlen(pattern) * WORST + 1);
	bool icase = strncmp(pattern, "(?i)", 4) == 0;
	int err;

	if (out == NULL)
		return -ENOMEM;
	if (icase)
		p.at += 4;
	p.out = out;
	err = translate(&p);
	if (err < 0) {
		*why = p.why;
		free(out);
		return err;
	}
	*ret = out;
	*literal = icase ? -1 : only_byte(out);
	*fold = icase;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a shell reads in a piece of text.
 *
 * "Shell" is any that $SHELL may name: dash, bash, zsh, ksh, busybox. A byte or a
 * word that one of them acts on is taken to be special in all. What is taken for
 * special without need costs one process; what is missed would change the meaning.
 *
 * Quoting is by single quotes, the one form that all of them read alike in every
 * locale: nothing is special between them but the quote itself, which is written
 * '"'"' (close, a quote in double quotes, open again). A quote at either end of
 * the word would leave an empty pair '' there; it is left out. So the text is the
 * same as that of "parallel --shellquote".
 */
#include "shell.h"

#include <stdlib.h>
#include <string.h>

struct word {
	const char *name;
	bool reserved;
};

/*
 * Sorted for bsearch. Reserved words of any of the shells, and builtins that act
 * on the shell itself or whose answer depends on it. Some systems have programs
 * by the latter's names, which cannot do the same. echo, test, kill and the like
 * are absent: there the program does as well.
 */
static const struct word words[] = {
	{ "!", true },
	{ ".", false },
	{ ":", false },
	{ "[[", true },
	{ "]]", true },
	{ "alias", false },
	{ "bg", false },
	{ "break", false },
	{ "builtin", false },
	{ "case", true },
	{ "cd", false },
	{ "chdir", false },
	{ "command", false },
	{ "continue", false },
	{ "coproc", true },
	{ "declare", false },
	{ "do", true },
	{ "done", true },
	{ "elif", true },
	{ "else", true },
	{ "enable", false },
	{ "end", true },
	{ "esac", true },
	{ "eval", false },
	{ "exec", false },
	{ "exit", false },
	{ "export", false },
	{ "fc", false },
	{ "fg", false },
	{ "fi", true },
	{ "for", true },
	{ "foreach", true },
	{ "function", true },
	{ "getopts", false },
	{ "hash", false },
	{ "if", true },
	{ "in", true },
	{ "jobs", false },
	{ "let", false },
	{ "local", false },
	{ "namespace", true },
	{ "nocorrect", true },
	{ "noglob", true },
	{ "read", false },
	{ "readonly", false },
	{ "repeat", true },
	{ "return", false },
	{ "select", true },
	{ "set", false },
	{ "shift", false },
	{ "shopt", false },
	{ "source", false },
	{ "then", true },
	{ "time", true },
	{ "times", false },
	{ "trap", false },
	{ "type", false },
	{ "typeset", false },
	{ "ulimit", false },
	{ "umask", false },
	{ "unalias", false },
	{ "unset", false },
	{ "until", true },
	{ "wait", false },
	{ "while", true },
	{ "{", true },
	{ "}", true },
};

/* Longer than all of the above: what is as long is none of them. */
#define WORD_MAX 10

static int
word_compare(const void *key, const void *element)
{
	return strcmp(key, ((const struct word *)element)->name);
}

static const struct word *
word_find(const char *s, size_t n)
{
	char key[WORD_MAX];

	if (n == 0 || n >= sizeof(key))
		return NULL;
	memcpy(key, s, n);
	key[n] = '\0';
	return bsearch(key, words, sizeof(words) / sizeof(words[0]), sizeof(words[0]), word_compare);
}

/* Letters, digits, _ and what no shell gives a meaning to, wherever it stands. */
static bool
byte_safe(unsigned char c)
{
	return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
	    (c >= '-' && c <= '/') || c == '+';
}

/* The same in a text that the user typed: more are allowed there, because what
 * little a shell sees in them depends on their place, which the callers check. */
static bool
byte_plain(unsigned char c)
{
	if (byte_safe(c) || c >= 0x80)
		return true;
	switch (c) {
	case '@':
	case '%':
	case '=':
	case ':':
	case ',':
	case '^':
		return true;
	default:
		return false;
	}
}

bool
kn_shell_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

bool
kn_shell_plain(const char *s, size_t n)
{
	bool start = true;

	for (size_t i = 0; i < n; i++) {
		bool blank = s[i] == ' ' || s[i] == '\t';

		if (!blank && !byte_plain((unsigned char)s[i]))
			return false;
		/* zsh: =name is the path of a program. */
		if (start && s[i] == '=')
			return false;
		start = blank;
	}
	return true;
}

bool
kn_shell_acts(const char *s, size_t n)
{
	/* With an equals sign it may be an assignment. What begins with a percent sign is a job
	 * to bash, even when quoted; but a shell gets it anyway if there is no such program. */
	return n > 0 && (memchr(s, '=', n) != NULL || word_find(s, n) != NULL);
}

bool
kn_shell_reserved(const char *s, size_t n)
{
	const struct word *word = word_find(s, n);

	return word != NULL && word->reserved;
}

static bool
quotes_needed(const char *s, size_t n, enum kn_shell_quoting how)
{
	for (size_t i = 0; i < n; i++)
		if (!byte_safe((unsigned char)s[i]))
			return true;
	return n == 0 || (how == KN_SHELL_QUOTE_RESERVED && kn_shell_reserved(s, n));
}

size_t
kn_shell_quoted_size(const char *s, size_t n, enum kn_shell_quoting how)
{
	size_t size = n + 2;

	if (!quotes_needed(s, n, how))
		return n;
	if (n == 0)
		return size;
	for (size_t i = 0; i < n; i++)
		if (s[i] == '\'')
			size += 4;
	return size - (s[0] == '\'' ? 2 : 0) - (s[n - 1] == '\'' ? 2 : 0);
}

int
kn_shell_quote(struct kn_buf *b, const char *s, size_t n, enum kn_shell_quoting how)
{
	size_t size = kn_shell_quoted_size(s, n, how);
	int err = kn_buf_reserve(b, size);
	char *to;

	if (err < 0)
		return err;
	if (!quotes_needed(s, n, how))
		return kn_buf_add(b, s, n);
	to = b->data + b->len;
	if (n == 0 || s[0] != '\'')
		*to++ = '\'';
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '\'') {
			*to++ = s[i];
			continue;
		}
		if (i > 0)
			*to++ = '\'';
		*to++ = '"';
		*to++ = '\'';
		*to++ = '"';
		if (i + 1 < n)
			*to++ = '\'';
	}
	if (n == 0 || s[n - 1] != '\'')
		*to = '\'';
	b->len += size;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What a shell reads in a piece of text, and how to write a word so that it reads just that. */
#ifndef KN_SHELL_H
#define KN_SHELL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

enum kn_shell_quoting {
	KN_SHELL_QUOTE_NEEDED,   /* quotes only when a byte asks for them */
	KN_SHELL_QUOTE_RESERVED, /* and around a reserved word */
};

/* s as one shell word, appended. 0 or -ENOMEM. */
int kn_shell_quote(struct kn_buf *b, const char *s, size_t n, enum kn_shell_quoting how);
/* The bytes that kn_shell_quote appends. */
size_t kn_shell_quoted_size(const char *s, size_t n, enum kn_shell_quoting how);

/* True for the bytes that part words: blank, tab and newline. */
bool kn_shell_blank(char c);

/* True when a shell does nothing with s but split it at its blanks: then it needs no shell,
 * as long as kn_shell_acts() says no of its first word. */
bool kn_shell_plain(const char *s, size_t n);

/* True when s, as the first word of a command, is more to a shell than a program's name:
 * a reserved word, an assignment, or a builtin that no program can stand for. */
bool kn_shell_acts(const char *s, size_t n);

/* True for the words that are syntax where a command starts: if, {, while... */
bool kn_shell_reserved(const char *s, size_t n);

#endif

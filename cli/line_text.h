/* SPDX-License-Identifier: MIT */
/* line_text.c: text in a line of a terminal. Pure. */
#ifndef CLI_LINE_TEXT_H
#define CLI_LINE_TEXT_H

#include <stddef.h>

/* Columns that text takes: its bytes, but those that go on a character of UTF-8. */
size_t line_text_columns(const char *text);
/* Bytes of text that take at most so many columns. */
size_t line_text_within(const char *text, size_t columns);
/* Somebody else's text as it can stand there, as say_shown() has each byte; malloc'd. NULL: no memory. */
char *line_text_shown(const char *text);

#endif

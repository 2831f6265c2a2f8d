/* SPDX-License-Identifier: MIT */
#include "line_text.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Does a character begin with this byte? */
static bool
begins(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t
line_text_columns(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += begins(*text);
	return n;
}

size_t
line_text_within(const char *text, size_t columns)
{
	size_t n = 0, used = 0;

	for (; text[n] != '\0'; n++) {
		used += begins(text[n]);
		if (used > columns)
			break;
	}
	return n;
}

char *
line_text_shown(const char *text)
{
	char *ret = malloc(4 * strlen(text) + 1), *to = ret;

	if (ret == NULL)
		return NULL;
	for (; *text != '\0'; text++)
		to += say_shown(to, *text);
	*to = '\0';
	return ret;
}

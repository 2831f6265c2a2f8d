/* SPDX-License-Identifier: MIT */
#include "json_text.h"

#include <string.h>

/* Bytes of the UTF-8 character at s, of which n bytes are there; 0 when it is none. */
static size_t
utf8_size(const char *s, size_t n)
{
	unsigned char c = (unsigned char)s[0];
	size_t size = c < 0x80    ? 1 :
	    c >= 0xc2 && c < 0xe0 ? 2 :
	    c >= 0xe0 && c < 0xf0 ? 3 :
	    c >= 0xf0 && c < 0xf5 ? 4 :
				    0;
	unsigned char second = size > 1 && n > 1 ? (unsigned char)s[1] : 0;

	if (size > n)
		return 0;
	/* Overlong forms, surrogates, and what is beyond the last code point. */
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
	    (c == 0xf4 && second > 0x8f))
		return 0;
	for (size_t i = 1; i < size; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

/* True when n bytes, 1 to 3, begin a character whose end is missing. The bounds of its second byte are
 * such that one of these two completes it. */
static bool
utf8_begins(const char *s, size_t n)
{
	char low[4] = { '\x80', '\x80', '\x80', '\x80' }, high[4] = { '\xbf', '\xbf', '\xbf', '\xbf' };

	memcpy(low, s, n);
	memcpy(high, s, n);
	return utf8_size(low, sizeof(low)) > n || utf8_size(high, sizeof(high)) > n;
}

size_t
json_text_part(FILE *out, const char *s, size_t n, bool end)
{
	const char *const begin = s;

	while (n > 0) {
		size_t size = utf8_size(s, n);

		if (size == 0 && !end && n < 4 && utf8_begins(s, n))
			break;
		if (size == 0)
			fputs("\\ufffd", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (size == 1 && ((unsigned char)*s < 0x20 || *s == 0x7f))
			fprintf(out, "\\u%04x", (unsigned)*s);
		else
			(void)fwrite(s, 1, size, out);
		size = size > 0 ? size : 1;
		s += size;
		n -= size;
	}
	return (size_t)(s - begin);
}

void
json_text_put(FILE *out, const char *s, size_t n)
{
	putc('"', out);
	(void)json_text_part(out, s, n, true);
	putc('"', out);
}

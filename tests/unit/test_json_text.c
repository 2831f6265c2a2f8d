/* SPDX-License-Identifier: MIT */
/* Bytes as strings of JSON. */
#include <stdlib.h>

#include "json_text.c"
#include "tap.h"

static void
test_utf8(void)
{
	is_int(utf8_size("a", sizeof("a") - 1), 1, "ASCII");
	is_int(utf8_size("\u00e9", sizeof("\u00e9") - 1), 2, "two bytes");
	is_int(utf8_size("\u20ac", sizeof("\u20ac") - 1), 3, "three bytes");
	is_int(utf8_size("\U0001f600", sizeof("\U0001f600") - 1), 4, "four bytes");
	is_int(utf8_size("\xff", sizeof("\xff") - 1), 0, "no first byte");
	is_int(utf8_size("\xe2\x82", sizeof("\xe2\x82") - 1), 0, "cut short");
	is_int(utf8_size("\xc0\x80", sizeof("\xc0\x80") - 1), 0, "overlong");
	is_int(utf8_size("\xe0\x9f\x80", sizeof("\xe0\x9f\x80") - 1), 0, "overlong, three bytes");
	is_int(utf8_size("\xed\xa0\x80", sizeof("\xed\xa0\x80") - 1), 0, "a surrogate");
	is_int(utf8_size("\xf4\x90\x80\x80", sizeof("\xf4\x90\x80\x80") - 1), 0, "beyond the last");
}

/* What n bytes at s look like. */
static void
is_json(const char *s, size_t n, const char *want, const char *name)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return;
	json_text_put(f, s, n);
	(void)fclose(f);
	is_str(text, want, "%s", name);
	free(text);
}

static void
test_put(void)
{
	is_json("", 0, "\"\"", "nothing");
	is_json("a b", 3, "\"a b\"", "text");
	is_json("\"\\\n\x7f\x01", 5, "\"\\\"\\\\\\u000a\\u007f\\u0001\"", "what has to be escaped");
	is_json("a\0b", 3, "\"a\\u0000b\"", "a NUL");
	is_json("\u20ac", 3, "\"\u20ac\"", "a character stays");
	is_json("x\xe2\x82", 3, "\"x\\ufffd\\ufffd\"", "each stray byte is replaced");
}

static void
is_part(const char *s, size_t want, const char *name)
{
	FILE *f = fopen("/dev/null", "w");

	is_int(json_text_part(f, s, strlen(s), false), want, "%s", name);
	(void)fclose(f);
}

static void
test_part(void)
{
	is_part("a", 1, "all is taken");
	is_part("a\xc3", 1, "the first of two bytes stays");
	is_part("\xe2\x82", 0, "two of three bytes stay");
	is_part("\xe0", 0, "the first of three, low");
	is_part("\xed", 0, "the first of three, high");
	is_part("\xf0\x9f\x98", 0, "three of four bytes stay");
	is_part("\xf4", 0, "the first of four, high");
	is_part("\xff", 1, "what begins no character does not");
	is_part("\xe0\x80", 2, "nor what is overlong");
	is_part("\xf4\x90\x80", 3, "nor what is beyond the last");
}

int
main(void)
{
	test_utf8();
	test_put();
	test_part();
	return done_testing();
}

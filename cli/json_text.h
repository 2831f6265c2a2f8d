/* SPDX-License-Identifier: MIT */
/* json_text.c: any bytes as a string of JSON. */
#ifndef CLI_JSON_TEXT_H
#define CLI_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* With its quotes. Each byte that belongs to no character of UTF-8 becomes U+FFFD. */
void json_text_put(FILE *out, const char *s, size_t n);
/* A part of it, without quotes. Unless it is the last one (end), up to 3 bytes that begin a character are
 * left for the next part. The bytes taken. */
size_t json_text_part(FILE *out, const char *s, size_t n, bool end);

#endif

/* SPDX-License-Identifier: MIT */
/* json_text.c: any bytes as a string of JSON. */
#ifndef CLI_JSON_TEXT_H
#define CLI_JSON_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* With its quotes. Each byte that belongs to no character of UTF-8 becomes U+FFFD. */
void json_text_put(FILE *out, const char *s, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
/* csv_text.c: any text as a field of CSV. */
#ifndef CLI_CSV_TEXT_H
#define CLI_CSV_TEXT_H

#include <stdio.h>

/* In quotes where RFC 4180 wants them. */
void csv_text_put(FILE *out, const char *text);

#endif

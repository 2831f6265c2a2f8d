/* SPDX-License-Identifier: MIT */
/* terminal.c: what can be shown, and how wide it may be. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

/* Columns of the terminal behind fd, or what $COLUMNS says, or 80. */
unsigned terminal_cols(int fd);
/* Its lines; 0: nobody knows. */
unsigned terminal_rows(int fd);
/* True when the locale is one of UTF-8: LC_ALL before LC_CTYPE before LANG. */
bool terminal_utf8(void);

#endif

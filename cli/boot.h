/* SPDX-License-Identifier: MIT */
/* boot.c: how a machine without knee gets an agent. */
#ifndef CLI_BOOT_H
#define CLI_BOOT_H

#include <stddef.h>

/* The static program for machines like this one; NULL: this build has none. */
const void *boot_program(size_t *ret_size);

/* What sh is to be given after -c on the other machine, in *ret (malloc): one line of printable characters, without
 * single quotes. 0 or -ENOMEM. */
int boot_script(char **ret);
/* The same as a command for whatever shell the login there has. */
int boot_command(char **ret);

#endif

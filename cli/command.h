/* SPDX-License-Identifier: MIT */
/* command.c: the command that the user typed, as a template, and the shell that reads it. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli.h"

/* shell.c: the shell for commands that need one. Others than Bourne's kind quote differently. */
const char *command_shell(void);

/* The templates of the command, and of the tag when tag is not NULL (*tag is untouched without one).
 * in may be asked for the header. 0, or -errno after say(); *command may have been made then. */
int command_templates(const struct cli_options *o, struct inputs *in, struct knee_template **command,
    struct knee_template **tag);
/* The words of the command, and how they are read; borrowed from o and in. 0, or -errno after say(). */
int command_words(const struct cli_options *o, struct inputs *in, const char *const **words, size_t *nwords,
    struct knee_template_options *how);
/* Any text as a template, in which nothing is quoted. The same. */
int command_text_template(const struct cli_options *o, struct inputs *in, const char *text,
    struct knee_template **ret);

#endif

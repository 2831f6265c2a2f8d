/* SPDX-License-Identifier: MIT */
/* --plugin FILE[:SYMBOL]: functions in a shared object instead of a command. */
#ifndef CLI_PLUGIN_H
#define CLI_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

struct plugin {
	const struct knee_plugin *table;    /* borrowed from the object, which stays loaded */
	char *path;                 /* owned; as it was loaded */
	const char **argv;          /* owned; for the plugin's open(): the path, the words, NULL */
	int argc;
	char *host;                 /* owned; the command of a process that carries its tasks out */
};

/* Load it. spec: FILE, or FILE:SYMBOL (without: knee_plugin); words: the command's. 0, or -errno that was
 * said, with what to do. *ret is untouched then. */
int plugin_load(const char *spec, char *const *words, size_t nwords, struct plugin *ret);
/* Options that go together or do not. 0, or -errno that was said. */
int plugin_check(const struct cli_options *o);
/* For a run with or without --isolate. */
void plugin_options(const struct plugin *p, bool isolate, struct knee_options *ret);
/* knee plugin-host SPEC [WORD...]: such a process. Its exit status. */
int plugin_host_main(int argc, char **argv);
/* Takes {0}. */
void plugin_done(struct plugin *p);

#endif

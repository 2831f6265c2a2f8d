/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

const char *
command_shell(void)
{
	static const char *const known[] = {
		"sh",
		"dash",
		"bash",
		"zsh",
		"ksh",
		"ksh93",
		"mksh",
		"ash",
		"yash",
		"busybox",
		NULL,
	};
	const char *shell = getenv("PARALLEL_SHELL");
	const char *name;

	if (shell != NULL && shell[0] == '/')
		return shell;
	shell = getenv("SHELL");
	if (shell == NULL || shell[0] != '/' || access(shell, X_OK) != 0)
		return "/bin/sh";
	name = strrchr(shell, '/') + 1;
	for (size_t i = 0; known[i] != NULL; i++)
		if (strcmp(name, known[i]) == 0)
			return shell;
	return "/bin/sh";
}

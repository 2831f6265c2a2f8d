/* SPDX-License-Identifier: MIT */
/* The static program that is sent to machines without knee: knee agent, and nothing else. */
#include <stddef.h>
#include <string.h>

#include "agent.h"
#include "cli.h"

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names. */
/* SQLite could load extensions; a static program cannot, and there are none. In place of libc's (-Wl,--wrap). */
void *__wrap_dlopen(const char *file, int mode);
void *__wrap_dlsym(void *handle, const char *name);
int __wrap_dlclose(void *handle);
char *__wrap_dlerror(void);

void *
__wrap_dlopen(const char *file, int mode)
{
	(void)file;
	(void)mode;
	return NULL;
}

void *
__wrap_dlsym(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

int
__wrap_dlclose(void *handle)
{
	(void)handle;
	return -1;
}

char *
__wrap_dlerror(void)
{
	return NULL;
}

/* NOLINTEND(bugprone-reserved-identifier) */

int
main(int argc, char **argv)
{
	standard_fds_hold();
	if (argc < 2 || strcmp(argv[1], "agent") != 0) {
		say("this is the part of knee that it sends to other machines: it does nothing by hand");
		return EXIT_TROUBLE;
	}
	return agent_main(argc, argv);
}

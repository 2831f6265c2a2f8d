/* SPDX-License-Identifier: MIT */
/*
 *	$XDG_CACHE_HOME/knee/learnt.db or ~/.cache/knee/learnt.db
 *
 * A folder that is not a full path counts for nothing, as the rules of XDG have it, and a home that
 * is not there is not made: accounts of services name one that shall never be. Whether the file can
 * be written is the engine's matter: a run does not fail for want of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
learnt_path(char **ret)
{
	const char *no = getenv("KNEE_NO_MEMORY");
	const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
	int n = 0;

	*ret = NULL;
	if (no != NULL && *no != '\0')
		return 0;
	if (cache != NULL && *cache == '/')
		n = asprintf(ret, "%s/knee/learnt.db", cache);
	else if (home != NULL && *home == '/' && is_folder(home))
		n = asprintf(ret, "%s/.cache/knee/learnt.db", home);
	if (n >= 0)
		return 0;
	*ret = NULL;
	return say_error(ENOMEM, "%s", strerror(ENOMEM));
}

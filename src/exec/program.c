/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Make p->path folder/name; an empty folder is the current one. */
static int
path_join(struct kn_program *p, const char *folder, size_t n, const char *name)
{
	p->path.len = 0;
	if (kn_buf_add(&p->path, folder, n) < 0)
		return -1;
	if (n > 0 && kn_buf_addc(&p->path, '/') < 0)
		return -1;
	return kn_buf_add(&p->path, name, strlen(name) + 1);
}

static const char *
search_folders(struct kn_program *p, const char *name, const char *search)
{
	for (;;) {
		size_t n = strcspn(search, ":");

		if (path_join(p, search, n, name) < 0)
			return NULL;
		if (executable(p->path.data))
			return p->path.data;
		if (search[n] == '\0')
			return NULL;
		search += n + 1;
	}
}

const char *
kn_program_find(struct kn_program *p, const char *name, const char *search)
{
	const char *found;

	if (strchr(name, '/') != NULL)
		return executable(name) ? name : NULL;
	if (p->name.len > 0 && strcmp(p->name.data, name) == 0)
		return p->path.data;
	kn_program_forget(p);
	if (name[0] == '\0')
		return NULL;
	found = search_folders(p, name, search != NULL ? search : "/bin:/usr/bin");
	/* Without memory for the name nothing is kept, and the answer is still good. */
	if (found != NULL && kn_buf_add(&p->name, name, strlen(name) + 1) < 0)
		kn_program_forget(p);
	return found;
}

void
kn_program_forget(struct kn_program *p)
{
	p->name.len = 0;
}

void
kn_program_done(struct kn_program *p)
{
	kn_buf_done(&p->name);
	kn_buf_done(&p->path);
}

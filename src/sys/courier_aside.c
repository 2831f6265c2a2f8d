/* SPDX-License-Identifier: MIT */
/*
 * Putting aside: a file that has come back is removed only when the coordinator says that it has it. Until then its
 * name is free all the same, for where both ends share the folder the coordinator's copy gets that very name.
 */
#include "courier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES_MOST 1000
/* Of a name that nothing else has, without its folder. */
#define NAME_BYTES 64

struct kn_moved {
	struct kn_moved *next; /* was put aside before it */
	bool folder;           /* it is where it was */
	char *name;            /* in the same allocation: where it is now; "folder/" */
	char path[];           /* where it was */
};

/* Rename, where nothing has that name. 0 or -errno. */
static int
rename_new(const char *from, const char *to)
{
	struct stat st;
	int err;

	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system that cannot do that, as NFS. */
	if (link(from, to) == 0) {
		if (unlink(from) == 0)
			return 0;
		err = -errno;
		unlink(to);
		return err;
	}
	if (errno == EEXIST || errno == ENOENT || errno == EACCES)
		return -errno;
	/* Nor that, as some of FUSE, or not with files of others: nobody else makes such names in that moment. */
	if (lstat(to, &st) == 0)
		return -EEXIST;
	return rename(from, to) == 0 ? 0 : -errno;
}

/* Give the file another name in its folder. 0 or -errno. */
static int
move(struct kn_moved *m, struct kn_courier *c)
{
	const char *slash = strrchr(m->path, '/');
	size_t n = slash != NULL ? (size_t)(slash + 1 - m->path) : 0;
	int err = -EEXIST;

	memcpy(m->name, m->path, n);
	for (unsigned i = 0; i < TRIES_MOST && err == -EEXIST; i++) {
		snprintf(m->name + n, NAME_BYTES, ".knee-%x-%llx", (unsigned)getpid(),
		    (unsigned long long)c->counter++);
		err = rename_new(m->path, m->name);
	}
	return err;
}

int
kn_aside_add(struct kn_aside *a, struct kn_courier *c, const char *path)
{
	size_t n = strlen(path) + 1;
	struct kn_moved *m;
	struct stat st;

	/* What never comes or goes with a task, a device for one, stays. */
	if (lstat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)))
		return 0;
	m = malloc(sizeof(*m) + 2 * n + NAME_BYTES);
	if (m == NULL)
		return -ENOMEM;
	*m = (struct kn_moved){ .next = a->last, .folder = S_ISDIR(st.st_mode), .name = m->path + n };
	memcpy(m->path, path, n);
	if (m->folder) {
		/* With the slash nothing but a folder is removed by that name later. */
		snprintf(m->name, n + 1, "%s/", path);
	} else if (move(m, c) < 0) {
		free(m); /* it could not be removed either */
		return 0;
	}
	a->last = m;
	return 0;
}

void
kn_aside_remove(struct kn_aside *a, struct kn_courier *c)
{
	for (const struct kn_moved *m = a->last; m != NULL; m = m->next)
		if (!m->folder)
			kn_courier_remove(c, m->name);
	/* Folders were put in before those that are in them. */
	for (const struct kn_moved *m = a->last; m != NULL; m = m->next)
		if (m->folder)
			kn_courier_remove(c, m->name);
	kn_aside_done(a);
}

const char *
kn_aside_restore(const struct kn_aside *a)
{
	const char *taken = NULL;

	for (const struct kn_moved *m = a->last; m != NULL; m = m->next)
		if (!m->folder && rename_new(m->name, m->path) == -EEXIST)
			taken = m->name;
	return taken;
}

void
kn_aside_done(struct kn_aside *a)
{
	while (a->last != NULL) {
		struct kn_moved *m = a->last;

		a->last = m->next;
		free(m);
	}
}

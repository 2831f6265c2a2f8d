/* SPDX-License-Identifier: MIT */
/*
 * Waiting: a file that has come back is removed only when the coordinator says that it has it. Until then it stays what
 * and where it is, and is looked at again then: where both ends share the folder the coordinator's copy has its name by
 * now, and nothing that somebody else has put there is removed either. So an end at any moment leaves each file its name.
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

struct kn_noted {
	struct kn_noted *next;  /* was put in before it */
	struct kn_owned *entry; /* of a file, which counts this one; NULL: a folder */
	struct stat st;         /* of a file, as it came back */
	char *other; /* in the same allocation: room for another name in its folder; a folder: "folder/" */
	char path[];
};

/* What is at path. An open asks the server of a network's file system, where what was known of the name may be old.
 * 0 or -errno. */
static int
look(const char *path, struct stat *st)
{
	int fd, err;

	if (lstat(path, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fstat(fd, st) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* Whether at path there is yet what was there. */
static bool
is_same(const char *path, const struct stat *was)
{
	struct stat st;

	return look(path, &st) == 0 && st.st_dev == was->st_dev && st.st_ino == was->st_ino &&
	    st.st_size == was->st_size && st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

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
move(struct kn_noted *m, struct kn_courier *c)
{
	const char *slash = strrchr(m->path, '/');
	size_t n = slash != NULL ? (size_t)(slash + 1 - m->path) : 0;
	int err = -EEXIST;

	memcpy(m->other, m->path, n);
	for (unsigned i = 0; i < TRIES_MOST && err == -EEXIST; i++) {
		snprintf(m->other + n, NAME_BYTES, ".knee-%x-%llx", (unsigned)getpid(),
		    (unsigned long long)c->counter++);
		err = rename_new(m->path, m->other);
	}
	return err;
}

int
kn_waiting_add(struct kn_waiting *w, struct kn_courier *c, const char *path)
{
	size_t n = strlen(path) + 1;
	struct kn_noted *m;
	struct stat st;

	/* What never comes or goes with a task, a device for one, stays. */
	if (look(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)))
		return 0;
	m = malloc(sizeof(*m) + 2 * n + NAME_BYTES);
	if (m == NULL)
		return -ENOMEM;
	*m = (struct kn_noted){ .next = w->last, .st = st, .other = m->path + n };
	memcpy(m->path, path, n);
	if (S_ISDIR(st.st_mode)) {
		/* With the slash nothing but a folder is removed by that name later. */
		snprintf(m->other, n + 1, "%s/", path);
	} else {
		m->entry = kn_courier_join(c, path);
		if (m->entry == NULL) {
			free(m);
			return -ENOMEM;
		}
	}
	w->last = m;
	return 0;
}

/* Between a look and the end of a name something else may get that name: so the name is taken away, and looked behind. */
static void
file_remove(struct kn_noted *m, struct kn_courier *c)
{
	if (!is_same(m->path, &m->st) || move(m, c) < 0)
		return;
	if (is_same(m->other, &m->st))
		kn_courier_remove(c, m->other);
	else
		(void)rename_new(m->other, m->path);
}

static void
leave_all(struct kn_waiting *w, struct kn_courier *c, enum kn_leave how)
{
	for (struct kn_noted *m = w->last; m != NULL; m = m->next)
		if (m->entry != NULL && kn_courier_leave(c, m->entry, how))
			file_remove(m, c);
	/* Folders were put in before those that are in them. */
	for (struct kn_noted *m = w->last; m != NULL && how == KN_LEAVE_GOES; m = m->next)
		if (m->entry == NULL)
			kn_courier_remove(c, m->other);
	while (w->last != NULL) {
		struct kn_noted *m = w->last;

		w->last = m->next;
		free(m);
	}
}

void
kn_waiting_remove(struct kn_waiting *w, struct kn_courier *c)
{
	leave_all(w, c, KN_LEAVE_GOES);
}

void
kn_waiting_keep(struct kn_waiting *w, struct kn_courier *c)
{
	leave_all(w, c, KN_LEAVE_STAYS);
}

void
kn_waiting_forget(struct kn_waiting *w, struct kn_courier *c)
{
	leave_all(w, c, KN_LEAVE_AS_IT_WAS);
}

/* SPDX-License-Identifier: MIT */
/*
 * stdout and stderr as places: when they are regular files the journal knows how far they hold the
 * output of tasks that were printed. What lies behind that was half written when the run died, and is
 * cut off before the next one goes on, unless somebody has appended to the file since it ended.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
place_look(struct kn_journal_place *p, int fd, const char *name)
{
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
	struct stat st;

	*p = (struct kn_journal_place){ .fd = -1, .name = name, .cut = -1 };
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	p->fd = fd;
	p->device = (int64_t)st.st_dev;
	p->inode = (int64_t)st.st_ino;
	p->base = p->written = (flags & O_APPEND) != 0 ? st.st_size : lseek(fd, 0, SEEK_CUR);
}

void
kn_journal_places_look(struct knee_journal *j, const struct knee_journal_options *o)
{
	struct kn_journal_place *out = &j->place[0], *err = &j->place[1];

	place_look(out, o->out, "standard output");
	place_look(err, o->err, "standard error");
	/* Tasks that write by themselves do not say how far. */
	if (o->order == KNEE_ORDER_NONE)
		out->fd = err->fd = -1;
	if (out->fd >= 0 && err->fd >= 0 && out->device == err->device && out->inode == err->inode)
		err->fd = -1;
}

int64_t
kn_journal_place_size(const struct kn_journal_place *p)
{
	struct stat st;

	return p->fd >= 0 && fstat(p->fd, &st) == 0 ? st.st_size : -1;
}

/* "standard output (FILE)" */
static void
place_name(const struct kn_journal_place *p, char *ret, size_t size)
{
	char link[64], path[512];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", p->fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	(void)snprintf(ret, size, n > 0 ? "%s (%s)" : "%s", p->name, path);
}

int
kn_journal_place_check(struct knee_journal *j, struct kn_journal_place *p, int64_t written, int64_t ended)
{
	int64_t size = kn_journal_place_size(p);
	char name[640];

	if (size < written) {
		place_name(p, name, sizeof(name));
		return kn_journal_fail(j, -EINVAL,
		    "%s: %s has %" PRId64 " bytes, not the %" PRId64
		    " that were written before: append to the same file, by >>FILE or --output FILE, or "
		    "begin "
		    "another journal",
		    j->path, name, size, written);
	}
	p->cut = ended < 0 || ended == size ? written : -1;
	p->base = p->cut >= 0 ? p->cut : size;
	p->known = true;
	return 0;
}

static int
place_cut(struct knee_journal *j, struct kn_journal_place *p)
{
	char name[640];
	int err = 0;

	if (p->fd < 0 || !p->known)
		return 0;
	if (p->cut >= 0 && p->cut < kn_journal_place_size(p) && ftruncate(p->fd, p->cut) < 0)
		err = -errno;
	if (err == 0 && lseek(p->fd, p->base, SEEK_SET) < 0)
		err = -errno;
	p->written = p->base;
	if (err == 0)
		return 0;
	place_name(p, name, sizeof(name));
	return kn_journal_fail(
	    j, err, "%s: what was half written cannot be cut off: %s", name, strerror(-err));
}

int
kn_journal_places_cut(struct knee_journal *j)
{
	int err = place_cut(j, &j->place[0]);

	return err < 0 ? err : place_cut(j, &j->place[1]);
}

int
kn_journal_places_sync(struct knee_journal *j)
{
	char name[640];

	for (size_t i = 0; i < 2; i++) {
		struct kn_journal_place *p = &j->place[i];

		if (p->fd < 0 || fdatasync(p->fd) == 0)
			continue;
		place_name(p, name, sizeof(name));
		return kn_journal_fail(j, -errno, "%s: %s", name, strerror(errno));
	}
	return 0;
}

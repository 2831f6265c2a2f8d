/* SPDX-License-Identifier: MIT */
/*
 * stdout and stderr as places: when they are regular files the journal knows how far they hold the
 * output of tasks that were printed. What lies behind that was half written when the run died, and is
 * cut off before the next one goes on, unless somebody has appended to the file since it ended.
 *
 * A file that is cut has to be the one that was written: by inode, by the time of its birth, and by what
 * lies before the mark. Standard error is often a log that others write to as well: there the journal
 * knows before a byte of a task is written that one may be, and nothing is cut off when none was.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/fd.h"

/* As much of what lies before a mark is compared. */
#define TAIL_BYTES 4096

static int64_t
born_ns(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) < 0 || (st.stx_mask & STATX_BTIME) == 0)
		return KN_JOURNAL_NULL;
	return (int64_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
}

/* The same file once more, to read from it. */
static int
reader_open(int fd)
{
	char link[64];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

static void
place_look(struct kn_journal_place *p, int fd, const char *name)
{
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
	struct stat st;

	*p = (struct kn_journal_place){ .fd = -1, .read_fd = -1, .name = name, .cut = -1, .tail_at = -1 };
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	p->fd = fd;
	p->device = (int64_t)st.st_dev;
	p->inode = (int64_t)st.st_ino;
	p->born_ns = born_ns(fd);
	p->base = p->written = kn_journal_place_end(p);
}

static void
place_forget(struct kn_journal_place *p)
{
	p->fd = -1;
	kn_fd_close(&p->read_fd);
}

void
kn_journal_places_done(struct knee_journal *j)
{
	place_forget(&j->place[0]);
	place_forget(&j->place[1]);
}

void
kn_journal_places_look(struct knee_journal *j, const struct knee_journal_options *o)
{
	struct kn_journal_place *out = &j->place[0], *err = &j->place[1];

	place_look(out, o->out, "standard output");
	place_look(err, o->err, "standard error");
	/* Tasks that write by themselves do not say how far. */
	if (o->order == KNEE_ORDER_NONE)
		kn_journal_places_done(j);
	if (out->fd >= 0 && err->fd >= 0 && out->device == err->device && out->inode == err->inode)
		place_forget(err);
	for (size_t i = 0; i < 2; i++)
		if (j->place[i].fd >= 0)
			j->place[i].read_fd = reader_open(j->place[i].fd);
}

int64_t
kn_journal_place_end(const struct kn_journal_place *p)
{
	return (fcntl(p->fd, F_GETFL) & O_APPEND) != 0 ? kn_journal_place_size(p) : lseek(p->fd, 0, SEEK_CUR);
}

int64_t
kn_journal_place_size(const struct kn_journal_place *p)
{
	struct stat st;

	return p->fd >= 0 && fstat(p->fd, &st) == 0 ? st.st_size : -1;
}

void
kn_journal_place_path(const struct kn_journal_place *p, char *ret, size_t size)
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", p->fd);
	n = readlink(link, ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
}

void
kn_journal_place_name(const struct kn_journal_place *p, char *ret, size_t size)
{
	char path[512];

	kn_journal_place_path(p, path, sizeof(path));
	(void)snprintf(ret, size, path[0] != '\0' ? "%s (%s)" : "%s", p->name, path);
}

static int64_t
tail_digest(const struct kn_journal_place *p, int64_t end)
{
	unsigned char data[TAIL_BYTES];
	size_t n = end < TAIL_BYTES ? (size_t)end : TAIL_BYTES;

	if (p->read_fd < 0 || kn_fd_read_at(p->read_fd, data, n, (uint64_t)end - n) < 0)
		return KN_JOURNAL_NULL;
	return kn_journal_digest_bytes(data, n);
}

int64_t
kn_journal_place_tail(struct kn_journal_place *p)
{
	if (p->tail_at != p->written)
		p->tail = tail_digest(p, p->written);
	p->tail_at = p->written;
	return p->tail;
}

/* Is this file, as long as it was or longer, the one of that mark? What nothing tells is another one,
 * because a part of it would be cut off. */
static bool
is_of(struct kn_journal_place *p, const struct kn_journal_mark *mark, int64_t size)
{
	bool born = mark->born_ns != KN_JOURNAL_NULL && p->born_ns != KN_JOURNAL_NULL;
	int64_t tail = mark->tail != KN_JOURNAL_NULL ? tail_digest(p, mark->written) : KN_JOURNAL_NULL;

	if ((born && mark->born_ns != p->born_ns) || (tail != KN_JOURNAL_NULL && tail != mark->tail))
		return false;
	return born || (tail != KN_JOURNAL_NULL && mark->written > 0) || size == mark->written;
}

int
kn_journal_place_check(struct knee_journal *j, struct kn_journal_place *p, const struct kn_journal_mark *mark)
{
	int64_t size = kn_journal_place_size(p), written = mark->written;
	char name[640];

	kn_journal_place_name(p, name, sizeof(name));
	if (size >= written && !is_of(p, mark, size)) {
		if (p != &j->place[0]) /* what it says now goes behind what is there */
			return 0;
		return kn_journal_fail(j, -EINVAL,
		    "%s: %s is not the file that was written before, or was changed since: append to that "
		    "one, by >>FILE or --output FILE, or begin another journal",
		    j->path, name);
	}
	p->known = true;
	p->lost = size < written && mark->rebooted && !mark->lines &&
	    (mark->born_ns == KN_JOURNAL_NULL || mark->born_ns == p->born_ns);
	if (p->lost) {
		p->cut = p->base = size; /* and further: journal_lost.c */
		return 0;
	}
	if (size < written) {
		return kn_journal_fail(j, -EINVAL,
		    "%s: %s has %" PRId64 " bytes, not the %" PRId64
		    " that were written before: append to the same file, by >>FILE or --output FILE, or "
		    "begin "
		    "another journal",
		    j->path, name, size, written);
	}
	p->cut = mark->open && (mark->ended < 0 || mark->ended == size) ? written : -1;
	p->base = p->cut >= 0 ? p->cut : size;
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
	kn_journal_place_name(p, name, sizeof(name));
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
		kn_journal_place_name(p, name, sizeof(name));
		return kn_journal_fail(j, -errno, "%s: %s", name, strerror(errno));
	}
	return 0;
}

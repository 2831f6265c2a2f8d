/* SPDX-License-Identifier: MIT */
/*
 * Sending: errands are done one after the other, a folder by a walk that goes on where it was. Of each file as
 * many bytes go out as were announced, whatever happens to it meanwhile: what is missing is made up by zeros, and a
 * frame with KN_FILE_BROKEN behind them says that it is not to be used.
 */
#include "courier.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fd.h"

#define PIECE_BYTES ((size_t)64 * 1024)
#define SECOND_NS 1000000000

struct kn_load {
	struct kn_load *next;
	char *path, *name; /* in the same allocation */
	uint32_t index;
	unsigned flags;
	bool begun;
};

int
kn_dispatch_add(struct kn_dispatch *d, const char *path, const char *name, uint32_t index, unsigned flags)
{
	size_t n = strlen(path) + 1, m = strlen(name) + 1;
	struct kn_load *e = malloc(sizeof(*e) + n + m);

	if (e == NULL)
		return -ENOMEM;
	*e = (struct kn_load){ .index = index, .flags = flags };
	e->path = (char *)(e + 1);
	e->name = e->path + n;
	memcpy(e->path, path, n);
	memcpy(e->name, name, m);
	/* "folder/" is the folder. */
	while (n > 2 && e->path[n - 2] == '/')
		e->path[--n - 1] = '\0';
	if (d->last != NULL)
		d->last->next = e;
	else
		d->first = e;
	d->last = e;
	return 0;
}

/* The first thing that goes wrong is what is told. */
int
kn_dispatch_fail(struct kn_dispatch *d, const char *path, const char *why)
{
	size_t size = strlen(path) + strlen(why) + 3;

	if (d->error != NULL)
		return 0;
	d->error = malloc(size);
	if (d->error == NULL)
		return -ENOMEM;
	snprintf(d->error, size, "%s: %s", path, why);
	return 0;
}

static int
announce(const struct kn_dispatch *d, struct kn_buf *to)
{
	size_t at;
	int err = kn_frame_begin(to, KN_FRAME_FILE, &at);

	if (err < 0)
		return err;
	err = kn_put_u64(to, d->id);
	if (err == 0)
		err = kn_put_u32(to, d->file.mode);
	if (err == 0)
		err = kn_put_i64(to, d->file.mtime_ns);
	if (err == 0)
		err = kn_put_u64(to, d->file.size);
	if (err == 0)
		err = kn_put_text(to, d->name);
	if (err == 0)
		err = kn_put_u32(to, d->file.index);
	if (err < 0) {
		to->len = at;
		return err;
	}
	return kn_frame_end(to, at);
}

static void
names_free(struct kn_dispatch *d)
{
	free(d->path);
	free(d->name);
	d->path = d->name = NULL;
}

/* The file at hand is done with. */
static void
file_end(struct kn_dispatch *d)
{
	int fd = d->fd_plus1 - 1;

	kn_fd_close(&fd);
	d->fd_plus1 = 0;
	names_free(d);
}

/* Begin with what is at path: a file that is open (fd), or a folder (fd -1). Takes fd. 0 or -ENOMEM. */
static int
file_begin(struct kn_dispatch *d, const struct kn_load *e, const char *path, const char *below,
    const struct stat *st, int fd)
{
	bool folder = S_ISDIR(st->st_mode);
	size_t n = strlen(e->name) + strlen(below) + 2;
	int err = 0;

	d->fd_plus1 = fd + 1;
	d->path = strdup(path);
	d->name = malloc(n);
	if (d->path == NULL || d->name == NULL)
		err = -ENOMEM;
	else if (strcmp(e->name, ".") == 0 && below[0] != '\0')
		snprintf(d->name, n, "%s", below);
	else
		snprintf(
		    d->name, n, "%s%s%s", e->name, e->name[0] != '\0' && below[0] != '\0' ? "/" : "", below);
	d->file = (struct kn_file){ .id = d->id,
		.mode = (st->st_mode & KN_FILE_PERMISSIONS) | (folder ? KN_FILE_FOLDER : 0) | e->flags,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * SECOND_NS + st->st_mtim.tv_nsec,
		.size = folder ? 0 : (uint64_t)st->st_size,
		.index = e->index };
	d->left = d->file.size;
	return err;
}

/* Announce what was begun; a folder is done with that. 0, -ENOMEM, or -EMSGSIZE: its name is too long. */
static int
file_announce(struct kn_dispatch *d, struct kn_buf *to)
{
	size_t len = to->len;
	int err = announce(d, to);

	assert(d->path != NULL);
	/* Folders are announced before what is in them. */
	if (err == 0 && d->waiting != NULL && !d->foreign)
		err = kn_waiting_add(d->waiting, d->courier, d->path);
	if (err < 0)
		to->len = len;
	if (err < 0 || (d->file.mode & KN_FILE_FOLDER) != 0)
		file_end(d);
	return err;
}

/* A regular file, at path; it is opened without waiting, whatever it is. 0 or -errno: nothing was begun. */
static int
file_open(struct kn_dispatch *d, const struct kn_load *e, const char *path, const char *below)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	err = file_begin(d, e, path, below, &st, fd);
	if (err < 0)
		file_end(d);
	return err;
}

static int
name_compare(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void
walk_end(struct kn_dispatch *d)
{
	if (d->walk != NULL)
		fts_close(d->walk);
	d->walk = NULL;
}

/* Whether a file has a name that a courier gives: it comes just now, or goes. */
static bool
is_own(const char *name)
{
	static const char hex[] = "0123456789abcdef";
	size_t n;

	if (strncmp(name, ".knee-", 6) != 0)
		return false;
	name += 6;
	n = strspn(name, hex);
	if (n == 0 || name[n] != '-')
		return false;
	name += n + 1;
	n = strspn(name, hex);
	return n > 0 && name[n] == '\0';
}

/* The next file or folder below: what there is but these is left out. 1, 0 at the end, or -ENOMEM. */
static int
walk_next(struct kn_dispatch *d, const struct kn_load *e)
{
	size_t n = strlen(e->path);

	for (;;) {
		FTSENT *f = (errno = 0, fts_read(d->walk));
		const char *below;
		struct stat own;
		int err = 0;

		if (f == NULL)
			return errno == 0   ? 0 :
			    errno == ENOMEM ? -ENOMEM :
					      kn_dispatch_fail(d, e->path, strerror(errno));
		below = f->fts_path + n;
		below += strspn(below, "/");
		if (f->fts_level > 0 && f->fts_info != FTS_D && f->fts_info != FTS_DP && is_own(f->fts_name))
			continue;
		/* fts_number of a folder: it is a link, or lies behind one. */
		d->foreign = f->fts_parent->fts_number != 0;
		if (f->fts_info == FTS_D)
			f->fts_number = d->foreign || lstat(f->fts_path, &own) < 0 || S_ISLNK(own.st_mode);
		if (f->fts_info == FTS_F)
			err = file_open(d, e, f->fts_path, below);
		else if (f->fts_info == FTS_D)
			err = file_begin(d, e, f->fts_path, below, f->fts_statp, -1);
		else if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS)
			err = -f->fts_errno;
		else
			continue;
		if (err == 0)
			return 1;
		if (err == -ENOMEM)
			return err;
		err = kn_dispatch_fail(
		    d, f->fts_path, err == -EINVAL ? "it is no file any more" : strerror(-err));
		if (err < 0)
			return err;
	}
}

/* What the errand begins with. 1: something was begun; 0: nothing is to be sent; -ENOMEM. */
static int
errand_begin(struct kn_dispatch *d, const struct kn_load *e)
{
	char *paths[2] = { e->path, NULL };
	struct stat st;
	int err;

	d->foreign = false;
	if (stat(e->path, &st) < 0)
		return kn_dispatch_fail(d, e->path, strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		d->walk = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, name_compare);
		return d->walk != NULL ? 0 :
		    errno == ENOMEM    ? -ENOMEM :
					 kn_dispatch_fail(d, e->path, strerror(errno));
	}
	if (!S_ISREG(st.st_mode))
		return kn_dispatch_fail(d, e->path, "neither a file nor a folder");
	err = file_open(d, e, e->path, "");
	if (err == 0)
		return 1;
	return err == -ENOMEM ?
	    err :
	    kn_dispatch_fail(d, e->path, err == -EINVAL ? "it is no file any more" : strerror(-err));
}

static void
errand_end(struct kn_dispatch *d)
{
	struct kn_load *e = d->first;

	walk_end(d);
	d->first = e->next;
	if (d->first == NULL)
		d->last = NULL;
	free(e);
}

void
kn_dispatch_cut(struct kn_dispatch *d)
{
	while (d->first != NULL)
		errand_end(d);
}

/* Whether the file at hand, of which all was sent, is still as it was announced. */
static bool
file_same(const struct kn_dispatch *d)
{
	struct stat st;

	return fstat(d->fd_plus1 - 1, &st) == 0 && (uint64_t)st.st_size == d->file.size &&
	    (int64_t)st.st_mtim.tv_sec * SECOND_NS + st.st_mtim.tv_nsec == d->file.mtime_ns;
}

static int
file_finish(struct kn_dispatch *d, struct kn_buf *to, const char *why)
{
	int err;

	if (why == NULL && !file_same(d)) {
		why = "it changed while it was sent";
		d->changed = d->error == NULL;
	}
	if (why != NULL) {
		d->file.mode |= KN_FILE_BROKEN;
		d->file.size = 0;
		err = announce(d, to);
		if (err == 0)
			err = kn_dispatch_fail(d, d->path, why);
		if (err < 0)
			return err;
	}
	file_end(d);
	return 0;
}

/* One piece of the file at hand. 0 or -ENOMEM. */
static int
file_piece(struct kn_dispatch *d, struct kn_buf *to)
{
	size_t n = d->left < PIECE_BYTES ? (size_t)d->left : PIECE_BYTES, len = to->len, at;
	ssize_t r = 0;
	int err;

	if (n == 0)
		return file_finish(d, to, NULL);
	err = kn_frame_begin(to, KN_FRAME_DATA, &at);
	if (err == 0)
		err = kn_buf_reserve(to, n);
	if (err < 0) {
		to->len = len;
		return err;
	}
	do
		r = read(d->fd_plus1 - 1, to->data + to->len, n);
	while (r < 0 && errno == EINTR);
	if (r <= 0) {
		/* It has become shorter, or cannot be read. Zeros: the size stays, and so file_same() fails or an error is
		 * told now. */
		if (r < 0 && kn_dispatch_fail(d, d->path, strerror(errno)) < 0) {
			to->len = len;
			return -ENOMEM;
		}
		d->file.mtime_ns = INT64_MIN;
		memset(to->data + to->len, 0, n);
		r = (ssize_t)n;
	}
	to->len += (size_t)r;
	d->left -= (uint64_t)r;
	return kn_frame_end(to, at);
}

int
kn_dispatch_more(struct kn_dispatch *d, struct kn_buf *to, size_t room)
{
	size_t end = to->len + room;

	while (to->len < end) {
		int r = 0;

		if (d->path != NULL) {
			r = file_piece(d, to);
			if (r < 0)
				return r;
			continue;
		}
		if (d->first == NULL)
			return 0;
		if (d->walk != NULL) {
			r = walk_next(d, d->first);
		} else if (!d->first->begun) {
			d->first->begun = true;
			r = errand_begin(d, d->first);
			if (r == 0 && d->walk != NULL)
				continue;
		}
		if (r > 0)
			r = file_announce(d, to);
		else if (r == 0)
			errand_end(d);
		if (r == -EMSGSIZE)
			r = kn_dispatch_fail(d, d->first->path, "has a name below that is too long");
		if (r < 0)
			return r;
	}
	return d->first != NULL || d->path != NULL;
}

void
kn_dispatch_done(struct kn_dispatch *d)
{
	if (d->path != NULL)
		file_end(d);
	while (d->first != NULL)
		errand_end(d);
	free(d->error);
	*d = (struct kn_dispatch){ 0 };
}

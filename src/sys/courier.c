/* SPDX-License-Identifier: MIT */
/*
 * Receiving: parcels are what came for a task. At the agent each item of a parcel points to the entry of its
 * file, which counts the tasks that it came for; at the coordinator (hold) an item has the name under which the
 * file waits for its own.
 *
 * A file has no name while it comes in, so that it goes when this program is killed; where the file system knows no such
 * files, it has another one from the beginning.
 */
#include "courier.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fd.h"

/* More files than this come back for no task: the other end is not to fill the memory here. */
#define ITEMS_MOST 262144
#define TRIES_MOST 1000
/* Of another name. */
#define TEMPORARY_BYTES 64
#define SECOND_NS 1000000000

/* A path of this end: a file that was written, or waits; a folder that was made. */
struct kn_owned {
	char *path;     /* owned */
	size_t parcels; /* that it came for, and notes of those that wait */
	bool clean;
	bool stays; /* it is nowhere else: it is not removed after all */
};

struct kn_item {
	char *path;             /* owned */
	char *below;            /* owned; NULL: path itself */
	char *temporary;        /* owned: the name in the same folder; NULL: it has its own, or none yet */
	struct kn_owned *entry; /* in c->owned; NULL: none */
	uint32_t index;
};

struct kn_parcel {
	uint64_t id;
	struct kn_item **items; /* owned; n of them */
	size_t n, cap;
	char *error; /* owned: the first one */
	uint32_t error_index;
};

int
kn_file_get(const struct kn_frame *frame, struct kn_file *ret)
{
	struct kn_fields f = kn_fields_of(frame);
	struct kn_file file = { .id = kn_get_u64(&f) };

	file.mode = kn_get_u32(&f);
	file.mtime_ns = kn_get_i64(&f);
	file.size = kn_get_u64(&f);
	file.path = kn_get_text(&f);
	file.index = kn_get_u32(&f);
	if (f.bad || f.left > 0)
		return -EBADMSG;
	if ((file.mode & (KN_FILE_FOLDER | KN_FILE_BROKEN)) != 0 && file.size > 0)
		return -EBADMSG;
	*ret = file;
	return 0;
}

/* The next component of a path: its length, 0 at the end. *at moves to it. */
static size_t
component(const char **at)
{
	while (**at == '/')
		(*at)++;
	return strcspn(*at, "/");
}

static bool
is_dots(const char *at, size_t n, const char *dots)
{
	return n == strlen(dots) && memcmp(at, dots, n) == 0;
}

int
kn_file_far(const char *path, char **ret)
{
	const char *cut = strstr(path, "/./");
	char *far = malloc(strlen(path) + 2), *end = far;
	bool absolute = cut == NULL && path[0] == '/';
	size_t n;

	if (far == NULL)
		return -ENOMEM;
	if (cut == NULL && (n = strlen(path)) >= 2 && strcmp(path + n - 2, "/.") == 0 && !absolute)
		cut = path + n - 2; /* all that is in a folder */
	if (absolute)
		*end++ = '/';
	for (const char *at = cut != NULL ? cut + 2 : path; (n = component(&at)) > 0; at += n) {
		if (is_dots(at, n, "."))
			continue;
		if (is_dots(at, n, "..") && !absolute) {
			free(far);
			return -EINVAL;
		}
		if (end > far && end[-1] != '/')
			*end++ = '/';
		memcpy(end, at, n);
		end += n;
	}
	if (end == far)
		*end++ = '.';
	*end = '\0';
	*ret = far;
	return 0;
}

/* ---- what is remembered --------------------------------------------------------- */

static char *
copy(const char *s, size_t n)
{
	char *to = malloc(n + 1);

	if (to == NULL)
		return NULL;
	memcpy(to, s, n);
	to[n] = '\0';
	return to;
}

static int
parcel_compare(const void *a, const void *b)
{
	const struct kn_parcel *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int
owned_compare(const void *a, const void *b)
{
	const struct kn_owned *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static struct kn_parcel *
parcel_find(const struct kn_courier *c, uint64_t id)
{
	struct kn_parcel key = { .id = id };
	void *const *node = tfind(&key, &c->parcels, parcel_compare);

	return node != NULL ? *node : NULL;
}

static struct kn_parcel *
parcel_make(struct kn_courier *c, uint64_t id)
{
	struct kn_parcel *p = parcel_find(c, id);

	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->id = id;
	if (tsearch(p, &c->parcels, parcel_compare) == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

static struct kn_owned *
owned_find(void *const *tree, const char *path)
{
	struct kn_owned key = { .path = (char *)path };
	void *const *node = tfind(&key, tree, owned_compare);

	return node != NULL ? *node : NULL;
}

static struct kn_owned *
owned_make(void **tree, const char *path)
{
	struct kn_owned *o = owned_find(tree, path);

	if (o != NULL)
		return o;
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return NULL;
	o->path = copy(path, strlen(path));
	if (o->path == NULL || tsearch(o, tree, owned_compare) == NULL) {
		free(o->path);
		free(o);
		return NULL;
	}
	return o;
}

static void
owned_free(void **tree, struct kn_owned *o)
{
	tdelete(o, tree, owned_compare);
	free(o->path);
	free(o);
}

static void
item_free(struct kn_item *item)
{
	if (item == NULL)
		return;
	free(item->path);
	free(item->below);
	free(item->temporary);
	free(item);
}

/* An item of the file at hand, which is put into its parcel when it is whole: room for it is made now. */
static struct kn_item *
item_new(struct kn_parcel *p, const struct kn_file *f, const char *root)
{
	struct kn_item *item;

	if (p->n == p->cap) {
		size_t cap = p->cap > 0 ? p->cap * 2 : 4;
		struct kn_item **items = realloc(p->items, cap * sizeof(struct kn_item *));

		if (items == NULL)
			return NULL;
		p->items = items;
		p->cap = cap;
	}
	item = calloc(1, sizeof(*item));
	if (item == NULL)
		return NULL;
	item->index = f->index;
	item->path = copy(root != NULL ? root : f->path, strlen(root != NULL ? root : f->path));
	if (root != NULL && f->path[0] != '\0')
		item->below = copy(f->path, strlen(f->path));
	if (item->path == NULL || (root != NULL && f->path[0] != '\0' && item->below == NULL)) {
		item_free(item);
		return NULL;
	}
	return item;
}

/* The first thing that goes wrong is what is told. For want of memory not even that is, but something is. */
static int
parcel_fail(struct kn_parcel *p, const struct kn_item *item, int err, const char *what)
{
	const char *why = err == 0 ? "" : err == -EINVAL ? "not a name to be used" : strerror(-err);
	size_t size;

	if (p->error != NULL)
		return 0;
	size = strlen(item->path) + (item->below != NULL ? strlen(item->below) : 0) + strlen(what) +
	    strlen(why) + 8;
	p->error = malloc(size);
	if (p->error == NULL)
		return -ENOMEM;
	p->error_index = item->index;
	snprintf(p->error, size, "%s%s%s: %s%s%s", item->path, item->below != NULL ? "/" : "",
	    item->below != NULL ? item->below : "", what, why[0] != '\0' ? ": " : "", why);
	return 0;
}

/* ---- folders and names ----------------------------------------------------------- */

/* Make the folders that lead to path's last component. 0 or -errno. */
static int
parents_make(struct kn_courier *c, const char *path)
{
	bool note = !c->hold && (c->file.mode & KN_FILE_CLEAN) != 0;
	size_t n = strlen(path), known = 0;
	char *part = copy(path, n);
	struct stat st;
	int err = 0;

	if (part == NULL)
		return -ENOMEM;
	/* Most often all are there: the last one is looked at first. */
	for (size_t i = n; i-- > 1 && known == 0;) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if (stat(part, &st) == 0)
			known = i;
		part[i] = '/';
	}
	for (size_t i = known + 1; i < n && err == 0; i++) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0777) == 0)
			err = note && owned_make(&c->made, part) == NULL ? -ENOMEM : 0;
		else if (errno != EEXIST)
			err = -errno;
		part[i] = '/';
	}
	free(part);
	return err;
}

/* Remove the folders that lead to path, from the last one up, as long as they were made and are empty. */
static void
parents_remove(struct kn_courier *c, char *path)
{
	char *slash;

	while ((slash = strrchr(path, '/')) != NULL && slash > path) {
		struct kn_owned *made;

		*slash = '\0';
		made = owned_find(&c->made, path);
		if (made == NULL || (rmdir(path) < 0 && errno != ENOENT))
			return;
		owned_free(&c->made, made);
	}
}

/* One step down from *fd, which is replaced; make: the folder, where there is none. Links are not followed. */
static int
step(int *fd, const char *name, size_t n, bool make)
{
	char part[NAME_MAX + 1];
	int next;

	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(part, name, n);
	part[n] = '\0';
	if (make && mkdirat(*fd, part, 0777) < 0 && errno != EEXIST)
		return -errno;
	next = openat(*fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0)
		return -errno;
	close(*fd);
	*fd = next;
	return 0;
}

/* Open the folder of what an item names, and say its name there. all: with the last component, too, of a folder that
 * is below. The descriptor or -errno. */
static int
folder_open(const struct kn_item *item, bool make, bool all, const char **ret_name)
{
	const char *slash = strrchr(item->path, '/'), *at = item->below, *name = NULL;
	char *folder;
	int fd, err = 0;
	size_t n;

	if (at != NULL)
		folder = copy(item->path, strlen(item->path));
	else
		folder = slash == NULL ?
		    copy(".", 1) :
		    copy(item->path, slash > item->path ? (size_t)(slash - item->path) : 1);
	if (folder == NULL)
		return -ENOMEM;
	if (at != NULL && make && mkdir(folder, 0777) < 0 && errno != EEXIST)
		err = -errno;
	fd = err < 0 ? -1 : open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && err == 0)
		err = -errno;
	free(folder);
	if (at == NULL)
		name = slash != NULL ? slash + 1 : item->path;
	for (; err == 0 && at != NULL; at += n) {
		n = strcspn(at, "/");
		if (n == 0 || is_dots(at, n, ".") || is_dots(at, n, ".."))
			err = -EINVAL;
		else if (at[n] == '\0' && !all)
			break;
		else
			err = step(&fd, at, n, make);
		if (err == 0 && at[n] == '\0')
			break;
		n++;
	}
	if (at != NULL)
		name = at;
	if (err == 0 && name[0] == '\0')
		err = -EINVAL;
	if (err < 0) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	*ret_name = name;
	return fd;
}

/* ---- a file that comes in ---------------------------------------------------------- */

/* Whether a time that a file system gave back is this one, as far as it can keep it. */
static bool
same_time(int64_t theirs, int64_t ours)
{
	static const int64_t grains[] = { 1, 100, 1000, 1000000, SECOND_NS, 2LL * SECOND_NS };

	for (size_t i = 0; i < sizeof(grains) / sizeof(grains[0]); i++)
		if (ours <= theirs && ours % grains[i] == 0 && theirs - ours < grains[i])
			return true;
	return false;
}

static bool
same_file(const char *path, const struct kn_file *f)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size &&
	    same_time(f->mtime_ns, (int64_t)st.st_mtim.tv_sec * SECOND_NS + st.st_mtim.tv_nsec);
}

/* Another name in folder for the item: that of fd, which has none; or (fd -1) of a new file, whose descriptor is
 * returned. 0 or more, or -errno. */
static int
temporary_name(struct kn_courier *c, struct kn_item *item, int folder, int fd)
{
	char *name = malloc(TEMPORARY_BYTES), from[32];
	int r = -EEXIST;

	if (name == NULL)
		return -ENOMEM;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	for (unsigned i = 0; i < TRIES_MOST && r == -EEXIST; i++) {
		snprintf(name, TEMPORARY_BYTES, ".knee-%x-%llx", (unsigned)getpid(),
		    (unsigned long long)c->counter++);
		r = fd >= 0 ?
		    linkat(AT_FDCWD, from, folder, name, AT_SYMLINK_FOLLOW) :
		    openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (r < 0)
			r = -errno;
	}
	if (r < 0)
		free(name);
	else
		item->temporary = name;
	return r;
}

/* A new file in the folder of the one that the item names. 0 or -errno. */
static int
temporary_open(struct kn_courier *c, struct kn_item *item)
{
	const char *name;
	int err = parents_make(c, item->path), folder, fd;

	folder = err < 0 ? err : folder_open(item, true, false, &name);
	if (folder < 0)
		return folder;
	/* It gets a name by way of /proc. */
	fd = access("/proc/self/fd", X_OK) < 0 ? -1 :
						 openat(folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = temporary_name(c, item, folder, -1);
	close(folder);
	c->fd_plus1 = fd < 0 ? 0 : fd + 1;
	return fd < 0 ? fd : 0;
}

/* It is whole: now it has a name. 0 or -errno. */
static int
temporary_link(struct kn_courier *c, struct kn_item *item, int fd)
{
	const char *name;
	int r, folder = folder_open(item, false, false, &name);

	if (folder < 0)
		return folder;
	r = temporary_name(c, item, folder, fd);
	close(folder);
	return r < 0 ? r : 0;
}

static void
temporary_remove(struct kn_item *item)
{
	const char *name;
	int folder = item->temporary != NULL ? folder_open(item, false, false, &name) : -1;

	if (folder < 0)
		return;
	unlinkat(folder, item->temporary, 0);
	close(folder);
	free(item->temporary);
	item->temporary = NULL;
}

/* What is in the folder is on the disk. 0 or -errno. */
static int
folder_sync(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	kn_fd_close(&fd);
	return err;
}

/* Whether these are written into one folder. */
static bool
same_folder(const struct kn_item *a, const struct kn_item *b)
{
	const char *x = a->below != NULL ? a->below : a->path, *y = b->below != NULL ? b->below : b->path;
	const char *slash = strrchr(x, '/');
	size_t n = slash != NULL ? (size_t)(slash - x) + 1 : 0;

	if ((a->below == NULL) != (b->below == NULL) || (a->below != NULL && strcmp(a->path, b->path) != 0))
		return false;
	return strncmp(x, y, n) == 0 && strchr(y + n, '/') == NULL;
}

/* The file gets its name; sync: its folder is on the disk then. 0 or -errno. */
static int
temporary_rename(struct kn_item *item, bool sync)
{
	const char *name;
	int err = 0, folder = folder_open(item, false, false, &name);

	if (folder < 0)
		return folder;
	if (renameat(folder, item->temporary, folder, name) < 0) {
		err = -errno;
	} else {
		free(item->temporary);
		item->temporary = NULL;
		err = sync ? folder_sync(folder) : 0;
	}
	close(folder);
	return err;
}

static void
at_hand_end(struct kn_courier *c)
{
	int fd = c->fd_plus1 - 1;

	kn_fd_close(&fd);
	c->fd_plus1 = 0;
	c->open = false;
	c->parcel = NULL;
	c->item = NULL;
}

/* What is left of it is passed over. */
static int
at_hand_fail(struct kn_courier *c, int err, const char *what)
{
	int fd = c->fd_plus1 - 1;

	kn_fd_close(&fd);
	c->fd_plus1 = 0;
	temporary_remove(c->item);
	err = err == -ENOMEM ? err : parcel_fail(c->parcel, c->item, err, what);
	item_free(c->item);
	c->item = NULL;
	c->parcel = NULL;
	if (c->left == 0)
		at_hand_end(c);
	return err;
}

/* Remember in its parcel a file of the agent's that may have to be removed. */
static int
entry_make(struct kn_courier *c, struct kn_item *item)
{
	struct kn_owned *entry = owned_make(&c->owned, item->path);

	if (entry == NULL)
		return -ENOMEM;
	entry->parcels++;
	entry->clean = entry->clean || (c->file.mode & KN_FILE_CLEAN) != 0;
	item->entry = entry;
	return 0;
}

/* It is there as it was sent for another task, which may end now, or waits: whether it goes then others say. */
static int
entry_share(struct kn_courier *c, struct kn_item *item)
{
	if (owned_find(&c->owned, item->path) == NULL)
		return 0;
	item->entry = kn_courier_join(c, item->path);
	return item->entry != NULL ? 0 : -ENOMEM;
}

static int
at_hand_whole(struct kn_courier *c)
{
	struct kn_parcel *p = c->parcel;
	struct kn_item *item = c->item;
	int64_t ns = c->file.mtime_ns % SECOND_NS, s = c->file.mtime_ns / SECOND_NS;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = s, .tv_nsec = ns } };
	int fd = c->fd_plus1 - 1, err = 0;

	if (ns < 0)
		times[1] = (struct timespec){ .tv_sec = s - 1, .tv_nsec = ns + SECOND_NS };
	if (item == NULL || p == NULL) {
		at_hand_end(c);
		return 0;
	}
	if (fd >= 0) {
		if (fchmod(fd, c->file.mode & KN_FILE_PERMISSIONS) < 0 || futimens(fd, times) < 0)
			err = -errno;
		if (err == 0 && c->sync && fsync(fd) < 0)
			err = -errno;
		if (err == 0 && item->temporary == NULL)
			err = temporary_link(c, item, fd);
		c->fd_plus1 = 0;
		if (close(fd) < 0 && err == 0)
			err = -errno;
		if (err == 0 && !c->hold)
			err = entry_make(c, item);
		if (err == 0 && !c->hold)
			err = temporary_rename(item, false);
		if (err == 0 && !c->hold)
			item->entry->stays = false; /* what was there is gone */
	}
	if (err < 0) {
		if (item->entry != NULL && --item->entry->parcels == 0)
			owned_free(&c->owned, item->entry);
		item->entry = NULL;
		return at_hand_fail(c, err, "cannot be written");
	}
	p->items[p->n++] = item;
	at_hand_end(c);
	return 0;
}

/* The coordinator's: it only notes that the index is answered. */
static int
folder_returned(struct kn_courier *c, struct kn_item *item)
{
	const char *name;
	int fd = -1, err = parents_make(c, item->path);

	if (err == 0 && item->below == NULL && mkdir(item->path, 0777) < 0 && errno != EEXIST)
		err = -errno;
	if (err == 0 && item->below != NULL) {
		fd = folder_open(item, true, true, &name);
		err = fd < 0 ? fd : 0;
	}
	kn_fd_close(&fd);
	return err;
}

/* The agent's: "folder/." is what is remembered, so that a folder in which nothing else came is removed, too. */
static int
folder_transferred(struct kn_courier *c, struct kn_item *item)
{
	size_t n = strlen(item->path);
	char *path = n > 0 ? realloc(item->path, n + 3) : NULL;
	struct stat st;
	bool there;
	int err;

	/* With "/." behind it no name would be the root of all. */
	if (path == NULL)
		return n > 0 ? -ENOMEM : -ENOENT;
	item->path = path;
	there = stat(path, &st) == 0;
	memcpy(path + n, "/.", 3);
	err = parents_make(c, path);
	if (err == 0 && !there && chmod(path, (c->file.mode & KN_FILE_PERMISSIONS) | S_IRWXU) < 0)
		err = -errno;
	return err < 0 ? err : entry_make(c, item);
}

static int
folder_begin(struct kn_courier *c)
{
	struct kn_item *item = c->item;
	int err = c->hold ? folder_returned(c, item) : folder_transferred(c, item);

	if (err < 0)
		return at_hand_fail(c, err, "cannot be made");
	c->parcel->items[c->parcel->n++] = item;
	at_hand_end(c);
	return 0;
}

/* The one that came last changed while it was sent. */
static int
broken(struct kn_courier *c, const struct kn_file *f, struct kn_parcel *p)
{
	struct kn_item *last = p != NULL && p->n > 0 ? p->items[p->n - 1] : NULL;
	const char *name = last == NULL ? NULL :
	    !c->hold                    ? last->path :
	    last->below != NULL         ? last->below :
					  "";
	int err;

	if (name == NULL || last->index != f->index || strcmp(name, f->path) != 0)
		return 0;
	err = parcel_fail(p, last, 0, "it changed while it was sent");
	if (c->hold) {
		temporary_remove(p->items[--p->n]);
		item_free(p->items[p->n]);
	}
	return err;
}

int
kn_courier_begin(struct kn_courier *c, const struct kn_file *f, const char *root)
{
	int err;

	if (c->open)
		return -EBADMSG;
	if ((f->mode & KN_FILE_BROKEN) != 0)
		return broken(c, f, c->hold && root == NULL ? NULL : parcel_find(c, f->id));
	c->file = *f;
	c->file.path = NULL;
	c->left = f->size;
	c->open = true;
	if (!c->hold || root != NULL) {
		c->parcel = parcel_make(c, f->id);
		c->item = c->parcel != NULL ? item_new(c->parcel, f, c->hold ? root : NULL) : NULL;
		if (c->item == NULL) {
			c->parcel = NULL;
			return -ENOMEM;
		}
		if (c->parcel->n >= ITEMS_MOST)
			return at_hand_fail(c, 0, "more files than are taken for one task");
		if ((f->mode & KN_FILE_FOLDER) != 0)
			return folder_begin(c);
		if (c->hold || !same_file(c->item->path, f))
			err = temporary_open(c, c->item);
		else
			err = entry_share(c, c->item);
		if (err < 0)
			return at_hand_fail(c, err, "cannot be written");
	}
	return c->left == 0 ? at_hand_whole(c) : 0;
}

int
kn_courier_data(struct kn_courier *c, const void *data, size_t n)
{
	const char *at = data;

	if (!c->open || n > c->left)
		return -EBADMSG;
	c->left -= n;
	while (n > 0 && c->fd_plus1 > 0) {
		ssize_t r = write(c->fd_plus1 - 1, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return at_hand_fail(c, -errno, "cannot be written");
		at += r;
		n -= (size_t)r;
	}
	/* The disk begins now, so that the end is not long waited for. */
	if (c->sync && c->fd_plus1 > 0)
		(void)sync_file_range(c->fd_plus1 - 1, 0, 0, SYNC_FILE_RANGE_WRITE);
	return c->left == 0 && c->open ? at_hand_whole(c) : 0;
}

/* ---- what becomes of it ------------------------------------------------------------- */

const char *
kn_courier_error(const struct kn_courier *c, uint64_t id)
{
	const struct kn_parcel *p = parcel_find(c, id);

	if ((p == NULL || p->error == NULL) && id != 0)
		p = parcel_find(c, 0);
	return p != NULL ? p->error : NULL;
}

bool
kn_courier_came(const struct kn_courier *c, uint64_t id, uint32_t index)
{
	const struct kn_parcel *p = parcel_find(c, id);

	for (size_t i = 0; p != NULL && i < p->n; i++)
		if (p->items[i]->index == index)
			return true;
	return p != NULL && p->error != NULL && p->error_index == index;
}

/* One task less has it. */
static void
entry_leave(struct kn_courier *c, struct kn_owned *entry)
{
	if (entry == NULL || --entry->parcels > 0)
		return;
	if (entry->clean && !entry->stays)
		kn_courier_remove(c, entry->path);
	owned_free(&c->owned, entry);
}

/* Take the parcel out; what is at hand for it is passed over. */
static void
parcel_free(struct kn_courier *c, struct kn_parcel *p)
{
	if (p == c->parcel) {
		int fd = c->fd_plus1 - 1;

		kn_fd_close(&fd);
		c->fd_plus1 = 0;
		if (c->item != NULL) {
			temporary_remove(c->item);
			entry_leave(c, c->item->entry);
		}
		item_free(c->item);
		c->item = NULL;
		c->parcel = NULL;
	}
	for (size_t i = 0; i < p->n; i++)
		item_free(p->items[i]);
	tdelete(p, &c->parcels, parcel_compare);
	free(p->items);
	free(p->error);
	free(p);
}

int
kn_courier_keep(struct kn_courier *c, uint64_t id, uint32_t *index, char *err, size_t errsize)
{
	struct kn_parcel *p = parcel_find(c, id);
	int r = 0;

	if (p == NULL)
		return 0;
	for (size_t i = 0; i < p->n; i++) {
		size_t next = i + 1;
		int e = 0;

		while (next < p->n && p->items[next]->temporary == NULL)
			next++;
		/* Of many in one folder only the last one waits for the disk. */
		if (p->items[i]->temporary != NULL)
			e = temporary_rename(p->items[i],
			    c->sync && (next == p->n || !same_folder(p->items[i], p->items[next])));
		if (e < 0) {
			temporary_remove(p->items[i]);
			if (parcel_fail(p, p->items[i], e, "cannot be written") < 0)
				r = -ENOMEM;
		}
	}
	if (p->error != NULL) {
		snprintf(err, errsize, "%s", p->error);
		*index = p->error_index;
		r = -EIO;
	} else if (r < 0) {
		snprintf(err, errsize, "%s", strerror(-r));
		*index = 0;
	}
	parcel_free(c, p);
	return r;
}

void
kn_courier_drop(struct kn_courier *c, uint64_t id)
{
	struct kn_parcel *p = parcel_find(c, id);

	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		temporary_remove(p->items[i]);
	parcel_free(c, p);
}

void
kn_courier_remove(struct kn_courier *c, const char *path)
{
	char *name = copy(path, strlen(path));
	struct stat st;

	/* What never comes or goes with a task, a device for one, is not removed either. */
	if (lstat(path, &st) == 0 && (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)))
		unlink(path);
	else
		rmdir(path); /* if it is empty; of "folder/." that is left to what follows */
	if (name != NULL)
		parents_remove(c, name);
	free(name);
}

void
kn_courier_clean(struct kn_courier *c, uint64_t id)
{
	struct kn_parcel *p = parcel_find(c, id);

	if (p == NULL)
		return;
	for (size_t i = p->n; i-- > 0;)
		entry_leave(c, p->items[i]->entry);
	parcel_free(c, p);
}

/* Whether path is folder, or lies in it; "." has all that is not absolute. */
static bool
lies_in(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (strcmp(folder, ".") == 0)
		return path[0] != '/';
	return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static bool
is_folder(const struct kn_owned *o)
{
	size_t n = strlen(o->path);

	return n >= 2 && strcmp(o->path + n - 2, "/.") == 0;
}

void
kn_courier_spare(struct kn_courier *c, uint64_t id, const char *path)
{
	const struct kn_parcel *p = parcel_find(c, id);

	for (size_t i = 0; p != NULL && i < p->n; i++)
		if (p->items[i]->entry != NULL && lies_in(p->items[i]->entry->path, path))
			p->items[i]->entry->stays = true;
}

int
kn_courier_waiting(struct kn_courier *c, uint64_t id, const char *path, struct kn_waiting *waiting)
{
	const struct kn_parcel *p = parcel_find(c, id);
	int err = 0;

	/* A folder is removed only when it is empty. */
	for (size_t i = 0; p != NULL && i < p->n && err == 0; i++) {
		const struct kn_owned *entry = p->items[i]->entry;

		if (entry != NULL && entry->clean && !is_folder(entry) && lies_in(entry->path, path))
			err = kn_waiting_add(waiting, c, entry->path);
	}
	return err;
}

struct kn_owned *
kn_courier_join(struct kn_courier *c, const char *path)
{
	struct kn_owned *entry = owned_make(&c->owned, path);

	if (entry != NULL)
		entry->parcels++;
	return entry;
}

bool
kn_courier_leave(struct kn_courier *c, struct kn_owned *file, enum kn_leave how)
{
	bool clean;

	file->clean = file->clean || how == KN_LEAVE_GOES;
	file->stays = file->stays || how == KN_LEAVE_STAYS;
	if (--file->parcels > 0)
		return false;
	clean = file->clean && !file->stays;
	owned_free(&c->owned, file);
	return clean;
}

void
kn_courier_done(struct kn_courier *c)
{
	while (c->parcels != NULL) {
		struct kn_parcel *p = *(void **)c->parcels;

		if (c->hold)
			kn_courier_drop(c, p->id);
		else
			kn_courier_clean(c, p->id);
	}
	while (c->made != NULL)
		owned_free(&c->made, *(void **)c->made);
	*c = (struct kn_courier){ .hold = c->hold, .sync = c->sync, .counter = c->counter };
}

/* SPDX-License-Identifier: MIT */
/*
 * A folder is looked up once. The files in it are on its disk, but for mount points and links: the
 * first few of them are looked at, and when all agreed the rest is taken to. Folders among the
 * words are looked at each: of those every one may be a mount point.
 *
 * A word without a slash is a path when there is such a file. All that is remembered is bounded:
 * a new folder takes the place of the one that has been there for longest.
 */
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "disk.h"
#include "fd.h"
#include "procfile.h"

#define FOLDERS 64
#define DEVICES 32
#define FOLDER_BYTES 256
#define LOOKED_AT 4
#define TRUSTED 4

/* What a file system lies on; a name of "" when on no disk, or on none that is known. */
struct device {
	dev_t dev;
	struct kn_disk_id id;
};

struct folder {
	char path[FOLDER_BYTES]; /* with the last slash */
	bool exists;
	bool differ;     /* a file of it was on another disk */
	unsigned agreed; /* files that were on its own */
	dev_t dev;
	uint64_t mount;
};

struct kn_places {
	struct folder folders[FOLDERS];
	unsigned nfolders, next_folder;
	struct device devices[DEVICES];
	unsigned ndevices, next_device;
};

/* A path's file. */
struct found {
	bool exists, is_folder;
	dev_t dev; /* of what it lies on, or of the disk that it is */
	uint64_t mount;
};

static struct found
look_at(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_MNT_ID, &st) < 0)
		return (struct found){ 0 };
	if (S_ISBLK(st.stx_mode))
		return (struct found){ .exists = true, .dev = makedev(st.stx_rdev_major, st.stx_rdev_minor) };
	return (struct found){
		.exists = true,
		.is_folder = S_ISDIR(st.stx_mode),
		.dev = makedev(st.stx_dev_major, st.stx_dev_minor),
		.mount = (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0,
	};
}

/* The source of a file system, by the number of its mount or by its device, out of a line of
 * /proc/self/mountinfo: "36 35 98:0 /root /point options [more] - type source options". Copied
 * to ret; false when it is another's line. */
static bool
mount_source(const char *line, dev_t dev, uint64_t mount, char *ret, size_t size)
{
	const char *s = line, *end = strchrnul(line, '\n');
	uint64_t number = kn_procfile_number(&s);
	unsigned major, minor;
	size_t n;

	kn_procfile_skip(&s, 1);
	major = (unsigned)kn_procfile_number(&s);
	s += *s == ':';
	minor = (unsigned)kn_procfile_number(&s);
	if (mount != 0 ? number != mount : makedev(major, minor) != dev)
		return false;
	s = strstr(s, " - ");
	if (s == NULL || s > end)
		return false;
	s += 3;
	kn_procfile_skip(&s, 1);
	s += *s == ' ';
	n = strcspn(s, " \n");
	if (n >= size)
		return false;
	memcpy(ret, s, n);
	ret[n] = '\0';
	return true;
}

/* btrfs and others number their file systems themselves: the mount tells the disk, or the first
 * of several. */
static void
find_anonymous(dev_t dev, uint64_t mount, struct kn_disk_id *ret)
{
	char source[256], text[16384];
	int fd = kn_procfile_open("/proc/self/mountinfo");
	struct stat st;

	if (fd < 0 || kn_procfile_whole(fd, text, sizeof(text)) < 0)
		text[0] = '\0';
	kn_fd_close(&fd);
	for (const char *s = text; s != NULL; s = kn_procfile_line(s)) {
		if (!mount_source(s, dev, mount, source, sizeof(source)))
			continue;
		if (source[0] == '/' && stat(source, &st) == 0 && S_ISBLK(st.st_mode))
			(void)kn_disk_find(major(st.st_rdev), minor(st.st_rdev), ret);
		return;
	}
}

static const struct kn_disk_id *
find_device(struct kn_places *p, dev_t dev, uint64_t mount)
{
	struct device *d;

	for (unsigned i = 0; i < p->ndevices; i++) {
		if (p->devices[i].dev == dev)
			return &p->devices[i].id;
	}
	d = &p->devices[p->next_device];
	p->next_device = (p->next_device + 1) % DEVICES;
	if (p->ndevices < DEVICES)
		p->ndevices++;
	*d = (struct device){ .dev = dev, .id.spindle = -1 };
	if (kn_disk_find(major(dev), minor(dev), &d->id) < 0)
		find_anonymous(dev, mount, &d->id);
	return &d->id;
}

static void
look_at_folder(struct folder *f)
{
	struct found found = look_at(f->path);

	f->exists = found.exists;
	f->dev = found.dev;
	f->mount = found.mount;
}

/* One that does not exist may be made by a task. */
static struct folder *
find_folder(struct kn_places *p, const char *path, size_t length)
{
	struct folder *f;

	for (unsigned i = 0; i < p->nfolders; i++) {
		f = &p->folders[i];
		if (strncmp(f->path, path, length) != 0 || f->path[length] != '\0')
			continue;
		if (!f->exists)
			look_at_folder(f);
		return f;
	}
	f = &p->folders[p->next_folder];
	p->next_folder = (p->next_folder + 1) % FOLDERS;
	if (p->nfolders < FOLDERS)
		p->nfolders++;
	*f = (struct folder){ 0 };
	memcpy(f->path, path, length);
	look_at_folder(f);
	return f;
}

/* A word with a slash. */
static struct found
look_in_folder(struct kn_places *p, const char *path, size_t length)
{
	struct folder *f = find_folder(p, path, length);
	struct found found;

	if (!f->exists)
		return (struct found){ 0 };
	if (path[length] != '\0' && (f->differ || f->agreed < TRUSTED)) {
		found = look_at(path);
		if (found.exists && found.dev != f->dev)
			f->differ = true;
		else if (found.exists && !found.is_folder)
			f->agreed++;
		if (found.exists)
			return found;
	}
	return (struct found){ .exists = true, .dev = f->dev, .mount = f->mount };
}

/* Where the path in a word begins; NULL when it does not look like one. */
static const char *
path_in(const char *word)
{
	const char *mark = strpbrk(word, "=/");
	const char *path = mark != NULL && *mark == '=' ? mark + 1 : word;

	if (path[0] == '\0' || path[0] == '-' || strlen(path) >= 4096)
		return NULL;
	/* A whole script is no path, though a path may hold blanks. */
	if (strpbrk(path, "\n|;<>") != NULL)
		return NULL;
	return path;
}

static void
find_disk(struct kn_places *p, const char *path, struct kn_place *ret)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash != NULL ? (size_t)(slash - path) + 1 : 0;
	const struct kn_disk_id *id;
	struct found found;

	if (slash == NULL || length >= FOLDER_BYTES || strncmp(path, "/dev/", 5) == 0)
		found = look_at(path);
	else
		found = look_in_folder(p, path, length);
	if (!found.exists)
		return;
	id = find_device(p, found.dev, found.mount);
	if (id->name[0] == '\0')
		return;
	memcpy(ret->disk, id->name, sizeof(ret->disk));
	ret->device = id->device;
	ret->spindle = id->spindle;
}

/* Of "scheme://user@host:port/path", where the address of IPv6 is in brackets. */
static void
find_host(const char *after, struct kn_place *ret)
{
	size_t length = strcspn(after, "/?# \t\n'\"<>|&;)");
	const char *at = memrchr(after, '@', length);
	const char *host = at != NULL ? at + 1 : after;
	size_t n;

	length -= (size_t)(host - after);
	if (host[0] == '[') {
		host++;
		length--;
		n = strcspn(host, "]");
	} else {
		n = strcspn(host, ":");
	}
	if (n > length)
		n = length;
	if (n > sizeof(ret->host) - 1)
		n = sizeof(ret->host) - 1;
	for (size_t i = 0; i < n; i++) {
		ret->host[i] = host[i];
		if (host[i] >= 'A' && host[i] <= 'Z')
			ret->host[i] = (char)(host[i] + ('a' - 'A'));
	}
}

int
kn_places_new(struct kn_places **ret)
{
	struct kn_places *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void
kn_places_free(struct kn_places *p)
{
	free(p);
}

void
kn_places_find(struct kn_places *p, const char *const *words, size_t n, struct kn_place *ret)
{
	unsigned looked_at = 0;

	*ret = (struct kn_place){ .spindle = -1 };
	for (size_t i = 0; i < n && words[i] != NULL; i++) {
		const char *scheme = strstr(words[i], "://");
		const char *path = scheme == NULL ? path_in(words[i]) : NULL;

		if (scheme != NULL && ret->host[0] == '\0')
			find_host(scheme + 3, ret);
		if (path != NULL && ret->disk[0] == '\0' && looked_at < LOOKED_AT) {
			looked_at++;
			find_disk(p, path, ret);
		}
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * ${XDG_CACHE_HOME:-~/.cache}/knee/sem/ID@PLACE, one file for each semaphore that is in use.
 *
 *	ID      the id; bytes other than letters, digits and . _ - as %XX; a long one is cut, and ends
 *	        in ~ and a hash of all of it
 *	PLACE   8 hex digits, a hash of what a process number is good for: the host's name, the
 *	        namespace of processes, the user
 *
 * Why there: the folder has to be the same one for all processes of a user. /run/user/UID comes and
 * goes with the logins, cron jobs and services have no XDG_RUNTIME_DIR, $TMPDIR differs, and old
 * files in /tmp get cleaned away. Without HOME it is the home that the system knows.
 *
 * The content is a record of 64 bytes for each holder, text:
 *
 *	BOOT PID START\n    32 hex digits: the kernel's boot id; 10 columns: the process; 19 columns: its
 *	                    start in clock ticks since boot (field 22 of /proc/PID/stat)
 *
 * A record counts as long as its process exists: same boot, same number, same start, and its pidfd
 * does not say that it ended. Others are as good as not there, and are left out by the next one who
 * writes. Writing is one write of all that counts, then a cut; a record never lies across two
 * pages, so that a process killed in the middle can leave records twice, but never half, and none
 * is lost. Nothing is synced: after a crash of the machine no record counts anyway.
 *
 * Locks are those of open file descriptions, which the kernel takes back when their process ends,
 * however it does. They are on bytes of the file that need not exist:
 *
 *	byte 0          whoever reads and changes the records; held for a moment, never while waiting
 *	byte N > 0      the queue of those who want at most N at once; the one who has it is its head
 *
 * Who wants the byte of a queue is blocked by the one who came before, and the kernel hands it on in
 * this order (since 5.0), waking no other. The descriptor is never passed on to a command.
 *
 * Nobody is there to remove a file after the last command. So who makes a new one looks at some
 * others and removes what nobody uses; the files are never many more than the semaphores in use
 * at a time. Files of another place (a container with the same home) are removed after 100 days.
 */
#include "sem_file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"

#define BOOT_BYTES 32
#define ID_SHOWN_MAX 160
#define SWEEP_FILES 64
#define FOREIGN_SECONDS ((time_t)100 * 24 * 3600)

/* Descriptors that are left for other things than watching holders. */
#define SPARE_FILES 32

/* ---- names ------------------------------------------------------------------ */

/* FNV-1a: no secret depends on it. */
static uint64_t
hash(uint64_t before, const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t h = before != 0 ? before : UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* What stands for "these process numbers, this user". */
static uint32_t
place_hash(void)
{
	struct utsname host = { 0 };
	struct stat ns = { 0 };
	uid_t user = geteuid();
	uint64_t h;

	(void)uname(&host);
	(void)stat("/proc/self/ns/pid", &ns);
	h = hash(0, host.nodename, strlen(host.nodename));
	h = hash(h, &ns.st_ino, sizeof(ns.st_ino));
	h = hash(h, &user, sizeof(user));
	return (uint32_t)(h ^ h >> 32);
}

/* The file's name for id, in a buffer of NAME_MAX + 1 bytes. */
static void
name_make(const char *id, char *name)
{
	char *at = name, *end = name + ID_SHOWN_MAX;
	const char *c = id;

	for (; *c != '\0' && at < end; c++) {
		unsigned char byte = (unsigned char)*c;

		if (isascii(byte) && (isalnum(byte) || byte == '_' || byte == '-' || (byte == '.' && c > id)))
			*at++ = *c;
		else
			at += sprintf(at, "%%%02X", byte);
	}
	if (*c != '\0')
		at += sprintf(at, "~%016llx", (unsigned long long)hash(0, id, strlen(id)));
	(void)sprintf(at, "@%08x", place_hash());
}

/* Make the folder of path and those above it that are missing, for this user alone. 0 or -errno. */
static int
folders_make(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		int err;

		*slash = '\0';
		err = mkdir(path, 0700) < 0 && errno != EEXIST && access(path, X_OK) < 0 ? -errno : 0;
		*slash = '/';
		if (err < 0)
			return err;
	}
	return 0;
}

/* The home folder: a full path that is there, or NULL. */
static const char *
home_find(void)
{
	const char *home = getenv("HOME");
	const struct passwd *user;
	struct stat st;

	if (home == NULL || *home != '/') {
		user = getpwuid(geteuid());
		home = user != NULL ? user->pw_dir : NULL;
	}
	if (home == NULL || *home != '/' || stat(home, &st) < 0 || !S_ISDIR(st.st_mode))
		return NULL;
	return home;
}

/* The path of the file for id, malloc'd, in *ret. 0 or -errno after say(). */
static int
path_make(const char *id, char **ret)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = NULL;
	char name[NAME_MAX + 1];
	int n;

	if (cache == NULL || *cache != '/') {
		cache = NULL;
		home = home_find();
		if (home == NULL)
			return say_error(ENOENT,
			    "no folder for semaphores: set HOME or XDG_CACHE_HOME to one that is there");
	}
	name_make(id, name);
	n = cache != NULL ? asprintf(ret, "%s/knee/sem/%s", cache, name) :
			    asprintf(ret, "%s/.cache/knee/sem/%s", home, name);
	return n < 0 ? say_error(ENOMEM, "%s", strerror(ENOMEM)) : 0;
}

/* ---- processes -------------------------------------------------------------- */

/* Field number index (from 3) of /proc/PID/stat, a number; pid 0: this process. 0 or -errno. */
static int
stat_field(pid_t pid, int index, uint64_t *ret)
{
	char path[64], text[1024], *at, *end;
	ssize_t n;
	int fd;

	if (pid == 0)
		pid = getpid();
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	at = strrchr(text, ')'); /* the name before it may hold anything */
	for (int i = 2; at != NULL && i < index; i++)
		at = strchr(at + 1, ' ');
	if (at == NULL)
		return -EINVAL;
	*ret = strtoull(at + 1, &end, 10);
	return end > at + 1 ? 0 : -EINVAL;
}

void
sem_terminal_id(char *text, size_t size)
{
	uint64_t device = 0;

	if (stat_field(0, 7, &device) == 0 && device != 0)
		(void)snprintf(text, size, "tty %llu", (unsigned long long)device);
	else
		(void)snprintf(text, size, "no tty");
}

/* The kernel's boot id without its hyphens. 0 or -errno. */
static int
boot_read(char boot[BOOT_BYTES + 1])
{
	char text[64];
	size_t len = 0;
	ssize_t n;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i < n && len < BOOT_BYTES; i++)
		if (isxdigit((unsigned char)text[i]))
			boot[len++] = text[i];
	boot[len] = '\0';
	return len == BOOT_BYTES ? 0 : -EINVAL;
}

/* The record of a process in to, NUL behind it. 0 or -errno. */
static int
record_make(pid_t pid, char to[SEM_RECORD_BYTES + 1])
{
	char boot[BOOT_BYTES + 1];
	uint64_t start = 0;
	int err = boot_read(boot), n;

	if (err == 0)
		err = stat_field(pid, 22, &start);
	if (err < 0)
		return err;
	n = snprintf(to, SEM_RECORD_BYTES + 1, "%s %10d %19llu\n", boot, (int)pid, (unsigned long long)start);
	return n == SEM_RECORD_BYTES ? 0 : -ERANGE;
}

/*
 * True when the record's process is there. *pidfd says when it ends, -1: the process is there, but not
 * to be watched. The pidfd comes first: if the number goes to another process meanwhile, either
 * the start differs or the pidfd is of the one that ended.
 */
static bool
record_counts(const char *record, const char *boot, int *pidfd)
{
	struct pollfd end = { .events = POLLIN };
	char text[SEM_RECORD_BYTES + 1], *at;
	uint64_t start, now = 0;
	long pid;
	int err;

	memcpy(text, record, SEM_RECORD_BYTES);
	text[SEM_RECORD_BYTES] = '\0';
	if (strncmp(text, boot, BOOT_BYTES) != 0 || text[BOOT_BYTES] != ' ')
		return false;
	pid = strtol(text + BOOT_BYTES, &at, 10);
	start = strtoull(at, &at, 10);
	if (*at != '\n' || pid <= 0 || pid > INT_MAX)
		return false;
	*pidfd = end.fd = pidfd_open((pid_t)pid, 0);
	if (end.fd < 0 && (errno == ESRCH || errno == EINVAL))
		return false;
	err = stat_field((pid_t)pid, 22, &now);
	/* What may not be read, of another user's process, must not be taken for gone. */
	if ((err == 0 && now == start) || (err < 0 && end.fd >= 0))
		if (end.fd < 0 || poll(&end, 1, 0) == 0)
			return true;
	if (end.fd >= 0)
		close(end.fd);
	return false;
}

/* ---- locks ------------------------------------------------------------------ */

/* A lock on n bytes (0: all that follow) from at. 0 or -errno. */
static int
lock_set(const struct sem_file *f, int command, short type, off_t at, off_t n)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = n };

	return fcntl(f->fd, command, &lock) < 0 ? -errno : 0;
}

static int
lock_failed(const struct sem_file *f, int err)
{
	return say_error(
	    -err, "%s: cannot be locked: %s; set XDG_CACHE_HOME to a local folder", f->path, strerror(-err));
}

int
sem_file_queue(struct sem_file *f, unsigned slots, int64_t deadline_ns)
{
	off_t at = slots > 0 ? (off_t)slots : 1, n = slots > 0 ? 1 : (off_t)UINT_MAX;
	int err;

	do
		err = lock_set(f, F_OFD_SETLKW, slots > 0 ? F_WRLCK : F_RDLCK, at, n);
	while (err == -EINTR && clock_ns(CLOCK_MONOTONIC) < deadline_ns);
	if (err == -EINTR)
		return -ETIME;
	if (err < 0)
		return lock_failed(f, err);
	if (slots == 0)
		(void)lock_set(f, F_OFD_SETLK, F_UNLCK, at, n);
	return 0;
}

void
sem_file_queue_leave(struct sem_file *f, unsigned slots)
{
	(void)lock_set(f, F_OFD_SETLK, F_UNLCK, (off_t)slots, 1);
}

int
sem_file_queued(struct sem_file *f)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = UINT_MAX };

	if (fcntl(f->fd, F_OFD_GETLK, &lock) < 0)
		return lock_failed(f, -errno);
	return lock.l_type != F_UNLCK;
}

/* True when f is the file that stands at its path. */
static bool
is_current(const struct sem_file *f)
{
	struct stat ours, there;

	return fstat(f->fd, &ours) == 0 && stat(f->path, &there) == 0 && ours.st_ino == there.st_ino &&
	    ours.st_dev == there.st_dev;
}

int
sem_file_lock(struct sem_file *f)
{
	int err;

	do
		err = lock_set(f, F_OFD_SETLKW, F_WRLCK, 0, 1);
	while (err == -EINTR);
	if (err < 0)
		return lock_failed(f, err);
	if (is_current(f))
		return 0;
	sem_file_unlock(f);
	return -ESTALE;
}

void
sem_file_unlock(struct sem_file *f)
{
	(void)lock_set(f, F_OFD_SETLK, F_UNLCK, 0, 1);
}

/* ---- holders ---------------------------------------------------------------- */

void
sem_holders_done(struct sem_holders *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->ends[i].fd >= 0)
			close(h->ends[i].fd);
	free(h->records);
	free(h->ends);
	*h = (struct sem_holders){ 0 };
}

/* The pidfd, when there is room to keep it; else -1. */
static int
watched(int pidfd)
{
	struct rlimit files;

	if (pidfd < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0 || (rlim_t)pidfd + SPARE_FILES < files.rlim_cur)
		return pidfd;
	close(pidfd);
	return -1;
}

/* Add record to h if its process is there and not in h. */
static void
holder_take(struct sem_holders *h, const char *record, const char *boot)
{
	int pidfd;

	for (size_t i = 0; i < h->n; i++)
		if (memcmp(h->records[i], record, SEM_RECORD_BYTES) == 0)
			return;
	if (!record_counts(record, boot, &pidfd))
		return;
	memcpy(h->records[h->n], record, SEM_RECORD_BYTES);
	h->ends[h->n++] = (struct pollfd){ .fd = watched(pidfd), .events = POLLIN };
}

int
sem_file_read(struct sem_file *f, struct sem_holders *ret)
{
	char boot[BOOT_BYTES + 1], (*all)[SEM_RECORD_BYTES] = NULL;
	size_t n;
	struct stat st;
	ssize_t got;
	int err = boot_read(boot);

	sem_holders_done(ret);
	if (err < 0)
		return say_error(-err, "/proc: %s: processes cannot be seen", strerror(-err));
	if (fstat(f->fd, &st) < 0)
		return say_error(errno, "%s: %s", f->path, strerror(errno));
	n = (size_t)st.st_size / SEM_RECORD_BYTES;
	all = calloc(n + 1, sizeof(*all));
	ret->records = calloc(n + 1, sizeof(*ret->records));
	ret->ends = calloc(n + 1, sizeof(*ret->ends));
	err = all == NULL || ret->records == NULL || ret->ends == NULL ? -ENOMEM : 0;
	got = err == 0 ? pread(f->fd, all, n * SEM_RECORD_BYTES, 0) : 0;
	if (got < 0)
		err = -errno;
	for (size_t i = 0; err == 0 && i < (size_t)got / SEM_RECORD_BYTES; i++)
		holder_take(ret, all[i], boot);
	free(all);
	return err < 0 ? say_error(-err, "%s: %s", f->path, strerror(-err)) : 0;
}

int
sem_file_add(struct sem_file *f, struct sem_holders *h, pid_t pid)
{
	char record[SEM_RECORD_BYTES + 1];
	size_t size = (h->n + 1) * SEM_RECORD_BYTES;
	ssize_t n;
	int err = record_make(pid, record);

	if (err < 0)
		return say_error(-err, "/proc: %s: processes cannot be seen", strerror(-err));
	memcpy(h->records[h->n], record, SEM_RECORD_BYTES);
	n = pwrite(f->fd, h->records, size, 0);
	if (n < 0 || (size_t)n < size)
		err = n < 0 ? -errno : -ENOSPC;
	else if (ftruncate(f->fd, (off_t)size) < 0)
		err = -errno;
	return err < 0 ? say_error(-err, "%s: %s", f->path, strerror(-err)) : 0;
}

void
sem_file_remove(struct sem_file *f)
{
	(void)unlink(f->path);
}

/* ---- files ------------------------------------------------------------------ */

void
sem_file_close(struct sem_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	*f = (struct sem_file){ .fd = -1 };
}

/* Remove this file when nobody uses it. Says nothing: it is another semaphore's. */
static void
file_sweep(int folder, const char *path, const char *name)
{
	struct sem_file f = { .fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) };
	struct sem_holders holders = { 0 };

	if (f.fd < 0)
		return;
	if (asprintf(&f.path, "%s%s", path, name) < 0)
		f.path = NULL;
	if (f.path != NULL && lock_set(&f, F_OFD_SETLK, F_WRLCK, 0, 1) == 0 && is_current(&f) &&
	    sem_file_queued(&f) == 0 && sem_file_read(&f, &holders) == 0 && holders.n == 0)
		sem_file_remove(&f);
	sem_holders_done(&holders);
	sem_file_close(&f);
}

/* True for a semaphore's file, of this place or of one that has long been forgotten. */
static bool
may_sweep(int folder, const char *name, const char *place)
{
	const char *at = strrchr(name, '@');
	struct stat st;

	if (at == NULL || strlen(at) != strlen(place))
		return false;
	if (strcmp(at, place) == 0)
		return true;
	return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    st.st_mtime < time(NULL) - FOREIGN_SECONDS;
}

/* Look at some of the files beside f, which was just made, from a random one on. */
static void
folder_sweep(const struct sem_file *f)
{
	const char *own = strrchr(f->path, '/') + 1, *place = strrchr(own, '@');
	char *path = strndup(f->path, (size_t)(own - f->path));
	DIR *d = path != NULL ? opendir(path) : NULL;
	const struct dirent *e;
	size_t n = 0, skip = 0, looked = 0;

	if (d == NULL)
		goto free_path;
	while (readdir(d) != NULL)
		n++;
	rewinddir(d);
	if (n > SWEEP_FILES && getrandom(&skip, sizeof(skip), GRND_NONBLOCK) == sizeof(skip))
		skip %= n - SWEEP_FILES + 1;
	else
		skip = 0;
	while ((e = readdir(d)) != NULL && looked < SWEEP_FILES) {
		if (skip > 0) {
			skip--;
			continue;
		}
		looked++;
		if (strcmp(e->d_name, own) != 0 && may_sweep(dirfd(d), e->d_name, place))
			file_sweep(dirfd(d), path, e->d_name);
	}
	closedir(d);

free_path:
	free(path);
}

/* Open f->path; *made when it was not there. 0 or -errno. */
static int
file_open(struct sem_file *f, bool make, bool *made)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;

	*made = false;
	for (;;) {
		f->fd = open(f->path, flags);
		if (f->fd >= 0 || errno != ENOENT || !make)
			return f->fd < 0 ? -errno : 0;
		f->fd = open(f->path, flags | O_CREAT | O_EXCL, 0600);
		*made = f->fd >= 0;
		if (f->fd >= 0 || errno != EEXIST)
			return f->fd < 0 ? -errno : 0;
	}
}

int
sem_file_open(struct sem_file *f, const char *id, bool make)
{
	bool made;
	int err;

	*f = (struct sem_file){ .fd = -1 };
	err = path_make(id, &f->path);
	if (err < 0)
		return err;
	err = file_open(f, make, &made);
	if (err == -ENOENT && make) {
		err = folders_make(f->path);
		if (err == 0)
			err = file_open(f, make, &made);
	}
	if (err == 0 && made)
		folder_sweep(f);
	if (err < 0 && (make || err != -ENOENT))
		(void)say_error(-err, "%s: %s; semaphores are kept in %s", f->path, strerror(-err),
		    getenv("XDG_CACHE_HOME") != NULL ? "$XDG_CACHE_HOME/knee/sem" : "~/.cache/knee/sem");
	if (err < 0)
		sem_file_close(f);
	return err;
}

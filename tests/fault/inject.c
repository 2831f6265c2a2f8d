/* SPDX-License-Identifier: MIT */
/*
 * Linked into a program of its own, knee-inject, in front of the functions that can fail.
 *
 * $KNEE_INJECT = FUNCTION:N:ERRNO makes the N-th call of FUNCTION fail with this number; a
 * fourth field ":on" makes all later ones fail too, ":kill" kills the process instead, ":torn" does so
 * after half of the bytes of a write. When it happens the file $KNEE_INJECT_FILE is made, so that a
 * test knows whether N was beyond the last call.
 *
 * What SQLite does to its files has names of its own: db_pwrite64, db_ftruncate64, db_fdatasync,
 * db_unlink, and db_any for all of these. SQLite is a shared library: it finds these functions in
 * the program before it looks into the C library.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	bool known;
	char name[32];
	long nth, calls;
	int number;
	bool on, kill, torn;
	bool ours; /* the call is the program's own, not SQLite's */
} plan;

static void
plan_read(void)
{
	const char *text = getenv("KNEE_INJECT");
	char rest[8] = "";

	plan.known = true;
	if (text == NULL || sscanf(text, "%31[^:]:%ld:%d:%7s", plan.name, &plan.nth, &plan.number, rest) < 3)
		plan.name[0] = '\0';
	plan.on = strcmp(rest, "on") == 0;
	plan.torn = strcmp(rest, "torn") == 0;
	plan.kill = plan.torn || strcmp(rest, "kill") == 0;
}

/* Another call of the kind that is planned for: true if it is the one to fail; errno is set. */
static bool
is_nth(void)
{
	const char *file;
	int fd;

	plan.calls++;
	if (plan.calls != plan.nth && !(plan.on && plan.calls > plan.nth))
		return false;
	file = getenv("KNEE_INJECT_FILE");
	fd = file != NULL ? open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd >= 0)
		close(fd);
	if (plan.kill && !plan.torn)
		(void)kill(getpid(), SIGKILL);
	errno = plan.number;
	return true;
}

/* True if this call of name is the one to fail; errno is set. */
static bool
fails(const char *name)
{
	if (!plan.known)
		plan_read();
	return strcmp(plan.name, name) == 0 && is_nth();
}

/* The same for SQLite's; only a write can be torn. */
static bool
db_fails(const char *name)
{
	if (plan.ours || (!fails(name) && !fails("db_any")))
		return false;
	if (plan.torn && strcmp(name, "db_pwrite64") != 0)
		(void)kill(getpid(), SIGKILL);
	return true;
}

#define WRAP(type, name, failure, parameters, arguments) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		return fails(#name) ? (failure) : __real_##name arguments; \
	}

WRAP(void *, malloc, NULL, (size_t n), (n))
WRAP(void *, calloc, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, NULL, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, NULL, (const char *s), (s))
WRAP(int, pidfd_open, -1, (pid_t pid, unsigned flags), (pid, flags))
WRAP(int, epoll_create1, -1, (int flags), (flags))
WRAP(int, pipe2, -1, (int fds[2], int flags), (fds, flags))
WRAP(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
WRAP(int, signalfd, -1, (int fd, const void *set, int flags), (fd, set, flags))
WRAP(ssize_t, write, -1, (int fd, const void *data, size_t n), (fd, data, n))
WRAP(ssize_t, writev, -1, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP(ssize_t, pread64, -1, (int fd, void *data, size_t n, off_t at), (fd, data, n, at))
WRAP(ssize_t, read, -1, (int fd, void *data, size_t n), (fd, data, n))
WRAP(int, posix_spawn_file_actions_adddup2, plan.number, (posix_spawn_file_actions_t * a, int fd, int to),
    (a, fd, to))
WRAP(int, posix_spawn, plan.number,
    (pid_t * pid, const char *path, const posix_spawn_file_actions_t *a, const posix_spawnattr_t *attr,
	char *const argv[], char *const env[]),
    (pid, path, a, attr, argv, env))
/* Taking a descriptor out needs no memory and no place: that the kernel never refuses. */
int __real_epoll_ctl(int e, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int e, int op, int fd, struct epoll_event *ev);
int
__wrap_epoll_ctl(int e, int op, int fd, struct epoll_event *ev)
{
	return op != EPOLL_CTL_DEL && fails("epoll_ctl") ? -1 : __real_epoll_ctl(e, op, fd, ev);
}

WRAP(pid_t, fork, -1, (void), ())
WRAP(int, fsync, -1, (int fd), (fd))

/* ---- SQLite's ------------------------------------------------------------- */

#define REAL(function) (*(void **)(&(function)) = dlsym(RTLD_NEXT, __func__))

ssize_t
pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	ssize_t (*real)(int, const void *, size_t, off64_t);

	REAL(real);
	if (!db_fails("db_pwrite64"))
		return real(fd, data, n, at);
	if (plan.torn) {
		(void)real(fd, data, n / 2, at);
		(void)kill(getpid(), SIGKILL);
	}
	return -1;
}

int
ftruncate64(int fd, off64_t size)
{
	int (*real)(int, off64_t);

	REAL(real);
	return db_fails("db_ftruncate64") ? -1 : real(fd, size);
}

int
fdatasync(int fd)
{
	int (*real)(int);

	REAL(real);
	return db_fails("db_fdatasync") ? -1 : real(fd);
}

int
unlink(const char *path)
{
	int (*real)(const char *);

	REAL(real);
	return db_fails("db_unlink") ? -1 : real(path);
}

/* The program's own writes at a place: the wrapped function is the one above. */
ssize_t __real_pwrite64(int fd, const void *data, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t n, off_t at);
ssize_t
__wrap_pwrite64(int fd, const void *data, size_t n, off_t at)
{
	ssize_t done;

	if (fails("pwrite64"))
		return -1;
	plan.ours = true;
	done = __real_pwrite64(fd, data, n, at);
	plan.ours = false;
	return done;
}

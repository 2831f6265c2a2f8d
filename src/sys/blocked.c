/* SPDX-License-Identifier: MIT */
#include "blocked.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd.h"
#include "procfile.h"

/* What a part of the name of a kernel function tells; the first that fits counts. */
enum meaning { ASK, NOTHING, DISK, NET, LOCK, FUTEX };

static const struct {
	const char *part;
	enum meaning meaning;
} wchans[] = {
	{ "lock_file", LOCK },
	{ "locks_lock", LOCK },
	{ "flock", LOCK },
	{ "posix_lock", LOCK },
	{ "fcntl_setlk", LOCK },
	{ "semtimedop", LOCK },
	{ "rwsem", LOCK },
	{ "mutex", LOCK },
	{ "futex", FUTEX },
	{ "nfs", NET },
	{ "rpc_", NET },
	{ "sk_wait", NET },
	{ "sk_stream", NET },
	{ "inet_", NET },
	{ "tcp_", NET },
	{ "unix_", NET },
	{ "skb_", NET },
	{ "do_wait", NOTHING },
	{ "kernel_wait4", NOTHING },
	{ "nanosleep", NOTHING },
	{ "pipe_", NOTHING },
	{ "fork", NOTHING },
	{ "clone", NOTHING },
	{ "sigtimedwait", NOTHING },
	{ "sigsuspend", NOTHING },
	{ "do_signal_stop", NOTHING },
};

static enum meaning
wchan_meaning(pid_t pid, pid_t tid)
{
	char path[64], name[128];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", (int)pid, (int)tid);
	if (kn_procfile_read(path, name, sizeof(name)) <= 1)
		return ASK; /* "0": it runs, or nobody may know */
	for (size_t i = 0; i < sizeof(wchans) / sizeof(wchans[0]); i++) {
		if (strstr(name, wchans[i].part) != NULL)
			return wchans[i].meaning;
	}
	return ASK;
}

static bool
is_socket(int folder, const char *fd)
{
	char target[16];
	ssize_t n = readlinkat(folder, fd, target, sizeof(target));

	return n >= 7 && memcmp(target, "socket:", 7) == 0;
}

/* fd < 0: any of the first 32 that the process opened itself. */
static bool
waits_for_socket(pid_t pid, int fd)
{
	char path[64], names[1024];
	bool found = false;
	int folder;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return false;
	if (fd >= 0) {
		(void)snprintf(path, sizeof(path), "%d", fd);
		found = is_socket(folder, path);
	}
	n = fd < 0 ? getdents64(folder, names, sizeof(names)) : 0;
	for (ssize_t at = 0; at < n && !found;) {
		struct dirent64 *entry = (void *)(names + at);

		if (strtol(entry->d_name, NULL, 10) >= 3)
			found = is_socket(folder, entry->d_name);
		at += entry->d_reclen;
	}
	kn_fd_close(&folder);
	return found;
}

/* The system call says what the function's name did not. Its numbers are those of this
 * program's own architecture: of a 32-bit program nothing is told, or something wrong. */
static enum meaning
syscall_meaning(pid_t pid, pid_t tid)
{
	char path[64], text[256], *end;
	unsigned long first, second;
	long nr;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
	if (kn_procfile_read(path, text, sizeof(text)) <= 0)
		return NOTHING;
	nr = strtol(text, &end, 10);
	if (end == text)
		return NOTHING; /* "running" */
	first = strtoul(end, &end, 16);
	second = strtoul(end, &end, 16);

	switch (nr) {
	case SYS_connect:
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
		return NET;
	case SYS_read:
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
	case SYS_splice:
	case SYS_sendfile:
		return waits_for_socket(pid, (int)first) ? NET : NOTHING;
#ifdef SYS_poll /* newer architectures have but the second form of each */
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
#endif
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
		return waits_for_socket(pid, -1) ? NET : NOTHING;
	case SYS_flock:
	case SYS_semop:
	case SYS_semtimedop:
		return LOCK;
	case SYS_fcntl:
		return second == F_SETLKW || second == F_OFD_SETLKW ? LOCK : NOTHING;
	case SYS_futex:
		return FUTEX;
	default:
		return NOTHING;
	}
}

unsigned
kn_blocked_by(pid_t pid, pid_t tid, char state, bool alone)
{
	enum meaning meaning;

	if (state == 'R')
		return KN_BLOCKED_CPU;
	if (state != 'S' && state != 'D')
		return 0;
	meaning = wchan_meaning(pid, tid);
	/* What waits without being interruptible waits for a disk when nothing else is known; one that
	 * has only just gone to sleep is for the kernel not yet in any function. */
	if (meaning == ASK)
		meaning = state == 'D' ? DISK : syscall_meaning(pid, tid);
	switch (meaning) {
	case DISK:
		return KN_BLOCKED_DISK;
	case NET:
		return KN_BLOCKED_NET;
	case LOCK:
		return KN_BLOCKED_LOCK;
	case FUTEX:
		return alone ? KN_BLOCKED_LOCK : 0;
	case ASK:
	case NOTHING:
		break;
	}
	return 0;
}

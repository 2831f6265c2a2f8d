/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blocked.h"
#include "fd.h"
#include "procfile.h"

/* Of one look: a build may have thousands of processes, and a server as many threads. */
#define PROCESSES 64
#define THREADS 64

/* "/proc/", two numbers and the longest name in between. */
#define PATH_BYTES 64

/* What is gathered in one look. The parent's counters are read before its children are listed, and
 * theirs after: one that is waited for in between is missing then, and never counted twice. */
struct look {
	pid_t pids[PROCESSES], parents[PROCESSES];
	unsigned n;
	unsigned threads_left;
	bool deep;
	bool io_refused;  /* a living process of the tree does not show its io */
	unsigned blocked; /* enum kn_blocked of all of them */
	struct kn_usage sum;
};

/* What /proc/PID/stat says. */
struct stat_line {
	char state;
	pid_t parent;
	uint64_t own_ticks, waited_ticks;
	unsigned threads;
	uint64_t rss_pages;
};

static char *
put_number(char *to, unsigned number)
{
	char digits[16];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	return mempcpy(to, digits + n, sizeof(digits) - n);
}

/* /proc/PID/NAME, or /proc/PID/task/TID/NAME for tid > 0. */
static void
put_path(char path[PATH_BYTES], pid_t pid, pid_t tid, const char *name)
{
	char *p = put_number(stpcpy(path, "/proc/"), (unsigned)pid);

	if (tid > 0)
		p = put_number(stpcpy(p, "/task/"), (unsigned)tid);
	*p++ = '/';
	(void)stpcpy(p, name);
}

static int
read_stat(pid_t pid, pid_t tid, struct stat_line *ret)
{
	char path[PATH_BYTES], text[1024];
	const char *s;
	ssize_t n;

	put_path(path, pid, tid, "stat");
	n = kn_procfile_read(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	/* A program's name may hold blanks and brackets: the last bracket ends it. */
	s = strrchr(text, ')');
	if (s == NULL || s[1] == '\0')
		return -EINVAL;
	s += 2;
	ret->state = *s++;
	ret->parent = (pid_t)kn_procfile_number(&s);
	kn_procfile_skip(&s, 9);
	ret->own_ticks = kn_procfile_number(&s);
	ret->own_ticks += kn_procfile_number(&s);
	ret->waited_ticks = kn_procfile_number(&s);
	ret->waited_ticks += kn_procfile_number(&s);
	kn_procfile_skip(&s, 2);
	ret->threads = (unsigned)kn_procfile_number(&s);
	kn_procfile_skip(&s, 3);
	ret->rss_pages = kn_procfile_number(&s);
	return 0;
}

/* The processor time of all threads of a process in nanoseconds, of one that has ended as well, as
 * long as it was not waited for. The number of its clock is part of the kernel's interface:
 * clock_getcpuclockid(3) computes the same, and makes a second system call to try it. */
static int
read_clock(pid_t pid, int64_t *ret)
{
	clockid_t id = (clockid_t)((~(unsigned)pid << 3) | 2);
	struct timespec t;

	if (clock_gettime(id, &t) < 0)
		return -errno;
	*ret = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	return 0;
}

static int64_t
ticks_ns(uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);

	return (int64_t)(ticks * (1000000000 / (uint64_t)(hz > 0 ? hz : 100)));
}

/* The lines of /proc/PID/io in the order in which they have always been. */
static int
read_io(int fd, struct kn_usage *sum)
{
	static const char *const labels[] = {
		"rchar:", "wchar:", "syscr:", "syscw:", "read_bytes:", "write_bytes:"
	};
	char text[512];
	const char *s = text;
	uint64_t values[6] = { 0 };
	ssize_t n = kn_procfile_reread(fd, text, sizeof(text));

	if (n < 0)
		return (int)n;
	for (size_t i = 0; i < 6 && s != NULL; i++, s = kn_procfile_line(s)) {
		size_t length = strlen(labels[i]);

		if (strncmp(s, labels[i], length) != 0)
			return -EINVAL;
		s += length;
		values[i] = kn_procfile_number(&s);
	}
	sum->bytes += values[0] + values[1];
	sum->reads += values[2] + values[3];
	sum->disk_bytes += values[4] + values[5];
	return 0;
}

/* A process that has ended, or is about to, has no memory any more, and refuses its io for that
 * reason only. */
static bool
is_alive(pid_t pid)
{
	char path[PATH_BYTES], text[128];
	const char *s = text;

	put_path(path, pid, 0, "statm");
	return kn_procfile_read(path, text, sizeof(text)) > 0 && kn_procfile_number(&s) > 0;
}

static void
look_io(struct look *look, pid_t pid)
{
	char path[PATH_BYTES];
	int fd, err;

	put_path(path, pid, 0, "io");
	fd = kn_procfile_open(path);
	err = fd < 0 ? fd : read_io(fd, &look->sum);
	kn_fd_close(&fd);
	if (err == -EACCES && is_alive(pid))
		look->io_refused = true;
}

/* "running waiting slices", of one thread; tid 0: the first. */
static void
look_delay(struct look *look, pid_t pid, pid_t tid)
{
	char path[PATH_BYTES], text[128];
	const char *s = text;

	put_path(path, pid, tid, "schedstat");
	if (kn_procfile_read(path, text, sizeof(text)) <= 0)
		return;
	kn_procfile_skip(&s, 1);
	look->sum.delay_ns += (int64_t)kn_procfile_number(&s);
	look->sum.known |= KN_USAGE_DELAY;
}

/* The children that one thread started. Every number but for the last of a text that was cut has
 * a blank behind it. */
static void
look_children(struct look *look, pid_t pid, pid_t tid)
{
	char path[PATH_BYTES], text[1024];
	const char *s = text;

	put_path(path, pid, tid, "children");
	if (kn_procfile_read(path, text, sizeof(text)) <= 0)
		return;
	while (look->n < PROCESSES) {
		pid_t child = (pid_t)kn_procfile_number(&s);

		if (child <= 0 || *s != ' ')
			return;
		look->parents[look->n] = pid;
		look->pids[look->n++] = child;
	}
}

/* tid is one of several threads of pid. */
static void
look_thread(struct look *look, pid_t pid, pid_t tid)
{
	struct stat_line stat;

	look_children(look, pid, tid);
	if (tid != pid)
		look_delay(look, pid, tid);
	if (look->deep && read_stat(pid, tid, &stat) == 0)
		look->blocked |= kn_blocked_by(pid, tid, stat.state, false);
}

static void
look_threads(struct look *look, pid_t pid)
{
	char path[PATH_BYTES];
	_Alignas(struct dirent64) char names[2048];
	ssize_t n;
	int fd;

	put_path(path, pid, 0, "task");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = getdents64(fd, names, sizeof(names));
	kn_fd_close(&fd);
	for (ssize_t at = 0; at < n && look->threads_left > 0;) {
		struct dirent64 *entry = (void *)(names + at);
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		at += entry->d_reclen;
		if (tid <= 0)
			continue;
		look->threads_left--;
		look_thread(look, pid, tid);
	}
}

/* One process, and its children to the end of the list. io_fd: kept open, or -1. */
static void
look_process(struct look *look, pid_t pid, pid_t parent, int io_fd)
{
	struct stat_line stat;
	int64_t cpu_ns = 0;

	if (read_stat(pid, 0, &stat) < 0 || (parent != 0 && stat.parent != parent))
		return; /* gone, and its number may be another's by now */
	if (read_clock(pid, &cpu_ns) < 0)
		cpu_ns = ticks_ns(stat.own_ticks);
	look->sum.cpu_ns += cpu_ns + ticks_ns(stat.waited_ticks);
	look->sum.rss_bytes += stat.rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
	look->sum.known |= KN_USAGE_CPU | KN_USAGE_RSS;
	look_delay(look, pid, 0);
	if ((stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1)
		return;
	if (io_fd < 0 && !look->io_refused)
		look_io(look, pid);
	if (stat.threads > 1) {
		look_threads(look, pid);
		return;
	}
	look_children(look, pid, pid);
	if (look->deep)
		look->blocked |= kn_blocked_by(pid, pid, stat.state, true);
}

static int64_t
later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static uint64_t
more(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void
refuse_io(struct kn_probe *p)
{
	p->io_refused = true;
	p->usage.known &= ~(unsigned)KN_USAGE_BYTES;
	kn_fd_close(&p->io_fd);
}

/* io of the task's own process: 0 or -errno, after which nothing of it is known any more. */
static int
own_io(struct kn_probe *p, struct kn_usage *sum)
{
	int err;

	if (p->io_refused)
		return -EACCES;
	err = read_io(p->io_fd, sum);
	/* ESRCH: it was waited for. What was read before stays true. */
	if (err < 0 && err != -ESRCH)
		refuse_io(p);
	return err;
}

static void
take_bytes(struct kn_usage *usage, const struct kn_usage *sum)
{
	usage->bytes = more(usage->bytes, sum->bytes);
	usage->disk_bytes = more(usage->disk_bytes, sum->disk_bytes);
	usage->reads = more(usage->reads, sum->reads);
	usage->known |= KN_USAGE_BYTES;
}

static void
take_blocked(struct kn_usage *usage, unsigned blocked)
{
	usage->looks++;
	usage->cpu_looks += (blocked & KN_BLOCKED_CPU) != 0;
	usage->disk_looks += (blocked & KN_BLOCKED_DISK) != 0;
	usage->net_looks += (blocked & KN_BLOCKED_NET) != 0;
	usage->lock_looks += (blocked & KN_BLOCKED_LOCK) != 0;
	usage->known |= KN_USAGE_LOOKS;
}

void
kn_probe_init(struct kn_probe *p, pid_t pid)
{
	char path[PATH_BYTES];

	*p = (struct kn_probe){ .pid = pid, .io_fd = -1 };
	if (pid <= 0)
		return;
	put_path(path, pid, 0, "io");
	p->io_fd = kn_procfile_open(path);
	if (p->io_fd < 0) {
		p->io_fd = -1;
		p->io_refused = true;
	}
}

void
kn_probe_look(struct kn_probe *p, bool look_deep)
{
	struct look look = { .pids = { p->pid }, .n = 1, .threads_left = THREADS, .deep = look_deep };
	struct kn_usage *usage = &p->usage;
	bool io;

	if (p->pid <= 0)
		return;
	io = own_io(p, &look.sum) == 0;
	look.io_refused = p->io_refused;
	for (unsigned i = 0; i < look.n; i++)
		look_process(&look, look.pids[i], look.parents[i], i == 0 ? p->io_fd : -1);
	if (look.io_refused && !p->io_refused)
		refuse_io(p);

	if (io && !p->io_refused)
		take_bytes(usage, &look.sum);
	if ((look.sum.known & KN_USAGE_CPU) == 0)
		return; /* it was waited for, or hidden */
	usage->known |= look.sum.known;
	usage->cpu_ns = later(usage->cpu_ns, look.sum.cpu_ns);
	usage->rss_bytes = look.sum.rss_bytes;
	usage->peak_bytes = more(usage->peak_bytes, usage->rss_bytes);
	/* That of an ended process appears nowhere again: what each look adds counts. */
	usage->delay_ns += later(0, look.sum.delay_ns - p->delay_now_ns);
	p->delay_now_ns = look.sum.delay_ns;
	if (look_deep)
		take_blocked(usage, look.blocked);
}

void
kn_probe_last(struct kn_probe *p)
{
	struct kn_usage sum = { 0 };
	int64_t cpu_ns = 0;

	if (p->pid <= 0)
		return;
	if (read_clock(p->pid, &cpu_ns) == 0) {
		p->usage.cpu_ns = later(p->usage.cpu_ns, cpu_ns);
		p->usage.known |= KN_USAGE_CPU;
	}
	if (own_io(p, &sum) == 0)
		take_bytes(&p->usage, &sum);
}

void
kn_probe_done(struct kn_probe *p)
{
	kn_fd_close(&p->io_fd);
	*p = (struct kn_probe)KN_PROBE_NONE;
}

void
kn_probe_thread(pid_t tid, bool look_deep, struct kn_usage *ret)
{
	char path[PATH_BYTES], text[128];
	const char *s = text;
	struct kn_usage io = { 0 };
	struct stat_line stat;
	pid_t pid = getpid();
	int fd;

	put_path(path, pid, tid, "schedstat");
	if (kn_procfile_read(path, text, sizeof(text)) > 0) {
		ret->cpu_ns = (int64_t)kn_procfile_number(&s);
		ret->delay_ns = (int64_t)kn_procfile_number(&s);
		ret->known |= KN_USAGE_CPU | KN_USAGE_DELAY;
	}
	put_path(path, pid, tid, "io");
	fd = kn_procfile_open(path);
	if (fd >= 0 && read_io(fd, &io) == 0)
		take_bytes(ret, &io);
	kn_fd_close(&fd);
	/* A thread that carries out a task is not one of the idle ones that wait on a futex. */
	if (look_deep && read_stat(pid, tid, &stat) == 0)
		take_blocked(ret, kn_blocked_by(pid, tid, stat.state, true));
}

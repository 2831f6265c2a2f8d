/* SPDX-License-Identifier: MIT */
/*
 * The readings of a task, of real processes. Each does its work and says so, then waits to be
 * told to go on: what is compared is what it used, never how long it took.
 */
#include "sys/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "sys/machine.h"
#include "tap.h"

#define MIB (1024 * 1024)
#define MS 1000000LL

/* A child at work: it says a number when it got somewhere, and waits to be told to go on. */
struct child {
	pid_t pid;
	int says, hears;
};

static int saying = -1, hearing = -1; /* the child's ends */

/* End a child; valgrind reports what it leaves open. */
static _Noreturn void
leave(int status)
{
	close_range(3, ~0U, 0);
	_exit(status);
}

static void
say(int64_t value)
{
	if (write(saying, &value, sizeof(value)) != sizeof(value))
		leave(1);
}

/* Its parent's death ends it as well, and finish(): nobody tells it any more. */
static void
hear(void)
{
	char byte;

	if (read(hearing, &byte, 1) != 1)
		leave(1);
}

static struct child
start(void (*work)(void))
{
	int up[2], down[2];
	struct child c;

	if (pipe2(up, O_CLOEXEC) < 0 || pipe2(down, O_CLOEXEC) < 0)
		exit(1);
	fflush(stdout);
	c.pid = fork();
	if (c.pid < 0)
		exit(1);
	if (c.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(up[0]);
		close(down[1]);
		saying = up[1];
		hearing = down[0];
		work();
		leave(0);
	}
	close(up[1]);
	close(down[0]);
	c.says = up[0];
	c.hears = down[1];
	return c;
}

/* -1 when it ended without a word. */
static int64_t
said(const struct child *c)
{
	int64_t value;

	return read(c->says, &value, sizeof(value)) == sizeof(value) ? value : -1;
}

static void
go_on(const struct child *c)
{
	if (write(c->hears, "g", 1) != 1)
		exit(1);
}

/* It has ended, and is not waited for. */
static void
await_end(const struct child *c)
{
	siginfo_t info;

	waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT);
}

static void
finish(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->says);
	close(c->hears);
}

static int64_t
clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
burn(clockid_t id, int64_t ns)
{
	int64_t end = clock_of(id) + ns;

	while (clock_of(id) < end)
		;
}

/* Look again until a count rises; false after very long. */
static bool
look_until(struct kn_probe *p, const unsigned *count)
{
	unsigned before = *count;

	for (int i = 0; i < 30000; i++) {
		kn_probe_look(p, true);
		if (*count > before)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

/* Its first thread sleeps or waits, in one of the states that are these letters. */
static bool
await_state(pid_t pid, const char *states)
{
	char path[64], text[512];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (int i = 0; i < 30000; i++) {
		FILE *f = fopen(path, "re");
		const char *s = f != NULL ? fgets(text, sizeof(text), f) : NULL;

		if (f != NULL)
			fclose(f);
		s = s != NULL ? strrchr(s, ')') : NULL;
		if (s != NULL && strchr(states, s[2]) != NULL)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

static void
work_burn(void)
{
	burn(CLOCK_PROCESS_CPUTIME_ID, 60 * MS);
	say(clock_of(CLOCK_PROCESS_CPUTIME_ID));
	hear();
}

static void
test_cpu(void)
{
	struct child c = start(work_burn);
	struct kn_probe p;
	int64_t used = said(&c);

	kn_probe_init(&p, c.pid);
	kn_probe_look(&p, false);
	ok((p.usage.known & KN_USAGE_CPU) != 0, "processor time is known");
	ok(p.usage.cpu_ns >= used && p.usage.cpu_ns < used + 20 * MS, "to the nanosecond: %lld of %lld",
	    (long long)p.usage.cpu_ns, (long long)used);
	ok((p.usage.known & KN_USAGE_LOOKS) == 0 && p.usage.looks == 0, "a look is no deep one");
	ok((p.usage.known & KN_USAGE_DELAY) == 0 || p.usage.delay_ns >= 0,
	    "a delay, if any, is none below 0");
	kn_probe_done(&p);
	is_int(p.io_fd, -1, "a probe that is done holds nothing");
	finish(&c);
}

static void
work_thread_burns(void)
{
	burn(CLOCK_THREAD_CPUTIME_ID, 50 * MS);
}

/* A child of this thread, which is not the first, and one that was waited for. */
static int
thread_with_child(void *unused)
{
	pid_t pid;

	(void)unused;
	work_thread_burns();
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work_thread_burns();
		say(clock_of(CLOCK_PROCESS_CPUTIME_ID));
		hear();
		leave(0);
	}
	for (;;)
		pause();
}

static void
work_tree(void)
{
	thrd_t thread;

	if (thrd_create(&thread, thread_with_child, NULL) != thrd_success)
		leave(1);
	for (;;)
		pause();
}

static void
test_threads(void)
{
	struct child c = start(work_tree);
	struct kn_probe p;
	int64_t used = said(&c);

	kn_probe_init(&p, c.pid);
	kn_probe_look(&p, true);
	ok(used >= 50 * MS && p.usage.cpu_ns >= 50 * MS + used,
	    "a thread, and the child that it started: %lld", (long long)p.usage.cpu_ns);
	ok(p.usage.lock_looks == 0, "a process of several threads waits for no lock");
	kn_probe_done(&p);
	finish(&c);
}

static void
read_zeros(size_t times)
{
	static char buf[MIB];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < times; i++) {
		if (read(fd, buf, sizeof(buf)) != sizeof(buf))
			leave(1);
	}
	close(fd);
}

/* What it moved itself until now, as it sees it. */
static int64_t
own_io(const char *label)
{
	FILE *f = fopen("/proc/self/io", "re");
	size_t n = strlen(label);
	int64_t value = -1;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, label, n) == 0)
			value = strtoll(line + n, NULL, 10);
	}
	if (f != NULL)
		fclose(f);
	return value;
}

static void
work_bytes(void)
{
	char path[] = "knee-probe-XXXXXX";
	static char zeros[MIB];
	int fd = mkostemp(path, O_CLOEXEC);

	unlink(path);
	if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
		leave(1);
	read_zeros(3);
	say(own_io("read_bytes:") + own_io("write_bytes:"));
	hear();
	read_zeros(1);
	say(0);
	hear();
}

static void
test_bytes(void)
{
	struct child c = start(work_bytes);
	struct kn_probe p;
	int64_t disk = said(&c);
	uint64_t before;

	kn_probe_init(&p, c.pid);
	kn_probe_look(&p, false);
	ok((p.usage.known & KN_USAGE_BYTES) != 0, "bytes are known");
	ok(p.usage.bytes >= 4 * MIB && p.usage.bytes < 4 * MIB + 65536, "those of a program: %llu",
	    (unsigned long long)p.usage.bytes);
	is_int(p.usage.disk_bytes, disk, "those of the disk are what it sees itself");
	ok(p.usage.reads >= 4 && p.usage.reads < 100, "and the calls: %llu",
	    (unsigned long long)p.usage.reads);
	before = p.usage.bytes;
	go_on(&c);
	said(&c);
	kn_probe_look(&p, false);
	ok(p.usage.bytes >= before + MIB && p.usage.bytes < before + MIB + 65536,
	    "a look sees what came since");
	kn_probe_done(&p);
	finish(&c);
}

static char *
hold(size_t bytes)
{
	char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memset(held, 1, bytes);
}

/* One beside it holds as much. */
static void
work_memory(void)
{
	int ready[2];
	pid_t pid;
	char byte, *held;

	if (pipe2(ready, O_CLOEXEC) < 0)
		leave(1);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		hold(48 * MIB);
		if (write(ready[1], "r", 1) != 1)
			leave(1);
		for (;;)
			pause();
	}
	held = hold(48 * MIB);
	if (read(ready[0], &byte, 1) != 1)
		leave(1);
	say(0);
	hear();
	munmap(held, 48 * MIB);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	say(0);
	hear();
}

static void
test_memory(void)
{
	struct child c = start(work_memory);
	struct kn_probe p;
	uint64_t held;

	kn_probe_init(&p, c.pid);
	said(&c);
	kn_probe_look(&p, false);
	held = p.usage.rss_bytes;
	ok((p.usage.known & KN_USAGE_RSS) != 0 && held >= 96 * MIB, "memory that it and its child hold");
	is_int(p.usage.peak_bytes, held, "is the most so far");
	go_on(&c);
	said(&c);
	kn_probe_look(&p, false);
	ok(p.usage.rss_bytes + 80 * MIB < held, "falls when they give it back");
	is_int(p.usage.peak_bytes, held, "but the most does not");
	kn_probe_done(&p);
	finish(&c);
}

/* A grandchild that reads and burns, ends, and is waited for, each when told. */
static void
work_reaps(void)
{
	pid_t pid = fork();
	siginfo_t info;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		read_zeros(2);
		burn(CLOCK_PROCESS_CPUTIME_ID, 80 * MS);
		say(clock_of(CLOCK_PROCESS_CPUTIME_ID));
		hear();
		leave(0);
	}
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	say(0);
	hear();
	waitpid(pid, NULL, 0);
	say(0);
	hear();
	read_zeros(1);
}

static bool
fell(const struct kn_usage *now, const struct kn_usage *before)
{
	return now->cpu_ns < before->cpu_ns || now->bytes < before->bytes || now->reads < before->reads ||
	    now->peak_bytes < before->peak_bytes || now->disk_bytes < before->disk_bytes ||
	    now->delay_ns < before->delay_ns;
}

static void
test_reaped(void)
{
	struct child c = start(work_reaps);
	struct kn_usage before;
	struct kn_probe p;
	int64_t used;

	kn_probe_init(&p, c.pid);
	used = said(&c);
	kn_probe_look(&p, false);
	ok(p.usage.cpu_ns >= used && p.usage.bytes >= 2 * MIB, "a grandchild at work is counted");
	before = p.usage;
	go_on(&c);
	said(&c);
	kn_probe_look(&p, true);
	ok(!fell(&p.usage, &before), "nothing falls when it has ended");
	before = p.usage;
	go_on(&c);
	said(&c);
	kn_probe_look(&p, true);
	ok(!fell(&p.usage, &before), "nor when it was waited for");
	kn_probe_done(&p);

	/* One that never saw it alive: processor time comes in ticks of 10 ms then. */
	kn_probe_init(&p, c.pid);
	kn_probe_look(&p, false);
	ok(p.usage.cpu_ns >= used - 20 * MS && p.usage.bytes >= 2 * MIB,
	    "and counted with its parent: %lld of %lld", (long long)p.usage.cpu_ns, (long long)used);
	before = p.usage;
	go_on(&c);
	await_end(&c);
	kn_probe_last(&p);
	ok(!fell(&p.usage, &before) && p.usage.bytes >= 3 * MIB,
	    "the last reading has what came after the look");
	ok((p.usage.known & (KN_USAGE_CPU | KN_USAGE_BYTES)) == (KN_USAGE_CPU | KN_USAGE_BYTES),
	    "and knows it");
	before = p.usage;
	kn_probe_look(&p, true);
	ok(!fell(&p.usage, &before), "a look at what has ended changes nothing");
	waitpid(c.pid, NULL, 0);
	kn_probe_look(&p, true);
	kn_probe_last(&p);
	ok(!fell(&p.usage, &before), "nor at what is gone");
	kn_probe_done(&p);
	close(c.says);
	close(c.hears);
}

static void
work_ends(void)
{
	hear();
	read_zeros(2);
	burn(CLOCK_PROCESS_CPUTIME_ID, 30 * MS);
}

static void
test_last(void)
{
	struct child c = start(work_ends);
	struct kn_probe p;

	kn_probe_init(&p, c.pid);
	go_on(&c);
	await_end(&c);
	kn_probe_last(&p);
	ok(p.usage.cpu_ns >= 30 * MS, "the processor time of what has ended, without a look before");
	ok(p.usage.bytes >= 2 * MIB && (p.usage.known & KN_USAGE_BYTES) != 0, "and its bytes");
	kn_probe_done(&p);
	finish(&c);
}

static int lock_fd = -1, peers[2] = { -1, -1 };

static void
work_flock(void)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", lock_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	say(0);
	flock(fd, LOCK_EX);
}

static void
work_fcntl(void)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	say(0);
	fcntl(lock_fd, F_SETLKW, &whole);
}

static void
work_recv(void)
{
	char byte;

	say(0);
	if (recv(peers[1], &byte, 1, 0) < 0)
		leave(1);
}

static void
work_read_socket(void)
{
	char byte;

	say(0);
	if (read(peers[1], &byte, 1) < 0)
		leave(1);
}

static void
work_poll(void)
{
	struct pollfd p = { .fd = peers[1], .events = POLLIN };

	say(0);
	poll(&p, 1, -1);
}

static void
work_sleep(void)
{
	say(0);
	for (;;)
		pause();
}

static void
work_pipe(void)
{
	say(0);
	hear();
}

/* The parent of a vfork waits without being interruptible, as one for a disk does; not so under
 * valgrind, which makes it a fork. */
static void
work_vfork(void)
{
	volatile pid_t pid;

	say(0);
	pid = vfork();
	if (pid == 0)
		hear();
	for (;;)
		pause();
}

static void
work_runs(void)
{
	say(0);
	for (;;)
		;
}

/* Looks see a child in what it does, one of the counts of a usage, and in nothing else. */
static void
sees(const char *name, void (*work)(void), size_t count)
{
	struct child c = start(work);
	struct kn_probe p;
	unsigned *counts[] = { &p.usage.cpu_looks, &p.usage.disk_looks, &p.usage.net_looks,
		&p.usage.lock_looks };

	kn_probe_init(&p, c.pid);
	said(&c);
	ok(look_until(&p, counts[count]), "%s is seen", name);
	ok((p.usage.known & KN_USAGE_LOOKS) != 0, "%s: looks are known", name);
	for (size_t i = 1; i < 4; i++) {
		if (i != count)
			is_int(*counts[i], 0, "%s: is no other thing (%zu)", name, i);
	}
	ok(*counts[count] <= p.usage.looks, "%s: counted once a look", name);
	kn_probe_done(&p);
	finish(&c);
}

static unsigned
seen(const struct kn_usage *usage)
{
	return usage->cpu_looks + usage->disk_looks + usage->net_looks + usage->lock_looks;
}

/* One that waits in that state waits for nothing in particular. Looks may find it, or its child, still
 * on the way there: one that does not is enough, for what it sleeps in stays the same. */
static void
sees_nothing(const char *name, void (*work)(void), const char *states)
{
	struct child c = start(work);
	struct kn_probe p;
	unsigned before;
	int i = 0;

	kn_probe_init(&p, c.pid);
	said(&c);
	ok(await_state(c.pid, states), "%s: gets into state %s", name, states);
	do {
		before = seen(&p.usage);
		kn_probe_look(&p, true);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	} while (seen(&p.usage) > before && ++i < 10000);
	is_int(seen(&p.usage), before, "%s: is nothing in particular", name);
	kn_probe_done(&p);
	finish(&c);
}

static void
work_sync(void)
{
	static char block[4096];
	char path[] = "knee-probe-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC | O_DSYNC);

	unlink(path);
	say(0);
	for (;;) {
		if (pwrite(fd, block, sizeof(block), 0) < 0)
			leave(1);
	}
}

static void
test_disk(void)
{
	struct child c = start(work_sync);
	struct kn_probe p;

	kn_probe_init(&p, c.pid);
	said(&c);
	/* Of a file system without a disk there is nothing to wait for. */
	for (int i = 0; i < 3000 && p.usage.disk_looks == 0 && (i < 300 || p.usage.disk_bytes > 0); i++) {
		kn_probe_look(&p, true);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	if (p.usage.disk_bytes == 0)
		printf("ok %u - # SKIP the folder of the tests is on no disk\n", ++tap.run);
	else
		ok(p.usage.disk_looks > 0, "one that waits for a disk is seen");
	kn_probe_done(&p);
	finish(&c);
}

static void
test_blocked(void)
{
	char path[] = "knee-probe-XXXXXX";
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	lock_fd = mkostemp(path, O_CLOEXEC);
	if (flock(lock_fd, LOCK_EX) < 0 || fcntl(lock_fd, F_SETLK, &whole) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, peers) < 0)
		exit(1);
	sees("flock", work_flock, 3);
	sees("fcntl", work_fcntl, 3);
	sees("recv", work_recv, 2);
	sees("read of a socket", work_read_socket, 2);
	sees("poll of a socket", work_poll, 2);
	sees("a core", work_runs, 0);
	close(peers[0]);
	close(peers[1]);
	sees_nothing("sleep", work_sleep, "S");
	sees_nothing("a pipe", work_pipe, "S");
	unlink(path);
	close(lock_fd);
}

static void
work_many(void)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			hear();
			leave(0);
		}
	}
	say(0);
	hear();
}

static void
test_many(void)
{
	struct child c = start(work_many);
	struct kn_probe p;

	kn_probe_init(&p, c.pid);
	said(&c);
	kn_probe_look(&p, true);
	ok(p.usage.cpu_ns > 0 && p.usage.looks == 1, "of a hundred processes some are read");
	kn_probe_done(&p);
	finish(&c);
}

static void
become_nobody(void)
{
	if (setgid(65534) < 0 || setuid(65534) < 0)
		leave(1);
	prctl(PR_SET_DUMPABLE, 1);
}

/* A task of this user with a child of another's: as with sudo in a script. */
static void
work_other_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		hear();
		leave(0);
	}
	become_nobody();
	say(pid);
	hear();
}

/* The probing process is nobody: says what it found. */
static pid_t probed;

static void
work_probe(void)
{
	struct kn_probe p;

	become_nobody();
	kn_probe_init(&p, probed);
	say(p.io_refused);
	kn_probe_look(&p, true);
	kn_probe_look(&p, false);
	say(p.io_refused);
	say((int64_t)p.usage.known);
	say(p.io_fd);
	hear();
}

static void
test_refused(void)
{
	struct child task, prober;
	int64_t known;

	if (geteuid() != 0) {
		printf("ok %u - # SKIP only root can make processes of two users\n", ++tap.run);
		return;
	}
	task = start(work_sleep);
	said(&task);
	probed = task.pid;
	prober = start(work_probe);
	is_int(said(&prober), true, "another user's program refuses its io");
	is_int(said(&prober), true, "and goes on to");
	known = said(&prober);
	ok((known & KN_USAGE_BYTES) == 0, "its bytes are unknown");
	ok((known & KN_USAGE_CPU) != 0 && (known & KN_USAGE_RSS) != 0,
	    "its processor time and memory are known");
	is_int(said(&prober), -1, "nothing is kept open");
	finish(&prober);
	finish(&task);

	task = start(work_other_child);
	said(&task);
	probed = task.pid;
	prober = start(work_probe);
	is_int(said(&prober), false, "the task itself does not refuse");
	is_int(said(&prober), true, "but a child of another user's does");
	known = said(&prober);
	ok((known & KN_USAGE_BYTES) == 0, "the sum would be too low: unknown");
	is_int(said(&prober), -1, "nothing is kept open");
	finish(&prober);
	finish(&task);
}

/* As the user of the tests mostly is: then what has ended refuses a new reading of its io. */
static void
work_probe_own(void)
{
	struct child c;
	struct kn_probe p;

	become_nobody();
	c = start(work_reaps);
	kn_probe_init(&p, c.pid);
	say(said(&c) > 0);
	go_on(&c);
	said(&c);
	kn_probe_look(&p, true); /* the grandchild has ended, and nobody waited for it */
	say(p.io_refused);
	go_on(&c);
	said(&c);
	go_on(&c);
	await_end(&c);
	kn_probe_look(&p, false);
	kn_probe_last(&p);
	say((int64_t)p.usage.bytes);
	finish(&c);
	hear();
}

static void
test_unprivileged(void)
{
	struct child prober;

	if (geteuid() != 0) {
		printf("ok %u - # SKIP not root: the other tests were unprivileged already\n", ++tap.run);
		return;
	}
	prober = start(work_probe_own);
	ok(said(&prober) == 1, "a user's own task");
	is_int(said(&prober), false, "a child that has ended does not count as refusing");
	ok(said(&prober) >= 3 * MIB, "the last reading has all bytes without privilege");
	finish(&prober);
}

int
main(void)
{
	unsigned fds = kn_machine_fds_open();
	struct kn_probe none = KN_PROBE_NONE;

	kn_probe_look(&none, true);
	kn_probe_last(&none);
	kn_probe_done(&none);
	is_int(none.usage.known, 0, "an empty probe knows nothing");
	test_cpu();
	test_threads();
	test_bytes();
	test_memory();
	test_reaped();
	test_last();
	test_blocked();
	test_disk();
	sees_nothing("vfork", work_vfork, "DS");
	test_many();
	test_refused();
	test_unprivileged();
	is_int(kn_machine_fds_open(), fds, "no descriptor is left open");
	return done_testing();
}

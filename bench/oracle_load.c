/* SPDX-License-Identifier: MIT */
/*
 * The tasks that bench/oracle runs many of, each bound by one thing:
 *
 *	hash MIB INPUT                 computes over about MIB MiB, by INPUT half to one and a half times that
 *	read FILE KIB COUNT INPUT      COUNT random reads of KIB KiB each, past the page cache
 *	create FOLDER COUNT INPUT      makes COUNT files there, each written and synced, and removes them
 *	client PORT INPUT              asks the server at that loopback port (oracle_server) once
 *	lock FILE MS INPUT             holds an exclusive lock of FILE for MS milliseconds
 *	blend CPU-MS WAIT-MS INPUT     computes so long and sleeps so long, a piece of each in turn
 *
 * The mode is the name the program was called by, when that is one of them, else its first word:
 * by links every mode is a program of its own, as real tasks are. ORACLE_SEED in the environment is
 * the number of the run: it moves the places that are read, so that no run finds in a cache below
 * what the one before left there, and it is in the names of the files that are created.
 *
 * Status 0, or 1 with a message; client: 75 when the server said that it is busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL /* in nanoseconds */
#define BUSY 75      /* EX_TEMPFAIL of sysexits.h */

/* One fixed step of a good generator (splitmix64): equal inputs give equal tasks. */
static uint64_t
scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15U;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
	return x ^ (x >> 31);
}

static uint64_t
number(const char *text)
{
	return strtoull(text, NULL, 10);
}

/* The number of the run. */
static uint64_t
seed(void)
{
	const char *text = getenv("ORACLE_SEED");

	return text != NULL ? number(text) : 0;
}

static int
fail(const char *what)
{
	fprintf(stderr, "oracle_load: %s: %s\n", what, strerror(errno));
	return 1;
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void
sleep_ns(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / (1000 * MS), .tv_nsec = ns % (1000 * MS) };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* FNV-1a, a byte at a time: nothing but computing. */
static uint64_t
hash_bytes(uint64_t hash, const unsigned char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 0x100000001b3U;
	return hash;
}

static int
hash(char **args)
{
	/* Small enough for a core's own cache: memory bandwidth is not what this measures. */
	static unsigned char block[64 * 1024];
	uint64_t input = number(args[1]), sum = 0xcbf29ce484222325U;
	uint64_t left = number(args[0]) * 1024 * 1024;

	left = left / 2 + left / 1024 * (scramble(input) % 1024);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)scramble(input + i);
	for (; left > sizeof(block); left -= sizeof(block))
		sum = hash_bytes(sum, block, sizeof(block));
	sum = hash_bytes(sum, block, (size_t)left);
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}

static int
read_blocks(int fd, char *buffer, size_t size, uint64_t count, uint64_t input)
{
	uint64_t at = scramble(input ^ scramble(seed()));
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) < 0)
		return fail("fstat");
	if (st.st_size < (off_t)size) {
		fputs("oracle_load: the file is smaller than one read\n", stderr);
		return 1;
	}
	for (; count > 0; count--) {
		at = scramble(at);
		got = pread(fd, buffer, size, (off_t)(at % ((uint64_t)st.st_size / size) * size));
		if (got != (ssize_t)size)
			return fail("pread");
	}
	return 0;
}

static int
read_file(char **args)
{
	size_t size = (size_t)number(args[1]) * 1024;
	void *buffer = NULL;
	int fd, status;

	fd = open(args[0], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return fail(args[0]);
	errno = posix_memalign(&buffer, 4096, size);
	status = errno != 0 ? fail("posix_memalign") :
			      read_blocks(fd, buffer, size, number(args[2]), number(args[3]));
	free(buffer);
	close(fd);
	return status;
}

/* Each run has names of its own: one that was ended may have left files behind. */
static void
create_path(char path[PATH_MAX], char **args, uint64_t i)
{
	snprintf(path, PATH_MAX, "%s/%llu-%s-%llu", args[0], (unsigned long long)seed(), args[2],
	    (unsigned long long)i);
}

static int
create_one(const char *path)
{
	static const char text[4096] = "made to be removed";
	int fd, status = 0;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(path);
	if (write(fd, text, sizeof(text)) != (ssize_t)sizeof(text) || fsync(fd) < 0)
		status = fail(path);
	close(fd);
	return status;
}

static int
create(char **args)
{
	uint64_t made = 0, count = number(args[1]);
	char path[PATH_MAX];
	int status = 0;

	for (; made < count && status == 0; made++) {
		create_path(path, args, made);
		status = create_one(path);
	}
	while (made-- > 0) {
		create_path(path, args, made);
		unlink(path);
	}
	return status;
}

/* Read up to the end of the answer's line, with read(2): its bytes count in /proc/PID/io. */
static int
answer(int fd)
{
	char text[16];
	size_t size = 0;
	ssize_t got;

	do {
		got = read(fd, text + size, sizeof(text) - size);
		if (got <= 0)
			return fail("no answer");
		size += (size_t)got;
	} while (size < sizeof(text) && text[size - 1] != '\n');
	return text[0] == 'b' ? BUSY : 0;
}

static int
client(char **args)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)number(args[0])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger reset = { .l_onoff = 1 };
	size_t size = strlen(args[1]);
	int fd, status;

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail("socket");
	/* Closing by a reset leaves no TIME_WAIT behind: a long run would use up all ports by them. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		status = fail("connect");
	else if (write(fd, args[1], size) != (ssize_t)size)
		status = fail("write");
	else
		status = answer(fd);
	close(fd);
	return status;
}

static int
lock(char **args)
{
	int fd, status = 0;

	fd = open(args[0], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(args[0]);
	if (flock(fd, LOCK_EX) < 0)
		status = fail("flock");
	else
		sleep_ns((int64_t)number(args[1]) * MS);
	close(fd);
	return status;
}

static int
blend(char **args)
{
	enum { PIECES = 5 };
	static unsigned char block[4096];
	int64_t cpu = (int64_t)number(args[0]) * MS, wait = (int64_t)number(args[1]) * MS;
	uint64_t sum = number(args[2]);

	for (int64_t i = 1; i <= PIECES; i++) {
		/* The process's CPU time, its start included: the same work however many compete. */
		while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < cpu * i / PIECES)
			sum = hash_bytes(sum, block, sizeof(block));
		sleep_ns(wait / PIECES);
	}
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}

static const struct mode {
	const char *name;
	int nargs;
	int (*run)(char **args);
} modes[] = {
	{ "hash", 2, hash },
	{ "read", 4, read_file },
	{ "create", 3, create },
	{ "client", 2, client },
	{ "lock", 3, lock },
	{ "blend", 3, blend },
};

static const struct mode *
find(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

int
main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const struct mode *mode = find(slash != NULL ? slash + 1 : argv[0]);

	if (mode == NULL && argc > 1) {
		mode = find(argv[1]);
		argc--;
		argv++;
	}
	if (mode == NULL || argc - 1 != mode->nargs) {
		fputs("usage: oracle_load hash|read|create|client|lock|blend ARGUMENT... INPUT\n", stderr);
		return 2;
	}
	return mode->run(argv + 1);
}

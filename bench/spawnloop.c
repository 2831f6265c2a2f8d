/* SPDX-License-Identifier: MIT */
/*
 * The least that running many commands can cost: posix_spawn and wait, at most
 * WIDTH at once, nothing captured, nothing quoted.  The benches measure knee
 * against it, and time other programs with it, because it adds so little itself.
 *
 *	spawnloop [-n] WIDTH COUNT COMMAND [WORD]...
 *
 * runs COMMAND COUNT times, each with /dev/null as stdin and stdout; with -n the
 * number of the run is its last word.  At the end one line on stdout:
 *
 *	nanoseconds user-microseconds system-microseconds peak-KiB failed
 *
 * where the peak is that of the biggest process among all children and theirs.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct loop {
	bool number;
	unsigned long width;
	unsigned long count;
	char **argv; /* with -n its last word is digits */
	char digits[24];
};

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* One child. */
static int
start(struct loop *loop, const posix_spawn_file_actions_t *actions, unsigned long i)
{
	pid_t pid;
	int err;

	if (loop->number)
		snprintf(loop->digits, sizeof(loop->digits), "%lu", i);
	err = posix_spawnp(&pid, loop->argv[0], actions, NULL, loop->argv, environ);
	if (err != 0)
		fprintf(stderr, "spawnloop: %s: %s\n", loop->argv[0], strerror(err));
	return -err;
}

/* The number of children that failed, or -errno. */
static int
run(struct loop *loop, const posix_spawn_file_actions_t *actions)
{
	unsigned long started = 0, running = 0;
	int err, status, failed = 0;

	while (started < loop->count || running > 0) {
		if (started < loop->count && running < loop->width) {
			err = start(loop, actions, ++started);
			if (err < 0)
				return err;
			running++;
			continue;
		}
		if (wait(&status) < 0)
			return -errno;
		running--;
		if (status != 0)
			failed++;
	}
	return failed;
}

static int
parse(struct loop *loop, int argc, char **argv)
{
	int at = 1, words;

	if (argc > at && strcmp(argv[at], "-n") == 0) {
		loop->number = true;
		at++;
	}
	if (argc < at + 3)
		return -EINVAL;
	loop->width = strtoul(argv[at], NULL, 10);
	loop->count = strtoul(argv[at + 1], NULL, 10);
	if (loop->width == 0 || loop->count == 0)
		return -EINVAL;
	words = argc - at - 2;
	loop->argv = calloc((size_t)words + 2, sizeof(*loop->argv));
	if (loop->argv == NULL)
		return -ENOMEM;
	memcpy(loop->argv, argv + at + 2, (size_t)words * sizeof(*loop->argv));
	if (loop->number)
		loop->argv[words] = loop->digits;
	return 0;
}

int
main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	struct loop loop = { 0 };
	struct rusage used;
	long long begin;
	int failed;

	if (parse(&loop, argc, argv) < 0) {
		fputs("usage: spawnloop [-n] WIDTH COUNT COMMAND [WORD]...\n", stderr);
		return 2;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	begin = now_ns();
	failed = run(&loop, &actions);
	begin = now_ns() - begin;
	getrusage(RUSAGE_CHILDREN, &used);
	printf("%lld %lld %lld %ld %d\n", begin, used.ru_utime.tv_sec * 1000000LL + used.ru_utime.tv_usec,
	    used.ru_stime.tv_sec * 1000000LL + used.ru_stime.tv_usec, used.ru_maxrss, failed);
	posix_spawn_file_actions_destroy(&actions);
	free(loop.argv);
	return failed < 0 ? 1 : 0;
}

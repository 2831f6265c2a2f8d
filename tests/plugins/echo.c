/* SPDX-License-Identifier: MIT */
/*
 * The plugin of most tests. Its words and inputs say what it does; an input is one or more commands with
 * a comma between them:
 *
 *	TEXT          print TEXT and a newline           part:TEXT    hand in TEXT as the part
 *	err:TEXT      the same to stderr                 exit:N       return N, at once
 *	sleep:MS      wait, or until it is cancelled     stubborn:MS  wait, cancelled or not
 *	spin:MS       use the processor so long          locked:MS    the same, under one lock for all
 *	fill:BYTES    print so many bytes                crash        follow a wild pointer
 *	fail:N        fail in the first N attempts
 *
 * combine joins parts as TEXT+TEXT; close prints "whole: ..." when there is one. Words: open=TEXT fails with
 * that text; close=N returns N; associative is the other symbol.
 */
#include <errno.h>
#include <knee.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct state {
	pthread_mutex_t lock;
	int status;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
sleep_ms(struct knee_call *call, long ms, int stubborn)
{
	struct timespec step = { .tv_nsec = 1000000 };
	int64_t end = now_ms() + ms;

	while (now_ms() < end && (stubborn || !call->cancelled(call)))
		nanosleep(&step, NULL);
}

static void
spin_ms(long ms)
{
	struct timespec t;
	int64_t begin, now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	begin = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
		now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	} while (now - begin < (int64_t)ms * 1000000);
}

static int
fill(struct knee_call *call, long bytes)
{
	char line[1000];
	int err = 0;

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (; bytes > 0 && err == 0; bytes -= (long)sizeof(line))
		err = call->write(call, KNEE_STDOUT, line, bytes < 1000 ? (size_t)bytes : sizeof(line));
	return err;
}

/* One command: -1: go on, else what run returns. */
static int
command(struct state *s, struct knee_call *call, const char *c)
{
	const char *colon = strchr(c, ':');
	const char *text = colon != NULL ? colon + 1 : "";
	long n = strtol(text, NULL, 10);

	if (strncmp(c, "sleep:", 6) == 0 || strncmp(c, "stubborn:", 9) == 0) {
		sleep_ms(call, n, c[1] == 't');
	} else if (strncmp(c, "spin:", 5) == 0) {
		spin_ms(n);
	} else if (strncmp(c, "locked:", 7) == 0) {
		pthread_mutex_lock(&s->lock);
		spin_ms(n);
		pthread_mutex_unlock(&s->lock);
	} else if (strncmp(c, "fill:", 5) == 0) {
		if (fill(call, n) < 0)
			return 3;
	} else if (strncmp(c, "exit:", 5) == 0) {
		return (int)n;
	} else if (strncmp(c, "fail:", 5) == 0) {
		if (call->attempt <= (unsigned)n)
			return 1;
	} else if (strncmp(c, "part:", 5) == 0) {
		call->part(call, text, strlen(text));
	} else if (strncmp(c, "err:", 4) == 0) {
		call->write(call, KNEE_STDERR, text, strlen(text));
		call->write(call, KNEE_STDERR, "\n", 1);
	} else if (strcmp(c, "crash") == 0) {
		raise(SIGSEGV);
	} else {
		call->write(call, KNEE_STDOUT, c, strlen(c));
		call->write(call, KNEE_STDOUT, "\n", 1);
	}
	return -1;
}

static int
echo_run(void *state, struct knee_call *call)
{
	int status = -1;

	for (size_t i = 0; i < call->nargs && status == -1; i++) {
		char *copy = strdup(call->args[i]), *rest = copy, *c;

		while (status == -1 && (c = strsep(&rest, ",")) != NULL)
			status = command(state, call, c);
		free(copy);
	}
	return status == -1 ? 0 : status;
}

static int
echo_open(void **state, int argc, const char *const *argv, char *err, size_t errsize)
{
	struct state *s = calloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "open=", 5) == 0) {
			snprintf(err, errsize, "%s", argv[i] + 5);
			free(s);
			return -EINVAL;
		}
		if (strncmp(argv[i], "close=", 6) == 0)
			s->status = atoi(argv[i] + 6);
	}
	*state = s;
	return 0;
}

static int
echo_combine(void *state, struct knee_bytes *whole, const struct knee_bytes *part)
{
	char *data = realloc(whole->data, whole->size + part->size + 1);

	(void)state;
	if (data == NULL)
		return -ENOMEM;
	data[whole->size] = '+';
	memcpy(data + whole->size + 1, part->data, part->size);
	whole->data = data;
	whole->size += part->size + 1;
	return 0;
}

static int
echo_close(void *state, const struct knee_bytes *whole, struct knee_call *call)
{
	struct state *s = state;
	int status = s->status;

	if (whole != NULL && whole->size > 0) {
		call->write(call, KNEE_STDOUT, "whole: ", 7);
		call->write(call, KNEE_STDOUT, whole->data, whole->size);
		call->write(call, KNEE_STDOUT, "\n", 1);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
	return status;
}

#define PLUGIN(flags_) \
	{ \
		.abi = KNEE_PLUGIN_ABI, .size = sizeof(struct knee_plugin), .name = "echo", .flags = flags_, \
		.open = echo_open, .run = echo_run, .combine = echo_combine, .close = echo_close, \
	}

const struct knee_plugin knee_plugin = PLUGIN(0);
const struct knee_plugin associative = PLUGIN(KNEE_PLUGIN_ASSOCIATIVE);

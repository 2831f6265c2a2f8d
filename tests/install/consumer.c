/* SPDX-License-Identifier: MIT */
/*
 * A program of somebody else: built by what knee.pc says, against the installed header and
 * library. It uses each shape of the library once and prints what came of it.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <knee.h>

#define COUNT 1000

static int
print(void *self, const struct knee_event *event)
{
	const char *name = self;

	if (event->kind == KNEE_EVENT_OUTPUT || event->kind == KNEE_EVENT_WHOLE)
		printf("%s: %.*s", name, (int)event->size, event->data);
	return 0;
}

/* Hand in the numbers from 1 to n, do the run by knee_run() or turn by turn, print how it went. */
static int
run(const char *name, struct knee_options *options, int n, int by_turns)
{
	union {
		const void *in;
		void *out;
	} self = { .in = name };
	struct knee_sink sink = { .self = self.out, .text = 1, .event = print };
	struct knee_stats stats;
	char text[16], err[256] = "";
	const char *args[] = { text };
	struct pollfd wait = { .events = POLLIN };
	int e = 0;
	knee *k;

	options->sinks = &sink;
	options->nsinks = 1;
	if (knee_new(options, &k, err, sizeof(err)) < 0) {
		printf("%s: %s\n", name, err);
		return 1;
	}
	for (int i = 1; i <= n && e == 0; i++) {
		snprintf(text, sizeof(text), "%d", i);
		e = knee_submit(k, &(struct knee_input){ .args = args, .nargs = 1 });
	}
	if (e == 0)
		e = knee_submit(k, NULL);
	wait.fd = knee_fd(k);
	while (e == 0 && by_turns && (e = knee_turn(k, 0)) > 0)
		e = poll(&wait, 1, -1) < 0 ? -errno : 0;
	if (e == 0 && !by_turns)
		e = knee_run(k);
	knee_get_stats(k, &stats);
	printf("%s: %d, %d done, %d failed, status %d, %s\n", name, e, (int)stats.done, (int)stats.failed,
	    stats.status, knee_error(k)[0] == '\0' ? "no error" : knee_error(k));
	knee_free(k);
	return e < 0;
}

static int
processes(void)
{
	const char *words[] = { "test {} -ne 2 && echo {}" };
	struct knee_options options = { .words = words, .nwords = 1, .first_stdin = -1 };

	return run("process", &options, 3, 1);
}

/* The record of a worker is the input as it is, or text with it. */
static int
workers(void)
{
	const char *worker[] = { "cat" }, *words[] = { "it's", "<{}>" };
	struct knee_options options = { .executor = KNEE_EXEC_WORKER, .worker = worker, .nworker = 1 };

	if (run("worker", &options, 2, 0) != 0)
		return 1;
	options.words = words;
	options.nwords = 2;
	return run("worker", &options, 2, 1);
}

/* The task's own number, and for the whole the number as a text. */
static int
plugin_run(void *state, struct knee_call *call)
{
	int *opened = state;
	char line[64];

	if (*opened != 1 || call->nargs != 1 || call->cancelled(call))
		return 1;
	snprintf(line, sizeof(line), "%d is %s\n", (int)call->seq, call->args[0]);
	if (call->part(call, call->args[0], strlen(call->args[0])) < 0)
		return -ENOMEM;
	return call->write(call, KNEE_STDOUT, line, strlen(line)) < 0 ? 1 : 0;
}

static int
plugin_open(void **state, int argc, const char *const *argv, char *err, size_t errsize)
{
	static int opened;

	(void)argc;
	(void)argv;
	(void)err;
	(void)errsize;
	opened++;
	*state = &opened;
	return 0;
}

static int
plugin_combine(void *state, struct knee_bytes *whole, const struct knee_bytes *part)
{
	char *data = realloc(whole->data, whole->size + part->size);

	(void)state;
	if (data == NULL)
		return -ENOMEM;
	memcpy(data + whole->size, part->data, part->size);
	whole->data = data;
	whole->size += part->size;
	return 0;
}

static int
plugin_close(void *state, const struct knee_bytes *whole, struct knee_call *call)
{
	(void)state;
	if (whole == NULL || whole->size == 0)
		return 1;
	call->write(call, KNEE_STDOUT, "the whole is ", 13);
	call->write(call, KNEE_STDOUT, whole->data, whole->size);
	return call->write(call, KNEE_STDOUT, "\n", 1) < 0 ? 1 : 0;
}

static int
threads(void)
{
	struct knee_plugin plugin = {
		.abi = KNEE_PLUGIN_ABI,
		.size = sizeof(plugin),
		.open = plugin_open,
		.run = plugin_run,
		.combine = plugin_combine,
		.close = plugin_close,
	};
	struct knee_options options = { .executor = KNEE_EXEC_THREAD, .plugin = &plugin };

	return run("thread", &options, 3, 0);
}

static int
square(void *self, const void *item, void *ret)
{
	(void)self;
	*(long *)ret = *(const long *)item * *(const long *)item;
	return 0;
}

static int
number(void *self, size_t i)
{
	((long *)self)[i] = (long)i;
	return 0;
}

static int
add(void *self, void *whole, const void *item)
{
	(void)self;
	*(long *)whole += *(const long *)item;
	return 0;
}

static int
arrays(void)
{
	static long in[COUNT], out[COUNT];
	struct knee_array from = { in, COUNT, sizeof(in[0]) }, to = { out, COUNT, sizeof(out[0]) };
	struct knee_fold fold = { sizeof(long), add, add };
	long sum = 0;

	if (knee_for(COUNT, number, in, NULL) != 0 || knee_map(&from, &to, square, NULL, NULL) != 0 ||
	    knee_reduce(&to, &sum, &fold, NULL, NULL) != 0)
		return 1;
	printf("arrays: %ld\n", sum);
	return 0;
}

static int
tuner(void)
{
	struct knee_observation o = { .queued = 1 };
	int64_t next = -1;
	knee_tuner *t;
	unsigned n;

	if (knee_tuner_new(&(struct knee_threads){ .limit_max = 3 }, &t) < 0)
		return 1;
	n = knee_tuner_observe(t, &o, &next);
	printf("tuner: %s, %s\n", n >= 1 && n <= 3 ? "within bounds" : "out of bounds",
	    next > o.now_ns ? "asks later" : "asks too early");
	knee_tuner_free(t);
	return 0;
}

int
main(void)
{
	return processes() + workers() + threads() + arrays() + tuner();
}

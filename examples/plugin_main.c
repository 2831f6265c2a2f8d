/* SPDX-License-Identifier: MIT */
/*
 * A plugin as a command of its own, which does one task: what stands before the input is for the plugin.
 *
 *	csv2avro [OPTIONS] FILE
 *
 * Functions in a shared object stay on one machine; a command can run on many:
 *
 *	knee -S 'web[1-3]' --wd . csv2avro {} ::: *.csv               which share this folder
 *	knee -S 'web[1-3]' --trc {.}.avro csv2avro {} ::: *.csv       each gets its file, and sends back what it made
 *
 * The plugin is linked in. What its task writes goes to stdout and stderr; its part of a whole is left out,
 * as one task has nothing to put together.
 */
#include <errno.h>
#include <knee.h>
#include <stdio.h>
#include <string.h>

extern const struct knee_plugin knee_plugin;

static int
write_bytes(struct knee_call *call, enum knee_stream stream, const void *bytes, size_t size)
{
	FILE *to = stream == KNEE_STDERR ? stderr : stdout;

	(void)call;
	/* Nobody reads it any more. */
	return fwrite(bytes, 1, size, to) == size ? 0 : -ECANCELED;
}

static int
drop_part(struct knee_call *call, const void *bytes, size_t size)
{
	(void)call;
	(void)bytes;
	(void)size;
	return 0;
}

/* A signal ends it: by default at once. */
static int
is_cancelled(const struct knee_call *call)
{
	(void)call;
	return 0;
}

int
main(int argc, char **argv)
{
	const struct knee_plugin *p = &knee_plugin;
	const char *const *words = (const char *const *)argv;
	struct knee_call call = { .seq = 1,
		.attempt = 1,
		.args = words + argc - 1,
		.nargs = 1,
		.write = write_bytes,
		.part = drop_part,
		.cancelled = is_cancelled };
	char why[256] = "";
	void *state = NULL;
	int status;

	if (argc < 2) {
		(void)fprintf(stderr, "usage: %s [OPTIONS] FILE\n", p->name);
		return 2;
	}
	status = p->open != NULL ? p->open(&state, argc - 1, words, why, sizeof(why)) : 0;
	if (status < 0) {
		(void)fprintf(stderr, "%s: %s\n", p->name, why[0] != '\0' ? why : strerror(-status));
		return 2;
	}
	status = p->run(state, &call);
	if (status < 0)
		(void)fprintf(stderr, "%s: %s: %s\n", p->name, call.args[0], strerror(-status));
	/* The sums of a whole are printed by close; after one task there is none. */
	if (p->close != NULL)
		(void)p->close(state, NULL, &call);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)fprintf(stderr, "%s: %s\n", p->name, strerror(errno));
		return 1;
	}
	return status < 0 ? 126 : status;
}

/* SPDX-License-Identifier: MIT */
/*
 * The values of options: each reader of them, then each option with the text as its value. The text
 * is also the file that -j may name.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "options_table.h"

#define LONGEST 512

static void
check_numbers(const char *s)
{
	uint64_t count = 0;
	int64_t ns = 0;
	double percent = 0;
	int n = 0;
	unsigned char byte;

	HOLDS(value_count(s, 1000, &count) < 0 || count <= 1000, "count %llu", (unsigned long long)count);
	(void)value_count(s, UINT64_MAX, &count);
	HOLDS(value_integer(s, -20, 19, &n) < 0 || (n >= -20 && n <= 19), "integer %d", n);
	HOLDS(value_duration(s, &ns) < 0 || (ns >= 0 && ns <= 1000000000000000000), "duration %lld",
	    (long long)ns);
	HOLDS(value_percent(s, &percent) < 0 || (percent >= 0 && percent <= 1e9), "percent %g", percent);
	HOLDS(value_signal(s, &n) < 0 || (n >= 1 && n <= SIGRTMAX), "signal %d", n);
	(void)value_byte(s, &byte);
}

static void
check_halt(const char *s)
{
	struct knee_halt h = { 0 };

	if (value_halt(s, &h) < 0)
		return;
	HOLDS(h.when == KNEE_HALT_NEVER || h.count > 0 || (h.percent > 0 && h.percent <= 100),
	    "halt: %g percent", h.percent);
}

static void
check_lists(const char *s)
{
	struct knee_term_step *steps = NULL;
	int *statuses = NULL;
	size_t n = 0;

	if (value_term_seq(s, &steps, &n) == 0) {
		HOLDS(n > 0, "no step");
		for (size_t i = 0; i < n; i++)
			HOLDS(steps[i].signal > 0 && steps[i].signal <= SIGRTMAX && steps[i].wait_ns >= 0,
			    "step %zu", i);
		free(steps);
	}
	if (value_statuses(s, &statuses, &n) == 0) {
		HOLDS(n > 0 && n < 256, "%zu statuses", n);
		for (size_t i = 0; i < n; i++)
			HOLDS(statuses[i] > (i > 0 ? statuses[i - 1] : 0) && statuses[i] < 256, "status %d",
			    statuses[i]);
		free(statuses);
	}
}

static void
check_jobs(const char *s, unsigned cores)
{
	struct value_jobs j = { 0 };
	double load = 0;

	if (value_jobs(s, cores, &j) == 0)
		HOLDS((j.limit == 0 || (j.least == 0 && j.most == 0)) && (j.most == 0 || j.least <= j.most),
		    "jobs %u, %u..%u", j.limit, j.least, j.most);
	HOLDS(value_load(s, cores, &load) < 0 || (load >= 0.01 && load <= 1e9), "load %g", load);
}

/* What knee says about a wrong one is looked at in messages.c. */
static void
check_options(const char *s)
{
	size_t n;
	const struct option *table = options_table(&n);

	for (size_t i = 0; i < n; i++) {
		struct cli_options o;
		struct options_state state;
		int got;

		if (table[i].value == NULL)
			continue;
		options_state_init(&state, &o, "knee");
		got = table[i].set(&state, &table[i], s);
		HOLDS(got == 0 || got == -EINVAL, "%s: %d", table[i].names, got);
		options_done(&o);
	}
}

static void
check_names(const char *s)
{
	char text[64];
	const struct option *option = NULL;
	const char *near;
	size_t size = 0;

	if (options_find_long(s, strlen(s), &option) == OPTION_FOUND)
		HOLDS(option != NULL, "found, but none");
	options_candidates(s, strlen(s), text, sizeof(text));
	HOLDS(memchr(text, '\0', sizeof(text)) != NULL, "no end");
	near = options_nearest(s, strlen(s), &size);
	HOLDS(near == NULL || size > 0, "a name without a byte");
}

/* All bytes of the input, a NUL too. */
static void
check_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("jobs", MFD_CLOEXEC);
	char path[64], line[64];
	int err;

	HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = config_first_line(path, line, sizeof(line));
	HOLDS(err == 0 || err == -EINVAL, "%d", err);
	if (err == 0)
		HOLDS(strlen(line) < sizeof(line) && strchr(line, '\n') == NULL, "'%s' is no line", line);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size < LONGEST ? size : LONGEST };
	char *s = fuzz_string(&b);
	char *unescaped = malloc(strlen(s) + 1);

	HOLDS(unescaped != NULL && value_unescape(s, unescaped) <= strlen(s), "longer than it was");
	free(unescaped);
	check_numbers(s);
	check_halt(s);
	check_lists(s);
	check_jobs(s, 1);
	check_jobs(s, 3);
	check_jobs(s, 4096);
	check_names(s);
	check_options(s);
	check_file(data, size < LONGEST ? size : LONGEST);
	free(s);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Which machines are one sentence at the end of a run. Compiled in, not linked: the machines are a list. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "summary.h"
#include "tap.h"

static const struct knee_host_stats *machines;
static size_t nmachines;
static char text[4096];

static int
host_get(const knee *k, size_t i, struct knee_host_stats *ret)
{
	(void)k;
	if (i >= nmachines)
		return 0;
	*ret = machines[i];
	return 1;
}

__attribute__((format(printf, 1, 2))) static void
put(const char *format, ...)
{
	size_t at = strlen(text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text + at, sizeof(text) - at, format, args);
	va_end(args);
	(void)strncat(text, "\n", sizeof(text) - strlen(text) - 1);
}

#define knee_get_host host_get
#define say put
#include "summary_hosts.c"

static void
check(const struct knee_host_stats *hosts, size_t n, bool all, const char *want)
{
	machines = hosts;
	nmachines = n;
	text[0] = '\0';
	(void)summary_hosts(NULL, all);
	is_str(text, want, "%zu machines", n);
}

static void
test_alike(void)
{
	static const struct knee_host_stats two[] = {
		{ .name = "a1", .state = KNEE_HOST_UP, .limit = 4, .done = 3 },
		{ .name = "a2", .state = KNEE_HOST_UP, .limit = 4, .done = 2, .failed = 1 },
		{ .name = "b", .state = KNEE_HOST_UP, .limit = 2, .done = 1 },
	};

	check(two, 3, true, "a[1-2]: 5 tasks, 1 failed, 4 at once each\nb: 1 task, 2 at once\n");
	check(two, 3, false, "");
}

/* One that was not yet connected is none that could not be reached, whichever comes first. */
static void
test_down(void)
{
	static const struct knee_host_stats quiet_first[] = {
		{ .name = "a1", .state = KNEE_HOST_DOWN },
		{ .name = "a2", .state = KNEE_HOST_DOWN, .why = "no way" },
	};
	static const struct knee_host_stats quiet_last[] = {
		{ .name = "a1", .state = KNEE_HOST_DOWN, .why = "no way" },
		{ .name = "a2", .state = KNEE_HOST_DOWN },
	};

	check(
	    quiet_first, 2, true, "a1: 0 tasks, 0 at once\na2: 0 tasks; not connected at the end: no way\n");
	check(quiet_last, 2, true, "a1: 0 tasks; not connected at the end: no way\na2: 0 tasks, 0 at once\n");
}

int
main(void)
{
	test_alike();
	test_down();
	return done_testing();
}

/* SPDX-License-Identifier: MIT */
#include "batch_limits.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "machines.h"

enum {
	LINE_MAX_BYTES = 131071, /* what Linux takes in one argument: a script for sh -c */
	HEADROOM_BYTES = 2048,   /* POSIX: left for what a command adds to its environment */
};

static size_t
environ_bytes(void)
{
	size_t n = sizeof(char *);
	char **e;

	for (e = environ; *e != NULL; e++)
		n += strlen(*e) + 1 + sizeof(char *);
	return n;
}

size_t
batch_system_bytes(void)
{
	long most = sysconf(_SC_ARG_MAX);
	size_t all = most > 0 ? (size_t)most : LINE_MAX_BYTES, used = environ_bytes() + HEADROOM_BYTES;

	return all > used ? all - used : 0;
}

size_t
batch_max_chars(void)
{
	size_t all = batch_system_bytes();

	return all < LINE_MAX_BYTES ? all : LINE_MAX_BYTES;
}

size_t
batch_limit(const struct cli_options *o)
{
	size_t all = batch_system_bytes();

	if (o->max_chars == 0)
		return batch_max_chars();
	return o->max_chars < all ? o->max_chars : all;
}

/* On a machine that has no number of its own. */
static unsigned
slots_of_one(const struct cli_options *o)
{
	unsigned slots = o->limit > 0 ? o->limit : knee_cores();

	if (o->limit == 0 && o->limit_max > 0 && slots > o->limit_max)
		slots = o->limit_max;
	return slots > o->limit_min ? slots : o->limit_min;
}

size_t
batch_slots(const struct cli_options *o)
{
	unsigned each = slots_of_one(o), all = 0;

	/* With --onall each of them gets every command; without a number, one after another. */
	if (machines_one_by_one(o))
		return 1;
	if (o->nmachines == 0 || o->each_host)
		return each;
	for (size_t i = 0; i < o->nmachines; i++) {
		unsigned slots = o->machines[i].limit > 0 ? o->machines[i].limit : each;

		all = slots < UINT_MAX - all ? all + slots : UINT_MAX;
	}
	return all;
}

void
batch_show_limits(FILE *out, const struct cli_options *o)
{
	fprintf(out,
	    "Environment of a command: %zu bytes\n"
	    "Longest command line that this system takes with it: %zu bytes\n"
	    "Longest command line unless -s says otherwise: %zu bytes\n"
	    "Longest command line of this run: %zu bytes\n",
	    environ_bytes(), batch_system_bytes(), batch_max_chars(), batch_limit(o));
}

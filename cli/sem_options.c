/* SPDX-License-Identifier: MIT */
/*
 * The command line of sem. Names and rules of words are those of a run (options_words.h); all that
 * follows is the command: {} and ::: mean nothing here. Neither config files nor $KNEE are read: they
 * are about runs.
 */
#include "sem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "options_few.h"
#include "options_table.h"

enum what {
	/* No other command of knee has these. */
	BACKGROUND,
	FOREGROUND,
	ID,
	TIMEOUT,
	WAIT,
	SEMAPHORE,
	LAST_OWN = SEMAPHORE,
	/* Others have them too. */
	JOBS,
	QUOTE,
	NICE,
	NOTHING,
	HELP,
	VERSION,
};

static const struct options_few table[] = {
	{ "bg", NULL, NULL, BACKGROUND },
	{ "fg", NULL, NULL, FOREGROUND },
	{ "id semaphorename", "NAME", NULL, ID },
	{ "j P jobs maxprocs", "N", NULL, JOBS },
	{ "st semaphoretimeout", "TIME", NULL, TIMEOUT },
	{ "wait", NULL, NULL, WAIT },
	{ "q quote", NULL, NULL, QUOTE },
	{ "nice", "N", NULL, NICE },
	{ "semaphore", NULL, NULL, SEMAPHORE },
	{ "pipe u ungroup gnu willcite nonotice nn", NULL, NULL, NOTHING },
	{ "h help", NULL, NULL, HELP },
	{ "V version", NULL, NULL, VERSION },
};

#define NTABLE (sizeof(table) / sizeof(*table))

void
sem_help(void)
{
	puts("Usage: sem [OPTION]... COMMAND [WORD]...\n"
	     "       sem --wait [OPTION]...\n"
	     "\n"
	     "Run COMMAND when fewer than N commands of the same semaphore run: sem waits for a\n"
	     "free slot, starts COMMAND in the background and ends. The same: knee sem ...\n"
	     "\n"
	     "  --fg                      wait for COMMAND too, and end as it does\n"
	     "  --bg                      do not (the default)\n"
	     "  --id NAME                 which semaphore; the terminal's own if not given\n"
	     "  -j N, --jobs N            how many commands at once: 4, 50%, +1, 0 for any; 1 if not given\n"
	     "  --st TIME                 run COMMAND anyway after so long without a free slot;\n"
	     "                            -TIME: give up then, with status 1\n"
	     "  --wait                    wait until no command of the semaphore runs or waits\n"
	     "  -q, --quote               COMMAND's words are words, not shell code\n"
	     "  --nice N                  run COMMAND at niceness N\n"
	     "  -h, --help                print this\n"
	     "  -V, --version             print the version\n"
	     "\n"
	     "Examples:\n"
	     "  for f in *.log; do sem -j+0 gzip \"$f\"; done; sem --wait\n"
	     "  sem --fg --id backup --st -60 ./backup       one at a time, by whomever started\n"
	     "\n"
	     "The manual says more: man knee-sem");
}

bool
sem_option_own(const char *typed, size_t size)
{
	for (size_t i = 0; i < NTABLE; i++)
		if (table[i].what <= LAST_OWN &&
		    options_match(table[i].names, typed, size) == OPTIONS_MATCH_WHOLE)
			return true;
	return false;
}

/* ---- values ----------------------------------------------------------------- */

/* -j as a run reads it; a number that a run would find by measuring is that of the cores. */
static int
jobs_set(struct sem_options *o, const char *typed, const char *value)
{
	struct cli_options options;
	struct options_state state;
	unsigned cores;
	int err;

	options_state_init(&state, &options, "sem");
	(void)snprintf(state.name, sizeof(state.name), "%s", typed);
	err = options_set_jobs(&state, NULL, value);
	if (err < 0)
		return err;
	o->slots = options.limit;
	if (o->slots > 0)
		return 0;
	cores = knee_cores();
	if (options.limit_max > 0 && cores > options.limit_max)
		cores = options.limit_max;
	o->slots = cores > options.limit_min ? cores : options.limit_min;
	return 0;
}

static int
timeout_set(struct sem_options *o, const char *typed, const char *value)
{
	const char *time = value + (*value == '-' || *value == '+');

	if (value_duration(time, &o->timeout_ns) < 0)
		return say_error(
		    EINVAL, "%s: '%s' is not a time: use 10, 1.5s, 2m, or -10 to give up then", typed, value);
	o->take_anyway = *value != '-';
	return 0;
}

static int
option_set(void *self, int what, const char *typed, const char *value)
{
	struct sem_options *o = self;

	switch ((enum what)what) {
	case BACKGROUND:
	case FOREGROUND:
		o->foreground = what == FOREGROUND;
		return 0;
	case ID:
		o->id = value;
		return *value == '\0' ? say_error(EINVAL, "%s: an empty name says nothing", typed) : 0;
	case JOBS:
		return jobs_set(o, typed, value);
	case TIMEOUT:
		return timeout_set(o, typed, value);
	case WAIT:
		return !(o->wait = true);
	case QUOTE:
		return !(o->quote = true);
	case NICE:
		o->nice_set = true;
		if (value_integer(value, -20, 19, &o->nice) == 0)
			return 0;
		return say_error(EINVAL, "%s: '%s' is not a niceness: use -20 to 19", typed, value);
	case SEMAPHORE:
	case NOTHING:
		return 0;
	case HELP:
		return !(o->help = true);
	case VERSION:
		return !(o->version = true);
	}
	return 0;
}

/* ---- words ------------------------------------------------------------------ */

static int
option_unknown(void *self, const char *typed, const char *name, size_t size)
{
	const struct option *run;
	enum option_found found =
	    typed[1] == '-' ? options_find_long(name, size, &run) : options_find_short(*name, &run);

	(void)self;
	if (found == OPTION_FOUND)
		return say_error(EINVAL,
		    "%s: not an option of sem; a run that holds a slot can have it: sem knee run %s ...",
		    typed, typed);
	return say_error(EINVAL, "%s: no such option: try 'sem --help'", typed);
}

/* What options say about each other and the command. */
static int
check(const struct sem_options *o)
{
	if (o->help || o->version)
		return 0;
	if (o->wait && o->ncommand > 0)
		return say_error(EINVAL, "--wait: takes no command: '%s' would not be run", o->command[0]);
	if (!o->wait && o->ncommand == 0)
		return say_error(EINVAL, "no command: use sem COMMAND, or sem --wait");
	return 0;
}

int
sem_options_parse(struct sem_options *ret, char *const *words, size_t nwords)
{
	struct sem_options o = { .slots = 1 };
	const struct options_few_reader reader = {
		.table = table, .n = NTABLE, .self = &o, .set = option_set, .unknown = option_unknown
	};
	size_t at;
	int err = options_few_read(&reader, words, nwords, &at);

	o.command = words + at;
	o.ncommand = nwords - at;
	if (err == 0)
		err = check(&o);
	if (err == 0)
		*ret = o;
	return err;
}

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

#include "options_table.h"

enum what {
	BACKGROUND,
	FOREGROUND,
	ID,
	JOBS,
	TIMEOUT,
	WAIT,
	QUOTE,
	NICE,
	NOTHING,
	HELP,
	VERSION,
};

/* names: as in struct option, without hyphens; one of a single byte is a short option. */
struct sem_option {
	const char *names;
	bool value;
	bool own; /* no other command of knee has it */
	enum what what;
};

static const struct sem_option table[] = {
	{ "bg", false, true, BACKGROUND },
	{ "fg", false, true, FOREGROUND },
	{ "id semaphorename", true, true, ID },
	{ "j P jobs maxprocs", true, false, JOBS },
	{ "st semaphoretimeout", true, true, TIMEOUT },
	{ "wait", false, true, WAIT },
	{ "q quote", false, false, QUOTE },
	{ "nice", true, false, NICE },
	{ "semaphore", false, true, NOTHING },
	{ "pipe u ungroup gnu willcite nonotice nn", false, false, NOTHING },
	{ "h help", false, false, HELP },
	{ "V version", false, false, VERSION },
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

/* The option of this long name, or the only one that begins so; NULL: none, or several. */
static const struct sem_option *
find_long(const char *typed, size_t size)
{
	const struct sem_option *found = NULL;
	bool several = false;

	for (size_t i = 0; i < NTABLE; i++) {
		switch (options_match(table[i].names, typed, size)) {
		case OPTIONS_MATCH_WHOLE:
			return &table[i];
		case OPTIONS_MATCH_BEGINS:
			several |= found != NULL;
			found = &table[i];
			break;
		case OPTIONS_MATCH_NO:
			break;
		}
	}
	return several ? NULL : found;
}

static const struct sem_option *
find_short(char letter)
{
	for (size_t i = 0; i < NTABLE; i++)
		if (options_letter(table[i].names, letter))
			return &table[i];
	return NULL;
}

bool
sem_option_own(const char *typed, size_t size)
{
	for (size_t i = 0; i < NTABLE; i++)
		if (table[i].own && options_match(table[i].names, typed, size) == OPTIONS_MATCH_WHOLE)
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

/* value: "" for an option that takes none; typed: the option as typed, for messages. */
static int
option_set(struct sem_options *o, const struct sem_option *option, const char *typed, const char *value)
{
	switch (option->what) {
	case BACKGROUND:
	case FOREGROUND:
		o->foreground = option->what == FOREGROUND;
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

/* What options_words_read() is told of: the options, and the one in hand. */
struct scan {
	struct sem_options *o;
	const struct sem_option *option;
	char typed[64];
};

static int
unknown(const char *typed, bool of_run)
{
	if (of_run)
		return say_error(EINVAL,
		    "%s: not an option of sem; a run that holds a slot can have it: sem knee run %s ...",
		    typed, typed);
	return say_error(EINVAL, "%s: no such option: try 'sem --help'", typed);
}

static int
scan_find(void *self, const char *dashes, const char *typed, size_t size)
{
	struct scan *scan = self;
	bool is_long = dashes[1] == '-', of_run;
	const struct option *run;

	(void)snprintf(scan->typed, sizeof(scan->typed), "%s%.*s", dashes, size < 48 ? (int)size : 48, typed);
	scan->option = is_long ? find_long(typed, size) : find_short(*typed);
	if (scan->option != NULL)
		return scan->option->value ? OPTIONS_TAKES_VALUE : OPTIONS_TAKES_NONE;
	of_run = (is_long ? options_find_long(typed, size, &run) : options_find_short(*typed, &run)) ==
	    OPTION_FOUND;
	return unknown(scan->typed, of_run);
}

static int
scan_set(void *self, const char *value)
{
	struct scan *scan = self;

	return option_set(scan->o, scan->option, scan->typed, value != NULL ? value : "");
}

static int
scan_refuse(void *self, enum options_takes takes)
{
	const struct scan *scan = self;

	return say_error(
	    EINVAL, "%s: %s", scan->typed, takes == OPTIONS_TAKES_NONE ? "takes no value" : "needs a value");
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
	struct scan scan = { .o = &o };
	struct options_reader reader = {
		.self = &scan, .find = scan_find, .set = scan_set, .refuse = scan_refuse
	};
	size_t at;
	int err = options_words_read(&reader, words, nwords, &at);

	o.command = words + at;
	o.ncommand = nwords - at;
	if (err == 0)
		err = check(&o);
	if (err == 0)
		*ret = o;
	return err;
}

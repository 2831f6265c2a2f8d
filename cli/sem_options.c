/* SPDX-License-Identifier: MIT */
/*
 * The command line of sem. Names and rules of words are those of a run: options end at the first word
 * that is none or at "--", hyphens inside long names do not count, the beginning of a name is
 * enough. All that follows is the command: {} and ::: mean nothing here. Neither config files nor
 * $KNEE are read: they are about runs.
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

/* Does name, size bytes with or without hyphens, begin like this one? *whole: it is this one. */
static bool
name_begins(const char *name, size_t size, const char *typed, size_t typedsize, bool *whole)
{
	size_t n = 0;

	for (size_t i = 0; i < typedsize; i++) {
		if (typed[i] == '-')
			continue;
		if (n == size || name[n++] != typed[i])
			return false;
	}
	*whole = n == size;
	return n > 0;
}

/* The option of this long name, or the only one that begins so; NULL: none, or several. */
static const struct sem_option *
find_long(const char *typed, size_t typedsize)
{
	const struct sem_option *found = NULL;
	bool several = false;

	for (size_t i = 0; i < NTABLE; i++) {
		const char *name = NULL;
		size_t size;

		while ((name = options_name_next(table[i].names, name, &size)) != NULL) {
			bool whole;

			if (size == 1 || !name_begins(name, size, typed, typedsize, &whole))
				continue;
			if (whole)
				return &table[i];
			several |= found != NULL && found != &table[i];
			found = &table[i];
		}
	}
	return several ? NULL : found;
}

static const struct sem_option *
find_short(char letter)
{
	for (size_t i = 0; i < NTABLE; i++) {
		const char *name = NULL;
		size_t size;

		while ((name = options_name_next(table[i].names, name, &size)) != NULL)
			if (size == 1 && *name == letter)
				return &table[i];
	}
	return NULL;
}

bool
sem_option_own(const char *typed, size_t typedsize)
{
	for (size_t i = 0; i < NTABLE; i++) {
		const char *name = NULL;
		size_t size;
		bool whole;

		while (table[i].own && (name = options_name_next(table[i].names, name, &size)) != NULL)
			if (name_begins(name, size, typed, typedsize, &whole) && whole)
				return true;
	}
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

/* value: "" for an option that takes none. */
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

/* The option as typed, for messages. */
struct typed {
	char text[64];
};

static struct typed
typed_make(const char *dashes, const char *name, size_t size)
{
	struct typed t;

	(void)snprintf(t.text, sizeof(t.text), "%s%.*s", dashes, size < 48 ? (int)size : 48, name);
	return t;
}

static int
unknown(const char *typed, bool of_run)
{
	if (of_run)
		return say_error(EINVAL,
		    "%s: not an option of sem; a run that holds a slot can have it: sem knee run %s ...",
		    typed, typed);
	return say_error(EINVAL, "%s: no such option: try 'sem --help'", typed);
}

/* The long option words[*at]; *at is moved behind it and its value. */
static int
long_read(struct sem_options *o, char *const *words, size_t nwords, size_t *at)
{
	const char *name = words[(*at)++] + 2, *value = strchr(name, '=');
	size_t size = value != NULL ? (size_t)(value++ - name) : strlen(name);
	const struct sem_option *option = find_long(name, size);
	struct typed typed = typed_make("--", name, size);
	const struct option *run;

	if (option == NULL)
		return unknown(typed.text, options_find_long(name, size, &run) == OPTION_FOUND);
	if (value != NULL && !option->value)
		return say_error(EINVAL, "%s: takes no value", typed.text);
	if (value == NULL && option->value && *at < nwords)
		value = words[(*at)++];
	if (value == NULL && option->value)
		return say_error(EINVAL, "%s: needs a value", typed.text);
	return option_set(o, option, typed.text, value != NULL ? value : "");
}

/* The short options in words[*at]; *at is moved behind them and the last one's value. */
static int
short_read(struct sem_options *o, char *const *words, size_t nwords, size_t *at)
{
	int err = 0;

	for (const char *letter = words[(*at)++] + 1; err == 0 && *letter != '\0'; letter++) {
		const struct sem_option *option = find_short(*letter);
		struct typed typed = typed_make("-", letter, 1);
		const struct option *run;

		if (option == NULL)
			return unknown(typed.text, options_find_short(*letter, &run) == OPTION_FOUND);
		if (option->value && letter[1] != '\0')
			return option_set(o, option, typed.text, letter + 1);
		if (option->value && *at == nwords)
			return say_error(EINVAL, "%s: needs a value", typed.text);
		err = option_set(o, option, typed.text, option->value ? words[(*at)++] : "");
		if (option->value)
			break;
	}
	return err;
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
	size_t at = 0;
	int err = 0;

	while (err == 0 && at < nwords && words[at][0] == '-' && words[at][1] != '\0') {
		if (strcmp(words[at], "--") == 0) {
			at++;
			break;
		}
		if (words[at][1] == '-')
			err = long_read(&o, words, nwords, &at);
		else
			err = short_read(&o, words, nwords, &at);
	}
	o.command = words + at;
	o.ncommand = nwords - at;
	if (err == 0)
		err = check(&o);
	if (err == 0)
		*ret = o;
	return err;
}

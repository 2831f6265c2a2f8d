/* SPDX-License-Identifier: MIT */
/*
 * What the user asks of knee hosts. Names and rules of words are those of a run (options_words.h), but
 * for one: options may stand behind machines, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hosts_parts.h"
#include "options_few.h"
#include "options_table.h"

#define SECOND_NS ((int64_t)1000000000)
#define HOUR_NS (3600 * SECOND_NS)

enum what {
	SORT,
	JSON,
	CSV,
	WATCH,
	INTERVAL,
	TIMEOUT,
	NO_FOLD,
	JOBS,
	LOGIN,
	FILE_OF_LOGINS,
	SSH,
	HELP,
};

static const struct options_few table[] = {
	{ "sort", "COLUMN", "sort by it (cpu, mem, load ...); -COLUMN: the largest first", SORT },
	{ "json", NULL, "a line of JSON for each machine", JSON },
	{ "csv", NULL, "CSV, a row for each machine", CSV },
	{ "watch", "[TIME]", "again and again, every so often (2 s)", WATCH },
	{ "interval", "TIME", "measure rates over so long (1 s); 0: no rates", INTERVAL },
	{ "timeout", "TIME", "who says nothing for so long does not answer (5 s)", TIMEOUT },
	{ "no-fold", NULL, "a row for each machine, also where rows are the same", NO_FOLD },
	{ "j jobs", "N", "make so many connections at once", JOBS },
	{ "S sshlogin", "LOGINS", "these machines too, as for a run", LOGIN },
	{ "slf sshloginfile", "FILE", "and those in FILE, a list on each line", FILE_OF_LOGINS },
	{ "ssh", "COMMAND", "use this for ssh", SSH },
	{ "h help", NULL, "print this", HELP },
};

#define NTABLE (sizeof(table) / sizeof(*table))

void
hosts_help(FILE *out)
{
	fputs("Usage: knee hosts [OPTION]... NODESET...\n"
	      "\n"
	      "Print how the machines are: load, cores, CPU, memory, disks, network, uptime. They are\n"
	      "asked through ssh, many at once; nothing needs to be installed there. NODESET is a\n"
	      "login or many: web1, root@db, web[01-40,55], or : for this machine.\n"
	      "\n",
	    out);
	for (size_t i = 0; i < NTABLE; i++) {
		const struct options_few *o = &table[i];
		const char *name = NULL;
		char names[64];
		size_t size, at = 0;

		while ((name = options_name_next(o->names, name, &size)) != NULL)
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s%.*s", at > 0 ? ", " : "",
			    size > 1 ? "--" : "-", (int)size, name);
		if (o->value != NULL && *o->value == '[')
			(void)snprintf(names + at, sizeof(names) - at, "[=%s", o->value + 1);
		else if (o->value != NULL)
			(void)snprintf(names + at, sizeof(names) - at, " %s", o->value);
		fprintf(out, "  %-28s%s\n", names, o->help);
	}
	fputs("\n"
	      "The status is the number of machines that did not answer, 101 at most.\n"
	      "The manual says more: man knee-hosts\n",
	    out);
}

/* ---- values ----------------------------------------------------------------------- */

static int
duration_set(const char *name, const char *value, int64_t least_ns, int64_t *ret)
{
	int64_t ns;

	if (value_duration(value, &ns) < 0 || ns > HOUR_NS)
		return say_error(EINVAL, "--%s: '%s': not a time (5, 500ms, 2m; at most 1h)", name, value);
	if (ns < least_ns)
		return say_error(
		    EINVAL, "--%s: '%s' is too short: %g s at least", name, value, (double)least_ns / 1e9);
	*ret = ns;
	return 0;
}

static int
sort_set(struct hosts_options *o, const char *value)
{
	char names[160];

	o->descending = *value == '-';
	o->sort = hosts_column_find(value + o->descending);
	if (o->sort >= 0)
		return 0;
	hosts_column_names(names, sizeof(names));
	return say_error(EINVAL, "--sort: '%s': no such column (%s)", value, names);
}

static int
format_set(struct hosts_options *o, enum hosts_format format)
{
	if (o->format != HOSTS_TABLE && o->format != format)
		return say_error(EINVAL, "--csv and --json do not go together");
	o->format = format;
	return 0;
}

/* value: NULL for an option without one. */
static int
option_set(struct hosts_options *o, enum what what, const char *value)
{
	int n;

	switch (what) {
	case SORT:
		return sort_set(o, value);
	case JSON:
		return format_set(o, HOSTS_JSON);
	case CSV:
		return format_set(o, HOSTS_CSV);
	case WATCH:
		o->watch = true;
		return value == NULL ? 0 : duration_set("watch", value, SECOND_NS / 10, &o->interval_ns);
	case INTERVAL:
		return duration_set("interval", value, 0, &o->interval_ns);
	case TIMEOUT:
		return duration_set("timeout", value, SECOND_NS / 10, &o->timeout_ns);
	case NO_FOLD:
		return !(o->no_fold = true);
	case JOBS:
		if (value_integer(value, 1, 100000, &n) < 0)
			return say_error(EINVAL, "-j: '%s': not a number of connections: 1 or more", value);
		o->jobs = (unsigned)n;
		return 0;
	case LOGIN:
		o->words[o->nwords++] = value;
		return 0;
	case FILE_OF_LOGINS:
		o->files[o->nfiles++] = value;
		return 0;
	case SSH:
		o->ssh = value;
		return value[strspn(value, " \t")] == '\0' ? say_error(EINVAL, "--ssh: an empty command") : 0;
	case HELP:
		return !(o->help = true);
	}
	return 0;
}

/* ---- the words ---------------------------------------------------------------------- */

static int
word_set(void *self, int what, const char *typed, const char *value)
{
	(void)typed;
	return option_set(self, (enum what)what, value);
}

static int
word_unknown(void *self, const char *typed, const char *name, size_t size)
{
	(void)self;
	(void)size;
	return say_error(
	    EINVAL, "%s: no option of knee hosts: knee hosts --help; without a machine: !%s", typed, name);
}

static int
words_read(struct hosts_options *o, char *const *words, size_t n)
{
	const struct options_few_reader reader = {
		.table = table, .n = NTABLE, .self = o, .set = word_set, .unknown = word_unknown
	};
	bool options = true;

	while (n > 0) {
		size_t used = 0;
		int err = options ? options_few_read(&reader, words, n, &used) : 0;

		if (err < 0)
			return err;
		options = options && (used == 0 || strcmp(words[used - 1], "--") != 0);
		words += used;
		n -= used;
		if (n == 0)
			break;
		o->words[o->nwords++] = *words++;
		n--;
	}
	return 0;
}

/* What options say about each other. */
static int
check(const struct hosts_options *o)
{
	if (o->help)
		return 0;
	if (o->nwords + o->nfiles == 0)
		return say_error(
		    EINVAL, "no machines: knee hosts [OPTION]... NODESET... (knee hosts --help says more)");
	if (o->watch && o->interval_ns == 0)
		return say_error(EINVAL, "--interval 0 measures no rates: not with --watch");
	return 0;
}

int
hosts_options_parse(struct hosts_options *ret, int argc, char **argv)
{
	struct hosts_options o = { .sort = -1, .interval_ns = -1, .timeout_ns = 5 * SECOND_NS };
	int err;

	/* No more of them than words. */
	o.words = calloc((size_t)argc, sizeof(*o.words));
	o.files = calloc((size_t)argc, sizeof(*o.files));
	if (o.words == NULL || o.files == NULL)
		err = say_error(ENOMEM, "%s", strerror(ENOMEM));
	else
		err = words_read(&o, argv + 1, (size_t)argc - 1);
	if (err == 0)
		err = check(&o);
	if (o.interval_ns < 0)
		o.interval_ns = o.watch ? 2 * SECOND_NS : SECOND_NS;
	if (err < 0)
		hosts_options_done(&o);
	else
		*ret = o;
	return err;
}

void
hosts_options_done(struct hosts_options *o)
{
	free(o->words);
	free(o->files);
	o->words = o->files = NULL;
}

/* SPDX-License-Identifier: MIT */
/* What the user asks of knee log: few words, so getopt_long() reads them, and the messages are ours. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "clock.h"
#include "log_parts.h"

enum option_id {
	ID_FORMAT = 256,
	ID_TOTALS,
	ID_RUNS,
	ID_STEPS,
	ID_OUTPUT,
	ID_STATE,
	ID_HOST,
	ID_SINCE,
	ID_UNTIL,
	ID_SEQ,
	ID_ATTEMPTS,
	ID_HELP,
};

static const struct option_of_log {
	const char *name, *value, *help;
	enum option_id id;
} list[] = {
	{ "format", "FORMAT", "table, tsv (a job log), csv, or json: a line each", ID_FORMAT },
	{ "totals", NULL, "the sums alone", ID_TOTALS },
	{ "runs", NULL, "the starts of knee on this journal", ID_RUNS },
	{ "steps", NULL, "how many at once, when and why", ID_STEPS },
	{ "output", "SEQ", "print the output of that task, when it is kept here", ID_OUTPUT },
	{ "state", "LIST", "only succeeded, failed, running, interrupted tasks", ID_STATE },
	{ "host", "HOST", "only tasks that ran on that host", ID_HOST },
	{ "since", "TIME", "only those that started then or later", ID_SINCE },
	{ "until", "TIME", "only those that started before that", ID_UNTIL },
	{ "seq", "A-B", "only tasks number A to B", ID_SEQ },
	{ "attempts", NULL, "every attempt, not only the last of each task", ID_ATTEMPTS },
	{ "help", NULL, "print this", ID_HELP },
};

enum { NLIST = sizeof(list) / sizeof(*list) };

void
log_help(FILE *out)
{
	fputs("Usage: knee log [OPTION]... JOURNAL\n"
	      "\n"
	      "Print the tasks that a journal has (knee --journal JOURNAL), and their sums. The run\n"
	      "may go on meanwhile, have ended or have died; the journal is only read.\n"
	      "\n",
	    out);
	for (size_t i = 0; i < NLIST; i++) {
		char names[40];

		(void)snprintf(names, sizeof(names), "%s%s%s", list[i].name, list[i].value != NULL ? " " : "",
		    list[i].value != NULL ? list[i].value : "");
		fprintf(out, "  --%-18s%s\n", names, list[i].help);
	}
	fputs("\n"
	      "TIME: 2026-11-24, '2026-11-24 16:30', 16:30, 2026-11-24T16:30:05+01:00, '2h ago',\n"
	      "or @ and seconds since 1970.\n"
	      "The manual says more: man knee-log\n",
	    out);
}

/* ---- values ----------------------------------------------------------------------- */

static int
time_set(const char *name, const char *value, int64_t *ret)
{
	if (log_time_parse(value, clock_ns(CLOCK_REALTIME), ret) < 0 || *ret <= 0)
		return say_error(EINVAL,
		    "--%s: '%s': not a time (2026-11-24, '2026-11-24 16:30', 16:30, '2h ago', @1795493586)",
		    name, value);
	return 0;
}

static int
state_set(const char *value, unsigned *ret)
{
	static const struct {
		const char *name;
		unsigned states;
	} names[] = {
		{ "succeeded", KNEE_LOG_SUCCEEDED },
		{ "failed", KNEE_LOG_FAILED },
		{ "running", KNEE_LOG_RUNNING },
		{ "interrupted", KNEE_LOG_INTERRUPTED },
		{ "all", KNEE_LOG_SUCCEEDED | KNEE_LOG_FAILED | KNEE_LOG_RUNNING | KNEE_LOG_INTERRUPTED },
	};
	const char *s = value;

	*ret = 0;
	for (;;) {
		size_t n = strcspn(s, ","), i = 0;

		while (i < sizeof(names) / sizeof(*names) &&
		    (strlen(names[i].name) != n || memcmp(names[i].name, s, n) != 0))
			i++;
		if (i == sizeof(names) / sizeof(*names))
			return say_error(EINVAL,
			    "--state: '%.*s': not a state (succeeded, failed, running, interrupted, all)",
			    (int)n, s);
		*ret |= names[i].states;
		if (s[n] == '\0')
			return 0;
		s += n + 1;
	}
}

/* A number of a task at *s, which moves behind it. */
static bool
seq_parse(const char **s, uint64_t *ret)
{
	uint64_t n = 0;
	const char *start = *s;

	for (; **s >= '0' && **s <= '9'; (*s)++) {
		if (n > (INT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (uint64_t)(**s - '0');
	}
	*ret = n;
	return *s > start && n > 0;
}

/* 7, 7-9, 7-, -9 */
static int
seq_set(const char *value, struct knee_log_filter *f)
{
	const char *s = value;
	bool good = true, first = *s != '-';

	f->seq_first = f->seq_last = 0;
	if (first)
		good = seq_parse(&s, &f->seq_first);
	if (good && first && *s == '\0')
		f->seq_last = f->seq_first;
	else if (good && *s == '-' && (s[1] != '\0' || first))
		good = *++s == '\0' || seq_parse(&s, &f->seq_last);
	else
		good = false;
	if (!good || *s != '\0' || (f->seq_last > 0 && f->seq_last < f->seq_first))
		return say_error(EINVAL, "--seq: '%s': not a range of tasks (7, 7-9, 7-, -9)", value);
	return 0;
}

static int
format_set(const char *value, enum log_format *ret)
{
	static const char *const names[] = {
		[LOG_TABLE] = "table",
		[LOG_TSV] = "tsv",
		[LOG_CSV] = "csv",
		[LOG_JSON] = "json",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*ret = (enum log_format)i;
			return 0;
		}
	}
	return say_error(EINVAL, "--format: '%s': not a format (table, tsv, csv, json)", value);
}

static int
output_set(const char *value, uint64_t *ret)
{
	const char *s = value;

	if (!seq_parse(&s, ret) || *s != '\0')
		return say_error(EINVAL, "--output: '%s': not the number of a task", value);
	return 0;
}

/* One of --totals, --runs, --steps, --output. */
static int
what_set(struct log_options *o, enum log_what what)
{
	if (o->what != LOG_TASKS && o->what != what)
		return say_error(EINVAL, "--totals, --runs, --steps and --output do not go together");
	o->what = what;
	return 0;
}

static int
option_set(struct log_options *o, enum option_id id, const char *value)
{
	switch (id) {
	case ID_FORMAT:
		return format_set(value, &o->format);
	case ID_TOTALS:
		return what_set(o, LOG_TOTALS);
	case ID_RUNS:
		return what_set(o, LOG_RUNS);
	case ID_STEPS:
		return what_set(o, LOG_STEPS);
	case ID_OUTPUT:
		if (what_set(o, LOG_OUTPUT) < 0)
			return -EINVAL;
		return output_set(value, &o->output_seq);
	case ID_STATE:
		return state_set(value, &o->filter.states);
	case ID_HOST:
		o->filter.host = value;
		return 0;
	case ID_SINCE:
		return time_set("since", value, &o->filter.since_time_ns);
	case ID_UNTIL:
		return time_set("until", value, &o->filter.until_time_ns);
	case ID_SEQ:
		return seq_set(value, &o->filter);
	case ID_ATTEMPTS:
		o->filter.attempts = 1;
		return 0;
	case ID_HELP:
		o->help = true;
		return 0;
	}
	return 0;
}

/* ---- the words ---------------------------------------------------------------------- */

/* Words that are asked of tasks mean nothing for runs, steps and one output. */
static int
options_agree(const struct log_options *o)
{
	const struct knee_log_filter *f = &o->filter;
	bool filtered = f->states != 0 || f->host != NULL || f->since_time_ns != 0 || f->until_time_ns != 0 ||
	    f->seq_first != 0 || f->seq_last != 0 || f->attempts;

	if (filtered && (o->what == LOG_RUNS || o->what == LOG_STEPS || o->what == LOG_OUTPUT))
		return say_error(EINVAL,
		    "--state, --host, --since, --until, --seq and --attempts choose tasks: not with --%s",
		    o->what == LOG_RUNS      ? "runs" :
			o->what == LOG_STEPS ? "steps" :
					       "output");
	if (o->what == LOG_OUTPUT && o->format != LOG_TABLE)
		return say_error(EINVAL, "--output prints what the task printed: no --format with it");
	if (o->journal == NULL)
		return say_error(
		    EINVAL, "no journal: knee log [OPTION]... JOURNAL (knee log --help says more)");
	return 0;
}

static int
unknown_say(int c, char *const *argv)
{
	const char *word = argv[optind - 1];

	if (c == ':')
		return say_error(EINVAL, "%s: needs a value: knee log --help", word);
	if (strncmp(word, "--", 2) == 0)
		return say_error(
		    EINVAL, "%s: no option of knee log, or not clear which: knee log --help", word);
	return say_error(EINVAL, "-%c: no option of knee log: knee log --help", optopt);
}

int
log_options_parse(struct log_options *ret, int argc, char **argv)
{
	struct option longs[NLIST + 1] = { 0 };
	struct log_options o = { 0 };
	int c;

	for (size_t i = 0; i < NLIST; i++)
		longs[i] = (struct option){ list[i].name, list[i].value != NULL, NULL, (int)list[i].id };
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (c == 'h')
			c = ID_HELP;
		if (c == '?' || c == ':')
			return unknown_say(c, argv);
		if (option_set(&o, (enum option_id)c, optarg) < 0)
			return -EINVAL;
	}
	if (argc - optind > 1)
		return say_error(EINVAL, "%s: one journal at a time", argv[optind + 1]);
	if (optind < argc)
		o.journal = argv[optind];
	if (!o.help && options_agree(&o) < 0)
		return -EINVAL;
	*ret = o;
	return 0;
}

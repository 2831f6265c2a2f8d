/* SPDX-License-Identifier: MIT */
/*
 * What each option does: a few lines that check its value and put it into struct
 * cli_options, or into the state when it only counts together with others.  The last
 * of several options that contradict each other wins, so that the command line can
 * undo what a config file says.
 */
#include "options_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *
member(const struct options_state *s, const struct option *option)
{
	return (char *)s->o + option->at;
}

int
options_set_nothing(struct options_state *s, const struct option *option, const char *value)
{
	(void)s;
	(void)option;
	(void)value;
	return 0;
}

int
options_set_flag(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	*(bool *)member(s, option) = true;
	return 0;
}

/* option->to: the text may not be empty. */
int
options_set_text(struct options_state *s, const struct option *option, const char *value)
{
	if (option->to && *value == '\0')
		return options_bad(s, "an empty text says nothing");
	*(const char **)member(s, option) = value;
	return 0;
}

int
options_set_show(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->show = (enum options_show)option->to;
	return 0;
}

/* A count of least or more, for -n and its kin. */
static int
count_read(const struct options_state *s, const char *value, size_t least, size_t *ret)
{
	uint64_t n;
	int err = value_count(value, SIZE_MAX, &n);

	if (err == -ERANGE)
		return options_bad(s, "'%s' is too large", value);
	if (err < 0)
		return options_bad(s, "'%s' is not a number: use 10 or 4k", value);
	if (n < least)
		return options_bad(s, "'%s' is too small: at least %zu", value, least);
	*ret = n;
	return 0;
}

/* ---- inputs -------------------------------------------------------------- */

int
options_set_file(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	return options_input_add(s, &(struct input_spec){ .kind = INPUT_FILE, .path = value });
}

int
options_set_null(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	s->o->delimiter = '\0';
	return 0;
}

int
options_set_delimiter(struct options_state *s, const struct option *option, const char *value)
{
	int err = value_byte(value, &s->o->delimiter);

	(void)option;
	if (err < 0)
		return options_bad(s, "'%s' is not one byte: use , or \\n, \\t, \\0, \\x1f, \\037", value);
	return 0;
}

int
options_set_header(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (strcmp(value, "0") == 0)
		return options_bad(s, "0 (names of files as columns): not in this version");
	s->o->header = true;
	return 0;
}

int
options_set_trim(struct options_state *s, const struct option *option, const char *value)
{
	static const struct {
		const char *name;
		enum trim trim;
	} ways[] = {
		{ "n", TRIM_NONE },
		{ "l", TRIM_LEFT },
		{ "r", TRIM_RIGHT },
		{ "lr", TRIM_BOTH },
		{ "rl", TRIM_BOTH },
	};

	(void)option;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (strcmp(value, ways[i].name) == 0) {
			s->o->trim = ways[i].trim;
			s->trim_set = true;
			return 0;
		}
	}
	return options_bad(s, "'%s' is none of n, l, r, lr", value);
}

int
options_set_eof(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	s->o->eof_string = value && *value ? value : NULL;
	return 0;
}

int
options_set_link(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	s->link = true;
	return 0;
}

int
options_set_separator(struct options_state *s, const struct option *option, const char *value)
{
	if (*value == '\0')
		return options_bad(s, "an empty text separates nothing");
	if (option->to)
		s->arg_file_sep = value;
	else
		s->arg_sep = value;
	return 0;
}

/* ---- the command --------------------------------------------------------- */

int
options_set_replacement(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (value && *value == '\0')
		return options_bad(s, "an empty text cannot stand for the input");
	s->o->replacement = value;
	return 0;
}

int
options_set_parens(struct options_state *s, const struct option *option, const char *value)
{
	size_t size = strlen(value);

	(void)option;
	if (size == 0 || size % 2 != 0)
		return options_bad(s, "'%s' does not halve into a left and a right parenthesis", value);
	s->o->parens = value;
	return 0;
}

int
options_set_shellquote(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	if (s->o->shellquote)
		return options_bad(s, "given twice: knee quotes once");
	s->o->shellquote = true;
	return 0;
}

/* ---- several inputs in one command --------------------------------------- */

int
options_set_max_args(struct options_state *s, const struct option *option, const char *value)
{
	int err = count_read(s, value, 0, &s->o->max_args);

	if (err < 0)
		return err;
	s->o->no_args = s->o->max_args == 0;
	s->context |= option->to != 0;
	return 0;
}

int
options_set_max_lines(struct options_state *s, const struct option *option, const char *value)
{
	int err = count_read(s, value ? value : "1", 0, &s->o->max_lines);

	if (err < 0)
		return err;
	s->context_lines |= option->names[0] == 'L';
	if (s->o->max_lines > 0)
		return 0;
	/* -L0 is -n0; -l0 is -l1. */
	if (option->names[0] == 'L')
		s->o->no_args = true;
	else
		s->o->max_lines = 1;
	return 0;
}

int
options_set_max_chars(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	return count_read(s, value, 1, &s->o->max_chars);
}

int
options_set_batch(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->o->batch = (enum batch_mode)option->to;
	s->context |= option->to == BATCH_CONTEXT;
	return 0;
}

/* ---- how many at once ---------------------------------------------------- */

static const char jobs_forms[] = "auto, auto:16, 2..16, 8, 0, 50%, +2, -1";

static int
jobs_read(const char *text, struct value_jobs *ret)
{
	return value_jobs(text, value_jobs_of_cores(text) ? knee_cores() : 1, ret);
}

/* What is wrong with text; place: "" or "FILE: ". */
static int
jobs_bad(const struct options_state *s, int err, const char *place, const char *text)
{
	if (err == -ERANGE && strstr(text, ".."))
		return options_bad(s, "%s'%s': the least is more than the most, or too many", place, text);
	if (err == -ERANGE)
		return options_bad(s, "%s'%s' is too many: 0 stands for as many as possible", place, text);
	return options_bad(s, "%s'%s' is not a number of tasks: use %s%s", place, text, jobs_forms,
	    *place ? "" : " or a file that says it");
}

/* value is no number: the file of that name says it. */
static int
jobs_file_read(const struct options_state *s, const char *value, struct value_jobs *ret)
{
	char line[64], place[128];
	int err = config_first_line(value, line, sizeof(line));

	if (err == -ENOENT || err == -ENOTDIR || err == -ENAMETOOLONG)
		return jobs_bad(s, -EINVAL, "", value);
	if (err == -EINVAL)
		return options_bad(s, "'%s' is not a file with a number of tasks", value);
	if (err < 0)
		return options_bad(s, "'%s': %s", value, strerror(-err));
	err = jobs_read(line, ret);
	(void)snprintf(place, sizeof(place), "%s: ", value);
	return err < 0 ? jobs_bad(s, err, place, line) : 0;
}

int
options_set_jobs(struct options_state *s, const struct option *option, const char *value)
{
	struct cli_options *o = s->o;
	struct value_jobs jobs;
	int err = jobs_read(value, &jobs);
	bool file = err == -EINVAL;

	(void)option;
	if (file)
		err = jobs_file_read(s, value, &jobs);
	else if (err < 0)
		err = jobs_bad(s, err, "", value);
	if (err < 0)
		return err;
	o->jobs_file = file ? value : NULL;
	o->jobs_said = true;
	o->jobs = !file && value_jobs_of_cores(value) ? value : NULL;
	o->limit = jobs.limit;
	o->limit_min = jobs.least;
	o->limit_max = jobs.most;
	return 0;
}

static int
load_read(const struct options_state *s, const char *value)
{
	bool of_cores = value_jobs_of_cores(value);

	if (value_load(value, of_cores ? knee_cores() : 1, &s->o->load_max) < 0)
		return options_bad(s, "'%s' is not a load: use 4, 2.5, 50%%, +2 or -1", value);
	s->o->load = of_cores ? value : NULL;
	return 0;
}

static int
bytes_read(const struct options_state *s, const char *value, uint64_t *ret)
{
	int err = value_count(value, UINT64_MAX / 4, ret);

	if (err == -ERANGE)
		return options_bad(s, "'%s' is too large", value);
	if (err < 0)
		return options_bad(s, "'%s' is not a size: use 500M or 2G", value);
	return 0;
}

int
options_set_load(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	return load_read(s, value);
}

int
options_set_bytes(struct options_state *s, const struct option *option, const char *value)
{
	return bytes_read(s, value, (uint64_t *)member(s, option));
}

/* GNU parallel's three limits that are no commands: two have options of their own. */
int
options_set_limit(struct options_state *s, const struct option *option, const char *value)
{
	size_t word = strcspn(value, " \t");
	const char *rest = value + word + strspn(value + word, " \t");

	(void)option;
	if (value[strspn(value, " \t\n")] == '\0')
		return options_bad(s, "an empty command says nothing");
	if (*value == '-')
		return options_bad(s, "'%s' is an option, not a command", value);
	if (word == 3 && memcmp(value, "mem", word) == 0)
		return bytes_read(s, rest, &s->o->memfree_bytes);
	if (word == 4 && memcmp(value, "load", word) == 0)
		return load_read(s, rest);
	if (word == 2 && memcmp(value, "io", word) == 0)
		return options_bad(s,
		    "'io' is not there: use 'mem SIZE', 'load N', or a command whose status "
		    "is 0 (start), 1 (not now) or 2 (end the youngest)");
	s->o->limit_command = value;
	return 0;
}

int
options_set_framing(struct options_state *s, const struct option *option, const char *value)
{
	static const struct {
		const char *name;
		enum knee_framing framing;
	} framings[] = {
		{ "line", KNEE_FRAMING_LINE },
		{ "nul", KNEE_FRAMING_NUL },
		{ "length", KNEE_FRAMING_LENGTH },
	};

	(void)option;
	for (size_t i = 0; i < sizeof(framings) / sizeof(*framings); i++) {
		if (strcmp(value, framings[i].name) == 0) {
			s->o->framing = framings[i].framing;
			s->o->framing_set = true;
			return 0;
		}
	}
	return options_bad(s, "'%s' is none of line, nul, length", value);
}

int
options_set_kind(struct options_state *s, const struct option *option, const char *value)
{
	static const struct {
		const char *name;
		enum knee_kind kind;
	} kinds[] = {
		{ "cpu", KNEE_KIND_CPU },
		{ "disk", KNEE_KIND_DISK },
		{ "net", KNEE_KIND_NET },
		{ "wait", KNEE_KIND_WAIT },
	};

	(void)option;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(value, kinds[i].name) == 0) {
			s->o->kind = kinds[i].kind;
			return 0;
		}
	}
	return options_bad(s, "'%s' is none of cpu, disk, net, wait", value);
}

int
options_set_busy_exits(struct options_state *s, const struct option *option, const char *value)
{
	int *list;
	size_t n;
	int err = value_statuses(value, &list, &n);

	(void)option;
	if (err == -ENOMEM)
		return err;
	if (err == -ERANGE)
		return options_bad(s, "'%s': a status is from 1 to 255, a range rises", value);
	if (err < 0)
		return options_bad(s, "'%s' is not a list of statuses: use 75 or 75,100-103", value);
	free(s->o->busy_exits);
	s->o->busy_exits = list;
	s->o->nbusy_exits = n;
	return 0;
}

static int
duration_read(const struct options_state *s, const char *value, const char *more, int64_t *ret)
{
	int err = value_duration(value, ret);

	if (err == -ERANGE)
		return options_bad(s, "'%s' is too long", value);
	if (err < 0)
		return options_bad(s, "'%s' is not a duration: use 10, 1.5s, 2m%s", value, more);
	return 0;
}

int
options_set_delay(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	return duration_read(s, value, " or 500ms", &s->o->delay_ns);
}

int
options_set_nice(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (value_integer(value, -20, 19, &s->o->nice) < 0)
		return options_bad(s, "'%s' is not a niceness: from -20 to 19", value);
	s->o->nice_set = true;
	return 0;
}

int
options_set_slot_var(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (*value == '\0' || strchr(value, '='))
		return options_bad(s, "'%s' is not the name of a variable", value);
	s->o->slot_var = value;
	return 0;
}

/* ---- output -------------------------------------------------------------- */

/* Two options by one name: GNU parallel's, which is about output, and how many inputs are put into
 * one command. */
int
options_set_group(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (value == NULL)
		s->grouping = GROUPING_TASKS;
	else if (strcmp(value, "auto") == 0)
		s->o->group_auto = true;
	else
		return options_bad(s, "'%s': auto, or nothing", value);
	return 0;
}

int
options_set_grouping(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->grouping = (enum options_grouping)option->to;
	return 0;
}

int
options_set_keep(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->keep = (enum options_keep)option->to;
	return 0;
}

int
options_set_tag(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	s->tag = true;
	return 0;
}

int
options_set_tagstring(struct options_state *s, const struct option *option, const char *value)
{
	char *text;
	int err = options_text_keep(s->o, value, strlen(value), &text);

	(void)option;
	if (err < 0)
		return err;
	text[value_unescape(value, text)] = '\0';
	s->o->tagstring = text;
	return 0;
}

int
options_set_color(struct options_state *s, const struct option *option, const char *value)
{
	static const char *const names[] = {
		[WHEN_AUTO] = "auto",
		[WHEN_ALWAYS] = "always",
		[WHEN_NEVER] = "never",
	};

	if (value == NULL) {
		s->o->color = (enum when)option->to;
		return 0;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(value, names[i]) == 0) {
			s->o->color = (enum when)i;
			return 0;
		}
	}
	return options_bad(s, "'%s' is none of always, auto, never", value);
}

/* option->at 0: --progress itself or its opposite; else the flag that it sets, too. */
int
options_set_progress(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->o->progress = (enum when)option->to;
	if (option->at > 0)
		*(bool *)member(s, option) = true;
	return 0;
}

int
options_set_silent(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	s->o->silent = true;
	s->o->verbose = false;
	return 0;
}

int
options_set_tmpdir(struct options_state *s, const struct option *option, const char *value)
{
	struct stat st;

	(void)option;
	/* Found out now rather than when output first needs the room. */
	if (stat(value, &st) < 0)
		return options_bad(s, "'%s': %s", value, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return options_bad(s, "'%s': %s", value, strerror(ENOTDIR));
	if (access(value, W_OK | X_OK) < 0)
		return options_bad(s, "'%s': %s", value, strerror(errno));
	s->o->tmpdir = value;
	return 0;
}

/* ---- failure ------------------------------------------------------------- */

int
options_set_halt(struct options_state *s, const struct option *option, const char *value)
{
	int err = value_halt(value, &s->o->halt);

	(void)option;
	if (err == -ERANGE)
		return options_bad(s, "'%s': the number is from 1 up, the percentage up to 100%%", value);
	if (err < 0)
		return options_bad(s,
		    "'%s' is not WHEN,WHY=N: use never, now,fail=1, soon,success=3 or now,done=50%%", value);
	return 0;
}

int
options_set_retries(struct options_state *s, const struct option *option, const char *value)
{
	uint64_t n;
	int err = value_count(value, UINT_MAX - 1, &n);

	(void)option;
	if (err < 0)
		return options_bad(s, "'%s' is not a number of attempts: use 3, or 0 for no end", value);
	s->o->retries = n == 0 ? UINT_MAX : (unsigned)n;
	return 0;
}

int
options_set_timeout(struct options_state *s, const struct option *option, const char *value)
{
	int64_t ns;
	double percent;
	int err = value_percent(value, &percent);

	(void)option;
	if (err == 0 && percent > 0) {
		s->o->timeout_ns = 0;
		s->o->timeout_frac = percent / 100;
		return 0;
	}
	if (err == -ERANGE)
		return options_bad(s, "'%s' is too large", value);
	err = duration_read(s, value, ", 1h or 200%", &ns);
	if (err < 0)
		return err;
	s->o->timeout_ns = ns;
	s->o->timeout_frac = 0;
	return 0;
}

int
options_set_term_seq(struct options_state *s, const struct option *option, const char *value)
{
	struct knee_term_step *steps;
	size_t n;
	int err = value_term_seq(value, &steps, &n);

	(void)option;
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		return options_bad(s, "'%s' is not a list SIGNAL,MILLISECONDS,...: use TERM,200,KILL", value);
	free(s->o->term_seq);
	s->o->term_seq = steps;
	s->o->nterm_seq = n;
	return 0;
}

/* ---- the log ------------------------------------------------------------------- */

int
options_set_resume(struct options_state *s, const struct option *option, const char *value)
{
	(void)value;
	s->o->resume = (enum knee_resume)option->to;
	return 0;
}

int
options_set_json(struct options_state *s, const struct option *option, const char *value)
{
	uint64_t fd = STDERR_FILENO;

	(void)option;
	if (value != NULL && value_count(value, INT_MAX, &fd) < 0)
		return options_bad(s, "'%s' is no descriptor: give its number, such as 3", value);
	s->o->json_fd = (int)fd;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * From argv to struct cli_options: config files and the variable first, then the
 * command line, then what options say only together.
 */
#include "options_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machines.h"

/* One string that the options own; a list. */
struct options_text {
	struct options_text *next;
	char text[];
};

int
options_text_keep(struct cli_options *o, const char *data, size_t size, char **ret)
{
	struct options_text *kept = malloc(sizeof(*kept) + size + 1);

	if (kept == NULL)
		return -ENOMEM;
	memcpy(kept->text, data, size);
	kept->text[size] = '\0';
	kept->next = o->texts;
	o->texts = kept;
	*ret = kept->text;
	return 0;
}

void
options_done(struct cli_options *o)
{
	struct options_text *kept, *next;

	if (o == NULL)
		return;
	for (kept = o->texts; kept; kept = next) {
		next = kept->next;
		free(kept);
	}
	free(o->inputs);
	free(o->term_seq);
	free(o->busy_exits);
	free(o->logins.texts);
	free(o->login_files.texts);
	free(o->env.texts);
	free(o->transfers.texts);
	free(o->returns.texts);
	free(o->basefiles.texts);
	free(o->machine_options.texts);
	*o = (struct cli_options){ 0 };
}

void
options_state_init(struct options_state *s, struct cli_options *o, const char *face)
{
	*o = (struct cli_options){
		.face = face,
		.delimiter = '\n',
		.json_fd = -1,
		.color = WHEN_NEVER,
		.progress = WHEN_AUTO,
	};
	*s = (struct options_state){ .o = o, .where = "", .arg_sep = ":::", .arg_file_sep = "::::" };
}

int
options_bad(const struct options_state *s, const char *format, ...)
{
	char *text;
	va_list list;
	int n;

	va_start(list, format);
	n = vasprintf(&text, format, list);
	va_end(list);
	if (n < 0)
		return -ENOMEM;
	say("%s%s: %s", s->where, s->name, text);
	free(text);
	return -EINVAL;
}

/* ---- words --------------------------------------------------------------- */

/* The option as typed, for messages: "--" and a long name, or "-" and a letter. */
static void
name_set(struct options_state *s, const char *dashes, const char *name, size_t size)
{
	if (size > sizeof(s->name) - 3)
		size = sizeof(s->name) - 3;
	snprintf(s->name, sizeof(s->name), "%s%.*s", dashes, (int)size, name);
}

/* Why an option as typed is not taken; long ones without their dashes, letters size 1. */
static int
not_found(const struct options_state *s, enum option_found found, const char *typed, size_t size)
{
	char text[512];
	const char *nearest = NULL;
	size_t n = 0;

	switch (found) {
	case OPTION_FOUND:
		return 0;
	case OPTION_LATER:
		return options_bad(s, "not in this version");
	case OPTION_LACKING:
		return options_bad(s, "an option of GNU parallel that knee does not have");
	case OPTION_AMBIGUOUS:
		options_candidates(typed, size, text, sizeof(text));
		return options_bad(s, "could be any of %s", text);
	case OPTION_UNKNOWN:
		if (size > 1)
			nearest = options_nearest(typed, size, &n);
		if (nearest)
			return options_bad(s, "no such option; --%.*s is near: try '%s --help'", (int)n,
			    nearest, s->o->face);
		return options_bad(s, "no such option: try '%s --help'", s->o->face);
	}
	return -EINVAL;
}

/* What options_words_read() is told of: the state, and the option in hand. */
struct scan {
	struct options_state *s;
	const struct option *option;
};

static int
scan_find(void *self, const char *dashes, const char *typed, size_t size)
{
	struct scan *scan = self;
	enum option_found found;

	name_set(scan->s, dashes, typed, size);
	if (dashes[1] == '-')
		found = options_find_long(typed, size, &scan->option);
	else
		found = options_find_short(*typed, &scan->option);
	if (found != OPTION_FOUND)
		return not_found(scan->s, found, typed, size);
	return (int)options_takes(scan->option->value);
}

static int
scan_set(void *self, const char *value)
{
	struct scan *scan = self;
	int err = scan->option->set(scan->s, scan->option, value);

	return err == 0 ? options_machines_said(scan->s, scan->option) : err;
}

static int
scan_refuse(void *self, enum options_takes takes)
{
	const struct scan *scan = self;

	if (takes == OPTIONS_TAKES_NONE)
		return options_bad(scan->s, "takes no value");
	return options_bad(scan->s, "needs a value: %s", scan->option->value);
}

/* "[auto]": that very word is taken. */
static bool
scan_literal(void *self, const char *word)
{
	const struct scan *scan = self;
	const char *value = scan->option->value;
	size_t size = strlen(word);

	return size > 0 && strncmp(value + 1, word, size) == 0 && value[1 + size] == ']';
}

int
options_scan(struct options_state *s, char *const *words, size_t nwords, size_t *used)
{
	struct scan scan = { .s = s };
	struct options_reader reader = {
		.self = &scan,
		.find = scan_find,
		.set = scan_set,
		.refuse = scan_refuse,
		.literal = scan_literal,
	};

	return options_words_read(&reader, words, nwords, used);
}

/* ---- together ------------------------------------------------------------ */

static enum knee_order
order(const struct options_state *s)
{
	bool keep = s->keep == KEEP_YES;

	switch (s->grouping) {
	case GROUPING_NONE:
		/* What other machines print passes through knee. */
		return machines_wanted(s->o) ? KNEE_ORDER_PIECES : KNEE_ORDER_NONE;
	case GROUPING_LINES:
		return keep ? KNEE_ORDER_INPUT : KNEE_ORDER_LINES;
	case GROUPING_TASKS:
		break;
	}
	if (s->keep == KEEP_UNSAID)
		keep = strcmp(s->o->face, "parallel") != 0;
	return keep ? KNEE_ORDER_INPUT : KNEE_ORDER_DONE;
}

/* What options mean for each other, and the defaults that depend on them. */
static void
settle(struct options_state *s)
{
	struct cli_options *o = s->o;
	const char *tmpdir = getenv("TMPDIR");

	o->order = order(s);
	if (o->group_auto && o->batch == BATCH_ARGS)
		o->batch = BATCH_XARGS;
	o->host_tag = s->tag && o->each_host;
	if (s->tag && o->tagstring == NULL && !o->each_host)
		o->tagstring = o->replacement ? o->replacement : "{}";
	if (o->colsep && !s->trim_set)
		o->trim = TRIM_BOTH;
	if (o->header && o->colsep == NULL)
		o->colsep = "\t";
	o->context = s->context || (s->context_lines && o->batch != BATCH_MULTI && o->batch != BATCH_XARGS);
	if (o->tmpdir == NULL)
		o->tmpdir = tmpdir && *tmpdir ? tmpdir : "/tmp";
}

static bool
stdin_is_source(const struct cli_options *o)
{
	for (size_t i = 0; i < o->ninputs; i++) {
		if (o->inputs[i].kind == INPUT_FILE && strcmp(o->inputs[i].path, "-") == 0)
			return true;
	}
	return o->ninputs == 0;
}

/* Print what was asked for instead of a run. */
static int
show(const struct options_state *s)
{
	const struct cli_options *o = s->o;

	switch (s->show) {
	case SHOW_NOTHING:
		batch_show_limits(stdout, o);
		break;
	case SHOW_HELP:
		options_help(stdout, o->face);
		break;
	case SHOW_VERSION:
		puts("knee " KNEE_VERSION);
		puts("Runs a command over many inputs, many at once. MIT licence.");
		break;
	case SHOW_CITATION:
		puts("knee asks for no citation.");
		break;
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		return say_error(EINVAL, "standard output: %s", strerror(errno));
	return 0;
}

/* A terminal that nobody told to type anything gets a word, not silence. */
static int
terminal_greet(const struct cli_options *o, bool no_words)
{
	if (!stdin_is_source(o) || !isatty(STDIN_FILENO))
		return 0;
	if (no_words)
		return say_error(
		    EINVAL, "no command: use %s COMMAND ::: INPUT..., or try '%s --help'", o->face, o->face);
	if (!o->silent)
		say("reading inputs from the terminal; end with Ctrl-D");
	return 0;
}

/* ---- all of it ----------------------------------------------------------- */

/* Who we are called as. */
static const char *
face_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return strcmp(name, "parallel") == 0 ? "parallel" : "knee";
}

/* The words behind the program's name: "run" is taken off. */
static int
subcommand_take(const char *face, char *const **words, size_t *nwords)
{
	if (*nwords == 0 || strcmp(face, "knee") != 0)
		return 0;
	if (options_subcommand_later((*words)[0]))
		return say_error(EINVAL, "%s: not in this version; a command of that name: knee run %s",
		    (*words)[0], (*words)[0]);
	if (strcmp((*words)[0], "run") == 0) {
		++*words;
		--*nwords;
	}
	return 0;
}

static int
read_all(struct options_state *s, char *const *words, size_t nwords, enum options_action *action)
{
	struct cli_options *o = s->o;
	bool no_words = nwords == 0;
	size_t used;
	int err = subcommand_take(o->face, &words, &nwords);

	if (err == 0)
		err = config_read(s);
	if (err == 0)
		err = options_scan(s, words, nwords, &used);
	if (err == 0)
		err = options_inputs(s, words + used, nwords - used);
	if (err < 0)
		return err;
	err = options_machines_settle(s);
	if (err < 0)
		return err;
	settle(s);
	*action = OPTIONS_RUN;
	if (s->show != SHOW_NOTHING || o->show_limits) {
		err = show(s);
		if (s->show != SHOW_NOTHING || (o->ncommand == 0 && o->ninputs == 0))
			*action = OPTIONS_DONE;
	}
	if (err == 0 && *action == OPTIONS_RUN)
		err = terminal_greet(o, no_words);
	return err;
}

int
options_parse(struct cli_options *ret, int argc, char **argv, enum options_action *action)
{
	struct cli_options o;
	struct options_state s;
	enum options_action what;
	const char *face = face_of(argc > 0 ? argv[0] : "knee");
	int err;

	say_face(face);
	options_state_init(&s, &o, face);
	err = read_all(&s, argv + (argc > 0), argc > 0 ? (size_t)argc - 1 : 0, &what);
	if (err < 0) {
		options_done(&o);
		return err == -ENOMEM ? say_error(ENOMEM, "options: %s", strerror(ENOMEM)) : err;
	}
	*ret = o;
	*action = what;
	return 0;
}

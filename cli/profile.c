/* SPDX-License-Identifier: MIT */
/*
 * knee profile: what does this command need, what bounds it, and how many at once would knee run?
 *
 *	knee profile [--json] [--time D] [OPTION]... COMMAND [WORD]... [::: INPUT...]...
 *	knee profile --forget
 *
 * The commands are really run, the same inputs several times: the first line says so. Its own
 * options are taken out before the others are read as a run's.
 */
#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "engine.h"
#include "keeper.h"
#include "machines.h"
#include "options_table.h"
#include "profile_parts.h"

#define EXIT_TROUBLE 255
#define EXIT_FAILED 1

#define TIME_NS ((int64_t)10000000000)

/* What the run of a profile is made of, so that one function can free it. */
struct program {
	struct profile profile;
	struct inputs *inputs;
	struct knee_template *command;
	struct batch *batch;
	struct engine_nice nice;
};

/* ---- own options -------------------------------------------------------------- */

static void
help_print(void)
{
	puts("Usage: knee profile [--json] [--time D] [OPTION]... COMMAND [WORD]... [::: INPUT...]...\n"
	     "       knee profile --forget\n"
	     "\n"
	     "Run COMMAND for a few inputs, alone and some together, and say what a task needs,\n"
	     "what bounds it, how many at once knee would run and how much faster that is.\n"
	     "The commands are really run, the same inputs several times, and what they print\n"
	     "is dropped: do not profile what may happen only once.\n"
	     "\n"
	     "  --json        one JSON object instead of text\n"
	     "  --time D      take about so long (10 s); a task that was started is never cut short\n"
	     "  --dry-run     print the commands, run nothing\n"
	     "  --forget      remove what was learnt in earlier runs of knee\n"
	     "\n"
	     "Options for inputs and commands are those of a run: knee --help. -j N: try no more\n"
	     "than N at once.");
}

/* True when words[0] is an option of ours; *used is how many words it takes. -EINVAL after say(). */
static int
own_take(struct profile *p, char **words, size_t *used)
{
	const char *word = words[0], *value = NULL;

	*used = 1;
	if (strcmp(word, "--json") == 0)
		return p->json = true;
	if (strcmp(word, "--forget") == 0)
		return p->forget = true;
	if (strcmp(word, "--help") == 0)
		return p->help = true;
	if (strncmp(word, "--time", 6) != 0 || (word[6] != '=' && word[6] != '\0'))
		return 0;
	if (word[6] == '=')
		value = word + 7;
	else if (words[1] != NULL)
		value = words[(*used)++];
	if (value == NULL)
		return say_error(EINVAL, "--time: needs a value: D");
	if (value_duration(value, &p->time_ns) < 0 || p->time_ns <= 0)
		return say_error(EINVAL, "--time: '%s': not a duration (10, 1.5s, 2m)", value);
	return 1;
}

/* Take ours out of argv (of main), and "profile"; the rest moves together. 0 or -EINVAL after say(). */
static int
own_options(struct profile *p, int *argc, char **argv)
{
	size_t n = (size_t)*argc, at = 2, to = 1;
	bool options = true;

	p->time_ns = TIME_NS;
	while (at < n) {
		size_t used = 1;
		int own = 0;

		options = options && argv[at][0] == '-' && argv[at][1] != '\0' && strcmp(argv[at], "--") != 0;
		if (options) {
			own = own_take(p, argv + at, &used);
			if (own < 0)
				return own;
			if (own == 0)
				used = options_word_count(argv[at]);
		}
		for (; used > 0 && at < n; used--, at++)
			if (own == 0)
				argv[to++] = argv[at];
	}
	argv[to] = NULL;
	*argc = (int)to;
	return 0;
}

/* ---- forget --------------------------------------------------------------------- */

/* 1: removed, 0: there was none, or -errno after say(). */
static int
file_remove(const char *path, const char *ending)
{
	char *name;
	int ret = 1;

	if (asprintf(&name, "%s%s", path, ending) < 0)
		return say_error(ENOMEM, "%s: %s", path, strerror(ENOMEM));
	if (unlink(name) < 0) {
		ret = 0;
		if (errno != ENOENT && errno != ENOTDIR)
			ret = say_error(errno, "%s: cannot be removed: %s", name, strerror(errno));
	}
	free(name);
	return ret;
}

static int
forget(void)
{
	static const char *const endings[] = { "", "-journal", ".broken" };
	char *path;
	int err = learnt_path(&path), removed = 0;

	if (err < 0)
		return EXIT_TROUBLE;
	for (size_t i = 0; path != NULL && err >= 0 && i < 3; i++) {
		err = file_remove(path, endings[i]);
		removed += err > 0;
	}
	if (err >= 0 && path == NULL)
		puts("nothing is remembered here: there is no place for it (HOME, KNEE_NO_MEMORY)");
	else if (err >= 0)
		printf(removed > 0 ? "removed %s\n" : "nothing to forget: no %s\n", path);
	free(path);
	if (err >= 0 && fflush(stdout) != 0)
		err = say_error(errno, "standard output: %s", strerror(errno));
	return err < 0 ? EXIT_TROUBLE : 0;
}

/* ---- a profile ------------------------------------------------------------------ */

/* Standard output, before anything is run. */
static int
notice_print(const struct profile *p)
{
	const struct cli_options *o = &p->options;

	fputs("runs this for real, the same inputs several times:", stdout);
	for (size_t i = 0; i < o->ncommand; i++) {
		putchar(' ');
		for (const char *c = o->command[i]; *c != '\0'; c++)
			putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
	}
	puts(o->ncommand == 0 ? " each input" : "");
	return fflush(stdout) != 0 ? say_error(errno, "standard output: %s", strerror(errno)) : 0;
}

static int
commands_print(const struct program *m)
{
	const struct profile_inputs *in = &m->profile.inputs;

	for (size_t i = 0; i < in->n; i++) {
		char *text = NULL;
		int err = knee_template_expand(
		    m->command, (const char *const *)in->list[i].args, in->list[i].nargs, i + 1, 1, &text);

		if (err < 0)
			return say_error(-err, "%s", strerror(-err));
		puts(text);
		free(text);
	}
	return fflush(stdout) != 0 ? say_error(errno, "standard output: %s", strerror(errno)) : 0;
}

static void
engine_fill(struct program *m)
{
	const struct cli_options *o = &m->profile.options;

	m->profile.engine = (struct knee_options){
		.command = m->command,
		.order = KNEE_ORDER_DONE,
		.limit_max = o->limit > 0 && o->limit_max == 0 ? o->limit : o->limit_max,
		.first_stdin = -1,
	};
	engine_options(o, &m->nice, &m->profile.engine);
}

static int
program_make(struct program *m)
{
	struct profile *p = &m->profile;
	int err;

	if (p->options.prompt || p->options.shellquote)
		return say_error(EINVAL, "%s: not with profile", p->options.prompt ? "-p" : "--shellquote");
	err = inputs_new(&p->options, &m->inputs);
	if (err == 0)
		err = command_templates(&p->options, m->inputs, &m->command, NULL);
	if (err == 0)
		err = batch_new(&p->options, m->inputs, m->command, &m->batch);
	if (err == 0)
		err = profile_inputs_read(&p->inputs, batch_source(m->batch));
	if (err == 0 && p->inputs.n == 0)
		err = say_error(EINVAL, "no inputs: there is nothing to try");
	engine_fill(m);
	return err;
}

static void
program_free(struct program *m)
{
	profile_inputs_done(&m->profile.inputs);
	batch_free(m->batch);
	knee_template_free(m->command);
	inputs_free(m->inputs);
	options_done(&m->profile.options);
}

/* Measure and report. The exit status. */
static int
program_run(struct program *m)
{
	struct profile *p = &m->profile;
	sigset_t before;
	int err;

	if (p->options.dry_run)
		return commands_print(m) < 0 ? EXIT_TROUBLE : 0;
	if (!p->json && notice_print(p) < 0)
		return EXIT_TROUBLE;
	sigemptyset(&before);
	(void)sigprocmask(SIG_BLOCK, NULL, &before);
	err = profile_measure(p);
	/* A signal that waits meanwhile ends the program here, as it should. */
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (err < 0 || p->interrupted)
		return EXIT_TROUBLE;
	err = p->json ? profile_print_json(p) : profile_print_text(p);
	if (err < 0)
		return EXIT_TROUBLE;
	return p->task.failed == p->task.done ? EXIT_FAILED : 0;
}

int
profile_main(int argc, char **argv)
{
	struct program m = { .profile.signals.fd = -1 };
	enum options_action action = OPTIONS_RUN;
	bool alone;
	int status;

	if (own_options(&m.profile, &argc, argv) < 0)
		return EXIT_TROUBLE;
	if (m.profile.help) {
		help_print();
		return fflush(stdout) != 0 ? EXIT_TROUBLE : 0;
	}
	if (m.profile.forget && argc == 1)
		return forget();
	if (m.profile.forget) {
		say("--forget: takes no command");
		return EXIT_TROUBLE;
	}
	if (options_parse(&m.profile.options, argc, argv, &action) < 0)
		return EXIT_TROUBLE;
	status = 0;
	if (action == OPTIONS_DONE)
		goto free_options;
	if (m.profile.options.worker != NULL || m.profile.options.plugin != NULL) {
		say("--worker, --plugin: only processes are profiled, one for each input");
		status = EXIT_TROUBLE;
		goto free_options;
	}
	if (machines_wanted(&m.profile.options)) {
		say("-S, --slf, --on: what is profiled runs on this machine: log in and profile it there");
		status = EXIT_TROUBLE;
		goto free_options;
	}
	status = keeper_start(NULL);
	if (status < 0) {
		say("cannot start: %s", strerror(-status));
		status = EXIT_TROUBLE;
		goto free_options;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	status = program_make(&m) < 0 ? EXIT_TROUBLE : program_run(&m);

free_options:
	alone = m.profile.keeper_died;
	program_free(&m);
	if (alone)
		keeper_sweep_alone();
	return status;
}

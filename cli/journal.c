/* SPDX-License-Identifier: MIT */
/*
 * --journal and what belongs to it, between the options and the library's journal.
 *
 * A journal is of one command over one list of inputs.  Inputs are known by their content, task by
 * task, wherever they are read from: the library sees to that.  What else makes tasks what they
 * are is the command line in a canonical form, "-I ,, -N 2 echo ,,": which stands for the input, and
 * how inputs are cut and put together; with --onall also the machines.  How many run at once and what is done with the output may
 * change from one start to the next.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch_limits.h"
#include "cli.h"
#include "worker.h"

#define MESSAGE_BYTES 1024

/* ---- what does not go together ---------------------------------------------- */

static const char *
resume_name(enum knee_resume resume)
{
	switch (resume) {
	case KNEE_RESUME_FAILED:
		return "--resume-failed";
	case KNEE_RETRY_FAILED:
		return "--retry-failed";
	case KNEE_RESUME:
	case KNEE_RESUME_NO:
		break;
	}
	return "--resume";
}

int
journal_check(const struct cli_options *o)
{
	if (o->resume != KNEE_RESUME_NO && o->journal == NULL && o->joblog == NULL)
		return say_error(EINVAL, "%s: from which log? Add --journal FILE or --joblog FILE",
		    resume_name(o->resume));
	if (o->sync && o->journal == NULL)
		return say_error(EINVAL, "--sync: nothing is kept: add --journal FILE");
	if (o->journal == NULL)
		return 0;
	if (o->dry_run || o->shellquote)
		return say_error(EINVAL, "--journal: %s runs nothing: leave out one of the two",
		    o->dry_run ? "--dry-run" : "--shellquote");
	if (o->shuf)
		return say_error(EINVAL,
		    "--journal: with --shuf the order is another one each time, and nothing could be "
		    "resumed: shuffle the inputs once, by shuf(1), into a file");
	if (o->group_auto)
		return say_error(EINVAL,
		    "--journal: --group auto makes other commands each time, and nothing could be "
		    "resumed: say how many inputs, by -n");
	return 0;
}

int
journal_look(const struct cli_options *o)
{
	char message[MESSAGE_BYTES] = "", here[256] = "";
	struct knee_log_run run;
	knee_log *log;
	bool some = false, alive = false;

	/* What cannot be looked into is for journal_open() to tell. */
	if (o->journal == NULL || knee_log_open(o->journal, &log, message, sizeof(message)) < 0)
		return 0;
	(void)gethostname(here, sizeof(here) - 1);
	while (knee_log_next_run(log, &run) == 1) {
		some = true;
		/* Of other machines it is not known whether theirs go on. */
		alive = run.alive && strcmp(run.host, here) == 0;
	}
	knee_log_free(log);
	if (alive)
		return say_error(
		    EBUSY, "%s: another run has it: wait for it, or use another journal", o->journal);
	if (some && o->resume == KNEE_RESUME_NO)
		return say_error(EEXIST,
		    "%s: holds a run already: add --resume to go on with it, or name another file",
		    o->journal);
	return 0;
}

/* ---- which command it is ------------------------------------------------------ */

/* name and value, as a shell would read them. */
static int
put_option(FILE *f, const char *name, const char *value)
{
	char *quoted;
	int err = knee_quote(value, &quoted);

	if (err < 0)
		return err;
	(void)fprintf(f, "%s %s ", name, quoted);
	free(quoted);
	return 0;
}

static void
put_trim(FILE *f, enum trim trim)
{
	static const char *const names[] = { "n", "l", "r", "lr" };

	if (trim != TRIM_NONE)
		(void)fprintf(f, "--trim %s ", names[trim]);
}

/* What is in one command. Where the command line's length decides, its bound counts; and with -X and
 * -m the last inputs are shared out over the tasks at once, of all machines. */
static void
put_batch(FILE *f, const struct cli_options *o)
{
	static const char *const names[] = {
		[BATCH_ARGS] = "",
		[BATCH_XARGS] = "--xargs ",
		[BATCH_MULTI] = "-m ",
		[BATCH_CONTEXT] = "-X ",
	};
	bool shared = o->batch == BATCH_MULTI || o->batch == BATCH_CONTEXT;

	(void)fputs(names[o->batch], f);
	if (shared)
		(void)fprintf(f, "-j %zu ", o->limit == UINT_MAX ? 0 : batch_slots(o));
	if (o->no_args)
		(void)fputs("-n 0 ", f);
	else if (o->max_args > 0)
		(void)fprintf(f, "%s %zu ", o->context ? "-N" : "-n", o->max_args);
	else if (o->max_lines > 0)
		(void)fprintf(f, "%s %zu ", o->context ? "-L" : "-l", o->max_lines);
	if (o->max_chars > 0 || o->batch != BATCH_ARGS)
		(void)fprintf(f, "-s %zu ", batch_limit(o));
}

static int
put_inputs(FILE *f, const struct cli_options *o, struct inputs *in)
{
	const char *const *names = NULL;
	size_t n = 0;
	int err = 0;

	if (o->colsep != NULL)
		err = put_option(f, "-C", o->colsep);
	if (err == 0 && o->header)
		err = inputs_header(in, &names, &n);
	for (size_t i = 0; i < n && err == 0; i++)
		err = put_option(f, "--header", names[i]);
	put_trim(f, o->trim);
	return err;
}

/* --onall: a task is an input and a machine, which is only known by its place. */
static int
put_machines(FILE *f, const struct cli_options *o)
{
	int err = 0;

	if (!o->each_host)
		return 0;
	(void)fputs("--onall ", f);
	for (size_t i = 0; i < o->nmachines && err == 0; i++)
		err = put_option(f, "-S", o->machines[i].name);
	return err;
}

/* With -q the words are words, else they are shell code, as it was typed. */
static int
put_words(FILE *f, const struct cli_options *o)
{
	char *quoted;
	int err;

	if (o->plugin != NULL) {
		err = put_option(f, "--plugin", o->plugin);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < o->ncommand; i++) {
		if (i > 0)
			(void)fputc(' ', f);
		if (!o->quote) {
			(void)fputs(o->command[i], f);
			continue;
		}
		err = knee_quote(o->command[i], &quoted);
		if (err < 0)
			return err;
		(void)fputs(quoted, f);
		free(quoted);
	}
	return 0;
}

/* The canonical form in *ret (malloc'd). 0 or -errno. */
static int
identity(const struct cli_options *o, struct inputs *in, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int err = 0;

	if (f == NULL)
		return -ENOMEM;
	if (o->replacement != NULL)
		err = put_option(f, "-I", o->replacement);
	if (err == 0 && o->parens != NULL)
		err = put_option(f, "--parens", o->parens);
	if (err == 0 && o->quote)
		(void)fputs("-q ", f);
	if (err == 0 && o->worker != NULL) {
		err = put_option(f, "--worker", o->worker);
		(void)fprintf(f, "--framing %s ", worker_framing_name(o));
	}
	if (err == 0)
		err = put_inputs(f, o, in);
	if (err == 0)
		err = put_machines(f, o);
	put_batch(f, o);
	if (err == 0)
		err = put_words(f, o);
	if (ferror(f) && err == 0)
		err = -ENOMEM;
	if (fclose(f) != 0 && err == 0)
		err = -ENOMEM;
	if (err == 0)
		*ret = text;
	else
		free(text);
	return err;
}

/* ---- from open to close --------------------------------------------------------- */

int
journal_open(const struct cli_options *o, struct inputs *in, const struct results *results, int argc,
    char **argv, knee_journal **ret)
{
	/* With --results nothing is printed, but for --lb. */
	bool filed = results != NULL && o->order != KNEE_ORDER_LINES;
	/* With -u the tasks write themselves, and nobody knows what and when. */
	bool known = o->order != KNEE_ORDER_NONE;
	struct knee_journal_options j = {
		.path = o->journal,
		.resume = o->resume,
		.sync = o->sync,
		.argv = (const char *const *)argv,
		.argc = (size_t)argc,
		.order = o->order,
		.out = filed ? results_fd(results) :
		    known    ? STDOUT_FILENO :
			       -1,
		.err = known && !filed ? STDERR_FILENO : -1,
	};
	char message[MESSAGE_BYTES] = "";
	char *command = NULL;
	int err;

	if (o->journal == NULL)
		return 0;
	err = identity(o, in, &command);
	if (err < 0)
		return say_error(-err, "--journal: %s", strerror(-err));
	j.command = command;
	err = knee_journal_open(&j, ret, message, sizeof(message));
	free(command);
	if (err == 0 && message[0] != '\0')
		say("%s", message);
	return err < 0 ? say_error(-err, "%s", message[0] != '\0' ? message : strerror(-err)) : 0;
}

int
journal_close(knee_journal *j, const struct cli_options *o, int status)
{
	bool said;
	int err;

	if (j == NULL)
		return status;
	said = knee_journal_error(j)[0] != '\0';
	err = knee_journal_close(j, status);
	if (err < 0 && !said)
		say("%s: %s: the end of the run is not in it, but what was finished is", o->journal,
		    strerror(-err));
	return err < 0 ? EXIT_TROUBLE : status;
}

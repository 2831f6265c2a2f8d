/* SPDX-License-Identifier: MIT */
/*
 * --results: what each task printed and how it ended, in files under a folder or in the rows of one
 * file. As with GNU parallel it takes the place of printing, but for --lb, where lines are to be seen
 * as they come.
 *
 * Tasks come when they have ended (knee_options.whole), the last attempt alone. With folders their order
 * does not matter; rows are in the order in which the output would be. With --dry-run nothing is
 * written: it could not be told from what was run.
 */
#include "results.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

/* One of dir and file is there. */
struct results {
	struct knee_template *name; /* owned; NULL: no template */
	struct results_dir *dir;
	struct results_file *file;
};

/* True, and the path without ".csv" for "-.csv", when it is the name of a file of rows. */
static bool
is_file(const char *path, enum results_format *format, bool *is_stdout)
{
	static const char *const endings[] = {
		[RESULTS_CSV] = ".csv",
		[RESULTS_TSV] = ".tsv",
		[RESULTS_JSON] = ".json",
	};
	size_t n = strlen(path);

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		size_t ending = strlen(endings[i]);

		if (n <= ending || strcmp(path + n - ending, endings[i]) != 0)
			continue;
		*format = (enum results_format)i;
		*is_stdout = n == ending + 1 && path[0] == '-';
		return true;
	}
	return false;
}

static bool
is_same(const struct stat *st, const char *path)
{
	struct stat other;

	return path != NULL && stat(path, &other) == 0 && other.st_dev == st->st_dev &&
	    other.st_ino == st->st_ino;
}

/* The file must be nothing that the run reads or keeps. */
static int
check_others(const struct results *r, const struct cli_options *o)
{
	const char *const kept[] = { o->journal, o->joblog, o->output };
	struct stat st;

	if (fstat(results_fd(r), &st) < 0 || !S_ISREG(st.st_mode) || results_fd(r) == STDOUT_FILENO)
		return 0;
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (is_same(&st, kept[i]))
			return say_error(EINVAL,
			    "--results: %s: something else is kept in it: use another file", o->results);
	for (size_t i = 0; i < o->ninputs; i++)
		if (o->inputs[i].kind == INPUT_FILE && is_same(&st, o->inputs[i].path))
			return say_error(
			    EINVAL, "--results: %s: inputs are read from it: use another file", o->results);
	return 0;
}

int
results_open(struct cli_options *o, struct results **ret)
{
	enum results_format format = RESULTS_CSV;
	bool is_stdout = false, file;
	int err;

	if (o->results == NULL || o->dry_run || o->shellquote)
		return 0;
	file = is_file(o->results, &format, &is_stdout);
	if (o->files)
		return say_error(EINVAL,
		    "--results %s: --files makes files of its own: leave out one of the two", o->results);
	if (o->resume == KNEE_RETRY_FAILED && o->journal == NULL)
		return say_error(EINVAL,
		    "--results %s: a job log does not know the inputs: use --resume-failed, or --journal",
		    o->results);
	if (file && o->order == KNEE_ORDER_LINES)
		return say_error(EINVAL,
		    "--results %s: a row is written when its task has ended: leave out --lb, or name a "
		    "folder",
		    o->results);
	if (o->order == KNEE_ORDER_NONE || (!file && o->order == KNEE_ORDER_INPUT))
		o->order = KNEE_ORDER_DONE;
	*ret = calloc(1, sizeof(**ret));
	if (*ret == NULL)
		return say_error(ENOMEM, "--results: %s", strerror(ENOMEM));
	if (!file)
		return 0;
	err = results_file_open(
	    is_stdout ? "-" : o->results, format, o->resume != KNEE_RESUME_NO, &(*ret)->file);
	return err < 0 ? err : check_others(*ret, o);
}

/* With several inputs in a command they come source by source, record by record. */
static int
names_make(const struct cli_options *o, struct inputs *in, struct results_names *ret)
{
	bool single = o->batch == BATCH_ARGS && o->max_args <= 1 && o->max_lines == 0;

	*ret = (struct results_names){ .host = o->each_host };
	if (!single && o->colsep == NULL)
		ret->sources = o->ninputs > 0 ? o->ninputs : 1;
	return o->header ? inputs_header(in, &ret->header, &ret->n) : 0;
}

/* The template, when the name is one: a value that is in no name shows in what becomes of it. */
static int
template_find(struct results *r, const struct cli_options *o, struct inputs *in)
{
	static const char *const args[] = { "\001" };
	char *text = NULL;
	int err = command_text_template(o, in, o->results, &r->name);

	if (err == 0)
		err = knee_template_expand(r->name, args, 1, 1, 1, &text);
	if (err == 0 && strcmp(text, o->results) == 0) {
		knee_template_free(r->name);
		r->name = NULL;
	}
	free(text);
	return err;
}

int
results_start(struct results *r, const struct cli_options *o, struct inputs *in, knee_journal *j)
{
	struct results_names names;
	int err = names_make(o, in, &names);

	if (err < 0)
		return err;
	if (r->file != NULL)
		return results_file_start(r->file, &names, j);
	err = template_find(r, o, in);
	if (err < 0)
		return err;
	/* With --lb it is the printing that the journal hears of. */
	err = results_dir_new(
	    o->results, r->name, &names, o->order == KNEE_ORDER_LINES ? NULL : j, o->sync, &r->dir);
	return err < 0 ? say_error(-err, "--results: %s", strerror(-err)) : 0;
}

int
results_fd(const struct results *r)
{
	return r->file != NULL ? results_file_fd(r->file) : -1;
}

struct knee_sink
results_sink(struct results *r)
{
	return r->file != NULL ? results_file_sink(r->file) : results_dir_sink(r->dir);
}

void
results_free(struct results *r)
{
	if (r == NULL)
		return;
	results_file_free(r->file);
	results_dir_free(r->dir);
	knee_template_free(r->name);
	free(r);
}

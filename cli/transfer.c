/* SPDX-License-Identifier: MIT */
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

/* A task with many arguments has as many files, but a path with {2} in it is one of the second alone. */
static bool
each_wanted(const struct cli_options *o, const char *text)
{
	bool many = o->max_args > 1 || o->max_lines > 0 || o->batch != BATCH_ARGS;

	if (!many || o->colsep != NULL || o->header)
		return false;
	for (const char *at = text; (at = strchr(at, '{')) != NULL; at++)
		if ((at[1] >= '0' && at[1] <= '9') || at[1] == '-')
			return false;
	return strchr(text, '{') != NULL || (o->replacement != NULL && strstr(text, o->replacement) != NULL);
}

static int
paths_make(const struct options_list *texts, const struct cli_options *o, struct inputs *in,
    struct knee_paths **ret, size_t *ret_n)
{
	int err = 0;

	*ret = calloc(texts->n + 1, sizeof(**ret));
	if (*ret == NULL)
		return say_error(ENOMEM, "files: %s", strerror(ENOMEM));
	for (size_t i = 0; i < texts->n && err == 0; i++) {
		struct knee_template *made = NULL;

		err = command_text_template(o, in, texts->texts[i], &made);
		if (err < 0)
			break;
		(*ret)[i] = (struct knee_paths){ .text = made, .each = each_wanted(o, texts->texts[i]) };
		*ret_n = i + 1;
	}
	return err;
}

int
transfer_make(struct transfer *t, const struct cli_options *o, struct inputs *in)
{
	int err;

	for (size_t i = 0; i < o->basefiles.n; i++)
		if (access(o->basefiles.texts[i], R_OK) < 0)
			return say_error(errno, "--basefile %s: %s", o->basefiles.texts[i], strerror(errno));
	err = paths_make(&o->transfers, o, in, &t->transfers, &t->ntransfers);
	if (err == 0)
		err = paths_make(&o->returns, o, in, &t->returns, &t->nreturns);
	return err;
}

void
transfer_tell(const struct transfer *t, const struct cli_options *o, struct knee_machines *ret)
{
	ret->transfers = t->transfers;
	ret->ntransfers = t->ntransfers;
	ret->returns = t->returns;
	ret->nreturns = t->nreturns;
	ret->basefiles = o->basefiles.texts;
	ret->nbasefiles = o->basefiles.n;
	ret->cleanup = o->cleanup;
	ret->sync = o->sync;
}

static void
paths_done(struct knee_paths *paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		knee_template_free((struct knee_template *)(uintptr_t)paths[i].text);
	free(paths);
}

void
transfer_done(struct transfer *t)
{
	paths_done(t->transfers, t->ntransfers);
	paths_done(t->returns, t->nreturns);
	*t = (struct transfer){ 0 };
}

/* SPDX-License-Identifier: MIT */
/* What the options about other machines do. */
#include "options_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machines.h"

bool
machines_wanted(const struct cli_options *o)
{
	return o->logins.n > 0 || o->login_files.n > 0 || o->on != NULL;
}

bool
machines_one_by_one(const struct cli_options *o)
{
	return o->each_host && (!o->jobs_said || strcmp(o->face, "parallel") == 0);
}

static int
list_add(struct options_list *list, const char *text)
{
	/* Their room doubles. */
	if ((list->n & (list->n - 1)) == 0) {
		const char **texts = reallocarray(list->texts, list->n > 0 ? 2 * list->n : 1, sizeof(*texts));

		if (texts == NULL)
			return -ENOMEM;
		list->texts = texts;
	}
	list->texts[list->n++] = text;
	return 0;
}

int
options_set_list(struct options_state *s, const struct option *option, const char *value)
{
	if (option->to && *value == '\0')
		return options_bad(s, "an empty text says nothing");
	return list_add((struct options_list *)(void *)((char *)s->o + option->at), value);
}

int
options_set_env(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (strcmp(value, "_") == 0)
		return options_bad(s, "'_' (all variables): knee takes names alone, an --env for each");
	if (*value == '\0' || strchr(value, '=') != NULL)
		return options_bad(s, "'%s' is not the name of a variable", value);
	return list_add(&s->o->env, value);
}

int
options_set_on(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	if (strcmp(value, "slurm") != 0 && strncmp(value, "slurm:", 6) != 0)
		return options_bad(s, "'%s' is not there: slurm, or slurm:ARGUMENTS", value);
	s->o->on = value;
	return 0;
}

int
options_set_nonall(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	s->nonall = true;
	s->o->each_host = true;
	return 0;
}

/* What config files say waits for a run that has machines, and what --env names is there without it: neither is
 * worth a word without machines. */
int
options_machines_said(struct options_state *s, const struct option *option)
{
	struct options_list *said = &s->o->machine_options;
	char *kept;
	int err;

	if (option->group != OPTION_MACHINES || *s->where != '\0' || option->set == options_set_env ||
	    option->set == options_set_nothing)
		return 0;
	s->each_host_typed |=
	    option->at == offsetof(struct cli_options, each_host) || option->set == options_set_nonall;
	s->workdir_typed |= option->at == offsetof(struct cli_options, workdir);
	for (size_t i = 0; i < said->n; i++)
		if (strcmp(said->texts[i], s->name) == 0)
			return 0;
	err = options_text_keep(s->o, s->name, strlen(s->name), &kept);
	return err == 0 ? list_add(said, kept) : err;
}

int
options_set_host_timeout(struct options_state *s, const struct option *option, const char *value)
{
	int64_t ns;
	int err = value_duration(value, &ns);

	(void)option;
	if (err == -ERANGE)
		return options_bad(s, "'%s' is too long", value);
	if (err < 0)
		return options_bad(s, "'%s' is not a duration: use 20, 500ms, 2m", value);
	/* Shorter than that a machine that is merely busy would be given up. */
	if (ns < 1000000000)
		return options_bad(s, "'%s' is too short: 1 s at least", value);
	s->o->host_timeout_ns = ns;
	return 0;
}

/* NULL stands for {}, which -I may name otherwise. */
int
options_set_transfer(struct options_state *s, const struct option *option, const char *value)
{
	(void)option;
	(void)value;
	return list_add(&s->o->transfers, NULL);
}

int
options_set_trc(struct options_state *s, const struct option *option, const char *value)
{
	int err;

	(void)option;
	if (*value == '\0')
		return options_bad(s, "an empty text says nothing");
	err = list_add(&s->o->transfers, NULL);
	if (err == 0)
		err = list_add(&s->o->returns, value);
	s->o->cleanup = true;
	return err;
}

/* --nonall: one task, without an input. */
static int
nonall_settle(struct options_state *s)
{
	static char none[] = "";
	static char *const input[] = { none };
	struct cli_options *o = s->o;

	if (!s->nonall)
		return 0;
	if (o->ninputs > 0)
		return say_error(EINVAL, "--nonall: takes no inputs: use --onall for these");
	if (o->ncommand == 0 && o->worker == NULL && s->show == SHOW_NOTHING)
		return say_error(EINVAL, "--nonall: which command? There is none");
	o->no_args = true;
	o->no_run_if_empty = o->header = o->skip_first_line = o->group_auto = false;
	o->batch = BATCH_ARGS;
	o->max_args = o->max_lines = 0;
	o->eof_string = o->colsep = NULL;
	return options_input_add(s, &(struct input_spec){ .kind = INPUT_ARGS, .args = input, .nargs = 1 });
}

/* What only config files say, of a run without machines: it is about others. */
static void
configured_drop(struct options_state *s)
{
	if (!s->each_host_typed)
		s->o->each_host = s->nonall = false;
	if (!s->workdir_typed)
		s->o->workdir = NULL;
}

int
options_machines_settle(struct options_state *s)
{
	struct cli_options *o = s->o;

	if (!machines_wanted(o))
		configured_drop(s);
	for (size_t i = 0; i < o->transfers.n; i++)
		if (o->transfers.texts[i] == NULL)
			o->transfers.texts[i] = o->replacement != NULL ? o->replacement : "{}";
	return nonall_settle(s);
}

/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_BYTES 1024

static unsigned
template_flags(const struct cli_options *o)
{
	unsigned flags = 0;

	if (o->plugin != NULL)
		return KNEE_TEMPLATE_TEXT;
	/* A worker's record is no command: nothing in it means anything. */
	if (o->worker != NULL)
		flags |= KNEE_TEMPLATE_TEXT;
	else if (o->ncommand == 0 && !o->shellquote)
		flags |= KNEE_TEMPLATE_CODE;
	if (!o->no_args)
		flags |= KNEE_TEMPLATE_APPEND;
	if (o->context)
		flags |= KNEE_TEMPLATE_CONTEXT;
	if (o->quote)
		flags |= KNEE_TEMPLATE_LITERAL;
	return flags;
}

/* How words are read; names may be asked of in. */
static int
template_options(
    const struct cli_options *o, struct inputs *in, unsigned flags, struct knee_template_options *ret)
{
	*ret = (struct knee_template_options){
		.flags = flags, .replacement = o->replacement, .parens = o->parens
	};
	return o->header ? inputs_header(in, &ret->names, &ret->nnames) : 0;
}

static int
template_make(const struct cli_options *o, struct inputs *in, const char *const *words, size_t nwords,
    unsigned flags, struct knee_template **ret)
{
	struct knee_template_options t;
	char message[MESSAGE_BYTES] = "";
	int err = template_options(o, in, flags, &t);

	if (err < 0)
		return err;
	err = knee_template_new(words, nwords, &t, ret, message, sizeof(message));
	return err < 0 ? say_error(-err, "%s", message[0] ? message : strerror(-err)) : 0;
}

int
command_text_template(
    const struct cli_options *o, struct inputs *in, const char *text, struct knee_template **ret)
{
	return template_make(o, in, &text, 1, KNEE_TEMPLATE_TEXT, ret);
}

int
command_words(const struct cli_options *o, struct inputs *in, const char *const **words, size_t *nwords,
    struct knee_template_options *how)
{
	static const char *const only_input[] = { "{}" };

	/* A plugin's words are its own: its tasks are the inputs. */
	*nwords = o->plugin != NULL ? 0 : o->ncommand;
	*words = (const char *const *)o->command;
	if (*nwords == 0) {
		*words = o->replacement != NULL ? &o->replacement : only_input;
		*nwords = 1;
	}
	return template_options(o, in, template_flags(o), how);
}

int
command_templates(const struct cli_options *o, struct inputs *in, struct knee_template **command,
    struct knee_template **tag)
{
	const char *const *words;
	size_t nwords;
	struct knee_template_options how;
	int err = command_words(o, in, &words, &nwords, &how);

	if (err == 0)
		err = template_make(o, in, words, nwords, how.flags, command);
	if (err == 0 && o->tagstring != NULL && tag != NULL)
		err = command_text_template(o, in, o->tagstring, tag);
	return err;
}

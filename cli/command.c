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

static int
template_make(const struct cli_options *o, struct inputs *in, const char *const *words, size_t nwords,
    unsigned flags, struct knee_template **ret)
{
	struct knee_template_options t = {
		.flags = flags, .replacement = o->replacement, .parens = o->parens
	};
	char message[MESSAGE_BYTES] = "";
	int err;

	if (o->header) {
		err = inputs_header(in, &t.names, &t.nnames);
		if (err < 0)
			return err;
	}
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
command_templates(const struct cli_options *o, struct inputs *in, struct knee_template **command,
    struct knee_template **tag)
{
	static const char *const only_input[] = { "{}" };
	/* A plugin's words are its own: its tasks are the inputs. */
	size_t nwords = o->plugin != NULL ? 0 : o->ncommand;
	const char *const *words = nwords > 0 ? (const char *const *)o->command : only_input;
	const char *const only_replacement[] = { o->replacement };
	int err;

	if (nwords == 0 && o->replacement != NULL)
		words = only_replacement;
	err = template_make(o, in, words, nwords > 0 ? nwords : 1, template_flags(o), command);
	if (err == 0 && o->tagstring != NULL && tag != NULL)
		err = command_text_template(o, in, o->tagstring, tag);
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * What follows the options: the words of the command, then sources of inputs, each
 * behind one of the four separators.
 *
 *	knee gzip -k ::: a b :::+ c d :::: list
 *	     command     words    in step   lines of a file
 *
 * A separator without words behind it is a source without inputs, so that
 * "knee rm ::: $(list)" does nothing when the list is empty; it does not turn to stdin.
 */
#include "options_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
options_input_add(struct options_state *s, const struct input_spec *spec)
{
	struct cli_options *o = s->o;

	if (o->ninputs == s->inputs_cap) {
		size_t cap = s->inputs_cap ? 2 * s->inputs_cap : 8;
		struct input_spec *inputs = reallocarray(o->inputs, cap, sizeof(*inputs));

		if (inputs == NULL)
			return -ENOMEM;
		o->inputs = inputs;
		s->inputs_cap = cap;
	}
	o->inputs[o->ninputs] = *spec;
	o->inputs[o->ninputs].linked &= o->ninputs > 0;
	o->ninputs++;
	return 0;
}

/* word is text, or text and a "+"; says which. */
static bool
separator_is(const char *word, const char *text, bool *linked)
{
	size_t size = strlen(text);

	if (strncmp(word, text, size) != 0)
		return false;
	*linked = strcmp(word + size, "+") == 0;
	return *linked || word[size] == '\0';
}

/* True if the word separates; *spec says what follows. */
static bool
separator(const struct options_state *s, const char *word, struct input_spec *spec)
{
	*spec = (struct input_spec){ .kind = INPUT_ARGS };
	if (separator_is(word, s->arg_sep, &spec->linked))
		return true;
	spec->kind = INPUT_FILE;
	return separator_is(word, s->arg_file_sep, &spec->linked);
}

/* The n words behind one separator. */
static int
group_add(struct options_state *s, struct input_spec spec, char *const *words, size_t n)
{
	int err = 0;

	if (spec.kind == INPUT_ARGS || n == 0) {
		spec.kind = INPUT_ARGS;
		spec.args = words;
		spec.nargs = n;
		return options_input_add(s, &spec);
	}
	for (size_t i = 0; i < n && err == 0; i++) {
		spec.path = words[i];
		err = options_input_add(s, &spec);
	}
	return err;
}

int
options_inputs(struct options_state *s, char *const *words, size_t nwords)
{
	struct input_spec spec, next = { 0 };
	size_t at = 0;
	bool linked;

	if (separator_is(s->arg_file_sep, s->arg_sep, &linked) ||
	    separator_is(s->arg_sep, s->arg_file_sep, &linked))
		return say_error(EINVAL, "--arg-sep '%s' and --arg-file-sep '%s' cannot be told apart",
		    s->arg_sep, s->arg_file_sep);
	while (at < nwords && !separator(s, words[at], &spec))
		at++;
	s->o->command = words;
	s->o->ncommand = at;
	while (at < nwords) {
		size_t start = ++at;
		int err;

		while (at < nwords && !separator(s, words[at], &next))
			at++;
		err = group_add(s, spec, words + start, at - start);
		if (err < 0)
			return err;
		spec = next;
	}
	if (s->link) {
		s->o->link_wrap = true;
		for (size_t i = 1; i < s->o->ninputs; i++)
			s->o->inputs[i].linked = true;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a command with many inputs the first tell enough. */
#define ARGS 4
#define WORDS 16
/* And of a script its beginning. */
#define SCRIPT_BYTES 1024

static size_t program_find(const char *const *words, size_t n);
static const char *base_name(const char *word);

int
kn_namer_init(struct kn_namer *n, const struct knee_options *o)
{
	*n = (struct kn_namer){ .template = o->command, .program = "" };
	if (o->executor != KNEE_EXEC_PROCESS && o->executor != KNEE_EXEC_DRY)
		n->template = NULL;
	if (o->plugin != NULL)
		n->program = o->plugin->name != NULL ? o->plugin->name :
		    o->plugin_argc > 0               ? o->plugin_argv[0] :
						       "";
	else if (o->nworker > 0)
		n->program = o->worker[program_find(o->worker, o->nworker)];
	n->program = base_name(n->program);
	return kn_places_new(&n->places);
}

void
kn_namer_done(struct kn_namer *n)
{
	kn_places_free(n->places);
	kn_command_done(&n->command);
	*n = (struct kn_namer){ 0 };
}

static const char *
base_name(const char *word)
{
	const char *slash = strrchr(word, '/');

	return slash != NULL && slash[1] != '\0' ? slash + 1 : word;
}

static bool
is_one_of(const char *word, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(word, *list) == 0)
			return true;
	return false;
}

/* X=1 before a command. */
static bool
is_assignment(const char *word)
{
	size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");

	return n > 0 && word[n] == '=';
}

/* The word that says what runs: behind assignments, what only starts another program, and
 * interpreters, whose script it is that matters. */
static size_t
program_find(const char *const *words, size_t n)
{
	static const char *const starters[] = { "env", "nohup", "exec", "command", "time", "sudo", NULL };
	static const char *const interpreters[] = { "python", "python3", "perl", "ruby", "node", "sh", "bash",
		"dash", "zsh", NULL };
	size_t i = 0;

	while (i + 1 < n && (is_assignment(words[i]) || is_one_of(base_name(words[i]), starters)))
		i++;
	if (i + 1 < n && is_one_of(base_name(words[i]), interpreters) && words[i + 1][0] != '-')
		i++;
	return i;
}

/* The ending of a file's name; "" when it has none that looks like one. */
static void
ending_of(const char *word, char *ret, size_t size)
{
	const char *dot = strrchr(base_name(word), '.');
	size_t n = dot != NULL ? strlen(dot + 1) : 0;

	ret[0] = '\0';
	if (n == 0 || n >= size || dot == base_name(word) || word[0] == '-' ||
	    strspn(dot + 1, "0123456789") == n)
		return;
	memcpy(ret, dot + 1, n + 1);
}

/* Cut the beginning of a script into words in place, as far as blanks and quotes go. */
static size_t
script_words(char *script, const char **words, size_t max)
{
	static const char between[] = " \t\n;|&()<>'\"";
	size_t n = 0;

	while (n < max) {
		script += strspn(script, between);
		if (*script == '\0')
			break;
		words[n++] = script;
		script += strcspn(script, between);
		if (*script == '\0')
			break;
		*script++ = '\0';
	}
	return n;
}

/* The words of the command for this input: the first of them, from the program on. How many; 0: none, or
 * -ENOMEM. */
static int
words_get(struct kn_namer *n, const struct knee_input *input, const char *words[WORDS])
{
	const struct kn_fill fill = {
		.args = input->args,
		.nargs = input->nargs < ARGS ? input->nargs : ARGS,
		.seq = 1,
		.slot = 1,
	};
	size_t count, at;
	int err;

	if (n->template == NULL) {
		words[0] = n->program;
		for (count = 0; count < fill.nargs && count < WORDS - 1; count++)
			words[count + 1] = fill.args[count];
		return (int)count + 1;
	}
	err = kn_template_command(n->template, &fill, &n->command);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	if (n->command.shell) {
		if (n->command.text.len > SCRIPT_BYTES)
			n->command.text.data[SCRIPT_BYTES] = '\0';
		count = script_words(n->command.text.data, words, WORDS);
	} else {
		count = n->command.argc < WORDS ? n->command.argc : WORDS;
		for (size_t i = 0; i < count; i++)
			words[i] = n->command.argv[i];
	}
	at = program_find(words, count);
	memmove(words, words + at, (count - at) * sizeof(*words));
	return (int)(count - at);
}

int
kn_namer_name(struct kn_namer *n, const struct knee_input *input, struct kn_key_name *ret)
{
	const char *words[WORDS];
	int count = words_get(n, input, words);

	*ret = (struct kn_key_name){ .place.spindle = -1 };
	if (count <= 0)
		return count;
	strncpy(ret->program, base_name(words[0]), sizeof(ret->program) - 1);
	for (int i = 1; i < count && ret->kind[0] == '\0'; i++)
		ending_of(words[i], ret->kind, sizeof(ret->kind));
	if (n->places != NULL && count > 1)
		kn_places_find(n->places, words + 1, (size_t)count - 1, &ret->place);
	return 0;
}

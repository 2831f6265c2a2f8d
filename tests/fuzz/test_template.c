/* SPDX-License-Identifier: MIT */
/*
 * Command templates: parsed, filled in three ways, measured. That they mean the same is seen by
 * reading the script as a shell would read it, as far as templates for direct execution go.
 *
 * Bytes: flags; how many; [replacement NUL] [parens NUL] names, words, arguments, each with a NUL.
 */
#include "core/template.h"

#include <errno.h>

#include "core/shell.h"
#include "core/template_parts.h"
#include "fuzz.h"

/* As many digits as kn_template_size takes them to have. */
#define SEQ 12345678
#define SLOT 1234

enum { FLAGS = 31, HAS_REPLACEMENT = 32, HAS_PARENS = 64 };

/* The next word of the script at *at as a shell reads it, in to; false at the end. There are no
 * expansions in it: '...', "'" and \ before a byte is all. */
static bool
word_read(const char **at, struct kn_buf *to)
{
	const char *s = *at;

	to->len = 0;
	while (kn_shell_blank(*s))
		s++;
	if (*s == '\0')
		return false;
	while (*s != '\0' && !kn_shell_blank(*s)) {
		if (*s == '\'' || *s == '"') {
			char quote = *s++;

			for (; *s != quote; s++) {
				HOLDS(*s != '\0', "a quote that does not end: %s", *at);
				(void)kn_buf_addc(to, *s);
			}
			s++;
			continue;
		}
		s += *s == '\\';
		(void)kn_buf_addc(to, *s++);
	}
	(void)kn_buf_addc(to, '\0');
	*at = s;
	return true;
}

/* The words that run directly are those that a shell would make of the script. */
static void
check_words(const struct kn_command *c, const char *script)
{
	struct kn_buf word = { 0 };
	const char *at = script;
	size_t n = 0;

	while (word_read(&at, &word)) {
		HOLDS(n < c->argc, "a shell finds more than %zu words: %s", c->argc, script);
		HOLDS(strcmp(word.data, c->argv[n]) == 0, "'%s' is '%s' to a shell: %s", c->argv[n],
		    word.data, script);
		n++;
	}
	HOLDS(n == c->argc, "%zu words, %zu to a shell: %s", c->argc, n, script);
	HOLDS(c->argv[n] == NULL, "no end");
	kn_buf_done(&word);
}

static void
check_size(
    const struct knee_template *t, const struct kn_fill *fill, const struct kn_command *c, const char *script)
{
	size_t size = knee_template_size(t, fill->args, fill->nargs), want = 0;

	if (!t->direct) {
		want = strlen(script) + 1;
		/* A reserved word that an argument made has a backslash before it. */
		HOLDS(size == want || (t->first_open && size + 1 == want), "size %zu, not %zu: %s", size,
		    want, script);
		return;
	}
	if (c->shell)
		return;
	for (size_t i = 0; i < c->argc; i++)
		want += strlen(c->argv[i]) + 1;
	HOLDS(size == want, "size %zu, not %zu: %s", size, want, script);
}

static bool
has_index(const struct knee_template *t)
{
	for (size_t i = 0; i < t->nparts; i++)
		if (t->parts[i].kind == KN_PART_ARG)
			return true;
	return false;
}

static void
check_sum(const struct knee_template *t, const char *const *args, size_t nargs)
{
	size_t none = knee_template_size(t, NULL, 0), all = knee_template_size(t, args, nargs), sum = none;

	if (has_index(t) || none == 0 || nargs == 0)
		return;
	for (size_t i = 0; i < nargs; i++)
		sum += knee_template_size(t, args + i, 1) - none;
	HOLDS(sum == all, "sizes: %zu together, %zu one by one", all, sum);
}

static void
check_fill(const struct knee_template *t, const char *const *args, size_t nargs, struct kn_command *c)
{
	const struct kn_fill fill = { .args = args, .nargs = nargs, .seq = SEQ, .slot = SLOT };
	struct kn_buf script = { 0 };
	char *text = NULL;

	HOLDS(knee_template_expand(t, args, nargs, SEQ, SLOT, &text) == 0, "no memory");
	HOLDS(kn_template_script(t, &fill, &script) == 0 && kn_buf_addc(&script, '\0') == 0, "no memory");
	HOLDS(kn_template_command(t, &fill, c) == 0, "no memory");
	if (c->shell)
		HOLDS(strcmp(c->text.data, script.data) == 0, "two scripts: %s", script.data);
	else if ((t->flags & KNEE_TEMPLATE_TEXT) == 0)
		check_words(c, script.data);
	if (nargs > 0)
		check_size(t, &fill, c, text);
	free(text);
	kn_buf_done(&script);
}

static void
check_quote(const char *s)
{
	struct kn_buf word = { 0 };
	const char *at;
	char *quoted = NULL;

	HOLDS(knee_quote(s, &quoted) == 0, "no memory");
	at = quoted;
	HOLDS(word_read(&at, &word) && strcmp(word.data, s) == 0, "%s is not %s", quoted, s);
	HOLDS(*at == '\0', "more than a word: %s", quoted);
	HOLDS(kn_shell_quoted_size(s, strlen(s), KN_SHELL_QUOTE_NEEDED) == strlen(quoted), "size of %s",
	    quoted);
	free(quoted);
	kn_buf_done(&word);
}

static void
check_template(
    const struct knee_template_options *o, const struct fuzz_words *words, const struct fuzz_words *args)
{
	const char *const *arg = (const char *const *)args->words;
	struct knee_template *t = NULL;
	struct kn_command c = { 0 };
	char err[80] = "";
	int got = knee_template_new((const char *const *)words->words, words->n, o, &t, err, sizeof(err));

	HOLDS(got == 0 || (got == -EINVAL && err[0] != '\0' && t == NULL), "%d: %s", got, err);
	if (got < 0)
		return;
	for (size_t n = 0; n <= args->n; n++)
		check_fill(t, arg, n, &c);
	check_sum(t, arg, args->n);
	kn_command_done(&c);
	knee_template_free(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes b = { data, size };
	uint8_t flags = fuzz_byte(&b), count = fuzz_byte(&b);
	char *replacement = (flags & HAS_REPLACEMENT) != 0 ? fuzz_string(&b) : NULL;
	char *parens = (flags & HAS_PARENS) != 0 ? fuzz_string(&b) : NULL;
	struct fuzz_words names = fuzz_words(&b, count & 3), words = fuzz_words(&b, 1 + (count >> 2 & 7));
	struct fuzz_words args = fuzz_words(&b, count >> 5);
	const struct knee_template_options o = { .flags = flags & FLAGS,
		.replacement = replacement,
		.parens = parens,
		.names = (const char *const *)names.words,
		.nnames = names.n };

	check_template(&o, &words, &args);
	for (size_t i = 0; i < args.n; i++)
		check_quote(args.words[i]);
	free(replacement);
	free(parens);
	fuzz_words_free(&names);
	fuzz_words_free(&words);
	fuzz_words_free(&args);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Command templates filled in: for the shell, for direct execution, as plain text.
 *
 * Direct execution and the shell must mean the same. The typed text is run directly
 * when a shell would only split it at its blanks (template_parse.c finds that out
 * once); then the words are built here as the shell would have built them:
 *  - an argument is data, byte for byte; an empty one is an empty word;
 *  - a word of which nothing is left vanishes: {2} where there is no second
 *    argument, {} without arguments;
 *  - several arguments in one {} part the word that holds it: pre{}post with a and
 *    b is prea bpost. With -X the word is repeated: preapost prebpost.
 * Where the first word is known only with the arguments it is looked at again: a
 * builtin like cd goes to the shell.
 *
 * In a script an argument is quoted, also when it is a reserved word that would
 * be syntax where it stands.
 */
#include "template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "template_parts.h"

enum output {
	OUTPUT_ARGV,   /* words as they are, a NUL after each */
	OUTPUT_SCRIPT, /* the typed text, arguments quoted */
	OUTPUT_TEXT,   /* the typed text, arguments as they are */
};

/* One filling in. */
struct filling {
	const struct knee_template *t;
	const struct kn_fill *fill;
	struct kn_buf *to;
	enum output output;
	bool open;   /* ARGV: the current word exists, be it empty */
	size_t argc; /* ARGV: words closed */
};

/* ---- pieces of an argument ---------------------------------------------- */

/* Length of s without its extension, the dot and all after it; never beyond a slash. */
static size_t
stem_len(const char *s, size_t n)
{
	for (size_t i = n; i > 0 && s[i - 1] != '/'; i--)
		if (s[i - 1] == '.')
			return i - 1;
	return n;
}

static size_t
base_at(const char *s, size_t n)
{
	while (n > 0 && s[n - 1] != '/')
		n--;
	return n;
}

/* The folder, as dirname: slashes at the end do not count. */
static struct kn_slice
dir_of(const char *s, size_t n)
{
	while (n > 1 && s[n - 1] == '/')
		n--;
	n = n == 1 && s[0] == '/' ? 1 : base_at(s, n);
	while (n > 1 && s[n - 1] == '/')
		n--;
	return n > 0 ? (struct kn_slice){ s, n } : (struct kn_slice){ ".", 1 };
}

struct kn_slice
kn_template_slice(const char *s, enum kn_part_form form)
{
	size_t n = strlen(s);
	size_t at;

	switch (form) {
	case KN_FORM_WHOLE:
		break;
	case KN_FORM_STEM:
		return (struct kn_slice){ s, stem_len(s, n) };
	case KN_FORM_BASE:
		at = base_at(s, n);
		return (struct kn_slice){ s + at, n - at };
	case KN_FORM_DIR:
		return dir_of(s, n);
	case KN_FORM_BASE_STEM:
		at = base_at(s, n);
		return (struct kn_slice){ s + at, stem_len(s + at, n - at) };
	}
	return (struct kn_slice){ s, n };
}

const char *
kn_template_arg(const struct kn_fill *fill, long index)
{
	size_t n = (size_t)(index < 0 ? -index : index);

	if (n > fill->nargs)
		return NULL;
	return fill->args[index < 0 ? fill->nargs - n : n - 1];
}

enum kn_shell_quoting
kn_template_quoting(const struct knee_template *t)
{
	return t->direct ? KN_SHELL_QUOTE_NEEDED : KN_SHELL_QUOTE_RESERVED;
}

/* ---- putting ------------------------------------------------------------ */

static int
arg_put(struct filling *f, const char *arg, enum kn_part_form form)
{
	struct kn_slice slice = kn_template_slice(arg, form);

	f->open = true;
	if (f->output == OUTPUT_SCRIPT)
		return kn_shell_quote(f->to, slice.s, slice.n, kn_template_quoting(f->t));
	return kn_buf_add(f->to, slice.s, slice.n);
}

/* The end of a word, and the start of another. */
static int
word_break(struct filling *f)
{
	if (f->output != OUTPUT_ARGV)
		return kn_buf_addc(f->to, ' ');
	if (!f->open)
		return 0;
	f->open = false;
	f->argc++;
	return kn_buf_addc(f->to, '\0');
}

static int
all_put(struct filling *f, enum kn_part_form form)
{
	int err = 0;

	for (size_t i = 0; i < f->fill->nargs && err == 0; i++) {
		if (i > 0)
			err = word_break(f);
		if (err == 0)
			err = arg_put(f, f->fill->args[i], form);
	}
	return err;
}

/* each: the one argument that {} is in this word, NULL: all of them. */
static int
part_put(struct filling *f, const struct kn_part *part, const char *each)
{
	const char *arg;

	switch (part->kind) {
	case KN_PART_TEXT:
		f->open = true;
		/* An empty word has no text to point to. */
		return part->len > 0 ? kn_buf_add(f->to, f->t->text.data + part->at, part->len) : 0;
	case KN_PART_ALL:
		return each ? arg_put(f, each, part->form) : all_put(f, part->form);
	case KN_PART_ARG:
		arg = kn_template_arg(f->fill, part->index);
		return arg ? arg_put(f, arg, part->form) : 0;
	case KN_PART_SEQ:
		f->open = true;
		return kn_buf_addu(f->to, f->fill->seq);
	case KN_PART_SLOT:
		f->open = true;
		return kn_buf_addu(f->to, f->fill->slot);
	}
	return 0;
}

static int
parts_put(struct filling *f, const struct kn_word *word, const char *each)
{
	int err = 0;

	for (size_t i = 0; i < word->count && err == 0; i++)
		err = part_put(f, &f->t->parts[word->first + i], each);
	return err;
}

/* A word without the blanks before it; with -X as often as there are arguments. */
static int
word_put(struct filling *f, const struct kn_word *word)
{
	int err = 0;

	if (!word->repeat || f->fill->nargs == 0)
		return parts_put(f, word, NULL);
	for (size_t i = 0; i < f->fill->nargs && err == 0; i++) {
		if (i > 0)
			err = word_break(f);
		if (err == 0)
			err = parts_put(f, word, f->fill->args[i]);
	}
	return err;
}

static int
template_put(struct filling *f)
{
	const struct knee_template *t = f->t;
	int err = 0;

	for (size_t i = 0; i < t->nwords && err == 0; i++) {
		const struct kn_word *word = &t->words[i];

		if (f->output == OUTPUT_ARGV)
			err = word_break(f);
		else if (word->blank_len > 0)
			err = kn_buf_add(f->to, t->text.data + word->blank_at, word->blank_len);
		if (err == 0)
			err = word_put(f, word);
	}
	if (err == 0 && f->output == OUTPUT_ARGV)
		err = word_break(f);
	return err;
}

/* ---- scripts ------------------------------------------------------------ */

/* c before the byte at. */
static int
byte_insert(struct kn_buf *b, size_t at, char c)
{
	int err = kn_buf_addc(b, c);

	if (err < 0)
		return err;
	memmove(b->data + at + 1, b->data + at, b->len - 1 - at);
	b->data[at] = c;
	return 0;
}

/* An argument in the first word of the script at start may have made it a reserved
 * word. Quoted it is none, and the name of a program. */
static int
first_word_guard(struct kn_buf *b, size_t start)
{
	size_t end;

	while (start < b->len && kn_shell_blank(b->data[start]))
		start++;
	for (end = start; end < b->len && !kn_shell_blank(b->data[end]);)
		end++;
	if (start == end || !kn_shell_reserved(b->data + start, end - start))
		return 0;
	return byte_insert(b, start, '\\');
}

/* With -q: the words that direct execution would get, each of them quoted. */
static int
literal_script_put(const struct knee_template *t, const struct kn_fill *fill, struct kn_buf *ret)
{
	struct kn_buf words = { 0 };
	struct filling f = { .t = t, .fill = fill, .to = &words, .output = OUTPUT_ARGV };
	int err = template_put(&f);

	for (size_t at = 0; at < words.len && err == 0;) {
		const char *word = words.data + at;
		size_t n = strlen(word);

		if (at > 0)
			err = kn_buf_addc(ret, ' ');
		if (err == 0)
			err = kn_shell_quote(ret, word, n, KN_SHELL_QUOTE_NEEDED);
		at += n + 1;
	}
	kn_buf_done(&words);
	return err;
}

static int
script_put(const struct knee_template *t, const struct kn_fill *fill, struct kn_buf *ret)
{
	bool quoted = (t->flags & (KNEE_TEMPLATE_CODE | KNEE_TEMPLATE_TEXT)) == 0;
	struct filling f = {
		.t = t, .fill = fill, .to = ret, .output = quoted ? OUTPUT_SCRIPT : OUTPUT_TEXT
	};
	size_t start = ret->len;
	int err;

	if (quoted && (t->flags & KNEE_TEMPLATE_LITERAL) != 0)
		err = literal_script_put(t, fill, ret);
	else
		err = template_put(&f);
	if (err == 0 && quoted && (t->first_open || (t->flags & KNEE_TEMPLATE_LITERAL) != 0))
		err = first_word_guard(ret, start);
	return err;
}

int
kn_template_script(const struct knee_template *t, const struct kn_fill *fill, struct kn_buf *ret)
{
	size_t start = ret->len;
	int err = script_put(t, fill, ret);

	/* sh -c would take it for one more of its options. */
	if (err == 0 && ret->len > start && (t->flags & KNEE_TEMPLATE_TEXT) == 0 &&
	    (ret->data[start] == '-' || ret->data[start] == '+'))
		err = byte_insert(ret, start, ' ');
	return err;
}

/* ---- commands ----------------------------------------------------------- */

/* Point argv to the argc words in text. */
static int
argv_set(struct kn_command *c, size_t argc)
{
	char *word = c->text.data;

	if (argc >= c->cap) {
		size_t cap = c->cap ? c->cap : 16;
		char **argv;

		while (cap <= argc)
			cap *= 2;
		argv = realloc(c->argv, cap * sizeof(*argv));
		if (argv == NULL)
			return -ENOMEM;
		c->argv = argv;
		c->cap = cap;
	}
	for (size_t i = 0; i < argc; i++) {
		c->argv[i] = word;
		word += strlen(word) + 1;
	}
	c->argv[argc] = NULL;
	c->argc = argc;
	return 0;
}

/* The words of a script that is plain text: NULs take the place of the blanks. */
static size_t
script_split(struct kn_buf *b)
{
	size_t len = 0;
	size_t argc = 0;

	for (size_t i = 0; i < b->len; i++) {
		if (!kn_shell_blank(b->data[i])) {
			b->data[len++] = b->data[i];
		} else if (len > 0 && b->data[len - 1] != '\0') {
			b->data[len++] = '\0';
			argc++;
		}
	}
	/* The text was NUL-terminated: there is room for the last one. */
	if (len > 0 && b->data[len - 1] != '\0') {
		b->data[len++] = '\0';
		argc++;
	}
	b->len = len;
	return argc;
}

/* True when the text in b, of arguments that are code, needs no shell. */
static bool
code_plain(const struct kn_buf *b)
{
	size_t start = 0;
	size_t end;

	if (!kn_shell_plain(b->data, b->len))
		return false;
	while (start < b->len && kn_shell_blank(b->data[start]))
		start++;
	for (end = start; end < b->len && !kn_shell_blank(b->data[end]);)
		end++;
	return end > start && !kn_shell_acts(b->data + start, end - start);
}

static int
shell_command(const struct knee_template *t, const struct kn_fill *fill, struct kn_command *ret)
{
	int err;

	ret->text.len = 0;
	err = kn_template_script(t, fill, &ret->text);
	if (err == 0)
		err = kn_buf_addc(&ret->text, '\0');
	if (err < 0)
		return err;
	ret->text.len--;
	if ((t->flags & KNEE_TEMPLATE_CODE) != 0 && code_plain(&ret->text))
		return argv_set(ret, script_split(&ret->text));
	ret->shell = true;
	return 0;
}

int
kn_template_command(const struct knee_template *t, const struct kn_fill *fill, struct kn_command *ret)
{
	struct filling f = { .t = t, .fill = fill, .to = &ret->text, .output = OUTPUT_ARGV };
	bool literal = (t->flags & KNEE_TEMPLATE_LITERAL) != 0;
	int err;

	ret->shell = false;
	ret->argc = 0;
	ret->text.len = 0;
	if (ret->argv != NULL)
		ret->argv[0] = NULL;
	if (!t->direct)
		return shell_command(t, fill, ret);
	err = template_put(&f);
	if (err < 0)
		return err;
	if (f.argc == 0)
		return shell_command(t, fill, ret);
	if (t->first_open && !literal && kn_shell_acts(ret->text.data, strlen(ret->text.data)))
		return shell_command(t, fill, ret);
	return argv_set(ret, f.argc);
}

void
kn_command_done(struct kn_command *c)
{
	kn_buf_done(&c->text);
	free(c->argv);
	*c = (struct kn_command){ 0 };
}

/* ---- the public half ---------------------------------------------------- */

/* What was put into text as a string that the caller owns; err: how that went. */
static int
text_end(struct kn_buf *text, int err, char **ret)
{
	if (err == 0)
		err = kn_buf_addc(text, '\0');
	if (err < 0)
		kn_buf_done(text);
	else
		*ret = text->data;
	return err;
}

int
knee_template_expand(const struct knee_template *t, const char *const *args, size_t nargs, uint64_t seq,
    unsigned slot, char **ret)
{
	const struct kn_fill fill = { .args = args, .nargs = nargs, .seq = seq, .slot = slot };
	struct kn_buf text = { 0 };
	int err = script_put(t, &fill, &text);

	return text_end(&text, err, ret);
}

int
knee_template_by_shell(const struct knee_template *t, const char *const *args, size_t nargs)
{
	const struct kn_fill fill = { .args = args, .nargs = nargs, .seq = 1, .slot = 1 };
	struct kn_command c = { 0 };
	int err = kn_template_command(t, &fill, &c);
	int by_shell = c.shell;

	kn_command_done(&c);
	return err < 0 ? err : by_shell;
}

int
knee_quote(const char *s, char **ret)
{
	struct kn_buf text = { 0 };
	int err = kn_shell_quote(&text, s, strlen(s), KN_SHELL_QUOTE_NEEDED);

	return text_end(&text, err, ret);
}

bool
kn_template_uses_slot(const struct knee_template *t)
{
	bool uses = false;

	for (size_t i = 0; t != NULL && i < t->nparts; i++)
		uses = uses || t->parts[i].kind == KN_PART_SLOT;
	return uses;
}

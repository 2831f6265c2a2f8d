/* SPDX-License-Identifier: MIT */
/*
 * From the words that the user typed to the parts of struct knee_template.
 *
 * What stands for something:
 *	{} {.} {/} {//} {/.}      every argument, or a piece of each
 *	{n} {n.} {n/} ... {-n}    one argument, counted from the end with a minus
 *	{name} {name.} ...        the same by the name of its column
 *	{#} {%}                   the task's number, its slot
 * A name goes before all else that it could be read as. What is no such form
 * stays as typed, braces and all.
 *
 * -I, as in GNU parallel: its text takes the place of {}, and {} is literal.
 * The forms with a suffix stay. {n} goes with {}: with -I '{x}' it is {nx}, and
 * with a text that is not in braces there is none.
 */
#include "template.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "template_parts.h"

struct parser {
	const struct knee_template_options *options; /* borrowed */
	struct knee_template *t;                     /* borrowed */
	const char *replacement;                     /* borrowed */
	size_t replacement_len;
	bool literal;
};

/* An index that no task has arguments for. */
#define INDEX_MAX 999999999L

static const struct {
	const char *text;
	enum kn_part_form form;
} suffixes[] = {
	{ "//}", KN_FORM_DIR },
	{ "/.}", KN_FORM_BASE_STEM },
	{ "/}", KN_FORM_BASE },
	{ ".}", KN_FORM_STEM },
};

/* ---- recognising -------------------------------------------------------- */

/* Length of the suffix and brace at s, 0 if there is none. */
static size_t
suffix_match(const char *s, enum kn_part_form *form)
{
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t n = strlen(suffixes[i].text);

		if (strncmp(s, suffixes[i].text, n) == 0) {
			*form = suffixes[i].form;
			return n;
		}
	}
	return 0;
}

/* {name}, {name.} ... at s: the whole of a name goes before a shorter one with a suffix. */
static size_t
name_match(const struct parser *p, const char *s, struct kn_part *ret)
{
	size_t best = 0;

	for (size_t i = 0; i < p->options->nnames; i++) {
		const char *name = p->options->names[i];
		size_t n = strlen(name);
		size_t tail = 0;
		enum kn_part_form form = KN_FORM_WHOLE;

		if (n == 0 || strncmp(s + 1, name, n) != 0)
			continue;
		if (s[1 + n] == '}')
			tail = 1;
		else
			tail = suffix_match(s + 1 + n, &form);
		if (tail == 0 || (best > 0 && form != KN_FORM_WHOLE))
			continue;
		best = 1 + n + tail;
		*ret = (struct kn_part){ .kind = KN_PART_ARG, .form = form, .index = (long)i + 1 };
		if (form == KN_FORM_WHOLE)
			break;
	}
	return best;
}

/* The length of what ends {n without a suffix, if s goes on with it. */
static size_t
index_tail_match(const struct parser *p, const char *s)
{
	const char *tail = p->replacement + 1;
	size_t n = p->replacement_len - 1;

	if (p->replacement[0] != '{' || p->replacement[n] != '}')
		return 0;
	return strncmp(s, tail, n) == 0 ? n : 0;
}

/* {n}, {-n}, {n.} ... at s. */
static size_t
index_match(const struct parser *p, const char *s, struct kn_part *ret)
{
	const char *at = s + 1;
	bool from_end = *at == '-';
	enum kn_part_form form = KN_FORM_WHOLE;
	long index = 0;
	size_t tail;

	if (from_end)
		at++;
	if (*at < '0' || *at > '9')
		return 0;
	for (; *at >= '0' && *at <= '9'; at++)
		index = index > INDEX_MAX / 10 ? INDEX_MAX : index * 10 + (*at - '0');
	if (index == 0)
		return 0;
	tail = index_tail_match(p, at);
	if (tail == 0)
		tail = suffix_match(at, &form);
	if (tail == 0)
		return 0;
	*ret = (struct kn_part){ .kind = KN_PART_ARG, .form = form, .index = from_end ? -index : index };
	return (size_t)(at - s) + tail;
}

/* The length of the form that s starts with, 0 when it is only text. */
static size_t
form_match(const struct parser *p, const char *s, struct kn_part *ret)
{
	size_t n;

	if (strncmp(s, p->replacement, p->replacement_len) == 0) {
		*ret = (struct kn_part){ .kind = KN_PART_ALL };
		return p->replacement_len;
	}
	if (s[0] != '{')
		return 0;
	n = name_match(p, s, ret);
	if (n > 0)
		return n;
	*ret = (struct kn_part){ .kind = KN_PART_ALL };
	n = suffix_match(s + 1, &ret->form);
	if (n > 0)
		return 1 + n;
	if ((s[1] == '#' || s[1] == '%') && s[2] == '}') {
		ret->kind = s[1] == '#' ? KN_PART_SEQ : KN_PART_SLOT;
		return 3;
	}
	return index_match(p, s, ret);
}

/* ---- building ----------------------------------------------------------- */

/* Room for one more element of size bytes in the array at *data. */
static int
array_grow(void **data, size_t count, size_t *cap, size_t size)
{
	size_t more = *cap ? *cap * 2 : 8;
	void *new;

	if (count < *cap)
		return 0;
	if (more > SIZE_MAX / 2 / size)
		return -ENOMEM;
	new = realloc(*data, more * size);
	if (new == NULL)
		return -ENOMEM;
	*data = new;
	*cap = more;
	return 0;
}

static int
word_add(struct knee_template *t)
{
	void *data = t->words;
	int err = array_grow(&data, t->nwords, &t->cap_words, sizeof(*t->words));

	t->words = data;
	if (err < 0)
		return err;
	t->words[t->nwords++] = (struct kn_word){ .first = t->nparts, .blank_at = t->text.len };
	return 0;
}

/* To the last word. */
static int
part_add(struct knee_template *t, const struct kn_part *part)
{
	void *data = t->parts;
	int err = array_grow(&data, t->nparts, &t->cap_parts, sizeof(*t->parts));
	struct kn_word *word = &t->words[t->nwords - 1];

	t->parts = data;
	if (err < 0)
		return err;
	t->parts[t->nparts++] = *part;
	word->count++;
	if (part->kind == KN_PART_ALL && (t->flags & KNEE_TEMPLATE_CONTEXT) != 0)
		word->repeat = true;
	return 0;
}

/* A literal byte, to the last word. */
static int
byte_add(struct knee_template *t, char c)
{
	struct kn_word *word = &t->words[t->nwords - 1];
	struct kn_part part = { .kind = KN_PART_TEXT, .at = t->text.len };
	int err = 0;

	if (word->count == 0 || t->parts[t->nparts - 1].kind != KN_PART_TEXT)
		err = part_add(t, &part);
	if (err == 0)
		err = kn_buf_addc(&t->text, c);
	if (err == 0)
		t->parts[t->nparts - 1].len++;
	return err;
}

/* A blank between words. */
static int
blank_add(struct knee_template *t, char c)
{
	int err = 0;

	if (t->words[t->nwords - 1].count > 0)
		err = word_add(t);
	if (err == 0)
		err = kn_buf_addc(&t->text, c);
	if (err == 0)
		t->words[t->nwords - 1].blank_len++;
	return err;
}

static int
text_parse(struct parser *p, const char *s)
{
	struct kn_part part;
	int err = 0;

	while (*s != '\0' && err == 0) {
		size_t n = form_match(p, s, &part);

		if (n > 0)
			err = part_add(p->t, &part);
		else if (!p->literal && kn_shell_blank(*s))
			err = blank_add(p->t, *s);
		else
			err = byte_add(p->t, *s);
		s += n > 0 ? n : 1;
	}
	return err;
}

/* With -q each of the user's words is one of ours, the empty one too. */
static int
literal_parse(struct parser *p, const char *const *words, size_t nwords)
{
	const struct kn_part empty = { .kind = KN_PART_TEXT };
	int err = 0;

	for (size_t i = 0; i < nwords && err == 0; i++) {
		err = word_add(p->t);
		if (err == 0 && i > 0)
			err = blank_add(p->t, ' ');
		if (err == 0 && words[i][0] == '\0')
			err = part_add(p->t, &empty);
		if (err == 0)
			err = text_parse(p, words[i]);
	}
	return err;
}

static bool
has_replacement(const struct knee_template *t)
{
	for (size_t i = 0; i < t->nparts; i++)
		if (t->parts[i].kind != KN_PART_TEXT)
			return true;
	return false;
}

/* As if " {}" stood at the end. */
static int
replacement_append(struct knee_template *t)
{
	const struct kn_part all = { .kind = KN_PART_ALL };
	int err = 0;

	if (t->nwords == 0 || t->nparts > 0)
		err = word_add(t);
	if (err == 0 && t->nparts > 0)
		err = blank_add(t, ' ');
	if (err == 0)
		err = part_add(t, &all);
	return err;
}

/* ---- does it need a shell ----------------------------------------------- */

static bool
part_plain(const struct knee_template *t, const struct kn_part *part, bool first_word)
{
	const char *s;

	if (part->kind != KN_PART_TEXT || t->text.data == NULL)
		return true;
	s = t->text.data + part->at;
	if (first_word && memchr(s, '=', part->len) != NULL)
		return false;
	return kn_shell_plain(s, part->len);
}

/* Sets direct. first_open is known. */
static void
directness_find(struct knee_template *t)
{
	const struct kn_word *first = NULL;
	const struct kn_part *part;

	for (size_t i = 0; i < t->nwords; i++) {
		const struct kn_word *word = &t->words[i];

		if (word->blank_len > 0 && !kn_shell_plain(t->text.data + word->blank_at, word->blank_len))
			return;
		if (first == NULL && word->count > 0)
			first = word;
		for (size_t k = 0; k < word->count; k++)
			if (!part_plain(t, &t->parts[word->first + k], word == first))
				return;
	}
	if (first == NULL)
		return;
	part = &t->parts[first->first];
	t->direct = t->first_open || !kn_shell_acts(t->text.data + part->at, part->len);
}

/* True when an argument is in the first word, or may be because that can vanish. */
static bool
first_open_find(const struct knee_template *t)
{
	for (size_t i = 0; i < t->nwords; i++) {
		const struct kn_word *word = &t->words[i];

		if (word->count == 0)
			continue;
		return word->count > 1 || t->parts[word->first].kind != KN_PART_TEXT;
	}
	return false;
}

/* ---- the whole ---------------------------------------------------------- */

static int
fail(char *err, size_t errsize, const char *text)
{
	size_t n = strlen(text);

	if (errsize > 0) {
		n = n < errsize ? n : errsize - 1;
		memcpy(err, text, n);
		err[n] = '\0';
	}
	return -EINVAL;
}

/* True when a Perl expression stands in s: the first half of parens, and later the second. */
static bool
has_perl(const char *s, const char *parens)
{
	size_t half = strlen(parens) / 2;

	for (; *s != '\0'; s++)
		if (strncmp(s, parens, half) == 0)
			return strstr(s + half, parens + half) != NULL;
	return false;
}

static int
options_check(const struct knee_template_options *o, const char *text, char *err, size_t errsize)
{
	const char *parens = o->parens ? o->parens : "{==}";

	if (o->replacement != NULL && o->replacement[0] == '\0')
		return fail(err, errsize, "replacement string: empty");
	if (parens[0] == '\0' || strlen(parens) % 2 != 0)
		return fail(err, errsize, "parens: not two strings of the same length");
	if (has_perl(text, parens))
		return fail(err, errsize, "Perl expressions: not in this version");
	return 0;
}

/* The words joined by blanks, with a NUL at the end, appended to ret. */
static int
words_join(const char *const *words, size_t nwords, struct kn_buf *ret)
{
	int err = 0;

	for (size_t i = 0; i < nwords && err == 0; i++) {
		if (i > 0)
			err = kn_buf_addc(ret, ' ');
		if (err == 0)
			err = kn_buf_adds(ret, words[i]);
	}
	return err < 0 ? err : kn_buf_addc(ret, '\0');
}

static int
words_parse(struct parser *p, const char *const *words, size_t nwords, const char *joined)
{
	struct knee_template *t = p->t;
	int err;

	if (p->literal) {
		err = literal_parse(p, words, nwords);
	} else {
		err = word_add(t);
		if (err == 0)
			err = text_parse(p, joined);
	}
	if (err == 0 && (t->flags & KNEE_TEMPLATE_APPEND) != 0 && !has_replacement(t))
		err = replacement_append(t);
	if (err < 0 || (t->flags & (KNEE_TEMPLATE_CODE | KNEE_TEMPLATE_TEXT)) != 0)
		return err;
	t->first_open = first_open_find(t);
	if (p->literal)
		t->direct = true;
	else
		directness_find(t);
	return 0;
}

int
knee_template_new(const char *const *words, size_t nwords, const struct knee_template_options *options,
    struct knee_template **ret, char *err, size_t errsize)
{
	const char *replacement = options->replacement ? options->replacement : "{}";
	struct parser p = { .options = options,
		.replacement = replacement,
		.replacement_len = strlen(replacement),
		.literal = (options->flags & KNEE_TEMPLATE_LITERAL) != 0 };
	struct kn_buf joined = { 0 };
	int error = words_join(words, nwords, &joined);

	if (error < 0)
		goto done;
	error = options_check(options, joined.data, err, errsize);
	if (error < 0)
		goto done;
	p.t = calloc(1, sizeof(*p.t));
	if (p.t == NULL) {
		error = -ENOMEM;
		goto done;
	}
	p.t->flags = options->flags;
	error = words_parse(&p, words, nwords, joined.data);
	if (error < 0)
		knee_template_free(p.t);
	else
		*ret = p.t;
done:
	kn_buf_done(&joined);
	return error;
}

void
knee_template_free(struct knee_template *t)
{
	if (t == NULL)
		return;
	kn_buf_done(&t->text);
	free(t->parts);
	free(t->words);
	free(t);
}

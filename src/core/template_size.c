/* SPDX-License-Identifier: MIT */
/*
 * Sizes, for -s: of a command that is run directly, the bytes of its words and a
 * NUL for each, as xargs counts; of one for the shell, the bytes of the script
 * with its quotes and one NUL, as GNU parallel counts. The size without arguments
 * is not that of the command without arguments but what the rest of the line costs,
 * so that sizes add up: a NUL or blank less for each {}, and nothing for a word
 * that -X repeats. It is never less than 0, which only matters for a command of
 * nothing but {}{}.
 */
#include "template.h"

#include <stddef.h>

#include "template_parts.h"

/* What {#} and {%} are taken to need, where their value is not known. */
#define SEQ_DIGITS 8
#define SLOT_DIGITS 4

static size_t
arg_size(const struct knee_template *t, const char *arg, enum kn_part_form form)
{
	struct kn_slice slice = kn_template_slice(arg, form);

	if (t->direct || (t->flags & (KNEE_TEMPLATE_CODE | KNEE_TEMPLATE_TEXT)) != 0)
		return slice.n;
	return kn_shell_quoted_size(slice.s, slice.n, kn_template_quoting(t));
}

/* {}: each is as in part_put(). All of them need a blank or NUL between them. May
 * be negative: see the top. */
static ptrdiff_t
all_size(const struct knee_template *t, const struct kn_fill *fill, enum kn_part_form form, const char *each)
{
	size_t size = fill->nargs;

	if (each != NULL)
		return (ptrdiff_t)arg_size(t, each, form);
	for (size_t i = 0; i < fill->nargs; i++)
		size += arg_size(t, fill->args[i], form);
	return (ptrdiff_t)size - 1;
}

static ptrdiff_t
part_size(
    const struct knee_template *t, const struct kn_part *part, const struct kn_fill *fill, const char *each)
{
	const char *arg;

	switch (part->kind) {
	case KN_PART_TEXT:
		return (ptrdiff_t)part->len;
	case KN_PART_ALL:
		return all_size(t, fill, part->form, each);
	case KN_PART_ARG:
		arg = kn_template_arg(fill, part->index);
		return arg ? (ptrdiff_t)arg_size(t, arg, part->form) : 0;
	case KN_PART_SEQ:
		return SEQ_DIGITS;
	case KN_PART_SLOT:
		return SLOT_DIGITS;
	}
	return 0;
}

/* A word once, with the NUL or blank that parts it from the next, unless it vanishes. */
static ptrdiff_t
word_once_size(
    const struct knee_template *t, const struct kn_word *word, const struct kn_fill *fill, const char *each)
{
	ptrdiff_t size = 0;
	bool open = !t->direct;

	for (size_t i = 0; i < word->count; i++) {
		const struct kn_part *part = &t->parts[word->first + i];

		size += part_size(t, part, fill, each);
		if (part->kind != KN_PART_ARG || kn_template_arg(fill, part->index) != NULL)
			open = true;
	}
	return open ? size + 1 : size;
}

/* The same, as often as -X repeats it. */
static ptrdiff_t
word_size(const struct knee_template *t, const struct kn_word *word, const struct kn_fill *fill)
{
	ptrdiff_t size = 0;

	if (!word->repeat)
		return word_once_size(t, word, fill, NULL);
	for (size_t i = 0; i < fill->nargs; i++)
		size += word_once_size(t, word, fill, fill->args[i]);
	return size;
}

size_t
knee_template_size(const struct knee_template *t, const char *const *args, size_t nargs)
{
	const struct kn_fill fill = { .args = args, .nargs = nargs };
	ptrdiff_t size = t->direct ? 0 : 1;

	for (size_t i = 0; i < t->nwords; i++) {
		size += word_size(t, &t->words[i], &fill);
		/* In a script a word is parted from the next by the next one's own blanks. */
		if (!t->direct)
			size += (ptrdiff_t)t->words[i].blank_len - 1;
	}
	return size > 0 ? (size_t)size : 0;
}

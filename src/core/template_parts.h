/* SPDX-License-Identifier: MIT */
/*
 * A parsed command template: what template_parse.c makes and template.c fills in.
 *
 * The text as the user typed it is a row of words; a word is the blanks before it
 * and its parts; a part is literal text or a place for something. Blanks at the
 * end of the text are a word without parts. With KNEE_TEMPLATE_LITERAL each word
 * of the user's is one word here, whatever blanks it holds; else words are what
 * blanks part, whatever quotes surround them: that is how -X finds the word to
 * repeat, and for direct execution there are no quotes.
 */
#ifndef KN_TEMPLATE_PARTS_H
#define KN_TEMPLATE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "shell.h"
#include "template.h"

enum kn_part_kind {
	KN_PART_TEXT, /* at, len in the template's text; len 0 makes an empty word */
	KN_PART_ALL,  /* {}: every argument */
	KN_PART_ARG,  /* {n}, {-n}, {name}: one */
	KN_PART_SEQ,  /* {#} */
	KN_PART_SLOT, /* {%} */
};

/* What of an argument is put in. */
enum kn_part_form {
	KN_FORM_WHOLE,     /* {}   */
	KN_FORM_STEM,      /* {.}  without the extension */
	KN_FORM_BASE,      /* {/}  without the folder */
	KN_FORM_DIR,       /* {//} the folder */
	KN_FORM_BASE_STEM, /* {/.} without either */
};

struct kn_part {
	enum kn_part_kind kind;
	enum kn_part_form form; /* ALL, ARG */
	long index;             /* ARG: from 1, or from -1 when counted from the end */
	size_t at, len;         /* TEXT */
};

struct kn_word {
	size_t first, count;        /* its parts */
	size_t blank_at, blank_len; /* in the template's text */
	bool repeat;                /* holds a KN_PART_ALL and the template is -X's */
};

struct knee_template {
	unsigned flags;        /* enum knee_template_flags */
	bool direct;           /* the typed text needs no shell; never with CODE and TEXT */
	bool first_open;       /* what the first word will be is known only with the arguments */
	struct kn_buf text;    /* owned */
	struct kn_part *parts; /* owned */
	size_t nparts, cap_parts;
	struct kn_word *words; /* owned */
	size_t nwords, cap_words;
};

/* ---- template.c, for template_size.c ------------------------------------ */

/* A piece of an argument. */
struct kn_slice {
	const char *s;
	size_t n;
};

struct kn_slice kn_template_slice(const char *arg, enum kn_part_form form);

/* The argument that {n} or {-n} stands for, NULL when there is none. */
const char *kn_template_arg(const struct kn_fill *fill, long index);

/* A template for the shell may hold any syntax before the argument. One that could do
 * without holds none, and there only the first word counts: see first_word_guard(). */
enum kn_shell_quoting kn_template_quoting(const struct knee_template *t);

#endif

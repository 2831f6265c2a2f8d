/* SPDX-License-Identifier: MIT */
/*
 * The rooms of the option parser.
 *
 *	config files, $KNEE, argv --> options.c (options_words.c) --> options_table.c (which option)
 *	    --> options_set.c (what it does) with options_value.c (what its value says)
 *	the rest of argv --> options_inputs.c (command, ::: and its kin)
 *
 * options_table.c holds the one table; options_help.c prints it.
 */
#ifndef CLI_OPTIONS_TABLE_H
#define CLI_OPTIONS_TABLE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "options_words.h"

/* ---- the table (options_table.c) ---------------------------------------- */

/* In the order of the help. */
enum option_group {
	OPTION_INPUTS,
	OPTION_TEMPLATE,
	OPTION_BATCH,
	OPTION_LIMIT,
	OPTION_OUTPUT,
	OPTION_FAILURE,
	OPTION_LOG,
	OPTION_MACHINES,
	OPTION_OTHER,
	OPTION_GROUPS
};

struct options_state;
struct option;

/* Does what the option says with its value (NULL: none given). 0, -EINVAL after say(), -ENOMEM. */
typedef int options_setter(struct options_state *s, const struct option *option, const char *value);

/*
 * One option. names: blank-separated, as the help shows them; one of a single byte is
 * a short option, the others are long. also: more names, long ones, that are accepted
 * but not shown. value: what the help calls it; NULL: takes none; "[X]": may be left
 * out, and must be attached (-lX, --max-lines=X); "[auto]": the same, but the next word is taken
 * when it is that very one.
 */
struct option {
	const char *names;
	const char *also;
	const char *value;
	const char *help;
	enum option_group group;
	options_setter *set;
	size_t at; /* for options_set_flag, _text and _list: offset in struct cli_options */
	int to;    /* for setters that serve several options */
};

/* All options, *n of them, grouped. */
const struct option *options_table(size_t *n);
const char *options_group_name(enum option_group group);

enum option_found {
	OPTION_FOUND,
	OPTION_LATER,     /* not in this version */
	OPTION_LACKING,   /* GNU parallel's; knee does not have it */
	OPTION_AMBIGUOUS, /* a beginning of several names */
	OPTION_UNKNOWN,
};

/* A long name as typed (size bytes, without "--" and "=value"): hyphens do not count,
 * and the beginning of one option's name is enough. *ret is set on OPTION_FOUND. */
enum option_found options_find_long(const char *name, size_t size, const struct option **ret);
enum option_found options_find_short(char letter, const struct option **ret);
/* How many words the option word of a run takes: 1, or 2 with its value. */
size_t options_word_count(const char *word);
/* The names that begin with name, as "--a, --b", in text. */
void options_candidates(const char *name, size_t size, char *text, size_t textsize);
/* The long name nearest to the one typed, or NULL when none is near; *size its length. */
const char *options_nearest(const char *name, size_t namesize, size_t *size);
/* True when word is a subcommand that this version does not have. */
bool options_subcommand_later(const char *word);

/* ---- the state of a parse ------------------------------------------------ */

enum options_grouping { GROUPING_TASKS, GROUPING_LINES, GROUPING_NONE };
enum options_keep { KEEP_UNSAID, KEEP_YES, KEEP_NO };
enum options_show { SHOW_NOTHING, SHOW_HELP, SHOW_VERSION, SHOW_CITATION };

/* What options say about each other, settled when all have been read. */
struct options_state {
	struct cli_options *o;
	const char *where;        /* put before messages: "", "$KNEE: ", "FILE:3: "; borrowed */
	char name[48];            /* the option in hand as typed, "--timeout" or "-j" */
	const char *arg_sep;      /* ":::" */
	const char *arg_file_sep; /* "::::" */
	size_t inputs_cap;
	bool link;
	bool tag;
	bool trim_set;
	bool nonall;
	bool each_host_typed; /* --onall, --nonall: on the command line */
	bool workdir_typed;   /* --wd: the same */
	bool context;       /* -X or -N was given */
	bool context_lines; /* -L was given */
	enum options_grouping grouping;
	enum options_keep keep;
	enum options_show show;
};

/* "knee: WHERE--timeout: " + text; returns -EINVAL. */
int options_bad(const struct options_state *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A string of size bytes that lives as long as the options; NUL-terminated. -ENOMEM. */
int options_text_keep(struct cli_options *o, const char *data, size_t size, char **ret);

/* A new cli_options of this face, and the state to fill it. */
void options_state_init(struct options_state *s, struct cli_options *o, const char *face);

/* Read words as options until the first that is none; *used is how many were. 0 or
 * -errno after say(). The words stay borrowed. */
int options_scan(struct options_state *s, char *const *words, size_t nwords, size_t *used);

/* ---- config.c ------------------------------------------------------------ */

/* The files and the variable, in the order in which they count. */
int config_read(struct options_state *s);

/* The words of one line; both arrays live as long as this. */
struct line_words {
	char *text;                 /* borrowed from the options, NUL after each word */
	char **words;               /* owned, pointers into text */
	size_t n;
};
/* Split size bytes at line as a shell does, without expanding. -EINVAL: a quote without end; -ENOMEM. */
int config_words(struct cli_options *o, const char *line, size_t size, struct line_words *ret);

/* The first line of a regular file, without blanks around it, NUL-terminated. -errno; -EINVAL: it is
 * no regular file, or the line is longer than size. */
int config_first_line(const char *path, char *line, size_t size);

/* ---- options_inputs.c ---------------------------------------------------- */

/* Add a source; "linked" says what ::: or :::+ said. */
int options_input_add(struct options_state *s, const struct input_spec *spec);
/* The words after the options: the command, then ::: and its kin. */
int options_inputs(struct options_state *s, char *const *words, size_t nwords);

/* ---- options_set.c: what the options do ---------------------------------- */

options_setter options_set_flag, options_set_nothing, options_set_text, options_set_show;
options_setter options_set_file, options_set_null, options_set_delimiter, options_set_header;
options_setter options_set_trim, options_set_eof, options_set_link, options_set_separator;
options_setter options_set_replacement, options_set_parens, options_set_shellquote;
options_setter options_set_max_args, options_set_max_lines, options_set_max_chars, options_set_batch;
options_setter options_set_jobs, options_set_load, options_set_bytes, options_set_limit;
options_setter options_set_kind, options_set_busy_exits, options_set_delay, options_set_nice;
options_setter options_set_slot_var;
options_setter options_set_group, options_set_grouping, options_set_keep, options_set_tag, options_set_tagstring;
options_setter options_set_color, options_set_progress, options_set_silent, options_set_tmpdir;
options_setter options_set_halt, options_set_retries, options_set_timeout, options_set_term_seq;
options_setter options_set_resume, options_set_json, options_set_framing;
options_setter options_set_list, options_set_transfer, options_set_trc, options_set_env, options_set_on;
options_setter options_set_nonall, options_set_host_timeout;

/* ---- options_machines.c: what those about machines do --------------------- */

/* What they mean for others; after all have been read, and the inputs. 0, or -errno after say(). */
int options_machines_settle(struct options_state *s);
/* That option was set. 0 or -ENOMEM. */
int options_machines_said(struct options_state *s, const struct option *option);

/* ---- options_value.c ----------------------------------------------------- */

/* All: 0 and *ret, or -EINVAL (not of this form) or -ERANGE; *ret untouched then. */
int value_count(const char *s, uint64_t max, uint64_t *ret); /* 12, 3k, 4K, 1Mi */
int value_integer(const char *s, int min, int max, int *ret);
int value_duration(const char *s, int64_t *ret_ns); /* 10, 1.5s, 2m30s, 500ms */
int value_percent(const char *s, double *ret);      /* "50%" is 50 */
int value_byte(const char *s, unsigned char *ret);  /* x, \n, \t, \0, \x1f, \037 */
int value_signal(const char *s, int *ret);          /* TERM, SIGTERM, 15 */
int value_halt(const char *s, struct knee_halt *ret);
/* *ret is malloc'd; -ENOMEM. */
int value_term_seq(const char *s, struct knee_term_step **ret, size_t *n);
/* What -j says. */
struct value_jobs {
	unsigned limit;             /* 0: auto */
	unsigned least, most;       /* of auto; 0: no bound */
};
/* 8, 0 (UINT_MAX), 50%, +2, -1, at least 1; auto, auto:16, 2..16. */
int value_jobs(const char *s, unsigned cores, struct value_jobs *ret);
/* True when cores count for what s says: to ask for them takes time. */
bool value_jobs_of_cores(const char *s);
/* 4, 2.5, 50%, +2, -1: at least 0.01. */
int value_load(const char *s, unsigned cores, double *ret);
/* 75,69,1-3: statuses from 1 to 255, each once, rising; *ret is malloc'd; -ENOMEM. */
int value_statuses(const char *s, int **ret, size_t *n);
/* s with \t \n \r \0 and \ooo replaced, in to, which has room for all of s. */
size_t value_unescape(const char *s, char *to);

#endif

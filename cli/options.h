/* SPDX-License-Identifier: MIT */
/*
 * What the user asked for. options.c fills this from the command line, $KNEE or
 * $PARALLEL and config files, through one table that also prints --help; nothing
 * else in cli/ looks at argv.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#include <knee_program.h>

/* ---- what a command line can say ---------------------------------------- */

enum input_kind {
	INPUT_ARGS,                 /* ::: a b c   args, nargs */
	INPUT_FILE,                 /* :::: f or -a f: path, "-" is stdin */
};

/* One input source. linked: read in step with the one before it (:::+ ::::+ --link). */
struct input_spec {
	enum input_kind kind;
	bool linked;
	char *const *args;
	size_t nargs;
	const char *path;
};

enum trim { TRIM_NONE = 0, TRIM_LEFT = 1, TRIM_RIGHT = 2, TRIM_BOTH = 3 };

/* How many arguments go into one command, and how they are put there. */
enum batch_mode {
	BATCH_ARGS,                 /* -n -N: max_args to each command, all in {} */
	BATCH_XARGS,                /* --xargs: as many as fit */
	BATCH_MULTI,                /* -m: as many as fit, shared out over the tasks at once */
	BATCH_CONTEXT,              /* -X: the same; the template repeats the word */
};

enum when { WHEN_AUTO, WHEN_ALWAYS, WHEN_NEVER };

/* Texts in the order in which they were given. */
struct options_list {
	const char **texts;         /* owned; what they point to is not */
	size_t n;
};

struct cli_options {
	const char *face;           /* "knee" or "parallel": message prefix, the default order */

	char *const *command;       /* the words of the command; ncommand 0: each input is one */
	size_t ncommand;

	/* inputs */
	struct input_spec *inputs;  /* none: stdin */
	size_t ninputs;
	bool link_wrap;             /* --link: shorter sources start again, to the longest's end */
	unsigned char delimiter;    /* '\n'; -0: '\0'; -d */
	const char *colsep;         /* extended regular expression, or NULL */
	bool header;
	bool skip_first_line;
	enum trim trim;
	const char *eof_string;     /* -E, or NULL */
	bool no_run_if_empty;       /* -r: lines that are blank make no task */
	bool shuf;

	/* template */
	const char *replacement;    /* -I, or NULL */
	const char *parens;
	bool quote;                 /* -q */
	const char *plugin;         /* --plugin FILE[:SYMBOL], or NULL: command is for its open() */
	bool isolate;               /* run it in worker processes */
	const char *worker;         /* --worker, or NULL: command is the template of its records */
	bool framing_set;           /* --framing; else -0 says NUL, and lines it is without */
	enum knee_framing framing;
	bool shellquote;            /* --shellquote: print inputs quoted, run nothing */
	const char *tagstring;      /* --tagstring, --tag ("{}" with --tag), or NULL */

	/* batching */
	enum batch_mode batch;
	bool context;               /* -X -N -L: a word that holds {} is repeated for each argument */
	size_t max_args;            /* -n -N --max-args; 0: as the mode says (1 for BATCH_ARGS) */
	bool no_args;               /* -n0: one input per task, none inserted */
	size_t max_lines;           /* -L; 0: none. A line ending in a blank continues */
	size_t max_chars;           /* -s; 0: what the system allows */
	bool exit_if_too_long;      /* -x */
	bool group_auto;            /* --group auto: max_args and max_lines are upper bounds */
	bool show_limits;

	/* how many */
	unsigned limit;             /* 0: found by measuring; UINT_MAX: -j0 */
	unsigned limit_min, limit_max;  /* bounds for what is found; 0: none */
	bool jobs_said;             /* -j, though it may say auto */
	const char *jobs_file;      /* -j FILE: its first line is such a value; NULL: none */
	enum knee_kind kind;        /* --kind, or UNKNOWN */
	int *busy_exits;            /* owned */
	size_t nbusy_exits;
	double load_max;            /* --load; 0: no bound */
	const char *load;           /* what that said, where it depends on the cores of a machine; or NULL */
	uint64_t memfree_bytes, memsuspend_bytes;
	bool noswap;
	const char *limit_command;  /* --limit, asked before each start, or NULL */
	bool explain;
	bool no_memory;             /* nothing learnt is read or kept */
	int64_t delay_ns;
	bool nice_set;
	int nice;

	/* output */
	enum knee_order order;
	bool files;
	bool verbose;               /* -v: the command before its output, on stdout */
	bool trace;                 /* -t: the command on stderr when it starts */
	bool prompt;                /* -p: ask before each */
	bool dry_run;
	bool silent;                /* no notes and no summary */
	enum when color;            /* a colour for each task's lines */
	enum when progress;         /* the progress line */
	bool bar;                   /* the progress line as a bar */
	bool eta;
	const char *tmpdir;         /* --tmpdir, $TMPDIR, /tmp */

	/* failure */
	struct knee_halt halt;
	unsigned retries;
	int64_t timeout_ns;
	double timeout_frac;
	struct knee_term_step *term_seq;   /* NULL: the default */
	size_t nterm_seq;

	/* the log */
	const char *journal;        /* --journal FILE, or NULL */
	bool sync;                  /* each result on disk before it counts */
	enum knee_resume resume;    /* --resume, --resume-failed, --retry-failed */
	const char *output;         /* --output FILE: stdout goes there, or NULL */
	const char *joblog;         /* --joblog FILE, or NULL */
	const char *results;        /* --results DIR, F.csv, F.tsv or F.json; or NULL */
	int json_fd;                /* --json[=FD]: events go there; -1: nowhere */

	const char *slot_var;

	/* machines */
	struct options_list logins; /* -S: each what logins_add() reads */
	struct options_list login_files;    /* --slf */
	const char *on;             /* --on: "slurm[:ARGUMENTS]", or NULL */
	bool each_host;             /* --onall, --nonall: every task on every machine; --nonall: o->no_args too */
	const struct knee_host *machines;   /* all there are, once machines_new() knows, or NULL; borrowed */
	size_t nmachines;
	bool host_tag;              /* and --tag: the tag is its name */
	const char *ssh;            /* --ssh, or NULL */
	struct options_list env;    /* --env: names of variables */
	const char *workdir;        /* --wd, or NULL */
	int64_t host_timeout_ns;    /* --host-timeout; 0: the engine's own */
	bool speculate;
	struct options_list transfers, returns, basefiles;  /* --transferfile, --return, --basefile: templates of
	                               paths, of basefiles just paths */
	bool cleanup;
	struct options_list machine_options;    /* those above that the command line has, as typed: what would have no
	                               effect on this machine alone */
	const char *jobs;           /* what -j said, where it depends on the cores of a machine; or NULL */

	struct options_text *texts; /* owned: strings that are neither argv's nor the environment's */
};

enum options_action {
	OPTIONS_RUN,                /* go on */
	OPTIONS_DONE,               /* --help, --version, --show-limits alone: all is said, exit 0 */
};

/*
 * Read argv (of main, whole), $KNEE or $PARALLEL and the config files into *ret.
 * 0 and *action, or -errno, said on stderr as "knee: what: why", exit 255; *ret is
 * untouched then.
 * Strings are borrowed from argv and the environment or owned by *ret.
 */
int options_parse(struct cli_options *ret, int argc, char **argv, enum options_action *action);
void options_done(struct cli_options *o);

/* For the manual's and the completions' check: every option's line. */
void options_help(FILE *out, const char *face);

#endif

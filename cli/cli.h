/* SPDX-License-Identifier: MIT */
/*
 * The rooms of the command-line program, a few lines each. A sink or the source
 * is made from the options, handed to the engine as its table of hooks, and freed.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdarg.h>
#include "options.h"

/* The exit status of an error of our own. */
#define EXIT_TROUBLE 255

/* standard.c: descriptors 0 to 2 that are closed get a place holder, so that no other file gets their number: reading
 * finds the end, writing fails as it does on a closed one. */
void standard_fds_hold(void);

/* say.c: messages. "knee: " + text + newline on stderr; goes above the progress line. */
void say_face(const char *face);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and returns -error, to write: return say_error(EINVAL, "...", ...). */
int say_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Called around every message, so that a progress line can get out of the way; NULL: none. */
void say_around(void (*before)(void *self), void (*after)(void *self), void *self);
/* Run those hooks: whoever else writes to the terminal stands between these two. say_after()
 * waits until the cursor is at the start of a line again: no line goes into another one. */
void say_before(void);
void say_after(void);
/* One byte of somebody else's text at to, as a message shows it: \n, \t, \x1B. The bytes put there, 4
 * at most. */
size_t say_shown(char *to, char byte);

/* inputs.c: what one input is. Streams; re-reads or spools what a product reads again. */
struct inputs;
int inputs_new(const struct cli_options *o, struct inputs **ret);     /* -errno after say() */
void inputs_free(struct inputs *in);
/* One record, as knee_source.next: one argument per source (more with --colsep). */
int inputs_next(struct inputs *in, struct knee_input *ret);
int inputs_fd(struct inputs *in);
/* --header: the names of the columns, after the first record was asked for; waits for the
 * first line. 0, or -errno after say(). Owned by in. */
int inputs_header(struct inputs *in, const char *const **names, size_t *nnames);
/* True when stdin is one of the sources. */
bool inputs_use_stdin(const struct inputs *in);

/* batch.c: how many inputs one command takes (-n -N -L -s -x -m -X --xargs -n0). */
struct batch;
int batch_new(const struct cli_options *o, struct inputs *in, const struct knee_template *command,
    struct batch **ret);
void batch_free(struct batch *b);
struct knee_source batch_source(struct batch *b);
/* --group auto: it has to hear what commands take. False: it need not, and *ret is untouched. */
bool batch_sink(struct batch *b, struct knee_sink *ret);
/* Bytes that a command line may have here, and --show-limits. */
size_t batch_max_chars(void);
void batch_show_limits(FILE *out, const struct cli_options *o);

/* text.c: the tasks' output, on stdout and stderr. */
struct text_sink;
int text_new(const struct cli_options *o, struct text_sink **ret);
void text_free(struct text_sink *t);
struct knee_sink text_sink(struct text_sink *t);
/* Only what is of no task: the whole that a plugin prints. */
struct knee_sink text_sink_whole(struct text_sink *t);
/* Before the run: let the journal know which tasks are printed. */
void text_journal(struct text_sink *t, knee_journal *j);

/* output.c: --output FILE, as standard output. */
/* Open it, as it is. 0, or -errno after say(). */
int output_open(const struct cli_options *o);
/* All else is ready: a new run begins with an empty file. 0, or -errno after say(). */
int output_start(const struct cli_options *o);

/* journal.c: --journal, --sync, --resume. */
/* What does not go together. 0, or -EINVAL after say(). */
int journal_check(const struct cli_options *o);
/* Before what takes long: would the journal be refused, as far as can be seen without touching it? 0, or -errno after
 * say(). */
int journal_look(const struct cli_options *o);
/* Open the journal; *ret stays NULL when none is wanted. argv: the program's. results may be NULL. 0, or
 * -errno after say(). */
struct results;
int journal_open(const struct cli_options *o, struct inputs *in, const struct results *results, int argc,
    char **argv, knee_journal **ret);
/* The run has ended with this status; the status that it really has. Takes NULL. */
int journal_close(knee_journal *j, const struct cli_options *o, int status);

/* joblog.c: --joblog, and going on from it. */
struct joblog;
/* Read what it has, when that is wanted; *ret stays NULL without --joblog. --retry-failed: the command
 * and the inputs become the log's. 0, or -errno after say(); *ret may be there then, too. */
int joblog_open(struct cli_options *o, struct joblog **ret);
/* All else is ready, the machines too: a new log begins. 0, or -errno after say(). */
int joblog_start(struct joblog *l, const struct cli_options *o);
void joblog_free(struct joblog *l);
struct knee_sink joblog_sink(struct joblog *l);
/* The inputs of inner with what the log has of them, if it is the log that knows. */
struct knee_source joblog_source(struct joblog *l, const struct knee_source *inner);

/* results.c: --results, what each task printed, in files or rows. */
/* *ret stays NULL when none are wanted. Changes o->order to what they need. 0, or -errno after say();
 * *ret may be there then, too. */
int results_open(struct cli_options *o, struct results **ret);
/* All else is ready: a new file begins. j may be NULL. 0, or -errno after say(). */
int results_start(struct results *r, const struct cli_options *o, struct inputs *in, knee_journal *j);
/* The file of rows, or -1. */
int results_fd(const struct results *r);
/* Put it before the sink that prints, if there is one; wants event.command and knee_options.whole. */
struct knee_sink results_sink(struct results *r);
void results_free(struct results *r);

/* json.c: --json, events as lines of JSON. */
struct json;
/* Is the descriptor one that can be written to? To be asked before anything else is opened. 0, or -EBADF
 * after say(). */
int json_check(const struct cli_options *o);
/* 0, or -errno after say(). */
int json_new(const struct cli_options *o, struct json **ret);
void json_free(struct json *j);
/* Wants event.command. */
struct knee_sink json_sink(struct json *j);
void json_start(struct json *j, knee *k, int argc, char **argv);  /* the run begins */
void json_end(struct json *j, int status);          /* it has ended; takes NULL */

/* trace.c: -t, each command on stderr when it starts; wants event.command. Nothing to free. */
struct knee_sink trace_sink(void);

/* explain.c: --explain, why so many run at once. */
struct explain;
int explain_new(const struct cli_options *o, struct explain **ret);
void explain_free(struct explain *e);
struct knee_sink explain_sink(struct explain *e);
void explain_start(struct explain *e, knee *k);     /* whose work is summed up */
void explain_end(const struct explain *e);          /* sum it up */

/* jobs_file.c: -j FILE, which may change during the run. */
struct jobs_file;
struct progress;
int jobs_file_new(const struct cli_options *o, struct jobs_file **ret);
void jobs_file_free(struct jobs_file *f);
struct knee_sink jobs_file_sink(struct jobs_file *f);
void jobs_file_start(struct jobs_file *f, knee *k, struct progress *progress);

/* learnt.c: where is kept what was learnt of commands, in *ret (malloc'd); NULL when there is no
 * place for it, or the user wants none. 0 or -errno after say(). */
int learnt_path(char **ret);

/* progress.c: the line on the terminal, and the summary at the end. */
struct progress;
int progress_new(const struct cli_options *o, struct progress **ret);
void progress_free(struct progress *p);   /* leaves no trace on the terminal */
struct knee_sink progress_sink(struct progress *p);
/* Whose work the line is about; explain may be NULL: it has its say before the summary. */
void progress_start(struct progress *p, knee *k, struct explain *explain);
void progress_fixed(struct progress *p);  /* the number at once is the user's from now on */
void progress_toggle(struct progress *p); /* show the line, or no longer; knee_wake() is the caller's */
bool progress_drawn(const struct progress *p);      /* the line is on the terminal now */
void progress_typed(struct progress *p);  /* the user typed a line on the terminal */
void progress_resize(struct progress *p); /* after SIGWINCH */
void progress_pause(struct progress *p, bool pause);  /* around TSTP and CONT */

#endif

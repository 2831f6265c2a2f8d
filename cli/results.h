/* SPDX-License-Identifier: MIT */
/*
 * The rooms of --results.
 *
 *	results.c --> results_dir.c: files of each task
 *	          \-> results_file.c: rows of one file --> results_rows.c: what a row looks like
 */
#ifndef CLI_RESULTS_H
#define CLI_RESULTS_H

#include <stdint.h>

#include "cli.h"

/* The columns of the inputs, as both forms name them. */
struct results_names {
	const char *const *header;  /* borrowed; --header: n names */
	size_t n;
	size_t sources;             /* arguments i and i + sources are of the same source; 0: none are */
	bool host;                  /* the machine is one of them: it has the same arguments as the others */
};

/* ---- results_dir.c --------------------------------------------------------- */

struct results_dir;
/* name: a template of their names, borrowed, or NULL: folders below path. journal: who is to know that a
 * task's files are written; NULL: nobody. sync: they are to be on the disk then. 0 or -ENOMEM. */
int results_dir_new(const char *path, const struct knee_template *name, const struct results_names *names,
    knee_journal *journal, bool sync, struct results_dir **ret);
void results_dir_free(struct results_dir *d);
struct knee_sink results_dir_sink(struct results_dir *d);

/* ---- results_file.c -------------------------------------------------------- */

enum results_format { RESULTS_CSV, RESULTS_TSV, RESULTS_JSON };

struct results_file;
/* Open it, as it is; "-": standard output. append: rows are added to those that it has. 0, or -errno
 * after say(); *ret may be there then, too. */
int results_file_open(
    const char *path, enum results_format format, bool append, struct results_file **ret);
void results_file_free(struct results_file *f);
int results_file_fd(const struct results_file *f);
/* All else is ready: a new run begins with an empty file. journal: who is to know that a task's row is
 * written; NULL: nobody. 0, or -errno after say(). */
int results_file_start(struct results_file *f, const struct results_names *names, knee_journal *journal);
struct knee_sink results_file_sink(struct results_file *f);

/* ---- results_rows.c -------------------------------------------------------- */

/* A row under way. {.format, .width} is one to begin with. */
struct results_row {
	enum results_format format;
	size_t width;               /* columns of inputs; 0: not known yet */
	enum knee_stream stream;    /* its column is being filled */
	bool filled;                /* something is in it */
	char rest[4];               /* JSON: bytes of a character that goes on in the next piece */
	size_t nrest;
};

/* The first line, of so many inputs. JSON has none. */
void results_head_put(FILE *out, struct results_row *r, const struct results_names *names, size_t nargs);
/* A row up to the output: the START of a task that has ended. */
void results_row_begin(FILE *out, struct results_row *r, const struct knee_event *e);
/* Its output: all of stdout before any of stderr. */
void results_row_put(FILE *out, struct results_row *r, const struct knee_event *e);
void results_row_end(FILE *out, struct results_row *r);
/*
 * What of a file are whole rows: up to *ret_end. r->width becomes that of its first line. -EINVAL: it does
 * not begin as such a file does; or the -errno of reading.
 */
int results_rows_look(int fd, struct results_row *r, off_t *ret_end);

#endif

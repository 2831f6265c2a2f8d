/* SPDX-License-Identifier: MIT */
/* What the files of the plugin csv2avro share: one job is one task, all of it on its own thread. */
#ifndef CSV2AVRO_H
#define CSV2AVRO_H

#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <avro.h>
#include <knee.h>
#include <zlib.h>

#define READ_BYTES (256 * 1024)
#define ROW_BYTES (16 * 1024 * 1024) /* the longest row, before and after */
#define BLOCK_BYTES (64 * 1024)      /* a block of the result ends when it has so many */
#define FIELD_BYTES 11               /* more than any field's encoding has beside its text */

struct options {
	const char *out; /* borrowed, as codec; NULL: beside the inputs */
	const char *codec;
	avro_schema_t schema; /* NULL: found by looking */
	char delimiter;
	int header, sync;
	int64_t delay_ns;
};

struct sums {
	uint64_t files, rows, bad_rows, bytes_in, bytes_out;
};

struct shared {
	struct options options;
	locale_t c_locale; /* numbers are read the same everywhere */
	pthread_mutex_t lock;
	void *claims;     /* under lock: a tree of owned struct claim */
	struct sums sums; /* under lock: of what this process converted */
	uint64_t failed;  /* under lock: conversions that did not end well */
};

struct field {
	const char *text; /* followed by a byte that cannot be part of a number */
	uint32_t size;
	int quoted;
};

/* Text stays in the buffer, from raw to raw + raw_size, until the next row is asked for. */
struct row {
	struct field *fields; /* owned */
	size_t n, cap;
	const char *raw;
	size_t raw_size;
	uint64_t line, lines; /* where it begins, counted from 1, and how many it has */
	const char *bad;      /* how it is malformed, or NULL */
	int nul, open;        /* open: its quote is not closed */
	unsigned bits; /* of all its bytes together */
};

/* What is read lies in buf from start to end, and behind it a newline, so that scanning stops there; and a
 * NUL, so that it is a string for who wants one. */
struct reader {
	gzFile gz;
	char *buf; /* owned: size bytes and these two */
	size_t size, start, end;
	char *unquoted; /* owned: size bytes and a NUL; for the row's fields with doubled quotes */
	size_t used;
	int eof, skip; /* skip: what comes up to the next newline is the rest of a row too long */
	uint64_t line, bytes;
	char delimiter;
	uint8_t plain_stop[256], quoted_stop[256];
	struct row row;
};

/* What was seen in the fields of a column. */
enum seen {
	SEEN_EMPTY = 1,
	SEEN_QUOTED_EMPTY = 2,
	SEEN_LONG = 4,
	SEEN_WIDE_LONG = 8, /* one that a double would round */
	SEEN_DOUBLE = 16,
	SEEN_BOOLEAN = 32,
	SEEN_STRING = 64,
};

struct job;

/* One of Avro's primitive types; encode puts a value at p and returns its end, or NULL: it does not fit. */
struct type {
	avro_type_t type;
	const char *name;
	uint8_t *(*encode)(const struct job *j, const struct field *f, uint8_t *p);
};

/* A field of the result. */
struct column {
	const char *name; /* borrowed: of the schema */
	size_t source;    /* which of a row's fields it is */
	const struct type *type;
	int is_union, nullable, is_text;
	uint8_t null_branch, value_branch; /* of the union, as they are written */
};

struct plan {
	char **header; /* owned, NULL without one; width of them */
	size_t width;  /* fields of a row */
	unsigned *seen;
	struct column *columns;
	size_t ncolumns;
	avro_schema_t schema;
};

struct output {
	dev_t folder_dev;
	ino_t folder_ino;
	char *name, *path, *part, *bad_path, *bad_part;
	FILE *file, *bad; /* each with a lock on the hidden file; NULL: not there */
	avro_file_writer_t writer;
	size_t pending;
	uint8_t *bytes; /* one encoded row */
	size_t cap;
};

/* One task, all of it on its own thread. */
struct job {
	struct shared *shared;
	struct knee_call *call;
	const char *input;
	struct reader in;
	struct plan plan;
	struct output out;
	struct sums sums;
	char reason[256]; /* why the row is bad */
	char why[512];    /* why the task failed */
};

/* Nothing but the variable knee_plugin is for others. */
#pragma GCC visibility push(hidden)

/* ---- csv2avro.c ---- */

/* Why the task fails, in words; returns err. */
int job_because(struct job *j, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
int job_no_memory(struct job *j);

/* ---- csv2avro_options.c ---- */

/* 0, or -errno with text in err. What was set so far is the caller's to free. */
int options_parse(struct options *o, int argc, const char *const *argv, char *err, size_t errsize);

/* ---- csv2avro_rows.c ---- */

/* The input, at its beginning. 0 or -errno, as all that follow. */
int rows_open(struct job *j);
/* At its beginning again. */
int rows_rewind(struct job *j);
/* The next row into in.row: 1; 0 at the end. Empty lines are none. */
int rows_next(struct job *j);
/* Why no row can be made of it, whatever the types are, or NULL. Borrowed until the next call. */
const char *rows_defect(struct job *j);

/* ---- csv2avro_values.c ---- */

/* What the field can be: enum seen. */
unsigned value_look(const struct job *j, const struct field *f);
/* How values of the schema are written; NULL: it is no primitive type. */
const struct type *value_type(avro_schema_t schema);
/* The row's encoding into out.bytes, and its size; -EINVAL: reason says which value does not fit. */
int64_t value_row(struct job *j);

/* ---- csv2avro_schema.c ---- */

/* How values of this schema are written; -EINVAL: it is none that a field of CSV can have. */
int schema_understand(avro_schema_t schema, struct column *ret);
/* What must be known before the first row is written; the input stands before that. */
int schema_plan(struct job *j);

/* ---- csv2avro_result.c ---- */

/* The names of all files there will be. */
int result_name(struct job *j);
/* From now on it is this task's and no other's; -EEXIST: it is another's. */
int result_claim(struct job *j);
/* All rows, into hidden files. */
int result_write(struct job *j);
/* The hidden files are whole, and on the disk. */
int result_settle(struct job *j);
/* They get their names. */
int result_publish(struct job *j);
/* Takes away what was not published. */
void result_discard(struct output *o);

#pragma GCC visibility pop
#endif

/* SPDX-License-Identifier: MIT */
/* Reading a journal that others may be writing, without a trace: rows are copied out, some thousand
 * at a time, and nothing of the file is held between two such looks. */
#ifndef KN_JOURNAL_LOOK_H
#define KN_JOURNAL_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

/* What is put in for ?1, ?2, ... of a statement. */
struct kn_look_value {
	int64_t number;
	const char *text;           /* borrowed; NULL: the number */
	bool null;
};

enum kn_look_type { KN_LOOK_NULL, KN_LOOK_NUMBER, KN_LOOK_REAL, KN_LOOK_BYTES };

struct kn_look_cell {
	enum kn_look_type type;
	union {
		int64_t number;
		double real;
		size_t at;          /* BYTES: where they begin in bytes.data; a '\0' follows them */
	};
	size_t size;                /* of BYTES */
};

/* {0} is valid: no rows. cell c of row r is cells[r * ncolumns + c]. */
struct kn_look_rows {
	struct kn_look_cell *cells; /* owned */
	size_t cap;                 /* cells */
	size_t nrows, ncolumns;
	struct kn_buf bytes;
	bool more;                  /* rows were left, for want of room here */
};

enum { KN_LOOK_ROWS = 4096 };       /* at most at once */

struct kn_look;

/* path need not be there yet: each look says what is wrong with it. 0 or -ENOMEM. */
int kn_look_new(const char *path, struct kn_look **ret);
void kn_look_free(struct kn_look *k);
/* The rows of one SELECT, into ret, which keeps its room. ?9 in sql stands for the number of the run
 * that goes on, NULL when none does. 0; -EINVAL: no journal of this version; -EUCLEAN: damaged;
 * or another -errno, with text in kn_look_error(). ret is empty then. */
int kn_look(struct kn_look *k, const char *sql, const struct kn_look_value *values, size_t nvalues,
    struct kn_look_rows *ret);
const char *kn_look_error(const struct kn_look *k);
/* Keep this as the error's text: path, then the rest; returns err. */
int kn_look_fail(struct kn_look *k, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- journal_rows.c ------------------------------------------------------ */

struct sqlite3_stmt;

/* The row that a statement stands on, behind the others. 0 or -ENOMEM. */
int kn_look_row_add(struct kn_look_rows *rows, struct sqlite3_stmt *s);
void kn_look_rows_clear(struct kn_look_rows *rows);     /* keeps the room */
void kn_look_rows_done(struct kn_look_rows *rows);
/* A cell as a number (NULL: instead), or as text ("" when it is none). */
int64_t kn_look_number(const struct kn_look_rows *rows, size_t row, size_t column, int64_t instead);
double kn_look_real(const struct kn_look_rows *rows, size_t row, size_t column, double instead);
const char *kn_look_text(const struct kn_look_rows *rows, size_t row, size_t column);

#endif

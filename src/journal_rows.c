/* SPDX-License-Identifier: MIT */
/* Rows that were copied out of a journal, and their cells. */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "journal_look.h"

static int
cell_copy(sqlite3_stmt *s, int column, struct kn_buf *bytes, struct kn_look_cell *ret)
{
	const void *data;
	int err;

	switch (sqlite3_column_type(s, column)) {
	case SQLITE_INTEGER:
		ret->type = KN_LOOK_NUMBER;
		ret->number = sqlite3_column_int64(s, column);
		return 0;
	case SQLITE_FLOAT:
		ret->type = KN_LOOK_REAL;
		ret->real = sqlite3_column_double(s, column);
		return 0;
	case SQLITE_NULL:
		ret->type = KN_LOOK_NULL;
		return 0;
	default:
		ret->type = KN_LOOK_BYTES;
		data = sqlite3_column_blob(s, column);
		ret->size = (size_t)sqlite3_column_bytes(s, column);
		ret->at = bytes->len;
		err = data != NULL ? kn_buf_add(bytes, data, ret->size) : 0;
		return err < 0 ? err : kn_buf_addc(bytes, '\0');
	}
}

int
kn_look_row_add(struct kn_look_rows *rows, sqlite3_stmt *s)
{
	size_t n = rows->nrows * rows->ncolumns;
	int err = 0;

	if (n + rows->ncolumns > rows->cap) {
		size_t cap = rows->cap > 0 ? 2 * rows->cap : 16 * rows->ncolumns;
		struct kn_look_cell *cells;

		while (cap < n + rows->ncolumns)
			cap *= 2;
		cells = reallocarray(rows->cells, cap, sizeof(*cells));
		if (cells == NULL)
			return -ENOMEM;
		rows->cells = cells;
		rows->cap = cap;
	}
	for (size_t i = 0; i < rows->ncolumns && err == 0; i++) {
		rows->cells[n + i] = (struct kn_look_cell){ 0 };
		err = cell_copy(s, (int)i, &rows->bytes, &rows->cells[n + i]);
	}
	if (err == 0)
		rows->nrows++;
	return err;
}

void
kn_look_rows_clear(struct kn_look_rows *rows)
{
	rows->nrows = 0;
	rows->bytes.len = 0;
	rows->more = false;
}

void
kn_look_rows_done(struct kn_look_rows *rows)
{
	free(rows->cells);
	kn_buf_done(&rows->bytes);
	*rows = (struct kn_look_rows){ 0 };
}

/* ---- cells -------------------------------------------------------------------------------------- */

int64_t
kn_look_number(const struct kn_look_rows *rows, size_t row, size_t column, int64_t instead)
{
	const struct kn_look_cell *c = &rows->cells[row * rows->ncolumns + column];

	if (c->type == KN_LOOK_NUMBER)
		return c->number;
	if (c->type == KN_LOOK_REAL && c->real > -9e18 && c->real < 9e18)
		return (int64_t)c->real;
	return instead;
}

double
kn_look_real(const struct kn_look_rows *rows, size_t row, size_t column, double instead)
{
	const struct kn_look_cell *c = &rows->cells[row * rows->ncolumns + column];

	if (c->type == KN_LOOK_REAL)
		return c->real;
	return c->type == KN_LOOK_NUMBER ? (double)c->number : instead;
}

const char *
kn_look_text(const struct kn_look_rows *rows, size_t row, size_t column)
{
	const struct kn_look_cell *c = &rows->cells[row * rows->ncolumns + column];

	return c->type == KN_LOOK_BYTES ? rows->bytes.data + c->at : "";
}

/* SPDX-License-Identifier: MIT */
/*
 * Rows of cells as a table, TSV, CSV or JSON, on standard output.
 *
 * The table's columns are as wide as the first rows need; later ones that need more push what
 * stands right of them. So a million rows take no memory, and the first appear at once. On a
 * terminal a row is one line: columns go when it is too narrow, the least important first, and the last
 * one is cut. Elsewhere nothing is left out.
 *
 * CSV is quoted as RFC 4180 says, its lines end with a newline alone. In TSV a backslash stands before
 * another one, and before t, n and r for the bytes that would end a cell. A joblog is as GNU parallel's.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv_text.h"
#include "json_text.h"
#include "line_text.h"
#include "log_parts.h"
#include "terminal.h"

enum {
	FIRST_ROWS = 500,   /* that say how wide the columns are */
	GAP = 2,            /* blanks between two columns */
	LAST_MIN = 16,      /* columns of a terminal for the last cell, if others can go for it */
	PRINTED_ROWS = 256, /* between two looks whether anybody still takes them */
};

struct log_print {
	enum log_format format;
	struct log_view view;
	uint64_t rows;
	/* The table. */
	unsigned cols; /* of the terminal; 0: it is none */
	bool begun;    /* widths are known, the head is out */
	bool utf8;
	size_t width[LOG_COLUMNS_MAX];
	bool gone[LOG_COLUMNS_MAX];
	char **first;  /* owned texts: view.n to a row */
	size_t nfirst; /* rows */
};

/* ---- cells as text -------------------------------------------------------------- */

/* For the eye, malloc'd; what is not known is "-". NULL: no memory. */
static char *
cell_shown(const struct log_column *column, const struct log_cell *cell)
{
	char text[LOG_CELL_BYTES] = "-";

	if (!cell->known)
		return strdup(text);
	switch (column->type) {
	case LOG_TEXT:
		return line_text_shown(cell->text);
	case LOG_COUNT:
		(void)snprintf(text, sizeof(text), "%lld", (long long)cell->number);
		break;
	case LOG_NANOSECONDS:
		log_put_seconds(text, cell->number);
		break;
	case LOG_BYTES:
		log_put_bytes(text, cell->number);
		break;
	case LOG_MOMENT:
		log_put_moment(text, cell->number);
		break;
	case LOG_FRACTION:
		(void)snprintf(text, sizeof(text), "%.2f", cell->real);
		break;
	}
	return strdup(text);
}

/* For programs: a number as it is, lengths in seconds. Not for TEXT. */
static const char *
cell_exact(const struct log_column *column, const struct log_cell *cell, char text[LOG_CELL_BYTES])
{
	int64_t ns = cell->number < 0 ? -cell->number : cell->number;

	switch (column->type) {
	case LOG_TEXT:
	case LOG_COUNT:
	case LOG_BYTES:
		(void)snprintf(text, LOG_CELL_BYTES, "%lld", (long long)cell->number);
		break;
	case LOG_NANOSECONDS:
		(void)snprintf(text, LOG_CELL_BYTES, "%s%lld.%09lld", cell->number < 0 ? "-" : "",
		    (long long)(ns / 1000000000), (long long)(ns % 1000000000));
		break;
	case LOG_MOMENT:
		log_put_rfc3339(text, cell->number);
		break;
	case LOG_FRACTION:
		(void)snprintf(text, LOG_CELL_BYTES, "%.6g", isfinite(cell->real) ? cell->real : 0);
		break;
	}
	return text;
}

/* ---- the table --------------------------------------------------------------------- */

static bool
has(const struct log_print *p, size_t i)
{
	return p->view.columns[i].title != NULL && !p->gone[i];
}

/* The columns before the last one, with their gaps. */
static size_t
width_before_last(const struct log_print *p)
{
	size_t sum = 0;

	for (size_t i = 0; i + 1 < p->view.n; i++)
		if (has(p, i))
			sum += p->width[i] + GAP;
	return sum;
}

/* Let columns go until the last one has room. */
static void
columns_drop(struct log_print *p)
{
	while (p->cols > 0 && width_before_last(p) + LAST_MIN > p->cols) {
		size_t least = p->view.n;

		for (size_t i = 0; i + 1 < p->view.n; i++)
			if (has(p, i) && p->view.columns[i].keep > 0 &&
			    (least == p->view.n || p->view.columns[i].keep < p->view.columns[least].keep))
				least = i;
		if (least == p->view.n)
			return;
		p->gone[least] = true;
	}
}

/* The last cell: what of it fits. */
static void
last_put(const struct log_print *p, const char *text, size_t used)
{
	size_t room = p->cols > used ? p->cols - used : 1;

	if (p->cols == 0 || line_text_columns(text) <= room) {
		fputs(text, stdout);
		return;
	}
	room = p->utf8 ? room - 1 : room > 3 ? room - 3 : 0;
	(void)fwrite(text, 1, line_text_within(text, room), stdout);
	fputs(p->utf8 ? "\u2026" : room > 0 ? "..." : ".", stdout);
}

static void
line_put(const struct log_print *p, const char *const *texts)
{
	size_t used = 0, debt = 0, last = p->view.n - 1;

	for (size_t i = 0; i < last; i++) {
		size_t width = line_text_columns(texts[i]);
		size_t pad = width < p->width[i] ? p->width[i] - width : 0;

		if (!has(p, i))
			continue;
		/* One that is too long takes it from the blanks of those behind it. */
		debt += width > p->width[i] ? width - p->width[i] : 0;
		if (debt > 0) {
			size_t paid = debt < pad ? debt : pad;

			pad -= paid;
			debt -= paid;
		}
		if (p->view.columns[i].left)
			printf("%s%*s", texts[i], (int)(pad + GAP), "");
		else
			printf("%*s%s%*s", (int)pad, "", texts[i], GAP, "");
		used += width + pad + GAP;
	}
	last_put(p, texts[last], used);
	putchar('\n');
}

/* The width of each column is known: the head, and the rows that were kept. */
static void
table_begin(struct log_print *p)
{
	const char *titles[LOG_COLUMNS_MAX];

	assert(p->view.n > 0);
	p->begun = true;
	for (size_t i = 0; i < p->view.n; i++) {
		titles[i] = p->view.columns[i].title != NULL ? p->view.columns[i].title : "";
		p->width[i] = strlen(titles[i]);
		for (size_t row = 0; row < p->nfirst; row++) {
			size_t width = line_text_columns(p->first[row * p->view.n + i]);

			if (width > p->width[i])
				p->width[i] = width;
		}
	}
	columns_drop(p);
	line_put(p, titles);
	for (size_t row = 0; row < p->nfirst; row++)
		line_put(p, (const char *const *)p->first + row * p->view.n);
}

static void
texts_free(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
}

static int
table_row(struct log_print *p, const struct log_cell *cells)
{
	char *own[LOG_COLUMNS_MAX] = { NULL };
	char **texts = p->begun ? own : p->first + p->nfirst * p->view.n;
	int err = 0;

	for (size_t i = 0; i < p->view.n; i++) {
		bool wanted = p->view.columns[i].title != NULL;

		texts[i] = wanted ? cell_shown(&p->view.columns[i], &cells[i]) : strdup("");
		if (texts[i] == NULL)
			err = say_error(ENOMEM, "%s", strerror(ENOMEM));
	}
	if (err == 0 && p->begun)
		line_put(p, (const char *const *)texts);
	if (err < 0 || p->begun) {
		texts_free(texts, p->view.n);
		return err;
	}
	p->nfirst++;
	if (p->nfirst == FIRST_ROWS)
		table_begin(p);
	return 0;
}

/* ---- TSV, CSV, JSON ------------------------------------------------------------------- */

static void
tsv_text(const char *text)
{
	for (; *text != '\0'; text++) {
		const char *found = strchr("\\\tt\nn\rr", *text);

		if (*text == '\\')
			fputs("\\\\", stdout);
		else if (found != NULL && (unsigned char)*text < 0x20)
			printf("\\%c", found[1]);
		else
			putchar(*text);
	}
}

/* The names of the columns, or a row of them. */
static void
separated_row(const struct log_print *p, const struct log_cell *cells)
{
	const char *separator = "", *next = p->format == LOG_CSV ? "," : "\t";
	char text[LOG_CELL_BYTES];

	for (size_t i = 0; i < p->view.n; i++) {
		const struct log_column *column = &p->view.columns[i];

		if (column->name == NULL)
			continue;
		fputs(separator, stdout);
		separator = next;
		if (cells == NULL)
			fputs(column->name, stdout);
		else if (!cells[i].known)
			continue;
		else if (column->type != LOG_TEXT)
			fputs(cell_exact(column, &cells[i], text), stdout);
		else if (p->format == LOG_CSV)
			csv_text_put(stdout, cells[i].text);
		else
			tsv_text(cells[i].text);
	}
	putchar('\n');
}

static void
json_put(const char *s)
{
	json_text_put(stdout, s, strlen(s));
}

static void
json_row(const struct log_print *p, const struct log_cell *cells)
{
	const char *separator = "{";
	char text[LOG_CELL_BYTES];

	for (size_t i = 0; i < p->view.n; i++) {
		const struct log_column *column = &p->view.columns[i];
		bool quoted = column->type == LOG_TEXT || column->type == LOG_MOMENT;

		if (column->name == NULL)
			continue;
		printf("%s\"%s\":", separator, column->name);
		separator = ",";
		if (!cells[i].known)
			fputs("null", stdout);
		else if (quoted)
			json_put(
			    column->type == LOG_TEXT ? cells[i].text : cell_exact(column, &cells[i], text));
		else
			fputs(cell_exact(column, &cells[i], text), stdout);
	}
	fputs("}\n", stdout);
}

/* ---- rows --------------------------------------------------------------------------------- */

int
log_printed(void)
{
	int err;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	err = errno != 0 ? errno : EIO;
	return err == EPIPE ? -EPIPE : say_error(err, "standard output: %s", strerror(err));
}

int
log_print_new(enum log_format format, const struct log_view *view, struct log_print **ret)
{
	struct log_print *p = calloc(1, sizeof(*p));

	assert(view->n > 0 && view->n <= LOG_COLUMNS_MAX);
	if (p == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	p->format = format;
	p->view = *view;
	for (size_t i = 0; i < view->n; i++)
		p->gone[i] = view->columns[i].of_attempts && !view->attempts;
	if (format == LOG_TABLE) {
		p->cols = isatty(STDOUT_FILENO) ? terminal_cols(STDOUT_FILENO) : 0;
		p->utf8 = terminal_utf8();
		p->first = calloc(FIRST_ROWS * view->n, sizeof(*p->first));
		if (p->first == NULL) {
			free(p);
			return say_error(ENOMEM, "%s", strerror(ENOMEM));
		}
	}
	if (format == LOG_CSV || format == LOG_TSV)
		separated_row(p, NULL);
	*ret = p;
	return 0;
}

void
log_print_free(struct log_print *p)
{
	if (p == NULL)
		return;
	if (p->first != NULL)
		texts_free(p->first, FIRST_ROWS * p->view.n);
	free(p->first);
	free(p);
}

int
log_print_row(struct log_print *p, const struct log_cell *cells)
{
	int err = 0;

	switch (p->format) {
	case LOG_TABLE:
		err = table_row(p, cells);
		break;
	case LOG_TSV:
	case LOG_CSV:
		separated_row(p, cells);
		break;
	case LOG_JSON:
		json_row(p, cells);
		break;
	}
	if (err == 0 && ++p->rows % PRINTED_ROWS == 0)
		err = log_printed();
	return err;
}

int
log_print_end(struct log_print *p)
{
	if (p->format == LOG_TABLE && !p->begun && p->nfirst > 0)
		table_begin(p);
	return log_printed();
}

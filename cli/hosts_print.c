/* SPDX-License-Identifier: MIT */
/*
 * How the machines are, as a table, as CSV or as lines of JSON.
 *
 * In the table rows that say the same are one, with all of their machines as a node set: those that do
 * not answer for the same reason above all. On a terminal a row is one line: columns go when it is too
 * narrow, the least important first. CSV and JSON have every machine and all that is known, as plain
 * numbers; their names are for good.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv_text.h"
#include "hosts_parts.h"
#include "json_text.h"
#include "line_text.h"
#include "log_parts.h"
#include "progress_format.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

enum { GAP = 2, CELL_BYTES = 24, HOST_MIN = 8 };

/* ---- what there is to show ------------------------------------------------------ */

enum type { TYPE_LOAD, TYPE_COUNT, TYPE_PERCENT, TYPE_BYTES, TYPE_DURATION };

/* keep: when a terminal is too narrow columns go by this, the lowest first. */
static const struct column {
	const char *name, *title;
	enum type type;
	size_t at; /* of a double in struct hosts_figures */
	int keep;
} columns[] = {
	{ "load", "LOAD", TYPE_LOAD, offsetof(struct hosts_figures, load), 9 },
	{ "cores", "CORES", TYPE_COUNT, offsetof(struct hosts_figures, cores), 2 },
	{ "cpu", "CPU%", TYPE_PERCENT, offsetof(struct hosts_figures, cpu_busy_frac), 11 },
	{ "mem-used", "MEM-USED", TYPE_BYTES, offsetof(struct hosts_figures, used_bytes), 8 },
	{ "mem-free", "MEM-FREE", TYPE_BYTES, offsetof(struct hosts_figures, free_bytes), 3 },
	{ "mem", "MEM%", TYPE_PERCENT, offsetof(struct hosts_figures, used_frac), 10 },
	{ "disk-r", "DISK-R", TYPE_BYTES, offsetof(struct hosts_figures, disk_read_per_s), 4 },
	{ "disk-w", "DISK-W", TYPE_BYTES, offsetof(struct hosts_figures, disk_written_per_s), 5 },
	{ "net-in", "NET-IN", TYPE_BYTES, offsetof(struct hosts_figures, net_received_per_s), 6 },
	{ "net-out", "NET-OUT", TYPE_BYTES, offsetof(struct hosts_figures, net_sent_per_s), 7 },
	{ "uptime", "UPTIME", TYPE_DURATION, offsetof(struct hosts_figures, uptime_s), 1 },
};

enum { NCOLUMNS = COUNT_OF(columns), COLUMN_HOST = NCOLUMNS };

int
hosts_column_find(const char *name)
{
	if (strcasecmp(name, "host") == 0)
		return COLUMN_HOST;
	for (size_t i = 0; i < NCOLUMNS; i++)
		if (strcasecmp(name, columns[i].name) == 0 || strcasecmp(name, columns[i].title) == 0)
			return (int)i;
	return -1;
}

void
hosts_column_names(char *ret, size_t size)
{
	size_t at = (size_t)snprintf(ret, size, "host");

	for (size_t i = 0; i < NCOLUMNS && at < size; i++)
		at += (size_t)snprintf(ret + at, size - at, ", %s", columns[i].name);
}

static double
value_of(const struct column *c, const struct hosts_figures *f)
{
	return *(const double *)(const void *)((const char *)f + c->at);
}

static void
cell_put(const struct column *c, const struct hosts_figures *f, char ret[CELL_BYTES])
{
	double n = value_of(c, f);
	char text[LOG_CELL_BYTES];

	if (!(n >= 0))
		(void)snprintf(text, sizeof(text), "-");
	else if (c->type == TYPE_LOAD)
		(void)snprintf(text, sizeof(text), n < 99.5 ? "%.2f" : "%.0f", fmin(n, 1e12));
	else if (c->type == TYPE_COUNT)
		(void)snprintf(text, sizeof(text), "%.0f", fmin(n, 1e12));
	else if (c->type == TYPE_PERCENT)
		(void)snprintf(text, sizeof(text), "%.0f", 100 * fmin(n, 1));
	else if (c->type == TYPE_BYTES)
		log_put_bytes(text, (int64_t)fmin(n, 9e18));
	else
		progress_duration(text, sizeof(text), (uint64_t)fmin(n, 1e15));
	(void)snprintf(ret, CELL_BYTES, "%.*s", CELL_BYTES - 1, text);
}

/* ---- rows -------------------------------------------------------------------------- */

struct row {
	const struct hosts_host *host;
	size_t place; /* in the list */
	struct hosts_figures f;
	char cells[NCOLUMNS][CELL_BYTES];
	const char *note; /* in place of cells; NULL: there are figures */
	size_t next;      /* another row that says the same; 0: none, else its place in rows + 1 */
	size_t last;      /* of a row that others are with: the last of them, in the same way */
	bool hidden;      /* it is with another one */
	char *shown;      /* owned: the first column's text */
};

struct table {
	const struct hosts_view *view;
	struct row *rows; /* owned */
	size_t n;
	size_t width[NCOLUMNS + 1]; /* the last one: of the hosts */
	bool gone[NCOLUMNS];
};

static bool
is_up(const struct hosts_host *h)
{
	return h->state == HOSTS_UP;
}

static const char *
note_of(const struct hosts_host *h)
{
	switch (h->state) {
	case HOSTS_WAITING:
	case HOSTS_CONNECTING:
		return "connecting";
	case HOSTS_ANSWERING:
		return "measuring";
	case HOSTS_UP:
		return NULL;
	case HOSTS_DOWN:
		break;
	}
	return h->error;
}

/* Those with a value before those without, whichever way it is sorted. */
static int
row_compare(const void *a, const void *b, void *self)
{
	const struct hosts_options *o = self;
	const struct row *x = a, *y = b;
	int order = 0;

	if ((x->note == NULL) != (y->note == NULL))
		return x->note == NULL ? -1 : 1;
	if (o->sort == COLUMN_HOST) {
		order = strverscmp(x->host->name, y->host->name);
	} else if (o->sort >= 0) {
		double i = value_of(&columns[o->sort], &x->f), j = value_of(&columns[o->sort], &y->f);

		if ((i < 0) != (j < 0))
			return i < 0 ? 1 : -1;
		order = (i > j) - (i < j);
	}
	if (order != 0)
		return o->descending ? -order : order;
	return (x->place > y->place) - (x->place < y->place);
}

static int
rows_make(struct table *t)
{
	const struct hosts_list *list = t->view->list;

	t->rows = calloc(list->n > 0 ? list->n : 1, sizeof(*t->rows));
	if (t->rows == NULL)
		return -ENOMEM;
	for (t->n = 0; t->n < list->n; t->n++) {
		struct row *r = &t->rows[t->n];

		r->host = &list->hosts[t->n];
		r->place = t->n;
		r->f = hosts_answer_figures(&r->host->answer);
		r->note = note_of(r->host);
		for (size_t i = 0; r->note == NULL && i < NCOLUMNS; i++)
			cell_put(&columns[i], &r->f, r->cells[i]);
	}
	if (t->n > 1)
		qsort_r(t->rows, t->n, sizeof(*t->rows), row_compare, (void *)t->view->options);
	return 0;
}

static void
table_done(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->rows[i].shown);
	free(t->rows);
}

/* ---- folding --------------------------------------------------------------------------- */

static size_t
text_hash(const char *s, size_t h)
{
	for (; *s != '\0'; s++)
		h = h * 33 ^ (unsigned char)*s;
	return h * 33;
}

static size_t
row_hash(const struct row *r)
{
	size_t h = text_hash(r->note != NULL ? r->note : "", 5381);

	for (size_t i = 0; i < NCOLUMNS; i++)
		h = text_hash(r->cells[i], h);
	return h;
}

static bool
rows_same(const struct row *x, const struct row *y)
{
	if ((x->note == NULL) != (y->note == NULL))
		return false;
	if (x->note != NULL)
		return strcmp(x->note, y->note) == 0;
	return memcmp(x->cells, y->cells, sizeof(x->cells)) == 0;
}

/* Rows that say the same go with the first of them. */
static int
rows_join(struct table *t)
{
	size_t size = 2 * t->n + 1, *first = calloc(size, sizeof(*first));

	if (first == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++) {
		size_t at = row_hash(&t->rows[i]) % size;
		struct row *with;

		while (first[at] != 0 && !rows_same(&t->rows[first[at] - 1], &t->rows[i]))
			at = (at + 1) % size;
		if (first[at] == 0) {
			first[at] = i + 1;
			continue;
		}
		with = &t->rows[first[at] - 1];
		t->rows[with->last > 0 ? with->last - 1 : first[at] - 1].next = i + 1;
		with->last = i + 1;
		t->rows[i].hidden = true;
	}
	free(first);
	return 0;
}

/* The machines of a row in few words. names: room for all of them. */
static int
row_name(const struct table *t, struct row *r, const char **names)
{
	char *folded = NULL;
	size_t n = 1;
	int err;

	names[0] = r->host->name;
	for (size_t at = r->next; at != 0; at = t->rows[at - 1].next)
		names[n++] = t->rows[at - 1].host->name;
	if (n == 1) {
		r->shown = line_text_shown(r->host->name);
		return r->shown != NULL ? 0 : -ENOMEM;
	}
	err = knee_nodeset_fold(names, n, &folded);
	if (err < 0)
		return err;
	r->shown = line_text_shown(folded);
	free(folded);
	return r->shown != NULL ? 0 : -ENOMEM;
}

static int
rows_name(struct table *t)
{
	const char **names = calloc(t->n > 0 ? t->n : 1, sizeof(*names));
	int err = names != NULL ? 0 : -ENOMEM;

	if (err == 0 && !t->view->options->no_fold)
		err = rows_join(t);
	for (size_t i = 0; err == 0 && i < t->n; i++)
		if (!t->rows[i].hidden)
			err = row_name(t, &t->rows[i], names);
	free(names);
	return err;
}

/* ---- the table ------------------------------------------------------------------------------ */

static size_t
widths_sum(const struct table *t)
{
	size_t sum = t->width[COLUMN_HOST];

	for (size_t i = 0; i < NCOLUMNS; i++)
		if (!t->gone[i])
			sum += GAP + t->width[i];
	return sum;
}

/* The widths that rows need; then columns go until a line has room for the rest, and last the names are cut. */
static void
widths_find(struct table *t)
{
	size_t *hosts = &t->width[COLUMN_HOST], rest;

	*hosts = strlen("HOST");
	for (size_t i = 0; i < NCOLUMNS; i++)
		t->width[i] = strlen(columns[i].title);
	for (size_t row = 0; row < t->n; row++) {
		const struct row *r = &t->rows[row];
		size_t width = r->shown != NULL ? line_text_columns(r->shown) : 0;

		/* Many machines in one row do not push the figures of the others away. */
		if (width > *hosts && (r->note == NULL || r->next == 0))
			*hosts = width;
		for (size_t i = 0; i < NCOLUMNS; i++)
			if (strlen(r->cells[i]) > t->width[i])
				t->width[i] = strlen(r->cells[i]);
	}
	if (t->view->cols == 0)
		return;
	while (widths_sum(t) > t->view->cols) {
		size_t least = NCOLUMNS;

		for (size_t i = 0; i < NCOLUMNS; i++)
			if (!t->gone[i] && (least == NCOLUMNS || columns[i].keep < columns[least].keep))
				least = i;
		if (least == NCOLUMNS || (columns[least].keep == 11 && *hosts > HOST_MIN))
			break;
		t->gone[least] = true;
	}
	rest = widths_sum(t) - *hosts;
	if (rest + *hosts > t->view->cols)
		*hosts = t->view->cols > rest ? t->view->cols - rest : 1;
}

/* What of text fits into so many columns; with pad, blanks up to there. How many it took. */
static size_t
cut_put(const struct hosts_view *v, FILE *out, const char *text, size_t width, bool pad)
{
	size_t used = line_text_columns(text);

	if (v->cols == 0 || used <= width) {
		fputs(text, out);
	} else if (width > 0) {
		(void)fwrite(text, 1, line_text_within(text, width - 1), out);
		fputs(v->utf8 ? "\u2026" : ">", out);
		used = width;
	} else {
		used = 0;
	}
	for (; pad && used < width; used++)
		putc(' ', out);
	return used;
}

static void
line_end(const struct hosts_view *v, FILE *out)
{
	fputs(v->redraw ? "\033[K\n" : "\n", out);
}

static void
head_put(const struct table *t, FILE *out)
{
	(void)cut_put(t->view, out, "HOST", t->width[COLUMN_HOST], true);
	for (size_t i = 0; i < NCOLUMNS; i++)
		if (!t->gone[i])
			fprintf(out, "%*s", (int)(GAP + t->width[i]), columns[i].title);
	line_end(t->view, out);
}

static void
row_put(const struct table *t, const struct row *r, FILE *out)
{
	const struct hosts_view *v = t->view;
	size_t hosts = t->width[COLUMN_HOST], used;
	bool red = v->color && r->host->state == HOSTS_DOWN;

	if (r->note == NULL) {
		(void)cut_put(v, out, r->shown, hosts, true);
		for (size_t i = 0; i < NCOLUMNS; i++)
			if (!t->gone[i])
				fprintf(out, "%*s", (int)(GAP + t->width[i]), r->cells[i]);
		line_end(v, out);
		return;
	}
	/* The note has the room of the figures, and of the names what it leaves. */
	if (v->cols > 0 && v->cols > GAP + line_text_columns(r->note) + hosts)
		hosts = v->cols - GAP - line_text_columns(r->note);
	used = cut_put(v, out, r->shown, hosts, false);
	for (; used < t->width[COLUMN_HOST]; used++)
		putc(' ', out);
	fprintf(out, "%*s%s", GAP, "", red ? "\033[31m" : "");
	(void)cut_put(v, out, r->note, v->cols > used + GAP ? v->cols - used - GAP : 1, false);
	fputs(red ? "\033[m" : "", out);
	line_end(v, out);
}

/* "80 of 100 machines answer: 160 cores, 34 % busy, 210 of 400 GiB used" */
static void
totals_put(const struct table *t, FILE *out)
{
	double cores = 0, weight = 0, busy = 0, used = 0, memory = 0;
	char line[256], *at = line;
	size_t up = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct hosts_figures *f = &t->rows[i].f;

		if (t->rows[i].note != NULL)
			continue;
		up++;
		cores += fmax(f->cores, 0);
		if (f->cpu_busy_frac >= 0) {
			weight += fmax(f->cores, 1);
			busy += fmax(f->cores, 1) * f->cpu_busy_frac;
		}
		used += fmax(f->used_bytes, 0);
		memory += fmax(f->memory_bytes, 0);
	}
	at += snprintf(
	    at, 64, "%zu of %zu machine%s answer%s", up, t->n, t->n == 1 ? "" : "s", t->n == 1 ? "s" : "");
	if (cores > 0)
		at += snprintf(at, 64, ": %.0f core%s", fmin(cores, 1e12), cores == 1 ? "" : "s");
	if (cores > 0 && weight > 0)
		at += snprintf(at, 32, ", %.0f %% busy", 100 * busy / weight);
	if (cores > 0 && memory > 0) {
		double unit = memory >= 10 * 1073741824.0 ? 1073741824.0 : 1048576.0;

		(void)snprintf(at, 64, ", %.0f of %.0f %s used", used / unit, memory / unit,
		    unit > 1048576.0 ? "GiB" : "MiB");
	}
	(void)cut_put(t->view, out, line, t->view->cols, false);
	line_end(t->view, out);
}

static int
table_print(const struct hosts_view *v, FILE *out)
{
	struct table t = { .view = v };
	size_t shown = 0, room = SIZE_MAX;
	int err = rows_make(&t);

	if (err == 0)
		err = rows_name(&t);
	if (err < 0)
		goto done;
	widths_find(&t);
	/* On a screen: the head, the sums, an empty line, and where the cursor stands. */
	if (v->redraw && v->rows > 0)
		room = v->rows > 5 ? v->rows - 4 : 1;
	if (v->redraw)
		fputs("\033[H", out);
	head_put(&t, out);
	for (size_t i = 0; i < t.n; i++) {
		if (t.rows[i].hidden)
			continue;
		if (shown++ < room)
			row_put(&t, &t.rows[i], out);
	}
	if (shown > room)
		fprintf(out, "(%zu more)", shown - room);
	line_end(v, out);
	totals_put(&t, out);
	if (v->redraw)
		fputs("\033[J", out);

done:
	table_done(&t);
	return err;
}

/* ---- CSV and JSON --------------------------------------------------------------------------- */

static const struct member {
	const char *name;
	size_t at;
} members[] = {
	{ "load1", offsetof(struct hosts_figures, load) },
	{ "load5", offsetof(struct hosts_figures, load) + sizeof(double) },
	{ "load15", offsetof(struct hosts_figures, load) + 2 * sizeof(double) },
	{ "cores", offsetof(struct hosts_figures, cores) },
	{ "cpu_busy", offsetof(struct hosts_figures, cpu_busy_frac) },
	{ "memory_bytes", offsetof(struct hosts_figures, memory_bytes) },
	{ "memory_used_bytes", offsetof(struct hosts_figures, used_bytes) },
	{ "memory_free_bytes", offsetof(struct hosts_figures, free_bytes) },
	{ "swap_bytes", offsetof(struct hosts_figures, swap_bytes) },
	{ "swap_used_bytes", offsetof(struct hosts_figures, swap_used_bytes) },
	{ "disk_read_per_s", offsetof(struct hosts_figures, disk_read_per_s) },
	{ "disk_written_per_s", offsetof(struct hosts_figures, disk_written_per_s) },
	{ "net_received_per_s", offsetof(struct hosts_figures, net_received_per_s) },
	{ "net_sent_per_s", offsetof(struct hosts_figures, net_sent_per_s) },
	{ "uptime_s", offsetof(struct hosts_figures, uptime_s) },
};

static const char *const texts[] = { "time", "host", "state", "error", "hostname", "kernel" };

static const char *
text_of(const struct hosts_view *v, const struct hosts_host *h, size_t i, char scratch[LOG_CELL_BYTES])
{
	switch (i) {
	case 0:
		log_put_rfc3339(scratch, v->time_ns);
		return scratch;
	case 1:
		return h->name;
	case 2:
		return h->state == HOSTS_UP ? "up" : h->state == HOSTS_DOWN ? "down" : "connecting";
	case 3:
		return h->state == HOSTS_DOWN ? h->error : "";
	case 4:
		return is_up(h) ? h->answer.last.name : "";
	default:
		return is_up(h) ? h->answer.last.kernel : "";
	}
}

static void
number_put(double n, FILE *out)
{
	/* Whole ones as such: a number of bytes is exact. */
	fprintf(out, (n == floor(n) || n >= 1e5) && n < 9e15 ? "%.0f" : "%.6g", n);
}

static void
line_put(const struct hosts_view *v, const struct row *r, bool json, FILE *out)
{
	char scratch[LOG_CELL_BYTES];

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		const char *text = text_of(v, r->host, i, scratch);

		fputs(i > 0 ? "," : json ? "{" : "", out);
		if (!json) {
			csv_text_put(out, text);
			continue;
		}
		fprintf(out, "\"%s\":", texts[i]);
		if (*text == '\0')
			fputs("null", out);
		else
			json_text_put(out, text, strlen(text));
	}
	for (size_t i = 0; i < COUNT_OF(members); i++) {
		double n = *(const double *)(const void *)((const char *)&r->f + members[i].at);
		bool known = r->note == NULL && n >= 0 && isfinite(n);

		if (json)
			fprintf(out, ",\"%s\":%s", members[i].name, known ? "" : "null");
		else
			putc(',', out);
		if (known)
			number_put(n, out);
	}
	fputs(json ? "}\n" : "\n", out);
}

static int
lines_print(const struct hosts_view *v, FILE *out)
{
	bool json = v->options->format == HOSTS_JSON;
	struct table t = { .view = v };
	int err = rows_make(&t);

	if (!json && v->head) {
		for (size_t i = 0; i < COUNT_OF(texts); i++)
			fprintf(out, "%s%s", i > 0 ? "," : "", texts[i]);
		for (size_t i = 0; i < COUNT_OF(members); i++)
			fprintf(out, ",%s", members[i].name);
		putc('\n', out);
	}
	for (size_t i = 0; err == 0 && i < t.n; i++)
		line_put(v, &t.rows[i], json, out);
	table_done(&t);
	return err;
}

int
hosts_print(const struct hosts_view *view, FILE *out)
{
	return view->options->format == HOSTS_TABLE ? table_print(view, out) : lines_print(view, out);
}

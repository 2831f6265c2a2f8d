/* SPDX-License-Identifier: MIT */
/*
 *	knee  1,204/4,000  312/s  0 failed  ETA 9s   14 at once ^  disk vda 71%  cpu 40%
 *	knee  30%  [=====>            ]  1,204/4,000  312/s  0 failed  ETA 9s   14 at once
 *
 * The arrow says where the search for the right number is: above or below the last one.
 * When the terminal is too narrow for all of it the fields go one by one, the least
 * important first, until the rest fits; of the count itself the percentage stays.
 */
#include "progress_format.h"

#include <stdio.h>
#include <string.h>

#include "line_text.h"

enum field { FACE, PERCENT, BAR, COUNT, RATE, FAILED, ETA, AT_ONCE, SUSPENDED, RESOURCE, CPU, FIELDS };

enum {
	FIELD_BYTES = 80,
	BAR_MIN = 10, /* columns of a bar between its brackets */
	BAR_MAX = 50,
};

struct line {
	char text[FIELDS][FIELD_BYTES]; /* "": not there */
	const char *color[FIELDS];      /* NULL: none */
};

/* ---- rate --------------------------------------------------------------- */

void
progress_rate_add(struct progress_rate *r, int64_t now_ns, uint64_t done)
{
	double seconds = (double)(now_ns - r->time_ns) / 1e9;
	double memory, keep;

	if (!r->begun) {
		*r = (struct progress_rate){ .begun = true, .done = done, .time_ns = now_ns };
		return;
	}
	r->time_ns = now_ns;
	r->idle += seconds;
	if (done <= r->done)
		return;
	r->gap = r->gap > 0 ? 0.7 * r->gap + 0.3 * r->idle : r->idle;
	memory = 4 * r->gap > 3 ? 4 * r->gap : 3;
	keep = memory / (memory + r->idle);
	r->tasks = keep * r->tasks + (double)(done - r->done);
	r->seconds = keep * r->seconds + r->idle;
	r->done = done;
	r->idle = 0;
}

double
progress_rate_get(const struct progress_rate *r)
{
	double late = r->idle > r->gap ? r->idle - r->gap : 0;

	return r->seconds > 0 ? r->tasks / (r->seconds + late) : 0;
}

double
progress_rate_eta(const struct progress_rate *r, uint64_t left)
{
	double rate = progress_rate_get(r);
	double gone = r->idle < r->gap ? r->idle : r->gap;
	double eta;

	if (rate <= 0)
		return -1;
	eta = (double)left / rate - gone;
	return eta > 0 ? eta : 0;
}

/* ---- numbers ------------------------------------------------------------ */

void
progress_count(char *ret, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*ret++ = ',';
		*ret++ = digits[i];
	}
	*ret = '\0';
}

void
progress_duration(char *ret, size_t size, uint64_t s)
{
	unsigned long long n = s;

	if (n < 60)
		snprintf(ret, size, "%llus", n);
	else if (n < 3600)
		snprintf(ret, size, "%llum%02llus", n / 60, n % 60);
	else if (n < 86400)
		snprintf(ret, size, "%lluh%02llum", n / 3600, n / 60 % 60);
	else
		snprintf(ret, size, "%llud%02lluh", n / 86400, n / 3600 % 24);
}

static void
rate_put(char *ret, size_t size, double rate)
{
	char count[32];

	if (rate >= 9.95) {
		progress_count(count, (uint64_t)(rate + 0.5));
		snprintf(ret, size, "%s/s", count);
	} else if (rate >= 0.995) {
		snprintf(ret, size, "%.1f/s", rate);
	} else if (rate * 60 >= 0.95) {
		snprintf(ret, size, "%.0f/min", rate * 60);
	} else if (rate > 0) {
		snprintf(ret, size, "%.1f/h", rate * 3600);
	}
}

/* ---- fields ------------------------------------------------------------- */

static void
count_field(const struct knee_stats *s, char *ret, size_t size)
{
	char done[32], total[32];

	progress_count(done, s->done);
	progress_count(total, s->total);
	if (s->total_known)
		snprintf(ret, size, "%s/%s", done, total);
	else if (s->total > s->started)
		snprintf(ret, size, "%s/%s+", done, total);
	else
		snprintf(ret, size, "%s done", done);
}

/* The limit when it is all but used, else what really runs. */
static unsigned
at_once(const struct knee_stats *s)
{
	return s->running + s->running / 8 >= s->limit ? s->limit : s->running;
}

static unsigned
percent_of(double frac)
{
	return frac < 1 ? (unsigned)(100 * frac + 0.5) : 100;
}

/* How many at once, and what that does to the machine. */
static void
limit_fields_fill(const struct progress_view *v, struct line *line)
{
	const struct knee_stats *s = v->stats;
	const char *arrow = "";

	if (s->rising > 0)
		arrow = v->utf8 ? " \u2191" : " ^";
	else if (s->rising < 0)
		arrow = v->utf8 ? " \u2193" : " v";
	snprintf(line->text[AT_ONCE], FIELD_BYTES, "%u at once%s", at_once(s), arrow);
	if (s->suspended > 0)
		snprintf(line->text[SUSPENDED], FIELD_BYTES, "%u suspended: memory", s->suspended);
	if (s->cpu_busy_frac >= 0)
		snprintf(line->text[CPU], FIELD_BYTES, "cpu %u%%", percent_of(s->cpu_busy_frac));
	for (size_t i = 0; i < v->nworks; i++) {
		const struct knee_work *w = &v->works[i];

		if (w->busy_frac < 0 || w->resource[0] == '\0' ||
		    (w->kind != KNEE_KIND_DISK && w->kind != KNEE_KIND_NET))
			continue;
		snprintf(line->text[RESOURCE], FIELD_BYTES, "%s %.32s %u%%",
		    w->kind == KNEE_KIND_DISK ? "disk" : "net", w->resource, percent_of(w->busy_frac));
		break;
	}
}

static void
fields_fill(const struct progress_view *v, struct line *line)
{
	const struct knee_stats *s = v->stats;
	char text[32];
	double eta = -1;

	snprintf(line->text[FACE], FIELD_BYTES, "%.32s", v->face);
	if (s->total_known && s->total > 0)
		snprintf(line->text[PERCENT], FIELD_BYTES, "%u%%",
		    (unsigned)(100 * ((double)s->done / (double)s->total)));
	if (v->bar && s->total_known && s->total > 0)
		snprintf(line->text[BAR], FIELD_BYTES, "[%*s]", BAR_MIN, "");
	count_field(s, line->text[COUNT], FIELD_BYTES);
	rate_put(line->text[RATE], FIELD_BYTES, progress_rate_get(v->rate));
	progress_count(text, s->failed);
	snprintf(line->text[FAILED], FIELD_BYTES, "%s failed", text);
	if (v->color && s->failed > 0)
		line->color[FAILED] = "\033[31m";
	if (s->total_known && s->total > s->done)
		eta = progress_rate_eta(v->rate, s->total - s->done);
	if (eta >= 0 && eta < 100 * 86400.0) {
		uint64_t whole = (uint64_t)eta;

		progress_duration(text, sizeof(text), whole + ((double)whole < eta));
		snprintf(line->text[ETA], FIELD_BYTES, "ETA %s", text);
	}
	limit_fields_fill(v, line);
}

static size_t
blanks_before(enum field f)
{
	return f == AT_ONCE ? 3 : 2;
}

static size_t
line_width(const struct line *line)
{
	size_t width = 0;

	for (enum field f = 0; f < FIELDS; f++)
		if (line->text[f][0] != '\0')
			width += line_text_columns(line->text[f]) + (width > 0 ? blanks_before(f) : 0);
	return width;
}

/* Empty fields until the line fits into width columns. */
static void
fields_drop(const struct progress_view *v, struct line *line, size_t width)
{
	char percent[FIELD_BYTES];
	bool failures = v->stats->failed > 0;
	const enum field order[] = { CPU, RESOURCE, AT_ONCE, SUSPENDED, failures ? AT_ONCE : FAILED, RATE,
		FACE, v->eta ? FAILED : ETA, v->eta ? ETA : FAILED, COUNT, BAR, PERCENT };

	/* Without a bar the percentage only stands in for a count that does not fit. */
	memcpy(percent, line->text[PERCENT], sizeof(percent));
	if (!v->bar)
		line->text[PERCENT][0] = '\0';
	for (size_t i = 0; i < sizeof(order) / sizeof(*order) && line_width(line) > width; i++) {
		line->text[order[i]][0] = '\0';
		if (order[i] == COUNT)
			memcpy(line->text[PERCENT], percent, sizeof(percent));
	}
}

/* The bar takes the columns that are left. */
static void
bar_fill(const struct knee_stats *s, struct line *line, size_t width)
{
	size_t used = line_width(line);
	size_t cells = BAR_MIN + (width > used ? width - used : 0);
	size_t full;
	char *bar = line->text[BAR];

	if (cells > BAR_MAX)
		cells = BAR_MAX;
	full = (size_t)((double)cells * ((double)s->done / (double)s->total));
	memset(bar + 1, ' ', cells);
	memset(bar + 1, '=', full < cells ? full : cells);
	if (full < cells)
		bar[1 + full] = '>';
	bar[cells + 1] = ']';
	bar[cells + 2] = '\0';
}

void
progress_line(const struct progress_view *v, char ret[PROGRESS_LINE_BYTES])
{
	struct line line = { 0 };
	size_t width = v->cols > 0 ? v->cols - 1 : 0;
	size_t at = 0;

	fields_fill(v, &line);
	fields_drop(v, &line, width);
	if (line.text[BAR][0] != '\0')
		bar_fill(v->stats, &line, width);
	for (enum field f = 0; f < FIELDS; f++) {
		const char *color = line.color[f];

		if (line.text[f][0] == '\0')
			continue;
		at += (size_t)snprintf(ret + at, PROGRESS_LINE_BYTES - at, "%*s%s%s%s",
		    at > 0 ? (int)blanks_before(f) : 0, "", color ? color : "", line.text[f],
		    color ? "\033[m" : "");
	}
	ret[at] = '\0';
}

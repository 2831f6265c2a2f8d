/* SPDX-License-Identifier: MIT */
/*
 *	4,000 tasks, 0 failed, 12.3 s; about 17x one at a time; settled at 14 of 1-256: disk-bound
 *	(vda 97 % busy); 28 gave 0.99 of the throughput, 7 gave 0.71; sha256sum settled at 2: CPU-bound
 *
 * as one line; after a resume "4,000 tasks (3,000 of an earlier run), ...". A part whose figures
 * were not measured is left out, and so is what would make the line too long: of the kinds of work
 * the last ones, whose number is given instead.
 */
#include "summary.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "line_text.h"
#include "progress_format.h"

/* Less than this is not worth a word: it may be nothing. */
static const double speedup_least = 1.2;

enum { MORE_COLUMNS = 24 }; /* of "; and 12 kinds more" */

/* ---- a text that grows ---------------------------------------------------- */

struct text {
	char *data; /* SUMMARY_BYTES of it */
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void
put(struct text *t, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(t->data + t->len, SUMMARY_BYTES - t->len, format, list);
	va_end(list);
	if (n > 0)
		t->len += (size_t)n;
	if (t->len > SUMMARY_BYTES - 1)
		t->len = SUMMARY_BYTES - 1;
}

/* Put part at the end if it leaves room for so many columns more. */
static bool
put_if_fits(struct text *t, const char *part, size_t spare)
{
	if (line_text_columns(t->data) + line_text_columns(part) + spare + strlen("knee: ") > SUMMARY_COLUMNS)
		return false;
	put(t, "%s", part);
	return true;
}

void
summary_duration(char *ret, size_t size, int64_t ns)
{
	double seconds = (double)ns / 1e9;

	if (seconds < 99.95)
		snprintf(ret, size, "%.1f s", seconds);
	else
		progress_duration(ret, size, (uint64_t)(seconds + 0.5));
}

/* ---- one kind of work ------------------------------------------------------- */

/* ": disk-bound (vda 97 % busy)"; brief: without what is in brackets. */
static void
why_put(struct text *t, const struct knee_work *w, bool brief)
{
	const char *bracket = brief ? strstr(w->why, " (") : NULL;

	if (w->why[0] != '\0')
		put(t, ": %.*s", bracket ? (int)(bracket - w->why) : (int)strlen(w->why), w->why);
}

/* "settled at 14 of 1-256" */
static void
limit_put(struct text *t, const struct knee_work *w, bool range)
{
	put(t, w->settled ? "settled at %u" : "at %u", w->limit);
	if (w->settled && range && w->least > 0 && w->most >= w->least)
		put(t, " of %u-%u", w->least, w->most);
	if (!w->settled)
		put(t, ", still searching");
}

/* "; 28 gave 0.99 of the throughput, 7 gave 0.71": the measured neighbours of the limit. */
static void
neighbours_put(struct text *t, const struct knee_work *w)
{
	const struct knee_level *above = NULL, *below = NULL;

	for (size_t i = 0; i < w->nlevels; i++) {
		const struct knee_level *level = &w->levels[i];

		if (level->throughput_frac <= 0)
			continue;
		if (level->limit < w->limit)
			below = level;
		else if (level->limit > w->limit && above == NULL)
			above = level;
	}
	if (above != NULL)
		put(t, "; %u gave %.2f of the throughput", above->limit, above->throughput_frac);
	if (below != NULL)
		put(t, above ? ", %u gave %.2f" : "; %u gave %.2f of the throughput", below->limit,
		    below->throughput_frac);
}

static void
shares_put(struct text *t, const struct knee_work *w)
{
	const struct {
		const char *name;
		double share;
	} shares[] = {
		{ "CPU", w->cpu_share },
		{ "disk", w->disk_share },
		{ "network", w->net_share },
		{ "waiting", w->wait_share },
	};
	const char *between = "; of its time ";

	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		if (shares[i].share < 0.005)
			continue;
		put(t, "%s%.0f %% %s", between, 100 * shares[i].share, shares[i].name);
		between = ", ";
	}
	if (w->cores_per_task >= 1.5)
		put(t, "; %.1f cores a task", w->cores_per_task);
}

static void
levels_put(struct text *t, const struct knee_work *w)
{
	const char *before = "; measured: ";

	for (size_t i = 0; i < w->nlevels && i < KNEE_LEVELS; i++) {
		if (w->levels[i].throughput_frac <= 0)
			continue;
		put(t, "%s%u: %.2f", before, w->levels[i].limit, w->levels[i].throughput_frac);
		before = ", ";
	}
}

void
summary_work(const struct knee_work *w, bool fixed, char ret[SUMMARY_BYTES])
{
	struct text t = { .data = ret };
	char done[32];

	ret[0] = '\0';
	progress_count(done, w->done);
	put(&t, "%s: %s task%s, ", w->name[0] ? w->name : "tasks", done, w->done == 1 ? "" : "s");
	if (fixed)
		put(&t, "%u at once as asked", w->limit);
	else
		limit_put(&t, w, true);
	why_put(&t, w, false);
	shares_put(&t, w);
	levels_put(&t, w);
}

/* ---- the run -------------------------------------------------------------- */

/* "; about 17x one at a time": an estimate. */
static void
speedup_put(struct text *t, const struct summary_view *v)
{
	const struct knee_stats *s = v->stats;
	double speedup;

	if (s->one_at_a_time_ns <= 0 || s->elapsed_ns <= 0)
		return;
	speedup = (double)s->one_at_a_time_ns / (double)s->elapsed_ns;
	if (speedup >= speedup_least)
		put(t, "; about %.*f%s one at a time", speedup < 9.95, speedup, v->utf8 ? "\u00d7" : "x");
}

/* The kind that stands for the run; then its figures where there is room. */
static void
first_put(struct text *t, const struct summary_view *v)
{
	const struct knee_work *w = &v->works[0];
	char part[SUMMARY_BYTES] = "";
	struct text figures = { .data = part };

	put(t, "; ");
	if (v->nworks > 1 && w->name[0] != '\0')
		put(t, "%s ", w->name);
	limit_put(t, w, true);
	why_put(t, w, false);
	neighbours_put(&figures, w);
	(void)put_if_fits(t, part, v->nworks > 1 ? MORE_COLUMNS : 0);
}

static void
others_put(struct text *t, const struct summary_view *v)
{
	for (size_t i = 1; i < v->nworks; i++) {
		const struct knee_work *w = &v->works[i];
		char part[SUMMARY_BYTES] = "";
		struct text other = { .data = part };

		put(&other, "; %s ", w->name[0] ? w->name : "others");
		limit_put(&other, w, false);
		why_put(&other, w, true);
		if (!put_if_fits(t, part, i + 1 < v->nworks ? MORE_COLUMNS : 0)) {
			put(t, "; and %zu kind%s more", v->nworks - i, v->nworks - i == 1 ? "" : "s");
			return;
		}
	}
}

void
summary_line(const struct summary_view *v, char ret[SUMMARY_BYTES])
{
	const struct knee_stats *s = v->stats;
	struct text t = { .data = ret };
	char done[32], stored[32], failed[32], elapsed[32];

	ret[0] = '\0';
	progress_count(done, s->done);
	progress_count(stored, s->stored);
	progress_count(failed, s->failed);
	summary_duration(elapsed, sizeof(elapsed), s->elapsed_ns);
	put(&t, "%s task%s", done, s->done == 1 ? "" : "s");
	if (s->stored > 0)
		put(&t, " (%s of an earlier run)", stored);
	put(&t, ", %s failed, %s%s", failed, elapsed, s->stopped ? ", stopped early" : "");
	speedup_put(&t, v);
	if (v->machines > 0) {
		put(&t, "; on %zu machine%s", v->machines, v->machines == 1 ? "" : "s");
		if (s->peak > 1)
			put(&t, ", at most %u at once", s->peak);
	} else if (!v->fixed && v->nworks > 0) {
		first_put(&t, v);
		others_put(&t, v);
	} else if (s->peak > 1) {
		put(&t, "; at most %u at once", s->peak);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The progress line, the summary, and what the engine wants the user to know (why the number at
 * once changes is explain.c's matter).
 *
 * The line is the last one of the terminal and nobody else's: it is drawn from the
 * first column and the cursor goes back there, so that erasing from the cursor to the
 * end of the screen takes it away whole, also where a terminal that was made narrower
 * has folded it.  Whoever writes to the terminal takes it away first (say_before) and
 * allows it again (say_after) when the cursor stands at the start of a line.
 *
 * Where stderr is no terminal but the line was asked for, it is a line of text a
 * second, for logs: no carriage return, no escape sequence.
 *
 * A terminal that takes no bytes (Ctrl-S) costs pictures, not time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "progress_format.h"
#include "summary.h"
#include "terminal.h"
#include "total.h"
#include "writer.h"

static const int64_t second_ns = 1000000000;
static const int64_t first_ns = 500000000; /* a shorter run shows nothing */
static const int64_t redraw_ns = 100000000;
static const char erase[] = "\r\033[J";
static const char erase_above[] = "\033[A\r\033[J";

enum { LOG_COLS = 80 };

/* More kinds than this are seldom in one run, and too many for a line. */
enum { WORKS_MAX = 8 };

enum progress_mode {
	PROGRESS_NONE,
	PROGRESS_LINE, /* a line that changes, on a terminal */
	PROGRESS_LOG,  /* a line a second */
};

struct progress {
	enum progress_mode mode;
	const char *face; /* borrowed */
	bool bar, eta, color, utf8;
	bool notes;                    /* NOTE is said */
	bool summary;                  /* the end is worth a line */
	const struct explain *explain; /* borrowed; NULL: not asked for */
	bool fixed;                    /* the user says how many at once */
	knee *knee;                    /* borrowed; NULL until the run begins */

	struct writer w;
	unsigned cols;
	bool away; /* the cursor is not at the start of a line, or is about to leave it */
	bool paused;
	bool drawn; /* the line is on the terminal now */
	bool shown; /* it was, once */
	bool ended;
	char line[PROGRESS_LINE_BYTES]; /* what was drawn last */
	int64_t drawn_ns;

	uint64_t total; /* tasks in all as far as it can be told beforehand, or 0 */
	struct knee_stats stats;
	struct progress_rate rate;
};

/* The kinds of work that have got anywhere, WORKS_MAX at most; how many. */
static size_t
works_get(const struct progress *p, struct knee_work works[WORKS_MAX])
{
	size_t n = p->knee != NULL ? knee_get_work(p->knee, works, WORKS_MAX) : 0;
	size_t some = 0;

	for (size_t i = 0; i < n; i++)
		if (works[i].done > 0 || works[i].running > 0)
			works[some++] = works[i];
	return some;
}

/* ---- drawing ------------------------------------------------------------ */

static void
line_take_away(struct progress *p)
{
	if (p->drawn) {
		p->drawn = false;
		p->line[0] = '\0';
		writer_put(&p->w, erase, sizeof(erase) - 1);
	}
	writer_flush(&p->w);
}

/* Another job of the shell has the terminal: the line would get into its screen. */
static bool
in_background(void)
{
	pid_t group = tcgetpgrp(STDERR_FILENO);

	return group > 0 && group != getpgrp();
}

static void
line_draw(struct progress *p, int64_t now_ns)
{
	struct knee_work works[WORKS_MAX];
	const struct progress_view view = {
		.face = p->face,
		.works = works,
		.nworks = works_get(p, works),
		.stats = &p->stats,
		.rate = &p->rate,
		.cols = p->cols,
		.bar = p->bar,
		.eta = p->eta,
		.color = p->color,
		.utf8 = p->utf8,
	};
	char line[PROGRESS_LINE_BYTES];
	char text[PROGRESS_LINE_BYTES + 16];
	int n;

	if (p->away || p->paused || p->ended || writer_flush(&p->w) == -EAGAIN || in_background())
		return;
	progress_line(&view, line);
	if (strcmp(line, p->line) == 0)
		return;
	if (p->mode == PROGRESS_LINE)
		n = snprintf(text, sizeof(text), "\r%s\033[K\r", line);
	else
		n = snprintf(text, sizeof(text), "%s\n", line);
	memcpy(p->line, line, sizeof(line));
	writer_put(&p->w, text, (size_t)n);
	writer_flush(&p->w);
	p->drawn = p->mode == PROGRESS_LINE;
	p->shown = true;
	p->drawn_ns = now_ns;
}

static void
before(void *self)
{
	struct progress *p = self;

	p->away = true;
	line_take_away(p);
}

static void
after(void *self)
{
	struct progress *p = self;

	p->away = false;
}

/* ---- the sink ----------------------------------------------------------- */

static void
summary_say(struct progress *p)
{
	struct knee_work works[WORKS_MAX];
	struct summary_view view = {
		.stats = &p->stats,
		.works = works,
		.nworks = works_get(p, works),
		.fixed = p->fixed,
		.utf8 = p->utf8,
	};
	char text[SUMMARY_BYTES];
	bool long_run = p->stats.elapsed_ns > second_ns;

	if (!p->summary || (!p->shown && !long_run && p->stats.failed == 0 && p->explain == NULL))
		return;
	/* The last output had no newline at its end: the sentence begins a line all the same. */
	if (p->away && p->w.tty)
		writer_put(&p->w, "\n", 1);
	writer_flush(&p->w);
	if (p->explain != NULL)
		explain_end(p->explain);
	view.machines = p->knee != NULL ? summary_hosts(p->knee, p->explain != NULL) : 0;
	summary_line(&view, text);
	say("%s", text);
}

static int
progress_event(void *self, const struct knee_event *e)
{
	struct progress *p = self;

	switch (e->kind) {
	case KNEE_EVENT_NOTE:
		if (p->notes && e->reason != NULL)
			say("%s", e->reason);
		break;
	case KNEE_EVENT_END:
		line_take_away(p);
		p->ended = true;
		summary_say(p);
		break;
	case KNEE_EVENT_START:
	case KNEE_EVENT_OUTPUT:
	case KNEE_EVENT_RETRY:
	case KNEE_EVENT_RESULT:
	case KNEE_EVENT_LIMIT:
	case KNEE_EVENT_WHOLE:
	case KNEE_EVENTS:
		break;
	}
	return 0;
}

static int64_t
progress_tick(void *self, const struct knee_stats *stats, int64_t now_ns)
{
	struct progress *p = self;
	int64_t period = p->mode == PROGRESS_LOG ? second_ns : redraw_ns;

	p->stats = *stats;
	if (!stats->total_known && p->total >= stats->started && p->total > 0) {
		p->stats.total = p->total;
		p->stats.total_known = 1;
	}
	if (p->mode == PROGRESS_NONE)
		return INT64_MAX;
	progress_rate_add(&p->rate, now_ns, stats->done - stats->stored);
	if (stats->elapsed_ns < first_ns)
		return now_ns + first_ns - stats->elapsed_ns;
	/* A wake-up, or the hooks of others, may ask earlier than a redraw is due. */
	if (p->shown && now_ns < p->drawn_ns + period)
		return p->drawn_ns + period;
	line_draw(p, now_ns);
	return now_ns + redraw_ns;
}

/* ---- making ------------------------------------------------------------- */

/* An empty variable is as none: NULL. */
static const char *
env_get(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : NULL;
}

/* A terminal that can go back to the start of a line and erase it. */
static bool
terminal_able(const struct writer *w)
{
	const char *term = env_get("TERM");

	return w->tty && term != NULL && strcmp(term, "dumb") != 0;
}

static enum progress_mode
mode_wanted(const struct cli_options *o, const struct writer *w)
{
	bool asked = o->progress == WHEN_ALWAYS || o->bar || o->eta;

	if (o->progress == WHEN_NEVER)
		return PROGRESS_NONE;
	if (asked)
		return terminal_able(w) ? PROGRESS_LINE : PROGRESS_LOG;
	/* With -u the tasks themselves write to the terminal, and with -p the user is asked:
	 * nobody says when the line is in the way. */
	if (o->order == KNEE_ORDER_NONE || o->prompt || env_get("NO_PROGRESS") != NULL)
		return PROGRESS_NONE;
	return terminal_able(w) ? PROGRESS_LINE : PROGRESS_NONE;
}

int
progress_new(const struct cli_options *o, struct progress **ret)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	writer_init(&p->w, STDERR_FILENO);
	p->mode = mode_wanted(o, &p->w);
	p->face = o->face;
	p->bar = o->bar;
	p->eta = o->eta;
	p->color = p->mode == PROGRESS_LINE && env_get("NO_COLOR") == NULL;
	p->utf8 = terminal_utf8();
	p->notes = !o->silent;
	p->fixed = o->limit != 0;
	p->summary =
	    o->explain || (!o->silent && o->progress != WHEN_NEVER && (p->w.tty || p->mode != PROGRESS_NONE));
	p->cols = terminal_able(&p->w) ? terminal_cols(STDERR_FILENO) : LOG_COLS;
	if (p->mode != PROGRESS_NONE && !total_tasks(o, &p->total))
		p->total = 0;
	say_around(before, after, p);
	*ret = p;
	return 0;
}

void
progress_free(struct progress *p)
{
	if (p == NULL)
		return;
	say_around(NULL, NULL, NULL);
	line_take_away(p);
	writer_flush(&p->w);
	writer_done(&p->w);
	free(p);
}

struct knee_sink
progress_sink(struct progress *p)
{
	return (struct knee_sink){
		.self = p,
		.event = progress_event,
		.tick = progress_tick,
	};
}

void
progress_start(struct progress *p, knee *k, struct explain *explain)
{
	p->knee = k;
	p->explain = explain;
}

void
progress_fixed(struct progress *p)
{
	p->fixed = true;
}

bool
progress_drawn(const struct progress *p)
{
	return p->drawn;
}

/* The terminal has shown what was typed on top of the line, and gone to the next. */
void
progress_typed(struct progress *p)
{
	if (!p->drawn)
		return;
	writer_put(&p->w, erase_above, sizeof(erase_above) - 1);
	p->drawn = false;
	p->line[0] = '\0';
	writer_flush(&p->w);
}

void
progress_toggle(struct progress *p)
{
	if (p->mode == PROGRESS_NONE) {
		p->mode = terminal_able(&p->w) ? PROGRESS_LINE : PROGRESS_LOG;
		return;
	}
	p->mode = PROGRESS_NONE;
	line_take_away(p);
}

void
progress_resize(struct progress *p)
{
	if (p->mode != PROGRESS_LINE)
		return;
	p->cols = terminal_cols(STDERR_FILENO);
	if (!p->drawn)
		return;
	line_take_away(p);
	line_draw(p, p->drawn_ns);
}

void
progress_pause(struct progress *p, bool pause)
{
	p->paused = pause;
	if (pause)
		line_take_away(p);
}

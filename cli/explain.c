/* SPDX-License-Identifier: MIT */
/*
 * --explain: each step of the number at once with its reason, as it happens, and at the end what
 * was measured. For people and for logs: whole lines, wherever stderr goes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "summary.h"

enum { WORKS_MAX = 64, UNSEEN_BYTES = 768 };

struct explain {
	knee *knee; /* borrowed; NULL until the run begins */
	bool fixed;
	bool unseen_said; /* or known to be nothing */
	int64_t begin_ns;
};

static void
works_say(const struct explain *e)
{
	struct knee_work *works = calloc(WORKS_MAX, sizeof(*works));
	char text[SUMMARY_BYTES];
	size_t n;

	/* Without memory for it this is the least that the end of a run needs. */
	if (works == NULL)
		return;
	n = knee_get_work(e->knee, works, WORKS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (works[i].done == 0)
			continue;
		summary_work(&works[i], e->fixed, text);
		say("%s", text);
	}
	free(works);
}

/* What decisions are made without. True when it is known. */
static bool
unseen_say(const struct explain *e)
{
	char text[UNSEEN_BYTES];
	int unseen = e->knee != NULL ? knee_get_unseen(e->knee, text, sizeof(text)) : -EAGAIN;

	if (unseen > 0)
		say("not visible here: %s: decided without", text);
	return unseen >= 0;
}

void
explain_end(const struct explain *e)
{
	struct knee_stats stats;
	char text[32];

	struct knee_host_stats host;

	if (e->knee == NULL)
		return;
	/* Other machines have limits of their own: summary_hosts() has them. */
	if (!knee_get_host(e->knee, 0, &host))
		works_say(e);
	(void)unseen_say(e);
	knee_get_stats(e->knee, &stats);
	if (stats.one_at_a_time_ns <= 0)
		return;
	summary_duration(text, sizeof(text), stats.one_at_a_time_ns);
	say("one at a time the same tasks would have taken %s (estimate)", text);
}

static int
explain_event(void *self, const struct knee_event *event)
{
	struct explain *e = self;

	if (!e->unseen_said && event->kind != KNEE_EVENT_END)
		e->unseen_said = unseen_say(e);
	if (event->kind == KNEE_EVENT_LIMIT && event->reason != NULL)
		say("%.2f s: %s%s%s", (double)(clock_ns(CLOCK_MONOTONIC) - e->begin_ns) / 1e9,
		    event->host != NULL ? event->host : "", event->host != NULL ? ": " : "", event->reason);
	return 0;
}

int
explain_new(const struct cli_options *o, struct explain **ret)
{
	struct explain *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return say_error(ENOMEM, "%s", strerror(ENOMEM));
	e->fixed = o->limit != 0;
	e->begin_ns = clock_ns(CLOCK_MONOTONIC);
	*ret = e;
	return 0;
}

void
explain_free(struct explain *e)
{
	free(e);
}

struct knee_sink
explain_sink(struct explain *e)
{
	return (struct knee_sink){ .self = e, .event = explain_event };
}

void
explain_start(struct explain *e, knee *k)
{
	e->knee = k;
}

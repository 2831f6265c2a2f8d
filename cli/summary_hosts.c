/* SPDX-License-Identifier: MIT */
/* What the machines of a run did: those that did alike are one sentence, in the words of a node set. */
#include "summary.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "progress_format.h"

/* No more are told apart. */
#define LINES_MAX 12

/* Machines in the same state, with as many tasks at once. */
struct alike {
	const char **names; /* owned; what they point to is not */
	size_t n;
	struct knee_host_stats sum;
};

static bool
is_lost(const struct knee_host_stats *h)
{
	return h->state == KNEE_HOST_ASIDE || h->state == KNEE_HOST_GONE || h->lost > 0 ||
	    (h->state == KNEE_HOST_DOWN && h->why[0] != '\0');
}

static bool
are_alike(const struct knee_host_stats *a, const struct knee_host_stats *b)
{
	return a->state == b->state && (a->lost > 0) == (b->lost > 0) && is_lost(a) == is_lost(b) &&
	    (is_lost(a) ? strcmp(a->why, b->why) == 0 : a->limit == b->limit);
}

static bool
add(struct alike *a, const struct knee_host_stats *h)
{
	const char **names = reallocarray(a->names, a->n + 1, sizeof(*names));

	if (names == NULL)
		return false;
	a->names = names;
	names[a->n++] = h->name;
	if (a->n == 1) {
		a->sum = *h;
		return true;
	}
	a->sum.done += h->done;
	a->sum.failed += h->failed;
	a->sum.lost += h->lost;
	return true;
}

static const char *
state_name(const struct knee_host_stats *h)
{
	switch (h->state) {
	case KNEE_HOST_ASIDE:
		return "set aside";
	case KNEE_HOST_GONE:
		return "given up";
	case KNEE_HOST_DOWN:
		return h->why[0] != '\0' ? "not connected at the end" : NULL;
	case KNEE_HOST_UP:
		break;
	}
	return h->lost > 0 ? "was lost for a while" : NULL;
}

/* "web[1-3]: 1,204 tasks, 8 at once each" */
static void
alike_say(const struct alike *a)
{
	const struct knee_host_stats *h = &a->sum;
	char done[32], failed[48] = "", lost[64] = "", count[32], *names = NULL;
	const char *state = state_name(h);

	if (knee_nodeset_fold(a->names, a->n, &names) < 0)
		return;
	progress_count(done, h->done);
	if (h->failed > 0) {
		progress_count(count, h->failed);
		(void)snprintf(failed, sizeof(failed), ", %s failed", count);
	}
	if (h->lost > 0) {
		progress_count(count, h->lost);
		/* They ran elsewhere, or with --onall there again, or not at all. */
		(void)snprintf(lost, sizeof(lost), "; %s taken from it", count);
	}
	if (state == NULL)
		say("%s: %s task%s%s, %u at once%s", names, done, h->done == 1 ? "" : "s", failed, h->limit,
		    a->n > 1 ? " each" : "");
	else
		say("%s: %s task%s%s; %s%s%s%s", names, done, h->done == 1 ? "" : "s", failed, state, lost,
		    h->why[0] != '\0' ? ": " : "", h->why);
	free(names);
}

size_t
summary_hosts(const knee *k, bool all)
{
	struct alike *list = calloc(LINES_MAX, sizeof(*list));
	struct knee_host_stats h;
	size_t n = 0, worked = 0, others = 0;

	for (size_t i = 0; list != NULL && knee_get_host(k, i, &h); i++) {
		size_t at = 0;

		worked += h.done > 0;
		if (!all && !is_lost(&h))
			continue;
		while (at < n && !are_alike(&list[at].sum, &h))
			at++;
		if (at == LINES_MAX || !add(&list[at], &h))
			others++;
		else if (at == n)
			n++;
	}
	for (size_t i = 0; i < n; i++) {
		alike_say(&list[i]);
		free(list[i].names);
	}
	if (others > 0)
		say("and %zu machine%s more", others, others == 1 ? "" : "s");
	free(list);
	return worked;
}

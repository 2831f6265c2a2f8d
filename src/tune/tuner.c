/* SPDX-License-Identifier: MIT */
#include "tuner.h"

#include <limits.h>

/* After a refusal: wait this long before starting more, and twice as long each time again. */
#define PAUSE_NS ((int64_t)50000000)
#define PAUSE_MAX_NS ((int64_t)5000000000)

/* No machine here runs more at once than this (pid_max on 64-bit Linux is 4 Mi). */
#define LIMIT_MAX 65536

void
kn_tuner_init(struct kn_tuner *t, unsigned asked, const struct kn_machine *m)
{
	unsigned fit = m->fds_free / m->fds_per_task;
	unsigned want = asked > 0 ? asked : m->cores;

	*t = (struct kn_tuner){ .why = KN_WHY_ASKED, .due_ns = INT64_MAX, .pause_ns = PAUSE_NS };
	if (want > LIMIT_MAX)
		want = LIMIT_MAX;
	if (want > fit) {
		want = fit > 0 ? fit : 1;
		t->why = KN_WHY_FDS;
	}
	t->limit = t->ceiling = want;
}

unsigned
kn_tuner_sample(struct kn_tuner *t, const struct kn_sample *s)
{
	if (s->refused != 0) {
		t->limit = s->running > 0 ? s->running : 1;
		t->why = KN_WHY_REFUSED;
		t->due_ns = s->now_ns + t->pause_ns;
		if (t->pause_ns < PAUSE_MAX_NS)
			t->pause_ns *= 2;
		return t->limit;
	}
	if (s->now_ns < t->due_ns)
		return t->limit;
	if (t->limit < t->ceiling) {
		/* Only a limit that is reached shows that the machine starts tasks again. */
		if (s->running >= t->limit) {
			t->limit++;
			t->why = KN_WHY_RECOVERED;
		}
		t->due_ns = s->now_ns + t->pause_ns;
	} else {
		t->due_ns = INT64_MAX;
		t->pause_ns = PAUSE_NS;
	}
	return t->limit;
}

/* SPDX-License-Identifier: MIT */
/* The public tuner alone: what the caller observes, told to the pure one. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <knee.h>

#include "sys/machine.h"
#include "tune/observer.h"

/* No program has use for more; without a bound a search in a world without a best number goes on. */
#define MOST 65536

struct knee_tuner {
	struct kn_observer observer;
};

int
knee_tuner_new(const struct knee_threads *how, knee_tuner **ret)
{
	const struct knee_threads none = { 0 }, *h = how != NULL ? how : &none;
	struct kn_observer_options options = {
		.asked = h->limit,
		.most = h->limit_max > 0 && h->limit_max < MOST ? h->limit_max : MOST,
		.hint = h->kind,
	};
	knee_tuner *t;

	if ((unsigned)h->kind >= KNEE_KINDS)
		return -EINVAL;
	t = malloc(sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	options.cores = kn_machine_cores_exact();
	kn_observer_init(&t->observer, &options);
	*ret = t;
	return 0;
}

unsigned
knee_tuner_observe(knee_tuner *t, const struct knee_observation *o, int64_t *next_ns)
{
	const struct kn_observed now = {
		.now_ns = o->now_ns,
		.running = o->running,
		.done = o->done,
		.refused = o->refused,
		.cpu_ns = o->cpu_ns,
		.delay_ns = -1,
		.left = o->queued ? UINT64_MAX : 0,
	};
	unsigned limit = kn_observer_tell(&t->observer, &now);

	if (next_ns != NULL)
		*next_ns = kn_observer_due_ns(&t->observer);
	return limit;
}

void
knee_tuner_free(knee_tuner *t)
{
	free(t);
}

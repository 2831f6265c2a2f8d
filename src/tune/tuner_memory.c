/* SPDX-License-Identifier: MIT */
/*
 * What memory allows: what the next task of a key is expected to need beside what running ones may still take,
 * and the limit of a class that memory keeps from being reached.
 */
#include <math.h>

#include "tuner_state.h"

#define MS ((int64_t)1000000)

/* What memory forbids for so long is taken out of the limit. */
#define MEMORY_BLOCKS_NS (500 * MS)
#define MEMORY_BLOCKS 3

/* While the tasks of an unknown command still grow, each may become so many times as large. */
#define GROWTH_ROOM 4
#define GROWTH_MIN_BYTES (16.0 * 1024 * 1024)
/* ... as is seen over this time. */
#define GROWTH_NS (250 * MS)

/* What the next task of k may come to need; 0: nothing known. */
static uint64_t
expected_bytes(const struct kn_key *k)
{
	uint64_t expect = kn_peaks_expect(&k->peaks);
	double grown = GROWTH_ROOM * k->rss;

	if (k->peaks.total == 0 && k->prior.rss_bytes > 0)
		return (uint64_t)(1.2 * k->prior.rss_bytes);
	if (k->growing && k->peaks.total == 0 && grown > (double)expect)
		expect = (uint64_t)grown;
	return expect;
}

/* What running tasks may still take beyond what they used when the machine was last read; those that
 * started since may take all of it. */
static uint64_t
outstanding_bytes(const struct kn_tuner *t)
{
	double sum = 0;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];
		unsigned fresh = k->fresh < k->running ? k->fresh : k->running;

		if (k->running > 0)
			sum += k->needed + fresh * (double)expected_bytes(k);
	}
	/* What was remembered may be any number: this is more than any machine has. */
	return (uint64_t)fmin(sum, 1e18);
}

bool
kn_tuner_memory_admits(const struct kn_tuner *t, const struct kn_key *k)
{
	return kn_guard_admits(&t->guard, expected_bytes(k), outstanding_bytes(t), t->running);
}

void
kn_tuner_memory_seen(struct kn_key *k, uint64_t rss_bytes)
{
	k->rss_sum += (double)rss_bytes;
	k->needed_sum += fmax(0, (double)expected_bytes(k) - (double)rss_bytes);
	k->rss_n++;
	kn_peaks_live(&k->peaks, rss_bytes);
}

void
kn_tuner_memory_follow(struct kn_key *k, int64_t now_ns, bool fresh)
{
	if (fresh) {
		k->needed = k->rss_n > 0 ? k->needed_sum / k->rss_n * k->running : 0;
		k->fresh = k->rss_n > 0 ? 0 : k->running;
	}
	if (k->rss_n > 0) {
		k->rss = k->rss_sum / k->rss_n;
		if (now_ns - k->rss_ns >= GROWTH_NS) {
			k->growing = k->rss > GROWTH_MIN_BYTES && k->rss > 1.05 * k->rss_before;
			k->rss_before = k->rss;
			k->rss_ns = now_ns;
		}
	}
	k->rss_sum = k->rss_n = k->needed_sum = 0;
}

void
kn_tuner_memory_back(struct kn_tuner *t, struct kn_key *k, int64_t started_ns)
{
	unsigned older = k->running - (k->fresh < k->running ? k->fresh : k->running);

	if (started_ns >= t->vitals_ns) {
		k->fresh -= k->fresh > 0;
		return;
	}
	if (older > 0)
		k->needed *= (double)(older - 1) / older;
	if (t->guard.free_bytes < UINT64_MAX - (uint64_t)k->rss)
		t->guard.free_bytes += (uint64_t)k->rss;
}

/* Does memory forbid to start what of the class comes next? */
static bool
forbids_next(const struct kn_tuner *t, unsigned class)
{
	int key = kn_tuner_next_key(t, &t->classes[class]);

	return key >= 0 && !kn_tuner_memory_admits(t, &t->keys[key]);
}

void
kn_tuner_memory_bound(struct kn_tuner *t, unsigned class, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	bool forbids = c->queued > 0 && forbids_next(t, class);
	unsigned from = c->limiter.limit;

	c->forbidden_ns = !forbids ? 0 : c->forbidden_ns > 0 ? c->forbidden_ns : now_ns;
	if (c->running >= from || c->queued == 0) {
		c->reached_ns = now_ns;
		c->blocked = c->blocked_most = 0;
		if (c->memory_most > 0 && c->running >= c->memory_most && !forbids)
			c->memory_most += 1 + c->memory_most / 3;
		return;
	}
	c->blocked += forbids;
	if (c->running > c->blocked_most)
		c->blocked_most = c->running;
	if (now_ns - c->reached_ns < MEMORY_BLOCKS_NS || c->blocked < MEMORY_BLOCKS)
		return;
	c->memory_most = c->blocked_most > 0 ? c->blocked_most : 1;
	c->reached_ns = now_ns;
	c->blocked = c->blocked_most = 0;
	kn_class_model(t, class, now_ns);
	if (c->limiter.limit == from)
		return;
	c->limiter.why = KN_WHY_MEMORY;
	c->limiter.figure[0] = t->guard.free_bytes == UINT64_MAX ? 0 : (double)t->guard.free_bytes;
	kn_tuner_tell(t, class, from, KN_WHY_MEMORY);
}

/* SPDX-License-Identifier: MIT */
/* What the tuner tells people, and the next run. */
#include <math.h>
#include <string.h>

#include "tuner_state.h"

/* A kind of work is worth remembering after so many ends. */
#define LEARNT_MIN 4

unsigned
kn_tuner_nclasses(const struct kn_tuner *t)
{
	return t->nclasses;
}

double
kn_tuner_cpu_frac(const struct kn_tuner *t)
{
	return t->cpu_frac;
}

/* Is word one of the comma-separated names? */
static bool
named(const char *names, const char *word, size_t len)
{
	for (const char *s = names; (s = strstr(s, word)) != NULL; s++)
		if ((s == names || s[-1] == ' ') && (s[len] == ',' || s[len] == '\0'))
			return true;
	return false;
}

/* The programs of a class: "gzip", or "gzip, cat". */
static void
class_name(const struct kn_tuner *t, unsigned class, char *ret, size_t size)
{
	size_t n = 0;

	ret[0] = '\0';
	for (unsigned i = 0; i < t->nkeys; i++) {
		const char *program = t->keys[i].name.program;
		size_t len = strlen(program);

		if (t->keys[i].class != class || len == 0 || named(ret, program, len))
			continue;
		if (n + 2 + len + 6 > size) {
			memcpy(ret + n, ", ...", 6);
			return;
		}
		if (n > 0) {
			memcpy(ret + n, ", ", 2);
			n += 2;
		}
		memcpy(ret + n, program, len + 1);
		n += len;
	}
	if (n == 0)
		memcpy(ret, t->classes[class].program, sizeof(t->classes[class].program));
}

/* Measured levels, rising; when there are too many those near the best stay. */
static void
levels_fill(const struct kn_limiter *l, struct knee_work *ret)
{
	const struct kn_level *best = kn_limiter_best(l);
	unsigned first = 0;
	double most = -INFINITY;

	if (best == NULL)
		return;
	for (unsigned i = 0; i < l->levels.n; i++)
		most = fmax(most, l->levels.at[i].lnx);
	if (l->levels.n > KNEE_LEVELS) {
		first = (unsigned)(best - l->levels.at);
		first = first > KNEE_LEVELS / 2 ? first - KNEE_LEVELS / 2 : 0;
		if (first > l->levels.n - KNEE_LEVELS)
			first = l->levels.n - KNEE_LEVELS;
	}
	for (unsigned i = first; i < l->levels.n && ret->nlevels < KNEE_LEVELS; i++)
		ret->levels[ret->nlevels++] = (struct knee_level){
			.limit = l->levels.at[i].n,
			.throughput_frac = exp(l->levels.at[i].lnx - most),
		};
}

/* How busy the thing is that such work leans on; < 0: unknown. */
static double
resource_busy(const struct kn_tuner *t, const struct kn_class *c)
{
	const struct kn_vitals *v = &t->vitals;

	if (c->kind == KNEE_KIND_CPU || c->kind == KNEE_KIND_MIXED)
		return t->cpu_frac;
	if (c->kind == KNEE_KIND_NET)
		return v->known & KN_VITALS_NET ? v->net_busy_frac : -1;
	if (c->kind != KNEE_KIND_DISK || !(v->known & KN_VITALS_DISKS))
		return -1;
	for (unsigned i = 0; i < v->ndisks; i++)
		if (c->resource[0] == '\0' || strcmp(v->disks[i].name, c->resource) == 0)
			return v->disks[i].busy_frac;
	return -1;
}

/* Waiting work that gets no faster by more of it at once is bound by something that is held. */
static bool
flat(const struct kn_limiter *l)
{
	const struct kn_level *best = kn_limiter_best(l);

	if (!kn_limiter_settled(l) || best == NULL || l->levels.n < 2 || best != &l->levels.at[0])
		return false;
	return best->n <= 2 && l->levels.at[l->levels.n - 1].n >= 2 * best->n;
}

void
kn_tuner_work(const struct kn_tuner *t, unsigned class, struct knee_work *ret)
{
	const struct kn_class *c = &t->classes[class];
	struct kn_shares s = kn_class_shares(t, class);
	struct kn_shares own = s;
	struct knee_work w = {
		.kind = t->fixed ? kn_classify(&own) : c->kind,
		.limit = c->limiter.limit < t->cap ? c->limiter.limit : t->cap,
		.running = c->running,
		.peak = c->peak,
		.least = c->limiter.min,
		.most = c->limiter.max,
		.done = c->done,
		.cpu_share = s.cpu,
		.disk_share = s.disk,
		.net_share = s.net,
		.wait_share = s.wait + s.lock,
		.cores_per_task = s.cores,
		.settled = kn_limiter_settled(&c->limiter) && c->kind != KNEE_KIND_UNKNOWN,
	};

	if (t->fixed && s.cpu + s.disk + s.net + s.wait + s.lock <= 0)
		w.kind = KNEE_KIND_UNKNOWN;
	if ((w.kind == KNEE_KIND_WAIT || w.kind == KNEE_KIND_NET) && flat(&c->limiter))
		w.kind = KNEE_KIND_LOCK;
	w.busy_frac = resource_busy(t, c);
	class_name(t, class, w.name, sizeof(w.name));
	if (c->kind == KNEE_KIND_DISK || c->kind == KNEE_KIND_NET)
		memcpy(w.resource, c->resource, sizeof(w.resource));
	if (c->kind == KNEE_KIND_NET && strcmp(w.resource, w.name) == 0)
		w.resource[0] = '\0';
	levels_fill(&c->limiter, &w);
	*ret = w;
}

void
kn_tuner_why(const struct kn_tuner *t, unsigned class, struct kn_change *ret)
{
	const struct kn_class *c = &t->classes[class];

	*ret = (struct kn_change){
		.class = class,
		.from = c->limiter.limit,
		.to = c->limiter.limit,
		.why = c->limiter.why,
	};
	memcpy(ret->figure, c->limiter.figure, sizeof(ret->figure));
}

int64_t
kn_tuner_one_at_a_time_ns(const struct kn_tuner *t)
{
	double sum = t->alone_sum;

	for (unsigned i = 0; i < t->nclasses; i++)
		sum += t->classes[i].alone_sum;
	return (int64_t)sum;
}

bool
kn_tuner_learnt(const struct kn_tuner *t, unsigned key, struct kn_prior *ret)
{
	const struct kn_key *k = &t->keys[key];
	const struct kn_class *c = &t->classes[k->class];
	const struct kn_level *best = kn_limiter_best(&c->limiter);

	if (t->fixed || !k->measured || k->done < LEARNT_MIN)
		return false;
	*ret = (struct kn_prior){
		.kind = k->kind,
		.cpu_share = k->shares.cpu,
		.disk_share = k->shares.disk,
		.net_share = k->shares.net,
		.wait_share = k->shares.wait + k->shares.lock,
		.cores_per_task = k->shares.cores,
		.runtime_ns = k->runtime_ns,
		.cpu_ns = k->cpu_ns,
		.bytes = k->bytes,
		.rss_bytes = (double)kn_peaks_expect(&k->peaks) / 1.2,
	};
	/* A search that was cut short, or never needed, tells the number only when it measured one. */
	if (best != NULL && c->limiter.phase == KN_PHASE_RAMP &&
	    kn_levels_steep(&c->limiter.levels, c->limiter.base))
		ret->limit = c->limiter.limit; /* it was still rising */
	else if (best != NULL && best->n >= c->limiter.base)
		ret->limit = best->n;
	else if (best != NULL)
		ret->limit = c->limiter.base;
	/* A bound of this run is no news about the work. */
	if (ret->limit >= c->limiter.max && ret->limit < k->prior.limit)
		ret->limit = k->prior.limit;
	return true;
}

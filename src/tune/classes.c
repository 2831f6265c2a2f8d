/* SPDX-License-Identifier: MIT */
/* Sorting: from what was seen of keys to classes, and what a class starts from. */
#include <math.h>
#include <string.h>

#include "tuner_state.h"

/* A key changes its kind after so many samples in a row that say the same, and over so much time, or
 * this part of its life: a search that is begun anew with every breath finds nothing. */
#define AGREE 3
#define AGREE_NS ((int64_t)1000000000)
#define AGREE_PART 4

/* A number of the model is taken when it stays so long. */
#define MODEL_STAYS_NS ((int64_t)2000000000)

/* So many tasks and less are not searched with. */
#define FEW_WAITING 32
#define FEW 50

/* Most at once of any kind. */
#define MOST 4096

#define START_WAITS 4
#define START_LOCK 2
#define START_FLASH 4

/* What was found to compute does so while its share is above this. */
#define CPU_STAYS 0.55

/* A share of the cores above this bounds how many can be of use. */
#define CPU_SHARE_MIN 0.1
#define CPU_ROOM 1.25
/* Tasks as short as this, after so many of them, wait for nothing that more of them at once would help
 * against: what they take is the work of handing them out, of which no clock tells enough. */
#define BRIEF_NS 50000
#define BRIEF_STARTS 1000

void
kn_area_flow(struct kn_area *a, double value, int64_t now_ns)
{
	if (a->at_ns > 0 && now_ns > a->at_ns)
		a->sum += value * (double)(now_ns - a->at_ns);
	a->at_ns = now_ns;
}

struct kn_shares
kn_class_shares(const struct kn_tuner *t, unsigned class)
{
	struct kn_shares s = { 0 };
	double weights = 0;

	for (unsigned i = 0; i < t->nkeys; i++) {
		const struct kn_key *k = &t->keys[i];
		double w = k->running + (k->queued > 0 ? 1 : 0) + 0.01;

		if (k->class != class || (!k->measured && k->prior.kind == KNEE_KIND_UNKNOWN))
			continue;
		s.cpu += w * k->shares.cpu;
		s.disk += w * k->shares.disk;
		s.net += w * k->shares.net;
		s.lock += w * k->shares.lock;
		s.wait += w * k->shares.wait;
		s.cores += w * k->shares.cores;
		weights += w;
	}
	if (weights > 0) {
		s.cpu /= weights;
		s.disk /= weights;
		s.net /= weights;
		s.lock /= weights;
		s.wait /= weights;
		s.cores /= weights;
	}
	return s;
}

/* ---- what a class starts from ----------------------------------------------- */

static unsigned
most_of(const struct kn_tuner *t)
{
	unsigned most = t->cap < MOST ? t->cap : MOST;

	return most > 0 ? most : 1;
}

/* The user's own lower bound: also of each class, so that it is what people see. */
static unsigned
least_of(const struct kn_tuner *t)
{
	unsigned most = most_of(t);

	if (t->options.least == 0)
		return 1;
	return t->options.least < most ? t->options.least : most;
}

/* Cores, rounded up: the number for tasks that do nothing but compute on one. */
static unsigned
whole_cores(const struct kn_tuner *t)
{
	double cores = ceil(t->machine.cores - 0.01);

	return cores < 1 ? 1 : (unsigned)cores;
}

static unsigned
start_number(const struct kn_tuner *t, const struct kn_key *k, enum knee_kind kind)
{
	switch (kind) {
	case KNEE_KIND_CPU:
		return kn_cpu_slots(t->machine.cores, k->shares.cores);
	case KNEE_KIND_DISK:
		return k->name.place.spindle == 1 ? 1 : k->name.place.spindle == 0 ? START_FLASH : 2;
	case KNEE_KIND_NET:
	case KNEE_KIND_WAIT:
		return START_WAITS;
	case KNEE_KIND_LOCK:
		return START_LOCK;
	case KNEE_KIND_MIXED:
		return whole_cores(t) > 2 ? whole_cores(t) : 2;
	case KNEE_KIND_UNKNOWN:
	case KNEE_KINDS:
		break;
	}
	return 2;
}

static bool
searches(enum knee_kind kind)
{
	return kind != KNEE_KIND_CPU && kind != KNEE_KIND_UNKNOWN;
}

/* What the class of such work leans on: keys that lean on the same share a limit. */
static void
resource_of(const struct kn_key *k, enum knee_kind kind, char *ret, size_t size)
{
	const char *name = k->name.program;

	if (kind == KNEE_KIND_CPU)
		name = "";
	else if (kind == KNEE_KIND_DISK)
		name = k->name.place.disk;
	else if (kind == KNEE_KIND_NET && k->name.place.host[0] != '\0')
		name = k->name.place.host;
	while (*name != '\0' && --size > 0)
		*ret++ = *name++;
	*ret = '\0';
}

/* Where a new class goes: behind the others, or, when there is no room, in the place of one that no key
 * is in any more. There is one: every key is in one class, and there is room for more classes than keys. */
static unsigned
class_place(struct kn_tuner *t)
{
	bool used[KN_CLASSES] = { false };
	unsigned n = 0;

	if (t->nclasses < KN_CLASSES)
		return t->nclasses++;
	for (unsigned i = 0; i < t->nkeys; i++)
		used[t->keys[i].class] = true;
	while (used[n])
		n++;
	t->alone_sum += t->classes[n].alone_sum;
	return n;
}

unsigned
kn_tuner_class(struct kn_tuner *t, const struct kn_key *k, enum knee_kind kind, int64_t now_ns)
{
	bool recalled = !k->measured && k->prior.kind == kind && k->prior.limit > 0;
	struct kn_limiter_start start = {
		.start = recalled ? k->prior.limit : start_number(t, k, kind),
		.min = least_of(t),
		.max = most_of(t),
		.search = searches(kind),
		.known = recalled,
		.cpu_share = k->shares.cpu,
		.seed = t->options.seed + t->nclasses,
		.why = recalled ? KN_WHY_REMEMBERED :
		    k->measured ? KN_WHY_KIND :
				  KN_WHY_START,
	};
	char resource[64];
	struct kn_class *c;
	unsigned n;

	resource_of(k, kind, resource, sizeof(resource));
	for (unsigned i = 0; i < t->nclasses; i++)
		if (t->classes[i].kind == kind && strcmp(t->classes[i].resource, resource) == 0)
			return i;
	if (!k->measured && !recalled && t->options.hint == kind && kind != KNEE_KIND_UNKNOWN)
		start.why = KN_WHY_HINT;
	n = class_place(t);
	c = &t->classes[n];
	*c = (struct kn_class){ .kind = kind, .ticked_ns = now_ns };
	memcpy(c->resource, resource, sizeof(c->resource));
	memcpy(c->program, k->name.program, sizeof(c->program));
	kn_limiter_init(&c->limiter, &start, now_ns);
	c->area.at_ns = now_ns;
	c->tries_limit = c->limiter.limit;
	c->limiter.figure[0] = k->shares.cpu;
	c->limiter.figure[1] = k->shares.disk;
	c->limiter.figure[2] = k->shares.net;
	kn_tuner_tell(t, n, 0, start.why);
	return n;
}

void
kn_tuner_move(struct kn_tuner *t, struct kn_key *k, unsigned class, int64_t now_ns)
{
	struct kn_class *from = &t->classes[k->class], *to = &t->classes[class];

	kn_area_flow(&from->area, from->running, now_ns);
	kn_area_flow(&to->area, to->running, now_ns);
	from->running -= k->running;
	from->queued -= k->queued;
	to->running += k->running;
	from->handed -= k->handed;
	to->handed += k->handed;
	to->queued += k->queued;
	if (to->running > to->peak)
		to->peak = to->running;
	if (to->runtime_ns <= 0)
		to->runtime_ns = k->runtime_ns;
	k->class = class;
	/* What was being measured of either is of other tasks now. */
	if (from != to && k->running > 0) {
		kn_limiter_disturb(&from->limiter, now_ns);
		kn_limiter_disturb(&to->limiter, now_ns);
	}
}

/* ---- sorting ------------------------------------------------------------------ */

static void
key_sort(struct kn_tuner *t, struct kn_key *k, int64_t now_ns)
{
	struct kn_shares shares;
	enum knee_kind kind;
	int64_t stays_ns;

	if (k->started > BRIEF_STARTS && k->runtime_ns < BRIEF_NS)
		shares = (struct kn_shares){ .cpu = 1, .cores = 1 };
	else if (!kn_traits_shares(&k->traits, &shares))
		return;
	kind = kn_classify(&shares);
	/* Between two kinds it stays what it was. */
	if (k->measured && k->kind == KNEE_KIND_CPU && shares.cpu >= CPU_STAYS)
		kind = KNEE_KIND_CPU;
	if (kind != k->next)
		k->next_ns = now_ns;
	k->agreed = kind == k->next ? k->agreed + 1 : 1;
	k->next = kind;
	k->shares = shares;
	stays_ns = (now_ns - k->first_ns) / AGREE_PART;
	if (stays_ns > AGREE_NS)
		stays_ns = AGREE_NS;
	if (k->measured && (kind == k->kind || k->agreed < AGREE || now_ns - k->next_ns < stays_ns))
		return;
	if (k->prior.kind != KNEE_KIND_UNKNOWN && !k->measured && kind != k->kind && k->agreed < AGREE)
		return;
	k->measured = true;
	k->kind = kind;
	kn_tuner_move(t, k, kn_tuner_class(t, k, kind, now_ns), now_ns);
}

void
kn_tuner_sort(struct kn_tuner *t, int64_t now_ns)
{
	for (unsigned i = 0; i < t->nkeys; i++) {
		struct kn_key *k = &t->keys[i];

		if (k->first_ns == 0)
			continue;
		kn_area_flow(&k->area, k->running, now_ns);
		k->traits.time_ns += k->area.sum;
		k->area.sum = 0;
		if (!t->fixed)
			key_sort(t, k, now_ns);
		else if (kn_traits_shares(&k->traits, &k->shares))
			k->measured = true;
		kn_traits_fade(&k->traits, now_ns);
	}
}

/* ---- models --------------------------------------------------------------------- */

/* Few tasks: no time to search. The number that the model gives, or 0: search. */
static unsigned
few_number(const struct kn_tuner *t, const struct kn_class *c, const struct kn_shares *s)
{
	uint64_t total = c->running + c->queued;
	bool waits = c->kind == KNEE_KIND_WAIT || c->kind == KNEE_KIND_NET;

	if (!t->left_known || c->must_search || c->limiter.levels.n > 0 || c->limiter.base > 0)
		return 0;
	if (c->limiter.phase == KN_PHASE_HOLD)
		return 0;
	if (waits)
		return total <= FEW_WAITING && total > 0 ? (unsigned)total : 0;
	if (total >= FEW)
		return 0;
	if (c->kind == KNEE_KIND_MIXED)
		return kn_cpu_slots(t->machine.cores, s->cores);
	return 0;
}

/* Has the model said the same number for long enough? A share that lies between two numbers would
 * else change the limit with every breath. */
static bool
model_stays(struct kn_class *c, unsigned number, int64_t now_ns)
{
	if (number != c->model_next) {
		c->model_next = number;
		c->model_ns = now_ns;
	}
	return now_ns - c->model_ns >= MODEL_STAYS_NS;
}

void
kn_class_model(struct kn_tuner *t, unsigned class, int64_t now_ns)
{
	struct kn_class *c = &t->classes[class];
	struct kn_shares s = kn_class_shares(t, class);
	unsigned from = c->limiter.limit, most = most_of(t), few;
	bool moved, set;

	if (c->memory_most > 0 && c->memory_most < most)
		most = c->memory_most;

	if (c->kind == KNEE_KIND_CPU) {
		moved = kn_limiter_bounds(&c->limiter, least_of(t), most, KN_WHY_BOUND, now_ns);
		set = model_stays(c, kn_cpu_slots(t->machine.cores, s.cores), now_ns) &&
		    kn_limiter_set(&c->limiter, c->model_next, KN_WHY_CORES, now_ns);
		if (set || (moved && c->memory_most != most))
			kn_tuner_tell(t, class, from, c->limiter.why);
		return;
	}
	if (s.cpu >= CPU_SHARE_MIN && c->kind != KNEE_KIND_UNKNOWN) {
		/* Cores are not known of what was remembered without them. */
		double room = s.cores > 0 ? ceil(CPU_ROOM * t->machine.cores / s.cores) + 1 : MOST;

		/* It bounds the search; what runs already is not taken back for it. */
		room = fmax(room, from);
		most = most < room ? most : (unsigned)room;
	}
	c->limiter.cpu_share = s.cpu;
	if (kn_limiter_bounds(&c->limiter, least_of(t), most, KN_WHY_BOUND, now_ns) && c->memory_most != most)
		kn_tuner_tell(t, class, from, KN_WHY_BOUND);
	if (!searches(c->kind))
		return;
	few = few_number(t, c, &s);
	from = c->limiter.limit;
	if (few == 0 || (few <= from && c->limiter.phase == KN_PHASE_MODEL))
		return;
	if (c->kind == KNEE_KIND_MIXED && !model_stays(c, few, now_ns))
		return;
	if (kn_limiter_set(&c->limiter, few, KN_WHY_MODEL, now_ns))
		kn_tuner_tell(t, class, from, KN_WHY_MODEL);
}

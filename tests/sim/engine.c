/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define START_NS 200000     /* of the runner, for one start */
#define STARTUP_S .0006     /* of a core, for a task's own start */
#define REFUSED_NS 20000000 /* until a service has said "busy" */
#define KILLED_NS 100000000 /* until the kernel finds no memory */
#define BACKOFF_NS 100000000
#define BACKOFF_MAX_NS 10000000000
#define ATTEMPTS 32
#define NEAR .95                      /* of the best throughput */
#define LOOKS_MAX 256                 /* running tasks looked at in one sample */
#define STILL_NS 120000000000         /* nothing runs for so long, and something could */
#define RSS_BYTES ((uint64_t)8 << 20) /* of a task of which nothing else is said */

/* A min-heap of numbers. Room is made in advance. */
struct heap {
	double *key;  /* owned */
	uint32_t *id; /* owned */
	size_t len, cap;
};

/* What a task has used, as it really is. */
struct spent {
	double seen[SIM_SEEN]; /* seconds */
	double cpu, delay, bytes, disk, reads;
};

struct slot {
	uint32_t task;
	int phase; /* -1: it starts up */
	unsigned pool;
	double v0, work; /* the pool's mark when it entered, and its work there */
	bool in_line;
	int64_t entered_ns, started_ns;
	struct spent past;     /* of earlier phases */
	double seen[SIM_SEEN]; /* at the last look */
	struct kn_usage told;  /* at the last look */
	unsigned at;           /* in the list of running ones */
	bool refused, fails, stopped;
};

/* A pool at work: every task in it has done v units since a common beginning. */
struct flow {
	struct heap ends; /* slots by the mark at which they are through */
	struct heap line; /* ... and those that are not served yet, by their turn */
	double turn;
	unsigned n; /* served */
	double v, rate, work;
	double z, factor; /* noise, and what it makes of the speed */
	double cpu_told;  /* seconds of cores in the last vitals */
	double bytes_told;
};

struct engine {
	const struct sim_world *w;
	const struct sim_options *o;
	struct sim_result *result;
	struct sim_driver driver;
	struct rnd noise, look, refusal;
	struct flow flows[SIM_POOLS];
	struct slot *slots;         /* owned */
	uint32_t *unused, *running; /* owned: slots */
	unsigned nunused, nrunning, nslots, nstopped;
	unsigned of_type[SIM_TYPES]; /* running and not refused */
	struct heap timers;          /* slots that end without working */
	struct heap waits;           /* tasks that are tried again later */
	uint8_t *attempts;           /* owned */
	int64_t now_ns, free_ns, hold_ns, noise_ns, vitals_ns, active_ns;
	bool changed;   /* the event in mid-run has come */
	int main;       /* the pool by which losses are counted; -1: none */
	double swapped; /* bytes beyond memory at the last vitals */
	unsigned limit; /* at the last sample */
	int err;
};

/* ---- heap ---------------------------------------------------------------------- */

static int
heap_reserve(struct heap *h, size_t n)
{
	double *key;
	uint32_t *id;

	if (n <= h->cap)
		return 0;
	n += n / 2 + 64;
	key = realloc(h->key, n * sizeof(*key));
	if (key != NULL)
		h->key = key;
	id = realloc(h->id, n * sizeof(*id));
	if (id != NULL)
		h->id = id;
	if (key == NULL || id == NULL)
		return -ENOMEM;
	h->cap = n;
	return 0;
}

static void
heap_done(struct heap *h)
{
	free(h->key);
	free(h->id);
}

static void
heap_up(struct heap *h, size_t i, double key, uint32_t id)
{
	for (; i > 0 && h->key[(i - 1) / 2] > key; i = (i - 1) / 2) {
		h->key[i] = h->key[(i - 1) / 2];
		h->id[i] = h->id[(i - 1) / 2];
	}
	h->key[i] = key;
	h->id[i] = id;
}

static void
heap_push(struct heap *h, double key, uint32_t id)
{
	heap_up(h, h->len++, key, id);
}

static void
heap_remove(struct heap *h, size_t i)
{
	double key = h->key[--h->len];
	uint32_t id = h->id[h->len];
	size_t child;

	if (i == h->len)
		return;
	while ((child = 2 * i + 1) < h->len) {
		if (child + 1 < h->len && h->key[child + 1] < h->key[child])
			child++;
		if (h->key[child] >= key)
			break;
		h->key[i] = h->key[child];
		h->id[i] = h->id[child];
		i = child;
	}
	heap_up(h, i, key, id);
}

/* ---- pools ----------------------------------------------------------------------- */

static void
flow_rate(struct engine *e, unsigned pool)
{
	struct flow *f = &e->flows[pool];
	bool its = pool > 0 || e->w->types[0].phases[0].pool == 0;
	double slots = its ? e->w->slots[e->changed] : 1, speed = its ? e->w->speed[e->changed] : 1;

	f->rate = f->n > 0 ? speed * f->factor * sim_pool_x(&e->w->pools[pool], f->n, slots) / f->n : 0;
}

static void
slot_serve(struct engine *e, uint32_t id)
{
	struct slot *s = &e->slots[id];
	struct flow *f = &e->flows[s->pool];

	if (f->n == 0)
		f->v = 0;
	s->v0 = f->v;
	s->entered_ns = e->now_ns;
	heap_push(&f->ends, f->v + s->work, id);
	f->n++;
	flow_rate(e, s->pool);
}

static void
slot_enter(struct engine *e, uint32_t id, unsigned pool, double work)
{
	struct slot *s = &e->slots[id];
	struct flow *f = &e->flows[pool];
	unsigned servers = e->w->pools[pool].servers;

	s->pool = pool;
	s->work = work;
	if (servers == 0 || f->n < servers) {
		slot_serve(e, id);
		return;
	}
	s->in_line = true;
	s->entered_ns = e->now_ns;
	heap_push(&f->line, f->turn++, id);
}

/* What the present phase has used so far, put to what came before. */
static struct spent
slot_spent(const struct engine *e, const struct slot *s)
{
	const struct sim_pool *p = &e->w->pools[s->pool];
	struct spent all = s->past;
	double done = s->in_line ? 0 : e->flows[s->pool].v - s->v0, extra;

	if (s->refused || s->stopped)
		return all;
	extra = fmax(0, (double)(e->now_ns - s->entered_ns) / SIM_SECOND - done);
	for (int i = 0; i < SIM_SEEN; i++)
		all.seen[i] += p->base[i] * done;
	all.seen[p->queue] += extra;
	all.cpu += p->base[SIM_CPU] * done;
	if (p->queue == SIM_CPU)
		all.delay += extra;
	all.bytes += p->bytes * done;
	all.disk += p->disk_bytes * done * e->w->disk[e->changed];
	if (p->chunk_bytes > 0)
		all.reads += p->bytes * done / p->chunk_bytes;
	return all;
}

/* Out of its pool, before its end or at it; place: in the pool's heap. */
static void
slot_leave(struct engine *e, uint32_t id, size_t place)
{
	struct slot *s = &e->slots[id];
	struct flow *f = &e->flows[s->pool];

	s->past = slot_spent(e, s);
	s->v0 = f->v;
	s->entered_ns = e->now_ns;
	heap_remove(&f->ends, place);
	f->n--;
	flow_rate(e, s->pool);
	if (f->line.len > 0) {
		id = f->line.id[0];
		heap_remove(&f->line, 0);
		s = &e->slots[id];
		s->past = slot_spent(e, s);
		s->in_line = false;
		slot_serve(e, id);
	}
}

/* ---- what is read of tasks --------------------------------------------------------- */

static uint64_t
slot_rss(const struct engine *e, const struct slot *s)
{
	uint64_t most = e->w->types[e->w->type[s->task]].rss_bytes;
	double done = s->phase > 0 ? 1 : (e->flows[s->pool].v - s->v0) / s->work;

	if (most == 0)
		return RSS_BYTES;
	if (s->phase < 0 || s->refused)
		done = 0;
	else if (s->stopped)
		done = 1;
	return RSS_BYTES + (uint64_t)((double)(most - RSS_BYTES) * fmin(1, 10 * done));
}

/* One look more: what it shows, by chance, is one of the things that took the time since the last. */
static void
look_add(struct engine *e, struct slot *s, const struct spent *now, struct kn_usage *u)
{
	double gone[SIM_SEEN], sum = 0, at;
	int what = 0;

	for (int i = 0; i < SIM_SEEN; i++) {
		gone[i] = now->seen[i] - s->seen[i];
		sum += gone[i];
		s->seen[i] = now->seen[i];
	}
	at = sim_uniform(&e->look) * sum;
	while (what < SIM_IDLE && at >= gone[what])
		at -= gone[what++];
	u->looks++;
	u->cpu_looks += what == SIM_CPU;
	u->disk_looks += what == SIM_DISK;
	u->net_looks += what == SIM_NET;
	u->lock_looks += what == SIM_LOCK;
}

static uint64_t
rising(double x, uint64_t before)
{
	return x > (double)before ? (uint64_t)x : before;
}

/* Its cumulative reading; *delta: since the last one. */
static struct kn_usage
slot_read(struct engine *e, struct slot *s, bool looks, struct kn_usage *delta)
{
	const struct spent now = slot_spent(e, s);
	const struct kn_usage was = s->told;
	double chunk = e->w->pools[s->pool].chunk_bytes;
	struct kn_usage u = was;

	u.known = KN_USAGE_CPU | KN_USAGE_BYTES | KN_USAGE_DELAY | KN_USAGE_RSS | KN_USAGE_LOOKS;
	u.cpu_ns = (int64_t)rising(now.cpu * SIM_SECOND, (uint64_t)was.cpu_ns);
	u.delay_ns = (int64_t)rising(now.delay * SIM_SECOND, (uint64_t)was.delay_ns);
	u.bytes = rising(chunk > 0 ? floor(now.bytes / chunk) * chunk : now.bytes, was.bytes);
	u.disk_bytes = rising(chunk > 0 ? floor(now.disk / chunk) * chunk : now.disk, was.disk_bytes);
	u.reads = rising(now.reads, was.reads);
	u.rss_bytes = slot_rss(e, s);
	if (looks)
		look_add(e, s, &now, &u);
	*delta = (struct kn_usage){
		.known = u.known,
		.cpu_ns = u.cpu_ns - was.cpu_ns,
		.delay_ns = u.delay_ns - was.delay_ns,
		.bytes = u.bytes - was.bytes,
		.disk_bytes = u.disk_bytes - was.disk_bytes,
		.reads = u.reads - was.reads,
		.rss_bytes = u.rss_bytes,
		.looks = u.looks - was.looks,
		.cpu_looks = u.cpu_looks - was.cpu_looks,
		.disk_looks = u.disk_looks - was.disk_looks,
		.net_looks = u.net_looks - was.net_looks,
		.lock_looks = u.lock_looks - was.lock_looks,
	};
	s->told = u;
	return u;
}

/* Every running task, or a part by chance; the others are alive. */
static void
running_look(struct engine *e, unsigned most)
{
	unsigned n = e->nrunning < most ? e->nrunning : most;

	for (unsigned i = 0; i < n; i++) {
		struct kn_usage delta, total;
		struct slot *s;

		if (e->nrunning > n) {
			unsigned j = i + rnd_below(&e->look, e->nrunning - i);
			uint32_t swap = e->running[i];

			e->running[i] = e->running[j];
			e->running[j] = swap;
			e->slots[e->running[i]].at = i;
			e->slots[swap].at = j;
		}
		s = &e->slots[e->running[i]];
		total = slot_read(e, s, true, &delta);
		sim_driver_progress(&e->driver, s->task, s->started_ns, &delta, &total);
	}
	for (unsigned i = n; i < e->nrunning; i++) {
		const struct slot *s = &e->slots[e->running[i]];

		sim_driver_alive(&e->driver, s->task, s->started_ns);
	}
}

static void
vitals_memory(struct engine *e, struct kn_vitals *v)
{
	uint64_t used = e->w->memory_used_bytes, all = e->w->machine.memory_bytes;
	double over;

	for (unsigned i = 0; i < e->nrunning; i++)
		used += slot_rss(e, &e->slots[e->running[i]]);
	v->memory_bytes = all;
	v->memory_free_bytes = used < all ? all - used : 0;
	over = used > all ? (double)(used - all) : 0;
	if (over > 0) {
		v->pressure_some_frac = fmin(1, .1 + 4 * over / (double)all);
		v->pressure_full_frac = v->pressure_some_frac / 2;
		v->swap_in_bytes = (uint64_t)(over / 16);
		v->swap_out_bytes = v->swap_in_bytes + (uint64_t)fmax(0, over - e->swapped);
	}
	e->swapped = over;
}

static void
vitals_disk(struct engine *e, struct kn_vitals *v, unsigned pool, double bytes_per_s)
{
	const struct sim_pool *p = &e->w->pools[pool];
	const struct flow *f = &e->flows[pool];
	struct kn_disk *d = &v->disks[0];

	v->known |= KN_VITALS_DISKS;
	v->ndisks = 1;
	*d =
	    (struct kn_disk){ .name = "vda", .device = 254 << 20, .spindle = -1, .bytes_per_s = bytes_per_s };
	for (unsigned i = 0; i < e->w->ntypes; i++) {
		if (e->w->types[i].name.place.spindle == 1)
			d->spindle = 1;
	}
	d->ops_per_s = bytes_per_s / p->chunk_bytes;
	d->busy_frac = f->n > 0 ? fmin(1, .7 + .1 * f->n) : 0;
	if (d->ops_per_s > 0)
		d->latency_ns = (int64_t)(f->n * SIM_SECOND / d->ops_per_s);
}

static void
vitals_read(struct engine *e, struct kn_vitals *v)
{
	double gone_s = fmax(1e-9, (double)(e->now_ns - e->vitals_ns) / SIM_SECOND);

	*v = (struct kn_vitals){ .known = KN_VITALS_CPU | KN_VITALS_MEMORY | KN_VITALS_PRESSURE |
		    KN_VITALS_SWAP | KN_VITALS_NET | KN_VITALS_RETRANS | KN_VITALS_LOAD | KN_VITALS_SWITCHES,
		.net_busy_frac = -1 };
	for (unsigned i = 0; i < e->w->npools; i++) {
		const struct sim_pool *p = &e->w->pools[i];
		struct flow *f = &e->flows[i];
		double cpu = p->base[SIM_CPU] * f->work, bytes = p->bytes * f->work;
		double per_s = (bytes - f->bytes_told) / gone_s;

		v->cpu_busy += (cpu - f->cpu_told) / gone_s;
		f->cpu_told = cpu;
		f->bytes_told = bytes;
		if (p->queue == SIM_CPU)
			v->runnable += f->n;
		if (p->queue == SIM_NET)
			v->net_bytes_per_s += per_s;
		v->switches_per_s += 4 * per_s / (p->chunk_bytes > 0 ? p->chunk_bytes : 1);
		if (p->disk_bytes > 0)
			vitals_disk(e, v, i, per_s * e->w->disk[e->changed]);
	}
	/* Where tasks have the cores and get less than these give, others have the rest. */
	if (e->flows[0].n >= e->w->machine.cores || v->cpu_busy > e->w->machine.cores)
		v->cpu_busy = e->w->machine.cores;
	vitals_memory(e, v);
	e->vitals_ns = e->now_ns;
}

/* ---- the life of a task --------------------------------------------------------------- */

static int
slots_grow(struct engine *e)
{
	unsigned n = e->nslots > 0 ? e->nslots * 2 : 64;
	struct slot *slots = realloc(e->slots, n * sizeof(*slots));
	uint32_t *unused, *running;
	int err = slots != NULL ? heap_reserve(&e->timers, n) : -ENOMEM;

	if (slots != NULL)
		e->slots = slots;
	unused = realloc(e->unused, n * sizeof(*unused));
	if (unused != NULL)
		e->unused = unused;
	running = realloc(e->running, n * sizeof(*running));
	if (running != NULL)
		e->running = running;
	for (unsigned i = 0; err == 0 && i < e->w->npools; i++) {
		err = heap_reserve(&e->flows[i].ends, n);
		if (err == 0)
			err = heap_reserve(&e->flows[i].line, n);
	}
	if (err < 0 || unused == NULL || running == NULL)
		return -ENOMEM;
	while (e->nslots < n)
		e->unused[e->nunused++] = e->nslots++;
	return 0;
}

/* Into its next phase; false: it has none. */
static bool
slot_next(struct engine *e, uint32_t id)
{
	struct slot *s = &e->slots[id];
	const struct sim_type *t = &e->w->types[e->w->type[s->task]];
	const struct sim_phase *p = &t->phases[++s->phase];

	if (s->phase >= (int)t->nphases)
		return false;
	slot_enter(e, id, p->pool, e->w->size[s->task] * p->share * (s->fails ? .5 : 1));
	return true;
}

static void
slot_begin(struct engine *e, uint32_t task)
{
	unsigned type = e->w->type[task];
	const struct sim_type *t = &e->w->types[type];
	uint32_t id = e->unused[--e->nunused];
	struct slot *s = &e->slots[id];
	uint64_t need = e->w->memory_used_bytes + (e->nrunning + 1) * t->rss_bytes;
	bool killed = t->rss_bytes > 0 && need > e->w->machine.memory_bytes / 4 * 5;

	*s = (struct slot){ .task = task, .phase = -1, .started_ns = e->now_ns, .entered_ns = e->now_ns };
	s->at = e->nrunning;
	e->running[e->nrunning++] = id;
	if (e->nrunning > e->result->peak)
		e->result->peak = e->nrunning;
	if (e->attempts[task] < UINT8_MAX)
		e->attempts[task]++;
	e->result->killed += killed;
	if (killed || (t->refuses_above > 0 && e->of_type[type] >= t->refuses_above)) {
		s->refused = true;
		s->fails = killed;
		heap_push(&e->timers, (double)(e->now_ns + (killed ? KILLED_NS : REFUSED_NS)), id);
		return;
	}
	s->fails = t->fails_above > 0 && e->of_type[type] >= t->fails_above;
	e->of_type[type]++;
	if (t->phases[0].pool == 0 && !s->fails) {
		/* What needs a core and nothing else does not have to queue for it twice. */
		s->phase = 0;
		slot_enter(e, id, 0, STARTUP_S + e->w->size[task] * t->phases[0].share);
	} else {
		slot_enter(e, id, 0, STARTUP_S);
	}
}

static int
task_backoff(struct engine *e, uint32_t task)
{
	int64_t wait = BACKOFF_NS;

	for (unsigned i = 1; i < e->attempts[task] && wait < BACKOFF_MAX_NS; i++)
		wait *= 2;
	if (wait > BACKOFF_MAX_NS)
		wait = BACKOFF_MAX_NS;
	if (heap_reserve(&e->waits, e->waits.len + 1) < 0)
		return -ENOMEM;
	heap_push(&e->waits, (double)(e->now_ns + wait), task);
	return 0;
}

static void
change_check(struct engine *e)
{
	if (e->changed || (double)e->result->ended < e->w->change_at * e->w->ntasks)
		return;
	e->changed = true;
	for (unsigned i = 0; i < e->w->npools; i++)
		flow_rate(e, i);
}

/* It is over, or (cut) was made to be. */
static void
slot_end(struct engine *e, uint32_t id, bool cut)
{
	struct slot *s = &e->slots[id];
	struct kn_end end = { .now_ns = e->now_ns, .started_ns = s->started_ns, .cut = cut };

	end.failed = s->fails || s->refused || cut;
	end.busy = s->refused && !s->fails;
	end.usage = slot_read(e, s, false, &end.delta);
	end.peak_rss_bytes = s->phase > 0 || (!cut && !s->refused) ?
	    e->w->types[e->w->type[s->task]].rss_bytes :
	    slot_rss(e, s);
	if (end.peak_rss_bytes < RSS_BYTES)
		end.peak_rss_bytes = RSS_BYTES;
	e->running[s->at] = e->running[--e->nrunning];
	e->slots[e->running[s->at]].at = s->at;
	e->unused[e->nunused++] = id;
	if (!s->refused)
		e->of_type[e->w->type[s->task]]--;
	sim_driver_ended(&e->driver, s->task, &end);
	if (!end.failed) {
		e->result->ended++;
		change_check(e);
		return;
	}
	e->result->busy += end.busy;
	e->result->busy_late += end.busy && e->now_ns > 60 * (int64_t)SIM_SECOND;
	e->result->failed += !end.busy && !cut;
	e->result->requeued += cut;
	if (!cut && e->attempts[s->task] >= ATTEMPTS) {
		e->result->lost++;
		e->result->ended++;
		return;
	}
	e->err = cut ? sim_driver_again(&e->driver, s->task) : task_backoff(e, s->task);
}

/* ---- suspending and ending, as the tuner asks --------------------------------------------- */

/* The youngest that goes on, or the oldest that is stopped; UINT32_MAX: none. */
static uint32_t
slot_find(const struct engine *e, bool stopped)
{
	uint32_t best = UINT32_MAX;

	for (unsigned i = 0; i < e->nrunning; i++) {
		uint32_t id = e->running[i];
		const struct slot *s = &e->slots[id];

		if (s->stopped != stopped || s->refused || s->in_line)
			continue;
		if (best == UINT32_MAX || (s->started_ns > e->slots[best].started_ns) != stopped)
			best = id;
	}
	return best;
}

static void
slot_stop(struct engine *e, uint32_t id)
{
	struct slot *s = &e->slots[id];
	struct heap *h = &e->flows[s->pool].ends;
	size_t i = 0;

	while (h->id[i] != id)
		i++;
	s->work = h->key[i] - e->flows[s->pool].v;
	slot_leave(e, id, i);
	s->stopped = true;
}

static void
act(struct engine *e, enum kn_act what)
{
	uint32_t id = slot_find(e, what == KN_ACT_RESUME);
	struct slot *s = &e->slots[id];

	if (id == UINT32_MAX)
		return;
	switch (what) {
	case KN_ACT_NONE:
		return;
	case KN_ACT_SUSPEND:
		slot_stop(e, id);
		e->nstopped++;
		break;
	case KN_ACT_RESUME:
		s->stopped = false;
		slot_enter(e, id, s->pool, fmax(0, s->work));
		e->nstopped--;
		break;
	case KN_ACT_REQUEUE:
		slot_stop(e, id);
		slot_end(e, id, true);
		return;
	}
	sim_driver_suspended(&e->driver, e->nstopped);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void
sample(struct engine *e)
{
	const struct sim_pool *p = e->main >= 0 ? &e->w->pools[e->main] : NULL;
	struct kn_vitals v;
	enum kn_act what;

	unsigned looks = sim_driver_looks(&e->driver);

	if (looks > 0)
		running_look(e, looks < LOOKS_MAX ? looks : LOOKS_MAX);
	vitals_read(e, &v);
	what = sim_driver_sample(&e->driver, e->now_ns, e->waits.len, &v);
	e->result->samples++;
	if (what != KN_ACT_NONE)
		act(e, what);
	e->limit = kn_tuner_limit(e->driver.tuner);
	if (sim_driver_due_ns(&e->driver) <= e->now_ns)
		e->result->wrong = "the next sample is due at once";
	if (p == NULL || sim_pool_x(p, e->limit, 1) < NEAR * p->x[p->best])
		e->result->near_s = -1;
	else if (e->result->near_s < 0)
		e->result->near_s = (double)e->now_ns / SIM_SECOND;
}

static void
noise_step(struct engine *e)
{
	double sd = e->w->noise_frac;

	for (unsigned i = 0; i < e->w->npools; i++) {
		struct flow *f = &e->flows[i];

		f->z = .8 * f->z + .6 * sim_normal(&e->noise);
		f->factor = exp(sd * f->z - sd * sd / 2);
		flow_rate(e, i);
	}
	e->noise_ns += e->w->noise_step_ns;
}

static void
loss_count(struct engine *e, double gone_s)
{
	const struct sim_pool *p = &e->w->pools[e->main];
	unsigned n = e->flows[e->main].n;
	double lost = gone_s * (1 - (n > 0 ? sim_pool_x(p, n, 1) / p->x[p->best] : 0));
	enum sim_loss what = SIM_LOSS_HOLD;

	if (e->driver.waiting == 0)
		what = SIM_LOSS_TAIL;
	else if (e->driver.tuner != NULL && kn_tuner_direction(e->driver.tuner) != 0)
		what = SIM_LOSS_SEARCH;
	e->result->lost_s[what] += lost;
}

static void
advance(struct engine *e, int64_t to_ns)
{
	double gone_s = (double)(to_ns - e->now_ns) / SIM_SECOND;

	for (unsigned i = 0; i < e->w->npools; i++) {
		struct flow *f = &e->flows[i];

		f->v += f->rate * gone_s;
		f->work += f->rate * f->n * gone_s;
	}
	if (e->main >= 0)
		loss_count(e, gone_s);
	e->now_ns = to_ns;
}

static int64_t
flow_due_ns(const struct engine *e, const struct flow *f)
{
	double wait;

	if (f->n == 0)
		return INT64_MAX;
	wait = (f->ends.key[0] - f->v) / f->rate * SIM_SECOND;
	return wait < 0 ? e->now_ns : e->now_ns + (int64_t)ceil(wait);
}

static int64_t
min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* blocked_ns: a start waits for that; INT64_MAX: none does. */
static int64_t
next_ns(const struct engine *e, int64_t blocked_ns)
{
	int64_t at = blocked_ns, due = sim_driver_due_ns(&e->driver);

	for (unsigned i = 0; i < e->w->npools; i++)
		at = min_ns(at, flow_due_ns(e, &e->flows[i]));
	if (e->timers.len > 0)
		at = min_ns(at, (int64_t)e->timers.key[0]);
	if (e->waits.len > 0)
		at = min_ns(at, (int64_t)e->waits.key[0]);
	at = min_ns(at, due);
	if (at != INT64_MAX && e->w->noise_frac > 0)
		at = min_ns(at, e->noise_ns);
	return at < e->now_ns ? e->now_ns : at;
}

/* As many as may start now. When one has to wait for the runner: until when. */
static int64_t
start_some(struct engine *e)
{
	int64_t until = e->free_ns > e->hold_ns ? e->free_ns : e->hold_ns;
	uint32_t task;

	if (!sim_driver_next(&e->driver, e->now_ns, &task))
		return INT64_MAX;
	if (until > e->now_ns)
		return until;
	if (e->o->refuse_frac > 0 && sim_uniform(&e->refusal) < e->o->refuse_frac) {
		e->hold_ns = sim_driver_refused(&e->driver, e->now_ns);
		return e->hold_ns > e->now_ns ? e->hold_ns : e->now_ns + 1;
	}
	if (e->nunused == 0 && (e->err = slots_grow(e)) < 0)
		return INT64_MAX;
	sim_driver_started(&e->driver, task, e->now_ns);
	slot_begin(e, task);
	e->err = sim_driver_read(&e->driver);
	e->free_ns = e->now_ns + START_NS;
	return sim_driver_next(&e->driver, e->now_ns, &task) ? e->free_ns : INT64_MAX;
}

/* All that is due at this instant. */
static void
turn(struct engine *e)
{
	for (unsigned i = 0; i < e->w->npools; i++) {
		struct flow *f = &e->flows[i];

		/* Two nanoseconds, so that rounding leaves none behind. */
		while (e->err == 0 && f->n > 0 && f->ends.key[0] <= f->v + 2e-9 * f->rate) {
			uint32_t id = f->ends.id[0];

			slot_leave(e, id, 0);
			if (!slot_next(e, id))
				slot_end(e, id, false);
		}
	}
	while (e->err == 0 && e->timers.len > 0 && (int64_t)e->timers.key[0] <= e->now_ns) {
		uint32_t id = e->timers.id[0];

		heap_remove(&e->timers, 0);
		slot_end(e, id, false);
	}
	while (e->err == 0 && e->waits.len > 0 && (int64_t)e->waits.key[0] <= e->now_ns) {
		uint32_t task = e->waits.id[0];

		heap_remove(&e->waits, 0);
		e->err = sim_driver_again(&e->driver, task);
	}
	while (e->w->noise_frac > 0 && e->noise_ns <= e->now_ns)
		noise_step(e);
	if (e->err == 0 && sim_driver_due_ns(&e->driver) <= e->now_ns)
		sample(e);
}

static void
run(struct engine *e)
{
	while (e->err == 0 && e->result->wrong == NULL && e->result->ended < e->w->ntasks) {
		int64_t at = next_ns(e, start_some(e));

		bool works = e->nrunning > e->nstopped || e->waits.len > 0;

		if (works)
			e->active_ns = e->now_ns;
		if (at == INT64_MAX || (!works && at > e->active_ns + STILL_NS)) {
			e->result->wrong = e->nstopped > 0 ? "a suspended task is never resumed" :
							     "nothing runs, and nothing may start";
			return;
		}
		advance(e, at);
		turn(e);
	}
	if (e->driver.overrun)
		e->result->wrong = "more started than the limit allows";
}

static int
engine_init(struct engine *e, uint64_t seed)
{
	const struct sim_type *t = &e->w->types[0];
	int err;

	e->noise = sim_rnd(seed, 2);
	e->look = sim_rnd(seed, 3);
	e->refusal = sim_rnd(seed, 4);
	e->main = e->w->ntypes == 1 && t->nphases == 1 && !e->w->pools[t->phases[0].pool].linear ?
	    (int)t->phases[0].pool :
	    -1;
	for (unsigned i = 0; i < e->w->npools; i++)
		e->flows[i].factor = 1;
	e->result->near_s = -1;
	e->attempts = calloc(e->w->ntasks, sizeof(*e->attempts));
	err = sim_driver_init(&e->driver, e->w, e->o);
	if (err == 0)
		err = slots_grow(e);
	return e->attempts == NULL ? -ENOMEM : err;
}

int
sim_run(const struct sim_world *w, const struct sim_options *o, uint64_t seed, struct sim_result *ret)
{
	struct engine e = { .w = w, .o = o, .result = ret };
	int err;

	*ret = (struct sim_result){ 0 };
	err = engine_init(&e, seed);
	if (err == 0) {
		run(&e);
		err = e.err;
	}
	ret->ns = e.now_ns;
	ret->limit = e.limit;
	ret->changes = e.driver.changes;
	ret->skipped_most = e.driver.skipped_most;
	if (err == 0)
		sim_driver_learnt(&e.driver, ret->learnt);
	sim_driver_done(&e.driver);
	for (unsigned i = 0; i < w->npools; i++) {
		heap_done(&e.flows[i].ends);
		heap_done(&e.flows[i].line);
	}
	heap_done(&e.timers);
	heap_done(&e.waits);
	free(e.slots);
	free(e.unused);
	free(e.running);
	free(e.attempts);
	return err;
}

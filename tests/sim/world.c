/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CORES 8
#define GIB ((uint64_t)1 << 30)
#define BLOCK 100 /* tasks that stand together in an input "in blocks" */

const char *const sim_signal_names[] = { "progress", "completions", NULL };
const char *const sim_order_names[] = { "random", "asc", "desc", "blocks", NULL };
const char *const sim_event_names[] = { "-", "half", "double", "fewer", "more", "warm", "kind", "key",
	"second", NULL };

/* ---- curves --------------------------------------------------------------- */

enum curve {
	CURVE_CORES,  /* b: how many */
	CURVE_REPAIR, /* a share a of a second on one of 8 cores, the rest elsewhere */
	CURVE_USL,    /* sigma a, kappa b */
	CURVE_SEEK,   /* a disk with an arm: the best at 2, a third of it soon after */
	CURVE_FLASH,  /* as measured on a cloud disk: rises slowly, to about 100 */
	CURVE_CAP,    /* linear up to b */
	CURVE_CLIFF,  /* ... and then memory is swapped */
	CURVE_LOCK,   /* one at a time */
	CURVE_SQUARE, /* linear up to b, and then time grows with the square */
	CURVE_LINEAR,
};

/* Throughput over that at the best number, measured with 4 KiB O_DIRECT reads. */
static const struct {
	double n, x;
} flash[] = {
	{ 1, .14 },
	{ 2, .26 },
	{ 3, .37 },
	{ 4, .43 },
	{ 8, .6 },
	{ 16, .81 },
	{ 24, .89 },
	{ 48, .95 },
	{ 96, .995 },
	{ 113, 1 },
	{ 256, .97 },
	{ 1024, .9 },
};

static double
flash_x(double n)
{
	size_t i = 1;

	while (flash[i].n < n)
		i++;
	return (flash[i - 1].x +
		   (flash[i].x - flash[i - 1].x) * log(n / flash[i - 1].n) /
		       log(flash[i].n / flash[i - 1].n)) /
	    flash[0].x;
}

/* N machines that break after a mean of 1 - a and are repaired by 8 men in a mean of a: the closed
 * queue M/M/8//N. Its throughput. */
static double
repair_x(double n, double a)
{
	double p = 1, sum = 1, rate = 0;

	for (double k = 1; k <= n; k++) {
		p *= (n - k + 1) / (1 - a) / (fmin(k, CORES) / a);
		sum += p;
		rate += p * fmin(k, CORES) / a;
		if (sum > 1e200) {
			p /= sum;
			rate /= sum;
			sum = 1;
		}
	}
	return rate / sum;
}

static double
curve_x(enum curve curve, double a, double b, double n)
{
	switch (curve) {
	case CURVE_CORES:
		return fmin(n, b) / (1 + .003 * fmax(0, n - b));
	case CURVE_REPAIR:
		return repair_x(n, a);
	case CURVE_USL:
		return n / (1 + a * (n - 1) + b * n * (n - 1));
	case CURVE_SEEK:
		return n < 2 ? n : .36 + .79 * exp(-(n - 2) / 1.3);
	case CURVE_FLASH:
		return flash_x(n);
	case CURVE_CAP:
		return fmin(n, b);
	case CURVE_CLIFF:
		return fmin(n, b) / (1 + 2 * fmax(0, n - b));
	case CURVE_LOCK:
		return 1 / (1 + .04 * (n - 1));
	case CURVE_SQUARE:
		return n <= b ? n : b * b / n;
	case CURVE_LINEAR:
		return n;
	}
	return 1;
}

static void
curve_fill(struct sim_pool *p, enum curve curve, double a, double b)
{
	double most = 0;

	p->linear = curve == CURVE_LINEAR;
	for (unsigned n = 1; n <= SIM_TABLE; n++) {
		p->x[n] = curve_x(curve, a, b, n) / curve_x(curve, a, b, 1);
		most = fmax(most, p->x[n]);
	}
	p->best = 1;
	while (p->x[p->best] < .99 * most)
		p->best++;
}

double
sim_pool_x(const struct sim_pool *p, unsigned n, double slots)
{
	double at = n / slots;
	unsigned low = (unsigned)at;

	if (at >= SIM_TABLE)
		return p->linear ? n : slots * p->x[SIM_TABLE];
	return slots * (p->x[low] + (p->x[low + 1] - p->x[low]) * (at - low));
}

/* ---- resources, as looks at their tasks show them -------------------------- */

enum stuff { STUFF_CPU, STUFF_QUARTER, STUFF_DISK, STUFF_NET, STUFF_REMOTE, STUFF_LOCK, STUFFS };

static const struct sim_pool stuffs[STUFFS] = {
	[STUFF_CPU] = { .base = { [SIM_CPU] = 1 }, .queue = SIM_CPU, .bytes = 2e6, .chunk_bytes = 65536 },
	[STUFF_QUARTER] = { .base = { [SIM_CPU] = .25, [SIM_NET] = .75 },
	    .queue = SIM_CPU,
	    .bytes = 2e6,
	    .chunk_bytes = 65536 },
	[STUFF_DISK] = { .base = { [SIM_CPU] = .05, [SIM_DISK] = .95 },
	    .queue = SIM_DISK,
	    .bytes = 4e7,
	    .disk_bytes = 4e7,
	    .chunk_bytes = 65536 },
	[STUFF_NET] = { .base = { [SIM_CPU] = .03, [SIM_NET] = .97 },
	    .queue = SIM_NET,
	    .bytes = 1e7,
	    .chunk_bytes = 16384 },
	/* A remote service that takes its time: a socket is waited for and little comes. */
	[STUFF_REMOTE] = { .base = { [SIM_CPU] = .01, [SIM_NET] = .99 }, .queue = SIM_NET },
	[STUFF_LOCK] = { .base = { [SIM_CPU] = .02, [SIM_IDLE] = .98 }, .queue = SIM_LOCK },
};

/* What cannot be seen at all: a timer, or a service behind something that waits for it. */
static const struct sim_pool opaque = { .base = { [SIM_IDLE] = 1 }, .queue = SIM_IDLE };

/* ---- worlds ---------------------------------------------------------------- */

struct part {
	enum curve curve;
	double a, b;
	enum stuff stuff;
};

struct recipe {
	const char *name;
	struct part parts[SIM_TYPES];
	unsigned nparts;
	bool phases; /* one type goes through the parts, not a type of each */
	bool known_spindle;
	bool line; /* what is capped serves in turn */
	uint64_t rss_bytes, memory_bytes;
	unsigned refuses_above, fails_above, cores;
};

static const struct recipe recipes[] = {
	{ .name = "cpu", .nparts = 1, .parts = { { CURVE_CORES, 0, CORES, STUFF_CPU } } },
	{ .name = "cpu2", .nparts = 1, .parts = { { CURVE_CORES, 0, 2, STUFF_CPU } }, .cores = 2 },
	{ .name = "quarter", .nparts = 1, .parts = { { CURVE_REPAIR, .25, 0, STUFF_QUARTER } } },
	{ .name = "usl38", .nparts = 1, .parts = { { CURVE_USL, .02, .0005, STUFF_NET } } },
	{ .name = "usl9", .nparts = 1, .parts = { { CURVE_USL, .05, .01, STUFF_NET } } },
	{ .name = "hdd", .nparts = 1, .parts = { { CURVE_SEEK, 0, 0, STUFF_DISK } } },
	{ .name = "spindle",
	    .nparts = 1,
	    .parts = { { CURVE_SEEK, 0, 0, STUFF_DISK } },
	    .known_spindle = true },
	{ .name = "ssd", .nparts = 1, .parts = { { CURVE_FLASH, 0, 0, STUFF_DISK } } },
	{ .name = "net20", .nparts = 1, .parts = { { CURVE_CAP, 0, 20, STUFF_NET } } },
	{ .name = "api64", .nparts = 1, .parts = { { CURVE_CAP, 0, 64, STUFF_NET } } },
	{ .name = "memory12",
	    .nparts = 1,
	    .parts = { { CURVE_CLIFF, 0, 12, STUFF_NET } },
	    .rss_bytes = GIB,
	    .memory_bytes = 13 * GIB + GIB / 2 },
	{ .name = "serial", .nparts = 1, .parts = { { CURVE_LOCK, 0, 0, STUFF_LOCK } } },
	{ .name = "refuse20",
	    .nparts = 1,
	    .parts = { { CURVE_CAP, 0, 20, STUFF_REMOTE } },
	    .refuses_above = 20 },
	{ .name = "fail20", .nparts = 1, .parts = { { CURVE_CAP, 0, 20, STUFF_NET } }, .fails_above = 20 },
	{ .name = "slow12", .nparts = 1, .parts = { { CURVE_SQUARE, 0, 12, STUFF_NET } } },
	/* The same three, asked once for each task: nothing is seen until the answer is there. */
	{ .name = "ask8", .nparts = 1, .parts = { { CURVE_CAP, 0, 8, STUFF_REMOTE } } },
	{ .name = "ask64", .nparts = 1, .parts = { { CURVE_CAP, 0, 64, STUFF_REMOTE } } },
	{ .name = "ask12", .nparts = 1, .parts = { { CURVE_SQUARE, 0, 12, STUFF_REMOTE } } },
	/* A service that works on some, while the others stand in line. */
	{ .name = "line8", .nparts = 1, .line = true, .parts = { { CURVE_CAP, 0, 8, STUFF_REMOTE } } },
	{ .name = "line64", .nparts = 1, .line = true, .parts = { { CURVE_CAP, 0, 64, STUFF_REMOTE } } },
	{ .name = "sleep", .nparts = 1, .parts = { { CURVE_LINEAR, 0, 0, STUFF_REMOTE } } },
	{ .name = "phases",
	    .nparts = 3,
	    .phases = true,
	    .parts = { { CURVE_FLASH, 0, 0, STUFF_DISK }, { CURVE_CORES, 0, CORES, STUFF_CPU },
		{ CURVE_FLASH, 0, 0, STUFF_DISK } } },
	{ .name = "mix",
	    .nparts = 3,
	    .parts = { { CURVE_CORES, 0, CORES, STUFF_CPU }, { CURVE_SEEK, 0, 0, STUFF_DISK },
		{ CURVE_CAP, 0, 20, STUFF_NET } } },
	{ .name = "mix2",
	    .nparts = 2,
	    .parts = { { CURVE_CORES, 0, CORES, STUFF_CPU }, { CURVE_CAP, 0, 64, STUFF_REMOTE } } },
};

/* What follows in the second half when the kind of work changes. */
static const struct part other = { CURVE_CAP, 0, 64, STUFF_REMOTE };

const char *
sim_world_name(size_t i)
{
	return i < sizeof(recipes) / sizeof(recipes[0]) ? recipes[i].name : NULL;
}

/* The pool for a part: the cores, when it is the cores that it needs, else one of its own. */
static unsigned
pool_of(struct sim_world *w, const struct recipe *r, const struct part *part, bool seen)
{
	struct sim_pool *p;

	if (part->stuff == STUFF_CPU && seen)
		return 0;
	p = &w->pools[w->npools];
	*p = seen ? stuffs[part->stuff] : opaque;
	curve_fill(p, part->curve, part->a, part->b);
	p->servers = r->line ? (unsigned)part->b : 0;
	return w->npools++;
}

static struct sim_type *
type_add(struct sim_world *w, const struct recipe *r, const struct part *part, bool seen)
{
	static const char *const programs[STUFFS] = { "hash", "render", "scan", "fetch", "ask", "flock" };
	struct sim_type *t = &w->types[w->ntypes++];
	struct kn_place *place = &t->name.place;

	t->rss_bytes = r->rss_bytes;
	t->refuses_above = r->refuses_above;
	t->fails_above = r->fails_above;
	place->spindle = -1;
	(void)snprintf(t->name.program, sizeof(t->name.program), "%s", seen ? programs[part->stuff] : "wait");
	if (!seen)
		return t;
	if (part->stuff == STUFF_DISK) {
		(void)snprintf(place->disk, sizeof(place->disk), "vda");
		place->device = 254 << 20;
		place->spindle = r->known_spindle ? 1 : -1;
	} else if (part->stuff == STUFF_NET || part->stuff == STUFF_REMOTE) {
		(void)snprintf(place->host, sizeof(place->host), "service.example");
	}
	return t;
}

static void
world_parts(struct sim_world *w, const struct recipe *r, const struct sim_case *c)
{
	bool seen = c->signal == SIM_PROGRESS;
	struct sim_type *t = NULL;

	for (unsigned i = 0; i < r->nparts; i++) {
		if (!r->phases || i == 0)
			t = type_add(w, r, &r->parts[i], seen);
		/* Phases that need the same resource share it: here, the first and the last. */
		t->phases[t->nphases].pool =
		    r->phases && i == 2 ? t->phases[0].pool : pool_of(w, r, &r->parts[i], seen);
		t->phases[t->nphases++].share = r->phases ? 1.0 / r->nparts : 1;
	}
	if (c->event != SIM_KIND && c->event != SIM_KEY)
		return;
	t = type_add(w, r, &other, seen);
	t->phases[t->nphases].pool = pool_of(w, r, &other, seen);
	t->phases[t->nphases++].share = 1;
	if (c->event == SIM_KIND)
		t->name = w->types[0].name;
}

static void
world_event(struct sim_world *w, enum sim_event event)
{
	w->change_at = .5;
	for (int i = 0; i < 2; i++)
		w->speed[i] = w->slots[i] = w->disk[i] = 1;
	switch (event) {
	case SIM_HALF:
		w->speed[1] = .5;
		break;
	case SIM_DOUBLE:
		w->speed[1] = 2;
		break;
	case SIM_FEWER:
		w->slots[1] = .5;
		break;
	case SIM_MORE:
		w->slots[1] = 2;
		break;
	case SIM_WARM:
		w->change_at = .3;
		w->speed[0] = .5;
		w->disk[1] = 0;
		break;
	case SIM_NOTHING:
	case SIM_KIND:
	case SIM_KEY:
	case SIM_AGAIN:
		break;
	}
}

static void
world_machine(struct sim_world *w, const struct recipe *r)
{
	unsigned cores = r->cores > 0 ? r->cores : CORES;

	w->pools[0] = stuffs[STUFF_CPU];
	curve_fill(&w->pools[0], CURVE_CORES, 0, cores);
	w->npools = 1;
	w->memory_used_bytes = GIB / 2;
	w->machine = (struct kn_machine){
		.cores = cores,
		.memory_bytes = r->memory_bytes > 0 ? r->memory_bytes : 16 * GIB,
		.fds_free = 4000,
		.fds_per_task = 3,
		.fds_max = 4096,
		.processes_free = UINT_MAX,
	};
}

/* ---- tasks ------------------------------------------------------------------ */

double
sim_normal(struct rnd *r)
{
	double u = 1 - sim_uniform(r), v = sim_uniform(r);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* The mean is 1. A Pareto tail is cut at 200. */
static double
size_draw(struct rnd *r, double cv)
{
	double s2 = log1p(cv * cv);

	if (cv < 0)
		return fmin(200, (-cv - 1) / -cv * pow(1 - sim_uniform(r), 1 / cv));
	return cv > 0 ? exp(sqrt(s2) * sim_normal(r) - s2 / 2) : 1;
}

struct item {
	double order;
	float size;
	uint8_t type;
};

static int
item_compare(const void *a, const void *b)
{
	double x = ((const struct item *)a)->order, y = ((const struct item *)b)->order;

	return (x > y) - (x < y);
}

static double
item_key(const struct item *item, enum sim_order order, bool mixed, struct rnd *r)
{
	double by = mixed ? item->type + sim_uniform(r) / 2 : item->size;

	switch (order) {
	case SIM_RANDOM:
		return sim_uniform(r);
	case SIM_DESCENDING:
		return -by;
	case SIM_ASCENDING:
	case SIM_BLOCKS:
		break;
	}
	return by;
}

/* Sorted before: whole blocks change places. */
static void
items_blocks(struct item *items, unsigned n, struct rnd *r)
{
	unsigned blocks = (n + BLOCK - 1) / BLOCK;
	double *place = malloc(blocks * sizeof(*place));

	if (place == NULL)
		abort(); /* a test program, with some hundreds of bytes */
	for (unsigned b = 0; b < blocks; b++)
		place[b] = sim_uniform(r);
	for (unsigned i = 0; i < n; i++)
		items[i].order = place[i / BLOCK];
	free(place);
	qsort(items, n, sizeof(*items), item_compare);
}

/* Every type's work takes the same time at its own best number; two kinds come one after the other. */
static unsigned
items_count(const struct sim_world *w, const struct sim_case *c, unsigned type)
{
	double slots = 0, n;

	for (unsigned i = 0; i < w->types[type].nphases; i++)
		slots = fmax(slots, w->pools[w->types[type].phases[i].pool].best);
	if (w->types[type].nphases == 1 && w->pools[w->types[type].phases[0].pool].linear)
		slots = 64;
	n = c->per_slot > 0 ? c->per_slot * slots : (double)c->tasks / w->ntypes;
	return n < 1 ? 1 : (unsigned)ceil(n - 1e-9);
}

static double
type_rate(const struct sim_world *w, unsigned type)
{
	const struct sim_pool *p = &w->pools[w->types[type].phases[0].pool];

	return p->x[p->best];
}

static int
world_tasks(struct sim_world *w, const struct sim_case *c, uint64_t seed)
{
	bool change = c->event == SIM_KIND || c->event == SIM_KEY;
	struct rnd r = sim_rnd(seed, 1);
	unsigned counts[SIM_TYPES], n = 0;
	struct item *items;

	for (unsigned t = 0; t < w->ntypes; t++) {
		/* All have as many tasks as the first: what one has more slots for is made longer. */
		counts[t] = w->ntypes > 1 && !change ? items_count(w, c, 0) : items_count(w, c, t);
		w->ntasks += counts[t];
	}
	items = calloc(w->ntasks, sizeof(*items));
	w->size = calloc(w->ntasks, sizeof(*w->size));
	w->type = calloc(w->ntasks, sizeof(*w->type));
	if (items == NULL || w->size == NULL || w->type == NULL) {
		free(items);
		return -ENOMEM;
	}
	for (unsigned t = 0; t < w->ntypes; t++) {
		double scale = w->ntypes > 1 && !change ? type_rate(w, t) / type_rate(w, 0) : 1;

		for (unsigned i = 0; i < counts[t]; i++, n++) {
			items[n].size = (float)(c->unit_s * scale * size_draw(&r, c->cv));
			items[n].type = (uint8_t)t;
			items[n].order = item_key(&items[n], c->order, w->ntypes > 1 && !change, &r);
			if (change)
				items[n].order = t + items[n].order * 1e-6;
		}
	}
	qsort(items, n, sizeof(*items), item_compare);
	if (c->order == SIM_BLOCKS)
		items_blocks(items, n, &r);
	for (unsigned i = 0; i < n; i++) {
		w->size[i] = items[i].size;
		w->type[i] = items[i].type;
	}
	free(items);
	return 0;
}

int
sim_world_new(const struct sim_case *c, uint64_t seed, struct sim_world **ret)
{
	const struct recipe *r = NULL;
	struct sim_world *w;

	for (size_t i = 0; i < sizeof(recipes) / sizeof(recipes[0]); i++) {
		if (strcmp(recipes[i].name, c->world) == 0)
			r = &recipes[i];
	}
	if (r == NULL)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	world_machine(w, r);
	world_parts(w, r, c);
	world_event(w, c->event);
	w->noise_frac = c->noise_frac;
	/* Of tasks that take an hour not every 50 ms need be followed. */
	w->noise_step_ns = (int64_t)(.05 * SIM_SECOND * fmax(1, c->unit_s / 20));
	if (world_tasks(w, c, seed) < 0) {
		sim_world_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void
sim_world_free(struct sim_world *w)
{
	if (w == NULL)
		return;
	free(w->size);
	free(w->type);
	free(w);
}

/* SPDX-License-Identifier: MIT */
#include "driver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define AHEAD 65536 /* inputs read ahead, as the product does */

/* ---- what waits ---------------------------------------------------------------- */

static int
grow(uint32_t **tasks, unsigned *cap, unsigned need)
{
	unsigned more = *cap > 0 ? *cap * 2 : 256;
	uint32_t *p;

	if (need <= *cap)
		return 0;
	p = realloc(*tasks, more * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	*tasks = p;
	*cap = more;
	return 0;
}

static int
fifo_push(struct sim_fifo *q, uint32_t task)
{
	if (q->head == q->len)
		q->head = q->len = 0;
	if (q->len == q->cap && q->head > q->cap / 2) {
		memmove(q->tasks, q->tasks + q->head, (q->len - q->head) * sizeof(*q->tasks));
		q->len -= q->head;
		q->head = 0;
	}
	if (grow(&q->tasks, &q->cap, q->len + 1) < 0)
		return -ENOMEM;
	q->tasks[q->len++] = task;
	return 0;
}

static int
fifo_again(struct sim_fifo *q, uint32_t task)
{
	unsigned i = q->nagain;

	if (grow(&q->again, &q->again_cap, q->nagain + 1) < 0)
		return -ENOMEM;
	for (; i > 0 && q->again[i - 1] > task; i--)
		q->again[i] = q->again[i - 1];
	q->again[i] = task;
	q->nagain++;
	return 0;
}

static unsigned
fifo_len(const struct sim_fifo *q)
{
	return q->len - q->head + q->nagain;
}

static bool
fifo_again_first(const struct sim_fifo *q)
{
	return q->nagain > 0 && (q->head == q->len || q->again[0] < q->tasks[q->head]);
}

/* Not empty. */
static uint32_t
fifo_head(const struct sim_fifo *q)
{
	return fifo_again_first(q) ? q->again[0] : q->tasks[q->head];
}

static void
fifo_pop(struct sim_fifo *q)
{
	if (fifo_again_first(q))
		memmove(q->again, q->again + 1, --q->nagain * sizeof(*q->again));
	else
		q->head++;
}

/* ---- the tuner, and what it is told ---------------------------------------------- */

/* Decisions are taken out after every call, so that a log has them in their place. */
static void
changes_take(struct sim_driver *d)
{
	struct kn_change c;

	while (kn_tuner_change(d->tuner, &c)) {
		d->changes++;
		sim_log_change(d->options->log, &c);
		if (d->options->print != NULL)
			sim_change_print(d->options->print, &c);
	}
}

static void
queue_tell(struct sim_driver *d, unsigned key)
{
	const struct sim_fifo *q = &d->queues[key];
	unsigned len = fifo_len(q);
	uint64_t head = len > 0 ? fifo_head(q) + 1 : UINT64_MAX;

	if (d->tuner == NULL)
		return;
	sim_log_queue(d->options->log, key, len, head);
	kn_tuner_queue(d->tuner, key, len, head);
}

/* Keys as they come up in the input, as the product learns of them. */
static unsigned
type_key(struct sim_driver *d, unsigned type)
{
	const struct sim_world *w = d->world;
	const struct sim_options *o = d->options;
	unsigned key;

	if (d->key[type] < KN_KEYS)
		return d->key[type];
	if (d->tuner == NULL) {
		key = o->fixed->total > 0 ? 0 : type;
	} else {
		key = kn_tuner_key(d->tuner, &w->types[type].name);
		sim_log_key(o->log, key, &w->types[type].name);
		if (o->recall != NULL && o->recall[type].known && d->running_all == 0) {
			sim_log_recall(o->log, key, &o->recall[type].prior);
			kn_tuner_recall(d->tuner, key, &o->recall[type].prior);
		}
		changes_take(d);
	}
	d->key[type] = key;
	if (key >= d->nqueues)
		d->nqueues = key + 1;
	return key;
}

int
sim_driver_init(struct sim_driver *d, const struct sim_world *w, const struct sim_options *o)
{
	int err = 0;

	*d = (struct sim_driver){ .world = w, .options = o };
	for (unsigned i = 0; i < SIM_TYPES; i++)
		d->key[i] = KN_KEYS;
	if (o->fixed == NULL) {
		sim_log_begin(o->log, &o->tuner, &w->machine);
		err = kn_tuner_new(&o->tuner, &w->machine, &d->tuner);
	}
	return err < 0 ? err : sim_driver_read(d);
}

void
sim_driver_done(struct sim_driver *d)
{
	for (unsigned i = 0; i < KN_KEYS; i++) {
		free(d->queues[i].tasks);
		free(d->queues[i].again);
	}
	kn_tuner_free(d->tuner);
	d->tuner = NULL;
}

int
sim_driver_read(struct sim_driver *d)
{
	bool grew[KN_KEYS] = { false };
	int err = 0;

	/* By many at a time: the tuner need not hear of each. */
	if (d->next == d->world->ntasks || d->waiting > AHEAD - 256)
		return 0;
	while (err == 0 && d->next < d->world->ntasks && d->waiting < AHEAD) {
		unsigned key = type_key(d, d->world->type[d->next]);

		err = fifo_push(&d->queues[key], d->next);
		if (err == 0) {
			d->next++;
			d->waiting++;
			grew[key] = true;
		}
	}
	for (unsigned i = 0; i < d->nqueues; i++) {
		if (grew[i])
			queue_tell(d, i);
	}
	return err;
}

/* The queue whose head stands first in the input, when it has room. */
static int
fixed_first(const struct sim_driver *d)
{
	int best = -1;

	for (unsigned i = 0; i < d->nqueues; i++) {
		if (fifo_len(&d->queues[i]) > 0 &&
		    (best < 0 || fifo_head(&d->queues[i]) < fifo_head(&d->queues[best])))
			best = (int)i;
	}
	return best >= 0 && d->running[best] < d->options->fixed->of[best] ? best : -1;
}

static int
fixed_pick(const struct sim_driver *d)
{
	const struct sim_fixed *f = d->options->fixed;
	double least = 1;
	int best = -1;

	if (f->total > 0)
		return d->running_all < f->total && fifo_len(&d->queues[0]) > 0 ? 0 : -1;
	if (f->in_order)
		return fixed_first(d);
	for (unsigned i = 0; i < d->nqueues; i++) {
		double full = (double)d->running[i] / f->of[i];

		if (full < least && fifo_len(&d->queues[i]) > 0) {
			least = full;
			best = (int)i;
		}
	}
	return best;
}

bool
sim_driver_next(struct sim_driver *d, int64_t now_ns, uint32_t *ret)
{
	int key;

	if (d->waiting == 0)
		return false;
	key = d->tuner != NULL ? kn_tuner_pick(d->tuner, now_ns) : fixed_pick(d);
	if (key < 0)
		return false;
	*ret = fifo_head(&d->queues[key]);
	return true;
}

/* task was started: whose tasks stand before it and still wait, with none running? */
static void
starving_count(struct sim_driver *d, uint32_t task)
{
	for (unsigned i = 0; i < d->nqueues; i++) {
		if (d->running[i] > 0 || fifo_len(&d->queues[i]) == 0)
			d->skipped[i] = 0;
		else if (fifo_head(&d->queues[i]) < task && ++d->skipped[i] > d->skipped_most)
			d->skipped_most = d->skipped[i];
	}
}

/* The class in which one more runs now has to have had room for it. (Not the sum of all: a class whose
 * limit came down may still run more.) */
static void
started_check(struct sim_driver *d, unsigned key, int64_t now_ns)
{
	unsigned before[KN_CLASSES] = { 0 }, n = kn_tuner_nclasses(d->tuner);
	struct knee_work work;

	for (unsigned c = 0; c < n; c++) {
		kn_tuner_work(d->tuner, c, &work);
		before[c] = work.running;
	}
	kn_tuner_started(d->tuner, key, now_ns);
	for (unsigned c = 0; c < kn_tuner_nclasses(d->tuner); c++) {
		kn_tuner_work(d->tuner, c, &work);
		if (work.running > before[c] && work.running > work.limit &&
		    d->running_all > d->options->tuner.least)
			d->overrun = true;
	}
}

void
sim_driver_started(struct sim_driver *d, uint32_t task, int64_t now_ns)
{
	unsigned key = d->key[d->world->type[task]];

	fifo_pop(&d->queues[key]);
	d->waiting--;
	d->running[key]++;
	d->running_all++;
	if (d->nqueues > 1)
		starving_count(d, task);
	if (d->tuner == NULL)
		return;
	queue_tell(d, key);
	sim_log_started(d->options->log, key, now_ns);
	if (d->options->check)
		started_check(d, key, now_ns);
	else
		kn_tuner_started(d->tuner, key, now_ns);
	changes_take(d);
}

int64_t
sim_driver_refused(struct sim_driver *d, int64_t now_ns)
{
	int64_t until;

	if (d->tuner == NULL)
		return now_ns + 50000000;
	sim_log_refused(d->options->log, -EAGAIN, now_ns);
	until = kn_tuner_refused(d->tuner, -EAGAIN, now_ns);
	changes_take(d);
	return until;
}

void
sim_driver_ended(struct sim_driver *d, uint32_t task, const struct kn_end *end)
{
	unsigned key = d->key[d->world->type[task]];

	d->running[key]--;
	d->running_all--;
	if (d->tuner == NULL)
		return;
	sim_log_ended(d->options->log, key, end);
	kn_tuner_ended(d->tuner, key, end);
	changes_take(d);
}

int
sim_driver_again(struct sim_driver *d, uint32_t task)
{
	unsigned key = d->key[d->world->type[task]];
	int err = fifo_again(&d->queues[key], task);

	if (err == 0) {
		d->waiting++;
		queue_tell(d, key);
	}
	return err;
}

int64_t
sim_driver_due_ns(const struct sim_driver *d)
{
	return d->tuner != NULL ? kn_tuner_due_ns(d->tuner) : INT64_MAX;
}

unsigned
sim_driver_looks(const struct sim_driver *d)
{
	return d->tuner != NULL ? kn_tuner_looks(d->tuner) : 0;
}

void
sim_driver_alive(struct sim_driver *d, uint32_t task, int64_t started_ns)
{
	unsigned key = d->key[d->world->type[task]];

	sim_log_alive(d->options->log, key, started_ns);
	kn_tuner_alive(d->tuner, key, started_ns);
}

void
sim_driver_progress(struct sim_driver *d, uint32_t task, int64_t started_ns, const struct kn_usage *delta,
    const struct kn_usage *total)
{
	unsigned key = d->key[d->world->type[task]];

	sim_log_progress(d->options->log, key, started_ns, delta, total);
	kn_tuner_progress(d->tuner, key, started_ns, delta, total);
}

enum kn_act
sim_driver_sample(struct sim_driver *d, int64_t now_ns, uint64_t backing_off, const struct kn_vitals *v)
{
	const struct kn_sample s = {
		.now_ns = now_ns,
		.left = d->waiting + backing_off,
		.left_known = d->next == d->world->ntasks,
		.vitals = v,
	};
	enum kn_act act;

	sim_log_sample(d->options->log, &s);
	kn_tuner_sample(d->tuner, &s);
	act = kn_tuner_act(d->tuner);
	changes_take(d);
	return act;
}

void
sim_driver_suspended(struct sim_driver *d, unsigned suspended)
{
	sim_log_suspended(d->options->log, suspended);
	kn_tuner_suspended(d->tuner, suspended);
	changes_take(d);
}

void
sim_driver_learnt(const struct sim_driver *d, struct sim_prior ret[SIM_TYPES])
{
	for (unsigned i = 0; i < d->world->ntypes; i++)
		ret[i].known = d->tuner != NULL && d->key[i] < KN_KEYS &&
		    kn_tuner_learnt(d->tuner, d->key[i], &ret[i].prior);
}

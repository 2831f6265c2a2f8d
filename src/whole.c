/* SPDX-License-Identifier: MIT */
#include "whole.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/call.h"
#include "sys/machine.h"

/* With KNEE_PLUGIN_ASSOCIATIVE so many neighbours of a level become one of the next. */
#define FAN 32
/* No more starts while so many bytes, or parts, wait. */
#define WAITING_BYTES ((size_t)64 << 20)
#define WAITING_PARTS ((size_t)1 << 20)

#define THREADS_MOST 64

/* The sum of the inputs first..last. */
struct segment {
	struct kn_parcel done; /* first: posted when its job is; BEGIN is its kind */
	struct segment *prev, *next;
	uint64_t first, last;
	unsigned level;
	struct knee_bytes bytes; /* owned; size 0: nothing */
	size_t counted;          /* of them, in waiting_bytes */
	bool busy;               /* of a job: the thread's */
	/* A job, of its first segment: fold the chain into it. */
	struct segment *chain; /* owned, by next alone */
	struct segment *next_job;
	int err; /* of the job */
};

enum stage { PARTS, REST, CLOSING, CLOSED };

struct kn_whole {
	const struct knee_plugin *plugin; /* borrowed */
	void *state;
	struct kn_whole_host host;
	struct kn_desk desk; /* its lock guards what is said to be */
	pthread_cond_t work;
	pthread_t threads[THREADS_MOST];
	unsigned nthreads, most;
	unsigned idle;                    /* under the lock */
	bool quit;                        /* under the lock */
	struct segment *jobs, **jobs_end; /* under the lock */
	bool close_now;                   /* under the lock */

	struct segment *head, *tail; /* owned, rising */
	unsigned running;            /* jobs that are queued or at work */
	size_t waiting_bytes, waiting_parts;
	enum stage stage;
	struct kn_call call; /* of close() */
	struct kn_parcel *held, **held_end;
	struct segment *rest; /* what close() prints; NULL: nothing came */
	int status;
	int err;
};

/* ---- threads -------------------------------------------------------------------- */

static void
job_run(struct kn_whole *w, struct segment *s)
{
	struct segment *part;

	for (part = s->chain; part != NULL && s->err == 0; part = part->next)
		s->err = w->plugin->combine(w->state, &s->bytes, &part->bytes);
	kn_mailbox_post(&w->desk.mailbox, &s->done.letter);
}

static void
close_run(struct kn_whole *w)
{
	static const struct knee_bytes nothing;
	const struct knee_bytes *whole = w->rest != NULL ? &w->rest->bytes : &nothing;

	w->status = w->plugin->close(w->state, whole, &w->call.face);
	kn_call_end(&w->call);
}

static void *
thread_main(void *self)
{
	struct kn_whole *w = self;
	struct segment *s;
	bool last;

	(void)pthread_mutex_lock(&w->desk.lock);
	while (!w->quit) {
		s = w->jobs;
		last = w->close_now;
		if (s == NULL && !last) {
			w->idle++;
			(void)pthread_cond_wait(&w->work, &w->desk.lock);
			w->idle--;
			continue;
		}
		if (s != NULL) {
			w->jobs = s->next_job;
			if (w->jobs == NULL)
				w->jobs_end = &w->jobs;
		} else {
			w->close_now = false;
		}
		(void)pthread_mutex_unlock(&w->desk.lock);
		if (s != NULL)
			job_run(w, s);
		else
			close_run(w);
		(void)pthread_mutex_lock(&w->desk.lock);
	}
	(void)pthread_mutex_unlock(&w->desk.lock);
	return NULL;
}

/* Someone is to do what was queued: wake a thread, or make one. Under the lock. */
static void
work_call(struct kn_whole *w)
{
	int err;

	if (w->idle == 0 && w->nthreads < w->most) {
		err = kn_thread_create(&w->threads[w->nthreads], thread_main, w);
		if (err == 0)
			w->nthreads++;
		else if (w->nthreads == 0)
			w->err = err;
	}
	(void)pthread_cond_signal(&w->work);
}

static void
threads_join(struct kn_whole *w)
{
	(void)pthread_mutex_lock(&w->desk.lock);
	w->quit = true;
	(void)pthread_cond_broadcast(&w->work);
	(void)pthread_mutex_unlock(&w->desk.lock);
	for (unsigned i = 0; i < w->nthreads; i++)
		(void)pthread_join(w->threads[i], NULL);
	w->nthreads = 0;
}

/* ---- segments --------------------------------------------------------------------- */

static void
segment_free(struct kn_whole *w, struct segment *s)
{
	w->waiting_parts--;
	w->waiting_bytes -= s->counted;
	free(s->bytes.data);
	free(s);
}

/* Behind the last one that comes before it; most come at or near the end. */
static void
segment_link(struct kn_whole *w, struct segment *s)
{
	struct segment *before = w->tail;

	while (before != NULL && before->first > s->first)
		before = before->prev;
	s->prev = before;
	s->next = before != NULL ? before->next : w->head;
	*(s->prev != NULL ? &s->prev->next : &w->head) = s;
	*(s->next != NULL ? &s->next->prev : &w->tail) = s;
}

/* May b be put behind a without anything in between? In the end gaps do not count. */
static bool
neighbours(const struct kn_whole *w, const struct segment *a, const struct segment *b)
{
	return !a->busy && !b->busy && (a->last + 1 == b->first || w->stage != PARTS);
}

/* Put what follows a behind it where one of the two is nothing: no function is needed. */
static bool
segment_absorb(struct kn_whole *w, struct segment *a)
{
	struct segment *b = a->next;

	if (b == NULL || !neighbours(w, a, b) || (a->bytes.size > 0 && b->bytes.size > 0))
		return false;
	a->last = b->last;
	if (a->bytes.size == 0) {
		a->level = b->level;
		free(a->bytes.data);
		a->bytes = b->bytes;
		a->counted = b->counted;
		b->bytes = (struct knee_bytes){ 0 };
		b->counted = 0;
	}
	a->next = b->next;
	if (a->next != NULL)
		a->next->prev = a;
	else
		w->tail = a;
	segment_free(w, b);
	return true;
}

/* Fold the n segments from s on into s, on a thread. */
static void
job_start(struct kn_whole *w, struct segment *s, size_t n)
{
	struct segment *last = s->next;

	s->busy = true;
	s->chain = s->next;
	for (size_t i = 2; i < n; i++)
		last = last->next;
	s->last = last->last;
	s->next = last->next;
	*(s->next != NULL ? &s->next->prev : &w->tail) = s;
	last->next = NULL;
	s->done = (struct kn_parcel){ .kind = KN_PARCEL_BEGIN };
	s->next_job = NULL;
	w->running++;
	(void)pthread_mutex_lock(&w->desk.lock);
	*w->jobs_end = s;
	w->jobs_end = &s->next_job;
	work_call(w);
	(void)pthread_mutex_unlock(&w->desk.lock);
}

/* Without associativity: what follows the first input's segment. */
static void
fold_first(struct kn_whole *w)
{
	size_t n = 1;

	if (w->running > 0 || w->head == NULL || (w->head->first != 1 && w->stage == PARTS))
		return;
	for (struct segment *s = w->head; s->next != NULL && neighbours(w, s, s->next); s = s->next)
		n++;
	if (n > 1)
		job_start(w, w->head, n);
}

/* With it: a run of FAN neighbours of one level around s; in the end any. */
static void
fold_around(struct kn_whole *w, struct segment *s)
{
	struct segment *from = s, *to = s;
	size_t n = 1;

	if (s->busy)
		return;
	while (n < FAN && from->prev != NULL && neighbours(w, from->prev, from) &&
	    (w->stage != PARTS || from->prev->level == s->level)) {
		from = from->prev;
		n++;
	}
	while (n < FAN && to->next != NULL && neighbours(w, to, to->next) &&
	    (w->stage != PARTS || to->next->level == s->level)) {
		to = to->next;
		n++;
	}
	if (n == FAN || (w->stage != PARTS && n > 1))
		job_start(w, from, n);
}

static void
fold(struct kn_whole *w, struct segment *s)
{
	if (w->plugin->flags & KNEE_PLUGIN_ASSOCIATIVE)
		fold_around(w, s);
	else
		fold_first(w);
}

/* s is new, or free again. Afterwards no two free neighbours are left of which one is nothing. */
static void
segment_settle(struct kn_whole *w, struct segment *s)
{
	struct segment *prev = s->prev;

	while (segment_absorb(w, s))
		;
	fold(w, prev != NULL && segment_absorb(w, prev) ? prev : s);
}

int
kn_whole_put(struct kn_whole *w, uint64_t seq, const void *part, size_t size)
{
	struct segment *s;

	if (w == NULL || w->plugin->combine == NULL)
		return 0;
	/* Most tasks of many a plugin hand in nothing. */
	if (size == 0 && w->tail != NULL && w->tail->last + 1 == seq && !w->tail->busy) {
		w->tail->last = seq;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->first = s->last = seq;
	if (size > 0) {
		s->bytes.data = malloc(size);
		if (s->bytes.data == NULL) {
			free(s);
			return -ENOMEM;
		}
		memcpy(s->bytes.data, part, size);
		s->bytes.size = s->counted = size;
	}
	w->waiting_parts++;
	w->waiting_bytes += size;
	segment_link(w, s);
	segment_settle(w, s);
	return 0;
}

/* A job is done: what was folded is gone. */
static void
job_done(struct kn_whole *w, struct segment *s)
{
	struct segment *part;

	w->running--;
	while ((part = s->chain) != NULL) {
		s->chain = part->next;
		segment_free(w, part);
	}
	w->waiting_bytes += s->bytes.size - s->counted;
	s->counted = s->bytes.size;
	if (s->err < 0 && w->err == 0)
		w->err = s->err;
	s->busy = false;
	s->level++;
	segment_settle(w, s);
}

/* ---- the end ------------------------------------------------------------------------ */

/* Put together what is left, whatever is missing in between; then close(). */
static void
rest_fold(struct kn_whole *w)
{
	struct segment *s;

	for (s = w->head; s != NULL; s = s->next)
		while (segment_absorb(w, s))
			;
	for (s = w->head; s != NULL; s = s->next)
		fold(w, s);
	if (w->running > 0)
		return;
	assert(w->head == w->tail);
	w->rest = w->head != NULL && w->head->bytes.size > 0 ? w->head : NULL;
	if (w->plugin->close == NULL) {
		w->stage = CLOSED;
		return;
	}
	w->stage = CLOSING;
	kn_call_init(&w->call, &w->desk, 0, 1, &(struct knee_input){ 0 });
	(void)pthread_mutex_lock(&w->desk.lock);
	w->close_now = true;
	work_call(w);
	(void)pthread_mutex_unlock(&w->desk.lock);
}

void
kn_whole_finish(struct kn_whole *w)
{
	if (w == NULL || w->stage != PARTS)
		return;
	w->stage = REST;
	rest_fold(w);
}

bool
kn_whole_finished(const struct kn_whole *w)
{
	return w == NULL || w->stage == CLOSED;
}

int
kn_whole_status(const struct kn_whole *w)
{
	return w != NULL && w->stage == CLOSED ? w->status : 0;
}

bool
kn_whole_full(const struct kn_whole *w)
{
	return w != NULL && w->running > 0 &&
	    (w->waiting_bytes > WAITING_BYTES || w->waiting_parts > WAITING_PARTS);
}

/* ---- a turn -------------------------------------------------------------------------- */

static void
parcel_come(struct kn_whole *w, struct kn_parcel *p)
{
	switch (p->kind) {
	case KN_PARCEL_BEGIN:
		job_done(w, (struct segment *)(void *)p);
		break;
	case KN_PARCEL_OUTPUT:
	case KN_PARCEL_END:
		p->next = NULL;
		*w->held_end = p;
		w->held_end = &p->next;
		break;
	}
}

int
kn_whole_turn(struct kn_whole *w, bool paused, int64_t *next_ns)
{
	struct kn_letter *l, *next;
	struct kn_parcel *p;

	*next_ns = INT64_MAX;
	if (w == NULL)
		return 0;
	for (l = kn_mailbox_take(&w->desk.mailbox); l != NULL; l = next) {
		next = l->next;
		parcel_come(w, (struct kn_parcel *)(void *)l);
	}
	while (!paused && (p = w->held) != NULL) {
		w->held = p->next;
		if (w->held == NULL)
			w->held_end = &w->held;
		if (p->kind == KN_PARCEL_OUTPUT) {
			kn_parcel_read(p, w->host.output, w->host.self);
			continue;
		}
		kn_call_read(&w->call, w->host.output, w->host.self);
		w->stage = CLOSED;
	}
	if (w->stage == REST && w->err == 0)
		rest_fold(w);
	if (!kn_mailbox_doze(&w->desk.mailbox))
		*next_ns = 0;
	return w->err;
}

/* ---- beginning and end ------------------------------------------------------------------ */

int
kn_whole_new(const struct knee_options *o, struct kn_loop *loop, const struct kn_whole_host *host,
    struct kn_whole **ret, char *err, size_t errsize)
{
	const struct knee_plugin *plugin = o->plugin;
	struct kn_whole *w = calloc(1, sizeof(*w));
	unsigned cores = kn_machine_cores();
	int e;

	if (w == NULL)
		return -ENOMEM;
	w->plugin = plugin;
	w->host = *host;
	w->jobs_end = &w->jobs;
	w->held_end = &w->held;
	w->most = (plugin->flags & KNEE_PLUGIN_ASSOCIATIVE) == 0 ? 1 :
	    cores < THREADS_MOST                                 ? cores :
								   THREADS_MOST;
	e = -pthread_cond_init(&w->work, NULL);
	if (e < 0) {
		free(w);
		return e;
	}
	e = kn_desk_init(&w->desk, loop);
	if (e == 0 && plugin->open != NULL) {
		e = plugin->open(&w->state, o->plugin_argc, o->plugin_argv, err, errsize);
		if (e < 0 && err[0] == '\0')
			(void)snprintf(err, errsize, "%s: cannot be opened: %s",
			    plugin->name != NULL ? plugin->name : "the plugin", strerror(-e));
	}
	if (e < 0) {
		kn_desk_done(&w->desk);
		(void)pthread_cond_destroy(&w->work);
		free(w);
		return e;
	}
	*ret = w;
	return 0;
}

void *
kn_whole_state(const struct kn_whole *w)
{
	return w != NULL ? w->state : NULL;
}

static void
parcel_drop(struct kn_parcel *p)
{
	if (p->kind == KN_PARCEL_OUTPUT)
		kn_parcel_free(p);
}

void
kn_whole_free(struct kn_whole *w, bool lost)
{
	struct kn_letter *l, *next;
	struct segment *s, *s_next, *part, *part_next;

	if (w == NULL)
		return;
	/* Who waits for room in close() waits no longer. */
	if (w->stage == CLOSING)
		kn_call_cancel(&w->call);
	threads_join(w);
	if (w->stage < CLOSING && w->plugin->close != NULL && !lost) {
		kn_call_init(&w->call, &w->desk, 0, 1, &(struct knee_input){ 0 });
		kn_call_cancel(&w->call);
		(void)w->plugin->close(w->state, NULL, &w->call.face);
	}
	for (l = kn_mailbox_take(&w->desk.mailbox); l != NULL; l = next) {
		next = l->next;
		parcel_drop((struct kn_parcel *)(void *)l);
	}
	while ((l = (struct kn_letter *)(void *)w->held) != NULL) {
		w->held = w->held->next;
		parcel_drop((struct kn_parcel *)(void *)l);
	}
	for (s = w->head; s != NULL; s = s_next) {
		s_next = s->next;
		for (part = s->chain; part != NULL; part = part_next) {
			part_next = part->next;
			segment_free(w, part);
		}
		segment_free(w, s);
	}
	kn_call_done(&w->call);
	kn_desk_done(&w->desk);
	(void)pthread_cond_destroy(&w->work);
	free(w);
}

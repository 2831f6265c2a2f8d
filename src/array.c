/* SPDX-License-Identifier: MIT */
/* knee_map and knee_reduce: what is done with arrays, by knee_for. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <knee.h>

/* Of partial sums there are no more than this: see pieces(). */
#define PIECES_FEW 64
#define PIECES_MOST 1024

/* ---- map --------------------------------------------------------------------------- */

struct map {
	const struct knee_array *in, *out;
	int (*f)(void *self, const void *item, void *ret);
	void *self;
};

static const void *
item(const struct knee_array *a, size_t i)
{
	return (const char *)a->items + i * a->item_bytes;
}

static int
map_item(void *self, size_t i)
{
	const struct map *m = self;

	return m->f(m->self, item(m->in, i), (char *)m->out->items + i * m->out->item_bytes);
}

int
knee_map(const struct knee_array *in, const struct knee_array *out,
    int (*f)(void *self, const void *item, void *ret), void *self, const struct knee_threads *how)
{
	struct map m = { .in = in, .out = out, .f = f, .self = self };

	if (in->count != out->count)
		return -EINVAL;
	return knee_for(in->count, map_item, &m, how);
}

/* ---- reduce ------------------------------------------------------------------------ */

/* The parts are put behind the whole in their order, as soon as it is their turn, so that few lie in
 * memory. Under the lock: done, turn and joining; who sets joining owns the whole. */
struct reduce {
	const struct knee_array *in;
	const struct knee_fold *fold;
	void *self;
	void *whole;   /* borrowed */
	void *neutral; /* owned: a copy of what it was */
	size_t npieces;
	pthread_mutex_t lock;
	void **parts; /* owned; NULL: not done, or put behind the whole already */
	size_t turn;
	bool joining;
	int value; /* of combine, when it failed */
};

/* So many pieces an array is cut into: this depends on its length alone. Each item is one of its own while
 * they are few, since they may be long; there are never more than 1024. */
static size_t
pieces(size_t count)
{
	size_t n = PIECES_FEW + count / 16;

	if (n > PIECES_MOST)
		n = PIECES_MOST;
	return count < n ? count : n;
}

/* The first item of piece n: the first ones are longer by one where it does not come out even. */
static size_t
piece_begin(const struct reduce *r, size_t n)
{
	size_t even = r->in->count / r->npieces, longer = r->in->count % r->npieces;

	return n * even + (n < longer ? n : longer);
}

/* Put the parts whose turn it is behind the whole, unless somebody is at it. */
static int
parts_join(struct reduce *r)
{
	int value;

	pthread_mutex_lock(&r->lock);
	while (!r->joining && r->value == 0 && r->turn < r->npieces && r->parts[r->turn] != NULL) {
		void *part = r->parts[r->turn];

		r->parts[r->turn] = NULL;
		r->joining = true;
		pthread_mutex_unlock(&r->lock);
		value = r->fold->combine(r->self, r->whole, part);
		free(part);
		pthread_mutex_lock(&r->lock);
		r->joining = false;
		r->value = value;
		r->turn++;
	}
	value = r->value;
	pthread_mutex_unlock(&r->lock);
	return value;
}

static int
piece_fold(void *self, size_t n)
{
	struct reduce *r = self;
	size_t bytes = r->fold->whole_bytes, end = piece_begin(r, n + 1);
	void *part = malloc(bytes > 0 ? bytes : 1);
	int value = 0;

	if (part == NULL)
		return -ENOMEM;
	memcpy(part, r->neutral, bytes);
	for (size_t i = piece_begin(r, n); i < end && value == 0; i++)
		value = r->fold->step(r->self, part, item(r->in, i));
	if (value != 0) {
		free(part);
		return value;
	}
	pthread_mutex_lock(&r->lock);
	r->parts[n] = part;
	pthread_mutex_unlock(&r->lock);
	return parts_join(r);
}

int
knee_reduce(const struct knee_array *in, void *whole, const struct knee_fold *fold, void *self,
    const struct knee_threads *how)
{
	struct reduce r = {
		.in = in,
		.fold = fold,
		.self = self,
		.whole = whole,
		.npieces = pieces(in->count),
	};
	int err = -ENOMEM;

	if (in->count == 0)
		return 0;
	r.neutral = malloc(fold->whole_bytes > 0 ? fold->whole_bytes : 1);
	r.parts = calloc(r.npieces, sizeof(*r.parts));
	if (r.neutral == NULL || r.parts == NULL)
		goto free_parts;
	memcpy(r.neutral, whole, fold->whole_bytes);
	(void)pthread_mutex_init(&r.lock, NULL);
	err = knee_for(r.npieces, piece_fold, &r, how);
	(void)pthread_mutex_destroy(&r.lock);
	for (size_t i = r.turn; i < r.npieces; i++)
		free(r.parts[i]);
	/* Of parts before the first that failed: so it came first. */
	if (r.value != 0)
		err = r.value;
free_parts:
	free(r.parts);
	free(r.neutral);
	return err;
}

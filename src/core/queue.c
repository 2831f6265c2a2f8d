/* SPDX-License-Identifier: MIT */
/*
 * A chunk holds records back to back, in this machine's byte order, none of them aligned:
 *
 *	bytes 0-7   seq
 *	bytes 8-11  number of arguments; the highest bit: the caller's pointer follows
 *	then        that
 *	then        the arguments, a NUL after each
 *
 * A record lies in one chunk; one that is longer than a chunk gets a longer one for itself.
 * Invariant: no chunk in a key's list is empty. The one that was emptied last is kept, so that
 * reading one and starting one by turns allocates nothing.
 */
#include "queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Many keys with a few inputs each should not hold much; many inputs should be few chunks. */
#define CHUNK_BYTES 16384
#define HEAD_BYTES (sizeof(uint64_t) + sizeof(uint32_t))
#define HAS_DATA ((uint32_t)1 << 31)
#define FEW_ARGS 16

struct kn_queue_chunk {
	struct kn_queue_chunk *next;
	size_t cap, begin, end; /* records are in data[begin, end) */
	char data[];
};

/* ---- chunks ----------------------------------------------------------------- */

/* A chunk with room for so many bytes, empty; NULL: no memory. */
static struct kn_queue_chunk *
chunk_get(struct kn_queue *q, size_t need)
{
	size_t cap = CHUNK_BYTES - sizeof(struct kn_queue_chunk);
	struct kn_queue_chunk *c = q->spare;

	if (need <= cap && c != NULL) {
		q->spare = NULL;
	} else {
		if (need > cap)
			cap = need;
		if (cap > SIZE_MAX - sizeof(*c))
			return NULL;
		c = malloc(sizeof(*c) + cap);
		if (c == NULL)
			return NULL;
		c->cap = cap;
		q->bytes += sizeof(*c) + cap;
	}
	c->next = NULL;
	c->begin = c->end = 0;
	return c;
}

static void
chunk_put(struct kn_queue *q, struct kn_queue_chunk *c)
{
	if (q->spare == NULL && sizeof(*c) + c->cap == CHUNK_BYTES) {
		q->spare = c;
		return;
	}
	q->bytes -= sizeof(*c) + c->cap;
	free(c);
}

void
kn_queue_done(struct kn_queue *q)
{
	struct kn_queue_chunk *c;

	for (unsigned key = 0; key < KN_QUEUE_KEYS; key++)
		while ((c = q->keys[key].first) != NULL) {
			q->keys[key].first = c->next;
			free(c);
		}
	free(q->spare);
	*q = (struct kn_queue){ 0 };
}

/* ---- records ---------------------------------------------------------------- */

/* Bytes of the record; 0: more than can be. */
static size_t
record_bytes(const struct knee_input *input)
{
	size_t size = HEAD_BYTES + (input->data != NULL ? sizeof(input->data) : 0);

	if (input->nargs >= HAS_DATA)
		return 0;
	for (size_t i = 0; i < input->nargs; i++)
		size += strlen(input->args[i]) + 1;
	return size;
}

static void
record_write(char *to, uint64_t seq, const struct knee_input *input)
{
	uint32_t count = (uint32_t)input->nargs | (input->data != NULL ? HAS_DATA : 0);

	memcpy(to, &seq, sizeof(seq));
	memcpy(to + sizeof(seq), &count, sizeof(count));
	to += HEAD_BYTES;
	if (input->data != NULL) {
		memcpy(to, &input->data, sizeof(input->data));
		to += sizeof(input->data);
	}
	for (size_t i = 0; i < input->nargs; i++) {
		size_t len = strlen(input->args[i]) + 1;

		memcpy(to, input->args[i], len);
		to += len;
	}
}

static uint64_t
record_seq(const char *from)
{
	uint64_t seq;

	memcpy(&seq, from, sizeof(seq));
	return seq;
}

/* The rest of the head; where the arguments begin. */
static const char *
record_head(const char *from, size_t *ret_nargs, void **ret_data)
{
	uint32_t count;

	memcpy(&count, from + sizeof(uint64_t), sizeof(count));
	from += HEAD_BYTES;
	*ret_nargs = count & ~HAS_DATA;
	*ret_data = NULL;
	if (*ret_nargs == count)
		return from;
	memcpy(ret_data, from, sizeof(*ret_data));
	return from + sizeof(*ret_data);
}

/* Where the record ends that begins here. */
static const char *
record_end(const char *from)
{
	size_t nargs;
	void *data;

	for (from = record_head(from, &nargs, &data); nargs > 0; nargs--)
		from += strlen(from) + 1;
	return from;
}

/* A task made of the record that begins here; NULL: no memory. */
static struct kn_task *
record_task(const char *record, unsigned key, size_t exec_bytes)
{
	const char *few[FEW_ARGS], **args = few, *at;
	struct kn_task *t;
	size_t nargs;
	void *data;

	at = record_head(record, &nargs, &data);
	if (nargs > FEW_ARGS) {
		args = malloc(nargs * sizeof(*args));
		if (args == NULL)
			return NULL;
	}
	for (size_t i = 0; i < nargs; i++, at += strlen(at) + 1)
		args[i] = at;
	t = kn_task_new(record_seq(record),
	    &(struct knee_input){ .args = args, .nargs = nargs, .data = data }, exec_bytes);
	if (args != few)
		free(args);
	if (t != NULL)
		t->key = key;
	return t;
}

/* Forget the first record of this key, whose arguments end at `end`. */
static void
record_drop(struct kn_queue *q, unsigned key, const char *end)
{
	struct kn_queue_chunk *c = q->keys[key].first;

	c->begin = (size_t)(end - c->data);
	q->keys[key].len--;
	q->len--;
	if (c->begin < c->end)
		return;
	q->keys[key].first = c->next;
	if (c->next == NULL)
		q->keys[key].last = NULL;
	chunk_put(q, c);
}

/* ---- the queue -------------------------------------------------------------- */

int
kn_queue_push(struct kn_queue *q, unsigned key, uint64_t seq, const struct knee_input *input)
{
	struct kn_queue_chunk *c = q->keys[key].last;
	size_t size = record_bytes(input);

	assert(key < KN_QUEUE_KEYS);
	if (size == 0)
		return -ENOMEM;
	if (c == NULL || c->cap - c->end < size) {
		c = chunk_get(q, size);
		if (c == NULL)
			return -ENOMEM;
		if (q->keys[key].last != NULL)
			q->keys[key].last->next = c;
		else
			q->keys[key].first = c;
		q->keys[key].last = c;
	}
	record_write(c->data + c->end, seq, input);
	c->end += size;
	q->keys[key].len++;
	q->len++;
	return 0;
}

uint64_t
kn_queue_head(const struct kn_queue *q, unsigned key)
{
	const struct kn_queue_chunk *c = q->keys[key].first;

	return c != NULL ? record_seq(c->data + c->begin) : UINT64_MAX;
}

int
kn_queue_pop(struct kn_queue *q, unsigned key, size_t exec_bytes, struct kn_task **ret)
{
	const struct kn_queue_chunk *c = q->keys[key].first;
	struct kn_task *t;

	if (c == NULL) {
		*ret = NULL;
		return 0;
	}
	t = record_task(c->data + c->begin, key, exec_bytes);
	if (t == NULL)
		return -ENOMEM;
	record_drop(q, key, record_end(c->data + c->begin));
	*ret = t;
	return 0;
}

/* Forget the record at `at` in c, which comes behind prev (NULL: is the first) in the list of key. */
static void
record_cut(struct kn_queue *q, unsigned key, struct kn_queue_chunk *prev, struct kn_queue_chunk *c, char *at)
{
	const char *end = record_end(at);
	size_t size = (size_t)(end - at);

	memmove(at, end, (size_t)(c->data + c->end - end));
	c->end -= size;
	q->keys[key].len--;
	q->len--;
	if (c->begin < c->end)
		return;
	if (prev != NULL)
		prev->next = c->next;
	else
		q->keys[key].first = c->next;
	if (c->next == NULL)
		q->keys[key].last = prev;
	chunk_put(q, c);
}

/* The same for one key; 1 when it was there. */
static int
take_of(struct kn_queue *q, unsigned key, uint64_t seq, size_t exec_bytes, struct kn_task **ret)
{
	struct kn_queue_chunk *prev = NULL;

	for (struct kn_queue_chunk *c = q->keys[key].first; c != NULL; prev = c, c = c->next) {
		for (const char *at = c->data + c->begin; at < c->data + c->end; at = record_end(at)) {
			if (record_seq(at) != seq)
				continue;
			*ret = record_task(at, key, exec_bytes);
			if (*ret == NULL)
				return -ENOMEM;
			record_cut(q, key, prev, c, c->data + (at - c->data));
			return 1;
		}
	}
	return 0;
}

int
kn_queue_take(struct kn_queue *q, uint64_t seq, size_t exec_bytes, struct kn_task **ret)
{
	int n = 0;

	*ret = NULL;
	for (unsigned key = 0; key < KN_QUEUE_KEYS && n == 0; key++)
		if (kn_queue_head(q, key) <= seq)
			n = take_of(q, key, seq, exec_bytes, ret);
	return n < 0 ? n : 0;
}

uint64_t
kn_queue_drop(struct kn_queue *q)
{
	const struct kn_queue_chunk *c;
	uint64_t seq, lowest = UINT64_MAX;
	unsigned from = 0;

	for (unsigned key = 0; key < KN_QUEUE_KEYS; key++) {
		seq = kn_queue_head(q, key);
		if (seq < lowest) {
			lowest = seq;
			from = key;
		}
	}
	if (lowest == UINT64_MAX)
		return 0;
	c = q->keys[from].first;
	record_drop(q, from, record_end(c->data + c->begin));
	return lowest;
}

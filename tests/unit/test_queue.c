/* SPDX-License-Identifier: MIT */
/* The queue of inputs that wait: against a plain model, within its memory, and when there is none. */
#include "queue.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "alloc.h"
#include "random.h"
#include "tap.h"

static int
push(struct kn_queue *q, unsigned key, uint64_t seq, const char *text)
{
	return kn_queue_push(q, key, seq, &(struct knee_input){ .args = &text, .nargs = 1 });
}

static void
test_one(void)
{
	const char *args[] = { "a b", "", "\xff\n", "last" };
	struct kn_queue q = { 0 };
	struct kn_task *t = (struct kn_task *)&q;

	is_int(kn_queue_pop(&q, 3, 0, &t), 0, "an empty queue can be asked");
	ok(t == NULL, "and gives nothing");
	is_int(kn_queue_drop(&q), 0, "nor is there anything to drop");
	ok(kn_queue_head(&q, 3) == UINT64_MAX, "nor a head");
	kn_queue_done(&q);

	is_int(kn_queue_push(&q, 3, 7, &(struct knee_input){ .args = args, .nargs = 4, .data = args }), 0,
	    "four arguments");
	is_int(kn_queue_push(&q, 63, 8, &(struct knee_input){ .args = NULL, .nargs = 0 }), 0,
	    "none, of the last key");
	is_int(q.len, 2, "both are counted");
	is_int(q.keys[3].len, 1, "each with its key");
	is_int(kn_queue_head(&q, 3), 7, "the head of one key");
	is_int(kn_queue_head(&q, 63), 8, "and of the other");
	is_int(kn_queue_pop(&q, 3, 100, &t), 0, "popped");
	is_int(t->seq, 7, "seq");
	is_int(t->key, 3, "key");
	is_int(t->state, KN_READY, "state");
	is_int(t->nargs, 4, "arguments");
	for (size_t i = 0; i < 4; i++)
		is_str(t->args[i], args[i], "argument %zu", i);
	ok(t->data == args, "the caller's pointer");
	ok(t->exec != NULL, "the executor's part");
	kn_task_free(t);
	is_int(kn_queue_pop(&q, 63, 0, &t), 0, "popped");
	is_int(t->nargs, 0, "without arguments");
	ok(t->data == NULL, "and without a pointer");
	kn_task_free(t);
	is_int(q.len, 0, "empty again");
	kn_queue_done(&q);
	kn_queue_done(&q);
	pass("done takes an empty queue");
}

static void
test_large(void)
{
	size_t size = 300000, nargs = 5000;
	char *text = malloc(size);
	const char **args = malloc(nargs * sizeof(*args));
	struct kn_queue q = { 0 };
	struct kn_task *t = NULL;
	size_t wrong = 0;

	memset(text, 'x', size - 1);
	text[size - 1] = '\0';
	for (size_t i = 0; i < nargs; i++)
		args[i] = text + size - 1 - i % 40;
	is_int(push(&q, 0, 1, "before"), 0, "a small one");
	is_int(push(&q, 0, 2, text), 0, "one that is longer than a chunk");
	is_int(kn_queue_push(&q, 0, 3, &(struct knee_input){ .args = args, .nargs = nargs }), 0,
	    "one of many arguments");
	is_int(push(&q, 0, 4, "after"), 0, "and another small one");
	ok(q.bytes > size && q.bytes < 2 * size + 300000, "%zu bytes in use", q.bytes);
	is_int(kn_queue_drop(&q), 1, "the first");
	(void)kn_queue_pop(&q, 0, 0, &t);
	is_str(t->args[0], text, "is whole");
	kn_task_free(t);
	(void)kn_queue_pop(&q, 0, 0, &t);
	is_int(t->nargs, nargs, "all are there");
	for (size_t i = 0; i < nargs; i++)
		wrong += strcmp(t->args[i], args[i]) != 0;
	is_int(wrong, 0, "each as it was");
	kn_task_free(t);
	is_int(kn_queue_drop(&q), 4, "the last");
	ok(q.len == 0 && q.bytes <= 16384, "%zu bytes are kept of an empty queue", q.bytes);
	kn_queue_done(&q);
	is_int(q.bytes, 0, "none after done");
	free(args);
	free(text);
}

/* The text of an input, made from its seq: of any length, now and then of several chunks. */
static size_t
text_of(uint64_t seq, char *text, size_t size)
{
	struct rnd r = { seq * 2654435761u + 1 };
	size_t len = rnd_below(&r, 1000) == 0 ? rnd_below(&r, (unsigned)size - 1) : rnd_below(&r, 60);

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(1 + rnd_below(&r, 255));
	text[len] = '\0';
	return len;
}

#define MOST 40000
#define LONGEST 50000

/* What should wait: key of each seq, 0 when it does not; and what should be next of each key. */
struct model {
	unsigned char key_of[MOST + 1]; /* key + 1 */
	uint64_t head[KN_QUEUE_KEYS];
	uint64_t last;
	size_t len;
};

/* The lowest waiting seq of key (-1: of any) from `from` on; UINT64_MAX. */
static uint64_t
model_next(const struct model *m, int key, uint64_t from)
{
	for (uint64_t seq = from; seq <= m->last; seq++)
		if (m->key_of[seq] != 0 && (key < 0 || m->key_of[seq] == key + 1))
			return seq;
	return UINT64_MAX;
}

static size_t
model_pop(struct model *m, struct kn_queue *q, unsigned key, char *text)
{
	uint64_t want = model_next(m, (int)key, m->head[key]);
	struct kn_task *t = NULL;
	size_t wrong = kn_queue_head(q, key) != want;

	wrong += kn_queue_pop(q, key, 8, &t) != 0;
	if (want == UINT64_MAX)
		return wrong + (t != NULL);
	if (t == NULL)
		return wrong + 1;
	text_of(want, text, LONGEST);
	wrong += t->seq != want || t->key != key || t->nargs != 1 || strcmp(t->args[0], text) != 0;
	kn_task_free(t);
	m->key_of[want] = 0;
	m->head[key] = want + 1;
	m->len--;
	return wrong;
}

/* Any one, which may be gone already. */
static size_t
model_take(struct model *m, struct kn_queue *q, uint64_t seq, char *text)
{
	struct kn_task *t = NULL;
	size_t wrong = kn_queue_take(q, seq, 8, &t) != 0;

	if (m->key_of[seq] == 0)
		return wrong + (t != NULL);
	if (t == NULL)
		return wrong + 1;
	text_of(seq, text, LONGEST);
	wrong +=
	    t->seq != seq || t->key + 1 != m->key_of[seq] || t->nargs != 1 || strcmp(t->args[0], text) != 0;
	kn_task_free(t);
	m->key_of[seq] = 0;
	m->len--;
	return wrong;
}

static void
test_model(uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));
	char *text = malloc(LONGEST);
	struct kn_queue q = { 0 };
	struct rnd r = { seed | 1 };
	uint64_t lowest = 1, got;
	size_t wrong = 0;

	for (unsigned step = 0; m->last < MOST || m->len > 0; step++) {
		unsigned key = rnd_below(&r, step / 5000 % 2 ? 3 : KN_QUEUE_KEYS);

		if (m->last < MOST && rnd_below(&r, 100) < (step / 20000 % 2 ? 40u : 60u)) {
			text_of(++m->last, text, LONGEST);
			wrong += push(&q, key, m->last, text) != 0;
			m->key_of[m->last] = (unsigned char)(key + 1);
			m->len++;
		} else if (rnd_below(&r, 10) == 0) {
			lowest = m->len > 0 ? model_next(m, -1, lowest) : 0;
			got = kn_queue_drop(&q);
			wrong += got != lowest;
			if (lowest > 0) {
				m->key_of[lowest] = 0;
				m->len--;
			}
			lowest = lowest > 0 ? lowest : m->last + 1;
		} else if (m->last > 0 && rnd_below(&r, 50) == 0) {
			uint64_t near = m->last > 300 ? 300 : m->last;

			wrong += model_take(m, &q, m->last - rnd_below(&r, (unsigned)near), text);
		} else {
			wrong += model_pop(m, &q, key, text);
		}
		wrong += q.len != m->len;
	}
	is_int(wrong, 0, "as the model does (SEED=%llu)", (unsigned long long)seed);
	is_int(m->last, MOST, "for %d inputs", MOST);
	ok(q.bytes <= 16384, "%zu bytes are kept when all are gone", q.bytes);
	kn_queue_done(&q);
	free(text);
	free(m);
}

static void
test_memory(void)
{
	struct kn_queue q = { 0 };
	struct kn_task *t = NULL;
	uint64_t n = 100000;
	size_t wrong = 0, full, calls;
	char text[32];

	for (uint64_t i = 1; i <= n; i++) {
		snprintf(text, sizeof(text), "directory/file-%06llu", (unsigned long long)i);
		wrong += push(&q, (unsigned)(i % 3), i, text) != 0;
	}
	is_int(wrong, 0, "100,000 names of 21 bytes");
	full = q.bytes;
	ok(full < n * 36, "take %.1f bytes each", (double)full / (double)n);
	for (uint64_t i = 1; i <= n / 2; i++)
		wrong += kn_queue_drop(&q) != i;
	is_int(wrong, 0, "half of them are dropped in order");
	ok(q.bytes < full / 2 + 100000, "and their memory is given back: %zu of %zu bytes", q.bytes, full);
	while (kn_queue_drop(&q) != 0)
		;
	alloc_count = 0;
	for (uint64_t i = 1; i <= 1000; i++) {
		(void)push(&q, 5, i, text);
		(void)kn_queue_pop(&q, 5, 0, &t);
		kn_task_free(t);
	}
	calls = alloc_count;
	is_int(calls, 1000, "in and out by turns allocates the task alone");
	kn_queue_done(&q);
}

static void
test_failure(void)
{
	const char *many[40];
	struct kn_queue q = { 0 };
	struct kn_task *t = NULL;

	for (size_t i = 0; i < 40; i++)
		many[i] = "m";
	alloc_fail_at = 1;
	alloc_count = 0;
	is_int(push(&q, 1, 1, "x"), -ENOMEM, "no memory for a chunk");
	ok(q.len == 0 && q.bytes == 0 && kn_queue_head(&q, 1) == UINT64_MAX, "leaves it empty");
	alloc_fail_at = 0;
	(void)kn_queue_push(&q, 1, 2, &(struct knee_input){ .args = many, .nargs = 40 });
	for (alloc_fail_at = 1;; alloc_fail_at++) {
		alloc_count = 0;
		if (kn_queue_pop(&q, 1, 0, &t) == 0)
			break;
		ok(t == NULL && q.len == 1 && kn_queue_head(&q, 1) == 2, "failure %zu: it still waits",
		    alloc_fail_at);
	}
	is_int(alloc_fail_at, 3, "both allocations have failed");
	alloc_fail_at = 0;
	is_int(t->nargs, 40, "then it comes whole");
	kn_task_free(t);
	kn_queue_done(&q);
}

int
main(void)
{
	test_one();
	test_large();
	test_model(rnd_seed());
	test_memory();
	test_failure();
	return done_testing();
}
